"""ganjax: generating images with GANs and moving style between images, in JAX and Flax.

For scripts there are `Stylizer`, `Generator`, `Translator`, `Editor` and `measure`, with
`start_jax` and `UserError`, and the functions of modules like `ganjax.adain`. All is imported when
it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganjax.api import Generator, Stylizer, Translator, measure
    from ganjax.commands.terminal import start_jax
    from ganjax.editing.editor import Editor
    from ganjax.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "Editor",
    "Generator",
    "Stylizer",
    "Translator",
    "UserError",
    "__version__",
    "measure",
    "start_jax",
]
_ELSEWHERE = {
    "Editor": "ganjax.editing.editor",
    "UserError": "ganjax.errors",
    "start_jax": "ganjax.commands.terminal",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "ganjax.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
