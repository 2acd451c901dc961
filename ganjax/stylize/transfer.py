"""Whole images through a stylizer: padding, mixtures of styles, masks.

Images are uint8 [H, W, 3] here, masks float32 [H, W, 1] in [0, 1]. Huang and Belongie 2017,
https://arxiv.org/abs/1703.06868.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ganjax import adain
from ganjax.images import pad_to_multiple, resize, to_float, to_uint8
from ganjax.nets.stylizers import Stylizer
from ganjax.stylize.models import Model
from ganjax.stylize.tiles import draw_program, stylize_tiled
from ganjax.transforms import Statistics

Style = list[Statistics]  # for each depth, leaves [1, ...]
_OWN_STYLE_SIDE = 1024  # at most, of a content whose own style is taken
STYLE_GRAIN = 64  # styles are padded to multiples of it, so that few programs serve all sizes


def encode_style(model: Model, image: np.ndarray, *, mask: np.ndarray | None = None) -> Style:
    """Encodes a style once, for any number of contents.

    Args:
      image: uint8 [H, W, 3].
      mask: float32 [H, W, 1]; the style is taken there.
    """
    height, width = image.shape[:2]
    mask = np.ones((height, width, 1), np.float32) if mask is None else mask
    image, mask = (pad_to_multiple(array, STYLE_GRAIN) for array in (image, mask))
    mask[height:], mask[:, width:] = 0, 0
    return _style_program(model.stylizer)(model.params, image[None], mask[None])


def stylize(
    model: Model,
    contents: Sequence[np.ndarray],
    styles: Sequence[Sequence[Style]],
    weights: Sequence[float] = (1.0,),
    *,
    alpha: float = 1.0,
    masks: Sequence[np.ndarray] | None = None,
    keep_colors: bool = False,
    tile: int = 0,
) -> list[np.ndarray]:
    """Stylizes B contents of one size, each with N styles of its own.

    Args:
      contents: B images, uint8 [H, W, 3] of any one H and W.
      styles: for each content, N styles.
      weights: of the N styles, 0 or more.
      alpha: in [0, 1]; 1 is the full style, 0 the content itself.
      masks: for each content, where its styles go: float32 [N, H, W, 1], or [1, H, W, 1] for all
        alike. What no mask of a style with a weight covers stays as it is, pixel by pixel, and does
        not count for the content's statistics. Each style is drawn by itself, and the pictures are
        mixed by mask and weight.
      keep_colors: only the luminance changes.
      tile: pixels; above 0, the contents are cut into tiles of about this side, all normalized by
        the statistics of the whole. The result is the same, the memory that of a tile.

    Returns:
      B images, uint8 [H, W, 3].
    """
    height, width = contents[0].shape[:2]
    shares = (np.asarray(weights, np.float64) / sum(weights)).astype(np.float32)
    mixtures, regions, coverage = [shares], None, None
    if masks is not None:
        used = shares > 0
        chosen = [rows if len(rows) == 1 else rows[used] for rows in masks]
        coverage = [np.minimum(rows.sum(axis=0), 1) for rows in chosen]
        if len(masks[0]) > 1:
            mixtures = list(np.eye(len(shares), dtype=np.float32)[used])
        if len(mixtures) > 1:
            regions = [_normalized(shares[used, None, None, None] * rows) for rows in chosen]
    rest = None
    if alpha < 1:
        # The content's own style takes the rest, and what the model loses in it comes back.
        rest = np.float32(1 - alpha)
        own = [
            encode_style(model, _small(content), mask=mask if mask is None else _small_mask(mask))
            for content, mask in zip(contents, coverage or [None] * len(contents), strict=True)
        ]
        styles = [[*row, style] for row, style in zip(styles, own, strict=True)]
        mixtures = [np.append(alpha * row, 1 - alpha).astype(np.float32) for row in mixtures]
        mixtures.append(np.eye(len(shares) + 1, dtype=np.float32)[-1])
    # For each depth and of each content N statistics: leaves [N, B, ...].
    by_content = [jax.tree.map(lambda *values: jnp.stack(values), *row) for row in styles]
    statistics = jax.tree.map(lambda *values: jnp.concatenate(values, axis=1), *by_content)
    pad = partial(pad_to_multiple, size=model.stylizer.multiple)
    images = np.stack([pad(content) for content in contents])
    seen = covered = None
    if regions is not None:
        seen = np.stack([[pad(region) for region in rows] for rows in regions], axis=1)
    if coverage is not None:
        covered = np.stack([pad(mask) for mask in coverage])
    if tile:
        results = [
            stylize_tiled(
                model.stylizer,
                model.params,
                image,
                jax.tree.map(lambda value, b=b: value[:, b : b + 1], statistics),
                mixtures,
                None if seen is None else seen[:, b],
                None if covered is None else covered[b],
                rest,
                keep_colors=keep_colors,
                tile=tile,
            )
            for b, image in enumerate(images)
        ]
    else:
        draw = draw_program(model.stylizer, keep_colors)
        drawn = draw(model.params, images, statistics, mixtures, seen, covered, None, rest)
        results = jax.device_get(drawn)
    return [result[:height, :width] for result in results]


def recolor(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Gives a style, uint8 [H, W, 3], the colors of a content (`adain.coral`)."""
    return np.asarray(_recolor(style, _small(content)))


@jax.jit
def _recolor(style, content):
    return to_uint8(adain.coral(to_float(style), to_float(content)))


@cache
def _style_program(stylizer: Stylizer) -> Callable:
    return jax.jit(
        lambda params, images, masks: stylizer.encode_style(params, to_float(images), masks)
    )


def _normalized(masks: np.ndarray) -> np.ndarray:
    """Masks [R, H, W, 1] divided by their sum, where there is any."""
    total = masks.sum(axis=0)
    return masks / np.where(total > 0, total, 1)


def _small_mask(mask: np.ndarray) -> np.ndarray:
    return np.clip(_small(mask), 0, 1)  # bicubic filters overshoot


def _small(image: np.ndarray) -> np.ndarray:
    """An image scaled down to `_OWN_STYLE_SIDE`: its style needs no more, whatever its size."""
    scale = min(1, _OWN_STYLE_SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return image if scale == 1 else resize(image, (height, width))
