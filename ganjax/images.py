"""Reads and resizes images, and converts between their two forms: uint8 in files and batches,
float in [-1, 1] in networks and losses. `ganjax.outputs` writes them."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ganjax.errors import UserError, one_line

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pnm".split())
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485  # where Pillow begins to warn of a bomb
MAX_SCANS = 100  # of a JPEG, each of which takes as long as an image; honest ones have 10
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # of a JPEG, within or after a scan
_TILE = 2**20  # pixels that are converted at a time, in many times the memory
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
_ORIENTATION = 0x0112  # the EXIF tag; values from 5 lie on their side


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


def read_image(
    file: str | Path | bytes | BinaryIO,
    *,
    channels: int = 3,
    image_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Reads an image file as people see it.

    EXIF rotation is applied, transparency composited on white (kept for 4 channels), 16-bit gray
    scaled to 8 bits, the first frame of an animation taken. Bicubic resampling, widened by the
    scale, is what published FID protocols use; a JPEG is decoded at 1/2, 1/4 or 1/8 only where
    that leaves twice the pixels needed, which such filtering cannot tell from the whole.

    Args:
      file: path, content or open file.
      channels: 1 gray, 3 RGB or 4 RGBA.
      image_size: (H, W); the image is scaled until it covers the frame, and its center cut out.

    Returns:
      uint8 [H, W, channels].

    Raises:
      UserError: no image, cut short, of an unknown format, above `MAX_PIXELS` pixels or, as a
        JPEG, `MAX_SCANS` scans.
    """
    name = file if isinstance(file, str | Path) else "image"
    with _opened(file, name) as opened:
        if opened.format in ("JPEG", "MPO") and _has_too_many_scans(opened.fp):
            raise UserError(f"{name} has more than {MAX_SCANS} scans; save it anew")
        if image_size:
            height, width = image_size
            if _lies_on_its_side(opened):
                height, width = width, height
            opened.draft(None, (2 * width, 2 * height))
        image = _shown(opened, channels)
    if image_size:
        image = cover(image, image_size)
    return _array(image)


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
      UserError: no image, of an unknown format, or above `MAX_PIXELS` pixels.
    """
    with _opened(content, "image") as opened:
        height, width = opened.height, opened.width
        size = (width, height) if _lies_on_its_side(opened) else (height, width)
        return Header(size, opened.mode in _GRAY_MODES, _has_transparency(opened))


@contextmanager
def _opened(file: str | Path | bytes | BinaryIO, name: str | Path) -> Iterator[ImageFile.ImageFile]:
    """An image file, not decoded; what goes wrong in the block is told as the user's mistake."""
    too_large = f"{name} has more than {MAX_PIXELS // 10**6} million pixels; make it smaller"
    try:
        with Image.open(
            io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS
        ) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise UserError(too_large)
            yield opened
    except FileNotFoundError:
        raise UserError(f"{name} does not exist") from None
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is no image in {', '.join(FORMATS)} format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(too_large) from error
    except Exception as error:  # Pillow's decoders end damaged files in many types of errors
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"{name} cannot be read: {error.strerror}") from error
        raise UserError(f"{name} is damaged: {one_line(error)}") from error


def _lies_on_its_side(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) >= 5


def as_pixels(image: Any, *, channels: int = 3, name: str = "image") -> np.ndarray:
    """An image that a caller has, as `read_image` would give it if it came from a file.

    Args:
      image: uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], NumPy's or JAX's; a Pillow image; or
        what `read_image` takes.
      channels: 1 gray, 3 RGB or 4 RGBA.
      name: what messages call it.

    Returns:
      uint8 [H, W, channels]; the array itself where it has that shape.

    Raises:
      UserError: it is none of these, or floats, whose range nobody can know.

    >>> as_pixels(np.zeros((4, 6), np.uint8)).shape
    (4, 6, 3)
    """
    if isinstance(image, str | Path | bytes) or hasattr(image, "read"):
        return read_image(image, channels=channels)
    if isinstance(image, Image.Image):
        try:
            return _array(_shown(image, channels))
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
    return _array(_to_mode(Image.fromarray(flat), _MODES[channels]))


def _shown(image: Image.Image, channels: int) -> Image.Image:
    return _to_mode(_eight_bits(ImageOps.exif_transpose(image)), _MODES[channels])


def _array(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
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


def _eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    times, by = 1, 257
    if image.mode == "F":
        largest = max(_numbers(image.crop(box)).max() for box in _boxes(image))
        times, by = (255, 1) if largest <= 1 else (1, 1)

    # Pillow's own conversion clips 16-bit values at 255.
    def convert(tile: Image.Image) -> Image.Image:
        with np.errstate(over="ignore"):
            values = np.round(_numbers(tile) * times / by)
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))

    return _by_tiles(image, "L", convert)


def _numbers(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image).astype(np.float64))


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


def cover(image: Image.Image, image_size: tuple[int, int]) -> Image.Image:
    """Scales an image, keeping its proportions, until it covers (H, W), and cuts out the center.

    The filter is bicubic and widened by the scale, so that nothing aliases.
    """
    height, width = image_size
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    crop_width, crop_height = width * scale, height * scale
    left, top = (image.width - crop_width) / 2, (image.height - crop_height) / 2
    box = (left, top, left + crop_width, top + crop_height)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def resize(image: np.ndarray, image_size: tuple[int, int], *, nearest: bool = False) -> np.ndarray:
    """Scales uint8 [H, W] or [H, W, C], or float32 [H, W, 1], bicubic and widened by the scale.

    Args:
      nearest: take the nearest pixel instead, which keeps the numbers of label maps.
    """
    height, width = image_size
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
