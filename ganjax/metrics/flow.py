"""Where pixels go from image to image: optical flow, what stays in sight, and how far it changes.

A flow is [H, W, 2] in pixels, (down, right): what is at a pixel of the first image is at that pixel
plus its flow in the second.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.metrics.similarity import luminance

_COARSEST = 8  # pixels of the short side, at about which the pyramid ends
_ITERATIONS = 4  # on each level
_FROM_START = 2  # finest levels, which a flow that is about right goes through
_SIGMA, _RADIUS = 2.5, 6  # of the Gaussian window, in pixels of a level
_OUTLIER = 0.1  # difference of gray values in [-1, 1] from which a pixel says little
# What flow is drawn to the mean of its neighbors with, against products of slopes in [-1, 1]: it
# decides where there is nothing to see.
_SMOOTHNESS = 2e-4


@jax.jit
def estimate(first: Array, second: Array, start: Array | None = None) -> Array:
    """Optical flow by Lucas and Kanade 1981, from coarse to fine over a pyramid of halves.

    At each pixel the flow solves the least squares of its neighborhood, a Gaussian window, in which
    pixels count less the worse they fit (iterated reweighting), and what has left the image does
    not count at all. It is good for smooth motion; it blurs where things move against each other,
    which `in_sight` leaves out.

    Args:
      first, second: float images [H, W, 3] in [-1, 1] of one size.
      start: [H, W, 2], a flow that is right to a few pixels; of none, the pyramid is higher. Things
        that go far are found by way of the images between, see `chain`.

    Returns:
      float32 [H, W, 2], from the first to the second.
    """
    pyramid = [jnp.stack([luminance(image)[..., 0] for image in (first, second)])]
    levels = math.inf if start is None else _FROM_START
    while len(pyramid) < levels and min(pyramid[-1].shape[1:]) >= 2 * _COARSEST:
        size = tuple(-(-side // 2) for side in pyramid[-1].shape[1:])
        pyramid.append(jax.image.resize(pyramid[-1], (2, *size), "linear"))
    flow = jnp.zeros((*first.shape[:2], 2)) if start is None else start
    for a, b in reversed(pyramid):
        flow = _resized(flow, a.shape)
        flow = jax.lax.fori_loop(0, _ITERATIONS, lambda _, f, a=a, b=b: _refine(a, b, f), flow)
    return flow


@jax.jit
def chain(flows: Sequence[Array]) -> Array:
    """The flow from the first image to the last of those between neighbors, in order."""
    flow = flows[0]
    for step in flows[1:]:
        flow = flow + ops.warp(step, flow)[0]
    return flow


def _resized(flow: Array, size: tuple[int, ...]) -> Array:
    scales = [new / old for new, old in zip(size, flow.shape[:2], strict=True)]
    return jax.image.resize(flow, (*size, 2), "linear") * jnp.array(scales)[None, None]


def _refine(first: Array, second: Array, flow: Array) -> Array:
    """One step of Gauss and Newton for all pixels of gray images [H, W]."""
    warped, inside = ops.warp(second[..., None], flow)
    difference = first - warped[..., 0]
    # Slopes of both images are right to second order.
    down, right = jnp.gradient((first + warped[..., 0]) / 2)
    weight = inside / (1 + jnp.square(difference / _OUTLIER))
    # What this pixel says of the flow itself, so that neighbors of other flows agree.
    told = difference + down * flow[..., 0] + right * flow[..., 1]
    products = jnp.stack([down * down, down * right, right * right, down * told, right * told], -1)
    blurred = _blur(jnp.concatenate([weight[..., None] * products, flow], -1))
    dd, dr, rr, d, r, mean_down, mean_right = jnp.moveaxis(blurred, -1, 0)
    dd, rr = dd + _SMOOTHNESS, rr + _SMOOTHNESS
    d, r = d + _SMOOTHNESS * mean_down, r + _SMOOTHNESS * mean_right
    return jnp.stack([rr * d - dr * r, dd * r - dr * d], -1) / (dd * rr - dr * dr)[..., None]


@jax.jit
def in_sight(forward: Array, backward: Array) -> Array:
    """Which pixels of the first image the second shows, too (Sundaram et al. 2010, section 4).

    Not those whose way there and back does not end where it began, |f + b|^2 > 0.01 (|f|^2 +
    |b|^2) + 0.5, those at edges of the motion, |grad f|^2 > 0.01 |f|^2 + 0.002, and those that
    leave the image.

    Args:
      forward: [H, W, 2], from the first image to the second.
      backward: [H, W, 2], from the second to the first.

    Returns:
      float [H, W] of 0 and 1.
    """
    back, inside = ops.warp(backward, forward)
    length = jnp.sum(jnp.square(forward), -1)
    gap = jnp.sum(jnp.square(forward + back), -1)
    returns = gap <= 0.01 * (length + jnp.sum(jnp.square(back), -1)) + 0.5
    slopes = sum(jnp.sum(jnp.square(x), -1) for x in jnp.gradient(forward, axis=(0, 1)))
    return inside * returns * (slopes <= 0.01 * length + 0.002)


@jax.jit
def warping_error(first: Array, second: Array, flow: Array, sight: Array) -> Array:
    """How far what is in sight changes its color (Lai et al. 2018, arXiv:1808.00449, section 4.1).

    Args:
      first, second: float images [H, W, C] in [-1, 1].
      flow: [H, W, 2], from the first to the second.
      sight: [H, W], weights of the first image's pixels, see `in_sight`.

    Returns:
      [], the mean squared difference of colors in [0, 1] over pixels and channels; 0 where nothing
      is in sight.
    """
    squares = jnp.mean(jnp.square((first - ops.warp(second, flow)[0]) / 2), -1)
    return jnp.sum(sight * squares) / jnp.maximum(jnp.sum(sight), 1)


def _blur(x: Array) -> Array:
    """A Gaussian window over [H, W, C]; at the border, what is missing repeats the last pixel."""
    weights = [math.exp(-0.5 * (k / _SIGMA) ** 2) for k in range(-_RADIUS, _RADIUS + 1)]
    weights = [weight / sum(weights) for weight in weights]
    for axis in (0, 1):
        border = [(_RADIUS, _RADIUS) if axis == a else (0, 0) for a in range(3)]
        padded, length = jnp.pad(x, border, mode="edge"), x.shape[axis]
        parts = [
            weight * jax.lax.slice_in_dim(padded, k, k + length, axis=axis)
            for k, weight in enumerate(weights)
        ]
        x = sum(parts[1:], parts[0])
    return x
