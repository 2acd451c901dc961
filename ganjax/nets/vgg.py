"""VGG-19 (Simonyan and Zisserman 2015) up to relu5_1, and decoders that mirror it."""

from typing import Literal

import flax.linen as nn
from jax import Array

from ganjax import ops

Padding = Literal["reflect", "zero"]
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_CONVOLUTIONS = (2, 2, 4, 4, 1)  # in each block, up to relu5_1


def channels(width: int) -> tuple[int, ...]:
    """Channels of the five blocks; a width of 64 is the published 64, 128, 256, 512, 512."""
    return tuple(width * times for times in (1, 2, 4, 8, 8))


def convolutions(last: str) -> list[str]:
    """Names of VGG-19's convolutions in order, up to the one before the layer `last`."""
    names = [
        f"conv{block}_{number}"
        for block, count in enumerate(_CONVOLUTIONS, 1)
        for number in range(1, count + 1)
    ]
    return names[: names.index(last.replace("relu", "conv")) + 1]


class Conv(nn.Module):
    """3x3 (or 1x1) convolution that keeps height and width, with a bias.

    Attributes:
      features: channels of the output.
      kernel_size: 1 or 3.
      padding: "reflect" or "zero".
      kernel_init: for what a ReLU follows, by default.
    """

    features: int
    kernel_size: int = 3
    padding: Padding = "reflect"
    kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)
        border = self.kernel_size // 2
        if self.padding == "reflect" and border:
            x, border = ops.pad_reflect(x, border), 0
        return ops.add_bias(ops.conv(x, kernel, padding=border), bias)


class VGG19(nn.Module):
    """The encoder: RGB images to the outputs relu1_1 .. `last`.

    Its first layer `conv0` is a 1x1 convolution from RGB in [0, 1] to the color space that the
    weights were trained for; every import of `ganjax.weights` fills it in. Pooling rounds odd sides
    up, as in the encoders of AdaIN and WCT; torchvision, Keras and the compressed WCT drop the
    last row or column instead.

    Attributes:
      last: the deepest output.
      width: channels of the first block; 64 is the published network.
      padding: "reflect", as style transfer has it, or "zero", as the classifier was trained.
      head_width: above 0, a 1x1 convolution and a ReLU map every output to the channels of a VGG-19
        of this width: compressed networks approximate the features of the full one so (Wang et al.
        2020, the linear embedding of the loss).
    """

    last: str = "relu4_1"
    width: int = 64
    padding: Padding = "reflect"
    head_width: int = 0

    @nn.compact
    def __call__(self, images: Array, layers: tuple[str, ...] = ()) -> dict[str, Array]:
        """Encodes [B, H, W, 3] in [-1, 1].

        Args:
          layers: the outputs wanted, of `LAYERS`; () for all up to `last`.

        Returns:
          layer -> [B, ceil(H / 2^(k - 1)), ceil(W / 2^(k - 1)), C] for relu<k>_1.
        """
        layers = layers or LAYERS[: LAYERS.index(self.last) + 1]
        widths, heads = channels(self.width), channels(self.head_width)
        x = Conv(3, kernel_size=1, name="conv0")((images + 1) / 2)
        outputs = {}
        for name in convolutions(max(layers)):
            block, number = int(name[4]), int(name[6])
            if number == 1 and block > 1:
                x = ops.max_pool(x)
            x = nn.relu(Conv(widths[block - 1], padding=self.padding, name=name)(x))
            layer = name.replace("conv", "relu")
            if layer in layers:
                outputs[layer] = x
                if self.head_width:
                    head = Conv(heads[block - 1], kernel_size=1, name=f"head{block}_1")
                    outputs[layer] = nn.relu(head(x))
        return outputs


class Decoder(nn.Module):
    """The mirror of `VGG19` from `first` to an image: upsampling for pooling, no normalization.

    A convolution bears the name of the one that it mirrors. Huang and Belongie 2017, section 6.1;
    Li et al. 2017 for the other depths.

    Attributes:
      first: the layer that it inverts.
      width: as the encoder's.
    """

    first: str = "relu4_1"
    width: int = 64

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Decodes [B, h, w, C] to images [B, 2^(k-1) h, 2^(k-1) w, 3], about [-1, 1]."""
        widths = channels(self.width)
        names = convolutions(self.first)
        x = features
        for name in reversed(names):
            block, number = int(name[4]), int(name[6])
            if name == "conv1_1":
                # Published decoders give RGB in [0, 1].
                return Conv(3, kernel_init=nn.initializers.lecun_normal(), name=name)(x) * 2 - 1
            below = block - 2 if number == 1 else block - 1
            x = nn.relu(Conv(widths[below], name=name)(x))
            if number == 1:
                x = ops.upsample(x)
        raise AssertionError("the loop returns at conv1_1")
