"""LPIPS' form and the measures of style against their formulas in float64."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import adain
from ganjax.errors import UserError
from ganjax.metrics import pairs
from ganjax.metrics.perceptual import content_loss, gram_distance, lpips, style_loss
from ganjax.weights import keymaps
from ganjax.weights.safetensors import write_safetensors

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

from extractors_setup import draw as draw_array  # noqa: E402
from extractors_setup import draw_pairs  # noqa: E402

SHAPES = {"relu1": (9, 8, 6), "relu2": (5, 4, 10)}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


def draw(seed, dtype=np.float32):
    """Features of two images, as after a ReLU; at some pixels no channel responds."""
    rng = np.random.default_rng(seed)
    features = {k: np.maximum(rng.normal(size=(2, *s)), 0) for k, s in SHAPES.items()}
    features["relu1"][:, :2] = 0
    return {layer: jnp.asarray(values, dtype) for layer, values in features.items()}


def draw_weights():
    rng = np.random.default_rng(9)
    return {k: jnp.asarray(rng.uniform(size=s[-1]), jnp.float32) for k, s in SHAPES.items()}


def oracle(features, others, weights):
    total = 0
    for layer, weight in weights.items():
        a, b = (np.asarray(x[layer], np.float64) for x in (features, others))
        a, b = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-10) for x in (a, b))
        total += ((a - b) ** 2 @ np.asarray(weight, np.float64)).mean(axis=(1, 2))
    return total


def test_lpips_is_the_formula():
    a, b, weights = draw(0), draw(1), draw_weights()
    got = jax.jit(lpips)(a, b, weights)
    assert got.shape == (2,) and got.dtype == jnp.float32
    np.testing.assert_allclose(got, oracle(a, b, weights), rtol=1e-5)
    np.testing.assert_array_equal(lpips(a, a, weights), 0)
    # Only directions count, and only the layers that have weights.
    scaled = {layer: 3 * values for layer, values in b.items()}
    np.testing.assert_allclose(lpips(a, scaled, weights), got, rtol=1e-5)
    del weights["relu1"]
    np.testing.assert_allclose(lpips(a, b, weights), oracle(a, b, weights), rtol=1e-5)


def test_lpips_keeps_wider_types_and_widens_narrower():
    weights = draw_weights()
    with jax.enable_x64(True):
        a, b = draw(0, np.float64), draw(1, np.float64)
        got = lpips(a, b, weights)
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, oracle(a, b, weights), rtol=1e-12)
    a, b = draw(0, jnp.bfloat16), draw(1, jnp.bfloat16)
    assert lpips(a, b, weights).dtype == jnp.float32
    np.testing.assert_allclose(lpips(a, b, weights), oracle(a, b, weights), rtol=1e-5)


@pytest.mark.slow
def test_lpips_has_gradients_where_no_channel_responds():
    a, b, weights = draw(0), draw(1), draw_weights()
    gradients = jax.grad(lambda a: jnp.sum(lpips(a, b, weights)))(a)
    assert all(np.all(np.isfinite(x)) for x in gradients.values())


@pytest.mark.slow
def test_style_and_content_are_adains():
    a, b = draw(2), draw(3)
    expected = sum(
        np.mean((np.asarray(a[k], np.float64) - b[k]) ** 2, axis=(1, 2, 3)) for k in SHAPES
    )
    np.testing.assert_allclose(content_loss(a, b), expected, rtol=1e-5)
    np.testing.assert_array_equal(style_loss(a, b), adain.style_loss(a, b))
    for metric in (content_loss, style_loss, gram_distance):
        assert metric(a, b).shape == (2,)
        np.testing.assert_array_equal(metric(a, a), 0)


def test_gram_distance_is_relative():
    a, b = draw(4), draw(5)
    expected = 0
    for layer in SHAPES:
        pixels = [
            np.asarray(x[layer], np.float64).reshape(2, -1, x[layer].shape[-1]) for x in (a, b)
        ]
        ours, wanted = (np.einsum("npi,npj->nij", x, x) / x.shape[1] for x in pixels)
        expected += np.sum((ours - wanted) ** 2, axis=(1, 2)) / np.sum(wanted**2, axis=(1, 2))
    np.testing.assert_allclose(gram_distance(a, b), expected, rtol=1e-3)


def test_features_that_cannot_be_compared():
    a, weights = draw(6), draw_weights()
    part = {"relu1": a["relu1"]}
    for compare in (
        lambda: lpips(part, a, weights),
        lambda: lpips(a, part, weights),
        lambda: content_loss(a, part),
        lambda: style_loss(a, part),
        lambda: gram_distance(a, part),
    ):
        with pytest.raises(UserError, match="features lack relu2; take relu1, relu2"):
            compare()
    other = {**a, "relu2": a["relu2"][:, :3]}
    with pytest.raises(UserError, match="relu2 is .* one size"):
        lpips(a, other, weights)


def lpips_of(extractor: str) -> np.ndarray:
    """[pairs] of the images of `lpips_torch.py`."""
    sight = pairs.load(extractor)
    values = []
    for both in zip(*draw_pairs(), strict=True):
        a, b = (sight.perceive(jnp.asarray(x / np.float32(127.5) - 1)) for x in both)
        values += list(pairs.compare("lpips", a, b, sight.channels))
    return np.array(values)


@pytest.mark.parametrize(("extractor", "name"), [("vgg16", "vgg"), ("alexnet", "alex")])
def test_lpips_is_that_of_its_package(extractor, name, fetched_weights):
    golden = np.load(GOLDENS / "lpips_torch.npz")[name]
    np.testing.assert_allclose(lpips_of(extractor), golden, rtol=1e-4)


def test_lpips_on_an_alexnet_without_trained_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    torch_shapes = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
    arrays = {}
    for number, (outputs, inputs, side) in enumerate(torch_shapes):
        kernel = draw_array(f"{number}.weight", (outputs, inputs, side, side))
        arrays[f"AlexNet_0.Conv_{number}.kernel"] = kernel.transpose(2, 3, 1, 0)
        arrays[f"AlexNet_0.Conv_{number}.bias"] = draw_array(f"{number}.bias", (outputs,))
        head = np.abs(draw_array(f"lin{number}.weight", (1, outputs, 1, 1)))
        arrays[f"NetLinLayer_{number}.Conv_0.kernel"] = head.transpose(2, 3, 1, 0)
    for name in ("alexnet_features", "lpips_alex"):
        write_safetensors(tmp_path / f"{name}.safetensors", keymaps.convert(name, arrays), {})
    golden = np.load(GOLDENS / "lpips_torch.npz")["alex_drawn"]
    np.testing.assert_allclose(lpips_of("alexnet"), golden, rtol=1e-4)
    sight = pairs.load("alexnet")
    assert sight.perceive(jnp.zeros((31, 40, 3)))["relu5"].shape == (1, 1, 1, 256)
    with pytest.raises(UserError, match="alexnet needs images of 31x31.*one is 30x40"):
        sight.perceive(jnp.zeros((30, 40, 3)))
    with pytest.raises(UserError, match="NetLinLayer_2.Conv_0.kernel has shape"):
        wrong = {"NetLinLayer_2.Conv_0.kernel": np.zeros((1, 1, 7, 1), np.float32)}
        keymaps.convert("lpips_alex", arrays | wrong)
