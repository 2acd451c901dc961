"""pix2pix's game: a U-Net translates images, a PatchGAN judges pairs (Isola et al. 2017)."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import losses
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size
from ganjax.nets.norms import NormKind
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.resnet_translator import ResNetTranslator
from ganjax.nets.unet import UNet
from ganjax.tasks import translators
from ganjax.tasks.translators import DIRECTIONS
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Model, Phase, Task

MAX_DOWNS = 8
SMOKE = {
    "data.source": "paired:avatars",
    "data.direction": "AtoB",
    "data.image_size": "32",
    "data.load_size": "36",
    "model.width": 16,
    "model.downs": 0,
    "batch_size": 4,
    **short_run(4),
}


def defaults() -> ConfigDict:
    """pix2pix as published: U-Net-256, PatchGAN 70, cross-entropy and 100 L1, batch 1."""
    config = run_fields("pix2pix")
    config.batch_size = 1  # pairs of a step, over all devices
    config.total_kimg = 80.0  # thousands of pairs to train on: 200 epochs of 400
    config.ema_half_life_kimg = 0.0  # of the generator's average; 0 for none, as published

    config.data.source = ""  # paired:PATH, a folder or .zip of pairs | paired:avatars
    # Names of the folders of A and of B; () for A and B, or image and label, where there are any,
    # else a file holds A on its left and B on its right half.
    config.data.folders = ()
    config.data.direction = "AtoB"  # AtoB: from A to B | BtoA
    config.data.image_size = "256"  # what a batch shows
    config.data.load_size = "286"  # what images are scaled to before that is cut out

    config.model = ConfigDict()
    config.model.width = 64  # channels of the first layer of both networks
    config.model.discriminator_width = 0  # those of the PatchGAN; 0 for `width`
    config.model.generator = "unet"  # unet | resnet, CycleGAN's
    config.model.blocks = 9  # residual blocks of the ResNet; published 9, and 6 at 128x128
    config.model.resampling = "strided"  # of the ResNet: strided | resize, against checkerboards
    config.model.remat = False  # compute the ResNet's blocks again on the way back: less memory
    config.model.downs = 0  # halvings of the U-Net; 0 for as many as image_size allows, up to 8
    config.model.norm = "batch"  # batch | instance | layer (keeps colors of the whole image)
    config.model.dropout = 0.5  # share of features that dropout sets to 0, when translating too
    config.model.layers = 3  # halvings of the PatchGAN, 0 to 5: it sees patches of 1 to 286 pixels
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    config.loss.adversarial = "non_saturating"  # non_saturating | hinge | least_squares
    config.loss.l1_weight = 100.0  # of the mean absolute difference to the target
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-4  # Adam's, for both networks
    config.optimizer.decay_from = 0.5  # share of the run where it begins to fall linearly to 0
    config.optimizer.b1 = 0.5  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Pairs of source and target, cut and mirrored together."""
    data = config.data
    check_choice("data.direction", data.direction, DIRECTIONS)
    load_size = parse_image_size(data.load_size)
    return (single(data, DIRECTIONS[data.direction], load_size=load_size),)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    loss = check_losses(config)
    image_size = parse_image_size(config.data.image_size)
    phase = Phase("train", config.total_kimg, config.batch_size, image_size)
    return make(
        generator(config),
        discriminator(config),
        loss=loss,
        l1_weight=config.loss.l1_weight,
        generator_optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        discriminator_optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        phases=(phase,),
        channels=config.data.channels,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def check_losses(config: ConfigDict) -> losses.AdversarialPair:
    """The adversarial loss that the fields `loss` name, which are checked.

    Raises:
      UserError: a field holds an impossible value.
    """
    check_choice("loss.adversarial", config.loss.adversarial, losses.PAIRS)
    if config.loss.l1_weight < 0:
        raise UserError("loss.l1_weight is below 0; give 0 or more")
    return losses.PAIRS[config.loss.adversarial]


def discriminator(config: ConfigDict) -> PatchGAN:
    """The PatchGAN of a config.

    Raises:
      UserError: a field holds an impossible value.
    """
    model = config.model
    check_choice("model.layers", model.layers, (0, 1, 2, 3, 4, 5))
    if model.discriminator_width < 0:
        raise UserError("model.discriminator_width is below 0; give 0 or more")
    width = model.discriminator_width or model.width
    return PatchGAN(width, model.layers, model.norm, dtype=jnp.dtype(model.dtype))


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    return make_model(generator(config))._replace(directions=(config.data.direction,))


def generator(config: ConfigDict) -> UNet | ResNetTranslator:
    """The generator of a config.

    Raises:
      UserError: a field holds an impossible value.
    """
    model = config.model
    check_choice("model.generator", model.generator, ("unet", "resnet"))
    if model.generator == "unet":
        return unet(config)
    _check_model(config)
    return translators.resnet(config).clone(norm=model.norm, dropout=model.dropout)


def unet(config: ConfigDict) -> UNet:
    """The U-Net of a config.

    Raises:
      UserError: a field holds an impossible value.
    """
    model, downs = config.model, count_downs(config)
    dtype = jnp.dtype(model.dtype)
    return UNet(config.data.channels, model.width, downs, model.norm, model.dropout, dtype=dtype)


def count_downs(config: ConfigDict) -> int:
    """The halvings of the U-Net that the fields `model` describe, which are checked.

    Raises:
      UserError: a field holds an impossible value.
    """
    _check_model(config)
    model, sides = config.model, parse_image_size(config.data.image_size)
    if model.downs < 0:
        raise UserError(f"model.downs is {model.downs}; give 0 or more")
    downs = model.downs or min(MAX_DOWNS, *((side & -side).bit_length() - 1 for side in sides))
    if downs < 2 or any(side % 2**downs for side in sides):
        raise UserError(
            f"data.image_size is {config.data.image_size}; give multiples of {2 ** max(downs, 2)}"
        )
    return downs


def _check_model(config: ConfigDict) -> None:
    model = config.model
    check_choice("model.norm", model.norm, get_args(NormKind))
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if model.width < 1 or not 0 <= model.dropout < 1:
        raise UserError("model.width must be 1 or more, model.dropout in [0, 1)")


def translate_each(generator: Any, trained: Trained, source: Array, rng: Array | None) -> Array:
    """Images [N, H, W, C] of sources [N, H, W, D], each by itself; `rng` is of the dropout."""
    variables, noise = trained.variables["generator"], rng if generator.dropout else None
    return jax.vmap(lambda image: generator.apply(variables, image[None], rng=noise)[0])(source)


def make_model(generator: UNet | ResNetTranslator) -> Model:
    """Images from others of the same size, `source` [N, H, W, C] (uint8, or float in [-1, 1]).

    Each is translated by itself, as by training with one pair at a time: statistics of a batch
    would mix it with its neighbors. Dropout, the only noise that pix2pix has, follows from `rng`,
    for all images alike.
    """

    def translate(trained: Trained, source: Array, rng: Array | None) -> Array:
        return translate_each(generator, trained, source, rng)

    return translators.make_model(translate, multiple=generator.multiple)


def make(
    generator: Any,
    discriminator: PatchGAN,
    *,
    loss: losses.AdversarialPair,
    l1_weight: float = 100.0,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    channels: int = 3,
    source_channels: int = 0,
    ema_half_life: float = 0.0,
) -> Task:
    """The game of Isola et al. 2017, equations 1 to 4, in the order of its public code.

    The discriminator sees pairs (source, target) and (source, translation), each as a batch of its
    own, and pays half of its loss; the generator then meets the new discriminator with the same
    translations. A batch holds `source` and `target` [B, H, W, C] (uint8, or float in [-1, 1]).

    Args:
      l1_weight: of the mean absolute difference to the target.
      channels: of the images.
      source_channels: of the sources; 0 for as many.
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    def init(rng: Array) -> State:
        generator_rng, discriminator_rng = jax.random.split(rng)
        side = max(generator.multiple, 2 ** (discriminator.layers + 2))
        source = jnp.zeros((1, side, side, source_channels or channels))
        pair = jnp.concatenate([source, jnp.zeros((1, side, side, channels))], axis=-1)
        g = generator.init(generator_rng, source)
        d = discriminator.init(discriminator_rng, pair)
        return State.start(
            {
                "generator": Network.start(g, generator_optimizer),
                "discriminator": Network.start(d, discriminator_optimizer),
            },
            averaged=("generator",),
        )

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        source, target = (as_float(batch[name]) for name in ("source", "target"))
        gen, disc = state.networks["generator"], state.networks["discriminator"]
        noise = rng if generator.dropout else None

        def discriminate(params, images: Array) -> Array:
            pairs = jnp.concatenate([source, images], axis=-1)
            return discriminator.apply({"params": params}, pairs)

        def discriminator_loss(params):
            real, fake = discriminate(params, target), discriminate(params, translation)
            value = jnp.mean(loss.real(real)) + jnp.mean(loss.fake(fake))
            return 0.5 * value, {"logit_real": jnp.mean(real), "logit_fake": jnp.mean(fake)}

        def generator_loss(images: Array):
            l1 = jnp.mean(jnp.abs(images - target))
            value = jnp.mean(loss.generator(discriminate(disc.params, images)))
            return value + l1_weight * l1, l1

        # One forward of G serves both players: its pullback waits for the new discriminator.
        translation, pull_back = jax.vjp(
            lambda params: generator.apply({"params": params}, source, rng=noise), gen.params
        )
        (d_loss, logits), d_gradients = jax.value_and_grad(discriminator_loss, has_aux=True)(
            disc.params
        )
        disc = update(disc, d_gradients, {}, discriminator_optimizer)
        (g_loss, l1), image_gradient = jax.value_and_grad(generator_loss, has_aux=True)(translation)
        (g_gradients,) = pull_back(image_gradient)
        gen = update(gen, g_gradients, {}, generator_optimizer)
        return state.after(
            {"generator": gen, "discriminator": disc},
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=len(source),
            half_life=ema_half_life,
            metrics={
                "loss_generator": g_loss,
                "loss_discriminator": d_loss,
                "loss_l1": l1,
                **logits,
            },
        )

    return Task(make_model(generator), init, train_step, phases)
