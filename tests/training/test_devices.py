"""A batch for each of eight devices, in float64, against literal programs: `jax.pmap`, one device.

The eight are virtual CPU devices in a process of their own, which writes what it computed. Compared
are losses, statistics and optimizers' moments, not only parameters: Adam would hide gradients that
are eight times too large.
"""

import itertools
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from toys import toy_perceive, toy_stylizer

from ganjax import losses
from ganjax.data.fields import Field
from ganjax.nets import progressive as growing
from ganjax.nets.dcgan import Discriminator, Generator
from ganjax.tasks import adain, dcgan, growth, progressive
from ganjax.training import devices
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.loop import fit
from ganjax.training.state import Network, State, average, update
from ganjax.training.step import key_of, train_key
from ganjax.training.task import Model, Phase, Task
from ganjax.trees import named_leaves

pytestmark = pytest.mark.long
COUNT, ROWS, LATENT = 8, 2, 5  # devices, rows of a batch on each, length of z
STEPS = 2
ADAM = optax.adam(1e-3, b1=0.5)


def make_dcgan(optimizer=ADAM):
    fields = {"image_size": (12, 12), "width": 4, "dtype": jnp.float64}
    return dcgan.make(
        Generator(**fields),
        Discriminator(**fields),
        loss=losses.NON_SATURATING,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        phases=(),
        latent_size=LATENT,
        ema_half_life=100,
    )


def make_adain(optimizer=ADAM):
    return adain.make(
        toy_stylizer(),
        toy_perceive,
        optimizer=optimizer,
        phases=(),
        content_layers=("relu2_1",),
        style_layers=("relu1_1", "relu2_1"),
        covariance_layers=("relu1_1",),
        covariance_weight=2.0,
        ema_half_life=100,
    )


def make_progressive(optimizer=ADAM):
    fields = {"image_size": 8, "width": 4, "dtype": jnp.float64}
    sizes = {"batch_sizes": (COUNT * growing.GROUP,), "fade_kimg": (2.0,), "stable_kimg": (0.32,)}
    return progressive.make(
        growing.Generator(**fields),
        growing.Discriminator(**fields),
        optimizers=[optimizer],
        phases=growth.grow((8, 8), **sizes, total_kimg=5.0),
        latent_size=LATENT,
        ema_half_life=100,
    )


GAMES = {
    "dcgan": make_dcgan,
    "adain": make_adain,
    "progressive": make_progressive,
}


def draw_batch(game, step):
    """A batch of the game in float64, with all that is random."""
    random, count = np.random.default_rng([step]), COUNT * ROWS
    draw = lambda side: random.uniform(-1, 1, (count, side, side, 3))  # noqa: E731
    match game:
        case "dcgan":
            return {"image": draw(12), "z": random.normal(size=(count, LATENT))}
        case "adain":
            return {"content": draw(16), "style": draw(16)}
        case "progressive":  # each device has a whole group of the minibatch's deviation
            return {"image": random.uniform(-1, 1, (COUNT * growing.GROUP, 8, 8, 3))}


def start(task):
    """A state in float64, at image 1000: the averages move."""

    def to_float64(x):
        return jnp.asarray(x, jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x

    state = jax.jit(lambda: task.init(jax.random.key(0)))()
    return jax.tree.map(to_float64, state.replace(images=jnp.int32(1000)))


def value(x):
    """The one value that all devices hold."""
    first, *others = (np.asarray(shard.data) for shard in x.addressable_shards)
    assert x.is_fully_replicated and all(np.array_equal(first, other) for other in others)
    return first


def train(game, step, state=None):
    """All numbers after each of a few steps, by name; `step` takes (state, batch)."""
    state, found = state or start(GAMES[game]()), {}
    for number in range(STEPS):
        state, metrics = step(state, draw_batch(game, number))
        for path, x in jax.tree.leaves_with_path({"state": state, "metrics": metrics}):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            found[f"{game}/{number}/{name}"] = value(x)
    return found


def step_of_shards(state, batch):
    """DCGAN's step with the batch normalized in shards, written out for one device.

    Forward passes are `vmap`s over the shards, losses are means over all; statistics are means.
    """
    modules = {"generator": Generator, "discriminator": Discriminator}
    fields = {"image_size": (12, 12), "width": 4, "dtype": jnp.float64}
    modules = {role: module(**fields) for role, module in modules.items()}
    real, z = (batch[name].reshape(COUNT, ROWS, *batch[name].shape[1:]) for name in ("image", "z"))

    def forward(role, params, statistics, inputs):
        """`statistics` of each shard."""
        run = partial(modules[role].apply, train=True, mutable=["batch_stats"])
        outputs, changed = jax.vmap(lambda s, x: run({"params": params, "batch_stats": s}, x))(
            statistics, inputs
        )
        return outputs, changed["batch_stats"]

    def step_along(network, gradients, statistics):
        updates, optimizer = ADAM.update(gradients, network.optimizer, network.params)
        statistics = jax.tree.map(lambda x: x.mean(0), statistics)
        return Network(optax.apply_updates(network.params, updates), statistics, optimizer)

    gen, disc = state.networks["generator"], state.networks["discriminator"]
    repeat = partial(jax.tree.map, lambda x: jnp.stack([x] * COUNT))
    gen_statistics, disc_statistics = repeat(gen.statistics), repeat(disc.statistics)

    def discriminator_loss(params):
        fake, _ = forward("generator", gen.params, gen_statistics, z)
        real_logits, statistics = forward("discriminator", params, disc_statistics, real)
        fake_logits, statistics = forward("discriminator", params, statistics, fake)
        value = jnp.mean(jax.nn.softplus(-real_logits)) + jnp.mean(jax.nn.softplus(fake_logits))
        return value, statistics

    def generator_loss(params):
        fake, statistics = forward("generator", params, gen_statistics, z)
        logits, seen = forward("discriminator", disc.params, disc_statistics, fake)
        return jnp.mean(jax.nn.softplus(-logits)), (statistics, seen)

    differentiate = partial(jax.value_and_grad, has_aux=True)
    (d_loss, disc_statistics), gradients = differentiate(discriminator_loss)(disc.params)
    disc = step_along(disc, gradients, disc_statistics)
    (g_loss, (statistics, seen)), gradients = differentiate(generator_loss)(gen.params)
    gen = step_along(gen, gradients, statistics)
    disc = disc.replace(statistics=jax.tree.map(lambda x: x.mean(0), seen))
    ema = average(
        state.averages["generator"], gen.variables,
        images=state.images, batch_size=COUNT * ROWS, half_life=100,
    )  # fmt: skip
    networks = {"generator": gen, "discriminator": disc}
    state = state.replace(networks=networks, averages={"generator": ema})
    return state, {"loss_discriminator": d_loss, "loss_generator": g_loss}


def spread_on_one(step, **axes):
    """What `jax.pmap` does, on one device."""
    return jax.jit(jax.vmap(step, **axes))


def train_literally(game, spread=jax.pmap):
    """By `jax.pmap` of the game's step, with the mean of the gradients in the optimizer's hand."""

    def update(gradients, *rest):
        return ADAM.update(jax.lax.pmean(gradients, "devices"), *rest)

    task = GAMES[game](optax.GradientTransformation(ADAM.init, update))

    def step(state, batch, rng):
        rng = jax.random.fold_in(rng, jax.lax.axis_index("devices"))
        return task.train_step(state, batch, rng)

    steps = spread(step, axis_name="devices", in_axes=(None, 0, None))

    def merge(x):
        return jnp.asarray(x.mean(0) if np.issubdtype(x.dtype, np.floating) else x[0])

    def run(state, batch):
        shards = jax.tree.map(lambda x: x.reshape(COUNT, -1, *x.shape[1:]), batch)
        return jax.tree.map(merge, jax.device_get(steps(state, shards, jax.random.key(0))))

    return train(game, run)


def train_eight(game, step, mesh):
    everywhere = devices.replicated(mesh)
    compiled = jax.jit(step, donate_argnums=0, out_shardings=everywhere)

    def run(state, batch):
        return compiled(state, devices.to_devices(batch, mesh), jax.random.key(0))

    return train(game, run, jax.device_put(start(GAMES[game]()), everywhere))


def write_eight(path):
    """What eight devices compute; to be run in a process that has them."""
    jax.config.update("jax_enable_x64", True)
    mesh, found = devices.make_mesh((COUNT * ROWS,)), {}
    for game, make in GAMES.items():
        step = make().train_step
        forms = {
            "jit": train_eight(game, step, mesh),
            "pmap": train_eight(game, devices.per_device(step, mesh), mesh),
            "literal": train_literally(game),
        }
        found |= {f"{form}/{name}": x for form, xs in forms.items() for name, x in xs.items()}
    step = jax.jit(devices.per_device(draw_noise, mesh))
    _, metrics = step(State.start({}), {"image": np.zeros(COUNT)}, jax.random.key(3))
    found["noise"] = metrics["noise"]
    found |= write_memories(Path(path).parent)
    np.savez(path, **found)


MEMORY_STEPS, POOL = 6, 3


def remember(params, memory, batch, rng):
    """A game with a memory, on the rows of one device: gradients, the new memory, the loss.

    The parameters shall be near the rows, noise, and the last few pools of rows, which are kept.
    """
    noise = jax.random.normal(rng, (LATENT,))
    row = batch["image"].astype(jnp.float64).mean(0) / 255

    def loss(params):
        return jnp.mean((params["w"] - row - noise - memory["pool"].mean(0)) ** 2)

    value, gradients = jax.value_and_grad(loss)(params)
    pool = jnp.roll(memory["pool"], 1, axis=0).at[0].set(row * params["w"])
    return gradients, {"pool": pool, "count": memory["count"] + 1}, value


def make_remembering(steps):
    def init(rng):
        params = {"w": jax.random.normal(rng, (LATENT,), jnp.float64)}
        memory = {"pool": jnp.zeros((POOL, LATENT), jnp.float64), "count": jnp.int32(0)}
        return State.start({"model": Network.start({"params": params}, ADAM)}, memory=memory)

    def train_step(state, batch, rng):
        network = state.networks["model"]
        gradients, memory, value = remember(network.params, state.memory, batch, rng)
        return state.after(
            {"model": update(network, gradients, {}, ADAM)},
            {"model": gradients},
            batch_size=len(batch["image"]),
            half_life=0,
            metrics={"loss_model": value},
            memory=memory,
        )

    model = Model({}, {}, None, None, None)
    phases = (Phase("train", steps * COUNT * ROWS / 1000, COUNT * ROWS, (1, 1)),)
    return Task(model, init, train_step, phases)


class Rows:
    """A pipeline whose batch `number` is always the same."""

    fields = {"image": Field("vector", LATENT)}

    @staticmethod
    def batch(number):
        random = np.random.default_rng([7, number])
        return {"image": random.integers(0, 256, (COUNT * ROWS, LATENT), np.uint8)}

    def batches(self, *, first, **which):
        return map(self.batch, itertools.count(first))

    def contents(self, image_size):
        return {}


def remember_in_a_run(folder, steps):
    """A run of the loop on all devices, each with its own batch."""
    fields = {"seed": 3, "parallel": "pmap", "log_every": 1.0, "save_every": 1.0}
    fields |= {"sample_every": 0.0, "keep_checkpoints": 2, "max_skips": 0, "steps_per_call": 1}
    config = ConfigDict(fields | {"data": {"source": "a"}})
    return fit(make_remembering(steps), Rows(), config, folder)


def remember_one_by_one(steps):
    """Eight runs on one device each, which know of each other the mean of their gradients only."""
    state = make_remembering(steps).init(key_of(3, "init"))
    network, memories = state.networks["model"], [state.memory] * COUNT
    for number in range(steps):
        batch, rng, found = Rows.batch(number)["image"], train_key(3, number), []
        for place, memory in enumerate(memories):
            rows = {"image": batch[place * ROWS : (place + 1) * ROWS]}
            key = jax.random.fold_in(rng, place)
            found.append(jax.jit(remember)(network.params, memory, rows, key))
        gradients, memories, _ = zip(*found, strict=True)
        mean = jax.tree.map(lambda *x: jnp.stack(x).mean(0), *gradients)
        updates, moments = ADAM.update(mean, network.optimizer, network.params)
        network = Network(optax.apply_updates(network.params, updates), {}, moments)
    memory = jax.tree.map(lambda *x: np.stack(x), *memories)
    return named_leaves({"networks": {"model": network}, "memory": memory})


def write_memories(folder):
    """The states of a run, of one that was stopped halfway, and of the latter's checkpoint."""
    whole = remember_in_a_run(folder / "whole", MEMORY_STEPS)
    remember_in_a_run(folder / "resumed", MEMORY_STEPS // 2)
    resumed = remember_in_a_run(folder / "resumed", MEMORY_STEPS)
    saved = Checkpoints.read_only(folder / "resumed" / "checkpoints").load(MEMORY_STEPS, whole)
    return {
        f"memory/{run}/{name}": value(x)
        for run, state in (("whole", whole), ("resumed", resumed), ("saved", saved))
        for name, x in named_leaves(state).items()
    }


def draw_noise(state, batch, rng):
    return state, {"noise": jax.random.normal(rng, batch["image"].shape)}


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    path = tmp_path_factory.mktemp("eight") / "eight.npz"
    folder = Path(__file__).parents[1]
    paths = [str(folder), str(Path(__file__).parent)]
    code = f"import sys; sys.path[:0] = {paths}; import conftest, test_devices as t; "
    flags = f"--xla_force_host_platform_device_count={COUNT}"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}t.write_eight({str(path)!r})"],
        cwd=folder.parent, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with np.load(path) as file:
        return dict(file)


def pick(numbers, prefix, leave_out=()):
    found = {k.removeprefix(prefix): x for k, x in numbers.items() if k.startswith(prefix)}
    return {k: x for k, x in found.items() if not any(word in k for word in leave_out)}


def train_one(game):
    """On one device, with statistics of the whole batch."""
    step = jax.jit(GAMES[game]().train_step)
    return train(game, lambda state, batch: step(state, batch, jax.random.key(0)))


@pytest.mark.parametrize("game", GAMES)
def test_jit_on_eight_devices_is_one_device(eight, game):
    with jax.enable_x64(True):
        assert_close(pick(eight, f"jit/{game}/"), pick(train_one(game), f"{game}/"))


def assert_close(got, wanted):
    assert got.keys() == wanted.keys()
    assert any("mu/" in name for name in got) and any("loss_" in name for name in got)
    for name, x in wanted.items():
        np.testing.assert_allclose(got[name], x, rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("game", GAMES)
def test_pmap_is_a_literal_pmap(eight, game):
    assert_close(pick(eight, f"pmap/{game}/"), pick(eight, f"literal/{game}/"))


def test_pmap_is_one_device_that_normalizes_in_shards(eight):
    with jax.enable_x64(True):
        wanted = pick(train("dcgan", jax.jit(step_of_shards)), "dcgan/")
    got = pick(eight, "pmap/dcgan/", leave_out=("grad_norm", "metrics/logit"))
    assert_close(got, wanted)
    whole = pick(eight, "jit/dcgan/")
    assert abs(got["0/metrics/loss_generator"] / whole["0/metrics/loss_generator"] - 1) > 1e-4


def test_pmap_is_one_device_that_compares_and_draws_in_shards(eight):
    """In the middle of a fade."""
    with jax.enable_x64(True):
        wanted = train_literally("progressive", spread_on_one)
    names = ("averages",)  # where images of all devices are counted
    got = pick(eight, "pmap/progressive/", names)
    assert_close(got, pick(wanted, "progressive/", names))
    np.testing.assert_allclose(got["0/metrics/alpha"], (1000 - 320) / 2016, rtol=1e-6)


def test_pmap_is_one_device_where_rows_do_not_meet(eight):
    """Means of gradients of equally many rows are the gradient of the mean."""
    names = ("grad_norm",)  # of each device
    assert_close(pick(eight, "pmap/adain/", names), pick(eight, "jit/adain/", names))


def test_each_device_draws_its_own_noise(eight):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(COUNT))
    with jax.enable_x64(True):
        wanted = jax.vmap(lambda key: jax.random.normal(key, (1,)))(keys).mean(0)
    np.testing.assert_allclose(eight["noise"], wanted, rtol=1e-12)


def test_each_device_remembers_on_its_own(eight):
    """What eight devices remember under pmap is what eight single ones do, in lockstep."""
    with jax.enable_x64(True):
        wanted = remember_one_by_one(MEMORY_STEPS)
    got = pick(eight, "memory/whole/")
    assert got["memory/pool"].shape == (COUNT, POOL, LATENT)
    names = [name for name in got if name.startswith("memory/")]
    for name in (*names, "networks/model/params/w"):
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-9, atol=1e-13, err_msg=name)
    pools = got["memory/pool"]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(pools, 2))


def test_checkpoints_keep_what_each_device_remembers(eight):
    whole, resumed, saved = (pick(eight, f"memory/{run}/") for run in ("whole", "resumed", "saved"))
    assert whole.keys() == resumed.keys() == saved.keys()
    for name, x in whole.items():
        np.testing.assert_array_equal(resumed[name], x, err_msg=name)
        np.testing.assert_array_equal(saved[name], x, err_msg=name)


def test_a_batch_over_all_devices_has_one_memory():
    mesh, task = devices.make_mesh((1,)), make_remembering(1)
    assert devices.spread(task, "jit", mesh) is task
    with jax.enable_x64(True):
        state = jax.eval_shape(devices.spread(task, "pmap", mesh).init, jax.random.key(0))
    assert state.memory["pool"].shape == (1, POOL, LATENT)
