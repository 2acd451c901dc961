"""What a run writes beside its checkpoints: config, data, metrics, events, sample grids."""

import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from ml_collections import ConfigDict

from ganjax import locks, records
from ganjax.config import flat
from ganjax.data.fields import Field
from ganjax.data.folder import printable
from ganjax.errors import UserError
from ganjax.outputs import make_grid, write_image
from ganjax.paths import absolute, in_bucket, make_folder, write_atomic
from ganjax.provenance import provenance

CONFIG = "config.json"
DATA = "data.json"
FIELDS = "fields.json"
METRICS = "metrics.jsonl"
START = "start.json"  # from which folder the paths of the data lead on
# Fields that change how long a run lasts and what it reports, but not a single update.
FREE_FIELDS = (
    "total_kimg",
    "log_every",
    "save_every",
    "sample_every",
    "evaluate_every",
    "evaluate_metrics",
    "keep_checkpoints",
    "max_skips",
    "data.cache_dir",
)
# Fields that say where the data lies; what it is, `DATA` knows.
PLACES = ("data.source", "data.content", "data.style", "data.a", "data.b")


_BEFORE = {"checkpoints", locks.LOCK, locks.HOLDER}  # are there before the config is
# Orbax takes the paths of checkpoints for patterns, and no bytes that are not UTF-8.
_UNSAFE = "[]*?\\"


def check(
    folder: Path, config: ConfigDict, fill: Callable[[Mapping[str, Any]], ConfigDict]
) -> None:
    """Checks that `folder` is free for a run with `config` or already holds it; makes it.

    Args:
      fill: completes the config of a run that an older version saved.

    Raises:
      UserError: the folder holds a run whose config differs in more than `FREE_FIELDS` and
        `PLACES`, or something that is no run at all, its path cannot hold checkpoints, or it
        cannot be made.
    """
    whole = str(absolute(folder))
    if unsafe := [c for c in dict.fromkeys(whole) if c in _UNSAFE or "\ud800" <= c <= "\udfff"]:
        raise UserError(
            f"checkpoints cannot be kept in {printable(whole)}, for the "
            f"{printable(' '.join(unsafe))} in its path; give another --workdir"
        )
    if (folder / CONFIG).exists():
        old, new = flat(fill(load_config(folder))), flat(config)
        # The same images are the same data, wherever they lie; `claim` compares them.
        free = (*FREE_FIELDS, *(PLACES if (folder / DATA).exists() else ()))
        differing = [
            f"{name} is {_show(new, name)}, was {_show(old, name)}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and name not in free
        ]
        if differing:
            raise UserError(
                f"{folder} holds a run with another config: {'; '.join(differing)}; "
                "give the same config to resume it, or another --workdir to start a new run"
            )
    elif folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder as --workdir")
    elif folder.is_dir() and {child.name for child in folder.iterdir()} - _BEFORE:
        raise UserError(
            f"{folder} is not empty and holds no run ({CONFIG} is missing); give another --workdir"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make {folder}: {error.strerror or error}; give another --workdir"
        ) from error


def claim(
    folder: Path,
    config: Mapping[str, Any],
    contents: Mapping[str, Any],
    fields: Mapping[str, Field],
) -> None:
    """Makes `folder` the folder of a run with `config` on data with these `Pipeline.contents`.

    Args:
      fields: of the batches; they hold the names of classes and attributes.

    Raises:
      UserError: what is in the folder was trained on other images, or the processes of the run
        have different ones.
    """
    # All processes find the same: what the first one writes is what the others have, too.
    digest = zlib.crc32(records.dumps(contents).encode())
    if len(np.unique(process_allgather(np.uint32(digest)))) > 1:
        raise UserError("the processes of this run have different images; give all the same")
    earlier = _earlier(folder, contents)
    if jax.process_index() == 0:
        described = {name: field._asdict() for name, field in fields.items()}
        # Run and data may move together.
        here = os.getcwd() if in_bucket(folder) else os.path.relpath(".", os.path.realpath(folder))
        for name, values in (
            (CONFIG, config),
            (DATA, {**earlier, **contents}),
            (FIELDS, described),
            (START, {"folder": here}),
        ):
            write_atomic(folder / name, (records.dumps(values, indent=2) + "\n").encode())


def _earlier(folder: Path, contents: Mapping[str, Any]) -> dict[str, Any]:
    """What the run in `folder` was trained on before, which `contents` does not contradict."""
    path = folder / DATA
    try:
        earlier = json.loads(path.read_text())
        differing = [
            f"{_count(earlier[name])} of {name} then, {_count(streams)} now"
            for name, streams in contents.items()
            if earlier.get(name, streams) != streams
        ]
    except FileNotFoundError:  # a new run, or one of a version that did not write it
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}; delete it to go on without") from error
    if differing:
        raise UserError(
            f"{folder} holds a run on other images or labels: {'; '.join(differing)}; restore "
            f"them, delete {path} to go on with those of now, or give another --workdir to start "
            "a new run"
        )
    return earlier


def _count(streams: Sequence[Mapping[str, Any]]) -> int:
    return sum(stream["examples"] for stream in streams)


def load_config(folder: Path) -> dict[str, Any]:
    """The resolved config of the run in `folder`.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    try:
        return json.loads((folder / CONFIG).read_text())
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no run: {CONFIG} is missing; train first, or name the --workdir of "
            "a training run"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}") from error


def load_start(folder: Path) -> Path:
    """From where the paths of the data lead on that the run in `folder` is trained on.

    The folder of now for runs of older versions.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        there = json.loads((folder / START).read_text())["folder"]
        return Path(there if in_bucket(folder) else os.path.realpath(folder / there))
    return Path()


def load_fields(folder: Path) -> dict[str, Field]:
    """What the batches of the run in `folder` are made of; {} for runs of older versions."""
    path = folder / FIELDS
    if not path.exists():
        return {}
    try:
        described = json.loads(path.read_text())
        return {
            name: Field(kind, size, tuple(names), tuple(map(tuple, values)))
            for name, (kind, size, names, values) in (
                (name, field.values()) for name, field in described.items()
            )
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}; delete it to go on without") from error


def _show(flat: Mapping[str, Any], name: str) -> str:
    return records.dumps(flat[name]) if name in flat else "absent"


class Writer:
    """Writes a run's metrics and pictures; does nothing on processes other than the first.

    Rows of `metrics.jsonl` after `step` are dropped: they belong to steps that the run, resumed
    from its checkpoint of `step`, makes again.
    """

    def __init__(self, folder: Path, *, step: int):
        self._active = jax.process_index() == 0
        if not self._active:
            return
        from ganjax.training.tensorboard import Events

        self._folder = folder
        if (folder / METRICS).exists():
            rows = [row for row in read_metrics(folder) if row["step"] <= step]
            text = "".join(records.dumps(row) + "\n" for row in rows)
            write_atomic(folder / METRICS, text.encode())
        self._events = Events(folder / "tensorboard", step=step)

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Appends {"step": step, **row} to metrics.jsonl and the TensorBoard events."""
        if not self._active:
            return
        append_metrics(self._folder, [{"step": step, **row}])
        for name, value in row.items():
            self._events.scalar(name, value, step)

    def evaluation(self, step: int, row: Mapping[str, Any]) -> None:
        """Appends a result to metrics.jsonl, and its value to the events as evaluation/METRIC."""
        if not self._active:
            return
        append_metrics(self._folder, [row])
        self._events.scalar(f"evaluation/{row['metric']}", row["value"], step)

    def sheet(self, step: int, images: np.ndarray, *, seed: int) -> None:
        """Writes the sheet samples/STEP.png, step with nine digits.

        Args:
          images: [N, H, W, C] in [-1, 1], or [rows, columns, H, W, C] where the places mean
            something.
        """
        if not self._active:
            return
        columns = images.shape[1] if images.ndim == 5 else None
        grid = make_grid(images.reshape(-1, *images.shape[-3:]), columns=columns)
        folder = self._folder / "samples"
        make_folder(folder)
        made = provenance(seed=seed, checkpoint=f"step {step}")
        write_image(folder / f"{step:09d}.png", grid, made=made)
        self._events.image("samples", grid, step)

    def close(self) -> None:
        if self._active:
            self._events.close()


def append_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Appends rows to metrics.jsonl, in one piece: the run may be going on."""
    if jax.process_index() != 0:
        return
    path, text = folder / METRICS, "".join(records.dumps(row) + "\n" for row in rows)
    if in_bucket(path):
        path.write_text((path.read_text() if path.exists() else "") + text)
    else:
        with path.open("a") as file:
            file.write(text)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; a row cut short by a crash is left out."""
    rows = []
    for line in (folder / METRICS).read_text().splitlines():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows
