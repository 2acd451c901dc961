"""Super-resolution: larger images from small ones, by their pixels, then against a discriminator.

SRResNet and SRGAN (Ledig et al. 2017, arXiv:1609.04802) are the two phases of one run; SRVGG, the
compact form, usually has the first one alone. Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833)
trains the same phases on images that were made worse in the train step.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.fields import IMAGE
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.degradation import degrade, sharpen
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size, to_float
from ganjax.images.bicubic import bicubic
from ganjax.losses import NON_SATURATING
from ganjax.nets.super_resolution import (
    FORMS,
    SCALES,
    Discriminator,
    Enlarger,
    UNetDiscriminator,
)
from ganjax.tasks.translators import SHEET_ROWS
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Batch, Inputs, Model, Phase, Task
from ganjax.weights import networks

# Names of the phases.
PIXELS, ADVERSARIAL = "pixels", "adversarial"
DISTANCES = {"l1": jnp.abs, "l2": jnp.square}
SMOKE = {
    "data.source": "avatars",
    "data.image_size": "32",
    "data.load_size": "48",
    "model.width": 8,
    "model.depth": 2,
    "model.discriminator_layers": 2,
    "loss.encoders": ("random:relu2_1",),
    "batch_size": 4,
    **short_run(4),
}


def defaults() -> ConfigDict:
    """SRResNet as published, x4: squared error of the pixels, Adam 1e-4, batches of 16."""
    config = run_fields("super_resolution")
    config.batch_size = 16  # crops of a step, over all devices
    config.total_kimg = 16000.0  # thousands of crops in all: a million steps
    # Of these, the last ones train against a discriminator and by features: SRGAN; 0 for none.
    config.adversarial_kimg = 0.0
    config.ema_half_life_kimg = 0.0  # of the generator's average; 0 for none

    config.data.source = ""  # a folder or .zip | avatars | tfds:NAME: large images
    config.data.image_size = "96"  # of the large crops that a batch shows
    config.data.load_size = "128"  # what images are scaled to before a crop is cut out
    # How small images are made: bicubic | photos (blur, scaling, noise and JPEG, as Real-ESRGAN)
    config.data.degradation = "bicubic"

    config.model = ConfigDict()
    config.model.form = "srresnet"  # srresnet | srvgg | msrresnet | rrdb
    config.model.scale = 4  # times that the sides grow: 2 | 3 | 4
    config.model.width = 64  # channels of the first layers
    config.model.depth = 16  # residual blocks, or convolutions between two (srvgg)
    config.model.discriminator = "srgan"  # srgan | unet (Real-ESRGAN's, which judges each pixel)
    config.model.discriminator_width = 0  # of its first layers; 0 for `width`
    config.model.discriminator_layers = 8  # SRGAN's convolutions; every other halves the sides
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    config.loss.pixels = "l2"  # distance of pixels, the whole loss of the first phase: l1 | l2
    config.loss.pixels_weight = 0.0  # of that distance in the adversarial phase
    # "WEIGHTS:LAYER,LAYER", whose features it compares; "random" needs no download.
    config.loss.encoders = ("vgg16_features:relu5_3",)
    config.loss.features = "l2"  # distance of features: l1 | l2
    config.loss.features_weight = 6e-3  # of that distance
    config.loss.adversarial_weight = 1e-3  # of the generator's part of the game
    # Sharpen what pixels and features are compared with, but not what the discriminator sees.
    config.loss.sharpen = False

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # adam | muon
    config.optimizer.learning_rate = 1e-4  # of the first phase
    config.optimizer.decay_from = 1.0  # share of the phase where it begins to fall linearly to 0
    config.optimizer.b1 = 0.9  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    config.adversarial_optimizer = ConfigDict()  # of both networks, in the second phase
    config.adversarial_optimizer.learning_rate = 1e-4  # Adam's
    config.adversarial_optimizer.drop_from = 0.5  # share of the phase from where it is a tenth
    config.adversarial_optimizer.b1 = 0.9  # Adam's decay of the mean gradient
    config.adversarial_optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Crops as `target`, and as `source` what bicubic scaling to 8 bits leaves of them."""
    load_size = parse_image_size(config.data.load_size)
    shrunk = {"source": ("target", config.model.scale)}
    return (single(config.data, {"image": "target"}, load_size=load_size, shrunk=shrunk),)


def from_config(config: ConfigDict) -> Task:
    """The training of a config, with the network that its losses look through."""
    data, loss, model = config.data, config.loss, config.model
    generator, size = _generator(config), parse_image_size(data.image_size)
    if any(side % generator.scale for side in size):
        raise UserError(f"data.image_size is {data.image_size}; give multiples of model.scale")
    check_choice("loss.pixels", loss.pixels, DISTANCES)
    check_choice("loss.features", loss.features, DISTANCES)
    check_choice("data.degradation", data.degradation, ("bicubic", "photos"))
    check_choice("model.discriminator", model.discriminator, ("srgan", "unet"))
    if data.degradation == "photos" and data.channels != 3:
        raise UserError(f"data.channels is {data.channels}; data.degradation=photos takes 3 (RGB)")
    for name in ("pixels", "features", "adversarial"):
        if loss[f"{name}_weight"] < 0:
            raise UserError(f"loss.{name}_weight is below 0; give 0 or more")
    if model.discriminator_layers < 1 or model.discriminator_width < 0:
        raise UserError(
            "model.discriminator_layers must be 1 or more, .discriminator_width 0 or more"
        )
    if not 0 <= config.adversarial_kimg <= config.total_kimg:
        raise UserError(f"adversarial_kimg is {config.adversarial_kimg}; give 0 to total_kimg")
    adversary = None
    phases = [Phase(PIXELS, config.total_kimg, config.batch_size, size)]
    if config.adversarial_kimg:
        last = Phase(ADVERSARIAL, config.adversarial_kimg, config.batch_size, size)
        phases = [phases[0]._replace(kimg=config.total_kimg - last.kimg), last]
        if data.channels != 3:
            raise UserError(f"data.channels is {data.channels}; features are those of 3 (RGB)")
        if model.discriminator == "unet" and any(side % 8 for side in size):
            raise UserError(f"data.image_size is {data.image_size}; unet takes multiples of 8")
        perceive, layers = networks.perceptual(loss.encoders)
        dtype, width = jnp.dtype(model.dtype), model.discriminator_width or model.width
        adversary = Adversary(
            UNetDiscriminator(width, dtype)
            if model.discriminator == "unet"
            else Discriminator(width, model.discriminator_layers, dtype),
            optimizers.make(config.adversarial_optimizer, updates=last.steps),
            lambda images: perceive(images, layers),
            pixels_weight=loss.pixels_weight,
            features=loss.features,
            features_weight=loss.features_weight,
            weight=loss.adversarial_weight,
        )
    return make(
        generator,
        optimizer=optimizers.make(config.optimizer, updates=phases[0].steps),
        phases=tuple(phases),
        adversary=adversary,
        channels=data.channels,
        pixels=loss.pixels,
        degraded=data.degradation == "photos",
        sharpened=loss.sharpen,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    return make_model(_generator(config), degraded=config.data.degradation == "photos")


def _generator(config: ConfigDict) -> Enlarger:
    model = config.model
    check_choice("model.form", model.form, FORMS)
    check_choice("model.scale", model.scale, SCALES)
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if model.width < 1 or model.depth < 0:
        raise UserError("model.width must be 1 or more, model.depth 0 or more")
    return FORMS[model.form](
        model.scale, config.data.channels, model.width, model.depth, jnp.dtype(model.dtype)
    )


def make_model(generator: Enlarger, *, degraded: bool = False) -> Model:
    """Images `generator.scale` times as large as `source` [N, H, W, C] (uint8 or in [-1, 1]).

    Sheets show degraded ones, where the model was trained with them.
    """

    def enlarge(trained: Trained, source: Array) -> Array:
        images = generator.apply(trained.variables["generator"], as_float(source))
        return jnp.clip(images, -1, 1)

    def sample(trained: Trained, inputs: Inputs, rng: Array | None) -> dict[str, Array]:
        return {"samples": enlarge(trained, inputs["source"])}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """A row for each source: bicubic, by the network and, where it is there, the target."""
        shown = {name: to_float(values[:SHEET_ROWS]) for name, values in inputs.items()}
        if degraded and "target" in shown:
            shown["source"] = degrade(rng, shown["target"], generator.scale)
        drawn = enlarge(trained, shown["source"])
        columns = [bicubic(shown["source"], (drawn.shape[1], drawn.shape[2])), drawn]
        columns += [shown["target"]] if "target" in shown else []
        return jnp.stack(columns, axis=1)

    return Model(
        {"source": IMAGE}, {"samples": IMAGE}, None, sample, sheet,
        reach=generator.reach, real="target", scale=generator.scale,
    )  # fmt: skip


class Adversary(NamedTuple):
    """What the second phase adds: a discriminator, and the network that compares features.

    Attributes:
      optimizer: of both players.
      perceive: images [B, H, W, 3] in [-1, 1] -> layer -> [B, h, w, C].
      pixels_weight: of the distance of pixels.
      features: their distance, a key of `DISTANCES`.
      features_weight: of that distance, a mean over each layer.
      weight: of the generator's part of the game.
    """

    discriminator: nn.Module
    optimizer: optax.GradientTransformation
    perceive: Callable[[Array], Mapping[str, Array]]
    pixels_weight: float = 0.0
    features: str = "l2"
    features_weight: float = 6e-3
    weight: float = 1e-3


def make(
    generator: Enlarger,
    *,
    optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    adversary: Adversary | None = None,
    channels: int = 3,
    pixels: str = "l2",
    degraded: bool = False,
    sharpened: bool = False,
    ema_half_life: float = 0.0,
) -> Task:
    """SRResNet's training, and SRGAN's (Ledig et al. 2017, equations 3 to 6) in a second phase.

    A batch holds `source` [B, h, w, C] and `target` [B, H, W, C] (uint8, or float in [-1, 1]).
    With `degraded` a step makes sources of its own (`degradation.degrade`).

    Args:
      optimizer: of the first phase.
      phases: `PIXELS` and, with an adversary, `ADVERSARIAL`.
      channels: of the images.
      pixels: their distance, a key of `DISTANCES`.
      degraded: see above; with the sharpened target as what is made worse, as published.
      sharpened: compare pixels and features with the sharpened target.
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    later = optimizer
    if adversary:
        optimizer, later = optimizers.in_turn(optimizer, adversary.optimizer)

    def init(rng: Array) -> State:
        keys, size = jax.random.split(rng), phases[-1].image_size
        source, target = jnp.zeros((1, 8, 8, channels)), jnp.zeros((1, *size, channels))
        found = {"generator": Network.start(generator.init(keys[0], source), optimizer)}
        if adversary:
            variables = adversary.discriminator.init(keys[1], target)
            found["discriminator"] = Network.start(variables, adversary.optimizer)
        return State.start(found, averaged=("generator",))

    def examples(batch: Batch, rng: Array) -> tuple[Array, Array, Array]:
        """Small images, what results shall equal, and what the discriminator takes for real."""
        target = as_float(batch["target"])
        wanted = sharpen(target) if sharpened else target
        source = degrade(rng, wanted, generator.scale) if degraded else as_float(batch["source"])
        return source, wanted, target

    def pixel_step(state: State, batch: Batch, rng: Array) -> tuple[State, dict[str, Array]]:
        source, target, _ = examples(batch, rng)
        gen = state.networks["generator"]

        def loss(params):
            images, statistics = _apply(generator, params, gen.statistics, source)
            return _distance(pixels, images, target), statistics

        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(gen.params)
        return state.after(
            {"generator": update(gen, gradients, statistics, optimizer)},
            {"generator": gradients},
            batch_size=len(source),
            half_life=ema_half_life,
            metrics={"loss_generator": value},
        )

    def adversarial_step(state: State, batch: Batch, rng: Array) -> tuple[State, dict[str, Array]]:
        assert adversary
        source, wanted, target = examples(batch, rng)
        gen, disc = state.networks["generator"], state.networks["discriminator"]
        features = adversary.perceive(wanted)

        def generate(params):
            return _apply(generator, params, gen.statistics, source)

        def discriminate(params, statistics, images):
            return _apply(adversary.discriminator, params, statistics, images)

        def discriminator_loss(params):
            real, statistics = discriminate(params, disc.statistics, target)
            fake, statistics = discriminate(params, statistics, images)
            values = NON_SATURATING.real(real) + NON_SATURATING.fake(fake)
            return jnp.mean(values), (statistics, jnp.mean(real), jnp.mean(fake))

        def generator_loss(images):
            logits, statistics = discriminate(disc.params, disc.statistics, images)
            found = adversary.perceive(images)
            apart = sum(
                _distance(adversary.features, found[name], features[name]) for name in features
            )
            terms = {
                "pixels": adversary.pixels_weight * _distance(pixels, images, wanted),
                "features": adversary.features_weight * apart,
                "game": adversary.weight * jnp.mean(NON_SATURATING.generator(logits)),
            }
            return sum(terms.values()), (statistics, terms)

        # One forward of the generator serves both players: its pullback waits for the new
        # discriminator.
        images, pull_back, gen_statistics = jax.vjp(generate, gen.params, has_aux=True)
        (d_loss, (statistics, real_logit, fake_logit)), d_gradients = jax.value_and_grad(
            discriminator_loss, has_aux=True
        )(disc.params)
        disc = update(disc, d_gradients, statistics, adversary.optimizer)
        (g_loss, (statistics, terms)), gradient = jax.value_and_grad(generator_loss, has_aux=True)(
            images
        )
        disc = disc.replace(statistics=statistics)
        (g_gradients,) = pull_back(gradient)
        gen = update(gen, g_gradients, gen_statistics, later)
        return state.after(
            {"generator": gen, "discriminator": disc},
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=len(source),
            half_life=ema_half_life,
            metrics={
                "loss_generator": g_loss,
                "loss_discriminator": d_loss,
                **{f"loss_{name}": value for name, value in terms.items()},
                "logit_real": real_logit,
                "logit_fake": fake_logit,
            },
        )

    steps = {ADVERSARIAL: adversarial_step}
    model = make_model(generator, degraded=degraded)
    return Task(model, init, pixel_step, phases, steps=steps)


def _distance(kind: str, found: Array, wanted: Array) -> Array:
    return jnp.mean(DISTANCES[kind](found - wanted))


def _apply(module: Any, params: Any, statistics: Any, inputs: Array) -> tuple[Array, Any]:
    """A training forward: outputs and new batch statistics, {} of a network without them."""
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = module.apply(variables, inputs, train=True, mutable=["batch_stats"])
    return outputs, changed.get("batch_stats", {})
