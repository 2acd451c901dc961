"""Augmentation on the device."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.scipy.ndimage import map_coordinates

from ganjax import ops
from ganjax.adain import coral


def vary_styles(rng: Array, images: Array) -> Array:
    """Makes more styles of few: turned, mirrored, and half of them in another image's colors.

    Args:
      rng: a key.
      images: [B, S, S, 3] in [-1, 1].

    Returns:
      [B, S, S, 3], as float32 in [-1, 1].
    """
    count = images.shape[0]
    turn, flip, recolor, order = jax.random.split(rng, 4)

    def chosen(key: Array) -> Array:
        return jax.random.bernoulli(key, 0.5, (count, 1, 1, 1))

    images = jnp.where(chosen(turn), images.swapaxes(1, 2), images)
    images = jnp.where(chosen(flip), images[:, ::-1], images)
    palettes = images[jax.random.permutation(order, count)]
    return jnp.where(chosen(recolor), jnp.clip(coral(images, palettes), -1, 1), images)


def move(rng: Array, images: Array) -> tuple[Array, Array]:
    """A second frame of each image: pixels move smoothly, and a little noise comes over them.

    Motion is a shift of up to 8 pixels plus a smooth field of some 4; the noise has a deviation of
    0.02. After Wang et al. 2020, doi:10.1109/TIP.2020.3024018, whose published code moves more.

    Args:
      rng: a key.
      images: [B, H, W, C] in [-1, 1].

    Returns:
      The second frames, and the flow [B, H, W, 2] that leads from each of their pixels to the one
      of the first frame that it shows.
    """
    count, height, width, _ = images.shape
    shift_key, field_key, noise_key = jax.random.split(rng, 3)
    shift = jax.random.uniform(shift_key, (count, 1, 1, 2), minval=-8.0, maxval=8.0)
    field = 4 * jax.random.normal(field_key, (count, 3, 3, 2))
    flow = shift + jax.image.resize(field, (count, height, width, 2), "linear")
    moved, _ = jax.vmap(ops.warp)(images, flow)
    noise = jax.random.normal(noise_key, images.shape, images.dtype)
    return jnp.clip(moved + 0.02 * noise, -1, 1), flow


def _values(rng: Array, images: Array, least: float, most: float) -> Array:
    """One for each image, [B, 1, 1, 1]."""
    shape = (len(images), 1, 1, 1)
    return jax.random.uniform(rng, shape, images.dtype, least, most)


def vary_color(rng: Array, images: Array) -> Array:
    """Brightness by -0.5 to 0.5, then saturation times 0 to 2, then contrast times 0.5 to 1.5.

    Args:
      rng: a key.
      images: [B, H, W, C].

    Returns:
      [B, H, W, C], each image by values of its own; saturation scales the distance to a pixel's
      mean, contrast that to the image's.
    """
    brightness, saturation, contrast = jax.random.split(rng, 3)
    images = images + _values(brightness, images, -0.5, 0.5)
    gray = images.mean(3, keepdims=True)
    images = gray + (images - gray) * _values(saturation, images, 0, 2)
    mean = images.mean((1, 2, 3), keepdims=True)
    return mean + (images - mean) * _values(contrast, images, 0.5, 1.5)


def translate(rng: Array, images: Array) -> Array:
    """Moves each image by whole pixels, up to an eighth of a side along either axis; zeros come in.

    Args:
      rng: a key.
      images: [B, H, W, C].
    """
    for axis, key in zip((1, 2), jax.random.split(rng), strict=True):
        size = images.shape[axis]
        most = _round(size / 8)
        moves = jax.random.randint(key, (len(images), 1), -most, most + 1)
        sources = jnp.arange(size)[None] + moves
        shape = (-1, size, 1, 1) if axis == 1 else (-1, 1, size, 1)
        taken = jnp.take_along_axis(images, (sources % size).reshape(shape), axis)
        inside = (0 <= sources) & (sources < size)
        images = jnp.where(inside.reshape(shape), taken, 0)
    return images


def cut_out(rng: Array, images: Array) -> Array:
    """Sets a rectangle of half of each side to 0; borders may cut it.

    Args:
      rng: a key.
      images: [B, H, W, C].
    """
    covered = jnp.ones((len(images), 1, 1, 1), bool)
    for axis, key in zip((1, 2), jax.random.split(rng), strict=True):
        size = images.shape[axis]
        hole = _round(size / 2)
        centers = jax.random.randint(key, (len(images), 1), 0, size + 1 - hole % 2)
        distances = jnp.arange(size)[None] - (centers - hole // 2)
        shape = (-1, size, 1, 1) if axis == 1 else (-1, 1, size, 1)
        covered &= ((0 <= distances) & (distances < hole)).reshape(shape)
    return jnp.where(covered, 0, images)


def _round(value: float) -> int:
    """The nearest integer, the larger one of two."""
    return int(value + 0.5)


def mix_by_label(
    rng: Array, labels: Array, classes: int, real: Array, fake: Array
) -> tuple[Array, Array]:
    """LabelMix: each class of an image is that of the real or of the generated one, at random.

    Sushko et al. 2021, arXiv:2012.04781, section 3.2.

    Args:
      rng: a key.
      labels: int [B, H, W]; what belongs to none of the `classes` is drawn as one more class.
      real, fake: [B, H, W, C] of these labels.

    Returns:
      (the mixture [B, H, W, C], the mask [B, H, W, 1]: 1 for real, 0 for fake).
    """
    chosen = jax.random.bernoulli(rng, 0.5, (len(labels), classes + 1)).astype(real.dtype)
    one_hot = jax.nn.one_hot(jnp.minimum(labels, classes), classes + 1, dtype=real.dtype)
    mask = jnp.einsum("bhwk,bk->bhw", one_hot, chosen)[..., None]
    return mask * real + (1 - mask) * fake, mask


STEPS = {"color": vary_color, "translation": translate, "cutout": cut_out}
"""Of DiffAugment (Zhao et al. 2020, arXiv:2006.10738, section 4), by the names of its policies."""


def differentiable(policy: str) -> Callable[[Array, Array], Array]:
    """DiffAugment, which real and generated images pass on their way to the discriminator.

    Args:
      policy: names of `STEPS` with commas between, in the order in which they are done; "" for
        nothing.

    Returns:
      (rng, images [B, H, W, C] in [-1, 1]) -> as many, differentiable by the images; values may
      leave [-1, 1].

    Raises:
      KeyError: there is no such step.
    """
    steps = [STEPS[name.strip()] for name in policy.split(",")] if policy else []

    def augment(rng: Array, images: Array) -> Array:
        for number, step in enumerate(steps):
            images = step(jax.random.fold_in(rng, number), images)
        return images

    return augment


class Changes(NamedTuple):
    """What ADA does to B images, in this order; zeros change nothing.

    Angles are in radians, scales are logarithms to the base 2, and pairs are (down, right), in
    shares of the sides.

    Attributes:
      flip: mirror left and right, bool [B].
      turns: quarter turns counterclockwise, int [B]; images that are not square make twice as many.
      shift: [2, B], rounded to whole pixels.
      zoom: [B].
      rotation, last_rotation: counterclockwise, before and after `stretch`, [B].
      stretch: of the width; the height is divided by as much, [B].
      drift: [2, B].
      brightness: what is added, [B].
      contrast: of the distance to medium gray, [B].
      invert: change the sign of each pixel's mean and leave its color, bool [B].
      hue: a rotation about the gray axis, [B].
      saturation: of the distance to the pixel's mean, [B].
      hole: sides of a rectangle that becomes 0, in shares of the image's, [B].
      center: of the hole, from the upper left corner, [2, B].
    """

    flip: Array
    turns: Array
    shift: Array
    zoom: Array
    rotation: Array
    stretch: Array
    last_rotation: Array
    drift: Array
    brightness: Array
    contrast: Array
    invert: Array
    hue: Array
    saturation: Array
    hole: Array
    center: Array


def draw_changes(
    rng: Array, count: int, probability: Array | float, *, color: float = 1.0, cutout: float = 0.0
) -> Changes:
    """Draws each change of each of `count` images with a probability, by itself.

    Args:
      probability: p of Karras et al. 2020, arXiv:2006.06676, appendix B, in [0, 1].
      color, cutout: of changes of colors, and of a hole, as a share of `probability`. The published
        `bgc` is 1 and 0, R3GAN's is 0.5 and 1.
    """
    keys = iter(jax.random.split(rng, 2 * len(Changes._fields)))

    def chosen(values: Array, chance: Array | float = probability) -> Array:
        return jnp.where(jax.random.bernoulli(next(keys), chance, (count,)), values, 0)

    def normal(deviation: float, *shape: int) -> Array:
        return deviation * jax.random.normal(next(keys), (*shape, count))

    def uniform(most: float, *shape: int) -> Array:
        return jax.random.uniform(next(keys), (*shape, count), minval=-most, maxval=most)

    def integer(below: int) -> Array:
        return jax.random.randint(next(keys), (count,), 0, below)

    # Each of two: together they turn an image with p.
    rotated = 1 - jnp.sqrt(1 - jnp.asarray(probability, jnp.float32))
    tinted = color * probability
    return Changes(
        flip=chosen(integer(2)) > 0,
        turns=chosen(integer(4)),
        shift=chosen(uniform(1 / 8, 2)),
        zoom=chosen(normal(0.2)),
        rotation=chosen(uniform(jnp.pi), rotated),
        stretch=chosen(normal(0.2)),
        last_rotation=chosen(uniform(jnp.pi), rotated),
        drift=chosen(normal(1 / 8, 2)),
        brightness=chosen(normal(0.2), tinted),
        contrast=chosen(normal(0.5), tinted),
        invert=chosen(integer(2), tinted) > 0,
        hue=chosen(uniform(jnp.pi), tinted),
        saturation=chosen(normal(1.0), tinted),
        hole=chosen(jnp.full(count, 0.5), cutout * probability),
        center=0.5 + uniform(0.5, 2),
    )


def change(images: Array, changes: Changes) -> Array:
    """Images after the changes of ADA, differentiable by the images.

    What comes in at a border is the image's mirror image, up to a whole side, and zeros beyond.
    Pixels between pixels are those of the image at twice its size, made and undone by an orthogonal
    lowpass filter: moves by whole pixels leave them as they are.

    Args:
      images: [B, H, W, C] of which the first three channels are RGB, or the first one is gray.

    Returns:
      [B, H, W, C].
    """
    image_size = images.shape[1:3]
    turns = changes.turns * (1 if image_size[0] == image_size[1] else 2) % 4
    rows = lambda values: values[:, None, None, None]  # noqa: E731
    images = jnp.where(rows(changes.flip), images[:, :, ::-1], images)
    images = jnp.where(rows(turns >= 2), images[:, ::-1, ::-1], images)
    if image_size[0] == image_size[1]:
        images = jnp.where(rows(turns % 2 > 0), images.swapaxes(1, 2)[:, ::-1], images)
    images = _recolor(_warp(images, changes), changes)
    far = [
        jnp.abs((jnp.arange(size)[None] + 0.5) / size - center[:, None])
        >= changes.hole[:, None] / 2
        for size, center in zip(image_size, changes.center, strict=True)
    ]
    return jnp.where((far[0][:, :, None] | far[1][:, None])[..., None], images, 0)


SYM6 = np.array(
    [
        *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
        *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
        *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
    ]
)
"""The lowpass filter of the wavelet sym6: moved by an even number, it is orthogonal to itself."""
_RIM = len(SYM6) // 2 - 1  # what it adds at both ends of an axis that it doubles


def _doubling(size: int) -> np.ndarray:
    """Doubles an axis, [2 * size + 2 * _RIM, size]; half of its transpose undoes it."""
    matrix = np.zeros((2 * size + 2 * _RIM, size))
    for pixel in range(size):
        matrix[2 * pixel : 2 * pixel + len(SYM6), pixel] = np.sqrt(2) * SYM6
    return matrix


def _mirroring(size: int) -> np.ndarray:
    """Continues an axis by its mirror images, [3 * size - 2, size]."""
    return np.pad(np.eye(size), ((size - 1, size - 1), (0, 0)), mode="reflect")


def _on_axes(images: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    """[B, H, W, C] by matrices [h, H] and [w, W]: [B, h, w, C]."""
    product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    images = product("hH,bHWc->bhWc", rows.astype(images.dtype), images)
    return product("wW,bhWc->bhwc", columns.astype(images.dtype), images)


def _warp(images: Array, changes: Changes) -> Array:
    """The changes from `shift` to `drift` as one affine map, in pixels from the image's center."""
    sides = images.shape[1:3]
    # Of the double size: where its pixels come from, from the last change back to the first.
    y, x = ((jnp.arange(-_RIM, 2 * n + _RIM) + 0.5 - n) / 2 for n in sides)
    rows = lambda values: values[:, None, None]  # noqa: E731

    def turn_back(y: Array, x: Array, angle: Array) -> tuple[Array, Array]:
        cosine, sine = rows(jnp.cos(angle)), rows(jnp.sin(angle))
        return y * cosine + x * sine, x * cosine - y * sine

    down, right = (rows(drift * n) for drift, n in zip(changes.drift, sides, strict=True))
    y, x = y[None, :, None] - down, x[None, None] - right
    y, x = turn_back(y, x, changes.last_rotation)
    y, x = y * rows(2**changes.stretch), x / rows(2**changes.stretch)
    y, x = turn_back(y, x, changes.rotation)
    y, x = y / rows(2**changes.zoom), x / rows(2**changes.zoom)
    y, x = (
        2 * (values - rows(jnp.round(shift * n))) + (3 * n - 2) - 0.5
        for values, shift, n in zip((y, x), changes.shift, sides, strict=True)
    )
    large = _on_axes(images, *(_doubling(3 * n - 2)[_RIM:-_RIM] @ _mirroring(n) for n in sides))

    def look_up(image: Array, y: Array, x: Array) -> Array:
        def one(channel: Array) -> Array:
            return map_coordinates(channel, [y, x], order=1, mode="constant")

        return jax.vmap(one, in_axes=2, out_axes=2)(image)

    return _on_axes(jax.vmap(look_up)(large, y, x), *(_doubling(n).T / 2 for n in sides))


def _recolor(images: Array, changes: Changes) -> Array:
    """The changes from `brightness` to `saturation`; of gray images those that change gray."""
    rows = lambda values: values[:, None, None, None]  # noqa: E731
    colors, alpha = images[..., :3], images[..., 3:]
    gray = colors.mean(3, keepdims=True)
    color = (colors - gray) * rows(2 ** (changes.contrast + changes.saturation))
    across = (jnp.roll(color, 1, 3) - jnp.roll(color, -1, 3)) / jnp.sqrt(3.0)
    color = color * rows(jnp.cos(changes.hue)) + across * rows(jnp.sin(changes.hue))
    gray = (gray + rows(changes.brightness)) * rows(2**changes.contrast)
    gray = jnp.where(rows(changes.invert), -gray, gray)
    return jnp.concatenate([gray + color, alpha], 3)


def adaptive(
    *, color: float = 1.0, cutout: float = 0.0
) -> Callable[[Array, Array, Array | float], Array]:
    """The augmentation of ADA: (rng, images [B, H, W, C] in [-1, 1], probability) -> as many.

    Args:
      color, cutout: see `draw_changes`.
    """

    def augment(rng: Array, images: Array, probability: Array | float) -> Array:
        changes = draw_changes(rng, len(images), probability, color=color, cutout=cutout)
        return change(images, changes)

    return augment


class Followed(struct.PyTreeNode):
    """What a game remembers of the probability that it adapts.

    Attributes:
      probability: of the changes, float32 scalar.
      signs: sum of the sign statistics of the steps since the probability moved, float32 scalar.
      steps: how many these are, int32 scalar.
    """

    probability: Array
    signs: Array
    steps: Array


class Adaptation(NamedTuple):
    """How the probability follows a discriminator that learns its real images by heart.

    Karras et al. 2020, arXiv:2006.06676, section 3: E[sign(D(real))] is 1 then, and 0 at best.

    Attributes:
      target: of E[sign(D(real))].
      images: real ones in which the probability can go from 0 to 1.
      start: the first probability.
      every: train steps between two moves.
    """

    target: float = 0.6
    images: float = 500_000.0
    start: float = 0.0
    every: int = 4

    def begin(self) -> Followed:
        """Before the first step."""
        return Followed(jnp.float32(self.start), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def follow(self, followed: Followed, sign: Array, images: int) -> Followed:
        """After a train step.

        Args:
          sign: the step's mean of sign(D(real)), over all devices.
          images: that the step consumed, on all devices.
        """
        signs, steps = followed.signs + sign, followed.steps + 1
        way = jnp.sign(signs / steps - self.target) * self.every * images / self.images
        moved = jnp.clip(followed.probability + way, 0, 1)
        due = steps == self.every
        return Followed(
            jnp.where(due, moved, followed.probability),
            jnp.where(due, 0, signs),
            jnp.where(due, 0, steps),
        )
