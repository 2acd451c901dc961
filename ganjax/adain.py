"""Adaptive instance normalization on arrays [..., H, W, C]: statistics, transfer, blending, losses.

Huang and Belongie 2017, https://arxiv.org/abs/1703.06868. Everything here works under jit, vmap and
grad, for any leading axes, and accumulates bfloat16 and float16 in float32. Arrays of the wrong
type or shape, and an `alpha` that is a number outside [0, 1], raise `ganjax.errors.UserError`.
"""

from collections.abc import Mapping
from functools import partial
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ganjax import matrices
from ganjax.errors import UserError
from ganjax.transforms import Transform

_PIXELS = (-3, -2)
EPSILON = 1e-5
_BOUND = 4.0  # standard deviations; few features are farther from their mean
# Covariances of colors are near singular; by default GPUs and TPUs round factors to 10 or 8 bits.
_einsum = partial(jnp.einsum, precision="highest")
_LUMINANCE = (0.299, 0.587, 0.114)  # Rec. 601


class Moments(NamedTuple):
    """Of every channel over pixels: the sum of their weights, mean and variance.

    Attributes:
      weight: [..., 1, 1, 1].
      mean, variance: [..., 1, 1, C], in float32 or wider; 0 where all weights are 0.
    """

    weight: Array
    mean: Array
    variance: Array


def channel_moments(features: Array, mask: Array | None = None) -> Moments:
    """Weight, mean and biased variance of every channel over the pixels.

    Args:
      features: [..., H, W, C].
      mask: [..., H, W, 1], a weight of 0 or more for every pixel; none weighs all alike.
    """
    features = _widened(features)
    _check_mask(mask, features)
    if mask is None:
        count = features.shape[-3] * features.shape[-2]
        total = jnp.full((*features.shape[:-3], 1, 1, 1), count, features.dtype)

        def average(values):
            return jnp.mean(values, axis=_PIXELS, keepdims=True)
    else:
        mask = mask.astype(features.dtype)
        total = jnp.sum(mask, axis=_PIXELS, keepdims=True)
        divisor = jnp.where(total > 0, total, 1)

        def average(values):
            return jnp.sum(values * mask, axis=_PIXELS, keepdims=True) / divisor

    # The first mean of large values is off by some units in the last place; what is left of it in
    # the deviations is taken out of the mean and of the variance (corrected two-pass algorithm).
    rough = jax.lax.stop_gradient(average(features))
    deviations = features - rough
    rest = average(deviations)
    variance = jnp.maximum(average(jnp.square(deviations)) - jnp.square(rest), 0)
    return Moments(total, rough + rest, variance)


def combine_moments(a: Moments, b: Moments) -> Moments:
    """The moments of two sets of pixels together (Chan et al. 1983), for arrays of any library."""
    total = a.weight + b.weight
    share = b.weight / (total + (total == 0).astype(total.dtype))
    difference = b.mean - a.mean
    between = (1 - share) * share * difference * difference
    variance = (1 - share) * a.variance + share * b.variance + between
    return Moments(total, a.mean + share * difference, variance)


def channel_statistics(
    features: Array, *, mask: Array | None = None, eps: float = EPSILON, ddof: int = 0
) -> tuple[Array, Array]:
    """Mean and standard deviation of every channel over the pixels (equations 5 and 6).

    Args:
      features: [..., H, W, C].
      mask: [..., H, W, 1], a weight of 0 or more for every pixel; none weighs all alike. Where
        all weights are 0, the mean is 0 and the variance 0.
      eps: added to the variance, under the root.
      ddof: the sum of squares is divided by the sum of the weights minus `ddof`: 0 is the paper's
        biased variance, 1 the unbiased one of some PyTorch forms.

    Returns:
      (mean, std), each [..., 1, 1, C], in float32 or wider; the gradient is finite also at zero
      variance.

    >>> features = jnp.array([1.0, 3.0]).reshape(1, 2, 1)  # two pixels of one channel
    >>> mean, std = channel_statistics(features)
    >>> print(mean.ravel(), std.ravel())
    [2.] [1.000005]
    """
    total, mean, variance = channel_moments(features, mask)
    if ddof:
        freedom = total - ddof
        bessel = jnp.where(freedom > 0, total / jnp.where(freedom > 0, freedom, 1), 0)
        variance = variance * bessel
    return mean, _root(variance + eps)


def adain(
    content: Array,
    style: Array,
    alpha: float | Array = 1.0,
    *,
    content_mask: Array | None = None,
    style_mask: Array | None = None,
    eps: float = EPSILON,
    ddof: int = 0,
) -> Array:
    """Gives `content` the channel statistics of `style` (equations 8 and 14).

    Args:
      content: features [..., H, W, C].
      style: features [..., H', W', C].
      alpha: 0 returns the content, 1 the full transfer; a scalar or an array that has as many
        axes as `content`.
      content_mask: [..., H, W, 1] in [0, 1]; statistics are taken, and features changed, as far
        as it says.
      style_mask: [..., H', W', 1]; style statistics are taken there.
      eps, ddof: see `channel_statistics`.

    Returns:
      Features of the shape and type of `content`.

    >>> content, style = jnp.array([1.0, 3.0]), jnp.array([10.0, 40.0, 70.0])
    >>> moved = adain(content.reshape(1, 2, 1), style.reshape(1, 3, 1))
    >>> print(moved.ravel().round(1))
    [15.5 64.5]
    """
    mean, std = channel_statistics(style, mask=style_mask, eps=eps, ddof=ddof)
    return apply_statistics(
        content, mean, std, alpha, content_mask=content_mask, eps=eps, ddof=ddof
    )


def apply_statistics(
    content: Array,
    mean: Array,
    std: Array,
    alpha: float | Array = 1.0,
    *,
    content_mask: Array | None = None,
    eps: float = EPSILON,
    ddof: int = 0,
) -> Array:
    """`adain` with the style's statistics, each [..., 1, 1, C], known already."""
    wide = _widened(content)
    check_channels(content, mean)
    check_alpha(alpha)
    alpha = jnp.asarray(alpha, wide.dtype)
    moved = normalize(wide, mask=content_mask, eps=eps, ddof=ddof) * std + mean
    if content_mask is not None:
        alpha = alpha * content_mask.astype(wide.dtype)
    return (wide + alpha * (moved - wide)).astype(content.dtype)


def normalize(
    features: Array, *, mask: Array | None = None, eps: float = EPSILON, ddof: int = 0
) -> Array:
    """Instance normalization: zero mean and unit variance in every channel, 0 if it is constant."""
    return _standardize(
        _widened(features), *channel_statistics(features, mask=mask, eps=eps, ddof=ddof)
    )


def blend_styles(
    content: Array,
    means: Array,
    stds: Array,
    weights: Array,
    alpha: float | Array = 1.0,
    *,
    content_statistics: tuple[Array, Array] | None = None,
    eps: float = EPSILON,
    ddof: int = 0,
) -> Array:
    """Moves `content` to a mixture of N styles (equation 15).

    Args:
      content: features [..., H, W, C].
      means, stds: of the styles, [N, ..., 1, 1, C].
      weights: [N], 0 or more, one above 0; they are divided by their sum.
      alpha: see `adain`.
      content_statistics: (mean, std) to take off `content`, each [..., 1, 1, C]; by default its
        own. A tile of an image needs those of the whole.

    Returns:
      Features of the shape and type of `content`.
    """
    wide = _widened(content)
    check_channels(content, means)
    check_alpha(alpha)
    shares = weights.astype(wide.dtype).reshape(-1, *(1,) * wide.ndim)
    shares = shares / jnp.sum(shares, axis=0)[None]
    mean, std = jnp.sum(shares * means, axis=0), jnp.sum(shares * stds, axis=0)
    if content_statistics is None:
        content_statistics = channel_statistics(wide, eps=eps, ddof=ddof)
    moved = _standardize(wide, *content_statistics) * std + mean
    alpha = jnp.asarray(alpha, wide.dtype)
    return (wide + alpha * (moved - wide)).astype(content.dtype)


def _statistics(moments: Moments) -> tuple[Array, Array]:
    return moments.mean, _root(moments.variance + EPSILON)


def _apply(features: Array, content: tuple[Array, Array], styles, weights: Array) -> Array:
    means, stds = styles
    return blend_styles(features, means, stds, weights, content_statistics=content)


def _bound(features: Array, statistics: tuple[Array, Array]) -> Array:
    return bound(features, *statistics)


def bound(features: Array, mean: Array, std: Array) -> Array:
    """Features with those far from their mean brought near: within four standard deviations."""
    low, high = mean - _BOUND * std, mean + _BOUND * std
    return jnp.clip(_widened(features), low, high).astype(features.dtype)


# The statistics of a style are (mean, std), each [..., 1, 1, C].
TRANSFORM = Transform(channel_moments, combine_moments, _statistics, _apply, _bound)


def coral(source: Array, target: Array) -> Array:
    """Gives the colors of image `source` the mean and covariance of the colors of `target`.

    To keep the content's colors, the style image is recolored so before it is used (Gatys et
    al. 2016, arXiv:1606.05897; CORAL: Sun et al. 2016, arXiv:1511.05547). As in the public code of
    AdaIN, channels are standardized first and the identity is added to their sums of products. The
    result is that code's where both images have as many pixels; else that code multiplies the
    contrast by the root of the ratio of the two numbers, for which this one makes up. Variances
    bear an epsilon of 1e-5: in images of range 1 or 2 it keeps invisible noise from being blown up.

    Args:
      source: [..., H, W, 3].
      target: [..., H', W', 3].

    Returns:
      [..., H, W, 3] in the type of `source`, not clipped.

    >>> gray = jnp.stack([jnp.linspace(0, 1, 12).reshape(3, 4)] * 3, axis=-1)
    >>> red = gray * jnp.array([1.0, 0.5, 0.5])
    >>> print(coral(gray, red).mean((0, 1)).round(2))
    [0.5  0.25 0.25]
    """
    check_channels(source, target)
    target_mean, target_std = channel_statistics(target)
    a, b = normalize(source), normalize(target)
    recolor = jnp.linalg.solve(_root_of_covariance(a), _root_of_covariance(b))
    moved = _einsum("...hwi,...ij->...hwj", a, recolor)
    return (moved * target_std + target_mean).astype(source.dtype)


def keep_colors(stylized: Array, content: Array) -> Array:
    """The luminance of `stylized` with the colors of `content` (Gatys et al. 2016, section 5.3).

    Args:
      stylized, content: RGB images [..., H, W, 3] of one range.

    Returns:
      [..., H, W, 3] in the type of `content`, not clipped.
    """
    check_channels(stylized, content)
    stylized, wide = _widened(stylized), _widened(content)
    luminance = jnp.asarray(_LUMINANCE, wide.dtype)
    # Y of one and I, Q of the other: adding the difference of luminance to R, G and B does that.
    difference = _einsum("...c,c->...", stylized - wide, luminance)
    return (wide + difference[..., None]).astype(content.dtype)


def content_loss(features: Array, target: Array) -> Array:
    """Mean squared difference over pixels and channels (equation 12): [..., H, W, C] -> [...]."""
    check_channels(features, target)
    return jnp.mean(jnp.square(_widened(features) - _widened(target)), axis=(-3, -2, -1))


def style_loss(
    features: Mapping[str, Array],
    style: Mapping[str, Array],
    *,
    eps: float = EPSILON,
    ddof: int = 0,
) -> Array:
    """Squared differences of means and standard deviations, summed over layers (equation 13).

    Within a layer the mean over channels is taken, as in most PyTorch forms, whose style weight
    is then 10; the authors sum over channels, with a style weight of 0.01.

    Args:
      features, style: layer name -> [..., H, W, C]; the sizes may differ.

    Returns:
      [...].
    """
    losses = []
    for name, values in features.items():
        check_channels(values, style[name])
        mean, std = channel_statistics(values, eps=eps, ddof=ddof)
        style_mean, style_std = channel_statistics(style[name], eps=eps, ddof=ddof)
        squares = jnp.square(mean - style_mean) + jnp.square(std - style_std)
        losses.append(jnp.mean(squares, axis=(-3, -2, -1)))
    return sum(losses[1:], losses[0])


def covariance_loss(features: Mapping[str, Array], style: Mapping[str, Array]) -> Array:
    """Relative squared error of the second moments between channels, summed over layers.

    The Gram matrices of Gatys et al. 2016 (arXiv:1508.06576), divided by the number of pixels: how
    channels go together is what tells strokes from colors. Each error is relative to the style's
    own matrix, for those of styles of high contrast are hundreds of times larger than others.

    Args:
      features, style: layer name -> [..., H, W, C]; the sizes may differ.

    Returns:
      [...].
    """
    losses = []
    for name, values in features.items():
        check_channels(values, style[name])
        wanted = _gram(style[name])
        error = jnp.mean(jnp.square(_gram(values) - wanted), axis=(-2, -1))
        losses.append(error / (jnp.mean(jnp.square(wanted), axis=(-2, -1)) + EPSILON))
    return sum(losses[1:], losses[0])


def _gram(features: Array) -> Array:
    wide = _widened(features)
    return _products(wide) / (wide.shape[-3] * wide.shape[-2])


def _products(pixels: Array) -> Array:
    """Sums over pixels of the products of channels: [..., H, W, C] -> [..., C, C]."""
    return _einsum("...hwi,...hwj->...ij", pixels, pixels)


def _standardize(values: Array, mean: Array, std: Array) -> Array:
    return (values - mean) / jnp.where(std > 0, std, 1)


def _widened(values: Array) -> Array:
    """float64 stays, other floats become float32.

    Raises:
      UserError: they are no floats: their results would have to be cut to whole numbers.
    """
    dtype = getattr(values, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        kind = type(values).__name__ if dtype is None else dtype
        raise UserError(f"features are {kind}; give an array of floats, like x.astype('float32')")
    if values.ndim < 3:
        raise UserError(f"features have the shape {values.shape}; give [..., H, W, C]")
    return values.astype(jnp.float64 if values.dtype == jnp.float64 else jnp.float32)


def _check_mask(mask: Array | None, features: Array) -> None:
    if mask is not None and mask.shape[-3:] != (*features.shape[-3:-1], 1):
        shape = ", ".join(map(str, (*features.shape[-3:-1], 1)))
        raise UserError(f"a mask has the shape {mask.shape}; the features need [..., {shape}]")


def check_channels(content: Array, style: Array) -> None:
    """Raises `UserError` where two arrays [..., C] have other numbers of channels."""
    if content.shape[-1] != style.shape[-1]:
        counts = f"{content.shape[-1]} and {style.shape[-1]} channels"
        raise UserError(f"content and style have {counts}; take both from the same layer")


def check_alpha(alpha: float | Array) -> None:
    """Raises `UserError` where alpha is a number outside [0, 1]."""
    if isinstance(alpha, Real) and not 0 <= alpha <= 1:
        raise UserError(f"alpha is {alpha}; it must be from 0 to 1")


def _root(values: Array) -> Array:
    """The square root, with gradient 0 at 0."""
    positive = values > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, values, 1)), 0)


def _root_of_covariance(pixels: Array) -> Array:
    """Of standardized channels, to whose sums of products the identity is added."""
    count = pixels.shape[-3] * pixels.shape[-2]
    squares = _products(pixels)
    eye = jnp.broadcast_to(jnp.eye(pixels.shape[-1], dtype=pixels.dtype), squares.shape)
    return matrices.roots((squares + eye) / count)[0]
