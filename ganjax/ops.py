"""Exact fast forms of convolutions; NHWC images, HWIO kernels.

A strided convolution is one face of a form that is linear in each of image, kernel and output:

    form(image, kernel, output) = <convolve(image, kernel), output>

The gradient of any face is made of the two others, so that three functions, each in its fastest
form, give value and derivatives of every order (in reverse mode) for convolutions and transposed
convolutions alike. XLA's own derivative of a transposed convolution is some 40 times slower on
CPUs: it meets a filter gradient over a dilated input there.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class _Geometry(NamedTuple):
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    image_size: tuple[int, int]
    kernel_size: tuple[int, int]


def conv(
    x: Array,
    kernel: Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: int | Sequence[Sequence[int]] = 0,
) -> Array:
    """Strided convolution whose gradients of every order are fast.

    Args:
      x: [B, H, W, C_in].
      kernel: [kh, kw, C_in, C_out], unflipped (a cross-correlation, as in all of deep learning).
      strides: one for both axes, or (vertical, horizontal).
      padding: zeros; one for all sides, or ((top, bottom), (left, right)).

    Returns:
      [B, H', W', C_out] with H' = (H + top + bottom - kh) // stride + 1.
    """
    strides, padding = _pair(strides), _sides(padding)
    _check_channels(x, kernel)
    geometry = _Geometry(strides, padding, x.shape[1:3], kernel.shape[:2])
    return _convolve(geometry, x, kernel)


def conv_transpose(
    x: Array,
    kernel: Array,
    *,
    strides: int | Sequence[int] = 2,
    padding: int | Sequence[Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
) -> Array:
    """Transposed convolution: the exact adjoint of the strided one, fast in every gradient.

    The values are those of PyTorch's `conv_transpose2d`.

    Args:
      x: [B, H, W, C_in].
      kernel: [kh, kw, C_in, C_out]; unflipped, so that `kernel` with its last two axes swapped
        is the kernel of the strided convolution from [B, H', W', C_out] to [B, H, W, C_in].
      strides: one for both axes, or (vertical, horizontal).
      padding: of the strided convolution; one for all sides, or ((top, bottom), (left, right)).
      output_padding: rows and columns added at the bottom and right, each below its stride.

    Returns:
      [B, H', W', C_out] with H' = (H - 1) * stride + kh - top - bottom + output_padding.
    """
    strides, padding, extra = _pair(strides), _sides(padding), _pair(output_padding)
    _check_channels(x, kernel)
    if any(not 0 <= e < stride for e, stride in zip(extra, strides, strict=True)):
        raise ValueError(f"output_padding {extra} must be below strides {strides}")
    image_size = tuple(
        (size - 1) * stride + k - sum(sides) + e
        for size, stride, k, sides, e in zip(
            x.shape[1:3], strides, kernel.shape[:2], padding, extra, strict=True
        )
    )
    if min(image_size) < 1:
        raise ValueError(f"padding {padding} leaves nothing of the output: {image_size}")
    geometry = _Geometry(strides, padding, image_size, kernel.shape[:2])
    return _adjoint(geometry, x, kernel.swapaxes(2, 3))


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _sides(padding: int | Sequence[Sequence[int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    return tuple((low, high) for low, high in padding)


def _check_channels(x: Array, kernel: Array) -> None:
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            f"x [B, H, W, C_in] and kernel [kh, kw, C_in, C_out] do not fit: "
            f"{x.shape} and {kernel.shape}"
        )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(geometry: _Geometry, image: Array, kernel: Array) -> Array:
    return _xla_convolve(geometry, image, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _adjoint(geometry: _Geometry, output: Array, kernel: Array) -> Array:
    dilated = partial(_dilated_adjoint, geometry)
    if geometry[:2] != ((2, 2), ((1, 1), (1, 1))) or geometry.kernel_size != (4, 4):
        return dilated(output, kernel)
    if geometry.image_size != tuple(2 * size for size in output.shape[1:3]):
        return dilated(output, kernel)
    # Other platforms have kernels of their own for the adjoint.
    return lax.platform_dependent(output, kernel, cpu=_subpixel_adjoint, default=dilated)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _filter_gradient(geometry: _Geometry, image: Array, output: Array) -> Array:
    kernel = jax.ShapeDtypeStruct(
        (*geometry.kernel_size, image.shape[3], output.shape[3]), image.dtype
    )
    convolve = partial(_xla_convolve, geometry, image)
    return jax.linear_transpose(convolve, kernel)(output)[0]


_convolve.defvjp(
    lambda geometry, image, kernel: (_convolve(geometry, image, kernel), (image, kernel)),
    lambda geometry, residuals, output: (
        _adjoint(geometry, output, residuals[1]),
        _filter_gradient(geometry, residuals[0], output),
    ),
)
_adjoint.defvjp(
    lambda geometry, output, kernel: (_adjoint(geometry, output, kernel), (output, kernel)),
    lambda geometry, residuals, image: (
        _convolve(geometry, image, residuals[1]),
        _filter_gradient(geometry, image, residuals[0]),
    ),
)
_filter_gradient.defvjp(
    lambda geometry, image, output: (_filter_gradient(geometry, image, output), (image, output)),
    lambda geometry, residuals, kernel: (
        _adjoint(geometry, residuals[1], kernel),
        _convolve(geometry, residuals[0], kernel),
    ),
)


def _xla_convolve(geometry: _Geometry, image: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        image,
        kernel,
        geometry.strides,
        geometry.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _dilated_adjoint(geometry: _Geometry, output: Array, kernel: Array) -> Array:
    """The adjoint as XLA has it: a convolution over `output` dilated with zeros."""
    image = jax.ShapeDtypeStruct(
        (output.shape[0], *geometry.image_size, kernel.shape[2]), output.dtype
    )
    convolve = partial(_xla_convolve, geometry, kernel=kernel)
    return jax.linear_transpose(lambda image: convolve(image), image)(output)[0]


def _subpixel_adjoint(output: Array, kernel: Array) -> Array:
    """The adjoint of a 4x4 convolution of stride 2 and padding 1, without the zeros.

    Every second row of the image depends on two rows of `output` through two rows of the kernel:
    even rows 2i on i - 1 and i through kernel rows 3 and 1, odd rows 2i + 1 on i and i + 1 through
    2 and 0; columns likewise. One 2x2 convolution computes the four parities as its channels.
    """
    batch, height, width, _ = output.shape
    channels_image, channels_output = kernel.shape[2:]
    taps = kernel[::-1, ::-1].reshape(2, 2, 2, 2, channels_image, channels_output)
    taps = taps.transpose(0, 2, 5, 1, 3, 4).reshape(2, 2, channels_output, 4 * channels_image)
    geometry = _Geometry((1, 1), ((1, 1), (1, 1)), (height, width), (2, 2))
    parities = _xla_convolve(geometry, output, taps)
    parities = parities.reshape(batch, height + 1, width + 1, 2, 2, channels_image)
    rows = [
        jnp.stack([parities[:, y : y + height, x : x + width, y, x] for x in (0, 1)], axis=3)
        for y in (0, 1)
    ]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, channels_image)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def pad_reflect(x: Array, width: int) -> Array:
    """Mirrors `width` pixels at each border of [B, H, W, C], without repeating the border itself.

    Sides shorter than `width` + 1 pixels are mirrored again and again. XLA's own derivative copies
    the whole image several times; this one is six times as fast on CPUs.
    """
    return jnp.pad(x, ((0, 0), (width, width), (width, width), (0, 0)), mode="reflect")


def _fold_back(width: int, _: None, padded: Array) -> tuple[Array]:
    batch, *sides, channels = padded.shape
    if min(sides) < 4 * width + 2:  # the mirrored borders overlap
        pads = ((0, 0), (width, width), (width, width), (0, 0))
        shape = (batch, *(side - 2 * width for side in sides), channels)
        image = jax.ShapeDtypeStruct(shape, padded.dtype)
        return jax.linear_transpose(lambda x: jnp.pad(x, pads, mode="reflect"), image)(padded)
    for axis in (1, 2):
        part, end = partial(lax.slice_in_dim, padded, axis=axis), padded.shape[axis]
        low = part(width + 1, 2 * width + 1) + lax.rev(part(0, width), (axis,))
        high = part(end - 2 * width - 1, end - width - 1) + lax.rev(part(end - width, end), (axis,))
        first, last = part(width, width + 1), part(end - width - 1, end - width)
        middle = part(2 * width + 1, end - 2 * width - 1)
        padded = jnp.concatenate([first, low, middle, high, last], axis)
    return (padded,)


pad_reflect.defvjp(lambda x, width: (pad_reflect(x, width), None), _fold_back)


def max_pool(x: Array) -> Array:
    """2x2 max-pool of [B, H, W, C] to [B, ceil(H / 2), ceil(W / 2), C].

    As the maximum of four slices: on CPUs twice as fast as a window reduction, whose gradient is
    slower still.
    """
    height, width = x.shape[1:3]
    if height % 2 or width % 2:
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def upsample(x: Array) -> Array:
    """Nearest-neighbour upsampling of [B, H, W, C] to [B, 2H, 2W, C]."""
    batch, height, width, channels = x.shape
    shape = (batch, height, 2, width, 2, channels)
    return jnp.broadcast_to(x[:, :, None, :, None], shape).reshape(
        batch, 2 * height, 2 * width, channels
    )


def space_to_depth(x: Array) -> Array:
    """[B, H, W, C] to [B, H / 2, W / 2, 4 C]: each 2x2 block becomes the channels of a pixel."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, 4 * channels)


def depth_to_space(x: Array) -> Array:
    """The inverse of `space_to_depth`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, 2, 2, channels // 4)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels // 4)


def shrink(x: Array, size: tuple[int, int]) -> Array:
    """Area-averages [B, H, W, C] to `size`, (H / k, W / k) with a whole k for either side."""
    batch, _, _, channels = x.shape
    height, width = size
    blocks = x.reshape(batch, height, x.shape[1] // height, width, x.shape[2] // width, channels)
    return blocks.mean(axis=(2, 4))
