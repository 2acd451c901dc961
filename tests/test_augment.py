"""More styles of few: what is changed, how often, and what stays."""

import jax
import numpy as np
import pytest

from ganjax.augment import vary_styles

COUNT, SIDE = 64, 6


@pytest.fixture(scope="module")
def pair():
    random = np.random.default_rng(0)
    mixtures = random.uniform(-0.2, 0.3, (COUNT, 1, 3, 3))
    images = random.uniform(-0.5, 0.5, (COUNT, SIDE, SIDE, 3)) @ mixtures
    images = np.float32(images + random.uniform(-0.3, 0.3, (COUNT, 1, 1, 3)))
    return images, np.asarray(jax.jit(vary_styles)(jax.random.key(3), images))


def forms(image):
    """As it is, turned, mirrored, and both."""
    turned = image.swapaxes(0, 1)
    return [image, turned, image[::-1], turned[::-1]]


def test_half_is_turned_half_mirrored_half_recolored(pair):
    images, varied = pair
    assert varied.shape == images.shape and varied.dtype == np.float32
    found = []
    for image, result in zip(images, varied, strict=True):
        found += [[n for n, form in enumerate(forms(image)) if np.array_equal(form, result)][:1]]
    kept = [form[0] for form in found if form]
    assert 0.3 < len(kept) / COUNT < 0.7
    assert {0, 1, 2, 3} == set(kept) and max(np.bincount(kept)) < 0.5 * len(kept)


def test_the_others_have_the_colors_of_another_image(pair):
    images, varied = pair
    means, own = images.mean((1, 2)), varied.mean((1, 2))
    distances = np.abs(own[:, None] - means[None]).max(-1)
    assert distances.min(1).max() < 2e-3
    nearest = distances.argmin(1)
    others = nearest != np.arange(COUNT)
    assert 0.3 < others.mean() < 0.7
    spread = varied.reshape(COUNT, -1, 3).std(1)
    wanted = images.reshape(COUNT, -1, 3).std(1)[nearest]
    # So few pixels feel the identity that CORAL adds.
    assert np.median(np.abs(spread / wanted - 1)[others]) < 0.05


@pytest.mark.slow
def test_a_function_of_the_key_that_stays_in_range():
    images = np.random.default_rng(1).choice([-1, 1], (4, SIDE, SIDE, 3)).astype(np.float32)
    run = jax.jit(vary_styles)
    first, again, other = (run(jax.random.key(seed), images) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1 and np.abs(first).max() <= 1
