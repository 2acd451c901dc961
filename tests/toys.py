"""Small models that several tests train."""

import jax
import jax.numpy as jnp

from ganjax.adain import channel_statistics
from ganjax.nets import stylizers


def toy_stylizer() -> stylizers.Stylizer:
    """AdaIN on pixels: a gain before it, a bias after it, a tone on the style."""

    def encode_style(params, images, mask=None):
        return [channel_statistics(images * params["tone"])]

    def stylize(params, images, transfer):
        return transfer(0, images * params["gain"]) + params["bias"] * images

    # Unlike parameters, or a mistake in one could pass for another.
    params = {"gain": 0.7, "tone": 1.3, "bias": 0.2}
    init = lambda rng: jax.tree.map(jnp.float32, params)  # noqa: E731
    made = stylizers.make_compact(8)
    return made._replace(init=init, encode_style=encode_style, stylize=stylize, depths=1)


def toy_perceive(images, layers):
    features = {"relu1_1": images, "relu2_1": images[:, ::2, ::2] ** 2 - images[:, 1::2, ::2]}
    return {name: features[name] for name in layers}
