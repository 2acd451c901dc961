"""What a source of images is, and the one way to name it."""

import os
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import NamedTuple, Protocol

import numpy as np

from ganjax.data.fields import Field
from ganjax.errors import UserError
from ganjax.paths import expand

FORMS = (
    "avatars[:SPLIT][:ATTRIBUTE=VALUE], folder:PATH (a folder or a .zip; the PATH alone will do), "
    "paired:PATH, tfds:NAME[/CONFIG][:SPLIT] or lsun:PATH"
)


class Broken(NamedTuple):
    """An image that cannot be used, and why."""

    name: str
    reason: str


class Source(Protocol):
    """Images by number, each with other arrays that belong to it.

    Attributes:
      digest: text that changes when the content changes; part of the cache's key.
      fields: what its arrays are, by name; `image` first, where there is one.
    """

    digest: str

    @property
    def fields(self) -> Mapping[str, Field]: ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What people find the example by: a file's path, a record's number."""
        ...

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        """The examples at `indices`, without the broken ones.

        Returns:
          The arrays of `fields`, whose first axis is the example; and the broken examples. May run
          in several threads.
        """
        ...


def good_name(source: Source, broken: Sequence[Broken], index: int) -> str:
    """The name of good example `index` of a source: the broken ones are not counted."""
    if not broken:
        return source.name(index)
    bad = {example.name for example in broken}
    names = (name for name in map(source.name, count()) if name not in bad)
    return next(islice(names, index, None))


def is_there(spec: str) -> bool:
    """Whether a text names files that exist, with "folder:" in front of their path or without.

    "avatars" is the embedded data, whatever folders there are; ./avatars is that folder.
    """
    path = spec.removeprefix("folder:")
    return spec.partition(":")[0] != "avatars" and bool(path) and os.path.exists(expand(path))


def open_source(spec: str, *, split: str = "train") -> Source:
    """Opens the source that a text names: one of `FORMS`.

    Args:
      split: "train" or "test", for the sources that have both.

    Raises:
      UserError: the form is unknown, or there is no such data.
    """
    kind, _, where = spec.partition(":")
    # What looks like a path is one, so that a wrong one is told as such.
    if is_there(spec) or kind == "gs" or (":" not in spec and _looks_like_path(spec)):
        kind, where = "folder", spec.removeprefix("folder:")
    match kind:
        case "avatars":
            from ganjax.data.avatars.source import open_avatars

            return open_avatars(where, split=split)
        case "folder" if where:
            from ganjax.data.folder import open_files

            return open_files(_local(where))
        case "tfds" if where:
            from ganjax.data.tfds import open_tfds

            return open_tfds(where, split=split)
        case "paired" if where:
            from ganjax.data.paired import open_paired

            return open_paired(where, split=split)
        case "lsun" if where:
            from ganjax.data.lsun import open_lsun

            return open_lsun(_local(where))
    raise UserError(f"data.source is {spec!r}; give {FORMS}")


def _looks_like_path(text: str) -> bool:
    return os.sep in text or text.lower().endswith(".zip")


def _local(path: str) -> str:
    """The path itself, or that of a copy of what is in a bucket."""
    if "://" not in path:
        return path
    from ganjax.data.bucket import fetch

    return str(fetch(path))
