"""Published networks together with their weights."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import weights
from ganjax.errors import UserError
from ganjax.nets import vgg, vgg16

# (images [B, H, W, 3] in [-1, 1], layers) -> {layer: features [B, h, w, C]}
Perceive = Callable[[Array, tuple[str, ...]], Mapping[str, Array]]

# The mean of every channel of VGG-16 over photographs and paintings (benchmarks/vgg16_means.py), by
# which perceptual losses divide them, so that all channels weigh alike: what the normalized VGG-19
# has in its weights (Gatys et al. 2015, arXiv:1508.06576, section "Methods").
_VGG16_MEANS = Path(__file__).with_name("vgg16_means.npz")


def perceptual(encoders: Sequence[str]) -> tuple[Perceive, tuple[str, ...]]:
    """The network that perceptual losses look through, and its layers.

    Args:
      encoders: each "NAME:LAYER,LAYER", with weights NAME of a VGG-19 (layers relu1_1 to relu5_1,
        by default the first four) or a VGG-16 (relu1_1 to relu5_3, by default relu1_2, relu2_2,
        relu3_3 and relu4_3), or "random" for a narrow VGG-19 of random weights.

    Raises:
      UserError: weights are missing, or a layer is unknown or given twice.
    """
    networks, scales = [], []
    owners: dict[str, int] = {}
    for number, spec in enumerate(encoders):
        name, _, layers = spec.partition(":")
        params = vgg19_params(name, width=16)
        module, known, usual = _vgg(params)
        published = vgg16.fits(params) and module.width == 64
        scales.append(_vgg16_means() if published else {})
        wanted = tuple(layers.split(",")) if layers else usual
        if wrong := [layer for layer in wanted if layer not in known]:
            raise UserError(
                f"loss.encoders: {name} has no layer {', '.join(wrong)}; it has {', '.join(known)}"
            )
        if twice := [layer for layer in wanted if layer in owners]:
            raise UserError(f"loss.encoders gives {', '.join(twice)} twice; leave one out")
        networks.append((module, params))
        owners |= dict.fromkeys(wanted, number)

    def perceive(images, layers):
        features: dict[str, Any] = {}
        for number, (module, params) in enumerate(networks):
            mine = tuple(layer for layer in layers if owners[layer] == number)
            if mine:
                found = module.apply({"params": params}, images, mine)
                features |= {name: x / scales[number].get(name, 1) for name, x in found.items()}
        return features

    return perceive, tuple(sorted(owners))


def _vgg(params: Any) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """The network that weights are of, the layers that they reach to, and those usually taken."""
    width = params["conv1_1"]["bias"].shape[0]
    if vgg16.fits(params):
        module: Any = vgg16.VGG16(dense=False, width=width)
        layers: tuple[str, ...] = vgg16.LAYERS
        usual: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    else:
        module = vgg.VGG19(width=width, head_width=64 if "head1_1" in params else 0)
        layers, usual = vgg.LAYERS, vgg.LAYERS[:4]
    known = tuple(layer for layer in layers if layer.replace("relu", "conv") in params)
    return module, known, usual


@cache
def _vgg16_means() -> dict[str, np.ndarray]:
    """Layer -> [1, 1, 1, C]."""
    with np.load(_VGG16_MEANS, allow_pickle=False) as file:
        return {layer: means[None, None, None] for layer, means in file.items()}


def vgg19_params(name: str, *, width: int) -> Any:
    """The weights `name`; for "random", those of a VGG-19 of that width as He et al. start it."""
    if name != "random":
        return weights.load(name)
    module, random = vgg.VGG19(width=width), np.random.default_rng(0)
    images = jnp.zeros((1, 32, 32, 3))
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), images))["params"]

    def draw(like: Any) -> Any:
        if len(like.shape) == 1:
            return np.zeros(like.shape, np.float32)
        deviation = (2 / np.prod(like.shape[:-1])) ** 0.5
        return random.normal(scale=deviation, size=like.shape).astype(np.float32)

    colors = {"kernel": 2 * np.eye(3, dtype=np.float32)[None, None], "bias": -np.ones(3, "f")}
    return jax.tree.map(draw, shapes) | {"conv0": colors}
