"""Precision, recall, density and coverage against torch-fidelity, prdc and the definitions."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.metrics import manifold
from ganjax.metrics.manifold import density_coverage, precision_recall

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import fidelity_setup  # noqa: E402


@pytest.mark.parametrize("entries", [1, 1000, 10**6])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_are_the_published_codes(entries, dtype, monkeypatch):
    """Whatever the blocks; the goldens themselves are in float32."""
    monkeypatch.setattr(manifold, "_ENTRIES", entries)
    golden = np.load(GOLDENS / "fidelity_torch.npz")
    real, fake = (x.astype(dtype) for x in fidelity_setup.draw_features())
    for metric in (precision_recall, density_coverage):
        expected = golden[metric.__name__]
        np.testing.assert_allclose(metric(real, fake), expected, rtol=0, atol=1e-7)


def definitions(real, fake, k):
    """All four by loops over plain differences."""

    def distances(a, b):
        return np.array([[np.linalg.norm(x - y) for y in b] for x in a])

    def radii(x):
        return np.sort(distances(x, x), axis=1)[:, k]

    between = distances(real, fake)
    return (
        (between <= radii(real)[:, None]).any(axis=0).mean(),
        (between <= radii(fake)[None, :]).any(axis=1).mean(),
        (between < radii(real)[:, None]).sum() / (k * len(fake)),
        (between < radii(real)[:, None]).any(axis=1).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_values_are_the_definitions(k):
    rng = np.random.default_rng(k)
    real, fake = rng.normal(size=(40, 3)), rng.normal(size=(25, 3)) + 0.7
    got = *precision_recall(real, fake, k=k), *density_coverage(real, fake, k=k)
    np.testing.assert_allclose(got, definitions(real, fake, k), rtol=1e-12)


def test_equal_sets_far_from_zero():
    """Every k-th neighbor is on the border of its ball, where rounding must not decide."""
    features = (np.random.default_rng(0).normal(size=(150, 32)) + 50).astype(np.float32)
    shuffled = features[::-1]
    assert precision_recall(features, shuffled) == (1, 1)
    assert density_coverage(features, shuffled) == (1, 1)


def test_copies_shrink_a_ball_to_a_point():
    """Which has copies of it within, though balls and distances have other centers."""
    points = np.random.default_rng(1).normal(size=(30, 301)).astype(np.float32) + 1
    real, fake = np.repeat(points, 5, axis=0), np.repeat(points, 4 + np.arange(30) % 9, axis=0)
    assert precision_recall(real, fake) == (1, 1)
    assert precision_recall(real, fake + np.float32(0.01)) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_border_is_in_the_closed_ball_and_not_in_the_open(seed):
    """A row of points, evenly apart but for the ends, which move the means off round numbers."""
    step = np.random.default_rng(seed).integers(-9, 9, 301)
    places = np.array([-30, *range(20), 49])
    real, fake = np.split((places[:, None] * step).astype(np.float32), 2)
    np.testing.assert_allclose(precision_recall(real, fake, k=1), 1 / 11)
    np.testing.assert_allclose(precision_recall(real, fake, k=2), 2 / 11)
    assert density_coverage(real, fake, k=1) == (0, 0)


def test_missing_modes_and_outliers():
    """Two modes of which the fakes have one, half of them lost in between."""
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(200, 8)) * 0.1
    real = noise + np.repeat([[0.0], [10.0]], 100, axis=0)
    fake = rng.normal(size=(200, 8)) * 0.1 + np.repeat([[0.0], [5.0]], 100, axis=0)
    precision, recall = precision_recall(real, fake)
    density, coverage = density_coverage(real, fake)
    assert 0.35 < precision <= 0.5 and 0.35 < recall <= 0.5
    assert 0.3 < density < 0.7 and 0.35 < coverage <= 0.5


@pytest.mark.parametrize(("metric", "least"), [(precision_recall, 4), (density_coverage, 6)])
def test_sets_that_cannot_be_compared(metric, least):
    full, few = np.ones((8, 3)), np.ones((least - 1, 3))
    with pytest.raises(UserError, match=f"real features are too few; give {least} or more"):
        metric(few, full)
    with pytest.raises(UserError, match=f"fake features are too few; give {least} or more"):
        metric(full, few)
    with pytest.raises(UserError, match="3 and 4 wide"):
        metric(full, np.ones((8, 4)))
    with pytest.raises(UserError, match="NaN"):
        metric(full, full * np.nan)
    with pytest.raises(UserError, match="k is 0"):
        metric(full, full, k=0)
