"""The safetensors format (https://huggingface.co/docs/safetensors): nothing in it is executed.

Its own package checks the header: sizes, offsets and overlaps. Here are the limits on what a file
may claim, and the order that makes files reproducible.
"""

import json
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes  # also registers bfloat16 with NumPy, which the package needs
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ganjax.paths import write_atomic
from ganjax.weights.guard import MAX_BYTES, guarded

# The format allows 100 MB, of which JSON can make gigabytes; 16 MiB name 100,000 arrays.
MAX_HEADER = 16 * 2**20
_METADATA = "__metadata__"


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads all arrays, in the order of their names; bfloat16 as float32.

    Raises:
      UserError: the file is missing or larger than `MAX_BYTES`, breaks any rule of the format, or
        holds anything but numbers and booleans of at most 8 bytes.
    """
    with _opened(path) as file:
        return {name: _convert(name, file.get_tensor(name)) for name in sorted(file.keys())}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Reads the texts that `write_safetensors` was given.

    Raises:
      UserError: as `read_safetensors`.
    """
    with _opened(path) as file:
        return file.metadata() or {}


def write_safetensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a file, whole or not at all; the same arrays and metadata make the same bytes.

    Raises:
      UserError: the folder cannot be written to.
    """
    write_atomic(Path(path), to_bytes(arrays, metadata))


def to_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file, whatever the order of `arrays` and `metadata`.

    Raises:
      ValueError: an array's type or name has no place in the format.
    """
    dense = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    for name, value in dense.items():
        if name == _METADATA or value.dtype.kind not in "fiub":
            raise ValueError(f"array {name!r} of type {value.dtype} cannot be in safetensors")
    content = save(dense)
    if not metadata:
        return content
    # The package writes metadata in random order.
    end = 8 + int.from_bytes(content[:8], "little")
    header = {_METADATA: dict(sorted(metadata.items())), **json.loads(content[8:end])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, content[end:]])


@contextmanager
def _opened(path: str | Path) -> Any:
    """The package's reader of a file whose size and header are within the limits."""
    path = Path(path)
    with guarded(path, "safetensors") as size:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > MAX_HEADER:
            raise ValueError(f"its header of {header:,} bytes is too large")
        if size - 8 - header > MAX_BYTES:
            raise ValueError(f"its arrays take more than {MAX_BYTES >> 30} GiB")
        with safe_open(path, "numpy") as file:
            yield file


def _convert(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == ml_dtypes.bfloat16:
        return array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"array {name!r:.80} has type {array.dtype}, which no weights have")
    return array
