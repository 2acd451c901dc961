"""Trained weights: foreign formats, published networks, and where they lie on this machine."""

import os
import sys
import zipfile
from collections.abc import Mapping
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
    """Reads the arrays of a weight file: safetensors, PyTorch's, Keras' .h5, .npz.

    Its content says which it is, whatever its suffix. What wraps the arrays in it is left out of
    their names, and named on stderr: keys like "state_dict", and the "module" of
    `torch.nn.DataParallel` and "_orig_mod" of `torch.compile`.

    Raises:
      UserError: the file is missing, damaged or hostile, or none of these.
    """
    path = Path(path)
    keys: list[str] = []
    match _kind(path) or _SUFFIXES.get(path.suffix.lower()):
        case "safetensors":
            from ganjax.weights.safetensors import read_safetensors

            arrays = read_safetensors(path)
        case "pth":
            from ganjax.weights.pth import read_checkpoint

            arrays, keys = read_checkpoint(path)
        case "h5":
            from ganjax.weights.h5 import read_h5

            arrays = read_h5(path)
        case "npz":
            from ganjax.weights.npz import read_npz

            arrays = read_npz(path)
        case _:
            raise UserError(f"{path}: give weights as .safetensors, .pth, .h5 or .npz")
    plain = {_without_wrappers(name): array for name, array in arrays.items()}
    if len(plain) < len(arrays):  # of two wrapped networks, say
        plain = arrays
    wrappers = {part for name in arrays.keys() - plain.keys() for part in name.split(".")}
    if keys or wrappers:
        taken = [f"the part {'.'.join(keys)!r} of it"] if keys else []
        dropped = [f"names without {part!r}" for part in _WRAPPERS if part in wrappers]
        print(f"{path}: read {', '.join(taken + dropped)}", file=sys.stderr)
    return plain


def read_folder(path: Path) -> "dict[str, np.ndarray]":
    """The arrays of all weight files in a folder, as "STEM:NAME".

    Raises:
      UserError: it is no folder, or a file cannot be read.
    """
    if not path.is_dir():
        raise UserError(f"{path} is no folder; give the folder of the files")
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in _SUFFIXES]
    return {f"{file.stem}:{name}": array for file in files for name, array in read(file).items()}


_SUFFIXES = {
    ".safetensors": "safetensors", ".pth": "pth", ".pt": "pth", ".h5": "h5", ".hdf5": "h5",
    ".keras": "h5", ".npz": "npz",
}  # fmt: skip
_WRAPPERS = ("module", "_orig_mod")


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _kind(path: Path) -> str:
    """What a file begins as; "" for nothing that is known."""
    try:
        if not path.is_file():  # to open a pipe would never end
            return ""
        with path.open("rb") as file:
            start = file.read(9)
        if start[:4] == b"PK\3\4":
            names = zipfile.ZipFile(path).namelist()
            if any(name.split("/")[-1] == "data.pkl" for name in names):
                return "pth"
            return "npz" if all(name.endswith(".npy") for name in names) else "h5"
    except Exception:  # zipfile ends damaged directories in many types of errors
        return ""
    if start[8:] == b"{" and start[4:8] == bytes(4):  # after the length of the header
        return "safetensors"
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        return "h5"
    return "pth" if start[:1] == b"\x80" and start[1:2] <= b"\5" else ""


def load(name: str) -> dict[str, Any]:
    """Parameters, nested as linen has them; half precision as float32.

    What else a file of `ganjax export` holds is left out.

    Args:
      name: of a network in the package (`BUNDLED`) or in `weights_folder()`, where `import` and
        `fetch` put them; or the path of a .safetensors file.

    Raises:
      UserError: there are none, or the file is damaged.
    """
    if name.endswith(".safetensors"):
        path = expand(name)
    else:
        path = BUNDLED / f"{name}.safetensors"
        path = path if os.path.exists(path) else weights_folder() / path.name
    if not os.path.exists(path):  # also of what can be no name, on which Path's own form fails
        raise UserError(f"weights {path} do not exist; get them with {_commands(name)}")
    return load_variables(path)["params"]


def load_variables(path: str | Path) -> dict[str, Any]:
    """What `module.apply` takes, from the arrays that `name_variables` gave; float32 for halves.

    Raises:
      UserError: as `read`.
    """
    from ganjax.weights.keymaps import nested

    found: dict[str, Any] = {"params": {}}
    for name, array in read(path).items():
        collection, _, leaf = name.rpartition(":")
        array = array.astype("float32") if array.itemsize < 4 else array
        found.setdefault(collection or "params", {})[leaf] = array
    return {collection: nested(arrays) for collection, arrays in found.items()}


def name_variables(variables: Mapping[str, Any], dtype: Any) -> "dict[str, np.ndarray]":
    """The arrays of a network's file: "up_1/kernel" of params, "batch_stats:up_1/mean" of others.

    Args:
      variables: what `module.apply` takes.
      dtype: of the parameters. Statistics stay as they are: few, and of any magnitude.
    """
    import numpy as np

    from ganjax.trees import named_leaves

    arrays = {}
    for collection, tree in variables.items():
        for name, leaf in named_leaves(tree).items():
            if collection == "params":
                arrays[name] = np.asarray(leaf).astype(dtype)
            else:
                arrays[f"{collection}:{name}"] = np.asarray(leaf)
    return arrays


def model_path(name: str) -> Path:
    """Where a model is: FILE.safetensors itself, or that of the name in the package (`BUNDLED`)."""
    return expand(name) if name.endswith(".safetensors") else BUNDLED / f"{name}.safetensors"


def check_model(path: Path) -> None:
    """Checks that there is a file at a `model_path`.

    Raises:
      UserError: there is none; the message names those in the package.
    """
    if os.path.isfile(path):
        return
    from ganjax.weights.safetensors import read_metadata

    files = sorted(BUNDLED.glob("*.safetensors"))
    models = [file.stem for file in files if "config" in read_metadata(file)]
    known = f", or the name of one in the package: {', '.join(models)}" if models else ""
    name = path.stem if path.parent == BUNDLED else path
    raise UserError(f"there is no model {name}; give FILE.safetensors of `ganjax export`{known}")


def _commands(name: str) -> str:
    """What gets the weights of that name."""
    from ganjax.weights.keymaps import FORMATS
    from ganjax.weights.sources import SOURCES

    source = name if name in [source.name for source in SOURCES] else ""
    fetch = f"`ganjax weights fetch {source or 'NAME'}`"
    layout = name if name in FORMATS else ""
    kind = "FOLDER" if layout == "wct" else "FILE"
    convert = f"`ganjax weights import {kind} --as {layout or 'FORMAT'}`"
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
