"""Tiny Darknet (Redmon 2016, https://pjreddie.com/darknet/tiny-darknet), an ImageNet classifier."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.nets.vgg import Conv

# Channels and side of the kernel of each convolution; the last is the classifier.
CONVOLUTIONS = (
    (16, 3), (32, 3), (16, 1), (128, 3), (16, 1), (128, 3), (32, 1), (256, 3), (32, 1), (256, 3),
    (64, 1), (512, 3), (64, 1), (512, 3), (128, 1), (1000, 1),
)  # fmt: skip
_POOLED = (1, 2, 6, 10)  # convolutions that a pooling follows


class TinyDarknet(nn.Module):
    """RGB images to the outputs of all layers; 1.04 million parameters.

    Batch normalization is part of the convolutions: the import of `ganjax.weights` folds it in.
    """

    @nn.compact
    def __call__(self, images: Array) -> dict[str, Array]:
        """Classifies [B, H, W, 3] in [-1, 1], at 224 pixels as it was trained.

        Returns:
          "conv1" .. "conv15" -> [B, h, w, C] after the activation, at strides 1, 2, 4 and 8 up to
          layers 1, 2, 6 and 10, then 16; "features" -> [B, 128], the mean of conv15 over pixels;
          "logits" -> [B, 1000], classes in the order of the ILSVRC 2012 development kit.
        """
        x, outputs = (images + 1) / 2, {}
        for number, (channels, side) in enumerate(CONVOLUTIONS[:-1], start=1):
            name = f"conv{number}"
            x = Conv(channels, kernel_size=side, padding="zero", name=name)(x)
            x = outputs[name] = nn.leaky_relu(x, 0.1)
            if number in _POOLED:
                x = ops.max_pool(x)
        # The classifier is linear and 1x1: the mean of its outputs is its output of the mean.
        x = jnp.mean(x, axis=(1, 2), keepdims=True)
        logits = Conv(CONVOLUTIONS[-1][0], kernel_size=1, name=f"conv{len(CONVOLUTIONS)}")(x)
        return outputs | {"features": x[:, 0, 0], "logits": logits[:, 0, 0]}
