"""Smaller versions of images that are decoded already."""

import json
from collections.abc import Sequence

import numpy as np

from ganjax.data.cache import Examples
from ganjax.data.source import Broken, Source, good_name


class Halved:
    """A source whose images are those of `examples`, which are of `source`, at half their sides."""

    def __init__(self, source: Source, examples: Examples):
        self.examples, self.fields = examples, source.fields
        self._source = source
        self.digest = json.dumps(
            ["halved", source.digest, next(iter(examples.arrays.values())).shape]
        )

    def __len__(self) -> int:
        return len(self.examples)

    def name(self, index: int) -> str:
        return good_name(self._source, self.examples.broken, index)

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        """As `Source.load`; pixels of images are means of 2x2, of label maps the first of them."""
        arrays = {}
        for name in self.examples.arrays:
            values = self.examples.take(name, np.asarray(indices))
            field = self.fields[name]
            if field.kind == "label_map":
                values = values[:, ::2, ::2]
            elif field.is_picture:
                values = halve(values)
            arrays[name] = values
        return arrays, []


def halve(images: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels: uint8 [N, H, W, ...] to [N, H / 2, W / 2, ...], halves to even ones."""
    wide = images.astype(np.uint16)
    rows = wide[:, ::2] + wide[:, 1::2]
    sums = rows[:, :, ::2] + rows[:, :, 1::2]
    return ((sums + 1 + (sums >> 2 & 1)) >> 2).astype(np.uint8)
