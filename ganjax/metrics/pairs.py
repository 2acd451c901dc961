"""Metrics of two images, some of which look at them through a network."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import Array

from ganjax import weights
from ganjax.errors import UserError
from ganjax.metrics import perceptual, similarity
from ganjax.metrics.extractors import digest_of
from ganjax.metrics.protocols import LUMA
from ganjax.nets import alexnet
from ganjax.nets.vgg import VGG19
from ganjax.nets.vgg16 import VGG16

_LEAST = 16  # pixels along a side of VGG's images: the deepest layers are at 1/8 and 1/16 of it
_CONTENT = "relu4_1"  # AdaIN's choice; its style is in relu1_1 .. relu4_1, all that `VGG19` gives
# The network, and the channels' weights of LPIPS.
_WEIGHTS: dict[str, tuple[str, ...]] = {
    "": (),
    "alexnet": ("alexnet_features", "lpips_alex"),
    "vgg16": ("vgg16_features", "lpips_vgg"),
    "vgg19": ("vgg19_normalised",),
    "vgg19_16x": ("vgg19_16x",),
    **dict.fromkeys(LUMA, ()),
}


class Sight(NamedTuple):
    """What a metric compares of two images.

    Attributes:
      digest: 16 hex digits of the network's weights; "" where the pixels are compared.
      perceive: a float image [H, W, 3] in [-1, 1] -> the same, or layer -> [1, h, w, C].
      channels: of LPIPS: layer -> [C].
      params: the network's weights; None where the pixels are compared.
      apply: (params, images [N, H, W, 3] in [-1, 1]) -> layer -> [N, h, w, C], for programs of
        others.
      least: pixels that the sides of images must have.
    """

    digest: str
    perceive: Callable[[Array], Any]
    channels: Mapping[str, Array]
    params: Any = None
    apply: Callable[[Any, Array], Mapping[str, Array]] = lambda params, images: {}
    least: int = 1


def weights_of(extractor: str) -> tuple[str, ...]:
    """Names of the weights that a paired metric takes; none where it compares pixels."""
    return _WEIGHTS[extractor]


def load(extractor: str) -> Sight:
    """The network of a paired metric, with its weights.

    Args:
      extractor: as in `Protocol`.

    Raises:
      UserError: there are no such weights, or not all layers of them.
    """
    if not extractor:
        return Sight("", lambda image: image, {})
    if extractor in LUMA:
        return Sight("", partial(similarity.luma, border=LUMA[extractor]), {})
    name, *heads = weights_of(extractor)
    channels = weights.load(heads[0]) if heads else {}
    params = weights.load(name)
    least = _LEAST
    layers: tuple[tuple[str, ...], ...] = ()  # all, where the network is not asked for some
    if extractor == "alexnet":
        module: nn.Module = alexnet.AlexNet()
        least = alexnet.LEAST
    elif extractor == "vgg16":
        module = VGG16(dense=False)
        layers = (tuple(channels),)
    else:
        if "conv4_1" not in params:
            raise UserError(
                f"weights {name} end before relu4_1; import the file of the whole network"
            )
        head_width = 64 if "head1_1" in params else 0
        module = VGG19(width=len(params["conv1_1"]["bias"]), head_width=head_width)
    held = jax.device_put(params)  # once, not for every image

    @jax.jit
    def features(params: Any, images: Array) -> dict[str, Array]:
        with jax.default_matmul_precision("highest"):
            return module.apply({"params": params}, images, *layers)

    def perceive(image: Array) -> dict[str, Array]:
        if min(image.shape[:2]) < least:
            height, width = image.shape[:2]
            raise UserError(
                f"{extractor} needs images of {least}x{least} pixels or more; "
                f"one is {height}x{width}"
            )
        return features(held, image[None])

    digest = digest_of({"network": params, "channels": channels}, extractor)
    return Sight(digest, perceive, channels, held, features, least)


@partial(jax.jit, static_argnames="kind")
def compare(kind: str, a: Any, b: Any, channels: Mapping[str, Array]) -> Array:
    """A metric of what a `Sight` perceives of two images and its `channels`: [] or [1]."""
    match kind:
        case "lpips":
            return perceptual.lpips(a, b, channels)
        case "content_loss":
            return perceptual.content_loss({_CONTENT: a[_CONTENT]}, {_CONTENT: b[_CONTENT]})
        case "style_loss" | "gram_distance":
            return getattr(perceptual, kind)(a, b)
    return getattr(similarity, kind)(a, b)
