"""How the published metrics bring images to the size of their network: three dialects.

Figures of one dialect don't compare with those of another (Parmar et al. 2022, "On Aliased Resizing
and Surprising Subtleties in GAN Evaluation").
"""

from functools import cache
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax.images.bicubic import keys

Dialect = Literal["tf1", "pytorch", "clean"]
DIALECTS = get_args(Dialect)


def resize(images: Array, size: int, *, dialect: Dialect) -> Array:
    """Resizes to squares; the sides may shrink or grow, each by its own factor.

    Args:
      images: uint8 [B, H, W, C].
      size: pixels of each side of the result.
      dialect: "tf1", TensorFlow 1's bilinear, corners at corners and no antialiasing, as
        torch-fidelity has it; "pytorch", bilinear between centers of pixels and no antialiasing,
        as pytorch-fid; "clean", Pillow's bicubic in float, antialiased, as clean-fid.

    Returns:
      float32 [B, size, size, C] in [0, 255], not rounded.
    """
    x = jnp.asarray(images, jnp.float32)
    height, width = x.shape[1:3]
    # Accelerators would round the factors of products to fewer bits.
    if width != size:
        columns = jnp.asarray(_matrix(width, size, dialect))
        x = jnp.einsum("qw,bhwc->bhqc", columns, x, precision="highest")
    if height != size:
        rows = jnp.asarray(_matrix(height, size, dialect))
        x = jnp.einsum("ph,bhqc->bpqc", rows, x, precision="highest")
    return jnp.clip(x, 0, 255)  # which a bicubic filter leaves


@cache
def _matrix(old: int, new: int, dialect: Dialect) -> np.ndarray:
    """Weights [new, old] of the old pixels of a line in each new one."""
    if dialect == "clean":
        return _bicubic(old, new)
    # In float32, whose rounding of the positions is part of the originals.
    scale, steps = np.float32(old / new), np.arange(new, dtype=np.float32)
    if dialect == "tf1":
        return _bilinear(steps * scale, old)
    return _bilinear(np.maximum((steps + np.float32(0.5)) * scale - np.float32(0.5), 0), old)


def _bilinear(positions: np.ndarray, old: int) -> np.ndarray:
    low = positions.astype(int)
    high, fraction, rows = np.minimum(low + 1, old - 1), positions - low, np.arange(len(low))
    weights = np.zeros((len(low), old), np.float32)
    weights[rows, low] = 1 - fraction
    weights[rows, high] += fraction
    return weights


def _bicubic(old: int, new: int) -> np.ndarray:
    """Keys' cubic with a = -0.5, widened where the line shrinks, normalized at the borders."""
    scale = old / new
    centers = (np.arange(new) + 0.5) * scale
    weights = keys((np.arange(old) + 0.5 - centers[:, None]) / max(scale, 1))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
