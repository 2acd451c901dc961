"""The batches of a run, as the loop takes them: by phase, stacked by call, on the devices."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ganjax.data.pipeline import Pipeline
from ganjax.training import devices
from ganjax.training.task import Batch, Phase


class Feed(NamedTuple):
    """What a run trains on.

    Attributes:
      phases: of the run.
      seed: of the run.
      per_call: train steps of a call.
    """

    data: Pipeline
    phases: tuple[Phase, ...]
    seed: int
    per_call: int
    mesh: Mesh

    def calls(self, number: int, *, first: int) -> Iterator[Batch]:
        """The batches of phase `number` from its step `first` on: [steps of the call, B, ...].

        They are on the devices, sent while those before are in use.
        """
        batches = self.data.batches(
            first=first,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            **_which(self.phases[number], self._seed(number)),
        )
        ahead: deque[Batch] = deque()
        steps_left = self.phases[number].steps - first
        while steps_left:
            # Calls end on multiples of their length, wherever the run is taken up.
            steps = min(self.per_call - first % self.per_call, steps_left)
            call = list(islice(batches, steps))
            stacked = {name: np.stack([batch[name] for batch in call]) for name in call[0]}
            ahead.append(devices.to_devices(stacked, self.mesh, axis=1))
            if len(ahead) == 2:
                yield ahead.popleft()
            first, steps_left = first + steps, steps_left - steps
        yield from ahead

    def batch(
        self, number: int, step: int
    ) -> tuple[dict[str, np.ndarray], Mapping[str, Sequence[str]]]:
        """The whole batch of one step of phase `number`, and the names of its examples."""
        which = _which(self.phases[number], self._seed(number))
        return self._take(step, which), self.data.examples(step, **which)

    def pictured(self, phase: Phase) -> dict[str, np.ndarray]:
        """A fixed batch: pictures of one run show the same images from its start to its end."""
        return self._take(0, _which(phase, self.seed))

    def _take(self, first: int, which: Mapping[str, Any]) -> dict[str, np.ndarray]:
        batches = self.data.batches(first=first, **which)
        batch = next(batches)
        batches.close()
        return batch

    def _seed(self, number: int) -> int:
        # Every phase shuffles anew: its batch size differs, so positions mean nothing across it.
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])


def _which(phase: Phase, seed: int) -> dict[str, Any]:
    return {"seed": seed, "batch_size": phase.batch_size, "image_size": phase.image_size}
