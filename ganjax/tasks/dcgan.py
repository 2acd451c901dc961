"""DCGAN's game: one discriminator step, then one generator step on the same fakes."""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ganjax.images import as_float
from ganjax.losses import AdversarialPair
from ganjax.nets.dcgan import Discriminator, Generator
from ganjax.training.state import Network, State, average, update
from ganjax.training.task import Phase, Task, draw_latents


def make(
    generator: Generator,
    discriminator: Discriminator,
    *,
    loss: AdversarialPair,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    latent_size: int = 100,
    ema_half_life: float = 10_000,
) -> Task:
    """The game of Radford et al. 2016 in the form of dcgan.torch.

    The discriminator sees real and fake images as separate batches (each with its own batch
    statistics); the generator then meets the new discriminator with the same fakes, which are
    computed once. A batch holds `image` [B, H, W, C] (uint8, or float in [-1, 1]) and may bring
    its own `z` [B, latent_size].

    Args:
      latent_size: length of z, which is drawn from N(0, I).
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    def init(rng: Array) -> State:
        generator_rng, discriminator_rng = jax.random.split(rng)
        image = jnp.zeros((1, *discriminator.image_size, discriminator.channels))
        g = generator.init(generator_rng, jnp.zeros((1, latent_size)), train=True)
        d = discriminator.init(discriminator_rng, image, train=True)
        return State.start(
            {
                "generator": _network(g, generator_optimizer),
                "discriminator": _network(d, discriminator_optimizer),
            },
            averaged=("generator",),
        )

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        real = as_float(batch["image"])
        z = batch.get("z")
        z = jax.random.normal(rng, (real.shape[0], latent_size)) if z is None else z
        gen, disc = state.networks["generator"], state.networks["discriminator"]

        def generate(params):
            return _apply(generator, params, gen.statistics, z)

        def discriminate(params, statistics, images):
            return _apply(discriminator, params, statistics, images)

        def discriminator_loss(params):
            real_logits, statistics = discriminate(params, disc.statistics, real)
            fake_logits, statistics = discriminate(params, statistics, fake)
            value = jnp.mean(loss.real(real_logits)) + jnp.mean(loss.fake(fake_logits))
            return value, (statistics, jnp.mean(real_logits), jnp.mean(fake_logits))

        def generator_loss(fake):
            logits, statistics = discriminate(disc.params, disc.statistics, fake)
            return jnp.mean(loss.generator(logits)), statistics

        # One forward of G serves both players: its pullback waits for the new discriminator.
        fake, pull_back, gen_statistics = jax.vjp(generate, gen.params, has_aux=True)
        (d_loss, (statistics, real_logit, fake_logit)), d_gradients = jax.value_and_grad(
            discriminator_loss, has_aux=True
        )(disc.params)
        disc = update(disc, d_gradients, statistics, discriminator_optimizer)

        (g_loss, statistics), fake_gradient = jax.value_and_grad(generator_loss, has_aux=True)(fake)
        disc = disc.replace(statistics=statistics)
        (g_gradients,) = pull_back(fake_gradient)
        gen = update(gen, g_gradients, gen_statistics, generator_optimizer)

        ema = average(
            state.averages["generator"],
            gen.variables,
            images=state.images,
            batch_size=real.shape[0],
            half_life=ema_half_life,
        )
        metrics = {
            "loss_generator": g_loss,
            "loss_discriminator": d_loss,
            "grad_norm_generator": optax.tree.norm(g_gradients),
            "grad_norm_discriminator": optax.tree.norm(d_gradients),
            "logit_real": real_logit,
            "logit_fake": fake_logit,
        }
        state = state.replace(
            networks={"generator": gen, "discriminator": disc}, averages={"generator": ema}
        )
        return state, metrics

    def draw(rng: Array, index: Array) -> dict[str, Array]:
        return {"z": draw_latents(rng, index, latent_size)}

    def sample(state: State, inputs: dict[str, Array], rng: Array) -> dict[str, Array]:
        return {"samples": generator.apply(state.averages["generator"], inputs["z"], train=False)}

    return Task(init, train_step, draw, sample, phases)


def _network(variables, optimizer: optax.GradientTransformation) -> Network:
    params = variables["params"]
    return Network(params, variables.get("batch_stats", {}), optimizer.init(params))


def _apply(module, params, statistics, inputs: Array):
    """A training forward: outputs and new batch statistics."""
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = module.apply(variables, inputs, train=True, mutable=["batch_stats"])
    return outputs, changed["batch_stats"]
