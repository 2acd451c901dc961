"""NumPy's .npz archives, without the pickles they may hold."""

import io
import math
import warnings
import zipfile
from pathlib import Path

import numpy as np

from ganjax.weights.guard import allowance, guarded

# Pythons' other decompressors cannot be told where to stop.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of numbers and booleans that `numpy.savez` wrote.

    Raises:
      UserError: the file is missing or damaged, holds anything else, or unpacks to more than
        weights do (`guard.allowance`).
    """
    path = Path(path)
    with guarded(path, ".npz") as size, zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(info.file_size for info in members) > allowance(size):
            raise ValueError("it unpacks to too many bytes")
        arrays = {}
        for info in members:
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in arrays or info.compress_type not in _METHODS:
                raise ValueError(f"numpy.savez does not write what is in it as {name!r:.80}")
            with archive.open(info) as member:
                # Up to the declared size and no further, whatever the member unpacks to.
                arrays[name] = _parse(name, member.read(info.file_size))
    return arrays


def _parse(name: str, content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote the header
        match version:
            case (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            case (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
            case _:
                raise ValueError(f"array {name!r:.80} has the unknown version {version}")
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise ValueError(f"array {name!r:.80} holds {dtype}, no numbers")
    data = content[stream.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"array {name!r:.80} of shape {shape} does not take {len(data)} bytes")
    if dtype.kind == "b":
        flat = np.frombuffer(data, np.uint8) != 0
    else:
        flat = np.frombuffer(data, dtype)
    view = flat.reshape(shape, order="F" if fortran else "C")
    return np.array(view, dtype.newbyteorder("="), order="C")
