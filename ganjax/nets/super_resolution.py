"""Networks of super-resolution: SRVGG, SRResNet, MSRResNet, RRDB; two discriminators."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.norms import BatchNorm
from ganjax.nets.resnet_gan import Layer

SCALES = (2, 3, 4)


class _Conv(nn.Module):
    """A convolution with zeros around and a bias; He et al.'s start by default.

    Attributes:
      doubles: of the repeated pixels of the images, by `ops.upsample_conv`.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    doubles: bool = False
    kernel_init: Any = nn.initializers.he_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        x, padding = x.astype(self.dtype), self.kernel_size // 2
        if self.doubles:
            x = ops.upsample_conv(x, kernel)
        else:
            x = ops.conv(x, kernel.astype(self.dtype), strides=self.strides, padding=padding)
        return ops.add_bias(x, bias)


class _PReLU(nn.Module):
    """Slopes that start at 0.25: one, or one for each channel."""

    per_channel: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (x.shape[-1] if self.per_channel else 1,)
        slopes = self.param("slope", nn.initializers.constant(0.25), shape)
        return ops.prelu(x, slopes.astype(x.dtype))


class Enlarger(nn.Module):
    """What enlarges images [B, H, W, C] in [-1, 1] to [B, scale H, scale W, C], about [-1, 1].

    Results are float32 at least.

    Attributes:
      scale: times that the sides grow.
      channels: of the images.
      width: channels inside.
      depth: of what there are many.
      dtype: of the computation.
    """

    scale: int = 4
    channels: int = 3
    width: int = 64
    depth: int = 16
    dtype: Any = jnp.float32

    @property
    def reach(self) -> int:
        """How many pixels of the input a pixel of the output sees around it."""
        raise NotImplementedError


class SRVGG(Enlarger):
    """The compact network of Real-ESRGAN's fast models: plain convolutions at the small size.

    `SRVGGNetCompact` (Wang et al. 2021, arXiv:2107.10833, and its code): 3x3 convolutions with
    PReLU, the last one to `scale`^2 pixels for each, added to the repeated pixels of the input.
    `depth` convolutions lie between the first and the last one. As published 600,652, 609,307 and
    621,424 parameters at x2, x3 and x4. The last convolution starts small: the network starts as
    the repeated pixels.
    """

    @property
    def reach(self) -> int:
        return self.depth + 2

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Array:
        small = (images + 1) / 2
        x = small.astype(self.dtype)
        for n in range(self.depth + 1):
            x = _Conv(self.width, dtype=self.dtype, name=f"conv_{n}")(x)
            x = _PReLU(per_channel=True, name=f"prelu_{n}")(x)
        init = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
        features = self.scale**2 * self.channels
        x = _Conv(features, kernel_init=init, dtype=self.dtype, name="pixels")(x)
        x = ops.depth_to_space(x, self.scale) + ops.upsample(small, self.scale)
        return 2 * x - 1


class SRResNet(Enlarger):
    """SRGAN's generator (Ledig et al. 2017, arXiv:1609.04802, figure 4).

    9x9 convolution; `depth` residual blocks (conv - BN - PReLU - conv - BN) and one more
    convolution inside a long skip; for every doubling (or tripling) a convolution to as many pixels
    for each and PReLU; 9x9 convolution. PReLUs have one slope each. At x4 1,549,462 parameters.
    Inputs are taken in [0, 1] inside, outputs are in [-1, 1], as published.
    """

    @property
    def reach(self) -> int:
        return 2 * self.depth + 8  # with 9x9, trunk, and what the larger images add

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Array:
        dtype = self.dtype

        def norm(x: Array, name: str) -> Array:
            return BatchNorm(name=name)(x, train=train)

        x = _Conv(self.width, 9, dtype=dtype, name="head")((images + 1) / 2)
        first = x = _PReLU(name="head_prelu")(x)
        for n in range(self.depth):
            y = norm(_Conv(self.width, dtype=dtype, name=f"conv_{n}_0")(x), f"norm_{n}_0")
            y = _PReLU(name=f"prelu_{n}")(y)
            x = x + norm(_Conv(self.width, dtype=dtype, name=f"conv_{n}_1")(y), f"norm_{n}_1")
        x = first + norm(_Conv(self.width, dtype=dtype, name="trunk")(x), "trunk_norm")
        for n, times in enumerate(_steps(self.scale)):
            x = _Conv(self.width * times**2, dtype=dtype, name=f"up_{n}")(x)
            x = _PReLU(name=f"up_prelu_{n}")(ops.depth_to_space(x, times))
        init = nn.initializers.lecun_normal()
        x = _Conv(self.channels, 9, kernel_init=init, dtype=dtype, name="pixels")(x)
        return x.astype(jnp.promote_types(jnp.float32, dtype))


class MSRResNet(Enlarger):
    """SRResNet without normalization, as BasicSR and ESRGAN's code have it.

    Residual blocks (conv - ReLU - conv), LeakyReLU 0.1 elsewhere, 3x3 convolutions alone, added to
    the input scaled bilinearly; images in [0, 1] inside. At x4 1,517,571 parameters. Convolutions
    of residual blocks start at a tenth.
    """

    @property
    def reach(self) -> int:
        return 2 * self.depth + 3

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Array:
        conv, small = partial(_Conv, dtype=self.dtype), (images + 1) / 2
        active = partial(nn.leaky_relu, negative_slope=0.1)
        x = active(conv(self.width, name="head")(small))
        for n in range(self.depth):
            y = nn.relu(conv(self.width, kernel_init=_TENTH, name=f"conv_{n}_0")(x))
            x = x + conv(self.width, kernel_init=_TENTH, name=f"conv_{n}_1")(y)
        for n, times in enumerate(_steps(self.scale)):
            x = conv(self.width * times**2, name=f"up_{n}")(x)
            x = active(ops.depth_to_space(x, times))
        x = active(conv(self.width, name="large")(x))
        x = conv(self.channels, kernel_init=_TENTH, name="pixels")(x)
        return 2 * (x + jax.image.resize(small, x.shape, "bilinear")) - 1


class RRDB(Enlarger):
    """ESRGAN's generator of residual-in-residual dense blocks (Wang et al. 2018, arXiv:1809.00219).

    `depth` blocks of three dense blocks, each of five convolutions that see all before them and
    grow by `width` / 2 channels; residuals count 0.2; repeated pixels instead of subpixels; images
    in [0, 1] inside. Of the published depth, 23, it has 16,697,987 parameters. It enlarges 4 times.
    """

    depth: int = 23

    @property
    def reach(self) -> int:
        return 15 * self.depth + 4

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Array:
        if self.scale != 4:
            raise UserError(f"model.scale is {self.scale}; rrdb enlarges 4 times")
        conv = partial(_Conv, dtype=self.dtype)
        active = partial(nn.leaky_relu, negative_slope=0.2)
        first = x = conv(self.width, name="head")((images + 1) / 2)
        for n in range(self.depth):
            block = x
            for m in range(3):
                found = x
                for k in range(4):
                    name = f"conv_{n}_{m}_{k}"
                    y = active(conv(self.width // 2, kernel_init=_TENTH, name=name)(found))
                    found = jnp.concatenate([found, y], axis=-1)
                y = conv(self.width, kernel_init=_TENTH, name=f"conv_{n}_{m}_4")(found)
                x = x + 0.2 * y
            x = block + 0.2 * x
        x = first + conv(self.width, name="trunk")(x)
        for n in range(2):
            x = active(conv(self.width, doubles=True, name=f"up_{n}")(x))
        x = active(conv(self.width, name="large")(x))
        x = conv(self.channels, kernel_init=nn.initializers.lecun_normal(), name="pixels")(x)
        return 2 * x.astype(jnp.promote_types(jnp.float32, self.dtype)) - 1


_TENTH = nn.initializers.variance_scaling(0.02, "fan_in", "normal")  # of He et al.'s deviation


def _steps(scale: int) -> tuple[int, ...]:
    """How images grow by subpixels: 4 times in two steps."""
    return (2, 2) if scale == 4 else (scale,)


FORMS: dict[str, type[Enlarger]] = {
    "srvgg": SRVGG,
    "srresnet": SRResNet,
    "msrresnet": MSRResNet,
    "rrdb": RRDB,
}


class Discriminator(nn.Module):
    """SRGAN's discriminator (Ledig et al. 2017, figure 4); 23,565,505 parameters at 96x96.

    3x3 convolutions of 64, 128, 256 and 512 channels, each twice, the second time with stride 2;
    batch normalization after all but the first, LeakyReLU 0.2; dense layers of 1024 and 1.

    Attributes:
      width: channels of the first layer.
      layers: convolutions; 8 as published.
      dtype: of the computation.
    """

    width: int = 64
    layers: int = 8
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Array:
        """[B, H, W, C] in [-1, 1], sides as in training, to logits [B], float32 at least."""
        x = images
        for n in range(self.layers):
            features = self.width * 2 ** (n // 2)
            x = _Conv(features, strides=1 + n % 2, dtype=self.dtype, name=f"conv_{n}")(x)
            x = BatchNorm(name=f"norm_{n}")(x, train=train) if n else x
            x = nn.leaky_relu(x, 0.2)
        x = x.reshape(len(x), -1)
        x = nn.leaky_relu(nn.Dense(16 * self.width, dtype=self.dtype, name="dense")(x), 0.2)
        logits = nn.Dense(1, dtype=self.dtype, name="logit")(x)[:, 0]
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


class UNetDiscriminator(nn.Module):
    """Real-ESRGAN's discriminator, which judges each pixel (Wang et al. 2021, figure 6).

    A 3x3 convolution of 64 channels; 4x4 ones with stride 2 of 128, 256 and 512; as many 3x3 ones
    after bilinear doubling, each plus the features of its size on the way down; two more and a
    logit. LeakyReLU 0.2; all but the first and the last have spectral normalization and no bias.
    As published 4,376,897 parameters. Sides of images are multiples of 8.

    Attributes:
      width: channels of the first layer.
      dtype: of the computation; parameters and singular values are float32.
    """

    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> Array:
        """[B, H, W, C] in [-1, 1] to logits [B, H, W], float32 at least."""

        def layer(x: Array, name: str, features: int, size: int = 3, *, ends: bool = False):
            made = Layer(
                features, size, spectral=not ends, use_bias=ends, strides=2 if size == 4 else 1,
                padding=1, dtype=self.dtype, name=name,
            )  # fmt: skip
            return made(x, train=train)

        active, widths = partial(nn.leaky_relu, negative_slope=0.2), (2, 4, 8)
        x = active(layer((images + 1) / 2, "conv_0", self.width, ends=True))
        found = [x]
        for n, times in enumerate(widths, start=1):
            x = active(layer(x, f"conv_{n}", times * self.width, 4))
            found.append(x)
        for n, same in enumerate(found[-2::-1], start=4):
            x = active(layer(ops.blur_upsample(x), f"conv_{n}", same.shape[-1])) + same
        for n in (7, 8):
            x = active(layer(x, f"conv_{n}", self.width))
        logits = layer(x, "logits", 1, ends=True)[..., 0]
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))
