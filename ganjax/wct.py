"""Whitening and coloring on arrays [..., H, W, C]: covariances, transfer, mixtures of styles.

Li, Fang, Yang, Wang, Lu and Yang 2017, https://arxiv.org/abs/1705.08086. Where AdaIN gives features
the mean and deviation of every channel of the style, WCT gives them the covariances between
channels as well. Everything here works under jit, vmap and grad, for any leading axes, and
accumulates bfloat16 and float16 in float32. Arrays of the wrong type or shape, and an `alpha` that
is a number outside [0, 1], raise `ganjax.errors.UserError`.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import adain, matrices
from ganjax.transforms import Transform

THRESHOLD = 1e-5  # eigenvalues up to it are left out, as in the authors' code
Method = Literal["eigenvalues", "newton_schulz"]
_einsum = partial(jnp.einsum, precision="highest")


class Moments(NamedTuple):
    """Of the channels over pixels: the sum of their weights, means and covariances.

    Attributes:
      weight: [..., 1, 1, 1].
      mean: [..., 1, 1, C], in float32 or wider.
      covariance: [..., 1, C, C], divided by the weight; 0 where all weights are 0.
    """

    weight: Array
    mean: Array
    covariance: Array


class Statistics(NamedTuple):
    """What the transfer needs of a content or of a style.

    Attributes:
      known: [..., 1, 1, 1], 1 where there were two pixels or more, else 0: nothing is transferred
        from or to less.
      mean: [..., 1, 1, C].
      whitening: [..., 1, C, C], the inverse root of the covariance, symmetric (ZCA).
      coloring: [..., 1, C, C], its root.
    """

    known: Array
    mean: Array
    whitening: Array
    coloring: Array


class RangedMoments(NamedTuple):
    """`Moments`, and the least and the largest of all features: [..., 1, 1, 1]."""

    weight: Array
    mean: Array
    covariance: Array
    least: Array
    most: Array


class RangedStatistics(NamedTuple):
    """`Statistics`, and the range of the features."""

    known: Array
    mean: Array
    whitening: Array
    coloring: Array
    least: Array
    most: Array


def channel_covariances(features: Array, mask: Array | None = None) -> Moments:
    """Weight, means and covariances of the channels over the pixels.

    Args:
      features: [..., H, W, C].
      mask: [..., H, W, 1], a weight of 0 or more for every pixel; none weighs all alike.
    """
    weight, mean, _ = adain.channel_moments(features, mask)
    deviations = features.astype(mean.dtype) - mean
    weighted = deviations if mask is None else deviations * mask.astype(mean.dtype)
    products = _einsum("...hwi,...hwj->...ij", weighted, deviations)[..., None, :, :]
    return Moments(weight, mean, products / jnp.where(weight > 0, weight, 1))


def combine_moments(a: Moments, b: Moments) -> Moments:
    """The moments of two sets of pixels together (Chan et al. 1983), for arrays of any library."""
    total = a.weight + b.weight
    share = b.weight / (total + (total == 0).astype(total.dtype))
    difference = b.mean - a.mean  # [..., 1, 1, C]: a row; as a column, its last two axes exchanged
    between = (1 - share) * share * difference.swapaxes(-1, -2) * difference
    covariance = (1 - share) * a.covariance + share * b.covariance + between
    return Moments(total, a.mean + share * difference, covariance)


def statistics(
    moments: Moments, *, threshold: float = THRESHOLD, method: Method = "eigenvalues"
) -> Statistics:
    """Means and the roots of covariances, which are divided by the weight less 1.

    Args:
      threshold: eigenvalues up to it are left out; with "newton_schulz" it is added to all.
      method: "eigenvalues", exact and deterministic to the bit; or "newton_schulz", products only,
        for accelerators, whose eigenvalues are slow: equal to about 1e-3 where no eigenvalue is
        near the threshold.
    """
    weight, mean, covariance = moments
    known = weight >= 2
    covariance = covariance * jnp.where(known, weight / jnp.where(known, weight - 1, 1), 0)
    if method == "newton_schulz":
        eye = jnp.broadcast_to(jnp.eye(mean.shape[-1], dtype=mean.dtype), covariance.shape)
        coloring, whitening = matrices.newton_schulz(covariance + threshold * eye)
    else:
        coloring, whitening = matrices.roots(covariance, threshold)
    return Statistics(known.astype(mean.dtype), mean, whitening, coloring)


def whiten(features: Array, *, mask: Array | None = None, threshold: float = THRESHOLD) -> Array:
    """Zero means, and the identity for covariance (section 3.2, equation 1).

    Args:
      features: [..., H, W, C].
      mask: [..., H, W, 1], a weight of 0 or more for every pixel: statistics are taken there.
      threshold: directions of no more variance than this become 0.

    Returns:
      [..., H, W, C], in float32 or wider.

    >>> x = jax.random.normal(jax.random.key(0), (32, 32, 2)) @ jnp.array([[2.0, 1.0], [0.0, 1.0]])
    >>> print(jnp.abs(jnp.cov(whiten(x).reshape(-1, 2).T)).round(3))
    [[1. 0.]
     [0. 1.]]
    """
    known, mean, whitening, _ = statistics(channel_covariances(features, mask), threshold=threshold)
    return _turn(features.astype(mean.dtype) - mean, whitening)


def color(
    white: Array, style: Array, *, mask: Array | None = None, threshold: float = THRESHOLD
) -> Array:
    """Gives whitened features the means and covariances of `style` (section 3.2, equation 2).

    Args:
      white: [..., H, W, C], of `whiten`.
      style: features [..., H', W', C].
      mask: [..., H', W', 1], where the style's statistics are taken.
      threshold: see `whiten`.

    Returns:
      [..., H, W, C], in float32 or wider.
    """
    _, mean, _, coloring = statistics(channel_covariances(style, mask), threshold=threshold)
    return _turn(white.astype(mean.dtype), coloring) + mean


def wct(
    content: Array,
    style: Array,
    alpha: float | Array = 1.0,
    *,
    content_mask: Array | None = None,
    style_mask: Array | None = None,
    threshold: float = THRESHOLD,
    method: Method = "eigenvalues",
) -> Array:
    """Gives `content` the means and covariances of `style` (section 3.2, equation 3).

    Masks of fewer than two pixels leave the content as it is.

    Args:
      content: features [..., H, W, C].
      style: features [..., H', W', C].
      alpha: 0 returns the content, 1 the full transfer; a scalar or an array that has as many axes
        as `content`. The paper's is 0.6.
      content_mask: [..., H, W, 1] in [0, 1]; statistics are taken, and features changed, as far as
        it says.
      style_mask: [..., H', W', 1]; the style's statistics are taken there.
      threshold, method: see `statistics`.

    Returns:
      Features of the shape and type of `content`.

    >>> content, style = jnp.array([1.0, 3.0]), jnp.array([10.0, 40.0, 70.0])
    >>> moved = wct(content.reshape(1, 2, 1), style.reshape(1, 3, 1)).ravel()
    >>> print([f"{value:.1f}" for value in moved])
    ['18.8', '61.2']
    """
    adain.check_alpha(alpha)
    adain.check_channels(content, style)
    measured = [
        statistics(channel_covariances(features, mask), threshold=threshold, method=method)
        for features, mask in ((content, content_mask), (style, style_mask))
    ]
    styles = jax.tree.map(lambda leaf: leaf[None], measured[1])
    moved = _apply(content.astype(measured[0].mean.dtype), measured[0], styles, jnp.ones(1))
    wide, alpha = content.astype(moved.dtype), jnp.asarray(alpha, moved.dtype)
    if content_mask is not None:
        alpha = alpha * content_mask.astype(moved.dtype)
    return (wide + alpha * (moved - wide)).astype(content.dtype)


def _apply(features: Array, content: Statistics, styles: Statistics, weights: Array) -> Array:
    """The mixture by weight of the transfers to N styles, leaves [N, ...]."""
    wide = features.astype(content.mean.dtype)
    shares = weights.astype(wide.dtype).reshape(-1, *(1,) * wide.ndim)
    shares = shares / jnp.sum(shares, axis=0)[None] * styles.known * content.known[None]
    coloring = jnp.sum(shares * styles.coloring, axis=0)
    white = _turn(wide - content.mean, content.whitening)
    moved = _turn(white, coloring) + jnp.sum(shares * styles.mean, axis=0)
    return (moved + (1 - jnp.sum(shares, axis=0)) * wide).astype(features.dtype)


def _bound(features: Array, content: Statistics) -> Array:
    # A root's rows have the deviations of the channels for lengths.
    std = jnp.sqrt(jnp.sum(jnp.square(content.coloring), axis=-1))[..., None, :]
    return adain.bound(features, content.mean, std)


def _turn(features: Array, matrix: Array) -> Array:
    """Symmetric [..., 1, C, C] times the vectors of all pixels [..., H, W, C]."""
    return _einsum("...hwi,...ij->...hwj", features, matrix[..., 0, :, :])


def _measure_ranged(features: Array, mask: Array | None = None) -> RangedMoments:
    moments = channel_covariances(features, mask)
    inside = jnp.ones((1,) * features.ndim, bool) if mask is None else mask > 0
    wide, axes = features.astype(moments.mean.dtype), (-3, -2, -1)
    least = jnp.min(jnp.where(inside, wide, jnp.inf), axes, keepdims=True)
    most = jnp.max(jnp.where(inside, wide, -jnp.inf), axes, keepdims=True)
    any_inside = least <= most
    return RangedMoments(*moments, jnp.where(any_inside, least, 0), jnp.where(any_inside, most, 0))


def _combine_ranged(a: RangedMoments, b: RangedMoments) -> RangedMoments:
    library: Any = jnp if isinstance(a.mean, jax.Array) else np
    where, (only_a, only_b) = library.where, (b.weight <= 0, a.weight <= 0)
    least = where(only_a, a.least, where(only_b, b.least, library.minimum(a.least, b.least)))
    most = where(only_a, a.most, where(only_b, b.most, library.maximum(a.most, b.most)))
    return RangedMoments(*combine_moments(Moments(*a[:3]), Moments(*b[:3])), least, most)


def _ranged_statistics(moments: RangedMoments) -> RangedStatistics:
    return RangedStatistics(*statistics(Moments(*moments[:3])), *moments[3:])


def _apply_ranged(
    features: Array, content: RangedStatistics, styles: RangedStatistics, weights: Array
) -> Array:
    moved = _apply(features, Statistics(*content[:4]), Statistics(*styles[:4]), weights)
    return jnp.clip(moved, content.least, content.most).astype(features.dtype)


def _bound_ranged(features: Array, content: RangedStatistics) -> Array:
    return _bound(features, Statistics(*content[:4]))


# Statistics are `Statistics`.
TRANSFORM = Transform(channel_covariances, combine_moments, statistics, _apply, _bound)
# For photographs (Yoo et al. 2019, https://arxiv.org/abs/1903.09760): the features stay within the
# range of the content's. Statistics are `RangedStatistics`.
RANGED_TRANSFORM = Transform(
    _measure_ranged, _combine_ranged, _ranged_statistics, _apply_ranged, _bound_ranged
)
