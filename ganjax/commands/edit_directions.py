"""Finds directions of z in which what a model draws changes one way: `ganjax edit --find`."""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganjax.commands.terminal import start_jax
from ganjax.errors import UserError
from ganjax.paths import in_bucket

COUNT = 10  # of directions without labels
STRENGTHS = (-3, -2, -1, 0, 1, 2, 3)
EXAMPLES = 2  # images of each row that are moved
_BATCH = 64  # images that the scorer sees at once


def find(arguments: argparse.Namespace) -> None:
    """Writes the file of directions and the sheet."""
    output, sheet = _destinations(arguments)
    start_jax(compile_cache=arguments.compile_cache)
    from ganjax import runs
    from ganjax.api import Generator
    from ganjax.editing import directions

    run = runs.load(arguments.run, step=arguments.checkpoint, average=arguments.average)
    generator = Generator(run, str(arguments.run))
    finders = {"sefa": _find_sefa, "pca": _find_pca, "attributes": _find_attributes}
    found = finders[arguments.find](generator, arguments)
    _write_sheet(sheet, generator, found, arguments)
    output.open()
    directions.write(output.path, found)
    _print_table(found)
    print(f"wrote {output.path} and {sheet.path}", file=sys.stderr)


def _destinations(arguments: argparse.Namespace):
    """Where the directions and the sheet go; nothing is written yet."""
    from ganjax.editing.directions import FILE
    from ganjax.outputs import PICTURES, Destination
    from ganjax.runs import is_file

    output = arguments.output
    if output is None:
        if is_file(arguments.run) or in_bucket(arguments.run):
            raise UserError(f"directions of {arguments.run} need --output FILE.safetensors")
        output = arguments.run / FILE
    elif output.suffix != ".safetensors":
        raise UserError(f"--output {output}: give FILE.safetensors")
    sheet = arguments.sheet or output.with_suffix(".png")
    if sheet.suffix.lower() not in PICTURES:
        raise UserError(f"--sheet {sheet}: give FILE{', '.join(PICTURES)}")
    overwrite = arguments.overwrite
    return (
        Destination(output, (".safetensors",), overwrite=overwrite),
        Destination(sheet, overwrite=overwrite),
    )


def _numbered(generator: Any, vectors: Any, method: str):
    import numpy as np

    from ganjax.editing.directions import Directions

    names = tuple(f"{method}_{number}" for number in range(1, len(vectors) + 1))
    unknown = np.full(len(names), np.nan, np.float32)
    return Directions(names, np.asarray(vectors), unknown, method, generator.checkpoint)


def _count(generator: Any, arguments: argparse.Namespace) -> int:
    size, asked = generator.inputs["z"].size, arguments.num or COUNT
    if arguments.num and asked > size:
        raise UserError(f"--num is {asked}; z has {size} values, and no more directions")
    return min(asked, size)


def _find_sefa(generator: Any, arguments: argparse.Namespace):
    import jax.numpy as jnp

    from ganjax.editing.directions import sefa

    size = generator.inputs["z"].size
    matrix = generator.project(jnp.eye(size)) - generator.project(jnp.zeros((1, size)))
    return _numbered(generator, sefa(matrix.T, _count(generator, arguments)), "sefa")


def _find_pca(generator: Any, arguments: argparse.Namespace):
    from ganjax.editing.directions import pca

    z = generator.draw(arguments.samples, arguments.seed)["z"]
    found = pca(generator.project(z), z, _count(generator, arguments))
    return _numbered(generator, found, "pca")


def _find_attributes(generator: Any, arguments: argparse.Namespace):
    """A direction for each value that often enough is seen, and often enough is not."""
    import jax.numpy as jnp
    import numpy as np

    from ganjax.data.avatars import ATTRIBUTES
    from ganjax.data.avatars.occlusion import hide
    from ganjax.editing import directions

    inputs = generator.draw(arguments.samples, arguments.seed)
    labels = hide(_score(generator, inputs, arguments))
    columns = [
        (f"{name}_{value}", labels[:, number] == which, labels[:, number] >= 0)
        for number, (name, values) in enumerate(ATTRIBUTES.items())
        for which, value in enumerate(values)
    ]
    least = max(directions.LEAST * arguments.samples, 1)
    common = [
        column
        for column in columns
        if min(np.sum(column[2] & column[1]), np.sum(column[2] & ~column[1])) >= least
    ]
    if not common:
        raise UserError("all samples look alike to the scorer; train the model longer")
    names, has, seen = zip(*common, strict=True)
    found = directions.attributes(inputs["z"], jnp.stack(has, 1), jnp.stack(seen, 1))
    vectors, accuracy = map(np.asarray, found)
    order = np.argsort(-accuracy, kind="stable")[: arguments.num]
    return directions.Directions(
        tuple(names[n] for n in order),
        vectors[order],
        accuracy[order],
        "attributes",
        generator.checkpoint,
    )


def _score(generator: Any, inputs: Any, arguments: argparse.Namespace) -> Any:
    """The attributes of the images of `inputs`, int [N, A]."""
    import numpy as np

    from ganjax.evaluation.sets import to_rgb
    from ganjax.progress import bar

    score, labels = _load_scorer(arguments.scorer), []
    with bar(arguments.samples, label="samples", leave=False) as counter:
        for first in range(0, arguments.samples, _BATCH):
            some = {name: value[first : first + _BATCH] for name, value in inputs.items()}
            images = np.stack(list(generator.images(some)))
            labels.append(score(to_rgb(images)))
            counter.update(len(images))
    return np.concatenate(labels)


def _load_scorer(path: Path | None) -> Callable[[Any], Any]:
    """Images uint8 [N, H, W, 3] -> the attributes of each, int [N, A]."""
    import jax
    import numpy as np

    from ganjax import runs
    from ganjax.data.avatars import ATTRIBUTES
    from ganjax.images import parse_image_size
    from ganjax.metrics import attributes, extractors
    from ganjax.metrics.resizing import resize

    if path is None:
        extractor = extractors.load("avatars")
        apply = jax.jit(extractor.apply)
        return lambda images: attributes.predict(
            np.asarray(apply(extractor.variables, images)["logits"]), ATTRIBUTES
        )
    run = runs.load(path)
    label = run.model.outputs.get("label")
    if label is None or (label.kind, label.size) != ("attributes", len(ATTRIBUTES)):
        raise UserError(f"--scorer {path} tells no attributes; give a run of attributes_avatars")
    side, _ = parse_image_size(run.config.data.image_size)

    @jax.jit
    def tell(trained: Any, images: Any) -> Any:
        small = {"image": resize(images, side, dialect="clean")}
        return run.model.sample(trained, small, None)["label"]

    return lambda images: np.asarray(tell(run.trained, images))


def _write_sheet(sheet: Any, generator: Any, found: Any, arguments: argparse.Namespace) -> None:
    """A row for each direction: the same images, moved along it."""
    import jax.numpy as jnp
    import numpy as np

    from ganjax.outputs import label_rows, make_grid, write_image
    from ganjax.provenance import provenance

    steps = jnp.asarray(STRENGTHS, jnp.float32)[None, :, None] * found.vectors[:, None]
    rows, columns, size = steps.shape  # [D, strengths, Z]
    blocks = []
    drawn = generator.draw(EXAMPLES, arguments.seed)
    for number in range(EXAMPLES):
        one = {name: value[number : number + 1] for name, value in drawn.items()}
        inputs = {
            name: jnp.broadcast_to(value, (rows * columns, *value.shape[1:]))
            for name, value in one.items()
        } | {"z": (one["z"][None] + steps).reshape(-1, size)}
        blocks.append(make_grid(np.stack(list(generator.images(inputs))), columns=columns))
    grid = label_rows(np.concatenate(blocks, axis=1), found.names)
    made = None
    if not arguments.no_metadata:
        made = provenance(seed=arguments.seed, checkpoint=generator.checkpoint)
    sheet.open()
    write_image(sheet.path, grid, made=made)


def _print_table(found: Any) -> None:
    width = max(map(len, found.names))
    for name, accuracy in zip(found.names, found.accuracy, strict=True):
        told = "" if math.isnan(accuracy) else f"held-out accuracy {accuracy:.2f}"
        print(f"{name:{width}}  {told}".rstrip())
