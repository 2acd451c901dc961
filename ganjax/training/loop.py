"""The one loop that trains every system; it knows no game by name."""

import json
import math
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental.multihost_utils import reached_preemption_sync_point
from jax.sharding import Mesh
from tqdm import tqdm

from ganjax.data.pipeline import Pipeline
from ganjax.errors import UserError
from ganjax.training import devices, workdir
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.state import State
from ganjax.training.task import Batch, Phase, Task

GRID_SAMPLES = 64


class Interrupted(Exception):
    """The run was asked to stop, has saved its state and leaves.

    Attributes:
      signal: the number of the signal that asked.
    """

    def __init__(self, message: str, *, signal: int):
        super().__init__(message)
        self.signal = signal


class Evaluation(NamedTuple):
    """How a model is measured while it trains.

    Attributes:
      best: name of the metric whose best checkpoint is kept beside the newest ones.
      lower_is_better: of that metric.
      run: (state, stop) -> rows of metrics.jsonl with `metric` and `value`, or None where `stop()`
        became true before they were done. It only reads the state.
    """

    best: str
    lower_is_better: bool
    run: Callable[[State, Callable[[], bool]], list[dict[str, Any]] | None]


def fit(
    task: Task, data: Pipeline, config: Any, folder: Path, evaluation: Evaluation | None = None
) -> State:
    """Trains `task` on `data` until its last phase ends, and returns the last state.

    A run found in `folder` is resumed: parameters, optimiser states, averages and data position
    go on bit for bit as if it had never stopped (on as many devices). The folder holds
    config.json, metrics.jsonl, TensorBoard events, sample grids and checkpoints/STEP.

    Args:
      config: a ConfigDict, kept in the folder; read are `seed`, `parallel`, `steps_per_call`,
        `log_every`, `save_every`, `sample_every` (in kimg, 0 for never but at the end) and
        `keep_checkpoints`. What is due falls on the ends of calls.
      evaluation: done every `config.evaluate_every` kimg and at the end; None for never.

    Raises:
      UserError: the folder holds another run, a loss is no longer finite, or a save failed.
      Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    if config.steps_per_call < 1:
        raise UserError(f"steps_per_call is {config.steps_per_call}; give 1 or more")
    workdir.check(folder, config.to_dict())
    mesh = devices.make_mesh(tuple(phase.batch_size for phase in task.phases))
    if config.get("parallel") == "pmap":
        task = task._replace(train_step=devices.per_device(task.train_step, mesh))
    run = _Run(task, data, config, folder, mesh, evaluation)
    try:
        return run.train()
    finally:
        run.close()


class _Run:
    """The open files and compiled functions of one call of `fit`."""

    def __init__(
        self,
        task: Task,
        data: Pipeline,
        config: Any,
        folder: Path,
        mesh: Mesh,
        evaluation: Evaluation | None,
    ):
        self.task, self.data, self.config, self.folder, self.mesh = task, data, config, folder, mesh
        self.evaluation = evaluation
        best = (evaluation.best, evaluation.lower_is_better) if evaluation else None
        self.checkpoints = Checkpoints(
            folder / "checkpoints", keep=config.keep_checkpoints, best=best
        )
        self.writer: workdir.Writer | None = None
        self.images = 0  # consumed; the progress bars of other processes count nothing
        self.recent: deque[dict[str, float]] = deque(maxlen=20)
        # Random numbers are functions of (seed, step): nothing random is in the state.
        self.sample_rng, self.train_rng, self.init_rng = (
            lambda purpose=purpose: jax.random.fold_in(jax.random.key(config.seed), purpose)
            for purpose in range(3)
        )
        everywhere = devices.replicated(mesh)  # each process saves, and may look
        self.call_fn = jax.jit(self._call, donate_argnums=0, out_shardings=everywhere)
        self.sample_fn = jax.jit(self._sample, out_shardings=everywhere)

    def _step(self, state: State, batch: Batch) -> tuple[State, dict[str, Array]]:
        rng = jax.random.fold_in(self.train_rng(), state.step)
        new, metrics = self.task.train_step(state, batch, rng)
        consumed = len(next(iter(batch.values())))
        return new.replace(step=state.step + 1, images=state.images + consumed), metrics

    def _call(self, state: State, batches: Batch) -> tuple[State, dict[str, Array]]:
        """One step for each of the stacked batches [steps, B, ...]; metrics are [steps]."""
        steps = len(next(iter(batches.values())))
        if steps > 1 and jax.default_backend() != "cpu":
            return jax.lax.scan(self._step, state, batches)
        # CPUs run convolutions in loops some 50 times slower than outside.
        rows = []
        for number in range(steps):
            batch = {name: values[number] for name, values in batches.items()}
            state, metrics = self._step(state, batch)
            rows.append(metrics)
        return state, jax.tree.map(lambda *row: jnp.stack(row), *rows)

    def _sample(self, state: State, inputs: Batch | None) -> dict[str, Array]:
        rng = self.sample_rng()
        if self.task.draw is not None:
            inputs = self.task.draw(rng, jnp.arange(GRID_SAMPLES))
        return self.task.sample(state, inputs, rng)

    def train(self) -> State:
        state = self._restore_or_init()
        step, self.images = int(state.step), int(state.images)
        total = sum(phase.steps * phase.batch_size for phase in self.task.phases)
        with _stop_requests() as requested, _progress(total, self.images) as bar:
            begin = 0
            for number, phase in enumerate(self.task.phases):
                end = begin + phase.steps
                if step < end:
                    bar.set_description_str(phase.name)
                    if step == begin:
                        state = jax.jit(self.task.begin_phase, static_argnums=1)(state, phase)
                    batches = self._batches(phase, number, first=step - begin)
                    state = self._train_phase(state, phase, batches, step, end, bar, requested)
                    step = end
                begin = end
            if self.writer is None and jax.process_index() == 0:
                bar.write(f"{self.folder} is already trained to {self.images / 1000:g} kimg")
        return state

    def _restore_or_init(self) -> State:
        sharding = devices.replicated(self.mesh)
        init = jax.jit(lambda: self.task.init(self.init_rng()), out_shardings=sharding)
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            jax.eval_shape(init),
        )
        found = self.checkpoints.load_newest(like)
        if found is None:
            return init()
        state, damages = found
        if jax.process_index() == 0:
            for damage in damages:
                print(f"warning: {damage}; it is kept in {self.folder}/damaged", file=sys.stderr)
            print(f"resuming {self.folder} from step {int(state.step)}", file=sys.stderr)
        return state

    def _batches(self, phase: Phase, number: int, *, first: int) -> Iterator[Batch]:
        """A call's batches, stacked, on the devices; sent while those before are in use."""
        # Every phase shuffles anew: its batch size differs, so positions mean nothing across it.
        seed = int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0])
        batches = self.data.batches(
            seed=seed,
            first=first,
            batch_size=phase.batch_size,
            image_size=phase.image_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        ahead: deque[Batch] = deque()
        per_call = self.config.steps_per_call
        while first < phase.steps:
            # Calls end on multiples of their length, wherever the run is taken up.
            steps = min(per_call - first % per_call, phase.steps - first)
            call = list(islice(batches, steps))
            stacked = {name: np.stack([batch[name] for batch in call]) for name in call[0]}
            ahead.append(devices.to_devices(stacked, self.mesh, axis=1))
            if len(ahead) == 2:
                yield ahead.popleft()
            first += steps
        yield from ahead

    def _train_phase(
        self,
        state: State,
        phase: Phase,
        batches: Iterator[Batch],
        step: int,
        end: int,
        bar: tqdm,
        requested: Callable[[], int | None],
    ) -> State:
        config, last_log = self.config, (time.monotonic(), self.images)
        pending: tuple[int, int, int, dict[str, Array]] | None = None
        for call in batches:
            if self.writer is None:  # the data is there and sound: now the folder becomes a run
                workdir.claim(self.folder, config.to_dict())
                self.writer = workdir.Writer(self.folder, step=step)
            before = self.images
            state, metrics = self.call_fn(state, call)
            # The metrics of the call before: fetching this one's would make the device wait.
            if pending:
                self._check(*pending)
            steps = len(next(iter(call.values())))
            pending = step, before, phase.batch_size, metrics
            step, images = step + steps, before + steps * phase.batch_size
            self.images = images
            stop = requested()
            last = step == end or stop is not None
            log, save, sample = (
                last or _due(every, before, images)
                for every in (config.log_every, config.save_every, config.sample_every)
            )
            evaluate = self.evaluation and (
                step == end or _due(config.evaluate_every, before, images)
            )
            save = save or evaluate
            if log or save or step == steps:
                values = self._check(*pending)
                pending = None
                now = time.monotonic()
                rate = (images - last_log[1]) / max(now - last_log[0], 1e-9)
                last_log = now, images
                row = {"kimg": images / 1000, **values, "images_per_second": round(rate, 2)}
                self.writer.scalars(step, row)
                shown = {
                    name.removeprefix("loss_"): f"{value:.3f}"
                    for name, value in values.items()
                    if name.startswith("loss_") or name == "alpha"
                }
                bar.set_postfix(shown, refresh=False)
            bar.update(images - before)
            if sample:
                self._write_samples(state, step, phase)
            scores = None
            if evaluate:
                scores = self._evaluate(state, step, bar, requested)
                last_log = time.monotonic(), images  # of the rate of training
            if save:
                self.checkpoints.save(step, state, metrics=scores)
            if stop is not None:
                self.checkpoints.wait()
                raise Interrupted(
                    f"stopped by {signal.Signals(stop).name} after {images / 1000:g} kimg; step "
                    f"{step} is saved; run the same command again to go on",
                    signal=stop,
                )
            if step == end:
                return state
        raise AssertionError("the batches end where the phase does")

    def _check(
        self, step: int, images: int, batch_size: int, metrics: dict[str, Array]
    ) -> dict[str, float]:
        """The metrics of a call's last step as floats; stops the run where any is not finite.

        Args:
          step: before the call.
          images: consumed before the call.
          metrics: [steps of the call] each.
        """
        columns = jax.device_get(metrics)
        for row in zip(*columns.values(), strict=True):
            values = dict(zip(columns, map(float, row), strict=True))
            step, images = step + 1, images + batch_size
            self.recent.append({"step": step, "kimg": images / 1000, **values})
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if bad:
                self._stop(step, {name: values[name] for name in bad})
        return values

    def _stop(self, step: int, bad: dict[str, float]) -> None:
        self.checkpoints.wait()
        report = self.folder / f"nonfinite_{step}.json"
        if jax.process_index() == 0:
            report.write_text(json.dumps(list(self.recent), indent=1) + "\n")
        kept = self.checkpoints.steps
        raise UserError(
            f"step {step}: {', '.join(f'{name} is {value}' for name, value in bad.items())}; "
            f"the last {len(self.recent)} steps are in {report}; "
            + (f"the checkpoint of step {kept[-1]} is good; " if kept else "")
            + "train with a lower optimiser.learning_rate in a new --workdir"
        )

    def _evaluate(
        self, state: State, step: int, bar: tqdm, requested: Callable[[], int | None]
    ) -> dict[str, float] | None:
        """What the best checkpoint is known by; None where the run was asked to stop meanwhile."""
        rows = self.evaluation.run(state, lambda: requested() is not None)
        if rows is None:
            return None
        for row in rows:
            self.writer.evaluation(step, row)
            if jax.process_index() == 0:
                text = f"{self.images / 1000:g} kimg: {row['metric']} {row['value']:.5g}"
                bar.write(text, file=sys.stderr)
        values = {row["metric"]: row["value"] for row in rows}
        return {self.evaluation.best: values[self.evaluation.best]}

    def _write_samples(self, state: State, step: int, phase: Phase) -> None:
        inputs = None
        if self.task.draw is None:
            inputs = self._first_batch(phase.batch_size, phase.image_size)
        samples = jax.device_get(self.sample_fn(state, inputs))
        self.writer.images(step, samples, seed=self.config.seed)

    @cache  # noqa: B019 (a run lives as long as its batches)
    def _first_batch(self, batch_size: int, image_size: tuple[int, int]) -> Batch:
        """A fixed batch: pictures of one run show the same images from its start to its end."""
        batches = self.data.batches(
            seed=self.config.seed, first=0, batch_size=batch_size, image_size=image_size
        )
        batch = next(batches)
        batches.close()
        return batch

    def close(self) -> None:
        try:
            self.checkpoints.close()
        finally:
            if self.writer:
                self.writer.close()


def _due(every: float, before: int, after: int) -> bool:
    """Whether a multiple of `every` kimg lies in (before, after] images."""
    return every > 0 and after // (every * 1000) > before // (every * 1000)


@contextmanager
def _stop_requests() -> Iterator[Callable[[], int | None]]:
    """Collects SIGINT and SIGTERM, so that the step under way ends; a second one is not held.

    Of several processes, a SIGTERM of any one stops all after the same step: they must ask equally
    often. JAX's own handler tells it to the others.
    """
    received: list[int] = []
    previous = {}

    def handle(number, frame):
        received.append(number)
        signal.signal(number, previous[number])

    asked = count(1)

    def requested() -> int | None:
        if several and not received and reached_preemption_sync_point(next(asked)):
            received.append(signal.SIGTERM)
        return received[0] if received else None

    several = jax.process_count() > 1
    for number in () if several else (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _progress(total: int, done: int) -> tqdm:
    return tqdm(
        total=total,
        initial=done,
        unit="img",
        unit_scale=True,
        dynamic_ncols=True,
        smoothing=0.05,
        mininterval=0.2 if sys.stderr.isatty() else 30,
        disable=jax.process_index() != 0,
        bar_format="{desc} {percentage:3.0f}%|{bar:20}| {n_fmt}img/{total_fmt}img "
        "[{rate_fmt}, {remaining} left{postfix}]",
    )
