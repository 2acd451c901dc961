"""Batches as functions of (seed, number): the same for any number of processes."""

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganjax import seeds
from ganjax.data.cache import Examples, open_examples
from ganjax.data.fields import Field
from ganjax.data.pyramid import Halved
from ganjax.data.source import Source, good_name
from ganjax.errors import UserError
from ganjax.images import resize
from ganjax.images.bicubic import shrink


class Stream(NamedTuple):
    """One source as a part of every batch.

    Attributes:
      names: array of the source -> array of the batch, e.g. {"image": "content"}.
      channels: 1 gray, 3 RGB, 4 RGBA.
      flip: mirror every other example at random: all of its arrays that are pictures.
      limit: use only the first so many examples; 0 for all.
      load_size: (H, W) that pictures are decoded to, of which each batch shows a part cut out at
        random, the same part of all of an example's; None for the whole at the batch's image size.
      zoom: the part is 1 to `zoom` times the batch's image size, as far as `load_size` goes, and
        scaled down to it.
      share: of the rows of a batch; streams that give the same names share them in their order.
      pyramid: (H, W) of the largest images; smaller ones are made of those of twice their size, so
        that nothing is decoded twice. None for images decoded to each size on their own.
      shrunk: array of the batch -> (image of the batch, times): that image with sides as many times
        shorter (`images.bicubic`, rounded to 8 bits), made after it was cut and mirrored.
      spec: the text that names the source, as `open_source` takes it.
    """

    source: Source
    names: Mapping[str, str]
    channels: int = 3
    flip: bool = False
    limit: int = 0
    load_size: tuple[int, int] | None = None
    zoom: float = 1.0
    share: float = 1.0
    pyramid: tuple[int, int] | None = None
    shrunk: Mapping[str, tuple[str, int]] = {}
    spec: str = ""

    @property
    def title(self) -> str:
        """What the batch calls the stream's examples: by its first array."""
        return next(iter(self.names.values()))

    @property
    def fields(self) -> dict[str, Field]:
        """What its arrays of a batch are."""
        fields = {new_name: self.source.fields[name] for name, new_name in self.names.items()}
        return fields | {name: fields[image] for name, (image, _) in self.shrunk.items()}

    def arrays(self, image_size: tuple[int, int]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of an example's arrays in batches of `image_size`."""
        found = {}
        for name, field in self.fields.items():
            _, times = self.shrunk.get(name, (name, 1))
            size = image_size[0] // times, image_size[1] // times
            found[name] = field.array(size, self.channels)
        return found


class Pipeline(NamedTuple):
    """The streams that make up a batch; each is shuffled on its own.

    Attributes:
      cache_dir: folder of the decoded images.
    """

    streams: tuple[Stream, ...]
    cache_dir: Path

    @property
    def fields(self) -> dict[str, Field]:
        """What the arrays of a batch are."""
        return {name: field for stream in self.streams for name, field in stream.fields.items()}

    def batches(
        self,
        *,
        seed: int,
        first: int,
        batch_size: int,
        image_size: tuple[int, int],
        process_index: int = 0,
        process_count: int = 1,
    ) -> Generator[dict[str, np.ndarray], None, None]:
        """Batches `first`, `first` + 1, ... without end.

        Every example comes once per epoch, and every epoch has another order. The global batch
        is a function of (seed, its number); each process gets its own rows of it.

        Args:
          batch_size: of the global batch, a multiple of `process_count`.

        Yields:
          Dicts of arrays [batch_size / process_count, ...]: images uint8 [B, H, W, C].

        Raises:
          UserError: a source's images cannot be decoded or cached, or a batch cannot be shared out.
        """
        import grain

        parts = self._parts(seed, batch_size, image_size, process_index, process_count)
        numbers = grain.MapDataset.range(2**62)
        dataset = numbers.map(lambda number: _merge(part.batch(number) for part in parts))
        iterator = iter(
            dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
        )
        iterator.set_state({"next_index": first})
        return _closing(iterator)

    def examples(
        self, number: int, *, seed: int, batch_size: int, image_size: tuple[int, int]
    ) -> dict[str, list[str]]:
        """The names of the examples that the rows of batch `number` show, by the images' name."""
        found: dict[str, list[str]] = {}
        for part in self._parts(seed, batch_size, image_size):
            names = found.setdefault(part.stream.title, [])
            names += [
                good_name(part.source, part.data.broken, int(index))
                for index in part.indices(number)
            ]
        return found

    def contents(self, image_size: tuple[int, int]) -> dict[str, list[dict[str, Any]]]:
        """How many examples the streams have, and the checksums of what batches are made of.

        By the images' name and the size that they are decoded to, which is that of a pyramid's
        largest or `load_size`, whatever `image_size` is, or else `image_size`. Nothing is decoded
        that batches of `image_size` do not need, too.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for stream in self.streams:
            size = stream.pyramid or _load_size(stream, image_size)
            _, data = _open(stream, size, self.cache_dir, progress=False)
            checksums = {name: data.checksums[name] for name in stream.names}
            of_name = found.setdefault(f"{stream.title} {size[0]}x{size[1]}", [])
            of_name.append({"examples": len(data), "crc32": checksums})
        return found

    def classes(self, image_size: tuple[int, int]) -> dict[str, int]:
        """How many examples each class has, by its name; {} where batches have no classes.

        Nothing is decoded that batches of `image_size` do not need, too.
        """
        found: Counter[str] = Counter()
        for stream in self.streams:
            for name in stream.names:
                field = stream.source.fields[name]
                if field.kind != "class":
                    continue
                size = stream.pyramid or _load_size(stream, image_size)
                _, data = _open(stream, size, self.cache_dir, progress=False)
                counts = np.bincount(data.arrays[name], minlength=len(field.names)).tolist()
                found.update(dict(zip(field.names, counts, strict=True)))
        return dict(found)

    def _parts(
        self,
        seed: int,
        batch_size: int,
        image_size: tuple[int, int],
        process_index: int = 0,
        process_count: int = 1,
    ) -> list["_Part"]:
        """What each stream gives to the batches of one process."""
        seeds.check("seed", seed)
        opened = [
            _open(stream, _load_size(stream, image_size), self.cache_dir, process_index == 0)
            for stream in self.streams
        ]
        if batch_size % process_count:
            raise UserError(
                f"batch_size is {batch_size}; give a multiple of the {process_count} processes"
            )
        local = batch_size // process_count
        parts: list[_Part] = []
        filled: Counter[frozenset[str]] = Counter()
        for number, (stream, found) in enumerate(zip(self.streams, opened, strict=True)):
            size, names = _rows_of(stream, batch_size), frozenset(stream.names.values())
            # Of the global batch, whose rows the streams of one name fill one after the other.
            start = process_index * local - filled[names]
            rows = slice(max(start, 0), max(start + local, 0))
            filled[names] += size
            if rows.start < min(rows.stop, size):
                parts.append(_Part(stream, *found, (seed, number), size, rows, image_size))
        return parts


class _Part(NamedTuple):
    """What one stream gives to the batches of one process.

    The order is numpy's, for grain's shuffle takes 12 us per example (more than all the rest) and
    leaves half of the examples in place in 1 of 100 orders of less than 100 examples.
    """

    stream: Stream
    source: Source
    data: Examples
    seed: tuple[int, int]
    batch_size: int
    rows: slice
    image_size: tuple[int, int]

    def batch(self, number: int) -> dict[str, np.ndarray]:
        """This process' rows of the global batch `number`."""
        indices = self.indices(number)
        flips = np.random.default_rng([*self.seed, number, 1]).random(self.batch_size) < 0.5
        flips = flips[self.rows]
        boxes = self._boxes(number)[self.rows] if self.stream.load_size else ()
        result = {}
        for name, new_name in self.stream.names.items():
            values, field = self.data.take(name, indices), self.source.fields[name]
            if field.kind == "text":  # one of each example's
                values = values[np.arange(len(values)), self._choices(number, values.shape[1])]
            if self.stream.load_size and field.is_picture:
                values = np.stack(
                    [self._cut(*pair, field) for pair in zip(values, boxes, strict=True)]
                )
            if self.stream.flip and field.is_picture:
                values[flips] = _mirror(values[flips])
            result[new_name] = values
        small = self.stream.shrunk.items()
        return result | {name: shrink(result[image], times) for name, (image, times) in small}

    def indices(self, number: int) -> np.ndarray:
        """Which examples its rows of the global batch `number` show."""
        first = number * self.batch_size
        epochs, places = np.divmod(np.arange(first, first + self.batch_size), len(self.data))
        epochs, places = epochs[self.rows], places[self.rows]
        indices = np.empty(len(places), np.int32)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            indices[here] = _permute(len(self.data), self.seed, int(epoch))[places[here]]
        return indices

    def _choices(self, number: int, count: int) -> np.ndarray:
        """One of `count` for each of its rows of batch `number`."""
        random = np.random.default_rng([*self.seed, number, 3])
        return random.integers(count, size=self.batch_size)[self.rows]

    def _boxes(self, number: int) -> np.ndarray:
        """The part of each image of batch `number`: [batch_size, 4], y, x, height, width."""
        random = np.random.default_rng([*self.seed, number, 2]).random((self.batch_size, 3))
        load_size = np.array(_load_size(self.stream, self.image_size))
        image_size = np.array(self.image_size)
        largest = min(self.stream.zoom, *(load_size / image_size))
        sizes = np.rint(image_size * (1 + random[:, :1] * (largest - 1)))
        corners = np.floor(random[:, 1:] * (load_size - sizes + 1))
        return np.concatenate([corners, sizes], axis=1).astype(int)

    def _cut(self, picture: np.ndarray, box: np.ndarray, field: Field) -> np.ndarray:
        y, x, height, width = box
        part = picture[y : y + height, x : x + width]
        if (height, width) == self.image_size:
            return part
        return resize(part, self.image_size, nearest=field.kind == "label_map")


def _open(
    stream: Stream, image_size: tuple[int, int], folder: Path, progress: bool
) -> tuple[Source, Examples]:
    """The source of a stream's images of one size, and they themselves."""
    source, limit = stream.source, stream.limit
    if stream.pyramid and image_size < stream.pyramid:
        source = Halved(*_open(stream, (2 * image_size[0], 2 * image_size[1]), folder, progress))
        limit = 0
    examples = open_examples(
        source,
        image_size=image_size,
        channels=stream.channels,
        folder=folder,
        limit=limit,
        progress=progress,
    )
    return source, examples


def _load_size(stream: Stream, image_size: tuple[int, int]) -> tuple[int, int]:
    """What images of a stream are decoded to: never less than a batch shows."""
    return tuple(np.maximum(stream.load_size or image_size, image_size).tolist())


def _rows_of(stream: Stream, batch_size: int) -> int:
    rows = round(batch_size * stream.share)
    if abs(rows - batch_size * stream.share) > 1e-6 or not rows:
        raise UserError(
            f"a share of {stream.share:g} of batch_size {batch_size} is no whole number of images; "
            "choose another batch_size, or other weights (*WEIGHT) of the sources"
        )
    return rows


@lru_cache(maxsize=8)
def _permute(count: int, seed: tuple[int, int], epoch: int) -> np.ndarray:
    order = np.arange(count, dtype=np.int32)
    np.random.default_rng([*seed, epoch, 0]).shuffle(order)
    return order


def _mirror(images: np.ndarray) -> np.ndarray:
    """Mirrors [N, H, W] or [N, H, W, C]; channel by channel, which is five times as fast."""
    mirrored = np.empty_like(images)
    if images.ndim == 3:
        mirrored[...] = images[:, :, ::-1]
    else:
        for channel in range(images.shape[3]):
            mirrored[..., channel] = images[:, :, ::-1, channel]
    return mirrored


def _merge(parts: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    merged: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, values in part.items():
            merged.setdefault(name, []).append(values)
    return {name: np.concatenate(v) if v[1:] else v[0] for name, v in merged.items()}


def _closing(iterator: Any) -> Generator[dict[str, np.ndarray], None, None]:
    try:
        yield from iterator
    finally:
        iterator.close()  # ends its threads
