"""Cuts images into tiles that overlap, and joins what was made of them."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class Tile(NamedTuple):
    """A window [y, x] of an image, and in it the core that no other tile has."""

    window: tuple[slice, slice]
    core: tuple[slice, slice]

    def scaled(self, times: int) -> "Tile":
        """The same tile of an image of as many times the sides."""
        window, core = (
            tuple(slice(times * side.start, times * side.stop) for side in sides) for sides in self
        )
        return Tile(window, core)  # type: ignore[arg-type]


def cut(image_size: tuple[int, int], tile: int, margin: int, grain: int) -> list[Tile]:
    """Cuts an image into cores, each in a window that shows `margin` pixels around it.

    All windows have one size, so that one program serves them all, and begin at multiples of
    `grain`; where the image ends, they end with it. Of as few cores as `tile` allows, the most that
    a side of one may have, all have nearly the same size. `tile` and `margin` are rounded up to
    multiples of `grain`.
    """
    tile, margin = (max(1, math.ceil(side / grain)) * grain for side in (tile, margin))
    axes = []
    for side in image_size:
        core_side = math.ceil(side / math.ceil(side / tile) / grain) * grain
        length = min(side, core_side + 2 * margin)
        spans = []
        for begin in range(0, side, core_side):
            start = min(max(begin - margin, 0), side - length)
            core = slice(begin - start, min(begin + core_side, side) - start)
            spans.append((slice(start, start + length), core))
        axes.append(spans)
    return [Tile((y, x), (core_y, core_x)) for y, core_y in axes[0] for x, core_x in axes[1]]


def join(
    image_size: tuple[int, int], parts: Iterable[tuple[Tile, np.ndarray]], *, feather: int = 0
) -> np.ndarray:
    """The image that tiles make up.

    Args:
      image_size: (H, W).
      parts: tiles of `cut`, each with what its window looks like, uint8 [h, w, C].
      feather: pixels on either side of a border over which one tile fades linearly into the next;
        half of the margin leaves out what the end of a window has spoiled. 0 for the cores alone.

    Returns:
      uint8 [H, W, C].
    """
    image: Any = None
    for part, drawn in parts:
        if image is None:
            kind = np.float32 if feather else np.uint8
            image = np.zeros((*image_size, drawn.shape[2]), kind)
        if feather:
            y, x = (
                _weights(window, core, side, feather)
                for window, core, side in zip(part.window, part.core, image_size, strict=True)
            )
            image[part.window] += y[:, None, None] * x[None, :, None] * drawn
        else:
            image[part.window][part.core] = drawn[part.core]
    return np.rint(image).astype(np.uint8) if feather else image


def _weights(window: slice, core: slice, side: int, feather: int) -> np.ndarray:
    """Along one axis, so that those of all windows add up to 1: 1/2 at the ends of the core."""
    place = np.arange(window.start, window.stop, dtype=np.float32) + 0.5
    ends = (core.start, core.stop)
    begin, end = (
        np.clip((place - window.start - border + feather) / (2 * feather), 0, 1) for border in ends
    )
    begin = begin if window.start + core.start > 0 else np.ones_like(begin)
    end = end if window.start + core.stop < side else np.zeros_like(end)
    return begin - end
