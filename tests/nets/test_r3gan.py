"""R3GAN's networks: published sizes, their start, and PyTorch (tests/goldens/r3gan_torch.py)."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.nets.r3gan import Discriminator, Generator, seed_and_widths
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import r3gan_setup as setup  # noqa: E402
from dcgan_setup import summarize  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("name", setup.CASES)
@pytest.mark.parametrize("kind", [Generator, Discriminator])
def test_networks_and_their_gradients_are_pytorchs(name, kind):
    golden, case = np.load(GOLDENS / "r3gan_torch.npz"), setup.CASES[name]
    role = kind.__name__.lower()
    with jax.enable_x64(True):
        inputs = setup.draw_inputs(name)
        condition = np.eye(case.conditions)[inputs["label"]] if case.conditions else None
        size = (case.side, case.side)
        module = kind(size, case.channels, case.width, case.conditions, jnp.float64)
        x = jnp.asarray(inputs["z" if kind is Generator else "image"])
        like = jax.eval_shape(module.init, jax.random.key(0), x, condition)["params"]
        drawn = [setup.draw(f"{name}/{role}/{k}", v.shape) for k, v in named_leaves(like).items()]

        def loss(params):
            y = module.apply({"params": params}, x, condition)
            return jnp.sum(y * (inputs["weights"] if kind is Generator else y)), y

        params = jax.tree.unflatten(jax.tree.structure(like), map(jnp.asarray, drawn))
        (_, y), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    if kind is Generator:
        step = case.side // 8
        np.testing.assert_allclose(y[:, ::step, ::step], golden[f"{name}/images"], atol=1e-12)
    else:
        np.testing.assert_allclose(y, golden[f"{name}/logits"], rtol=1e-10)
    keys = [key for key in golden if key.startswith(f"{name}/{role}/")]
    gradients = {f"{name}/{role}/{k}": v for k, v in named_leaves(gradients).items()}
    assert set(keys) == gradients.keys()
    for key in keys:
        got = summarize(np.asarray(gradients[key]))
        np.testing.assert_allclose(got, golden[key], rtol=1e-7, atol=1e-12, err_msg=key)


def _shapes(kind, side, conditions=0, **fields):
    module = kind((side, side), conditions=conditions, **fields)
    x = jnp.zeros((1, 64) if kind is Generator else (1, side, side, 3))
    condition = jnp.zeros((1, conditions)) if conditions else None
    return jax.eval_shape(module.init, jax.random.key(0), x, condition)["params"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "conditions", "generator", "discriminator"),
    [(32, 10, 20_781_952, 21_280_512), (64, 0, 22_429_824, 22_381_440),
     (256, 0, 23_057_952, 23_009_568)],
)  # fmt: skip
def test_parameter_counts_are_the_published_ones(side, conditions, generator, discriminator):
    """By the published widths of CIFAR-10, FFHQ-64 and FFHQ-256 (23.06 M in the paper)."""
    for kind, count in ((Generator, generator), (Discriminator, discriminator)):
        leaves = jax.tree.leaves(_shapes(kind, side, conditions))
        assert sum(x.size for x in leaves) == count


def test_counts_follow_from_the_widths():
    """The generator's at 64x64, by hand: ten blocks, the basis, one narrowing, the pixels."""
    blocks = sum(2 * 2 * c * c + 9 * 16 * 2 * c + 2 * 2 * c for c in (768,) * 8 + (384,) * 2)
    assert blocks + (16 + 64) * 768 + 768 * 384 + 384 * 3 == 22_429_824
    assert seed_and_widths((256, 256), 768)[1] == (768, 768, 768, 768, 384, 192, 96)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Generator, Discriminator])
def test_weights_start_by_fix_up(kind):
    """N(0, gain^2 / fan-in), in blocks with the activation's gain by the root of a root of L."""
    x = jnp.ones((1, 64) if kind is Generator else (1, 16, 16, 3))
    init = jax.jit(kind((16, 16), width=64, conditions=40).init)
    variables = init(jax.random.key(0), x, jnp.ones((1, 40)))
    gain = np.sqrt(2 / 1.04) * 6**-0.25  # of six blocks
    for name, value in named_leaves(variables["params"]).items():
        if "reduce" in name or "bias" in name:
            assert not np.any(value), name
            continue
        own = gain if "block" in name else 1.0
        if kind is Discriminator and "embedding" in name:
            own = 64**-0.5
        fan_in = np.prod(value.shape[:-1])
        if "basis" in name and kind is Generator:
            fan_in = 1
        error = np.std(value) * np.sqrt(fan_in) / own - 1
        assert abs(error) < 4 / np.sqrt(2 * value.size), name


def test_sizes_conditions_and_dtypes():
    z, condition = jnp.zeros((2, 8)), jnp.eye(2)
    fields = {"image_size": (24, 16), "channels": 1, "width": 8, "conditions": 2}
    generator, discriminator = (
        kind(**fields, dtype=jnp.bfloat16) for kind in (Generator, Discriminator)
    )
    key = jax.random.key(0)
    images, g = jax.eval_shape(generator.init_with_output, key, z, condition)
    logits, d = jax.eval_shape(discriminator.init_with_output, key, images, condition)
    assert images.shape == (2, 24, 16, 1) and logits.shape == (2,)
    assert {x.dtype for x in jax.tree.leaves([images, logits, g, d])} == {jnp.dtype("float32")}
    with pytest.raises(ValueError, match="images are"):
        discriminator.init(key, jnp.zeros((2, 16, 24, 1)), condition)
    with pytest.raises(ValueError, match="the condition must be"):
        generator.init(key, z)


@pytest.mark.parametrize(("size", "width"), [((33, 32), 16), ((64, 64), 8), ((32, 32), 20)])
def test_impossible_sizes_and_widths_are_refused(size, width):
    with pytest.raises(UserError, match=r"choose 32x32|a multiple of (16|8)"):
        seed_and_widths(size, width)
