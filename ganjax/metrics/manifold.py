"""How far generated images lie within the manifold of the real ones, and the other way round.

A set's manifold is the union of balls around its features, each of which reaches to the k-th
nearest other feature of the set.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from ganjax.errors import UserError
from ganjax.metrics.checks import check_pair

_ENTRIES = 2**22  # distances that are held at once


def precision_recall(real: ArrayLike, fake: ArrayLike, *, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991, equations 1-2).

    Balls are closed, as in torch-fidelity and the authors' code.

    Args:
      real: [N, D].
      fake: [M, D].
      k: which neighbor a ball reaches to.

    Returns:
      The share of fakes in the manifold of the reals, and that of reals in that of the fakes.

    Raises:
      UserError: a set has k features or fewer, the widths differ, or features are not finite.
    """
    real, fake = _checked(real, fake, k)
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    covered_fakes, covered_reals = 0, np.zeros(len(real), bool)
    for rows, distances in _distances(fake, real):
        covered_fakes += int(np.sum((distances <= real_radii).any(axis=1)))
        covered_reals |= (distances <= fake_radii[rows, None]).any(axis=0)
    return float(covered_fakes / len(fake)), float(covered_reals.mean())


def density_coverage(real: ArrayLike, fake: ArrayLike, *, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, arXiv:2002.09797, equations 3-4).

    Balls are open, as in the authors' code: of two equal sets the density is then 1 exactly.

    Args:
      real: [N, D].
      fake: [M, D].
      k: which neighbor a ball reaches to.

    Returns:
      In how many balls of reals a fake lies, in the mean and divided by k; and the share of reals
      whose ball holds a fake.

    Raises:
      UserError: a set has k features or fewer, the widths differ, or features are not finite.
    """
    real, fake = _checked(real, fake, k)
    radii = _radii(real, k)
    inside, nearest = 0, np.full(len(real), np.inf)
    for _, distances in _distances(fake, real):
        inside += int(np.sum(distances < radii))
        np.minimum(nearest, distances.min(axis=0), out=nearest)
    return float(inside / (k * len(fake))), float(np.mean(nearest < radii))


def _checked(real: ArrayLike, fake: ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
    if k < 1:
        raise UserError(f"k is {k}; give 1 or more")
    return check_pair(real, fake, least=k + 1)


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of every feature to its k-th nearest other one: [N]."""
    blocks = _distances(features, features)
    # Each is also its own neighbor, the 0th.
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for _, block in blocks])


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances, [rows of a, N] in float32, block by block of rows of `a`.

    Their products are summed in float64 and about a center, and what lies below its rounding is 0.
    Equal distances are then equal numbers, wherever they were computed: a copy of a real image is
    in its ball also when k more copies shrank it to a point, and a k-th neighbor is on its border.
    """
    center = b.mean(axis=0, dtype=np.float64)
    columns = b - center
    squares = np.einsum("nd,nd->n", columns, columns)
    floor = b.shape[1] * np.finfo(np.float64).eps
    step = max(1, _ENTRIES // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        block = a[rows] - center
        norms = np.einsum("nd,nd->n", block, block)[:, None] + squares
        distances = block @ columns.T
        distances *= -2
        distances += norms
        norms *= floor
        yield rows, np.where(distances < norms, 0, distances).astype(np.float32)
