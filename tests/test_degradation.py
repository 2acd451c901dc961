"""Real-ESRGAN's degradations: each against a formula or another library, and how they are drawn."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special
from PIL import Image

from ganjax import degradation
from ganjax.data import avatars

GOLDENS = Path(__file__).parent / "goldens"
MODES = ("area", "bilinear", "bicubic")


@pytest.fixture(scope="module")
def portraits():
    """[4, 64, 96, 3] in [0, 1]: parts of portraits."""
    return avatars.render(np.arange(4), (96, 96))["image"][:, 16:80] / np.float32(255)


def test_scaling_is_pytorchs_on_any_canvas():
    golden = dict(np.load(GOLDENS / "degradation_torch.npz"))
    image = golden.pop("image")
    old = np.array(image.shape[:2])
    # What a canvas holds beyond the image doesn't count.
    padded = np.pad(image, ((0, 4), (0, 2), (0, 0)), constant_values=9)
    with jax.enable_x64(True):
        resize = jax.jit(degradation.resize, static_argnums=3)
        for name, wanted in golden.items():
            mode, new = MODES.index(name.partition("_")[0]), np.array(wanted.shape[:2])
            found = resize(padded, old, new, (15, 31), mode)
            assert found.shape == (15, 31, 3)
            h, w = new
            np.testing.assert_allclose(found[:h, :w], wanted, atol=1e-9, err_msg=name)
            border = np.pad(wanted, ((0, 15 - h), (0, 31 - w), (0, 0)), mode="edge")
            np.testing.assert_allclose(found, border, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("quality", [10, 30, 60, 95])
def test_jpeg_is_that_of_libjpeg(portraits, quality):
    def encoded(image):
        file = io.BytesIO()
        Image.fromarray(np.uint8((255 * image).round())).save(
            file, "JPEG", quality=quality, subsampling=2
        )
        return np.asarray(Image.open(file)) / 255

    jpeg = jax.jit(degradation.jpeg)
    gray = np.repeat(portraits[0].mean(-1, keepdims=True), 3, -1)
    difference = 255 * np.abs(jpeg(gray, quality) - encoded(gray))
    assert difference.mean() < 0.25  # ties are rounded either way
    # Pillow smooths colors when it enlarges them.
    for image in portraits[:, :51, :83]:
        made, wanted = jpeg(image, quality), encoded(image)
        lost = np.square(wanted - image).mean()
        assert np.square(made - wanted).mean() < 0.6 * lost


def test_sinc_filters_are_their_formula():
    y, x = np.mgrid[-10:11, -10:11]
    radius = np.hypot(y, x)
    for cutoff in (np.pi / 5, 2.0, np.pi):
        found = degradation.sinc(cutoff)
        with np.errstate(invalid="ignore"):
            wanted = cutoff * scipy.special.j1(cutoff * radius) / (2 * np.pi * radius)
        wanted[10, 10] = cutoff**2 / (4 * np.pi)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_kernels_are_their_formulas():
    y, x = np.mgrid[-10:11, -10:11].astype(float)
    turned = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    inverse = turned.T @ np.diag([2.0**-2, 0.7**-2]) @ turned
    points = np.stack([x, y], -1)
    form = np.einsum("...a,ab,...b", points, inverse, points)
    for beta, plateau in ((1.0, False), (2.5, False), (1.5, True)):
        power = form**beta
        wanted = 1 / (1 + power) if plateau else np.exp(-power / 2)
        found = degradation.gaussian(2.0, 0.7, 0.4, beta, plateau)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_kernels_are_drawn_as_published():
    keys = jax.random.split(jax.random.key(0), 2000)
    kernels = np.asarray(
        jax.jit(jax.vmap(degradation.draw_kernel, (0, None)))(keys, (0.2, 3.0)), float
    )
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(kernels, kernels[:, ::-1, ::-1], atol=1e-6)
    negative = (kernels.min((1, 2)) < -1e-4).mean()
    assert 0.07 < negative < 0.13  # sinc filters, of which a few have no negative taps
    halves = np.array([abs(np.nonzero(k)[0] - 10).max() for k in kernels])
    assert set(halves) <= set(range(11))


def test_blur_repeats_borders(portraits):
    kernel = degradation.gaussian(2.0, 1.0, 0.3, 1.0, False)
    kernel = kernel / kernel.sum()
    wanted = scipy.ndimage.convolve(portraits[0], np.asarray(kernel)[..., None], mode="nearest")
    np.testing.assert_allclose(degradation.blur(portraits[0], kernel), wanted, atol=1e-5)


def test_noise_has_the_deviation_of_its_kind():
    image = jnp.broadcast_to(jnp.array([0.25, 0.5, 1.0]), (40, 40, 3))
    add = jax.jit(jax.vmap(degradation.add_noise, (0, None, None, None)), static_argnums=(2, 3))
    noisy = np.asarray(add(jax.random.split(jax.random.key(0), 400), image, (10, 10), (1, 1)))
    noise = noisy - np.asarray(image)
    gray = np.all(np.abs(noise - noise[..., :1]) < 1e-6, axis=(1, 2, 3))
    assert 0.33 < gray.mean() < 0.47
    deviations = noise[~gray].std((1, 2))
    normal = np.all(np.abs(deviations - 10 / 255) < 0.1 * 10 / 255, axis=1)
    assert 0.4 < normal.mean() < 0.6
    shot = deviations[~normal]
    expected = np.sqrt(np.array([0.25, 0.5, 1.0]) / 256)
    np.testing.assert_allclose(shot, np.broadcast_to(expected, shot.shape), rtol=0.12)


@pytest.mark.slow
def test_each_image_is_made_worse_by_itself(portraits):
    images, key = 2 * jnp.asarray(portraits) - 1, jax.random.key(3)
    degrade = jax.jit(degradation.degrade, static_argnums=2)
    made = np.asarray(degrade(key, images, 4))
    assert made.shape == (4, 16, 24, 3) and made.min() >= -1 and made.max() <= 1
    levels = (made + 1) * 127.5
    np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    np.testing.assert_array_equal(made, degrade(key, images, 4))
    other = degrade(key, images.at[0].set(0), 4)
    np.testing.assert_array_equal(made[1:], other[1:])
    assert np.any(degrade(jax.random.key(4), images, 4) != made, axis=(1, 2, 3)).all()
    # The picture is still there: nearer to its own small form than to the others'.
    small = np.asarray(images).reshape(4, 16, 4, 24, 4, 3).mean((2, 4))
    apart = np.square(made[:, None] - small[None]).mean((2, 3, 4))
    assert (apart.argmin(1) == np.arange(4)).all()
    gradient = jax.grad(lambda x: degradation.degrade(key, x, 4).sum())(images[:1])
    assert not gradient.any()


def test_sharpening_is_the_unsharp_mask(portraits):
    taps = np.exp(-0.5 * (np.arange(-25, 26) / 8) ** 2)
    taps /= taps.sum()

    def smooth(image):
        for axis in (0, 1):
            image = scipy.ndimage.correlate1d(image, taps, axis, mode="mirror")
        return image

    image = np.asarray(portraits[0], float)
    lost = image - smooth(image)
    share = smooth((255 * np.abs(lost) > 10).astype(float))
    wanted = image + share * (np.clip(image + 0.5 * lost, 0, 1) - image)
    with jax.enable_x64(True):
        found = np.asarray(degradation.sharpen(2 * jnp.asarray(image)[None] - 1)[0])
    np.testing.assert_allclose((found + 1) / 2, wanted, atol=1e-6)
    assert np.abs(wanted - image).max() > 0.05
