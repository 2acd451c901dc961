"""A training run, loaded from its folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganjax.errors import UserError
from ganjax.paths import absolute


def load_run(workdir: Path, step: int | str | None = None) -> tuple[Any, Any, str]:
    """Loads the task and a checkpoint of the run in `workdir`.

    Args:
      step: of the checkpoint, a number or "best", by the first metric that the run was evaluated
        with while it trained; None for the newest.

    Returns:
      The task, its state, and the checkpoint's name, like "step 3125 1f2e3d4c".

    Raises:
      UserError: there is no run, no such checkpoint, or it is damaged.
    """
    import jax

    from ganjax import tasks
    from ganjax.training.checkpoints import Checkpoints, DamagedCheckpoint

    task = tasks.make(_config(workdir))
    checkpoints = Checkpoints.read_only(workdir / "checkpoints")
    if not checkpoints.steps:
        raise UserError(f"{workdir} holds no checkpoint yet; train until the first save")
    if step == "best":
        step = _best_step(workdir, checkpoints)
    elif step is None:
        step = checkpoints.steps[-1]
    if str(step) not in map(str, checkpoints.steps):
        raise UserError(
            f"there is no checkpoint of step {step}; "
            f"there is {', '.join(map(str, checkpoints.steps))}"
        )
    step = int(step)
    try:
        state = checkpoints.load(step, jax.eval_shape(task.init, jax.random.key(0)))
    except DamagedCheckpoint as damage:
        raise UserError(f"{damage}; choose another with --checkpoint") from damage
    return task, state, f"step {step} {checkpoints.digest(step)}"


def load_generator(workdir: Path, step: str | None, weights: str) -> tuple[Any, Any, str]:
    """`load_run` of a model that draws images, whose averages are the weights wanted.

    Args:
      weights: "ema", the running average, or "live", the last weights.

    Raises:
      UserError: as `load_run`, or the run draws no images.
    """
    task, state, checkpoint = load_run(workdir, step)
    if "classifier" in state.networks:
        raise UserError(f"{workdir} trained a classifier, which draws no images")
    if weights == "live":
        live = {role: state.networks[role].variables for role in state.averages}
        state = state.replace(averages=live)
    return task, state, checkpoint


def replay(folder: Path) -> Iterator[str]:
    """Does the step again that stopped a run, and was kept in `folder`; see `nonfinite.replay`.

    With `parallel` "pmap" each device of this machine takes its part of the batch.

    Raises:
      UserError: the folder holds no such step, or its run's config is gone.
    """
    from functools import partial

    from ganjax import tasks
    from ganjax.training import devices, nonfinite
    from ganjax.training.loop import train_key

    config = _config(absolute(folder).parent)
    task = tasks.make(config)
    if config.parallel == "pmap":
        mesh = devices.make_mesh(tuple(phase.batch_size for phase in task.phases))
        task = task._replace(train_step=devices.per_device(task.train_step, mesh))
    yield from nonfinite.replay(task, folder, partial(train_key, config.seed))


def _config(workdir: Path) -> Any:
    """The config of the run in `workdir`, without the file that its weights started from."""
    from ml_collections import ConfigDict

    from ganjax.training.workdir import load_config

    config = ConfigDict(load_config(workdir))
    if "init_from" in config:
        config.init_from = ""  # the checkpoint holds what became of it; the file may be gone
    return config


def _best_step(workdir: Path, checkpoints: Any) -> int:
    """By the metric of the newest evaluation; the newest of equals."""
    from ganjax.metrics.protocols import parse

    saved = checkpoints.metrics
    if not saved:
        raise UserError(
            f"{workdir} was not evaluated while it trained; name a step instead of best"
        )
    (name,) = saved[max(saved)]
    (protocol,) = parse(name)
    values = {step: metrics[name] for step, metrics in saved.items() if name in metrics}
    best = min if protocol.lower_is_better else max
    return best(sorted(values, reverse=True), key=values.get)
