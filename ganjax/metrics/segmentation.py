"""How well classes of pixels are told: intersection over union and Dice, one value per class.

Both follow from the counts of pixels by (true class, predicted class), summed over all images, as
PASCAL VOC and Cityscapes have it (Everingham et al. 2010, section 4.3).
"""

import numpy as np

from ganjax.errors import UserError


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Counts of pixels: int64 [true class, predicted class].

    Args:
      predicted: int [...], below `classes`.
      truth: int [...]; pixels of `classes` or more belong to no class and do not count.

    Raises:
      UserError: the shapes differ, or a prediction is no class.
    """
    if predicted.shape != truth.shape:
        raise UserError(f"label maps have the shapes {predicted.shape} and {truth.shape}")
    known = truth < classes
    if np.any(predicted[known] >= classes):
        raise UserError(f"a prediction is {predicted.max()}; there are {classes} classes from 0 on")
    places = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def iou(counts: np.ndarray) -> np.ndarray:
    """|A and B| / |A or B| of each class, float64 [K]; NaN of a class that is in neither.

    Args:
      counts: [K, K], from `confusion`.
    """
    both, sizes = np.diag(counts), counts.sum(0) + counts.sum(1)
    return _share(both, sizes - both)


def dice(counts: np.ndarray) -> np.ndarray:
    """2 |A and B| / (|A| + |B|) of each class, float64 [K]; NaN of a class that is in neither.

    Args:
      counts: [K, K], from `confusion`.
    """
    return _share(2 * np.diag(counts), counts.sum(0) + counts.sum(1))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
