"""VGG-16 (Simonyan and Zisserman 2015) as torchvision has it, with its dense layers."""

import flax.linen as nn
from jax import Array

from ganjax import ops
from ganjax.nets.vgg import Conv, channels

CONVOLUTIONS = tuple(
    f"conv{block}_{number}"
    for block, count in enumerate((2, 2, 3, 3, 3), start=1)
    for number in range(1, count + 1)
)
SIZE = 224  # pixels of each side, for the dense layers


class VGG16(nn.Module):
    """RGB images to the outputs of all convolutions, features and logits.

    Its first layer `conv0` is a 1x1 convolution from RGB in [0, 1] to the colors that the weights
    were trained for. Pooling drops an odd last row or column.

    Attributes:
      dense: the classifier as well, which takes images of 224 pixels only.
    """

    dense: bool = True

    @nn.compact
    def __call__(self, images: Array) -> dict[str, Array]:
        """Maps [B, H, W, 3] in [-1, 1].

        Returns:
          "relu1_1" .. "relu5_3" -> [B, h, w, C]; with `dense` "features" -> [B, 4096], the second
          dense layer after its ReLU, and "logits" -> [B, 1000].
        """
        x, outputs = Conv(3, kernel_size=1, name="conv0")((images + 1) / 2), {}
        for name in CONVOLUTIONS:
            block, number = int(name[4]), int(name[6])
            if number == 1 and block > 1:
                x = _pool(x)
            x = nn.relu(Conv(channels(64)[block - 1], padding="zero", name=name)(x))
            outputs[name.replace("conv", "relu")] = x
        if not self.dense:
            return outputs
        x = _pool(x).reshape(x.shape[0], -1)
        for number in (1, 2):
            x = nn.relu(nn.Dense(4096, name=f"fc{number}")(x))
        return outputs | {"features": x, "logits": nn.Dense(1000, name="fc3")(x)}


def _pool(x: Array) -> Array:
    height, width = (side - side % 2 for side in x.shape[1:3])
    return ops.max_pool(x[:, :height, :width])
