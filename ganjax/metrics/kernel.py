"""The kernel distance between two sets of features.

Binkowski et al. 2018, https://arxiv.org/abs/1801.01401, section 4; with Inception's 2048 pooled
features it is the KID.
"""

import numpy as np
from numpy.typing import ArrayLike

from ganjax.errors import UserError
from ganjax.metrics.checks import check_pair

_ROWS = 64  # of the kernel at a time: they stay in the processor's cache


def kernel_distance(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy under the kernel (x.y / D + 1)^3, over subsets.

    Subsets are drawn as torch-fidelity draws them where the fakes are its first input, so that the
    same features and seed give the same numbers.

    Args:
      real: [N, D].
      fake: [M, D].
      subsets: how many pairs of subsets to take the mean over.
      subset_size: rows in each, drawn without replacement.
      seed: of the draws.

    Returns:
      (mean, standard deviation) over subsets; the mean may be slightly negative.

    Raises:
      UserError: a set is smaller than a subset, the widths differ, or features are not finite.
    """
    real, fake = check_pair(real, fake)
    if subset_size < 2 or min(len(real), len(fake)) < subset_size:
        raise UserError(
            f"a subset of {subset_size} does not fit {len(real)} real and {len(fake)} fake images; "
            f"give more images or a subset_size from 2 to {min(len(real), len(fake))}"
        )
    rng = np.random.RandomState(seed)
    centre = real.mean(axis=0)
    subset = np.empty((2, subset_size, real.shape[1]), real.dtype)
    distances = []
    for _ in range(subsets):
        for features, rows in zip((fake, real), subset, strict=True):
            chosen = rng.choice(len(features), subset_size, replace=False)
            np.take(features, chosen, axis=0, out=rows, mode="clip")  # other modes copy twice
        subset -= centre
        distances.append(_discrepancy(*subset, centre))
    return float(np.mean(distances)), float(np.std(distances))


def _discrepancy(x: np.ndarray, y: np.ndarray, centre: np.ndarray) -> float:
    """Of sets [N, D] from which `centre` [D] has been subtracted."""
    # float64 products would take twice the time. Those of float32 are taken about a common centre
    # and the rest in float64: the discrepancy, a small difference of large means, then keeps 6
    # digits where plain float32 leaves 2.
    count, width = x.shape
    wide = centre.astype(np.float64)
    # x.y / D + 1 of the uncentred rows is products / D + a_i + b_j.
    a, b = ((u.astype(np.float64) @ wide + wide @ wide / 2) / width + 0.5 for u in (x, y))
    within = _off_diagonal(x @ x.T, a, width) + _off_diagonal(y @ y.T, b, width)
    return within / (count * (count - 1)) - 2 * _sum(x @ y.T, a, b, width) / count**2


def _off_diagonal(products: np.ndarray, a: np.ndarray, width: int) -> float:
    diagonal = products.diagonal().astype(np.float64) / width + 2 * a
    return _sum(products, a, a, width) - np.sum(diagonal**3)


def _sum(products: np.ndarray, a: np.ndarray, b: np.ndarray, width: int) -> float:
    """The sum of (products / width + a_i + b_j)^3, in float64."""
    total = 0.0
    for start in range(0, len(products), _ROWS):
        rows = slice(start, start + _ROWS)
        values = np.multiply(products[rows], 1 / width, dtype=np.float64)
        values += a[rows, None]
        values += b
        total += np.vdot(values * values, values)
    return total
