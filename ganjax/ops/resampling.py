"""Pixels moved, mirrored, pooled and repeated; NHWC images."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def pad_reflect(x: Array, width: int) -> Array:
    """Mirrors `width` pixels at each border of [B, H, W, C], without repeating the border itself.

    Sides shorter than `width` + 1 pixels are mirrored again and again. XLA's own derivative copies
    the whole image several times; this one is six times as fast on CPUs.
    """
    return jnp.pad(x, ((0, 0), (width, width), (width, width), (0, 0)), mode="reflect")


def _fold_back(width: int, _: None, padded: Array) -> tuple[Array]:
    batch, *sides, channels = padded.shape
    if min(sides) < 4 * width + 2:  # the mirrored borders overlap
        pads = ((0, 0), (width, width), (width, width), (0, 0))
        shape = (batch, *(side - 2 * width for side in sides), channels)
        image = jax.ShapeDtypeStruct(shape, padded.dtype)
        return jax.linear_transpose(lambda x: jnp.pad(x, pads, mode="reflect"), image)(padded)
    for axis in (1, 2):
        part, end = partial(lax.slice_in_dim, padded, axis=axis), padded.shape[axis]
        low = part(width + 1, 2 * width + 1) + lax.rev(part(0, width), (axis,))
        high = part(end - 2 * width - 1, end - width - 1) + lax.rev(part(end - width, end), (axis,))
        first, last = part(width, width + 1), part(end - width - 1, end - width)
        middle = part(2 * width + 1, end - 2 * width - 1)
        padded = jnp.concatenate([first, low, middle, high, last], axis)
    return (padded,)


pad_reflect.defvjp(lambda x, width: (pad_reflect(x, width), None), _fold_back)


def max_pool(x: Array) -> Array:
    """2x2 max-pool of [B, H, W, C] to [B, ceil(H / 2), ceil(W / 2), C].

    As the maximum of four slices: on CPUs twice as fast as a window reduction, whose gradient is
    slower still.
    """
    height, width = x.shape[1:3]
    if height % 2 or width % 2:
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def upsample(x: Array, times: int = 2) -> Array:
    """Nearest-neighbor upsampling of [B, H, W, C] to [B, times * H, times * W, C]."""
    batch, height, width, channels = x.shape
    shape = (batch, height, times, width, times, channels)
    return jnp.broadcast_to(x[:, :, None, :, None], shape).reshape(
        batch, times * height, times * width, channels
    )


def blur_downsample(x: Array) -> Array:
    """Every other pixel of [B, H, W, C] after a blur by [1, 2, 1] / 4 along both axes.

    The borders are mirrored (Zhang 2019, arXiv:1904.11486, as CUT has it).

    Returns:
      [B, ceil(H / 2), ceil(W / 2), C].
    """
    for axis in (1, 2):
        size = x.shape[axis]
        part = partial(lax.slice_in_dim, x, axis=axis)
        # Mirrored to an odd length: an even pixel more than odd ones, of which each is a center.
        after = [part(size - 2, size - 1)] if size % 2 else []
        x = jnp.concatenate([part(1, 2), x, *after], axis)
        part = partial(lax.slice_in_dim, x, axis=axis, stride=2)
        x = (part(0, -2) + 2 * part(1, None) + part(2, None)) / 4
    return x


def blur_upsample(x: Array) -> Array:
    """[B, H, W, C] to [B, 2H, 2W, C] by [1, 3, 3, 1] / 4 along both axes, the borders repeated.

    It is bilinear: each pixel takes 3/4 of the nearest and 1/4 of the next one.
    """
    for axis in (1, 2):
        part, size = partial(lax.slice_in_dim, x, axis=axis), x.shape[axis]
        before = jnp.concatenate([part(0, 1), part(0, size - 1)], axis)
        after = jnp.concatenate([part(1, size), part(size - 1, size)], axis)
        y = jnp.stack([3 * x + before, 3 * x + after], axis + 1) / 4
        x = y.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def fir_upsample(x: Array) -> Array:
    """[B, H, W, C] to [B, 2H, 2W, C] by [1, 3, 3, 1] / 4 along both axes, with zeros around."""
    for axis in (1, 2):
        size = x.shape[axis]
        part = partial(lax.slice_in_dim, _surround(x, axis), axis=axis)
        y = jnp.stack([part(0, size) + 3 * x, 3 * x + part(2, size + 2)], axis + 1) / 4
        x = y.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def fir_downsample(x: Array) -> Array:
    """[B, H, W, C] to [B, H / 2, W / 2, C] by [1, 3, 3, 1] / 8 along both axes, zeros around."""
    for axis in (1, 2):
        size = x.shape[axis]
        part = partial(lax.slice_in_dim, _surround(x, axis), axis=axis, stride=2)
        a, b, c, d = (part(n, n + size - 1) for n in range(4))
        x = (a + 3 * (b + c) + d) / 8
    return x


def _surround(x: Array, axis: int) -> Array:
    return jnp.pad(x, [(int(n == axis),) * 2 for n in range(x.ndim)])


def space_to_depth(x: Array) -> Array:
    """[B, H, W, C] to [B, H / 2, W / 2, 4 C]: each 2x2 block becomes the channels of a pixel."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, 4 * channels)


def depth_to_space(x: Array, times: int = 2) -> Array:
    """[B, H, W, times^2 C] to [B, times * H, times * W, C]; for 2 `space_to_depth`'s inverse."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, times, times, channels // times**2)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, times * height, times * width, channels // times**2)


def haar(x: Array) -> Array:
    """Haar wavelets of the 2x2 blocks of [B, H, W, C]: [4, B, H / 2, W / 2, C], LL, LH, HL and HH.

    L sums two pixels and H is the second less the first, each divided by the root of 2; the first
    letter goes down, the second across. The transform is orthogonal: `inverse_haar` undoes it.
    """
    a, b, c, d = (x[:, row::2, column::2] for row in (0, 1) for column in (0, 1))
    return jnp.stack([a + b + c + d, b + d - a - c, c + d - a - b, a + d - b - c]) / 2


def inverse_haar(bands: Array) -> Array:
    """What `haar` made [4, B, h, w, C] of: [B, 2h, 2w, C]."""
    ll, lh, hl, hh = bands
    blocks = jnp.stack([ll - lh - hl + hh, ll + lh - hl - hh, ll - lh + hl - hh, ll + lh + hl + hh])
    return depth_to_space(jnp.concatenate(list(blocks / 2), axis=-1))


def shrink(x: Array, size: Sequence[int]) -> Array:
    """Area-averages [B, H, W, C] to `size`, (H / k, W / k) with a whole k for either side."""
    batch, _, _, channels = x.shape
    height, width = size
    blocks = x.reshape(batch, height, x.shape[1] // height, width, x.shape[2] // width, channels)
    return blocks.mean(axis=(2, 4))


def warp(image: Array, flow: Array) -> tuple[Array, Array]:
    """Looks an image up where a flow leads, bilinearly: the second image as the first shows it.

    Args:
      image: float [H, W, C].
      flow: [H, W, 2] in pixels, (down, right).

    Returns:
      [H, W, C], and where the flow stays within the image, float [H, W] of 0 and 1.
    """
    height, width = image.shape[:2]
    rows = jnp.arange(height, dtype=flow.dtype)[:, None] + flow[..., 0]
    columns = jnp.arange(width, dtype=flow.dtype)[None] + flow[..., 1]
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    top, left = (jnp.floor(x).astype(jnp.int32) for x in (rows, columns))
    low, far = (rows - top)[..., None], (columns - left)[..., None]
    below, beside = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    upper = (1 - far) * image[top, left] + far * image[top, beside]
    lower = (1 - far) * image[below, left] + far * image[below, beside]
    return (1 - low) * upper + low * lower, inside.astype(image.dtype)
