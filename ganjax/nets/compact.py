"""A compact arbitrary stylizer: two encoders, AdaIN at six depths, one decoder; 1.4 M parameters.

The two-encoder form of AdaIN (Huang and Belongie 2017): instead of one large frozen VGG, a content
encoder and a style encoder are trained together with the decoder. Most of the arithmetic happens
at 1/8 of the resolution, in residual blocks (Johnson et al. 2016), and pixels enter and leave in
blocks of 2x2 (Shi et al. 2016, arXiv:1609.05158), for convolutions with 3 channels are slow.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ganjax import ops

# (depth, features [B, H, W, C]) -> features: what an AdaIN of this depth does.
Transfer = Callable[[int, Array], Array]
BLOCKS = 3
DEPTHS = BLOCKS + 3
REACH = 72  # pixels, see `stylizers.Stylizer`


def _alike(key: Array, shape: tuple[int, ...]) -> Array:
    """Starts the four pixels of a 2x2 block alike, for a grid is hard to unlearn.

    Aitken et al. 2017, arXiv:1707.02937.
    """
    one = nn.initializers.lecun_normal()(key, (*shape[:3], shape[3] // 4))
    return jnp.tile(one, 4)


class Conv(nn.Module):
    """3x3 convolution with reflection padding, or 1x1."""

    features: int
    strides: int = 1
    kernel_size: int = 3
    kernel_init: Callable = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        x = ops.pad_reflect(x, self.kernel_size // 2)
        return ops.add_bias(ops.conv(x, kernel, strides=self.strides), bias)


class Encoder(nn.Module):
    """Features at 1/2, 1/4 and 1/8 of the resolution, with 1, 2 and 4 times `width` channels.

    Attributes:
      width: channels at 1/2.
      levels: 3; 4 adds one at 1/16 with 4 times `width` channels.
    """

    width: int
    levels: int = 3

    @nn.compact
    def __call__(self, images: Array) -> list[Array]:
        """[B, H, W, 3] in [-1, 1], H and W multiples of 2^`levels`, to features, fine to coarse."""
        x = nn.relu(Conv(self.width)(ops.space_to_depth(images)))
        features = [x]
        for times in (2, 4, 4)[: self.levels - 1]:
            x = nn.relu(Conv(times * self.width, strides=2)(x))
            features.append(x)
        return features


class StyleEncoder(nn.Module):
    """The features of a style whose statistics each AdaIN gives to the content.

    They are linear mixtures of the encoder's features, so that in their statistics besides means
    and variances also covariances of features count. Each AdaIN at 1/4 and 1/2 looks one level
    deeper than itself, those of the later blocks at 1/16.
    """

    width: int = 32

    @nn.compact
    def __call__(self, images: Array) -> list[Array]:
        """[B, H, W, 3] in [-1, 1], H and W multiples of 16, to [B, h, w, C] for each depth."""
        _, quarter, eighth, sixteenth = Encoder(self.width, levels=4, name="encoder")(images)
        sources = [eighth, eighth, *[sixteenth] * (BLOCKS - 1), eighth, quarter]
        widths = [4 * self.width] * (BLOCKS + 1) + [2 * self.width, self.width]
        return [
            Conv(width, kernel_size=1, name=f"mixture_{depth}")(source)
            for depth, (source, width) in enumerate(zip(sources, widths, strict=True))
        ]


class Stylizer(nn.Module):
    """Content encoder, residual blocks and decoder; what AdaIN does is the caller's choice."""

    width: int = 32

    @nn.compact
    def __call__(self, images: Array, transfer: Transfer) -> Array:
        """Stylizes images.

        Args:
          images: [B, H, W, 3] in [-1, 1], H and W multiples of 8.
          transfer: called once for each depth 0 .. DEPTHS - 1, in this order.

        Returns:
          [B, H, W, 3], about [-1, 1].
        """
        width = self.width
        half, quarter, x = Encoder(width, name="encoder")(images)
        x = transfer(0, x)
        for number in range(1, BLOCKS + 1):
            y = Conv(4 * width, name=f"block{number}_in")(x)
            y = nn.relu(transfer(number, y))
            x = x + Conv(4 * width, name=f"block{number}_out")(y)
        x = Conv(2 * width, name="up_quarter")(ops.upsample(x))
        x = x + Conv(2 * width, kernel_size=1, name="skip_quarter")(quarter)
        x = nn.relu(transfer(BLOCKS + 1, x))
        x = Conv(width, name="up_half")(ops.upsample(x))
        x = x + Conv(width, kernel_size=1, name="skip_half")(half)
        x = nn.relu(transfer(BLOCKS + 2, x))
        return ops.depth_to_space(Conv(12, kernel_init=_alike, name="pixels")(x))
