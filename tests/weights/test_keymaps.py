"""Key maps: arrays under their published names become the right layers, or one line."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import weights
from ganjax.errors import UserError
from ganjax.nets import vgg
from ganjax.weights.keymaps import FORMATS, convert, nested

# What was published, written out by hand: our layer, channels, and its place in each file.
LAYERS = (
    # ours, channels in and out, torchvision's and the normalized VGG's module
    ("conv1_1", 3, 64, 0, 2),
    ("conv1_2", 64, 64, 2, 5),
    ("conv2_1", 64, 128, 5, 9),
    ("conv2_2", 128, 128, 7, 12),
    ("conv3_1", 128, 256, 10, 16),
    ("conv3_2", 256, 256, 12, 19),
    ("conv3_3", 256, 256, 14, 22),
    ("conv3_4", 256, 256, 16, 25),
    ("conv4_1", 256, 512, 19, 29),
    ("conv4_2", 512, 512, 21, 32),
    ("conv4_3", 512, 512, 23, 35),
    ("conv4_4", 512, 512, 25, 38),
    ("conv5_1", 512, 512, 28, 42),
)
DECODERS = {  # depth: modules of decoder.pth (depth 4) and feature_invertor_conv<depth>_1.pth
    1: (1,),
    2: (1, 5, 8),
    3: (1, 5, 8, 12, 15),
    4: (1, 5, 8, 11, 14, 18, 21, 25, 28),
    5: (1, 5, 8, 11, 14, 18, 21, 24, 27, 31, 34, 38, 41),
}
COUNTS = {1: 1, 2: 3, 3: 5, 4: 9, 5: 13}  # convolutions up to relu<depth>_1
RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.random(shape, np.float32)


def add_torch(arrays: dict, name: str, inputs: int, outputs: int, size: int = 3) -> None:
    arrays[f"{name}.weight"] = draw(outputs, inputs, size, size)
    arrays[f"{name}.bias"] = draw(outputs)


def torchvision(prefix: str = "features.") -> tuple[dict, dict]:
    """(arrays of the file, {our layer: its name in the file})."""
    arrays, names = {}, {}
    for ours, inputs, outputs, module, _ in LAYERS:
        names[ours] = f"{prefix}{module}"
        add_torch(arrays, names[ours], inputs, outputs)
    add_torch(arrays, f"{prefix}30", 512, 512)  # conv5_2, of which we have no need
    arrays["classifier.6.weight"] = draw(10, 20)
    return arrays, names


def normalized(depth: int = 5) -> tuple[dict, dict]:
    arrays, names = {}, {"conv0": "0"}
    add_torch(arrays, "0", 3, 3, 1)
    for ours, inputs, outputs, _, module in LAYERS[: COUNTS[depth]]:
        names[ours] = str(module)
        add_torch(arrays, names[ours], inputs, outputs)
    if depth == 5:
        add_torch(arrays, "45", 512, 512)
    return arrays, names


def decoder(depth: int = 4) -> tuple[dict, dict]:
    arrays, names = {}, {}
    mirrored = LAYERS[: COUNTS[depth]][::-1]
    for (ours, outputs, inputs, *_), module in zip(mirrored, DECODERS[depth], strict=True):
        names[ours] = str(module)
        add_torch(arrays, names[ours], inputs, outputs)
    return arrays, names


def compressed(depth: int = 5) -> tuple[dict, dict]:
    arrays, names = {}, {"conv0": "model.conv0"}
    by = 4 if depth > 1 else 8 / 3  # 16 channels in the first block, or 24
    add_torch(arrays, "model.conv0", 3, 3, 1)
    for ours, inputs, outputs, *_ in LAYERS[: COUNTS[depth]]:
        names[ours] = f"model.conv{ours[4]}{ours[6]}"
        inputs, narrow = inputs if inputs == 3 else int(inputs / by), int(outputs / by)
        add_torch(arrays, names[ours], inputs, narrow)
        if ours.endswith("_1"):
            names[f"head{ours[4]}_1"] = f"{names[ours]}_aux"
            add_torch(arrays, f"{names[ours]}_aux", narrow, outputs, 1)
    return arrays, names


def compressed_decoder(depth: int = 5) -> tuple[dict, dict]:
    arrays, names = {}, {}
    by = 4 if depth > 1 else 8 / 3
    for ours, outputs, inputs, *_ in LAYERS[: COUNTS[depth]][::-1]:
        names[ours] = f"model.conv{ours[4]}{ours[6]}"
        add_torch(arrays, names[ours], int(inputs / by), outputs if outputs == 3 else outputs // 4)
    return arrays, names


KERAS = {
    "2016": "{layer}/{layer}_{letter}_1:0",
    "weights": "{layer}/{layer}/{part}:0",
    "model": "model_weights/{layer}/{layer}/{part}:0",
}


def keras(naming: str = "2016", channels: int | None = None) -> tuple[dict, dict]:
    """{our layer: (name of its kernel, name of its bias)}."""
    arrays, names = {}, {}
    for ours, inputs, outputs, *_ in LAYERS:
        layer = f"block{ours[4]}_conv{ours[6]}"
        names[ours] = tuple(
            KERAS[naming].format(layer=layer, letter=letter, part=part)
            for letter, part in (("W", "kernel"), ("b", "bias"))
        )
        arrays[names[ours][0]] = draw(3, 3, channels or inputs, channels or outputs)
        arrays[names[ours][1]] = draw(channels or outputs)
    return arrays, names


ENCODERS = {
    "torchvision": ("vgg19", torchvision),
    "torchvision-features": ("vgg19", lambda: torchvision("")),
    "normalized": ("vgg19_normalised", normalized),
    "normalized-relu2_1": ("vgg19_normalised", lambda: normalized(2)),
    "normalized-relu4_1": ("vgg19_normalised", lambda: normalized(4)),
    "compressed": ("vgg19_16x", compressed),
    "compressed-relu1_1": ("vgg19_16x", lambda: compressed(1)),
    "compressed-relu3_1": ("vgg19_16x", lambda: compressed(3)),
}
MIRRORS = {
    "adain": ("adain_decoder", decoder, 64),
    **{f"wct-relu{k}_1": ("wct_decoder", lambda k=k: decoder(k), 64) for k in (1, 2, 3, 5)},
    "compressed": ("wct_decoder_16x", compressed_decoder, 16),
    "compressed-relu2_1": ("wct_decoder_16x", lambda: compressed_decoder(2), 16),
    "compressed-relu1_1": ("wct_decoder_16x", lambda: compressed_decoder(1), 24),
}


def check_torch(parameters: dict, arrays: dict, names: dict) -> None:
    for ours, theirs in names.items():
        kernel = parameters[f"{ours}/kernel"]
        assert kernel.dtype == np.float32 and kernel.flags.c_contiguous
        np.testing.assert_array_equal(
            np.moveaxis(kernel, (3, 2), (0, 1)), arrays[f"{theirs}.weight"], err_msg=ours
        )
        np.testing.assert_array_equal(parameters[f"{ours}/bias"], arrays[f"{theirs}.bias"])


def check_fits(parameters: dict, module, example: jax.Array) -> None:
    """The names and shapes are exactly those that the network has."""
    wanted = jax.eval_shape(module.init, jax.random.key(0), example)["params"]
    got = nested(parameters)
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    assert jax.tree.map(np.shape, got) == jax.tree.map(lambda x: x.shape, wanted)


@pytest.mark.parametrize("case", ENCODERS)
def test_encoders_of_torch(case):
    format_name, make = ENCODERS[case]
    arrays, names = make()
    parameters = convert(format_name, arrays)
    check_torch(parameters, arrays, names)
    last = max(ours for ours in names if ours.startswith("conv")).replace("conv", "relu")
    width = len(parameters["conv1_1/bias"])
    head_width = 64 if format_name == "vgg19_16x" else 0
    module = vgg.VGG19(last=last, width=width, head_width=head_width)
    check_fits(parameters, module, jnp.zeros((1, 16, 16, 3)))


@pytest.mark.parametrize("case", MIRRORS)
def test_decoders_of_torch(case):
    format_name, make, width = MIRRORS[case]
    arrays, names = make()
    parameters = convert(format_name, arrays)
    check_torch(parameters, arrays, names)
    first = next(iter(names)).replace("conv", "relu")
    channels = vgg.channels(width)[int(first[4]) - 1]
    check_fits(parameters, vgg.Decoder(first, width), jnp.zeros((1, 2, 2, channels)))


@pytest.mark.parametrize("naming", KERAS)
def test_encoders_of_keras(naming):
    arrays, names = keras(naming)
    arrays["optimizer_weights/block1_conv1/kernel:0"] = draw(3, 3, 3, 64)
    parameters = convert("vgg19_keras", arrays)
    for ours, (kernel, bias) in names.items():
        np.testing.assert_array_equal(parameters[f"{ours}/kernel"], arrays[kernel])
        np.testing.assert_array_equal(parameters[f"{ours}/bias"], arrays[bias])
    check_fits(parameters, vgg.VGG19(last="relu5_1"), jnp.zeros((1, 16, 16, 3)))


@pytest.mark.parametrize("naming", KERAS)
def test_keras_names_are_what_the_reader_gives(tmp_path, naming):
    arrays, _ = keras(naming, channels=2)
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        for name, value in arrays.items():
            file[name] = value
    assert weights.read(tmp_path / "vgg.h5").keys() == arrays.keys()


# What their publishers do to an image, [H, W, 3] of RGB in [0, 1], before the first convolution.


def standardized(rgb: np.ndarray) -> np.ndarray:
    """torchvision.transforms.Normalize of its models."""
    return (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def caffe(rgb: np.ndarray) -> np.ndarray:
    """keras.applications.vgg19.preprocess_input."""
    return (rgb * 255)[..., ::-1] - [103.939, 116.779, 123.68]


@pytest.mark.parametrize(
    "format_name, make, preprocess",
    [("vgg19", torchvision, standardized), ("vgg19_keras", keras, caffe)],
)
def test_colors_reach_the_network_as_in_training(format_name, make, preprocess):
    arrays, _ = make()
    parameters = convert(format_name, arrays)
    kernel = parameters["conv1_1/kernel"] - np.float32(0.5)
    parameters["conv1_1/kernel"] = kernel
    rgb = np.random.default_rng(1).random((5, 4, 3))
    padded = np.pad(preprocess(rgb), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    expected = np.einsum("hwcij,ijco->hwo", windows, kernel.astype(np.float64))
    expected = np.maximum(expected + parameters["conv1_1/bias"], 0)
    params = {name: nested(parameters)[name] for name in ("conv0", "conv1_1")}
    module = vgg.VGG19(last="relu1_1", padding="zero")
    got = module.apply({"params": params}, jnp.asarray(rgb * 2 - 1, jnp.float32)[None])["relu1_1"]
    np.testing.assert_allclose(got[0], expected, rtol=1e-5, atol=1e-5 * expected.max())


def test_the_published_files(test_weights):
    """Of every file of the folder, the layers that its name tells."""
    for kind, format_name in (("encoder", "vgg19_16x"), ("decoder", "wct_decoder_16x")):
        for k in range(1, 6):
            arrays = weights.read(test_weights / "wct_16x" / f"{kind}_relu{k}_1.pth")
            make = compressed if kind == "encoder" else compressed_decoder
            names = {ours: name.removeprefix("model.") for ours, name in make(k)[1].items()}
            check_torch(convert(format_name, arrays), arrays, names)
    for kind, format_name, make in (
        ("vgg_normalised", "vgg19_normalised", normalized),
        ("feature_invertor", "wct_decoder", decoder),
    ):
        for k in (1, 2, 3):
            path = test_weights / "vgg19_normalised_wct" / f"{kind}_conv{k}_1.pth"
            arrays = weights.read(path)
            check_torch(convert(format_name, arrays), arrays, make(k)[1])


# Files of another layout.

SMALL = {
    "vgg19": torchvision,
    "vgg19_normalised": lambda: normalized(2),
    "vgg19_keras": keras,
    "vgg19_16x": lambda: compressed(2),
    "adain_decoder": decoder,
    "wct_decoder": lambda: decoder(2),
    "wct_decoder_16x": lambda: compressed_decoder(2),
}


def refused(format_name: str, arrays: dict, says: str = "") -> None:
    with pytest.raises(UserError) as error:
        convert(format_name, arrays)
    message = str(error.value)
    assert says in message and message.isprintable() and len(message) < 500


@pytest.fixture(scope="module", params=SMALL)
def small(request):
    arrays, names = SMALL[request.param]()
    kernels, biases = [], []
    for theirs in names.values():
        pair = theirs if isinstance(theirs, tuple) else (f"{theirs}.weight", f"{theirs}.bias")
        kernels.append(pair[0])
        biases.append(pair[1])
    return request.param, arrays, kernels, biases


def test_missing_arrays_are_refused(small):
    format_name, arrays, kernels, biases = small
    refused(format_name, {})
    refused(format_name, {"a\nb": draw(1), "\x1b[2J": draw(1), "1": draw(1)})
    for gone in (kernels[0], kernels[1], kernels[-1], biases[0], biases[-1]):
        refused(format_name, {name: value for name, value in arrays.items() if name != gone})


def test_decoders_without_their_deepest_layer_are_refused():
    arrays, names = compressed_decoder(3)
    gone = names["conv3_1"]
    arrays = {name: value for name, value in arrays.items() if not name.startswith(gone)}
    refused("wct_decoder_16x", arrays, "conv22.weight, but not the layers around it")


@pytest.mark.slow
def test_wrong_shapes_are_refused(small):
    format_name, arrays, kernels, biases = small
    for name in (kernels[0], kernels[1], kernels[-1]):
        kernel = arrays[name]
        for wrong in (
            kernel[..., 0],
            kernel[:1],
            kernel[:, :, :, :0],
            np.repeat(kernel, 2, axis=2),
            np.pad(kernel, 1),
            np.zeros((), np.float32),
        ):
            refused(format_name, arrays | {name: wrong})
    for name in (biases[0], biases[-1]):
        refused(format_name, arrays | {name: arrays[name][:-1]})
        refused(format_name, arrays | {name: arrays[name][None]})


def test_other_formats_are_refused(small):
    format_name, arrays, *_ = small
    alike = {"adain_decoder", "wct_decoder"}
    for other in FORMATS:
        if other != format_name and {other, format_name} != alike:
            refused(other, arrays)


def test_small_networks_are_no_others():
    """What only a part, or a narrower network, of the same names is."""
    arrays, names = normalized(4)
    whole = {f"model.{ours.replace('_', '')}": name for ours, name in names.items()}
    wide = {
        f"{n}.{p}": arrays[f"{name}.{p}"] for n, name in whole.items() for p in ("weight", "bias")
    }
    heads, _ = compressed(4)
    refused("vgg19_16x", {k: v for k, v in heads.items() if "_aux" in k} | wide, "by 3x3")
    refused("vgg19_normalised", {k.removeprefix("model."): v for k, v in heads.items()})
    for depth in (1, 2, 3, 5):
        refused("adain_decoder", decoder(depth)[0], "decoders from relu4_1 have 9")
    narrow, _ = compressed(1)
    for name, value in narrow.items():
        if name.startswith("model.conv11"):
            axis = 1 if name.endswith("_aux.weight") else 0
            narrow[name] = value if name.endswith("_aux.bias") else value.take(range(8), axis)
    refused("vgg19_16x", narrow, "it must map 3 channels to 24")


def test_unknown_formats_are_refused():
    refused("vgg", {}, "format 'vgg' is unknown; there is vgg19, ")


def test_unequal_arrays_for_one_layer_are_refused():
    arrays, _ = keras("weights")
    refused(
        "vgg19_keras",
        arrays | {"block1_conv1/x/kernel:0": draw(3, 3, 3, 64)},
        "has 2 arrays for block1_conv1 kernel; it needs 1",
    )


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c/d")])
def test_parameters_inside_others_are_refused(paths):
    with pytest.raises(UserError, match="lies inside another"):
        nested({path: draw(1) for path in paths})
