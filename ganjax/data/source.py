"""What a source of images is, and the one way to name it."""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ganjax.data.fields import Field
from ganjax.errors import UserError
from ganjax.images import DECLARED, Reading
from ganjax.paths import expand

FORMS = (
    "avatars[:SPLIT][:ATTRIBUTE=VALUE], folder:PATH (a folder or a .zip; the PATH alone will do), "
    "paired:PATH, tfds:NAME[/CONFIG][:SPLIT], lsun:PATH or stacked:SOURCE"
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


def is_embedded(spec: str) -> bool:
    """Whether a text names data in the package: avatars, or pairs or two sides of them."""
    return re.sub("^(un)?paired:", "", spec).partition(":")[0] == "avatars"


def seen_from(folder: Path, spec: str) -> str:
    """`spec` with its path from `folder` on, where that exists and does not from here on."""
    found = re.fullmatch(r"(folder:|lsun:|(?:un)?paired:(?!avatars)|)([^:]+)(:\w+)?", spec)
    embedded = spec.partition(":")[0] == "avatars"
    if not found or embedded or found[3] and found[1] != "paired:":
        return spec
    kind, path, split = found.groups(default="")
    names = [path]
    while names[-1] != (shorter := re.sub(r"[@*]\d+$", "", names[-1])):  # see `streams.unpaired`
        names.append(shorter)
    names.append(re.sub(r"(?i)(\.zip)/.*", r"\1", names[-1]))  # of a folder inside
    here, there = (
        any(os.path.exists(base / expand(name)) for name in names) for base in (Path(), folder)
    )
    return f"{kind}{folder / path}{split}" if there and not here else spec


def open_source(
    spec: str,
    *,
    split: str = "train",
    reading: Reading = DECLARED,
    follow_links: bool = False,
    **pairs: Any,
) -> Source:
    """Opens the source that a text names: one of `FORMS`.

    Args:
      split: "train" or "test", for the sources that have both.
      reading, follow_links: of files, see `folder.open_files`.
      pairs: how those of paired:PATH are read, see `paired.open_paired`.

    Raises:
      UserError: the form is unknown, there is no such data, or it has no files to be read otherwise
        than by default.
    """
    kind, _, where = spec.partition(":")
    # What looks like a path is one, so that a wrong one is told as such.
    if is_there(spec) or kind == "gs" or (":" not in spec and _looks_like_path(spec)):
        kind, where = "folder", spec.removeprefix("folder:")
    if kind not in ("folder", "paired") and reading != DECLARED:
        name = "range" if reading.range else "raw_colors"
        raise UserError(f"{name} is for files; {spec} is no folder or .zip: leave it out")
    match kind:
        case "avatars":
            from ganjax.data.avatars.source import open_avatars

            return open_avatars(where, split=split)
        case "folder" if where:
            from ganjax.data.folder import open_files

            return open_files(_local(where), reading=reading, follow_links=follow_links)
        case "tfds" if where:
            from ganjax.data.tfds import open_tfds

            return open_tfds(where, split=split)
        case "paired" if where:
            from ganjax.data.paired import open_paired

            return open_paired(
                where, split=split, reading=reading, follow_links=follow_links, **pairs
            )
        case "lsun" if where:
            from ganjax.data.lsun import open_lsun

            return open_lsun(_local(where))
        case "stacked" if where:
            from ganjax.data.stacked import Stacked

            return Stacked(open_source(where, split=split, follow_links=follow_links), spec=where)
    raise UserError(f"data.source is {spec!r}; give {FORMS}")


def _looks_like_path(text: str) -> bool:
    return os.sep in text or text.lower().endswith(".zip")


def _local(path: str) -> str:
    """The path itself, or that of a copy of what is in a bucket."""
    if "://" not in path:
        return path
    from ganjax.data.bucket import fetch

    return str(fetch(path))
