"""From the names and layouts of published weight files to the parameters of `ganjax.nets`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from ganjax.errors import UserError
from ganjax.nets import darknet, inception, vgg, vgg16

Arrays = dict[str, np.ndarray]
# Caffe's VGG-19 takes BGR in [0, 255] with these means taken off, torchvision's RGB standardised.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TORCHVISION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# LPIPS takes the last output before each pooling of VGG-16, and all convolutions of AlexNet.
_LPIPS_VGG = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}
_LPIPS_ALEX = {"relu1": 64, "relu2": 192, "relu3": 384, "relu4": 256, "relu5": 256}


class Format(NamedTuple):
    """A published layout of weights.

    Attributes:
      about: one line for the command line.
      convert: arrays by their published names -> parameters by path, e.g. "conv1_1/kernel".
    """

    about: str
    convert: Callable[[Arrays], Arrays]


def convert(name: str, arrays: Arrays) -> Arrays:
    """Converts arrays of the format `name` to parameters, kernels as [kh, kw, C_in, C_out].

    Raises:
      UserError: the format is unknown, or names or shapes do not fit it.
    """
    if name not in FORMATS:
        raise UserError(f"format {name!r} is unknown; there is {', '.join(FORMATS)}")
    return FORMATS[name].convert(arrays)


def nested(parameters: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{"conv1_1/kernel": x} -> {"conv1_1": {"kernel": x}}, as linen has its parameters.

    Raises:
      UserError: a path leads through an array.
    """
    tree: dict[str, Any] = {}
    for path, value in parameters.items():
        *parents, leaf = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or leaf in node:
            raise UserError(f"parameter {path!r:.80} lies inside another, or another inside it")
        node[leaf] = value
    return tree


def _torch_layers(arrays: Arrays, names: Mapping[str, str], *, prefix: str = "") -> Arrays:
    """Convolutions of a state dict: {module in the file: layer of ours}."""
    parameters = {}
    for module, layer in names.items():
        kernel = _take(arrays, f"{prefix}{module}.weight", 4)
        parameters[f"{layer}/kernel"] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
        parameters[f"{layer}/bias"] = _take(arrays, f"{prefix}{module}.bias", 1)
    return parameters


def _take(arrays: Arrays, name: str, rank: int) -> np.ndarray:
    if name not in arrays:
        near = ", ".join(f"{other!r:.60}" for other in list(arrays)[:4])
        raise UserError(f"the file has no array {name!r}; it has {near or 'none'}, ...")
    if arrays[name].ndim != rank:
        raise UserError(f"array {name} has shape {arrays[name].shape}; it must have {rank} axes")
    return arrays[name].astype(np.float32)


def _check(parameters: Arrays, names: Iterable[str], inputs: int, outputs: Iterable[int]) -> Arrays:
    """Holds a chain of convolutions to the channels that it must have."""
    for name, width in zip(names, outputs, strict=True):
        shape, bias = parameters[f"{name}/kernel"].shape, parameters[f"{name}/bias"].shape
        size = 1 if name.startswith(("conv0", "head")) else 3
        if shape != (size, size, inputs, width) or bias != (width,):
            raise UserError(
                f"{name} has kernel {shape} and bias {bias}; it must map {inputs} channels to "
                f"{width} by {size}x{size}"
            )
        inputs = width
    return parameters


def _encoder_widths(names: Iterable[str], width: int) -> list[int]:
    return [vgg.channels(width)[int(name[4]) - 1] for name in names]


def _deepest(arrays: Arrays, modules: Mapping[str, str]) -> str:
    """The deepest relu<k>_1 whose convolution is in the file."""
    there = {name.rpartition(".")[0] for name in arrays}
    firsts = [layer for module, layer in modules.items() if module in there and layer[-2:] == "_1"]
    if not firsts:
        raise UserError(f"the file has none of the arrays {', '.join(modules)}")
    return max(firsts).replace("conv", "relu")


def _colour_layer(kernel: np.ndarray, bias: Iterable[float]) -> Arrays:
    return {
        "conv0/kernel": np.asarray(kernel, np.float32)[None, None],
        "conv0/bias": np.asarray(bias, np.float32),
    }


def _torchvision_colours() -> Arrays:
    mean, std = (np.array(values) for values in _TORCHVISION)
    return _colour_layer(np.diag(1 / std), -mean / std)


def _normalised_vgg(arrays: Arrays) -> Arrays:
    """`vgg_normalised.pth` and the shorter files of the same numbering."""
    # Between the convolutions lie paddings, activations and poolings, which count as modules.
    modules, position = {"0": "conv0"}, 2
    for name in vgg.convolutions("relu5_1"):
        if name.endswith("_1") and name != "conv1_1":
            position += 1
        modules[str(position)] = name
        position += 3
    last = _deepest(arrays, {k: v for k, v in modules.items() if v != "conv0"})
    names = ["conv0", *vgg.convolutions(last)]
    wanted = {module: layer for module, layer in modules.items() if layer in names}
    parameters = _torch_layers(arrays, wanted)
    return _check(parameters, names, 3, [3, *_encoder_widths(names[1:], 64)])


def _torchvision_vgg(arrays: Arrays) -> Arrays:
    positions = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
    names = vgg.convolutions("relu5_1")
    modules = dict(zip(map(str, positions), names, strict=True))
    prefix = "features." if "features.0.weight" in arrays else ""
    parameters = _torch_layers(arrays, modules, prefix=prefix)
    return _check(
        _torchvision_colours() | parameters, ["conv0", *names], 3, [3, *_encoder_widths(names, 64)]
    )


def _keras_vgg(arrays: Arrays) -> Arrays:
    """Keras' `block1_conv1/.../kernel:0`, or `block1_conv1/block1_conv1_W_1:0` of 2016."""
    names = vgg.convolutions("relu5_1")
    arrays = {path.removeprefix("model_weights/"): value for path, value in arrays.items()}
    parameters = {}
    for name in names:
        layer = f"block{name[4]}_conv{name[6]}"
        for part, marks, rank in (("kernel", ("kernel", "_W_"), 4), ("bias", ("bias", "_b_"), 1)):
            found = [
                path
                for path in arrays
                if path.startswith(f"{layer}/") and any(m in path.split("/")[-1] for m in marks)
            ]
            if len(found) != 1:
                raise UserError(f"the file has {len(found)} arrays for {layer} {part}; it needs 1")
            parameters[f"{name}/{part}"] = _take(arrays, found[0], rank)
    to_bgr = np.eye(3)[::-1] * 255
    colour = _colour_layer(to_bgr, [-mean for mean in _CAFFE_MEAN])
    return _check(colour | parameters, ["conv0", *names], 3, [3, *_encoder_widths(names, 64)])


def _compressed_vgg(arrays: Arrays) -> Arrays:
    """Wang et al. 2020 (collaborative distillation): VGG-19 of 1/16 of the weights, with heads."""
    ours = {f"conv{n[4]}{n[6]}": n for n in vgg.convolutions("relu5_1")}
    stripped = {name.removeprefix("model."): value for name, value in arrays.items()}
    last = _deepest(stripped, ours)
    names = ["conv0", *vgg.convolutions(last)]
    parameters = _torch_layers(stripped, {n.replace("_", ""): n for n in names})
    width = parameters["conv1_1/bias"].shape[0]  # 16; 24 in the file that ends at relu1_1
    _check(parameters, names, 3, [3, *_encoder_widths(names[1:], width)])
    for block in range(1, int(last[4]) + 1):
        head = f"head{block}_1"
        parameters |= _torch_layers(stripped, {f"conv{block}1_aux": head})
        _check(parameters, [head], vgg.channels(width)[block - 1], [vgg.channels(64)[block - 1]])
    return parameters


def _decoder(arrays: Arrays, modules: Mapping[str, str], width: int) -> Arrays:
    last = _deepest(arrays, modules)
    names = vgg.convolutions(last)[::-1]
    wanted = {module: layer for module, layer in modules.items() if layer in names}
    for module in modules:
        if module not in wanted and f"{module}.weight" in arrays:
            raise UserError(f"the file has array {module}.weight, but not the layers around it")
    parameters = _torch_layers(arrays, wanted)
    outputs = [*_encoder_widths(names[1:], width), 3]
    return _check(parameters, names, vgg.channels(width)[int(last[4]) - 1], outputs)


def _mirrored_decoder(arrays: Arrays) -> Arrays:
    """`decoder.pth` of AdaIN and `feature_invertor_conv*.pth` of WCT: both number their modules."""
    found = (re.fullmatch(r"([0-9]{1,3})\.weight", name) for name in arrays)
    layers = sorted(int(match[1]) for match in found if match)
    depths = {len(vgg.convolutions(layer)): layer for layer in vgg.LAYERS}
    if len(layers) not in depths:
        raise UserError(
            f"the file has {len(layers)} convolutions; decoders of VGG-19 have "
            f"{', '.join(map(str, depths))}"
        )
    names = vgg.convolutions(depths[len(layers)])[::-1]
    return _decoder(arrays, dict(zip(map(str, layers), names, strict=True)), 64)


def _compressed_decoder(arrays: Arrays) -> Arrays:
    stripped = {name.removeprefix("model."): value for name, value in arrays.items()}
    modules = {f"conv{n[4]}{n[6]}": n for n in vgg.convolutions("relu5_1")}
    width = 24 if "conv12.weight" not in stripped else 16
    return _decoder(stripped, modules, width)


def _folded(arrays: Arrays, kernel: np.ndarray, norm: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Kernel [..., C_out] and bias of a convolution and the normalisation after it, eps 0.001.

    Args:
      norm: names of the normalisation's gamma, beta, mean and variance.
    """
    gamma, beta, mean, variance = (_take(arrays, name, 1).astype(np.float64) for name in norm)
    if {gamma.size, beta.size, mean.size, variance.size} != {kernel.shape[-1]}:
        raise UserError(f"array {norm[0]} and those beside it must have {kernel.shape[-1]} values")
    scale = gamma / np.sqrt(variance + 1e-3)
    return (kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)


def _fit(parameters: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Holds parameters to the names and shapes that they must have."""
    for name, shape in shapes.items():
        if name not in parameters or parameters[name].shape != shape:
            there = parameters[name].shape if name in parameters else "nothing"
            raise UserError(f"{name} has {there}; it must have the shape {shape}")
    return parameters


def _shapes(module: nn.Module, size: int) -> dict[str, tuple[int, ...]]:
    """Of the parameters of a network on images of `size` pixels."""
    images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(params)
    }


def _tiny_darknet(arrays: Arrays) -> Arrays:
    """Layers numbered from 1, as TensorFlow names what has no name."""
    parameters, last = {}, len(darknet.CONVOLUTIONS)
    for number in range(1, last + 1):
        kernel = _take(arrays, f"conv2d_{number}/kernel", 4)
        if number < last:
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            norm = [f"batch_normalization_{number}/{part}" for part in parts]
            kernel, bias = _folded(arrays, kernel, norm)
        else:
            bias = _take(arrays, f"conv2d_{number}/bias", 1)
        parameters |= {f"conv{number}/kernel": kernel, f"conv{number}/bias": bias}
    return _fit(parameters, _shapes(darknet.TinyDarknet(), 32))


def _inception(arrays: Arrays) -> Arrays:
    """`pt_inception-2015-12-05-6726825d.pth` and torch-fidelity's file of the same."""
    shapes = _shapes(inception.Inception(), 75)
    parameters = {
        "fc/kernel": np.ascontiguousarray(_take(arrays, "fc.weight", 2).T),
        "fc_bias": _take(arrays, "fc.bias", 1),
    }
    for path in shapes:
        layer, _, leaf = path.rpartition("/")
        if leaf == "kernel" and layer != "fc":
            prefix = layer.replace("/", ".")
            kernel = _take(arrays, f"{prefix}.conv.weight", 4).transpose(2, 3, 1, 0)
            parts = ("weight", "bias", "running_mean", "running_var")
            norm = [f"{prefix}.bn.{part}" for part in parts]
            parameters[path], parameters[f"{layer}/bias"] = _folded(arrays, kernel, norm)
    return _fit(parameters, shapes)


def _torchvision_vgg16(arrays: Arrays) -> Arrays:
    positions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    modules = {f"features.{n}": c for n, c in zip(positions, vgg16.CONVOLUTIONS, strict=True)}
    parameters = _torchvision_colours() | _torch_layers(arrays, modules)
    for number, module in enumerate((0, 3, 6), start=1):
        dense = _take(arrays, f"classifier.{module}.weight", 2)
        pixels = 49 if number == 1 else 1  # the file counts channels first, then pixels
        kernel = dense.reshape(len(dense), -1, pixels).transpose(2, 1, 0).reshape(-1, len(dense))
        parameters[f"fc{number}/kernel"] = kernel
        parameters[f"fc{number}/bias"] = _take(arrays, f"classifier.{module}.bias", 1)
    return _fit(parameters, _shapes(vgg16.VGG16(), vgg16.SIZE))


def _lpips(arrays: Arrays, layers: Mapping[str, int]) -> Arrays:
    """Weights of LPIPS (Zhang et al. 2018, equation 1), one per channel: {layer: channels}."""
    parameters = {}
    for number, (layer, count) in enumerate(layers.items()):
        name = f"lin{number}.model.1.weight"
        weights = _take(arrays, name, 4)
        if weights.shape != (1, count, 1, 1):
            raise UserError(f"{name} has shape {weights.shape}; it must be (1, {count}, 1, 1)")
        parameters[layer] = weights.reshape(-1)
    return parameters


FORMATS = {
    "vgg19": Format("torchvision's VGG-19 (vgg19-dcbb9e9d.pth)", _torchvision_vgg),
    "vgg19_normalised": Format(
        "VGG-19 with normalised activations (vgg_normalised.pth)", _normalised_vgg
    ),
    "vgg19_keras": Format("VGG-19 of Keras (.h5)", _keras_vgg),
    "vgg19_16x": Format("VGG-19 compressed 16x (encoder_relu4_1.pth)", _compressed_vgg),
    "adain_decoder": Format("AdaIN's decoder (decoder.pth)", _mirrored_decoder),
    "wct_decoder": Format("a decoder of WCT (feature_invertor_conv3_1.pth)", _mirrored_decoder),
    "wct_decoder_16x": Format(
        "a decoder of the 16x compressed WCT (decoder_relu4_1.pth)", _compressed_decoder
    ),
    "inception": Format(
        "Inception of the FID protocol (pt_inception-2015-12-05-6726825d.pth)", _inception
    ),
    "vgg16": Format("torchvision's VGG-16 (vgg16-397923af.pth)", _torchvision_vgg16),
    "lpips_vgg": Format(
        "LPIPS on VGG-16, version 0.1 (vgg.pth)", partial(_lpips, layers=_LPIPS_VGG)
    ),
    "lpips_alex": Format(
        "LPIPS on AlexNet, version 0.1 (alex.pth)", partial(_lpips, layers=_LPIPS_ALEX)
    ),
    "tiny_darknet": Format("Tiny Darknet (tiny_darknet_imagenet_fp32.npz)", _tiny_darknet),
}
