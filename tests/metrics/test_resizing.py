"""Resizing against the originals (tests/goldens/resizing_originals.py) and Pillow itself."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ganjax.metrics.resizing import DIALECTS, resize

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

from extractors_setup import draw_images  # noqa: E402

TOLERANCE = 1e-5 * 255


@pytest.mark.parametrize("dialect", DIALECTS)
def test_originals(dialect):
    golden = np.load(GOLDENS / "resizing_originals.npz")
    names = [name for name in golden if name.startswith(f"{dialect}/")]
    assert len(names) == 6
    for name in names:
        height, width = map(int, name.split("/")[1].split("x"))
        images = jnp.asarray(draw_images(1, height, width))
        with jax.numpy_dtype_promotion("strict"):
            resized = resize(images, int(name.split("/")[2]), dialect=dialect)
        assert resized.dtype == jnp.float32
        np.testing.assert_allclose(resized[0], golden[name], rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("height, width, size", [(64, 64, 299), (256, 200, 99), (3, 500, 40)])
def test_clean_is_pillow(height, width, size):
    images = draw_images(2, height, width)
    resized = np.asarray(resize(jnp.asarray(images), size, dialect="clean"))
    for image, ours in zip(images, resized, strict=True):
        for channel in range(3):
            plane = Image.fromarray(image[:, :, channel].astype(np.float32))
            expected = np.asarray(plane.resize((size, size), Image.Resampling.BICUBIC))
            np.testing.assert_allclose(
                ours[..., channel], expected.clip(0, 255), rtol=0, atol=TOLERANCE
            )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_any_channels_and_flat_images(dialect):
    images = jnp.broadcast_to(jnp.asarray([0, 77, 255, 3], jnp.uint8), (2, 10, 7, 4))
    resized = resize(images, 16, dialect=dialect)
    assert resized.shape == (2, 16, 16, 4)
    np.testing.assert_allclose(resized, np.broadcast_to([0, 77, 255, 3], resized.shape), atol=1e-4)
    same = jnp.asarray(draw_images(1, 12, 12))
    np.testing.assert_array_equal(resize(same, 12, dialect=dialect), same)
