"""When a growing network reaches which resolution, and how far a fade is."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ganjax.nets.progressive import level_of, start_and_doublings
from ganjax.training.task import Phase


class Fade(Phase):
    """A phase that fades its resolution in."""


def grow(
    image_size: tuple[int, int],
    *,
    batch_sizes: Sequence[int],
    fade_kimg: Sequence[float],
    stable_kimg: Sequence[float],
    total_kimg: float,
) -> tuple[Phase, ...]:
    """The phases from the start's size to `image_size`.

    Each resolution after the first is faded in, then trained as it is; the last one until
    `total_kimg`. Values are given by resolution, from the start on; the last one serves all later
    resolutions, too.

    Raises:
      ValueError: nothing is left for the last resolution.
    """
    start, last = start_and_doublings(image_size)
    phases: list[Phase] = []
    for level in range(last + 1):
        size = start[0] << level, start[1] << level
        batch_size = by_level(batch_sizes, level)
        name = f"{size[0]}x{size[1]}"
        if level and by_level(fade_kimg, level):
            kimg = by_level(fade_kimg, level)
            phases.append(Fade(f"{name} fade", kimg, batch_size, size))
        kimg = by_level(stable_kimg, level)
        if level == last:
            kimg = total_kimg - sum(phase.kimg for phase in phases)
        if kimg > 0:
            phases.append(Phase(name, kimg, batch_size, size))
        elif level == last:
            raise ValueError(f"{total_kimg} kimg end before {name} is reached and faded in")
    return tuple(phases)


def by_level(values: Sequence, level: int):
    """The value of a level, where the last one serves all levels from its own on."""
    return values[min(level, len(values) - 1)]


class Schedule(NamedTuple):
    """The phases of `grow` by level, where level 0 is the first resolution.

    Attributes:
      begins: images consumed when a level begins; levels that are left out are not here.
      fades: images during which a level is faded in, of those that are.
      first_phases: the phases that levels begin with.
    """

    begins: dict[int, int]
    fades: dict[int, int]
    first_phases: tuple[Phase, ...]

    def alpha(self, images: Array, level: int) -> Array:
        """How far a level is faded in after so many images, 0 to 1."""
        if level not in self.fades:
            return jnp.ones(())
        done = (images - self.begins[level]).astype(jnp.float32) / self.fades[level]
        return jnp.clip(done, 0.0, 1.0)


def schedule(phases: Sequence[Phase], start: tuple[int, int]) -> Schedule:
    """The schedule of phases that grow from images of size `start`."""
    ends = list(accumulate(phase.steps * phase.batch_size for phase in phases))
    begins: dict[int, int] = {}
    fades: dict[int, int] = {}
    first_phases = []
    for phase, begin, end in zip(phases, [0, *ends[:-1]], ends, strict=True):
        level = level_of(phase.image_size, start)
        if level not in begins:
            begins[level] = begin
            first_phases.append(phase)
        if isinstance(phase, Fade):
            fades[level] = end - begin
    return Schedule(begins, fades, tuple(first_phases))
