"""Pairs of images: what belongs together lies side by side in one file, as pix2pix has it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ganjax.data.avatars.palette import paint
from ganjax.data.avatars.source import Avatars
from ganjax.data.fields import IMAGE
from ganjax.data.folder import Files, open_files
from ganjax.data.source import Broken, Source
from ganjax.errors import UserError
from ganjax.images import DECLARED, Reading, cover, read_image

SPLITS = ("train", "val", "test")


class SideBySide:
    """Files whose left half is `a` and whose right half is `b`, uint8 [N, H, W, C] each.

    Args:
      split: of folders named `SPLITS`, where there are any; all others are passed over.

    Raises:
      UserError: there is no such split.
    """

    fields = {"a": IMAGE, "b": IMAGE}

    def __init__(self, files: Files, *, split: str):
        names = files.names
        found = {part for name in names for part in name.split("/")[:-1] if part in SPLITS}
        if found:
            if split not in found:
                raise UserError(f"there is no folder {split}, only {', '.join(sorted(found))}")
            names = [name for name in names if split in name.split("/")[:-1]]
        self._names, self._read, self._reading = names, files.read, files.reading
        self.digest = f"side by side, {split if found else 'all'}: {files.digest}"

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return self._names[index]

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        halves: list[list[np.ndarray]] = [[], []]
        broken = []
        for name in map(self.name, indices):
            try:
                image = read_image(
                    self._read(name), channels=channels, may_shrink=True, reading=self._reading
                )
                if image.shape[1] % 2:
                    raise UserError(f"is {image.shape[1]} pixels wide, which has no two halves")
            except UserError as error:
                broken.append(Broken(name, str(error).removeprefix("image ")))
                continue
            for found, half in zip(halves, np.split(image, 2, axis=1), strict=True):
                found.append(_fitted(half, image_size))
        empty = np.empty((0, *image_size, channels), np.uint8)
        arrays = (np.stack(found) if found else empty for found in halves)
        return dict(zip(self.fields, arrays, strict=True)), broken


def _fitted(image: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    flat = image[:, :, 0] if image.shape[2] == 1 else image
    return np.asarray(cover(Image.fromarray(flat), image_size)).reshape(*image_size, -1)


class Portraits:
    """Avatars as pairs: `a` the mask in the colors of its palette, `b` the portrait."""

    fields = {"a": IMAGE, "b": IMAGE}

    def __init__(self, *, split: str):
        self._source = Avatars(split=split)
        self.digest = f"portraits: {self._source.digest}"

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        return self._source.name(index)

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        if channels != 3:
            raise UserError(f"data.channels is {channels}; masks have colors: choose 3")
        arrays, broken = self._source.load(indices, image_size, channels)
        return {"a": paint(arrays["mask"]), "b": arrays["image"]}, broken


def open_paired(
    where: str, *, split: str, reading: Reading = DECLARED, follow_links: bool = False
) -> Source:
    """Opens PATH[:SPLIT], a folder or .zip of images side by side, or `avatars`.

    Raises:
      UserError: there is no such data or split.
    """
    path, _, own_split = where.partition(":")
    if path == "avatars":
        return Portraits(split=own_split or split)
    files = open_files(path, reading=reading, follow_links=follow_links)
    return SideBySide(files, split=own_split or split)
