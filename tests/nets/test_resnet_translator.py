"""The ResNet of CycleGAN and CUT: its size, and PyTorch (tests/goldens/cyclegan_torch.py)."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.nets.resnet_translator import ResNetTranslator
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import cyclegan_setup as setup  # noqa: E402
import dcgan_setup  # noqa: E402

IMAGES = jax.ShapeDtypeStruct((1, 32, 64, 3), jnp.float32)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "cyclegan_torch.npz"))


def _shapes(module, images=IMAGES):
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    assert shapes.keys() == {"params"}
    return shapes["params"]


def test_published_number_of_parameters(golden):
    counts = [
        sum(x.size for x in jax.tree.leaves(_shapes(ResNetTranslator(blocks=blocks))))
        for blocks in (9, 6)
    ]
    assert counts == [11_378_179, 7_837_699] and golden["parameters"] == 11_378_179


@pytest.mark.slow
@pytest.mark.parametrize(("resampling", "norm"), setup.FORMS)
def test_it_is_pytorchs(golden, resampling, norm):
    prefix = f"{resampling}_{norm}"
    with jax.enable_x64(True):
        images, weights = map(setup.draw_images, ("images", "weights"))
        module = ResNetTranslator(3, setup.WIDTH, setup.BLOCKS, resampling, norm, dtype=jnp.float64)
        shapes = _shapes(module)
        names = named_leaves(shapes)
        leaves = [jnp.asarray(setup.draw(f"{prefix}/{name}", x.shape)) for name, x in names.items()]
        params = jax.tree.unflatten(jax.tree.structure(shapes), leaves)

        def run(params):
            outputs = module.apply({"params": params}, images)
            return jnp.sum(outputs * weights), outputs

        (_, outputs), gradients = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
        outputs = np.asarray(outputs).transpose(0, 3, 1, 2)[:, :, ::5, ::7]
        np.testing.assert_allclose(outputs, golden[f"{prefix}/outputs"], atol=1e-10)
        start = f"{prefix}/gradient/"
        wanted = {k.removeprefix(start): v for k, v in golden.items() if k.startswith(start)}
        got = named_leaves(gradients)
        assert got.keys() == wanted.keys()
        for name, value in wanted.items():
            found = dcgan_setup.summarize(np.asarray(got[name]))
            np.testing.assert_allclose(found, value, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_remat_changes_nothing_but_memory():
    images = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    module = ResNetTranslator(width=1, blocks=1)
    variables = jax.jit(module.init)(jax.random.key(1), images)

    def gradients(module):
        return jax.jit(jax.grad(lambda v: jnp.sum(module.apply(v, images) ** 2)))(variables)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        gradients(module),
        gradients(module.clone(remat=True)),
    )


def test_features_are_those_that_cut_compares():
    """Of the published layers 0, 4, 8, 12 and 16."""
    module = ResNetTranslator(width=4, blocks=6, resampling="antialiased")
    variables = jax.eval_shape(module.init, jax.random.key(0), IMAGES)
    features = jax.eval_shape(lambda v, x: module.apply(v, x, encode=True), variables, IMAGES)
    assert [x.shape[1:] for x in features] == [
        (38, 70, 3), (32, 64, 8), (16, 32, 16), (8, 16, 16), (8, 16, 16),
    ]  # fmt: skip


@pytest.mark.slow
def test_dropout_is_of_the_key():
    images = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    module = ResNetTranslator(width=1, blocks=1, dropout=0.5)
    variables = jax.jit(module.init)(jax.random.key(1), images)
    run = jax.jit(lambda rng: module.apply(variables, images, rng=rng))
    plain, once, again, other = (run(key and jax.random.key(key)) for key in (None, 1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(plain, once) and not np.allclose(once, other)


def test_residual_is_added_to_the_source():
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3), minval=-1)
    module = ResNetTranslator(width=1, blocks=0, residual=True)
    params = jax.jit(module.init)(jax.random.key(1), images)["params"]
    last = params["last"] | {"bias": jnp.array([0.5, 0.0, -2.0])}
    added = module.apply({"params": params | {"last": last}}, images) - images
    plain = module.clone(residual=False).apply({"params": params | {"last": last}}, images)
    np.testing.assert_allclose(jnp.tanh(added), plain, atol=1e-6)
    nothing = jax.tree.map(jnp.zeros_like, last)
    kept = module.apply({"params": params | {"last": nothing}}, images)
    np.testing.assert_array_equal(kept, images)


def test_sides_are_multiples_of_four():
    with pytest.raises(UserError, match="multiples of 4, not 18x16"):
        ResNetTranslator().init(jax.random.key(0), jnp.zeros((1, 18, 16, 3)))
