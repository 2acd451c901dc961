"""SNGAN's ResNets: published sizes, the condition, and PyTorch (tests/goldens/resnet_gan_torch.py).

Spectral normalization is held to singular values, too.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import draw_variables

from ganjax.errors import UserError
from ganjax.nets.norms import BatchNorm, SpectralNorm
from ganjax.nets.resnet_gan import Discriminator, Generator, seed_and_table
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import dcgan_setup  # noqa: E402
import resnet_gan_setup as setup  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "resnet_gan_torch.npz"))


def _drawn(prefix, tree):
    """The golden's values in place of a tree's own."""
    return {name: setup.draw(f"{prefix}/{name}", x.shape) for name, x in named_leaves(tree).items()}


def _fill(tree, values):
    assert named_leaves(tree).keys() == values.keys()
    leaves = [jnp.asarray(values[name]) for name in named_leaves(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _check_gradients(golden, prefix, gradients):
    gradients = named_leaves(gradients)
    expected = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    assert expected.keys() == gradients.keys()
    for name, value in expected.items():
        got = dcgan_setup.summarize(np.asarray(gradients[name]))
        # What a normalization cancels is 0 but for rounding.
        np.testing.assert_allclose(got, value, rtol=1e-7, atol=1e-11, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", setup.CASES)
def test_generator_is_pytorchs(golden, name):
    case = setup.CASES[name]
    with jax.enable_x64(True):
        inputs = jax.tree.map(jnp.asarray, setup.draw_inputs(name))
        module = Generator(
            (case.side, case.side),
            case.channels,
            case.generator_width,
            case.conditions,
            dtype=jnp.float64,
        )
        arguments = (inputs["z"], inputs["condition"])
        variables = draw_variables(module, *arguments, train=True)
        drawn = _drawn(f"{name}/generator", variables["params"])

        def loss(params):
            images, _ = module.apply(
                variables | {"params": params}, *arguments, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(images * inputs["weights"]), images

        params = _fill(variables["params"], drawn)
        (_, images), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    step = -(-case.side // 8)
    np.testing.assert_allclose(images[:, ::step, ::step], golden[f"{name}/images"], atol=1e-10)
    _check_gradients(golden, f"{name}/gradient/generator/", gradients)


@pytest.mark.slow
@pytest.mark.parametrize("name", setup.CASES)
def test_two_forwards_of_the_discriminator_are_pytorchs(golden, name):
    """Logits, gradients through the singular values, and what two power iterations leave."""
    case = setup.CASES[name]
    with jax.enable_x64(True):
        inputs = jax.tree.map(jnp.asarray, setup.draw_inputs(name))
        module = Discriminator(
            (case.side, case.side),
            case.channels,
            case.discriminator_width,
            case.conditions,
            dtype=jnp.float64,
        )
        images, more, condition = (inputs[key] for key in ("images", "more", "condition"))
        variables = draw_variables(module, images, condition, train=True)
        prefix = f"{name}/discriminator"
        params = _fill(variables["params"], _drawn(prefix, variables["params"]))
        statistics = _fill(variables["batch_stats"], _drawn(prefix, variables["batch_stats"]))

        def forward(params, statistics, images):
            logits, changed = module.apply(
                {"params": params, "batch_stats": statistics},
                images,
                condition,
                train=True,
                mutable=["batch_stats"],
            )
            return logits, changed["batch_stats"]

        def loss(params):
            first, between = forward(params, statistics, images)
            second, after = forward(params, between, more)
            value = jnp.sum(jnp.square(first)) + jnp.sum(second)
            return value, (jnp.stack([first, second]), between, after)

        run = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (_, (logits, between, after)), gradients = run(params)
        np.testing.assert_allclose(logits, golden[f"{name}/logits"], rtol=1e-9)
        _check_gradients(golden, f"{name}/gradient/discriminator/", gradients)
        kernels = named_leaves(params)
        for key, u in named_leaves(after).items():
            np.testing.assert_allclose(u, golden[f"{name}/u/{key}"], rtol=1e-9, atol=1e-12)
            kernel = kernels[key.replace("spectral/u", "kernel")]
            stored = {"batch_stats": {"u": named_leaves(between)[key]}}
            normed, _ = SpectralNorm().apply(stored, kernel, train=True, mutable=["batch_stats"])
            sigma = jnp.linalg.norm(kernel.ravel()) / jnp.linalg.norm(normed.ravel())
            np.testing.assert_allclose(sigma, golden[f"{name}/sigma/{key}"], rtol=1e-9)


def _parameters(module, *inputs) -> int:
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=True))
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "conditions", "generator", "discriminator"),
    [
        (32, 0, 4_276_739, 1_053_824),
        (32, 10, 4_304_387, 1_055_104),
        (64, 0, 12_220_675, 10_141_441),
        (128, 1000, 41_996_931, 30_041_857),
    ],
)
def test_parameter_counts_are_the_published_ones(side, conditions, generator, discriminator):
    """As the tables count them; a class adds a scale and a bias to each conditional channel."""
    condition = jnp.zeros((1, conditions)) if conditions else None
    size, images = (side, side), jnp.zeros((1, side, side, 3))
    g, d = (kind(size, conditions=conditions) for kind in (Generator, Discriminator))
    assert _parameters(g, jnp.zeros((1, 128)), condition) == generator
    assert _parameters(d, images, condition) == discriminator


def test_counts_of_wgan_gp():
    """128 channels in all layers; a 3x3 convolution has 9 * 128 + 1 parameters for each."""
    conv, shortcut = (9 * 128 + 1) * 128, (128 + 1) * 128
    g, d = Generator(width=128), Discriminator(spectral=False, conditions=10, classifier=True)
    up = 2 * conv + shortcut + 4 * 128
    assert _parameters(g, jnp.zeros((1, 128))) == (
        (128 + 1) * 16 * 128 + 3 * up + 2 * 128 + (9 * 128 + 1) * 3
    )
    first = (9 * 3 + 1) * 128 + conv + (3 + 1) * 128
    rest = 6 * conv + shortcut
    images, condition = jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, 10))
    assert _parameters(d, images, condition) == first + rest + (128 + 1) * (1 + 10)


def _convolutions(widths, *, inside_is_after):
    """Parameters of the residual blocks' convolutions."""
    total = 0
    for a, b in zip(widths, widths[1:], strict=False):
        inside = b if inside_is_after else a
        total += (9 * a + 1) * inside + (9 * inside + 1) * b + (a + 1) * b
    return total


def test_counts_follow_from_the_tables():
    """The numbers above, by hand from the published tables at 64 px."""
    widths = (1024, 512, 256, 128, 64)
    norms = 2 * sum(a + b for a, b in zip(widths, widths[1:], strict=False)) + 2 * 64
    generator = 129 * 16 * 1024 + _convolutions(widths, inside_is_after=True) + norms + 577 * 3
    assert generator == 12_220_675
    first = (27 + 1) * 64 + (9 * 64 + 1) * 64 + (3 + 1) * 64
    rest = _convolutions(widths[::-1], inside_is_after=False)
    assert first + rest + 1024 + 1 == 10_141_441


@pytest.mark.parametrize(
    ("size", "channels", "conditions"), [((32, 48), 1, 0), ((32, 32), 4, 2), ((96, 64), 3, 2)]
)
def test_sizes_channels_and_conditions(size, channels, conditions):
    fields = {"image_size": size, "channels": channels, "width": 2, "conditions": conditions}
    generator, discriminator = Generator(**fields), Discriminator(**fields)
    condition = jnp.ones((3, conditions)) if conditions else None
    z, key = jnp.ones((3, 8)), jax.random.key(0)
    images, _ = jax.eval_shape(lambda: generator.init_with_output(key, z, condition, train=True))
    assert images.shape == (3, *size, channels)
    images = jnp.zeros(images.shape)
    logits, d = jax.eval_shape(
        lambda: discriminator.init_with_output(key, images, condition, train=True)
    )
    assert logits.shape == (3,)
    with pytest.raises(ValueError, match="images are"):
        discriminator.apply(d, images[:, 1:], condition, train=False)
    if conditions:  # a classifier sees no condition, but the shape of one
        classifier = Discriminator(**fields, classifier=True)
        logits = jax.eval_shape(
            lambda: classifier.init_with_output(key, images, condition, train=True)[0]
        )
        assert logits.shape == (3, 1 + conditions)
    wrong = None if conditions else jnp.ones((3, 2))
    with pytest.raises(ValueError, match="the condition must be"):
        discriminator.apply(d, images, wrong, train=False)


@pytest.mark.parametrize("size", [(28, 28), (33, 32), (256, 256), (8, 8)])
def test_other_sizes_are_refused(size):
    with pytest.raises(UserError, match="choose 32x32, 64x64 or 128x128"):
        seed_and_table(size)


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
    condition = jnp.eye(4)
    z = jax.random.normal(jax.random.key(1), (4, 16))
    images = jnp.tanh(jax.random.normal(jax.random.key(2), (4, 32, 32, 3)))
    for kind, x in ((Generator, z), (Discriminator, images)):
        full, half = (kind(width=8, conditions=4, dtype=t) for t in (jnp.float32, jnp.bfloat16))
        variables = draw_variables(half, x, condition, train=True)
        assert {v.dtype for v in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
        a, b = (
            jax.jit(partial(m.apply, train=True, mutable="batch_stats"))(variables, x, condition)[0]
            for m in (full, half)
        )
        assert a.dtype == b.dtype == jnp.float32
        assert 1e-5 < float(jnp.max(jnp.abs(a - b))) < 0.1 * max(1, float(jnp.max(jnp.abs(a))))


@pytest.mark.slow
def test_initial_weights_are_glorots():
    """Uniform within gain * sqrt(6 / (fan-in + fan-out)); the root of 2 within residuals only."""
    condition, images = jnp.ones((1, 10)), jnp.zeros((1, 32, 32, 3))
    fields = {"width": 24, "conditions": 10}
    g, d = (
        jax.jit(partial(kind(**fields).init, train=True))(jax.random.key(0), x, condition)
        for kind, x in ((Generator, jnp.ones((1, 64))), (Discriminator, images))
    )
    for name, kernel in named_leaves([g["params"], d["params"]]).items():
        if not name.endswith("kernel"):
            continue
        gain = 2**0.5 if "conv_" in name else 1
        area = np.prod(kernel.shape[:-2])
        bound = gain * np.sqrt(6 / (area * sum(kernel.shape[-2:])))
        share = float(jnp.max(jnp.abs(kernel))) / bound
        assert (0.97 if kernel.size > 500 else 0.8) < share <= 1 + 1e-6, name


def test_a_condition_starts_without_effect_and_then_each_image_has_its_own():
    x = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
    condition = jnp.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    norm = BatchNorm(conditions=2)
    variables = norm.init(jax.random.key(0), x, condition, train=True)

    def apply(params):
        variables_ = variables | {"params": params}
        return norm.apply(variables_, x, condition, train=True, mutable=["batch_stats"])

    plain, changed = apply(variables["params"])
    np.testing.assert_allclose(plain.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(plain.std((0, 1, 2)), 1, atol=1e-4)
    scale, bias = np.array([[2.0, -1], [0.5, 1]]), np.array([[0.0, 3], [1, 1]])
    y, _ = apply({"scale": jnp.float32(scale), "bias": jnp.float32(bias)})
    for image, attributes in enumerate(((0,), (), (0, 1))):
        factor = 1 + sum((scale[k] for k in attributes), np.zeros(2))
        shift = sum((bias[k] for k in attributes), np.zeros(2))
        np.testing.assert_allclose(
            y[image], np.asarray(plain[image]) * factor + shift, rtol=1e-5, atol=1e-5
        )
    # The running statistics, were they the batch's own, would give the same.
    stats = changed["batch_stats"]
    stats = {"mean": stats["mean"] / 0.1, "var": (stats["var"] - 0.9) / 0.1}
    params = {"scale": jnp.float32(scale), "bias": jnp.float32(bias)}
    z = norm.apply({"params": params, "batch_stats": stats}, x, condition, train=False)
    np.testing.assert_allclose(z, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 5, 7), (6, 4), (9, 1)])
def test_power_iterations_end_at_the_singular_value(shape):
    kernel = jax.random.normal(jax.random.key(0), shape)
    norm = SpectralNorm()
    variables = norm.init(jax.random.key(1), kernel, train=True)
    step = jax.jit(lambda v: norm.apply(v, kernel, train=True, mutable=["batch_stats"])[1])
    for _ in range(300):
        variables = step(variables)
    largest = np.linalg.svd(np.reshape(kernel, (-1, shape[-1])), compute_uv=False)[0]
    shorter = jax.tree.map(lambda u: u / 2, variables)  # as the mean of several is
    for given, train in ((shorter, True), (shorter, False), (variables, True), (variables, False)):
        normed, after = norm.apply(given, kernel, train=train, mutable=["batch_stats"])
        np.testing.assert_allclose(normed, kernel / largest, rtol=1e-5)
    # A forward that is not training leaves the vector alone.
    np.testing.assert_array_equal(after["batch_stats"]["u"], variables["batch_stats"]["u"])


@pytest.mark.slow
def test_only_training_moves_the_spectral_vectors():
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    module = Discriminator(width=2)
    variables = draw_variables(module, images, train=True)
    moved = {}
    for train in (True, False):
        run = jax.jit(partial(module.apply, train=train, mutable=["batch_stats"]))
        _, after = run(variables, images)
        moved[train] = [
            not np.allclose(a, b)
            for a, b in zip(
                jax.tree.leaves(after["batch_stats"]),
                jax.tree.leaves(variables["batch_stats"]),
                strict=True,
            )
            if a.size > 1
        ]
    assert all(moved[True]) and not any(moved[False])
