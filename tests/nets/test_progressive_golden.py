"""Progressive GAN: losses and gradients, against PyTorch 2.13 (goldens/progressive_torch.py)."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from ganjax import losses
from ganjax.nets import progressive
from ganjax.nets.progressive import Discriminator, Generator

pytestmark = pytest.mark.long
GOLDENS = Path(__file__).parents[1] / "goldens"
# Levels at which gradients are compiled, which takes long; the golden has those of all. At
# 256x256 they pass through all blocks.
WITH_GRADIENTS = (1, 6)
sys.path.insert(0, str(GOLDENS))

import progressive_setup as setup  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "progressive_torch.npz"))


@pytest.fixture(scope="module")
def params():
    """The golden's weights, in exactly the tree that `init` makes."""
    weights = setup.draw_weights()
    side = 4 << setup.LAST
    fields = {"image_size": side, "width": setup.WIDTH}
    inputs = jnp.zeros((1, setup.LATENT)), jnp.zeros((1, side, side, 3))
    result = {}
    for module, x in zip((Generator(**fields), Discriminator(**fields)), inputs, strict=True):
        role = type(module).__name__.lower()
        shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
        flat = flatten_dict(shapes, sep="/")
        for name, shape in flat.items():
            assert shape.shape == weights[f"{role}/{name}"].shape, name
        given = {name: weights.pop(f"{role}/{name}") for name in flat}
        result[role] = unflatten_dict(given, sep="/")
    assert not weights
    return result


@pytest.mark.parametrize("level", setup.LEVELS)
def test_every_resolution(golden, params, level):
    side = 4 << setup.LAST
    fields = {"image_size": side, "width": setup.WIDTH, "dtype": jnp.float64}
    generator, discriminator = Generator(**fields), Discriminator(**fields)

    def evaluate(params, inputs, alpha):
        def generate(gen):
            return generator.apply({"params": gen}, inputs["z"], alpha, level=level)

        def loss(disc, shown):
            def critic(images):
                return discriminator.apply({"params": disc}, images, alpha)

            # Both batches are of whole groups, so that they may be judged as one.
            scores, fake_scores = jnp.split(critic(jnp.concatenate([real, shown])), 2)
            penalty = losses.gradient_penalty(critic, real, fake, inputs["mix"])
            values = losses.WASSERSTEIN.real(scores) + losses.WASSERSTEIN.fake(fake_scores)
            values = values + setup.PENALTY * penalty + setup.DRIFT * losses.drift(scores)
            return values.mean(), (values, scores)

        real = progressive.fade(inputs["real"], alpha) if level else inputs["real"]
        if level not in WITH_GRADIENTS:
            fake = generate(params["generator"])
            return fake, *loss(params["discriminator"], fake)[1], {}
        fake, pull_back = jax.vjp(generate, params["generator"])
        differentiate = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (disc, shown), aux = differentiate(params["discriminator"], fake)
        (gen,) = pull_back(-shown)  # what the critic pays for generated images, the generator gains
        return fake, *aux, {"generator": gen, "discriminator": disc}

    with jax.enable_x64(True):
        params, inputs = jax.tree.map(jnp.asarray, (params, setup.draw_inputs(level)))
        assert inputs["z"].dtype == jnp.float64
        function = jax.jit(evaluate)
        for alpha in setup.ALPHAS:
            with jax.numpy_dtype_promotion("strict"):
                fake, values, scores, gradients = function(params, inputs, jnp.float64(alpha))
            key = f"{level}/{alpha}"
            np.testing.assert_allclose(
                setup.crop(np.asarray(fake)), golden[f"{key}/images"], rtol=0, atol=1e-10
            )
            np.testing.assert_allclose(scores, golden[f"{key}/scores"], rtol=0, atol=1e-10)
            np.testing.assert_allclose(values, golden[f"{key}/loss"], rtol=1e-9)
            if level not in WITH_GRADIENTS:
                continue
            flat = flatten_dict(gradients, sep="/")
            assert flat.keys() == set(setup.shapes())
            names = sorted(setup.shapes(), key=lambda name: name.startswith("discriminator"))
            got = np.array([setup.summarize(name, np.asarray(flat[name])) for name in names])
            largest = np.abs(golden[f"{key}/gradients"]).max()
            np.testing.assert_allclose(
                got, golden[f"{key}/gradients"], rtol=1e-8, atol=1e-10 * largest
            )
        assert function._cache_size() == 1
