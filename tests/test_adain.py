"""Statistics, transfer, blending, colors and losses against the formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ganjax import adain
from ganjax.adain import channel_statistics
from ganjax.errors import UserError

PIXELS = (-3, -2)
# RGB to luminance and two differences of color (NTSC).
YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]]
)


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


def draw(*shape, seed=0, low=None):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) if low is None else rng.uniform(low, 1, shape)
    return values.astype(np.float32)


def statistics(x, mask=None, eps=1e-5, ddof=0):
    """Mean and deviation by their definition."""
    x = np.asarray(x, np.float64)
    w = np.ones((*x.shape[:-1], 1)) if mask is None else np.asarray(mask, np.float64)
    total = w.sum(PIXELS, keepdims=True)
    mean = (w * x).sum(PIXELS, keepdims=True) / total
    variance = (w * (x - mean) ** 2).sum(PIXELS, keepdims=True) / (total - ddof)
    return mean, np.sqrt(variance + eps)


def transfer(content, style, alpha=1.0, content_mask=None, style_mask=None, **options):
    """Equations 8 and 14, the change weighed by the content's mask."""
    mean, std = statistics(content, content_mask, **options)
    style_mean, style_std = statistics(style, style_mask, **options)
    content = np.asarray(content, np.float64)
    moved = (content - mean) / std * style_std + style_mean
    change = alpha * (moved - content)
    return content + (change if content_mask is None else change * content_mask)


def assert_close(got, wanted, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(got, np.float64), wanted, rtol=tolerance, atol=tolerance)


CONTENT, STYLE = draw(2, 7, 5, 4), 3 * draw(2, 4, 6, 4, seed=1) + 2
CONTENT_MASK, STYLE_MASK = draw(2, 7, 5, 1, seed=2, low=0), draw(2, 4, 6, 1, seed=3, low=0)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("mask", [None, STYLE_MASK, 1 + STYLE_MASK, np.round(STYLE_MASK)])
def test_statistics_are_their_formulas(mask, eps, ddof):
    mean, std = channel_statistics(STYLE, mask=mask, eps=eps, ddof=ddof)
    assert mean.shape == std.shape == (2, 1, 1, 4) and mean.dtype == std.dtype == jnp.float32
    for got, wanted in zip((mean, std), statistics(STYLE, mask, eps, ddof), strict=True):
        assert_close(got, wanted, 1e-6)


def test_a_mask_of_zeros_and_ones_chooses_pixels():
    mask = np.zeros((2, 4, 6, 1), np.float32)
    mask[:, 1:3, 2:5] = 1
    chosen = channel_statistics(STYLE[:, 1:3, 2:5], ddof=1)
    for got, wanted in zip(channel_statistics(STYLE, mask=mask, ddof=1), chosen, strict=True):
        assert_close(got, wanted, 1e-6)


@pytest.mark.parametrize("mask", [None, np.ones((200, 300, 1), np.float32)])
def test_nothing_cancels(mask):
    x = (1000 + 0.01 * draw(200, 300, 3)).astype(np.float32)
    mean, std = channel_statistics(x, mask=mask, eps=0)
    wanted_mean, wanted_std = statistics(x, eps=0)
    assert_close(mean, wanted_mean, 1e-7)
    np.testing.assert_allclose(std, wanted_std, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_accumulated_in_float32(dtype):
    x = jnp.asarray(4 + draw(64, 64, 3), dtype)
    mean, std = channel_statistics(x)
    assert mean.dtype == std.dtype == jnp.float32
    for got, wanted in zip((mean, std), statistics(x), strict=True):
        assert_close(got, wanted, 1e-6)
    moved = adain.adain(x, x[::-1] * dtype(2), jnp.asarray(0.5, dtype))
    assert moved.dtype == dtype
    once_rounded = jnp.asarray(transfer(x, x[::-1] * dtype(2), 0.5), jnp.float32).astype(dtype)
    # float32 and float64 may fall on two sides of a tie.
    assert np.mean(np.asarray(moved == once_rounded)) > 0.99


@pytest.mark.slow
def test_float64_stays_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(np.float64(CONTENT))
        moved = adain.adain(x, x[::-1], ddof=1)
        assert moved.dtype == jnp.float64
        assert_close(moved, transfer(x, x[::-1], ddof=1), 1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, np.array([0.2, 0.9], np.float32)])
@pytest.mark.parametrize("masks", [{}, {"content_mask": CONTENT_MASK, "style_mask": STYLE_MASK}])
def test_adain_is_its_formula(masks, alpha, ddof):
    alpha = alpha if isinstance(alpha, float) else alpha.reshape(2, 1, 1, 1)
    got = adain.adain(CONTENT, STYLE, alpha, ddof=ddof, **masks)
    assert got.shape == CONTENT.shape
    assert_close(got, transfer(CONTENT, STYLE, alpha, ddof=ddof, **masks), 3e-6)


def test_the_result_has_the_statistics_of_the_style():
    got = statistics(adain.adain(CONTENT, STYLE, eps=0), eps=0)
    for a, b in zip(got, statistics(STYLE, eps=0), strict=True):
        assert_close(a, b)


@pytest.mark.slow
def test_content_in_its_own_style_is_itself():
    x = draw(3, 32, 24, 8)
    assert np.abs(adain.adain(x, x, eps=0) - x).max() < 1e-5
    assert np.abs(adain.adain(x, x) - x).max() < 1e-5  # any eps cancels: it is in both deviations


def test_pytorch_form():
    """naoto0804/pytorch-AdaIN, function.py: the unbiased variance plus eps under the root."""

    def mean_and_std(x):
        x = np.float64(x).transpose(0, 3, 1, 2)
        flat = x.reshape(*x.shape[:2], -1)
        std = np.sqrt(flat.var(axis=2, ddof=1) + 1e-5)
        return x, flat.mean(axis=2)[:, :, None, None], std[:, :, None, None]

    content, mean, std = mean_and_std(CONTENT)
    _, style_mean, style_std = mean_and_std(STYLE)
    wanted = ((content - mean) / std * style_std + style_mean).transpose(0, 2, 3, 1)
    got = adain.adain(CONTENT, STYLE, eps=1e-5, ddof=1)
    assert np.abs(got - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_known_statistics_give_the_same():
    mean, std = channel_statistics(STYLE, mask=STYLE_MASK, ddof=1)
    got = adain.apply_statistics(CONTENT, mean, std, 0.7, content_mask=CONTENT_MASK, ddof=1)
    wanted = adain.adain(
        CONTENT, STYLE, 0.7, content_mask=CONTENT_MASK, style_mask=STYLE_MASK, ddof=1
    )
    np.testing.assert_array_equal(got, wanted)


def test_masked_out_pixels_stay():
    mask = np.zeros((2, 7, 5, 1), np.float32)
    mask[:, :3] = 1
    got = np.asarray(adain.adain(CONTENT, STYLE, content_mask=mask))
    np.testing.assert_array_equal(got[:, 3:], CONTENT[:, 3:])
    assert_close(got[:, :3], transfer(CONTENT[:, :3], STYLE), 3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("mask", [None, "soft", "zero"])
def test_constant_features_give_finite_values_and_gradients(mask, scale, eps):
    flat = jnp.full((1, 7, 9, 2), np.float32(scale / 3))
    weights = draw(1, 7, 9, 2, seed=4)
    mask = {"soft": draw(1, 7, 9, 1, low=0), "zero": jnp.zeros((1, 7, 9, 1))}.get(mask)
    masks = {"content_mask": mask, "style_mask": mask}

    def both(content, style):
        return jnp.sum(weights * adain.adain(content, style, eps=eps, **masks))

    run = jax.jit(jax.value_and_grad(both, (0, 1)))
    for pair in ((flat, jnp.asarray(weights)), (jnp.asarray(weights), flat), (flat, flat)):
        value, gradients = run(*pair)
        assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    if mask is None:
        np.testing.assert_allclose(adain.normalize(flat, eps=eps), 0, atol=2e-4)
        moved = adain.adain(flat, weights, eps=eps)
        assert_close(moved, np.broadcast_to(weights.mean((1, 2), keepdims=True), moved.shape), 2e-4)


def test_no_weight_and_too_little_freedom():
    mean, std = channel_statistics(STYLE, mask=jnp.zeros((2, 4, 6, 1)), eps=0)
    assert not mean.any() and not std.any()
    one_pixel = channel_statistics(STYLE[:, :1, :1], eps=0, ddof=1)  # 0 / 0 by the formula
    np.testing.assert_array_equal(one_pixel[1], 0)
    content = adain.adain(CONTENT, STYLE, content_mask=jnp.zeros((2, 7, 5, 1)))
    np.testing.assert_array_equal(content, CONTENT)


@pytest.mark.slow
def test_gradients():
    with jax.enable_x64(True):
        arrays = [jnp.asarray(np.float64(x[:1, :3, :3, :2])) for x in (CONTENT, STYLE)]
        masks = [jnp.asarray(np.float64(m[:1, :3, :3])) for m in (CONTENT_MASK, STYLE_MASK)]

        def run(content, style, content_mask, style_mask):
            return adain.adain(
                content, style, 0.7, content_mask=content_mask, style_mask=style_mask, ddof=1
            )

        check_grads(jax.jit(run), (*arrays, *masks), 2, modes=["rev"])


@pytest.mark.slow
def test_leading_axes_and_batching_change_nothing():
    content, style = draw(2, 3, 6, 5, 4), draw(2, 3, 4, 4, 4, seed=1)
    content_mask, style_mask = draw(2, 3, 6, 5, 1, low=0), draw(2, 3, 4, 4, 1, low=0)

    def run(*arrays):
        content, style, content_mask, style_mask = arrays
        return adain.adain(content, style, content_mask=content_mask, style_mask=style_mask)

    arrays = (content, style, content_mask, style_mask)
    whole = run(*arrays)
    flat = run(*(x.reshape(6, *x.shape[2:]) for x in arrays)).reshape(whole.shape)
    single = jax.jit(run)
    single = np.stack([[single(*(x[i, j] for x in arrays)) for j in range(3)] for i in range(2)])
    mapped = jax.jit(jax.vmap(jax.vmap(run)))(*arrays)
    for other in (flat, single, mapped, jax.jit(run)(*arrays)):
        assert_close(other, whole, 2e-6)


STYLES = np.stack([STYLE, STYLE[::-1] * 2, 0.5 - STYLE])
MEANS, STDS = (np.asarray(x) for x in channel_statistics(STYLES))


def blend(content, weights, alpha=1.0, ddof=0):
    """The mixture of statistics, written out."""
    mean, std = statistics(content, ddof=ddof)
    normal = (np.float64(content) - mean) / std
    shares = np.float64(weights) / np.sum(weights)
    moved = sum(
        share * (normal * style_std + style_mean)
        for share, style_mean, style_std in zip(shares, MEANS, STDS, strict=True)
    )
    return content + alpha * (moved - content)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_blending_is_its_formula(alpha):
    weights = np.array([0.2, 1.5, 0.7], np.float32)
    got = adain.blend_styles(CONTENT, MEANS, STDS, weights, alpha, ddof=1)
    assert got.shape == CONTENT.shape
    assert_close(got, blend(CONTENT, weights, alpha, ddof=1), 5e-6)


@pytest.mark.parametrize("number", range(3))
def test_all_weight_on_one_style_gives_that_style(number):
    weights = np.eye(3, dtype=np.float32)[number] * 7
    wanted = adain.adain(CONTENT, STYLES[number])
    assert_close(adain.blend_styles(CONTENT, MEANS, STDS, weights), wanted, 5e-6)


def test_a_blend_of_one_is_adain_and_weights_are_relative():
    one = adain.blend_styles(CONTENT, MEANS[:1], STDS[:1], jnp.array([3.0]))
    assert_close(one, adain.adain(CONTENT, STYLE), 5e-6)
    weights = jnp.array([0.1, 0.2, 0.7])
    blends = [adain.blend_styles(CONTENT, MEANS, STDS, weights * k) for k in (1.0, 20.0)]
    assert_close(*blends, 5e-6)


def test_a_tile_with_the_statistics_of_the_whole_is_a_part_of_the_whole():
    known = channel_statistics(CONTENT)
    weights = jnp.array([1.0, 2.0, 0.5])
    whole = adain.blend_styles(CONTENT, MEANS, STDS, weights, 0.8)
    tile = adain.blend_styles(
        CONTENT[:, 2:6, 1:4], MEANS, STDS, weights, 0.8, content_statistics=known
    )
    assert_close(tile, whole[:, 2:6, 1:4], 2e-6)


def test_moments_of_parts_are_those_of_all():
    random = np.random.default_rng(1)
    values = 1000 + random.normal(size=(60, 3)) * [0.01, 1, 100]
    shares = random.uniform(0, 1, (60, 1))
    shares[:10] = 0
    whole = None
    for first in range(0, 60, 10):
        part, weight = values[first : first + 10], shares[first : first + 10]
        total = weight.sum()
        mean = (weight * part).sum(axis=0) / (total or 1)
        variance = (weight * np.square(part - mean)).sum(axis=0) / (total or 1)
        moments = adain.Moments(total, mean, variance)
        whole = moments if whole is None else adain.TRANSFORM.combine(whole, moments)
    wanted = np.average(values, axis=0, weights=shares[:, 0])
    np.testing.assert_allclose(whole.weight, shares.sum())
    np.testing.assert_allclose(whole.mean, wanted, rtol=1e-12)
    variance = np.average(np.square(values - wanted), axis=0, weights=shares[:, 0])
    np.testing.assert_allclose(whole.variance, variance, rtol=1e-9)


def test_the_transform_is_adain():
    transform = adain.TRANSFORM
    halves = [transform.measure(CONTENT[:, :3]), transform.measure(CONTENT[:, 3:])]
    content = transform.statistics(transform.combine(*halves))
    weights = jnp.array([0.5, 1.0, 3.0])
    got = transform.apply(CONTENT, content, (MEANS, STDS), weights)
    assert_close(got, blend(CONTENT, weights, 1.0), 5e-6)
    np.testing.assert_array_equal(transform.measure(CONTENT, 0 * CONTENT[..., :1]).variance, 0)


def test_bounds_are_those_of_what_is_measured():
    statistics = channel_statistics(CONTENT)
    np.testing.assert_array_equal(adain.TRANSFORM.bound(CONTENT, statistics), CONTENT)
    far = adain.TRANSFORM.bound(1e6 * CONTENT, statistics)
    mean, std = statistics
    assert jnp.all(jnp.abs(far - mean) <= 4.001 * std) and jnp.any(far > mean + 3.9 * std)


def coral(source, target, eps=1e-5, ddof=0, equal_weight=True):
    """The procedure of pytorch-AdaIN's `coral`; by default with our epsilon and for any sizes."""

    def standardize(image):
        mean, std = statistics(image, eps=eps, ddof=ddof)
        pixels = ((np.float64(image) - mean) / std).reshape(-1, 3).T
        values, vectors = np.linalg.eigh(pixels @ pixels.T + np.eye(3))
        count = pixels.shape[1] if equal_weight else 1
        return pixels, vectors * np.sqrt(values / count) @ vectors.T, mean, std

    pixels, source_root, _, _ = standardize(source)
    _, target_root, mean, std = standardize(target)
    moved = (target_root @ np.linalg.inv(source_root) @ pixels).T.reshape(source.shape)
    return moved * std + mean


MIX = np.array([[0.5, 0.2, 0.1], [0.2, 0.3, -0.1], [0.0, 0.1, 0.2]], np.float32)
PHOTO, PAINTING = draw(16, 24, 3) @ MIX, 0.3 + draw(20, 12, 3, seed=1) @ MIX[::-1] * 0.5


@pytest.mark.slow
def test_coral_is_its_formula():
    got = adain.coral(PHOTO, PAINTING)
    assert got.shape == PHOTO.shape
    assert_close(got, coral(PHOTO, PAINTING), 1e-4)


def test_coral_is_the_published_one_at_equal_sizes():
    target = PAINTING.reshape(-1, 3)[:192].reshape(12, 16, 3)
    source = PHOTO.reshape(-1, 3)[:192].reshape(16, 12, 3)
    published = coral(source, target, eps=0, ddof=1, equal_weight=False)
    assert np.abs(adain.coral(source, target) - published).max() < 0.01 * published.std()


def test_coral_gives_the_colors_of_the_target_whatever_its_size():
    for target in (PAINTING, np.tile(PAINTING, (3, 3, 1))):
        got = np.asarray(adain.coral(PHOTO, target), np.float64).reshape(-1, 3)
        wanted = np.float64(target).reshape(-1, 3)
        np.testing.assert_allclose(got.mean(0), wanted.mean(0), atol=1e-5)
        scale = np.cov(wanted.T).max()
        np.testing.assert_allclose(np.cov(got.T), np.cov(wanted.T), atol=0.02 * scale)


@pytest.mark.slow
def test_coral_under_vmap_and_on_gray_and_flat_images():
    gray = np.repeat(draw(8, 8, 1, low=0), 3, axis=-1)
    flat = np.full((8, 8, 3), 0.25, np.float32)
    color = draw(8, 8, 3) @ MIX
    sources, targets = np.stack([gray, color, flat]), np.stack([color, gray, gray])
    together = adain.coral(sources, targets)
    mapped = jax.jit(jax.vmap(adain.coral))(sources, targets)
    for one, other, source, target in zip(together, mapped, sources, targets, strict=True):
        assert_close(one, coral(source, target), 2e-3)
        assert_close(other, one, 1e-4)
    gradient = jax.jit(jax.grad(lambda *pair: jnp.sum(adain.coral(*pair) ** 3), (0, 1)))
    for pair in zip(sources, targets, strict=True):
        assert all(np.isfinite(g).all() for g in gradient(*pair))


@pytest.mark.slow
def test_gradients_of_coral():
    with jax.enable_x64(True):
        pair = [jnp.asarray(np.float64(x[:3, :4])) for x in (PHOTO, PAINTING)]
        check_grads(jax.jit(adain.coral), pair, 1)


def test_keep_colors():
    """Y of the one, I and Q of the other."""
    stylized, content = draw(2, 6, 5, 3, low=0), draw(2, 6, 5, 3, seed=1, low=0)
    got = np.float64(adain.keep_colors(stylized, content)) @ YIQ.T
    assert_close(got[..., 0], (np.float64(stylized) @ YIQ.T)[..., 0], 1e-6)
    assert_close(got[..., 1:], (np.float64(content) @ YIQ.T)[..., 1:], 1e-6)
    assert adain.keep_colors(
        *(jnp.asarray(x, jnp.bfloat16) for x in (stylized, content))
    ).dtype == (jnp.bfloat16)


FEATURES = {"relu1_1": CONTENT, "relu2_1": draw(2, 3, 3, 6, seed=6)}
STYLE_FEATURES = {"relu2_1": 2 * draw(2, 5, 2, 6, seed=7), "relu1_1": STYLE, "unused": STYLE}


def test_content_loss():
    other = draw(2, 7, 5, 4, seed=8)
    wanted = ((np.float64(CONTENT) - other) ** 2).mean((1, 2, 3))
    assert_close(adain.content_loss(CONTENT, other), wanted, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("ddof", [0, 1])
def test_style_loss(ddof):
    wanted = 0
    for name, values in FEATURES.items():
        (mean, std), (other_mean, other_std) = (
            statistics(v, ddof=ddof) for v in (values, STYLE_FEATURES[name])
        )
        wanted = wanted + ((mean - other_mean) ** 2).mean((1, 2, 3))
        wanted = wanted + ((std - other_std) ** 2).mean((1, 2, 3))
    assert_close(adain.style_loss(FEATURES, STYLE_FEATURES, ddof=ddof), wanted)


@pytest.mark.slow
def test_covariance_loss():
    wanted = 0
    for name, values in FEATURES.items():
        grams = []
        for array in (values, STYLE_FEATURES[name]):
            flat = np.float64(array).reshape(2, -1, array.shape[-1])
            grams.append(np.stack([x.T @ x / len(x) for x in flat]))
        error = ((grams[0] - grams[1]) ** 2).mean((1, 2))
        wanted = wanted + error / ((grams[1] ** 2).mean((1, 2)) + 1e-5)
    assert_close(adain.covariance_loss(FEATURES, STYLE_FEATURES), wanted)


@pytest.mark.slow
def test_losses_are_0_where_nothing_differs_and_batch_and_half_precision_do_not_matter():
    for loss in (adain.style_loss, adain.covariance_loss):
        np.testing.assert_array_equal(loss(FEATURES, FEATURES), [0, 0])
        mapped = jax.jit(jax.vmap(lambda a, b, loss=loss: loss(a, b)))(FEATURES, STYLE_FEATURES)
        assert_close(mapped, loss(FEATURES, STYLE_FEATURES))
        half = [
            {name: jnp.asarray(x, jnp.bfloat16) for name, x in features.items()}
            for features in (FEATURES, STYLE_FEATURES)
        ]
        value = loss(*half)
        widened = [jax.tree.map(lambda x: x.astype(jnp.float32), features) for features in half]
        assert value.dtype == jnp.float32
        assert_close(value, loss(*widened), 1e-6)


# Wrong arguments


FEWER = CONTENT[..., :3]
LAYERS = {"a": CONTENT}
STATISTICS = [x[None] for x in channel_statistics(STYLE)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adain.adain(CONTENT, STYLE, 2), "alpha is 2; it must be from 0 to 1"),
        (lambda: adain.adain(CONTENT, STYLE, np.float32(-0.5)), "alpha is -0.5"),
        (lambda: adain.adain(CONTENT, STYLE, float("nan")), "alpha is nan"),
        (lambda: adain.apply_statistics(CONTENT, *statistics(STYLE), 1.5), "alpha is 1.5"),
        (lambda: adain.adain(CONTENT, STYLE[..., :3]), "have 4 and 3 channels"),
        (lambda: adain.blend_styles(FEWER, *STATISTICS, np.ones(1)), "have 3 and 4 channels"),
        (lambda: adain.blend_styles(CONTENT, *STATISTICS, np.ones(1), 3), "alpha is 3"),
        (lambda: adain.content_loss(CONTENT, FEWER), "have 4 and 3 channels"),
        (lambda: adain.style_loss(LAYERS, {"a": FEWER}), "have 4 and 3 channels"),
        (lambda: adain.covariance_loss(LAYERS, {"a": FEWER}), "have 4 and 3 channels"),
        (lambda: adain.coral(CONTENT, FEWER), "have 4 and 3 channels"),
        (lambda: adain.adain(CONTENT.astype(np.uint8), STYLE), "features are uint8; give an array"),
        (lambda: adain.coral(CONTENT.astype(int), STYLE), "features are int64; give an array"),
        (lambda: channel_statistics([[1.0]]), "features are list; give an array of floats"),
        (lambda: channel_statistics(CONTENT[0, 0]), r"shape \(5, 4\); give \[..., H, W, C\]"),
        (
            lambda: adain.adain(CONTENT, STYLE, content_mask=CONTENT_MASK[..., 0]),
            r"a mask has the shape \(2, 7, 5\); the features need \[..., 7, 5, 1\]",
        ),
        (lambda: adain.adain(CONTENT, STYLE, style_mask=CONTENT_MASK), r"need \[..., 4, 6, 1\]"),
        (lambda: adain.normalize(CONTENT, mask=CONTENT), r"shape \(2, 7, 5, 4\)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_traced_arguments_pass():
    blended = jax.jit(adain.adain)(CONTENT, STYLE, 0.5)
    assert_close(blended, transfer(CONTENT, STYLE, 0.5))
    assert np.isfinite(jax.grad(lambda a: adain.adain(CONTENT, STYLE, a).sum())(0.5))
