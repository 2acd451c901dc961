"""Segmentation: pix2pix's U-Net tells the class of each pixel, by cross-entropy instead of a game.

Where labels are the target, an adversary does not help (Isola et al. 2017, section 4.4 and
table 6: L1 alone is better); cross-entropy in place of L1 needs no colors to guess.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import losses
from ganjax.config import short_run
from ganjax.data.avatars import MASK_CLASSES
from ganjax.data.fields import IMAGE, Field
from ganjax.data.label_maps import LabelMaps, palette
from ganjax.data.pipeline import Stream
from ganjax.data.streams import labeled
from ganjax.images import as_float, parse_image_size, to_float
from ganjax.nets.unet import UNet
from ganjax.tasks import pix2pix
from ganjax.tasks.translators import SHEET_ROWS
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task

SMOKE = {
    "data.source": "avatars",
    "data.image_size": "32",
    "data.load_size": "32",
    "model.width": 8,
    "batch_size": 4,
    **short_run(4),
}


def defaults() -> ConfigDict:
    """pix2pix's U-Net with instance normalization, and cross-entropy; on portraits."""
    config = pix2pix.defaults()
    config.task = "segmentation"
    config.batch_size = 8  # images of a step, over all devices
    config.total_kimg = 200.0  # thousands of images to train on
    config.ema_half_life_kimg = 2.0  # of the network's average; 0 for none

    config.data.source = "avatars"  # avatars | paired:PATH, photos A with label maps B
    config.data.direction = "AtoB"  # of pairs: AtoB, where B is the label map | BtoA
    config.data.classes = MASK_CLASSES  # their names, that of number 0 first
    # Their colors in files and in results, like "f0c0a0"; () where files hold the numbers.
    config.data.colors = ()
    config.data.image_size = "64"
    config.data.load_size = "64"

    config.model.width = 16  # channels of the first layer
    config.model.norm = (
        "instance"  # batch | instance | layer: the last two see each image by itself
    )
    config.model.dropout = 0.0  # share of features that dropout sets to 0 in training
    config.optimizer.learning_rate = 1e-3  # Adam's
    config.optimizer.b1 = 0.9
    del config.loss
    for others in ("discriminator_width", "layers", "generator", "blocks", "resampling", "remat"):
        del config.model[others]
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images as `source` with their label maps as `target`, cut and mirrored together."""
    return (labeled(config.data, image="source", label_map="target"),)


def from_config(config: ConfigDict) -> Task:
    """The training of a config."""
    size = parse_image_size(config.data.image_size)
    phase = Phase("train", config.total_kimg, config.batch_size, size)
    return make(
        _network(config),
        make_model(_network(config), LabelMaps.of(config.data.classes, config.data.colors)),
        optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        phases=(phase,),
        channels=config.data.channels,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The network of a config."""
    maps = LabelMaps.of(config.data.classes, config.data.colors)
    return make_model(_network(config), maps)


def _network(config: ConfigDict) -> UNet:
    model, classes = config.model, len(config.data.classes)
    downs = pix2pix.count_downs(config)
    dtype = jnp.dtype(model.dtype)
    return UNet(classes, model.width, downs, model.norm, model.dropout, tanh=False, dtype=dtype)


def make_model(network: UNet, maps: LabelMaps) -> Model:
    """The classes of the pixels of `source` [N, H, W, C] (uint8, or float in [-1, 1]).

    They are `labels` uint8 [N, H, W], and `samples` shows them in their colors. Each image is
    normalized by itself, and nothing is dropped.
    """
    colors = to_float(palette(maps.colors, len(maps.names)))

    def classify(trained: Trained, inputs: Inputs) -> Array:
        variables = trained.variables["segmenter"]
        one = lambda image: network.apply(variables, image[None])[0]  # noqa: E731
        return jnp.argmax(jax.vmap(one)(as_float(inputs["source"])), axis=-1).astype(jnp.uint8)

    def paint(labels: Array) -> Array:
        return jnp.take(jnp.asarray(colors), labels, axis=0, mode="clip")

    def sample(trained: Trained, inputs: Inputs, rng: Array | None) -> dict[str, Array]:
        labels = classify(trained, inputs)
        return {"samples": paint(labels), "labels": labels}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """A row for each source: itself, its classes and, where they are there, the true ones."""
        shown = {name: values[:SHEET_ROWS] for name, values in inputs.items()}
        columns = [paint(classify(trained, shown))]
        columns += [paint(shown["target"])] if "target" in shown else []
        source = jnp.broadcast_to(to_float(shown["source"])[..., :3], columns[0].shape)
        return jnp.stack([source, *columns], axis=1)

    inputs = {"source": IMAGE}
    outputs = {"samples": IMAGE, "labels": Field("label_map", names=maps.names)}
    return Model(inputs, outputs, None, sample, sheet, network.multiple)


def make(
    network: UNet,
    model: Model,
    *,
    optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    channels: int = 3,
    ema_half_life: float = 0.0,
) -> Task:
    """Cross-entropy between the classes of pixels and what the network takes them for.

    A batch holds `source` [B, H, W, C] (uint8, or float in [-1, 1]) and `target` uint8 [B, H, W];
    pixels without a class (`label_maps.UNLABELED`) do not count.

    Args:
      model: of the network.
      channels: of the images.
      ema_half_life: of the network's average, in images; 0 for no averaging.
    """

    def init(rng: Array) -> State:
        side = network.multiple
        variables = network.init(rng, jnp.zeros((1, side, side, channels)))
        networks = {"segmenter": Network.start(variables, optimizer)}
        return State.start(networks, averaged=("segmenter",))

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        source, target = as_float(batch["source"]), batch["target"]
        segmenter, noise = state.networks["segmenter"], rng if network.dropout else None

        def loss(params):
            logits = network.apply({"params": params}, source, rng=noise)
            right = jnp.argmax(logits, axis=-1) == target
            return jnp.mean(losses.pixel_cross_entropy(logits, target)), jnp.mean(right)

        (value, accuracy), gradients = jax.value_and_grad(loss, has_aux=True)(segmenter.params)
        return state.after(
            {"segmenter": update(segmenter, gradients, {}, optimizer)},
            {"segmenter": gradients},
            batch_size=len(source),
            half_life=ema_half_life,
            metrics={"loss_segmenter": value, "accuracy": accuracy},
        )

    return Task(model, init, train_step, phases)
