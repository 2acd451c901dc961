"""A pool of earlier generated images, which discriminators are shown too.

Shrivastava et al. 2017, arXiv:1612.07828, section 2.3, in the form that CycleGAN gave it.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array


class ImagePool(struct.PyTreeNode):
    """Up to N earlier images; what a game keeps in `State.memory`.

    Attributes:
      images: [N, H, W, C] float32, zeros where there are none yet.
      count: how many there are, int32 scalar.
    """

    images: Array
    count: Array

    @classmethod
    def start(cls, size: int, shape: tuple[int, ...]) -> "ImagePool":
        """An empty pool for `size` images of `shape`, (H, W, C)."""
        return cls(jnp.zeros((size, *shape), jnp.float32), jnp.zeros((), jnp.int32))


def draw_places(rng: Array, pool: ImagePool, count: int) -> Array:
    """Which images of a full pool are swapped for `count` new ones: int32 [count], -1 for none.

    With a probability of 1/2 none, else one of all with the same probability.
    """
    which, whether = jax.random.split(rng)
    places = jax.random.randint(which, (count,), 0, max(len(pool.images), 1))
    return jnp.where(jax.random.bernoulli(whether, shape=(count,)), places, -1)


def exchange(pool: ImagePool, images: Array, places: Array) -> tuple[ImagePool, Array]:
    """Shows new images to a pool, one after the other.

    Until the pool is full it keeps each one and gives it back. Then it gives the one at the new
    one's place and keeps the new one there; or, where the place is -1, gives the new one back.

    Args:
      images: [B, H, W, C]; no gradient flows through them.
      places: int32 [B], see `draw_places`.

    Returns:
      The pool after that, and what it gives: [B, H, W, C] in the type of `images`.
    """
    size, fresh = len(pool.images), jax.lax.stop_gradient(images)
    if not size:
        return pool, fresh

    def one(pool: ImagePool, row: tuple[Array, Array]) -> tuple[ImagePool, Array]:
        image, place = row
        full = pool.count == size
        swapped = full & (place >= 0)
        place = jnp.where(full, jnp.maximum(place, 0), pool.count)
        earlier = pool.images[place]
        kept = jnp.where(full & ~swapped, earlier, image)
        count = jnp.minimum(pool.count + 1, size)
        given = jnp.where(swapped, earlier, image)
        return ImagePool(pool.images.at[place].set(kept), count), given

    pool, given = jax.lax.scan(one, pool, (fresh.astype(pool.images.dtype), places))
    return pool, given.astype(images.dtype)
