"""Draws an image whole, or tile by tile with the statistics of the whole image."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import adain, ops
from ganjax.images import to_float, to_uint8
from ganjax.nets.compact import Statistics
from ganjax.nets.stylizers import Stylizer, blend_transfer


@cache
def draw_program(stylizer: Stylizer, keep_colors: bool) -> Callable:
    """(params, images, statistics, shares, masks, coverage, known) -> images, uint8 [B, H, W, 3].

    `statistics` are the styles', `known` the content's, None to take them of `images`; `coverage`
    [B, H, W, 1] says how far a pixel is changed at all, None for wholly; the rest is as in
    `nets.stylizers.blend_transfer`.
    """

    def program(params, images, statistics, shares, masks, coverage, known):
        content = to_float(images)
        transfer = blend_transfer(
            statistics, shares, masks=masks, content_mask=coverage, known=known
        )
        result = stylizer.stylize(params, content, transfer)
        if keep_colors:
            result = adain.keep_colors(result, content)
        if coverage is not None:
            result = content + coverage * (jnp.clip(result, -1, 1) - content)
        return to_uint8(result)

    return jax.jit(program)


def stylize_tiled(
    stylizer: Stylizer,
    params: Any,
    image: np.ndarray,
    statistics: list[Statistics],
    shares: np.ndarray,
    masks: np.ndarray | None,
    coverage: np.ndarray | None,
    *,
    keep_colors: bool,
    tile: int,
) -> np.ndarray:
    """Stylizes one image in the memory of a tile.

    Args:
      image: uint8 [H, W, 3], sides multiples of the stylizer's.
      statistics: of N styles, for each depth (mean, std) [N, 1, 1, 1, C].
      shares: [N].
      masks: float32 [N, H, W, 1], or [1, H, W, 1] for all styles alike.
      coverage: float32 [H, W, 1], how far each pixel is changed at all.
      tile: side of what a tile contributes, in pixels.

    Returns:
      uint8 [H, W, 3].
    """
    tiles = _cut(image.shape[:2], tile, stylizer.reach, stylizer.multiple)

    def inputs(tile: _Tile):
        pixels = image[tile.window][None]
        if masks is None or coverage is None:
            return pixels, None, None
        return pixels, masks[:, *tile.window][:, None], coverage[tile.window][None]

    # One pass for each AdaIN: its statistics need the whole image as the AdaINs before it leave it.
    measure = _measure_program(stylizer)
    known: list[Statistics] = []
    for _ in range(stylizer.depths):
        total = _Moments()
        for part in tiles:
            pixels, regions, covered = inputs(part)
            core = np.zeros((1, *pixels.shape[1:3], 1), np.float32)
            core[0, *part.core] = 1
            if covered is not None:
                core *= covered
            found = measure(params, pixels, core, statistics, shares, regions, known)
            total.add(*jax.device_get(found))
        known.append(total.statistics())

    draw = draw_program(stylizer, keep_colors)
    result = np.empty_like(image)
    for part in tiles:
        pixels, regions, covered = inputs(part)
        drawn = jax.device_get(draw(params, pixels, statistics, shares, regions, covered, known))
        place = tuple(
            slice(window.start + core.start, window.start + core.stop)
            for window, core in zip(part.window, part.core, strict=True)
        )
        result[place] = drawn[0][part.core]
    return result


@cache
def _measure_program(stylizer: Stylizer) -> Callable:
    """Mean, variance and weight of the pixels where the first AdaIN stands that is not known."""

    def program(params, images, counted, statistics, shares, masks, known):
        content = to_float(images)
        apply = blend_transfer(statistics, shares, masks=masks, known=known)
        found = []

        def transfer(depth: int, features: Array) -> Array:
            if depth < len(known):
                return apply(depth, features)
            if depth == len(known):
                mask = ops.shrink(counted, features.shape[1:3])
                mean, std = adain.channel_statistics(features, mask=mask, eps=0)
                found.append((mean, jnp.square(std), jnp.sum(mask)))
            return features  # what follows is in no result, so XLA leaves it out

        stylizer.stylize(params, content, transfer)
        return found[0]

    return jax.jit(program)


class _Tile(NamedTuple):
    """A window [y, x] of the image, and in it the core that is kept."""

    window: tuple[slice, slice]
    core: tuple[slice, slice]


def _cut(image_size: tuple[int, int], tile: int, margin: int, grain: int) -> list[_Tile]:
    """Cuts an image into cores, each in a window that shows `margin` pixels around it.

    All windows have one size, so that one program serves them all, and begin at multiples of
    `grain`; where the image ends, they end with it.
    """
    tile, margin = (max(1, math.ceil(side / grain)) * grain for side in (tile, margin))
    axes = []
    for side in image_size:
        length = min(side, tile + 2 * margin)
        spans = []
        for begin in range(0, side, tile):
            start = min(max(begin - margin, 0), side - length)
            core = slice(begin - start, min(begin + tile, side) - start)
            spans.append((slice(start, start + length), core))
        axes.append(spans)
    return [_Tile((y, x), (core_y, core_x)) for y, core_y in axes[0] for x, core_x in axes[1]]


class _Moments:
    """Mean and variance of all pixels from those of parts, in float64 (Chan et al. 1983)."""

    def __init__(self) -> None:
        self._weight, self._mean, self._squares = 0.0, np.zeros(1), np.zeros(1)

    def add(self, mean: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> None:
        mean, variance, weight = (np.asarray(v, np.float64) for v in (mean, variance, weight))
        total = self._weight + weight
        difference, share = mean - self._mean, weight / total if total else 0.0
        self._squares = (
            self._squares + variance * weight + np.square(difference) * self._weight * share
        )
        self._mean, self._weight = self._mean + difference * share, total

    def statistics(self) -> Statistics:
        variance = self._squares / (self._weight or 1)
        std = np.sqrt(variance + adain.EPSILON)
        return self._mean.astype(np.float32), std.astype(np.float32)
