"""Stylized video: frame by frame, with statistics of the content that change slowly.

Statistics of a frame alone flicker with whatever enters the picture. Here they are those of all
frames of a scene so far, each weighing less than the one after it. Noise of the frames, which
networks make stronger, is averaged over time first where nothing moves.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import adain
from ganjax.images import pad_to_multiple, to_float, to_uint8
from ganjax.nets.stylizers import Stylizer
from ganjax.stylize.models import Model
from ganjax.stylize.transfer import Style

# Mean difference of gray values in [0, 255] between two frames that begins another scene.
_CUT = 40.0
_SPARSE = 8  # every so many pixels are looked at for it
# Where frames differ more than about this, in [-1, 1] and over _NEAR x _NEAR pixels, things move.
_NOISE = 0.08
_NEAR = 5


def stylize_frames(
    model: Model,
    frames: Iterable[np.ndarray],
    styles: Sequence[Style],
    weights: Iterable[Sequence[float]],
    *,
    alpha: float = 1.0,
    smoothing: float = 0.9,
    keep_colors: bool = False,
    memory: list[Any] | None = None,
) -> Iterator[np.ndarray]:
    """Stylizes frames of one size in order, in the memory of one.

    Args:
      frames: uint8 [H, W, 3].
      styles: N encoded styles (`transfer.encode_style`).
      weights: of the styles, N numbers of 0 or more for each frame; `fade` gives such.
      alpha: in [0, 1], strength of the style at each depth.
      smoothing: in [0, 1), what a frame's statistics, and pixels where nothing moves, weigh in the
        next frame's; 0 for each frame by itself. They start anew where the scene changes.
      keep_colors: only the luminance changes.
      memory: holds what the frames before have left for the next one; empty at the beginning. It
        is kept up to date, so that a copy of it goes on with the frames that follow.

    Yields:
      uint8 [H, W, 3].
    """
    program = _program(model.stylizer, keep_colors)
    mixed = jax.tree.map(lambda *leaves: jnp.stack(leaves), *styles)
    memory = [] if memory is None else memory
    tree = None
    for frame, mixture in zip(frames, weights, strict=False):
        shares = np.asarray(mixture, np.float32) / np.sum(mixture, dtype=np.float32)
        height, width = frame.shape[:2]
        image = pad_to_multiple(frame, model.stylizer.multiple)[None]
        seen = frame[::_SPARSE, ::_SPARSE].mean(axis=-1)
        same = bool(memory) and np.abs(seen - memory[0]).mean() < _CUT
        arguments = (model.params, image, mixed, shares, np.float32(alpha))
        if tree is None:
            _, shapes = jax.eval_shape(program, *arguments, None, np.float32(0))
            leaves, tree = jax.tree.flatten(shapes)
            memory[:] = memory or [seen, *(np.zeros(leaf.shape, leaf.dtype) for leaf in leaves)]
        kept = np.float32(smoothing if same else 0)
        drawn, after = program(*arguments, jax.tree.unflatten(tree, memory[1:]), kept)
        memory[:] = [seen, *jax.tree.leaves(after)]
        yield np.asarray(drawn)[0, :height, :width]


def fade(styles: int, frames: int) -> Iterator[list[float]]:
    """Weights that go from the first style to the last over so many frames, and stay there.

    >>> list(itertools.islice(fade(2, 3), 4))
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]
    """
    for frame in itertools.count():
        place = min(frame / max(frames - 1, 1), 1) * (styles - 1)
        yield [max(1.0 - abs(style - place), 0.0) for style in range(styles)]


@cache
def _program(stylizer: Stylizer, keep_colors: bool) -> Callable:
    """(params, image, styles, weights, alpha, memory, kept) -> uint8 [1, H, W, 3], memory.

    `memory` holds the content without noise and its moments at each depth, of which the share
    `kept` counts.
    """
    transform = stylizer.transform

    def program(params, image, styles, weights, alpha, memory, kept):
        content, found = to_float(image), []
        if memory is not None:
            content = _without_noise(content, memory[0], kept)

        def transfer(depth: int, features: Array) -> Array:
            moments = transform.measure(features)
            if memory is not None:
                old = memory[1][depth]
                moments = transform.combine(moments, old._replace(weight=kept * old.weight))
            found.append(moments)
            statistics = transform.statistics(moments)
            moved = transform.apply(features, statistics, styles[depth], weights)
            return features + alpha * (moved - features)

        drawn = stylizer.stylize(params, content, transfer)
        drawn = adain.keep_colors(drawn, content) if keep_colors else drawn
        return to_uint8(drawn), (content, found)

    return jax.jit(program)


def _without_noise(image: Array, before: Array, kept: Array) -> Array:
    """The image with the share `kept` of the one before it, where the two differ by noise alone."""
    change = jnp.mean(jnp.abs(image - before), axis=-1, keepdims=True)
    window = (1, _NEAR, _NEAR, 1)
    near = jax.lax.reduce_window(change, 0.0, jax.lax.add, window, (1, 1, 1, 1), "SAME")
    share = kept * jnp.exp(-jnp.square(near / (_NEAR**2 * _NOISE)))
    return image + share * (before - image)
