"""AlexNet (Krizhevsky 2014, arXiv:1404.5997) as torchvision has it, up to its last convolution."""

import flax.linen as nn
from jax import Array

from ganjax.nets.vgg import Conv

# (channels, side of the kernel, stride, zeros around)
CONVOLUTIONS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
LEAST = 31  # pixels of a side that leave one after the poolings


class AlexNet(nn.Module):
    """RGB images to the outputs of its convolutions.

    Its first layer `conv0` is a 1x1 convolution from RGB in [0, 1] to the colors that the weights
    were trained for. Two poolings of 3x3 pixels, with stride 2, follow the first two convolutions.
    """

    @nn.compact
    def __call__(self, images: Array) -> dict[str, Array]:
        """Maps [B, H, W, 3] in [-1, 1], sides of `LEAST` pixels or more.

        Returns:
          "relu1" .. "relu5" -> [B, h, w, C].
        """
        x, outputs = Conv(3, kernel_size=1, name="conv0")((images + 1) / 2), {}
        for number, (channels, side, stride, zeros) in enumerate(CONVOLUTIONS, start=1):
            if number in (2, 3):
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
            sides = (side, side)
            x = nn.relu(nn.Conv(channels, sides, stride, zeros, name=f"conv{number}")(x))
            outputs[f"relu{number}"] = x
        return outputs
