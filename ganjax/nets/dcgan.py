"""DCGAN (Radford et al. 2016): the 4x4 form of dcgan.torch and the paper's 5x5 form."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.norms import BatchNorm

Form = Literal["4x4", "5x5"]
FORMS = ("4x4", "5x5")
# Channels at full resolution in dcgan.torch and in the paper; they double with every halving.
PUBLISHED_WIDTH = {"4x4": 64, "5x5": 128}
_WIDEST = 16  # times the width: 1024 channels for the 4x4 form, as its 128-pixel variant has
_SEED_SIDES = range(3, 9)

kernel_init = nn.initializers.normal(0.02)


def scale_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return 1 + kernel_init(key, shape, dtype)


def seed_and_doublings(image_size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Splits an image size into the seed (h, w) that G starts from and its number of doublings.

    Of all seeds whose shorter side is 3 to 8 pixels, the one whose shorter side is nearest 4:
    64x64 is 4x4 doubled four times, 28x28 is 7x7 doubled twice, 96x64 is 6x4 doubled four times.

    Raises:
      UserError: no such seed exists; the message names the nearest sizes that have one.
    """
    seed = split_size(image_size)
    if seed is None:
        smaller, larger = (_nearest(image_size, step) for step in (-1, 1))
        nearest = " or ".join(f"{h}x{w}" for h, w in (smaller, larger) if h)
        raise UserError(
            f"DCGAN cannot make {image_size[0]}x{image_size[1]} images: a side must be a small "
            f"number doubled at least twice; the nearest possible sizes are {nearest}"
        )
    return seed


def split_size(
    image_size: tuple[int, int], *, least: int = 2
) -> tuple[tuple[int, int], int] | None:
    """The seed and its doublings, `least` or more; None where there are none."""
    height, width = image_size
    seeds = [
        ((height >> n, width >> n), n)
        for n in range(least, 16)
        if height % 2**n == 0 and width % 2**n == 0 and min(height, width) >> n in _SEED_SIDES
    ]
    return min(seeds, key=lambda seed: abs(min(seed[0]) - 4), default=None)


def _nearest(image_size: tuple[int, int], step: int) -> tuple[int, int]:
    """The possible size nearest to `image_size` among the larger (1) or smaller (-1) ones."""

    def candidates():
        for n in range(2, 16):
            unit = 2**n
            rounded = [math.ceil(s / unit) if step > 0 else s // unit for s in image_size]
            size = (rounded[0] * unit, rounded[1] * unit)
            if min(rounded) > 0 and split_size(size):
                yield size

    distance = lambda size: sum(abs(a - b) for a, b in zip(size, image_size, strict=True))  # noqa: E731
    return min(candidates(), key=distance, default=(0, 0) if step < 0 else (12, 12))


class Convolution(nn.Module):
    """A convolution that halves both sides, or its adjoint that doubles them; weights N(0, 0.02).

    The 4x4 kernel has padding 1; the 5x5 kernel has padding 2 and its adjoint one row and column
    of output padding. A 3x3 kernel may double them after nearest-neighbor upsampling, too.

    Attributes:
      transposed: the adjoint, which doubles.
      resize: `ops.upsample_conv`, which doubles.
      reflect: mirror the borders instead of padding with zeros; not of what doubles.
    """

    features: int
    kernel_size: int
    strides: int = 2
    transposed: bool = False
    use_bias: bool = False
    resize: bool = False
    reflect: bool = False
    kernel_init: Any = kernel_init
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        k = self.kernel_size
        kernel = self.param("kernel", self.kernel_init, (k, k, x.shape[-1], self.features))
        x, padding = x.astype(self.dtype), (k - 1) // 2
        kernel = kernel if self.resize else kernel.astype(self.dtype)
        if self.reflect:
            x, padding = ops.pad_reflect(x, padding), 0
        if self.resize:
            x = ops.upsample_conv(x, kernel)
        elif self.transposed:
            x = ops.conv_transpose(
                x, kernel, strides=self.strides, padding=padding, output_padding=k % 2
            )
        else:
            x = ops.conv(x, kernel, strides=self.strides, padding=padding)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = ops.add_bias(x, bias.astype(self.dtype))
        return x


def _batch_norm(name: str) -> BatchNorm:
    return BatchNorm(scale_init=scale_init, name=name)


class Generator(nn.Module):
    """DCGAN's generator: a seed of many channels, doubled by transposed convolutions.

    Layers at 64 px, 4x4 form: z 100 -> 4x4x512 -> 8x8x256 -> 16x16x128 -> 32x32x64 -> 64x64x3,
    batch normalization and ReLU after all but the last, tanh at the end. No convolution before a
    batch normalization has a bias; the 5x5 form has one in its last layer.

    Attributes:
      image_size: (H, W); see `seed_and_doublings` for the possible ones.
      channels: of the image; 1, 3 or 4.
      width: channels of the last hidden layer.
      form: "4x4" (dcgan.torch) or "5x5" (the paper).
      dtype: of the computation; parameters and batch statistics are float32.
    """

    image_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = 64
    form: Form = "4x4"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, *, train: bool) -> Array:
        """Maps z [B, Z] to images [B, H, W, C] in [-1, 1], float32 at least."""
        seed, doublings = seed_and_doublings(self.image_size)
        features = [self.width * min(2**n, _WIDEST) for n in reversed(range(doublings))]
        # A transposed convolution from 1x1, as dcgan.torch has it, is this matrix product.
        x = nn.DenseGeneral(
            (*seed, features[0]),
            use_bias=False,
            kernel_init=kernel_init,
            dtype=self.dtype,
            name="project",
        )(z)
        for n in range(doublings):
            x = _batch_norm(f"norm_{n}")(x, train=train)
            x = nn.relu(x)
            last = n == doublings - 1
            x = Convolution(
                self.channels if last else features[n + 1],
                kernel_size=int(self.form[0]),
                transposed=True,
                use_bias=last and self.form == "5x5",
                dtype=self.dtype,
                name=f"up_{n + 1}",
            )(x)
        return jnp.tanh(x.astype(jnp.promote_types(jnp.float32, self.dtype)))


class Discriminator(nn.Module):
    """DCGAN's discriminator: strided convolutions down to the seed, then one logit.

    Layers at 64 px, 4x4 form: 32x32x64 (no normalization) -> 16x16x128 -> 8x8x256 -> 4x4x512 -> 1,
    LeakyReLU 0.2. The 5x5 form has a bias in its first and last layer. Attributes as in
    `Generator`; `width` is that of the first layer.
    """

    image_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = 64
    form: Form = "4x4"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Maps images [B, H, W, C] in [-1, 1] to logits [B] (above 0: real), float32 at least."""
        seed, doublings = seed_and_doublings(self.image_size)
        if images.shape[1:] != (*self.image_size, self.channels):
            raise ValueError(
                f"images are {images.shape[1:]}, not {(*self.image_size, self.channels)}"
            )
        paper = self.form == "5x5"
        x = images.astype(self.dtype)
        for n in range(doublings):
            x = Convolution(
                self.width * min(2**n, _WIDEST),
                kernel_size=int(self.form[0]),
                use_bias=paper and n == 0,
                dtype=self.dtype,
                name=f"down_{n + 1}",
            )(x)
            if n > 0:
                x = _batch_norm(f"norm_{n + 1}")(x, train=train)
            x = nn.leaky_relu(x, 0.2)
        # The last convolution covers its whole input: a matrix product over all three axes.
        logits = nn.DenseGeneral(
            1,
            axis=(1, 2, 3),
            use_bias=paper,
            kernel_init=kernel_init,
            dtype=self.dtype,
            name="logits",
        )(x)
        return logits[:, 0].astype(jnp.promote_types(jnp.float32, self.dtype))
