"""pix2pix's U-Net and PatchGAN: published sizes, and PyTorch (tests/goldens/pix2pix_torch.py)."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import draw_variables

from ganjax.errors import UserError
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.unet import UNet
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import dcgan_setup  # noqa: E402
import pix2pix_setup as setup  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "pix2pix_torch.npz"))


def _check(golden, prefix, module, images, loss, outputs_of):
    """Holds outputs and gradients to the golden's, from its weights, in float64."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), images))
    assert shapes.keys() == {"params"}
    names = named_leaves(shapes["params"])
    leaves = [jnp.asarray(setup.draw(f"{prefix}/{name}", x.shape)) for name, x in names.items()]
    params = jax.tree.unflatten(jax.tree.structure(shapes["params"]), leaves)

    def run(params):
        outputs = module.apply({"params": params}, images)
        return loss(outputs), outputs

    (_, outputs), gradients = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    np.testing.assert_allclose(outputs_of(outputs), golden[f"{prefix}/outputs"], atol=1e-10)
    gradients = named_leaves(gradients)
    start = f"{prefix}/gradient/"
    expected = {k.removeprefix(start): v for k, v in golden.items() if k.startswith(start)}
    assert expected.keys() == gradients.keys()
    for name, value in expected.items():
        got = dcgan_setup.summarize(np.asarray(gradients[name]))
        np.testing.assert_allclose(got, value, rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("norm", setup.NORMS)
def test_unet_is_pytorchs(golden, norm):
    with jax.enable_x64(True):
        inputs = jax.tree.map(jnp.asarray, setup.draw_inputs())
        module = UNet(width=setup.WIDTH, downs=setup.DOWNS, norm=norm, dtype=jnp.float64)
        _check(
            golden,
            f"unet_{norm}",
            module,
            inputs["images"],
            lambda images: jnp.sum(images * inputs["weights"]),
            lambda images: images[:, ::9, ::9],
        )


@pytest.mark.slow
@pytest.mark.parametrize("norm", setup.NORMS)
@pytest.mark.parametrize("layers", setup.LAYERS)
def test_patchgan_is_pytorchs(golden, norm, layers):
    with jax.enable_x64(True):
        _check(
            golden,
            f"patchgan_{norm}_{layers}",
            PatchGAN(width=setup.WIDTH, layers=layers, norm=norm, dtype=jnp.float64),
            jnp.asarray(setup.draw_inputs()["pairs"]),
            lambda logits: jnp.sum(jnp.square(logits)),
            lambda logits: logits[:, ::3, ::5],
        )


def _count(module, images) -> int:
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), images))
    assert variables.keys() == {"params"}
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


def test_parameter_counts_are_the_published_ones():
    """54.414 M and 41.829 M for U-Net-256 and U-Net-128, 2.769 M for the 70x70 PatchGAN."""
    images, pairs = jnp.zeros((1, 256, 256, 3)), jnp.zeros((1, 256, 256, 6))
    assert _count(UNet(), images) == 54_413_955
    assert _count(UNet(downs=7), images) == 41_828_995
    for layers, count in ((0, 9_024), (1, 139_585), (3, 2_768_705), (5, 11_159_361)):
        assert _count(PatchGAN(layers=layers), pairs) == count


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (3, 70)])
def test_a_logit_sees_a_patch(layers, side):
    """With weights and slopes above 0 all that it sees moves it; norms would see everything."""
    images = jnp.zeros((1, 1, 320, 1)) if not layers else jnp.zeros((1, 320, 320, 1))
    module = PatchGAN(width=1, layers=layers, norm="instance")
    variables = jax.tree.map(jnp.ones_like, draw_variables(module, images))
    logits = jax.eval_shape(module.apply, variables, images)
    row, column = (s // 2 for s in logits.shape[1:])

    def one(images):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ganjax.ops.instance_norm", lambda x: x)
            return module.apply(variables, images)[0, row, column]

    seen = np.asarray(jax.jit(jax.grad(one))(images))[0, :, :, 0] != 0
    columns = np.flatnonzero(seen.any(0))
    assert columns[-1] - columns[0] + 1 == side


@pytest.mark.parametrize("norm", setup.NORMS)
def test_sizes_and_channels(norm):
    images = jax.random.normal(jax.random.key(0), (1, 32, 64, 1))
    module = UNet(channels=4, width=1, downs=5, norm=norm)
    y = jax.eval_shape(module.apply, draw_variables(module, images), images)
    assert y.shape == (1, 32, 64, 4) and y.dtype == jnp.float32
    with pytest.raises(UserError, match="multiples of 32, not 48x64"):
        module.init(jax.random.key(0), jnp.zeros((1, 48, 64, 1)))


@pytest.mark.slow
def test_dropout_is_of_the_key_and_drops_half():
    """Of the levels that the published network drops, and not of others."""
    images = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
    module = UNet(width=8, downs=6)
    variables = draw_variables(module, images)
    calls = {}

    def run(key):
        masks = []
        with pytest.MonkeyPatch.context() as patch:
            bernoulli = jax.random.bernoulli
            patch.setattr(
                jax.random, "bernoulli", lambda *a: masks.append(bernoulli(*a)) or masks[-1]
            )
            outputs = module.apply(variables, images, rng=key)
        calls[key is None] = masks
        return outputs

    plain, once, again = run(None), run(jax.random.key(1)), run(jax.random.key(1))
    other = run(jax.random.key(2))
    assert calls[True] == [] and [m.shape for m in calls[False]] == [(2, 4, 4, 64)]
    assert abs(float(calls[False][0].mean()) - 0.5) < 0.05
    np.testing.assert_array_equal(once, again)
    for x in (plain, other):
        assert not np.allclose(x, once)
    none = module.clone(dropout=0.0).apply(variables, images, rng=jax.random.key(1))
    np.testing.assert_allclose(none, plain, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("norm", setup.NORMS)
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters(norm):
    images = jnp.tanh(jax.random.normal(jax.random.key(0), (2, 64, 64, 3)))
    for full in (UNet(width=4, downs=5, norm=norm), PatchGAN(width=8, norm=norm)):
        half = full.clone(dtype=jnp.bfloat16)
        variables = draw_variables(half, images)
        assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
        a, b = (jax.jit(module.apply)(variables, images) for module in (full, half))
        assert a.dtype == b.dtype == jnp.float32
        assert 1e-5 < float(jnp.mean(jnp.abs(a - b))) < 0.1
