"""The contract between the one loop and every game that it trains."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
from jax import Array

from ganjax.training.state import State

Batch = Mapping[str, Array]


class Phase(NamedTuple):
    """A stretch of training in which batch and image size stay as they are.

    Attributes:
      name: shown in the progress bar.
      kimg: thousands of real images that the phase consumes.
      batch_size: real images that one train step consumes, over all devices.
      image_size: (H, W) of the data.
    """

    name: str
    kimg: float
    batch_size: int
    image_size: tuple[int, int]

    @property
    def steps(self) -> int:
        """Train steps of the phase; the last one may pass `kimg` by less than a batch."""
        return -int(-self.kimg * 1000 // self.batch_size)


def draw_latents(rng: Array, index: Array, size: int) -> Array:
    """z [N, size] from N(0, I); a row depends on `rng` and its entry of `index` [N] alone."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, index)
    return jax.vmap(lambda key: jax.random.normal(key, (size,)))(keys)


class Task(NamedTuple):
    """A training game as pure functions, closed over its modules and hyper-parameters.

    Attributes:
      init: rng -> State.
      train_step: (state, batch, rng) -> (state, metrics), one whole iteration of the game. The
        batch is a dict of named arrays, images as uint8 [B, H, W, C]; metrics are scalars named
        `loss_<role>` and `grad_norm_<role>`, and `alpha` where something is faded in. The loop
        itself counts steps and images.
      draw: (rng, index [N]) -> inputs of `sample`; a row depends on rng and its index alone. None
        for games that turn images into images: their inputs are a batch of the data.
      sample: (state, inputs, rng) -> {name: images [N, H, W, C] in [-1, 1]}, or [rows, columns, H,
        W, C] where their places in a grid mean something.
      phases: in order; one for most games.
      begin_phase: (state, phase) -> State, called once as each phase begins.
    """

    init: Callable[[Array], State]
    train_step: Callable[[State, Batch, Array], tuple[State, dict[str, Array]]]
    draw: Callable[[Array, Array], dict[str, Array]] | None
    sample: Callable[[State, dict[str, Array], Array], dict[str, Array]]
    phases: tuple[Phase, ...]
    begin_phase: Callable[[State, Phase], State] = lambda state, phase: state
