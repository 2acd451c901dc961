"""What metrics keep of a stream of images, and a cache of what they know of references."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganjax.errors import UserError
from ganjax.metrics.frechet import MomentsStream
from ganjax.metrics.protocols import Statistic
from ganjax.metrics.sliced_wasserstein import descriptors
from ganjax.paths import cache_folder, write_atomic

VERSION = 1  # of what is cached: to be raised when the same images would give other values

Values = dict[str, np.ndarray]


class Collector(NamedTuple):
    """Gathers one statistic from a stream.

    Attributes:
      add: takes the next outputs of an extractor (or `images`), arrays whose first axis is the
        image.
      finish: gives the statistic.
    """

    add: Callable[[Values], None]
    finish: Callable[[], Values]


def make_collector(statistic: Statistic) -> Collector:
    """The collector of a statistic of `statistic.size` images.

    Moments take the same memory whatever the number of images; features and logits are kept in
    float32, 8 kB per image of Inception's, patches in float16, 38 kB per image and level.
    """
    if statistic.what == "moments":
        stream = MomentsStream()

        def moments() -> Values:
            size, mean, covariance = stream.moments()
            return {"count": np.asarray(size), "mean": mean, "covariance": covariance}

        return Collector(lambda outputs: stream.add(outputs["features"]), moments)
    kept: Values = {}
    seen = 0

    def add(outputs: Values) -> None:
        nonlocal seen
        if statistic.what == "patches":
            patches = descriptors([outputs["images"]], first=seen)
            rows = {str(side): values for side, values in patches.items()}
            count = len(outputs["images"])
        else:
            rows = {statistic.what: outputs[statistic.what]}
            count = len(rows[statistic.what])
        for name, values in rows.items():
            each = len(values) // count  # patches of an image
            if name not in kept:
                shape = (statistic.size * each, *values.shape[1:])
                kept[name] = np.empty(shape, values.dtype)
            kept[name][seen * each : (seen + count) * each] = values
        seen += count

    def finish() -> Values:
        # Of all that there should be, broken ones are missing.
        return {name: x[: len(x) // statistic.size * seen] for name, x in kept.items()}

    return Collector(add, finish)


def cache_path(statistic: Statistic, *, images: str, extractor: str) -> Path:
    """Where a statistic of a reference is kept.

    Args:
      images: digest of the images, their order and their size.
      extractor: digest of its weights and protocol.
    """
    text = json.dumps([VERSION, images, extractor, *statistic])
    return cache_folder() / "statistics" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"


def load_cached(path: Path) -> Values | None:
    """The statistic in a cache file; None where it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def save_cached(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a cache file, whole or not at all.

    Raises:
      UserError: the folder cannot be written to.
    """
    content = io.BytesIO()
    np.savez(content, **values)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.getvalue())
    except (OSError, UserError) as error:
        raise UserError(f"{error}; another folder is named with GANJAX_CACHE=DIR") from error
