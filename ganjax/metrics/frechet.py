"""The Frechet distance between Gaussians fitted to two sets of features.

Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6; with Inception's 2048 pooled
features it is the FID.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ganjax.errors import UserError
from ganjax.metrics.checks import check_features, check_widths

_BLOCK = 8192  # rows that are summed at once


class Moments(NamedTuple):
    """Statistics of features in float64.

    Attributes:
      size: N, the number of rows they were taken of.
      mean: [D].
      covariance: [D, D], the sums of products divided by N - 1.
    """

    size: int
    mean: np.ndarray
    covariance: np.ndarray


class MomentsStream:
    """Takes the moments of features batch by batch, in memory that does not grow with their number.

    Rows are gathered into blocks of one size, so that the sums, bit for bit, are the same however
    the rows were split into batches. Blocks are merged about their own means (Chan et al. 1979).
    """

    # On the host: JAX is float32 by default, in which a covariance of 50k rows has 4 digits left.

    def __init__(self) -> None:
        self._count = 0
        self._rows = np.empty((0, 0))  # [_BLOCK, D], of which the first `_filled` wait
        self._filled = 0
        self._sums: tuple[int, np.ndarray, np.ndarray] | None = None

    def add(self, features: ArrayLike) -> None:
        """Adds a batch [B, D] of any size.

        Raises:
          UserError: it is of another width than those before, or holds NaN or infinity.
        """
        features = check_features(features, least=0)
        if not self._rows.size:
            self._rows = np.empty((_BLOCK, features.shape[1]))
        check_widths(self._rows.shape[1], features.shape[1])
        while len(features):
            taken = features[: _BLOCK - self._filled]
            self._rows[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            features = features[len(taken) :]
            if self._filled == _BLOCK:
                self._sums = _merge(self._sums, self._rows)
                self._filled = 0

    def moments(self) -> Moments:
        """The moments of all rows so far; more may be added afterwards.

        Raises:
          UserError: there are fewer than 2.
        """
        sums = self._sums
        if self._filled:
            sums = _merge(sums, self._rows[: self._filled].copy())
        if sums is None or sums[0] < 2:
            count = sums[0] if sums else 0
            raise UserError(f"a covariance of {count} images does not exist; give 2 or more")
        count, mean, scatter = sums
        return Moments(count, mean.copy(), scatter / (count - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2)).

    With C_a = A A^T and C_b = B B^T, the last trace is the sum of the singular values of A^T B:
    never complex, and as exact for singular covariances (fewer images than features) as for others,
    where the eigenvalues of C_a C_b, which the common forms take, lose half the digits.

    Args:
      a, b: of features of one extractor.

    Returns:
      The distance, 0 or more.

    Raises:
      UserError: the features differ in width.
    """
    check_widths(len(a.mean), len(b.mean))
    product = _factor(a.covariance).T @ _factor(b.covariance)
    overlap = np.linalg.svd(product, compute_uv=False).sum()
    means = np.sum(np.square(a.mean - b.mean))
    distance = means + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap
    return max(float(distance), 0.0)


def _merge(
    sums: tuple[int, np.ndarray, np.ndarray] | None, rows: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray]:
    """(count, mean, sums of products about the mean) with a block added, whose rows are lost."""
    mean = rows.mean(axis=0)
    rows -= mean
    scatter = rows.T @ rows
    if sums is None:
        return len(rows), mean, scatter
    count = sums[0] + len(rows)
    step = mean - sums[1]
    scatter += sums[2]
    scatter += np.outer(step, step * (sums[0] * len(rows) / count))
    return count, sums[1] + step * (len(rows) / count), scatter


def _factor(covariance: np.ndarray) -> np.ndarray:
    """A [D, R] with A A^T = covariance, R its rank up to rounding."""
    floor = len(covariance) * np.finfo(np.float64).eps * covariance.diagonal().max()
    try:
        factor = np.linalg.cholesky(covariance)
        if np.square(factor.diagonal()).min() > floor:
            return factor
    except np.linalg.LinAlgError:
        pass
    # Slower. Eigenvalues below the floor are rounding errors, whose roots would be no small ones.
    values, vectors = np.linalg.eigh(covariance)
    kept = values > floor
    return vectors[:, kept] * np.sqrt(values[kept])
