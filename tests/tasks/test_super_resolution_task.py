"""Super-resolution: its data, its two phases against plain equations, and its mistakes."""

import zipfile
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganjax import ops, tasks
from ganjax.api import Translator
from ganjax.data.avatars.source import Avatars
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.degradation import degrade, sharpen
from ganjax.errors import UserError
from ganjax.images import read_image, to_float, to_uint8
from ganjax.images.bicubic import bicubic, shrink
from ganjax.metrics import pairs
from ganjax.metrics.similarity import psnr
from ganjax.nets.norms import BatchNorm
from ganjax.tasks import super_resolution as task
from ganjax.training.task import Phase
from ganjax.trees import named_leaves

PHASES = (Phase(task.PIXELS, 0.006, 2, (16, 16)), Phase(task.ADVERSARIAL, 0.004, 2, (16, 16)))
RATE, LATER_RATE = 0.1, 0.03


class Enlarge(nn.Module):
    scale, reach = 2, 0

    @nn.compact
    def __call__(self, images, *, train=False):
        x = BatchNorm()(nn.Dense(12, param_dtype=images.dtype)(images), train=train)
        return ops.depth_to_space(jnp.tanh(x))


class Judge(nn.Module):
    @nn.compact
    def __call__(self, images, *, train=False):
        x = BatchNorm()(images, train=train).reshape(len(images), -1)
        return nn.Dense(1, param_dtype=images.dtype)(jnp.tanh(x))[:, 0]


def perceive(images):
    return {"a": images[:, ::2] ** 2, "b": jnp.tanh(images[..., :1])}


def make(**options):
    adversary = task.Adversary(
        Judge(), optax.sgd(LATER_RATE), perceive, pixels_weight=0.3, features_weight=0.7, weight=0.9
    )
    options |= {"optimizer": optax.sgd(RATE), "phases": PHASES, "adversary": adversary}
    return Enlarge(), adversary.discriminator, task.make(Enlarge(), **options)


def batch():
    random = np.random.default_rng(0)
    return {
        name: jnp.asarray(random.uniform(-1, 1, (2, side, side, 3)))
        for name, side in (("source", 8), ("target", 16))
    }


def start(made):
    """A first state in float64."""
    state = jax.device_get(jax.jit(made.init)(jax.random.key(0)))
    return jax.tree.map(lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, state)


def forward(module, network, params, images):
    variables = {"params": params, "batch_stats": network.statistics}
    return module.apply(variables, images, train=True, mutable=["batch_stats"])[0]


def check_moved(network, old, gradients, rate):
    for name, value in named_leaves(network.params).items():
        wanted = named_leaves(old.params)[name] - rate * named_leaves(gradients)[name]
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-10, err_msg=name)
    for name, value in named_leaves(network.statistics).items():
        assert np.any(value != named_leaves(old.statistics)[name]), name


def test_the_first_phase_steps_down_the_distance_of_pixels():
    with jax.enable_x64(True):
        generator, _, made = make(pixels="l1")
        state, given = start(made), batch()
        before = state.networks["generator"]

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            images = forward(generator, before, params, given["source"])
            return jnp.mean(abs(images - given["target"]))

        value, gradients = loss(before.params)
        after, metrics = jax.jit(made.step_of(PHASES[0]))(state, given, jax.random.key(1))
        np.testing.assert_allclose(metrics["loss_generator"], value, rtol=1e-9)
        check_moved(after.networks["generator"], before, gradients, RATE)
        old, new = (named_leaves(s.networks["discriminator"]) for s in (state, after))
        assert all(np.array_equal(old[name], new[name]) for name in old)


def test_the_second_phase_is_srgan():
    """First the discriminator steps, then the generator, against the new one."""
    with jax.enable_x64(True):
        generator, discriminator, made = make()
        state, given = start(made), batch()
        gen, disc = (state.networks[role] for role in ("generator", "discriminator"))
        source, target = given["source"], given["target"]
        softplus = lambda x: jnp.log(1 + jnp.exp(x))  # noqa: E731

        def judge(params, images):
            return forward(discriminator, disc, params, images)

        @jax.jit
        @jax.value_and_grad
        def of_discriminator(params, images):
            real, fake = judge(params, target), judge(params, images)
            return jnp.mean(softplus(-real)) + jnp.mean(softplus(fake))

        @jax.jit
        @jax.value_and_grad
        def of_generator(params, opponent):
            images = forward(generator, gen, params, source)
            features = sum(
                jnp.mean((a - b) ** 2)
                for a, b in zip(perceive(images).values(), perceive(target).values(), strict=True)
            )
            game = jnp.mean(softplus(-judge(opponent, images)))
            return 0.3 * jnp.mean((images - target) ** 2) + 0.7 * features + 0.9 * game

        images = jax.jit(partial(forward, generator, gen))(gen.params, source)
        d_loss, d_gradients = of_discriminator(disc.params, images)
        opponent = jax.tree.map(lambda p, g: p - LATER_RATE * g, disc.params, d_gradients)
        g_loss, g_gradients = of_generator(gen.params, opponent)
        after, metrics = jax.jit(made.step_of(PHASES[1]))(state, given, jax.random.key(1))
        np.testing.assert_allclose(metrics["loss_discriminator"], d_loss, rtol=1e-9)
        np.testing.assert_allclose(metrics["loss_generator"], g_loss, rtol=1e-9)
        check_moved(after.networks["discriminator"], disc, d_gradients, LATER_RATE)
        check_moved(after.networks["generator"], gen, g_gradients, LATER_RATE)


def test_steps_make_their_own_sources_worse():
    """Of sharpened targets, which are the discriminator's real images only where unsharpened."""
    given, key = batch(), jax.random.key(1)
    given = {name: x.astype(jnp.float32) for name, x in given.items()}
    sharp = jax.jit(sharpen)(given["target"])
    bad = jax.jit(degrade, static_argnums=2)(key, sharp, 2)
    _, _, plain = make()
    _, _, made = make(degraded=True, sharpened=True)
    state = jax.jit(plain.init)(jax.random.key(0))
    for phase in PHASES:
        step, wanted_step = (jax.jit(task.step_of(phase)) for task in (made, plain))
        _, found = step(state, given, key)
        _, wanted = wanted_step(state, {"source": bad, "target": sharp}, key)
        _, real = wanted_step(state, {"source": bad, "target": given["target"]}, key)
        for name in found:
            discriminated = "discriminator" in name or "logit" in name
            ours = real if discriminated else wanted
            # What the generator pays in the game follows from both.
            if (
                name not in ("loss_generator", "loss_game", "grad_norm_generator")
                or phase is PHASES[0]
            ):
                np.testing.assert_allclose(found[name], ours[name], rtol=1e-4, err_msg=name)
        assert not np.allclose(wanted["loss_generator"], real["loss_generator"], rtol=1e-4)


def test_discriminators_may_be_narrower_than_generators():
    """One of 16 channels has a sixteenth of the parameters of one of 64, roughly."""
    config, counts = task.defaults(), {}
    config.adversarial_kimg, config.loss.encoders = 0.1, ("random:relu1_1",)
    config.model.discriminator = "unet"
    for width in (0, 16):
        config.model.discriminator_width = width
        state = jax.eval_shape(task.from_config(config).init, jax.random.key(0))
        leaves = jax.tree.leaves(state.networks["discriminator"].params)
        counts[width] = sum(leaf.size for leaf in leaves)
    assert counts[0] == 4_376_897 and 15.5 < counts[0] / counts[16] < 16.5


def test_steps_belong_to_their_phases():
    _, _, made = make()
    assert [made.phase_at(n).name for n in range(5)] == [task.PIXELS] * 3 + [task.ADVERSARIAL] * 2
    assert made.step_of(PHASES[0]) is made.train_step is not made.step_of(PHASES[1])


def test_small_images_are_made_of_the_crops_that_a_batch_shows(tmp_path):
    stream = Stream(
        Avatars(split="test"), {"image": "target"}, flip=True, limit=8, load_size=(24, 24),
        shrunk={"source": ("target", 4)},
    )  # fmt: skip
    data = Pipeline((stream,), tmp_path)
    batches = data.batches(seed=0, first=0, batch_size=4, image_size=(16, 12))
    found = next(batches)
    batches.close()
    assert found["target"].shape == (4, 16, 12, 3) and found["source"].shape == (4, 4, 3, 3)
    np.testing.assert_array_equal(found["source"], shrink(found["target"], 4))
    assert data.fields.keys() == found.keys() == stream.arrays((16, 12)).keys()
    for name, (shape, dtype) in stream.arrays((16, 12)).items():
        assert (found[name].shape[1:], found[name].dtype) == (shape, dtype)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.form": "edsr"}, "model.form is 'edsr'; choose srvgg or"),
        ({"model.scale": 5}, "model.scale is 5; choose 2 or 3 or 4"),
        ({"model.scale": 3}, "data.image_size is 32; give multiples of model.scale"),
        ({"model.form": "rrdb", "model.scale": 2}, "rrdb enlarges 4 times"),
        ({"loss.pixels": "l3"}, "loss.pixels is 'l3'; choose l1 or l2"),
        ({"loss.features": "cosine"}, "loss.features is 'cosine'; choose l1 or l2"),
        ({"data.degradation": "jpeg"}, "data.degradation is 'jpeg'; choose bicubic or photos"),
        ({"data.degradation": "photos", "data.channels": 1}, "data.degradation=photos takes 3"),
        ({"model.discriminator": "patch"}, "model.discriminator is 'patch'; choose srgan or unet"),
        (
            {"model.discriminator": "unet", "data.image_size": "36", "adversarial_kimg": 0.01},
            "data.image_size is 36; unet takes multiples of 8",
        ),
        ({"loss.features_weight": -1.0}, "loss.features_weight is below 0"),
        ({"adversarial_kimg": 1.0}, "adversarial_kimg is 1.0; give 0 to total_kimg"),
        ({"adversarial_kimg": 0.01, "data.channels": 1}, "data.channels is 1; features are"),
    ],
)
def test_mistakes_are_told(fields, message):
    config = task.defaults()
    config.update_from_flattened_dict(task.SMOKE | fields)
    with pytest.raises(UserError, match=message):
        jax.eval_shape(tasks.make(config).init, jax.random.key(0))


@pytest.mark.slow
def test_the_model_in_the_package_beats_bicubic_scaling_and_its_tiles_are_the_whole(test_data):
    with zipfile.ZipFile(test_data / "sr_T91_Set5_png.zip") as file:
        large = read_image(file.read("Set5/img_003.png"))  # the butterfly
    small, translator = shrink(large, 4), Translator.load("sr_x4")
    whole, tiled = (translator(small, tile=tile) for tile in (0, 24))
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    sight = pairs.load("y4")
    plain = to_uint8(bicubic(to_float(small), large.shape[:2]))
    drawn, scaled, true = (sight.perceive(to_float(x)) for x in (whole, plain, large))
    assert psnr(drawn, true) > psnr(scaled, true) + 2.5


@pytest.mark.parametrize("name", ["sr_x4", "realesr_x4"])
def test_gray_images_stay_gray(name):
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 1), np.uint8).repeat(3, -1)
    translator = Translator.load(name)
    large = translator(image)
    assert large.shape == (48, 40, 3)
    assert not np.ptp(large, axis=-1).any() and np.ptp(large) > 50
    image[0, 0] = 255, 0, 0
    assert np.ptp(translator(image), axis=-1).any()
