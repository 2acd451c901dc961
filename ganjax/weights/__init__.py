"""Trained weights: foreign formats, published networks, and where they lie on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganjax.errors import UserError
from ganjax.folders import cache_folder

if TYPE_CHECKING:  # `--help` is quicker without it
    import numpy as np


def weights_folder() -> Path:
    """Where `import` and `fetch` put weights and commands look for them.

    $GANJAX_WEIGHTS, by default `weights` in the user's cache folder.
    """
    return Path(os.environ.get("GANJAX_WEIGHTS") or cache_folder() / "weights").expanduser()


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
    """The parameters that `import` or `fetch` stored under `name`, nested as linen has them.

    Args:
      name: of a network in `weights_folder()`, or the path of a .safetensors file.

    Raises:
      UserError: there are none, or the file is damaged.
    """
    from ganjax.weights.keymaps import nested

    path = Path(name) if name.endswith(".safetensors") else weights_folder() / f"{name}.safetensors"
    if not path.exists():
        raise UserError(
            f"weights {path} do not exist; get them with `python -m ganjax.weights fetch`, or "
            "with `python -m ganjax.weights import FILE --as FORMAT`"
        )
    return nested(read(path))
