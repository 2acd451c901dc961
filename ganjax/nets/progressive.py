"""Progressive GAN (Karras et al. 2018, table 2): networks that grow by doublings of 4x4 pixels."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.dcgan import split_size

GROUP = 4  # images that the minibatch standard deviation compares
_FULL_WIDTH_DOUBLINGS = 3  # up to 32x32 all layers are equally wide; then each half as wide


def start_and_doublings(image_size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Splits an image size into the (h, w) that networks start from and its number of doublings.

    1024x1024 is 4x4 doubled eight times, 128x96 is 4x3 doubled five times.

    Raises:
      UserError: halving leads to no start whose shorter side is 3 to 8 pixels.
    """
    start = split_size(image_size, least=0)
    if start is None:
        raise UserError(
            f"progressive growing cannot reach {image_size[0]}x{image_size[1]}: give a start with "
            "a side of 3 to 8 pixels, doubled some times, like 128 (4x4) or 128x96 (4x3)"
        )
    return start


def _features(width: int, level: int) -> int:
    """Channels after `level` doublings: min(8192 / 2^(level + 1), 512) at the published width."""
    return max(1, width >> max(0, level - _FULL_WIDTH_DOUBLINGS))


class _Equalized(nn.Module):
    """A layer whose weights are N(0, 1), scaled as it runs: all learn equally fast (section 4.1).

    Attributes:
      features: channels of the output.
      kernel_size: of a convolution at stride 1; 0 for a matrix product over the whole input.
      doubles: convolve the input at twice its sides, every pixel repeated; for a 3x3 kernel (the
        authors' `fused_scale`).
      size: (H, W) of a matrix product's output; its bias is shared by all pixels.
      gain: the standard deviation is gain / sqrt(fan-in).
      dtype: of the computation.
    """

    features: int
    kernel_size: int = 3
    doubles: bool = False
    size: tuple[int, int] = (1, 1)
    gain: float = math.sqrt(2)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B, H, W, C] to [B, H, W, features], or any [B, ...] to [B, *size, features]."""
        k = self.kernel_size
        if not k:
            x = x.reshape(len(x), -1)
        # The pixels of a matrix product's output are no part of its fan-in.
        shape = (k, k, x.shape[-1]) if k else (x.shape[-1], *self.size)
        fan_in = math.prod(shape) if k else x.shape[-1]
        kernel = self.param("kernel", nn.initializers.normal(1.0), (*shape, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel = kernel * (self.gain / math.sqrt(fan_in))
        x = x.astype(self.dtype)
        if self.doubles:
            x = ops.upsample_conv(x, kernel)
        elif k:
            x = ops.conv(x, kernel.astype(self.dtype), padding=k // 2)
        else:
            x = jnp.tensordot(x, kernel.astype(self.dtype), 1)
        return ops.add_bias(x, bias.astype(self.dtype))


def _widen(x: Array) -> Array:
    """In float32 at least."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def _leaky(x: Array) -> Array:
    return nn.leaky_relu(x, 0.2)


def _normalize(x: Array) -> Array:
    """Pixel norm over the channels (section 4.2): b = a / sqrt(mean a^2 + 1e-8)."""
    wide = _widen(x)
    return (wide * lax.rsqrt(jnp.mean(jnp.square(wide), -1, keepdims=True) + 1e-8)).astype(x.dtype)


def _halve(x: Array) -> Array:
    return ops.shrink(x, (x.shape[1] // 2, x.shape[2] // 2))


def blend(old: Array, new: Array, alpha: Array | float) -> Array:
    """(1 - alpha) * `old` + alpha * `new`, in their type."""
    return old + jnp.asarray(alpha, old.dtype) * (new - old)


def fade(images: Array, alpha: Array | float) -> Array:
    """What the discriminator sees of real images [B, H, W, C] in a fade (appendix A).

    At alpha 0 they are as coarse as images of half the resolution.
    """
    return blend(ops.upsample(_halve(images)), images, alpha)


def minibatch_deviation(x: Array, group: int = GROUP) -> Array:
    """Appends one channel to [B, H, W, C]: how much the images of a group differ (section 3).

    Groups are `group` neighbors each (all, where there are fewer), so that they are the same
    however a batch is split over devices, as long as each has whole groups.

    Raises:
      ValueError: B is no multiple of the group.
    """
    batch, height, width, channels = x.shape
    group = min(group, batch)
    if batch % group:
        raise ValueError(f"a batch of {batch} images has no whole groups of {group}")
    groups = _widen(x).reshape(batch // group, group, height, width, channels)
    deviation = jnp.sqrt(jnp.var(groups, axis=1) + 1e-8).mean((1, 2, 3)).astype(x.dtype)
    deviation = jnp.broadcast_to(
        jnp.repeat(deviation, group)[:, None, None, None], (batch, height, width, 1)
    )
    return jnp.concatenate([x, deviation], -1)


class _Up(nn.Module):
    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for name, doubles in (("conv_0", True), ("conv_1", False)):
            layer = _Equalized(self.features, doubles=doubles, dtype=self.dtype, name=name)
            x = _normalize(_leaky(layer(x)))
        return x


class _Down(nn.Module):
    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for n, features in enumerate((x.shape[-1], self.features)):
            x = _leaky(_Equalized(features, dtype=self.dtype, name=f"conv_{n}")(x))
        return _halve(x)


class Generator(nn.Module):
    """The generator of table 2, at any of its resolutions.

    `init` makes the parameters of all resolutions, so that their tree never changes; a call at a
    lower `level` (doublings of the start) uses those it needs.

    Attributes:
      image_size: of the last resolution, a side or (H, W); see `start_and_doublings`.
      channels: of the image; 1, 3 or 4.
      width: channels up to 32x32.
      classes: of the labels; 0 for none.
      remat: compute activations again for the gradient instead of keeping them.
      dtype: of the computation; parameters and images are float32.
    """

    image_size: int | tuple[int, int] = 1024
    channels: int = 3
    width: int = 512
    classes: int = 0
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        z: Array,
        alpha: Array | float = 1.0,
        *,
        level: int | None = None,
        labels: Array | None = None,
    ) -> Array:
        """Maps z [B, Z] to images [B, H, W, C] at `level`, float32 at least; not bounded.

        Args:
          alpha: share of the resolution's own RGB; the rest is that of the level before.
          level: doublings of the start; None for the last.
          labels: int [B] in [0, classes), where there are classes.
        """
        start, last = start_and_doublings(_pair(self.image_size))
        level = last if level is None or self.is_initializing() else level
        up = nn.remat(_Up) if self.remat else _Up
        if self.classes:
            z = jnp.concatenate([z, nn.one_hot(labels, self.classes, dtype=z.dtype)], -1)
        x = _Equalized(
            self.width, 0, size=start, gain=math.sqrt(2) / 4, dtype=self.dtype, name="project"
        )(_normalize(z))
        x = _normalize(_leaky(x))
        x = _normalize(_leaky(_Equalized(self.width, dtype=self.dtype, name="conv")(x)))
        image: Any = None
        for n in range(level + 1):
            if n:
                x = up(_features(self.width, n), self.dtype, name=f"up_{n}")(x)
            if n >= level - 1 or self.is_initializing():
                to_rgb = _Equalized(
                    self.channels, 1, gain=1.0, dtype=self.dtype, name=f"to_rgb_{n}"
                )
                colors = _widen(to_rgb(x))
                image = blend(ops.upsample(image), colors, alpha) if n == level > 0 else colors
        return image


class Discriminator(nn.Module):
    """The discriminator (critic) of table 2, at any of its resolutions.

    Attributes and parameters as in `Generator`.
    """

    image_size: int | tuple[int, int] = 1024
    channels: int = 3
    width: int = 512
    classes: int = 0
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, alpha: Array | float = 1.0) -> Array:
        """Maps images [B, H, W, C] at one of the resolutions to scores, float32 at least.

        Args:
          alpha: share of the resolution's own features; the rest is those of the level before.

        Returns:
          [B] (higher: more real); with classes [B, 1 + classes], where the others are the logits
          of the classes (Odena et al. 2017, AC-GAN).
        """
        start, last = start_and_doublings(_pair(self.image_size))
        level = level_of(images.shape[1:3], start)
        if level > last or images.shape[3] != self.channels:
            raise ValueError(f"{images.shape[1:]} is no resolution of {self.image_size} images")
        if self.is_initializing() and level != last:
            raise ValueError(f"initialize with images of the last resolution, {self.image_size}")
        down = nn.remat(_Down) if self.remat else _Down

        def from_rgb(n: int, images: Array) -> Array:
            features = _features(self.width, n)
            name = f"from_rgb_{n}"
            return _leaky(_Equalized(features, 1, dtype=self.dtype, name=name)(images))

        x = from_rgb(level, images)
        for n in range(level, 0, -1):
            x = down(_features(self.width, n - 1), self.dtype, name=f"down_{n}")(x)
            if n == level or self.is_initializing():
                images = _halve(images)
                old = from_rgb(n - 1, images)
                x = blend(old, x, alpha) if n == level else x
        x = minibatch_deviation(x)
        x = _leaky(_Equalized(self.width, dtype=self.dtype, name="conv")(x))
        x = _leaky(_Equalized(self.width, 0, dtype=self.dtype, name="dense")(x))
        outputs = 1 + self.classes
        score = _Equalized(outputs, 0, gain=1.0, dtype=self.dtype, name="score")
        x = _widen(score(x)[:, 0, 0])
        return x if self.classes else x[:, 0]


def level_of(image_size: Sequence[int], start: tuple[int, int]) -> int:
    """How often `start` was doubled to become `image_size`.

    Raises:
      ValueError: it was not.
    """
    level = max(0, (image_size[0] // start[0]).bit_length() - 1)
    if tuple(image_size) != (start[0] << level, start[1] << level):
        raise ValueError(f"{image_size} is not {start} doubled some times")
    return level


def _pair(side: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (side, side) if isinstance(side, int) else side
    return height, width
