"""AdaIN's game: a stylizer trained on unpaired contents and styles by a perceptual loss."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ganjax import adain
from ganjax.augment import vary_styles
from ganjax.images import as_float, to_float
from ganjax.nets.stylizers import Stylizer, blend_transfer
from ganjax.training.state import Network, State, average, update
from ganjax.training.task import Phase, Task

# (images [B, H, W, 3] in [-1, 1], layers) -> {layer: features [B, h, w, C]}
Perceive = Callable[[Array, tuple[str, ...]], Mapping[str, Array]]
GRID_SIDE = 6


def make(
    stylizer: Stylizer,
    perceive: Perceive,
    *,
    optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    content_layers: tuple[str, ...],
    style_layers: tuple[str, ...],
    covariance_layers: tuple[str, ...] = (),
    content_weight: float = 1.0,
    style_weight: float = 10.0,
    covariance_weight: float = 0.0,
    identity_weight: float = 0.0,
    vary: bool = False,
    ema_half_life: float = 0.0,
    start: Any = None,
    dtype: Any = None,
) -> Task:
    """The game of Huang and Belongie 2017, equations 11 to 13.

    A batch holds `content` and `style`, each [B, H, W, 3] (uint8, or float in [-1, 1]). The
    content's target is the AdaIN of its features with the style's, in the space of `perceive`.

    Args:
      perceive: the network whose features the losses compare; it is not trained.
      covariance_layers: those of `style_layers` that `adain.covariance_loss` compares.
      identity_weight: of the squared error in pixels, and the content loss, of the first content of
        each batch in its own style. 0 leaves it out.
      vary: make more styles of few (`augment.vary_styles`).
      ema_half_life: of the stylizer's average, in images; 0 for no averaging.
      start: params to start from; None for random ones.
      dtype: of the computation, bfloat16 for instance; None for that of the images. Parameters,
        statistics, losses and samples are float32 at least.
    """
    layers = tuple(dict.fromkeys((*content_layers, *style_layers)))

    def init(rng: Array) -> State:
        params = stylizer.init(rng) if start is None else jax.tree.map(jnp.asarray, start)
        network = Network(params, {}, optimizer.init(params))
        return State.start({"stylizer": network}, averaged=("stylizer",))

    def stylize(params, content: Array, style: Array) -> Array:
        encoded = stylizer.encode_style(params, style)
        styles = jax.tree.map(lambda value: value[None], encoded)
        move = blend_transfer(stylizer.transform, styles, jnp.ones(1))
        return stylizer.stylize(params, content, move)

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        content, style = (as_float(batch[name]) for name in ("content", "style"))
        if vary:
            style = vary_styles(rng, style)
        if dtype is not None:
            content, style = content.astype(dtype), style.astype(dtype)
        style_features = perceive(style, layers)
        own_features = perceive(content, content_layers)
        targets = {
            name: adain.adain(own_features[name], style_features[name]) for name in content_layers
        }
        wanted = {name: style_features[name] for name in style_layers}

        def loss(params):
            images = stylize(params, content, style)
            features = perceive(images, layers)
            styled = {name: features[name] for name in style_layers}
            terms = {
                "content": content_weight * _content_loss(features, targets, content_layers),
                "style": style_weight * jnp.mean(adain.style_loss(styled, wanted)),
            }
            if covariance_weight and covariance_layers:
                chosen = {name: features[name] for name in covariance_layers}
                value = jnp.mean(adain.covariance_loss(chosen, wanted))
                terms["covariance"] = covariance_weight * value
            if identity_weight:
                # With its own style, the content shall come back.
                same = stylize(params, content[:1], content[:1])
                first = {name: own_features[name][:1] for name in content_layers}
                seen = perceive(same, content_layers)
                value = jnp.mean(adain.content_loss(same, content[:1]))
                value = value + 0.1 * _content_loss(seen, first, content_layers)
                terms["identity"] = identity_weight * value
            return sum(terms.values()), terms

        network = state.networks["stylizer"]
        gradients, terms = jax.grad(loss, has_aux=True)(network.params)
        network = update(network, gradients, {}, optimizer)
        ema = average(
            state.averages["stylizer"],
            network.variables,
            images=state.images,
            batch_size=content.shape[0],
            half_life=ema_half_life,
        )
        metrics = {f"loss_{name}": value for name, value in terms.items()}
        metrics["grad_norm_stylizer"] = optax.tree.norm(gradients)
        state = state.replace(networks={"stylizer": network}, averages={"stylizer": ema})
        return state, metrics

    def sample(state: State, inputs, rng: Array) -> dict[str, Array]:
        """Every content in every style: a white corner and the styles, then a row per content."""
        contents, styles = (to_float(inputs[name][:GRID_SIDE]) for name in ("content", "style"))
        params = state.averages["stylizer"]["params"]

        def row(content: Array) -> Array:
            repeated = jnp.broadcast_to(content, styles.shape)
            return jnp.concatenate([content[None], stylize(params, repeated, styles)])

        corner = jnp.ones_like(styles[:1])
        rows = jax.lax.map(row, contents)
        return {"samples": jnp.concatenate([jnp.concatenate([corner, styles])[None], rows])}

    return Task(init, train_step, None, sample, phases)


def _content_loss(features, targets, layers: tuple[str, ...]) -> Array:
    return sum(jnp.mean(adain.content_loss(features[name], targets[name])) for name in layers)
