"""The one loop that trains every system; it knows no game by name."""

import math
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from ganjax import locks
from ganjax.data.pipeline import Pipeline
from ganjax.errors import UserError
from ganjax.progress import bar
from ganjax.training import devices, nonfinite, stability, workdir
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.feed import Feed
from ganjax.training.signals import Interrupted, agree, stop_requests
from ganjax.training.state import State
from ganjax.training.step import key_of, make_call
from ganjax.training.task import Phase, Task, TrainStep

SHEET_SAMPLES = 64
MOST_CLASSES = 10  # that are named on the screen


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
    task: Task,
    data: Pipeline,
    config: ConfigDict,
    folder: Path,
    evaluation: Evaluation | None = None,
    *,
    start: Callable[[State], State] = lambda state: state,
    fill: Callable[[Mapping[str, Any]], ConfigDict] = ConfigDict,
) -> State:
    """Trains `task` on `data` until its last phase ends, and returns the last state.

    A run found in `folder` is resumed: parameters, optimizer states, averages and data position
    go on bit for bit as if it had never stopped (on as many devices). The folder holds
    config.json, data.json (how many images, and their checksums), metrics.jsonl, TensorBoard
    events, sample grids and checkpoints/STEP.

    Args:
      config: kept in the folder; read are `seed`, `parallel`, `steps_per_call`,
        `max_skips` (see `nonfinite.guard`), `log_every`, `save_every`, `sample_every` (in kimg, 0
        for never but at the end) and `keep_checkpoints`. What is due falls on the ends of calls.
      evaluation: done every `config.evaluate_every` kimg and at the end; None for never.
      start: applied to the first state of a new run.
      fill: completes the config of a run that an older version saved.

    Raises:
      UserError: the folder holds another run or one on other images, another process trains in
        it, a save failed, or more than
        `max_skips` updates in succession were not finite; the last of these is kept for
        `nonfinite.replay`.
      Interrupted: SIGINT, SIGTERM or SIGHUP came; the state is saved.
    """
    workdir.check(folder, config, fill)
    mesh = devices.make_mesh(tuple(phase.batch_size for phase in task.phases))
    task = devices.spread(task, config.get("parallel", "jit"), mesh)
    task = task._replace(model=task.model.named(data.fields))
    with locks.hold(folder) if jax.process_index() == 0 else nullcontext():
        run = _Run(task, data, config, folder, mesh, evaluation, start)
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
        config: ConfigDict,
        folder: Path,
        mesh: Mesh,
        evaluation: Evaluation | None,
        start: Callable[[State], State],
    ):
        self.task, self.config, self.folder, self.mesh = task, config, folder, mesh
        self.start = start
        self.feed = Feed(data, task.phases, config.seed, config.steps_per_call, mesh)
        self.evaluation = evaluation
        best = (evaluation.best, evaluation.lower_is_better) if evaluation else None
        self.checkpoints = Checkpoints(
            folder / "checkpoints", keep=config.keep_checkpoints, best=best
        )
        self.claimed = False  # the folder is a run's, and then has a writer
        self.writer: workdir.Writer
        self.images = 0  # consumed; the progress bars of other processes count nothing
        self.bar: tqdm
        self.stop = 0  # the signal that any process got before a call whose metrics are here
        self.watch = nonfinite.Watch()
        self.stability: stability.Watch
        everywhere = devices.replicated(mesh)  # each process saves, and may look
        self.sheet_fn = None
        if sheet := task.model.sheet:
            self.sheet_fn = jax.jit(partial(self._draw_sheet, sheet), out_shardings=everywhere)

    def _draw_sheet(self, sheet: Callable[..., Array], state: State, inputs: Any) -> Array:
        model, rng = self.task.model, key_of(self.config.seed, "sample")
        if model.draw is not None:
            inputs = model.draw(rng, jnp.arange(SHEET_SAMPLES), None)
        return sheet(state.trained, inputs, rng)

    @cache  # noqa: B019 (a run lives as long as its programs)
    def _program(self, train_step: TrainStep) -> Any:
        """A call of the device, compiled."""
        call = make_call(
            train_step,
            seed=self.config.seed,
            max_skips=self.config.max_skips,
            unrolled=self.mesh.devices.flat[0].platform == "cpu",
        )
        everywhere = devices.replicated(self.mesh)
        return jax.jit(call, donate_argnums=(0, 1), out_shardings=everywhere)

    def train(self) -> State:
        state = self._restore_or_init()
        step, self.images = int(state.step), int(state.images)
        total = sum(phase.steps * phase.batch_size for phase in self.task.phases)
        with stop_requests() as requested, bar(total, done=self.images) as self.bar:
            for number, phase in enumerate(self.task.phases):
                begin = self._begin(number)
                if step < begin + phase.steps:
                    self.bar.set_description_str(phase.name)
                    if step == begin:
                        state = jax.jit(self.task.begin_phase, static_argnums=1)(state, phase)
                    state = self._train_phase(state, number, step, requested)
                    step = begin + phase.steps
            if not self.claimed and jax.process_index() == 0:
                self.bar.write(f"{self.folder} is already trained to {self.images / 1000:g} kimg")
        return state

    def _begin(self, number: int) -> int:
        """Steps of the run before phase `number`."""
        return sum(phase.steps for phase in self.task.phases[:number])

    def _restore_or_init(self) -> State:
        sharding = devices.replicated(self.mesh)

        def init() -> State:
            return self.task.init(key_of(self.config.seed, "init"))

        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            jax.eval_shape(init),
        )
        found = self.checkpoints.load_newest(like)
        if found is None:
            return jax.jit(lambda: self.start(init()), out_shardings=sharding)()
        state, damages = found
        if jax.process_index() == 0:
            for damage in damages:
                print(f"warning: {damage}; it is kept in {self.folder}/damaged", file=sys.stderr)
        return state

    def _train_phase(
        self,
        state: State,
        number: int,
        step: int,
        requested: Callable[[], int],
    ) -> State:
        """Trains phase `number` from the end of `step` on."""
        config, phase = self.config, self.task.phases[number]
        begin, first, call_fn = self._begin(number), step, self._program(self.task.step_of(phase))
        end = begin + phase.steps
        last_log = time.monotonic(), self.images
        skips = jax.device_put(np.int32(0), devices.replicated(self.mesh))
        pending: tuple[int, int, dict[str, Array], Array] | None = None
        for call in self.feed.calls(number, first=step - begin):
            if step == first:  # the data is there and sound: now the folder becomes a run
                self._claim(phase, step)
                self.bar.set_postfix_str("compiling, minutes for large networks")
            before = self.images
            signals = np.full(jax.local_device_count(), requested(), np.int32)
            requests = devices.to_devices({"requests": signals}, self.mesh)["requests"]
            state, skips, metrics, asked = call_fn(state, skips, call, requests)
            if step == first:
                self.bar.set_postfix_str("", refresh=False)
            # The metrics of the call before: fetching this one's would make the device wait.
            if pending:
                self._check(*pending, state, number)
            steps = len(next(iter(call.values())))
            pending = step, before, metrics, asked
            step, images = step + steps, before + steps * phase.batch_size
            self.images = images
            stop = self.stop or (requested() if jax.process_count() == 1 else 0)
            last = step == end or bool(stop)
            log, save, sample = (
                last or _due(every, before, images)
                for every in (config.log_every, config.save_every, config.sample_every)
            )
            evaluation = self.evaluation
            if evaluation and step != end and not _due(config.evaluate_every, before, images):
                evaluation = None
            save = save or evaluation is not None
            if log or save or step == steps:
                values = self._check(*pending, state, number)
                pending = None
                now = time.monotonic()
                rate = (images - last_log[1]) / max(now - last_log[0], 1e-9)
                last_log = now, images
                row = {"kimg": images / 1000, **values, "images_per_second": round(rate, 2)}
                row = {name: value for name, value in row.items() if math.isfinite(value)}
                self.writer.scalars(step, row | self.watch.take_skipped())
                self._warn(self.stability.look(row))
                shown = {
                    name.removeprefix("loss_"): f"{value:.3f}"
                    for name, value in values.items()
                    if name.startswith("loss_") or name == "alpha"
                }
                self.bar.set_postfix(shown, refresh=False)
            self.bar.update(images - before)
            if sample:
                self._write_samples(state, step, phase)
            scores = None
            if evaluation:
                scores = self._evaluate(evaluation, state, step, requested)
                last_log = time.monotonic(), images  # of the rate of training
            if save:
                self.checkpoints.save(step, state, metrics=scores)
            if stop:
                self.checkpoints.wait()
                raise Interrupted(
                    f"stopped by {signal.Signals(stop).name} after {images / 1000:g} kimg; step "
                    f"{step} is saved; run the same command again to go on",
                    signal=stop,
                )
            if step == end:
                return state
        raise AssertionError("the batches end where the phase does")

    def _claim(self, phase: Phase, step: int) -> None:
        contents = self.feed.data.contents(phase.image_size)
        workdir.claim(self.folder, self.config.to_dict(), contents, self.feed.data.fields)
        if not self.claimed:
            if jax.process_index() == 0:
                if step:
                    self.bar.write(f"resuming {self.folder} from step {step}", file=sys.stderr)
                if any(field.kind == "class" for field in self.feed.data.fields.values()):
                    classes = self.feed.data.classes(phase.image_size)
                    self.bar.write(_listed(classes), file=sys.stderr)
            self.writer, self.claimed = workdir.Writer(self.folder, step=step), True
            count = sum(x["examples"] for streams in contents.values() for x in streams)
            self.stability = stability.Watch(self.config, count)
            if step and jax.process_index() == 0:
                for row in workdir.read_metrics(self.folder):
                    self.stability.look(row)  # what a run was told of is not told again
            elif not step:
                self._warn(stability.advise(self.config, count))

    def _warn(self, text: str | None) -> None:
        if text and jax.process_index() == 0:
            self.bar.write(f"warning: {text}", file=sys.stderr)

    def _check(
        self,
        step: int,
        images: int,
        metrics: dict[str, Array],
        asked: Array,
        state: State,
        number: int,
    ) -> dict[str, float]:
        """The metrics of a call's last step as floats; tells of updates that were skipped.

        Args:
          step: before the call.
          images: consumed before the call.
          metrics: [steps of the call] each.
          asked: the signal that some process had got before the call.
          state: the newest one.
          number: of the phase.

        Raises:
          UserError: too many were skipped in succession.
        """
        batch_size = self.task.phases[number].batch_size
        columns, asked = jax.device_get((metrics, asked))
        self.stop = self.stop or int(asked)
        for row in zip(*columns.values(), strict=True):
            values = dict(zip(columns, map(float, row), strict=True))
            failure = self.watch.look(step + 1, (images + batch_size) / 1000, values)
            if failure and failure.skips > self.config.max_skips:
                # No update has come after it: but for the counts, the state is the one before it.
                state = state.replace(
                    step=jnp.full_like(state.step, step),
                    images=jnp.full_like(state.images, images),
                )
                batch, examples = self.feed.batch(number, step - self._begin(number))
                self._stop(failure, state, batch, examples)
            if failure and jax.process_index() == 0:
                self.bar.write(f"warning: {failure}; this update is skipped", file=sys.stderr)
            step, images = step + 1, images + batch_size
        return values

    def _stop(
        self, failure: nonfinite.Failure, state: State, batch: Mapping[str, Any], examples: Any
    ) -> None:
        self.checkpoints.wait()
        report = nonfinite.write_report(
            self.folder, failure, state, batch, examples, self.watch.recent
        )
        kept = self.checkpoints.steps
        raise UserError(
            f"{failure}, after {failure.skips - 1} skipped updates; `train.py --replay {report}` "
            "shows where it begins; "
            + (f"the checkpoint of step {kept[-1]} is good; " if kept else "")
            + "train with a lower learning rate in a new --workdir"
        )

    def _evaluate(
        self, evaluation: Evaluation, state: State, step: int, requested: Callable[[], int]
    ) -> dict[str, float] | None:
        """What the best checkpoint is known by; None where the run was asked to stop meanwhile."""
        rows = evaluation.run(state, lambda: bool(agree(requested())))
        if rows is None:
            return None
        for row in rows:
            self.writer.evaluation(step, row)
            if jax.process_index() == 0:
                text = f"{self.images / 1000:g} kimg: {row['metric']} {row['value']:.5g}"
                self.bar.write(text, file=sys.stderr)
        values = {row["metric"]: row["value"] for row in rows}
        return {evaluation.best: values[evaluation.best]}

    def _write_samples(self, state: State, step: int, phase: Phase) -> None:
        if self.sheet_fn is None:
            return
        inputs = self._pictured(phase) if self.task.model.draw is None else None
        sheet = jax.device_get(self.sheet_fn(state, inputs))
        self.writer.sheet(step, sheet, seed=self.config.seed)
        model = self.task.model
        if model.draw is not None and model.real and jax.process_index() == 0:
            real = self._pictured(phase)[model.real][:SHEET_SAMPLES]
            self._warn(self.stability.compare(self.images / 1000, sheet, real))

    @cache  # noqa: B019 (a run lives as long as its batches)
    def _pictured(self, phase: Phase) -> dict[str, np.ndarray]:
        return self.feed.pictured(phase)

    def close(self) -> None:
        try:
            self.checkpoints.close()
        finally:
            if self.claimed:
                self.writer.close()


def _listed(classes: Mapping[str, int]) -> str:
    """ "3 classes: cat 812, dog 790, bird 12"; of many, the first ones."""
    shown = [f"{name or 'none'} {count:,}" for name, count in classes.items()]
    more = [f"... ({min(classes.values()):,} to {max(classes.values()):,} images each)"]
    if len(shown) > MOST_CLASSES:
        shown = shown[:MOST_CLASSES] + more
    return f"{len(classes)} classes: {', '.join(shown)}"


def _due(every: float, before: int, after: int) -> bool:
    """Whether a multiple of `every` kimg lies in (before, after] images."""
    return every > 0 and after // (every * 1000) > before // (every * 1000)
