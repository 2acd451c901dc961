"""What a training run will take: phases, parameters, arithmetic, memory and time."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ganjax.data.pipeline import Pipeline
from ganjax.training.task import Phase, Task

BUDGET = 60.0  # seconds of measuring, after which speeds are estimated


class Cost(NamedTuple):
    """Of a train step.

    Attributes:
      flops: per image, by XLA's count of the program.
      memory: bytes of the state, the batch and all that is kept between, of the compiled program;
        0 where it was not compiled.
      seconds: per step; 0 where it was not measured.
    """

    flops: float
    memory: float = 0.0
    seconds: float = 0.0


def plan(task: Task, data: Pipeline) -> Iterator[str]:
    """Lines of text that say what training `task` takes on this machine, as they become known.

    A step of each size is measured, the smallest first, on one device and black images, until
    `BUDGET` is spent; of the rest the speed is that of the last measured size per FLOP.
    """
    state = jax.eval_shape(task.init, jax.random.key(0))
    for role, network in state.networks.items():
        count = sum(x.size for x in jax.tree.leaves(network.params))
        yield f"{role}: {count:,} parameters"
    yield f"{'phase':<18}{'kimg':>9}{'batch':>7}{'GFLOP/img':>11}{'GiB':>7}{'img/s':>9}{'hours':>9}"
    costs: dict[tuple, Cost] = {}
    begun, rate, hours = time.monotonic(), 0.0, 0.0
    for phase in task.phases:
        key = phase.batch_size, phase.image_size
        if key not in costs:
            measuring = not costs or time.monotonic() - begun < BUDGET
            costs[key] = _cost(task, data, phase, measuring)
        cost = costs[key]
        rate = cost.flops * phase.batch_size / cost.seconds if cost.seconds else rate
        speed = rate / cost.flops
        needed = phase.kimg * 1000 / speed / 3600
        hours += needed
        memory = f"{cost.memory / 2**30:.2f}" if cost.memory else "-"
        mark = "" if cost.seconds else "  estimated"
        yield (
            f"{phase.name:<18}{phase.kimg:>9g}{phase.batch_size:>7}{cost.flops / 1e9:>11.3g}"
            f"{memory:>7}{speed:>9.3g}{needed:>9.3g}{mark}"
        )
    images = sum(phase.kimg for phase in task.phases)
    yield f"in all {images:g} kimg in {hours:.3g} hours on one {jax.devices()[0].device_kind}"


def _cost(task: Task, data: Pipeline, phase: Phase, measuring: bool) -> Cost:
    def init() -> Any:
        return task.begin_phase(task.init(jax.random.key(0)), phase)

    batch = _batch(data, phase)
    step = jax.jit(task.train_step, donate_argnums=0)
    lowered = step.lower(jax.eval_shape(init), batch, jax.random.key(0))
    flops = lowered.cost_analysis()["flops"] / phase.batch_size
    if not measuring:
        return Cost(flops)
    compiled = lowered.compile()
    sizes = compiled.memory_analysis()
    memory = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes if sizes else 0.0
    state, seconds = jax.jit(init)(), []
    for _ in range(3):
        begun = time.monotonic()
        state, metrics = jax.block_until_ready(compiled(state, batch, jax.random.key(0)))
        seconds.append(time.monotonic() - begun)
    return Cost(flops, memory, min(seconds))


def _batch(data: Pipeline, phase: Phase) -> dict[str, Array]:
    """Black images in the shape of the phase's batches, with labels of 0."""
    batch = {}
    for stream in data.streams:
        for name, new_name in stream.names.items():
            if name == "image":
                shape, dtype = (*phase.image_size, stream.channels), jnp.uint8
            else:
                size = stream.pyramid or phase.image_size
                arrays, _ = stream.source.load(range(1), size, stream.channels)
                shape, dtype = arrays[name].shape[1:], arrays[name].dtype
            batch[new_name] = jnp.zeros((phase.batch_size, *shape), dtype)
    return batch
