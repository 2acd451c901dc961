"""The Inception Score against torch-fidelity and the definition in float64."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.metrics.inception_score import inception_score

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import fidelity_setup  # noqa: E402


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_score_is_torch_fidelitys(dtype, rtol):
    """Of a number of images that the splits do not divide."""
    expected = np.load(GOLDENS / "fidelity_torch.npz")["inception_score"]
    got = inception_score(fidelity_setup.draw_logits().astype(dtype))
    np.testing.assert_allclose(got, expected, rtol=rtol)


def test_score_is_the_mean_divergence():
    logits = np.random.default_rng(0).normal(size=(50, 7))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.exp(np.mean(np.sum(p * np.log(p / p.mean(axis=0)), axis=1)))
    score = inception_score(logits, splits=1)
    np.testing.assert_allclose(score, (expected, 0), rtol=1e-12)
    np.testing.assert_allclose(inception_score(logits + 500, splits=1), score, rtol=1e-9)


def test_bounds():
    """Sure and varied answers, the same answer, and none."""
    sure = np.tile(np.eye(7), (10, 1)) * 1e4
    np.testing.assert_allclose(inception_score(sure, splits=1)[0], 7, rtol=1e-12)
    for dull in (np.tile(sure[:1], (70, 1)), np.zeros((70, 7))):
        np.testing.assert_allclose(inception_score(dull), (1, 0), atol=1e-12)


def test_logits_without_a_score():
    with pytest.raises(UserError, match="9 logits are too few; give 10 or more"):
        inception_score(np.zeros((9, 4)))
    with pytest.raises(UserError, match="logits hold NaN"):
        inception_score(np.full((10, 4), np.nan))
