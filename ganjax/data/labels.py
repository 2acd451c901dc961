"""Which class each image of a folder or archive has: by a list beside the images, or by folders."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganjax.errors import UserError

LISTS = ("dataset.json", "metadata.csv", "metadata.jsonl")


def find_labels(names: Sequence[str], lists: Mapping[str, Callable[[], bytes]]) -> list[str] | None:
    """The class of each image; None where there are no classes.

    A list decides where there is one: StyleGAN's `dataset.json`, or `metadata.csv` and
    `metadata.jsonl` with `file_name` and `label`, as in Hugging Face's ImageFolder. Else the
    first-level folders are classes, but for folders that lie around everything.

    Args:
      names: of the images, with "/" between folders.
      lists: by name, what reads the files that are called as one of `LISTS`.

    Raises:
      UserError: a list cannot be read, or lacks an image.
    """
    for path, read in sorted(lists.items(), key=lambda item: item[0].count("/")):
        known = read_list(path, read(), "label")
        if known is None:
            continue
        if not known:  # StyleGAN's folders are parts, not classes
            return None
        labels = dict(known)
        if missing := [name for name in names if name not in labels]:
            raise UserError(
                f"{path} has no label of {len(missing)} images, {missing[0]} first; add them, or "
                "remove the file to have the folders as classes"
            )
        return [labels[name] for name in names]
    return _by_folders(names)


def in_order(labels: Sequence[str]) -> tuple[str, ...]:
    """The classes that are there, numbers by their size, others by the alphabet."""
    found = set(labels)
    return tuple(sorted(found, key=int if all(map(str.isdecimal, found)) else None))


def _by_folders(names: Sequence[str]) -> list[str] | None:
    parts = [name.split("/") for name in names]
    while len({part[0] for part in parts}) == 1 and all(len(part) > 1 for part in parts):
        parts = [part[1:] for part in parts]
    labels = [part[0] if len(part) > 1 else "" for part in parts]
    return labels if any(labels) else None


def read_list(path: str, content: bytes, column: str) -> list[tuple[str, str]] | None:
    """Names of images as seen from the list's parent, with their values in one of its columns.

    Args:
      path: of the list, one of `LISTS` in a folder or at the top.
      column: "label", or another one of `metadata.csv` or `metadata.jsonl`.

    Returns:
      In the list's order; [] where it says that there are none, None where it has no such column.

    Raises:
      UserError: it cannot be read.
    """
    folder, _, file = path.rpartition("/")
    prefix = f"{folder}/" if folder else ""
    try:
        text = content.decode("utf-8-sig")
        rows: list[Any]
        match file:
            case "dataset.json":
                if column != "label":
                    return None
                pairs = json.loads(text)["labels"] or ()
                return [(prefix + _clean(name), str(label)) for name, label in pairs]
            case "metadata.csv":
                rows = list(csv.DictReader(io.StringIO(text)))
            case _:
                rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not rows or column not in rows[0]:
            return None
        return [(prefix + _clean(row["file_name"]), str(row[column])) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no list of {column}s ({type(error).__name__}); mend or remove it"
        ) from error


def _clean(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
