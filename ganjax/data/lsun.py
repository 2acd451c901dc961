"""LSUN's original LMDB folders, e.g. `bedroom_train_lmdb` (Yu et al. 2015, arXiv:1506.03365).

LMDB's own library takes a file on trust: one that was cut short or damaged ends the process. Of its
format (version 1, 64 bits, little-endian; `mdb.c` of OpenLDAP) reading needs only what is here.
"""

import hashlib
import os
import struct
import threading
import weakref
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ganjax.data.fields import IMAGE
from ganjax.data.folder import MAX_BYTES, decode_images, printable, too_large
from ganjax.data.source import Broken
from ganjax.errors import UserError
from ganjax.paths import expand

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_META, _TREE = 16, 88  # where a file's page 0 says what it is, and where the tree of images is
_BRANCH, _LEAF, _KINDS = 1, 2, 0x3F  # flags of pages
_BIG = 1  # flag of a node whose value has pages of its own


class _Tree(NamedTuple):
    """Pages of sorted keys, read from the file `descriptor`, which has `size` bytes."""

    descriptor: int
    size: int
    page_size: int
    root: int
    entries: int


class Lsun:
    """Encoded images in an LMDB, in the order of their keys; without labels."""

    fields = {"image": IMAGE}

    def __init__(self, tree: _Tree, digest: str, path: str):
        self._tree, self.digest, self._path = tree, digest, path
        weakref.finalize(self, os.close, tree.descriptor)
        self._walk = _walk(tree)
        self._keys: list[bytes] = []
        self._offsets, self._sizes = array("Q"), array("Q")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._tree.entries

    def name(self, index: int) -> str:
        self._find_keys(index + 1)
        return printable(self._keys[index].decode(errors="backslashreplace"))

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        names = {self.name(index): index for index in indices}

        def read(name: str) -> bytes:
            offset, size = self._offsets[names[name]], self._sizes[names[name]]
            if size > MAX_BYTES:
                raise UserError(too_large(size))
            try:
                return _read(self._tree, offset, size)
            except (OSError, ValueError) as error:  # the file has changed since
                raise UserError(f"cannot be read: {error}") from error

        images, _, broken = decode_images(list(names), read, image_size, channels)
        return {"image": images}, broken

    def _find_keys(self, count: int) -> None:
        """The first `count` keys, at least; walking over all three million takes a while."""
        with self._lock:
            while len(self._keys) < count:
                try:
                    key, offset, size = next(self._walk)
                    if self._keys and key <= self._keys[-1]:
                        raise ValueError("its keys are in no order")
                except (StopIteration, OSError, ValueError) as error:
                    reason = str(error) or f"it holds {len(self._keys):,} of {len(self):,} images"
                    raise UserError(
                        f"data.source lsun:{self._path} is damaged: {reason}"
                    ) from error
                self._keys.append(key)
                self._offsets.append(offset)
                self._sizes.append(size)


def open_lsun(path: str) -> Lsun:
    """Opens the folder of an LMDB.

    Raises:
      UserError: it does not exist, is no LMDB, or is empty.
    """
    root = expand(path)
    if not os.path.exists(root):
        raise UserError(f"data.source lsun:{path} does not exist")
    if root.suffix == ".zip":
        raise UserError(f"data.source lsun:{path} is still packed; unpack it and name the folder")
    data = root / "data.mdb" if root.is_dir() else root
    if not data.is_file():
        raise UserError(f"data.source lsun:{path} holds no data.mdb; name an LMDB's own folder")
    try:
        descriptor = os.open(data, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"data.source lsun:{path} cannot be read: {error.strerror}") from error
    try:
        tree = _open_tree(descriptor)
        if not tree.entries:
            raise UserError(f"data.source lsun:{path} is empty")
        first, _, size = next(_walk(tree))
        last, _, _ = next(_walk(tree, backwards=True))
    except (OSError, ValueError, StopIteration, struct.error) as error:
        os.close(descriptor)
        reason = str(error) or "it has no pages"
        raise UserError(f"data.source lsun:{path} is no LMDB that can be read: {reason}") from error
    except UserError:
        os.close(descriptor)
        raise
    # All keys would take a while to read; writers leave other marks than these three seldom.
    changed = os.fstat(descriptor).st_mtime_ns
    stamp = f"{tree.entries} {first!r} {size} {last!r} {tree.size} {changed}"
    return Lsun(tree, hashlib.sha256(stamp.encode()).hexdigest(), path)


def _open_tree(descriptor: int) -> _Tree:
    """The newest of the two states that an LMDB keeps."""
    size = os.fstat(descriptor).st_size
    start = os.pread(descriptor, 4096, 0)
    magic, version = struct.unpack_from("<II", start, _META)
    (page_size,) = struct.unpack_from("<I", start, _META + 24)
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("it begins with something else")
    if page_size not in (2**n for n in range(9, 17)):
        raise ValueError(f"its pages have {page_size:,} bytes")
    states = []
    for page in (start, os.pread(descriptor, 4096, page_size)):
        *_, entries, root = struct.unpack_from("<IHHQQQQQ", page, _TREE)
        last_page, transaction = struct.unpack_from("<QQ", page, _META + 120)
        states.append((transaction, last_page, entries, root))
    _, last_page, entries, root = max(states)
    if (last_page + 1) * page_size > size:
        raise ValueError("it is cut short")
    if entries > size // 8:  # of which a key takes more
        raise ValueError(f"it claims {entries:,} images")
    return _Tree(descriptor, size, page_size, root, entries)


def _walk(tree: _Tree, *, backwards: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Key, offset and size of each value, in the order of the keys.

    Raises:
      ValueError: a page is damaged.
    """
    pending, visited = [tree.root], 0
    while pending:
        number, visited = pending.pop(), visited + 1
        if visited > tree.size // tree.page_size:
            raise ValueError("its pages lead in circles")
        start = number * tree.page_size
        page = _read(tree, start, tree.page_size)
        flags, lower = struct.unpack_from("<HH", page, 10)
        nodes = struct.unpack_from(f"<{max(0, min(lower, len(page)) - 16) // 2}H", page, 16)
        if flags & _KINDS == _BRANCH:
            children = [_child(page, node) for node in nodes]
            pending += children if backwards else reversed(children)
        elif flags & _KINDS == _LEAF:
            for node in reversed(nodes) if backwards else nodes:
                yield _value(tree, page, start, node)
        else:
            raise ValueError(f"page {number:,} is of no known kind")


def _child(page: bytes, node: int) -> int:
    low, middle, high = struct.unpack("<HHH", _part(page, node, 6))
    return low | middle << 16 | high << 32


def _value(tree: _Tree, page: bytes, start: int, node: int) -> tuple[bytes, int, int]:
    low, high, flags, key_size = struct.unpack("<HHHH", _part(page, node, 8))
    key, after = _part(page, node + 8, key_size), node + 8 + key_size
    size, offset = low | high << 16, start + after
    if flags == _BIG:
        (number,) = struct.unpack("<Q", _part(page, after, 8))
        offset = number * tree.page_size + 16
    if flags not in (0, _BIG) or offset + size > tree.size:
        raise ValueError(f"the value of {key!r:.60} is in no place that it has")
    return key, offset, size


def _part(page: bytes, start: int, size: int) -> bytes:
    part = page[start : start + size]
    if len(part) != size:
        raise ValueError("an entry reaches beyond its page")
    return part


def _read(tree: _Tree, offset: int, size: int) -> bytes:
    if offset + size > tree.size:
        raise ValueError("it is cut short")
    content = os.pread(tree.descriptor, size, offset)
    if len(content) != size:
        raise ValueError("it is cut short")
    return content
