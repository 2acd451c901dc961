"""Colors as sRGB, whatever color space a file has them in."""

import io
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ganjax.errors import tell_once

# By the numbers of ITU-T H.273: x and y of red, green and blue; the white is D65.
_PRIMARIES = {
    1: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),  # BT.709 and sRGB
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_WHITE = (0.3127, 0.3290)
_SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1, as ICC has curves
# Screens show the curves of video (1, 6, 14, 15) as that of sRGB. 2 says nothing.
_CURVES = dict.fromkeys((1, 2, 6, 13, 14, 15), _SRGB) | {
    4: (2.2, 1, 0, 1, 0),
    5: (2.8, 1, 0, 1, 0),
    8: (1, 1, 0, 1, 0),
}
# Bradford's responses of cones, in which whites are adapted (ICC.1:2022, annex E).
_CONES = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_D50 = (0.9642, 1.0, 0.8249)  # the white of profiles


def to_srgb(image: Image.Image, info: Mapping[str, Any], name: Any) -> Image.Image:
    """Converts an image of 8 bits by its ICC profile, the numbers of its color space, or its gamma.

    The intent is relative colorimetric with black point compensation. A profile that is broken or
    of another kind of colors is ignored; one that is sRGB's own leaves the image as it is. Colors
    that no profile can be made for, as those of HDR, stay as they are, and the user is told.

    Args:
      info: as Pillow has it of the file, with "cicp" (`formats.open_image`).
      name: what messages call the file.
    """
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    # Encoders that mean sRGB write 1 / 2.2, or nearly so.
    gamma = gamma if gamma and "srgb" not in info and abs(2.2 * gamma - 1) > 0.05 else None
    colored = image.mode not in ("1", "L", "LA")
    if coded := info.get("cicp"):
        profile, gamma = _by_numbers(*coded), None
        if profile is None:
            tell_once(
                f"warning: {name} has colors that are read as if they were sRGB's, and others like "
                f"it as well (primaries {coded[0]}, transfer {coded[1]} of ITU-T H.273)",
                key=f"colors {coded}",
            )
    elif colored and not profile and "srgb" not in info and "chromaticity" in info:
        profile = _make_profile(info["chromaticity"], (1 / gamma, 1, 0, 1, 0) if gamma else _SRGB)
        gamma = None if profile else gamma
    if not (profile or gamma) or image.mode == "1":
        return image
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    if coded and image.mode in ("L", "LA"):
        image = image.convert("RGBA" if transparent else "RGB")
    if image.mode in ("L", "LA"):
        if transparent:
            gray, alpha = image.convert("LA").split()
            image = _convert(gray, profile, gamma).convert("RGB")
            image.putalpha(alpha)
            return image
        return _convert(image, profile, gamma)
    if image.mode in ("P", "PA", "RGB", "RGBA", "RGBX"):
        mode = "RGBA" if transparent else "RGB"
        if profile and not _transform(profile, mode):
            return image
        image = image if image.mode == mode else image.convert(mode)
    return _convert(image, profile, gamma)


def _convert(image: Image.Image, profile: bytes | None, gamma: float | None) -> Image.Image:
    if profile:
        transform = _transform(profile, image.mode)
        return transform.apply(image) if transform else image
    bands = image.getbands()
    if not set(bands) <= set("LRGBA"):
        return image
    table, same = _gamma_table(gamma), list(range(256))
    return image.point([x for band in bands for x in (same if band == "A" else table)])


def _by_numbers(primaries: int, transfer: int, full_range: int) -> bytes | None:
    """A profile of colors that H.273 has numbers for; None for those that are not known here."""
    places, curve = _PRIMARIES.get(1 if primaries == 2 else primaries), _CURVES.get(transfer)
    return _make_profile((*_WHITE, *places), curve) if places and curve and full_range else None


@lru_cache(maxsize=16)
def _make_profile(places: tuple[float, ...], curve: tuple[float, ...]) -> bytes | None:
    """An ICC profile (version 4.3).

    Args:
      places: x and y of white, red, green and blue.
      curve: parameters g, a, b, c, d of the function of type 3.

    Returns:
      None for places that no colors have, and curves that nobody means.
    """
    x, y = np.reshape(places, (4, 2)).T
    if y.min() < 1e-3 or curve[0] > 100:
        return None
    white, *colors = np.stack([x / y, np.ones(4), (1 - x - y) / y]).T
    primaries, cones = np.transpose(colors), np.array(_CONES)
    if abs(np.linalg.det(primaries)) < 1e-3:
        return None
    primaries = primaries * np.linalg.solve(primaries, white)
    adapted = (cones @ _D50 / (cones @ white))[:, None] * (cones @ primaries)
    matrix = np.linalg.solve(cones, adapted)
    if np.abs(matrix).max() > 100:
        return None

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    parts = [b"XYZ \0\0\0\0" + fixed(*column) for column in (*matrix.T, _D50)]
    parts += [b"para\0\0\0\0\0\3\0\0" + fixed(*curve)]
    names = b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"rTRC", b"gTRC", b"bTRC"
    starts = np.cumsum([132 + 12 * len(names), *map(len, parts)])
    tags = [
        struct.pack(">4sII", tag, starts[n], len(parts[n]))
        for tag, n in zip(names, (0, 1, 2, 3, 4, 4, 4), strict=True)
    ]
    body = struct.pack(">I", len(names)) + b"".join(tags + parts)
    head = struct.pack(">I4xI", 128 + len(body), 0x04300000) + b"mntrRGB XYZ " + bytes(12)
    return (head + b"acsp" + bytes(28) + fixed(*_D50)).ljust(128, b"\0") + body


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where there is nothing to convert, or no way to."""
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGBA" if mode == "RGBA" else "RGB",
            intent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if mode == "CMYK":
            return transform
        # Names of profiles tell little: there are many of sRGB, and linear ones named so.
        levels = np.linspace(0, 255, 9).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
        colors = Image.fromarray(cube if mode != "L" else cube[:, :, 0]).convert(mode)
        seen = np.asarray(transform.apply(colors).convert("RGB")).astype(int)
        return transform if np.abs(seen - np.asarray(colors.convert("RGB"))).max() > 1 else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # broken, or of other colors
        return None


@lru_cache(maxsize=16)
def _gamma_table(gamma: float) -> list[int]:
    """Samples that are light to the power of `gamma`, as those of sRGB (IEC 61966-2-1)."""
    light = np.linspace(0, 1, 256) ** (1 / gamma)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(int).tolist()
