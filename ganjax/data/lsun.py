"""LSUN's original LMDB folders, e.g. `bedroom_train_lmdb` (Yu et al. 2015, arXiv:1506.03365)."""

import hashlib
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import lmdb
import numpy as np

from ganjax.data.files import decode_images
from ganjax.data.source import Broken
from ganjax.errors import UserError


class Lsun:
    """Encoded images in an LMDB, in the order of their keys; without labels."""

    label_names = ()

    def __init__(self, environment: lmdb.Environment, digest: str):
        self._environment, self.digest = environment, digest
        self._keys: list[bytes] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._environment.stat()["entries"]

    def name(self, index: int) -> str:
        return self._find_keys(index + 1)[index].decode(errors="backslashreplace")

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        keys = self._find_keys(max(indices) + 1)
        names = {self.name(index): keys[index] for index in indices}
        with self._environment.begin() as transaction:

            def read(name: str) -> bytes:
                try:
                    return transaction.get(names[name])
                except lmdb.Error as error:
                    raise UserError(f"cannot be read: {error}") from error

            images, _, broken = decode_images(list(names), read, image_size, channels)
        return {"image": images}, broken

    def _find_keys(self, count: int) -> list[bytes]:
        """At least the first `count` keys; walking over all three million takes a while."""
        with self._lock, self._environment.begin() as transaction:
            if len(self._keys) < count:
                cursor = transaction.cursor()
                if self._keys:
                    cursor.set_key(self._keys[-1])
                    cursor.next()
                else:
                    cursor.first()
                for key in cursor.iternext(keys=True, values=False):
                    self._keys.append(key)
                    if len(self._keys) >= count:
                        break
            return self._keys


def open_lsun(path: str) -> Lsun:
    """Opens the folder of an LMDB.

    Raises:
      UserError: it does not exist, is no LMDB, or is empty.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise UserError(f"data.source lsun:{path} does not exist")
    if root.suffix == ".zip":
        raise UserError(f"data.source lsun:{path} is still packed; unpack it and name the folder")
    if root.is_dir() and not (root / "data.mdb").exists():
        raise UserError(f"data.source lsun:{path} holds no data.mdb; name an LMDB's own folder")
    try:
        environment = _open_environment(root.resolve())
        entries = environment.stat()["entries"]
        with environment.begin() as transaction, transaction.cursor() as cursor:
            if not cursor.first():
                raise UserError(f"data.source lsun:{path} is empty")
            first, size = cursor.key(), len(cursor.value())
            cursor.last()
            last = cursor.key()
    except lmdb.Error as error:
        raise UserError(f"data.source lsun:{path} is no LMDB that can be read: {error}") from error
    # All keys would take a while to read; writers leave other marks than these three seldom.
    data = root / "data.mdb" if root.is_dir() else root
    status = data.stat()
    stamp = f"{entries} {first!r} {size} {last!r} {status.st_size} {status.st_mtime_ns}"
    return Lsun(environment, hashlib.sha256(stamp.encode()).hexdigest())


@cache  # LMDB forbids to open a file twice in one process
def _open_environment(path: Path) -> lmdb.Environment:
    return lmdb.open(
        str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, meminit=False
    )
