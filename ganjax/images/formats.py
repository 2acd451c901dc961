"""Opens image files with Pillow, and mends what it leaves undone: metadata that would decide over
good pixels, color keys, and kinds of TIFF."""

import re
import struct
import warnings
import zlib
from typing import Any, BinaryIO

from PIL import (
    AvifImagePlugin,  # noqa: F401  each of these registers a format
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    ImagePalette,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TgaImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

# TGA is last: its files do not begin with a signature.
FORMATS = (
    "JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "HEIF", "JPEG2000", "TGA",
)  # fmt: skip
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .bmp .gif .tif .tiff .pbm .pgm .pnm .ppm .avif "
    ".heic .heif .hif .jp2 .j2k .j2c .jpc .jpf .jpx .tga".split()
)
_MAX_PROFILE = 2**24  # bytes of an unpacked color profile; those of printers have 2 MB
_ORIENTATION = 0x0112  # the EXIF tag
_PLANAR, _BITS, _COLORS = 284, 258, 320  # TIFF tags
_NATIVE = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}  # layouts of samples
_HEIF_BOX = slice(4, 8)
_CICP = re.compile(rb"colrnclx(..)(..)..(.)", re.DOTALL)  # a box of AVIF, whose color it tells
_HEADERS = 2**16  # bytes of an AVIF, in which that box lies

# Pillow warns of what is odd in metadata, in its own words; those who look at pictures need none.
warnings.filterwarnings("ignore", category=UserWarning, module=r"(PIL|pillow_heif)\b")


def open_image(file: BinaryIO) -> ImageFile.ImageFile:
    """Opens an image as `PIL.Image.open` does, but with no limit to its size, nor a warning.

    The caller checks the size before the pixels are decoded.

    Raises:
      UnidentifiedImageError: it is in none of `FORMATS`.
      Exception: what Pillow's plugins raise for damaged files.
    """
    prefix = file.read(18)
    if prefix[_HEIF_BOX] == b"ftyp" and "HEIF" not in Image.OPEN:
        import pillow_heif

        pillow_heif.register_heif_opener()
    known = ""
    for form in FORMATS:
        if form not in Image.OPEN or (form == "TGA" and not _is_tga(prefix)):
            continue
        factory, accept = Image.OPEN[form]
        # `accept` gives a text where this Pillow was built without the format.
        if accept and accept(prefix[:16]) is not True:
            continue
        file.seek(0)
        try:
            image: Any = factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            known = known or form
            continue
        if form == "TGA" and image.mode == "RGBA" and not prefix[17] & 15:
            _drop_alpha(image)
        if image.format == "PNG":
            _scale_color_key(image)
        if coded := _read_cicp(image, file):
            image.info["cicp"] = coded
        if image.format == "TIFF":
            _mend_tiff(image)
        if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
            # Adobe's files alone have 255 for no ink; Pillow takes all for such.
            image.tile = [tile._replace(args=("CMYK", *tile.args[1:])) for tile in image.tile]
        if image.format == "GIF" and image.tile[0].extents != (0, 0, *image.size):
            image.info["shown"] = image.tile[0].extents  # nothing is drawn outside
        return image
    if known:
        raise UnidentifiedImageError(
            f"is {known} of a kind that is not read, or damaged; save it as PNG"
        )
    raise UnidentifiedImageError(f"is no image in {', '.join(FORMATS)} format")


def _is_tga(header: bytes) -> bool:
    if len(header) < 18:
        return False
    palette, kind, depth, flags = header[1], header[2], header[16], header[17]
    depths = {1: (8,), 9: (8,), 2: (16, 24, 32), 10: (16, 24, 32), 3: (8, 16), 11: (8, 16)}
    return depth in depths.get(kind, ()) and palette == (kind in (1, 9)) and flags < 64


def _drop_alpha(image: Any) -> None:
    """A TGA of 32 bits may say that 8 of them mean nothing."""
    if image.tile and image.tile[0].args[0] == "BGRA":
        image._mode = "RGB"
        image.tile = [tile._replace(args=("BGRX", *tile.args[1:])) for tile in image.tile]


def _read_cicp(image: Any, file: BinaryIO) -> tuple[int, int, int] | None:
    """Primaries, transfer function and "full range" by the numbers of ITU-T H.273.

    In a PNG they go before a profile (PNG specification, third edition, 4.3), elsewhere after it.
    """
    if image.format == "HEIF" and "icc_profile" not in image.info:
        found = image.info.get("nclx_profile") or {}
        names = ("color_primaries", "transfer_characteristics", "full_range_flag")
        # The samples are of the full range once they are decoded.
        return (found[names[0]], found[names[1]], 1) if all(n in found for n in names) else None
    if image.format not in ("PNG", "AVIF") or "icc_profile" in image.info and image.format != "PNG":
        return None
    before = file.tell()
    try:
        file.seek(0)
        if image.format == "AVIF":
            box = _CICP.search(file.read(_HEADERS))
            return (int.from_bytes(box[1]), int.from_bytes(box[2]), 1) if box else None
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            data = file.read(int.from_bytes(head[:4]))
            if head[4:] == b"cICP" and len(data) == 4:
                return data[0], data[1], data[3]
            file.read(4)
        return None
    finally:
        file.seek(before)


def _scale_color_key(image: Any) -> None:
    """Pillow scales samples of 2, 4 and 16 bits to 8, but not the color that is transparent."""
    key = image.info.get("transparency")
    if not image.tile or key is None or isinstance(key, bytes):
        return
    args = image.tile[0].args
    layout = args if isinstance(args, str) else args[0]
    if layout in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if layout == "L;2" else 17)
    elif layout == "RGB;16B":
        image.info["transparency"] = tuple(sample >> 8 for sample in key)


def _mend_tiff(image: Any) -> None:
    """Pillow takes planes of 16 bits that are not compressed for planes of 8, swaps bytes that
    libtiff has swapped already, and reads 8 bits in a palette as the lower ones of 16."""
    tags = image.tag_v2
    planes = tags.get(_PLANAR) == 2 and set(tags.get(_BITS, ())) == {16}
    order = "B" if tags.prefix == b"MM" else "L"

    def mended(tile: Any) -> Any:
        layout, *rest = tile.args
        if tile.codec_name == "raw" and planes and len(layout) == 1:
            layout = f"{layout};16{order}"
        elif tile.codec_name == "libtiff":
            layout = _NATIVE.get(layout, layout)
        return tile._replace(args=(layout, *rest))

    image.tile = [mended(tile) for tile in image.tile]
    colors = tags.get(_COLORS)
    if image.mode in ("P", "PA") and colors and max(colors) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colors))


def read_orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF has it; 1 where it is missing, or nothing that a viewer would read."""
    content = image.info.get("exif")
    if isinstance(content, bytes) and content.startswith(b"Exif\0\0" * 2):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF ends in many types of errors
        return 1
    return value if type(value) is int and 1 <= value <= 8 else 1


def without_metadata(content: bytes) -> tuple[bytes, bytes | None]:
    """A PNG or JPEG without what Pillow may stumble over: all but pixels, colors and EXIF.

    Returns:
      The shortened file, or the file itself where it is of another format; and the color profile
      of a PNG, where it can be read.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _bare_png(content)
    if content.startswith(b"\xff\xd8"):
        return _bare_jpeg(content), None
    return content, None


def _bare_png(content: bytes) -> tuple[bytes, bytes | None]:
    sizes = {b"gAMA": 4, b"sRGB": 1, b"cICP": 4}
    kept, profile, position = [content[:8]], None, 8
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4])
        kind = content[position + 4 : position + 8]
        chunk = content[position : position + 12 + length]
        position += len(chunk)
        needed = kind[:1].isupper() or kind in (b"tRNS", b"acTL", b"fcTL", b"fdAT")
        sound = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if needed or (sound and (kind == b"eXIf" or sizes.get(kind) == length)):
            kept.append(chunk)
        elif sound and kind == b"iCCP":
            profile = _unpack_profile(chunk[8:-4])
    return b"".join([*kept, content[position:]]), profile


def _unpack_profile(data: bytes) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(data[data.index(b"\0") + 2 :], _MAX_PROFILE)
    except (ValueError, zlib.error):
        return None
    return None if unpacker.unconsumed_tail else profile


def _is_sound(exif: bytes) -> bool:
    try:
        Image.Exif().load(exif)
    except Exception:  # as above
        return False
    return True


def _bare_jpeg(content: bytes) -> bytes:
    """Without comments and application segments but JFIF, EXIF, color profile and Adobe."""
    known = re.compile(
        rb"\xff(\xe0..JFIF\0.{9}|\xe1..Exif\0|\xe2..ICC_PROFILE\0..|\xee..Adobe.{7})", re.DOTALL
    )
    kept, position = [content[:2]], 2
    while content[position : position + 1] == b"\xff" and position + 4 <= len(content):
        kind = content[position + 1]
        if kind in (0xD9, 0xDA):
            break
        if kind == 0xFF:  # more of these may stand before a marker
            position += 1
            continue
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4])
        other = 0xE0 <= kind <= 0xEF or kind == 0xFE
        segment = content[position:end]
        exif = kind == 0xE1 and not _is_sound(segment[4:])
        if not other or (known.match(segment) and not exif):
            kept.append(segment)
        position = end
    return b"".join([*kept, content[position:]])
