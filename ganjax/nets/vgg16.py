"""VGG-16 (Simonyan and Zisserman 2015) as torchvision has it: zeros around, dense layers last."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from jax import Array

from ganjax import ops
from ganjax.nets.vgg import Conv, channels

CONVOLUTIONS = tuple(
    f"conv{block}_{number}"
    for block, count in enumerate((2, 2, 3, 3, 3), start=1)
    for number in range(1, count + 1)
)
LAYERS = tuple(name.replace("conv", "relu") for name in CONVOLUTIONS)
SIZE = 224  # pixels of each side, for the dense layers


class VGG16(nn.Module):
    """RGB images to the outputs of its convolutions, features and logits.

    Its first layer `conv0` is a 1x1 convolution from RGB in [0, 1] to the colors that the weights
    were trained for. Pooling drops an odd last row or column.

    Attributes:
      dense: the classifier as well, which takes images of 224 pixels only.
      width: channels of the first block; 64 is the published network.
    """

    dense: bool = True
    width: int = 64

    @nn.compact
    def __call__(self, images: Array, layers: tuple[str, ...] = ()) -> dict[str, Array]:
        """Maps [B, H, W, 3] in [-1, 1].

        Args:
          layers: the outputs wanted, of `LAYERS`: nothing above them is computed; () for all.

        Returns:
          "relu1_1" .. "relu5_3" -> [B, h, w, C]; of all and with `dense`, "features" -> [B, 4096],
          the second dense layer after its ReLU, and "logits" -> [B, 1000].
        """
        wanted = layers or LAYERS
        x, outputs = Conv(3, kernel_size=1, name="conv0")((images + 1) / 2), {}
        for layer in LAYERS[: LAYERS.index(max(wanted)) + 1]:
            block, number = int(layer[4]), int(layer[6])
            if number == 1 and block > 1:
                x = _pool(x)
            name = layer.replace("relu", "conv")
            x = nn.relu(Conv(channels(self.width)[block - 1], padding="zero", name=name)(x))
            if layer in wanted:
                outputs[layer] = x
        if layers or not self.dense:
            return outputs
        x = _pool(x).reshape(x.shape[0], -1)
        for number in (1, 2):
            x = nn.relu(nn.Dense(4096, name=f"fc{number}")(x))
        return outputs | {"features": x, "logits": nn.Dense(1000, name="fc3")(x)}


def fits(params: Mapping[str, Any]) -> bool:
    """Whether these are the parameters of a VGG-16, and not of a VGG-19."""
    return "conv3_3" in params and "conv3_4" not in params


def _pool(x: Array) -> Array:
    height, width = (side - side % 2 for side in x.shape[1:3])
    return ops.max_pool(x[:, :height, :width])
