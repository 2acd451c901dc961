"""Trained weights: foreign formats, published networks, and where they lie on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganjax.errors import UserError
from ganjax.paths import cache_folder, expand

BUNDLED = Path(__file__).parent / "bundled"  # what ships in the package

if TYPE_CHECKING:  # `--help` is quicker without it
    import numpy as np


def weights_folder() -> Path:
    """Where `import` and `fetch` put weights and commands look for them.

    $GANJAX_WEIGHTS, by default `weights` in the user's cache folder.
    """
    return expand(os.environ.get("GANJAX_WEIGHTS") or cache_folder() / "weights")


def read(path: str | Path) -> "dict[str, np.ndarray]":
    """Reads the arrays of a weight file: .safetensors, .pth / .pt, Keras .h5, .npz.

    Raises:
      UserError: the file is missing, damaged or hostile, or its suffix is none of these.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".safetensors":
            from ganjax.weights.safetensors import read_safetensors

            return read_safetensors(path)
        case ".pth" | ".pt":
            from ganjax.weights.pth import read_pth

            return read_pth(path)
        case ".h5" | ".hdf5" | ".keras":
            from ganjax.weights.h5 import read_h5

            return read_h5(path)
        case ".npz":
            from ganjax.weights.npz import read_npz

            return read_npz(path)
    raise UserError(f"{path}: give weights as .safetensors, .pth, .h5 or .npz")


def load(name: str) -> dict[str, Any]:
    """Parameters, nested as linen has them; half precision as float32.

    Args:
      name: of a network in the package (`BUNDLED`) or in `weights_folder()`, where `import` and
        `fetch` put them; or the path of a .safetensors file.

    Raises:
      UserError: there are none, or the file is damaged.
    """
    from ganjax.weights.keymaps import nested

    if name.endswith(".safetensors"):
        path = expand(name)
    else:
        path = BUNDLED / f"{name}.safetensors"
        path = path if os.path.exists(path) else weights_folder() / path.name
    if not os.path.exists(path):  # also of what can be no name, on which Path's own form fails
        raise UserError(f"weights {path} do not exist; get them with {_commands(name)}")
    arrays = read(path)
    half = {n: v.astype("float32") for n, v in arrays.items() if v.itemsize < 4}
    return nested(arrays | half)


def _commands(name: str) -> str:
    """What gets the weights of that name."""
    from ganjax.weights.keymaps import FORMATS
    from ganjax.weights.sources import SOURCES

    source = name if name in [source.name for source in SOURCES] else ""
    fetch = f"`ganjax weights fetch {source or 'NAME'}`"
    layout = name if name in FORMATS else ""
    convert = f"`ganjax weights import FILE --as {layout or 'FORMAT'}`"
    return convert if layout and not source else f"{fetch}, or with {convert}"


def check_shapes(params: Any, wanted: Any, name: str) -> None:
    """Holds `params`, read from the weights `name`, to the structure and shapes of a network's.

    Raises:
      UserError: they differ.
    """
    from ganjax.trees import named_leaves

    found, wanted = (
        {path: tuple(x.shape) for path, x in named_leaves(tree).items()}
        for tree in (params, wanted)
    )
    if wrong := sorted(path for path in found | wanted if found.get(path) != wanted.get(path)):
        raise UserError(
            f"weights {name} hold another network: {wrong[0]} has shape {found.get(wrong[0])}, "
            f"but {wanted.get(wrong[0])} in the model"
        )
