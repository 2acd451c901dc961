"""What is black and what is white in images of more than 8 bits, as scientific TIFFs are."""

import math
import re
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

_BITS, _PHOTOMETRIC, _DESCRIPTION, _FORMAT = 258, 262, 270, 339  # TIFF tags
_RANGES = ((340, 341), (280, 281))  # SMinSampleValue and SMaxSampleValue, those of integers
_UNSIGNED = 1  # of the tag _FORMAT
_IMAGEJ = re.compile(r"^(min|max)=(\S+)$", re.MULTILINE)
_WHITES = (1, 255, 65535)
_BRIGHT = 0.01  # of the samples may lie above what is white all the same
_told: set[str] = set()


class Samples(NamedTuple):
    """What a file says of its samples.

    Attributes:
      range: (black, white); None where it does not say.
      inverted: white is the lower one.
      unsigned: 32 bits without a sign, which Pillow reads with one.
    """

    range: tuple[float, float] | None = None
    inverted: bool = False
    unsigned: bool = False


def declared(image: Any) -> Samples:
    """What an opened file says of its samples; the pixels need not be decoded yet."""
    if image.format != "TIFF":
        return Samples(None if image.mode == "F" else (0, 65535))
    tags = image.tag_v2
    inverted = tags.get(_PHOTOMETRIC) == 0
    bits, kind = (_first(tags.get(tag, 1)) for tag in (_BITS, _FORMAT))
    if image.mode.startswith("I;16"):
        return Samples((0, 2**bits - 1), inverted)
    unsigned = image.mode == "I" and bits == 32 and kind == _UNSIGNED
    pairs = [tuple(_first(tags.get(tag)) for tag in pair) for pair in _RANGES]
    text = tags.get(_DESCRIPTION)
    if isinstance(text, str) and text.startswith("ImageJ="):
        shown = dict(_IMAGEJ.findall(text))
        pairs.append((shown.get("min"), shown.get("max")))
    for pair in pairs:
        try:
            low, high = map(float, pair)
        except (TypeError, ValueError):
            continue
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return Samples((low, high), inverted, unsigned)
    return Samples(None, inverted, unsigned)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def guess(tiles: Iterable[np.ndarray], name: Any) -> tuple[float, float]:
    """(black, white) of samples that a file says nothing of; one line on stderr tells the user.

    Args:
      tiles: all samples.
      name: of the file.
    """
    low, high, count = math.inf, -math.inf, 0
    above = dict.fromkeys(_WHITES, 0)
    for tile in tiles:
        finite = tile[np.isfinite(tile)]
        if finite.size:
            low, high = min(low, finite.min()), max(high, finite.max())
        count += finite.size
        above = {white: n + (finite > white).sum() for white, n in above.items()}
    if not count or (low >= 0 and high <= 1):
        return 0.0, 1.0
    white = next((white for white, n in above.items() if n <= _BRIGHT * count), float(high))
    if low >= -0.01 * white:
        black = 0.0
    else:
        black, white = (-1.0, 1.0) if low >= -1 and white == 1 else (float(low), float(high))
        white = white if white > black else black + 1
    common = (black, white) in [(0, 1), (0, 255), (0, 65535), (-1, 1)]
    key = f"{black:g} to {white:g}" if common else "the lowest to the highest"
    if key not in _told:
        _told.add(key)
        tqdm.write(
            f"warning: {name} has samples from {low:g} to {high:g} and does not declare a range; "
            f"it is read as {key}, black to white, and others like it as well",
            file=sys.stderr,
        )
    return black, white
