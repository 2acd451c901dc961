"""The PatchGAN of pix2pix and CycleGAN: a discriminator of patches (Isola et al. 2017, 6.1.2)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.nets.dcgan import Convolution, kernel_init, scale_init
from ganjax.nets.norms import NormKind, StatelessNorm

_WIDEST = 8  # times the width


class PatchGAN(nn.Module):
    """Convolutions whose every output judges one patch of the image.

    4x4 convolutions with padding 1: `layers` of stride 2, then two of stride 1. Channels at the
    published width, the sides of the patches, and the parameters for 6 input channels:

    | layers | stride 2                | stride 1 | patch | parameters |
    | ------ | ----------------------- | -------- | ----- | ---------- |
    |      0 | (1x1 convolutions only) | 64, 128, 1 |   1 |      9,024 |
    |      1 | 64                      | 128, 1   |    16 |    139,585 |
    |      3 | 64, 128, 256            | 512, 1   |    70 |  2,768,705 |
    |      5 | 64, 128, 256, 512, 512  | 512, 1   |   286 | 11,159,361 |

    LeakyReLU 0.2 follows all but the last convolution, normalization all but the first and last,
    by the images at hand (`norms.StatelessNorm`): there are no variables but parameters. A
    convolution that normalization follows has no bias.

    Attributes:
      width: channels of the first layer.
      layers: number of convolutions with stride 2; 0 for the form that sees single pixels.
      norm: "batch", "instance" or "layer".
      antialiased: blur, and then take every other pixel, instead of strides of 2, as CUT has it
        (Zhang 2019, arXiv:1904.11486). The convolutions then have the stride 1 and four times the
        cost, and patches are larger by some pixels.
      kernel_init: initializer of all kernels.
      dtype: of the computation; parameters and logits are float32.
    """

    width: int = 64
    layers: int = 3
    norm: NormKind = "batch"
    antialiased: bool = False
    kernel_init: Any = kernel_init
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """Maps images to logits.

        Args:
          images: [B, H, W, C] in [-1, 1]; a conditional discriminator is given the condition and
            the image, concatenated.

        Returns:
          [B, h, w] (above 0: real), float32 at least: H and W halved `layers` times, minus 2; as
          they are where `layers` is 0.
        """
        hidden = max(self.layers, 1) + 1  # convolutions before the last
        x = images.astype(self.dtype)
        for n in range(hidden):
            x = self._convolution(self.width * min(2**n, _WIDEST), n, use_bias=n == 0)(x)
            if n > 0:
                x = StatelessNorm(self.norm, scale_init, name=f"norm_{n + 1}")(x)
            x = nn.leaky_relu(x, 0.2)
            x = ops.blur_downsample(x) if self.antialiased and n < self.layers else x
        # As published, that of the form for pixels has a bias with "instance" only.
        use_bias = self.layers > 0 or self.norm == "instance"
        x = self._convolution(1, hidden, use_bias=use_bias)(x)
        return x[..., 0].astype(jnp.promote_types(jnp.float32, self.dtype))

    def _convolution(self, features: int, n: int, use_bias: bool) -> Convolution:
        return Convolution(
            features,
            kernel_size=4 if self.layers else 1,
            strides=2 if n < self.layers and not self.antialiased else 1,
            use_bias=use_bias,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name=f"conv_{n + 1}",
        )
