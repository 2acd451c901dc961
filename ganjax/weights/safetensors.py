"""The safetensors format: a JSON header, then raw little-endian arrays, and nothing to execute.

Layout (https://huggingface.co/docs/safetensors): the header's length as an 8-byte little-endian
integer; the header {name: {"dtype", "shape", "data_offsets": [begin, end]}}, with texts of the
user's under "__metadata__"; the arrays, without gaps.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ganjax.paths import write_atomic
from ganjax.weights.guard import MAX_BYTES, guarded

# The format allows 100 MB, of which JSON can make gigabytes; 16 MiB name 100,000 arrays.
MAX_HEADER = 16 * 2**20
_METADATA = "__metadata__"
_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # widened to float32 by the reader
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}


class _Entry(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads all arrays; bfloat16 as float32.

    Raises:
      UserError: the file is missing or larger than `MAX_BYTES`, or breaks any rule of the format.
    """
    path = Path(path)
    with guarded(path, "safetensors") as size, path.open("rb") as file:
        entries, _ = _read_header(file, size)
        return {entry.name: _read_array(file, entry) for entry in entries}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Reads the texts that `write_safetensors` was given.

    Raises:
      UserError: as `read_safetensors`.
    """
    path = Path(path)
    with guarded(path, "safetensors") as size, path.open("rb") as file:
        return _read_header(file, size)[1]


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
    little = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in little.items():
        if name == _METADATA or value.dtype.newbyteorder("<") not in _NAMES:
            raise ValueError(f"array {name!r} of type {value.dtype} cannot be in safetensors")
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    parts, begin = [], 0
    # Wide types first: then every array is aligned for its type.
    for name in sorted(little, key=lambda name: (-little[name].itemsize, name)):
        value = little[name]
        dtype = value.dtype.newbyteorder("<")
        parts.append(value.astype(dtype, copy=False).tobytes())
        end = begin + len(parts[-1])
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(value.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _read_header(file: BinaryIO, size: int) -> tuple[list[_Entry], dict[str, str]]:
    """Checks the whole header; leaves `file` at the first array. Entries are in file order."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ValueError("it is cut short")
    if length > MAX_HEADER:
        raise ValueError(f"its header of {length:,} bytes is too large")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError("it does not begin with a header")
    header = json.loads(text.decode(), object_pairs_hook=_unique)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are no texts")
    entries = sorted((_entry(*item) for item in header.items()), key=lambda e: (e.begin, e.end))
    position = 0
    for entry in entries:
        if entry.begin != position:
            raise ValueError(f"array {entry.name!r} overlaps another or leaves a gap")
        position = entry.end
    if position != size - 8 - length:
        raise ValueError(f"its arrays take {position:,} bytes; it has {size - 8 - length:,}")
    if position > MAX_BYTES:
        raise ValueError(f"its arrays take more than {MAX_BYTES >> 30} GiB")
    return entries, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name is in its header twice")
    return values


def _entry(name: str, value: Any) -> _Entry:
    wrong = f"array {name!r:.80} has a faulty entry"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(wrong)
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not all(isinstance(v, list) for v in (shape, offsets)) or len(offsets) != 2:
        raise ValueError(wrong)
    if any(type(n) is not int or not 0 <= n < 2**63 for n in (*shape, *offsets)):
        raise ValueError(wrong)
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"array {name!r:.80} has type {dtype!r:.20}; known: {', '.join(_DTYPES)}")
    begin, end = offsets
    if len(shape) > 32 or math.prod(shape) * _DTYPES[dtype].itemsize != end - begin:
        raise ValueError(f"array {name!r:.80} of shape {shape} does not take {end - begin} bytes")
    return _Entry(name, dtype, tuple(shape), begin, end)


def _read_array(file: BinaryIO, entry: _Entry) -> np.ndarray:
    stored = np.dtype("u1") if entry.dtype == "BOOL" else _DTYPES[entry.dtype]
    flat = np.fromfile(file, stored, math.prod(entry.shape))
    if flat.nbytes != entry.end - entry.begin:
        raise ValueError("it is cut short")
    match entry.dtype:
        case "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        case "BOOL":
            flat = flat != 0
        case _:
            flat = flat.astype(stored.newbyteorder("="), copy=False)
    return flat.reshape(entry.shape)
