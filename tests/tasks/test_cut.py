"""CUT's train step: steps of PyTorch (tests/goldens/cut_torch.py); PatchNCE and its places."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toys import double_start

from ganjax import losses
from ganjax.config import flat
from ganjax.config import load as load_config
from ganjax.errors import UserError
from ganjax.nets.patch_heads import PatchHeads
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.resnet_translator import ResNetTranslator
from ganjax.tasks import cut
from ganjax.training.task import Phase
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import cut_setup as setup  # noqa: E402
import dcgan_setup  # noqa: E402


def make(form):
    weight, identity, flip = setup.FORMS[form]
    return cut.make(
        ResNetTranslator(3, setup.WIDTH, setup.BLOCKS, "antialiased", dtype=jnp.float64),
        PatchGAN(setup.WIDTH, setup.LAYERS, "instance", antialiased=True, dtype=jnp.float64),
        PatchHeads(setup.HEAD_WIDTH, dtype=jnp.float64),
        nce_weight=weight,
        nce_identity=identity,
        flip_equivariance=flip,
        patches=setup.PATCHES,
        optimizer=optax.adam(setup.LEARNING_RATE, b1=0.5),
        phases=(Phase("train", 1.0, setup.BATCH, (setup.SIDE, 2 * setup.SIDE)),),
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", setup.FORMS)
def test_steps_are_pytorchs(form, monkeypatch):
    golden = dict(np.load(GOLDENS / "cut_torch.npz"))
    golden = {k.removeprefix(f"{form}/"): v for k, v in golden.items() if k.startswith(form)}
    # What is random is the golden's: the places, and that the inputs are mirrored.
    monkeypatch.setattr(cut, "draw_places", lambda rng, features, count: drawn[-1])
    monkeypatch.setattr(jax.random, "bernoulli", lambda rng: jnp.array(True))
    sizes = [(22, 38), (16, 32), (8, 16), (4, 8)]
    drawn = []
    with jax.enable_x64(True):
        task = make(form)
        state = double_start(task, setup.draw)

        @jax.jit
        def step(state, batch, places):
            drawn.append(places)
            return task.train_step(state, batch, jax.random.key(0))

        for number in range(setup.STEPS):
            images = [setup.draw_images(f"{side} {number}") for side in "ab"]
            batch = dict(zip(("source", "target"), images, strict=True))
            state, metrics = step(state, batch, setup.draw_places(number, sizes))
            first = f"step {number}/"
            wanted = {k.removeprefix(first): v for k, v in golden.items() if k.startswith(first)}
            assert wanted.keys() == {name for name in metrics if name.startswith("loss_")}
            for name, value in wanted.items():
                np.testing.assert_allclose(metrics[name], value, rtol=1e-8, err_msg=name)
    for role, network in state.networks.items():
        for name, leaf in named_leaves(network.params).items():
            # What normalization removes has no gradient but rounding, which Adam blows up. In CUT
            # it counts where features are compared before normalization.
            if name.endswith("bias") and name.startswith(("first", "block", "up")):
                continue
            got, wanted = dcgan_setup.summarize(leaf), golden[f"{role}/{name}"]
            np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-8, err_msg=f"{role} {name}")


def test_patch_nce_is_its_formula():
    random = np.random.default_rng(0)
    q, k = random.normal(size=(2, 2, 5, 3))
    values = losses.patch_nce(jnp.float32(q), jnp.float32(k), temperature=0.5)
    for image in range(2):
        for patch in range(5):
            cosines = np.exp(k[image] @ q[image, patch] / 0.5)
            wanted = -np.log(cosines[patch] / cosines.sum())
            np.testing.assert_allclose(values[image, patch], wanted, rtol=1e-5)
    loss = lambda q, k: losses.patch_nce(q, k).sum()  # noqa: E731
    queries, keys = jax.grad(loss, argnums=(0, 1))(jnp.float32(q), jnp.float32(k))
    assert queries.any() and not keys.any()


def test_places_are_distinct_and_all_where_there_are_few():
    maps = [jnp.zeros((2, 3, 5, 1)), jnp.zeros((2, 20, 30, 1))]
    few, many = cut.draw_places(jax.random.key(0), maps, 64)
    assert sorted(few.tolist()) == list(range(15))
    assert len(set(many.tolist())) == 64 and max(many.tolist()) < 600
    other = cut.draw_places(jax.random.key(1), maps, 64)[1]
    assert set(other.tolist()) != set(many.tolist())


def test_mirrored_places_show_the_same_pixels():
    image, places = np.arange(15).reshape(3, 5), np.arange(15)
    mirrored = np.ravel(image[:, ::-1])[np.asarray(cut.mirror(jnp.asarray(places), 5))]
    np.testing.assert_array_equal(mirrored, places)


def test_published_number_of_parameters():
    """11.378 M, 2.764 M without the biases that normalization removes, and 0.560 M."""
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    task = cut.from_config(cut.defaults())
    state = jax.eval_shape(task.init, jax.random.key(0))
    counts = {
        role: sum(x.size for x in jax.tree.leaves(network.params))
        for role, network in state.networks.items()
    }
    assert counts == {"generator": 11_378_179, "discriminator": 2_763_841, "heads": 560_384}
    strided = jax.eval_shape(PatchGAN(norm="instance").init, jax.random.key(0), images)
    assert counts["discriminator"] == sum(x.size for x in jax.tree.leaves(strided))


@pytest.mark.slow
def test_weights_are_xaviers():
    """Of the variance 0.02^2 * 2 / (fan in + fan out), in all three networks."""
    config = cut.defaults()
    config.model.width, config.model.blocks, config.model.head_width = 16, 1, 64
    state = jax.jit(cut.from_config(config).init)(jax.random.key(0))
    for role, name, fans in (
        ("generator", "block_1/conv_1/kernel", 9 * 64 * 2),
        ("discriminator", "conv_3/kernel", 16 * (32 + 64)),
        ("heads", "hidden_3/kernel", 64 + 64),
    ):
        kernel = named_leaves(state.networks[role].params)[name]
        np.testing.assert_allclose(kernel.std(), 0.02 * np.sqrt(2 / fans), rtol=0.05)


def test_fastcut_is_an_argument_of_the_configs():
    for name in ("cut_horse2zebra", "cut_monet2photo"):
        whole, fast = flat(load_config(name)), flat(load_config(f"{name}:fast"))
        changed = {key: value for key, value in fast.items() if value != whole[key]}
        kimg = changed.pop("total_kimg")
        assert changed == cut.FAST and kimg == whole["total_kimg"] / 2


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("loss.patches", 1, "loss.patches must be 2 or more"),
        ("loss.temperature", 0.0, "loss.temperature above 0"),
        ("data.image_size", "66", "data.image_size is 66; give multiples of 4"),
    ],
)
def test_impossible_fields_end_in_one_line(field, value, message):
    config = cut.defaults()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        cut.from_config(config)
