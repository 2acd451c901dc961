"""Sums over the pixels of every channel, and what rests on them; NHWC images."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax


def add_bias(x: Array, bias: Array) -> Array:
    """Adds `bias` [C] to every pixel of [B, H, W, C]; its gradient is summed by `_sum_pixels`."""
    return x + _spread(bias, x.shape)


def prelu(x: Array, slopes: Array) -> Array:
    """`x` where it is positive, else `x` times its channel's slope (He et al. 2015, equation 1).

    Args:
      x: [B, H, W, C].
      slopes: [C], or [1] for all channels.
    """
    slopes = jnp.broadcast_to(slopes, x.shape[-1:])
    return jnp.where(x > 0, x, _spread(slopes, x.shape) * x)


def batch_norm(
    x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Batch normalization with the statistics of `x` (Ioffe and Szegedy 2015, algorithm 1).

    The variance is that of the deviations, exact also where the mean is large, and accumulates in
    float32 at least. XLA's derivative of the plain form sums twice as often.

    Args:
      x: [B, H, W, C].
      scale, bias: [C], or [B, C] where each image has its own.

    Returns:
      (y [B, H, W, C] in the type of `x`, mean [C], variance [C]); the variance is the biased one,
      and no gradient flows through mean and variance.
    """
    return _batch_norm(epsilon, x, scale, bias)


def instance_norm(x: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalizes each channel of each image by itself (Ulyanov et al. 2016, equation 7).

    Args:
      x: [B, H, W, C].

    Returns:
      [B, H, W, C] in the type of `x`: mean 0 and variance 1 over H and W; accumulated in float32
      at least.
    """
    dtype = _wide(x.dtype)
    ones, zeros = jnp.ones(x.shape[-1], dtype), jnp.zeros(x.shape[-1], dtype)
    return jax.vmap(lambda image: batch_norm(image[None], ones, zeros, epsilon=epsilon)[0][0])(x)


def layer_norm(x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalizes each image over all of its pixels and channels (Ba et al. 2016, equation 3).

    Args:
      x: [B, H, W, C].
      scale, bias: [C].

    Returns:
      [B, H, W, C] in the type of `x`; accumulated in float32 at least.
    """
    wide, of_image = x.astype(_wide(x.dtype)), (x.shape[0], x.shape[-1])

    def mean(values: Array) -> Array:
        means = _sum_pixels(values, of_image).sum(-1, keepdims=True) / (x.size // x.shape[0])
        return jnp.broadcast_to(means, of_image)

    deviations = wide - _spread(mean(wide), x.shape)
    factor = lax.rsqrt(mean(jnp.square(deviations)) + epsilon) * scale[None]
    return (deviations * _spread(factor, x.shape) + _spread(bias, x.shape)).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _batch_norm(epsilon: float, x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    return _normalize(epsilon, x, scale, bias)[0]


def _wide(dtype: jnp.dtype) -> jnp.dtype:
    """What sums accumulate in: float32 at least."""
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype


def _normalize(epsilon: float, x: Array, scale: Array, bias: Array):
    wide = x.astype(_wide(x.dtype))
    mean = _mean_pixels(wide)
    deviations = wide - _spread(mean, x.shape)
    variance = _mean_pixels(jnp.square(deviations))
    inverse = lax.rsqrt(variance + epsilon)
    factor = jnp.broadcast_to(inverse, scale.shape) * scale
    y = deviations * _spread(factor, x.shape) + _spread(bias, x.shape)
    return (y.astype(x.dtype), mean, variance), (x, mean, inverse, scale)


def _normalize_gradient(epsilon: float, residuals, gradients):
    x, mean, inverse, scale = residuals
    gradient = gradients[0].astype(mean.dtype)
    standard = (x.astype(mean.dtype) - _spread(mean, x.shape)) * _spread(inverse, x.shape)
    bias_gradient = _sum_pixels(gradient, scale.shape)
    scale_gradient = _sum_pixels(gradient * standard, scale.shape)
    count = x.size // x.shape[-1]
    if scale.ndim == 1:
        b, s, factor = bias_gradient, scale_gradient, inverse * scale
    else:  # of each image: they enter the sums over all images
        gradient = gradient * _spread(scale, x.shape)
        b, s, factor = (scale * bias_gradient).sum(0), (scale * scale_gradient).sum(0), inverse
    rest = gradient - _spread(b / count, x.shape)
    rest = rest - standard * _spread(s / count, x.shape)
    x_gradient = rest * _spread(factor, x.shape)
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient


_batch_norm.defvjp(_normalize, _normalize_gradient)


def _mean_pixels(x: Array) -> Array:
    return _sum_pixels(x, x.shape[-1:]) / (x.size // x.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _sum_pixels(x: Array, shape: tuple[int, ...]) -> Array:
    """[B, H, W, C] summed to `shape`, [C] or [B, C]; `_spread` is its adjoint.

    XLA sums over leading axes at a tenth of the memory's speed on CPUs; as products with ones,
    image by image, the sums take the memory's speed, and round off less.
    """

    def by_product(x):
        batch, height, width, channels = x.shape
        ones = jnp.ones((batch, 1, height * width), x.dtype)
        sums = lax.batch_matmul(
            ones, x.reshape(batch, height * width, channels), precision=lax.Precision.HIGHEST
        )
        return sums[:, 0] if len(shape) == 2 else sums.sum(axis=(0, 1))

    axes = (1, 2) if len(shape) == 2 else (0, 1, 2)
    return lax.platform_dependent(x, cpu=by_product, default=lambda x: x.sum(axis=axes))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    """[C] or [B, C] repeated for every pixel of `shape` [B, H, W, C]."""
    return jnp.broadcast_to(values if values.ndim == 1 else values[:, None, None], shape)


_sum_pixels.defvjp(
    lambda x, shape: (_sum_pixels(x, shape), x.shape),
    lambda _, shape, gradient: (_spread(gradient, shape),),
)
_spread.defvjp(
    lambda values, shape: (_spread(values, shape), values.shape),
    lambda _, shape, gradient: (_sum_pixels(gradient, shape),),
)
