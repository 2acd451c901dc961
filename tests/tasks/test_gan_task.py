"""The game of SNGAN and R3GAN: R3GAN's train steps are PyTorch's (tests/goldens/r3gan_torch.py)."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganjax import conditions, losses
from ganjax.nets.r3gan import Discriminator, Generator
from ganjax.tasks import gan
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import r3gan_setup as setup  # noqa: E402
from dcgan_setup import summarize  # noqa: E402


def _drawn(role, tree):
    """The golden's weights in place of a tree's own."""
    leaves = [
        jnp.asarray(setup.draw(f"{setup.STEP}/{role}/{name}", x.shape))
        for name, x in named_leaves(tree).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


@pytest.mark.slow
def test_r3gans_train_steps_are_pytorchs(monkeypatch):
    """Both penalties by double backward, other real images for G, conditional pairs."""
    golden, case = np.load(GOLDENS / "r3gan_torch.npz"), setup.CASES[setup.STEP]
    fields = ((case.side, case.side), case.channels, case.width, case.conditions)
    with jax.enable_x64(True):
        task = gan.make(
            Generator(*fields, dtype=jnp.float64),
            Discriminator(*fields, dtype=jnp.float64),
            loss=losses.RELATIVISTIC,
            generator_optimizer=optax.adam(setup.RATE, b1=0.0, b2=setup.B2),
            discriminator_optimizer=optax.adam(setup.RATE, b1=0.0, b2=setup.B2),
            phases=(),
            condition=conditions.declare(case.conditions),
            latent_size=setup.LATENT,
            discriminator_steps=1,
            generator_batch=1,
            r1_weight=setup.R1,
            r2_weight=setup.R2,
        )
        like = jax.eval_shape(task.init, jax.random.key(0))
        networks = {
            role: network.replace(
                params=_drawn(role, network.params),
                optimizer=jax.tree.map(
                    lambda x: jnp.zeros(x.shape, x.dtype if x.dtype == jnp.int32 else jnp.float64),
                    network.optimizer,
                ),
            )
            for role, network in like.networks.items()
        }
        zero = jnp.zeros((), jnp.int32)
        averages = {"generator": jax.tree.map(jnp.copy, networks["generator"].variables)}
        state = like.replace(step=zero, images=zero, networks=networks, averages=averages)
        for step in range(setup.STEPS):
            name = f"{setup.STEP}/{step}"
            drawn = iter([setup.draw_inputs(f"{name}/{n}")["z"] for n in range(2)])
            monkeypatch.setattr(jax.random, "normal", lambda *_, drawn=drawn: next(drawn))
            inputs = setup.draw_inputs(name, 2 * setup.BATCH)
            batch = {key: jnp.asarray(inputs[key]) for key in ("image", "label")}
            state, metrics = jax.jit(lambda *args: task.train_step(*args))(
                state, batch, jax.random.key(0)
            )
            for key in ("loss_discriminator", "loss_generator", "penalty_real", "penalty_fake"):
                wanted = golden[f"step/{step}/{key}"]
                np.testing.assert_allclose(metrics[key], wanted, rtol=1e-7, err_msg=key)
        for role, network in state.networks.items():
            begin = named_leaves(networks[role].params)
            for name, value in named_leaves(network.params).items():
                change = summarize(np.asarray(value) - np.asarray(begin[name]))
                wanted = golden[f"step/{role}/{name}"]
                np.testing.assert_allclose(change, wanted, rtol=1e-6, atol=1e-9, err_msg=name)
