"""Every game on eight devices in float64, against one device and against a literal `jax.pmap`.

The eight are virtual CPU devices in a process of their own, which writes what it computed. Compared
are losses, statistics and optimizers' moments, not only parameters: Adam would hide gradients that
are eight times too large.
"""

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
from test_adain_task import toy_perceive, toy_stylizer

from ganjax import losses
from ganjax.errors import UserError
from ganjax.nets import progressive as growing
from ganjax.nets.attributes import Classifier
from ganjax.nets.dcgan import Discriminator, Generator
from ganjax.tasks import adain, attributes, dcgan, growth, progressive
from ganjax.training import devices
from ganjax.training.state import Network, State, average

pytestmark = pytest.mark.slow
COUNT, ROWS, LATENT = 8, 2, 5  # devices, rows of a batch on each, length of z
STEPS = 2
ADAM = optax.adam(1e-3, b1=0.5)
SIZES = (3, 4)


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


def make_attributes(optimizer=ADAM):
    return attributes.make(
        Classifier(sum(SIZES), width=4, features=6),
        SIZES,
        lambda labels: labels,
        optimizer=optimizer,
        phases=(),
        disturbance=0.0,
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
    "attributes": make_attributes,
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
        case "attributes":
            labels = np.stack([random.integers(0, size, count) for size in SIZES], axis=1)
            return {"image": np.uint8(127 * draw(32) + 128), "label": np.int32(labels)}
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


def train_one(game):
    """On one device, with statistics of the whole batch."""
    step = jax.jit(GAMES[game]().train_step)
    return train(game, lambda state, batch: step(state, batch, jax.random.key(0)))


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
    np.savez(path, **found)


def draw_noise(state, batch, rng):
    return state, {"noise": jax.random.normal(rng, batch["image"].shape)}


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    path = tmp_path_factory.mktemp("eight") / "eight.npz"
    folder = Path(__file__).parent
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import conftest, test_devices as t; "
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


def assert_close(got, wanted):
    assert got.keys() == wanted.keys()
    assert any("mu/" in name for name in got) and any("loss_" in name for name in got)
    for name, x in wanted.items():
        np.testing.assert_allclose(got[name], x, rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("game", GAMES)
def test_jit_on_eight_devices_is_one_device(eight, game):
    with jax.enable_x64(True):
        assert_close(pick(eight, f"jit/{game}/"), pick(train_one(game), f"{game}/"))


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


@pytest.mark.parametrize("game", ["adain", "attributes"])
def test_pmap_is_one_device_where_rows_do_not_meet(eight, game):
    """Means of gradients of equally many rows are the gradient of the mean."""
    names = ("grad_norm",)  # of each device
    assert_close(pick(eight, f"pmap/{game}/", names), pick(eight, f"jit/{game}/", names))


def test_each_device_draws_its_own_noise(eight):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(COUNT))
    with jax.enable_x64(True):
        wanted = jax.vmap(lambda key: jax.random.normal(key, (1,)))(keys).mean(0)
    np.testing.assert_allclose(eight["noise"], wanted, rtol=1e-12)


def test_a_memory_of_each_device_is_refused():
    step = devices.per_device(draw_noise, devices.make_mesh((1,)))
    state = State.start({}, memory={"pool": jnp.zeros(3)})
    with pytest.raises(UserError, match="choose 'jit'"):
        step(state, {"image": np.zeros(1)}, jax.random.key(0))
