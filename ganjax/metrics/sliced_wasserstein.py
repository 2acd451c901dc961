"""The sliced Wasserstein distance between patches of images, scale by scale.

Karras et al. 2018 (Progressive GAN), https://arxiv.org/abs/1710.10196, section 5: patches of 7x7
pixels of the Laplacian pyramids of the images, compared along random directions.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import seeds
from ganjax.errors import UserError

_PATCH, _PATCHES = 7, 128  # pixels along a side; patches per image and level
_COARSEST = 16  # pixels along the side of the last level
_REPEATS, _DIRECTIONS = 4, 128
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_GROUP, _CHUNK = 64, 2**13  # directions, and patches, that are projected at once


def descriptors(
    batches: Iterable[np.ndarray], *, seed: int = 0, first: int = 0
) -> dict[int, np.ndarray]:
    """Patches at random places of every level of the images' Laplacian pyramids.

    The places are a function of the seed and of the image's number, not of the batches.

    Args:
      batches: of uint8 images [B, H, H, C], H 16 times a power of 2; B may vary.
      seed: of the places.
      first: number of the first image, where the set comes in parts.

    Returns:
      side of the level, from H down to 16 -> float16 [128 N, 7, 7, C].

    Raises:
      UserError: there are no images, or their size or type is another.
    """
    levels: dict[int, list[np.ndarray]] = {}
    count, shape = first, None
    for batch in batches:
        shape = shape or batch.shape[1:]
        _check_images(batch, shape)
        key, numbers = seeds.key(seed), count + np.arange(len(batch), dtype=np.uint32)
        for side, patches in _patches(batch, key, numbers).items():
            # float16 halves hundreds of megabytes; its rounding, at random and 1/2000 of a value,
            # is lost among the patches: their number is what the distance is sure by.
            levels.setdefault(side, []).append(np.asarray(patches))
        count += len(batch)
    if not levels:
        raise UserError("there are no images to take patches of; give one or more")
    return {side: np.concatenate(levels.pop(side)) for side in sorted(levels, reverse=True)}


def sliced_wasserstein(
    real: Mapping[int, np.ndarray], fake: Mapping[int, np.ndarray], *, seed: int = 0
) -> dict[int, float]:
    """1000 times the mean distance between patches sorted along 4 x 128 random directions.

    The patches of each set are first standardized channel by channel.

    Args:
      real, fake: `descriptors` of as many images of one size.
      seed: of the directions.

    Returns:
      side of the level -> distance; the published average is their mean.

    Raises:
      UserError: the sets differ in the size or number of images.
    """
    shapes = [{side: patches.shape for side, patches in x.items()} for x in (real, fake)]
    if shapes[0] != shapes[1]:
        counts = [(max(x), len(x[max(x)]) // _PATCHES) for x in (real, fake)]
        raise UserError(
            "the distance is between as many images of one size and kind; given are "
            f"{counts[0][1]} of {counts[0][0]} pixels and {counts[1][1]} of {counts[1][0]}"
        )
    rng = np.random.default_rng(seed)
    distances = {}
    for side, patches in real.items():
        directions = rng.standard_normal((patches[0].size, _REPEATS * _DIRECTIONS))
        directions /= np.linalg.norm(directions, axis=0)
        scales = [_scales(x) for x in (patches, fake[side])]
        total, projected = 0.0, np.empty((2, _GROUP, len(patches)), np.float32)
        for start in range(0, directions.shape[1], _GROUP):
            group = directions[:, start : start + _GROUP]
            for x, scale, out in zip((patches, fake[side]), scales, projected, strict=True):
                _project(x, group, *scale, out)
                out.sort(axis=1)
            for a, b in zip(*projected, strict=True):
                total += np.abs(a - b).sum(dtype=np.float64)
        distances[side] = 1e3 * total / (directions.shape[1] * len(patches))
    return distances


def check_size(image_size: Sequence[int]) -> None:
    """Checks that images of (H, W) have a pyramid.

    Raises:
      UserError: they have none.
    """
    height, width = image_size
    levels = height // _COARSEST
    if height != width or levels * _COARSEST != height or levels & (levels - 1) or not levels:
        raise UserError(
            f"images are {height}x{width}; SWD takes squares of 16, 32, 64, 128, ... pixels: scale "
            "them, or choose another metric"
        )


def _check_images(batch: np.ndarray, shape: tuple[int, ...]) -> None:
    if batch.dtype != np.uint8 or batch.ndim != 4:
        raise UserError(f"images are {batch.dtype} {batch.shape}; give uint8 [B, H, W, C]")
    if batch.shape[1:] != shape:
        raise UserError(f"images are {shape} and {batch.shape[1:]}; scale all to one size")
    check_size(shape[:2])


@jax.jit
def _patches(images: Array, key: Array, numbers: Array) -> dict[int, Array]:
    """side -> [B * 128, 7, 7, C]; `numbers` [B] are those of the images in their set."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(numbers)
    patches = {}
    for level in _laplacian_pyramid(images.astype(jnp.float32)):
        side, channels = level.shape[1], level.shape[3]
        cut = jax.vmap(partial(_cut, side=side))
        patches[side] = cut(level, keys).reshape(-1, _PATCH, _PATCH, channels)
    return patches


def _cut(image: Array, key: Array, *, side: int) -> Array:
    corners = jax.random.randint(jax.random.fold_in(key, side), (_PATCHES, 2), 0, side - _PATCH + 1)
    places = corners[:, :, None] + jnp.arange(_PATCH)[None, None, :]
    return image[places[:, 0, :, None], places[:, 1, None, :]].astype(jnp.float16)


def _laplacian_pyramid(images: Array) -> list[Array]:
    """[B, H, H, C] -> differences between scales, finest first, and the coarsest scale itself."""
    levels = []
    while images.shape[1] > _COARSEST:
        blur = _blur(images.shape[1])
        smaller = _along_both(blur[::2], images)
        # Every second pixel and zeros between them, blurred, times 2 along each side.
        levels.append(images - _along_both(2 * blur[:, ::2], smaller))
        images = smaller
    return [*levels, images]


def _along_both(matrix: np.ndarray, images: Array) -> Array:
    rows = jnp.einsum("ij,bjwc->biwc", matrix, images, precision="highest")
    return jnp.einsum("ij,bhjc->bhic", matrix, rows, precision="highest")


def _blur(side: int) -> np.ndarray:
    """The binomial filter 1 4 6 4 1 along a side, mirrored at its ends, as a matrix."""
    mirrored: Any = np.pad(np.eye(side, dtype=np.float32), ((2, 2), (0, 0)), mode="reflect")
    return sum(w * mirrored[k : k + side] for k, w in enumerate(_BINOMIAL))


def _scales(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every channel, [C] in float64; the latter 1 where it is 0."""
    channels = patches.shape[-1]
    count, start = patches.size // channels, patches[0, 0, 0].astype(np.float64)
    sums, squares = np.zeros(channels), np.zeros(channels)
    for i in range(0, len(patches), _CHUNK):
        # Products, as sums over an axis before one of 3 channels are slow; about a value of each
        # channel, for exact zeros where it is constant.
        pixels = patches[i : i + _CHUNK].reshape(-1, channels) - start
        sums += np.ones(len(pixels)) @ pixels
        squares += (pixels.T @ pixels).diagonal()
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean + start, np.where(std > 0, std, 1)


def _project(
    patches: np.ndarray,
    directions: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    out: np.ndarray,
) -> None:
    """Standardized patches along directions [D, G], into `out` [G, N] in float32."""
    # Standardizing the directions in their stead leaves the patches as they are.
    scaled = directions / np.tile(std, len(directions) // len(std))[:, None]
    shift = np.tile(mean, len(directions) // len(mean)) @ scaled
    scaled, shift = scaled.T.astype(np.float32), shift[:, None].astype(np.float32)
    for start in range(0, len(patches), _CHUNK):
        rows = patches[start : start + _CHUNK].reshape(-1, scaled.shape[1]).astype(np.float32)
        np.subtract(scaled @ rows.T, shift, out=out[:, start : start + _CHUNK])
