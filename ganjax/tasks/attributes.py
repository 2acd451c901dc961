"""Classifying: one network tells every attribute of a portrait, or the class of an image."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import conditions, losses
from ganjax.config import run_fields, short_run
from ganjax.data.avatars import ATTRIBUTES
from ganjax.data.avatars.occlusion import hide
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import to_float
from ganjax.nets.attributes import SIDE, Classifier
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task

SMOKE = {
    "batch_size": 16,
    **short_run(16),
    "sample_every": 0.0,
}
_SIZES = tuple(map(len, ATTRIBUTES.values()))


def defaults() -> ConfigDict:
    """A classifier of the portraits' 19 attributes at 32x32, or of the classes of other images."""
    config = run_fields("attributes")
    config.batch_size = 64  # portraits of a step, over all devices
    config.total_kimg = 400.0  # thousands of portraits to train on: 8 epochs
    config.data.source = "avatars"  # or images with classes
    config.data.image_size = "32"  # what the network sees
    config.data.labels = True  # the attributes
    config.data.flip = False  # a mirrored gaze is another one

    config.model = ConfigDict()
    config.model.classes = 0  # of the images; 0 for the portraits' attributes
    config.model.width = 48  # channels at 1/2 of the resolution
    config.model.features = 128  # length of the feature vector

    config.disturbance = 1.0  # strength of shifts, blur and noise, 0 (none) to 1
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-3  # Adam's
    config.optimizer.decay = 1e-3  # learning rate of step i: learning_rate / (1 + decay * i)
    config.optimizer.clip_norm = 0.0  # of the gradient over all parameters; 0 for no clipping
    config.optimizer.b1 = 0.9  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    config.log_every = 2.0  # kimg
    config.sample_every = 0.0  # a classifier draws nothing
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Portraits with their attributes, or images with their classes."""
    stream = single(config.data, {"image": "image", "label": "label"})
    if condition := conditions.declare(config.model.classes):
        conditions.check(condition, stream.source.fields.get("label"), config.data.source)
    return (stream,)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    data = config.data
    if str(data.image_size) != str(SIDE):
        raise UserError(f"the classifier sees {SIDE}x{SIDE} pixels; set data.image_size={SIDE}")
    if not config.model.classes:
        if data.source != "avatars":
            raise UserError(
                f"data.source is {data.source!r}; avatars have the attributes: set model.classes "
                "for another source"
            )
        if data.channels != 3 or data.flip:
            raise UserError("a mirrored gaze is another one; set data.flip=False, data.channels=3")
    if not data.labels:
        raise UserError("a classifier learns from labels; set data.labels=True")
    if not 0 <= config.disturbance <= 1:
        raise UserError(f"disturbance is {config.disturbance}; it must be in [0, 1]")
    return make(
        _classifier(config),
        _sizes(config),
        _columns if config.model.classes else hide,
        channels=data.channels,
        optimizer=optimizers.make(config.optimizer),
        phases=(Phase("train", config.total_kimg, config.batch_size, (SIDE, SIDE)),),
        disturbance=config.disturbance,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The classifier of a config."""
    return make_model(_classifier(config), _sizes(config))


def _sizes(config: ConfigDict) -> tuple[int, ...]:
    return (config.model.classes,) if config.model.classes else _SIZES


def _columns(labels: Array) -> Array:
    """Classes [B] as an attribute [B, 1]."""
    return labels[:, None]


def _classifier(config: ConfigDict) -> Classifier:
    if config.model.width < 1 or config.model.features < 1:
        raise UserError("model.width and model.features must be 1 or more")
    return Classifier(sum(_sizes(config)), config.model.width, config.model.features)


def make_model(classifier: Classifier, sizes: Sequence[int]) -> Model:
    """The values of the attributes of images uint8 [N, 32, 32, C], int32 [N, A]."""
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes) - 1)]

    def sample(trained: Trained, inputs: Inputs, rng: Array) -> dict[str, Array]:
        images = to_float(inputs["image"])
        logits = classifier.apply(trained.variables["classifier"], images)["logits"]
        values = [jnp.argmax(part, axis=1) for part in jnp.split(logits, ends, axis=1)]
        return {"label": jnp.stack(values, axis=1)}

    return Model({"image": IMAGE}, {"label": Field("attributes", len(sizes))}, None, sample, None)


def make(
    classifier: Classifier,
    sizes: Sequence[int],
    hide: Callable[[Array], Array],
    *,
    channels: int = 3,
    optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    disturbance: float = 1.0,
    ema_half_life: float = 0.0,
) -> Task:
    """Cross-entropy of every attribute that can be seen, on images that are disturbed a little.

    A batch holds `image` uint8 [B, 32, 32, C] and `label`, int32 [B, A] or [B]. A classifier draws
    nothing: there are no samples, but `accuracy` among the metrics, on the disturbed batch.

    Args:
      sizes: [A], how many values each attribute has.
      hide: labels -> labels [B, A] with negative values where nothing can be seen.
      channels: of the images.
      disturbance: strength of shifts, blur and noise, 0 (none) to 1.
      ema_half_life: of the classifier's average, in images; 0 for no averaging.
    """
    sizes = tuple(sizes)

    def init(rng: Array) -> State:
        variables = classifier.init(rng, jnp.zeros((1, SIDE, SIDE, channels)))
        network = Network.start(variables, optimizer)
        return State.start({"classifier": network}, averaged=("classifier",))

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        images, labels = disturb(rng, to_float(batch["image"]), disturbance), hide(batch["label"])

        def loss(params):
            logits = classifier.apply({"params": params}, images)["logits"]
            values, right = losses.attribute_cross_entropy(logits, labels, sizes)
            return jnp.mean(values), right

        network = state.networks["classifier"]
        (value, right), gradients = jax.value_and_grad(loss, has_aux=True)(network.params)
        network = update(network, gradients, {}, optimizer)
        return state.after(
            {"classifier": network},
            {"classifier": gradients},
            batch_size=images.shape[0],
            half_life=ema_half_life,
            metrics={
                "loss_classifier": value,
                "accuracy": jnp.sum(right) / jnp.maximum(jnp.sum(labels >= 0), 1),
            },
        )

    return Task(make_model(classifier, sizes), init, train_step, phases)


def disturb(rng: Array, images: Array, strength: float) -> Array:
    """What generators do to portraits: each image shifted, blurred, with noise, in another tone.

    Args:
      images: [B, H, W, C] in [-1, 1].
      strength: 0 for the images themselves; 1 shifts by up to a pixel, with noise of up to 0.05.
    """
    keys = jax.random.split(rng, 5)
    one = (images.shape[0], 1, 1, 1)
    for axis, key in zip((1, 2), keys, strict=False):
        # Half-way between two pixels a shift blurs, too.
        shift = strength * jax.random.uniform(key, one, minval=-1.0)
        before, after = (_moved(images, axis, step) for step in (-1, 1))
        target = jnp.where(shift < 0, before, after)
        images = images + jnp.abs(shift) * (target - images)
    tone = 0.05 * strength * jax.random.normal(keys[2], (*one[:3], images.shape[3]))
    noise = 0.05 * strength * jax.random.uniform(keys[3], one)
    return images + tone + noise * jax.random.normal(keys[4], images.shape)


def _moved(images: Array, axis: int, step: int) -> Array:
    """Moved by a pixel; the border's pixels are repeated."""
    size = images.shape[axis]
    index = jnp.clip(jnp.arange(size) + step, 0, size - 1)
    return jnp.take(images, index, axis=axis)
