"""Images: what people see in a file is what arrives, and nothing else arrives."""

import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import jax
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from ganjax import errors, images
from ganjax.data.folder import list_pictures, open_files
from ganjax.data.source import open_source
from ganjax.errors import UserError
from ganjax.images import Reading, read_image, samples, to_float, to_uint8

CASES = Path(__file__).parents[1] / "cases"


def encode(image: Image.Image | np.ndarray, form: str = "PNG", **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(5 * x / width + k) * np.cos(7 * y / height - k) for k in range(3)]
    return np.uint8(127.5 + 120 * np.stack(waves, axis=-1))


def test_lossless_formats_arrive_exactly():
    pixels = noise(7, 5)
    for form in ("PNG", "BMP", "TIFF", "PPM"):
        np.testing.assert_array_equal(read_image(encode(pixels, form)), pixels)
    np.testing.assert_array_equal(read_image(encode(pixels, "WEBP", lossless=True)), pixels)


def test_path_and_open_file(tmp_path):
    pixels = noise(3, 4)
    (tmp_path / "a.png").write_bytes(encode(pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)
    with (tmp_path / "a.png").open("rb") as file:
        np.testing.assert_array_equal(read_image(file), pixels)


def test_sixteen_bit_gray_is_scaled():
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for form in ("PNG", "TIFF"):
        gray = read_image(encode(levels * 257, form), channels=1)
        np.testing.assert_array_equal(gray[..., 0], levels)
        np.testing.assert_array_equal(read_image(encode(levels * 257, form))[..., 2], levels)
    near = read_image(encode(np.array([[128, 129, 65535 - 128]], np.uint16)), channels=1)
    np.testing.assert_array_equal(near[0, :, 0], [0, 1, 255])  # rounded, not cut


def test_float_tiff_in_unit_range():
    values = np.array([[0, 0.5, 1, np.nan]], np.float32)
    pixels = read_image(encode(values, "TIFF"), channels=1)
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 128, 255, 0])


def test_transparency_is_composited_on_white():
    pixels = np.array([[[255, 0, 0, 0], [0, 0, 0, 128], [10, 20, 30, 255]]], np.uint8)
    shown = read_image(encode(pixels))
    np.testing.assert_array_equal(shown, [[[255] * 3, [127] * 3, [10, 20, 30]]])
    np.testing.assert_array_equal(read_image(encode(pixels), channels=1)[0, :2, 0], [255, 127])
    np.testing.assert_array_equal(read_image(encode(pixels), channels=4), pixels)


def test_gray_with_alpha():
    pixels = np.array([[[0, 0], [0, 128], [40, 255]]], np.uint8)
    file = encode(Image.frombytes("LA", (3, 1), pixels))
    np.testing.assert_array_equal(read_image(file)[0, :, 0], [255, 127, 40])


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palette_with_transparency(form):
    image = Image.new("P", (3, 1))
    image.putpalette([200, 0, 0, 0, 100, 0, 0, 0, 50] + [0] * 759)
    image.putdata([0, 1, 2])
    shown = read_image(encode(image, form, transparency=1))
    np.testing.assert_array_equal(shown, [[[200, 0, 0], [255, 255, 255], [0, 0, 50]]])
    plain = read_image(encode(image, form))
    np.testing.assert_array_equal(plain, [[[200, 0, 0], [0, 100, 0], [0, 0, 50]]])


def test_color_key_of_a_png():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    shown = read_image(encode(pixels, transparency=(1, 2, 3)))
    np.testing.assert_array_equal(shown, [[[255, 255, 255], [4, 5, 6]]])


def test_gray_and_one_bit_and_luma():
    gray = noise(4, 6, 1)[..., 0]
    np.testing.assert_array_equal(read_image(encode(gray)), np.stack([gray] * 3, axis=-1))
    np.testing.assert_array_equal(read_image(encode(gray), channels=4)[..., 3], 255)
    bits = Image.fromarray(gray).point(lambda v: 255 * (v > 127)).convert("1")
    np.testing.assert_array_equal(read_image(encode(bits), channels=1)[..., 0], (gray > 127) * 255)
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    luma = read_image(encode(primaries), channels=1)[0, :, 0]
    np.testing.assert_array_equal(luma, [76, 150, 29])  # 0.299, 0.587, 0.114 of 255


def test_cmyk():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for file in (encode(red, "JPEG", quality=100), encode(red, "TIFF")):
        np.testing.assert_allclose(read_image(file)[8, 8], [255, 0, 0], atol=3)


ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = noise(5, 3)
    upright = ORIENTATIONS[orientation](pixels)
    np.testing.assert_array_equal(read_image(encode(pixels, exif=exif)), upright)
    # A large JPEG, scaled in its own decoder, where height and width must not be confused.
    large = smooth(1600, 300)
    size = (400, 75) if orientation < 5 else (75, 400)
    shown = read_image(encode(large, "JPEG", quality=95, exif=exif), image_size=size)
    expected = read_image(encode(ORIENTATIONS[orientation](large)), image_size=size)
    assert np.abs(shown.astype(int) - expected).mean() < 1.5


def test_a_rotated_jpeg_keeps_its_detail():
    stored = noise(40, 160).repeat(10, axis=0).repeat(10, axis=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encode(stored, "JPEG", quality=95, subsampling=0, exif=exif)
    shown = read_image(file, image_size=(100, 400))
    expected = np.rot90(stored, -1)[750:850]
    assert np.abs(shown.astype(int) - expected).mean() < 4


def test_center_is_cut_out_of_what_covers_the_frame():
    pixels = smooth(60, 100)
    for size in ((30, 30), (20, 40), (90, 30), (30, 50)):
        scale = min(60 / size[0], 100 / size[1])
        height, width = round(size[0] * scale), round(size[1] * scale)
        top, left = (60 - height) // 2, (100 - width) // 2
        center = Image.fromarray(pixels[top : top + height, left : left + width])
        expected = np.asarray(center.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
        result = read_image(encode(pixels), image_size=size)
        assert result.shape == (*size, 3)
        assert np.abs(result - expected).max() <= 3  # filters look beyond the cut


def test_nothing_aliases():
    checkers = np.uint8(255 * (np.indices((256, 256)).sum(axis=0) % 2))
    small = read_image(encode(checkers), channels=1, image_size=(64, 64))
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 1


def test_scaled_jpeg_decoding_is_true_to_the_full_one(monkeypatch):
    file = encode(smooth(800, 600), "JPEG", quality=95)
    fast = read_image(file, image_size=(64, 64))
    from PIL import JpegImagePlugin

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", lambda *a: None)
    full = read_image(file, image_size=(64, 64))
    difference = np.abs(fast.astype(int) - full)
    assert 0 < difference.mean() < 0.5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_truncated_files_are_refused(form):
    content = encode(noise(64, 64), form)
    for part in (0, 8, len(content) // 2, len(content) * 9 // 10):
        with pytest.raises(UserError):
            read_image(content[:part], image_size=(16, 16))


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(UserError, match="no image in JPEG, PNG"):
        read_image(b"all work and no play")
    with pytest.raises(UserError, match="no image in"):  # Pillow could, but nobody needs it
        read_image(encode(noise(16, 16), "ICO"))
    with pytest.raises(UserError, match="does not exist"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(UserError, match="directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("side", [9_600, 30_000])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_pixel_bomb_is_refused_before_decoding(side, action):
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk + encode(noise(1, 1))[33:]
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(UserError, match="89 million pixels"):
            read_image(bomb)


def test_bytes_survive_the_floats():
    values = np.arange(256, dtype=np.uint8)
    floats = to_float(values)
    assert floats.dtype == np.float32 and floats.min() == -1 and floats.max() == 1
    np.testing.assert_array_equal(to_uint8(floats), values)
    compiled = jax.jit(lambda x: to_uint8(to_float(x)))
    np.testing.assert_array_equal(compiled(values), values)
    np.testing.assert_allclose(jax.jit(to_float)(values), floats, atol=1e-7)
    outside = np.array([-1.5, -1.001, 1.001, 7.0, 0.0])
    np.testing.assert_array_equal(to_uint8(outside), [0, 0, 255, 255, 128])
    np.testing.assert_array_equal(jax.jit(to_uint8)(outside), [0, 0, 255, 255, 128])


def test_image_sizes():
    assert images.parse_image_size("64") == (64, 64)
    assert images.parse_image_size("96x64") == (96, 64)
    for text in ("", "0", "64x", "-1", "1x2x3", "big", "6.4"):
        with pytest.raises(UserError, match="96x64"):
            images.parse_image_size(text)


@pytest.mark.parametrize("tile", [1, 7, 8, 23, 64])
def test_large_images_are_converted_tile_by_tile(tile, monkeypatch):
    wide, real = np.uint16(noise(11, 13, 1)[..., 0]) * 200, noise(11, 13, 1)[..., 0] / 300
    palette = Image.fromarray(noise(11, 13)).quantize(16)
    files = [
        encode(noise(11, 13, 4)),
        encode(Image.fromarray(noise(11, 13, 4)).convert("LA")),
        encode(palette, transparency=3),
        encode(wide),
        encode(np.float32(real), "TIFF"),
        encode(np.float32(real) * np.float32([[1] * 12 + [4]]), "TIFF"),  # one bright tile
    ]
    whole = [read_image(file) for file in files]
    monkeypatch.setattr(images, "_TILE", tile)
    for file, pixels in zip(files, whole, strict=True):
        np.testing.assert_array_equal(read_image(file), pixels)


def test_jpegs_of_many_scans():
    """Each scan of 200 bytes takes as long as all pixels do: hours in one file."""
    content = encode(smooth(40, 40), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xc4")  # the tables of the last scan, and that scan
    tail = b"\xff\xda" * 2000  # of something else that follows: no scans
    read_image(content[:last] + content[last:-2] * 80 + content[-2:] + tail)
    with pytest.raises(UserError, match="more than 100 scans"):
        read_image(content[:last] + content[last:-2] * 100 + content[-2:])


def test_float_tiff_without_bounds():
    values = np.array([[-np.inf, 0.5, np.nan]], np.float32)
    np.testing.assert_array_equal(read_image(encode(values, "TIFF"))[0, :, 0], [0, 128, 0])


def test_image_sizes_without_end():
    for text in ("9" * 5000, "64x" + "1" * 5000):
        with pytest.raises(UserError, match="^.{,120}$"):
            images.parse_image_size(text)


@pytest.mark.parametrize("name", ["scene_adobe.png", "scene_p3.png", "scene_p3.jpg"])
def test_colors_are_converted_by_the_profile(name):
    scene = read_image(CASES / "scene.png").astype(int)
    shown = read_image(CASES / name)
    # A JPEG is held to its colors in the mean of blocks, which it keeps.
    side = 16 if name.endswith("jpg") else 1

    def distance(pixels):
        blocks = (pixels - scene).reshape(96 // side, side, 128 // side, side, 3)
        return np.abs(blocks.mean(axis=(1, 3)))

    assert np.quantile(distance(shown), 0.95) <= 2
    assert distance(read_image(CASES / name, reading=Reading(raw_colors=True))).mean() > 4
    # The same with transparency, from a palette, in the frame of a batch.
    with Image.open(CASES / name) as image:
        profile, pixels = image.info["icc_profile"], image.convert("RGB")
    clear = pixels.copy()
    clear.putalpha(128)
    rgba = read_image(encode(clear, icc_profile=profile), channels=4)
    np.testing.assert_array_equal(rgba[..., :3], read_image(encode(pixels, icc_profile=profile)))
    assert (rgba[..., 3] == 128).all()
    few = pixels.quantize(32)
    np.testing.assert_array_equal(
        read_image(encode(few, icc_profile=profile)),
        read_image(encode(few.convert("RGB"), icc_profile=profile)),
    )


def test_profiles_of_other_modes():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(CASES / "scene_adobe.png") as image:
        adobe = image.info["icc_profile"]
    color, gray = noise(20, 30), noise(20, 30, 1)[..., 0]
    # sRGB's own changes nothing, nor does one that is broken, or of another kind of colors.
    for profile in (srgb, adobe[:200], b"all work and no play", b""):
        np.testing.assert_array_equal(read_image(encode(color, icc_profile=profile)), color)
    np.testing.assert_array_equal(
        read_image(encode(gray, icc_profile=adobe), channels=1)[..., 0], gray
    )
    cmyk = Image.fromarray(color).convert("CMYK")
    np.testing.assert_array_equal(
        read_image(encode(cmyk, "TIFF", icc_profile=adobe)), read_image(encode(cmyk, "TIFF"))
    )


def _gray_profile(gamma: float) -> bytes:
    """A version 2 ICC profile of gray whose curve is a power."""
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(256 * gamma))
    white = b"XYZ " + struct.pack(">Iiii", 0, 63190, 65536, 54061)
    tags = struct.pack(">I4sII4sII", 2, b"kTRC", 156, 14, b"wtpt", 172, 20)
    size = 192
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + curve + white


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gray_is_converted_by_profile_and_gamma(channels):
    """Linear light becomes that of sRGB: 0.2140 of it is the half of 255 (IEC 61966-2-1)."""
    linear = np.full((2, 3), 55, np.uint8)  # 0.2157 of white
    gamma = chunk_of(b"gAMA", struct.pack(">I", 100_000))
    png = encode(linear)
    files = [encode(linear, icc_profile=_gray_profile(1.0)), png[:33] + gamma + png[33:]]
    files.append(encode(np.full((2, 3), 55 * 257, np.uint16), icc_profile=_gray_profile(1.0)))
    with_alpha = Image.merge("LA", [Image.fromarray(linear), Image.new("L", (3, 2), 255)])
    files.append(encode(with_alpha, icc_profile=_gray_profile(1.0)))
    for file in files:
        assert np.abs(read_image(file, channels=channels)[0, 0, 0].astype(int) - 128) <= 1
        assert read_image(file, channels=channels, reading=Reading(raw_colors=True))[0, 0, 0] == 55
    # What encoders write that mean sRGB, and what sRGB overrules.
    usual = chunk_of(b"gAMA", struct.pack(">I", 45_455))
    for chunks in (usual, gamma + chunk_of(b"sRGB", b"\0")):
        assert read_image(png[:33] + chunks + png[33:])[0, 0, 0] == 55


def _p3_as_srgb(pixels: np.ndarray) -> np.ndarray:
    """By the matrices of https://www.w3.org/TR/css-color-4/#color-conversion-code."""
    p3 = np.array([[608311, 189793, 198249], [35783, 247089, 198249], [0, 32229, 5220557]]) / [
        [1250200, 714400, 1000160],
        [156275, 357200, 2500400],
        [1, 714400, 5000800],
    ]
    srgb = np.array([[12831, -329, -1974], [-851781, 1648619, 36519], [705, -2585, 705]]) / [
        [3959, 214, 3959], [878810, 878810, 878810], [12673, 12673, 667],
    ]  # fmt: skip
    x = pixels / 255
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) @ (srgb @ p3).T
    curve = np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055
    )
    return 255 * np.clip(curve, 0, 1)


def _coded(pixels: np.ndarray, *numbers: int) -> bytes:
    file = encode(pixels)
    return file[:33] + chunk_of(b"cICP", bytes(numbers)) + file[33:]


def test_colors_that_numbers_tell(monkeypatch, capsys):
    monkeypatch.setattr(errors, "_told", set())
    pixels = noise(20, 30)
    p3 = _coded(pixels, 12, 13, 0, 1)
    shown = read_image(p3)
    np.testing.assert_allclose(shown, _p3_as_srgb(pixels), atol=0.6)
    np.testing.assert_array_equal(read_image(p3, reading=Reading(raw_colors=True)), pixels)
    # They go before a profile, and stay where other metadata is broken.
    broken = chunk_of(b"zTXt", b"Comment\0\0" + LARGE)
    for chunk in (chunk_of(b"iCCP", b"icc\0\0" + zlib.compress(_gray_profile(1.0))), broken):
        np.testing.assert_array_equal(read_image(p3[:33] + chunk + p3[33:]), shown)
    for numbers in ((1, 13), (1, 1), (2, 2)):
        np.testing.assert_array_equal(read_image(_coded(pixels, *numbers, 0, 1)), pixels)
    linear = np.full((2, 3), 55, np.uint8)
    assert abs(int(read_image(_coded(linear, 1, 8, 0, 1), channels=1)[0, 0, 0]) - 128) <= 1
    assert not capsys.readouterr().err
    for numbers in ((9, 16, 0, 1), (9, 18, 0, 1), (1, 13, 0, 0)):  # PQ, HLG, not the full range
        for _ in range(2):
            np.testing.assert_array_equal(read_image(_coded(pixels, *numbers)), pixels)
        (line,) = capsys.readouterr().err.splitlines()
        assert "read as if they were sRGB's" in line
    pillow_heif.register_heif_opener()
    flat = np.full((64, 64, 3), (200, 50, 20), np.uint8)
    names = {"color_primaries": 12, "transfer_characteristics": 13, "full_range_flag": 1}
    avif = encode(flat, "AVIF", quality=95)
    box = avif.index(b"colrnclx") + 8
    for file in (
        encode(flat, "HEIF", quality=95, matrix_coefficients=6, save_nclx_profile=True, **names),
        avif[:box] + b"\0\x0c" + avif[box + 2 :],
    ):
        np.testing.assert_allclose(read_image(file), _p3_as_srgb(flat), atol=3)


def chunk_of(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def tiff(
    pixels: np.ndarray,
    *,
    planes: bool = False,
    packed: bool = False,
    order: str = "<",
    **tags: tuple,
) -> bytes:
    """A TIFF of one strip, or one for each plane.

    Args:
      order: of bytes; the pixels have it already.
      tags: _NUMBER = (type, values).
    """
    height, width, *bands = pixels.shape
    count = bands[0] if bands else 1
    strips = [pixels[..., c] for c in range(count)] if planes else [pixels]
    strips = [(zlib.compress if packed else bytes)(strip.tobytes()) for strip in strips]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    entries = {
        256: (3, [width]), 257: (3, [height]), 258: (3, [8 * pixels.itemsize] * count),
        259: (3, [8 if packed else 1]), 262: (3, [2 if count == 3 else 1]), 277: (3, [count]),
        278: (3, [height]), 279: (4, [len(strip) for strip in strips]), 284: (3, [1 + planes]),
        339: (3, [kind] * count), **{int(key[1:]): value for key, value in tags.items()},
    }  # fmt: skip
    forms = {2: "c", 3: "H", 4: "I", 12: "d"}
    rest, position, lines = b"", 8 + 2 + 12 * (len(entries) + 1) + 4, []
    for _ in range(2):  # the strips lie behind all else, which is known only at the end
        lines, rest = [], b""
        entries[273] = (4, [position + sum(map(len, strips[:n])) for n in range(len(strips))])
        first = 8 + 2 + 12 * len(entries) + 4
        for tag, (form, values) in sorted(entries.items()):
            values = [bytes([v]) for v in values] if form == 2 else values
            data = struct.pack(f"{order}{len(values)}{forms[form]}", *values)
            if len(data) > 4:
                data, rest = struct.pack(f"{order}I", first + len(rest)), rest + data
            lines.append(struct.pack(f"{order}HHI", tag, form, len(values)) + data.ljust(4, b"\0"))
        position = first + len(rest)
    head = (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(f"{order}IH", 8, len(lines))
        + b"".join(lines)
        + bytes(4)
    )
    return head + rest + b"".join(strips)


def ramp(low: float, high: float, dtype: str = "<f4") -> np.ndarray:
    return np.linspace(low, high, 400).reshape(20, 20).astype(dtype)


def with_outlier(values: np.ndarray, outlier: float) -> np.ndarray:
    values = values.copy()
    values[0, 0] = outlier
    return values


GUESSED = {
    "unit with one above": (with_outlier(ramp(0, 1), 1.003), "0 to 1"),
    "unit with one far above": (with_outlier(ramp(0, 1), 300), "0 to 1"),
    "bytes": (ramp(0, 255), "0 to 255"),
    "bytes with one above": (with_outlier(ramp(0, 255), 300), "0 to 255"),
    "16 bits as floats": (ramp(0, 65535), "0 to 65535"),
    "about zero": (ramp(-1, 1), "-1 to 1"),
    "Hounsfield": (ramp(-1000, 3000, "<i2"), "the lowest to the highest"),
    "integers of 32 bits": (ramp(0, 255, "<i4"), "0 to 255"),
    "large integers": (ramp(0, 65535, "<i4"), "0 to 65535"),
    "huge integers": (ramp(0, 4e9, "<u4"), "the lowest to the highest"),
}


@pytest.mark.parametrize("kind", GUESSED)
def test_undeclared_ranges_are_guessed_and_told(kind, monkeypatch, capsys):
    monkeypatch.setattr(errors, "_told", set())
    values, told = GUESSED[kind]
    expected = np.round(np.linspace(0, 255, 400))[1:]
    for _ in range(2):
        gray = read_image(tiff(values), channels=1).ravel()[1:].astype(int)
        assert np.abs(gray - expected).max() <= 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"is read as {told}," in line


def test_a_folder_has_one_range(tmp_path, monkeypatch, capsys):
    """Slices of one volume: what is black in one is black in all, whatever each holds."""
    monkeypatch.setattr(errors, "_told", set())
    volume = np.linspace(-1000, 3000, 4 * 100).reshape(4, 10, 10).astype("<i2")
    for number, values in enumerate(volume):
        (tmp_path / f"{number}.tif").write_bytes(tiff(values))
    source = open_files(tmp_path)
    arrays, _ = source.load(range(4), (10, 10), 1)
    expected = np.round((volume + 1000) / 4000 * 255)
    assert np.abs(arrays["image"][..., 0] - expected).max() <= 1
    for picture, pixels in zip(list_pictures([tmp_path]), arrays["image"], strict=True):
        np.testing.assert_array_equal(picture.pixels(channels=1), pixels)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path} has samples from -1000 to 3000" in line
    assert "--range=LOW..HIGH (in training --config.data.range)" in line


@pytest.mark.parametrize(("most", "odd"), [(255, 1), (1, 255)])
def test_a_file_unlike_its_folder_is_told(most, odd, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(errors, "_told", set())
    for number in range(40):  # of which 20 are looked at
        (tmp_path / f"{number:02d}.tif").write_bytes(tiff(ramp(0, most)))
    (tmp_path / "07.tif").write_bytes(tiff(ramp(0, odd)))
    open_files(tmp_path).load(range(40), (20, 20), 1)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == (2 if most == 255 else 1)
    assert f"has samples from 0 to {odd} and is read as 0 to {most}, black to white" in told[-1]


def test_a_range_is_asked_for(tmp_path, capsys):
    """It goes before what files declare, and has no meaning for 8 bits."""
    values = ramp(0, 4095, "<u2")
    expected = np.round(values / 4095 * 255)
    asked = Reading(samples.parse_range("0..4095"))
    for file in (tiff(values), tiff(values.astype("<f4")), encode(values)):
        gray = read_image(file, channels=1, reading=asked)[..., 0]
        np.testing.assert_array_equal(gray, expected)
    gray = noise(4, 5)
    np.testing.assert_array_equal(read_image(encode(gray), reading=asked), gray)
    with pytest.raises(UserError, match="colors of 16 bits, for which no range can be set"):
        read_image(tiff(np.zeros((2, 2, 3), "<u2")), reading=asked)
    (tmp_path / "a.tif").write_bytes(tiff(values))
    sources = [open_source(str(tmp_path), reading=reading) for reading in (asked, Reading())]
    assert sources[0].digest != sources[1].digest
    arrays, _ = sources[0].load([0], (20, 20), 1)
    np.testing.assert_array_equal(arrays["image"][0, ..., 0], expected)
    with pytest.raises(UserError, match="range is for files; avatars is no folder"):
        open_source("avatars", reading=asked)
    assert samples.parse_range("-1e3..3000.5") == (-1000, 3000.5)
    assert samples.parse_range("") is None
    for text in ("5", "1..0", "0..nan", "0..inf", "a..b", "..", "0-1", "-1e308..1e308"):
        with pytest.raises(UserError, match="give LOW..HIGH, like 0..1"):
            samples.parse_range(text)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["float_unit_overshoot.tif", "int32_0_255.tif"])
def test_scientific_files_are_not_black(name):
    gray = read_image(CASES / name, channels=1)
    with Image.open(CASES / name) as image:
        values = np.asarray(image, float)
    np.testing.assert_allclose(gray[..., 0], values * (255 if values.max() < 2 else 1), atol=1)


def test_declared_ranges_are_kept_in_silence(capsys):
    expected = np.round(np.linspace(0, 255, 400)).reshape(20, 20)
    declared = {"_340": (12, [-5.0]), "_341": (12, [40.0])}
    imagej = {"_270": (2, b"ImageJ=1.53t\nimages=1\nmin=-5.0\nmax=40.0\n\0")}
    for dtype in ("<f4", "<i4"):
        for tags in (declared, imagej):
            gray = read_image(tiff(ramp(-5, 40, dtype), **tags), channels=1)[..., 0]
            assert np.abs(gray - expected).max() <= (1 if dtype == "<f4" else 6)
    np.testing.assert_array_equal(read_image(tiff(ramp(0, 1)), channels=1)[..., 0], expected)
    # Of 16 bits the whole range counts: what a photo happens to hold is no range.
    statistics = {"_280": (3, [0]), "_281": (3, [1000])}
    dark = read_image(tiff(ramp(0, 1000, "<u2"), **statistics), channels=1)
    assert dark.max() == round(1000 / 257)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
def test_white_is_zero(dtype):
    values = ramp(0, 1 if dtype == "<f4" else np.iinfo(dtype).max, dtype)
    dark = read_image(tiff(values), channels=1).astype(int)
    for packed in (False, True):
        light = read_image(tiff(values, packed=packed, _262=(3, [0])), channels=1)
        assert np.abs(light - (255 - dark)).max() <= 1


@pytest.mark.parametrize("packed", [False, True])
def test_planes_of_sixteen_bits(packed):
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 14, 3)).astype("<u2")
    shown = read_image(tiff(pixels, planes=True, packed=packed))
    np.testing.assert_array_equal(shown, pixels >> 8)


def test_color_keys_of_other_depths():
    """A PNG names the transparent color with as many bits as its samples have."""
    head = b"\x89PNG\r\n\x1a\n"

    def png(bits: int, kind: int, row: bytes, key: bytes) -> bytes:
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, kind, 0, 0, 0)), (b"tRNS", key),
            (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b""),
        ]  # fmt: skip
        return head + b"".join(chunk_of(*chunk) for chunk in chunks)

    gray16 = png(16, 0, struct.pack(">2H", 1000, 1001), struct.pack(">H", 1000))
    np.testing.assert_array_equal(read_image(gray16, channels=4)[0, :, 3], [0, 255])
    assert read_image(gray16, channels=1)[0, :, 0].tolist() == [255, 4]
    color16 = png(
        16, 2, struct.pack(">6H", *[1000] * 3, *[9000] * 3), struct.pack(">3H", *[1000] * 3)
    )
    assert read_image(color16, channels=4)[0, :, 3].tolist() == [0, 255]
    for bits, row in ((2, 0b10_11_0000), (4, 0xAB)):
        key = row >> (8 - bits)
        few = png(bits, 0, bytes([row]), struct.pack(">H", key))
        assert read_image(few, channels=4)[0, :, 3].tolist() == [0, 255]


@pytest.mark.parametrize("name", ["big_xmp.png", "double_prefix.png"])
def test_metadata_does_not_decide_over_pixels(name):
    for size in (None, (24, 32)):
        shown = read_image(CASES / name, image_size=size)
        np.testing.assert_array_equal(shown, read_image(CASES / "scene.png", image_size=size))


def test_an_orientation_of_a_wrong_type_is_none():
    assert read_image(CASES / "orientation_ascii.jpg").shape == (96, 128, 3)
    assert read_image(CASES / "orientation_ascii.jpg", image_size=(12, 16)).shape == (12, 16, 3)
    pixels = noise(5, 3)
    head = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01"
    wrong = [(3, 1, b"\0"), (3, 1, b"\x09"), (2, 2, b"6"), (1, 1, b"\6"), (11, 1, b"\0\0\xc0\x40")]
    for form in ("PNG", "JPEG", "WEBP"):
        for kind, count, value in wrong:
            exif = head + struct.pack("<HI4s4x", kind, count, value)
            assert read_image(encode(pixels, form, exif=exif)).shape == (5, 3, 3)
        exif = head + struct.pack("<HI4s4x", 3, 1, b"\6")
        assert read_image(encode(pixels, form, exif=exif)).shape == (3, 5, 3)
    assert read_image(tiff(pixels, _274=(2, b"6\0"))).shape == (5, 3, 3)
    assert read_image(tiff(pixels, _274=(3, [6]))).shape == (3, 5, 3)
    for content in (b"", b"Exif\0\0", b"Exif\0\0MM", b"Exif\0\0II*\0\xff\xff\xff\xff", b"??" * 40):
        for form in ("PNG", "JPEG", "WEBP"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                file = encode(pixels, form, exif=content)
            assert read_image(file).shape == (5, 3, 3)


def _png_with(kind: bytes, data: bytes) -> bytes:
    file = encode(smooth(9, 7))
    return file[:33] + chunk_of(kind, data) + file[33:]


LARGE = zlib.compress(b"a" * 2**21)  # above Pillow's limit of a text
UNREADABLE = {
    "compressed text": _png_with(b"zTXt", b"Comment\0\0" + LARGE),
    "unknown compression": _png_with(b"zTXt", b"Comment\0\7" + LARGE),
    "international text": _png_with(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
    "profile": _png_with(b"iCCP", b"icc\0\0" + LARGE),
    "profile of a wrong method": _png_with(b"iCCP", b"icc\0\3abc"),
    "profile that is empty": _png_with(b"iCCP", b""),
    "gamma cut short": _png_with(b"gAMA", b"\0"),
    "intent cut short": _png_with(b"sRGB", b""),
    "checksum": _png_with(b"tEXt", b"a\0b").replace(chunk_of(b"tEXt", b"a\0b")[-4:], b"!!!!"),
    "text at the end": encode(smooth(9, 7))[:-12] + chunk_of(b"zTXt", b"a\0\0" + LARGE)
    + chunk_of(b"IEND", b""),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_a_png_says_beside_its_pixels_may_be_broken(kind):
    np.testing.assert_array_equal(read_image(UNREADABLE[kind]), smooth(9, 7))
    with pytest.raises(UserError):  # pixels may not
        read_image(UNREADABLE[kind][:-40] if kind != "text at the end" else b"")


def test_colors_and_rotation_survive_where_other_metadata_is_broken():
    with Image.open(CASES / "scene_adobe.png") as image:
        profile, pixels = image.info["icc_profile"], image.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    sound = encode(pixels, icc_profile=profile, exif=exif)
    expected = np.rot90(read_image(CASES / "scene.png"), -1).astype(int)
    broken = sound[:33] + chunk_of(b"zTXt", b"Comment\0\0" + LARGE) + sound[33:]
    assert np.quantile(np.abs(read_image(broken) - expected), 0.99) <= 2
    # A profile of more than a megabyte, which Pillow refuses, counts.
    large = profile[:4] + profile[4:] + bytes(2**21)
    large = struct.pack(">I", len(large)) + large[4:]
    stored = encode(pixels)
    huge = stored[:33] + chunk_of(b"iCCP", b"icc\0\0" + zlib.compress(large)) + stored[33:]
    shown = np.rot90(read_image(huge), -1)
    assert np.quantile(np.abs(shown - expected), 0.99) <= 2


def test_segments_of_a_jpeg_may_be_broken():
    exif = Image.Exif()
    exif[0x0112] = 6
    sound = encode(smooth(40, 24), "JPEG", exif=exif, quality=95)
    expected = read_image(sound)
    for marker, data in (
        (0xE0, b"JFIF\0"), (0xEE, b"Adobe"), (0xED, b"Photoshop 3.0\x008BIM\4\4\0"),
        (0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1"), (0xE2, b"ICC_PROFILE\0"), (0xFE, b""),
        (0xE1, b"Exif\0"),
    ):  # fmt: skip
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data
        np.testing.assert_array_equal(read_image(sound[:2] + segment + sound[2:]), expected)


def test_warnings_of_pillow_reach_nobody(tmp_path):
    file = encode(smooth(40, 24), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\x01")
    (tmp_path / "a.jpg").write_bytes(file)
    (tmp_path / "b.png").write_bytes(_png_with(b"acTL", bytes(8)))
    (tmp_path / "c.tif").write_bytes(tiff(noise(4, 4), _305=(3, [1, 2, 3])))
    code = "import sys; from ganjax.images import read_image; [*map(read_image, sys.argv[1:])]"
    words = [sys.executable, "-c", code, *sorted(map(str, tmp_path.iterdir()))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def _scene() -> Image.Image:
    return Image.open(CASES / "scene.png")


def _encoded_formats() -> dict[str, bytes]:
    pillow_heif.register_heif_opener()
    scene, other = _scene().convert("RGB"), _scene().rotate(180)
    gray = np.asarray(scene.convert("L"))
    clear = scene.convert("RGBA")
    clear.putalpha(0)
    unused = bytearray(encode(clear, "TGA"))
    unused[17] &= 0xF0  # the fourth byte means nothing
    return {
        "a.heic": encode(scene, "HEIF", quality=95),
        "b.HEIF": encode(scene, "HEIF", quality=95),
        "c.hif": encode(scene, "HEIF", quality=95),
        "d.avif": encode(scene, "AVIF", quality=95),
        "e.jp2": encode(scene, "JPEG2000"),
        "f.j2k": encode(scene, "JPEG2000", no_jp2=True),
        "g.mpo": encode(scene, "MPO", save_all=True, append_images=[other], quality=95),
        "h.tga": encode(scene, "TGA"),
        "i.tga": encode(scene, "TGA", compression="tga_rle"),
        "j.tga": bytes(unused),
        "k.apng": encode(scene, "PNG", save_all=True, append_images=[other]),
        "l.jp2": encode(np.uint16(gray) * 257, "JPEG2000"),
        "m.pgm": encode(gray, "PPM"),
        "n.pbm": encode(scene.convert("1"), "PPM"),
    }


def test_formats_of_phones_and_archives(tmp_path):
    files = _encoded_formats()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    source = open_files(tmp_path)
    assert source.names == sorted(files)
    arrays, broken = source.load(range(len(files)), (96, 128), 3)
    assert not broken
    scene = np.asarray(_scene().convert("RGB")).astype(int)
    for name, loaded in zip(source.names, arrays["image"], strict=True):
        expected = scene
        if name in ("l.jp2", "m.pgm"):
            expected = np.asarray(_scene().convert("L"))[..., None]
        if name == "n.pbm":
            expected = 255 * np.asarray(_scene().convert("1"))[..., None]
        assert np.abs(loaded - expected).mean() < 5, name
        np.testing.assert_array_equal(read_image(tmp_path / name), loaded)
    assert len(list_pictures([tmp_path / name for name in files])) == len(files)


def test_avif_of_others_and_a_rotated_heic():
    scene = read_image(CASES / "scene.png").astype(int)
    assert np.abs(read_image(CASES / "photo.avif") - scene).mean() < 4
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    for form in ("HEIF", "AVIF"):
        turned = read_image(encode(_scene().convert("RGB"), form, quality=90, exif=exif.tobytes()))
        assert np.abs(turned - np.rot90(scene, -1)).mean() < 4
    with Image.open(CASES / "scene_p3.png") as image:
        profile, pixels = image.info["icc_profile"], image.convert("RGB")
    for form in ("HEIF", "AVIF", "WEBP", "TIFF"):
        shown = read_image(encode(pixels, form, quality=95, icc_profile=profile))
        assert np.abs(shown - scene).mean() < 5  # 9 without the profile


TINY = np.array([[[200, 100, 50], [10, 20, 30]]], np.uint8)


def _cmyk_of_adobe(adobe: bool) -> bytes:
    file = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert file[2:4] == b"\xff\xee"
    return file if adobe else file[:2] + file[4 + int.from_bytes(file[4:6]) :]


def test_cmyk_is_inverted_by_adobe_alone():
    np.testing.assert_allclose(read_image(_cmyk_of_adobe(True))[8, 8], [255, 0, 0], atol=3)
    # The same samples mean all of the other inks.
    np.testing.assert_allclose(read_image(_cmyk_of_adobe(False))[8, 8], [0, 0, 0], atol=3)


def test_a_gif_whose_frame_is_smaller_than_the_screen():
    frame = Image.new("P", (4, 3), 1)
    frame.putpalette([9, 9, 9, 250, 0, 0])
    file = bytearray(encode(frame, "GIF"))
    file[6:10] = struct.pack("<HH", 6, 5)
    shown = read_image(bytes(file), channels=4)
    assert (shown[:3, :4] == [250, 0, 0, 255]).all()
    assert (shown[3:, :, 3] == 0).all() and (shown[:, 4:, 3] == 0).all()
    assert (read_image(bytes(file))[4] == 255).all()


@pytest.mark.parametrize("form", ["TGA", "BMP"])
def test_alpha_that_leaves_nothing_to_see_means_nothing(form):
    for alpha, kept in ((0, 255), (128, 128)):
        pixels = np.concatenate([TINY, np.full((1, 2, 1), alpha, np.uint8)], axis=-1)
        if form == "TGA":
            file = encode(pixels, "TGA")
        else:  # of version 5, which alone has an alpha
            masks = struct.pack("<4I84x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)[: 124 - 40]
            info = struct.pack("<IiiHHIIiiII", 124, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks
            data = pixels[..., [2, 1, 0, 3]].tobytes()
            file = b"BM" + struct.pack("<IHHI", 14 + 124 + 8, 0, 0, 14 + 124) + info + data
        shown = read_image(file, channels=4)
        np.testing.assert_array_equal(shown[..., :3], TINY)
        assert (shown[..., 3] == kept).all()


def test_colors_that_a_png_names_by_their_places():
    pixels = noise(8, 9)
    file = encode(pixels)

    def with_places(*places: int, more: bytes = b"") -> bytes:
        return file[:33] + chunk_of(b"cHRM", struct.pack(">8I", *places)) + more + file[33:]

    p3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    srgb = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    usual = chunk_of(b"gAMA", struct.pack(">I", 45_455))
    np.testing.assert_allclose(
        read_image(with_places(*p3, more=usual)), _p3_as_srgb(pixels), atol=0.6
    )
    for harmless in (with_places(*srgb, more=usual), with_places(*[0] * 8)):
        np.testing.assert_array_equal(read_image(harmless), pixels)
    overruled = with_places(*p3, more=chunk_of(b"sRGB", b"\0"))
    np.testing.assert_array_equal(read_image(overruled), pixels)
    linear = chunk_of(b"gAMA", struct.pack(">I", 100_000))
    both = read_image(with_places(*srgb, more=linear)).astype(int)
    assert np.abs(both - read_image(file[:33] + linear + file[33:])).max() <= 1
    odd = chunk_of(b"gAMA", struct.pack(">I", 1))
    assert read_image(with_places(*p3, more=odd)).shape == (8, 9, 3)


@pytest.mark.parametrize("dtype", ["f4", "i4", "i2"])
def test_packed_samples_of_both_orders(dtype):
    """libtiff swaps bytes itself, and Pillow once more."""
    values = ramp(0, 1 if dtype == "f4" else 255, dtype)
    expected = read_image(tiff(values.astype(f"<{dtype}")), channels=1)
    for packed in (False, True):
        file = tiff(values.astype(f">{dtype}"), order=">", packed=packed)
        np.testing.assert_array_equal(read_image(file, channels=1), expected)


def test_kinds_of_tiff(monkeypatch, capsys):
    monkeypatch.setattr(errors, "_told", set())
    signed = np.linspace(-100, 100, 100).reshape(10, 10).astype("i1")
    expected = np.round((signed.astype(float) + 100) / 200 * 255)
    np.testing.assert_allclose(read_image(tiff(signed), channels=1)[..., 0], expected, atol=1)
    assert "has samples from -100 to 100" in capsys.readouterr().err
    # Gray multiplied with its alpha, which older Pillow refuses: 100 of 128 is 199 of 255.
    if (b"II", 1, (1,), 1, (8, 8), (1,)) in TiffImagePlugin.OPEN_INFO:
        both = np.array([[[100, 128], [0, 0], [255, 255]]], np.uint8)
        file = tiff(both, _338=(3, [1]))
        assert read_image(file, channels=4)[0].tolist() == [[199] * 3 + [128], [0] * 4, [255] * 4]
        assert read_image(file, channels=1)[0, :, 0].tolist() == [227, 255, 255]
    # Palettes of 8 bits, as some programs write them in 16.
    colors = np.random.default_rng(0).integers(0, 256, (3, 256))
    index = noise(5, 6, 1)[..., 0]
    for scale in (1, 257):
        tags = {"_262": (3, [3]), "_320": (3, (scale * colors).ravel().tolist())}
        np.testing.assert_array_equal(read_image(tiff(index, **tags)), colors.T[index])
    # What GDAL has for missing samples is black, and no part of the range.
    values = with_outlier(ramp(-10, 20), -3.4028235e38)
    tags = {
        "_42113": (2, b"-3.4028234663852886e+38\0"),
        "_340": (12, [-10.0]),
        "_341": (12, [20.0]),
    }
    gray = read_image(tiff(values, **tags), channels=1)[..., 0]
    expected = np.round(np.linspace(0, 255, 400)).reshape(20, 20)
    np.testing.assert_allclose(gray, expected, atol=1)
    tags = {"_42113": (2, b"-3.4028234663852886e+38\0")}
    errors._told.clear()
    np.testing.assert_allclose(read_image(tiff(values, **tags), channels=1)[..., 0], gray, atol=2)
    assert "from -9.92481 to 20" in capsys.readouterr().err
    with pytest.raises(UserError, match="is TIFF of a kind that is not read, or damaged; save"):
        read_image(tiff(np.zeros((3, 4, 3), "<f4")))


def test_what_begins_like_a_tga_is_none():
    indices_of_no_palette = bytes([0, 0, 1, *[0] * 9, 2, 0, 2, 0, 8, 0])
    with pytest.raises(UserError, match="no image in"):
        read_image(indices_of_no_palette + b"abcd")
    rng = np.random.default_rng(0)
    for _ in range(300):
        with pytest.raises(UserError):
            read_image(bytes([0, rng.integers(2), *rng.integers(0, 256, 60)]))


def test_jpegs_of_phones_are_decoded_at_a_fraction(monkeypatch):
    """A limit of a hundredth stands for pictures of 108 and 200 megapixels."""
    large = smooth(1200, 1600)
    file = encode(large, "JPEG", quality=95)
    whole = read_image(file, image_size=(64, 64)).astype(int)
    monkeypatch.setenv("GANJAX_MAX_MEGAPIXELS", "0.89")
    assert np.abs(read_image(file, image_size=(64, 64)) - whole).max() <= 1
    with pytest.raises(UserError, match="GANJAX_MAX_MEGAPIXELS=2$"):
        read_image(file)
    with pytest.raises(UserError, match="GANJAX_MAX_MEGAPIXELS=2$"):  # nothing else has fractions
        read_image(encode(large), image_size=(64, 64))
    assert read_image(file, may_shrink=True).shape == (600, 800, 3)
    monkeypatch.setenv("GANJAX_MAX_MEGAPIXELS", "0.4")
    with pytest.raises(UserError, match="MEGAPIXELS=2$"):  # more than four times as much
        read_image(file, image_size=(64, 64))
    monkeypatch.setenv("GANJAX_MAX_MEGAPIXELS", "2")
    assert read_image(file).shape == (1200, 1600, 3)
    monkeypatch.setenv("GANJAX_MAX_MEGAPIXELS", "many")
    with pytest.raises(UserError, match="give a number like 200"):
        read_image(file)


@pytest.mark.parametrize("megapixels", [108, 200])
def test_headers_of_large_photos_pass(megapixels):
    """Pillow itself warns from 89 megapixels on, and refuses from 179 on."""
    width, height = {108: (12_000, 9_000), 200: (16_320, 12_240)}[megapixels]
    file = encode(Image.new("L", (width, height), 200), "JPEG")
    shown = read_image(file, image_size=(32, 32), channels=1)
    assert (shown == 200).all()
    with pytest.raises(UserError, match=f"more than 89 million pixels.*={megapixels}$"):
        read_image(file)


def test_a_drawing_shows_through_its_alpha():
    random = np.random.default_rng(0)
    rgba = random.integers(0, 256, (64, 64, 4), np.uint8)
    rgba[:8, :, 3], rgba[8:16, :, 3] = 0, 255
    seen = images.opaque(rgba)
    np.testing.assert_array_equal(images.with_alpha(seen, seen, rgba), rgba)
    drawn = np.uint8(np.clip(seen + random.normal(0, 20, seen.shape), 0, 255))
    result = images.with_alpha(drawn, seen, rgba)
    np.testing.assert_array_equal(result[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(result[8:16, :, :3], drawn[8:16])
    np.testing.assert_array_equal(result[:8], rgba[:8])
    possible = (result[..., :3] > 0) & (result[..., :3] < 255) & (rgba[..., 3:] > 0)
    assert possible.mean() > 0.4
    assert np.abs(images.opaque(result) - drawn.astype(int))[possible].max() <= 1
