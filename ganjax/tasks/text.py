"""Images from text: a text encoder learns to tell which caption is of which image, then DF-GAN."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import conditions, losses
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.captions import open_captions
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size
from ganjax.losses import HINGE
from ganjax.nets.text_gan import (
    Discriminator,
    Generator,
    ImageEncoder,
    TextEncoder,
    seed_and_widths,
)
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Batch, Inputs, Model, Phase, Task, draw_latents, project_latents

ENCODER, ADVERSARIAL = "encoder", "adversarial"
SMOKE = {
    "data.source": "avatars",
    "data.image_size": "32",
    "data.channels": 3,
    "data.flip": False,
    "model.width": 4,
    "model.words": 256,
    "model.caption_words": 40,
    "model.sentence_size": 32,
    "model.word_size": 16,
    "model.image_encoder_width": 8,
    "batch_size": 8,
    "encoder_kimg": 0.048,
    **short_run(8),
}


def defaults() -> ConfigDict:
    """DF-GAN as published but for its text encoder, which is trained in the first phase."""
    config = run_fields("text")
    config.batch_size = 32  # images of a step, over all devices
    config.total_kimg = 12_000.0  # thousands of images of both phases
    config.encoder_kimg = 500.0  # of the first of them, where the text encoder is trained

    config.data.source = ""  # avatars, or a folder or .zip of images with NAME.txt beside NAME.png
    config.data.image_size = "64"  # "32", "64", "128" or "256"
    config.data.flip = False  # captions may tell left from right

    config.model = ConfigDict()
    config.model.width = 32  # channels of G and D at full size
    config.model.latent_size = 100  # length of z
    config.model.words = 8192  # of the vocabulary: the most frequent ones of all captions
    config.model.caption_words = 40  # of a caption that are read; what follows is cut off
    config.model.sentence_size = 256  # length of the text encoder's vectors
    config.model.word_size = 300  # length of a word's embedding
    config.model.image_encoder_width = 32  # channels of the first phase's CNN at half of the size
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    config.loss.temperature = 0.1  # by which the first phase's cosines are divided
    config.loss.penalty_weight = 2.0  # of MA-GP: k
    config.loss.penalty_power = 6.0  # of the gradient's length: p
    config.encoder_optimizer = ConfigDict()  # of the first phase
    config.encoder_optimizer.learning_rate = 1e-3  # Adam's
    config.encoder_optimizer.decay_from = 0.5  # share of the phase where it begins to fall to 0
    config.encoder_optimizer.b1 = 0.9  # Adam's decay of the mean gradient
    config.encoder_optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    config.optimizer = ConfigDict()  # of the second phase
    config.optimizer.learning_rate = 1e-4  # Adam's, for the generator
    config.optimizer.discriminator_learning_rate = 4e-4  # Adam's, for the discriminator
    config.optimizer.decay_from = 1.0  # share of the phase where both begin to fall to 0
    config.optimizer.b1 = 0.0  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.9  # Adam's decay of the mean squared gradient
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images as `image`, and one of the captions of each as `label`."""
    stream, model = single(config.data, {"image": "image"}), config.model
    source = open_captions(
        stream.source, words=model.words, length=model.caption_words, spec=config.data.source
    )
    return (stream._replace(source=source, names={"image": "image", "text": "label"}),)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    model, loss, rates = config.model, config.loss, config.optimizer
    if not 0 <= config.encoder_kimg < config.total_kimg:
        raise UserError(f"encoder_kimg is {config.encoder_kimg}; give 0 to less than total_kimg")
    if config.batch_size < 2:
        raise UserError("batch_size is 1; give 2 or more: a text that does not match is another's")
    if not loss.temperature > 0 or loss.penalty_weight < 0 or loss.penalty_power < 2:
        raise UserError(
            "loss.temperature must be above 0, loss.penalty_weight 0 or more, loss.penalty_power "
            "2 or more"
        )
    if model.image_encoder_width < 1:
        raise UserError("model.image_encoder_width must be 1 or more")
    size = parse_image_size(config.data.image_size)
    phases = (
        Phase(ENCODER, config.encoder_kimg, config.batch_size, size),
        Phase(ADVERSARIAL, config.total_kimg - config.encoder_kimg, config.batch_size, size),
    )
    encoder, generator = _networks(config)
    dtype = jnp.dtype(model.dtype)
    return make(
        encoder,
        ImageEncoder(size, model.sentence_size, model.image_encoder_width, dtype),
        generator,
        Discriminator(size, config.data.channels, model.width, dtype),
        condition=_condition(config),
        optimizers=Optimizers(
            optimizers.make(config.encoder_optimizer, updates=phases[0].steps),
            optimizers.make(rates, updates=phases[1].steps),
            optimizers.make(
                rates,
                learning_rate=rates.discriminator_learning_rate,
                updates=phases[1].steps,
            ),
        ),
        phases=phases,
        latent_size=model.latent_size,
        temperature=loss.temperature,
        penalty_weight=loss.penalty_weight,
        penalty_power=loss.penalty_power,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The text encoder and the generator of a config."""
    return make_model(*_networks(config), _condition(config), latent_size=config.model.latent_size)


def _condition(config: ConfigDict) -> Field:
    return conditions.declare_text(config.model.words, config.model.caption_words)


def _networks(config: ConfigDict) -> tuple[TextEncoder, Generator]:
    model, size = config.model, parse_image_size(config.data.image_size)
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if min(model.latent_size, model.word_size) < 1 or model.sentence_size < 2:
        raise UserError("model.latent_size and .word_size must be 1 or more, .sentence_size 2")
    if model.sentence_size % 2:
        raise UserError(f"model.sentence_size is {model.sentence_size}; give an even number")
    seed_and_widths(size, model.width)
    dtype = jnp.dtype(model.dtype)
    return (
        TextEncoder(model.words, model.sentence_size, model.word_size, dtype),
        Generator(size, config.data.channels, model.width, dtype),
    )


def make_model(
    encoder: TextEncoder, generator: Generator, condition: Field, *, latent_size: int = 100
) -> Model:
    """Images from z [N, latent_size] and the numbers of a text's words, `label` [N, T]."""

    def draw(rng: Array, index: Array, label: Array | None) -> dict[str, Array]:
        return {
            "z": draw_latents(rng, index, latent_size),
            "label": conditions.draw(condition, rng, index, label),
        }

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        sentences, _ = encoder.apply(trained.variables["encoder"], inputs["label"])
        return generator.apply(trained.variables["generator"], inputs["z"], sentences)

    def sample(trained: Trained, inputs: Inputs, rng: Array) -> dict[str, Array]:
        return {"samples": sheet(trained, inputs, rng)}

    def project(trained: Trained, z: Array) -> Array:
        layers = ("project", "scale_hidden", "shift_hidden")  # the last two of each fusion
        return project_latents(trained.variables["generator"]["params"], z, layers)

    return Model(
        {"z": Field("vector", latent_size), "label": condition},
        {"samples": IMAGE}, draw, sample, sheet, real="image", project=project,
        rebuild=lambda inputs: make_model(
            encoder, generator, inputs["label"], latent_size=latent_size
        ),
    )  # fmt: skip


class Optimizers(NamedTuple):
    """Of both encoders, of the generator and of the discriminator."""

    encoders: optax.GradientTransformation
    generator: optax.GradientTransformation
    discriminator: optax.GradientTransformation


def make(
    encoder: TextEncoder,
    image_encoder: ImageEncoder,
    generator: Generator,
    discriminator: Discriminator,
    *,
    condition: Field,
    optimizers: Optimizers,
    phases: tuple[Phase, ...],
    latent_size: int = 100,
    temperature: float = 0.1,
    penalty_weight: float = 2.0,
    penalty_power: float = 6.0,
    ema_half_life: float = 0.0,
) -> Task:
    """DF-GAN (Tao et al. 2022, arXiv:2008.05865, equations 1 to 3), after its text encoder.

    A batch holds `image` [B, H, W, C] (uint8, or float in [-1, 1]) and `label` [B, T], numbers of
    the words of a caption. In the first phase the vectors of images and captions learn to find each
    other in the batch; from then on the text encoder is the average of what it was.

    Args:
      condition: of texts, which says what T is.
      phases: `ENCODER` and `ADVERSARIAL`.
      latent_size: length of z, which is drawn from N(0, I).
      temperature: see `losses.contrast`.
      penalty_weight, penalty_power: k and p of MA-GP, on real images and their own captions.
      ema_half_life: of the averages of text encoder and generator, in images; 0 for none.
    """

    def init(rng: Array) -> State:
        keys = jax.random.split(rng, 4)
        image = jnp.zeros((1, *discriminator.image_size, discriminator.channels))
        tokens = jnp.ones((1, condition.size), jnp.int32)
        z, sentence = jnp.zeros((1, latent_size)), jnp.zeros((1, encoder.features))
        started = {
            "encoder": (encoder.init(keys[0], tokens), optimizers.encoders),
            "image_encoder": (image_encoder.init(keys[1], image), optimizers.encoders),
            "generator": (generator.init(keys[2], z, sentence), optimizers.generator),
            "discriminator": (
                discriminator.init(keys[3], image, sentence),
                optimizers.discriminator,
            ),
        }
        networks = {role: Network.start(*each) for role, each in started.items()}
        return State.start(networks, averaged=("encoder", "generator"))

    def begin_phase(state: State, phase: Phase) -> State:
        if phase.name == ENCODER:
            return state
        params = jax.tree.map(jnp.copy, state.averages["encoder"]["params"])
        frozen = state.networks["encoder"].replace(params=params)
        return state.replace(networks=state.networks | {"encoder": frozen})

    def encoder_step(state: State, batch: Batch, rng: Array) -> tuple[State, dict[str, Array]]:
        images, tokens = as_float(batch["image"]), batch["label"]
        networks = {role: state.networks[role] for role in ("encoder", "image_encoder")}

        def loss(params):
            sentences, _ = encoder.apply({"params": params["encoder"]}, tokens)
            seen = image_encoder.apply({"params": params["image_encoder"]}, images)
            values, right = losses.contrast(sentences, seen, temperature=temperature)
            return jnp.mean(values), jnp.mean(right)

        params = {role: network.params for role, network in networks.items()}
        (value, right), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return state.after(
            {
                role: update(network, gradients[role], {}, optimizers.encoders)
                for role, network in networks.items()
            },
            gradients,
            batch_size=len(images),
            half_life=ema_half_life,
            metrics={"loss_encoder": value, "accuracy": right},
        )

    def adversarial_step(state: State, batch: Batch, rng: Array) -> tuple[State, dict[str, Array]]:
        real = as_float(batch["image"])
        gen, disc = state.networks["generator"], state.networks["discriminator"]
        sentences, _ = encoder.apply(state.networks["encoder"].variables, batch["label"])
        z = jax.random.normal(rng, (len(real), latent_size))

        def generate(params):
            return generator.apply({"params": params}, z, sentences)

        def judge(params, images: Array, sentences: Array) -> Array:
            return discriminator.apply({"params": params}, images, sentences)

        def discriminator_loss(params):
            def criticize(pairs: tuple[Array, Array]) -> tuple[Array, Array]:
                images, sentences = pairs
                bound = discriminator.bind({"params": params})
                features = bound.see(images)
                others = bound.judge(features, jnp.roll(sentences, 1, axis=0))
                return bound.judge(features, sentences), others

            matching, squares, others = losses.squared_slopes(criticize, (real, sentences))
            fakes = judge(params, fake, sentences)
            penalty = jnp.mean(squares ** (penalty_power / 2))
            game = jnp.mean(HINGE.real(matching) + (HINGE.fake(fakes) + HINGE.fake(others)) / 2)
            return game + penalty_weight * penalty, {
                "penalty": penalty,
                "logit_real": jnp.mean(matching),
                "logit_fake": jnp.mean(fakes),
                "logit_mismatched": jnp.mean(others),
            }

        def generator_loss(images):
            return jnp.mean(HINGE.generator(judge(disc.params, images, sentences)))

        # One forward of the generator serves both players: its pullback waits for the new
        # discriminator.
        fake, pull_back = jax.vjp(generate, gen.params)
        (d_loss, metrics), d_gradients = jax.value_and_grad(discriminator_loss, has_aux=True)(
            disc.params
        )
        disc = update(disc, d_gradients, {}, optimizers.discriminator)
        g_loss, gradient = jax.value_and_grad(generator_loss)(fake)
        (g_gradients,) = pull_back(gradient)
        return state.after(
            {
                "generator": update(gen, g_gradients, {}, optimizers.generator),
                "discriminator": disc,
            },
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=len(real),
            half_life=ema_half_life,
            metrics={"loss_generator": g_loss, "loss_discriminator": d_loss, **metrics},
        )

    model = make_model(encoder, generator, condition, latent_size=latent_size)
    steps = {ADVERSARIAL: adversarial_step}
    return Task(model, init, encoder_step, phases, begin_phase, steps)
