"""VGG with Haar wavelets in place of pooling, and its decoder: WCT2, for photographs.

Yoo et al. 2019, https://arxiv.org/abs/1903.09760, sections 3.2 and 3.3. Unpooling sums the
wavelets, so that what pooling takes apart comes together exactly; the paper's other form, which
concatenates them, is not here. High frequencies go around all that is deeper, so that edges stay
where they are.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.nets.compact import Transfer
from ganjax.nets.vgg import Conv, Padding, channels, convolutions

DEEPEST = "relu4_1"
LEVELS = 4  # transfers in the encoder, at relu1_1 to relu4_1
DEPTHS = LEVELS + 3  # and in the decoder, where it mirrors relu3_1 to relu1_1
MULTIPLE = 8
REACH = 96  # pixels, see `stylizers.Stylizer`


class Encoder(nn.Module):
    """A VGG up to relu4_1 whose pooling is the low-pass wavelet.

    It has the parameters of `vgg.VGG19`, or with the names of `vgg16.VGG16` those of that.

    Attributes:
      width: channels of the first block; 64 is the published network.
      names: of its convolutions, in order; () for VGG-19's.
      padding: as the weights were trained.
    """

    width: int = 64
    names: tuple[str, ...] = ()
    padding: Padding = "reflect"

    @nn.compact
    def __call__(self, images: Array, transfer: Transfer) -> tuple[Array, list[Array]]:
        """Encodes [B, H, W, 3] in [-1, 1], sides multiples of 8.

        Args:
          transfer: called at relu1_1 to relu4_1, as depths 0 to 3.

        Returns:
          [B, H / 8, W / 8, 8 `width`], and of each pooling the high frequencies, fine to coarse:
          [3, B, h, w, C].
        """
        x = Conv(3, kernel_size=1, name="conv0")((images + 1) / 2)
        high = []
        for name in self.names or convolutions(DEEPEST):
            block, number = int(name[4]), int(name[6])
            if number == 1 and block > 1:
                bands = ops.haar(x)
                x, rest = bands[0], bands[1:]
                high.append(rest)
            features = channels(self.width)[block - 1]
            x = nn.relu(Conv(features, padding=self.padding, name=name)(x))
            if number == 1:
                x = transfer(block - 1, x)
        return x, high


class Decoder(nn.Module):
    """The mirror of VGG-19's encoder from relu4_1 to an image, with the high frequencies.

    Shapes are the published ones, those of `vgg.Decoder`.
    """

    width: int = 64

    @nn.compact
    def __call__(self, x: Array, high: Sequence[Array], transfer: Transfer) -> Array:
        """Decodes what `Encoder` gives to images [B, H, W, 3], about [-1, 1].

        Args:
          transfer: called where relu3_1 to relu1_1 are mirrored, as depths 4 to 6.
        """
        # Each wavelet doubles what is even; kernels that kept it so large would begin with images
        # far out of range, of which no ReLU recovers.
        widths, init = channels(self.width), nn.initializers.lecun_normal()
        for name in reversed(convolutions(DEEPEST)):
            block, number = int(name[4]), int(name[6])
            if number == 1 and name != "conv4_1":
                x = transfer(DEPTHS - block, x)
            if name == "conv1_1":
                return Conv(3, kernel_init=init, name=name)(x) * 2 - 1
            below = block - 2 if number == 1 else block - 1
            x = nn.relu(Conv(widths[below], kernel_init=init, name=name)(x))
            if number == 1:
                x = ops.inverse_haar(jnp.concatenate([x[None], high[below]]))
        raise AssertionError("the loop returns at conv1_1")
