"""Inpainting: pix2pix's game, where the source is an image with a hole and the target the image.

The holes are boxes, as in Pathak et al. 2016 (arXiv:1604.07379), and free-form strokes, as in Yu et
al. 2019 (arXiv:1806.03589, section 3.3). What is known stays as it is: the network's pixels are
taken inside of holes only, before any loss looks at them.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from ganjax import losses
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.images import as_float, parse_image_size, to_float, to_uint8
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.unet import UNet
from ganjax.tasks import pix2pix
from ganjax.tasks.translators import SHEET_ROWS
from ganjax.training import optimizers
from ganjax.training.state import State, Trained
from ganjax.training.task import Inputs, Model, Phase, Task

SMOKE = {name: x for name, x in pix2pix.SMOKE.items() if name != "data.direction"} | {
    "data.source": "avatars"
}
_STROKES, _BENDS = 3, 6  # of a free-form hole
_BOX = (0.25, 0.5)  # sides of a box, as shares of the image's
_LENGTH, _WIDTH = 0.25, (0.06, 0.16)  # of a stroke between two bends, and its width, likewise


def defaults() -> ConfigDict:
    """pix2pix's networks and losses, with layer normalization and without dropout."""
    config = pix2pix.defaults()
    config.task = "inpainting"
    config.batch_size = 8  # images of a step, over all devices
    config.total_kimg = 400.0  # thousands of images to train on
    config.ema_half_life_kimg = 2.0  # of the generator's average; 0 for none
    config.data.source = ""  # folder:PATH, avatars, tfds:NAME ...
    config.data.image_size = "64"
    config.data.load_size = "64"
    config.model.width = 32
    config.model.norm = "layer"  # batch | instance | layer, which keeps colors of the whole image
    config.model.dropout = 0.0
    # The difference is a mean over the whole image, of which holes are about a sixth.
    config.loss.l1_weight = 600.0
    del config.data.folders, config.data.direction
    for resnets in ("generator", "blocks", "resampling", "remat"):
        del config.model[resnets]
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images, cut and mirrored; the holes are made in the train step."""
    load_size = parse_image_size(config.data.load_size)
    return (single(config.data, {"image": "source"}, load_size=load_size),)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    loss = pix2pix.check_losses(config)
    phase = Phase(
        "train", config.total_kimg, config.batch_size, parse_image_size(config.data.image_size)
    )
    optimizer = optimizers.make(config.optimizer, updates=phase.steps)
    return make(
        _generator(config),
        pix2pix.discriminator(config),
        loss=loss,
        l1_weight=config.loss.l1_weight,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        phases=(phase,),
        channels=config.data.channels,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    return make_model(_generator(config))


def _generator(config: ConfigDict) -> "Inpainter":
    return Inpainter(pix2pix.unet(config))


class Inpainter(nn.Module):
    """A U-Net that sees an image without its hole and where the hole is, and fills that alone."""

    unet: UNet

    @property
    def multiple(self) -> int:
        return self.unet.multiple

    @property
    def dropout(self) -> float:
        return self.unet.dropout

    @nn.compact
    def __call__(self, source: Array, *, rng: Array | None = None) -> Array:
        """Fills holes.

        Args:
          source: [B, H, W, C + 1], from `with_hole`.
          rng: of the dropout.

        Returns:
          [B, H, W, C]: where there is no hole, exactly the source.
        """
        images, hole = source[..., :-1], source[..., -1:]
        return jnp.where(hole > 0, self.unet(source, rng=rng), images)


def with_hole(images: Array, hole: Array) -> Array:
    """Images [B, H, W, C] gray in holes bool [B, H, W], and these, 1 or -1: [B, H, W, C + 1]."""
    hole = hole[..., None]
    return jnp.concatenate([jnp.where(hole, 0, images), jnp.where(hole, 1.0, -1.0)], axis=-1)


def draw_hole(rng: Array, image_size: tuple[int, int]) -> Array:
    """A hole for an image of (H, W), bool [H, W]: a box or, as often, free-form strokes."""
    kind_rng, box_rng, stroke_rng = jax.random.split(rng, 3)
    height, width = image_size
    size = jnp.array([height, width], jnp.float32)
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), -1) + 0.5
    grid = grid / jnp.broadcast_to(size, grid.shape)  # [H, W, 2] in [0, 1]

    side_rng, corner_rng = jax.random.split(box_rng)
    sides = jax.random.uniform(side_rng, (2,), minval=_BOX[0], maxval=_BOX[1])
    corner = jax.random.uniform(corner_rng, (2,)) * (1 - sides)
    box = jnp.all((grid >= corner[None, None]) & (grid < (corner + sides)[None, None]), axis=-1)

    keys = jax.random.split(stroke_rng, 4)
    points = jax.random.uniform(keys[0], (_STROKES, 1, 2))
    angles = jax.random.uniform(keys[1], (_STROKES, _BENDS), maxval=2 * jnp.pi)
    lengths = _LENGTH * jax.random.uniform(keys[2], (_STROKES, _BENDS))
    steps = lengths[..., None] * jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    bends = jnp.concatenate([points, steps], axis=1).cumsum(axis=1)
    widths = jax.random.uniform(keys[3], (_STROKES,), minval=_WIDTH[0], maxval=_WIDTH[1])

    def paint(hole: Array, segment: tuple[Array, Array, Array]) -> tuple[Array, None]:
        begin, end, thickness = (x[None, None] for x in segment)
        along, offset = end - begin, grid - begin
        share = jnp.sum(offset * along, -1) / (jnp.sum(along * along, -1) + 1e-12)
        nearest = begin + jnp.clip(share, 0, 1)[..., None] * along
        distance = jnp.linalg.norm(grid - nearest, axis=-1)
        return hole | (distance < thickness / 2), None

    begins, ends = (x.reshape(-1, 2) for x in (bends[:, :-1], bends[:, 1:]))
    segments = begins, ends, jnp.repeat(widths, _BENDS)
    strokes, _ = jax.lax.scan(paint, jnp.zeros(image_size, bool), segments)
    return jnp.where(jax.random.bernoulli(kind_rng), box, strokes)


def make_model(generator: Inpainter) -> Model:
    """Images from others with a hole: `source` [N, H, W, C] (uint8, or float in [-1, 1]).

    The hole is where `mask` uint8 [N, H, W] is 128 or more. Without a mask it is drawn; it follows
    from `rng` and the image. Pixels outside of holes stay as they are.
    """

    def hide(inputs: Inputs, rng: Array | None) -> Array:
        images = as_float(inputs["source"])
        if "mask" in inputs:
            return with_hole(images, inputs["mask"] >= 128)
        key = jax.random.key(0) if rng is None else rng
        tags = to_uint8(images).astype(jnp.uint32).sum((1, 2, 3))
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, tags)
        return with_hole(images, jax.vmap(lambda one: draw_hole(one, images.shape[1:3]))(keys))

    def fill(trained: Trained, source: Array, rng: Array | None) -> Array:
        return pix2pix.translate_each(generator, trained, source, rng)

    def sample(trained: Trained, inputs: Inputs, rng: Array | None) -> dict[str, Array]:
        return {"samples": fill(trained, hide(inputs, rng), rng)}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """A row for each image: with its hole, filled, and as it was."""
        shown = {name: values[:SHEET_ROWS] for name, values in inputs.items()}
        source = hide(shown, rng)
        columns = [source[..., :-1], fill(trained, source, rng), to_float(shown["source"])]
        return jnp.stack(columns, axis=1)

    multiple, optional = generator.multiple, {"mask": Field("mask")}
    inputs, outputs = {"source": IMAGE}, {"samples": IMAGE}
    return Model(inputs, outputs, None, sample, sheet, multiple, real="source", optional=optional)


def make(
    generator: Inpainter,
    discriminator: PatchGAN,
    *,
    loss: losses.AdversarialPair,
    channels: int = 3,
    **options: Any,
) -> Task:
    """pix2pix's game (`pix2pix.make`, whose other arguments it takes) between holes and images.

    A batch holds `source` [B, H, W, C] (uint8, or float in [-1, 1]); the holes follow from the
    step's key.
    """
    game = pix2pix.make(
        generator, discriminator, loss=loss, channels=channels, source_channels=channels + 1,
        **options,
    )  # fmt: skip

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        hole_rng, rng = jax.random.split(rng)
        images = as_float(batch["source"])
        keys = jax.random.split(hole_rng, len(images))
        holes = jax.vmap(lambda key: draw_hole(key, images.shape[1:3]))(keys)
        pairs = {"source": with_hole(images, holes), "target": images}
        return game.train_step(state, pairs, rng)

    return game._replace(model=make_model(generator), train_step=train_step)
