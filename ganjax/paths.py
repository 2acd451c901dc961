"""The user's folders: of what can be made again, and of runs and data, here or in a bucket."""

import logging
import os
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
