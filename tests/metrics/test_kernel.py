"""The kernel distance against torch-fidelity and the definition in float64."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.metrics.kernel import kernel_distance

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import fidelity_setup  # noqa: E402


def discrepancy(x, y):
    """The unbiased estimator, term by term (Gretton et al. 2012, equation 3)."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    pairs = len(x) * (len(x) - 1)
    return (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / pairs - 2 * xy.mean()


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_distance_is_torch_fidelitys(dtype, rtol):
    expected = np.load(GOLDENS / "fidelity_torch.npz")["kernel"]
    real, fake = (x.astype(dtype) for x in fidelity_setup.draw_features())
    got = kernel_distance(real, fake, **fidelity_setup.SUBSETS)
    np.testing.assert_allclose(got, expected, rtol=rtol)


def test_small_distances_of_float32_keep_their_digits():
    """Far from zero, as activations are: plain float32 is off by 4e-6 here, 2 % of the distance."""
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(32, 512)) * 0.1
    real, fake = (np.logaddexp(0, rng.normal(size=(400, 32)) @ mix + 1) for _ in range(2))
    real, fake = real.astype(np.float32), fake.astype(np.float32)
    distance, _ = kernel_distance(real, fake, subsets=1, subset_size=400)
    np.testing.assert_allclose(distance, discrepancy(real, fake), rtol=0, atol=1e-8)


def test_estimate_is_unbiased_and_seeded():
    x, y = np.random.default_rng(1).normal(size=(2, 500, 16))
    mean, std = kernel_distance(x, y, subsets=50, subset_size=50)
    assert abs(mean) < 3 * std / np.sqrt(50)
    assert kernel_distance(x, y, subsets=50, subset_size=50) == (mean, std)
    assert kernel_distance(x, y, subsets=50, subset_size=50, seed=1) != (mean, std)
    assert kernel_distance(x, y + 0.5, subsets=50, subset_size=50)[0] > 5 * std


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.ones((999, 3)), np.ones((2000, 3)), "subset_size from 2 to 999"),
        (np.ones((2000, 3)), np.ones((40, 3)), "subset_size from 2 to 40"),
        (np.ones((1000, 3)), np.ones((1000, 4)), "3 and 4 wide"),
        (np.full((1000, 3), np.nan), np.ones((1000, 3)), "real features hold NaN"),
        (np.ones((1000, 3)), np.full((1000, 3), -np.inf), "fake features hold NaN or infinity"),
    ],
)
def test_features_that_cannot_be_compared(real, fake, message):
    with pytest.raises(UserError, match=message):
        kernel_distance(real, fake)
