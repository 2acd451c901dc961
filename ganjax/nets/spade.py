"""Images of label maps: SPADE's networks (GauGAN) and OASIS's.

Park, Liu, Wang and Zhu 2019, arXiv:1903.07291 (SPADE), and Sushko, Schönfeld, Zhang, Gall, Schiele
and Khoreva 2021, arXiv:2012.04781 (OASIS).
"""

import math
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.norms import BatchNorm
from ganjax.nets.resnet_gan import Layer

GAIN = 0.02  # of the initial weights of all networks here, which are Glorot's


class Stage(NamedTuple):
    """A residual block of a generator.

    Attributes:
      times: its channels, in widths.
      up: whether the image doubles before it.
    """

    times: float
    up: bool


FORMS = {
    "oasis": [Stage(16, False), Stage(16, True)],
    "normal": [Stage(16, False), Stage(16, True), Stage(16, False)],
    "more": [Stage(16, False), Stage(16, True), Stage(16, True)],
}
FORMS["most"] = FORMS["more"]
"""The first blocks of each generator; all go on with `_LAST`."""
_LAST = [Stage(8, True), Stage(4, True), Stage(2, True), Stage(1, True)]


class LabelMap(NamedTuple):
    """What a generator draws, and how.

    Attributes:
      labels: int [B, H, W], a class for each pixel; other numbers are no class.
      noise: float [B, Z] for the whole image, or [B, H, W, Z]; None for none.
      edges: bool [B, H, W], of the instances, see `edges_of`; None for networks without them.
    """

    labels: Array
    noise: Array | None = None
    edges: Array | None = None

    def shrunk(self, size: tuple[int, ...]) -> "LabelMap":
        """Every n-th pixel of either side, as many as `size` (h, w) says."""
        rows, columns = (side // new for side, new in zip(self.labels.shape[1:], size, strict=True))
        noise, edges = self.noise, self.edges
        if noise is not None and noise.ndim == 4:
            noise = noise[:, ::rows, ::columns]
        edges = None if edges is None else edges[:, ::rows, ::columns]
        return LabelMap(self.labels[:, ::rows, ::columns], noise, edges)

    def one_hot(self, classes: int, dtype: Any) -> Array:
        """[B, H, W, classes], or one channel more, with the edges."""
        found = jax.nn.one_hot(self.labels, classes, dtype=dtype)
        if self.edges is None:
            return found
        return jnp.concatenate([found, self.edges[..., None].astype(dtype)], axis=-1)


def edges_of(instances: Array) -> Array:
    """Where one of the four neighbors belongs to another instance: [B, H, W] to bool [B, H, W]."""
    found = jnp.zeros(instances.shape, bool)
    for axis in (1, 2):
        apart = jnp.diff(instances, axis=axis) != 0
        for side in ((1, 0), (0, 1)):
            widths = [side if n == axis else (0, 0) for n in range(3)]
            found |= jnp.pad(apart, widths)
    return found


class _MapConv(nn.Module):
    """A 3x3 convolution of noise, one-hot label map and edges, in this order of channels."""

    features: int
    classes: int
    dtype: Any

    @nn.compact
    def __call__(self, where: LabelMap) -> Array:
        """[B, H, W, features]."""
        noise = where.noise
        size = 0 if noise is None else noise.shape[-1]
        one_hot = where.one_hot(self.classes, self.dtype)
        shape = (3, 3, size + one_hot.shape[-1], self.features)
        kernel = self.param("kernel", _kernel_init, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        x = ops.conv(one_hot, kernel[:, :, size:], padding=1)
        if noise is not None and noise.ndim == 4:
            x = x + ops.conv(noise.astype(self.dtype), kernel[:, :, :size], padding=1)
        elif noise is not None:
            x = x + _spread_conv(noise.astype(self.dtype), kernel[:, :, :size], x.shape[1:3])
        return ops.add_bias(x, bias)


def _spread_conv(noise: Array, kernel: Array, size: tuple[int, ...]) -> Array:
    """The convolution of [B, Z] repeated for every pixel, in a fraction of the products."""
    taps = jnp.einsum("bz,yxzf->byxf", noise, kernel)

    def inside(side: int) -> Array:
        """Which of three taps meet no zeros around: [side, 3]."""
        places = jnp.arange(side)[:, None] + jnp.arange(-1, 2)[None]
        return ((0 <= places) & (places < side)).astype(noise.dtype)

    columns = jnp.einsum("wx,byxf->bywf", inside(size[1]), taps)
    return jnp.einsum("hy,bywf->bhwf", inside(size[0]), columns)


_kernel_init = nn.initializers.variance_scaling(GAIN**2, "fan_avg", "normal")


class SPADE(nn.Module):
    """Scales and shifts each pixel as the label map says (Park et al. 2019, equations 1 to 3).

    Attributes:
      hidden: features of the label map that scales and shifts are made of.
      classes: of the label map.
      dtype: of the computation.
    """

    hidden: int
    classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, where: LabelMap) -> Array:
        """Normalized features [B, H, W, C] and a label map of that size, to [B, H, W, C]."""
        channels = x.shape[-1]
        y = nn.relu(_MapConv(self.hidden, self.classes, self.dtype, name="hidden")(where))
        # Two convolutions in one, each of which starts as Glorot's.
        shape = (3, 3, self.hidden, 2 * channels)
        init = nn.initializers.normal(GAIN * math.sqrt(2 / (9 * (self.hidden + channels))))
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[3:]).astype(self.dtype)
        y = ops.add_bias(ops.conv(y, kernel, padding=1), bias)
        scale, shift = y[..., :channels], y[..., channels:]
        return x * (1 + scale) + shift


class _Block(nn.Module):
    """(SPADE - LeakyReLU - 3x3 convolution) twice, plus x or SPADE - 1x1 convolution of it."""

    features: int
    hidden: int
    classes: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, where: LabelMap, *, train: bool) -> Array:
        def modulated(name: str, x: Array) -> Array:
            return SPADE(self.hidden, self.classes, self.dtype, name=name)(x, where)

        def layer(name: str, features: int, **fields) -> Layer:
            return Layer(features, gain=GAIN, spectral=True, dtype=self.dtype, name=name, **fields)

        before = x.shape[-1]
        normalized = BatchNorm(affine=False, name="norm_0")(x, train=train)
        y = nn.leaky_relu(modulated("spade_0", normalized), 0.2)
        y = layer("conv_0", min(before, self.features))(y, train=train)
        y = BatchNorm(affine=False, name="norm_1")(y, train=train)
        y = nn.leaky_relu(modulated("spade_1", y), 0.2)
        y = layer("conv_1", self.features)(y, train=train)
        if before != self.features:
            x = modulated("spade_shortcut", normalized)
            x = layer("shortcut", self.features, kernel_size=1, use_bias=False)(x, train=train)
        return x + y


class Generator(nn.Module):
    """Residual blocks that a label map modulates, from a small image on, which doubles.

    Channels of the blocks in widths, an arrow for a doubling before one; LeakyReLU 0.2, a 3x3
    convolution and tanh end it. Parameters as published, of 151 classes (ADE20K with "no class"):

    | form   | blocks                                          | parameters |
    | ------ | ----------------------------------------------- | ---------- |
    | oasis  | 16 > 16 > 8 > 4 > 2 > 1                         | 74,314,691 |
    | normal | 16 > 16, 16 > 8 > 4 > 2 > 1                     | 96,492,483 |
    | more   | 16 > 16 > 16 > 8 > 4 > 2 > 1                    | 96,492,483 |
    | most   | 16 > 16 > 16 > 8 > 4 > 2 > 1 > 1/2              | 97,412,579 |

    The first image is a 3x3 convolution of the label map or, with `latent`, a linear map of the
    noise, which then does nothing else: SPADE's form with an encoder. Without it the noise is
    joined to every label map: OASIS's 3D noise.

    All convolutions of the blocks are spectrally normalized; normalization has no parameters, and
    the statistics of the whole batch. What both SPADEs of one input normalize is the same, and
    computed once.

    Attributes:
      form: a key of `FORMS`.
      classes: of the label map.
      channels: of the image.
      width: channels of the last block; 64 as published.
      hidden: features of the label map that SPADE makes its own of; 0 for twice the width, 128 as
        published.
      ups: doublings of the image, 1 to the form's number; 0 for that, as published. With fewer, the
        first blocks are left out, and the first image is larger.
      latent: (h, w) of the first image, where it is made of the noise; None for the label map's.
      dtype: of the computation; parameters, statistics and images are float32.
    """

    form: str
    classes: int
    channels: int = 3
    width: int = 64
    hidden: int = 0
    ups: int = 0
    latent: tuple[int, int] | None = None
    dtype: Any = jnp.float32

    @property
    def stages(self) -> list[Stage]:
        """The blocks, the first one first."""
        stages = [*FORMS[self.form], *_LAST, *[Stage(0.5, True)] * (self.form == "most")]
        if not self.ups:
            return stages
        return [stages[-1 - self.ups]._replace(up=False), *stages[-self.ups :]]

    @property
    def multiple(self) -> int:
        """Of which the sides of label maps must be multiples."""
        return 2 ** sum(stage.up for stage in self.stages)

    @property
    def reach(self) -> int:
        """More pixels than a pixel sees around it when the running statistics are used."""
        return 8 * self.multiple

    @nn.compact
    def __call__(self, where: LabelMap, *, train: bool) -> Array:
        """Images [B, H, W, C] in [-1, 1] of label maps [B, H, W], float32 at least.

        Raises:
          UserError: the first image has a fixed size, and the label map needs another.
        """
        sides = where.labels.shape[1:]
        height, width = (side // self.multiple for side in sides)
        first = round(self.stages[0].times * self.width)
        if self.latent:
            assert where.noise is not None
            if (height, width) != self.latent:
                wanted = "x".join(str(self.multiple * side) for side in self.latent)
                raise UserError(
                    f"a generator with an encoder draws images of {wanted} alone; "
                    f"scale the label map of {sides[0]}x{sides[1]} to that"
                )
            start = Layer(height * width * first, 0, GAIN, dtype=self.dtype, name="start")
            x = start(where.noise, train=train).reshape(-1, height, width, first)
            where = where._replace(noise=None)
        else:
            start = _MapConv(first, self.classes, self.dtype, name="start")
            x = start(where.shrunk((height, width)))
        for n, stage in enumerate(self.stages):
            x = ops.upsample(x) if stage.up else x
            features = round(stage.times * self.width)
            hidden = self.hidden or 2 * self.width
            block = _Block(features, hidden, self.classes, self.dtype, name=f"block_{n}")
            x = block(x, where.shrunk(x.shape[1:3]), train=train)
        x = Layer(self.channels, gain=GAIN, dtype=self.dtype, name="pixels")(
            nn.leaky_relu(x, 0.2), train=train
        )
        return jnp.tanh(x.astype(jnp.promote_types(jnp.float32, self.dtype)))


class _DiscriminatorBlock(nn.Module):
    """OASIS's: LeakyReLU - conv - LeakyReLU - conv, doubled before or halved after, plus shortcut.

    The first block of a network leaves out the first LeakyReLU.
    """

    features: int
    up: bool
    first: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        layer = partial(Layer, self.features, gain=GAIN, spectral=True, dtype=self.dtype)
        y = x if self.first else nn.leaky_relu(x, 0.2)
        y = layer(resampling="up" if self.up else "same", name="conv_0")(y, train=train)
        resampling = "same" if self.up else "down"
        y = layer(resampling=resampling, name="conv_1")(nn.leaky_relu(y, 0.2), train=train)
        # A 1x1 convolution and pooling, or repeating pixels, may change places.
        x = x if self.up else ops.shrink(x, y.shape[1:3])
        if x.shape[-1] != self.features:
            x = layer(kernel_size=1, name="shortcut")(x, train=train)
        return y + (ops.upsample(x) if self.up else x)


class SegmentationDiscriminator(nn.Module):
    """OASIS's discriminator: a U-Net that tells the class of each pixel, or that it is a fake.

    Residual blocks that halve, of 2, 2, 4, 4, 8 and 8 widths, and as many that double, each but the
    first of which is given the output of the halving block of its size, too: 8, 4, 4, 2, 2 and 1
    widths. All 3x3 and 1x1 convolutions but the last are spectrally normalized. As published, of
    151 classes, 22,258,904 parameters.

    Attributes:
      classes: of the label maps.
      width: 64 as published.
      downs: halvings, 1 to 6; 6 as published. With fewer, the smallest blocks are left out.
      dtype: of the computation; parameters, singular values and logits are float32.
    """

    classes: int
    width: int = 64
    downs: int = 6
    dtype: Any = jnp.float32

    @property
    def multiple(self) -> int:
        """Of which the sides of images must be multiples."""
        return 2**self.downs

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> Array:
        """Maps images [B, H, W, C] in [-1, 1] to logits [B, H, W, classes + 1], float32 at least.

        The first logit is that of generated pixels.
        """
        x, found, widths = images.astype(self.dtype), [], _DOWN[: self.downs]
        for n, times in enumerate(widths):
            block = _DiscriminatorBlock(
                times * self.width, False, n == 0, self.dtype, name=f"down_{n}"
            )
            x = block(x, train=train)
            found.append(x)
        for n, times in enumerate((*widths[-2::-1], 1)):
            x = jnp.concatenate([found[-1 - n], x], axis=-1) if n else x
            block = _DiscriminatorBlock(times * self.width, True, dtype=self.dtype, name=f"up_{n}")
            x = block(x, train=train)
        logits = Layer(self.classes + 1, 1, GAIN, dtype=self.dtype, name="logits")
        return logits(x, train=train).astype(jnp.promote_types(jnp.float32, self.dtype))


_DOWN = (2, 2, 4, 4, 8, 8)  # widths of the halving blocks


class PatchDiscriminators(nn.Module):
    """SPADE's discriminators: PatchGANs of the image and of the halved one, given the label map.

    4x4 convolutions with padding 2: 1, 2 and 4 widths with stride 2, 8 widths and a single logit
    with stride 1; LeakyReLU 0.2 after all but the last. All but the first and last are spectrally
    normalized, and their outputs instance by instance (Park et al. 2019, figure 13).

    Attributes:
      classes: of the label maps.
      width: 64 as published.
      scales: images that are judged, each half as large as the one before.
      dtype: of the computation; parameters, singular values and logits are float32.
    """

    classes: int
    width: int = 64
    scales: int = 2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, where: LabelMap, *, train: bool) -> list[list[Array]]:
        """Images [B, H, W, C] in [-1, 1] and label maps to features and logits; no noise is seen.

        Returns:
          of each scale, features [B, h, w, C] of its four layers, and logits [B, h, w, 1], float32
          at least.
        """
        one_hot = where.one_hot(self.classes, self.dtype)
        shown, found = jnp.concatenate([one_hot, images.astype(self.dtype)], axis=-1), []
        for scale in range(self.scales):
            if scale:
                shown = nn.avg_pool(shown, (3, 3), (2, 2), ((1, 1), (1, 1)), False)
            features = [shown]
            for n, times in enumerate((1, 2, 4, 8)):
                layer = self._layer(f"conv_{scale}_{n}", times * self.width, n)
                x = layer(features[-1], train=train)
                features.append(nn.leaky_relu(ops.instance_norm(x) if n else x, 0.2))
            logits = self._layer(f"conv_{scale}_4", 1, 4)(features[-1], train=train)
            logits = logits.astype(jnp.promote_types(jnp.float32, self.dtype))
            found.append([*features[1:], logits])
        return found

    def _layer(self, name: str, features: int, n: int) -> Layer:
        inner = 0 < n < 4
        return Layer(
            features, 4, GAIN, spectral=inner, use_bias=not inner, strides=1 if n > 2 else 2,
            dtype=self.dtype, name=name,
        )  # fmt: skip


class Encoder(nn.Module):
    """What draws a style of: mean and logarithm of the variance of the noise that makes an image.

    3x3 convolutions with stride 2 of 1, 2, 4, 8, 8 and, from 256x256 on, 8 widths, spectrally
    normalized, their outputs instance by instance, with LeakyReLU 0.2 between; then two linear maps
    (Park et al. 2019, figure 14).

    Attributes:
      size: of the noise.
      width: 64 as published.
      dtype: of the computation; parameters and results are float32.
    """

    size: int = 256
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array, *, train: bool) -> tuple[Array, Array]:
        """Images [B, H, W, C] in [-1, 1] to two [B, size], float32 at least."""
        x = images
        large = min(images.shape[1:3]) >= 256
        for n, times in enumerate((1, 2, 4, 8, 8, 8)[: 5 + large]):
            layer = Layer(
                times * self.width, 3, GAIN, spectral=True, use_bias=False, strides=2,
                dtype=self.dtype, name=f"conv_{n}",
            )  # fmt: skip
            x = nn.leaky_relu(ops.instance_norm(layer(x, train=train)), 0.2)
        x = x.reshape(len(x), -1)
        wide = jnp.promote_types(jnp.float32, self.dtype)
        mean, log_variance = (
            Layer(self.size, 0, GAIN, dtype=wide, name=name)(x, train=train)
            for name in ("mean", "log_variance")
        )
        return mean, log_variance
