"""DCGAN: shapes of the paper at any size, and the game's rules."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toys import draw_variables

from ganjax import losses
from ganjax.errors import UserError
from ganjax.nets.dcgan import Discriminator, Generator, seed_and_doublings
from ganjax.tasks import dcgan


@pytest.mark.parametrize(
    ("size", "seed", "doublings"),
    [
        ((64, 64), (4, 4), 4),
        ((96, 64), (6, 4), 4),
        ((64, 96), (4, 6), 4),
        ((28, 28), (7, 7), 2),
        ((32, 32), (4, 4), 3),
        ((48, 48), (3, 3), 4),
        ((128, 128), (4, 4), 5),
        ((64, 72), (8, 9), 3),
        ((16, 64), (4, 16), 2),
    ],
)
def test_seed_is_the_one_nearest_four(size, seed, doublings):
    assert seed_and_doublings(size) == (seed, doublings)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((63, 63), "56x56 or 64x64"), ((89, 109), "80x96 or 96x112"), ((5, 5), "are 16x16")],
)
def test_impossible_sizes_name_the_nearest_possible(size, nearest):
    with pytest.raises(UserError, match=nearest):
        seed_and_doublings(size)


@pytest.mark.parametrize("size", [(63, 63), (89, 109), (5, 5), (70, 130), (1000, 9)])
def test_the_named_sizes_are_possible(size):
    with pytest.raises(UserError) as error:
        seed_and_doublings(size)
    for named in str(error.value).split("are ")[-1].split(" or "):
        height, width = map(int, named.split("x"))
        seed_and_doublings((height, width))


def _parameters(module, *inputs) -> int:
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=True))
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


@pytest.mark.slow
def test_parameter_counts_are_the_published_ones():
    """3,576,704 and 2,765,568: dcgan.torch at 64 px; the 5x5 form counts the paper's table."""
    z, images = jnp.zeros((1, 100)), jnp.zeros((1, 64, 64, 3))
    assert _parameters(Generator(), z) == 3_576_704
    assert _parameters(Discriminator(), images) == 2_765_568
    widths = (1024, 512, 256, 128, 3)
    kernels = sum(25 * a * b for a, b in zip(widths, widths[1:], strict=False))
    assert _parameters(Generator(form="5x5", width=128), z) == (
        100 * 16 * 1024 + 2 * (1024 + 512 + 256 + 128) + kernels + 3
    )
    assert _parameters(Discriminator(form="5x5", width=128), images) == (
        kernels + 128 + 2 * (256 + 512 + 1024) + 16 * 1024 + 1
    )


@pytest.mark.parametrize("form", ["4x4", "5x5"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(16, 24), (28, 28)])
def test_any_size_and_channels(form, channels, size):
    fields = {"image_size": size, "channels": channels, "width": 4, "form": form}
    generator, discriminator = Generator(**fields), Discriminator(**fields)
    key, z = jax.random.key(0), jnp.ones((2, 100))
    images, _ = jax.eval_shape(lambda: generator.init_with_output(key, z, train=True))
    assert images.shape == (2, *size, channels)
    images = jnp.zeros(images.shape)
    logits, d = jax.eval_shape(lambda: discriminator.init_with_output(key, images, train=True))
    assert logits.shape == (2,)
    with pytest.raises(ValueError, match="images are"):
        discriminator.apply(d, images[:, 1:], train=False)


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
    z = jax.random.normal(jax.random.key(1), (8, 100))
    full = Generator(image_size=(32, 32), width=16)
    half = Generator(image_size=(32, 32), width=16, dtype=jnp.bfloat16)
    variables = draw_variables(half, z, train=True)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    a, b = (
        jax.jit(partial(module.apply, train=True, mutable="batch_stats"))(variables, z)[0]
        for module in (full, half)
    )
    assert a.dtype == b.dtype == jnp.float32
    assert 1e-5 < float(jnp.max(jnp.abs(a - b))) < 0.1


def _small_task(pair=losses.NON_SATURATING, ema_half_life=0.0, rate=1e-2):
    fields = {"image_size": (16, 16), "width": 8}
    sgd = optax.sgd(rate)
    return dcgan.make(
        Generator(**fields),
        Discriminator(**fields),
        loss=pair,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        phases=(),
        ema_half_life=ema_half_life,
    )


@pytest.mark.slow
def test_a_step_is_the_alternating_game():
    """Against the game written out with plain gradients: D on both batches, then G on the new D."""
    task, pair, rate = _small_task(), losses.NON_SATURATING, 1e-2
    generator = Generator(image_size=(16, 16), width=8)
    discriminator = Discriminator(image_size=(16, 16), width=8)
    state = jax.jit(task.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {"image": jnp.asarray(rng.integers(0, 256, (6, 16, 16, 3), np.uint8))}
    batch["z"] = jnp.asarray(rng.normal(size=(6, 100)), jnp.float32)
    new, metrics = jax.jit(task.train_step)(state, batch, jax.random.key(1))

    def run(module, params, statistics, x):
        variables = {"params": params, "batch_stats": statistics}
        return module.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    g, d = state.networks["generator"], state.networks["discriminator"]
    real = batch["image"].astype(jnp.float32) / 127.5 - 1

    def d_loss(params):
        fake = run(generator, g.params, g.statistics, batch["z"])
        real_logits = run(discriminator, params, d.statistics, real)
        fake_logits = run(discriminator, params, d.statistics, fake)
        return jnp.mean(pair.real(real_logits)) + jnp.mean(pair.fake(fake_logits))

    value, gradients = jax.jit(jax.value_and_grad(d_loss))(d.params)
    d_params = jax.tree.map(lambda p, dp: p - rate * dp, d.params, gradients)
    np.testing.assert_allclose(metrics["loss_discriminator"], value, rtol=1e-5)

    def g_loss(params):
        fake = run(generator, params, g.statistics, batch["z"])
        return jnp.mean(pair.generator(run(discriminator, d_params, d.statistics, fake)))

    value, gradients = jax.jit(jax.value_and_grad(g_loss))(g.params)
    g_params = jax.tree.map(lambda p, dp: p - rate * dp, g.params, gradients)
    np.testing.assert_allclose(metrics["loss_generator"], value, rtol=1e-5)
    for role, params in (("discriminator", d_params), ("generator", g_params)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
            new.networks[role].params,
            params,
        )


@pytest.mark.slow
def test_the_average_follows_the_generator():
    task = _small_task(ema_half_life=0.0)
    batch = {"image": jnp.zeros((4, 16, 16, 3), jnp.uint8)}
    state = jax.jit(task.init)(jax.random.key(0))
    new, _ = jax.jit(task.train_step)(state, batch, jax.random.key(1))
    jax.tree.map(
        np.testing.assert_array_equal,
        new.averages["generator"],
        new.networks["generator"].variables,
    )
    late = state.replace(images=jnp.int32(10**9))
    slow, _ = jax.jit(_small_task(ema_half_life=1e12).train_step)(late, batch, jax.random.key(1))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        slow.averages,
        state.averages,
    )


def test_a_draw_depends_on_seed_and_index_alone():
    task = _small_task()
    few = task.model.draw(jax.random.key(3), jnp.arange(4), None)["z"]
    many = task.model.draw(jax.random.key(3), jnp.arange(9), None)["z"]
    np.testing.assert_array_equal(few, many[:4])
    other = task.model.draw(jax.random.key(4), jnp.arange(4), None)["z"]
    assert not np.array_equal(few, other)


def test_losses_are_the_published_formulas():
    logits = np.array([-30.0, -2.0, 0.0, 0.5, 30.0])
    d = 1 / (1 + np.exp(-logits))  # the discriminator's probability, in float64
    for pair, generator in (
        (losses.NON_SATURATING, -np.log(d)),
        (losses.SATURATING, np.log1p(-d[:-1])),
    ):
        x = jnp.asarray(logits, jnp.float32)
        np.testing.assert_allclose(pair.real(x), -np.log(d), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(pair.fake(x)[:-1], -np.log1p(-d[:-1]), rtol=1e-5, atol=1e-7)
        got = pair.generator(x)[: len(generator)]
        np.testing.assert_allclose(got, generator, rtol=1e-5, atol=1e-7)
        assert np.isfinite(jax.grad(lambda x, pair=pair: pair.generator(x).sum())(x)).all()


def test_losses_of_scores_are_the_published_formulas():
    scores = np.array([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 4.0])
    for pair, real, fake, generator in (
        (
            losses.HINGE,
            np.maximum(0, 1 - scores),
            np.maximum(0, 1 + scores),
            -scores,
        ),
        (losses.LEAST_SQUARES, (scores - 1) ** 2, scores**2, (scores - 1) ** 2),
    ):
        with jax.enable_x64(True):
            x = jnp.asarray(scores)
            np.testing.assert_allclose(pair.real(x), real, rtol=1e-15)
            np.testing.assert_allclose(pair.fake(x), fake, rtol=1e-15)
            np.testing.assert_allclose(pair.generator(x), generator, rtol=1e-15)


def test_packs_are_judged_as_one_image():
    images = np.random.default_rng(0).normal(size=(6, 2, 3, 2))
    packs = dcgan.packed(jnp.asarray(images), 3)
    np.testing.assert_array_equal(packs[1, ..., 2:4], np.float32(images[4]))
    config = dcgan.defaults()
    config.data.image_size, config.model.width, config.batch_size = "16", 4, 6
    config.model.pack = 3
    task = dcgan.from_config(config)
    state = jax.eval_shape(task.init, jax.random.key(0))
    kernels = jax.tree.leaves(state.networks["discriminator"].params)
    assert (4, 4, 9, 4) in [x.shape for x in kernels]
    batch = {"image": jax.ShapeDtypeStruct((6, 16, 16, 3), jnp.uint8)}
    after, _ = jax.eval_shape(task.train_step, state, batch, jax.random.key(0))
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    config.model.pack = 4
    with pytest.raises(UserError, match="batch_size 6 must be a multiple of it"):
        dcgan.from_config(config)
