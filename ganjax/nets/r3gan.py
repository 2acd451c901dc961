"""R3GAN's networks: residual blocks without normalization.

Huang et al. 2024, arXiv:2501.05441 ("The GAN is dead; long live the GAN!", section 4 and table 4);
details as in https://github.com/brownvc/R3GAN, where the text leaves them open.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.dcgan import split_size
from ganjax.nets.resnet_gan import check_condition

WIDTH = 768  # as published
GROUP = 16  # channels of each group of the 3x3 convolutions
_GAIN = math.sqrt(2 / 1.04)  # of leaky ReLU with a slope of 0.2
_BLOCKS = 2  # of each stage


def seed_and_widths(
    image_size: tuple[int, int], width: int
) -> tuple[tuple[int, int], tuple[int, ...]]:
    """The smallest stage's (h, w), and the channels of all stages from it on.

    The first four stages have `width`; it halves with each further one: 768, 768, 768, 768, 384 at
    64x64.

    Raises:
      UserError: there is no such network.
    """
    seed, doublings = split_size(image_size) or ((0, 0), 0)
    if not doublings:
        raise UserError(
            f"R3GAN cannot make {image_size[0]}x{image_size[1]} images: choose 32x32, 64x64, or "
            "sides that are a small number doubled twice or more, like 96x64"
        )
    halvings = max(doublings - 3, 0)
    unit = GROUP // 2 * 2**halvings
    if width < 1 or width % unit:
        raise UserError(f"model.width is {width}; R3GAN needs a multiple of {unit} at this size")
    return seed, tuple(width >> max(n - 3, 0) for n in range(doublings + 1))


def _normal(gain: float, fan_in: int) -> nn.initializers.Initializer:
    return nn.initializers.normal(gain / math.sqrt(fan_in))


class _Linear(nn.Module):
    """A map of each pixel's channels, or of vectors, without a bias; N(0, gain^2 / inputs)."""

    features: int
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., C] to [..., features]."""
        init = _normal(self.gain, x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        return x @ kernel.astype(x.dtype)


class _Block(nn.Module):
    """x + 1x1 conv - bias - leaky ReLU - grouped 3x3 conv - bias - leaky ReLU - 1x1 conv.

    It starts as the identity (fix-up, Zhang et al. 2019, arXiv:1901.09321).

    Attributes:
      blocks: of the whole network, by which the start is scaled.
    """

    blocks: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B, H, W, C] to the same."""
        features, gain = 2 * x.shape[-1], _GAIN * self.blocks**-0.25
        shape = (3, 3, GROUP, features)
        kernel = self.param("conv", _normal(gain, 9 * GROUP), shape)
        biases = [
            self.param(f"bias_{n}", nn.initializers.zeros, (features,)).astype(x.dtype)
            for n in range(2)
        ]
        y = _Linear(features, gain, name="expand")(x)
        y = nn.leaky_relu(ops.add_bias(y, biases[0]), 0.2)
        y = ops.grouped_conv(y, kernel.astype(x.dtype))
        y = nn.leaky_relu(ops.add_bias(y, biases[1]), 0.2)
        return x + _Linear(x.shape[-1], 0.0, name="reduce")(y)


def _wide(dtype: Any) -> Any:
    return jnp.promote_types(jnp.float32, dtype)


class Generator(nn.Module):
    """R3GAN's generator: a learned basis that z weighs, then stages of two blocks, each doubled.

    At the published width of 768 it has 22,429,824 parameters at 64x64 (FFHQ-64), 20,781,952 at
    32x32 with ten classes (CIFAR-10), and 23,057,952 at 256x256.

    Attributes:
      image_size: (H, W); see `seed_and_widths` for the possible ones.
      channels: of the image; 1, 3 or 4.
      width: channels of the first four stages.
      conditions: length of the condition, embedded to as many values as z has; 0 for none.
      dtype: of the computation but for the smallest stage, which is float32; so are parameters.
    """

    image_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = WIDTH
    conditions: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, condition: Array | None = None, *, train: bool = False) -> Array:
        """Maps latents to images.

        Args:
          z: [B, Z]; 64 values of N(0, 1) as published.
          condition: float [B, conditions]: a class as one-hot, or attributes as zeros and ones.
          train: without effect.

        Returns:
          [B, H, W, C] around [-1, 1], float32 at least.
        """
        check_condition(condition, self.conditions)
        seed, widths = seed_and_widths(self.image_size, self.width)
        wide, blocks = _wide(self.dtype), _BLOCKS * len(widths)
        z = z.astype(wide)
        if condition is not None:
            embedding = _Linear(z.shape[-1], name="embedding")(condition.astype(wide))
            z = jnp.concatenate([z, embedding], axis=-1)
        basis = self.param("basis", nn.initializers.normal(1.0), (*seed, self.width))
        x = basis.astype(wide)[None] * _Linear(self.width, name="project")(z)[:, None, None]
        for stage, features in enumerate(widths):
            if stage:
                x = x.astype(self.dtype)
                if features != x.shape[-1]:
                    x = _Linear(features, name=f"narrow_{stage}")(x)
                x = ops.fir_upsample(x)
            for n in range(_BLOCKS):
                x = _Block(blocks, name=f"block_{stage}_{n}")(x)
        return _Linear(self.channels, name="pixels")(x).astype(wide)


class Discriminator(nn.Module):
    """R3GAN's discriminator: the generator's stages mirrored, a depthwise layer and a linear one.

    With a condition, the logit is the inner product of that layer's vector with the condition's
    embedding. At the published width of 768 it has 22,381,440 parameters at 64x64, 21,280,512 at
    32x32 with ten classes, and 23,009,568 at 256x256.

    Attributes:
      image_size, channels, width, dtype: as the generator's.
      conditions: length of the condition; 0 for none.
    """

    image_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = WIDTH
    conditions: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Array, condition: Array | None = None, *, train: bool = False
    ) -> Array:
        """Maps images [B, H, W, C] in [-1, 1] to logits [B] (above 0: real), float32 at least.

        Args:
          condition: float [B, conditions], as the generator's.
          train: without effect.
        """
        check_condition(condition, self.conditions)
        if images.shape[1:] != (*self.image_size, self.channels):
            raise ValueError(
                f"images are {images.shape[1:]}, not {(*self.image_size, self.channels)}"
            )
        seed, widths = seed_and_widths(self.image_size, self.width)
        wide, blocks = _wide(self.dtype), _BLOCKS * len(widths)
        x = _Linear(widths[-1], name="pixels")(images.astype(self.dtype))
        for stage, features in reversed(list(enumerate(widths))):
            if stage < len(widths) - 1:
                x = ops.fir_downsample(x)
                if features != x.shape[-1]:
                    x = _Linear(features, name=f"widen_{stage}")(x)
            x = x if stage else x.astype(wide)
            for n in range(_BLOCKS):
                x = _Block(blocks, name=f"block_{stage}_{n}")(x)
        basis = self.param("basis", _normal(1.0, math.prod(seed)), (*seed, self.width))
        h = jnp.einsum("bhwc,hwc->bc", x, basis.astype(wide))
        if condition is None:
            return _Linear(1, name="logits")(h)[:, 0]
        embed = _Linear(self.width, self.width**-0.5, name="embedding")
        return (_Linear(self.width, name="logits")(h) * embed(condition.astype(wide))).sum(1)
