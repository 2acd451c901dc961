"""What CUT compares features with: a small MLP for each layer (Park et al. 2020, section 3)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class PatchHeads(nn.Module):
    """Features at some places, as unit vectors: linear, ReLU, linear, one pair for each layer.

    For the five layers of the published ResNet-9 they have 560,384 parameters.

    Attributes:
      width: of both linear maps.
      kernel_init: initializer of their kernels.
      dtype: of the computation; parameters and vectors are float32.
    """

    width: int = 256
    kernel_init: Any = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Sequence[Array], places: Sequence[Array]) -> list[Array]:
        """Maps features to vectors.

        Args:
          features: [B, h, w, C] of each layer.
          places: int32 [P] of each layer, y * w + x; the same of all images.

        Returns:
          [B, P, width] of each layer, of length 1, float32 at least.
        """
        vectors = []
        for n, (feature, where) in enumerate(zip(features, places, strict=True)):
            x = feature.reshape(len(feature), -1, feature.shape[-1])[:, where]
            for kind in ("hidden", "out"):
                layer = nn.Dense(
                    self.width,
                    dtype=self.dtype,
                    kernel_init=self.kernel_init,
                    name=f"{kind}_{n + 1}",
                )
                x = layer(x if kind == "hidden" else nn.relu(x))
            x = x.astype(jnp.promote_types(jnp.float32, self.dtype))
            squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
            # The root's own slope at 0 is infinite.
            norms = jnp.sqrt(jnp.where(squares > 0, squares, 1))
            vectors.append(x / (norms + 1e-7))
        return vectors
