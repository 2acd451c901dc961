"""Reads and resizes images, and converts between their two forms: uint8 in files and batches,
float in [-1, 1] in networks and losses. `ganjax.outputs` writes them."""

import io
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganjax.errors import UserError, one_line
from ganjax.images.formats import (
    open_image,
    read_orientation,
    without_metadata,
)
from ganjax.images.profiles import to_srgb
from ganjax.images.samples import Guess, Range, Samples, declared, guess

Result = TypeVar("Result")
MAX_PIXELS = 89_478_485  # that are decoded: 256 MiB of RGB
MAX_SCANS = 100  # of a JPEG, each of which takes as long as an image; honest ones have 10
_LIMIT = "GANJAX_MAX_MEGAPIXELS"
_REDUCED = 4  # times as many pixels may a JPEG have that is decoded at a fraction
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # of a JPEG, within or after a scan
_TILE = 2**20  # pixels that are converted at a time, in many times the memory
_LOOKED_AT = 2**16  # pixels of an image, for what its samples may mean
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the EXIF orientation; from 5 on images lie on their side


class Reading(NamedTuple):
    """How files are read that say too little of it, or what is not true.

    Attributes:
      range: (black, white) of gray images of more than 8 bits; None for what the file declares.
      raw_colors: leave color profiles out, as other tools do.
      guess: (samples of a file that declares no range, its name) -> what they mean.
    """

    range: Range | None = None
    raw_colors: bool = False
    guess: Callable[[Iterable[np.ndarray], Any], Guess] = guess


DECLARED = Reading()


def parse_image_size(text: str) -> tuple[int, int]:
    """ "64" -> (64, 64), "96x64" -> (96, 64): height x width.

    Raises:
      UserError: the text is no size.
    """
    sides = str(text).lower().split("x")
    good = all(side.isdecimal() and len(side) < 6 and int(side) > 0 for side in sides)
    if len(sides) > 2 or not good:
        raise UserError(
            f"image_size {text!r:.40}: give one side like 64, or HEIGHTxWIDTH like 96x64"
        )
    return int(sides[0]), int(sides[-1])


def max_pixels() -> int:
    """How many pixels of an image are decoded: `MAX_PIXELS`, or GANJAX_MAX_MEGAPIXELS millions.

    Raises:
      UserError: the environment variable is no number above 0.
    """
    text = os.environ.get(_LIMIT)
    if not text:
        return MAX_PIXELS
    try:
        pixels = int(float(text) * 10**6)
    except (ValueError, OverflowError):
        pixels = 0
    if pixels < 1:
        raise UserError(f"{_LIMIT} is {text!r:.40}; give a number like 200")
    return pixels


def read_image(
    file: str | Path | bytes | BinaryIO,
    *,
    channels: int = 3,
    image_size: tuple[int, int] | None = None,
    may_shrink: bool = False,
    reading: Reading = DECLARED,
) -> np.ndarray:
    """Reads an image file as people see it.

    EXIF rotation is applied, colors converted to sRGB by the file's profile, transparency
    composited on white (kept for 4 channels), more than 8 bits scaled to 8 by the range that the
    file declares (or one that is guessed, and told), the first frame of an animation taken.
    Metadata that cannot be read is ignored.

    Bicubic resampling, widened by the scale, is what published FID protocols use; a JPEG is decoded
    at 1/2, 1/4 or 1/8 only where that leaves twice the pixels needed, which such filtering cannot
    tell from the whole.

    Args:
      file: path, content or open file.
      channels: 1 gray, 3 RGB or 4 RGBA.
      image_size: (H, W); the image is scaled until it covers the frame, and its center cut out.
      may_shrink: decode a JPEG above the limit of pixels at the fraction that is below it.
      reading: what the file does not say, or not truly.

    Returns:
      uint8 [H, W, channels].

    Raises:
      UserError: no image, cut short, of an unknown format, of 16-bit colors where `reading` has a
        range, above `max_pixels()` pixels after
        decoding at a fraction (or `_REDUCED` times as many before) or, as a JPEG, `MAX_SCANS`
        scans.
    """
    name = file if isinstance(file, str | Path) else "image"

    def decode(opened: Any) -> np.ndarray:
        _prepare(opened, name, image_size, may_shrink)
        return _pixels(opened, name, channels, image_size, reading)

    return _read(file, name, decode)


def undeclared_samples(content: bytes) -> list[np.ndarray]:
    """Samples from all over an image whose file declares no range for them; else none.

    Raises:
      UserError: no image, or damaged.
    """

    def collect(opened: Any) -> list[np.ndarray]:
        _prepare(opened, "image", None, False)
        samples = declared(opened)
        if not _is_deep(opened, samples) or samples.range:
            return []
        step = math.isqrt(-(-opened.width * opened.height // _LOOKED_AT))
        return [_numbers(opened.crop(box), samples)[::step, ::step] for box in _boxes(opened)]

    return _read(content, "image", collect)


def read_values(content: bytes, *, colors: bool) -> np.ndarray:
    """The values in an image file as they are, without profile, transparency or scaling to 8 bits.

    Args:
      colors: read colors, [H, W, 3]; else the indices of a palette, or gray values, [H, W].

    Raises:
      UserError: it has colors where none are wanted, or see `read_image`.
    """

    def decode(opened: Any) -> np.ndarray:
        _prepare(opened, "image", None, may_shrink=False)
        image = _upright(opened)
        if colors:
            return np.asarray(image.convert("RGB"))
        if len(image.getbands()) > 1:
            raise UserError("image has colors and no numbers of classes; name them in data.colors")
        return np.asarray(image)

    return _read(content, "image", decode)


class Header(NamedTuple):
    """What an image file says of its image.

    Attributes:
      image_size: (H, W), as people see it.
      gray: it has no colors.
      transparent: parts of it may be.
    """

    image_size: tuple[int, int]
    gray: bool
    transparent: bool


def read_header(content: bytes) -> Header:
    """Reads what `read_image` would decode, without decoding it.

    Raises:
      UserError: no image, or of an unknown format.
    """

    def describe(opened: Any) -> Header:
        height, width = opened.height, opened.width
        size = (width, height) if read_orientation(opened) >= 5 else (height, width)
        return Header(size, opened.mode in _GRAY_MODES, _has_transparency(opened))

    return _read(content, "image", describe)


def _read(
    file: str | Path | bytes | BinaryIO, name: str | Path, use: Callable[[Any], Result]
) -> Result:
    """What `use` makes of an image that is opened; without its metadata, where that is broken."""

    def once(stream: BinaryIO, profile: bytes | None = None) -> Result:
        with open_image(stream) as opened:
            if profile:
                opened.info["icc_profile"] = profile
            return use(opened)

    try:
        stream: BinaryIO
        if isinstance(file, bytes):
            stream = io.BytesIO(file)
        else:
            stream = open(file, "rb") if isinstance(file, str | Path) else file
        try:
            try:
                return once(stream)
            except UserError:
                raise
            except Exception:
                stream.seek(0)
                content = stream.read()
                bare, profile = without_metadata(content)
                if bare == content:
                    raise
                return once(io.BytesIO(bare), profile)
        finally:
            if stream is not file:
                stream.close()
    except FileNotFoundError:
        raise UserError(f"{name} does not exist") from None
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{name} {error}") from error
    except Exception as error:  # Pillow's decoders end damaged files in many types of errors
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{name} cannot be read: {error.strerror}") from error
        raise UserError(f"{name} is damaged: {one_line(error)}") from error


def as_pixels(
    image: Any,
    *,
    channels: int = 3,
    name: str = "image",
    may_shrink: bool = False,
    reading: Reading = DECLARED,
) -> np.ndarray:
    """An image that a caller has, as `read_image` would give it if it came from a file.

    Args:
      image: uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], NumPy's or JAX's; a Pillow image; or
        what `read_image` takes.
      channels: 1 gray, 3 RGB or 4 RGBA.
      name: what messages call it.
      may_shrink, reading: see `read_image`.

    Returns:
      uint8 [H, W, channels]; the array itself where it has that shape.

    Raises:
      UserError: it is none of these, or floats, whose range nobody can know.

    >>> as_pixels(np.zeros((4, 6), np.uint8)).shape
    (4, 6, 3)
    """
    if isinstance(image, str | Path | bytes) or hasattr(image, "read"):
        return read_image(image, channels=channels, may_shrink=may_shrink, reading=reading)
    if isinstance(image, Image.Image):
        try:
            return _pixels(image, name, channels, None, reading)
        except Exception as error:  # Pillow decodes here what was only opened before
            raise UserError(f"{name} is damaged: {one_line(error)}") from error
    if not (hasattr(image, "dtype") and hasattr(image, "shape")):
        kind = type(image).__name__
        raise UserError(f"{name} is a {kind}; give a path, a Pillow image or a uint8 array")
    if image.dtype != np.uint8:
        remedy = 'give uint8, from floats in [0, 1] by (x * 255).round().astype("uint8")'
        raise UserError(f"{name} has the type {image.dtype}; {remedy}")
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise UserError(f"{name} has the shape {image.shape}; give [H, W] or [H, W, 1, 3 or 4]")
    if 0 in image.shape:
        raise UserError(f"{name} has the shape {image.shape}, which has no pixels")
    array = np.asarray(image)
    if array.shape[2:] == (channels,):
        return array
    flat = array[:, :, 0] if array.shape[2:] == (1,) else array
    return _as_array(_to_mode(Image.fromarray(flat), _MODES[channels]))


def _prepare(
    opened: Any, name: str | Path, image_size: tuple[int, int] | None, may_shrink: bool
) -> None:
    """Checks what decoding would cost, and has a JPEG decoded at a fraction where that is enough.

    Raises:
      UserError: it costs too much.
    """
    limit, whole = max_pixels(), opened.width * opened.height
    if opened.format in ("JPEG", "MPO") and whole <= _REDUCED * limit:
        if _has_too_many_scans(opened.fp):
            raise UserError(f"{name} has more than {MAX_SCANS} scans; save it anew")
        if image_size:
            height, width = image_size
            if read_orientation(opened) >= 5:
                height, width = width, height
            opened.draft(None, (2 * width, 2 * height))
        elif may_shrink and whole > limit:
            opened.draft(None, (opened.width // 2, opened.height // 2))
    if opened.width * opened.height > limit:
        needed = math.ceil(max(opened.width * opened.height, whole / _REDUCED) / 10**6)
        raise UserError(
            f"{name} has more than {limit // 10**6} million pixels; make it smaller, or allow it "
            f"with {_LIMIT}={needed}"
        )


def _pixels(
    opened: Any,
    name: str | Path,
    channels: int,
    image_size: tuple[int, int] | None,
    reading: Reading,
) -> np.ndarray:
    samples = declared(opened)
    if reading.range and _has_deep_colors(opened):
        raise UserError(f"{name} has colors of 16 bits, for which no range can be set")
    image = _eight_bits(_upright(opened), samples, name, reading)
    if image.mode in ("La", "RGBa"):  # which Pillow converts to little else
        image = image.convert({"La": "LA"}.get(image.mode, "RGBA"))
    image = _with_true_alpha(image, opened)
    if not reading.raw_colors:
        image = to_srgb(image, opened.info, name)
    image = _to_mode(image, _MODES[channels])
    if image_size:
        image = cover(image, image_size)
    return _as_array(image)


def _upright(opened: Any) -> Image.Image:
    """The pixels of an opened file, turned as EXIF says."""
    # Pillow itself turns TIFFs when it loads them.
    orientation = 1 if opened.format == "TIFF" else read_orientation(opened)
    opened.load()
    return opened.transpose(_TRANSPOSE[orientation]) if orientation > 1 else opened


def _as_array(image: Image.Image) -> np.ndarray:
    array = np.array(image)
    return array if array.ndim == 3 else array[:, :, None]


def _has_too_many_scans(file: Any) -> bool:
    before = file.tell()
    file.seek(0)
    content, position, scans = file.read(), 2, 0
    file.seek(before)
    while (marker := _MARKER.search(content, position)) and scans <= MAX_SCANS:
        kind, position = content[marker.end() - 1], marker.end()
        if kind == 0xD9:  # the end; phones append other things
            break
        scans += kind == 0xDA
        position += int.from_bytes(content[position : position + 2])
    return scans > MAX_SCANS


def _with_true_alpha(image: Image.Image, opened: Any) -> Image.Image:
    """Without the alpha of a file that would leave nothing to see, and with that of a part."""
    if image.mode == "RGBA" and opened.format in ("BMP", "TGA"):
        return image if image.getchannel("A").getbbox() else image.convert("RGB")
    if shown := opened.info.get("shown"):
        frame = Image.new("RGBA", image.size)
        frame.paste(image.convert("RGBA").crop(shown), shown)
        return frame
    return image


def _is_deep(image: Image.Image, samples: Samples) -> bool:
    """Whether its samples have more than 8 bits or a sign: a range says what they mean."""
    return image.mode.startswith(("I", "F")) or samples.signed


def _has_deep_colors(image: Image.Image) -> bool:
    """Whether a file has colors of 16 bits, of which Pillow gives 8."""
    layouts = [str(tile[3]) for tile in getattr(image, "tile", ())]
    return not image.mode.startswith("I") and any(";16" in layout for layout in layouts)


def _numbers(tile: Image.Image, samples: Samples) -> np.ndarray:
    values = np.asarray(tile)
    values = (values.view(np.int8) if samples.signed else values).astype(np.float64)
    if samples.missing is not None:
        # Files of 32 bits hold the nearest number to it that these can tell.
        values[np.isclose(values, samples.missing, rtol=1e-7, atol=0)] = np.nan
    return values % 2**32 if samples.unsigned else values


def _eight_bits(
    image: Image.Image, samples: Samples, name: str | Path, reading: Reading
) -> Image.Image:
    """L, or LA where the file has a color key, of images of more than 8 bits; others as they are.

    Pillow's own conversion clips values at 255.
    """
    if not _is_deep(image, samples):
        return image
    key = image.info.get("transparency")

    def tiles() -> Iterator[np.ndarray]:
        return (_numbers(image.crop(box), samples) for box in _boxes(image))

    black, white = reading.range or samples.range or reading.guess(tiles(), name).range
    if samples.inverted:
        black, white = white, black

    def convert(tile: Image.Image) -> Image.Image:
        values = np.nan_to_num(_numbers(tile, samples), nan=black)
        with np.errstate(over="ignore"):
            gray = np.round(np.clip((values - black) / (white - black), 0, 1) * 255)
        gray = gray.astype(np.uint8)
        if key is None:
            return Image.fromarray(gray)
        return Image.fromarray(np.stack([gray, np.uint8(255 * (values != key))], axis=-1))

    return _by_tiles(image, "L" if key is None else "LA", convert)


def _boxes(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of at most `_TILE` pixels that cover an image."""
    across = min(image.width, _TILE)
    down = max(1, _TILE // across)
    for top in range(0, image.height, down):
        for left in range(0, image.width, across):
            yield left, top, min(left + across, image.width), min(top + down, image.height)


def _by_tiles(
    image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    if image.width * image.height <= _TILE:
        return convert(image)
    result = Image.new(mode, image.size)
    for box in _boxes(image):
        result.paste(convert(image.crop(box)), box)
    return result


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "RGBA" or not _has_transparency(image):
        return image if image.mode == mode else image.convert(mode)

    def on_white(tile: Image.Image) -> Image.Image:
        white = Image.new("RGBA", tile.size, "white")
        return Image.alpha_composite(white, tile.convert("RGBA")).convert(mode)

    return _by_tiles(image, mode, on_white)


def _has_transparency(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def cover(image: Image.Image, image_size: tuple[int, int], *, nearest: bool = False) -> Image.Image:
    """Scales an image, keeping its proportions, until it covers (H, W), and cuts out the center.

    The filter is bicubic and widened by the scale, so that nothing aliases.

    Args:
      nearest: see `resize`.
    """
    height, width = image_size
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    crop_width, crop_height = width * scale, height * scale
    left, top = (image.width - crop_width) / 2, (image.height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    kernel = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    return image.resize((width, height), kernel, box=box)


def resize(image: np.ndarray, image_size: tuple[int, int], *, nearest: bool = False) -> np.ndarray:
    """Scales uint8 [H, W] or [H, W, C], or float32 [H, W, 1], bicubic and widened by the scale.

    An image that has the size already is given back itself.

    Args:
      nearest: take the nearest pixel instead, which keeps the numbers of label maps.
    """
    height, width = image_size
    if image.shape[:2] == (height, width):
        return image
    flat = image[:, :, 0] if image.shape[2:] == (1,) else image
    kernel = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    scaled = Image.fromarray(flat).resize((width, height), kernel)
    return np.asarray(scaled).reshape(height, width, *image.shape[2:])


def opaque(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 4] on white, as [H, W, 3]."""
    color, alpha = image[:, :, :3], image[:, :, 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(color)
    blended = color.astype(np.uint16) * alpha + 255 * (255 - alpha.astype(np.uint16))
    return ((blended + 127) // 255).astype(np.uint8)


def with_alpha(drawn: np.ndarray, seen: np.ndarray, rgba: np.ndarray) -> np.ndarray:
    """What a model drew of an image with transparent parts, with these: uint8 [H, W, 4].

    On white it looks like `drawn`. Where that equals `seen`, and where nothing can be seen, the
    colors are those of `rgba`.

    Args:
      drawn: uint8 [H, W, 3].
      seen: `rgba` on white, from `opaque`.
      rgba: uint8 [H, W, 4].
    """
    alpha = rgba[:, :, 3]
    result = rgba.copy()
    result[alpha == 255, :3] = drawn[alpha == 255]
    part = (alpha > 0) & (alpha < 255)
    change = drawn[part].astype(np.float32) - seen[part]
    colors = rgba[part, :3] + change * (255 / alpha[part, None].astype(np.float32))
    result[part, :3] = np.clip(np.round(colors), 0, 255).astype(np.uint8)
    return result


def pad_to_multiple(array: Any, size: int) -> Any:
    """A copy of [..., H, W, C], mirrored at the bottom and the right to multiples of `size`.

    >>> pad_to_multiple(np.arange(3).reshape(1, 3, 1), 2).reshape(2, 4).tolist()
    [[0, 1, 2, 2], [0, 1, 2, 2]]
    """
    rows, columns = (
        np.pad(np.arange(side), (0, -side % size), mode="symmetric") for side in array.shape[-3:-1]
    )
    return array[..., rows, :, :][..., columns, :]


def contained(image: np.ndarray, side: int) -> np.ndarray:
    """Scales uint8 [H, W, C] to fit a square, and centers it there on white."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    square = np.full((side, side, image.shape[2]), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = resize(image, (height, width))
    return square


def to_float(images: Any) -> Any:
    """uint8 images (numpy or JAX) as float32 in [-1, 1]."""
    return images.astype("float32") / np.float32(127.5) - np.float32(1)


def as_float(images: Any) -> Any:
    """uint8 images as floats (`to_float`), floats as they are."""
    return to_float(images) if images.dtype == np.uint8 else images


def to_uint8(images: Any) -> Any:
    """Float images in [-1, 1] (numpy or JAX) as uint8, rounded; values outside are clipped."""
    scaled = (images.astype("float32") + np.float32(1)) * np.float32(127.5)
    return scaled.round().clip(0, 255).astype("uint8")
