"""Stylizers as pure functions: the compact model and AdaIN on VGG-19, behind one contract.

What happens to features between their layers, mixtures of styles and masks, is written here once,
on the contract of `ganjax.transforms`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import adain, ops, wct
from ganjax.errors import UserError
from ganjax.nets import compact, vgg, vgg16, wavelet
from ganjax.nets.compact import Transfer
from ganjax.transforms import Statistics, Transform

Params = Any


class Stylizer(NamedTuple):
    """An arbitrary stylizer; images are [B, H, W, 3] in [-1, 1], sides multiples of `multiple`.

    Attributes:
      init: rng -> params, those that are trained.
      encode_style: (params, images, mask=None) -> statistics of the style for each depth, leaves
        [B, ...]. The mask [B, H, W, 1] in [0, 1] says where the style is.
      stylize: (params, images, transfer) -> images; `transfer(depth, features)` is called once for
        each depth, in order.
      transform: what the transfers of this model do.
      depths: number of transfers.
      multiple: of which the sides of images must be multiples.
      reach: pixels beyond which one has no influence on another, but through the statistics.
    """

    init: Callable[[Array], Params]
    encode_style: Callable[..., list[Statistics]]
    stylize: Callable[[Params, Array, Transfer], Array]
    transform: Transform
    depths: int
    multiple: int
    reach: int


@cache  # programs are compiled once for each stylizer
def make_compact(width: int = 32) -> Stylizer:
    """The compact model (`ganjax.nets.compact`): params {"stylizer", "style_encoder"}."""
    stylizer, style_encoder = compact.Stylizer(width), compact.StyleEncoder(width)

    def init(rng: Array) -> Params:
        stylizer_rng, style_rng = jax.random.split(rng)
        images = jnp.zeros((1, 32, 32, 3))
        variables = stylizer.init(stylizer_rng, images, lambda depth, features: features)
        return {
            "stylizer": variables["params"],
            "style_encoder": style_encoder.init(style_rng, images)["params"],
        }

    def encode_style(params: Params, images: Array, mask: Array | None = None):
        features = style_encoder.apply({"params": params["style_encoder"]}, images)
        return [_measured(adain.TRANSFORM, value, mask) for value in features]

    def stylize(params: Params, images: Array, transfer: Transfer) -> Array:
        return stylizer.apply({"params": params["stylizer"]}, images, transfer)

    return Stylizer(init, encode_style, stylize, adain.TRANSFORM, compact.DEPTHS, 16, compact.REACH)


def compact_width(params: Params, name: str) -> int:
    """The width of the compact model that `params`, read from the weights `name`, belong to.

    Raises:
      UserError: they belong to another network.
    """
    try:
        (width,) = np.shape(params["stylizer"]["encoder"]["Conv_0"]["bias"])
    except (KeyError, IndexError, ValueError):
        width = 0
    if not width:
        raise UserError(f"weights {name} are not the compact model's; choose another --model")
    return width


def make_vgg(encoder_params: Params, *, layer: str = "relu4_1") -> Stylizer:
    """AdaIN as published (Huang and Belongie 2017): a frozen VGG-19, a decoder that is trained.

    Args:
      encoder_params: of `vgg.VGG19`, at least up to `layer`; or of `vgg16.VGG16`, as a whole.
      layer: where features are normalized.
    """
    is_16, decoder = vgg16.fits(encoder_params), vgg.Decoder(first=layer)
    encoder: Any = vgg16.VGG16(dense=False) if is_16 else vgg.VGG19(last=layer)
    halvings = vgg.LAYERS.index(layer)

    def encode(images: Array) -> Array:
        return encoder.apply({"params": encoder_params}, images, (layer,))[layer]

    def init(rng: Array) -> Params:
        features = jnp.zeros((1, 4, 4, vgg.channels(64)[halvings]))
        return decoder.init(rng, features)["params"]

    def encode_style(params: Params, images: Array, mask: Array | None = None):
        return [_measured(adain.TRANSFORM, encode(images), mask)]

    def stylize(params: Params, images: Array, transfer: Transfer) -> Array:
        return decoder.apply({"params": params}, transfer(0, encode(images)))

    reach = 12 * 2**halvings
    return Stylizer(init, encode_style, stylize, adain.TRANSFORM, 1, 2**halvings, reach)


def make_wct(params: Params, strengths: Mapping[str, float]) -> Stylizer:
    """WCT as published (Li et al. 2017): encode, whiten and color, decode, at several levels.

    Args:
      params: {"relu4_1": {"encoder", "decoder"}} for each level; levels without an encoder share
        the one of {"encoder"}. Encoders are VGG-19s or VGG-16s of any width.
      strengths: of the transfer, in [0, 1], for each level, in order: published are relu5_1 to
        relu1_1, coarse to fine, each with 0.6.
    """
    levels = tuple(strengths)

    def encoder(params: Params, level: str) -> tuple[Params, int]:
        found = params[level].get("encoder") or params["encoder"]
        return found, np.shape(found["conv1_1"]["bias"])[0]

    decoders = {level: vgg.Decoder(level, encoder(params, level)[1]) for level in levels}
    halvings = {level: vgg.LAYERS.index(level) for level in levels}

    def init(rng: Array) -> Params:
        drawn = {}
        for level, decoder in decoders.items():
            features = jnp.zeros((1, 4, 4, vgg.channels(decoder.width)[halvings[level]]))
            rng, key = jax.random.split(rng)
            drawn[level] = {"decoder": decoder.init(key, features)["params"]}
        return drawn

    def encode(params: Params, level: str, images: Array) -> Array:
        found, width = encoder(params, level)
        is_16 = vgg16.fits(found)
        module: Any = vgg16.VGG16(dense=False, width=width) if is_16 else vgg.VGG19(level, width)
        return module.apply({"params": found}, images, (level,))[level]

    def encode_style(params: Params, images: Array, mask: Array | None = None):
        return [_measured(wct.TRANSFORM, encode(params, level, images), mask) for level in levels]

    def stylize(params: Params, images: Array, transfer: Transfer) -> Array:
        for depth, level in enumerate(levels):
            features = encode(params, level, jnp.clip(images, -1, 1))
            moved = features + strengths[level] * (transfer(depth, features) - features)
            images = decoders[level].apply({"params": params[level]["decoder"]}, moved)
        return images

    reach = sum(12 * 2**count for count in halvings.values())
    multiple = 2 ** max(halvings.values())
    return Stylizer(init, encode_style, stylize, wct.TRANSFORM, len(levels), multiple, reach)


def make_wct2(params: Params) -> Stylizer:
    """WCT2 (`ganjax.nets.wavelet`): one pass, with transfers at each level of both halves.

    Args:
      params: {"encoder"}, of a VGG-19 or VGG-16 of any width; {"wavelet": {"decoder"}} is used by
        `stylize`, not here.
    """
    width, is_16 = np.shape(params["encoder"]["conv1_1"]["bias"])[0], vgg16.fits(params["encoder"])
    encoder, decoder = wavelet.Encoder(width), wavelet.Decoder(width)
    if is_16:
        names = vgg16.CONVOLUTIONS[: vgg16.CONVOLUTIONS.index("conv4_1") + 1]
        encoder = wavelet.Encoder(width, names, "zero")

    def init(rng: Array) -> Params:
        widths = vgg.channels(width)
        high = [jnp.zeros((3, 1, 8 >> n, 8 >> n, widths[n])) for n in range(3)]
        variables = decoder.init(rng, jnp.zeros((1, 2, 2, widths[3])), high, lambda _, x: x)
        return {"wavelet": {"decoder": variables["params"]}}

    def stylize(params: Params, images: Array, transfer: Transfer) -> Array:
        x, high = encoder.apply({"params": params["encoder"]}, images, transfer)
        return decoder.apply({"params": params["wavelet"]["decoder"]}, x, high, transfer)

    def encode_style(params: Params, images: Array, mask: Array | None = None):
        found = []

        def measure(depth: int, features: Array) -> Array:
            found.append(_measured(wct.RANGED_TRANSFORM, features, mask))
            return features

        stylize(params, images, measure)
        return found

    return Stylizer(
        init, encode_style, stylize, wct.RANGED_TRANSFORM, wavelet.DEPTHS, wavelet.MULTIPLE,
        wavelet.REACH,
    )  # fmt: skip


def blend_transfer(
    transform: Transform,
    styles: Sequence[Statistics],
    weights: Array,
    *,
    inside: Array | None = None,
    known: Sequence[Statistics] | None = None,
) -> Transfer:
    """The transfer to a mixture of N styles.

    A share of the content's own style makes AdaIN's the interpolation of its equation 14: for
    features that the content's own statistics describe, the two are the same.

    Args:
      styles: for each depth the statistics of the styles, leaves [N, B, ...].
      weights: [N], 0 or more.
      inside: [B, H, W, 1] in [0, 1] at the image's size; the statistics of the content are taken
        there. What is outside gets the style too, for its neighbors inside see it, but is kept
        within the bounds of what is inside.
      known: for each depth the statistics of the content, where they are known already.
    """

    def transfer(depth: int, features: Array) -> Array:
        content = _measured(transform, features, inside) if known is None else known[depth]
        if inside is not None:
            bounded = transform.bound(features, content)
            share = ops.shrink((inside > 0).astype(inside.dtype), features.shape[1:3])
            features = (bounded + share * (features - bounded)).astype(features.dtype)
        return transform.apply(features, content, styles[depth], weights)

    return transfer


def _measured(transform: Transform, features: Array, mask: Array | None) -> Statistics:
    """The statistics of features; `mask` [B, H, W, 1] has the image's size."""
    weights = None if mask is None else ops.shrink(mask, features.shape[1:3])
    return transform.statistics(transform.measure(features, weights))
