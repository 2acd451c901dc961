"""A trained model as a set of images, and its evaluation while it trains."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ganjax import tasks
from ganjax.errors import UserError
from ganjax.evaluation.measure import Result, check_needs, load_programs, measure
from ganjax.evaluation.sets import ImageSet, make_generator, make_translator, open_set
from ganjax.images import parse_image_size
from ganjax.metrics.protocols import Protocol, parse
from ganjax.training import devices
from ganjax.training.loop import Evaluation
from ganjax.training.state import State, Trained
from ganjax.training.task import Model, Task

COUNT = 5000  # images, where the user names no metric
BATCH_SIZE = 64


class _Stopped(Exception):
    """Somebody asked the training to stop."""


def split_batch(batch_size: int) -> tuple[Mesh, int]:
    """A mesh over all devices, and `batch_size` rounded up to what can be split over it."""
    count = len(jax.devices())
    batch_size = -(-batch_size // count) * count
    return devices.make_mesh((batch_size,)), batch_size


def default_metrics(source: str, *sizes: int | None) -> list[Protocol]:
    """What suits sets of these sizes, one of them of a source, and needs no download.

    The classifier of portraits for avatars, else Tiny Darknet, whose weights are imported once. Of
    files, some may be broken: where all are needed, all that are good will do.
    """
    size = min(size for size in sizes if size is not None)
    count = min(size, COUNT)
    embedded = source.removeprefix("paired:").partition(":")[0] == "avatars"
    extractor = "avatars" if embedded else "tiny_darknet"
    kinds = ["frechet", *(["kernel"] if count >= 1000 else [])]
    kinds += ["attributes"] if extractor == "avatars" else ["precision_recall"]
    whole = "_full" if size < COUNT and extractor != "avatars" else ""
    return list(parse(",".join(f"{kind}{count}{whole}_{extractor}" for kind in kinds)))


def make_images(model: Model, config: ConfigDict, mesh: Mesh) -> Callable[[Trained, int], ImageSet]:
    """(trained, seed) -> the images that a run's model makes.

    Models that turn images into images are given those of the run's data.

    Raises:
      UserError: it makes none.
    """
    if not model.image:
        raise UserError(f"{config.task} draws no images")
    if model.draw is not None:
        return make_generator(model, mesh)
    image_size = parse_image_size(config.data.image_size)

    def inputs() -> Iterator[Mapping[str, np.ndarray]]:
        return tasks.make_data(config).batches(
            seed=config.seed, first=0, batch_size=config.batch_size, image_size=image_size
        )

    return make_translator(model, inputs, mesh, image_size)


def open_data(
    model: Model,
    config: ConfigDict,
    mesh: Mesh,
    image_size: tuple[int, int],
    *,
    raw_colors: bool = False,
) -> ImageSet:
    """The images of a run's data that its model's shall be like (`Model.real`).

    Args:
      raw_colors: leave color profiles of files out.

    Returns:
      Them, named as the source that they come from.

    Raises:
      UserError: there are none, or they come from several sources.
    """
    found = [
        (stream.spec, name)
        for stream in tasks.make_data(config).streams
        for name, new_name in stream.names.items()
        if new_name == model.real
    ]
    if len(found) != 1:
        raise UserError(
            f"the run's data has {'several sources of' if found else 'no'} images to compare with; "
            "name some, --reference=SOURCE (in training, set evaluate_every to 0)"
        )
    ((spec, array),) = found
    return open_set(
        spec,
        mesh,
        image_size=image_size,
        channels=config.data.channels,
        limit=config.data.limit,
        array=array,
        raw_colors=raw_colors,
    )


def to_row(result: Result, run: dict[str, Any]) -> dict[str, Any]:
    """A result as a row of metrics.jsonl: the number, and all that it takes to make it again."""
    protocol = result.protocol
    about = {name: value for name, value in run.items() if name not in ("step", "kimg")}
    return {
        **{name: run[name] for name in ("step", "kimg") if name in run},
        "metric": protocol.name,
        "value": next(iter(result.values.values())),
        **result.values,
        "protocol": protocol.text,
        "n": result.size,
        "n_reference": result.reference_size,
        "extractor": protocol.extractor,
        "digest": result.digest,
        **about,
    }


def make_evaluation(task: Task, config: ConfigDict) -> Evaluation:
    """What the loop asks for every `evaluate_every` kimg.

    The metrics are those of `ganjax evaluate` with seed 0, against the run's own data.

    Args:
      config: read are `evaluate_metrics` ("" for `default_metrics`) and `data`.

    Raises:
      UserError: a metric is unknown, or its weights are missing.
    """
    mesh, batch_size = split_batch(BATCH_SIZE)
    reference = open_data(task.model, config, mesh, task.phases[-1].image_size)
    names = config.evaluate_metrics
    wanted = parse(names) if names else default_metrics(reference.name, reference.size)
    for protocol in wanted:
        if protocol.paired:
            raise UserError(f"evaluate_metrics: {protocol.name} compares files; leave it out")
        check_needs(protocol, reference._replace(size=None), reference)  # now, not hours later
    programs = load_programs(wanted, mesh)
    images_of = make_images(task.model, config, mesh)

    def run(state: State, stop: Callable[[], bool]) -> list[dict[str, Any]] | None:
        sets = (images_of(state.trained, 0), reference)
        generated, real = (_stoppable(images, stop) for images in sets)
        try:
            results, _ = measure(wanted, generated, real, programs, batch_size=batch_size)
        except _Stopped:
            return None
        progress = {"step": int(state.step), "kimg": int(state.images) / 1000}
        about = {**progress, "seed": 0, "average": "ema", "reference": reference.name}
        return [to_row(result, about) for result in results]

    return Evaluation(wanted[0].name, wanted[0].lower_is_better, run)


def _stoppable(images: ImageSet, stop: Callable[[], bool]) -> ImageSet:
    def batches(count: int, batch_size: int) -> Iterator:
        for batch in images.batches(count, batch_size):
            if stop():
                raise _Stopped
            yield batch

    return images._replace(batches=batches)
