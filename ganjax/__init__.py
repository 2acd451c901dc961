"""ganjax: generating images with GANs and moving style between images, in JAX and Flax.

For scripts there are `Stylizer`, `Generator`, `Translator` and `measure` (`ganjax.api`), and the
functions of modules like `ganjax.adain`; all is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganjax.api import Generator, Stylizer, Translator, measure
    from ganjax.errors import UserError

__version__ = "0.1.0"
__all__ = ["Generator", "Stylizer", "Translator", "UserError", "__version__", "measure"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module("ganjax.errors" if name == "UserError" else "ganjax.api")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
