"""What is black and what is white in images of more than 8 bits, as scientific TIFFs are."""

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ganjax.errors import UserError, tell_once

Range = tuple[float, float]  # (black, white)

_BITS, _PHOTOMETRIC, _DESCRIPTION, _FORMAT = 258, 262, 270, 339  # TIFF tags
_MISSING = 42113  # GDAL's tag, a text
_RANGES = ((340, 341), (280, 281))  # SMinSampleValue and SMaxSampleValue, those of integers
_UNSIGNED, _SIGNED = 1, 2  # of the tag _FORMAT
_IMAGEJ = re.compile(r"^(min|max)=(\S+)$", re.MULTILINE)
_WHITES = (1, 255, 65535)
_COMMON = ((0, 1), (0, 255), (0, 65535), (-1, 1))
_BRIGHT = 0.01  # of the samples may lie above what is white all the same
_REMEDY = "--range=LOW..HIGH (in training --config.data.range) sets another"


def parse_range(text: str) -> Range | None:
    """ "0..4095" -> (0.0, 4095.0), black and white; "" -> None.

    Raises:
      UserError: the text is no range.
    """
    if not text:
        return None
    low, _, high = text.partition("..")
    try:
        black, white = float(low), float(high)
        good = black < white and math.isfinite(white - black)
    except ValueError:
        good = False
    if not good:
        raise UserError(f"range {text!r:.40}: give LOW..HIGH, like 0..1 or 0..4095")
    return black, white


class Samples(NamedTuple):
    """What a file says of its samples.

    Attributes:
      range: (black, white); None where it does not say.
      inverted: white is the lower one.
      unsigned: 32 bits without a sign, which Pillow reads with one.
      signed: 8 bits with a sign, which Pillow reads without one.
      missing: what stands for samples that there are none of.
    """

    range: Range | None = None
    inverted: bool = False
    unsigned: bool = False
    signed: bool = False
    missing: float | None = None


def declared(image: Any) -> Samples:
    """What an opened file says of its samples; the pixels need not be decoded yet."""
    if image.format != "TIFF":
        return Samples(None if image.mode == "F" else (0, 65535))
    tags = image.tag_v2
    inverted = tags.get(_PHOTOMETRIC) == 0
    bits, kind = (_first(tags.get(tag, 1)) for tag in (_BITS, _FORMAT))
    if image.mode.startswith("I;16"):
        return Samples((0, 2**bits - 1), inverted)
    samples = Samples(
        inverted=inverted,
        unsigned=image.mode == "I" and bits == 32 and kind == _UNSIGNED,
        signed=image.mode == "L" and bits == 8 and kind == _SIGNED,
        missing=_number(tags.get(_MISSING)),
    )
    pairs = [tuple(_first(tags.get(tag)) for tag in pair) for pair in _RANGES]
    text = tags.get(_DESCRIPTION)
    if isinstance(text, str) and text.startswith("ImageJ="):
        shown = dict(_IMAGEJ.findall(text))
        pairs.append((shown.get("min"), shown.get("max")))
    for pair in pairs:
        low, high = map(_number, pair)
        if low is not None and high is not None and low < high:
            return samples._replace(range=(low, high))
    return samples


def _number(value: Any) -> float | None:
    try:
        number = float(str(value).rstrip(" \0"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


class Guess(NamedTuple):
    """What samples seem to mean.

    Attributes:
      range: (black, white).
      extent: of the samples, the lowest and the highest.
      sure: nothing else would be sensible.
    """

    range: Range
    extent: Range
    sure: bool = False

    def __str__(self) -> str:
        if self.range in _COMMON:
            return f"{self.range[0]:g} to {self.range[1]:g}"
        return "the lowest to the highest"


def estimate(tiles: Iterable[np.ndarray]) -> Guess:
    """What samples mean that a file says nothing of.

    Args:
      tiles: all samples.
    """
    low, high, count = math.inf, -math.inf, 0
    above = dict.fromkeys(_WHITES, 0)
    for tile in tiles:
        finite = tile[np.isfinite(tile)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        count += finite.size
        above = {white: n + int((finite > white).sum()) for white, n in above.items()}
    if not count or (low >= 0 and high <= 1):
        return Guess((0.0, 1.0), (low, high), sure=True)
    white = next((float(white) for white, n in above.items() if n <= _BRIGHT * count), high)
    if low >= -0.01 * white:
        black = 0.0
    else:
        black, white = (-1.0, 1.0) if low >= -1 and white == 1 else (low, high)
        white = white if white > black else black + max(1, abs(black))
    return Guess((black, white), (low, high))


def guess(tiles: Iterable[np.ndarray], name: Any) -> Guess:
    """The same; where it is not sure, one line on stderr tells the user.

    Args:
      name: of the file, or of what holds files like it.
    """
    found = estimate(tiles)
    if not found.sure:
        low, high = found.extent
        tell_once(
            f"warning: {name} has samples from {low:g} to {high:g} and does not declare a range; "
            f"it is read as {found}, black to white, and others like it as well; {_REMEDY}",
            key=f"samples read as {found}",
        )
    return found


def check(found: Guess, tiles: Iterable[np.ndarray], name: Any) -> None:
    """Tells the user of a file whose samples seem to mean something else than those around it."""
    own = estimate(tiles)
    (low, high), (black, white) = own.extent, found.range
    unlike = own.range != found.range if found.range in _COMMON else low < black or high > white
    if low < high and unlike:
        tell_once(
            f"warning: {name} has samples from {low:g} to {high:g} and is read as "
            f"{black:g} to {white:g}, black to white, as the files around it seem to be; {_REMEDY}",
            key="samples unlike those around them",
        )
