"""The U-Net of pix2pix (Isola et al. 2017, section 6.1.1) as its PyTorch form has it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ganjax.errors import UserError
from ganjax.nets.dcgan import Convolution, scale_init
from ganjax.nets.norms import NormKind, StatelessNorm

_WIDEST = 8  # times the width
_DROPPED = 5  # the first level with dropout


class UNet(nn.Module):
    """Images to images of the same size: down to 1/2^`downs` and up again, with skips.

    Level n has 1/2^n of the resolution and width * min(2^(n - 1), 8) channels. All convolutions
    are 4x4 with stride 2. The published U-Net-256 has 8 levels and 54,413,955 parameters; the
    U-Net-128 has 7, of which the last is like the 8th here:

    | level              |  1 |   2 |   3 |   4 |   5 |   6 |   7 |   8 |
    | ------------------ | -- | --- | --- | --- | --- | --- | --- | --- |
    | channels           | 64 | 128 | 256 | 512 | 512 | 512 | 512 | 512 |
    | norm, down         |    |   x |   x |   x |   x |   x |   x |     |
    | norm, up from it   |    |   x |   x |   x |   x |   x |   x |   x |
    | dropout, up        |    |     |     |     |   x |   x |   x |     |

    LeakyReLU 0.2 precedes each convolution down but the first, ReLU each one up, tanh ends. From
    level n up goes what came up to it and, next to it, what went down.

    The networks of the paper's first code drop the innermost level too, and not level 5.

    Normalization is by the images at hand, at test time too (`norms.StatelessNorm`), so that
    there are no variables but parameters. Only what no normalization follows has a bias: the last
    convolution, and with "instance" also the first and the innermost one down.

    Attributes:
      channels: of the output.
      width: channels of level 1.
      downs: number of levels.
      norm: "batch", "instance" or "layer".
      dropout: share of features that dropout sets to 0.
      tanh: at the end; False for logits.
      dtype: of the computation; parameters are float32.
    """

    channels: int = 3
    width: int = 64
    downs: int = 8
    norm: NormKind = "batch"
    dropout: float = 0.5
    tanh: bool = True
    dtype: Any = jnp.float32

    @property
    def multiple(self) -> int:
        """Of which the sides of images must be multiples."""
        return 2**self.downs

    @nn.compact
    def __call__(self, images: Array, *, rng: Array | None = None) -> Array:
        """Translates images.

        Args:
          images: [B, H, W, C] in [-1, 1]; H and W are multiples of 2^`downs`.
          rng: key of the dropout, which pix2pix keeps at test time too; None for no dropout.

        Returns:
          [B, H, W, channels], float32 at least; in [-1, 1] with tanh.

        Raises:
          UserError: a side is no multiple of 2^`downs`.
        """
        height, width = images.shape[1:3]
        if height % 2**self.downs or width % 2**self.downs:
            raise UserError(
                f"a U-Net with {self.downs} downs takes sides that are multiples of "
                f"{2**self.downs}, not {height}x{width}: choose another size or fewer downs"
            )

        def convolve(name: str, features: int, **fields) -> Convolution:
            return Convolution(features, kernel_size=4, dtype=self.dtype, name=name, **fields)

        def normalize(name: str) -> StatelessNorm:
            return StatelessNorm(self.norm, scale_init, name=name)

        features = [self.width * min(2**n, _WIDEST) for n in range(self.downs)]
        x, skips = images.astype(self.dtype), []
        for n in range(1, self.downs + 1):
            plain = n in (1, self.downs)
            x = nn.leaky_relu(x, 0.2) if n > 1 else x
            use_bias = plain and self.norm == "instance"
            x = convolve(f"down_{n}", features[n - 1], use_bias=use_bias)(x)
            x = x if plain else normalize(f"down_norm_{n}")(x)
            skips.append(x)
        x = skips.pop()
        for n in range(self.downs, 1, -1):
            x = convolve(f"up_{n}", features[n - 2], transposed=True)(nn.relu(x))
            x = normalize(f"up_norm_{n}")(x)
            if rng is not None and _DROPPED <= n < self.downs:
                kept = 1 - self.dropout
                mask = jax.random.bernoulli(jax.random.fold_in(rng, n), kept, x.shape)
                x = jnp.where(mask, x / kept, 0)
            x = jnp.concatenate([skips.pop(), x], axis=-1)
        last = convolve("up_1", self.channels, transposed=True, use_bias=True)
        y = last(nn.relu(x)).astype(jnp.promote_types(jnp.float32, self.dtype))
        return jnp.tanh(y) if self.tanh else y
