"""Normalization layers that several networks share."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from ganjax import ops


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe and Szegedy 2015); variables as in `flax.linen.BatchNorm`.

    Statistics are exact and float32 at least, whatever the type of the images. The running ones
    move by 1 - `momentum` with every training batch; the variance is the biased one.

    Attributes:
      momentum: share of the old running statistics that is kept.
      epsilon: added to the variance, under the root.
      scale_init: initializer of the channels' scales.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Normalizes [B, H, W, C] by the batch's statistics, or by the running ones."""
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        means = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        variances = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if not train:
            factor = scale * lax.rsqrt(variances.value + self.epsilon)
            shift = bias - means.value * factor
            y = x.astype(factor.dtype) * factor[None, None, None] + shift[None, None, None]
            return y.astype(x.dtype)
        y, mean, variance = ops.batch_norm(x, scale, bias, epsilon=self.epsilon)
        if not self.is_initializing():
            means.value = self.momentum * means.value + (1 - self.momentum) * mean
            variances.value = self.momentum * variances.value + (1 - self.momentum) * variance
        return y
