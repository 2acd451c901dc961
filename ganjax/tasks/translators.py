"""What games that translate images share: their directions, and the model of a generator."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from ganjax.config import check_choice, run_fields
from ganjax.data.fields import IMAGE
from ganjax.data.pipeline import Stream
from ganjax.data.sides import find_sides
from ganjax.data.streams import unpaired
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size, to_float
from ganjax.nets.resnet_translator import MULTIPLE, RESAMPLINGS, ResNetTranslator
from ganjax.training.state import Trained
from ganjax.training.task import Inputs, Model

Translate = Callable[[Trained, Array, Array | None], Array]

SHEET_ROWS = 8
# What a batch calls the images of A and of B.
DIRECTIONS = {"AtoB": {"a": "source", "b": "target"}, "BtoA": {"b": "source", "a": "target"}}


def unpaired_fields(task: str) -> ConfigDict:
    """The fields of a game of images without pairs, as CycleGAN's and CUT's are published."""
    config = run_fields(task)
    config.batch_size = 1  # images of A, and of B, of a step, over all devices
    config.ema_half_life_kimg = 0.0  # of the generators' averages; 0 for none, as published

    # A and B, which are no pairs: tfds:NAME | unpaired:PATH, a folder or .zip with trainA and
    # trainB, or A and B | unpaired:avatars
    config.data.source = ""
    # A in place of that of `source`: folder:PATH | tfds:NAME:SPLIT | avatars:ATTRIBUTE=VALUE
    config.data.a = ""
    config.data.b = ""  # B, likewise
    config.data.direction = "AtoB"  # what is learned: AtoB | BtoA
    config.data.image_size = "256"  # what a batch shows
    config.data.load_size = "286"  # what images are scaled to before that is cut out

    config.model = ConfigDict()
    config.model.width = 64  # channels of the first layer of generators and PatchGANs
    config.model.blocks = 9  # residual blocks of a generator: 9, or 6 for 128x128 as published
    config.model.resampling = "strided"  # strided | resize (no checkerboards) | antialiased (CUT's)
    config.model.residual = False  # add what generators give to their input: for changes of a part
    config.model.layers = 3  # halvings of a PatchGAN, 0 to 5: it sees patches of 1 to 286 pixels
    config.model.remat = False  # compute blocks again on the way back: less memory, more time
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    config.loss.adversarial = "least_squares"  # non_saturating | hinge | least_squares
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-4  # Adam's, for all networks
    config.optimizer.decay_from = 0.5  # share of the run where it begins to fall linearly to 0
    config.optimizer.b1 = 0.5  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    return config


def glasses(config: ConfigDict) -> ConfigDict:
    """`config` for the embedded portraits without (A) and with glasses (B), on a CPU.

    At 64x64, with four residual blocks and a quarter of the channels, batches of 4 and twice the
    published rate; generators add what they draw to their input.
    """
    config.data.source = "unpaired:avatars"
    config.data.image_size = "64"
    config.data.load_size = "64"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.batch_size = 4
    config.model.width = 16
    config.model.blocks = 4
    config.model.resampling = "resize"
    config.model.residual = True  # without it CycleGAN keeps 80 % of other attributes, not 95
    config.model.layers = 2
    config.optimizer.learning_rate = 4e-4
    config.ema_half_life_kimg = 1.0
    config.log_every = 0.2
    config.save_every = 2.0
    config.sample_every = 2.0
    return config


def two_sides(data: ConfigDict) -> tuple[Stream, ...]:
    """The images of A and of B, each shuffled, cut and mirrored on its own.

    Args:
      data: the config's fields `data`; its `direction` says which of them are `source`.

    Raises:
      UserError: a field holds an impossible value, or there is no such data.
    """
    check_choice("data.direction", data.direction, DIRECTIONS)
    names, found = DIRECTIONS[data.direction], ("", "")
    if data.source and not (data.a and data.b):
        found = find_sides(data.source, follow_links=data.follow_links)
    return tuple(
        stream
        for side, spec in zip("ab", found, strict=True)
        for stream in unpaired(data, side, names[side], default=spec)
    )


def resnet(config: ConfigDict) -> ResNetTranslator:
    """The translator that the fields `model` describe; `data.direction` is checked, too.

    Raises:
      UserError: a field holds an impossible value.
    """
    model, size = config.model, config.data.image_size
    check_choice("data.direction", config.data.direction, DIRECTIONS)
    check_choice("model.resampling", model.resampling, RESAMPLINGS)
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if model.width < 1 or model.blocks < 0:
        raise UserError("model.width must be 1 or more, model.blocks 0 or more")
    if any(side % MULTIPLE for side in parse_image_size(size)):
        raise UserError(f"data.image_size is {size}; give multiples of {MULTIPLE}")
    return ResNetTranslator(
        config.data.channels,
        model.width,
        model.blocks,
        model.resampling,
        residual=model.get("residual", False),  # pairs need none
        remat=model.remat,
        dtype=jnp.dtype(model.dtype),
    )


def make_model(
    translate: Callable[[Trained, Array, Array | None], Array], *, multiple: int
) -> Model:
    """Images from others of the same size, `source` [N, H, W, C] (uint8, or float in [-1, 1]).

    Args:
      translate: (trained, source [N, H, W, C] in [-1, 1], rng) -> images of the same shape.
      multiple: see `Model`.
    """

    def sample(trained: Trained, inputs: Inputs, rng: Array | None) -> dict[str, Array]:
        images = translate(trained, as_float(inputs["source"]), rng)
        return {"samples": jnp.clip(images, -1, 1)}  # a residual may go beyond

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """A row for each source: itself, its translation and, where it is there, the target."""
        shown = {name: to_float(values[:SHEET_ROWS]) for name, values in inputs.items()}
        columns = [shown["source"], translate(trained, shown["source"], rng)]
        columns += [shown["target"]] if "target" in shown else []
        return jnp.stack(columns, axis=1)

    inputs, outputs = {"source": IMAGE}, {"samples": IMAGE}
    return Model(inputs, outputs, None, sample, sheet, multiple, real="target")
