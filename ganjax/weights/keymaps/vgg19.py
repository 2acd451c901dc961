"""VGG-19 as an encoder, and the decoders that mirror it: layouts of style transfer."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ganjax.errors import UserError
from ganjax.nets import vgg
from ganjax.weights.keymaps.layers import (
    Arrays,
    color_layer,
    take,
    torch_layers,
    torchvision_colors,
)

# Caffe's VGG-19 takes BGR in [0, 255] with these means taken off.
_CAFFE_MEAN = (103.939, 116.779, 123.68)


def normalized_vgg(arrays: Arrays) -> Arrays:
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
    parameters = torch_layers(arrays, wanted)
    return _check(parameters, names, 3, [3, *_encoder_widths(names[1:], 64)])


def torchvision_vgg(arrays: Arrays) -> Arrays:
    positions = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
    names = vgg.convolutions("relu5_1")
    modules = dict(zip(map(str, positions), names, strict=True))
    prefix = "features." if "features.0.weight" in arrays else ""
    parameters = torch_layers(arrays, modules, prefix=prefix)
    return _check(
        torchvision_colors() | parameters, ["conv0", *names], 3, [3, *_encoder_widths(names, 64)]
    )


def keras_vgg(arrays: Arrays) -> Arrays:
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
            parameters[f"{name}/{part}"] = take(arrays, found[0], rank)
    to_bgr = np.eye(3)[::-1] * 255
    color = color_layer(to_bgr, [-mean for mean in _CAFFE_MEAN])
    return _check(color | parameters, ["conv0", *names], 3, [3, *_encoder_widths(names, 64)])


def compressed_vgg(arrays: Arrays) -> Arrays:
    """Wang et al. 2020 (collaborative distillation): VGG-19 of 1/16 of the weights, with heads."""
    ours = {f"conv{n[4]}{n[6]}": n for n in vgg.convolutions("relu5_1")}
    stripped = {name.removeprefix("model."): value for name, value in arrays.items()}
    last = _deepest(stripped, ours)
    names = ["conv0", *vgg.convolutions(last)]
    parameters = torch_layers(stripped, {n.replace("_", ""): n for n in names})
    width = 24 if last == "relu1_1" else 16
    _check(parameters, names, 3, [3, *_encoder_widths(names[1:], width)])
    for block in range(1, int(last[4]) + 1):
        head = f"head{block}_1"
        parameters |= torch_layers(stripped, {f"conv{block}1_aux": head})
        _check(parameters, [head], vgg.channels(width)[block - 1], [vgg.channels(64)[block - 1]])
    return parameters


def mirrored_decoder(arrays: Arrays, layers: Sequence[str] = vgg.LAYERS) -> Arrays:
    """`decoder.pth` of AdaIN and `feature_invertor_conv*.pth` of WCT: both number their modules.

    Args:
      layers: that it may start from.
    """
    found = (re.fullmatch(r"([0-9]{1,3})\.weight", name) for name in arrays)
    modules = sorted(int(match[1]) for match in found if match)
    depths = {len(vgg.convolutions(layer)): layer for layer in layers}
    if len(modules) not in depths:
        raise UserError(
            f"the file has {len(modules)} convolutions; decoders from {', '.join(layers)} have "
            f"{', '.join(map(str, depths))}"
        )
    names = vgg.convolutions(depths[len(modules)])[::-1]
    return _decoder(arrays, dict(zip(map(str, modules), names, strict=True)), 64)


def compressed_decoder(arrays: Arrays) -> Arrays:
    stripped = {name.removeprefix("model."): value for name, value in arrays.items()}
    modules = {f"conv{n[4]}{n[6]}": n for n in vgg.convolutions("relu5_1")}
    width = 24 if "conv12.weight" not in stripped else 16
    return _decoder(stripped, modules, width)


def _decoder(arrays: Arrays, modules: Mapping[str, str], width: int) -> Arrays:
    last = _deepest(arrays, modules)
    names = vgg.convolutions(last)[::-1]
    wanted = {module: layer for module, layer in modules.items() if layer in names}
    for module in modules:
        if module not in wanted and f"{module}.weight" in arrays:
            raise UserError(f"the file has array {module}.weight, but not the layers around it")
    parameters = torch_layers(arrays, wanted)
    outputs = [*_encoder_widths(names[1:], width), 3]
    return _check(parameters, names, vgg.channels(width)[int(last[4]) - 1], outputs)


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
