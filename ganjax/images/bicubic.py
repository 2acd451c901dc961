"""Bicubic scaling as super-resolution's benchmarks mean it: that of MATLAB's imresize."""

from functools import cache
from typing import Any

import numpy as np


def bicubic(images: Any, image_size: tuple[int, int]) -> Any:
    """Scales images as MATLAB's `imresize` does, in the type of the images and without rounding.

    Keys' cubic with a = -0.5 (Keys 1981, equation 15), widened where a side shrinks so that nothing
    aliases, the border mirrored with its own pixels repeated. Pillow's filter is the same but for
    the border, where it takes the pixels that there are.

    Args:
      images: float [..., H, W, C], NumPy's or JAX's.
      image_size: (H', W') of the result.

    Returns:
      [..., H', W', C] of the same kind and type; it may exceed the range of the images.
    """
    for axis, size in zip((-3, -2), image_size, strict=True):
        if images.shape[axis] != size:
            images = _scale(images, axis, size)
    return images


def shrink(images: np.ndarray, times: int) -> np.ndarray:
    """Images uint8 [..., H, W, C] with sides `times` times shorter, rounded to 8 bits again."""
    height, width = (side // times for side in images.shape[-3:-1])
    return bicubic(images.astype(np.float32), (height, width)).round().clip(0, 255).astype(np.uint8)


def _scale(images: Any, axis: int, size: int) -> Any:
    places, weights = _taps(images.shape[axis], size)
    shape, after = [1] * images.ndim, (slice(None),) * (-1 - axis)
    shape[axis] = size
    return sum(
        weight.astype(images.dtype).reshape(shape) * images[(..., place, *after)]
        for place, weight in zip(places, weights, strict=True)
    )


@cache
def _taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of a line make up each of `new` ones, and their weights: [taps, new] both."""
    wide = max(old / new, 1)
    centers = (np.arange(new) + 0.5) * (old / new) - 0.5
    count = int(np.ceil(4 * wide)) + 2
    first = np.floor(centers - 2 * wide)
    places = first + np.arange(count)[:, None]
    weights = keys((centers - places) / wide)
    weights /= weights.sum(axis=0)
    used = np.any(weights, axis=1)
    mirrored = places[used].astype(int) % (2 * old)
    return np.minimum(mirrored, 2 * old - 1 - mirrored), weights[used]


def keys(x: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))
