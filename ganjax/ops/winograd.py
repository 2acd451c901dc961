"""Convolutions by less than half of the products, for CPUs: Winograd's minimal filtering.

Lavin and Gray 2015, arXiv:1509.09308. A tile of 4x4 outputs of a 3x3 convolution sees 6x6 pixels.
Pixels and kernels are transformed to 6x6 values each; their products, sums over channels, are
transformed back:

    outputs = A^T [(G kernel G^T) * (B^T pixels B)] A

36 products take the place of 144. A 4x4 convolution of stride 2 is a 2x2 convolution of the blocks
of 2x2 pixels, whose tiles have 5x5 values: 25 products take the place of 64.

Rounding errors are a few times those of a plain convolution.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ganjax.ops.resampling import depth_to_space, space_to_depth

TILE = 4
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # half the error of 0, 1, -1, 2 and -2
LARGE = 4e9  # products of a layer that takes some 40 ms
PART = 256  # tiles that are worked on at a time, so that their values stay in the caches

Padding = Sequence[Sequence[int]]
_NONE = ((0, 0), (0, 0))


def pays(
    outputs: Sequence[int], kernel_size: int, channels: Sequence[int], *, trained: bool
) -> bool:
    """Whether a convolution by a k x k kernel is faster so; measured on AVX-512.

    Narrow layers spend their time on the transforms, small images on those of the kernel, and odd
    sizes on tiles that are partly empty. Compilation takes half a second longer, which a program
    that does not train gets back by large layers alone.

    Args:
      outputs: [B, H, W] of what the tiles make up.
      channels: of the image and of the output.
      trained: derivatives are taken of the convolution.
    """
    batch, height, width = outputs
    parts, pixels = _Parts.of(batch, height, width), batch * height * width
    if not trained and pixels * kernel_size**2 * channels[0] * channels[1] < LARGE:
        return False
    tiles = parts.images * parts.rows * parts.columns
    full = tiles * parts.total * TILE**2 <= 1.35 * pixels
    return min(channels) >= {3: 32, 4: 48}[kernel_size] and tiles >= 32 and full


def convolve(image: Array, kernel: Array, padding: Padding) -> Array:
    """The convolution by a 3x3 kernel, or by a 4x4 kernel with a stride of 2.

    Args:
      image: [B, H, W, C].
      kernel: [k, k, C, K].
      padding: zeros, ((top, bottom), (left, right)).

    Returns:
      [B, H', W', K], H' = H + top + bottom - 2, or (H + top + bottom - 4) // 2 + 1.
    """
    if len(kernel) == 4:
        return _convolve(_blocks(image, padding), _blocks_of_kernel(kernel), _NONE)
    return _convolve(image, kernel, padding)


def adjoint(output: Array, kernel: Array, padding: Padding, image_size: Sequence[int]) -> Array:
    """The gradient of <convolve(image, kernel, padding), output> by the image, [B, H, W, C]."""
    if len(kernel) == 3:
        return _convolve(output, kernel, [[2 - n for n in sides] for sides in padding], True)
    blocks = _convolve(output, _blocks_of_kernel(kernel), ((1, 1), (1, 1)), True)
    image = depth_to_space(blocks)
    sides = zip(padding, image_size, image.shape[1:3], strict=True)
    return _pad(image, [(-low, low + wanted - size) for (low, _), wanted, size in sides])


def filter_gradient(image: Array, output: Array, padding: Padding, size: int) -> Array:
    """The gradient of <convolve(image, kernel, padding), output> by the kernel, [k, k, C, K]."""
    if size == 3:
        return _filter_gradient(image, output, padding, 3)
    found = _filter_gradient(_blocks(image, padding), output, _NONE, 2)
    found = found.reshape(2, 2, 2, 2, image.shape[3], output.shape[3])
    return found.transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, *found.shape[-2:])


def _pad(x: Array, padding: Padding) -> Array:
    """`x` with zeros around it, or, where padding is negative, without its borders."""
    sides = [(low, high, 0) for low, high in padding]
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *sides, (0, 0, 0)))


def _blocks(image: Array, padding: Padding) -> Array:
    """The 2x2 blocks of padded pixels that 4x4 kernels meet, [B, H / 2, W / 2, 4 C]."""
    sides = zip(padding, image.shape[1:3], strict=True)
    even = [(low, high - (low + size + high) % 2) for (low, high), size in sides]
    return space_to_depth(_pad(image, even))


def _blocks_of_kernel(kernel: Array) -> Array:
    """[4, 4, C, K] as [2, 2, 4 C, K], what each block of 2x2 pixels meets."""
    inputs, outputs = kernel.shape[2:]
    kernel = kernel.reshape(2, 2, 2, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(2, 2, 4 * inputs, outputs)


class _Transforms(NamedTuple):
    """The matrices of a kernel's size r, n = r + 3: B^T [n, n], G [n, r] and A^T [4, n].

    Polynomials are multiplied by their values at n points. The last point is infinity, where the
    value of a polynomial is its last coefficient.
    """

    pixels: np.ndarray
    kernel: np.ndarray
    outputs: np.ndarray

    @classmethod
    def of(cls, size: int) -> "_Transforms":
        values = TILE + size - 1
        points, last = np.array(POINTS[: values - 1]), np.eye(values)[-1:]
        others = [np.delete(points, n) for n in range(len(points))]
        pixels = [np.append(np.poly(other)[::-1], 0) for other in others] + [np.poly(points)[::-1]]
        scales = np.array([np.prod(p - other) for p, other in zip(points, others, strict=True)])
        kernel = np.vander(points, size, increasing=True) / scales[:, None]
        outputs = np.vander(points, TILE, increasing=True)
        return cls(
            np.array(pixels),
            np.concatenate([kernel, last[:, -size:]]),
            np.concatenate([outputs, last[:, -TILE:]]).T,
        )


class _Parts(NamedTuple):
    """How images are divided: some images at a time or, where one is large, bands of its rows."""

    batch: int
    height: int  # of outputs
    width: int
    images: int  # of a part
    rows: int  # of tiles, in a part
    columns: int
    bands: int  # of an image

    @classmethod
    def of(cls, batch: int, height: int, width: int) -> "_Parts":
        rows, columns = -(-height // TILE), -(-width // TILE)
        most = max(1, PART // (rows * columns))
        images = max(n for n in range(1, min(batch, most) + 1) if batch % n == 0)
        at_once = -(-rows // max(1, round(rows * columns / PART)))
        return cls(batch, height, width, images, at_once, columns, -(-rows // at_once))

    @property
    def total(self) -> int:
        return self.batch // self.images * self.bands

    def pad(self, x: Array, padding: Padding) -> Array:
        """Pads images, and fills up their last tiles."""
        fills = self.bands * self.rows * TILE - self.height, self.columns * TILE - self.width
        sides = zip(padding, fills, strict=True)
        return _pad(x, [(low, high + fill) for (low, high), fill in sides])

    def values(self, x: Array, part: Array | int, transform: np.ndarray) -> list[Array]:
        """Those of a part's tiles, a list over their columns: [n over their rows, tiles, C]."""
        (values, size), channels = transform.shape, x.shape[-1]
        if self.total > 1:
            shape = self.images, self.rows * TILE + size - TILE, x.shape[2], channels
            first, band = part // self.bands * self.images, part % self.bands
            x = lax.dynamic_slice(x, (first, band * self.rows * TILE, 0, 0), shape)
        x = jnp.stack(_mix(transform, _every_fourth(x, 1, size, self.rows)))
        columns = _mix(transform, _every_fourth(x, 3, size, self.columns))
        return [column.reshape(values, -1, channels) for column in columns]


_product = partial(jnp.einsum, precision=lax.Precision.HIGHEST)


def _convolve(image: Array, kernel: Array, padding: Padding, turned: bool = False) -> Array:
    """The convolution, or that by the kernel turned around, [k, k, K, C]."""
    size, outputs = len(kernel), kernel.shape[2 if turned else 3]
    sides = [n + sum(p) - size + 1 for n, p in zip(image.shape[1:3], padding, strict=True)]
    transforms, parts = _Transforms.of(size), _Parts.of(len(image), *sides)
    image = parts.pad(image, padding)
    # The transform is turned, and the product reads the kernel across: no copy of it is turned.
    transform = transforms.kernel[:, ::-1] if turned else transforms.kernel
    subscripts = "nti,noi->nto" if turned else "nti,nio->nto"
    weights = _mix(transform, jnp.stack(_mix(transform, kernel)).swapaxes(0, 1))

    def work(part: Array | int) -> Array:
        values = parts.values(image, part, transforms.pixels)
        products = [_product(subscripts, *pair) for pair in zip(values, weights, strict=True)]
        rows = jnp.stack(_mix(transforms.outputs, products), 2)
        rows = rows.reshape(len(rows), parts.images, parts.rows, 1, -1, outputs)
        found = jnp.concatenate(_mix(transforms.outputs, rows), 2)
        return found.reshape(parts.images, parts.rows * TILE, -1, outputs)

    found = work(0) if parts.total == 1 else lax.map(work, jnp.arange(parts.total))
    found = found.reshape(parts.batch, -1, *found.shape[-2:])
    return found[:, : parts.height, : parts.width]


def _filter_gradient(image: Array, output: Array, padding: Padding, size: int) -> Array:
    transforms, parts = _Transforms.of(size), _Parts.of(*output.shape[:3])
    image, output = parts.pad(image, padding), parts.pad(output, _NONE)

    def work(part: Array | int) -> Array:
        pixels = parts.values(image, part, transforms.pixels)
        outputs = parts.values(output, part, transforms.outputs.T)
        found = [_product("nti,nto->nio", *pair) for pair in zip(pixels, outputs, strict=True)]
        return jnp.stack(found)

    found = work(0)
    if parts.total > 1:
        found = lax.fori_loop(1, parts.total, lambda part, total: total + work(part), found)
    columns = jnp.stack(_mix(transforms.kernel.T, found))
    return jnp.stack(_mix(transforms.kernel.T, columns.swapaxes(0, 1)))


def _every_fourth(x: Array, axis: int, taps: int, count: int) -> list[Array]:
    """For each tap n, the `count` slices n, n + 4, n + 8, ... of an axis."""
    last = TILE * (count - 1) + 1
    return [lax.slice_in_dim(x, n, n + last, TILE, axis) for n in range(taps)]


def _mix(matrix: np.ndarray, x: Sequence[Array] | Array) -> list[Array]:
    """matrix @ x over the first axis of `x`, without the products by zeros."""

    def row(weights: np.ndarray) -> Array:
        terms = [part * float(w) for w, part in zip(weights, x, strict=True) if w]
        return sum(terms[1:], terms[0])

    return [row(weights) for weights in matrix]
