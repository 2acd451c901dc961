"""Augmentation on the device."""

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
