"""A training run, loaded from its folder, or its model from the file that was exported of it."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ganjax import records, tasks, weights
from ganjax.data.source import is_embedded, seen_from
from ganjax.errors import UserError, one_line
from ganjax.images import parse_image_size
from ganjax.metrics.protocols import parse
from ganjax.paths import absolute, run_folder
from ganjax.training import devices, nonfinite, workdir
from ganjax.training.checkpoints import Checkpoints, DamagedCheckpoint
from ganjax.training.state import Trained
from ganjax.training.step import train_key
from ganjax.training.task import Model
from ganjax.weights.safetensors import read_metadata

Average = Literal["ema", "live"]

# Fields that lead to files of one machine, and those that name weights, which may be files.
_PATHS = (*workdir.PLACES, "data.folders", "data.cache_dir", "init_from")
_WEIGHTS = ("model.encoder", "loss.encoders", "loss.teacher")


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
    source: str | Path,
    *,
    step: int | str | None = None,
    average: Average = "ema",
    direction: str = "",
) -> Run:
    """Loads the model of a run, and nothing that only training needs.

    Args:
      source: the folder of the run; FILE.safetensors of `ganjax export`; or, as a text, the name
        of a model in the package, where no folder has that name.
      step: of the checkpoint, a number or "best", by the first metric that the run was evaluated
        with while it trained; None for the newest.
      average: the networks' running averages, or their last weights.
      direction: "AtoB" or "BtoA" of a model that translates; "" for that of the config.

    Raises:
      UserError: there is no run, no such checkpoint, it is damaged, or the model has no such
        direction. Of a file: it holds no whole model, or is asked for a checkpoint or "live".
    """
    path = _find(source) if isinstance(source, str) else source
    if not is_file(path):
        config, model = _make_model(path, direction)
        model = model.named(workdir.load_fields(path))
        return Run(config, model, *_load_checkpoint(path, step, average))
    if step is not None or average != "ema":
        raise UserError(f"{path} has one set of weights; leave --checkpoint and --average out")
    try:
        return _load_file(path, direction)
    except UserError:
        raise
    except Exception as error:  # what strangers wrote into a config may fail anywhere
        raise UserError(
            f"the config and the arrays in {path} do not fit ({one_line(error)}); export it again"
        ) from error


def load_config(path: Path) -> ConfigDict:
    """The config of a run's folder or a model's file, with today's defaults for missing fields.

    Relative paths of data that lead nowhere from here on begin where the run was started.

    Raises:
      UserError: there is no run, or no config in the file.
    """
    if is_file(path):
        return tasks.fill(_read_config(path))
    config, start = tasks.fill(workdir.load_config(path)), workdir.load_start(path)
    with config.unlocked():
        for name in (place.removeprefix("data.") for place in workdir.PLACES):
            match config.data.get(name):
                case str() as source:
                    config.data[name] = seen_from(start, source)
                case tuple() | list() as sources:
                    config.data[name] = type(sources)(seen_from(start, s) for s in sources)
    return config


def is_file(path: Path) -> bool:
    """Whether `path` is that of a model's file; else it is a run's folder."""
    return path.suffix == ".safetensors" and not path.is_dir()


def to_arrays(
    run: Run, networks: Sequence[str], dtype: Any
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and metadata of a file that `load` takes, for `write_safetensors`.

    It says nothing of the machine: fields of the config that may be paths are empty, but for data
    that is in the package. Names of arrays begin with the role of their network where there are
    several.

    Args:
      networks: the roles of those that are written; all make a whole model.
      dtype: of their parameters.
    """
    metadata = {
        "network": ", ".join(sorted(networks)),
        "networks": ", ".join(sorted(run.trained.variables)),
        "checkpoint": run.checkpoint,
        "kimg": f"{int(run.trained.images) / 1000:.10g}",  # exact: growth goes by it
        "config": records.dumps(_without_paths(run.config.to_dict())),
        "fields": records.dumps(workdir.describe_fields(run.model.inputs)),
    }
    variables = {role: run.trained.variables[role] for role in networks}
    one, *others = variables.values()
    return weights.name_variables(_turned(variables) if others else one, dtype), metadata


def _turned(variables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Collections by role -> roles by collection, and the other way round."""
    names = dict.fromkeys(name for one in variables.values() for name in one)
    return {n: {key: one[n] for key, one in variables.items() if n in one} for n in names}


def _find(name: str) -> Path:
    path, model = run_folder(name), weights.model_path(name)
    return model if os.path.isfile(model) and not path.exists() else path


def _make_model(path: Path, direction: str) -> tuple[ConfigDict, Model]:
    """The config of that direction, and its model."""
    config = load_config(path)
    model = tasks.make_model(config)
    if direction:
        if direction not in model.directions:
            can = " or ".join(model.directions)
            hint = f"it was trained {can}: leave it out" if can else "it has none: leave it out"
            raise UserError(f"--direction {direction}: {hint}")
        config.data.direction = direction
        model = tasks.make_model(config)
    return config, model


def _load_checkpoint(
    folder: Path, step: int | str | None, average: Average
) -> tuple[Trained, int, str]:
    """What the run in `folder` draws with, its step, and the name of the checkpoint."""
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
    return trained, step, f"step {step} {checkpoints.digest(step)}"


def _load_file(path: Path, direction: str) -> Run:
    config, model = _make_model(path, direction)
    metadata = read_metadata(path)
    model = model.named(workdir.parse_fields(json.loads(metadata["fields"])))
    images, checkpoint = round(1000 * float(metadata["kimg"])), metadata["checkpoint"]
    variables, (role, *others) = weights.load_variables(path), metadata["network"].split(", ")
    variables = _turned(variables) if others else {role: variables}
    trained = Trained(jnp.int32(images), jax.tree.map(jnp.asarray, variables))
    # Once through the model, whose arrays they may not be; nothing is computed.
    image_size = parse_image_size(config.data.image_size)
    arrays = {n: f.array(image_size, config.data.channels) for n, f in model.inputs.items()}
    inputs = {name: jax.ShapeDtypeStruct((1, *shape), t) for name, (shape, t) in arrays.items()}
    jax.eval_shape(model.sample, trained, inputs, jax.random.key(0))
    return Run(config, model, trained, int(checkpoint.split()[1]), checkpoint)


def _read_config(path: Path) -> dict[str, Any]:
    """The config in a model's file, of a known task."""
    weights.check_model(path)
    metadata = read_metadata(path)
    if "config" not in metadata:
        raise UserError(
            f"{path} has no config: it was exported by an older version or is not of "
            "`ganjax export`; give --workdir"
        )
    network, needed = (metadata.get(name) for name in ("network", "networks"))
    if network != needed:
        raise UserError(f"{path} holds {network} alone, of {needed}; give --workdir")
    try:
        config = json.loads(metadata["config"])
        tasks.module(config["task"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"the config in {path} cannot be read: {one_line(error)}") from error
    return config


def _without_paths(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields of a config, empty where they may be paths."""

    def keep(name: str, value: Any) -> Any:
        match value:
            case dict():
                return _without_paths(value, f"{name}.")
            case list() | tuple():
                return [one for one in value if not _may_be_path(name, one)]
        return "" if _may_be_path(name, value) else value

    return {name: keep(prefix + name, value) for name, value in fields.items()}


def _may_be_path(field: str, value: Any) -> bool:
    if field in _WEIGHTS:
        return ".safetensors" in value
    return field in _PATHS and not is_embedded(value)


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
