"""What every metric asks of the features it is given."""

import numpy as np
from numpy.typing import ArrayLike

from ganjax.errors import UserError


def check_features(features: ArrayLike, *, what: str = "features", least: int = 1) -> np.ndarray:
    """`features` as a floating numpy array [N, D] of finite numbers with `least` rows or more.

    Raises:
      UserError: they are not that; `what` names them in its message.
    """
    values = np.asarray(features)
    if values.ndim != 2:
        raise UserError(f"{what} are of shape {values.shape}; give one row per image, [N, D]")
    if len(values) < least:
        raise UserError(f"{len(values)} {what} are too few; give {least} or more images")
    if values.dtype != np.float64:
        values = values.astype(np.float32, copy=False)
    # One pass without a mask of the array's size: NaN and infinity survive in the sums.
    if not np.isfinite(values.sum(axis=1)).all() and not np.isfinite(values).all():
        raise UserError(f"{what} hold NaN or infinity; check the images and the weights")
    return values


def check_pair(
    real: ArrayLike, fake: ArrayLike, *, least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """`check_features` of two sets, in their wider type, that must be of one width.

    Raises:
      UserError: also where the widths differ.
    """
    real = check_features(real, what="real features", least=least)
    fake = check_features(fake, what="fake features", least=least)
    check_widths(real.shape[1], fake.shape[1])
    dtype = np.promote_types(real.dtype, fake.dtype)
    return real.astype(dtype, copy=False), fake.astype(dtype, copy=False)


def check_widths(real: int, fake: int) -> None:
    """Raises UserError if features of two extractors are about to be compared."""
    if real != fake:
        raise UserError(f"features are {real} and {fake} wide; extract both by the same network")
