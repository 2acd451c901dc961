"""DCGAN's 4x4 form and its game against PyTorch 2.13 (tests/goldens/dcgan_torch.py)."""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganjax import losses
from ganjax.nets.dcgan import Discriminator, Generator
from ganjax.tasks import dcgan

pytestmark = pytest.mark.slow
GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import dcgan_setup  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "dcgan_torch.npz"))


def _make_task(dtype):
    sgd = optax.sgd(dcgan_setup.RATE)
    return dcgan.make(
        Generator(dtype=dtype),
        Discriminator(dtype=dtype),
        loss=losses.NON_SATURATING,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        phases=(),
    )


def _start(task):
    """A state with the golden's weights in place of its own."""
    state = jax.jit(task.init)(jax.random.key(0))
    weights = dcgan_setup.draw_weights()
    networks = {}
    for role, network in state.networks.items():
        leaves, structure = jax.tree.flatten_with_path(network.params)
        names = [f"{role}/{jax.tree_util.keystr(p, simple=True, separator='/')}" for p, _ in leaves]
        assert [x.shape for _, x in leaves] == [weights[name].shape for name in names]
        networks[role] = network.replace(
            params=jax.tree.unflatten(structure, [weights.pop(name) for name in names])
        )
    assert not weights
    return state.replace(networks=networks)


def test_forward(golden):
    state, batch = _start(_make_task(jnp.float32)), dcgan_setup.draw_batches()[0]
    outputs = {}
    for role, module, x in (
        ("generator", Generator(), batch["z"]),
        ("discriminator", Discriminator(), batch["image"]),
    ):
        variables = state.networks[role].variables
        apply = jax.jit(partial(module.apply, train=True, mutable=["batch_stats"]))
        outputs[role] = apply(variables, x)[0]
    np.testing.assert_allclose(outputs["generator"][:2, ::7, ::7], golden["images"], atol=1e-5)
    np.testing.assert_allclose(outputs["discriminator"], golden["logits"], atol=1e-5)


def test_three_train_steps(golden):
    """In float64 on both sides: at this rate the game magnifies float32's rounding a thousandfold.

    Float32 itself stays within 1e-3 with some versions of XLA, and with others it does not.
    """
    weights = dcgan_setup.draw_weights()
    with jax.enable_x64(True):
        task = _make_task(jnp.float64)
        state = _start(task)
        state = state.replace(networks=jax.tree.map(_to_float64, state.networks))
        state = state.replace(averages=jax.tree.map(_to_float64, state.averages))
        step = jax.jit(task.train_step)
        for batch, expected in zip(dcgan_setup.draw_batches(), golden["losses"], strict=True):
            state, metrics = step(state, jax.tree.map(_to_float64, batch), jax.random.key(0))
            got = [metrics["loss_discriminator"], metrics["loss_generator"]]
            np.testing.assert_allclose(got, expected, rtol=1e-6)
    changes = {name: value for name, value in golden.items() if name.startswith("change/")}
    assert len(changes) == len(weights)
    for name, expected in changes.items():
        path = name.removeprefix("change/")
        role, layer, kind = path.split("/")
        after = np.asarray(state.networks[role].params[layer][kind])
        got = dcgan_setup.summarize(after - weights[path])
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-6, err_msg=path)
        error = np.linalg.norm(got[1:] - expected[1:]) / np.linalg.norm(expected[1:])
        assert error < 1e-6, f"{path} changed by {error:.1e} relative otherwise"


def _to_float64(x):
    return jnp.asarray(x, jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x
