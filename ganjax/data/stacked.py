"""Stacked images: three gray ones as the channels of one, with 1,000 modes that can be counted."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ganjax.data.fields import Field
from ganjax.data.source import Broken, Source
from ganjax.errors import UserError

COUNT = 128_000  # triples, as Lin et al. 2018 (PacGAN, arXiv:1712.04086) have
_FRAMED = {(32, 32): (28, 28)}  # digits keep their size within a black frame


class Stacked:
    """Triples of a source's images, drawn once and for all: `image` and its `label`, int32 [N].

    Metz et al. 2017, arXiv:1611.02163, section 3.3.1. With K classes, an image of the classes a, b
    and c in red, green and blue has the class (a * K + b) * K + c. At 32x32, images of 28x28 have a
    black frame of 2 pixels.

    Args:
      source: with classes.
      spec: what names it.

    Raises:
      UserError: it has no classes.
    """

    def __init__(self, source: Source, *, spec: str, count: int = COUNT):
        label = source.fields.get("label")
        if "image" not in source.fields or label is None or label.kind != "class":
            raise UserError(f"stacked:{spec} needs images with classes, which {spec} has not")
        self._source, self._names = source, label.names
        self._triples = np.random.default_rng(0).integers(0, len(source), (count, 3))
        names = map("+".join, itertools.product(label.names, repeat=3))
        self.fields: Mapping[str, Field] = {
            "image": source.fields["image"],
            "label": Field("class", names=tuple(names)),
        }
        self.digest = f"stacked {count} {source.digest}"

    def __len__(self) -> int:
        return len(self._triples)

    def name(self, index: int) -> str:
        return " + ".join(self._source.name(int(number)) for number in self._triples[index])

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        if channels != 3:
            raise UserError("stacked images have 3 channels; set data.channels=3")
        numbers, places = np.unique(self._triples[list(indices)], return_inverse=True)
        size = _FRAMED.get(image_size, image_size)
        arrays, broken = self._source.load(numbers.tolist(), size, 1)
        reasons = {example.name: example.reason for example in broken}
        good = np.array([self._source.name(int(number)) not in reasons for number in numbers])
        # Of each number, the row among the good ones.
        places = places.reshape(-1, 3)
        whole = np.all(good[places], axis=1)
        rows = (np.cumsum(good) - 1)[places][whole]
        frames = [((a - b) // 2, (a - b + 1) // 2) for a, b in zip(image_size, size, strict=True)]
        images = np.moveaxis(arrays["image"][rows, ..., 0], 1, 3)
        labels = arrays["label"][rows] @ [len(self._names) ** 2, len(self._names), 1]
        bad = [indices[n] for n in np.flatnonzero(~whole).tolist()]
        return {
            "image": np.pad(images, ((0, 0), *frames, (0, 0))),
            "label": labels.astype(np.int32),
        }, [Broken(self.name(index), "one of the three cannot be used") for index in bad]
