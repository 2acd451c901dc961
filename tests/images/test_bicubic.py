"""Bicubic scaling against MATLAB's algorithm, spelled out, and the figures of its benchmark."""

import os
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.images import read_image, to_float
from ganjax.images.bicubic import bicubic, keys, shrink
from ganjax.metrics.similarity import luma

SET5 = Path(os.environ.get("GANJAX_TEST_DATA", "-"), "sr_T91_Set5_png.zip")


def imresize(line, new):
    """MATLAB's imresize of a line, pixel by pixel and counted from 1, as its source has it."""
    old = len(line)
    s = new / old
    result = []
    for x in range(1, new + 1):
        u = x / s + 0.5 * (1 - 1 / s)
        stretch = min(s, 1.0)
        total = weight = 0.0
        for index in range(int(np.floor(u - 2 / stretch)) - 1, int(np.ceil(u + 2 / stretch)) + 2):
            w = stretch * keys(np.float64(stretch * (u - index)))
            place = index
            while not 1 <= place <= old:  # mirrored, the border itself repeated
                place = 1 - place if place < 1 else 2 * old + 1 - place
            total, weight = total + w * line[place - 1], weight + w
        result.append(total / weight)
    return np.array(result)


def test_the_kernel_has_keys_values():
    places = np.array([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 3])
    values = [1, 0.8671875, 0.5625, 0.2265625, 0, -0.0703125, -0.0625, -0.0234375, 0, 0]
    np.testing.assert_array_equal(keys(places), values)
    np.testing.assert_array_equal(keys(-places), values)


@pytest.mark.parametrize(
    ("old", "new"), [(24, 6), (24, 8), (24, 12), (6, 24), (7, 21), (9, 18), (10, 7), (3, 1), (2, 9)]
)
def test_it_is_matlabs(old, new):
    image = np.random.default_rng(0).random((old, 5, 2))
    wanted = np.stack([imresize(line, new) for line in image.reshape(old, -1).T], axis=-1)
    got = bicubic(image, (new, 5))
    np.testing.assert_allclose(got.reshape(new, -1), wanted, rtol=0, atol=1e-14)
    turned = bicubic(image.swapaxes(0, 1), (5, new))
    np.testing.assert_allclose(turned, got.swapaxes(0, 1), rtol=0, atol=1e-14)


def test_jax_gives_what_numpy_does_and_both_keep_the_type():
    images = np.random.default_rng(0).random((2, 12, 20, 3)).astype(np.float32)
    wanted = bicubic(images, (3, 40))
    got = jax.jit(lambda x: bicubic(x, (3, 40)))(jnp.asarray(images))
    assert isinstance(wanted, np.ndarray) and wanted.dtype == got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_flat_images_stay_flat_and_the_same_size_is_the_image():
    image = np.full((8, 12, 3), 200, np.uint8)
    assert (shrink(image, 4) == 200).all() and shrink(image, 4).shape == (2, 3, 3)
    noise = np.random.default_rng(0).random((5, 6, 1))
    assert bicubic(noise, (5, 6)) is noise


@pytest.mark.skipif(not SET5.exists(), reason="GANJAX_TEST_DATA has no sr_T91_Set5_png.zip")
@pytest.mark.parametrize(("scale", "published"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_set5_has_the_published_figures(scale, published):
    """Of Y in 8 bits, scaled down and up again without rounding between (Dong et al. 2014)."""
    found = []
    with zipfile.ZipFile(SET5) as file:
        for name in sorted(name for name in file.namelist() if name.startswith("Set5/")):
            pixels = read_image(file.read(name))
            height, width = (side // scale * scale for side in pixels.shape[:2])
            y = np.asarray(luma(to_float(pixels[:height, :width])), np.float64)
            y = np.round(127.5 * (y + 1))
            again = bicubic(bicubic(y, (height // scale, width // scale)), (height, width))
            error = (y - again.round().clip(0, 255))[scale:-scale, scale:-scale]
            found.append(10 * np.log10(255**2 / np.mean(error**2)))
    assert np.mean(found) == pytest.approx(published, abs=0.006)
