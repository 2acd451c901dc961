"""Training games, one file each; `make` is the only place that knows them by name."""

from collections.abc import Callable, Sequence
from typing import Any

from ganjax.errors import UserError
from ganjax.training.task import Task


def make(config: Any) -> Task:
    """Builds the task that `config.task` names from a config (see configs/).

    Raises:
      UserError: a field holds an impossible value; the message names the possible ones.
    """
    _check_common(config)
    match config.task:
        case "dcgan":
            return _dcgan(config)
        case "adain":
            return _adain(config)
        case "attributes":
            return _attributes(config)
        case "progressive":
            return _progressive(config)
        case other:
            raise UserError(
                f"task {other!r} is unknown; there is dcgan, adain, attributes and progressive"
            )


def _check_common(config: Any) -> None:
    if config.get("batch_size", 1) < 1:
        raise UserError(f"batch_size is {config.batch_size}; it must be 1 or more")
    if config.seed < 0:
        raise UserError(f"seed is {config.seed}; it must be 0 or more")
    if not config.total_kimg > 0:
        raise UserError(f"total_kimg is {config.total_kimg}; it must be above 0")
    _check_choice("parallel", config.parallel, ("jit", "pmap"))
    if config.get("max_skips", 0) < 0:
        raise UserError(f"max_skips is {config.max_skips}; it must be 0 or more")
    if config.keep_checkpoints < 1:
        raise UserError(f"keep_checkpoints is {config.keep_checkpoints}; it must be 1 or more")


def _dcgan(config: Any) -> Task:
    import jax.numpy as jnp

    from ganjax import losses
    from ganjax.images import parse_image_size
    from ganjax.nets.dcgan import (
        FORMS,
        PUBLISHED_WIDTH,
        Discriminator,
        Generator,
        seed_and_doublings,
    )
    from ganjax.tasks import dcgan
    from ganjax.training import optimizers
    from ganjax.training.task import Phase

    model = config.model
    image_size = parse_image_size(config.data.image_size)
    seed_and_doublings(image_size)
    _check_choice("model.form", model.form, FORMS)
    if model.width < 0 or model.latent_size < 1:
        raise UserError("model.width must be 0 or more, model.latent_size 1 or more")
    _check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    fields = {
        "image_size": image_size,
        "channels": config.data.channels,
        "width": model.width or PUBLISHED_WIDTH[model.form],
        "form": model.form,
        "dtype": jnp.dtype(model.dtype),
    }
    pairs = {"non_saturating": losses.NON_SATURATING, "saturating": losses.SATURATING}
    _check_choice("loss", config.loss, pairs)
    return dcgan.make(
        Generator(**fields),
        Discriminator(**fields),
        loss=pairs[config.loss],
        generator_optimizer=optimizers.make(config.optimizer),
        discriminator_optimizer=optimizers.make(config.optimizer),
        phases=(Phase("train", config.total_kimg, config.batch_size, image_size),),
        latent_size=model.latent_size,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def _adain(config: Any) -> Task:
    import jax.numpy as jnp

    from ganjax import weights
    from ganjax.images import parse_image_size
    from ganjax.nets import stylizers
    from ganjax.tasks import adain
    from ganjax.training import optimizers
    from ganjax.training.task import Phase

    image_size = parse_image_size(config.data.image_size)
    if image_size[0] % 16 or image_size[1] % 16:
        raise UserError(f"data.image_size is {config.data.image_size}; give a multiple of 16")
    if config.data.vary_styles and image_size[0] != image_size[1]:
        raise UserError("data.vary_styles turns images; give a square data.image_size")
    if config.data.channels != 3:
        raise UserError(f"data.channels is {config.data.channels}; adain takes 3 (RGB)")
    _check_choice("model.form", config.model.form, ("compact", "vgg19"))
    _check_choice("model.dtype", config.model.dtype, ("float32", "bfloat16"))
    if config.model.form == "compact":
        stylizer = stylizers.make_compact(config.model.width)
    else:
        stylizer = stylizers.make_vgg19(_vgg_params(config.model.encoder, width=64))
    start = None
    if config.init_from:
        start = weights.load(config.init_from)
        stylizers.check_fitting(stylizer, start, config.init_from)
    loss = config.loss
    for name in ("content", "style", "covariance", "identity"):
        if loss[f"{name}_weight"] < 0:
            raise UserError(f"loss.{name}_weight is below 0; give 0 or more")
    perceive, layers = _perceptual(loss.encoders)
    for field in ("content_layers", "covariance_layers"):
        if set(loss[field]) - set(layers):
            raise UserError(
                f"loss.{field} is {tuple(loss[field])}; choose from {', '.join(layers)}"
            )
    if not loss.content_layers:
        raise UserError("loss.content_layers is empty; give ('relu4_1',)")
    return adain.make(
        stylizer,
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
        vary=config.data.vary_styles,
        ema_half_life=config.ema_half_life_kimg * 1000,
        start=start,
        dtype=jnp.dtype(config.model.dtype),
    )


def _attributes(config: Any) -> Task:
    from ganjax.data.avatars import ATTRIBUTES
    from ganjax.data.avatars.occlusion import hide
    from ganjax.nets.attributes import SIDE, Classifier
    from ganjax.tasks import attributes
    from ganjax.training import optimizers
    from ganjax.training.task import Phase

    data, model = config.data, config.model
    if data.source != "avatars":
        raise UserError(f"data.source is {data.source!r}; avatars have the attributes")
    if (str(data.image_size), data.channels) != (str(SIDE), 3):
        raise UserError(f"the classifier sees {SIDE}x{SIDE} RGB; set data.image_size={SIDE}")
    if data.flip or not data.labels:
        raise UserError("a mirrored gaze is another one; set data.flip=False, data.labels=True")
    if model.width < 1 or model.features < 1:
        raise UserError("model.width and model.features must be 1 or more")
    if not 0 <= config.disturbance <= 1:
        raise UserError(f"disturbance is {config.disturbance}; it must be in [0, 1]")
    sizes = [len(values) for values in ATTRIBUTES.values()]
    return attributes.make(
        Classifier(sum(sizes), model.width, model.features),
        sizes,
        hide,
        optimizer=optimizers.make(config.optimizer),
        phases=(Phase("train", config.total_kimg, config.batch_size, (SIDE, SIDE)),),
        disturbance=config.disturbance,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def _progressive(config: Any) -> Task:
    import jax.numpy as jnp

    from ganjax.images import parse_image_size
    from ganjax.nets.progressive import GROUP, Discriminator, Generator
    from ganjax.tasks import progressive
    from ganjax.training import optimizers

    data, model, growth, loss = config.data, config.model, config.growth, config.loss
    if min(model.width, model.latent_size) < 1 or model.classes < 0:
        raise UserError("model.width and model.latent_size must be 1 or more, model.classes 0")
    if (model.classes > 0) != data.labels:
        raise UserError("set data.labels to True and model.classes to their number, or neither")
    _check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    for name, values in (*growth.items(), ("learning_rate", config.optimizer.learning_rates)):
        if not values or min(values) < 0:
            raise UserError(f"{name} is {values}; give 0 or more for one resolution or more")
    if wrong := [b for b in growth.batch_sizes if b < 1 or b % min(b, GROUP)]:
        raise UserError(f"growth.batch_sizes has {wrong[0]}; give 1, 2, 3 or multiples of {GROUP}")
    for name in ("penalty_weight", "drift_weight", "label_weight"):
        if loss[name] < 0:
            raise UserError(f"loss.{name} is below 0; give 0 or more")
    image_size = parse_image_size(data.image_size)
    fields = {
        "image_size": image_size,
        "channels": data.channels,
        "width": model.width,
        "classes": model.classes,
        "remat": model.remat,
        "dtype": jnp.dtype(model.dtype),
    }
    try:
        phases = progressive.grow(image_size, **growth, total_kimg=config.total_kimg)
    except ValueError as error:
        raise UserError(f"{error}; raise total_kimg") from error
    return progressive.make(
        Generator(**fields),
        Discriminator(**fields),
        optimizers=[
            optimizers.make(config.optimizer, learning_rate=rate)
            for rate in config.optimizer.learning_rates
        ],
        phases=phases,
        latent_size=model.latent_size,
        penalty_weight=loss.penalty_weight,
        drift_weight=loss.drift_weight,
        label_weight=loss.label_weight,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def _perceptual(encoders: Sequence[str]) -> tuple[Callable, tuple[str, ...]]:
    """The features of `loss.encoders`, each "NAME:LAYER,LAYER", as one function, and its layers."""
    from ganjax.nets import vgg

    networks, owners = [], {}
    for number, spec in enumerate(encoders):
        name, _, layers = spec.partition(":")
        wanted = tuple(layers.split(",")) if layers else vgg.LAYERS[:4]
        params = _vgg_params(name, width=16)
        if wrong := [layer for layer in wanted if layer.replace("relu", "conv") not in params]:
            raise UserError(f"loss.encoders: {name} has no layer {', '.join(wrong)}")
        if twice := [layer for layer in wanted if layer in owners]:
            raise UserError(f"loss.encoders gives {', '.join(twice)} twice; leave one out")
        width = params["conv1_1"]["bias"].shape[0]
        head_width = 64 if "head1_1" in params else 0
        module = vgg.VGG19(last=max(wanted), width=width, head_width=head_width)
        networks.append((module, params))
        owners |= dict.fromkeys(wanted, number)

    def perceive(images, layers):
        features = {}
        for number, (module, params) in enumerate(networks):
            mine = tuple(layer for layer in layers if owners[layer] == number)
            if mine:
                features |= module.apply({"params": params}, images, mine)
        return features

    return perceive, tuple(sorted(owners))


def _vgg_params(name: str, *, width: int) -> Any:
    """The weights `name`; for "random", those of a VGG-19 of that width as He et al. start it."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ganjax import weights
    from ganjax.nets import vgg

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


def _check_choice(field: str, value: str, choices) -> None:
    if value not in choices:
        raise UserError(f"{field} is {value!r}; choose {' or '.join(choices)}")
