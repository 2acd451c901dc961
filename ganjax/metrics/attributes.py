"""What a generator of portraits draws and what it leaves out, by the word of a classifier.

Attributes are int [N, A], a column each in the order of `attributes`, which maps names to values;
-1 stands for what cannot be seen (`ganjax.data.visibility.hide`) and is a value like any other,
except for `accuracy`, where it does not count. A classifier errs on real images, too: compare
what it says of generated images with what it says of real ones, not with their labels.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ganjax.errors import UserError

Attributes = Mapping[str, Sequence[str]]
GROUPS: dict[str, tuple[str, ...]] = {
    "setting": ("background", "pattern"),
    "face": ("skin", "face", "expression", "facial_hair"),
    "head": ("hair", "hat", "glasses", "expression"),
    "colors": ("hair_color", "hat_color", "clothes_color"),
    "outfit": ("hat", "earrings", "clothes", "clothes_color"),
}
"""Attributes of which a generator should draw every combination."""


class Coverage(NamedTuple):
    """How many different combinations are among equally many generated and real images.

    Attributes:
      generated, real: a count; a mean over all subsets where a set is larger than the other.
    """

    generated: float
    real: float

    @property
    def share(self) -> float:
        return self.generated / self.real


def predict(logits: np.ndarray, attributes: Attributes) -> np.ndarray:
    """The likeliest value of each attribute: logits [N, K], attribute by attribute, to [N, A].

    Raises:
      UserError: the logits are not those of these attributes.
    """
    sizes = [len(values) for values in attributes.values()]
    if logits.ndim != 2 or logits.shape[1] != sum(sizes):
        raise UserError(f"logits are {logits.shape}; give [N, {sum(sizes)}], of these attributes")
    parts = np.split(np.asarray(logits), np.cumsum(sizes)[:-1], axis=1)
    return np.stack([part.argmax(axis=1) for part in parts], axis=1)


def accuracy(predicted: np.ndarray, labels: np.ndarray, attributes: Attributes) -> dict[str, float]:
    """Share of right predictions by attribute, where `labels` are 0 or more.

    Attributes that can be seen nowhere are left out.

    Raises:
      UserError: the arrays do not fit.
    """
    _check(predicted, labels, attributes)
    if len(predicted) != len(labels):
        raise UserError(f"there are {len(predicted)} predictions, but {len(labels)} labels")
    seen, right = labels >= 0, predicted == labels
    return {
        name: float(right[seen[:, number], number].mean())
        for number, name in enumerate(attributes)
        if seen[:, number].any()
    }


def coverage(
    generated: np.ndarray,
    real: np.ndarray,
    attributes: Attributes,
    *,
    groups: Mapping[str, Sequence[str]] = GROUPS,
) -> dict[str, Coverage]:
    """Different combinations of each group's attributes, in as many generated as real images.

    Of the larger set, the expected number in a random subset of the other's size (rarefaction,
    Hurlbert 1971, equation 18).

    Raises:
      UserError: a set is empty or not of these attributes.
    """
    _check(generated, real, attributes)
    names, count = list(attributes), min(len(generated), len(real))
    result = {}
    for group, members in groups.items():
        columns = [names.index(name) for name in members]
        sides = (_distinct(values[:, columns], count) for values in (generated, real))
        result[group] = Coverage(*sides)
    return result


def histogram_distances(
    generated: np.ndarray, real: np.ndarray, attributes: Attributes
) -> dict[str, float]:
    """Total variation between the histograms of each attribute: 0 (equal) to 1 (disjoint).

    It is the share of generated images that would need another value. Two sets of N images of one
    kind differ, too: by up to about sqrt((values - 1) / (pi N)), which even values reach.

    Raises:
      UserError: a set is empty or not of these attributes.
    """
    _check(generated, real, attributes)
    result = {}
    for number, (name, values) in enumerate(attributes.items()):
        shares = [
            np.bincount(side[:, number] + 1, minlength=len(values) + 1) / len(side)
            for side in (generated, real)
        ]
        result[name] = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return result


def _distinct(rows: np.ndarray, count: int) -> float:
    """Expected number of different rows among `count` of them, drawn without replacement."""
    _, times = np.unique(rows, axis=0, return_counts=True)
    # One that is there m times is missed with (T-n)/T * (T-n-1)/(T-1) * ..., m factors.
    i = np.arange(np.max(times))
    missed = np.cumprod(np.maximum(len(rows) - count - i, 0) / (len(rows) - i))
    return float(np.sum(1 - missed[times - 1]))


def _check(a: np.ndarray, b: np.ndarray, attributes: Attributes) -> None:
    for values in (a, b):
        if values.ndim != 2 or values.shape[1] != len(attributes) or not len(values):
            raise UserError(f"attributes are {values.shape}; give [N, {len(attributes)}], N > 0")
