"""How near one image is to another: PSNR, SSIM and MS-SSIM, one value per image.

Images are [..., H, W, C] in [-1, 1], so that their range is 2; the values are those of the same
images in [0, 1] with a range of 1 or in [0, 255] with one of 255.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ganjax.errors import UserError

_RANGE = 2.0
MOST_PSNR = 100.0  # dB: what images of 150,000 values have of which one is off by 1 of 255
_SIGMA, _RADIUS = 1.5, 5  # of the Gaussian window of 11x11 pixels
_K1, _K2 = 0.01, 0.03
# Of the scales of MS-SSIM, finest first; they sum to 1.
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Rec. 601, as Pillow's and OpenCV's gray.
_LUMINANCE = (0.299, 0.587, 0.114)
_LUMA = (65.481, 128.553, 24.966)  # the same within 16 to 235, rounded as published


def psnr(a: Array, b: Array) -> Array:
    """Peak signal-to-noise ratio, 10 log10(range^2 / MSE); MSE over pixels and channels.

    Args:
      a, b: float images [..., H, W, C] in [-1, 1].

    Returns:
      [...] in dB, in float32 or wider, at most `MOST_PSNR`, which equal images have.

    Raises:
      UserError: the shapes differ, or the images are integers.
    """
    a, b = _comparable(a, b)
    error = jnp.mean(jnp.square(a - b), axis=(-3, -2, -1))
    # A bound on the error rather than on the result: the gradient of equal images is finite, too.
    return 10 * jnp.log10(_RANGE**2 / jnp.maximum(error, _RANGE**2 / 10 ** (MOST_PSNR / 10)))


def ssim(a: Array, b: Array) -> Array:
    """Structural similarity (Wang et al. 2004, equation 13), mean over pixels and channels.

    The paper's parameters: an 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, variances
    and covariance weighted by the window and not corrected for bias, and only those positions
    where the window lies within the image. Channels are compared one by one; the paper's own
    figures are on luminance: `ssim(luminance(a), luminance(b))`. So scikit-image has it for the
    same images in [0, 1] or [0, 255], where black is 0, as the means in the formula need it:
    `structural_similarity(a, b, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)`. Its default, a uniform 7x7 window, gives other figures.

    Args:
      a, b: float images [..., H, W, C] in [-1, 1], H and W 11 or more.

    Returns:
      [...], at most 1, in float32 or wider; 1 for equal images.

    Raises:
      UserError: the shapes differ, or the images are integers or smaller than the window.
    """
    a, b = _comparable(a, b)
    side = 2 * _RADIUS + 1
    if min(a.shape[-3:-1]) < side:
        raise UserError(
            f"SSIM compares windows of {side}x{side} pixels; "
            f"give images larger than {a.shape[-3]}x{a.shape[-2]}"
        )
    luminances, structures = _similarities(a, b)
    return jnp.mean(luminances * structures, axis=(-3, -2, -1))


def ms_ssim(a: Array, b: Array) -> Array:
    """Multi-scale structural similarity (Wang et al. 2003, equation 7), mean over channels.

    `ssim`'s windows on five scales with the paper's weights: contrast and structure on each,
    luminance on the coarsest. Scales are means over 2x2 pixels; an odd last row or column is
    repeated. Negative means count as 0, for they have no root. So TensorFlow's `ssim_multiscale`
    has it, and pytorch-msssim where sides are multiples of 16.

    Args:
      a, b: float images [..., H, W, C] in [-1, 1], H and W 161 or more.

    Returns:
      [...], from 0 to 1, in float32 or wider; 1 for equal images.

    Raises:
      UserError: the shapes differ, or the images are integers or too small for five scales.
    """
    a, b = _comparable(a, b)
    least = 2 * _RADIUS * 2 ** (len(_SCALES) - 1) + 1
    if min(a.shape[-3:-1]) < least:
        raise UserError(
            f"MS-SSIM needs images of {least}x{least} pixels or more; "
            f"{a.shape[-3]}x{a.shape[-2]} have no five scales, compare them by SSIM"
        )
    value = jnp.ones((), a.dtype)
    for scale, weight in enumerate(_SCALES):
        if scale:
            a, b = _halve(a), _halve(b)
        luminances, factor = _similarities(a, b)
        if scale == len(_SCALES) - 1:
            factor = luminances * factor
        factor = jnp.mean(factor, axis=(-3, -2))
        # The root's gradient at 0 is infinite.
        positive = factor > 0
        value = value * jnp.where(positive, jnp.where(positive, factor, 1) ** weight, 0)
    return jnp.mean(value, axis=-1)


def luminance(images: Array) -> Array:
    """Rec. 601's luma of float RGB images: [..., H, W, 3] -> [..., H, W, 1], of the same range.

    Raises:
      UserError: the images are integers.
    """
    images = _widened(images)
    return jnp.einsum("...c,c->...", images, jnp.asarray(_LUMINANCE, images.dtype))[..., None]


def luma(images: Array, *, border: int = 0) -> Array:
    """Y of float RGB images as MATLAB's `rgb2ycbcr` has it, but not rounded: 16 to 235 of 255.

    Figures of super-resolution are PSNR and SSIM of it, on a scale from 0 to 255.

    Args:
      images: [..., H, W, 3] in [-1, 1].
      border: pixels that are left out on each side.

    Returns:
      [..., H - 2 border, W - 2 border, 1], where -1 is 0 and 1 is 255.

    Raises:
      UserError: the images are integers, or have nothing inside of the border.
    """
    images = _widened(images)
    height, width = (side - border for side in images.shape[-3:-1])
    if min(height, width) <= border:
        raise UserError(
            f"an image of {images.shape[-3]}x{images.shape[-2]} is all border; give larger ones"
        )
    inner = images[..., border:height, border:width, :]
    y = 16 + jnp.einsum("...c,c->...", (inner + 1) / 2, jnp.asarray(_LUMA, images.dtype))
    return (y / 127.5 - 1)[..., None]


def _comparable(a: Array, b: Array) -> tuple[Array, Array]:
    a, b = _widened(a), _widened(b)
    if a.shape != b.shape:
        raise UserError(f"images {a.shape} and {b.shape} differ in shape; scale or crop one first")
    return a, b


def _widened(images: Array) -> Array:
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise UserError(f"images are {images.dtype}; give floats (ganjax.images.to_float)")
    return images.astype(jnp.promote_types(images.dtype, jnp.float32))


def _similarities(x: Array, y: Array) -> tuple[Array, Array]:
    """Of every window, how alike luminance is, and contrast and structure together."""
    # Moments about the image's mean rather than about 0 lose fewer digits in variances.
    center = jnp.mean((x + y) / 2, axis=(-3, -2), keepdims=True)
    x, y = x - center, y - center
    mean_x, mean_y, xx, yy, xy = _window_mean(jnp.stack([x, y, x * x, y * y, x * y]))
    variances = xx - mean_x * mean_x + yy - mean_y * mean_y
    covariance = xy - mean_x * mean_y
    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    # The formula takes its means in a range where black is 0.
    mean_x, mean_y = (mean + center + _RANGE / 2 for mean in (mean_x, mean_y))
    luminances = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return luminances, (2 * covariance + c2) / (variances + c2)


def _halve(images: Array) -> Array:
    height, width = images.shape[-3:-1]
    odd = [(0, 0)] * (images.ndim - 3) + [(0, height % 2), (0, width % 2), (0, 0)]
    images = jnp.pad(images, odd, mode="edge")
    rows = (images[..., 0::2, :, :] + images[..., 1::2, :, :]) / 2
    return (rows[..., 0::2, :] + rows[..., 1::2, :]) / 2


@jax.jit
def _window_mean(images: Array) -> Array:
    """The Gaussian-weighted mean of every whole window: [..., H, W, C] -> [..., H-10, W-10, C]."""
    weights = [math.exp(-0.5 * (k / _SIGMA) ** 2) for k in range(-_RADIUS, _RADIUS + 1)]
    weights = [weight / sum(weights) for weight in weights]
    height, width = (side - 2 * _RADIUS for side in images.shape[-3:-1])
    rows: Any = sum(w * images[..., k : k + height, :, :] for k, w in enumerate(weights))
    return sum(w * rows[..., :, k : k + width, :] for k, w in enumerate(weights))
