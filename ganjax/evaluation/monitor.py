"""A trained model as a set of images, and its evaluation while it trains."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ganjax import seeds, tasks
from ganjax.data.pipeline import Pipeline
from ganjax.data.source import is_embedded
from ganjax.errors import UserError
from ganjax.evaluation.measure import (
    Result,
    check_needs,
    compare_images,
    compare_labels,
    load_programs,
    measure,
)
from ganjax.evaluation.sets import ImageSet, make_generator, make_translator, open_set, to_rgb
from ganjax.images import Reading, parse_image_size, to_uint8
from ganjax.images.samples import parse_range
from ganjax.metrics.protocols import Protocol, parse
from ganjax.training import devices
from ganjax.training.loop import Evaluation
from ganjax.training.state import State, Trained
from ganjax.training.task import Batch, Model, Task

COUNT = 5000  # images, where the user names no metric
FEW = 1000  # below which the Frechet distance misleads
BATCH_SIZE = 64


class _Stopped(Exception):
    """Somebody asked the training to stop."""


def split_batch(batch_size: int) -> tuple[Mesh, int]:
    """A mesh over all devices, and `batch_size` rounded up to what can be split over it."""
    count = len(jax.devices())
    batch_size = -(-batch_size // count) * count
    return devices.make_mesh((batch_size,)), batch_size


def default_metrics(source: str, *sizes: int | None) -> list[Protocol]:
    """What suits sets of these sizes, one of them of a source.

    The classifier of portraits for avatars, else VGG-16, whose weights are fetched once. Frechet
    distances of few images are too large by more than models differ; the kernel distance has no
    such bias. Of files, some may be broken: where all are needed, all that are good will do.
    """
    size = min(size for size in sizes if size is not None)
    count = min(size, COUNT)
    extractor = "avatars" if is_embedded(source) else "vgg16"
    kinds = ["kernel"] if count < FEW else ["frechet", "kernel"]
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
        reading=Reading(parse_range(config.data.range), raw_colors),
        follow_links=config.data.follow_links,
        folders=config.data.get("folders", ()),
    )


def open_examples(
    wanted: Sequence[Protocol],
    model: Model,
    config: ConfigDict,
    trained: Trained,
    *,
    seed: int,
    source: str = "",
) -> Callable[[], list[Result]]:
    """Opens examples for paired metrics of what a model makes of them and what it should have made.

    Args:
      model: one that takes images.
      config: of its run.
      source: of the examples, which are taken whole, not cut as for training; by default the run's
        own data.

    Returns:
      A function that measures; it needs the weights.

    Raises:
      UserError: there are no such examples, or they do not say what the model should have made.
    """
    config = ConfigDict(config.to_dict())
    config.data.flip = False
    if "source" in config.data and "a" not in config.data:  # of two sides there are no examples
        config.data.source = source or config.data.source
    if "load_size" in config.data:
        config.data.load_size = config.data.image_size
    data, image_size = tasks.make_data(config), parse_image_size(config.data.image_size)
    maps = [name for name, field in model.outputs.items() if field.kind == "label_map"]
    true_maps = [name for name, field in data.fields.items() if field.kind == "label_map"]
    measures: list[Callable[[], list[Result]]] = []
    for of_labels in (False, True):
        own = [protocol for protocol in wanted if protocol.of_labels == of_labels]
        if not own:
            continue
        made, truth = (maps, true_maps) if of_labels else ([model.image], [model.real])
        names = {*model.inputs, *truth}
        if not (made and all(truth) and any(names <= s.fields.keys() for s in data.streams)):
            raise UserError(
                f"{own[0].name} compares what the model makes with what the data says it should, "
                "which the run's data does not: give --generated and --reference"
            )
        (sizes,) = data.contents(image_size).values()
        count = sum(stream["examples"] for stream in sizes)
        both = _examples(model, data, trained, seed, image_size, count, made[0], truth[0])
        if of_labels:
            names_of = model.outputs[made[0]].names
            measures.append(partial(compare_labels, own, both, names_of, count))
        else:
            measures.append(partial(compare_images, own, both, count))
    return lambda: [result for measure in measures for result in measure()]


def _examples(
    model: Model,
    data: Pipeline,
    trained: Trained,
    seed: int,
    image_size: tuple[int, int],
    count: int,
    made: str,
    truth: str,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What the model makes of each example, and what the example has."""

    @jax.jit
    def draw(trained: Trained, batch: Batch, number: int) -> Array:
        rng = jax.random.fold_in(seeds.key(seed), number)
        values = model.sample(trained, {name: batch[name] for name in model.inputs}, rng)[made]
        return to_rgb(to_uint8(values)) if values.ndim == 4 else values

    size = min(BATCH_SIZE, count)
    batches = data.batches(seed=0, first=0, batch_size=size, image_size=image_size)
    with closing(batches):
        for number, batch in enumerate(islice(batches, -(-count // size))):
            true = batch[truth] if batch[truth].ndim == 3 else np.asarray(to_rgb(batch[truth]))
            drawn = jax.device_get(draw(trained, batch, number))
            yield from zip(drawn, true[: count - number * size], strict=False)


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
    condition, drawn = task.model.inputs.get("label"), reference._replace(size=None)
    if condition is None or condition.kind != "class":
        drawn = drawn._replace(classes=None)
    for protocol in wanted:
        if protocol.paired:
            raise UserError(f"evaluate_metrics: {protocol.name} compares files; leave it out")
        check_needs(protocol, drawn, reference)  # now, not hours later
    programs = load_programs(wanted, mesh)
    images_of = make_images(task.model.named(tasks.make_data(config).fields), config, mesh)

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
