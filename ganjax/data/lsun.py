"""LSUN's original LMDB folders, e.g. `bedroom_train_lmdb` (Yu et al. 2015, arXiv:1506.03365)."""

import hashlib
import os
import struct
import threading
import weakref
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np

from ganjax.data.fields import IMAGE
from ganjax.data.folder import LISTING, MAX_BYTES, decode_images, printable, stamp, too_large
from ganjax.data.source import Broken
from ganjax.errors import UserError, one_line
from ganjax.paths import expand

_MAGIC = 0xBEEFC0DE
# LMDB opens a file only once in a process.
_open: weakref.WeakValueDictionary[str, lmdb.Environment] = weakref.WeakValueDictionary()


class Lsun:
    """Encoded images in an LMDB, in the order of their keys; without labels."""

    fields = {"image": IMAGE}

    def __init__(self, environment: lmdb.Environment, digest: str, path: str):
        self._environment, self.digest, self._path = environment, digest, path
        self._count = environment.stat()["entries"]
        self._size = os.path.getsize(environment.path())
        self._keys: list[bytes] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return _name(self._find_keys(index + 1)[index])

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        found = self._find_keys(max(indices) + 1)
        keys = {_name(found[index]): found[index] for index in indices}
        with self._environment.begin(buffers=True) as transaction:

            def read(name: str) -> bytes:
                if os.path.getsize(self._environment.path()) < self._size:
                    # To read what is gone would end in SIGBUS.
                    raise UserError("cannot be read: the file was cut short")
                try:
                    value = transaction.get(keys[name], b"")
                except lmdb.Error as error:
                    raise UserError(f"cannot be read: {one_line(error)}") from error
                if len(value) > MAX_BYTES:
                    raise UserError(too_large(len(value)))
                return bytes(value)

            images, _, broken = decode_images(list(keys), read, image_size, channels)
        return {"image": images}, broken

    def _find_keys(self, count: int) -> list[bytes]:
        """The first `count` keys, at least; walking over all three million takes a while."""
        with self._lock:
            missing, reason = count - len(self._keys), "it holds fewer images than it says"
            if missing > 0:
                try:
                    with self._environment.begin() as transaction, transaction.cursor() as cursor:
                        if self._keys:
                            cursor.set_key(self._keys[-1])
                            cursor.next()
                        self._keys += islice(cursor.iternext(values=False), missing)
                except lmdb.Error as error:
                    reason = one_line(error)
                if len(self._keys) < count:
                    raise UserError(f"data.source lsun:{self._path} is damaged: {reason}")
            return self._keys


def open_lsun(path: str) -> Lsun:
    """Opens the folder of an LMDB.

    Raises:
      UserError: it does not exist, is no LMDB, is cut short, or is empty.
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
        _check_length(data)
        environment = _open_environment(data)
        with environment.begin(buffers=True) as transaction, transaction.cursor() as cursor:
            if not cursor.first():
                raise UserError(f"data.source lsun:{path} is empty")
            first, size = bytes(cursor.key()), len(cursor.value())
            cursor.last()
            last = bytes(cursor.key())
    except OSError as error:
        raise UserError(f"data.source lsun:{path} cannot be read: {error.strerror}") from error
    except (ValueError, lmdb.Error) as error:
        raise UserError(
            f"data.source lsun:{path} is no LMDB that can be read: {one_line(error)}"
        ) from error
    # All keys would take a while to read; writers leave other marks than these three seldom.
    entries, copied = environment.stat()["entries"], (data.parent / LISTING).exists()
    text = f"{entries} {first!r} {size} {last!r} {stamp(data, copied=copied)}"
    return Lsun(environment, hashlib.sha256(text.encode()).hexdigest(), path)


def _check_length(data: Path) -> None:
    """Compares a file's length with its own last page, since LMDB would end in SIGBUS.

    Of the two meta pages (`MDB_meta` in LMDB's mdb.c) the one with the later transaction counts.
    Only 64-bit little-endian files are known.

    Raises:
      ValueError: it is cut short, or no LMDB.
    """
    with data.open("rb") as file:
        first = file.read(160)
        if len(first) < 160 or struct.unpack_from("<I", first, 16) != (_MAGIC,):
            raise ValueError("it begins with something else")
        (page_size,) = struct.unpack_from("<I", first, 40)
        if page_size not in (2**n for n in range(9, 17)):
            raise ValueError(f"its pages have {page_size:,} bytes")
        file.seek(page_size)
        second = file.read(160)
        size = os.fstat(file.fileno()).st_size
    if len(second) < 160:
        raise ValueError("it is cut short")
    # Counted from a page's start: the last page at 136, the transaction at 144.
    last_page, _ = max(
        (struct.unpack_from("<QQ", page, 136) for page in (first, second)), key=lambda p: p[1]
    )
    if (last_page + 1) * page_size > size:
        raise ValueError("it is cut short")


def _open_environment(data: Path) -> lmdb.Environment:
    real = os.path.realpath(data)
    environment = _open.get(real)
    if environment is None:
        environment = _open[real] = lmdb.open(
            real, subdir=False, readonly=True, create=False, lock=False, readahead=False
        )
    return environment


def _name(key: bytes) -> str:
    return printable(key.decode(errors="backslashreplace"))
