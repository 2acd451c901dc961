"""Train steps as the loop calls them: guarded against NaN, several in one call."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from ganjax import seeds
from ganjax.training.state import State
from ganjax.training.task import Batch, TrainStep

SKIPS = "skips"  # the metric that `guard` adds

Call = Callable[[State, Array, Batch, Array], tuple[State, Array, dict[str, Array], Array]]


def key_of(seed: int, purpose: str) -> Array:
    """The random key of a run for "sample", "train" or "init"."""
    # Random numbers are functions of (seed, step): nothing random is in the state.
    number = ("sample", "train", "init").index(purpose)
    key = jax.random.fold_in(seeds.key(seed), number)
    if purpose != "init":
        return key
    # A network's first weights are a hundred draws. Their program compiles in an eighth of the time
    # by Philox; TPUs have a generator of their own, and so other weights.
    words = jax.random.key_data(key)
    return jax.random.wrap_key_data(jnp.concatenate([words, words]), impl="rbg")


def train_key(seed: int, step: Array) -> Array:
    """The random key of the step after `step` others."""
    return jax.random.fold_in(key_of(seed, "train"), step)


def guard(step: TrainStep, limit: int) -> Callable[..., tuple[State, Array, dict[str, Array]]]:
    """`step` without the updates that are not finite.

    An update is finite where all metrics of its step are; the norms of the gradients are among
    them (`State.after`). This is known before the parameters change, so that update and choice are
    one pass over them. Another update leaves the state as it was. More than `limit` in succession
    are no accident: then nothing is updated any more, and the state stays the one that the last
    step failed on.

    Returns:
      (state, skips, batch, rng) -> (state, skips, metrics), with `skips`, int32, the updates
      skipped in succession so far, which the metrics hold too.
    """

    def guarded(state: State, skips: Array, batch: Batch, rng: Array):
        new, metrics = step(state, batch, rng)
        values = jnp.stack([jnp.asarray(value, jnp.float32) for value in metrics.values()])
        finite = jnp.all(jnp.isfinite(values)) & (skips <= limit)
        skips = jnp.where(finite, 0, skips + 1)
        state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state)
        return state, skips, metrics | {SKIPS: skips}

    return guarded


def make_call(train_step: TrainStep, *, seed: int, max_skips: int, unrolled: bool) -> Call:
    """One call of the device: a guarded step for each of several batches.

    Args:
      max_skips: see `guard`.
      unrolled: as one program instead of a loop. CPUs run convolutions in loops some 50 times
        slower than outside.

    Returns:
      (state, skips, batches [steps, B, ...], requests [devices]) -> (state, skips, metrics [steps],
      request). What each device's process was asked (see `signals.stop_requests`) becomes known to
      all of them at the same step, with the metrics and for nothing.
    """
    guarded = guard(train_step, max_skips)

    def step(running: tuple[State, Array], batch: Batch):
        state, skips = running
        new, skips, metrics = guarded(state, skips, batch, train_key(seed, state.step))
        consumed = len(next(iter(batch.values())))
        new = new.replace(step=state.step + 1, images=state.images + consumed)
        return (new, skips), metrics

    def call(state: State, skips: Array, batches: Batch, requests: Array):
        running, steps = (state, skips), len(next(iter(batches.values())))
        if steps > 1 and not unrolled:
            running, metrics = jax.lax.scan(step, running, batches)
            return *running, metrics, jnp.max(requests)
        rows = []
        for number in range(steps):
            batch = {name: values[number] for name, values in batches.items()}
            running, metrics = step(running, batch)
            rows.append(metrics)
        return *running, jax.tree.map(lambda *row: jnp.stack(row), *rows), jnp.max(requests)

    return call
