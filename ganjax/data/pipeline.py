"""Batches as functions of (seed, number): the same for any number of processes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganjax.data.cache import Examples, open_examples
from ganjax.data.source import Source


class Stream(NamedTuple):
    """One source as a part of every batch.

    Attributes:
      names: array of the source -> array of the batch, e.g. {"image": "content"}.
      channels: 1 grey, 3 RGB, 4 RGBA.
      flip: mirror every other image at random, with all arrays that share its height and width.
      limit: use only the first so many examples; 0 for all.
    """

    source: Source
    names: Mapping[str, str]
    channels: int = 3
    flip: bool = False
    limit: int = 0


class Pipeline(NamedTuple):
    """The streams that make up a batch; each is shuffled on its own.

    Attributes:
      cache_dir: folder of the decoded images.
    """

    streams: tuple[Stream, ...]
    cache_dir: Path

    def batches(
        self,
        *,
        seed: int,
        first: int,
        batch_size: int,
        image_size: tuple[int, int],
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Batches `first`, `first` + 1, ... without end.

        Every example comes once per epoch, and every epoch has another order. The global batch
        is a function of (seed, its number); each process gets its own rows of it.

        Args:
          batch_size: of the global batch, a multiple of `process_count`.

        Yields:
          Dicts of arrays [batch_size / process_count, ...]: images uint8 [B, H, W, C].

        Raises:
          UserError: a source's images cannot be decoded or cached.
        """
        import grain

        examples = [
            open_examples(
                stream.source,
                image_size=image_size,
                channels=stream.channels,
                folder=self.cache_dir,
                limit=stream.limit,
                progress=process_index == 0,
            )
            for stream in self.streams
        ]
        local = batch_size // process_count
        rows = slice(process_index * local, (process_index + 1) * local)
        iterators = []
        for number, (stream, data) in enumerate(zip(self.streams, examples, strict=True)):
            order = grain.MapDataset.range(len(data)).seed(_mix(seed, number)).shuffle().repeat()
            gather = _Gather(stream, data, _mix(seed, number), rows)
            batches = order.batch(batch_size, batch_fn=np.asarray).map_with_index(gather)
            options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
            iterator = iter(batches.to_iter_dataset(options))
            iterator.set_state({"next_index": first})
            iterators.append(iterator)
        return _merge(iterators)


class _Gather(NamedTuple):
    """(batch number, indices of the global batch) -> this process' rows of the batch."""

    stream: Stream
    data: Examples
    seed: int
    rows: slice

    def __call__(self, number: int, indices: np.ndarray) -> dict[str, np.ndarray]:
        flips = np.random.default_rng([self.seed, number]).random(len(indices)) < 0.5
        indices, flips = indices[self.rows], flips[self.rows]
        batch = {}
        for name, new_name in self.stream.names.items():
            values = self.data.arrays[name][indices]
            if self.stream.flip and values.ndim >= 3:  # an image or a mask, not a label
                values[flips] = values[flips, :, ::-1]
            batch[new_name] = values
        return batch


def _mix(seed: int, number: int) -> int:
    """An independent 31-bit seed for each stream (grain takes no larger one)."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def _merge(iterators: list) -> Iterator[dict[str, np.ndarray]]:
    for parts in zip(*iterators, strict=True):
        merged: dict[str, np.ndarray] = {}
        for part in parts:
            merged |= part
        yield merged
