"""A training run, loaded from its folder."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ml_collections import ConfigDict

from ganjax import tasks
from ganjax.data.fields import Field
from ganjax.data.source import seen_from
from ganjax.errors import UserError
from ganjax.metrics.protocols import parse
from ganjax.paths import absolute
from ganjax.training import devices, nonfinite, workdir
from ganjax.training.checkpoints import Checkpoints, DamagedCheckpoint
from ganjax.training.state import Trained
from ganjax.training.step import train_key
from ganjax.training.task import Model

Average = Literal["ema", "live"]


class Run(NamedTuple):
    """A trained model and where it comes from.

    Attributes:
      config: that it was trained with, today's defaults where it was saved without a field.
      model: whose inputs have the names of the run's classes and attributes.
      trained: what it draws with.
      step: of the checkpoint.
      checkpoint: its name, like "step 3125 1f2e3d4c".
    """

    config: ConfigDict
    model: Model
    trained: Trained
    step: int
    checkpoint: str


def load(
    folder: Path,
    *,
    step: int | str | None = None,
    average: Average = "ema",
    direction: str = "",
) -> Run:
    """Loads the model of the run in `folder`, and nothing that only training needs.

    Args:
      step: of the checkpoint, a number or "best", by the first metric that the run was evaluated
        with while it trained; None for the newest.
      average: the networks' running averages, or their last weights.
      direction: "AtoB" or "BtoA" of a model that translates; "" for that of the config.

    Raises:
      UserError: there is no run, no such checkpoint, it is damaged, or the model has no such
        direction.
    """
    config = load_config(folder)
    model = tasks.make_model(config)
    if direction:
        if direction not in model.directions:
            can = " or ".join(model.directions)
            hint = f"it was trained {can}: leave it out" if can else "it has none: leave it out"
            raise UserError(f"--direction {direction}: {hint}")
        config.data.direction = direction
        model = tasks.make_model(config)
    model = _named(model, workdir.load_fields(folder))
    checkpoints = Checkpoints.read_only(folder / "checkpoints")
    if not checkpoints.steps:
        raise UserError(f"{folder} holds no checkpoint yet; train until the first save")
    if step == "best":
        step = _best_step(folder, checkpoints)
    elif step is None:
        step = checkpoints.steps[-1]
    if str(step) not in map(str, checkpoints.steps):
        raise UserError(
            f"there is no checkpoint of step {step}; "
            f"there is {', '.join(map(str, checkpoints.steps))}"
        )
    step = int(step)
    try:
        trained = checkpoints.load_trained(step, average)
    except DamagedCheckpoint as damage:
        raise UserError(f"{damage}; choose another with --checkpoint") from damage
    return Run(config, model, trained, step, f"step {step} {checkpoints.digest(step)}")


def load_config(folder: Path) -> ConfigDict:
    """The config of the run in `folder`, with today's defaults for fields that it lacks.

    Relative paths of data that lead nowhere from here on begin where the run was started.

    Raises:
      UserError: there is no run.
    """
    config, start = tasks.fill(workdir.load_config(folder)), workdir.load_start(folder)
    with config.unlocked():
        for name in ("source", "content", "style"):
            match config.data.get(name):
                case str() as source:
                    config.data[name] = seen_from(start, source)
                case tuple() | list() as sources:
                    config.data[name] = type(sources)(seen_from(start, s) for s in sources)
    return config


def _named(model: Model, fields: dict[str, Field]) -> Model:
    """`model` with the names that its run's data gave to classes and attributes."""
    inputs = {
        name: fields[name] if name in fields and fields[name].kind == field.kind else field
        for name, field in model.inputs.items()
    }
    return model._replace(inputs=inputs)


def replay(folder: Path) -> Iterator[str]:
    """Does the step again that stopped a run, and was kept in `folder`; see `nonfinite.replay`.

    With `parallel` "pmap" each device of this machine takes its part of the batch.

    Raises:
      UserError: the folder holds no such step, or its run's config is gone.
    """
    config = load_config(absolute(folder).parent)
    task = tasks.make(config)
    mesh = devices.make_mesh(tuple(phase.batch_size for phase in task.phases))
    task = devices.spread(task, config.parallel, mesh)
    yield from nonfinite.replay(task, folder, partial(train_key, config.seed))


def _best_step(folder: Path, checkpoints: Any) -> int:
    """By the metric of the newest evaluation; the newest of equals."""
    saved = checkpoints.metrics
    if not saved:
        raise UserError(f"{folder} was not evaluated while it trained; name a step instead of best")
    (name,) = saved[max(saved)]
    (protocol,) = parse(name)
    values = {step: metrics[name] for step, metrics in saved.items() if name in metrics}
    best = min if protocol.lower_is_better else max
    return best(sorted(values, reverse=True), key=values.__getitem__)
