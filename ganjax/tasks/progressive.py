"""Progressive GAN's game: WGAN-GP at a resolution that doubles from time to time."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import conditions, ops
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size
from ganjax.losses import WASSERSTEIN, drift, gradient_penalty
from ganjax.nets.progressive import (
    GROUP,
    Discriminator,
    Generator,
    fade,
    level_of,
    start_and_doublings,
)
from ganjax.tasks.growth import Schedule, by_level, grow, schedule
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task, draw_latents, project_latents

SMOKE = {
    "data.source": "avatars",
    "data.image_size": "16",
    "model.width": 64,
    "growth.batch_sizes": (16, 8),
    "growth.fade_kimg": (0.064,),
    "growth.stable_kimg": (0.064,),
    "evaluate_metrics": "swd64",
    **short_run(16),
    "total_kimg": 0.32,
}


def defaults() -> ConfigDict:
    """Progressive GAN as published for one device: 1024x1024 RGB, WGAN-GP, 12 million images."""
    config = run_fields("progressive")
    config.total_kimg = 12000.0  # thousands of real images in all; the last size takes the rest

    # By resolution, from 4x4 on; the last value serves all later ones, too.
    config.growth = ConfigDict()
    config.growth.batch_sizes = (128, 128, 128, 64, 32, 16, 8, 4)  # by resolution, from 4x4 on
    config.growth.fade_kimg = (600.0,)  # images during which a resolution is faded in
    config.growth.stable_kimg = (600.0,)  # images after that

    config.data.source = ""  # a folder or .zip | avatars | tfds:NAME | lsun:PATH
    config.data.image_size = "1024"  # of the last resolution; "128x96" grows from 4x3
    config.data.pyramid = True  # decode the last resolution only; smaller ones are its means
    config.data.labels = False  # learn the images' classes, model.classes of them

    config.model = ConfigDict()
    config.model.width = 512  # channels up to 32x32; they halve with each doubling from there on
    config.model.latent_size = 512  # length of z
    config.model.classes = 0  # of the labels; 0 for none
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16
    config.model.remat = False  # less memory, more time: compute activations twice

    config.loss = ConfigDict()
    config.loss.penalty_weight = 10.0  # of the gradient penalty
    config.loss.drift_weight = 1e-3  # of the squared scores of real images
    config.loss.label_weight = 1.0  # of the classification of images with labels
    config.optimizer = ConfigDict()
    config.optimizer.learning_rates = (1e-3,) * 8 + (1.5e-3,)  # Adam's, by resolution
    config.optimizer.b1 = 0.0  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.99  # Adam's decay of the mean squared gradient

    config.log_every = 5.0  # kimg
    config.save_every = 100.0  # kimg
    config.sample_every = 100.0  # kimg
    config.evaluate_every = 100.0  # kimg, and at each phase's end; 0 for never
    config.evaluate_metrics = "swd2048"  # values of each level: docs/metrics.md
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images, with their classes where `data.labels` asks for them."""
    data, condition = config.data, conditions.declare(config.model.classes)
    pyramid = parse_image_size(data.image_size) if data.pyramid else None
    stream = single(data, {"image": "image"}, pyramid=pyramid)
    if condition:
        conditions.check(condition, stream.source.fields.get("label"), data.source)
        stream = stream._replace(names={"image": "image", "label": "label"})
    return (stream,)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    growth, loss = config.growth, config.loss
    for name, values in (*growth.items(), ("learning_rate", config.optimizer.learning_rates)):
        if not values or min(values) < 0:
            raise UserError(f"{name} is {values}; give 0 or more for one resolution or more")
    if wrong := [b for b in growth.batch_sizes if b < 1 or b % min(b, GROUP)]:
        raise UserError(f"growth.batch_sizes has {wrong[0]}; give 1, 2, 3 or multiples of {GROUP}")
    for name in ("penalty_weight", "drift_weight", "label_weight"):
        if loss[name] < 0:
            raise UserError(f"loss.{name} is below 0; give 0 or more")
    return make(
        *_networks(config),
        optimizers=[
            optimizers.make(config.optimizer, learning_rate=rate)
            for rate in config.optimizer.learning_rates
        ],
        phases=_phases(config),
        latent_size=config.model.latent_size,
        penalty_weight=loss.penalty_weight,
        drift_weight=loss.drift_weight,
        label_weight=loss.label_weight,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    generator, _ = _networks(config)
    growth = schedule(_phases(config), start_and_doublings(_size(generator))[0])
    return make_model(generator, growth, latent_size=config.model.latent_size)


def _phases(config: ConfigDict) -> tuple[Phase, ...]:
    image_size = parse_image_size(config.data.image_size)
    try:
        return grow(image_size, **config.growth, total_kimg=config.total_kimg)
    except ValueError as error:
        raise UserError(f"{error}; raise total_kimg") from error


def _networks(config: ConfigDict) -> tuple[Generator, Discriminator]:
    data, model = config.data, config.model
    if min(model.width, model.latent_size) < 1 or model.classes < 0:
        raise UserError("model.width and model.latent_size must be 1 or more, model.classes 0")
    if (model.classes > 0) != data.labels:
        raise UserError("set data.labels to True and model.classes to their number, or neither")
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    fields = {
        "image_size": parse_image_size(data.image_size),
        "channels": data.channels,
        "width": model.width,
        "classes": model.classes,
        "remat": model.remat,
        "dtype": jnp.dtype(model.dtype),
    }
    return Generator(**fields), Discriminator(**fields)


def make_model(generator: Generator, growth: Schedule, *, latent_size: int = 512) -> Model:
    """Images from z [N, latent_size], with labels [N] where there are classes.

    They are drawn at the resolution of the moment, and pixels repeated up to the last size.
    """
    _, last = start_and_doublings(_size(generator))
    condition = conditions.declare(generator.classes)

    def draw(rng: Array, index: Array, label: Array | None) -> dict[str, Array]:
        inputs = {"z": draw_latents(rng, index, latent_size)}
        if condition:
            inputs["label"] = conditions.draw(condition, rng, index, label)
        return inputs

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        def draw_at(level: int, variables, inputs) -> Array:
            images = generator.apply(
                variables,
                inputs["z"],
                growth.alpha(trained.images, level),
                level=level,
                labels=inputs.get("label"),
            )
            for _ in range(level, last):
                images = ops.upsample(images)
            return jnp.clip(images, -1, 1)

        levels = sorted(growth.begins)
        reached = sum((trained.images >= growth.begins[n]).astype(jnp.int32) for n in levels)
        branches = [partial(draw_at, level) for level in levels]
        return jax.lax.switch(reached - 1, branches, trained.variables["generator"], inputs)

    def sample(trained: Trained, inputs: Inputs, rng: Array) -> dict[str, Array]:
        return {"samples": sheet(trained, inputs, rng)}

    def project(trained: Trained, z: Array) -> Array:
        return project_latents(trained.variables["generator"]["params"], z)

    inputs = {"z": Field("vector", latent_size)} | ({"label": condition} if condition else {})
    return Model(inputs, {"samples": IMAGE}, draw, sample, sheet, real="image", project=project)


def make(
    generator: Generator,
    discriminator: Discriminator,
    *,
    optimizers: Sequence[optax.GradientTransformation],
    phases: tuple[Phase, ...],
    latent_size: int = 512,
    penalty_weight: float = 10.0,
    drift_weight: float = 1e-3,
    label_weight: float = 1.0,
    ema_half_life: float = 10_000,
) -> Task:
    """The game of Karras et al. 2018, appendix A: one critic step, then one generator step.

    The resolution is that of the batch; how far a fade is (alpha) follows from the images
    consumed, so that a step is the same function at any moment of a resolution. The optimizers
    start anew with each resolution: Adam without momentum, after many steps without a gradient,
    would make a tenfold first one. A batch holds `image` [B, H, W, C] (uint8, or float in [-1, 1])
    and, where there are classes, `label` [B].

    Args:
      optimizers: by resolution, for either network; see `by_level`.
      phases: of `grow`.
      latent_size: length of z, which is drawn from N(0, I).
      penalty_weight: of the gradient penalty.
      drift_weight: of the squared scores of real images.
      label_weight: of the classification of real and generated images (AC-GAN).
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """
    start, _ = start_and_doublings(_size(generator))
    growth = schedule(phases, start)

    def init(rng: Array) -> State:
        generator_rng, discriminator_rng = jax.random.split(rng)
        labels = jnp.zeros((1,), jnp.int32) if generator.classes else None
        image = jnp.zeros((1, *_size(generator), discriminator.channels))
        g = generator.init(generator_rng, jnp.zeros((1, latent_size)), labels=labels)
        d = discriminator.init(discriminator_rng, image)
        return State.start(
            {
                "generator": Network.start(g, optimizers[0]),
                "discriminator": Network.start(d, optimizers[0]),
            },
            averaged=("generator",),
        )

    def begin_phase(state: State, phase: Phase) -> State:
        if phase not in growth.first_phases:
            return state
        optimizer = by_level(optimizers, level_of(phase.image_size, start))
        networks = {
            role: network.replace(optimizer=optimizer.init(network.params))
            for role, network in state.networks.items()
        }
        return state.replace(networks=networks)

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        real = as_float(batch["image"])
        labels = batch["label"] if generator.classes else None
        level = level_of(real.shape[1:3], start)
        optimizer, alpha = by_level(optimizers, level), growth.alpha(state.images, level)
        real = fade(real, alpha) if level else real
        gen, disc = state.networks["generator"], state.networks["discriminator"]
        z_key, other_z_key, mix_key = jax.random.split(rng, 3)
        mix = jax.random.uniform(mix_key, (len(real),))

        def generate(params, key: Array) -> Array:
            z = jax.random.normal(key, (len(real), latent_size))
            return generator.apply({"params": params}, z, alpha, level=level, labels=labels)

        def criticize(params, images: Array) -> tuple[Array, Array]:
            """Scores [B], and losses [B] of the images' classification."""
            outputs = discriminator.apply({"params": params}, images, alpha)
            if labels is None:
                return outputs, jnp.zeros(len(images))
            wrong = optax.softmax_cross_entropy_with_integer_labels(outputs[:, 1:], labels)
            return outputs[:, 0], label_weight * wrong

        def discriminator_loss(params):
            real_scores, real_wrong = criticize(params, real)
            fake_scores, fake_wrong = criticize(params, fake)
            penalty = gradient_penalty(lambda x: criticize(params, x)[0], real, fake, mix)
            values = WASSERSTEIN.real(real_scores) + WASSERSTEIN.fake(fake_scores)
            values += real_wrong + fake_wrong
            values += penalty_weight * penalty + drift_weight * drift(real_scores)
            scores = {
                "logit_real": real_scores.mean(),
                "logit_fake": fake_scores.mean(),
                "gradient_penalty": penalty.mean(),
            }
            return values.mean(), scores

        def generator_loss(params):
            scores, wrong = criticize(disc.params, generate(params, other_z_key))
            return jnp.mean(WASSERSTEIN.generator(scores) + wrong)

        fake = generate(gen.params, z_key)
        (d_loss, scores), d_gradients = jax.value_and_grad(discriminator_loss, has_aux=True)(
            disc.params
        )
        disc = update(disc, d_gradients, {}, optimizer)
        g_loss, g_gradients = jax.value_and_grad(generator_loss)(gen.params)
        gen = update(gen, g_gradients, {}, optimizer)
        return state.after(
            {"generator": gen, "discriminator": disc},
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=len(real),
            half_life=ema_half_life,
            metrics={
                "loss_generator": g_loss,
                "loss_discriminator": d_loss,
                **scores,
                "alpha": alpha,
            },
        )

    model = make_model(generator, growth, latent_size=latent_size)
    return Task(model, init, train_step, phases, begin_phase)


def _size(generator: Generator) -> tuple[int, int]:
    size = generator.image_size
    return (size, size) if isinstance(size, int) else size
