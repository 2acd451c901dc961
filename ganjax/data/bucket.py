"""Data in Google Cloud Storage, copied once to this machine's disk: readers need files."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from fsspec import filesystem
from fsspec.callbacks import Callback

from ganjax import locks
from ganjax.data.cache import replaced
from ganjax.data.folder import LISTING, printable
from ganjax.errors import UserError, one_line
from ganjax.paths import cache_folder, run_folder
from ganjax.progress import bar


def fetch(uri: str) -> Path:
    """Copies what is in a bucket to the cache, unless the copy there is of the same objects.

    Args:
      uri: gs://BUCKET/PATH of one object, or of a folder.

    Returns:
      The copy: a file of the object's name, or a folder.

    Raises:
      UserError: the bucket cannot be reached, holds no such thing, or the copy cannot be made.
    """
    run_folder(uri)  # refuses what cannot be reached
    root = uri.removeprefix("gs://").rstrip("/")
    target = cache_folder() / "bucket" / hashlib.sha256(root.encode()).hexdigest()[:32]
    try:
        objects = _list(root)
        if not _is_copied(objects, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with locks.wait_for(target.with_suffix(".lock"), f"copying {uri}"):
                if not _is_copied(objects, target):  # else another process has just done it
                    _copy(root, objects, target)
    except UserError:
        raise
    except Exception as error:  # of networks, buckets and disks, in many types
        raise UserError(f"{uri} cannot be copied to {target}: {one_line(error)}") from error
    return target / _inside(root, root) if root in objects else target


def _list(root: str) -> dict[str, list[int]]:
    """Size and generation, another one for each new content, of the objects at a path."""
    try:
        found = filesystem("gcs").find(root, detail=True)
    except FileNotFoundError:  # not even the bucket
        found = {}
    objects = {
        name: [int(info["size"]), int(info["generation"])]
        for name, info in found.items()
        if info["type"] == "file" and not name.endswith("/")  # which stands for a folder
    }
    if not objects:
        raise UserError(f"gs://{root} does not exist")
    for name in objects:  # which may be any text
        if {"", ".", ".."} & set(_inside(root, name).split("/")):
            raise UserError(f"gs://{printable(name)} cannot be copied: no file has such a name")
    return objects


def _inside(root: str, name: str) -> str:
    """Where in the copy an object lies."""
    return name[len(root) + 1 :] or root.rpartition("/")[2]


def _is_copied(objects: dict[str, list[int]], target: Path) -> bool:
    try:
        return json.loads((target / LISTING).read_text()) == objects
    except (OSError, ValueError):
        return False


def _copy(root: str, objects: dict[str, list[int]], target: Path) -> None:
    total = sum(size for size, _ in objects.values())
    with replaced(target) as folder:
        if shutil.disk_usage(folder).free < total * 1.05:
            raise UserError(
                f"gs://{root} needs {total / 2**30:.1f} GiB in {target.parent}; make room, or name "
                "a folder on another disk with GANJAX_CACHE=DIR"
            )
        paths = [folder / _inside(root, name) for name in objects]
        with bar(total, label="copying", unit="B") as counter:
            filesystem("gcs").get(list(objects), list(map(str, paths)), callback=_Bytes(counter))
        if _list(root) != objects:
            raise UserError(f"gs://{root} was changed while it was copied; run again")
        for path, (_, generation) in zip(paths, objects.values(), strict=True):
            os.utime(path, ns=(generation, generation))  # by which sources tell versions of files
        (folder / LISTING).write_text(json.dumps(objects))


class _Bytes(Callback):
    """Shows the bytes that came, of all files, on one bar."""

    def __init__(self, bar: Any):
        super().__init__()
        self._bar = bar

    def branched(self, *_: Any, **__: Any) -> Callback:
        of_one_file = Callback()
        of_one_file.relative_update = self._bar.update
        return of_one_file
