"""VGG-19 and its decoders against PyTorch 2.13 (tests/goldens/vgg_torch.py)."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import weights
from ganjax.nets import vgg
from ganjax.weights import keymaps

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import vgg_setup  # noqa: E402

DEPTHS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "vgg_torch.npz"))


@pytest.fixture(scope="module")
def drawn():
    """{"encoder": params, "decoder": params}."""
    return keymaps.nested(vgg_setup.draw_weights())


def to_float(images: np.ndarray) -> jax.Array:
    return jnp.asarray(images / np.float32(127.5) - 1)


def encode(params, images: np.ndarray, **attributes) -> dict[str, jax.Array]:
    module = vgg.VGG19(**attributes)
    return jax.jit(module.apply)({"params": params}, to_float(images))


def decode(params, features: jax.Array, first: str, width: int) -> jax.Array:
    decoder = vgg.Decoder(first, width)
    params = {name: params[name] for name in vgg.convolutions(first)}
    return jax.jit(decoder.apply)({"params": params}, features)


def agree(features, expected: np.ndarray, tolerance: float) -> None:
    got = vgg_setup.summarize(np.asarray(features)[0])
    assert got.shape == expected.shape
    assert abs(got[0] / expected[0] - 1) < tolerance
    error = np.linalg.norm(got[1:] - expected[1:]) / np.linalg.norm(expected[1:])
    assert error < tolerance, f"relative error {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("padding, size", [("reflect", (45, 37)), ("zero", (48, 32))])
def test_every_layer_with_drawn_weights(golden, drawn, padding, size):
    images = vgg_setup.draw_images(*size)
    features = encode(
        drawn["encoder"], images, last="relu5_1", width=vgg_setup.WIDTH, padding=padding
    )
    assert tuple(features) == vgg.LAYERS
    for k, layer in enumerate(vgg.LAYERS, 1):
        height, width = (-(-side // 2 ** (k - 1)) for side in size)
        channels = vgg.channels(vgg_setup.WIDTH)[k - 1]
        assert features[layer].shape == (1, height, width, channels)
        agree(features[layer], golden[f"drawn/{padding}/{k}"], 1e-5)


@pytest.mark.slow
def test_every_decoder_with_drawn_weights(golden, drawn):
    """The golden's encoder gave the features that its decoders got, odd sizes among them."""
    images = vgg_setup.draw_images(45, 37)
    features = encode(drawn["encoder"], images, last="relu5_1", width=vgg_setup.WIDTH)
    for k, layer in enumerate(vgg.LAYERS, 1):
        decoded = decode(drawn["decoder"], features[layer], layer, vgg_setup.WIDTH)
        _, height, width, _ = features[layer].shape
        assert decoded.shape == (1, height * 2 ** (k - 1), width * 2 ** (k - 1), 3)
        agree((decoded + 1) / 2, golden[f"drawn/decoder/{k}"], 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [("relu3_1",), ("relu2_1", "relu1_1")])
def test_some_layers_are_those_of_all(drawn, layers):
    module = vgg.VGG19(last="relu3_1", width=vgg_setup.WIDTH)
    apply = jax.jit(module.apply, static_argnums=2)
    images = to_float(vgg_setup.draw_images(9, 8))
    every = apply({"params": drawn["encoder"]}, images)
    some = apply({"params": drawn["encoder"]}, images, layers)
    assert some.keys() == set(layers)
    for layer in layers:
        np.testing.assert_allclose(some[layer], every[layer], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("module", [vgg.VGG19(last="relu5_1"), vgg.VGG19("relu2_1", 16)])
def test_the_published_shapes(module):
    images = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    names = vgg.convolutions(module.last)
    assert params.keys() == {"conv0", *names}
    assert params["conv0"]["kernel"].shape == (1, 1, 3, 3)
    above = 3
    for name in names:
        below, above = above, module.width * (1, 2, 4, 8, 8)[int(name[4]) - 1]
        assert params[name]["kernel"].shape == (3, 3, below, above)
        assert params[name]["bias"].shape == (above,)


def test_bfloat16_stays_bfloat16(drawn):
    """Weights follow the images: a network in half precision needs no other parameters."""
    module = vgg.VGG19(last="relu2_1", width=vgg_setup.WIDTH)
    images = to_float(vgg_setup.draw_images(8, 8))
    apply = jax.jit(module.apply)
    with jax.numpy_dtype_promotion("strict"):
        half = apply({"params": drawn["encoder"]}, images.astype(jnp.bfloat16))["relu2_1"]
    full = apply({"params": drawn["encoder"]}, images)["relu2_1"]
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.03 * float(full.max()))


# The published weights.


def published(path: Path, format_name: str):
    return keymaps.nested(keymaps.convert(format_name, weights.read(path)))


def psnr(images: np.ndarray, decoded: jax.Array) -> np.ndarray:
    """Of each image, in [0, 1]."""
    error = images / 255 - np.clip((np.asarray(decoded, np.float64) + 1) / 2, 0, 1)
    return -10 * np.log10(np.mean(error**2, axis=(1, 2, 3)))


@pytest.fixture(scope="module")
def photos(test_data):
    return vgg_setup.load_photos(test_data, 128)


@pytest.mark.parametrize("crop", ["even", "odd"])
def test_features_of_the_normalized_vgg(golden, test_weights, crop):
    folder = test_weights / "vgg19_normalised_wct"
    params = published(folder / "vgg_normalised_conv3_1.pth", "vgg19_normalised")
    features = encode(params, golden[f"crop/{crop}"], last="relu3_1")
    for k in (1, 2, 3):
        agree(features[f"relu{k}_1"], golden[f"normalized/{crop}/{k}"], 1e-4)


def test_features_of_the_compressed_vgg(golden, test_weights):
    params = published(test_weights / "wct_16x" / "encoder_relu5_1.pth", "vgg19_16x")
    features = encode(params, golden["crop/even"], last="relu5_1", width=16, head_width=64)
    for k in DEPTHS:
        assert features[f"relu{k}_1"].shape[-1] == vgg.channels(64)[k - 1]
        agree(features[f"relu{k}_1"], golden[f"16x/even/{k}"], 1e-4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_reconstruction_from_the_normalized_vgg(golden, test_weights, photos, depth):
    folder, layer = test_weights / "vgg19_normalised_wct", f"relu{depth}_1"
    encoder = published(folder / f"vgg_normalised_conv{depth}_1.pth", "vgg19_normalised")
    decoder = published(folder / f"feature_invertor_conv{depth}_1.pth", "wct_decoder")
    features = encode(encoder, photos, last=layer)[layer]
    decoded = decode(decoder, features, layer, 64)
    np.testing.assert_allclose(
        psnr(photos, decoded), golden[f"normalized/psnr/{depth}"], rtol=0, atol=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize("depth", DEPTHS)
def test_reconstruction_from_the_compressed_vgg(golden, test_weights, photos, depth):
    folder, layer = test_weights / "wct_16x", f"relu{depth}_1"
    encoder = published(folder / f"encoder_{layer}.pth", "vgg19_16x")
    decoder = published(folder / f"decoder_{layer}.pth", "wct_decoder_16x")
    width = encoder["conv1_1"]["bias"].size
    features = encode(encoder, photos, last=layer, width=width)[layer]
    decoded = decode(decoder, features, layer, width)
    np.testing.assert_allclose(
        psnr(photos, decoded), golden[f"16x/psnr/{depth}"], rtol=0, atol=0.01
    )
