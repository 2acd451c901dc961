"""Normalization layers that several networks share."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from ganjax import ops

NormKind = Literal["batch", "instance", "layer"]


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe and Szegedy 2015); variables as in `flax.linen.BatchNorm`.

    Statistics are exact and float32 at least, whatever the type of the images. The running ones
    move by 1 - `momentum` with every training batch; the variance is the biased one.

    With `conditions` it is conditional (de Vries et al. 2017; Dumoulin et al. 2017): scale and bias
    are 1 and 0 plus linear maps of each image's condition, without a bias of their own and 0 at
    the start. For a one-hot condition each class so has a scale and a bias, 1 and 0 at the start.

    Attributes:
      momentum: share of the old running statistics that is kept.
      epsilon: added to the variance, under the root.
      scale_init: initializer of the channels' scales, where there are no conditions.
      conditions: length of the condition; 0 for none.
      affine: whether there are scales and biases at all.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Any = nn.initializers.ones
    conditions: int = 0
    affine: bool = True

    @nn.compact
    def __call__(self, x: Array, condition: Array | None = None, *, train: bool) -> Array:
        """Normalizes [B, H, W, C] by the batch's statistics, or by the running ones.

        Args:
          condition: float [B, conditions], where there are conditions.
        """
        channels = x.shape[-1]
        if self.conditions:
            assert condition is not None
            shape, zeros = (self.conditions, channels), nn.initializers.zeros
            scale = 1 + _product(condition, self.param("scale", zeros, shape))
            bias = _product(condition, self.param("bias", zeros, shape))
        elif not self.affine:
            scale, bias = jnp.ones(channels), jnp.zeros(channels)
        else:
            scale = self.param("scale", self.scale_init, (channels,))
            bias = self.param("bias", nn.initializers.zeros, (channels,))
        means = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        variances = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if not train:
            inverse = lax.rsqrt(variances.value + self.epsilon)
            factor = scale * jnp.broadcast_to(inverse, scale.shape)
            shift = bias - jnp.broadcast_to(means.value, scale.shape) * factor
            factor, shift = (v.reshape(-1, 1, 1, channels) for v in (factor, shift))
            return (x.astype(factor.dtype) * factor + shift).astype(x.dtype)
        y, mean, variance = ops.batch_norm(x, scale, bias, epsilon=self.epsilon)
        if not self.is_initializing():
            means.value = self.momentum * means.value + (1 - self.momentum) * mean
            variances.value = self.momentum * variances.value + (1 - self.momentum) * variance
        return y


class StatelessNorm(nn.Module):
    """Normalization by the images at hand, in training and at test time alike; keeps no state.

    pix2pix has it so (Isola et al. 2017, section 3.3): for a batch of one image, "batch" is
    instance normalization with a scale and a bias.

    Attributes:
      kind: "batch", over all images of a batch, with a scale and a bias; "instance", each image by
        itself, without parameters; "layer", each image with all of its channels, with a scale and a
        bias: what a channel's mean says, like the color of a background, is not lost.
      scale_init: initializer of the scales.
    """

    kind: NormKind = "batch"
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Normalizes [B, H, W, C]."""
        if self.kind == "instance":
            return ops.instance_norm(x)
        scale = self.param("scale", self.scale_init, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        if self.kind == "layer":
            return ops.layer_norm(x, scale, bias)
        return ops.batch_norm(x, scale, bias)[0]


class SpectralNorm(nn.Module):
    """Divides a kernel by its largest singular value (Miyato et al. 2018, algorithm 1).

    The value is that of one power iteration for each training forward, which starts from a vector
    `u` of the collection `batch_stats` and leaves its own there. Gradients flow through the value,
    not through the iteration (equation 12).
    """

    @nn.compact
    def __call__(self, kernel: Array, *, train: bool) -> Array:
        """Normalizes [..., C_out], the matrix [C_out, rest] of the paper."""
        features = kernel.shape[-1]

        def start() -> Array:
            return _unit(jax.random.normal(self.make_rng("params"), (features,)))

        u = self.variable("batch_stats", "u", start)
        matrix = kernel.reshape(-1, features)
        frozen = lax.stop_gradient(matrix)
        right = _unit(_product(frozen, u.value))
        product = _product(right, frozen)
        if train and not self.is_initializing():
            left = u.value = _unit(product)
        else:  # a mean of vectors, as of averaged variables, is shorter
            left = _unit(u.value)
        return kernel / _singular_value(matrix, right, left, product)


@jax.custom_jvp
def _singular_value(matrix: Array, right: Array, left: Array, product: Array) -> Array:
    """right^T matrix left, where `product` is right^T matrix; linear in the matrix alone."""
    return _product(product, left)


@_singular_value.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    _, right, left, _ = primals
    return _singular_value(*primals), _product(right, _product(tangents[0], left))


def _unit(vector: Array) -> Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)


def _product(a: Array, b: Array) -> Array:
    """GPUs and TPUs would round the factors to 10 or 8 bits."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
