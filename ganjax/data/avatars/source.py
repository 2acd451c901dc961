"""Avatars, the embedded data set, as a source."""

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ganjax.data import avatars
from ganjax.data.avatars import painter
from ganjax.data.avatars.captions import describe
from ganjax.data.fields import IMAGE, Field
from ganjax.data.source import Broken
from ganjax.errors import UserError

CAPTIONS = 4  # of each portrait
_SIZES = {"train": avatars.TRAIN_SIZE, "test": avatars.TEST_SIZE}


class Avatars:
    """Rendered portraits with `mask` uint8 [N, H, W] and `label` int32 [N, A].

    Args:
      split: "train" or "test".
      only: "glasses=round+square,hat=none" for those that have one of the values of each
        attribute; "" for all.

    Raises:
      UserError: there is no such split, attribute or value, or no portrait has them all.
    """

    fields = {
        "image": IMAGE,
        "mask": Field("label_map", names=avatars.MASK_CLASSES),
        "label": Field(
            "attributes",
            len(avatars.ATTRIBUTES),
            tuple(avatars.ATTRIBUTES),
            tuple(avatars.ATTRIBUTES.values()),
        ),
    }

    def __init__(self, *, split: str, only: str = ""):
        if split not in _SIZES:
            raise UserError(f"avatars have no split {split!r}; there is {' and '.join(_SIZES)}")
        self._split = split
        # The painter's own text: portraits that were cached before a change are painted anew.
        code = b"".join(Path(inspect.getfile(module)).read_bytes() for module in (avatars, painter))
        self.digest = f"avatars {split} {hashlib.sha256(code).hexdigest()}"
        self._indices = np.arange(_SIZES[split])
        if only:
            self.digest += f" {only}"
            labels = avatars.draw_attributes(self._indices, split=split)
            self._indices = np.flatnonzero(_have(labels, only))
            if not len(self._indices):
                raise UserError(f"no avatars have {only}; ask for less")

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        return f"{self._split} {self._indices[index]}"

    def attributes(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The labels alone: int32 [N, A]."""
        return avatars.draw_attributes(self._indices[indices], split=self._split)

    def captions(self, indices: Sequence[int] | np.ndarray) -> list[list[str]]:
        """Some captions of each portrait, always the same ones."""
        numbers = np.repeat(self._indices[indices], CAPTIONS)
        labels = avatars.draw_attributes(numbers, split=self._split)
        seeds = CAPTIONS * numbers + np.arange(len(numbers)) % CAPTIONS
        found = describe(labels, seeds.tolist())
        return [found[first : first + CAPTIONS] for first in range(0, len(found), CAPTIONS)]

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        arrays = avatars.render(self._indices[indices], image_size, split=self._split)
        return arrays | {"image": _to_channels(arrays["image"], channels)}, []


def _have(labels: np.ndarray, only: str) -> np.ndarray:
    """Which of labels [N, A] have the values that a text asks for: bool [N]."""
    good = np.ones(len(labels), bool)
    for part in only.split(","):
        name, _, values = part.partition("=")
        known = avatars.ATTRIBUTES.get(name, ())
        if not known or not set(values.split("+")) <= set(known):
            choices = ", ".join(known or avatars.ATTRIBUTES)
            raise UserError(f"avatars know no {part}; choose among {choices}")
        wanted = [known.index(value) for value in values.split("+")]
        good &= np.isin(labels[:, list(avatars.ATTRIBUTES).index(name)], wanted)
    return good


def open_avatars(where: str, *, split: str) -> Avatars:
    """Opens [SPLIT][:NAME=VALUE+VALUE,NAME=VALUE], or the attributes alone.

    Raises:
      UserError: see `Avatars`.
    """
    first, _, rest = where.partition(":")
    if "=" in first:
        return Avatars(split=split, only=where)
    return Avatars(split=first or split, only=rest)


def _to_channels(images: np.ndarray, channels: int) -> np.ndarray:
    match channels:
        case 1:  # ITU-R 601 luma in the fixed point form that Pillow uses for files
            weights = np.array([19595, 38470, 7471], np.uint32)
            return ((images @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]
        case 4:
            return np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1)
    return images
