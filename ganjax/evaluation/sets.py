"""Sets of images that metrics look at: files, data sources, what a trained model makes."""

import json
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from operator import getitem
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from PIL import Image

from ganjax import seeds
from ganjax.data.avatars import ATTRIBUTES, captions
from ganjax.data.avatars.source import Avatars
from ganjax.data.cache import VERSION, load_in_threads
from ganjax.data.fields import IMAGE, Field
from ganjax.data.folder import Files, Picture
from ganjax.data.source import Broken, Source, open_source
from ganjax.errors import UserError
from ganjax.images import DECLARED, Reading, as_pixels, cover, read_image, to_uint8
from ganjax.training import devices
from ganjax.training.state import Trained
from ganjax.training.task import Batch, Model


class ImageSet(NamedTuple):
    """Images in a fixed order, as batches on the devices.

    Attributes:
      name: what messages call it.
      size: how many there are; None for as many as are asked for.
      digest: of the content and its order; "" where it is not to be remembered.
      image_size: (H, W).
      batches: (count, batch_size) -> the first `count` images as uint8 [batch_size, H, W, 3],
        split over the mesh, each with how many of its rows count: all but in the last batch.
      attributes: count -> those of the first `count` images, int32 [count, A] as
        `ganjax.data.avatars` has them, of a model those that it was asked for, -1 where it was
        asked for none; None where they are not known.
      classes: the same of a class, int32 [count].
      class_names: of the classes' numbers; () where they have none.
    """

    name: str
    size: int | None
    digest: str
    image_size: tuple[int, int]
    batches: Callable[[int, int], Iterator[tuple[Array, int]]]
    attributes: Callable[[int], np.ndarray] | None = None
    classes: Callable[[int], np.ndarray] | None = None
    class_names: tuple[str, ...] = ()


def open_set(
    name: str,
    mesh: Mesh,
    *,
    image_size: tuple[int, int] | None = None,
    default_size: tuple[int, int] | None = None,
    channels: int = 3,
    limit: int = 0,
    array: str = "image",
    reading: Reading = DECLARED,
    follow_links: bool = False,
    folders: Sequence[str] = (),
) -> ImageSet:
    """The images of a source, in an order that is drawn once and for all.

    A part of a folder is thus a fair part of it, whatever the names of its files.

    Args:
      name: of a source, as `ganjax.data.source` knows them.
      image_size: (H, W) that images are scaled to until they cover it, and cut out; None to leave
        files as they are.
      default_size: the same for sources whose images have no size of their own, like avatars.
      channels: what they are read with before they become RGB; 1 makes them gray.
      limit: use only the first so many; 0 for all.
      array: of the source's, which is the images.
      reading, follow_links: of files, see `ganjax.data.folder.open_files`.
      folders: of pairs, see `ganjax.data.paired.open_paired`.

    Raises:
      UserError: there is no such source, it is empty, lacks the array, has no size of its own, or
        no files to be read otherwise than by default.
    """
    source: Any = open_source(name, reading=reading, follow_links=follow_links, folders=folders)
    if array not in source.fields:
        raise UserError(f"{name} has no {array}, only {', '.join(source.fields)}")
    if image_size is None and isinstance(source, Files):
        image_size = _first_size(source, name)
        source = _OneSize(source)
    image_size = image_size or default_size
    if image_size is None:
        raise UserError(f"images of {name} have no size of their own; give --image_size=64")
    count = min(len(source), limit) if limit else len(source)
    return _make_set(name, source, count, mesh, image_size, channels, array)


def make_set(
    name: str, images: Sequence[Any], mesh: Mesh, *, image_size: tuple[int, int] | None = None
) -> ImageSet:
    """The set of images that are in memory; it has the order of `open_set`, and is not cached.

    Args:
      name: what messages call it.
      images: what `ganjax.images.as_pixels` takes, each; uint8 [N, H, W, C], too.
      image_size: see `open_set`.

    Raises:
      UserError: there are none, the first one is no image, or they differ in size.
    """
    if not len(images):
        raise UserError(f"{name} holds no image")
    source = _Given(name, images, scaled=image_size is not None)
    image_size = image_size or source.image(0, 3).shape[:2]
    made = _make_set(name, source, len(images), mesh, image_size, 3)
    return made._replace(digest="")


def _make_set(
    name: str,
    source: Any,
    count: int,
    mesh: Mesh,
    image_size: tuple[int, int],
    channels: int,
    array: str = "image",
) -> ImageSet:
    order = np.random.default_rng(0).permutation(count)
    ordered = _Ordered(source, order, array)

    def batches(wanted: int, batch_size: int) -> Iterator[tuple[Array, int]]:
        arrays = _good_arrays("image", ordered, count, image_size, channels, name)
        for rows, valid in _rebatch(arrays, wanted, batch_size):
            yield _to_mesh(to_rgb(rows), mesh), valid

    def labels(wanted: int) -> np.ndarray:
        """Those of the images that can be read; which these are shows when they are."""
        arrays = _good_arrays("label", ordered, count, image_size, channels, name)
        return next(_rebatch(arrays, wanted, wanted))[0]

    attributes = classes = None
    if isinstance(source, Avatars):
        attributes = lambda wanted: source.attributes(order[:wanted])  # noqa: E731
    condition = source.fields.get("label")
    if condition and condition.kind == "class":
        classes = labels
    names = condition.names if classes and condition else ()
    which = [] if array == "image" else [array]
    digest = json.dumps([VERSION, source.digest, count, image_size, channels, *which])
    return ImageSet(name, count, digest, image_size, batches, attributes, classes, names)


def make_generator(model: Model, mesh: Mesh) -> Callable[[Trained, int], ImageSet]:
    """(trained, seed) -> the images that a model draws: number i depends on seed and i alone.

    They are rounded to 8 bits, as they would be in files.
    """
    split, everywhere, draw = devices.split(mesh), devices.replicated(mesh), model.draw
    assert draw is not None

    @partial(jax.jit, static_argnames="seed")
    def generate(trained: Trained, seed: int, index: Array) -> Array:
        rng = seeds.key(seed)
        index = jax.lax.with_sharding_constraint(index, split)
        images = model.sample(trained, draw(rng, index, None), rng)[model.image]
        return jax.lax.with_sharding_constraint(to_rgb(to_uint8(images)), split)

    def make(trained: Trained, seed: int) -> ImageSet:
        trained = jax.device_put(trained, everywhere)

        def batches(count: int, batch_size: int) -> Iterator[tuple[Array, int]]:
            for first in range(0, count, batch_size):
                index = jax.device_put(np.arange(first, first + batch_size), everywhere)
                yield generate(trained, seed, index), min(batch_size, count - first)

        (_, *size, _) = jax.eval_shape(
            partial(generate, seed=seed), trained, index=np.arange(mesh.size)
        ).shape

        def labels(count: int) -> np.ndarray:
            return np.asarray(draw(seeds.key(seed), jnp.arange(count), None)["label"])

        attributes, condition = None, model.inputs.get("label")
        if read := _reader_of_attributes(condition):
            attributes = lambda count: read(labels(count))  # noqa: E731
        classes = labels if condition and condition.kind == "class" else None
        names = condition.names if classes and condition else ()
        size = tuple(size)
        return ImageSet("the model", None, "", size, batches, attributes, classes, names)

    return make


def _reader_of_attributes(condition: Field | None) -> Callable[[np.ndarray], np.ndarray] | None:
    """Labels [N, ...] -> the attributes of portraits that they ask for; None if they do not."""
    if condition is None:
        return None
    if condition.kind == "attributes" and condition.names == tuple(ATTRIBUTES):
        return lambda labels: labels
    if condition.kind == "text" and set(condition.names) <= set(captions.words()):
        words = condition.names
        return lambda labels: np.stack(
            [captions.mentioned(" ".join(words[n] for n in row if n)) for row in labels]
        )
    return None


def make_translator(
    model: Model,
    inputs: Callable[[], Iterator[Mapping[str, np.ndarray]]],
    mesh: Mesh,
    image_size: tuple[int, int],
) -> Callable[[Trained, int], ImageSet]:
    """(trained, seed) -> the images that a model makes of others, batch after batch of them.

    Args:
      inputs: () -> batches of the data from the first one on, without end.
    """
    everywhere = devices.replicated(mesh)

    @partial(jax.jit, static_argnames="seed", out_shardings=everywhere)
    def translate(trained: Trained, seed: int, number: int, batch: Batch) -> Array:
        rng = jax.random.fold_in(seeds.key(seed), number)
        return to_rgb(to_uint8(model.sample(trained, batch, rng)[model.image]))

    def make(trained: Trained, seed: int) -> ImageSet:
        trained = jax.device_put(trained, everywhere)

        def arrays() -> Generator[np.ndarray, None, None]:
            for number, batch in enumerate(inputs()):
                batch = jax.device_put(batch, everywhere)
                yield np.asarray(translate(trained, seed, number, batch))

        def batches(count: int, batch_size: int) -> Iterator[tuple[Array, int]]:
            for rows, valid in _rebatch(arrays(), count, batch_size):
                yield _to_mesh(rows, mesh), valid

        return ImageSet("the model", None, "", image_size, batches)

    return make


class PairOfFiles(NamedTuple):
    """Two images of the same name."""

    name: str
    a: Picture
    b: Picture

    def read(self, *, one_size: bool) -> tuple[np.ndarray, np.ndarray]:
        """Both, uint8 [H, W, 3].

        Args:
          one_size: they must be equally large.

        Raises:
          UserError: one cannot be read, or is of a wrong size.
        """
        try:
            x, y = self.a.pixels(), self.b.pixels()
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error
        if one_size and x.shape != y.shape:
            sizes = " and ".join(f"{z.shape[0]}x{z.shape[1]}" for z in (x, y))
            raise UserError(f"the two images {self.name} are {sizes}; make them equally large")
        return x, y


def open_pairs(
    a: str | Sequence[Any],
    b: str | Sequence[Any],
    *,
    reading: Reading = DECLARED,
    follow_links: bool = False,
) -> list[PairOfFiles]:
    """Images of the same name, whatever their suffix, in two folders or .zip files.

    Args:
      a, b: folders or .zip files, or images in memory (see `make_set`), whose name is their number.
      reading, follow_links: of files, see `ganjax.data.folder.open_files`.

    Returns:
      In the order of their names.

    Raises:
      UserError: one of the two lacks a partner, or is no folder or .zip.
    """
    sides = [_by_stem(side, reading, follow_links) for side in (a, b)]
    names = [side if isinstance(side, str) else "the other side" for side in (a, b)]
    for own, other, where in ((0, 1, names[1]), (1, 0, names[0])):
        if alone := sorted(sides[own].keys() - sides[other].keys()):
            raise UserError(
                f"{where} has no image {alone[0]}"
                + (f" (nor {len(alone) - 1} others)" if alone[1:] else "")
                + "; metrics of pairs need the same names in both"
            )

    return [PairOfFiles(stem, *(side[stem] for side in sides)) for stem in sorted(sides[0])]


def _by_stem(name: str | Sequence[Any], reading: Reading, follow_links: bool) -> dict[str, Picture]:
    if not isinstance(name, str):
        return {f"{n:06d}": Picture("", partial(getitem, name, n)) for n in range(len(name))}
    files = open_source(name, reading=reading, follow_links=follow_links)
    if not isinstance(files, Files):
        raise UserError(f"{name}: metrics of pairs compare files; give a folder or a .zip")
    found = {
        n.rpartition(".")[0]: Picture(n, partial(files.read, n), files.reading) for n in files.names
    }
    if len(found) < len(files.names):
        raise UserError(f"{name} has two images whose names differ in the suffix only; remove one")
    return found


class _Ordered:
    """A source in another order, one of its arrays as `image`."""

    def __init__(self, source: Source, order: np.ndarray, array: str):
        self._source, self._order, self._array = source, order, array

    def load(self, indices: Sequence[int], image_size: tuple[int, int], channels: int):
        ordered = self._order[np.asarray(indices)].tolist()
        arrays, broken = self._source.load(ordered, image_size, channels)
        return {**arrays, "image": arrays[self._array]}, broken


class _Given:
    """Images that are in memory."""

    def __init__(self, name: str, images: Sequence[Any], *, scaled: bool):
        self._name, self._images, self._scaled = name, images, scaled
        self.digest, self.fields = "", {"image": IMAGE}

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int, channels: int) -> np.ndarray:
        return as_pixels(
            self._images[index], channels=channels, name=f"image {index} of {self._name}"
        )

    def load(self, indices: Sequence[int], image_size: tuple[int, int], channels: int):
        images = [np.empty((0, *image_size, channels), np.uint8)]
        for index in indices:
            image = self.image(index, channels)
            if self._scaled:
                image = np.asarray(cover(Image.fromarray(image), image_size))
            _check_equal(f"image {index} of {self._name}", image, image_size)
            images.append(image[None])
        return {"image": np.concatenate(images)}, []


def _check_equal(name: str, image: np.ndarray, image_size: tuple[int, int]) -> None:
    if image.shape[:2] != image_size:
        sizes = ["x".join(map(str, size)) for size in (image.shape[:2], image_size)]
        raise UserError(
            f"images differ in size: {name} is {sizes[0]}, others are {sizes[1]}; "
            f"--image_size={sizes[1]} scales and crops them"
        )


class _OneSize:
    """Files as they are, which must all be equally large."""

    def __init__(self, files: Files):
        self._files, self.digest, self.fields = files, files.digest, files.fields

    def __len__(self) -> int:
        return len(self._files)

    def load(self, indices: Sequence[int], image_size: tuple[int, int], channels: int):
        images, good, broken = [np.empty((0, *image_size, channels), np.uint8)], [], []
        for index in indices:
            name = self._files.names[index]
            try:
                image = read_image(
                    self._files.read(name), channels=channels, reading=self._files.reading
                )
            except UserError as error:
                broken.append(Broken(name, str(error).removeprefix("image ")))
                continue
            _check_equal(name, image, image_size)
            images.append(image[None])
            good.append(index)
        arrays: dict[str, np.ndarray] = {"image": np.concatenate(images)}
        if "label" in self.fields:
            arrays["label"] = self._files.labels[good]
        return arrays, broken


def _first_size(files: Files, name: str) -> tuple[int, int]:
    for file in files.names:
        try:
            return read_image(files.read(file), reading=files.reading).shape[:2]
        except UserError:
            continue
    raise UserError(f"none of {len(files)} images of {name} can be read")


def _good_arrays(
    array: str, source: Any, count: int, image_size: tuple[int, int], channels: int, name: str
) -> Generator[np.ndarray, None, None]:
    """One array a few rows at a time, decoded ahead; broken images are told at the end."""
    broken: list[Broken] = []
    try:
        for arrays, bad in load_in_threads(source, count, image_size, channels):
            broken += bad
            yield arrays[array]
    finally:
        if broken and jax.process_index() == 0:
            print(
                f"warning: {len(broken)} images of {name} left out: {broken[0].name} "
                f"{broken[0].reason}" + ("; ..." if broken[1:] else ""),
                file=sys.stderr,
            )


def _rebatch(
    arrays: Generator[np.ndarray, None, None], count: int, batch_size: int
) -> Iterator[tuple[np.ndarray, int]]:
    """The first `count` rows in batches of one size; the last one is filled up with zeros.

    Yields less than `count` where there are not so many.
    """
    left, held = count, np.empty(0)
    with closing(arrays):
        for array in arrays:
            new = array[:left]
            left -= len(new)
            held = np.concatenate([held, new]) if len(held) else new
            while len(held) >= batch_size:
                yield held[:batch_size], batch_size
                held = held[batch_size:]
            if not left:
                break
    if len(held):
        padding = [(0, batch_size - len(held))] + [(0, 0)] * (held.ndim - 1)
        yield np.pad(held, padding), len(held)


def _to_mesh(images: np.ndarray, mesh: Mesh) -> Array:
    """This process' rows of a batch that every process holds -> the batch on the devices."""
    rows = len(images) // jax.process_count()
    first = rows * jax.process_index()
    return devices.to_devices({"image": images[first : first + rows]}, mesh)["image"]


def to_rgb(images: Any) -> Any:
    """uint8 [..., H, W, 1 (gray), 3 or 4 (RGBA, onto white)] -> [..., H, W, 3]; numpy or JAX."""
    xp = jnp if isinstance(images, jax.Array) else np
    if images.shape[-1] == 1:
        return xp.repeat(images, 3, axis=-1)
    if images.shape[-1] == 4:
        color, alpha = images[..., :3].astype(xp.int32), images[..., 3:].astype(xp.int32)
        return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(xp.uint8)
    return images
