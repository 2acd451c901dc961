"""WCT's decoders: what a run trains is what `stylize --model wct` draws with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import weights
from ganjax.config import with_variants
from ganjax.data.avatars import render
from ganjax.errors import UserError
from ganjax.images import as_float, to_float, to_uint8
from ganjax.nets import vgg
from ganjax.stylize import load_model
from ganjax.tasks import wct
from ganjax.weights.safetensors import write_safetensors


def make_config(**fields):
    config = with_variants(wct.defaults(), "smoke", {"smoke": wct.SMOKE})
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)), jnp.float32)


def test_a_run_is_a_model_of_stylize(images, tmp_path):
    task = wct.from_config(make_config())
    state = task.init(jax.random.key(0))
    path = tmp_path / "wct.safetensors"
    arrays = weights.name_variables(state.averages["wct"], "float32")
    assert not any("head" in name for name in arrays)
    write_safetensors(path, arrays, {})
    model = load_model("wct", path=str(path), levels=["relu2_1=0"])
    inputs = {"image": to_uint8(images)}
    shown = to_float(inputs["image"])
    got = model.stylizer.stylize(model.params, shown, lambda depth, features: features)
    wanted = task.model.sample(state.trained, inputs, jax.random.key(0))["samples"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert task.model.sheet(state.trained, inputs, None).shape == (2, 3, 32, 32, 3)


def test_losses_are_their_formulas(images):
    config = make_config(**{"loss.teacher_weight": 0.5, "loss.feature_weight": 0.25})
    task = wct.from_config(config)
    state = task.init(jax.random.key(0))
    _, metrics = jax.jit(task.train_step)(state, {"image": images}, jax.random.key(0))
    params = state.networks["wct"].params
    encoder = params["encoder"]
    pixels = features = 0.0
    for level in wct.SMOKE["model.levels"]:
        encode = vgg.VGG19(level, 2).apply
        seen = encode({"params": encoder}, images, (level,))[level]
        decoded = vgg.Decoder(level, 2).apply({"params": params[level]["decoder"]}, seen)
        clipped = jnp.clip(decoded, -1, 1)
        again = encode({"params": encoder}, clipped, (level,))[level]
        pixels += np.mean(np.square(decoded - images))
        features += np.mean(np.square(again - seen)) / np.mean(np.square(seen))
    np.testing.assert_allclose(metrics["loss_pixel"], pixels, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss_feature"], 0.25 * features, rtol=1e-3)
    assert metrics["loss_teacher"] > 0


def test_a_frozen_encoder_is_not_trained(images):
    """Only decoders are in the state, and both losses fall."""
    task = wct.from_config(make_config(**{"model.encoder": "random"}))
    state = task.init(jax.random.key(0))
    assert set(state.networks) == {"wct"}
    assert set(state.networks["wct"].params) == {"relu2_1", "relu1_1"}
    step, values = jax.jit(task.train_step), []
    for _ in range(30):
        state, metrics = step(state, {"image": images}, jax.random.key(0))
        values.append((float(metrics["loss_pixel"]), float(metrics["loss_feature"])))
    assert values[-1][0] < values[0][0] and values[-1][1] < values[0][1]


@pytest.mark.long
def test_wavelets_have_one_decoder_which_learns(tmp_path):
    images = as_float(render(np.arange(4), (32, 32))["image"])
    task = wct.from_config(
        make_config(**{"model.pooling": "wavelet", "optimizer.learning_rate": 3e-3})
    )
    state = task.init(jax.random.key(0))
    assert set(state.networks["wct"].params) == {"encoder", "wavelet"}
    step, values = jax.jit(task.train_step), []
    for _ in range(40):
        state, metrics = step(state, {"image": images}, jax.random.key(0))
        values.append([float(metrics[f"loss_{name}"]) for name in ("pixel", "feature", "teacher")])
    assert values[-1][0] < 0.7 * values[0][0] and values[-1][2] < values[0][2]
    path = tmp_path / "wct2.safetensors"
    write_safetensors(path, weights.name_variables(state.averages["wct"], "float32"), {})
    model, inputs = load_model("wct2", path=str(path)), {"image": to_uint8(images)}
    got = model.stylizer.stylize(model.params, to_float(inputs["image"]), lambda _, x: x)
    wanted = task.model.sample(state.trained, inputs, jax.random.key(0))["samples"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert task.model.sheet(state.trained, inputs, None).shape == (4, 2, 32, 32, 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.pooling", "mean", "choose max or wavelet"),
        ("data.image_size", "40", "give a multiple of 16"),
        ("model.levels", ("relu9_1",), "choose from relu1_1"),
        ("model.width", 0, "model.width is 0"),
        ("loss.feature_weight", -1.0, "loss.feature_weight is below 0"),
    ],
)
def test_mistakes_are_one_line(field, value, message):
    with pytest.raises(UserError, match=message):
        wct.from_config(make_config(**{field: value}))
