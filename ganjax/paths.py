"""The user's folders, of what can be made again, of runs and data, here or in a bucket; files that
are written whole or not at all."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from ganjax.errors import UserError, one_line


def cache_folder() -> Path:
    """Where ganjax keeps what can be made again: $GANJAX_CACHE, by default ~/.cache/ganjax."""
    if folder := os.environ.get("GANJAX_CACHE"):
        return expand(folder)
    return expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ganjax"


def expand(path: str | Path) -> Path:
    """`path` with the home of the user that it begins with, as it is where there is no such user.

    `Path.expanduser` fails on users that are not known.
    """
    return Path(os.path.expanduser(path))


def run_folder(text: str) -> Path:
    """The folder of a run, or of data: a path, or gs://BUCKET/PATH in Google Cloud Storage.

    Raises:
      UserError: the bucket cannot be reached, or what reaches it is not installed.
    """
    if "://" not in text:
        return expand(text)
    if not text.startswith("gs://"):
        raise UserError(f"{text}: only gs://BUCKET/PATH is known beside paths")
    try:
        import fsspec
        import gcsfs  # noqa: F401
        from etils import epath
    except ImportError as error:
        raise UserError(f"{text} needs gcsfs; pip install 'ganjax[gs]'") from error
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs what it raises, and more
    # Checkpoints come and go by another way, which a cached listing would not know of.
    fsspec.config.conf["gcs"] = {"use_listings_cache": False}
    folder = epath.Path(text)
    try:
        folder.exists()
    except Exception as error:  # of credentials, networks and buckets, in many types
        raise UserError(f"{text} cannot be reached: {one_line(error)}") from error
    return folder


def absolute(folder: Path) -> Path:
    """`folder` from the root on, or from its bucket."""
    return folder if in_bucket(folder) else folder.absolute()


def in_bucket(path: PurePath) -> bool:
    """Whether `path` is in a bucket: written whole or not at all, and never appended to."""
    return "://" in str(path)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, where they are missing.

    Raises:
      UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {folder}: {_reason(error)}") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all (`replacing`).

    Objects in buckets are whole by nature.

    Raises:
      UserError: the file cannot be written.
    """
    if in_bucket(path):
        path.write_bytes(content)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, renamed to it at the end of the block.

    A crash, or an error in the block, leaves the old file whole.

    Raises:
      UserError: the block, or the renaming, ended in an OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with suppress(OSError):  # on a disk that cannot be written there is nothing to remove
            temporary.unlink()


def _reason(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    cure = "; the disk is full: make room and run the command again" if full else ""
    return f"{error.strerror or error}{cure}"
