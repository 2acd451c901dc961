"""What every game must do, from its own `defaults()` and `SMOKE`: a new one is tested as it is.

Trained is each game's smoke run, made small by `SMALL`: on one device with the loop, and in a
process that has eight virtual ones.
"""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ganjax import runs, tasks, weights
from ganjax.commands import export
from ganjax.config import flat, with_variants
from ganjax.data.pipeline import Pipeline
from ganjax.errors import UserError
from ganjax.evaluation import monitor
from ganjax.training import devices
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.loop import fit
from ganjax.training.step import key_of, train_key
from ganjax.training.workdir import read_metrics
from ganjax.trees import named_leaves

BATCH, STEPS, COUNT = 16, 8, 8  # images of a step, steps of a run, devices
SMALL = {
    "batch_size": BATCH,
    "log_every": BATCH / 1000,
    "evaluate_every": 0.0,
    "data.limit": 32,
    "data.image_size": "32",
    "data.load_size": "48",
    "model.width": 8,
    "model.latent_size": 8,
}
# One of each kind: drawn from noise, growing, translated from pairs, stylized.
QUICK = ("adain", "dcgan", "pix2pix", "progressive")
# What differs most from these: conditions, several steps of the discriminator. Others are long.
SLOW = ("gan",)
# Those whose steps differ in what eight devices must agree on: pools of images, spectral norm and
# conditions. The others share a step with these or with games of tests/training/test_devices.py.
DIVIDED = ("cyclegan", "gan")
# Of games that need something else.
OWN = {
    "adain": {"model.form": "compact"},
    "cut": {"model.blocks": 0, "model.layers": 0},  # it compiles in half of the time
    "cyclegan": {
        "model.blocks": 0,
        "model.layers": 0,
        # In the middle of the run the rate is falling and the pools are half full.
        "loss.pool_size": BATCH * STEPS,
        "optimizer.decay_from": 0.25,
    },
    "gan": {
        "batch_size": BATCH // 2,
        "discriminator_steps": 2,
        # Every fourth step the probability moves by a sixteenth.
        "augment.adaptive": True,
        "augment.probability": 0.5,
        "augment.kimg": 64 * BATCH / 1000,
    },
    # The last two steps are the second phase: a run that is resumed before them crosses over.
    "super_resolution": {
        "model.depth": 0,
        "model.scale": 2,
        "adversarial_kimg": 2 * BATCH / 1000,
    },
    # So are these.
    "text": {"model.width": 4, "encoder_kimg": (STEPS - 2) * BATCH / 1000},
    "spade": {"model.width": 4, "model.ups": 1, "model.downs": 1},  # it compiles in a third
    "progressive": {  # a step at 4x4, then 16x16
        "data.image_size": "16",
        "growth.batch_sizes": (BATCH,),
        "growth.fade_kimg": (0.0, 0.0, BATCH / 1000),
        "growth.stable_kimg": (BATCH / 1000, 0.0),
    },
}


def make_config(name, folder) -> ConfigDict:
    module = tasks.module(name)
    config = with_variants(module.defaults(), "smoke", {"smoke": module.SMOKE})
    fields = SMALL | OWN.get(name, {})
    config.update_from_flattened_dict({k: v for k, v in fields.items() if k in flat(config)})
    config.total_kimg = STEPS * BATCH / 1000
    config.save_every = config.sample_every = STEPS // 2 * BATCH / 1000
    config.data.cache_dir = str(folder / "cache")
    return config.lock()


class PowerCut(Exception):
    """What ends a run."""


class Cut(NamedTuple):
    """A pipeline that ends in the middle of a run, when a step after the save is under way."""

    pipeline: Pipeline

    def batches(self, **options):
        for number, batch in enumerate(self.pipeline.batches(**options)):
            if number > STEPS // 2:
                raise PowerCut
            yield batch

    def contents(self, image_size):
        return self.pipeline.contents(image_size)

    @property
    def fields(self):
        return self.pipeline.fields


def train(name, folder, run, wrap=lambda data: data):
    config = make_config(name, folder)
    data = wrap(tasks.make_data(config))
    return fit(tasks.make(config), data, config, folder / run, fill=tasks.fill)


def mark(name):
    """How long a game takes to be tested."""
    return () if name in QUICK else pytest.mark.slow if name in SLOW else pytest.mark.long


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=mark(name)) for name in tasks.NAMES],
)
def trained(request, tmp_path_factory):
    """A game, the folder of its run and of its cache, and its last state."""
    folder = tmp_path_factory.mktemp(request.param)
    yield request.param, folder, train(request.param, folder, "run")
    jax.clear_caches()


def draw_inputs(name, folder, model, count):
    """Of the kinds that the model says: drawn, or from the data."""
    if model.draw is not None:
        return model.draw(jax.random.key(5), jnp.arange(count), None)
    config = make_config(name, folder)
    phase = tasks.make(config).phases[-1]
    batches = tasks.make_data(config).batches(
        seed=5, first=0, batch_size=count, image_size=phase.image_size
    )
    batch = next(batches)
    batches.close()
    return {name: batch[name] for name in model.inputs}


def check_arrays(arrays, fields, count, image_size, channels, times=1):
    image_size = tuple(side // times for side in image_size)
    assert arrays.keys() == fields.keys()
    for name, field in fields.items():
        shape, dtype = field.array(image_size, channels)
        assert arrays[name].shape == (count, *shape), name
        if dtype != np.uint8:  # images are float where networks make them
            assert arrays[name].dtype == dtype, name


def test_steps_train_every_network_and_keep_the_states_form(trained):
    name, folder, state = trained
    task = tasks.make(make_config(name, folder))
    start = jax.jit(task.init)(key_of(0, "init"))
    shapes = partial(jax.tree.map, lambda x: (x.shape, x.dtype))
    assert shapes(state) == shapes(start)
    for role, network in state.networks.items():
        moved = jax.tree.map(
            lambda a, b: jnp.any(a != b), network.params, start.networks[role].params
        )
        assert np.mean(jax.tree.leaves(moved)) > 0.8, role
        floats = {x.dtype for x in jax.tree.leaves(network.params)}
        assert floats == {jnp.dtype(jnp.float32)}
    assert (int(state.step), int(state.images)) == (STEPS, STEPS * BATCH)
    rows, norms = read_metrics(folder / "run"), {}
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row in rows:
        assert "skipped" not in row and any(key.startswith("loss_") for key in row)
        norms |= {k: v for k, v in row.items() if k.startswith("grad_norm_")}
        assert np.isfinite(list(row.values())).all() and min(norms.values()) > 0
    assert norms.keys() == {f"grad_norm_{role}" for role in state.networks}


def test_a_resumed_run_is_a_straight_one(trained):
    name, folder, state = trained
    with pytest.raises(PowerCut):
        train(name, folder, "resumed", Cut)
    assert Checkpoints.read_only(folder / "resumed" / "checkpoints").steps[-1] == STEPS // 2
    resumed = train(name, folder, "resumed")
    jax.tree.map(np.testing.assert_array_equal, resumed, state)
    steps = [row["step"] for row in read_metrics(folder / "resumed")]
    assert steps == list(range(1, STEPS + 1))
    rows = [read_metrics(folder / run) for run in ("run", "resumed")]
    for a, b in zip(*rows, strict=True):
        assert {k: v for k, v in a.items() if k != "images_per_second"} == {
            k: v for k, v in b.items() if k != "images_per_second"
        }


def test_the_model_gives_what_it_says_row_by_row(trained):
    name, folder, state = trained
    run, config = runs.load(folder / "run"), make_config(name, folder)
    saved, last = named_leaves(run.trained), named_leaves(state.trained)
    assert saved.keys() == last.keys()
    for key, values in last.items():
        np.testing.assert_array_equal(saved[key], values, err_msg=key)
    model, channels = run.model, config.data.channels
    image_size = tasks.make(config).phases[-1].image_size
    inputs = draw_inputs(name, folder, model, 5)
    check_arrays(inputs, model.inputs, 5, image_size, channels, model.scale)
    sample = jax.jit(model.sample)
    outputs = sample(run.trained, inputs, jax.random.key(0))
    check_arrays(outputs, model.outputs, 5, image_size, channels)
    if model.image:
        most = 4 if name == "adain" else 2  # its decoder ends without tanh
        assert jnp.isfinite(outputs[model.image]).all() and abs(outputs[model.image]).max() < most
    order = np.array([3, 0, 4, 1, 2])
    moved = sample(run.trained, {k: v[order] for k, v in inputs.items()}, jax.random.key(0))
    for key, values in outputs.items():
        np.testing.assert_allclose(moved[key], values[order], atol=1e-4, err_msg=key)


def test_drawn_inputs_depend_on_key_and_index_alone(trained):
    name, folder, _ = trained
    model = tasks.make_model(make_config(name, folder))
    if model.draw is None:
        return
    few, many = (model.draw(jax.random.key(5), jnp.arange(n), None) for n in (3, 70))
    for key, values in few.items():
        np.testing.assert_array_equal(values, many[key][:3])
    other = model.draw(jax.random.key(6), jnp.arange(70), None)
    assert any(not np.array_equal(other[key], values) for key, values in many.items())


def test_sheets_are_drawn_where_there_is_something_to_see(trained):
    name, folder, state = trained
    model = tasks.make_model(make_config(name, folder))
    sheets = sorted(path.stem for path in (folder / "run" / "samples").glob("*.png"))
    assert (model.sheet is None) == (not sheets) and (model.sheet is None) <= (not model.image)
    if model.sheet is not None:
        assert {f"{STEPS // 2:09d}", f"{STEPS:09d}"} <= set(sheets)
        inputs = draw_inputs(name, folder, model, 3)
        sheet = jax.eval_shape(model.sheet, state.trained, inputs, jax.random.key(0))
        assert sheet.ndim in (4, 5)


def test_the_real_images_are_those_of_the_batches(trained):
    name, folder, _ = trained
    config = make_config(name, folder)
    model, image_size = tasks.make_model(config), tasks.make(config).phases[-1].image_size
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    if not model.real:
        with pytest.raises(UserError, match="--reference=SOURCE"):
            monitor.open_data(model, config, mesh, image_size)
        return
    (batch, valid), *_ = monitor.open_data(model, config, mesh, image_size).batches(32, 32)
    assert valid == batch.shape[0] == 32 and batch.shape[1:3] == image_size
    if "load_size" not in config.data:  # then batches show parts
        batches = tasks.make_data(config).batches(
            seed=5, first=0, batch_size=8, image_size=image_size
        )
        wanted = {image.tobytes() for image in np.asarray(batch)}
        shown = next(batches)[model.real]
        batches.close()
        mirrored = shown[:, :, ::-1] if config.data.flip else shown
        pairs = zip(shown, mirrored, strict=True)
        assert all(a.tobytes() in wanted or b.tobytes() in wanted for a, b in pairs)


def test_an_exported_network_is_started_from(trained):
    name, folder, state = trained
    for role, variables in state.averages.items():
        path = folder / f"{role}.safetensors"
        words = ["--workdir", folder / "run", "--output", path, "--network", role, "--overwrite"]
        export.main([*map(str, words), "--float32"])
        found = weights.load(str(path))
        jax.tree.map(np.testing.assert_array_equal, found, variables["params"])
        config = make_config(name, folder).unlock()
        config.init_from = str(path)
        if len(state.averages) == 1:
            begin, init = tasks.make_start(config), tasks.make(config).init
            start = jax.jit(lambda begin=begin, init=init: begin(init(key_of(1, "init"))))()
            params = start.networks[role].params, start.averages[role]["params"]
            for tree in params:
                jax.tree.map(np.testing.assert_array_equal, tree, found)


def take_steps(task, config, mesh, *, steps=2):
    """All numbers after each of the first steps, by name, on the devices of a mesh."""
    everywhere, phase = devices.replicated(mesh), task.phases[0]
    step = jax.jit(task.train_step, out_shardings=everywhere)
    state = jax.jit(task.init, out_shardings=everywhere)(key_of(config.seed, "init"))
    batches = tasks.make_data(config).batches(
        seed=1, first=0, batch_size=phase.batch_size, image_size=phase.image_size
    )
    found = {}
    for number in range(steps):
        batch = devices.to_devices(next(batches), mesh)
        state, metrics = step(state, batch, train_key(config.seed, number))
        state = state.replace(step=state.step + 1, images=state.images + phase.batch_size)
        for name, x in named_leaves({"state": state, "metrics": metrics}).items():
            first, *others = (np.asarray(shard.data) for shard in x.addressable_shards)
            assert all(np.array_equal(first, other) for other in others), name
            found[f"{number}/{name}"] = first
    batches.close()
    return found


def write_eight(folder):
    """What eight devices compute; to be run in a process that has them."""
    for name in DIVIDED:
        config = make_config(name, folder)
        task = tasks.make(config)
        mesh = devices.make_mesh((BATCH,))
        assert mesh.size == COUNT
        for form in ("jit", "pmap"):
            numbers = take_steps(devices.spread(task, form, mesh), config, mesh)
            np.savez(folder / f"{name}_{form}.npz", **numbers)


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """The folder of what eight devices computed."""
    folder, tests = tmp_path_factory.mktemp("eight"), Path(__file__).parent
    code = f"import sys; sys.path.insert(0, {str(tests)!r}); import conftest, test_games as t; "
    code += f"import pathlib; t.write_eight(pathlib.Path({str(folder)!r}))"
    flags = f"--xla_force_host_platform_device_count={COUNT}"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tests.parent, env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return folder


def numbers_of(folder, name, form):
    with np.load(folder / f"{name}_{form}.npz") as file:
        return dict(file)


@pytest.mark.long
@pytest.mark.parametrize("name", DIVIDED)
def test_jit_on_eight_devices_is_one_device(eight, name):
    """Compared are losses, gradients' norms and moments: Adam hides gradients that are too large.

    In float32, whose rounding Adam blows up where gradients are all but 0: what is compared are
    the first step's moments, by the largest of a network, and the metrics of both steps.
    """
    config = make_config(name, eight)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    wanted, got = take_steps(tasks.make(config), config, mesh), numbers_of(eight, name, "jit")
    assert got.keys() == wanted.keys()
    scales = {}
    for key, values in wanted.items():
        scales[_group(key)] = max(scales.get(_group(key), 0), np.abs(values).max())
    compared = [
        key for key in wanted if "metrics/" in key or key.startswith("0/") and "/params/" not in key
    ]
    for part in ("/mu/", "/nu/", "metrics/loss_", "metrics/grad_norm_"):
        assert any(part in key for key in compared)
    for key in compared:
        limit = 2e-3 * scales[_group(key)]
        np.testing.assert_allclose(got[key], wanted[key], rtol=0, atol=limit, err_msg=key)


def _group(name):
    """A network's first or second moments; else the array itself."""
    return re.split(r"(?<=/[mn]u)/", name)[0]


@pytest.mark.long
@pytest.mark.parametrize("name", DIVIDED)
def test_every_device_may_have_its_own_batch(eight, name):
    got = numbers_of(eight, name, "pmap")
    task = tasks.make(make_config(name, eight))
    state = jax.eval_shape(task.init, jax.random.key(0))
    shapes = {f"0/state/{key}": x.shape for key, x in named_leaves(state).items()}
    for key, shape in shapes.items():
        memory = key.startswith("0/state/memory/")
        assert got[key].shape == ((COUNT, *shape) if memory else shape), key
        assert np.isfinite(got[key]).all(), key
        if "/augmentation/" in key:  # which follows the mean of all devices
            assert (got[key] == got[key][0]).all(), key
    whole = numbers_of(eight, name, "jit")
    assert got.keys() == whole.keys() and got["1/state/images"] == 2 * BATCH
