"""How near images are in the features of a network: LPIPS' form, and style transfer's measures.

Features are layer name -> [..., H, W, C], as `ganjax.nets` gives them; there is one value per
image. What else makes a published number is the network, its layers and its range of input.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from ganjax import adain
from ganjax.errors import UserError


def lpips(
    features: Mapping[str, Array], others: Mapping[str, Array], weights: Mapping[str, Array]
) -> Array:
    """Learned perceptual distance (Zhang et al. 2018, arXiv:1801.03924, equation 1).

    Channels are scaled to length 1 at every pixel; squared differences are weighed by channel,
    averaged over pixels and summed over layers.

    Args:
      features, others: layer name -> [..., H, W, C], of images of one size.
      weights: layer name -> [C], 0 or more; the published form's trained 1x1 convolutions.

    Returns:
      [...], 0 or more, 0 for equal images.

    Raises:
      UserError: a layer is missing, or of another shape in the other image.
    """
    _check_layers(weights, features, others)
    distances = []
    for layer, weight in weights.items():
        a, b = features[layer], others[layer]
        if a.shape != b.shape:
            raise UserError(f"{layer} is {a.shape} and {b.shape}; compare images of one size")
        squares = jnp.square(_unit(a) - _unit(b))
        weight = weight.astype(squares.dtype)
        weighed = jnp.einsum("...c,c->...", squares, weight, precision="highest")
        distances.append(jnp.mean(weighed, axis=(-2, -1)))
    return sum(distances[1:], distances[0])


def content_loss(features: Mapping[str, Array], content: Mapping[str, Array]) -> Array:
    """AdaIN's content loss (equation 12), summed over layers.

    Args:
      features, content: layer name -> [..., H, W, C], of images of one size.

    Returns:
      [...].

    Raises:
      UserError: the layers differ.
    """
    _check_layers(features, content)
    losses = [adain.content_loss(values, content[layer]) for layer, values in features.items()]
    return sum(losses[1:], losses[0])


def style_loss(features: Mapping[str, Array], style: Mapping[str, Array]) -> Array:
    """AdaIN's style loss (equation 13): `ganjax.adain.style_loss`; sizes may differ.

    Raises:
      UserError: the layers differ.
    """
    _check_layers(features, style)
    return adain.style_loss(features, style)


def gram_distance(features: Mapping[str, Array], style: Mapping[str, Array]) -> Array:
    """Relative squared error of Gram matrices: `ganjax.adain.covariance_loss`; sizes may differ.

    Raises:
      UserError: the layers differ.
    """
    _check_layers(features, style)
    return adain.covariance_loss(features, style)


def _check_layers(wanted: Mapping[str, Array], *given: Mapping[str, Array]) -> None:
    for features in given:
        if missing := [layer for layer in wanted if layer not in features]:
            raise UserError(
                f"features lack {', '.join(missing)}; take {', '.join(wanted)} of both images"
            )


def _unit(features: Array) -> Array:
    wide = features.astype(jnp.float64 if features.dtype == jnp.float64 else jnp.float32)
    # Added under the root, for a gradient at pixels where no channel responds.
    return wide / jnp.sqrt(jnp.sum(jnp.square(wide), axis=-1, keepdims=True) + 1e-20)
