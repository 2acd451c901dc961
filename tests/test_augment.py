"""More styles of few, and DiffAugment: what is changed, how often, and what stays."""

from functools import partial

import jax
import numpy as np
import pytest
from jax.test_util import check_grads

from ganjax.augment import cut_out, differentiable, translate, vary_color, vary_styles

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


@pytest.fixture(scope="module", params=[(16, 12), (7, 5)])
def images(request):
    return np.random.default_rng(2).uniform(0.1, 0.9, (400, *request.param, 3)).astype(np.float32)


def test_colors_are_scaled_about_their_means_and_shifted(images):
    """Distances to gray are scaled twice, gray once, and the mean moves; by least squares.

    Brightness is in [-0.5, 0.5], saturation in [0, 2], contrast in [0.5, 1.5], each image's own.
    """
    varied = np.asarray(jax.jit(vary_color)(jax.random.key(0), images))
    brightness = (varied - images).mean((1, 2, 3))
    factors = []
    for part in (lambda x: x.mean(3) - x.mean((1, 2, 3))[:, None, None], _chroma):
        before, after = part(images), part(varied)
        axes = tuple(range(1, before.ndim))
        factor = (before * after).sum(axes) / (before**2).sum(axes)
        shape = (-1, *(1,) * len(axes))
        np.testing.assert_allclose(after, factor.reshape(shape) * before, atol=2e-5)
        factors.append(factor)
    contrast, saturation = factors[0], factors[1] / factors[0]
    for found, least, most in ((brightness, -0.5, 0.5), (contrast, 0.5, 1.5), (saturation, 0, 2)):
        assert least - 1e-4 <= found.min() < least + 0.05 * (most - least)
        assert most + 1e-4 >= found.max() > most - 0.05 * (most - least)
        assert abs(found.mean() - (least + most) / 2) < 0.05 * (most - least)
    assert np.abs(np.corrcoef([brightness, contrast, saturation]) - np.eye(3)).max() < 0.2


def _chroma(images):
    return images - images.mean(3, keepdims=True)


def test_images_are_moved_by_up_to_an_eighth(images):
    moved = np.asarray(jax.jit(translate)(jax.random.key(0), images))
    height, width = images.shape[1:3]
    down, right = (int(size / 8 + 0.5) for size in (height, width))
    padded = np.pad(images, ((0, 0), (down, down), (right, right), (0, 0)))
    found = np.zeros((2 * down + 1, 2 * right + 1), int)
    for y, x in np.ndindex(found.shape):
        same = np.all(padded[:, y : y + height, x : x + width] == moved, axis=(1, 2, 3))
        found[y, x] = same.sum()
    assert found.sum() == len(images) and found.min() > 0.4 * len(images) / found.size


def test_half_of_each_side_is_cut_out(images):
    cut = np.asarray(jax.jit(cut_out)(jax.random.key(0), images))
    gone = (cut == 0).all(3)
    np.testing.assert_array_equal(np.where(gone[..., None], 0, images), cut)
    for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
        hole = int(size / 2 + 0.5)
        lines = gone.any(3 - axis)
        expected = set()
        for center in range(size + 1 - hole % 2):
            line = np.zeros(size, bool)
            line[max(center - hole // 2, 0) : center - hole // 2 + hole] = True
            expected.add(tuple(line))
        assert {tuple(line) for line in lines} == expected
    # A rectangle: all that is in both a row and a column with anything gone.
    np.testing.assert_array_equal(gone, gone.any(2)[:, :, None] & gone.any(1)[:, None])


def test_a_policy_does_its_steps_in_order_and_lets_gradients_through():
    images = np.random.default_rng(3).uniform(-1, 1, (3, 8, 8, 3)).astype(np.float32)
    augment, key = differentiable("color,cutout"), jax.random.key(4)
    plain = vary_color(jax.random.fold_in(key, 0), images)
    plain = cut_out(jax.random.fold_in(key, 1), plain)
    augmented = jax.jit(augment)(key, images)
    np.testing.assert_allclose(augmented, plain, atol=1e-6)
    check_grads(partial(augment, key), (images,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
    np.testing.assert_array_equal(differentiable("")(key, images), images)
