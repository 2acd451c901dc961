"""Progressive GAN: shapes of the paper at any size, and what the layers are for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import losses
from ganjax.errors import UserError
from ganjax.nets.progressive import (
    Discriminator,
    Generator,
    fade,
    level_of,
    minibatch_deviation,
    start_and_doublings,
)


@pytest.mark.parametrize(
    ("size", "start", "doublings"),
    [
        ((1024, 1024), (4, 4), 8),
        ((4, 4), (4, 4), 0),
        ((128, 96), (4, 3), 5),
        ((96, 128), (3, 4), 5),
        ((28, 28), (7, 7), 2),
        ((80, 160), (5, 10), 4),
    ],
)
def test_start_and_doublings(size, start, doublings):
    assert start_and_doublings(size) == (start, doublings)
    assert level_of(size, start) == doublings


def test_sizes_without_a_start_are_named():
    with pytest.raises(UserError, match="cannot reach 45x60"):
        start_and_doublings((45, 60))
    with pytest.raises(ValueError, match="is not"):
        level_of((12, 12), (4, 4))


def _shapes(module, x, *more):
    return jax.eval_shape(module.init, jax.random.key(0), x, *more)["params"]


def _count(shapes) -> int:
    return sum(x.size for x in jax.tree.leaves(shapes))


def test_parameter_counts_are_the_published_ones():
    """23.1 M each at 1024 (Karras et al. 2018, table 2), and table 2 summed up by hand."""
    features = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    pairs = list(zip(features, features[1:], strict=False))
    body = sum(9 * (a * b + b * b) + 2 * b for a, b in pairs)
    seed = 512 * 16 * 512 + 512 + 9 * 512 * 512 + 512
    colors = sum(3 * f + 3 for f in features)
    generator = _count(_shapes(Generator(), jnp.zeros((1, 512))))
    assert generator == seed + body + colors
    down = sum(9 * (b * b + b * a) + b + a for a, b in pairs)
    head = 9 * 513 * 512 + 512 + 16 * 512 * 512 + 512 + 512 + 1
    critic = _count(_shapes(Discriminator(), jnp.zeros((1, 1024, 1024, 3))))
    assert critic == head + down + sum(4 * f for f in features)
    assert round(generator / 1e6, 1) == round(critic / 1e6, 1) == 23.1


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("classes", [0, 3])
def test_any_channels_classes_and_starts(channels, classes):
    """Images of every resolution from one tree of parameters, for gray, RGBA and a 4x3 start."""
    fields = {"image_size": (32, 24), "channels": channels, "width": 4, "classes": classes}
    generator, discriminator = Generator(**fields), Discriminator(**fields)
    z, labels = jnp.ones((4, 5)), jnp.arange(4) % 3 if classes else None

    def run():
        g = generator.init(jax.random.key(0), z, labels=labels)
        d = discriminator.init(jax.random.key(0), jnp.zeros((1, 32, 24, channels)))
        images = [generator.apply(g, z, 0.5, level=n, labels=labels) for n in range(4)]
        return images, [discriminator.apply(d, x, 0.5) for x in images]

    for n, (x, y) in enumerate(zip(*jax.eval_shape(run), strict=True)):
        assert x.shape == (4, 4 << n, 3 << n, channels)
        assert y.shape == ((4, 1 + classes) if classes else (4,))


def test_labels_tell_classes_apart():
    generator = Generator(image_size=4, width=4, classes=3)
    z, labels = jnp.ones((4, 5)), jnp.array([0, 1, 2, 0])
    images, _ = jax.jit(generator.init_with_output)(jax.random.key(0), z, labels=labels)
    np.testing.assert_allclose(images[0], images[3], atol=1e-6)
    assert np.abs(images[0] - images[1]).max() > 1e-3


@pytest.mark.slow
def test_a_fade_starts_where_the_resolution_before_ends():
    """At alpha 0 both networks are those of the level below, on images that `fade` coarsened."""
    fields = {"image_size": 16, "width": 8}
    generator, discriminator = Generator(**fields), Discriminator(**fields)
    z, real = jax.random.normal(jax.random.key(1), (4, 8)), jnp.zeros((4, 16, 16, 3))
    real = jax.random.uniform(jax.random.key(2), real.shape)

    @jax.jit
    def run():
        g, d = generator.init(jax.random.key(0), z), discriminator.init(jax.random.key(0), real)
        coarse = real.reshape(4, 8, 2, 8, 2, 3).mean((2, 4))
        return (
            generator.apply(g, z, 0.0),
            generator.apply(g, z, level=1).repeat(2, 1).repeat(2, 2),
            discriminator.apply(d, real, 0.0),
            discriminator.apply(d, coarse),
            fade(real, 0.0),
            coarse.repeat(2, 1).repeat(2, 2),
        )

    values = run()
    for got, expected in zip(values[::2], values[1::2], strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_rematerialization_keeps_less_for_the_gradient():
    """That the gradient is the same: test_progressive_task.py."""

    def count_kept(module, x):
        def differentiate(params, x):
            return jax.vjp(lambda params: module.apply({"params": params}, x), params)[1]

        return _count(jax.eval_shape(differentiate, _shapes(module, x), x))

    for network, x in ((Generator, jnp.zeros((4, 8))), (Discriminator, jnp.zeros((4, 32, 32, 3)))):
        less, all_ = (count_kept(network(32, width=8, remat=remat), x) for remat in (True, False))
        assert less < 0.6 * all_


@pytest.mark.slow
def test_bfloat16_and_rematerialization():
    z = jax.random.normal(jax.random.key(1), (4, 16))
    full = Generator(image_size=16, width=16)
    params = jax.jit(full.init)(jax.random.key(0), z)
    half = Generator(image_size=16, width=16, dtype=jnp.bfloat16, remat=True)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, jax.eval_shape(half.init, jax.random.key(0), z)
    )
    a, b = (jax.jit(module.apply)(params, z) for module in (full, half))
    assert a.dtype == b.dtype == jnp.float32
    assert 1e-5 < float(jnp.max(jnp.abs(a - b))) < 0.2


def test_minibatch_deviation():
    x = np.random.default_rng(0).normal(size=(8, 2, 3, 5))
    with jax.enable_x64(True):
        y = np.asarray(minibatch_deviation(jnp.asarray(x)))
    np.testing.assert_array_equal(y[..., :5], x)
    for rows in (slice(0, 4), slice(4, 8)):
        expected = np.sqrt(x[rows].var(0) + 1e-8).mean()
        np.testing.assert_allclose(y[rows, ..., 5], expected, rtol=1e-12)
    with pytest.raises(ValueError, match="a batch of 6 images"):
        minibatch_deviation(jnp.asarray(x[:6]))


def test_gradient_penalty():
    """Of a linear critic w.x the slope is w everywhere; of a flat one the penalty is 1, not NaN."""
    rng = np.random.default_rng(1)
    real, fake, w = (jnp.asarray(rng.normal(size=(4, 2, 2, 3)), jnp.float32) for _ in range(3))
    mix = jnp.asarray([0.0, 0.3, 0.7, 1.0])

    def mean_penalty(w):
        def critic(x):
            return jnp.sum(w * x, (1, 2, 3))

        return losses.gradient_penalty(critic, real, fake, mix).mean()

    norms = np.sqrt(np.sum(np.square(np.asarray(w, np.float64)), (1, 2, 3)))
    np.testing.assert_allclose(mean_penalty(w), np.mean((norms - 1) ** 2), rtol=1e-5)
    np.testing.assert_allclose(mean_penalty(jnp.zeros_like(w)), 1, rtol=1e-6)
    assert np.all(np.isfinite(jax.grad(mean_penalty)(jnp.zeros_like(w))))

    def square(x):  # its slope is 2 x: where the mixture lies shows
        return jnp.sum(x**2, (1, 2, 3))

    mixed = np.asarray(real + mix[:, None, None, None] * (fake - real), np.float64)
    expected = (2 * np.sqrt(np.sum(mixed**2, (1, 2, 3))) - 1) ** 2
    np.testing.assert_allclose(
        losses.gradient_penalty(square, real, fake, mix), expected, rtol=1e-5
    )
