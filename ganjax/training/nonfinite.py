"""Updates that are not finite: skipped, counted, and kept for a second look where they go on."""

import io
import json
import math
import traceback
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import records
from ganjax.errors import UserError
from ganjax.paths import write_atomic
from ganjax.training.checkpoints import Checkpoints, DamagedCheckpoint
from ganjax.training.state import State
from ganjax.training.step import SKIPS
from ganjax.training.task import Task, TrainStep
from ganjax.trees import named_leaves

_RECENT = 20  # steps that a report tells of
_NAMED = 5  # arrays that a replay names
_PACKAGE = Path(__file__).parents[1]


class Failure(NamedTuple):
    """A step whose update was not finite.

    Attributes:
      step: its number, from 1.
      skips: updates skipped in succession, this one among them.
      values: the step's metrics.
    """

    step: int
    skips: int
    values: dict[str, float]

    def __str__(self) -> str:
        bad = [f"{name} is {x}" for name, x in self.values.items() if not math.isfinite(x)]
        return f"step {self.step}: {', '.join(bad)}"


class Watch:
    """Reads the metrics of a guarded run's steps, in order."""

    def __init__(self):
        self.recent: deque[dict[str, float]] = deque(maxlen=_RECENT)
        self._skipped = 0

    def look(self, step: int, kimg: float, values: dict[str, float]) -> Failure | None:
        """Takes the metrics of step number `step`; None where its update was made."""
        skips = int(values.pop(SKIPS))
        self.recent.append({"step": step, "kimg": kimg, **values})
        if not skips:
            return None
        self._skipped += 1
        return Failure(step, skips, values)

    def take_skipped(self) -> dict[str, int]:
        """{"skipped": updates skipped since this was asked last}, {} for none."""
        skipped, self._skipped = self._skipped, 0
        return {"skipped": skipped} if skipped else {}


def write_report(
    folder: Path,
    failure: Failure,
    state: State,
    batch: Mapping[str, Any],
    examples: Mapping[str, Sequence[str]],
    recent: Sequence[Mapping[str, float]],
) -> Path:
    """Keeps a failing step in `folder`/nonfinite_STEP, for `replay`; of every process.

    It holds report.json (the failure, the names of the batch's examples, the metrics of the steps
    before), batch.npz and a checkpoint of `state`, the one before the step.
    """
    target = folder / f"nonfinite_{failure.step}"
    target.mkdir(exist_ok=True)
    checkpoints = Checkpoints(target / "checkpoints")
    if failure.step - 1 not in checkpoints.steps:
        checkpoints.save(failure.step - 1, state)
    checkpoints.close()
    if jax.process_index() == 0:
        content = io.BytesIO()
        np.savez(content, **batch)
        write_atomic(target / "batch.npz", content.getvalue())
        report = {
            "step": failure.step,
            "failure": str(failure),
            "examples": {name: list(names) for name, names in examples.items()},
            "recent": list(recent),
        }
        write_atomic(target / "report.json", (records.dumps(report, indent=1) + "\n").encode())
    return target


def replay(task: Task, folder: Path, rng: Callable[[Array], Array]) -> Iterator[str]:
    """Does a step again that `write_report` kept: what is not finite, and where that began.

    Args:
      task: of the run.
      rng: of a step's number, before it: the run's random key.

    Yields:
      Lines of text.

    Raises:
      UserError: the folder holds no report, or what it holds is damaged.
    """
    try:
        report = json.loads((folder / "report.json").read_text())
        content = io.BytesIO((folder / "batch.npz").read_bytes())
        with np.load(content, allow_pickle=False) as file:
            batch = {name: jnp.asarray(file[name]) for name in file.files}
        like = jax.eval_shape(task.init, jax.random.key(0))
        checkpoints = Checkpoints.read_only(folder / "checkpoints")
        state = checkpoints.load(report["step"] - 1, like)
        names = report["examples"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, DamagedCheckpoint) as error:
        raise UserError(
            f"{folder} holds no step to replay ({error}); name a folder nonfinite_STEP of a run"
        ) from error
    yield report["failure"]
    for name, examples in names.items():
        yield f"{name}: {', '.join(examples)}"
    key, step = rng(state.step), task.step_of(task.phase_at(int(state.step)))
    new, metrics = jax.jit(step)(state, batch, key)
    for name, value in sorted(metrics.items()):
        yield f"{name:<28}{float(value):.6g}"
    yield from _describe(new)
    yield _find_origin(step, state, batch, key)


def _describe(state: State) -> Iterator[str]:
    """Which parameters are not finite."""
    for role, network in state.networks.items():
        params = named_leaves(network.params)
        counts = {name: int((~jnp.isfinite(x)).sum()) for name, x in params.items()}
        total = sum(x.size for x in params.values())
        bad = {name: count for name, count in counts.items() if count}
        if bad:
            named = ", ".join(list(bad)[:_NAMED]) + (", ..." if len(bad) > _NAMED else "")
            yield f"{role}: {sum(bad.values()):,} of {total:,} parameters not finite: {named}"
        else:
            yield f"{role}: all {total:,} parameters finite after the update"


def _find_origin(step: TrainStep, *arguments: Any) -> str:
    """Runs `step` operation by operation up to the first result that is not finite."""
    for check in (jax.debug_nans, jax.debug_infs):
        try:
            with check(True), redirect_stdout(None):  # JAX says on its own that it does this
                jax.block_until_ready(jax.jit(step)(*arguments))
        except FloatingPointError as error:
            what = str(error).strip().splitlines()[0].rstrip(".")
            frames = traceback.extract_tb(error.__traceback__)
            places = [
                f"{Path(frame.filename).relative_to(_PACKAGE)}:{frame.lineno}"
                for frame in frames
                if Path(frame.filename).is_relative_to(_PACKAGE) and frame.filename != __file__
            ]
            return f"the first of it: {what}, at " + " > ".join(places or ["a place of JAX's own"])
    return "every result is finite when the operations run one by one"
