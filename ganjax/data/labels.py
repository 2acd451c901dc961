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
        folder, _, file = path.rpartition("/")
        known = _read_list(file, read(), path)
        if known is None:
            continue
        if not known:  # StyleGAN's folders are parts, not classes
            return None
        prefix = f"{folder}/" if folder else ""
        labels = {f"{prefix}{name}": label for name, label in known.items()}
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


def _read_list(file: str, content: bytes, path: str) -> dict[str, str] | None:
    """Labels by name; {} where the list says that there are none, None where it has no labels."""
    try:
        text = content.decode("utf-8-sig")
        rows: list[Any]
        match file:
            case "dataset.json":
                pairs = json.loads(text)["labels"]
                return {_clean(name): str(label) for name, label in pairs or ()}
            case "metadata.csv":
                rows = list(csv.DictReader(io.StringIO(text)))
            case _:
                rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not rows or "label" not in rows[0]:
            return None
        return {_clean(row["file_name"]): str(row["label"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no list of labels ({type(error).__name__}); mend or remove it"
        ) from error


def _clean(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
