"""Super-resolution's networks: published sizes, and PyTorch (goldens/super_resolution_torch.py)."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import draw_variables

from ganjax.nets.super_resolution import (
    FORMS,
    RRDB,
    SRVGG,
    Discriminator,
    MSRResNet,
    SRResNet,
    UNetDiscriminator,
)
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import dcgan_setup  # noqa: E402
import super_resolution_setup as setup  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "super_resolution_torch.npz"))


def _check(golden, prefix, module, images):
    """Holds outputs and gradients of a training forward to the golden's, in float64."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), images))
    names = named_leaves(shapes["params"])
    leaves = [jnp.asarray(setup.draw(f"{prefix}/{name}", x.shape)) for name, x in names.items()]
    params = jax.tree.unflatten(jax.tree.structure(shapes["params"]), leaves)
    # What batch normalization starts from doesn't count here; singular vectors start from ones.
    statistics = jax.tree.map(
        lambda x: jnp.full(x.shape, x.size**-0.5, x.dtype), shapes.get("batch_stats", {})
    )

    def run(params):
        variables = {"params": params, "batch_stats": statistics}
        outputs, _ = module.apply(variables, images, train=True, mutable=["batch_stats"])
        return jnp.sum(jnp.square(outputs)), outputs

    (_, outputs), gradients = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    np.testing.assert_allclose(outputs, golden[f"{prefix}/outputs"], rtol=1e-9, atol=1e-10)
    gradients, start = named_leaves(gradients), f"{prefix}/gradient/"
    expected = {k.removeprefix(start): v for k, v in golden.items() if k.startswith(start)}
    assert expected.keys() == gradients.keys()
    for name, value in expected.items():
        got = dcgan_setup.summarize(np.asarray(gradients[name]))
        np.testing.assert_allclose(got, value, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "scale"), setup.FORMS)
def test_enlargers_are_pytorchs(golden, form, scale):
    with jax.enable_x64(True):
        module = FORMS[form](scale, 3, setup.WIDTH, setup.DEPTH, jnp.float64)
        _check(golden, f"{form}_{scale}", module, jnp.asarray(setup.draw_images(*setup.SHAPE)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "make"),
    [("discriminator", Discriminator), ("unet_discriminator", UNetDiscriminator)],
)
def test_discriminators_are_pytorchs(golden, prefix, make):
    with jax.enable_x64(True):
        images = jnp.asarray(setup.draw_images(2, setup.SIDE, setup.SIDE, 3))
        _check(golden, prefix, make(setup.WIDTH, dtype=jnp.float64), images)


@pytest.mark.parametrize(
    ("module", "count"),
    [
        (SRVGG(2), 600_652),
        (SRVGG(3), 609_307),
        (SRVGG(4), 621_424),
        (SRResNet(4), 1_549_462),
        (MSRResNet(4), 1_517_571),
        (RRDB(4), 16_697_987),
        (Discriminator(), 23_565_505),
        (UNetDiscriminator(), 4_376_897),
    ],
)
def test_published_numbers_of_parameters(module, count):
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 96, 96, 3)))
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == count


@pytest.mark.slow
@pytest.mark.parametrize(("form", "scale"), [("srvgg", 3), ("srresnet", 4), ("msrresnet", 2)])
def test_pixels_beyond_the_reach_have_no_influence(form, scale):
    """Exactly: the pixels of the input at the reach still have one, the next ones none."""
    module = FORMS[form](scale, 3, 4, 1)
    side = 2 * module.reach + 3
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, side, 3)), jnp.float32)
    images = jnp.broadcast_to(images, (1, side, side, 3))
    variables = draw_variables(module, images)
    middle = module.reach + 1

    @jax.jit
    @jax.grad
    def influence(images):
        block = slice(scale * middle, scale * (middle + 1))
        return jnp.sum(jnp.square(module.apply(variables, images)[:, block, block]))

    seen = np.abs(influence(images)).sum(axis=(0, 3)) > 0
    rows = np.flatnonzero(seen.any(axis=1))
    assert (rows[0], rows[-1]) == (1, side - 2)


def test_an_untrained_srvgg_repeats_pixels():
    module, images = SRVGG(2, width=8), jnp.full((1, 5, 6, 3), 0.3)
    enlarged = module.apply(module.init(jax.random.key(0), images), images)
    assert enlarged.shape == (1, 10, 12, 3)
    np.testing.assert_allclose(enlarged, 0.3, atol=0.3)
