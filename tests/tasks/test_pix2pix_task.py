"""pix2pix's train step: PyTorch's, in the order of the public code; its learning rate."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganjax import losses
from ganjax.errors import UserError
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.unet import UNet
from ganjax.tasks import pix2pix
from ganjax.training import optimizers
from ganjax.training.state import Network
from ganjax.training.task import Phase
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import dcgan_setup  # noqa: E402
import pix2pix_setup as setup  # noqa: E402


@pytest.mark.slow
def test_two_train_steps_are_pytorchs():
    golden = dict(np.load(GOLDENS / "pix2pix_step_torch.npz"))
    with jax.enable_x64(True):
        fields = {"width": setup.WIDTH, "norm": "batch", "dtype": jnp.float64}
        adam = optax.adam(2e-4, b1=0.5, b2=0.999)
        task = pix2pix.make(
            UNet(downs=setup.DOWNS, dropout=0.0, **fields),
            PatchGAN(layers=1, **fields),
            loss=losses.NON_SATURATING,
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            phases=(Phase("train", 1, 2, setup.SHAPE[1:3]),),
        )
        state, starts = jax.jit(task.init)(jax.random.key(0)), {}
        networks = {}
        for role, prefix in (("generator", "step_unet"), ("discriminator", "step_patchgan")):
            params = state.networks[role].params
            names = named_leaves(params)
            leaves = [jnp.asarray(setup.draw(f"{prefix}/{n}", x.shape)) for n, x in names.items()]
            starts[role] = jax.tree.unflatten(jax.tree.structure(params), leaves)
            networks[role] = Network.start({"params": starts[role]}, adam)
        state, step = state.replace(networks=networks), jax.jit(task.train_step)
        for number in range(2):
            source, target = map(jnp.asarray, setup.draw_pairs(number))
            batch = {"source": source, "target": target}
            state, metrics = step(state, batch, jax.random.key(0))
            for name in ("generator", "discriminator", "l1"):
                wanted = golden[f"{number}/loss_{name}"]
                np.testing.assert_allclose(metrics[f"loss_{name}"], wanted, rtol=1e-9)
        for role, start in starts.items():
            change = jax.tree.map(lambda a, b: a - b, state.networks[role].params, start)
            for name, value in named_leaves(change).items():
                got = dcgan_setup.summarize(np.asarray(value))
                wanted = golden[f"{role}/{name}"]
                # Adam blows rounding up where gradients are all but 0.
                np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-9, err_msg=name)


def test_the_learning_rate_falls_linearly_to_0_after_half_of_the_run():
    config = pix2pix.defaults()
    optimizer = optimizers.make(config.optimizer, updates=100)
    params, state, rates = jnp.zeros(()), optimizer.init(jnp.zeros(())), []
    update = jax.jit(optimizer.update)
    for _ in range(100):
        updates, state = update(jnp.ones(()), state, params)
        rates.append(-float(updates))  # Adam's step along a constant gradient is the rate
    wanted = 2e-4 * np.clip(1 - (np.arange(100) - 50) / 50, 0, 1)
    np.testing.assert_allclose(rates, wanted, rtol=1e-3)


def test_a_config_names_the_published_networks():
    config = pix2pix.defaults()
    assert pix2pix.generator(config) == UNet(3, 64, downs=8, norm="batch", dropout=0.5)
    assert pix2pix.discriminator(config) == PatchGAN(width=64, layers=3, norm="batch")


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_generator_may_be_a_resnet(norm):
    """Of the published size, with the U-Net's norm and dropout; images of other multiples."""
    config = pix2pix.defaults()
    config.data.image_size = "36"
    config.model.generator, config.model.norm = "resnet", norm
    task = pix2pix.from_config(config)
    state = jax.eval_shape(task.init, jax.random.key(0))
    (variables,) = state.averages.values()
    shapes = named_leaves(variables["params"])
    scales = [name for name in shapes if name.endswith("scale")]
    assert sum(x.size for name, x in shapes.items() if "norm" not in name) >= 11_370_000
    assert bool(scales) == (norm == "batch") and task.model.multiple == 4
    images = jax.ShapeDtypeStruct((2, 36, 40, 3), jnp.uint8)
    batch = {"source": images, "target": images}
    after, _ = jax.eval_shape(task.train_step, state, batch, jax.random.key(0))
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    network = pix2pix.generator(config)
    assert (network.blocks, network.dropout, network.norm) == (9, 0.5, norm)
    config.data.image_size = "38"
    with pytest.raises(UserError, match="give multiples of 4"):
        pix2pix.from_config(config)
    config.model.generator = "vit"
    with pytest.raises(UserError, match="choose unet or resnet"):
        pix2pix.from_config(config)
