"""A small classifier of attributes or classes, whose last hidden layer is a feature vector.

Pixels enter in blocks of 2x2 (Shi et al. 2016, arXiv:1609.05158) and there is no normalization, so
that an image's features depend on it alone and parameters are all that there is to keep.
"""

import flax.linen as nn
from jax import Array

from ganjax import ops
from ganjax.nets.compact import Conv

SIDE = 32  # pixels of what the network sees


class Classifier(nn.Module):
    """Convolutions at 1/2, 1/4 and 1/8 of the resolution, then two dense layers.

    Attributes:
      values: of all attributes together, 104 for avatars; the logits of one attribute are
        neighbors, in the data set's order.
      width: channels at 1/2; twice as many follow.
      features: length of the feature vector.
    """

    values: int = 104
    width: int = 48
    features: int = 128

    @nn.compact
    def __call__(self, images: Array) -> dict[str, Array]:
        """Maps images [B, 32, 32, C] in [-1, 1] to {"features": [B, D] >= 0, "logits": [B, K]}."""
        half, quarter, init = self.width, 2 * self.width, nn.initializers.he_normal()
        x = nn.relu(Conv(half, name="half_in")(ops.space_to_depth(images)))
        x = nn.relu(Conv(half, name="half_out")(x))
        x = nn.relu(Conv(quarter, strides=2, name="quarter_in")(x))
        x = x + nn.relu(Conv(quarter, name="quarter_out")(x))
        x = nn.relu(Conv(quarter, strides=2, name="eighth_in")(x))
        x = nn.relu(Conv(64, kernel_size=1, name="eighth_out")(x))
        # Portraits are aligned: where something is says what it is.
        x = x.reshape(x.shape[0], -1)
        features = nn.relu(nn.Dense(self.features, kernel_init=init, name="features")(x))
        return {"features": features, "logits": nn.Dense(self.values, name="logits")(features)}
