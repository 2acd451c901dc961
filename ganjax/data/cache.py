"""Decoded images on disk: after the first pass nothing is decoded again.

The arrays of one (source, image size, channels) lie in one folder as raw binary files that are
memory-mapped; several runs and processes share their pages.
"""

import hashlib
import json
import os
import shutil
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganjax import locks
from ganjax.data.source import Broken, Source
from ganjax.errors import UserError
from ganjax.progress import bar

VERSION = 3  # of what is stored: to be raised when the same source would give other pixels
_CHUNK = 64  # images that one thread decodes at a time, ...
_CHUNK_PIXELS = 2**22  # ... fewer where they are large
_NAMED = 5  # broken files that are named on the screen; the index names all


class Examples(NamedTuple):
    """Memory-mapped arrays over all good examples of a source.

    Attributes:
      arrays: by name, e.g. `image` uint8 [N, H, W, C] and `label` int32 [N].
      broken: examples that were left out.
      checksums: the CRC-32 of each array's bytes.
    """

    arrays: dict[str, np.memmap]
    broken: list[Broken]
    checksums: dict[str, int]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Examples of one array, copied.

        Raises:
          UserError: the file was cut short after it was mapped.
        """
        values = self.arrays[name]
        file: Any = values.base
        if file.size() < values.nbytes:  # to read what is gone would end in SIGBUS
            raise UserError(
                f"the cache {values.filename} was cut short while it was read; run the same "
                "command again to make it anew"
            )
        return values[indices]


def open_examples(
    source: Source,
    *,
    image_size: tuple[int, int],
    channels: int,
    folder: Path,
    limit: int = 0,
    progress: bool = True,
) -> Examples:
    """Maps the decoded images of `source`, and decodes them first where that was never done.

    Args:
      image_size: (H, W).
      folder: of the cache.
      limit: use only the first so many examples; 0 for all.
      progress: show a progress bar, and name the broken images, on stderr.

    Raises:
      UserError: no image is good, the disk is full, or the folder cannot be written to.
    """
    count = min(len(source), limit) if limit else len(source)
    text = json.dumps([VERSION, source.digest, image_size, channels, count])
    target = folder / "images" / hashlib.sha256(text.encode()).hexdigest()[:32]
    examples = _map(target)
    if examples is None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with locks.wait_for(target.with_suffix(".lock"), "decoding the same images"):
                if _map(target) is None:  # else another process has just done it
                    _build(source, count, image_size, channels, target, progress=progress)
        except OSError as error:
            raise UserError(
                f"cannot write the cache {target}: {error.strerror or error}; make room, or name "
                "another folder with --config.data.cache_dir=DIR"
            ) from error
        examples = _map(target)
        if examples is None:
            raise UserError(f"the cache {target} was changed while it was made; run again")
    if progress:
        _report(examples.broken, count, target)
    return examples


def _map(target: Path) -> Examples | None:
    """The arrays in a cache folder, None where it is missing, cut short, unreadable or old."""
    try:
        index = json.loads((target / "index.json").read_text())
        arrays = {}
        for name, (dtype, shape) in index["arrays"].items():
            # A file that was cut short cannot be mapped: ValueError.
            arrays[name] = np.memmap(target / f"{name}.bin", dtype, "r", shape=tuple(shape))
        broken = [Broken(*broken) for broken in index["broken"]]
        return Examples(arrays, broken, index["checksums"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(
    source: Source,
    count: int,
    image_size: tuple[int, int],
    channels: int,
    target: Path,
    *,
    progress: bool,
) -> None:
    with replaced(target) as folder:
        needed = count * image_size[0] * image_size[1] * channels
        if shutil.disk_usage(folder).free < needed * 1.05:
            raise UserError(
                f"decoded images need {needed / 2**30:.1f} GiB in {target.parent}; make room, use "
                "fewer with --config.data.limit=N, or name a folder on another disk with "
                "--config.data.cache_dir=DIR"
            )
        _write(source, count, image_size, channels, folder, progress=progress)


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of `target` once it is full; the caller holds the lock."""
    for rest in list(target.parent.iterdir()):
        if rest.name.startswith(f".{target.name}"):  # of a process that was killed
            shutil.rmtree(rest)
    temporary = target.with_name(f".{target.name}")
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(
    source: Source,
    count: int,
    image_size: tuple[int, int],
    channels: int,
    folder: Path,
    *,
    progress: bool,
) -> None:
    files, shapes, total = {}, {}, 0
    checksums: dict[str, int] = {}
    broken: list[Broken] = []
    try:
        with bar(count, label="decoding", shown=progress) as counter:
            for arrays, bad in load_in_threads(source, count, image_size, channels):
                broken += bad
                for name, values in arrays.items():
                    if name not in files:
                        files[name] = (folder / f"{name}.bin").open("wb")
                        shapes[name] = (values.dtype.str, values.shape[1:])
                    content = np.ascontiguousarray(values).data
                    files[name].write(content)
                    checksums[name] = zlib.crc32(content, checksums.get(name, 0))
                good = len(next(iter(arrays.values())))
                total += good
                counter.update(good + len(bad))
    finally:
        for file in files.values():
            file.close()
    if not total:
        first = f"; {broken[0].name} {broken[0].reason}" if broken else ""
        raise UserError(f"none of {count} images of data.source can be read{first}")
    index = {
        "arrays": {name: [dtype, [total, *shape]] for name, (dtype, shape) in shapes.items()},
        "broken": broken,
        "checksums": checksums,
        "source": source.digest,
    }
    (folder / "index.json").write_text(json.dumps(index))


def load_in_threads(
    source: Source, count: int, image_size: tuple[int, int], channels: int
) -> Iterator[tuple[dict[str, np.ndarray], list[Broken]]]:
    """Results of `source.load` in order; only a few chunks are held at a time."""
    threads = os.cpu_count() or 1
    size = min(_CHUNK, max(1, _CHUNK_PIXELS // (image_size[0] * image_size[1])))
    chunks = iter(range(0, count, size))
    pending: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                while len(pending) < threads + 2 and (first := next(chunks, None)) is not None:
                    indices = range(first, min(first + size, count))
                    pending.append(pool.submit(source.load, indices, image_size, channels))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _report(broken: list[Broken], count: int, target: Path) -> None:
    if not broken:
        return
    named = "; ".join(f"{name} {reason}" for name, reason in broken[:_NAMED])
    more = f"; all are named in {target / 'index.json'}" if len(broken) > _NAMED else ""
    print(f"warning: {len(broken)} of {count} images left out: {named}{more}", file=sys.stderr)
