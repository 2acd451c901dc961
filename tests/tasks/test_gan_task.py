"""The game of SNGAN, WGAN-GP and R3GAN.

Train steps are those of PyTorch (tests/goldens/r3gan_torch.py and wgan_gp_torch.py).
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganjax import conditions, losses, tasks
from ganjax.errors import UserError
from ganjax.nets import resnet_gan
from ganjax.nets.r3gan import Discriminator, Generator
from ganjax.tasks import gan
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import r3gan_setup as setup  # noqa: E402
import wgan_gp_setup  # noqa: E402
from dcgan_setup import summarize  # noqa: E402


def _begin(task, draw, names):
    """The first state, with a golden's weights."""
    like = jax.eval_shape(task.init, jax.random.key(0))
    networks = {}
    for role, network in like.networks.items():
        leaves = [
            jnp.asarray(draw(f"{names[role]}/{name}", x.shape))
            for name, x in named_leaves(network.params).items()
        ]
        networks[role] = network.replace(
            params=jax.tree.unflatten(jax.tree.structure(network.params), leaves),
            statistics=jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), network.statistics),
            optimizer=jax.tree.map(
                lambda x: jnp.zeros(x.shape, x.dtype if x.dtype == jnp.int32 else jnp.float64),
                network.optimizer,
            ),
        )
    zero = jnp.zeros((), jnp.int32)
    averages = {"generator": jax.tree.map(jnp.copy, networks["generator"].variables)}
    return like.replace(step=zero, images=zero, networks=networks, averages=averages)


def _check_changes(golden, prefix, before, after):
    for role, network in after.networks.items():
        begin = named_leaves(before.networks[role].params)
        for name, value in named_leaves(network.params).items():
            change = summarize(np.asarray(value) - np.asarray(begin[name]))
            wanted = golden[f"{prefix}{role}/{name}"]
            np.testing.assert_allclose(change, wanted, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_r3gans_train_steps_are_pytorchs(monkeypatch):
    """Both penalties by double backward, other real images for G, conditional pairs."""
    golden, case = np.load(GOLDENS / "r3gan_torch.npz"), setup.CASES[setup.STEP]
    fields = ((case.side, case.side), case.channels, case.width, case.conditions)
    with jax.enable_x64(True):
        task = gan.make(
            Generator(*fields, dtype=jnp.float64),
            Discriminator(*fields, dtype=jnp.float64),
            loss=losses.RELATIVISTIC,
            generator_optimizer=optax.adam(setup.RATE, b1=0.0, b2=setup.B2),
            discriminator_optimizer=optax.adam(setup.RATE, b1=0.0, b2=setup.B2),
            phases=(),
            condition=conditions.declare(case.conditions),
            latent_size=setup.LATENT,
            discriminator_steps=1,
            generator_batch=1,
            r1_weight=setup.R1,
            r2_weight=setup.R2,
        )
        names = {role: f"{setup.STEP}/{role}" for role in ("generator", "discriminator")}
        state = before = _begin(task, setup.draw, names)
        for step in range(setup.STEPS):
            name = f"{setup.STEP}/{step}"
            drawn = iter([setup.draw_inputs(f"{name}/{n}")["z"] for n in range(2)])
            monkeypatch.setattr(jax.random, "normal", lambda *_, drawn=drawn: next(drawn))
            inputs = setup.draw_inputs(name, 2 * setup.BATCH)
            batch = {key: jnp.asarray(inputs[key]) for key in ("image", "label")}
            state, metrics = jax.jit(lambda *args: task.train_step(*args))(
                state, batch, jax.random.key(0)
            )
            for key in ("loss_discriminator", "loss_generator", "penalty_real", "penalty_fake"):
                wanted = golden[f"step/{step}/{key}"]
                np.testing.assert_allclose(metrics[key], wanted, rtol=1e-7, err_msg=key)
        _check_changes(golden, "step/", before, state)


@pytest.mark.slow
def test_wgan_gps_train_steps_are_pytorchs(monkeypatch):
    """The gradient's penalty by double backward, and the classifier of attributes, AC-GAN's."""
    golden, setup = np.load(GOLDENS / "wgan_gp_torch.npz"), wgan_gp_setup
    with jax.enable_x64(True):
        fields = {
            "image_size": (setup.SIDE, setup.SIDE),
            "channels": setup.CHANNELS,
            "conditions": sum(setup.SIZES),
            "dtype": jnp.float64,
        }
        adam = optax.adam(setup.RATE, b1=0.0, b2=setup.B2)
        task = gan.make(
            resnet_gan.Generator(width=setup.GENERATOR_WIDTH, **fields),
            resnet_gan.Discriminator(width=setup.WIDTH, spectral=False, classifier=True, **fields),
            loss=losses.WASSERSTEIN,
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            phases=(),
            condition=conditions.declare(attributes=setup.SIZES),
            latent_size=setup.LATENT,
            discriminator_steps=1,
            generator_batch=1,
            gradient_weight=setup.GRADIENT,
            classifier_weights=setup.WEIGHTS,
        )
        names = {"generator": "wgan_gp/generator", "discriminator": "wgan_gp/critic"}
        state = before = _begin(task, setup.draw, names)
        for number in range(setup.STEPS):
            inputs = jax.tree.map(jnp.asarray, setup.draw_inputs(number))
            drawn = iter(inputs["z"])
            monkeypatch.setattr(jax.random, "normal", lambda *_, drawn=drawn: next(drawn))
            monkeypatch.setattr(jax.random, "uniform", lambda *_, mix=inputs["mix"]: mix)
            batch = {key: inputs[key] for key in ("image", "label")}
            state, metrics = jax.jit(lambda *args: task.train_step(*args))(
                state, batch, jax.random.key(0)
            )
            for key in ("discriminator", "generator", "classifier"):
                wanted = golden[f"{number}/loss_{key}"]
                np.testing.assert_allclose(metrics[f"loss_{key}"], wanted, rtol=1e-7, err_msg=key)
            wanted = golden[f"{number}/penalty_gradient"]
            np.testing.assert_allclose(metrics["penalty_gradient"], wanted, rtol=1e-7)
        _check_changes(golden, "", before, state)


def _small():
    config = gan.r3gan_defaults()
    config.data.image_size = "16"
    config.model.width, config.model.dtype = 8, "float32"
    config.batch_size, config.total_kimg, config.cosine.kimg = 4, 0.064, 0.032
    return config


def _state(config, images):
    state = jax.jit(tasks.make(config).init)(jax.random.key(0))
    return state.replace(images=jnp.int32(images), step=jnp.int32(images // 8))


@pytest.mark.slow
def test_penalties_and_the_average_follow_the_images_seen():
    """Half of the way, the weights are the mean of first and last, and so is the half-life."""
    config = _small()
    config.penalties.r1_weight, config.penalties.r2_weight = 4.0, 1.0
    config.augment.policy = "color,translation,cutout"
    config.cosine.augment_probability = 0.0
    config.cosine.penalties, config.cosine.ema_half_life_kimg = 0.5, 0.020
    task, before = tasks.make(config), _state(config, 16)
    moved = jax.tree.map(lambda x: x + 1, before.averages)
    batch = {"image": np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype("float32")}
    after, metrics = jax.jit(task.train_step)(
        before.replace(averages=moved), batch, jax.random.key(1)
    )
    penalty = 0.75 * (4 * metrics["penalty_real"] + metrics["penalty_fake"]) / 2
    rest = metrics["loss_discriminator"] - penalty
    assert penalty > 1e-4
    # Weights start such that the discriminator tells nothing apart.
    np.testing.assert_allclose(rest, np.log(2), atol=0.2)
    old, new, got = (
        jax.tree.leaves(x)[0]
        for x in (
            moved["generator"]["params"],
            after.networks["generator"].params,
            after.averages["generator"]["params"],
        )
    )
    # A half-life of 10 images, which 8 have passed.
    np.testing.assert_allclose(got, new + 0.5 ** (8 / 10) * (old - new), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_lazy_penalties_count_for_the_steps_between():
    """In step 0 of 4 a penalty weighs four times as much; in step 1 there is none."""
    config = _small()
    config.loss, config.cosine.kimg, config.penalties.r2_weight = "hinge", 0.0, 0.0
    batch = {"image": np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32")}
    found = []
    for every, weight in ((4, 2.0), (1, 8.0)):
        config.penalties.every, config.penalties.r1_weight = every, weight
        step = jax.jit(tasks.make(config).train_step)
        states = [_state(config, 0).replace(step=jnp.int32(number)) for number in (0, 1)]
        found.append([step(state, batch, jax.random.key(1)) for state in states])
    ((lazy, first), (_, second)), ((full, wanted), (_, other)) = found
    np.testing.assert_allclose(first["loss_discriminator"], wanted["loss_discriminator"], rtol=1e-5)
    networks = (state.networks["discriminator"].params for state in (lazy, full))
    for pair in zip(*map(jax.tree.leaves, networks), strict=True):
        np.testing.assert_allclose(*pair, atol=1e-4)
    assert second["penalty_real"] == 0 and other["penalty_real"] > 1e-4
    rest = other["loss_discriminator"] - 4 * other["penalty_real"]
    np.testing.assert_allclose(second["loss_discriminator"], rest, rtol=1e-5)


@pytest.mark.long
def test_the_probability_of_changes_is_remembered_and_moves():
    """By four steps' images, towards more where D knows the real ones, and changes the losses."""
    config = _small()
    config.loss, config.augment.adaptive, config.discriminator_steps = "hinge", True, 2
    config.augment.probability, config.augment.kimg = 0.5, 0.320
    task = tasks.make(config)
    step, found, signs = jax.jit(task.train_step), [], []
    start = state = _state(config, 0)
    batch = {"image": np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype("float32")}
    for number in range(5):
        state, metrics = step(state, batch, jax.random.key(number))
        found.append(float(metrics["augment_probability"]))
        signs.append(float(metrics["sign_real"]))
    way = np.sign(np.mean(signs[:4]) - 0.6) * 4 * 8 / 320
    np.testing.assert_allclose(found, [0.5] * 4 + [0.5 + way], atol=1e-6)
    assert way and int(state.memory["augmentation"].steps) == 1
    never = start.memory["augmentation"].replace(probability=jnp.float32(0))
    _, plain = step(start.replace(memory={"augmentation": never}), batch, jax.random.key(0))
    _, changed = step(start, batch, jax.random.key(0))
    assert plain["grad_norm_discriminator"] != changed["grad_norm_discriminator"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("penalties.r1_weight", -1.0, "penalties.gradient_weight, .r1_weight and .r2_weight"),
        ("penalties.every", 0, "penalties.every is 0"),
        ("loss", "wasserstein", "set penalties.gradient_weight=10"),
        ("classifier.generator_weight", -1.0, "classifier.discriminator_weight and"),
        ("model.head", "classifier", "needs data.labels=True and model.form=resnet or wgan_gp"),
        ("cosine.b2", 1.0, "cosine.b2 in"),
        ("cosine.kimg", -1.0, "cosine.kimg"),
        ("augment.policy", "colour", "choose color or translation or cutout"),
        ("augment.policy", "color", "augment.policy goes without augment.adaptive"),
        ("augment.probability", 1.5, "augment.probability, .color, .cutout and cosine"),
        ("augment.adaptive", True, "nothing in loss=relativistic; set augment.probability"),
        ("model.form", "vit", "choose resnet or wgan_gp or r3gan"),
        ("model.width", 12, "needs a multiple of 8"),
    ],
)
def test_impossible_fields_are_refused(field, value, message):
    config = _small()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        tasks.make(config)
