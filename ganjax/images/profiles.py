"""Colors as sRGB, whatever color space a file has them in."""

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms


def to_srgb(image: Image.Image, info: Mapping[str, Any]) -> Image.Image:
    """Converts an image of 8 bits by its ICC profile, or by the gamma of a PNG.

    The intent is relative colorimetric with black point compensation. A profile that is broken or
    of another kind of colors is ignored; one that is sRGB's own leaves the image as it is.

    Args:
      info: as Pillow has it of the file.
    """
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    # Encoders that mean sRGB write 1 / 2.2, or nearly so.
    gamma = gamma if gamma and "srgb" not in info and abs(2.2 * gamma - 1) > 0.05 else None
    if not (profile or gamma) or image.mode == "1":
        return image
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if image.mode in ("L", "LA", "La"):
        if transparent:
            gray, alpha = image.convert("LA").split()
            image = _convert(gray, profile, gamma).convert("RGB")
            image.putalpha(alpha)
            return image
        return _convert(image, profile, gamma)
    if image.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
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
