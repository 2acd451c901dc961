"""The ResNet that CycleGAN and CUT translate with (Zhu et al. 2017, appendix; Park et al. 2020)."""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ganjax import ops
from ganjax.errors import UserError
from ganjax.nets.dcgan import Convolution, kernel_init, scale_init
from ganjax.nets.norms import NormKind, StatelessNorm

Resampling = Literal["strided", "resize", "antialiased"]
RESAMPLINGS = ("strided", "resize", "antialiased")
MULTIPLE = 4  # of which sides of images must be multiples
COMPARED_BLOCKS = (1, 5)  # whose outputs are among the features that CUT compares
FEATURES = 3 + len(COMPARED_BLOCKS)


class ResNetTranslator(nn.Module):
    """Images to images of the same size: down to 1/4, residual blocks, and up again.

    The published ResNet-9 has 11,378,179 parameters, the ResNet-6, for 128x128 images, 7,837,699:

    | layers             | kernel | channels | size |
    | ------------------ | ------ | -------- | ---- |
    | first              | 7x7    | 64       | 1    |
    | down_1, down_2     | 3x3    | 128, 256 | 1/4  |
    | block_1 to block_9 | 3x3    | 256      | 1/4  |
    | up_2, up_1         | 3x3    | 128, 64  | 1    |
    | last               | 7x7    | 3        | 1    |

    Normalization and ReLU follow each convolution but the last, which tanh follows, and the second
    of a block, to whose normalized output the block's input is added. The borders of `first`, of
    the blocks and of `last` are mirrored, the others padded with zeros.

    `resampling` says how the size changes; the parameters are the same:

    - "strided", as CycleGAN has it: a stride of 2, and its adjoint.
    - "resize": the way up is nearest-neighbor upsampling and a convolution, which leaves no
      checkerboards (Odena et al. 2016).
    - "antialiased", as CUT has it: a blur follows the convolutions down and precedes those up
      (Zhang 2019, arXiv:1904.11486).

    Normalization is by the images at hand, at test time too (`norms.StatelessNorm`), so that there
    are no variables but parameters. Convolutions have biases with "instance", though it removes
    them; with the others only the last one does.

    With `residual` the network gives what is added to the input, without tanh, as Shen and Liu have
    it (2017, arXiv:1612.05363, equation 1): changes of a part then leave the rest alone.

    Attributes:
      channels: of the output, and of the input with `residual`; 1, 3 or 4.
      width: channels of the first layer.
      blocks: number of residual blocks.
      resampling: see above.
      norm: "instance", without parameters, "batch" or "layer".
      dropout: share of a block's inner features that dropout sets to 0; 0 as CycleGAN has it.
      residual: see above.
      remat: keep no activations inside blocks, but compute them again on the way back.
      kernel_init: initializer of all kernels.
      dtype: of the computation; parameters are float32.
    """

    channels: int = 3
    width: int = 64
    blocks: int = 9
    resampling: Resampling = "strided"
    norm: NormKind = "instance"
    dropout: float = 0.0
    residual: bool = False
    remat: bool = False
    kernel_init: Any = kernel_init
    dtype: Any = jnp.float32

    multiple = MULTIPLE

    @nn.compact
    def __call__(
        self, images: Array, *, rng: Array | None = None, encode: bool = False
    ) -> Array | list[Array]:
        """Translates images.

        Args:
          images: [B, H, W, C] in [-1, 1]; H and W are multiples of 4.
          rng: key of the dropout; None for no dropout.
          encode: return the features instead that CUT compares: the mirrored image, what the
            convolutions `down_1` and `down_2` give, and what the blocks 1 and 5 give.

        Returns:
          [B, H, W, channels] in [-1, 1], or about that with `residual`, float32 at least; or
            features [B, h, w, C'].

        Raises:
          UserError: a side is no multiple of 4.
        """
        height, width = images.shape[1:3]
        if height % MULTIPLE or width % MULTIPLE:
            raise UserError(
                f"a ResNet takes sides that are multiples of {MULTIPLE}, not {height}x{width}: "
                "choose another size"
            )
        antialiased = self.resampling == "antialiased"
        fields = {"kernel_init": self.kernel_init, "dtype": self.dtype}
        convolve = partial(Convolution, use_bias=self.norm == "instance", **fields)

        def activate(x: Array, name: str) -> Array:
            return nn.relu(StatelessNorm(self.norm, scale_init, name=f"{name}_norm")(x))

        x = images.astype(self.dtype)
        features = [ops.pad_reflect(x, 3)] if encode else []
        x = convolve(self.width, 7, 1, reflect=True, name="first")(x)
        x = activate(x, "first")
        for n in (1, 2):
            strides = 1 if antialiased else 2
            x = convolve(self.width * 2**n, 3, strides, name=f"down_{n}")(x)
            features.append(x)
            x = activate(x, f"down_{n}")
            x = ops.blur_downsample(x) if antialiased else x
        make_block = nn.remat(_Block) if self.remat else _Block
        for n in range(1, self.blocks + 1):
            key = None if rng is None else jax.random.fold_in(rng, n)
            block = make_block(convolve, self.norm, self.dropout, name=f"block_{n}")
            x = block(x, key)
            features += [x] if n in COMPARED_BLOCKS else []
            if encode and len(features) == FEATURES:
                return features
        if encode:
            return features
        for n in (2, 1):
            name, wanted = f"up_{n}", self.width * 2 ** (n - 1)
            if antialiased:
                x = convolve(wanted, 3, 1, name=name)(ops.blur_upsample(x))
            else:
                resize = self.resampling == "resize"
                x = convolve(wanted, 3, transposed=not resize, resize=resize, name=name)(x)
            x = activate(x, name)
        last = Convolution(self.channels, 7, 1, use_bias=True, reflect=True, name="last", **fields)
        x = last(x).astype(jnp.promote_types(jnp.float32, self.dtype))
        return images + x if self.residual else jnp.tanh(x)


class _Block(nn.Module):
    """x + norm(conv(dropout(relu(norm(conv(x))))))."""

    convolve: Any
    norm: NormKind
    dropout: float

    @nn.compact
    def __call__(self, x: Array, rng: Array | None) -> Array:
        y = self.convolve(x.shape[-1], 3, 1, reflect=True, name="conv_1")(x)
        y = nn.relu(StatelessNorm(self.norm, scale_init, name="norm_1")(y))
        if rng is not None and self.dropout:
            kept = 1 - self.dropout
            y = jnp.where(jax.random.bernoulli(rng, kept, y.shape), y / kept, 0)
        y = self.convolve(x.shape[-1], 3, 1, reflect=True, name="conv_2")(y)
        return x + StatelessNorm(self.norm, scale_init, name="norm_2")(y)
