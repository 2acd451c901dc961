"""Images from a sentence: a recurrent text encoder and DF-GAN's networks.

DF-GAN: Tao et al. 2022, arXiv:2008.05865, section 3; details as in https://github.com/tobran/DF-GAN,
where the text leaves them open. A generator block doubles its images first; here what goes pixel by
pixel comes before that, which is the same in a quarter of the work.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.dcgan import Convolution, split_size

WIDTH = 32  # as published
_WIDEST = 8  # times the width
# Uniform within 1 / sqrt(fan-in), as PyTorch's layers start; biases start at 0.
_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def seed_and_widths(
    image_size: tuple[int, int], width: int
) -> tuple[tuple[int, int], tuple[int, ...]]:
    """The smallest features' (h, w), and the channels at each size from there on.

    At full size there are `width`, twice as many at each halving, up to eight times: 256, 256, 128,
    64, 32 at 64x64.

    Raises:
      UserError: there is no such network.
    """
    seed, doublings = split_size(image_size, least=3) or ((0, 0), 0)
    if not 3 <= doublings <= 6:
        raise UserError(
            f"DF-GAN cannot make {image_size[0]}x{image_size[1]} images: choose 32x32, 64x64, "
            "128x128 or 256x256, or sides that are such multiples of a small number, like 96x64"
        )
    if width < 1:
        raise UserError(f"model.width is {width}; give 1 or more")
    return seed, tuple(width * min(2**n, _WIDEST) for n in reversed(range(doublings + 1)))


class _GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) over [B, T, C], with PyTorch's two biases.

    Attributes:
      features: of the state, which starts at 0.
      reverse: from the last word to the first.
    """

    features: int
    reverse: bool = False

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """The state after each step, [B, T, features]; where mask [B, T] is false it stays."""
        size = self.features

        def param(name: str, *shape: int) -> Array:
            # All as PyTorch's: by the size of the state.
            limit = size**-0.5
            init = lambda key, shape: jax.random.uniform(key, shape, minval=-limit, maxval=limit)  # noqa: E731
            return self.param(name, init, shape).astype(x.dtype)

        kernel, recurrent = (
            param("kernel", x.shape[-1], 3 * size),
            param("recurrent", size, 3 * size),
        )
        bias, recurrent_bias = param("bias", 3 * size), param("recurrent_bias", 3 * size)
        entered = x @ kernel + jnp.broadcast_to(bias, (*x.shape[:2], 3 * size))

        def step(state: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            given, is_word = now
            kept = state @ recurrent
            kept = kept + jnp.broadcast_to(recurrent_bias, kept.shape)
            (r, u, n), (r_kept, u_kept, n_kept) = (jnp.split(y, 3, axis=1) for y in (given, kept))
            r, u = jax.nn.sigmoid(r + r_kept), jax.nn.sigmoid(u + u_kept)
            new = (1 - u) * jnp.tanh(n + r * n_kept) + u * state
            state = jnp.where(is_word[:, None], new, state)
            return state, state

        start = jnp.zeros((len(x), size), x.dtype)
        steps = (entered.swapaxes(0, 1), mask.T)
        _, states = lax.scan(step, start, steps, reverse=self.reverse)
        return states.swapaxes(0, 1)


class TextEncoder(nn.Module):
    """Words through a GRU in each direction; a sentence is the mean of its words' vectors.

    Attributes:
      words: of the vocabulary, the padding (0) included.
      features: D, length of the vectors; even.
      word_size: length of a word's embedding.
      dtype: of the computation.
    """

    words: int
    features: int = 256
    word_size: int = 300
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        """Maps tokens int [B, T] to sentence vectors [B, D] and word vectors [B, T, D].

        Sentences have a mean square of 1 over their values; words of padding are 0.
        """
        mask = tokens > 0
        table = self.param("embedding", nn.initializers.normal(1.0), (self.words, self.word_size))
        x = table.astype(self.dtype)[tokens]
        half = self.features // 2
        forth, back = (
            _GRU(half, reverse, name=name)(x, mask)
            for name, reverse in (("forward", False), ("backward", True))
        )
        words = jnp.where(mask[..., None], jnp.concatenate([forth, back], axis=-1), 0)
        mean = jnp.sum(words, axis=1) / jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
        square = jnp.mean(jnp.square(mean), axis=1, keepdims=True)
        return mean * lax.rsqrt(square + 1e-6), words


class ImageEncoder(nn.Module):
    """A small CNN whose vectors are compared with those of sentences; it trains the text encoder.

    Attributes:
      image_size: (H, W).
      features: D, length of the vectors.
      width: channels at half of the size; twice as many at each halving, up to four times.
      dtype: of the computation.
    """

    image_size: tuple[int, int]
    features: int = 256
    width: int = 32
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """Maps images [B, H, W, C] in [-1, 1] to vectors [B, D]."""
        _, widths = seed_and_widths(self.image_size, 1)
        init, x = nn.initializers.he_normal(), images
        for n in range(len(widths) - 1):
            features = self.width * min(2**n, 4)
            x = nn.relu(
                Convolution(features, 4, use_bias=True, kernel_init=init, dtype=self.dtype)(x)
            )
        # Where something is, it stays told apart.
        return nn.Dense(self.features, dtype=self.dtype)(x.reshape(len(x), -1))


class _Affine(nn.Module):
    """Channels scaled and shifted by two networks of the condition; the identity at the start."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Array, condition: Array) -> Array:
        channels, zeros = x.shape[-1], nn.initializers.zeros

        def network(name: str, start: nn.initializers.Initializer) -> Array:
            hidden = nn.Dense(channels, kernel_init=_init, dtype=self.dtype, name=f"{name}_hidden")
            last = nn.Dense(
                channels, kernel_init=zeros, bias_init=start, dtype=self.dtype, name=name
            )
            return last(nn.relu(hidden(condition)))[:, None, None]

        return x * network("scale", nn.initializers.ones) + network("shift", zeros)


class _Fusion(nn.Module):
    """DFBLK: an affine layer and a leaky ReLU, twice."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Array, condition: Array) -> Array:
        for n in range(2):
            x = nn.leaky_relu(_Affine(self.dtype, name=f"affine_{n}")(x, condition), 0.2)
        return x


class _Up(nn.Module):
    """UPBlock: doubled images; fusion, 3x3 conv, fusion, 3x3 conv beside a shortcut."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, condition: Array) -> Array:
        """[B, H, W, C] to [B, 2H, 2W, features]."""

        def conv(kernel_size: int, name: str, *, resize: bool = False) -> Convolution:
            return Convolution(
                self.features, kernel_size, strides=1, use_bias=True, resize=resize,
                kernel_init=_init, dtype=self.dtype, name=name,
            )  # fmt: skip

        y = _Fusion(self.dtype, name="fusion_0")(x, condition)
        y = conv(3, "conv_0", resize=True)(y)
        y = conv(3, "conv_1")(_Fusion(self.dtype, name="fusion_1")(y, condition))
        if x.shape[-1] != self.features:
            x = conv(1, "shortcut")(x)
        return ops.upsample(x) + y


class Generator(nn.Module):
    """DF-GAN's generator.

    At the published width of 32, with z of 100 and sentences of 256 values, it has 4,868,867
    parameters at 64x64 and 9,744,131 at 256x256.

    Attributes:
      image_size: (H, W); see `seed_and_widths` for the possible ones.
      channels: of the image; 1, 3 or 4.
      width: channels at full size.
      dtype: of the computation; parameters are float32.
    """

    image_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = WIDTH
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, sentences: Array) -> Array:
        """Maps z [B, Z] of N(0, I) and sentences [B, D] to images [B, H, W, C] in [-1, 1].

        They are float32 at least.
        """
        seed, (first, *widths) = seed_and_widths(self.image_size, self.width)
        z, sentences = z.astype(self.dtype), sentences.astype(self.dtype)
        condition = jnp.concatenate([z, sentences], axis=1)
        project = nn.Dense(
            seed[0] * seed[1] * first, kernel_init=_init, dtype=self.dtype, name="project"
        )
        x = project(z).reshape(-1, *seed, first)
        for n, features in enumerate(widths):
            x = _Up(features, self.dtype, name=f"up_{n}")(x, condition)
        pixels = Convolution(
            self.channels, 3, strides=1, use_bias=True, kernel_init=_init, dtype=self.dtype,
            name="pixels",
        )  # fmt: skip
        x = pixels(nn.leaky_relu(x, 0.2))
        return jnp.tanh(x.astype(jnp.promote_types(jnp.float32, self.dtype)))


class _Down(nn.Module):
    """DownBlock: 4x4 conv that halves, 3x3 conv, times a learned number that starts at 0; plus a
    shortcut."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B, H, W, C] to [B, H / 2, W / 2, features]."""
        gain = self.param("gain", nn.initializers.zeros, ()).astype(self.dtype)
        y = x
        for n, (kernel_size, strides) in enumerate(((4, 2), (3, 1))):
            conv = Convolution(
                self.features, kernel_size, strides, kernel_init=_init, dtype=self.dtype,
                name=f"conv_{n}",
            )  # fmt: skip
            y = nn.leaky_relu(conv(y), 0.2)
        channels, x = x.shape[-1], ops.shrink(x, (x.shape[1] // 2, x.shape[2] // 2))
        if channels != self.features:
            shortcut = Convolution(
                self.features, 1, strides=1, use_bias=True, kernel_init=_init, dtype=self.dtype,
                name="shortcut",
            )  # fmt: skip
            x = shortcut(x)
        return x + gain * y


class Discriminator(nn.Module):
    """DF-GAN's discriminator with its one-way output: one logit of an image and a sentence.

    At the published width of 32 and with sentences of 256 values it has 3,440,964 parameters at
    64x64 and 6,717,766 at 256x256.

    Attributes:
      image_size, channels, width, dtype: as the generator's.
    """

    image_size: tuple[int, int] = (64, 64)
    channels: int = 3
    width: int = WIDTH
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.seed, widths = seed_and_widths(self.image_size, self.width)
        first, *rest = reversed(widths)
        self.pixels = Convolution(
            first, 3, strides=1, use_bias=True, kernel_init=_init, dtype=self.dtype
        )
        self.downs = [_Down(features, self.dtype) for features in rest]
        self.joint = Convolution(2 * self.width, 3, strides=1, kernel_init=_init, dtype=self.dtype)
        self.logits = self.param("logits", _init, (*self.seed, 2 * self.width, 1))

    def __call__(self, images: Array, sentences: Array) -> Array:
        """Maps images [B, H, W, C] in [-1, 1] and sentences [B, D] to logits [B]."""
        return self.judge(self.see(images), sentences)

    def see(self, images: Array) -> Array:
        """The features [B, h, w, 8 * width] of images."""
        if images.shape[1:] != (*self.image_size, self.channels):
            raise ValueError(
                f"images are {images.shape[1:]}, not {(*self.image_size, self.channels)}"
            )
        x = self.pixels(images)
        for down in self.downs:
            x = down(x)
        return x

    def judge(self, features: Array, sentences: Array) -> Array:
        """The logits [B] of features and sentences (above 0: a match), float32 at least."""
        sentences = sentences.astype(self.dtype)[:, None, None]
        spread = jnp.broadcast_to(sentences, (*features.shape[:3], sentences.shape[-1]))
        x = nn.leaky_relu(self.joint(jnp.concatenate([features, spread], axis=-1)), 0.2)
        x = x.astype(jnp.promote_types(jnp.float32, self.dtype))
        return jnp.einsum("bhwc,hwc->b", x, self.logits[..., 0].astype(x.dtype))
