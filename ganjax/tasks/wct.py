"""WCT's decoders, trained to give images back from features (Li et al. 2017, section 3.1).

And the one of WCT2, with wavelets for pooling (Yoo et al. 2019).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax.config import run_fields, short_run
from ganjax.data.fields import IMAGE
from ganjax.data.pipeline import Stream
from ganjax.data.streams import unpaired
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size, to_float
from ganjax.nets import stylizers, vgg, wavelet
from ganjax.nets.stylizers import Stylizer
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task
from ganjax.weights import networks
from ganjax.weights.networks import Perceive

SHEET_ROWS = 6
WAVELET = ("wavelet",)  # in place of levels: one decoder, which takes high frequencies, too
SMOKE = {
    "data.source": ("avatars",),
    "data.image_size": "32",
    "data.load_size": "48",
    "model.encoder": "",
    "model.width": 2,
    "model.levels": ("relu2_1", "relu1_1"),
    "loss.teacher": "random",
    "batch_size": 4,
    **short_run(4),
}


def defaults() -> ConfigDict:
    """Decoders of five levels for a frozen VGG-16, as published but for the network."""
    config = run_fields("wct")
    config.batch_size = 8  # images of a step, over all devices
    config.total_kimg = 640.0  # thousands of images to train on
    config.ema_half_life_kimg = 0.0  # of the networks' average; 0 for none

    # Sources: folder:PATH | tfds:NAME, "@SIDE" and "*WEIGHT" where wanted (docs/adain.md).
    config.data.source = ()
    config.data.image_size = "256"  # what a batch shows
    config.data.load_size = "512"  # what images are scaled to before that is cut out
    config.data.zoom = 1.0  # up to so many times image_size is cut out, and scaled down

    config.model = ConfigDict()
    # Weights of a frozen VGG-16 or VGG-19; "" to train an own encoder of `width` along with the
    # decoders, a VGG-19 whose features tell those of `loss.teacher` (Wang et al. 2020).
    config.model.encoder = "vgg16_features"
    config.model.width = 16  # channels of the own encoder's first block; VGG's are 64
    config.model.levels = vgg.LAYERS[::-1]  # that decoders start from
    # max, or wavelet for WCT2, whose one decoder starts from relu4_1 (`stylize --model wct2`).
    config.model.pooling = "max"

    config.loss = ConfigDict()
    config.loss.pixel_weight = 1.0  # of the mean squared error of pixels
    config.loss.feature_weight = 1.0  # of that of the level's features, relative to their square
    config.loss.teacher = "vgg16_features"  # weights that the own encoder learns from, or "random"
    config.loss.teacher_weight = 1.0  # of that of the teacher's features, relative likewise

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # adam | muon
    config.optimizer.learning_rate = 1e-4  # Adam's
    config.optimizer.decay = 0.0  # learning rate of step i: learning_rate / (1 + decay * i)
    config.optimizer.clip_norm = 0.0  # of the gradient over all parameters; 0 for no clipping
    config.optimizer.b1 = 0.9  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    config.log_every = 0.4  # kimg
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images, cut out at random."""
    return unpaired(config.data, "source", "image")


def from_config(config: ConfigDict) -> Task:
    """The game of a config, with the networks that are not trained."""
    loss = config.loss
    image_size = parse_image_size(config.data.image_size)
    if image_size[0] % 16 or image_size[1] % 16:
        raise UserError(f"data.image_size is {config.data.image_size}; give a multiple of 16")
    if config.data.channels != 3:
        raise UserError(f"data.channels is {config.data.channels}; wct takes 3 (RGB)")
    for name in ("pixel", "feature", "teacher"):
        if loss[f"{name}_weight"] < 0:
            raise UserError(f"loss.{name}_weight is below 0; give 0 or more")
    levels = _levels(config)
    perceive = None
    if not config.model.encoder:
        perceive, _ = networks.perceptual((f"{loss.teacher}:{','.join(_layers(levels))}",))
    return make(
        _encoder(config),
        levels,
        perceive,
        optimizer=optimizers.make(config.optimizer),
        phases=(Phase("train", config.total_kimg, config.batch_size, image_size),),
        pixel_weight=loss.pixel_weight,
        feature_weight=loss.feature_weight,
        teacher_weight=loss.teacher_weight,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """Encoder and decoders of a config, without the network that the encoder learns from."""
    return make_model(_encoder(config), _levels(config))


def _levels(config: ConfigDict) -> tuple[str, ...]:
    levels = tuple(config.model.levels)
    if config.model.pooling == "wavelet":
        return WAVELET
    if config.model.pooling != "max":
        raise UserError(f"model.pooling is {config.model.pooling!r}; choose max or wavelet")
    if not levels or set(levels) - set(vgg.LAYERS):
        raise UserError(f"model.levels is {levels}; choose from {', '.join(vgg.LAYERS)}")
    return levels


def _layers(levels: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the encoder where features are seen."""
    return vgg.LAYERS[: wavelet.LEVELS] if levels == WAVELET else levels


def _encoder(config: ConfigDict) -> Any:
    """Parameters of the frozen encoder, or the width of the own one."""
    if config.model.encoder:
        return networks.vgg19_params(config.model.encoder, width=64)
    if config.model.width < 1:
        raise UserError(f"model.width is {config.model.width}; give 1 or more")
    return config.model.width


def _frozen(encoder: Any) -> dict[str, Any]:
    """What of `make_wct`'s parameters is not trained."""
    return {} if isinstance(encoder, int) else {"encoder": encoder}


def _stylizers(encoder: Any, levels: tuple[str, ...]) -> dict[str, Stylizer]:
    """Each level as a stylizer of its own."""
    shapes = {"encoder": encoder}
    if isinstance(encoder, int):
        shapes = {"encoder": jax.eval_shape(lambda: _own(encoder, levels, 0, jax.random.key(0))[0])}
    if levels == WAVELET:
        return {"wavelet": stylizers.make_wct2(shapes)}
    return {n: stylizers.make_wct(shapes | {n: {}}, {n: 1.0}) for n in levels}


def _own(width: int, levels: tuple[str, ...], head_width: int, rng: Array) -> tuple[Any, Any]:
    """First parameters of an own encoder, and of the heads that tell another's features."""
    layers = _layers(levels)
    network = vgg.VGG19(max(layers), width, head_width=head_width)
    params = network.init(rng, jnp.zeros((1, 16, 16, 3)), layers)["params"]
    heads = {name: leaf for name, leaf in params.items() if name.startswith("head")}
    return {name: leaf for name, leaf in params.items() if name not in heads}, heads


def _passed(level: Stylizer, params: Any, images: Array) -> tuple[list[Array], Array]:
    """The encoder's features, and the image that the decoder makes of the deepest."""
    seen: list[Array] = []

    def keep(depth: int, features: Array) -> Array:
        seen.append(features)
        return features

    decoded = level.stylize(params, images, keep)
    return seen[: wavelet.LEVELS], decoded


def make_model(encoder: Any, levels: tuple[str, ...]) -> Model:
    """Images as they come back from the first level; a sheet shows them beside all levels.

    Args:
      encoder: parameters of the frozen encoder, or the width of the own one.
    """
    by_level = _stylizers(encoder, levels)
    multiple = max(level.multiple for level in by_level.values())

    def decode(trained: Trained, images: Array, name: str) -> Array:
        params = trained.variables["wct"]["params"] | _frozen(encoder)
        return _passed(by_level[name], params, images)[1]

    def sample(trained: Trained, inputs: Inputs, rng: Array) -> dict[str, Array]:
        return {"samples": decode(trained, to_float(inputs["image"]), levels[0])}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """In each row an image, then what comes back from each level."""
        images = to_float(inputs["image"][:SHEET_ROWS])
        return jnp.stack([images, *(decode(trained, images, name) for name in levels)], axis=1)

    return Model({"image": IMAGE}, {"samples": IMAGE}, None, sample, sheet, multiple)


def make(
    encoder: Any,
    levels: tuple[str, ...],
    perceive: Perceive | None,
    *,
    optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    pixel_weight: float = 1.0,
    feature_weight: float = 1.0,
    teacher_weight: float = 1.0,
    ema_half_life: float = 0.0,
) -> Task:
    """Reconstruction from each level (Li et al. 2017, equation 1).

    A batch holds `image` [B, H, W, 3] (uint8, or float in [-1, 1]). Errors of features are relative
    to their mean square, so that networks of any scale go with one weight.

    Args:
      encoder: parameters of a frozen VGG-19 or VGG-16; or the width of an own one, which is trained
        with the decoders.
      perceive: the network that an own encoder learns from by 1x1 heads, which are not a part of
        the model (Wang et al. 2020, https://arxiv.org/abs/2003.08436, the linear embedding loss).
      ema_half_life: of the average, in images; 0 for no averaging.
    """
    by_level, layers = _stylizers(encoder, levels), _layers(levels)

    def init(rng: Array) -> State:
        params: dict[str, Any] = {}
        trained = {}
        if isinstance(encoder, int):
            assert perceive is not None
            images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
            taught = jax.eval_shape(lambda x: perceive(x, layers), images)
            (head_width,) = {
                taught[name].shape[-1] // vgg.channels(1)[vgg.LAYERS.index(name)] for name in layers
            }
            rng, key = jax.random.split(rng)
            params["encoder"], heads = _own(encoder, levels, head_width, key)
            trained["heads"] = Network.start({"params": heads}, optimizer)
        for number, level in enumerate(by_level.values()):
            params |= level.init(jax.random.fold_in(rng, number))
        trained["wct"] = Network.start({"params": params}, optimizer)
        return State.start(trained, averaged=("wct",))

    def reconstruction(params: Any, images: Array) -> tuple[Array, Array, list[Array]]:
        """The errors of pixels and of features, summed over levels, and the encoder's features."""
        pixels = features = jnp.zeros(())
        found: list[Array] = []
        for level in by_level.values():
            seen, decoded = _passed(level, params, images)
            found += seen
            pixels += jnp.mean(jnp.square(decoded - images))
            if feature_weight:
                again, _ = _passed(level, params, decoded)
                features += _relative_error(again[-1], jax.lax.stop_gradient(seen[-1]))
        return pixels, features, found

    def likeness(heads: Any, seen: list[Array], taught: Mapping[str, Array]) -> Array:
        """The error of the teacher's features, as heads tell them, summed over layers."""
        errors = []
        for name, features in zip(layers, seen, strict=True):
            head = heads[name.replace("relu", "head")]
            told = vgg.Conv(len(head["bias"]), kernel_size=1).apply({"params": head}, features)
            errors.append(_relative_error(jax.nn.relu(told), taught[name]))
        return jnp.sum(jnp.stack(errors))

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        images = as_float(batch["image"])
        taught = perceive(images, layers) if perceive else {}

        def loss(trained):
            params = trained["wct"] | _frozen(encoder)
            pixels, features, seen = reconstruction(params, images)
            terms = {"pixel": pixel_weight * pixels, "feature": feature_weight * features}
            if "heads" in trained:
                error = likeness(trained["heads"], seen, taught)
                terms["teacher"] = teacher_weight * error
            return sum(terms.values()), terms

        trained = {role: network.params for role, network in state.networks.items()}
        gradients, terms = jax.grad(loss, has_aux=True)(trained)
        return state.after(
            {
                role: update(network, gradients[role], {}, optimizer)
                for role, network in state.networks.items()
            },
            gradients,
            batch_size=len(images),
            half_life=ema_half_life,
            metrics={f"loss_{name}": value for name, value in terms.items()},
        )

    return Task(make_model(encoder, levels), init, train_step, phases)


def _relative_error(features: Array, wanted: Array) -> Array:
    return jnp.mean(jnp.square(features - wanted)) / (jnp.mean(jnp.square(wanted)) + 1e-12)
