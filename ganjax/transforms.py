"""The contract between style transfer and the transforms that carry a style: AdaIN and its like.

A style is what a transform measures of features; `ganjax.nets.stylizers` and `ganjax.stylize` write
mixtures, masks, strength and tiles once, for every transform.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

Moments = Any
Statistics = Any


class Transform(NamedTuple):
    """Pure functions that measure features and give them the statistics of others.

    Features are [..., H, W, C]. Moments and statistics are pytrees whose leaves have the leading
    axes of the features they were taken of.

    Attributes:
      measure: (features, mask=None) -> moments; the mask [..., H, W, 1] weighs the pixels, with
        0 or more. Moments of no weight are finite.
      combine: (moments, moments) -> moments of the pixels of both, whether the leaves are NumPy's
        (on the host, in float64) or JAX's.
      statistics: moments -> statistics, what `apply` needs of a content and of a style.
      apply: (features, statistics of the content, styles, weights [N]) -> features. Leaves of
        `styles` have a first axis of N styles; the result is their mixture by weight.
      bound: (features, statistics) -> features, those far out of what the statistics describe
        brought near. Of a part of an image that was not measured anything can come.
    """

    measure: Callable[..., Moments]
    combine: Callable[[Moments, Moments], Moments]
    statistics: Callable[[Moments], Statistics]
    apply: Callable[[Array, Statistics, Statistics, Array], Array]
    bound: Callable[[Array, Statistics], Array]
