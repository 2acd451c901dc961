"""Inception v3 (Szegedy et al. 2016, arXiv:1512.00567) in the form of the FID protocol.

The network of `inception-2015-12-05.tgz`, on which FID, KID and the Inception Score are defined. It
differs from others of this name: 1008 classes, average pools that leave out the border, and a
maximum for the pool of the last block. Modules are named as in PyTorch's ports of it.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ganjax import ops

CLASSES = 1008
SIZE = 299  # pixels of each side


class Conv(nn.Module):
    """Convolution, bias and ReLU; batch normalization (eps 0.001) is part of kernel and bias.

    Attributes:
      padded: zeros around, so that a stride of 1 keeps height and width.
    """

    features: int
    kernel_size: tuple[int, int] = (1, 1)
    strides: int = 1
    padded: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        border = [(self.padded * (side // 2),) * 2 for side in self.kernel_size]
        x = ops.conv(x, kernel, strides=self.strides, padding=border)
        return nn.relu(ops.add_bias(x, bias))


def _half(features: int, kernel_size: tuple[int, int] = (3, 3)) -> tuple:
    """Arguments of a `Conv` that halves height and width."""
    return features, kernel_size, 2, False


def _chain(x: Array, branch: str, *convolutions: tuple) -> Array:
    """Convolutions branch_1, branch_2, ... one after the other."""
    for number, arguments in enumerate(convolutions, start=1):
        x = Conv(*arguments, name=f"{branch}_{number}")(x)
    return x


def _windows(x: Array, combine: Callable[[Array, Array], Array], strides: int = 1) -> Array:
    """3x3 pooling without padding, as slices: on CPUs faster than a window reduction."""
    for axis in (1, 2):
        count = x.shape[axis] - 2
        first, second, third = (
            lax.slice_in_dim(x, start, start + count, strides, axis) for start in range(3)
        )
        x = combine(combine(first, second), third)
    return x


def _half_max(x: Array) -> Array:
    return _windows(x, jnp.maximum, strides=2)


def _max(x: Array) -> Array:
    # A window that reaches over the edge has the edge in it anyway.
    return _windows(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge"), jnp.maximum)


def _mean(x: Array) -> Array:
    """3x3 means over the pixels that there are (`count_include_pad=False`)."""
    sums = _windows(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), jnp.add)
    rows, columns = (np.convolve(np.ones(side), np.ones(3))[1:-1] for side in x.shape[1:3])
    return sums / jnp.asarray(np.outer(rows, columns)[None, :, :, None], x.dtype)


class MixedA(nn.Module):
    """The blocks at 1/8: [B, 35, 35, C] to [B, 35, 35, 224 + pool]."""

    pool: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        branches = [
            Conv(64, name="branch1x1")(x),
            _chain(x, "branch5x5", (48,), (64, (5, 5))),
            _chain(x, "branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3))),
            Conv(self.pool, name="branch_pool")(_mean(x)),
        ]
        return jnp.concatenate(branches, axis=-1)


class MixedB(nn.Module):
    """From 1/8 to 1/16: [B, 35, 35, C] to [B, 17, 17, 480 + C]."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        branches = [
            Conv(*_half(384), name="branch3x3")(x),
            _chain(x, "branch3x3dbl", (64,), (96, (3, 3)), _half(96)),
            _half_max(x),
        ]
        return jnp.concatenate(branches, axis=-1)


class MixedC(nn.Module):
    """The blocks at 1/16: [B, 17, 17, 768] to the same."""

    narrow: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        narrow, wide, tall = self.narrow, (1, 7), (7, 1)
        branches = [
            Conv(192, name="branch1x1")(x),
            _chain(x, "branch7x7", (narrow,), (narrow, wide), (192, tall)),
            _chain(
                x, "branch7x7dbl",
                (narrow,), (narrow, tall), (narrow, wide), (narrow, tall), (192, wide),
            ),
            Conv(192, name="branch_pool")(_mean(x)),
        ]  # fmt: skip
        return jnp.concatenate(branches, axis=-1)


class MixedD(nn.Module):
    """From 1/16 to 1/32: [B, 17, 17, C] to [B, 8, 8, 512 + C]."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        branches = [
            _chain(x, "branch3x3", (192,), _half(320)),
            _chain(x, "branch7x7x3", (192,), (192, (1, 7)), (192, (7, 1)), _half(192)),
            _half_max(x),
        ]
        return jnp.concatenate(branches, axis=-1)


class MixedE(nn.Module):
    """The blocks at 1/32: [B, 8, 8, C] to [B, 8, 8, 2048].

    Attributes:
      pool: the mean or, in the last block, the maximum.
    """

    pool: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        def fork(x: Array, layer: str) -> list[Array]:
            sizes = {"a": (1, 3), "b": (3, 1)}
            return [Conv(384, size, name=f"{layer}{side}")(x) for side, size in sizes.items()]

        branches = [
            Conv(320, name="branch1x1")(x),
            *fork(_chain(x, "branch3x3", (384,)), "branch3x3_2"),
            *fork(_chain(x, "branch3x3dbl", (448,), (384, (3, 3))), "branch3x3dbl_3"),
            Conv(192, name="branch_pool")(self.pool(x)),
        ]
        return jnp.concatenate(branches, axis=-1)


class Inception(nn.Module):
    """RGB images to the outputs of all blocks, features and logits; 23.8 million parameters."""

    @nn.compact
    def __call__(self, images: Array) -> dict[str, Array]:
        """Maps [B, 299, 299, 3] in [-1, 1); smaller images, from 75 pixels, make smaller maps.

        Returns:
          "pool1" [B, 73, 73, 64], "pool2" [B, 35, 35, 192], "Mixed_5b" .. "Mixed_7c"
          [B, h, w, C]; "features" [B, 2048], the mean of the last; "logits" [B, 1008] without
          the bias, as the Inception Score has them, and "logits_with_bias".
        """
        x = Conv(*_half(32), name="Conv2d_1a_3x3")(images)
        x = Conv(32, (3, 3), padded=False, name="Conv2d_2a_3x3")(x)
        x = Conv(64, (3, 3), name="Conv2d_2b_3x3")(x)
        x = pool1 = _half_max(x)
        x = Conv(80, name="Conv2d_3b_1x1")(x)
        x = Conv(192, (3, 3), padded=False, name="Conv2d_4a_3x3")(x)
        x = pool2 = _half_max(x)
        outputs = {"pool1": pool1, "pool2": pool2}
        for block in (
            MixedA(32, name="Mixed_5b"),
            MixedA(64, name="Mixed_5c"),
            MixedA(64, name="Mixed_5d"),
            MixedB(name="Mixed_6a"),
            MixedC(128, name="Mixed_6b"),
            MixedC(160, name="Mixed_6c"),
            MixedC(160, name="Mixed_6d"),
            MixedC(192, name="Mixed_6e"),
            MixedD(name="Mixed_7a"),
            MixedE(_mean, name="Mixed_7b"),
            MixedE(_max, name="Mixed_7c"),
        ):
            x = outputs[block.name] = block(x)
        features = jnp.mean(x, axis=(1, 2))
        logits = nn.Dense(CLASSES, use_bias=False, name="fc")(features)
        bias = self.param("fc_bias", nn.initializers.zeros, (CLASSES,))
        return outputs | {
            "features": features,
            "logits": logits,
            "logits_with_bias": logits + bias[None],
        }
