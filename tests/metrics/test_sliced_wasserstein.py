"""The sliced Wasserstein distance of patches against its definition in float64, and its sense."""

import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.metrics.sliced_wasserstein import descriptors, sliced_wasserstein

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def draw(count=8, side=32, seed=0):
    """Random shapes of several scales."""
    rng = np.random.default_rng(seed)
    images = sum(
        np.kron(rng.normal(size=(count, side // s, side // s, 3)), np.ones((1, s, s, 1)))
        for s in (1, 2, 4, 8)
    )
    return (np.clip(images * 25 + 128, 0, 255)).astype(np.uint8)


def filtered(image):
    """The 5x5 kernel at every pixel of [H, H, C], mirrored at the borders."""
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    side = len(image)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
    assert windows.shape[:2] == (side, side)
    return np.einsum("hwcij,ij->hwc", windows, KERNEL)


def pyramid(image):
    """The Laplacian pyramid (Burt and Adelson 1983) of [H, H, C] down to 16 pixels."""
    levels, image = {}, image.astype(np.float64)
    while len(image) > 16:
        smaller = filtered(image)[::2, ::2]
        between = np.zeros_like(image)
        between[::2, ::2] = smaller
        levels[len(image)] = image - 4 * filtered(between)
        image = smaller
    return {**levels, 16: image}


def test_patches_are_of_the_laplacian_pyramid():
    images = draw(2, 64)
    found = descriptors([images])
    assert list(found) == [64, 32, 16]
    for side, patches in found.items():
        assert patches.shape == (2 * 128, 7, 7, 3)
        for number, image in enumerate(images):
            level = pyramid(image)[side]
            windows = np.lib.stride_tricks.sliding_window_view(level, (7, 7), axis=(0, 1))
            windows = windows.transpose(0, 1, 3, 4, 2).reshape(-1, 7 * 7 * 3)
            mine = patches[number * 128 : (number + 1) * 128].reshape(128, -1).astype(np.float64)
            squares = (mine**2).sum(1)[:, None] + (windows**2).sum(1) - 2 * mine @ windows.T
            nearest = squares.argmin(axis=1)
            # float16's rounding
            np.testing.assert_allclose(mine, windows[nearest], rtol=1e-3, atol=1e-3)
            # Everywhere, and not twice in the same places: 10 x 10 of them at 16 pixels.
            corners = np.stack(np.divmod(nearest, side - 6), axis=1)
            assert len(np.unique(corners, axis=0)) > 60
            assert corners.min() == 0 or side > 16
            assert np.all(corners.max(axis=0) > 0.9 * (side - 7))


def test_distance_is_the_definition():
    """With many directions both are near the mean over all of them."""
    sets = [descriptors([draw(seed=seed)]) for seed in (0, 1)]
    channels = np.array([1, 4, 0.1], np.float16)
    sets[1] = {side: channels * (x + x**2 / 99) for side, x in sets[1].items()}
    distances = sliced_wasserstein(*sets)
    for side, distance in distances.items():
        a, b = (x[side].astype(np.float64) for x in sets)
        a, b = ((x - x.mean((0, 1, 2))) / x.std((0, 1, 2)) for x in (a, b))
        directions = np.random.default_rng(0).normal(size=(7 * 7 * 3, 4000))
        directions /= np.linalg.norm(directions, axis=0)
        a, b = (np.sort(x.reshape(len(x), -1) @ directions, axis=0) for x in (a, b))
        per_direction = 1e3 * np.abs(a - b).mean(axis=0)
        error = per_direction.std() * (1 / 4000 + 1 / 512) ** 0.5
        assert abs(distance - per_direction.mean()) < 4 * error
        assert error < 0.05 * distance
    np.testing.assert_allclose(
        list(sliced_wasserstein(*sets, seed=1).values()), list(distances.values()), rtol=0.2
    )


def test_batches_and_their_sizes_do_not_matter():
    images = draw(7)
    whole = descriptors([images], seed=3)
    split = descriptors(iter([images[:4], images[4:]]), seed=3)
    other = descriptors([images], seed=4)
    for side, patches in whole.items():
        np.testing.assert_allclose(split[side], patches, rtol=1e-3, atol=1e-3)
        assert not np.array_equal(other[side], patches)
    assert sliced_wasserstein(whole, split)[16] < 0.1
    assert set(sliced_wasserstein(whole, whole).values()) == {0.0}


def test_brightness_and_contrast_of_channels_do_not_matter():
    images = draw()
    other = (images // 2 + np.array([0, 20, 40], np.uint8)).astype(np.uint8)
    same = sliced_wasserstein(descriptors([images // 2]), descriptors([other]))
    assert max(same.values()) < 1  # float16's rounding


@pytest.mark.slow
def test_distance_grows_with_blur_at_its_level():
    """Blur of few pixels is in the finest level, noise of blocks in the coarsest."""
    images = draw(16, 64)
    real = descriptors([images])
    blurred, finest = images, [0.0]
    for _ in range(3):
        blurred = np.stack([np.round(filtered(image)) for image in blurred]).astype(np.uint8)
        distances = sliced_wasserstein(real, descriptors([blurred]))
        finest.append(distances[64])
        assert distances[64] > 2 * distances[16]
    assert np.all(np.diff(finest) > 5)

    flat = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    smooth = np.stack([pyramid(image)[16] for image in images])
    smooth = np.kron(smooth, np.ones((1, 4, 4, 1))) - flat
    coarse = descriptors([np.clip(images - 0.9 * smooth, 0, 255).astype(np.uint8)])
    distances = sliced_wasserstein(real, coarse)
    assert distances[16] > 1.5 * distances[64]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no images"),
        ([np.zeros((2, 32, 32, 3), np.float32)], "give uint8"),
        ([np.zeros((32, 32, 3), np.uint8)], "give uint8"),
        ([np.zeros((2, 48, 48, 3), np.uint8)], "squares of 16, 32"),
        ([np.zeros((2, 8, 8, 3), np.uint8)], "squares of 16, 32"),
        ([np.zeros((2, 32, 64, 3), np.uint8)], "squares of 16, 32"),
        ([draw(1, 16), draw(1, 32)], "one size"),
    ],
)
def test_images_without_descriptors(batches, message):
    with pytest.raises(UserError, match=message):
        descriptors(batches)


def test_sets_that_cannot_be_compared():
    small, large = descriptors([draw(2, 16)]), descriptors([draw(2, 32)])
    with pytest.raises(UserError, match="2 of 16 pixels and 2 of 32"):
        sliced_wasserstein(small, large)
    with pytest.raises(UserError, match="2 of 16 pixels and 3 of 16"):
        sliced_wasserstein(small, descriptors([draw(3, 16)]))
