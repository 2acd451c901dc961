"""PSNR, SSIM and MS-SSIM against scikit-image, pytorch-msssim and the formulas."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.images import to_float
from ganjax.metrics import pairs
from ganjax.metrics.similarity import luma, luminance, ms_ssim, psnr, ssim

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import fidelity_setup  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "similarity_skimage.npz") as arrays:
        values = dict(arrays)
    return {**values, "a": to_float(values["a"]), "b": to_float(values["b"])}


def _noise(seed, shape=(2, 16, 18, 3)):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.slow
def test_values_are_those_of_scikit_image(golden):
    with jax.numpy_dtype_promotion("strict"):
        a, b = jnp.asarray(golden["a"]), jnp.asarray(golden["b"])
        np.testing.assert_allclose(ssim(a, b), golden["ssim"], atol=1e-5)
        gray = ssim(luminance(a), luminance(b))
        np.testing.assert_allclose(gray, golden["ssim_luminance"], atol=1e-5)
        np.testing.assert_allclose(psnr(a, b), golden["psnr"], atol=1e-4)


def test_ssim_of_one_window_is_the_formula():
    a, b = (_noise(seed, (11, 11, 1)).astype(np.float64) for seed in (1, 2))
    y, x = np.mgrid[-5:6, -5:6]
    weights = np.exp(-(x**2 + y**2) / (2 * 1.5**2))[..., None]
    weights /= weights.sum()
    means = [np.sum(weights * (image + 1)) for image in (a, b)]
    deviations = [image + 1 - mean for image, mean in zip((a, b), means, strict=True)]
    (xx, xy), (_, yy) = [[np.sum(weights * u * v) for v in deviations] for u in deviations]
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    expected = (2 * means[0] * means[1] + c1) * (2 * xy + c2)
    expected /= (means[0] ** 2 + means[1] ** 2 + c1) * (xx + yy + c2)
    with jax.enable_x64(True):
        np.testing.assert_allclose(ssim(jnp.asarray(a), jnp.asarray(b)), expected, atol=1e-12)


@pytest.mark.slow
def test_ms_ssim_is_that_of_pytorch_msssim():
    """Of noise, of another contrast and of a negative, whose negative similarity counts as 0."""
    expected = np.load(GOLDENS / "fidelity_torch.npz")["ms_ssim"]
    assert expected[2] == 0 and expected[1] < expected[0] < 1
    a, b = (jnp.asarray(to_float(x)) for x in fidelity_setup.draw_images())

    @jax.jit
    def value_and_slope(a, b):  # towards b
        return jax.jvp(lambda a: ms_ssim(a, b), (a,), (b,))

    with jax.numpy_dtype_promotion("strict"):
        values, slopes = value_and_slope(a, b)
    np.testing.assert_allclose(values, expected, atol=2e-6)
    assert np.all(np.isfinite(slopes)) and slopes[0] > 0
    np.testing.assert_allclose(value_and_slope(a, a)[0], 1, atol=1e-6)


def _halved(image):
    """Means over 2x2 pixels, an odd last row or column repeated."""
    height, width = image.shape[:2]
    image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="symmetric")
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def test_ms_ssim_of_odd_sides_is_the_formula():
    """Per scale and channel, in [0, 255] and float64, windows by brute force."""
    a, b = (x[0, :165, :161].astype(np.float64) for x in fidelity_setup.draw_images())
    got = jax.jit(ms_ssim)(*(jnp.asarray(x / 127.5 - 1, jnp.float32) for x in (a, b)))
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2

    def window_mean(image):
        windows = np.lib.stride_tricks.sliding_window_view(image, (11, 11), axis=(0, 1))
        return np.einsum("hwcij,ij->hwc", windows, weights)

    expected = 1
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            a, b = _halved(a), _halved(b)
        x, y = window_mean(a), window_mean(b)
        covariance = window_mean(a * b) - x * y
        variances = window_mean(a * a) - x * x + window_mean(b * b) - y * y
        values = (2 * covariance + (0.03 * 255) ** 2) / (variances + (0.03 * 255) ** 2)
        if scale == 4:
            values *= (2 * x * y + (0.01 * 255) ** 2) / (x * x + y * y + (0.01 * 255) ** 2)
        expected = expected * values.mean(axis=(0, 1)) ** weight
    np.testing.assert_allclose(got, expected.mean(), atol=2e-6)


def test_ms_ssim_needs_five_scales():
    with pytest.raises(UserError, match="160x300 have no five scales"):
        ms_ssim(jnp.zeros((160, 300, 3)), jnp.zeros((160, 300, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_every_image_has_its_own_value(metric):
    a, b = _noise(3), _noise(4)
    together = jax.jit(metric)(a[None], b[None])
    assert together.shape == (1, 2) and together.dtype == jnp.float32
    single = [metric(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(together[0], single, rtol=1e-5)
    np.testing.assert_allclose(metric(b, a), single, rtol=1e-5)


def test_equal_images():
    a = _noise(5)
    np.testing.assert_allclose(psnr(a, a), 100, atol=1e-4)
    assert np.all(np.isfinite(jax.grad(lambda x: psnr(x, a).sum())(a)))
    one = np.zeros((200, 200, 3), np.float32)
    one[0, 0, 0] = 2 / 255
    assert 98 < psnr(one, np.zeros_like(one)) < 100  # not cut off
    np.testing.assert_allclose(ssim(a, a), 1, atol=1e-6)
    flat = jnp.ones((16, 16, 3))
    np.testing.assert_allclose(ssim(flat, flat), 1, atol=1e-6)


def test_psnr_of_black_and_white_is_zero():
    white = jnp.ones((4, 4, 3))
    np.testing.assert_allclose(psnr(white, -white), 0, atol=1e-6)
    np.testing.assert_allclose(psnr(white, white - 0.2), 20, atol=1e-4)


def test_half_precision_is_widened():
    a, b = (jnp.asarray(_noise(seed), jnp.bfloat16) for seed in (6, 7))
    for metric in (psnr, ssim, lambda a, b: luminance(a)):
        value = metric(a, b)
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, metric(a.astype("float32"), b.astype("float32")))


def test_gradients_are_finite():
    flat, a = jnp.zeros((16, 18, 3)), jnp.asarray(_noise(8)[0])
    gradient = jax.jit(jax.grad(ssim))
    for x, y in ((flat, flat), (a, flat), (a, a)):
        assert np.all(np.isfinite(gradient(x, y)))
    # Uphill leads towards the other image.
    b = jnp.asarray(_noise(9)[0])
    assert ssim(a + gradient(a, b), b) > ssim(a, b)


def test_luminance_is_pillows_gray():
    from PIL import Image

    image = np.random.default_rng(10).integers(0, 256, (8, 9, 3), np.uint8)
    gray = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_allclose((luminance(to_float(image))[..., 0] + 1) * 127.5, gray, atol=0.51)


def test_metrics_of_y_are_those_of_matlabs_luma_within_the_border():
    """`rgb2ycbcr`: black is 16, white 235; the border's pixels count nothing."""
    a, b = np.random.default_rng(11).integers(0, 256, (2, 20, 24, 3), np.uint8)
    b[:4] = b[-4:] = 0
    b[:, :4] = b[:, -4:] = 255
    wanted = [16 + x.astype(float) / 255 @ [65.481, 128.553, 24.966] for x in (a, b)]
    for value, level in ((0, 16), (255, 235)):
        flat = luma(to_float(np.full((1, 1, 3), value, np.uint8)))
        assert 127.5 * (float(flat[0, 0, 0]) + 1) == pytest.approx(level, abs=1e-3)
    for border in (0, 4):
        sight = pairs.load(f"y{border or ''}")
        inner = (slice(border, 20 - border), slice(border, 24 - border))
        error = np.mean((wanted[0][inner] - wanted[1][inner]) ** 2)
        seen = [sight.perceive(to_float(x)) for x in (a, b)]
        got = pairs.compare("psnr", *seen, sight.channels)
        assert float(got) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
        scaled = [jnp.asarray(x[inner], jnp.float32)[..., None] / 127.5 - 1 for x in wanted]
        got = pairs.compare("ssim", *seen, sight.channels)
        assert float(got) == pytest.approx(float(ssim(*scaled)), abs=1e-4)
    with pytest.raises(UserError, match="all border"):
        luma(jnp.zeros((9, 8, 3)), border=4)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (jnp.zeros((16, 16, 3)), jnp.zeros((16, 15, 3)), "differ in shape"),
        (jnp.zeros((16, 16, 3), jnp.uint8), jnp.zeros((16, 16, 3), jnp.uint8), "to_float"),
    ],
)
def test_images_that_cannot_be_compared(a, b, message):
    for metric in (psnr, ssim):
        with pytest.raises(UserError, match=message):
            metric(a, b)


def test_luminance_of_integers_is_refused():
    with pytest.raises(UserError, match="to_float"):
        luminance(jnp.zeros((4, 4, 3), jnp.uint8))


def test_ssim_needs_a_whole_window():
    with pytest.raises(UserError, match="10x64"):
        ssim(jnp.zeros((10, 64, 3)), jnp.zeros((10, 64, 3)))
