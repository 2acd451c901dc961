"""Draws an image whole, or tile by tile with the statistics of the whole image."""

from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import adain, ops
from ganjax.images import to_float, to_uint8
from ganjax.images.tiles import Tile, cut, join
from ganjax.nets.stylizers import Stylizer, blend_transfer
from ganjax.transforms import Statistics


@cache
def draw_program(stylizer: Stylizer, keep_colors: bool) -> Callable:
    """(params, images, styles, mixtures, regions, coverage, known, rest) -> uint8 [B, H, W, 3].

    `styles` are statistics for each depth, leaves [N, B, ...]; `mixtures` are R times their
    weights [N]. Each mixture is drawn everywhere, and `regions` [R, B, H, W, 1] say how much of it
    is seen at each pixel, None where R is 1: a style looks in its region as it does by itself, and
    nothing shines over a border. `coverage` [B, H, W, 1] says how far a pixel is changed at all,
    None for wholly. `known` are, for each mixture, the statistics of the content at each depth;
    None to take them of `images`. With `rest`, the last mixture is the content's own style: what
    the model loses of the content in it is given back, so much of it as `rest` in [0, 1] says.
    """

    def program(params, images, styles, mixtures, regions, coverage, known, rest):
        content = to_float(images)
        drawn = []
        for number, weights in enumerate(mixtures):
            transfer = blend_transfer(
                stylizer.transform,
                styles,
                weights,
                inside=coverage,
                known=None if known is None else known[number],
            )
            result = stylizer.stylize(params, content, transfer)
            drawn.append(adain.keep_colors(result, content) if keep_colors else result)
        if rest is not None:
            *drawn, own = drawn
            drawn = [image + rest * (content - own) for image in drawn]
        result = drawn[0]
        if regions is not None:
            shown = [jnp.clip(image, -1, 1) for image in drawn]
            result = sum(region * image for region, image in zip(regions, shown, strict=True))
        if coverage is not None:
            result = content + coverage * (jnp.clip(result, -1, 1) - content)
        return to_uint8(result)

    return jax.jit(program)


def stylize_tiled(
    stylizer: Stylizer,
    params: Any,
    image: np.ndarray,
    styles: list[Statistics],
    mixtures: Sequence[np.ndarray],
    regions: np.ndarray | None,
    coverage: np.ndarray | None,
    rest: np.floating | None,
    *,
    keep_colors: bool,
    tile: int,
) -> np.ndarray:
    """Stylizes one image in the memory of a tile.

    Args:
      image: uint8 [H, W, 3], sides multiples of the stylizer's.
      styles: of N styles, for each depth their statistics, leaves [N, 1, ...].
      mixtures: R times the weights [N] of the styles.
      regions: float32 [R, H, W, 1], how much of each mixture is seen; None where R is 1.
      coverage: float32 [H, W, 1], how far each pixel is changed at all.
      rest: see `draw_program`; the last of the mixtures then has no region.
      tile: side of what a tile contributes, in pixels.

    Returns:
      uint8 [H, W, 3].
    """
    tiles = cut(image.shape[:2], tile, stylizer.reach, stylizer.multiple)
    measure, transform = _measure_program(stylizer), stylizer.transform

    def inputs(part: Tile):
        covered = None if coverage is None else coverage[part.window][None]
        return image[part.window][None], covered

    def moments(part: Tile, weights: np.ndarray, known: list[Statistics]):
        pixels, covered = inputs(part)
        core = np.zeros((1, *pixels.shape[1:3], 1), np.float32)
        core[0, *part.core] = 1
        found = measure(params, pixels, core, styles, weights, covered, known)
        return jax.tree.map(np.float64, jax.device_get(found))

    # One pass for each depth: its statistics need the whole image as the depths before it leave it.
    courses = []
    for weights in mixtures:
        known: list[Statistics] = []
        for _ in range(stylizer.depths):
            whole = reduce(transform.combine, (moments(part, weights, known) for part in tiles))
            known.append(transform.statistics(jax.tree.map(np.float32, whole)))
        courses.append(known)

    draw = draw_program(stylizer, keep_colors)

    def drawn(part: Tile) -> np.ndarray:
        pixels, covered = inputs(part)
        seen = None if regions is None else regions[:, *part.window][:, None]
        shown = draw(params, pixels, styles, mixtures, seen, covered, courses, rest)
        return jax.device_get(shown)[0]

    return join(image.shape[:2], ((part, drawn(part)) for part in tiles))


@cache
def _measure_program(stylizer: Stylizer) -> Callable:
    """The moments of the features at the first depth where they are not known."""

    def program(params, images, core, styles, weights, coverage, known):
        content = to_float(images)
        counted = core if coverage is None else core * coverage
        apply = blend_transfer(stylizer.transform, styles, weights, inside=coverage, known=known)
        found = []

        def transfer(depth: int, features: Array) -> Array:
            if depth < len(known):
                return apply(depth, features)
            if depth == len(known):
                mask = ops.shrink(counted, features.shape[1:3])
                found.append(stylizer.transform.measure(features, mask))
            return features  # what follows is in no result, so XLA leaves it out

        stylizer.stylize(params, content, transfer)
        return found[0]

    return jax.jit(program)
