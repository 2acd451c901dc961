"""The loop: resume, phases, several streams, stopping, refusing; on a small game of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from ganjax.data.fields import IMAGE
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import open_source
from ganjax.errors import UserError
from ganjax.outputs import write_image
from ganjax.training import nonfinite, workdir
from ganjax.training.checkpoints import Checkpoints, DamagedCheckpoint
from ganjax.training.loop import _due, fit
from ganjax.training.signals import Interrupted
from ganjax.training.state import Network, State, average, update
from ganjax.training.step import train_key
from ganjax.training.task import Model, Phase, Task
from ganjax.training.workdir import load_config, read_metrics

PHASES = (Phase("small", 0.08, 8, (4, 4)), Phase("large", 0.096, 4, (8, 8)))  # 10 and 24 steps
TOTAL_STEPS = 34


class Streams:
    """Two streams of random images; batch n of (seed, phase) is always the same.

    Whatever they show, they say to be `count` examples of this checksum.
    """

    fields = {"content": IMAGE, "style": IMAGE}

    def __init__(self, *, interrupt: tuple[int, int] | None = None, count=50, checksum=7):
        self.interrupt, self.served = interrupt, []
        self.count, self.checksum = count, checksum

    def batches(self, *, seed, first, batch_size, image_size, **processes) -> Iterator[dict]:
        number = first
        while True:
            rng = np.random.default_rng([seed, number])
            shape = (batch_size, *image_size, 3)
            batch = {k: rng.integers(0, 256, shape, np.uint8) for k in ("content", "style")}
            self.served.append((image_size, number))
            if self.interrupt == (image_size[0], number):
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch
            number += 1

    def examples(self, number, *, batch_size, **which):
        rows = range(number * batch_size, (number + 1) * batch_size)
        return {name: [f"{name} {row}" for row in rows] for name in ("content", "style")}

    def contents(self, image_size):
        style = {"examples": self.count, "crc32": {"image": self.checksum}}
        return {"content 8x8": [{"examples": 9, "crc32": {"image": 1}}] * 2, "style 8x8": [style]}


def make_task(*, poisoned: range = range(0), phases=PHASES) -> Task:
    """Fits the mean of `style` minus `content`, plus noise: every part of a state is in use."""
    optimizer = optax.adam(1e-2)

    def init(rng):
        params = {"w": jax.random.normal(rng, (3,))}
        network = Network(params, {"count": jnp.zeros(())}, optimizer.init(params))
        return State.start(
            {"model": network},
            averaged=("model",),
            memory={"pool": jax.random.normal(rng, (2000, 3))},
        )

    def train_step(state, batch, rng):
        content, style = (batch[k].astype(jnp.float32) / 255 for k in ("content", "style"))
        noise = jax.random.normal(rng, (3,))

        def loss(params):
            return jnp.mean((params["w"] + noise - jnp.mean(style - content, (0, 1, 2))) ** 2)

        model = state.networks["model"]
        value, gradients = jax.value_and_grad(loss)(model.params)
        poison = (state.step >= poisoned.start) & (state.step < poisoned.stop)
        gradients = jax.tree.map(lambda g: jnp.where(poison, jnp.nan, g), gradients)
        model = update(model, gradients, {"count": model.statistics["count"] + 1}, optimizer)
        pool = state.memory["pool"].at[state.step % 2000].set(model.params["w"])
        ema = average(
            state.averages["model"], model.variables,
            images=state.images, batch_size=len(content), half_life=100,
        )  # fmt: skip
        state = state.replace(
            networks={"model": model}, averages={"model": ema}, memory={"pool": pool}
        )
        return state, {"loss_model": value, "grad_norm_model": optax.tree.norm(gradients)}

    def begin_phase(state, phase):  # as progressive growing does: the optimizer starts anew
        model = state.networks["model"]
        model = model.replace(optimizer=optimizer.init(model.params))
        return state.replace(networks={"model": model})

    def draw(rng, index, label):
        return {"z": jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(rng, i), (3,)))(index)}

    def sheet(trained, inputs, rng):
        w = trained.variables["model"]["params"]["w"]
        images = jnp.tanh(w[None] * inputs["z"])[:, None, None, :]
        return jnp.broadcast_to(images, (len(images), 8, 8, 3))

    model = Model({}, {"samples": IMAGE}, draw, None, sheet)
    return Task(model, init, train_step, phases, begin_phase)


def make_config(**fields) -> ConfigDict:
    config = ConfigDict(
        {"seed": 1, "log_every": 0.008, "save_every": 0.04, "sample_every": 0.08,
         "keep_checkpoints": 3, "max_skips": 10, "batch_size": 8, "data": {"source": "a"},
         "steps_per_call": 1}
    )  # fmt: skip
    config.update(fields)
    return config


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    return fit(make_task(), Streams(), make_config(), folder), folder


@pytest.mark.slow
@pytest.mark.parametrize(("size", "number"), [(4, 3), (4, 9), (8, 0), (8, 13)])
def test_resume_is_bit_exact_across_phases(straight, tmp_path, size, number):
    stopping = Streams(interrupt=(size, number))
    with pytest.raises(Interrupted, match="SIGTERM") as stopped:
        fit(make_task(), stopping, make_config(), tmp_path / "run")
    assert stopped.value.signal == signal.SIGTERM
    resumed = Streams()
    state = fit(make_task(), resumed, make_config(), tmp_path / "run")
    assert int(state.step) == TOTAL_STEPS
    assert_same(state, straight[0])
    rows = [read_metrics(folder) for folder in (straight[1], tmp_path / "run")]
    losses = [{row["step"]: row["loss_model"] for row in r} for r in rows]
    shared = losses[0].keys() & losses[1].keys()
    assert len(shared) >= 20 and all(losses[0][s] == losses[1][s] for s in shared)


@pytest.mark.slow
def test_several_steps_per_call(straight, tmp_path):
    """Of 10 and 24 steps, a call does 4, or what is left; all else is as with single steps."""
    config = make_config(steps_per_call=4)
    whole = fit(make_task(), Streams(), config, tmp_path / "whole")
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), whole, straight[0])
    with pytest.raises(Interrupted, match="step 18 is saved"):
        fit(make_task(), Streams(interrupt=(8, 9)), config, tmp_path / "run")
    assert_same(fit(make_task(), Streams(), config, tmp_path / "run"), whole)
    with pytest.raises(UserError, match="steps_per_call is 4, was 1"):
        fit(make_task(), Streams(), config, straight[1])
    steps = [row["step"] for row in read_metrics(tmp_path / "run")]
    assert {4, 8, 10, 14, 18} <= set(steps) <= {4, 8, *range(10, TOTAL_STEPS + 1, 4)}


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_found_within_a_call(tmp_path):
    config = make_config(steps_per_call=4, max_skips=3)
    task = make_task(poisoned=range(14, 100))
    with pytest.raises(UserError, match=r"step 18: grad_norm_model is nan, after 3 skipped.*10 is"):
        fit(task, Streams(), config, tmp_path / "run")


@pytest.mark.slow
def test_resume_serves_the_next_batch(tmp_path):
    with pytest.raises(Interrupted):
        fit(make_task(), Streams(interrupt=(8, 5)), make_config(), tmp_path / "run")
    saved = Checkpoints(tmp_path / "run" / "checkpoints").steps[-1]
    resumed = Streams()
    fit(make_task(), resumed, make_config(), tmp_path / "run")
    assert resumed.served[0] == ((8, 8), saved - PHASES[0].steps)


def test_folder_of_a_run(straight):
    state, folder = straight
    assert load_config(folder)["seed"] == 1
    rows = read_metrics(folder)
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    assert rows[0]["step"] == 1 and rows[-1]["step"] == TOTAL_STEPS
    assert {"step", "kimg", "loss_model", "grad_norm_model"} <= rows[0].keys()
    assert rows[-1]["kimg"] == 0.176 and int(state.images) == 176
    assert Checkpoints(folder / "checkpoints").steps[-1] == TOTAL_STEPS
    assert len(Checkpoints(folder / "checkpoints").steps) == 3
    assert len(list((folder / "samples").glob("*.png"))) >= 2
    assert any((folder / "tensorboard").iterdir())


def test_a_finished_run_is_left_as_it_is(straight):
    state, folder = straight
    before = (folder / "metrics.jsonl").read_bytes()
    assert_same(fit(make_task(), Streams(), make_config(), folder), state)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_another_config_is_refused_and_says_what_differs(straight):
    _, folder = straight
    data = {"source": "b", "limit": 5}  # where the data lies makes no difference
    with pytest.raises(UserError, match=r"config: data\.limit is 5, was absent; seed is 2, was 1"):
        fit(make_task(), Streams(), make_config(seed=2, data=data), folder)
    fit(make_task(), Streams(), make_config(log_every=1.0), folder)  # changes no update


@pytest.mark.parametrize("name", ["a[1]", "a]", "a*", "a?", "a\\b", os.fsdecode(b"a\xe9")])
@pytest.mark.parametrize("above", [False, True])
def test_a_path_that_orbax_takes_for_a_pattern_is_refused_before_training(
    tmp_path, monkeypatch, name, above
):
    folder = tmp_path / name
    if above:  # the folder's own name is sound, but not the one it is started in
        folder.mkdir()
        monkeypatch.chdir(folder)
        folder = Path("run")
    data = Streams()
    with pytest.raises(UserError, match="in its path; give another --workdir") as refused:
        fit(make_task(), data, make_config(), folder)
    assert "\n" not in str(refused.value) and not data.served and not folder.exists()


def test_a_run_that_was_moved_to_such_a_path_can_be_read(straight, tmp_path):
    state, folder = straight
    moved = shutil.copytree(folder, tmp_path / "a[1]*")
    assert_same(Checkpoints.read_only(moved / "checkpoints").load(TOTAL_STEPS, state), state)


def test_a_second_training_into_one_folder_is_refused(tmp_path):
    class Second(Streams):
        """Starts another training when the first one takes its third batch."""

        def batches(self, **which):
            for number, batch in enumerate(super().batches(**which)):
                if number == 2:
                    with pytest.raises(UserError, match=rf"process {os.getpid()} on \S+ is train"):
                        fit(make_task(), Streams(), make_config(), tmp_path / "run")
                    self.tried = True
                yield batch

    data = Second(interrupt=(4, 5))
    with pytest.raises(Interrupted):
        fit(make_task(), data, make_config(), tmp_path / "run")
    assert data.tried
    with pytest.raises(Interrupted):  # the lock is free again
        fit(make_task(), Streams(interrupt=(4, 9)), make_config(), tmp_path / "run")


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run that was stopped in its first phase."""
    with pytest.raises(Interrupted):
        fit(make_task(), Streams(interrupt=(4, 3)), make_config(), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(("other", "now"), [({"count": 49}, "49 now"), ({"checksum": 8}, "50 now")])
def test_other_images_are_refused_before_anything_is_done(stopped, other, now, capsys):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    capsys.readouterr()
    wanted = rf"^\S+run holds a run on other images.*: 50 of style 8x8 then, {now}; .*data\.json"
    with pytest.raises(UserError, match=wanted) as refused:
        fit(make_task(), Streams(**other), make_config(), stopped)
    assert "\n" not in str(refused.value) and "content" not in str(refused.value)
    assert "resuming" not in capsys.readouterr().err
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_a_run_goes_on_with_other_images_where_its_record_is_deleted(stopped, straight, capsys):
    """So does one of before, which has none; from then on it has one."""
    (stopped / "data.json").unlink()
    assert_same(fit(make_task(), Streams(count=49), make_config(), stopped), straight[0])
    assert "resuming" in capsys.readouterr().err
    assert json.loads((stopped / "data.json").read_text()) == Streams(count=49).contents((8, 8))


@pytest.mark.parametrize("text", ["{", "7", '{"style 8x8": 7}', '{"style 8x8": [{}]}'])
def test_a_damaged_record_of_the_images_is_one_line(stopped, text):
    (stopped / "data.json").write_text(text)
    with pytest.raises(UserError, match=r"data\.json cannot be read: .*; delete it to go on"):
        fit(make_task(), Streams(), make_config(), stopped)


@pytest.mark.slow
def test_images_are_the_same_in_a_zip_and_others_where_one_is_gone(tmp_path):
    """On files, with sizes decoded on their own: each phase adds its own to the record."""
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    folder, run = tmp_path / "images", tmp_path / "run"
    folder.mkdir()
    for number, image in enumerate(images):
        write_image(folder / f"{number:02}.png", image, made=None)
    shutil.make_archive(tmp_path / "images", "zip", folder)

    def train(path, kimg):
        source = open_source(f"folder:{path}")
        streams = tuple(Stream(source, {"image": name}) for name in ("content", "style"))
        task = make_task(phases=(PHASES[0], PHASES[1]._replace(kimg=kimg)))
        return fit(task, Pipeline(streams, tmp_path / "cache"), make_config(), run)

    train(folder, 0.008)
    names = {"content 4x4", "style 4x4", "content 8x8", "style 8x8"}
    assert json.loads((run / "data.json").read_text()).keys() == names
    train(tmp_path / "images.zip", 0.016)
    (folder / "07.png").unlink()
    with pytest.raises(UserError, match="12 of content 8x8 then, 11 now; 12 of style 8x8 then"):
        train(folder, 0.024)
    train(tmp_path / "images.zip", 0.024)


def test_processes_with_other_images_than_the_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir, "process_allgather", lambda x: np.stack([x, x, x + 1]))
    with pytest.raises(UserError, match="processes of this run have different images; give all"):
        fit(make_task(), Streams(), make_config(), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds no run"):
        fit(make_task(), Streams(), make_config(), tmp_path)
    with pytest.raises(UserError, match="is a file"):
        fit(make_task(), Streams(), make_config(), tmp_path / "thesis.tex")


def test_a_longer_run_goes_on_from_a_shorter_one(straight, tmp_path):
    short = (PHASES[0], PHASES[1]._replace(kimg=0.04))
    fit(make_task(phases=short), Streams(), make_config(), tmp_path / "run")
    assert_same(fit(make_task(), Streams(), make_config(), tmp_path / "run"), straight[0])


@pytest.mark.slow
def test_an_update_that_is_not_finite_is_skipped_and_counted(straight, tmp_path, capsys):
    state = fit(make_task(poisoned=range(14, 16)), Streams(), make_config(), tmp_path / "run")
    assert int(state.step) == TOTAL_STEPS and int(state.images) == 176
    model = state.networks["model"]
    assert model.statistics["count"] == TOTAL_STEPS - 2
    assert model.optimizer[0].count == PHASES[1].steps - 2
    assert np.isfinite(model.params["w"]).all()
    # The pool shows each step's parameters: none in the two steps, new ones right after.
    pool, whole = state.memory["pool"], straight[0].memory["pool"]
    np.testing.assert_array_equal(pool[:14], whole[:14])
    assert not np.array_equal(pool[16], whole[16])
    rows = {row["step"]: row for row in read_metrics(tmp_path / "run")}
    assert sum(row.get("skipped", 0) for row in rows.values()) == 2
    assert "grad_norm_model" in rows[14] and "grad_norm_model" not in rows[16]
    warnings = capsys.readouterr().err
    assert "warning: step 15: grad_norm_model is nan; this update is skipped" in warnings
    assert "step 16:" in warnings and "step 17:" not in warnings


@pytest.mark.slow
def test_updates_that_stay_not_finite_stop_the_run_and_can_be_replayed(tmp_path):
    folder, good = tmp_path / "run", tmp_path / "good"
    with pytest.raises(Interrupted):
        fit(make_task(), Streams(interrupt=(8, 5)), make_config(save_every=0.004), good)
    # max_skips of 2: steps 15 and 16 are skipped, 17 stops the run; 18 may be under way.
    task = make_task(poisoned=range(14, 17))
    with pytest.raises(UserError, match=r"step 17: .* after 2 skipped.*--replay .*step 10 is good"):
        fit(task, Streams(), make_config(max_skips=2), folder)
    kept = folder / "nonfinite_17"
    report = json.loads((kept / "report.json").read_text())
    assert report["step"] == 17 and report["recent"][-1]["step"] == 17
    assert report["recent"][-1]["grad_norm_model"] is None  # JSON has no NaN
    assert report["examples"]["style"] == [f"style {n}" for n in range(24, 28)]
    like = jax.eval_shape(task.init, jax.random.key(0))
    state = Checkpoints.read_only(kept / "checkpoints").load(16, like)
    before = Checkpoints.read_only(good / "checkpoints").load(14, like)
    assert int(state.step) == 16 and int(state.images) == 80 + 6 * 4
    assert_same(state.networks, before.networks)
    batch = next(Streams().batches(seed=_seed(1), first=6, batch_size=4, image_size=(8, 8)))
    with np.load(kept / "batch.npz") as file:
        assert_same({name: file[name] for name in file.files}, batch)

    lines = list(nonfinite.replay(task, kept, partial(train_key, 1)))
    assert lines[0] == "step 17: grad_norm_model is nan"
    assert f"content: {', '.join(f'content {n}' for n in range(24, 28))}" in lines
    assert "model: 3 of 3 parameters not finite: w" in lines
    assert lines[-1].startswith("the first of it: invalid value (nan)")
    loss = next(float(line.split()[1]) for line in lines if line.startswith("loss_model"))
    assert loss == pytest.approx(report["recent"][-1]["loss_model"], rel=1e-5)
    with pytest.raises(UserError, match="holds no step to replay"):
        list(nonfinite.replay(task, folder, partial(train_key, 1)))
    (kept / "batch.npz").write_bytes((kept / "batch.npz").read_bytes()[:-30])
    with pytest.raises(UserError, match="holds no step to replay"):
        list(nonfinite.replay(task, kept, partial(train_key, 1)))


def _seed(phase):
    return int(np.random.SeedSequence([1, phase]).generate_state(1)[0])


def test_damaged_checkpoints_are_passed_over_and_kept(straight, tmp_path, capsys):
    folder = tmp_path / "run"
    fit(make_task(), Streams(), make_config(), folder)
    checkpoints = folder / "checkpoints"
    newest, second, _ = reversed(Checkpoints(checkpoints).steps)
    _largest_file(checkpoints / str(newest)).write_bytes(b"")
    file = _largest_file(checkpoints / str(second))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert_same(fit(make_task(), Streams(), make_config(), folder), straight[0])
    assert {p.name for p in (folder / "damaged").iterdir()} == {f"{newest}.0", f"{second}.0"}
    assert capsys.readouterr().err.count("warning: step") == 2


def _largest_file(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and "state" in path.parts]
    return max(files, key=lambda path: path.stat().st_size)


def test_a_checkpoint_of_a_damaged_description_is_put_aside(straight, tmp_path, capsys):
    folder = tmp_path / "run"
    fit(make_task(), Streams(), make_config(), folder)
    newest = Checkpoints(folder / "checkpoints").steps[-1]
    file = folder / "checkpoints" / str(newest) / "_CHECKPOINT_METADATA"
    file.write_text(file.read_text().replace('"performance_metrics"', '"performance_letrics"'))
    with pytest.raises(UserError, match=f"step {newest} in .* is damaged; its training puts it"):
        Checkpoints.read_only(folder / "checkpoints")
    assert_same(fit(make_task(), Streams(), make_config(), folder), straight[0])
    assert [p.name for p in (folder / "damaged").iterdir()] == [f"{newest}.0"]
    assert f"warning: step {newest} has a damaged description" in capsys.readouterr().err


def test_flipped_bytes_never_restore_silently(tmp_path):
    """Every byte position tried either loads the saved values or is refused."""
    state = {"a": jnp.arange(2000.0), "n": {"b": jnp.int32(7)}}
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, state)
    checkpoints.wait()
    file = _largest_file(tmp_path / "c" / "1")
    content = file.read_bytes()
    refused = 0
    for position in range(0, len(content), max(1, len(content) // 12)):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        file.write_bytes(flipped)
        try:
            assert_same(checkpoints.load(1, state), state)
        except DamagedCheckpoint:
            refused += 1
    assert refused > 0
    file.write_bytes(content)
    assert_same(checkpoints.load(1, state), state)


LEFT = """
import gc, logging, sys, warnings
from pathlib import Path
import numpy as np
from ganjax.training.checkpoints import Checkpoints, DamagedCheckpoint
folder = Path(sys.argv[1])
state = {str(n): np.random.default_rng(n).normal(size=(500, 400 + n)) for n in range(40)}
checkpoints = Checkpoints(folder)
checkpoints.save(1, state)
checkpoints.wait()
files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name == "d"]
for file in files * 2:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    try:
        checkpoints.load(1, state)
    except DamagedCheckpoint:
        print("damaged")
    file.write_bytes(content)
for path in (folder / "1" / "state").rglob("manifest.ocdbt"):
    path.unlink()
try:
    checkpoints.load(1, state)
except DamagedCheckpoint:
    print("missing")
class Other:
    def __del__(self):
        raise ValueError("of something else")
async def other():
    pass
Other()
other()
logging.warning("logged by something else")
gc.collect()
"""


def test_what_orbax_leaves_alone_is_hidden_and_nothing_else(tmp_path):
    command = [sys.executable, "-c", LEFT, tmp_path / "c"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert {"damaged", "missing"} == set(result.stdout.split())
    lines = [line for line in result.stderr.splitlines() if not line.startswith(" ")]
    expected = (
        "Exception ignored", "Traceback", "ValueError: of something else",
        "<string>:", "RuntimeWarning: Enable tracemalloc", "WARNING:root:logged by something else",
    )  # fmt: skip
    assert len(lines) == len(expected), result.stderr
    assert all(map(str.startswith, lines, expected)), result.stderr


def test_a_state_of_another_form_is_refused_by_name(tmp_path):
    """As memories of another number of devices are: neither cut nor filled up."""
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, {"memory": {"pool": jnp.zeros((8, 3)), "count": jnp.int32(7)}})
    checkpoints.wait()
    for count in (4, 16):
        like = {"memory": {"pool": jnp.zeros((count, 3)), "count": jnp.int32(0)}}
        message = rf"step 1 cannot be read: memory/pool has shape \(8, 3\), not \({count}, 3\)"
        with pytest.raises(DamagedCheckpoint, match=message):
            checkpoints.load(1, like)
        with pytest.raises(UserError, match="no checkpoint in .* can be read .*memory/pool"):
            checkpoints.load_newest(like)
    assert checkpoints.steps == [1]  # where it was


def test_the_best_checkpoint_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=2, best=("fid", True))
    for step, fid in enumerate([9.0, 3.0, 5.0, 6.0, 7.0], start=1):
        checkpoints.save(step, {"a": jnp.zeros(3)}, metrics={"fid": fid})
    checkpoints.wait()
    assert checkpoints.steps == [2, 4, 5]


def test_a_full_disk_while_saving_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "c")
    state = {"a": jnp.arange(10.0)}
    checkpoints.save(1, state)
    checkpoints.wait()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._checkpointer, "save_checkpointables_async", full)
    with pytest.raises(UserError, match=r"disk is full.*step 1 is intact"):
        checkpoints.save(2, state)
    assert_same(checkpoints.load(1, state), state)


def test_a_disk_that_fills_in_the_background_is_told_once(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "c")

    class Failing:
        def result(self):
            raise ValueError("RESOURCE_EXHAUSTED: Failed writing: No space left on device")

    def fail():
        raise ValueError("the same once more")

    patches = {"save_checkpointables_async": lambda *a, **k: Failing(), "close": fail}
    for name, function in patches.items():
        monkeypatch.setattr(checkpoints._checkpointer, name, function)
    checkpoints.save(1, {"a": jnp.arange(10.0)})
    with pytest.raises(UserError, match="disk is full; none exists"):
        checkpoints.close()


def test_due_counts_images_not_steps():
    def crossings(batch_size):
        return sum(_due(0.1, n, n + batch_size) for n in range(0, 1000, batch_size))

    assert crossings(10) == crossings(50) == crossings(100) == 10
    assert not _due(0, 0, 1000)


def test_average_has_its_half_life():
    """After a long constant stretch, half of the difference is gone every half-life images."""
    old, images = {"w": jnp.ones(())}, jnp.int32(10**7)
    for _ in range(5):
        old = average(old, {"w": jnp.zeros(())}, images=images, batch_size=20, half_life=100)
    np.testing.assert_allclose(old["w"], 0.5, rtol=1e-6)
    new = average(old, {"w": jnp.zeros(())}, images=jnp.int32(0), batch_size=20, half_life=100)
    assert new["w"] == 0  # nothing of the initial weights stays
