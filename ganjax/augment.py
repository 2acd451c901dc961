"""Augmentation on the device."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

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
