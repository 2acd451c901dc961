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
      subset_size: rows in each, drawn without replacement; see `fitting_size`.
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
    draws = [
        [rng.choice(len(features), subset_size, replace=False) for features in (fake, real)]
        for _ in range(subsets)
    ]
    center = real.mean(axis=0)
    shares = [_shares(features, center) for features in (fake, real)]

    subset = np.empty((2, subset_size, real.shape[1]), real.dtype)
    distances = []
    for chosen in draws:
        for features, rows, out in zip((fake, real), chosen, subset, strict=True):
            np.take(features, rows, axis=0, out=out, mode="clip")  # other modes copy twice
        subset -= center
        a, b = (values[rows] for values, rows in zip(shares, chosen, strict=True))
        x, y = subset
        distances.append(_discrepancy(x, y, a, b))
    return float(np.mean(distances)), float(np.std(distances))


def fitting_size(real: int, fake: int) -> int:
    """Rows of a subset: 1000, or all of the smaller set, for which torch-fidelity must be told."""
    return min(1000, real, fake)


# float64 products would take twice the time. Those of float32 are taken about a common center c and
# the rest in float64: the discrepancy, a small difference of large means, then keeps 6 digits where
# plain float32 leaves 2. With u = x - c and w = y - c, x.y / D + 1 = u.w / D + a(u) + a(w).


def _shares(features: np.ndarray, center: np.ndarray) -> np.ndarray:
    """a(u) of every row: [N] in float64."""
    wide = center.astype(np.float64)
    return (np.einsum("nd,d->n", features, wide) - wide @ wide / 2) / len(wide) + 0.5


def _discrepancy(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Of centerd sets [N, D] and their shares [N]."""
    count = len(x)
    within = _sum(x, x, a, a, pairs=True) + _sum(y, y, b, b, pairs=True)
    return within / (count * (count - 1)) - 2 * _sum(x, y, a, b) / count**2


def _sum(
    x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, *, pairs: bool = False
) -> float:
    """The sum over i and j of (p_ij + a_i + b_j)^3 with p = x.y / D, expanded in powers of p.

    Args:
      pairs: only where i differs from j.
    """
    count, width = x.shape
    total = count * np.sum(a**3 + b**3) + 3 * (np.sum(a**2) * b.sum() + a.sum() * np.sum(b**2))
    # What is linear in p is a product of sums over i and over j.
    u, v = (np.stack([np.ones(count), s, s**2]).astype(z.dtype) @ z for z, s in ((x, a), (y, b)))
    total += 3 / width * np.einsum("kd,kd,k->", u, v[::-1], [1.0, 2.0, 1.0])
    products = x @ y.T
    columns = np.stack([np.ones(count), b], axis=1).astype(x.dtype)
    for start in range(0, count, _ROWS):
        rows = products[start : start + _ROWS]
        squares = rows * rows
        alone, with_b = (squares @ columns).T.astype(np.float64)
        quadratic = a[start : start + _ROWS] @ alone + with_b.sum()
        total += 3 / width**2 * quadratic + np.vdot(squares, rows) / float(width) ** 3
    if pairs:
        total -= np.sum((products.diagonal().astype(np.float64) / width + a + b) ** 3)
    return total
