"""Progressive growing: phases, fades, the game's step, resume at any moment, halved images."""

import os
import signal
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from ganjax import tasks
from ganjax.config import with_variants
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.pyramid import halve
from ganjax.errors import UserError
from ganjax.nets.progressive import Discriminator, Generator, level_of
from ganjax.tasks import growth
from ganjax.tasks import progressive as game
from ganjax.training.loop import Interrupted, fit
from ganjax.training.workdir import read_metrics

GROWTH = {"batch_sizes": (16, 8), "fade_kimg": (0.032,), "stable_kimg": (0.032, 0.016)}
PHASES = growth.grow((8, 8), **GROWTH, total_kimg=0.096)


def make_networks(image_size, **fields):
    return Generator(image_size, width=4, **fields), Discriminator(image_size, width=4, **fields)


def make_task(optimizer=None, phases=PHASES, label_weight=1.0, **fields):
    return game.make(
        *make_networks(phases[-1].image_size, **fields),
        optimizers=[optimizer or optax.adam(1e-3, b1=0.0, b2=0.99)],
        phases=phases,
        latent_size=6,
        label_weight=label_weight,
        ema_half_life=50,
    )


def test_phases_of_growth():
    phases = growth.grow(
        (128, 96),
        batch_sizes=(16, 8, 4),
        fade_kimg=(0, 2, 3),
        stable_kimg=(1, 0, 5),
        total_kimg=60,
    )
    assert [phase.name for phase in phases[:4]] == ["4x3", "8x6 fade", "16x12 fade", "16x12"]
    assert [phase.kimg for phase in phases[:4]] == [1, 2, 3, 5]
    assert [phase.batch_size for phase in phases[:4]] == [16, 8, 4, 4]
    assert phases[-1] == ("128x96", 60 - 1 - 2 - 4 * 3 - 3 * 5, 4, (128, 96))
    with pytest.raises(ValueError, match="end before 128x96"):
        growth.grow((128, 96), **GROWTH, total_kimg=0.2)
    leap = GROWTH | {"fade_kimg": (0, 0, 0.032), "stable_kimg": (0.032, 0, 0.016)}
    leap = growth.grow((16, 16), **leap, total_kimg=0.096)
    assert [phase.name for phase in leap] == ["4x4", "16x16 fade", "16x16"]


def test_the_published_growth():
    """Of the authors' code on one device, 1024x1024: batches, images and learning rates."""
    config = game.defaults()
    phases = growth.grow((1024, 1024), **config.growth, total_kimg=config.total_kimg)
    sides = [phase.image_size[0] for phase in phases]
    assert sides == [4, *np.repeat([8, 16, 32, 64, 128, 256, 512, 1024], 2)]
    batches = {phase.image_size[0]: phase.batch_size for phase in phases}
    assert list(batches.values()) == [128, 128, 128, 64, 32, 16, 8, 4, 4]
    assert [phase.kimg for phase in phases] == [600.0] * 16 + [12000 - 16 * 600]
    rates = [growth.by_level(config.optimizer.learning_rates, level) for level in range(9)]
    assert rates == [1e-3] * 8 + [1.5e-3]


class Images:
    """Random images; a signal to stop comes with the batch `interrupt`, counted over all phases."""

    def __init__(self, interrupt=-1):
        self.interrupt, self.served = interrupt, 0

    def batches(self, *, seed, first, batch_size, image_size, **processes):
        number = first
        while True:
            if self.interrupt == self.served:
                os.kill(os.getpid(), signal.SIGTERM)
            self.served += 1
            rng = np.random.default_rng([seed, number])
            yield {"image": rng.integers(0, 256, (batch_size, *image_size, 3), np.uint8)}
            number += 1

    fields = {"image": IMAGE}

    def contents(self, image_size):
        return {}


def _config():
    return ConfigDict(
        {"seed": 1, "log_every": 0.001, "save_every": 0.02, "sample_every": 0.0,
         "keep_checkpoints": 3, "max_skips": 10, "data": {"source": "a"}, "steps_per_call": 1}
    )  # fmt: skip


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A game, its run from start to end, and how often its step was traced at each size."""
    folder, traced = tmp_path_factory.mktemp("straight") / "run", Counter()
    task = make_task()

    def train_step(state, batch, rng):
        traced[batch["image"].shape[1]] += 1
        return task.train_step(state, batch, rng)

    state = fit(task._replace(train_step=train_step), Images(), _config(), folder)
    return task, state, folder, traced


def test_one_compilation_per_resolution_and_none_in_a_fade(straight):
    task, _, _, traced = straight
    assert traced == {4: 1, task.phases[-1].image_size[0]: 1}


def test_alpha_follows_the_images(straight):
    task, _, folder, _ = straight
    alphas = [row["alpha"] for row in read_metrics(folder)]
    # 2 steps of 16 at 4x4; 4 of 8 fade the next size in; the rest.
    np.testing.assert_allclose(alphas, [1, 1, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1])
    assert [int(phase.steps) for phase in task.phases] == [2, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize("place", [1, 4])  # at 4x4, in the fade
def test_resume_is_bit_exact_at_any_moment(straight, tmp_path, place):
    task, state, _, _ = straight
    with pytest.raises(Interrupted):
        fit(task, Images(place), _config(), tmp_path / "run")
    resumed = fit(task, Images(), _config(), tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, resumed, state)


def test_the_optimizer_starts_anew_with_a_resolution_only(straight):
    task, state, _, _ = straight
    count = lambda state: int(state.networks["generator"].optimizer[0].count)  # noqa: E731
    assert count(state) == 8  # steps at the last size
    assert count(task.begin_phase(state, task.phases[1])) == 0
    assert count(task.begin_phase(state, task.phases[2])) == 8


@pytest.mark.slow
def test_samples_have_the_last_size_and_the_resolution_of_the_moment(straight):
    task, state, _, _ = straight
    side = task.phases[-1].image_size[0]
    generator, last = make_networks(side)[0], level_of((side, side), (4, 4))
    inputs = task.model.draw(jax.random.key(0), jnp.arange(4), None)
    sample = jax.jit(task.model.sample)
    for images, level, alpha in ((0, 0, 1.0), (32, last, 0.0), (48, last, 0.5), (96, last, 1.0)):
        drawn = sample(state.trained.replace(images=jnp.int32(images)), inputs, jax.random.key(0))
        variables = state.averages["generator"]
        expected = generator.apply(variables, inputs["z"], alpha, level=level)
        expected = expected.repeat(side // expected.shape[1], 1)
        expected = expected.repeat(side // expected.shape[2], 2)
        np.testing.assert_allclose(drawn["samples"], np.clip(expected, -1, 1), atol=1e-5)


@pytest.mark.slow
def test_each_resolution_has_its_own_learning_rate():
    """Adam's first step moves each weight by the learning rate itself."""
    config = with_variants(game.defaults(), "smoke", {"smoke": game.SMOKE})
    fields = {"data.image_size": "8", "model.width": 4, "optimizer.learning_rates": (1e-3, 4e-3)}
    config.update_from_flattened_dict(fields)
    task = tasks.make(config)
    first = {phase.image_size[0]: phase for phase in reversed(task.phases)}
    start = jax.jit(task.init)(jax.random.key(0))
    image = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    for side, rate in ((4, 1e-3), (8, 4e-3)):
        state = task.begin_phase(start, first[side])
        batch = {"image": jnp.asarray(image[:, :side, :side])}
        after, _ = jax.jit(task.train_step)(state, batch, jax.random.key(1))
        for role, network in after.networks.items():
            old = start.networks[role].params
            moves = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), network.params, old)
            np.testing.assert_allclose(max(jax.tree.leaves(moves)), rate, rtol=1e-3)


@pytest.mark.slow
def test_a_step_is_the_published_game():
    """Against the losses of appendix A written out, in the middle of a fade.

    RGBA, not square, with labels: the cross-entropies of AC-GAN too, the discriminator's of real
    and generated images, the generator's of its own. Activations computed twice change nothing.
    """
    rate, label_weight, size = 1e-2, 0.7, (8, 6)
    fields = {"channels": 4, "classes": 3, "remat": True, "dtype": jnp.float64}
    h, w = size
    phases = growth.grow(size, **GROWTH, total_kimg=0.096)
    task = make_task(optax.sgd(rate), phases, label_weight, **fields)
    generator, discriminator = make_networks(size, **fields | {"remat": False})
    channels = generator.channels
    image = np.random.default_rng(0).uniform(-1, 1, (8, h, w, channels))
    label = np.array([0, 2, 1, 1, 0, 2, 2, 0], np.int32)

    def both():
        state = task.init(jax.random.key(0)).replace(images=jnp.int32(48))
        batch = {"image": jnp.asarray(image), "label": jnp.asarray(label)}
        after, metrics = task.train_step(state, batch, jax.random.key(3))
        z_key, other_key, mix_key = jax.random.split(jax.random.key(3), 3)
        z, other = (jax.random.normal(key, (8, 6)) for key in (z_key, other_key))
        mix = jax.random.uniform(mix_key, (8,))[:, None, None, None]
        coarse = image.reshape(8, h // 2, 2, w // 2, 2, channels).mean((2, 4))
        real = (image + coarse.repeat(2, 1).repeat(2, 2)) / 2
        g, d = (state.networks[role].params for role in ("generator", "discriminator"))

        def make(g, z):
            return generator.apply({"params": g}, z, 0.5, level=1, labels=label)

        def score(d, x):
            return discriminator.apply({"params": d}, x, 0.5)[:, 0]

        def error(d, x):
            logits = discriminator.apply({"params": d}, x, 0.5)[:, 1:]
            return jnp.log(jnp.exp(logits).sum(1)) - logits[np.arange(8), label]

        def d_loss(d):
            fake = make(g, z)
            slopes = jax.grad(lambda x: score(d, x).sum())(mix * fake + (1 - mix) * real)
            penalty = (jnp.sqrt(jnp.sum(slopes**2, (1, 2, 3))) - 1) ** 2
            scores, errors = score(d, real), error(d, real) + error(d, fake)
            losses = score(d, fake) - scores + 10 * penalty + 1e-3 * scores**2
            return jnp.mean(losses + label_weight * errors)

        def g_loss(g):
            fake = make(g, other)
            return jnp.mean(-score(new_d, fake) + label_weight * error(new_d, fake))

        new_d = jax.tree.map(lambda w, dw: w - rate * dw, d, jax.grad(d_loss)(d))
        new_g = jax.tree.map(lambda w, dw: w - rate * dw, g, jax.grad(g_loss)(g))
        decay = 0.5 ** (8 / (0.05 * 48))  # the half-life is a twentieth of the images seen
        ema = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, g, new_g)
        got = {role: network.params for role, network in after.networks.items()}
        got |= {"average": after.averages["generator"]["params"], **metrics}
        expected = {"generator": new_g, "discriminator": new_d, "average": ema}
        expected |= {"loss_discriminator": d_loss(d), "loss_generator": g_loss(g)}
        return {name: got[name] for name in expected}, expected

    with jax.enable_x64(True):
        got, expected = jax.jit(both)()
    assert got["loss_discriminator"].dtype == np.float64
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8), got, expected)


def test_impossible_configs_are_one_line():
    def make(**fields):
        config = with_variants(game.defaults(), "smoke", {"smoke": game.SMOKE})
        config.update_from_flattened_dict(fields)
        return tasks.make(config)

    names = ["4x4", "8x8 fade", "8x8", "16x16 fade", "16x16"]
    assert [phase.name for phase in make().phases] == names
    for fields, message in (
        ({"total_kimg": 0.2}, "end before 16x16 is reached.*raise total_kimg"),
        ({"data.labels": True}, "model.classes"),
        ({"data.image_size": "45"}, "cannot reach 45x45"),
        ({"growth.batch_sizes": (6,)}, "multiples of 4"),
        ({"growth.fade_kimg": ()}, "fade_kimg is"),
        ({"loss.drift_weight": -1.0}, "drift_weight is below 0"),
        ({"model.dtype": "int8"}, "choose float32 or bfloat16"),
    ):
        with pytest.raises(UserError, match=message):
            make(**fields)


class Noise:
    digest = "noise"
    fields = {"image": IMAGE, "label": Field("class", names=("a", "b"))}

    def __init__(self):
        self.sizes = []

    def __len__(self):
        return 10

    def load(self, indices, image_size, channels):
        self.sizes.append(image_size)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (10, *image_size, channels), np.uint8)
        return {"image": images[list(indices)], "label": np.asarray(indices, np.int32)}, []


def test_a_pyramid_decodes_the_largest_images_alone(tmp_path):
    source = Noise()
    stream = Stream(source, {"image": "image", "label": "label"}, pyramid=(16, 24))
    pipeline = Pipeline((stream,), tmp_path)
    largest, _ = source.load(range(10), (16, 24), 3)
    source.sizes.clear()
    for size in ((4, 6), (16, 24)):
        batch = next(pipeline.batches(seed=0, first=0, batch_size=10, image_size=size))
        expected = largest["image"]
        while expected.shape[1] > size[0]:
            n, h, w, c = expected.shape
            means = expected.reshape(n, h // 2, 2, w // 2, 2, c).astype(np.float64).mean((2, 4))
            expected = np.rint(means).astype(np.uint8)
        np.testing.assert_array_equal(batch["image"], expected[batch["label"]])
    assert set(source.sizes) == {(16, 24)}


def test_halving_rounds_to_the_nearest():
    images = np.stack(np.unravel_index(np.arange(9**4), (9,) * 4), -1).astype(np.uint8)
    blocks = images.reshape(-1, 2, 2, 1)
    expected = np.rint(images.mean(-1)).astype(np.uint8)
    np.testing.assert_array_equal(halve(blocks)[:, 0, 0, 0], expected)
    assert halve(np.full((1, 2, 2, 1), 255, np.uint8)).item() == 255
