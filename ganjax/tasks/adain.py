"""AdaIN's game: a stylizer trained on unpaired contents and styles by a perceptual loss."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import adain, ops
from ganjax.augment import move, vary_styles
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.fields import IMAGE
from ganjax.data.pipeline import Stream
from ganjax.data.streams import unpaired
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size, to_float
from ganjax.nets import stylizers, vgg16
from ganjax.nets.stylizers import Stylizer, blend_transfer
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task
from ganjax.weights import networks
from ganjax.weights.networks import Perceive

SHEET_SIDE = 6  # contents and styles of a sheet
SMOKE = {
    "data.content": ("avatars",),
    "data.style": ("avatars",),
    "data.image_size": "64",
    "data.load_size": "96",
    "model.encoder": "random",
    "loss.encoders": ("random",),
    "loss.content_layers": ("relu4_1",),
    "loss.covariance_layers": ("relu2_1", "relu3_1"),
    "batch_size": 4,
    "group": 1,
    **short_run(4),
}


def defaults() -> ConfigDict:
    """AdaIN as published: a decoder for VGG-19's relu4_1, crops of 256, batch 8, Adam 1e-4."""
    config = run_fields("adain")
    config.batch_size = 8  # contents of a step, over all devices
    # Contents and styles of a batch meet in groups of so many, each content with each style: what
    # the losses look through then sees 2 / group more images for each picture, instead of 2.
    config.group = 1
    config.total_kimg = 1280.0  # thousands of contents to train on: 160,000 steps

    # Sources: folder:PATH | tfds:NAME, "@SIDE" and "*WEIGHT" where wanted (docs/adain.md).
    config.data.content = ()
    config.data.style = ()  # sources as those of data.content
    config.data.image_size = "256"  # what a batch shows
    config.data.load_size = "512"  # what images are scaled to before that is cut out
    config.data.zoom = 1.0  # up to so many times image_size is cut out, and scaled down
    config.data.vary_styles = False  # make more styles of few: turned, and in other colors

    config.model = ConfigDict()
    config.model.form = "vgg19"  # vgg19 (the paper) | vgg16 | compact
    config.model.encoder = "vgg19_normalised"  # weights of the frozen encoder (vgg*), or "random"
    config.model.width = 32  # channels at 1/2 of the resolution (compact)
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    # "WEIGHTS:LAYER,LAYER", WEIGHTS as `ganjax.weights` knows them, or "random": a narrow VGG-19
    # of random weights, which needs no download. Its style statistics are usable (Ustyuzhaninov et
    # al. 2016, arXiv:1606.00021), but it knows no objects: good enough to try things out.
    config.loss.encoders = ("vgg19_normalised:relu1_1,relu2_1,relu3_1,relu4_1",)
    config.loss.content_layers = ("relu4_1",)  # whose features are those of the content
    config.loss.content_weight = 1.0  # of the content loss (equation 12)
    config.loss.style_weight = 10.0  # of the style loss (equation 13)
    config.loss.covariance_layers = ("relu2_1", "relu3_1")  # those of the covariance loss
    config.loss.covariance_weight = 0.0  # second moments between channels, as Gram matrices have
    config.loss.identity_weight = 0.0  # content in its own style gives the content back
    config.loss.motion_weight = 0.0  # a moved content is drawn as the moved picture: for videos

    config.ema_half_life_kimg = 0.0  # of the stylizer's average; 0 for none
    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # adam | muon
    config.optimizer.learning_rate = 1e-4  # Adam's
    config.optimizer.decay = 5e-5  # learning rate of step i: learning_rate / (1 + decay * i)
    config.optimizer.clip_norm = 0.0  # of the gradient over all parameters; 0 for no clipping
    config.optimizer.b1 = 0.9  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    config.log_every = 0.4  # kimg
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Contents and styles, shuffled each on their own."""
    return (*unpaired(config.data, "content"), *unpaired(config.data, "style"))


def from_config(config: ConfigDict) -> Task:
    """The game of a config, with the network that its losses look through."""
    data, loss = config.data, config.loss
    image_size = parse_image_size(data.image_size)
    if image_size[0] % 16 or image_size[1] % 16:
        raise UserError(f"data.image_size is {data.image_size}; give a multiple of 16")
    if data.vary_styles and image_size[0] != image_size[1]:
        raise UserError("data.vary_styles turns images; give a square data.image_size")
    if data.channels != 3:
        raise UserError(f"data.channels is {data.channels}; adain takes 3 (RGB)")
    check_choice("model.dtype", config.model.dtype, ("float32", "bfloat16"))
    for name in ("content", "style", "covariance", "identity", "motion"):
        if loss[f"{name}_weight"] < 0:
            raise UserError(f"loss.{name}_weight is below 0; give 0 or more")
    perceive, layers = networks.perceptual(loss.encoders)
    for field in ("content_layers", "covariance_layers"):
        if set(loss[field]) - set(layers):
            raise UserError(
                f"loss.{field} is {tuple(loss[field])}; choose from {', '.join(layers)}"
            )
    if config.group < 1 or config.batch_size % config.group:
        raise UserError(
            f"group is {config.group}; give a divisor of batch_size {config.batch_size}"
        )
    if not loss.content_layers:
        raise UserError("loss.content_layers is empty; give ('relu4_1',)")
    return make(
        _stylizer(config),
        perceive,
        optimizer=optimizers.make(config.optimizer),
        phases=(Phase("train", config.total_kimg, config.batch_size, image_size),),
        content_layers=tuple(loss.content_layers),
        style_layers=layers,
        covariance_layers=tuple(loss.covariance_layers),
        content_weight=loss.content_weight,
        style_weight=loss.style_weight,
        covariance_weight=loss.covariance_weight,
        identity_weight=loss.identity_weight,
        motion_weight=loss.motion_weight,
        vary=data.vary_styles,
        group=config.group,
        ema_half_life=config.ema_half_life_kimg * 1000,
        dtype=jnp.dtype(config.model.dtype),
    )


def model_from_config(config: ConfigDict) -> Model:
    """The stylizer of a config, without the network that its losses look through."""
    return make_model(_stylizer(config))


def _stylizer(config: ConfigDict) -> Stylizer:
    form, encoder = config.model.form, config.model.encoder
    check_choice("model.form", form, ("compact", "vgg19", "vgg16"))
    if form == "compact":
        return stylizers.make_compact(config.model.width)
    params = networks.vgg19_params(encoder, width=64)
    if encoder != "random" and (form == "vgg16") != vgg16.fits(params):
        raise UserError(f"model.encoder {encoder} is no {form}; choose another model.form")
    return stylizers.make_vgg(params)


def make_model(stylizer: Stylizer) -> Model:
    """Content n in style n; a sheet shows every content in every style."""

    def stylize(trained: Trained, content: Array, style: Array) -> Array:
        return _stylize(stylizer, trained.variables["stylizer"]["params"], content, style)

    def sample(trained: Trained, inputs: Inputs, rng: Array) -> dict[str, Array]:
        content, style = (to_float(inputs[name]) for name in ("content", "style"))
        return {"samples": stylize(trained, content, style)}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """A white corner and the styles, then a row for each content, which stands before it."""
        contents, styles = (to_float(inputs[name][:SHEET_SIDE]) for name in ("content", "style"))

        def row(content: Array) -> Array:
            repeated = jnp.broadcast_to(content, styles.shape)
            return jnp.concatenate([content[None], stylize(trained, repeated, styles)])

        corner = jnp.ones_like(styles[:1])
        rows = jax.lax.map(row, contents)
        return jnp.concatenate([jnp.concatenate([corner, styles])[None], rows])

    inputs = {"content": IMAGE, "style": IMAGE}
    return Model(inputs, {"samples": IMAGE}, None, sample, sheet, stylizer.multiple)


def _stylize(
    stylizer: Stylizer, params: Any, content: Array, style: Array, group: int = 1
) -> Array:
    styles = _with_each_content(stylizer.encode_style(params, style), group)
    move = blend_transfer(
        stylizer.transform, jax.tree.map(lambda value: value[None], styles), jnp.ones(1)
    )
    return stylizer.stylize(params, _in_each_style(content, group), move)


def _in_each_style(contents: Any, group: int) -> Any:
    """The rows of each group once for each of its styles: leaves [B, ...] to [B * group, ...]."""
    return jax.tree.map(lambda x: jnp.repeat(x, group, axis=0), contents)


def _with_each_content(styles: Any, group: int) -> Any:
    """The styles that go with the rows of `_in_each_style`."""

    def repeat(x: Array) -> Array:
        groups = x.reshape(-1, 1, group, *x.shape[1:])
        return jnp.repeat(groups, group, axis=1).reshape(-1, *x.shape[1:])

    return jax.tree.map(repeat, styles)


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
    motion_weight: float = 0.0,
    vary: bool = False,
    group: int = 1,
    ema_half_life: float = 0.0,
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
      motion_weight: of the difference between the picture of a moved content (`augment.move`) and
        the moved picture, for each content in one of its styles (Wang et al. 2020,
        doi:10.1109/TIP.2020.3024018). 0 leaves it out.
      vary: make more styles of few (`augment.vary_styles`).
      group: each content of a group of so many rows is drawn in each style of the group.
      ema_half_life: of the stylizer's average, in images; 0 for no averaging.
      dtype: of the computation, bfloat16 for instance; None for that of the images. Parameters,
        statistics, losses and samples are float32 at least.
    """
    layers = tuple(dict.fromkeys((*content_layers, *style_layers)))

    def init(rng: Array) -> State:
        network = Network.start({"params": stylizer.init(rng)}, optimizer)
        return State.start({"stylizer": network}, averaged=("stylizer",))

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        content, style = (as_float(batch[name]) for name in ("content", "style"))
        if vary:
            style = vary_styles(rng, style)
        if motion_weight:
            moved, flow = move(jax.random.fold_in(rng, 1), content)
            moved = moved if dtype is None else moved.astype(dtype)
        if dtype is not None:
            content, style = content.astype(dtype), style.astype(dtype)
        style_features = perceive(style, layers)
        own_features = perceive(content, content_layers)
        style_features = _with_each_content(style_features, group)
        contents = _in_each_style(own_features, group)
        targets = {
            name: adain.adain(contents[name], style_features[name]) for name in content_layers
        }
        wanted = {name: style_features[name] for name in style_layers}

        def loss(params):
            images = _stylize(stylizer, params, content, style, group)
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
                same = _stylize(stylizer, params, content[:1], content[:1])
                first = {name: own_features[name][:1] for name in content_layers}
                seen = perceive(same, content_layers)
                value = jnp.mean(adain.content_loss(same, content[:1]))
                value = value + 0.1 * _content_loss(seen, first, content_layers)
                terms["identity"] = identity_weight * value
            if motion_weight:
                first_styles = jnp.repeat(style[::group], group, axis=0)
                found = _stylize(stylizer, params, moved, first_styles)
                shown, inside = jax.vmap(ops.warp)(images[::group], flow)
                gap = jnp.mean(jnp.abs(shown - found), axis=-1)
                terms["motion"] = motion_weight * jnp.mean(inside * gap)
            return sum(terms.values()), terms

        network = state.networks["stylizer"]
        gradients, terms = jax.grad(loss, has_aux=True)(network.params)
        network = update(network, gradients, {}, optimizer)
        return state.after(
            {"stylizer": network},
            {"stylizer": gradients},
            batch_size=content.shape[0],
            half_life=ema_half_life,
            metrics={f"loss_{name}": value for name, value in terms.items()},
        )

    return Task(make_model(stylizer), init, train_step, phases)


def _content_loss(features, targets, layers: tuple[str, ...]):
    return sum(jnp.mean(adain.content_loss(features[name], targets[name])) for name in layers)
