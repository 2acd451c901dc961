"""Progressive GAN's game: WGAN-GP at a resolution that doubles from time to time."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ganjax import ops
from ganjax.images import as_float
from ganjax.losses import WASSERSTEIN, drift, gradient_penalty
from ganjax.nets.progressive import (
    Discriminator,
    Generator,
    fade,
    level_of,
    start_and_doublings,
)
from ganjax.training.state import Network, State, average, update
from ganjax.training.task import Phase, Task, draw_latents


class Fade(Phase):
    """A phase that fades its resolution in."""


def grow(
    image_size: tuple[int, int],
    *,
    batch_sizes: Sequence[int],
    fade_kimg: Sequence[float],
    stable_kimg: Sequence[float],
    total_kimg: float,
) -> tuple[Phase, ...]:
    """The phases from the start's size to `image_size`.

    Each resolution after the first is faded in, then trained as it is; the last one until
    `total_kimg`. Values are given by resolution, from the start on; the last one serves all later
    resolutions, too.

    Raises:
      ValueError: nothing is left for the last resolution.
    """
    start, last = start_and_doublings(image_size)
    phases: list[Phase] = []
    for level in range(last + 1):
        size = start[0] << level, start[1] << level
        batch_size = by_level(batch_sizes, level)
        name = f"{size[0]}x{size[1]}"
        if level and by_level(fade_kimg, level):
            kimg = by_level(fade_kimg, level)
            phases.append(Fade(f"{name} fade", kimg, batch_size, size))
        kimg = by_level(stable_kimg, level)
        if level == last:
            kimg = total_kimg - sum(phase.kimg for phase in phases)
        if kimg > 0:
            phases.append(Phase(name, kimg, batch_size, size))
        elif level == last:
            raise ValueError(f"{total_kimg} kimg end before {name} is reached and faded in")
    return tuple(phases)


def by_level(values: Sequence, level: int):
    """The value of a level, where the last one serves all levels from its own on."""
    return values[min(level, len(values) - 1)]


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

    `sample` draws at the resolution of the moment, and repeats pixels up to the last size.
    """
    start, last = start_and_doublings(_size(generator))
    ends = list(accumulate(phase.steps * phase.batch_size for phase in phases))
    beginnings = [0, *ends[:-1]]
    # Of each level, when it begins; and of those that fade in, how many images that takes.
    begins: dict[int, int] = {}
    fades: dict[int, int] = {}
    first_phases = []
    for phase, begin, end in zip(phases, beginnings, ends, strict=True):
        level = level_of(phase.image_size, start)
        if level not in begins:
            begins[level] = begin
            first_phases.append(phase)
        if isinstance(phase, Fade):
            fades[level] = end - begin

    def alpha_at(images: Array, level: int) -> Array:
        if level not in fades:
            return jnp.ones(())
        done = (images - begins[level]).astype(jnp.float32) / fades[level]
        return jnp.clip(done, 0.0, 1.0)

    def init(rng: Array) -> State:
        generator_rng, discriminator_rng = jax.random.split(rng)
        labels = jnp.zeros((1,), jnp.int32) if generator.classes else None
        image = jnp.zeros((1, *_size(generator), discriminator.channels))
        g = generator.init(generator_rng, jnp.zeros((1, latent_size)), labels=labels)
        d = discriminator.init(discriminator_rng, image)
        return State.start(
            {
                role: Network(variables["params"], {}, optimizers[0].init(variables["params"]))
                for role, variables in (("generator", g), ("discriminator", d))
            },
            averaged=("generator",),
        )

    def begin_phase(state: State, phase: Phase) -> State:
        if phase not in first_phases:
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
        optimizer, alpha = by_level(optimizers, level), alpha_at(state.images, level)
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
        ema = average(
            state.averages["generator"],
            gen.variables,
            images=state.images,
            batch_size=len(real),
            half_life=ema_half_life,
        )
        metrics = {
            "loss_generator": g_loss,
            "loss_discriminator": d_loss,
            "grad_norm_generator": optax.tree.norm(g_gradients),
            "grad_norm_discriminator": optax.tree.norm(d_gradients),
            **scores,
            "alpha": alpha,
        }
        state = state.replace(
            networks={"generator": gen, "discriminator": disc}, averages={"generator": ema}
        )
        return state, metrics

    def draw(rng: Array, index: Array) -> dict[str, Array]:
        inputs = {"z": draw_latents(rng, index, latent_size)}
        return inputs | ({"label": index % generator.classes} if generator.classes else {})

    def sample(state: State, inputs: dict[str, Array], rng: Array) -> dict[str, Array]:
        def draw_at(level: int, variables, inputs) -> Array:
            images = generator.apply(
                variables,
                inputs["z"],
                alpha_at(state.images, level),
                level=level,
                labels=inputs.get("label"),
            )
            for _ in range(level, last):
                images = ops.upsample(images)
            return jnp.clip(images, -1, 1)

        levels = sorted(begins)
        reached = sum((state.images >= begins[level]).astype(jnp.int32) for level in levels)
        branches = [partial(draw_at, level) for level in levels]
        variables = state.averages["generator"]
        return {"samples": jax.lax.switch(reached - 1, branches, variables, inputs)}

    return Task(init, train_step, draw, sample, phases, begin_phase)


def _size(generator: Generator) -> tuple[int, int]:
    size = generator.image_size
    return (size, size) if isinstance(size, int) else size
