"""The Frechet distance and its moments against torch-fidelity and the definitions in float64."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.metrics import frechet
from ganjax.metrics.frechet import Moments, MomentsStream, frechet_distance

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import fidelity_setup  # noqa: E402


def take(features, *cuts):
    stream = MomentsStream()
    for batch in np.split(features, cuts):
        stream.add(batch)
    return stream.moments()


def draw(count, width, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(width, width)) / width**0.5
    return rng.normal(size=(count, width)) @ mix + offset


def test_distance_is_torch_fidelitys():
    expected = np.load(GOLDENS / "fidelity_torch.npz")["frechet"]
    real, fake = map(take, fidelity_setup.draw_features())
    np.testing.assert_allclose(frechet_distance(real, fake), expected, rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(fake, real), expected, rtol=1e-9)


def test_moments_are_the_definitions_even_far_from_zero():
    features = draw(700, 12, offset=1000.0)
    count, mean, covariance = take(features, 100, 101, 500)
    assert count == 700
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-14)
    expected = np.cov(features - 1000, rowvar=False)
    np.testing.assert_allclose(covariance, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cuts", [(), (1, 2, 3), (63, 64, 65), range(7, 203, 7), (0, 150, 150)])
def test_any_split_gives_the_same_moments(cuts, monkeypatch):
    monkeypatch.setattr(frechet, "_BLOCK", 64)
    # Sorted, so that blocks differ as much as can be.
    features = np.sort(draw(203, 12), axis=0).astype(np.float32)
    count, mean, covariance = take(features, *cuts)
    whole = take(features, 100)
    assert count == 203
    np.testing.assert_array_equal(mean, whole.mean)
    np.testing.assert_array_equal(covariance, whole.covariance)
    wide = features.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(wide, rowvar=False), rtol=1e-12, atol=1e-12)


def test_moments_may_be_asked_for_midway(monkeypatch):
    monkeypatch.setattr(frechet, "_BLOCK", 64)
    features = draw(203, 12)
    stream = MomentsStream()
    stream.add(features[:150])
    midway = stream.moments()
    np.testing.assert_array_equal(midway.covariance, take(features[:150]).covariance)
    stream.add(features[150:])
    np.testing.assert_array_equal(stream.moments().covariance, take(features).covariance)


def test_memory_does_not_grow_with_the_number_of_rows():
    stream, batch = MomentsStream(), draw(3000, 4)
    for _ in range(10):
        stream.add(batch)
    held = [x for x in vars(stream).values() if isinstance(x, np.ndarray)] + [*stream._sums[1:]]
    assert sum(x.nbytes for x in held) < 2 * 8 * 4 * frechet._BLOCK


@pytest.mark.parametrize("counts", [(10, 15), (10, 400), (400, 15), (2, 2)])
def test_fewer_images_than_features(counts):
    """The exact value is the nuclear norm of the products between centerd rows."""
    real, fake = draw(counts[0], 40), 1.2 * draw(counts[1], 40, seed=1) + 0.1
    a, b = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (real, fake))
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    expected = np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2)
    expected += np.sum(a**2) + np.sum(b**2) - 2 * overlap
    distance = frechet_distance(take(real), take(fake))
    assert isinstance(distance, float)
    np.testing.assert_allclose(distance, expected, rtol=1e-12)


def test_equal_sets_and_dead_features():
    for features in (draw(300, 24), draw(10, 24), np.pad(draw(300, 20), ((0, 0), (0, 4)))):
        distance = frechet_distance(take(features), take(features))
        assert 0 <= distance < 1e-12 * np.trace(take(features).covariance)


def test_of_commuting_gaussians_it_is_the_formula():
    a = Moments(9, np.array([0.0, 1, 2]), np.diag([1.0, 4, 0]))
    b = Moments(9, np.array([0.0, 1, 4]), np.diag([9.0, 0, 0]))
    np.testing.assert_allclose(frechet_distance(a, b), 4 + (1 - 3) ** 2 + 4, rtol=1e-12)
    point = Moments(9, np.zeros(3), np.zeros((3, 3)))
    np.testing.assert_allclose(frechet_distance(a, point), 5 + 5, rtol=1e-12)


def test_it_grows_with_shift_and_scale():
    real = take(draw(400, 8))
    for changed in (lambda t: draw(400, 8) + t, lambda t: draw(400, 8) * (1 + t)):
        distances = [frechet_distance(real, take(changed(t))) for t in (0, 0.1, 0.3, 1)]
        assert np.all(np.diff(distances) > 0)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "give 2 or more"),
        ([np.ones((1, 3))], "1 images"),
        ([np.ones((2, 3)), np.ones((2, 4))], "3 and 4 wide"),
        ([np.array([[1.0, np.nan]])], "NaN"),
        ([np.array([[1.0, np.inf]])], "infinity"),
        ([np.ones(3)], "one row per image"),
    ],
)
def test_features_without_moments(batches, message):
    stream = MomentsStream()
    with pytest.raises(UserError, match=message):
        for batch in batches:
            stream.add(batch)
        stream.moments()


def test_distance_of_different_widths():
    with pytest.raises(UserError, match="same network"):
        frechet_distance(take(draw(9, 3)), take(draw(9, 4)))
