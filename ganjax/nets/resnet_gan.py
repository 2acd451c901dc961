"""The ResNets of SNGAN and of WGAN-GP, with a projection discriminator or AC-GAN's classifier.

Miyato et al. 2018, arXiv:1802.05957 (spectral normalization; tables 4 to 6), Miyato and Koyama
2018, arXiv:1802.05637 (conditional batch normalization and projection), Gulrajani et al. 2017,
arXiv:1704.00028 (appendix F; the generator is SNGAN's), and Odena et al. 2017, arXiv:1610.09585.
"""

import math
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.dcgan import split_size
from ganjax.nets.norms import BatchNorm, SpectralNorm

Resampling = Literal["same", "up", "down"]


class Table(NamedTuple):
    """The published networks of one resolution, by their number of doublings of about 4x4.

    Attributes:
      generator: channels of the seed and after each block, in widths.
      generator_width: the published one.
      discriminator: channels after each block, in widths.
      discriminator_width: the published one.
      halvings: of the discriminator, one in each of its first blocks.
      logit_bias: whether the discriminator's last layer has a bias.
    """

    generator: tuple[int, ...]
    generator_width: int
    discriminator: tuple[int, ...]
    discriminator_width: int
    halvings: int
    logit_bias: bool


_TABLES = {
    3: Table((1, 1, 1, 1), 256, (1, 1, 1, 1), 128, 2, False),
    4: Table((16, 8, 4, 2, 1), 64, (1, 2, 4, 8, 16), 64, 5, True),
    5: Table((16, 16, 8, 4, 2, 1), 64, (1, 2, 4, 8, 16, 16), 64, 5, True),
}


def seed_and_table(image_size: tuple[int, int]) -> tuple[tuple[int, int], Table]:
    """The seed (h, w) of the generator and the published table for images of this size.

    32x32, 64x64 and 128x128 are 4x4 doubled 3, 4 and 5 times; 96x64 is 6x4 doubled 4 times.

    Raises:
      UserError: there is none.
    """
    seed, doublings = split_size(image_size, least=min(_TABLES)) or ((0, 0), 0)
    if doublings not in _TABLES:
        raise UserError(
            f"SNGAN's ResNets cannot make {image_size[0]}x{image_size[1]} images: choose 32x32, "
            "64x64 or 128x128, or sides that are such multiples of a small number, like 96x64"
        )
    return seed, _TABLES[doublings]


class Layer(nn.Module):
    """A convolution or a matrix product with Glorot's uniform weights.

    Attributes:
      features: channels of the output.
      kernel_size: of a convolution; 0 for a matrix product.
      gain: of the weights.
      resampling: of a 3x3 convolution: of the doubled image ("up"), or halved by average pooling
        ("down").
      spectral: normalize the weights by their largest singular value.
      use_bias: add a bias.
      strides: of a convolution without resampling.
      padding: zeros around such a one; None for half of the kernel size.
      dtype: of the computation.
    """

    features: int
    kernel_size: int = 3
    gain: float = math.sqrt(2)
    resampling: Resampling = "same"
    spectral: bool = False
    use_bias: bool = True
    strides: int = 1
    padding: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """[B, H, W, C] to [B, H', W', features], or [B, C] to [B, features]."""
        init = nn.initializers.variance_scaling(self.gain**2, "fan_avg", "uniform")
        shape = (self.kernel_size,) * (2 * bool(self.kernel_size)) + (x.shape[-1], self.features)
        kernel = self.param("kernel", init, shape)
        if self.spectral:
            kernel = SpectralNorm(name="spectral")(kernel, train=train)
        x = x.astype(self.dtype)
        if not self.kernel_size:
            x = x @ kernel.astype(self.dtype)
        elif self.resampling == "up":
            x = ops.upsample_conv(x, kernel)
        elif self.resampling == "down":
            x = ops.conv_downsample(x, kernel)
        else:
            kernel = kernel.astype(self.dtype)
            padding = self.kernel_size // 2 if self.padding is None else self.padding
            x = ops.conv(x, kernel, strides=self.strides, padding=padding)
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return ops.add_bias(x, bias) if self.kernel_size else x + bias[None]


class _Up(nn.Module):
    """Doubles both sides: norm - ReLU - up - conv - norm - ReLU - conv, plus 1x1 conv and up."""

    features: int
    conditions: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, condition: Array | None, *, train: bool) -> Array:
        def layer(name: str, **fields) -> Layer:
            return Layer(self.features, dtype=self.dtype, name=name, **fields)

        y = x
        for n, resampling in enumerate(("up", "same")):
            norm = _batch_norm(f"norm_{n}", self.conditions)
            y = nn.relu(norm(y, condition, train=train))
            y = layer(f"conv_{n}", resampling=resampling)(y, train=train)
        # A 1x1 convolution of repeated pixels is the repeated convolution.
        shortcut = layer("shortcut", kernel_size=1, gain=1.0)
        return y + ops.upsample(shortcut(x, train=train))


class _Block(nn.Module):
    """The discriminator's: ReLU - conv - ReLU - conv, halved by pooling or not, plus a shortcut.

    The first block of a network leaves out the first ReLU ("optimized block"); all but it have as
    many channels inside as they are given.
    """

    features: int
    halves: bool
    first: bool
    spectral: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        inside = self.features if self.first else x.shape[-1]

        def layer(name: str, features: int, **fields) -> Layer:
            return Layer(features, spectral=self.spectral, dtype=self.dtype, name=name, **fields)

        y = layer("conv_0", inside)(x if self.first else nn.relu(x), train=train)
        resampling = "down" if self.halves else "same"
        y = layer("conv_1", self.features, resampling=resampling)(nn.relu(y), train=train)
        if self.halves or self.features != x.shape[-1]:
            # Pooling and a 1x1 convolution may change places.
            x = ops.shrink(x, y.shape[1:3]) if self.halves else x
            x = layer("shortcut", self.features, kernel_size=1, gain=1.0)(x, train=train)
        return y + x


def _batch_norm(name: str, conditions: int = 0) -> BatchNorm:
    return BatchNorm(epsilon=2e-5, conditions=conditions, name=name)


def check_condition(condition: Array | None, conditions: int) -> None:
    """Refuses a condition that is not [B, conditions], or not None for 0 conditions."""
    shape = None if condition is None else condition.shape[1:]
    if shape != ((conditions,) if conditions else None):
        raise ValueError(f"the condition must be [B, {conditions}], or None for 0 conditions")


class Generator(nn.Module):
    """SNGAN's generator: a seed that residual blocks double.

    Channels as published, from the seed to the last block (tables 4 and 5, and the second paper's
    at 128 px), then norm - ReLU - conv - tanh:

    |  px | seed |  8 px | 16 px | 32 px | 64 px | 128 px |
    | --- | ---- | ----- | ----- | ----- | ----- | ------ |
    |  32 |  256 |   256 |   256 |   256 |       |        |
    |  64 | 1024 |   512 |   256 |   128 |    64 |        |
    | 128 | 1024 |  1024 |   512 |   256 |   128 |     64 |

    Attributes:
      image_size: (H, W); see `seed_and_table` for the possible ones.
      channels: of the image; 1, 3 or 4.
      width: channels of the last block, which scale the others; None for the published ones.
      conditions: length of the condition, which every normalization but the last obeys; 0 for none.
      dtype: of the computation; parameters and batch statistics are float32.
    """

    image_size: tuple[int, int] = (32, 32)
    channels: int = 3
    width: int | None = None
    conditions: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, condition: Array | None = None, *, train: bool) -> Array:
        """Maps latents to images.

        Args:
          z: [B, Z]; 128 values of N(0, 1) as published.
          condition: float [B, conditions]: a class as one-hot, or attributes as zeros and ones.

        Returns:
          [B, H, W, C] in [-1, 1], float32 at least.
        """
        check_condition(condition, self.conditions)
        seed, table = seed_and_table(self.image_size)
        width = self.width or table.generator_width
        features = width * table.generator[0]
        project = Layer(
            math.prod(seed) * features, kernel_size=0, gain=1.0, dtype=self.dtype, name="project"
        )
        x = project(z, train=train).reshape(-1, *seed, features)
        for n, times in enumerate(table.generator[1:], start=1):
            up = _Up(width * times, self.conditions, self.dtype, name=f"up_{n}")
            x = up(x, condition, train=train)
        x = nn.relu(_batch_norm("norm")(x, train=train))
        x = Layer(self.channels, gain=1.0, dtype=self.dtype, name="pixels")(x, train=train)
        return jnp.tanh(x.astype(jnp.promote_types(jnp.float32, self.dtype)))


class Discriminator(nn.Module):
    """SNGAN's discriminator: residual blocks, summed over pixels, and a projection.

    Channels as published, after each block; a dash says that a block does not halve. ReLU and the
    sum over pixels follow, h; the logit is a linear map of h plus <V condition, h>. All weights
    are spectrally normalized (`norms.SpectralNorm`).

    |  px | blocks                                  |
    | --- | --------------------------------------- |
    |  32 | 128, 128, 128 (-), 128 (-)              |
    |  64 | 64, 128, 256, 512, 1024                 |
    | 128 | 64, 128, 256, 512, 1024, 1024 (-)       |

    WGAN-GP's at 32 px has the same blocks without any normalization, and the mean over pixels in
    place of the sum (`spectral=False`); at other sizes it is not a published network.

    Attributes:
      image_size: (H, W); see `seed_and_table` for the possible ones.
      channels: of the image; 1, 3 or 4.
      width: channels of the first block, which scale the others; None for the published ones.
      conditions: length of the condition; 0 for none, and no projection.
      spectral: normalize all weights.
      classifier: tell the condition from the image, as AC-GAN, in place of the projection.
      dtype: of the computation; parameters, singular values and logits are float32.
    """

    image_size: tuple[int, int] = (32, 32)
    channels: int = 3
    width: int | None = None
    conditions: int = 0
    spectral: bool = True
    classifier: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, condition: Array | None = None, *, train: bool) -> Array:
        """Maps images [B, H, W, C] in [-1, 1] to logits [B] (above 0: real), float32 at least.

        With a classifier they are [B, 1 + conditions]: behind that logit those of the condition's
        values.

        Args:
          condition: float [B, conditions], as the generator's; a classifier does not look at it.
        """
        check_condition(condition, self.conditions)
        if images.shape[1:] != (*self.image_size, self.channels):
            raise ValueError(
                f"images are {images.shape[1:]}, not {(*self.image_size, self.channels)}"
            )
        _, table = seed_and_table(self.image_size)
        width = self.width or table.discriminator_width
        x = images.astype(self.dtype)
        for n, times in enumerate(table.discriminator, start=1):
            halves = n <= table.halvings
            block = _Block(
                width * times, halves, n == 1, self.spectral, self.dtype, name=f"block_{n}"
            )
            x = block(x, train=train)
        wide = jnp.promote_types(jnp.float32, self.dtype)
        x = nn.relu(x).astype(wide)
        h = x.sum((1, 2)) if self.spectral else x.mean((1, 2))

        def linear(name: str, features: int, use_bias: bool) -> Array:
            fields = {"kernel_size": 0, "gain": 1.0, "spectral": self.spectral, "dtype": wide}
            return Layer(features, use_bias=use_bias, name=name, **fields)(h, train=train)

        logits = linear("logits", 1, table.logit_bias or not self.spectral)
        if self.classifier:
            return jnp.concatenate([logits, linear("classes", self.conditions, True)], axis=1)
        if condition is None:
            return logits[:, 0]
        return logits[:, 0] + (condition * linear("projection", self.conditions, False)).sum(1)
