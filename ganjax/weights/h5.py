"""Keras' weight files, which are HDF5.

On damaged files the HDF5 library asks for gigabytes, or for minutes. It therefore runs in a process
of its own with bounds, `ganjax weights.h5 FILE RESULT`, that hands the arrays over as
safetensors.
"""

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.errors import one_line
from ganjax.weights.guard import allowance, guarded
from ganjax.weights.safetensors import read_safetensors, write_safetensors

_SECONDS = 120  # 2 GiB take 10
_MEMORY = 512 * 2**20  # bytes for the library, besides the arrays
_MAX_OBJECTS = 100_000
_MAX_DEPTH = 32
_FILTERS = {1, 2, 3}  # deflate, shuffle and checksums; others are code that is loaded


def read_h5(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an HDF5 file, by their paths without the leading "/".

    Returns:
      E.g. {"block1_conv1/block1_conv1_W_1:0": float32 [3, 3, 3, 64]}.

    Raises:
      UserError: the file is missing or damaged, refers to other files, has links other than hard
        ones, holds anything but numbers, or unpacks to more than weights do (`guard.allowance`).
    """
    path = Path(path).absolute()
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with guarded(path, "HDF5"), tempfile.TemporaryDirectory(prefix="ganjax-") as folder:
        with path.open("rb") as file:
            if file.read(4) == b"PK\3\4":
                raise ValueError("it is an archive; unpack it and give model.weights.h5 from it")
        result = Path(folder) / "arrays.safetensors"
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "ganjax.weights.h5", str(path), str(result)],
                env=os.environ | {"PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"it takes more than {_SECONDS} seconds to read") from None
        if done.returncode:
            lines = done.stderr.decode(errors="replace").splitlines()
            raise ValueError(lines[-1] if lines else f"HDF5 fails on it ({done.returncode})")
        return read_safetensors(result)


def main(argv: list[str]) -> None:
    path, result = map(Path, argv)
    import h5py

    _limit_memory(_MEMORY)
    try:
        with h5py.File(path, "r", locking=False) as root:
            datasets = _walk(root["/"])
            budget = allowance(path.stat().st_size)
            total = 0
            for name, dataset in datasets.items():
                total += _checked_size(name, dataset, budget - total)
            _limit_memory(_MEMORY + 4 * total)
            arrays = {name: np.asarray(dataset[()]) for name, dataset in datasets.items()}
        write_safetensors(result, arrays, {})
    except Exception as error:  # HDF5's errors come as every type that Python has
        sys.exit(one_line(error))


def _limit_memory(extra: int) -> None:
    """Allows this process `extra` bytes more than it has now, where the system can."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        bound = pages * resource.getpagesize() + extra
        resource.setrlimit(resource.RLIMIT_AS, (bound if most == -1 else min(bound, most), most))
    except (ImportError, OSError):
        pass  # not Linux


def _walk(root: Any) -> dict[str, Any]:
    """All datasets by path. Every link is looked at before it is followed."""
    import h5py

    datasets: dict[str, Any] = {}
    pending, seen, count = [("", root, 0)], {root.id}, 0
    while pending:
        prefix, group, depth = pending.pop()
        for name in group:
            count += 1
            where = f"{prefix}{name}"
            if count > _MAX_OBJECTS or depth > _MAX_DEPTH:
                raise ValueError("it has too many groups")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{where!r:.80} is a link to elsewhere")
            child = group[name]
            if isinstance(child, h5py.Group):
                if child.id in seen:
                    raise ValueError(f"group {where!r:.80} is in it twice")
                seen.add(child.id)
                pending.append((f"{where}/", child, depth + 1))
            elif isinstance(child, h5py.Dataset):
                datasets[where] = child
            else:
                raise ValueError(f"{where!r:.80} is no array")
    return datasets


def _checked_size(name: str, dataset: Any, budget: int) -> int:
    """The bytes that a dataset takes, all of which lie in this file."""
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"array {name!r:.80} lies in another file")
    if dataset.shape is None or dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
        raise ValueError(f"array {name!r:.80} holds no numbers")
    plist = dataset.id.get_create_plist()
    if any(plist.get_filter(n)[0] not in _FILTERS for n in range(plist.get_nfilters())):
        raise ValueError(f"array {name!r:.80} is compressed in an unknown way")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if max(size, chunk) > budget:
        raise ValueError("it unpacks to too many bytes")
    return size


if __name__ == "__main__":
    main(sys.argv[1:])
