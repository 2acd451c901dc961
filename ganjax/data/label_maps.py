"""Label maps in files: the numbers of classes, or their colors."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ganjax.errors import UserError, one_line
from ganjax.images import read_values

UNLABELED = 255  # the number of what belongs to no class
_LOSSY = (b"\xff\xd8", b"RIFF")  # JPEG and WebP, whose colors are not exact
_FAR = 48  # distance in RGB that loss explains at edges only


class LabelMaps(NamedTuple):
    """How the label maps of a data set are written.

    Attributes:
      names: of the classes, that of number 0 first.
      colors: of the classes, like "f0c0a0"; () where files hold the numbers, as gray values or as
        indices of a palette.
    """

    names: tuple[str, ...]
    colors: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], colors: Sequence[str]) -> "LabelMaps":
        """Checks the fields of a config.

        Raises:
          UserError: there are too few or too many classes, or wrong colors.
        """
        if not 2 <= len(names) <= UNLABELED:
            raise UserError(f"data.classes has {len(names)} names; give 2 to {UNLABELED}")
        if colors and len(colors) != len(names):
            raise UserError(f"data.colors has {len(colors)} colors for {len(names)} data.classes")
        for color in colors:
            if not re.fullmatch("[0-9a-f]{6}", color):
                raise UserError(f"data.colors has {color!r}; give six digits like 'f0c0a0'")
        if len({*colors}) < len(colors):
            raise UserError("data.colors has a color twice; give each class its own")
        return cls(tuple(names), tuple(colors))

    def read(self, content: bytes) -> np.ndarray:
        """The values of a file, which `look_up` takes.

        Raises:
          UserError: it is no image, or has colors where numbers are wanted.
        """
        return read_values(content, colors=bool(self.colors))

    def of_image(self, image: Any) -> np.ndarray:
        """The classes of a label map that a caller has: uint8 [H, W].

        Args:
          image: a path, the content of a file, a Pillow image, or an array of what files hold:
            numbers [H, W], or colors uint8 [H, W, 3].

        Raises:
          UserError: it is none of these, or see `read` and `look_up`.
        """
        content, values = _values(image, colors=bool(self.colors))
        try:
            return self.look_up(values, content)
        except UserError as error:
            raise UserError(f"image {error}") from error

    def look_up(self, values: np.ndarray, content: bytes) -> np.ndarray:
        """The classes of values that were read: uint8 [H, W].

        Colors of JPEG and WebP files count as the nearest one.

        Raises:
          UserError: a value is that of no class.
        """
        if not self.colors:
            known = (values >= 0) & (values < len(self.names))
            wrong = values[~known & (values != UNLABELED)]
            if wrong.size:
                raise UserError(
                    f"has the number {wrong[0]}, but data.classes has {len(self.names)} names, for "
                    f"0 to {len(self.names) - 1} ({UNLABELED}: not labeled)"
                )
            return values.astype(np.uint8)
        table = palette(self.colors)
        found, places, counts = np.unique(
            values.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
        )
        distances = np.square(found[:, None].astype(int) - table).sum(axis=2)
        wrong = found[distances.min(axis=1) > 0]
        if len(wrong) and not content.startswith(_LOSSY):
            raise UserError(f"has the color {bytes(wrong[0]).hex()}, which is none of data.colors")
        far = counts[distances.min(axis=1) > _FAR**2].sum() / counts.sum()
        if far > 0.25:
            raise UserError(
                f"has colors that are far from data.colors in {far:.0%} of its pixels; is it a "
                "label map?"
            )
        return distances.argmin(axis=1).astype(np.uint8)[places.reshape(values.shape[:2])]


class InstanceMaps(NamedTuple):
    """How maps of instances are written: as numbers, another one for each object of an image.

    Attributes:
      names: none; what tells instances apart is of one image alone.
    """

    names: tuple[str, ...] = ()

    def read(self, content: bytes) -> np.ndarray:
        """See `LabelMaps.read`."""
        return read_values(content, colors=False)

    def of_image(self, image: Any) -> np.ndarray:
        """See `LabelMaps.of_image`."""
        return self.look_up(_values(image, colors=False)[1], b"")

    def look_up(self, values: np.ndarray, content: bytes) -> np.ndarray:
        """The ranks of an image's numbers, uint8 [H, W]; after 256 objects they begin anew."""
        _, ranks = np.unique(values, return_inverse=True)
        return ranks.reshape(values.shape).astype(np.uint8)


def _values(image: Any, *, colors: bool) -> tuple[bytes, np.ndarray]:
    """Content and values of an image that a caller has, see `LabelMaps.of_image`."""
    if isinstance(image, str | Path):
        try:
            image = Path(image).read_bytes()
        except OSError as error:
            raise UserError(f"image {image} cannot be read: {one_line(error)}") from error
    content = b""
    if isinstance(image, bytes):
        content, values = image, read_values(image, colors=colors)
    else:
        colored = isinstance(image, Image.Image) and colors
        values = np.asarray(image.convert("RGB") if colored else image)
    if values.ndim != 2 + colors or values.dtype.kind not in "bui":
        wanted = "colors [H, W, 3]" if colors else "numbers of classes [H, W]"
        kind = f"{values.dtype} {list(values.shape)}"
        raise UserError(f"image is {kind}; this model takes label maps: {wanted}, integers")
    return content, values


def palette(colors: Sequence[str], count: int = 0) -> np.ndarray:
    """Colors as uint8 [K, 3]; `count` different ones where there are none, black first."""
    if colors:
        return np.array([list(bytes.fromhex(color)) for color in colors], np.uint8)
    levels = 2
    while levels**3 < count:
        levels += 1
    grid = np.stack(np.meshgrid(*[np.linspace(0, 255, levels)] * 3, indexing="ij"), axis=-1)
    return np.rint(grid.reshape(-1, 3)[:count]).astype(np.uint8)
