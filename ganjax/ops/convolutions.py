"""Exact fast forms of convolutions; NHWC images, HWIO kernels.

A strided convolution is one face of a form that is linear in each of image, kernel and output:

    form(image, kernel, output) = <convolve(image, kernel), output>

The gradient of any face is made of the two others, so that three functions, each in its fastest
form, give value and derivatives of every order (in reverse mode) for convolutions and transposed
convolutions alike. XLA's own derivative of a transposed convolution is some 40 times slower on
CPUs: it meets a filter gradient over a dilated input there.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ganjax.ops import winograd

LARGE_KERNEL = 2**16  # values from which on deep layers are products on CPUs
LARGE_OUTPUT = 2**20  # values of an image from which on filter gradients go image by image there

_Form = Callable[..., Array]


class _Geometry(NamedTuple):
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    image_size: tuple[int, ...]  # (H, W), as a slice of a shape
    kernel_size: tuple[int, ...]
    swapped: bool = False  # the kernel is [kh, kw, C_output, C_image], a transposed convolution's
    trained: bool = False  # derivatives are taken, by a program that will run for many steps


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
    geometry = _Geometry(strides, padding, image_size, kernel.shape[:2], swapped=True)
    return _adjoint(geometry, x, kernel)


def upsample_conv(x: Array, kernel: Array) -> Array:
    """`conv(upsample(x), kernel, padding=1)` of a 3x3 kernel in less than half of the products.

    No repeated pixels are in memory: it is a transposed convolution by a 4x4 kernel.

    Args:
      x: [B, H, W, C_in].
      kernel: [3, 3, C_in, C_out], summed in its own type, then cast to that of `x`.

    Returns:
      [B, 2H, 2W, C_out].
    """
    return conv_transpose(x, _add_shifted(kernel[::-1, ::-1]).astype(x.dtype), padding=1)


def conv_downsample(x: Array, kernel: Array) -> Array:
    """The 2x2 average-pool of `conv(x, kernel, padding=1)` in less than half of the products.

    It is a strided convolution by a 4x4 kernel.

    Args:
      x: [B, H, W, C_in] of even H and W.
      kernel: [3, 3, C_in, C_out], summed in its own type, then cast to that of `x`.

    Returns:
      [B, H / 2, W / 2, C_out].
    """
    return conv(x, (_add_shifted(kernel) / 4).astype(x.dtype), strides=2, padding=1)


def grouped_conv(x: Array, kernel: Array) -> Array:
    """3x3 convolution in groups of channels, padded by a zero, fast in every gradient.

    On CPUs it is one product of all patches in each group, some 20 times as fast as XLA's form.

    Args:
      x: [B, H, W, G * C_in].
      kernel: [3, 3, C_in, G * C_out]; group g takes channels g * C_in to (g + 1) * C_in.

    Returns:
      [B, H, W, G * C_out].
    """
    if kernel.shape[:2] != (3, 3) or x.shape[3] % kernel.shape[2]:
        raise ValueError(f"x and kernel [3, 3, C_in, ..] do not fit: {x.shape}, {kernel.shape}")
    return _convolve_groups(x.shape[3] // kernel.shape[2], x, kernel)


def _add_shifted(kernel: Array) -> Array:
    """The sum of a kernel [3, 3, ...] at the four places that it has within 4x4."""
    kernel = jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
    kernel = kernel[1:] + kernel[:-1]
    return kernel[:, 1:] + kernel[:, :-1]


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal


def _sides(padding: int | Sequence[Sequence[int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    (top, bottom), (left, right) = padding
    return (top, bottom), (left, right)


def _check_channels(x: Array, kernel: Array) -> None:
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            f"x [B, H, W, C_in] and kernel [kh, kw, C_in, C_out] do not fit: "
            f"{x.shape} and {kernel.shape}"
        )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(geometry: _Geometry, image: Array, kernel: Array) -> Array:
    plain = partial(_xla_convolve, geometry)
    channels, fast = _channels(geometry, kernel), plain
    if _is_wide(geometry, image, channels):
        fast = partial(_winograd, geometry)
    elif _is_deep(geometry, image, channels):
        fast = partial(_product, geometry)
    return _by_platform(fast, plain, image, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _adjoint(geometry: _Geometry, output: Array, kernel: Array) -> Array:
    dilated = partial(_transposed, _xla_convolve, geometry)
    strided = max(geometry.strides) > 1
    covered = all(k >= s for k, s in zip(geometry.kernel_size, geometry.strides, strict=True))
    channels, fast = _channels(geometry, kernel), dilated
    if _is_wide(geometry, output, channels, adjoint=True):
        fast = partial(_winograd_adjoint, geometry)
    elif _is_deep(geometry, output, channels):
        fast = partial(_transposed, _product, geometry)
    # Images of few channels make narrow convolutions of the phases, slower than the zeros are.
    # Other platforms have kernels of their own for the adjoint.
    elif strided and covered and channels[0] >= 8:
        fast = partial(_phased_adjoint, geometry)
    return _by_platform(fast, dilated, output, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _filter_gradient(geometry: _Geometry, image: Array, output: Array) -> Array:
    plain = partial(_xla_filter_gradient, geometry)
    channels, fast = (image.shape[3], output.shape[3]), plain
    if _is_wide(geometry, image, channels):
        fast = partial(_winograd_filter_gradient, geometry)
    # From jaxlib 0.11 on, filter gradients over few channels are four times as slow as a product.
    elif channels[0] <= 4 or _is_deep(geometry, image, channels):
        fast = partial(_patch_product, geometry)
    elif channels[1] <= 4 and geometry.strides == (1, 1):
        fast = partial(_turned_patch_product, geometry)
    elif 1 < len(image) <= 4 and output[0].size >= LARGE_OUTPUT:
        fast = partial(_filter_gradient_by_image, geometry)
    return _by_platform(fast, plain, image, output)


def _trained(face: Callable) -> Callable:
    """A rule of `jax.custom_vjp`, given the geometry of a form that derivatives are taken of."""
    return lambda geometry, *rest: face(geometry._replace(trained=True), *rest)


_convolve.defvjp(
    _trained(lambda geometry, *both: (_convolve(geometry, *both), both)),
    _trained(
        lambda geometry, both, output: (
            _adjoint(geometry, output, both[1]),
            _filter_gradient(geometry, both[0], output),
        )
    ),
)
_adjoint.defvjp(
    _trained(lambda geometry, *both: (_adjoint(geometry, *both), both)),
    _trained(
        lambda geometry, both, image: (
            _convolve(geometry, image, both[1]),
            _filter_gradient(geometry, image, both[0]),
        )
    ),
)
_filter_gradient.defvjp(
    _trained(lambda geometry, *both: (_filter_gradient(geometry, *both), both)),
    _trained(
        lambda geometry, both, kernel: (
            _adjoint(geometry, both[1], kernel),
            _convolve(geometry, both[0], kernel),
        )
    ),
)


def _by_platform(cpu: _Form, default: _Form, *arrays: Array) -> Array:
    if cpu is default:
        return default(*arrays)
    return lax.platform_dependent(*arrays, cpu=cpu, default=default)


def _is_wide(
    geometry: _Geometry, x: Array, channels: tuple[int, int], *, adjoint: bool = False
) -> bool:
    """Whether `winograd` has the convolution, or its adjoint, and is faster.

    Args:
      x: the images or the outputs.
      channels: of both.
    """
    form, size = (geometry.strides, geometry.kernel_size), geometry.kernel_size[0]
    if x.dtype != jnp.float32 or form not in (((1, 1), (3, 3)), ((2, 2), (4, 4))):
        return False
    sides = _output_size(geometry)
    if adjoint:  # of a kernel of 4x4, blocks of 2x2 pixels of the image
        sides = geometry.image_size if size == 3 else tuple(side + 1 for side in sides)
    return winograd.pays((len(x), *sides), size, channels, trained=geometry.trained)


def _is_deep(geometry: _Geometry, x: Array, channels: tuple[int, int]) -> bool:
    """Whether the patches of the images have at most four times as many values as the kernel.

    So it is in the deep layers of networks, of small images and many channels. There XLA's CPU
    convolutions take 1.2 to 3 times as long as one product of all patches, on single images of 2x2
    pixels 9 times. Small kernels are not worth the longer program.

    Args:
      x: the images or the outputs.
      channels: of both.
    """
    (height, width), (rows, columns) = _output_size(geometry), geometry.kernel_size
    large = rows * columns * channels[0] * channels[1] >= LARGE_KERNEL
    return large and len(x) * height * width <= 4 * channels[1]


def _output_size(geometry: _Geometry) -> tuple[int, ...]:
    return tuple(
        (size + low + high - k) // stride + 1
        for size, (low, high), k, stride in zip(
            geometry.image_size, geometry.padding, geometry.kernel_size, geometry.strides,
            strict=True,
        )
    )  # fmt: skip


def _channels(geometry: _Geometry, kernel: Array) -> tuple[int, int]:
    """Those of the image and of the output."""
    first, second = kernel.shape[2:]
    return (second, first) if geometry.swapped else (first, second)


def _xla_convolve(geometry: _Geometry, image: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        image,
        kernel.swapaxes(2, 3) if geometry.swapped else kernel,
        geometry.strides,
        geometry.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _xla_filter_gradient(geometry: _Geometry, image: Array, output: Array) -> Array:
    channels = image.shape[3], output.shape[3]
    kernel = jax.ShapeDtypeStruct(
        (*geometry.kernel_size, *(channels[::-1] if geometry.swapped else channels)), image.dtype
    )
    convolve = partial(_xla_convolve, geometry, image)
    return jax.linear_transpose(convolve, kernel)(output)[0]


def _filter_gradient_by_image(geometry: _Geometry, image: Array, output: Array) -> Array:
    """The sum over a few large images, each of which XLA has in the caches."""
    pairs = zip(jnp.split(image, len(image)), jnp.split(output, len(image)), strict=True)
    first, *rest = [_xla_filter_gradient(geometry, *pair) for pair in pairs]
    return sum(rest, first)


def _winograd(geometry: _Geometry, image: Array, kernel: Array) -> Array:
    kernel = kernel.swapaxes(2, 3) if geometry.swapped else kernel
    return winograd.convolve(image, kernel, geometry.padding)


def _winograd_adjoint(geometry: _Geometry, output: Array, kernel: Array) -> Array:
    kernel = kernel.swapaxes(2, 3) if geometry.swapped else kernel
    return winograd.adjoint(output, kernel, geometry.padding, geometry.image_size)


def _winograd_filter_gradient(geometry: _Geometry, image: Array, output: Array) -> Array:
    size = geometry.kernel_size[0]
    kernel = winograd.filter_gradient(image, output, geometry.padding, size)
    return kernel.swapaxes(2, 3) if geometry.swapped else kernel


def _patches(geometry: _Geometry, image: Array) -> list[Array]:
    """What each of the kernel's kh * kw places meets: [B, H', W', C_image]."""
    (rows, columns), (kh, kw) = geometry.strides, geometry.kernel_size
    image = lax.pad(
        image,
        jnp.zeros((), image.dtype),
        ((0, 0, 0), *((low, high, 0) for low, high in geometry.padding), (0, 0, 0)),
    )
    height, width = _output_size(geometry)
    return [
        image[
            :, y : y + (height - 1) * rows + 1 : rows, x : x + (width - 1) * columns + 1 : columns
        ]
        for y in range(kh)
        for x in range(kw)
    ]


def _by_place(geometry: _Geometry, image: Array) -> bool:
    """Whether a swapped kernel takes part as it is, in one product for each of its places.

    In one product of all patches it would have to be transposed, which takes longer than all else
    where the kernel is larger than what all its places meet.
    """
    height, width = _output_size(geometry)
    return geometry.swapped and image.shape[0] * height * width <= image.shape[3]


def _product(geometry: _Geometry, image: Array, kernel: Array) -> Array:
    """The convolution as one product: every patch of the image, times the kernel."""
    patches, highest = _patches(geometry, image), lax.Precision.HIGHEST
    if _by_place(geometry, image):
        places = kernel.reshape(-1, *kernel.shape[2:])
        return jnp.einsum("kbhwi,koi->kbhwo", jnp.stack(patches), places, precision=highest).sum(0)
    kernel = kernel.swapaxes(2, 3) if geometry.swapped else kernel
    kernel = kernel.reshape(-1, kernel.shape[3])
    return jnp.einsum("bhwi,io->bhwo", jnp.concatenate(patches, -1), kernel, precision=highest)


def _patch_product(geometry: _Geometry, image: Array, output: Array) -> Array:
    """The filter gradient as one product: every kernel's patch of the image, times `output`."""
    patches, highest = _patches(geometry, image), lax.Precision.HIGHEST
    if _by_place(geometry, image):
        outputs = jnp.broadcast_to(output, (len(patches), *output.shape))
        kernel = jnp.einsum("kbhwi,kbhwo->koi", jnp.stack(patches), outputs, precision=highest)
        return kernel.reshape(*geometry.kernel_size, output.shape[3], image.shape[3])
    kernel = jnp.einsum("bhwi,bhwo->io", jnp.concatenate(patches, -1), output, precision=highest)
    kernel = kernel.reshape(*geometry.kernel_size, image.shape[3], output.shape[3])
    return kernel.swapaxes(2, 3) if geometry.swapped else kernel


def _turned_patch_product(geometry: _Geometry, image: Array, output: Array) -> Array:
    """The same of stride 1 by the patches of `output`, which are smaller where it is narrow."""
    (rows, columns), ((top, bottom), (left, right)) = geometry.kernel_size, geometry.padding
    padding = (rows - 1 - top, rows - 1 - bottom), (columns - 1 - left, columns - 1 - right)
    turned = geometry._replace(padding=padding, image_size=output.shape[1:3], swapped=False)
    kernel = _patch_product(turned, output, image)[::-1, ::-1]
    return kernel if geometry.swapped else kernel.swapaxes(2, 3)


def _transposed(convolve: Any, geometry: _Geometry, output: Array, kernel: Array) -> Array:
    """The adjoint of a form of the convolution.

    That of `_xla_convolve` is one over `output` dilated with zeros; that of `_product` sums what
    belongs to one pixel of the image.
    """
    shape = (output.shape[0], *geometry.image_size, _channels(geometry, kernel)[0])
    image = jax.ShapeDtypeStruct(shape, output.dtype)
    return jax.linear_transpose(lambda image: convolve(geometry, image, kernel), image)(output)[0]


def _phased_adjoint(geometry: _Geometry, output: Array, kernel: Array) -> Array:
    """The adjoint without the zeros: one plain convolution for each phase of the strides.

    Row i of the image meets the kernel's rows t of one phase only, those for which i + padding - t
    is a multiple s * o of the stride; it is their sum over rows o of `output`. Columns likewise.
    """
    kernel = kernel if geometry.swapped else kernel.swapaxes(2, 3)
    rows, columns = (
        [_phase(stride, low + n, k) for n in range(stride)]
        for stride, (low, _), k in zip(
            geometry.strides, geometry.padding, geometry.kernel_size, strict=True
        )
    )
    height, width = (-(-n // s) for n, s in zip(geometry.image_size, geometry.strides, strict=True))

    def convolve(row: _Phase, column: _Phase) -> Array:
        padding = (
            (-row.start, height - 1 + row.start + row.size - output.shape[1]),
            (-column.start, width - 1 + column.start + column.size - output.shape[2]),
        )
        phase = _Geometry((1, 1), padding, output.shape[1:3], (row.size, column.size))
        taps = jnp.stack([jnp.stack([kernel[t, u] for u in column.taps]) for t in row.taps])
        return _xla_convolve(phase, output, taps)

    images = [jnp.stack([convolve(row, column) for column in columns], axis=3) for row in rows]
    shape = (output.shape[0], height * len(rows), width * len(columns), kernel.shape[3])
    image = jnp.stack(images, axis=2).reshape(shape)
    return image[:, : geometry.image_size[0], : geometry.image_size[1]]


class _Phase(NamedTuple):
    """Image index m * stride + n is the sum over j of taps[j] * output[m + start + j]."""

    taps: range
    start: int
    size: int


def _phase(stride: int, shifted: int, kernel_size: int) -> _Phase:
    """The phase of image index n, where `shifted` is n + the padding before it."""
    offset, first = divmod(shifted, stride)
    size = -(-(kernel_size - first) // stride)
    last = first + stride * (size - 1)
    return _Phase(range(last, -1, -stride), offset - size + 1, size)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve_groups(groups: int, image: Array, kernel: Array) -> Array:
    plain, product = partial(_xla_convolve_groups, groups), partial(_groups_product, groups)
    return lax.platform_dependent(image, kernel, cpu=product, default=plain)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _groups_filter_gradient(groups: int, image: Array, output: Array) -> Array:
    plain = partial(_xla_groups_filter_gradient, groups)
    product = partial(_groups_patch_product, groups)
    return lax.platform_dependent(image, output, cpu=product, default=plain)


def _convolve_groups_back(groups: int, output: Array, kernel: Array) -> Array:
    """The adjoint, which is a convolution by the kernel turned around."""
    height, width, inputs, _ = kernel.shape
    turned = kernel[::-1, ::-1].reshape(height, width, inputs, groups, -1).transpose(0, 1, 4, 3, 2)
    return _convolve_groups(groups, output, turned.reshape(height, width, -1, groups * inputs))


_convolve_groups.defvjp(
    lambda groups, image, kernel: (_convolve_groups(groups, image, kernel), (image, kernel)),
    lambda groups, residuals, output: (
        _convolve_groups_back(groups, output, residuals[1]),
        _groups_filter_gradient(groups, residuals[0], output),
    ),
)
_groups_filter_gradient.defvjp(
    lambda groups, image, output: (
        _groups_filter_gradient(groups, image, output),
        (image, output),
    ),
    lambda groups, residuals, kernel: (
        _convolve_groups_back(groups, residuals[1], kernel),
        _convolve_groups(groups, residuals[0], kernel),
    ),
)


def _xla_convolve_groups(groups: int, image: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        image,
        kernel,
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _xla_groups_filter_gradient(groups: int, image: Array, output: Array) -> Array:
    shape = (3, 3, image.shape[3] // groups, output.shape[3])
    convolve = partial(_xla_convolve_groups, groups, image)
    return jax.linear_transpose(convolve, jax.ShapeDtypeStruct(shape, image.dtype))(output)[0]


def _groups_product(groups: int, image: Array, kernel: Array) -> Array:
    kernel = kernel.reshape(9, kernel.shape[2], groups, -1)
    product = partial(jnp.einsum, "bhwtgi,tigo->bhwgo", precision=lax.Precision.HIGHEST)
    return product(_groups_patches(groups, image), kernel).reshape(*image.shape[:3], -1)


def _groups_patch_product(groups: int, image: Array, output: Array) -> Array:
    output = output.reshape(*output.shape[:3], groups, -1)
    product = partial(jnp.einsum, "bhwtgi,bhwgo->tigo", precision=lax.Precision.HIGHEST)
    kernel = product(_groups_patches(groups, image), output)
    return kernel.reshape(3, 3, kernel.shape[1], -1)


def _groups_patches(groups: int, image: Array) -> Array:
    """The 3x3 neighbors of every pixel, [B, H, W, 9, G, C]."""
    batch, height, width, channels = image.shape
    image = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [image[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    shape = (batch, height, width, 9, groups, channels // groups)
    return jnp.stack(shifted, axis=3).reshape(shape)
