"""SNGAN's game: discriminator steps, then one generator step, with or without a condition."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import conditions, losses
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size
from ganjax.nets.resnet_gan import Discriminator, Generator, seed_and_table
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task, draw_latents

SMOKE = {
    "data.source": "avatars",
    "data.labels": True,
    "data.image_size": "32",
    "data.channels": 3,
    "model.classes": 0,
    "model.attributes": (8, 5, 6, 4, 12, 8, 4, 5, 3, 4, 5, 3, 4, 4, 6, 6, 3, 6, 8),
    "model.width": 32,
    "batch_size": 8,
    "discriminator_steps": 2,
    **short_run(16),
}


def defaults() -> ConfigDict:
    """SNGAN on 32x32 images: hinge, 5 discriminator steps for each of the generator, Adam 2e-4."""
    config = run_fields("gan")
    config.batch_size = 64  # real images of a discriminator step, over all devices
    config.discriminator_steps = 5  # for each generator step
    config.generator_batch = 2  # images of a generator step, in batches of the discriminator
    config.total_kimg = 16000.0  # thousands of real images: 50,000 generator steps
    config.ema_half_life_kimg = 0.0  # of the generator's average; 0 for none, as published

    config.data.source = ""  # a folder or .zip | avatars | tfds:NAME | lsun:PATH
    config.data.image_size = "32"  # "32", "64", "128", or such multiples of a small number
    config.data.labels = False  # learn the classes or attributes of the images

    config.model = ConfigDict()
    config.model.width = 0  # channels of the last block of G and the first of D; 0 as published
    config.model.latent_size = 128  # length of z
    config.model.classes = 0  # of the labels; 0 for none
    config.model.attributes = ()  # how many values each attribute has; () for none
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = "hinge"  # hinge | non_saturating | saturating | least_squares
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-4  # Adam's, for both networks
    config.optimizer.decay_from = 0.0  # share of the run where it begins to fall linearly to 0
    config.optimizer.b1 = 0.0  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.9  # Adam's decay of the mean squared gradient
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images, with their classes or attributes where `data.labels` asks for them."""
    condition = _condition(config)
    if not condition:
        return (single(config.data, {"image": "image"}),)
    stream = single(config.data, {"image": "image", "label": "label"})
    conditions.check(condition, stream.source.fields["label"], config.data.source)
    return (stream,)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    check_choice("loss", config.loss, losses.PAIRS)
    if min(config.discriminator_steps, config.generator_batch) < 1:
        raise UserError("discriminator_steps and generator_batch must be 1 or more")
    image_size = parse_image_size(config.data.image_size)
    batch_size = config.batch_size * config.discriminator_steps
    phase = Phase("train", config.total_kimg, batch_size, image_size)
    updates = phase.steps * config.discriminator_steps
    return make(
        *_networks(config),
        loss=losses.PAIRS[config.loss],
        generator_optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        discriminator_optimizer=optimizers.make(config.optimizer, updates=updates),
        phases=(phase,),
        condition=_condition(config),
        latent_size=config.model.latent_size,
        discriminator_steps=config.discriminator_steps,
        generator_batch=config.generator_batch,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    generator, _ = _networks(config)
    return make_model(generator, _condition(config), latent_size=config.model.latent_size)


def _condition(config: ConfigDict) -> Field | None:
    condition = conditions.declare(config.model.classes, config.model.attributes)
    if (condition is not None) != config.data.labels:
        raise UserError(
            "set data.labels to True and model.classes (or model.attributes) to what the data has, "
            "or neither"
        )
    return condition


def _networks(config: ConfigDict) -> tuple[Generator, Discriminator]:
    model = config.model
    image_size = parse_image_size(config.data.image_size)
    seed_and_table(image_size)
    if model.width < 0 or model.latent_size < 1:
        raise UserError("model.width must be 0 or more, model.latent_size 1 or more")
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    fields = {
        "image_size": image_size,
        "channels": config.data.channels,
        "width": model.width or None,
        "conditions": conditions.width(_condition(config)),
        "dtype": jnp.dtype(model.dtype),
    }
    return Generator(**fields), Discriminator(**fields)


def make_model(generator: Generator, condition: Field | None, *, latent_size: int = 128) -> Model:
    """Images from z [N, latent_size] and, where there is a condition, labels [N] or [N, A]."""

    def draw(rng: Array, index: Array, label: Array | None) -> dict[str, Array]:
        inputs = {"z": draw_latents(rng, index, latent_size)}
        if condition:
            inputs["label"] = conditions.draw(condition, rng, index, label)
        return inputs

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        encoded = conditions.encode(condition, inputs["label"]) if condition else None
        variables = trained.variables["generator"]
        return generator.apply(variables, inputs["z"], encoded, train=False)

    def sample(trained: Trained, inputs: Inputs, rng: Array) -> dict[str, Array]:
        return {"samples": sheet(trained, inputs, rng)}

    inputs = {"z": Field("vector", latent_size)} | ({"label": condition} if condition else {})
    return Model(inputs, {"samples": IMAGE}, draw, sample, sheet, real="image")


def make(
    generator: Generator,
    discriminator: Discriminator,
    *,
    loss: losses.AdversarialPair,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    condition: Field | None = None,
    latent_size: int = 128,
    discriminator_steps: int = 5,
    generator_batch: int = 2,
    ema_half_life: float = 0.0,
) -> Task:
    """The game of Miyato et al. 2018, arXiv:1802.05957, section 4 and appendix B.

    A batch holds `image` [D * B, H, W, C] (uint8, or float in [-1, 1]) for D discriminator steps
    and, where there is a condition, `label` [D * B] or [D * B, A]. Fakes are given the labels of
    the real images, so that both come in the same proportions.

    Args:
      condition: what images are asked for by; None for nothing.
      latent_size: length of z, which is drawn from N(0, I).
      discriminator_steps: D.
      generator_batch: images of a generator step, as a multiple of B.
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    def init(rng: Array) -> State:
        generator_rng, discriminator_rng = jax.random.split(rng)
        image = jnp.zeros((1, *discriminator.image_size, discriminator.channels))
        encoded = jnp.zeros((1, conditions.width(condition))) if condition else None
        z = jnp.zeros((1, latent_size))
        g = generator.init(generator_rng, z, encoded, train=True)
        d = discriminator.init(discriminator_rng, image, encoded, train=True)
        return State.start(
            {
                "generator": Network.start(g, generator_optimizer),
                "discriminator": Network.start(d, discriminator_optimizer),
            },
            averaged=("generator",),
        )

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        gen, disc = state.networks["generator"], state.networks["discriminator"]
        # Parts of neighboring rows, so that each device keeps the rows that it has.
        images = _parts(as_float(batch["image"]), discriminator_steps)
        encoded: list[Any] = [None] * discriminator_steps
        if condition:
            encoded = _parts(conditions.encode(condition, batch["label"]), discriminator_steps)

        def generate(params, key: Array, encoded: Array | None, count: int):
            z = jax.random.normal(key, (count, latent_size))
            return _apply(generator, params, gen.statistics, z, encoded)

        def discriminator_loss(params, real: Array, fake: Array, encoded: Array | None):
            # No statistics of the batch are taken: one pass, and one power iteration, serve both.
            both = None if encoded is None else jnp.concatenate([encoded, encoded])
            images = jnp.concatenate([real, fake])
            logits, statistics = _apply(discriminator, params, disc.statistics, images, both)
            real_logits, fake_logits = jnp.split(logits, 2)
            value = jnp.mean(loss.real(real_logits)) + jnp.mean(loss.fake(fake_logits))
            return value, (statistics, jnp.mean(real_logits), jnp.mean(fake_logits))

        rows = []
        for number, (real, asked) in enumerate(zip(images, encoded, strict=True)):
            key = jax.random.fold_in(rng, number)
            fake, _ = generate(gen.params, key, asked, len(real))
            (value, (statistics, *logits)), d_gradients = jax.value_and_grad(
                discriminator_loss, has_aux=True
            )(disc.params, real, fake, asked)
            disc = update(disc, d_gradients, statistics, discriminator_optimizer)
            rows.append((value, *logits))

        def generator_loss(params):
            parts = [encoded[n % discriminator_steps] for n in range(generator_batch)]
            asked = jnp.concatenate(parts) if condition else None
            key = jax.random.fold_in(rng, discriminator_steps)
            fake, statistics = generate(params, key, asked, generator_batch * len(images[0]))
            logits, d_statistics = _apply(discriminator, disc.params, disc.statistics, fake, asked)
            return jnp.mean(loss.generator(logits)), (statistics, d_statistics)

        (g_loss, (statistics, d_statistics)), g_gradients = jax.value_and_grad(
            generator_loss, has_aux=True
        )(gen.params)
        disc = disc.replace(statistics=d_statistics)
        gen = update(gen, g_gradients, statistics, generator_optimizer)
        d_loss, real_logit, fake_logit = (
            jnp.mean(jnp.stack(row)) for row in zip(*rows, strict=True)
        )
        return state.after(
            {"generator": gen, "discriminator": disc},
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=len(batch["image"]),
            half_life=ema_half_life,
            metrics={
                "loss_generator": g_loss,
                "loss_discriminator": d_loss,
                "logit_real": real_logit,
                "logit_fake": fake_logit,
            },
        )

    model = make_model(generator, condition, latent_size=latent_size)
    return Task(model, init, train_step, phases)


def _parts(rows: Array, count: int) -> list[Array]:
    """Rows [D * B, ...] as D arrays [B, ...], each of every D-th row."""
    grouped = rows.reshape(-1, count, *rows.shape[1:])
    return [grouped[:, number] for number in range(count)]


def _apply(module, params, statistics, inputs: Array, encoded: Array | None):
    """A training forward: outputs and new statistics."""
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = module.apply(variables, inputs, encoded, train=True, mutable=["batch_stats"])
    return outputs, changed["batch_stats"]
