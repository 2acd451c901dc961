"""What a run will take: measured where there is time, estimated with a range where there is not."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.nets.progressive import Discriminator, Generator
from ganjax.tasks import growth, progressive
from ganjax.training import plan as planning
from ganjax.training.state import Network, State, update
from ganjax.training.task import Phase, Task

COLUMNS = {"kimg": 9, "batch": 7, "gflop": 11, "gib": 7, "speed": 9, "hours": 9}


class Source:
    fields = {"image": IMAGE, "label": Field("class", names=("a", "b"))}

    def load(self, indices, image_size, channels):
        image = np.zeros((1, *image_size, channels), np.uint8)
        return {"image": image, "label": np.zeros(1, np.int32)}, []


def make_data(*streams: dict[str, str]) -> Pipeline:
    return Pipeline(tuple(Stream(Source(), names) for names in streams), None)


IMAGES = make_data({"image": "image"})


def make_task(*phases: Phase) -> Task:
    """A product with a matrix at each pixel: an image takes FLOPs as it has pixels."""
    optimizer = optax.sgd(1.0)

    def init(rng):
        params = {"kernel": jax.random.normal(rng, (3, 50))}
        return State.start({"painter": Network(params, {}, optimizer.init(params))})

    def train_step(state, batch, rng):
        def loss(params):
            images = (x.astype(jnp.float32) for x in batch.values() if x.ndim == 4)
            return sum(jnp.tanh(x @ params["kernel"]).mean() for x in images)

        network = state.networks["painter"]
        network = update(network, jax.grad(loss)(network.params), {}, optimizer)
        return state.replace(networks={"painter": network}), {
            "sum": sum(map(jnp.sum, batch.values()))
        }

    return Task(None, init, train_step, phases)


def growing(*sides: int, batch_size: int = 16) -> tuple[Phase, ...]:
    return tuple(Phase(f"{side}x{side}", 10.0, batch_size, (side, side)) for side in sides)


def read(lines: list[str]) -> tuple[dict[str, dict], str]:
    """The rows of the table by phase, and the line below it."""
    (head,) = (n for n, line in enumerate(lines) if line.startswith("phase "))
    (end,) = (n for n, line in enumerate(lines) if line.startswith("in all "))
    rows = {}
    for line in lines[head + 1 : end]:
        place, row = 18, {}
        for name, width in COLUMNS.items():
            cell = line[place : place + width].strip()
            row[name] = None if cell == "-" else float(cell)
            place += width
        rows[line[:18].strip()] = row | {"remark": line[place:].strip()}
    return rows, lines[end]


def needed(task: Task, side: int) -> int:
    """Bytes of the program that does a step on 16 images."""
    state = jax.eval_shape(task.init, jax.random.key(0))
    batch = {"image": jax.ShapeDtypeStruct((16, side, side, 3), jnp.uint8)}
    step = jax.jit(task.train_step, donate_argnums=0).lower(state, batch, jax.random.key(0))
    sizes = step.compile().memory_analysis()
    return sizes.argument_size_in_bytes + sizes.temp_size_in_bytes


class Machine:
    """Time as it passes on a machine where every step takes a while, and every image its own."""

    def __init__(self, *, speed: float, step: float = 0.01, compilation: float = 5.0):
        self.now, self.speed, self.step, self.compilation = 0.0, speed, step, compilation
        self.ran = []

    def clock(self) -> float:
        self.now += 0.25  # so that tracing takes as long
        return self.now

    def seconds_per_image(self, flops: float, batch_size: int) -> float:
        return self.step / batch_size + flops / self.speed

    def run(self, state, step, batch, batch_size):
        self.ran.append((step.phase.name, batch_size))
        seconds = self.seconds_per_image(step.flops, batch_size)
        self.now += self.compilation + 2 * seconds * batch_size
        return state, step._replace(
            batch_size=batch_size, seconds=seconds, compilation=self.compilation, memory=2.0**30
        )


@pytest.fixture
def plan_on(monkeypatch):
    def plan_on(machine: Machine, task: Task) -> tuple[dict, str, list]:
        monkeypatch.setattr(planning, "time", SimpleNamespace(monotonic=machine.clock))
        monkeypatch.setattr(planning, "_run", machine.run)
        monkeypatch.setattr(planning, "_product_speed", lambda: 2 * machine.speed)
        return read(list(planning.plan(task, IMAGES)))

    return plan_on


@pytest.fixture
def unhurried(monkeypatch):
    monkeypatch.setattr(planning, "BUDGET", 1e6)


@pytest.mark.slow
def test_progressive_growing_is_planned_by_measuring(unhurried):
    fields = {"image_size": 8, "width": 4}
    task = progressive.make(
        Generator(**fields),
        Discriminator(**fields),
        optimizers=[optax.adam(1e-3)],
        phases=growth.grow(
            (8, 8), batch_sizes=(8,), fade_kimg=(1.0,), stable_kimg=(2.0,), total_kimg=7.0
        ),
        latent_size=6,
    )
    lines = list(planning.plan(task, IMAGES))
    rows, total = read(lines)
    state = jax.eval_shape(task.init, jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(state.networks["generator"].params))
    assert f"generator: {parameters:,} parameters" in lines
    assert {name: row["kimg"] for name, row in rows.items()} == {"4x4": 2, "8x8 fade": 1, "8x8": 4}
    assert all(row["speed"] > 0 and row["hours"] > 0 and not row["remark"] for row in rows.values())
    assert rows["8x8 fade"]["gflop"] == rows["8x8"]["gflop"] > 2 * rows["4x4"]["gflop"] > 0
    hours = sum(row["hours"] for row in rows.values())
    assert float(total.split(" kimg in ")[1].split()[0]) == pytest.approx(hours, rel=0.02)


def test_several_streams_and_labels_are_planned(unhurried):
    data = make_data({"image": "content", "label": "label"}, {"image": "style"})
    task = make_task(*growing(16))
    (both, _), (one, _) = (read(list(planning.plan(task, x))) for x in (data, IMAGES))
    assert both["16x16"]["gflop"] > 1.9 * one["16x16"]["gflop"] and both["16x16"]["speed"] > 0


@pytest.mark.slow
def test_memory_is_that_of_the_compiled_program(unhurried, monkeypatch):
    task = make_task(*growing(256))
    rows, _ = read(list(planning.plan(task, IMAGES)))
    assert rows["256x256"]["gib"] == pytest.approx(needed(task, 256) / 2**30, abs=0.006)
    assert rows["256x256"]["gib"] > 0.1
    monkeypatch.setattr(planning, "_batch_sizes", lambda full: [full // 4])
    fewer, _ = read(list(planning.plan(task, IMAGES)))
    assert fewer["256x256"]["remark"] == "measured on batches of 4"
    assert fewer["256x256"]["gib"] == pytest.approx(rows["256x256"]["gib"], rel=0.25)


def test_the_largest_size_and_the_smallest_are_measured_first(plan_on):
    """Between them there is a range, which holds the truth where steps cost time of their own."""
    task = make_task(*growing(4, 8, 16, 32, 64))
    machine = Machine(speed=2e7, compilation=20.0)
    rows, total = plan_on(machine, task)
    assert machine.ran == [("64x64", 16), ("4x4", 16)]
    marked = [name for name, row in rows.items() if row["remark"].startswith("estimated")]
    assert marked == ["8x8", "16x16", "32x32"]
    true_hours = 0.0
    for name, row in rows.items():
        hours = 1e4 * machine.seconds_per_image(row["gflop"] * 1e9, 16) / 3600
        true_hours += hours
        if name in marked:
            low, high = map(float, row["remark"].removeprefix("estimated, ").split(" to "))
            assert low <= hours <= high and low < row["hours"] < high
        else:
            assert row["hours"] == pytest.approx(hours, rel=0.01)
    hours, low, high = (float(x.strip("()")) for x in np.array(total.split())[[5, 7, 9]])
    assert low < true_hours < high and hours == pytest.approx(true_hours, rel=0.2)


def test_all_sizes_are_measured_where_there_is_time(plan_on):
    rows, total = plan_on(Machine(speed=1e10), make_task(*growing(4, 8, 16, 32)))
    assert not any(row["remark"] for row in rows.values()) and " to " not in total


def test_a_long_step_is_measured_on_fewer_images(plan_on):
    task = make_task(*growing(4, 64, batch_size=12))
    machine = Machine(speed=1e6)
    rows, _ = plan_on(machine, task)
    (name, batch_size), *_ = machine.ran
    assert name == "64x64" and batch_size in (8, 4, 2, 1)
    assert rows["64x64"]["remark"] == f"measured on batches of {batch_size}"
    assert machine.now < 2 * planning.BUDGET


def test_a_size_that_takes_too_long_is_left_out(plan_on):
    machine = Machine(speed=1e4)
    rows, _ = plan_on(machine, make_task(*growing(4, 8, 64)))
    assert rows["64x64"]["remark"].startswith("estimated") and not rows["4x4"]["remark"]
    assert rows["64x64"]["gib"] is None and "64x64" not in dict(machine.ran)


def test_what_does_not_fit_is_said(unhurried, monkeypatch):
    """Not run at its batch, but planned from a smaller one."""
    task = make_task(*growing(8, 64))
    memory = needed(task, 64)
    monkeypatch.setattr(planning, "_machine_memory", lambda: 0.7 * memory)
    lines = list(planning.plan(task, IMAGES))
    rows, _ = read(lines)
    assert rows["64x64"]["remark"] == "measured on batches of 8"
    assert lines[-1].startswith(f"64x64 needs {memory / 2**30:.3g} GiB, of ")
    monkeypatch.undo()
    assert list(planning.plan(task, IMAGES))[-1].startswith("in all ")
