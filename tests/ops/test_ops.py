"""Fast forms against sums written out in float64, and every derivative of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ganjax import ops
from ganjax.ops import convolutions, winograd

# Kernel, strides, padding, output padding.
GEOMETRIES = [
    ((4, 4), 2, 1, 0),
    ((5, 5), 2, 2, 1),
    ((3, 3), 1, 1, 0),
    ((4, 4), 1, 0, 0),
    ((3, 2), (2, 3), ((1, 0), (0, 1)), (1, 0)),
    ((5, 4), (3, 2), ((2, 1), (1, 1)), (2, 1)),
    ((2, 2), 2, 0, 0),
    ((4, 4), 2, 1, 1),
    ((1, 3), 2, 0, 0),
]
WIDE = 9  # channels of an image from which on its adjoint is computed phase by phase on CPUs
DEEP = 40  # channels of an output that make one product of all patches on CPUs


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    monkeypatch.setattr(convolutions, "LARGE_KERNEL", 0)  # as if small kernels were large ones
    monkeypatch.setattr(convolutions, "LARGE_OUTPUT", 0)  # as if small images were large ones
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


def _pairs(strides, padding, extra):
    pair = lambda v: (v, v) if isinstance(v, int) else v  # noqa: E731
    sides = ((padding,) * 2,) * 2 if isinstance(padding, int) else padding
    return pair(strides), sides, pair(extra)


def scatter(x, kernel, strides, padding, extra):
    """The transposed convolution by its definition: each pixel paints a scaled kernel."""
    strides, sides, extra = _pairs(strides, padding, extra)
    batch, height, width, _ = x.shape
    kh, kw, _, channels = kernel.shape
    rows = (height - 1) * strides[0] + kh + extra[0]
    columns = (width - 1) * strides[1] + kw + extra[1]
    canvas = np.zeros((batch, rows, columns, channels))
    for i, j in itertools.product(range(height), range(width)):
        top, left = i * strides[0], j * strides[1]
        canvas[:, top : top + kh, left : left + kw] += np.einsum(
            "bc,hwcd->bhwd", x[:, i, j], kernel
        )
    (top, bottom), (left, right) = sides
    return canvas[:, top : canvas.shape[1] - bottom, left : canvas.shape[2] - right]


def gather(x, kernel, strides, padding):
    """The strided convolution by its definition."""
    strides, sides, _ = _pairs(strides, padding, 0)
    x = np.pad(x, ((0, 0), *sides, (0, 0)))
    kh, kw = kernel.shape[:2]
    height = (x.shape[1] - kh) // strides[0] + 1
    width = (x.shape[2] - kw) // strides[1] + 1
    output = np.empty((len(x), height, width, kernel.shape[3]))
    for i, j in itertools.product(range(height), range(width)):
        top, left = i * strides[0], j * strides[1]
        output[:, i, j] = np.einsum("bhwc,hwcd->bd", x[:, top : top + kh, left : left + kw], kernel)
    return output


def _draw(size, kernel, channels=(3, 2)):
    rng = np.random.default_rng(5)
    return rng.normal(size=(2, *size, channels[0])), rng.normal(size=(*kernel, *channels))


@pytest.mark.parametrize(("kernel", "strides", "padding", "extra"), GEOMETRIES)
@pytest.mark.parametrize(
    ("size", "channels"),
    [((4, 4), (3, 2)), ((3, 5), (2, WIDE)), ((3, 5), (DEEP, 2)), ((3, 5), (DEEP, DEEP))],
)
def test_conv_transpose_is_its_definition(size, kernel, strides, padding, extra, channels):
    x, k = _draw(size, kernel, channels)
    got = ops.conv_transpose(x, k, strides=strides, padding=padding, output_padding=extra)
    np.testing.assert_allclose(got, scatter(x, k, strides, padding, extra), atol=1e-12)


@pytest.mark.parametrize(("kernel", "strides", "padding", "extra"), GEOMETRIES)
@pytest.mark.parametrize("channels", [(3, 2), (2, DEEP)])
def test_conv_is_its_definition(kernel, strides, padding, extra, channels):
    x, k = _draw((9, 8), kernel, channels)
    got = ops.conv(x, k, strides=strides, padding=padding)
    np.testing.assert_allclose(got, gather(x, k, strides, padding), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [(1, WIDE), (6, 2), (6, 24)])
@pytest.mark.parametrize(("kernel", "strides", "padding", "extra"), GEOMETRIES)
def test_derivatives_to_the_second_order(kernel, strides, padding, extra, channels):
    x, k = map(jnp.asarray, _draw((3, 4), kernel, channels))
    options = {"strides": strides, "padding": padding, "output_padding": extra}
    check_grads(lambda *a: ops.conv_transpose(*a, **options), (x, k), 2, modes=["rev"])
    x, k = map(jnp.asarray, _draw((7, 6), kernel, channels[::-1]))
    check_grads(lambda *a: ops.conv(*a, strides=strides, padding=padding), (x, k), 2, modes=["rev"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "extra", "channels"),
    [
        *((*geometry, channels) for geometry in GEOMETRIES for channels in [(3, 2), (WIDE, 2)]),
        *((*geometry, (2, DEEP)) for geometry in GEOMETRIES[2:6]),
    ],
)
def test_gradients_equal_those_of_the_plain_form(kernel, strides, padding, extra, channels):
    """And so do gradients of gradient penalties, which WGAN-GP and R1 take."""
    strides, sides, _ = _pairs(strides, padding, extra)
    x, k = map(jnp.asarray, _draw((8, 7), kernel, channels))

    def plain(x, k):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, k, strides, sides, dimension_numbers=layout)

    def ours(x, k):
        return ops.conv(x, k, strides=strides, padding=sides)

    def penalty(conv):
        def loss(x, k):
            slope = jax.grad(lambda x: jnp.sum(jnp.tanh(conv(x, k))))(x)
            return jnp.sum(slope**2) + jnp.sum(conv(x, k) ** 3)

        return jax.grad(loss, (0, 1))(x, k)

    for a, b in zip(penalty(ours), penalty(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


# Kernel, strides, size of an image and padding; images of several parts, tiles that are not full.
WINOGRAD = [
    (3, 1, (3, 13, 18), 1),
    (3, 1, (1, 37, 23), ((0, 2), (3, 1))),
    (3, 1, (12, 6, 7), 0),
    (4, 2, (3, 27, 34), 1),
    (4, 2, (1, 78, 41), ((0, 2), (3, 1))),
    (4, 2, (12, 9, 12), ((0, 0), (1, 2))),
]


@pytest.mark.slow
@pytest.mark.parametrize("inside", ["conv", "conv_transpose"])
@pytest.mark.parametrize(("size", "strides", "shape", "padding"), WINOGRAD)
def test_winograds_products_are_those_of_the_plain_form(
    monkeypatch, size, strides, shape, padding, inside
):
    """Values, gradients and the gradients of penalties."""
    monkeypatch.setattr(winograd, "PART", 16)
    monkeypatch.setattr(convolutions, "_is_wide", lambda *_, **__: True)
    x, k = _image(*shape, 3), _image(size, size, 3, 2)
    _, sides, _ = _pairs(strides, padding, 0)

    def plain(x, k):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, k, (strides,) * 2, sides, dimension_numbers=layout)

    def ours(x, k):
        return ops.conv(x, k, strides=strides, padding=padding)

    def plain_back(y, k):
        image = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.linear_transpose(lambda x: plain(x, k.swapaxes(2, 3)), image)(y)[0]

    def ours_back(y, k):
        extra = [(n + sum(p) - size) % strides for n, p in zip(x.shape[1:3], sides, strict=True)]
        return ops.conv_transpose(y, k, strides=strides, padding=padding, output_padding=extra)

    def penalty(run, x, k):
        def loss(x, k):
            slope = jax.grad(lambda x: jnp.sum(jnp.tanh(run(x, k))))(x)
            return jnp.sum(slope**2) + jnp.sum(run(x, k) ** 3)

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(x, k)

    if inside == "conv":
        pairs = penalty(ours, x, k), penalty(plain, x, k)
    else:
        y, k = _image(*plain(x, k).shape), k.swapaxes(2, 3)
        pairs = penalty(ours_back, y, k), penalty(plain_back, y, k)
    for a, b in zip(*map(jax.tree.leaves, pairs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "strides"), [(3, 1), (4, 2)])
def test_winograds_rounding_errors_are_small(size, strides):
    """In float32, of the layers that it is chosen for: below 1e-5 of the largest value."""
    x, k = _image(1, 32 * strides, 32 * strides, 128), _image(size, size, 128, 128)
    geometry = convolutions._Geometry(
        (strides,) * 2, ((1, 1), (1, 1)), x.shape[1:3], k.shape[:2], trained=True
    )
    assert convolutions._is_wide(geometry, x.astype(np.float32), (128, 128))
    assert not convolutions._is_wide(geometry, x, (128, 128))  # float64 keeps its digits
    # Inference of one small image is not worth the longer compilation.
    once = geometry._replace(trained=False)
    assert not convolutions._is_wide(once, x.astype(np.float32), (128, 128))

    def run(x, k):
        return jax.vjp(lambda x, k: ops.conv(x, k, strides=strides, padding=1), x, k)

    half = x.astype(np.float32), k.astype(np.float32)
    (y, pull), (got, pull_half) = run(x, k), run(*half)
    for a, b in zip((got, *pull_half(got)), (y, *pull(y)), strict=True):
        assert np.abs(np.asarray(a) - np.asarray(b)).max() < 1e-5 * np.abs(b).max()


@pytest.mark.slow
def test_bfloat16_stays_bfloat16_and_batching_changes_nothing():
    x, k = _draw((4, 4), (4, 4))
    half = [jnp.asarray(v, jnp.bfloat16) for v in (x, k)]

    def run(x, k):
        return ops.conv_transpose(x, k, padding=1)

    y, pull = jax.vjp(run, *half)
    assert {v.dtype for v in (y, *pull(y))} == {jnp.dtype(jnp.bfloat16)}
    mapped = jax.jit(jax.vmap(lambda x: run(x[None], k)[0]))(x)
    np.testing.assert_allclose(mapped, run(x, k), atol=1e-12)


def test_wrong_shapes_are_refused():
    x, k = _draw((4, 4), (4, 4))
    with pytest.raises(ValueError, match="do not fit"):
        ops.conv(x[..., :2], k)
    with pytest.raises(ValueError, match="below strides"):
        ops.conv_transpose(x, k, output_padding=2)
    with pytest.raises(ValueError, match="leaves nothing"):
        ops.conv_transpose(x[:, :1, :1], k, padding=2)


def _image(*shape):
    return jnp.asarray(np.random.default_rng(3).normal(size=shape))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "width"), [((3, 5), 1), ((4, 7), 1), ((2, 3), 4), ((12, 9), 2), ((12, 9), 4)]
)
def test_pad_reflect_is_numpys_also_where_mirror_images_overlap(size, width):
    x = _image(2, *size, 3)
    sides = ((0, 0), (width, width), (width, width), (0, 0))
    np.testing.assert_array_equal(ops.pad_reflect(x, width), np.pad(x, sides, mode="reflect"))

    weights = _image(2, size[0] + 2 * width, size[1] + 2 * width, 3)

    def penalty(pad):
        """A gradient, and the gradient of a gradient."""

        def loss(x):
            slope = jax.grad(lambda x: jnp.sum(jnp.sin(pad(x)) * weights))(x)
            return jnp.sum(slope**2) + jnp.sum(pad(x) * weights)

        return jax.jit(jax.grad(loss))

    plain = penalty(lambda x: jnp.pad(x, sides, mode="reflect"))
    np.testing.assert_allclose(penalty(lambda x: ops.pad_reflect(x, width))(x), plain(x), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 3), (1, 1)])
def test_max_pool_is_pytorchs_in_ceil_mode(size):
    """Windows that reach over the edge hold what there is of them."""
    x = _image(2, *size, 3) - 5  # all negative: zeros from padding would win
    height, width = (-(-side // 2) for side in size)
    wanted = np.empty((2, height, width, 3))
    for i, j in itertools.product(range(height), range(width)):
        wanted[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
    np.testing.assert_array_equal(ops.max_pool(x), wanted)

    def plain(x):
        padding = ((0, 0), (0, size[0] % 2), (0, size[1] % 2), (0, 0))
        window = (1, 2, 2, 1)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, padding)

    got, slopes = (
        jax.grad(lambda x, pool=p: jnp.sum(pool(x) ** 3))(x) for p in (ops.max_pool, plain)
    )
    np.testing.assert_allclose(got, slopes, rtol=1e-12)


def test_max_pool_shares_the_gradient_among_equals():
    """Where PyTorch gives it all to the first; behind a ReLU, ties are zeros and get none."""
    slope = jax.grad(lambda x: jnp.sum(ops.max_pool(x)))(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(slope, np.full((1, 2, 2, 1), 0.25))
    slope = jax.grad(lambda x: jnp.sum(ops.max_pool(jax.nn.relu(x))))(jnp.zeros((1, 2, 2, 1)))
    assert not slope.any()


def test_upsample_repeats():
    x = _image(2, 3, 5, 4)
    np.testing.assert_array_equal(ops.upsample(x), x.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_array_equal(ops.upsample(x, 3), x.repeat(3, axis=1).repeat(3, axis=2))
    check_grads(ops.upsample, (x[:1],), 1, modes=["rev"])


def test_space_to_depth_takes_blocks_and_depth_to_space_gives_them_back():
    x = _image(2, 6, 4, 3)
    blocks = ops.space_to_depth(x)
    assert blocks.shape == (2, 3, 2, 12)
    for row, column in itertools.product(range(3), range(2)):
        block = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(blocks[:, row, column], block.reshape(2, 12))
    np.testing.assert_array_equal(ops.depth_to_space(blocks), x)
    blocks = np.arange(2 * 9 * 2).reshape(1, 1, 2, 3, 3, 2)
    wide = ops.depth_to_space(jnp.asarray(blocks.reshape(1, 1, 2, 18)), 3)
    np.testing.assert_array_equal(wide[0], np.concatenate(list(blocks[0, 0]), axis=1))


def test_shrink_averages_areas():
    mask = jnp.abs(_image(2, 12, 8, 1))
    small = ops.shrink(mask, (3, 4))
    assert small.shape == (2, 3, 4, 1)
    for row, column in itertools.product(range(3), range(4)):
        area = mask[:, 4 * row : 4 * row + 4, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(small[:, row, column], area.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(ops.shrink(mask, (12, 8)), mask)
    masks = jnp.stack([mask, 1 - mask])  # shares of styles still make up one
    shrunk = jax.vmap(lambda m: ops.shrink(m, (6, 4)))(masks)
    np.testing.assert_allclose(shrunk.sum(0), 1, rtol=1e-12)


@pytest.mark.parametrize("size", [(6, 4), (5, 7)])
def test_blurs_are_sums_over_the_neighbors(size):
    """By kernels on padded images: [1, 2, 1] on mirrored borders, [1, 3, 3, 1] on repeated ones."""
    image = _image(2, *size, 3)
    down, up = np.outer([1, 2, 1], [1, 2, 1]) / 16, np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    small, large = ops.blur_downsample(image), ops.blur_upsample(image)
    assert small.shape == (2, -(-size[0] // 2), -(-size[1] // 2), 3)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    for y, x in np.ndindex(small.shape[1:3]):
        part = padded[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
        np.testing.assert_allclose(small[:, y, x], np.einsum("byxc,yx->bc", part, down), rtol=1e-12)
    # Every pixel spread over the 4x4 around it, of which borders keep what lies inside.
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    spread = np.zeros((2, 2 * size[0] + 6, 2 * size[1] + 6, 3))
    for y, x in np.ndindex(padded.shape[1:3]):
        spread[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += (
            padded[:, y : y + 1, x : x + 1] * up[None, :, :, None]
        )
    np.testing.assert_allclose(large, spread[:, 3:-3, 3:-3], rtol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 3), (4, 1)])
def test_grouped_convolutions_are_those_of_the_groups(inputs, outputs):
    x, kernel = _image(2, 3, 4, 3 * inputs), _image(3, 3, inputs, 3 * outputs)
    each = [
        gather(a, k, 1, 1)
        for a, k in zip(np.split(x, 3, axis=3), np.split(kernel, 3, axis=3), strict=True)
    ]
    np.testing.assert_allclose(ops.grouped_conv(x, kernel), np.concatenate(each, 3), atol=1e-12)
    check_grads(ops.grouped_conv, (x, kernel), order=2, modes=["rev"])
    with pytest.raises(ValueError, match="do not fit"):
        ops.grouped_conv(x[..., 1:], kernel)


def test_the_halving_filter_is_half_of_the_doubling_ones_adjoint():
    """[1, 3, 3, 1] with zeros around: every pixel is spread over 4x4; pixels outside are 0."""
    image, other = _image(2, 3, 5, 2), _image(2, 6, 10, 2)
    filter_ = np.outer([1, 3, 3, 1], [1, 3, 3, 1])[None, :, :, None] / 16
    spread = np.zeros((2, 8, 12, 2))
    for y, x in np.ndindex(3, 5):
        spread[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += image[:, y, x][:, None, None] * filter_
    large = ops.fir_upsample(image)
    np.testing.assert_allclose(large, spread[:, 1:-1, 1:-1], rtol=1e-12)
    products = np.sum(large * other), 4 * np.sum(image * ops.fir_downsample(other))
    np.testing.assert_allclose(*products, rtol=1e-12)


def _plain_batch_norm(x, scale, bias):
    mean = x.mean((0, 1, 2))
    variance = ((x - mean[None, None, None]) ** 2).mean((0, 1, 2))
    scale, bias = (v.reshape(-1, 1, 1, x.shape[-1]) for v in (scale, bias))
    return (x - mean[None, None, None]) / jnp.sqrt(variance + 1e-5)[None, None, None] * scale + bias


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5,), (3, 5)])
def test_batch_norm_is_its_definition_to_the_second_derivative(shape):
    arguments = _image(3, 4, 2, 5), 1 + _image(*shape), _image(*shape)
    y, mean, variance = ops.batch_norm(*arguments)
    np.testing.assert_allclose(y, _plain_batch_norm(*arguments), atol=1e-12)
    np.testing.assert_allclose(mean, np.mean(arguments[0], (0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(variance, np.var(arguments[0], (0, 1, 2)), atol=1e-12)

    def penalty(norm):
        def loss(*a):
            slopes = jax.grad(lambda *a: jnp.sum(jnp.sin(norm(*a))), (0, 1, 2))(*a)
            return sum(jnp.sum(s**2) for s in slopes) + jnp.sum(norm(*a) ** 3)

        return jax.grad(loss, (0, 1, 2))

    ours = penalty(lambda *a: ops.batch_norm(*a)[0])(*arguments)
    for a, b in zip(ours, penalty(_plain_batch_norm)(*arguments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_batch_norm_in_float32_loses_nothing_to_a_large_mean():
    """E[x^2] - E[x]^2 would be off by a tenth here."""
    x = np.float32(1000 + np.asarray(_image(8, 16, 16, 3)))
    gradient = np.float32(_image(8, 16, 16, 3))
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    y, pull = jax.vjp(lambda x: ops.batch_norm(x, ones, zeros)[0], x)
    wide = [v.astype(np.float64) for v in (x, ones, zeros)]
    exact, exact_pull = jax.vjp(lambda x: _plain_batch_norm(x, *wide[1:]), wide[0])
    np.testing.assert_allclose(y, exact, atol=2e-4)  # float32 holds 1000 to 6e-5
    np.testing.assert_allclose(
        pull(gradient)[0], exact_pull(gradient.astype(np.float64))[0], atol=2e-4
    )


def test_batch_norm_of_bfloat16_accumulates_in_float32():
    x = jnp.asarray(5 + _image(4, 8, 8, 3), jnp.bfloat16)
    scale, bias = jnp.ones(3, jnp.float32), jnp.zeros(3, jnp.float32)
    y, mean, variance = ops.batch_norm(x, scale, bias)
    assert (y.dtype, mean.dtype, variance.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    wide = np.asarray(x, np.float64)
    np.testing.assert_allclose(mean, wide.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, wide.var((0, 1, 2)), rtol=1e-5)


@pytest.mark.slow
def test_instance_norm_is_batch_norm_of_each_image():
    x = _image(3, 4, 2, 5)
    ones, zeros = jnp.ones(5, x.dtype), jnp.zeros(5, x.dtype)
    plain = lambda x: jnp.concatenate([_plain_batch_norm(i[None], ones, zeros) for i in x])  # noqa: E731
    np.testing.assert_allclose(ops.instance_norm(x), plain(x), atol=1e-12)
    slopes = lambda norm: jax.grad(lambda x: jnp.sum(jnp.sin(3 * norm(x)) ** 3))(x)  # noqa: E731
    np.testing.assert_allclose(slopes(ops.instance_norm), slopes(plain), rtol=1e-9, atol=1e-12)
    half = ops.instance_norm(x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(x.dtype), plain(x), atol=0.05)


@pytest.mark.slow
def test_layer_norm_is_over_all_pixels_and_channels_of_an_image():
    x, (scale, bias) = _image(3, 4, 2, 5), _image(2, 5)

    def plain(x, scale, bias):
        mean, variance = (f(x, (1, 2, 3), keepdims=True) for f in (jnp.mean, jnp.var))
        return (x - mean) / jnp.sqrt(variance + 1e-5) * scale[None, None, None] + bias[
            None, None, None
        ]

    np.testing.assert_allclose(ops.layer_norm(x, scale, bias), plain(x, scale, bias), atol=1e-12)

    def slopes(norm):
        return jax.grad(lambda *a: jnp.sum(jnp.sin(3 * norm(*a)) ** 3), (0, 1, 2))(x, scale, bias)

    for a, b in zip(slopes(ops.layer_norm), slopes(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    scale, bias = scale.astype(jnp.float32), bias.astype(jnp.float32)
    assert ops.layer_norm(x.astype(jnp.bfloat16), scale, bias).dtype == jnp.bfloat16


@pytest.mark.slow
@pytest.mark.parametrize("channels", [3, 9])
def test_convolutions_with_resampling_are_the_two_in_turn(channels):
    x, kernel = _image(2, 4, 6, channels), _image(3, 3, channels, 5)
    for ours, plain in (
        (ops.upsample_conv, lambda x, k: ops.conv(ops.upsample(x), k, padding=1)),
        (ops.conv_downsample, lambda x, k: ops.shrink(ops.conv(x, k, padding=1), (2, 3))),
    ):
        np.testing.assert_allclose(ours(x, kernel), plain(x, kernel), atol=1e-12)
        for a, b in zip(
            *(
                jax.grad(lambda x, k, f=f: jnp.sum(jnp.sin(f(x, k))), (0, 1))(x, kernel)
                for f in (ours, plain)
            ),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, atol=1e-11)


def test_a_bias_is_added_to_every_pixel():
    x, bias = _image(2, 3, 4, 5), _image(5)
    np.testing.assert_array_equal(ops.add_bias(x, bias), x + bias[None, None, None])
    check_grads(lambda *a: jnp.sin(ops.add_bias(*a)), (x[:1, :2], bias), 2, modes=["rev"])


def test_prelu_is_its_definition_with_its_gradients():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5)))
    for slopes in (jnp.linspace(-0.5, 1.5, 5), jnp.full(1, 0.25)):
        np.testing.assert_allclose(
            ops.prelu(x, slopes), np.where(x > 0, x, np.asarray(slopes) * np.asarray(x))
        )
        check_grads(ops.prelu, (x, slopes), 2, modes=["rev"])
