"""What a training run will take: phases, parameters, arithmetic, memory and time."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax.data.pipeline import Pipeline
from ganjax.training.task import Phase, Task

BUDGET = 60.0  # seconds of measuring
_COMPILATION = 6.0  # times as long as tracing, until one was seen
_SHARE = 0.5  # of a matrix product's speed, until a step was seen
_DOUBT = 1.5  # how far speeds may lie outside those of the nearest measured sizes


class _Step(NamedTuple):
    """A train step that was traced, and may have been measured.

    Attributes:
      phase: the first one of its step, batch and image size.
      lowered: the program, not compiled yet.
      flops: per image, by XLA's count of the program.
      tracing: seconds.
      compilation: seconds; 0 where it was not compiled.
      memory: bytes of the state, the batch and all that is kept between, of the compiled program;
        from a smaller batch in proportion; 0 where it was not compiled.
      batch_size: images of a measured step; 0 where none was.
      seconds: per image.
    """

    phase: Phase
    lowered: Any
    flops: float
    tracing: float
    compilation: float = 0.0
    memory: float = 0.0
    batch_size: int = 0
    seconds: float = 0.0


def plan(task: Task, data: Pipeline) -> Iterator[str]:
    """Lines of text that say what training `task` takes on this machine, as they become known.

    Steps are measured on one device and black images for about `BUDGET` seconds: that of the size
    that most of the arithmetic goes to, that of the smallest, then those that most of the rest
    goes to. A step that would take too long, or does not fit, is measured on fewer images. Between
    sizes the speed per FLOP is interpolated, and a range given.
    """
    state = jax.eval_shape(task.init, jax.random.key(0))
    for role, network in state.networks.items():
        count = sum(x.size for x in jax.tree.leaves(network.params))
        yield f"{role}: {count:,} parameters"
    steps: dict[tuple, _Step] = {}
    work: dict[tuple, float] = defaultdict(float)
    for phase in task.phases:
        key = _key(task, phase)
        if key not in steps:
            steps[key] = _trace(task, data, phase, phase.batch_size)
        work[key] += phase.kimg * steps[key].flops
    largest, *rest = sorted(work, key=work.__getitem__, reverse=True)
    smallest = min(steps, key=lambda key: steps[key].flops)
    order = dict.fromkeys([largest, smallest, *rest])
    steps |= _measure(task, data, {key: steps[key] for key in order})

    yield f"{'phase':<18}{'kimg':>9}{'batch':>7}{'GFLOP/img':>11}{'GiB':>7}{'img/s':>9}{'hours':>9}"
    known = [step for step in steps.values() if step.batch_size]
    total = np.zeros(3)
    for phase in task.phases:
        step = steps[_key(task, phase)]
        low, hours, high = span = phase.kimg * 1000 * _seconds_per_image(step, known) / 3600
        total += span
        memory = f"{step.memory / 2**30:.2f}" if step.memory else "-"
        remark = f"  estimated, {low:.2g} to {high:.2g}" if not step.batch_size else ""
        if 0 < step.batch_size < phase.batch_size:
            remark = f"  measured on batches of {step.batch_size}"
        yield (
            f"{phase.name:<18}{phase.kimg:>9g}{phase.batch_size:>7}{step.flops / 1e9:>11.3g}"
            f"{memory:>7}{phase.kimg / 3.6 / hours:>9.3g}{hours:>9.3g}{remark}"
        )
    images = sum(phase.kimg for phase in task.phases)
    low, hours, high = total
    between = f" ({low:.3g} to {high:.3g})" if low < high else ""
    kind = jax.local_devices()[0].device_kind
    yield f"in all {images:g} kimg in {hours:.3g} hours{between} on one {kind}"
    for step in steps.values():
        if step.memory > _machine_memory():
            yield (
                f"{step.phase.name} needs {step.memory / 2**30:.3g} GiB, of "
                f"{_machine_memory() / 2**30:.3g} on this machine: give it a smaller batch"
            )


def _key(task: Task, phase: Phase) -> tuple:
    return task.step_of(phase), phase.batch_size, phase.image_size


def _trace(task: Task, data: Pipeline, phase: Phase, batch_size: int) -> _Step:
    begun = time.monotonic()
    state = jax.eval_shape(task.init, jax.random.key(0))
    batch = _batch(data, phase, batch_size)
    step = jax.jit(task.step_of(phase), donate_argnums=0)
    lowered = step.lower(state, batch, jax.random.key(0))
    cost: Any = lowered.cost_analysis()
    return _Step(phase, lowered, cost["flops"] / batch_size, time.monotonic() - begun)


def _measure(task: Task, data: Pipeline, steps: dict[tuple, _Step]) -> dict[tuple, _Step]:
    """`steps` in their order, measured as far as `BUDGET` goes; the smallest one in any case."""
    begun, speed, compilation = time.monotonic(), _SHARE * _product_speed(), _COMPILATION
    smallest = min(steps.values(), key=lambda step: step.flops)
    state = jax.jit(task.init)(jax.random.key(0))
    measured: dict[tuple, _Step] = {}
    for key, step in steps.items():
        left = BUDGET - (time.monotonic() - begun)
        for batch_size in _batch_sizes(step.phase.batch_size):
            fewer = batch_size < step.phase.batch_size
            seconds = step.tracing * (compilation + fewer) + 2 * step.flops * batch_size / speed
            # The first one leaves something for a second, where fewer images make that possible.
            limit = left if measured or batch_size == 1 else left / 2
            if seconds > limit and step is not smallest:
                continue
            if fewer:
                lowered = _trace(task, data, step.phase, batch_size).lowered
                step = step._replace(lowered=lowered)
            state, step = _run(state, step, _batch(data, step.phase, batch_size), batch_size)
            if step.batch_size:
                compilation = step.compilation / step.tracing
                speed = step.flops / step.seconds
                break
        measured[key] = step
    return measured


def _run(state: Any, step: _Step, batch: dict[str, Array], batch_size: int) -> tuple[Any, _Step]:
    """Compiles a step and, where it fits, measures it; the state is the one after it."""
    begun = time.monotonic()
    compiled = step.lowered.compile()
    step = step._replace(compilation=time.monotonic() - begun)
    if sizes := compiled.memory_analysis():
        times = step.phase.batch_size / batch_size
        memory = sizes.argument_size_in_bytes + sizes.temp_size_in_bytes * times
        step = step._replace(memory=step.memory or memory)
        if sizes.argument_size_in_bytes + sizes.temp_size_in_bytes > _machine_memory():
            return state, step
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < BUDGET / 10:  # the first may be slow
        begun = time.monotonic()
        state, _ = jax.block_until_ready(compiled(state, batch, jax.random.key(0)))
        seconds.append(time.monotonic() - begun)
    return state, step._replace(batch_size=batch_size, seconds=min(seconds) / batch_size)


def _batch_sizes(full: int) -> Iterator[int]:
    """The full one and the powers of two below, which have whole groups of images."""
    yield full
    power = 1 << (full.bit_length() - 1)
    while power:
        if power < full:
            yield power
        power >>= 1


def _seconds_per_image(step: _Step, known: list[_Step]) -> np.ndarray:
    """At the least, probably and at the most; from the steps that were measured."""
    if step.batch_size:
        return np.full(3, step.seconds)
    flops, speeds = np.log(sorted((s.flops, s.flops / s.seconds) for s in known)).T
    here = np.log(step.flops)
    nearest = speeds[np.argsort(np.abs(flops - here))[:2]]
    fastest, slowest = nearest.max() + np.log(_DOUBT), nearest.min() - np.log(_DOUBT)
    return step.flops / np.exp([fastest, np.interp(here, flops, speeds), slowest])


def _batch(data: Pipeline, phase: Phase, batch_size: int) -> dict[str, Array]:
    """Black images in the shape of the phase's batches, with labels of 0."""
    return {
        name: jnp.zeros((batch_size, *shape), dtype)
        for stream in data.streams
        for name, (shape, dtype) in stream.arrays(phase.image_size).items()
    }


def _product_speed() -> float:
    """FLOP/s of a dense matrix product."""
    side = 1024
    product = jax.jit(jnp.matmul)
    a, seconds = jnp.ones((side, side)), []
    for _ in range(3):
        begun = time.monotonic()
        product(a, a).block_until_ready()
        seconds.append(time.monotonic() - begun)
    return 2 * side**3 / min(seconds)


def _machine_memory() -> int:
    """Bytes that the device can hold."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
