"""DCGAN's game: one discriminator step, then one generator step on the same fakes."""

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import losses
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size
from ganjax.nets.dcgan import (
    FORMS,
    PUBLISHED_WIDTH,
    Discriminator,
    Generator,
    seed_and_doublings,
)
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task, draw_latents, project_latents

SMOKE = {
    "data.source": "avatars",
    "batch_size": 16,
    **short_run(16),
}


def defaults() -> ConfigDict:
    """DCGAN in the form of dcgan.torch: 64x64 RGB, batch 64, Adam 2e-4 with b1 0.5."""
    config = run_fields("dcgan")
    config.batch_size = 64  # real images of a step, over all devices
    config.data.source = ""  # a folder or .zip | avatars | tfds:NAME | lsun:PATH

    config.model = ConfigDict()
    config.model.form = "4x4"  # "4x4" (dcgan.torch) | "5x5" (the paper)
    config.model.width = 0  # channels at full resolution; 0 for the published 64 (4x4) or 128 (5x5)
    config.model.latent_size = 100  # length of z
    config.model.pack = 1  # images that the discriminator judges together, against collapse
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = "non_saturating"  # non_saturating | saturating | hinge | least_squares
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-4  # Adam's, for both networks
    config.optimizer.b1 = 0.5  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images alone."""
    return (single(config.data, {"image": "image"}),)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    check_choice("loss", config.loss, losses.PAIRS)
    image_size = parse_image_size(config.data.image_size)
    return make(
        *_networks(config),
        loss=losses.PAIRS[config.loss],
        generator_optimizer=optimizers.make(config.optimizer),
        discriminator_optimizer=optimizers.make(config.optimizer),
        phases=(Phase("train", config.total_kimg, config.batch_size, image_size),),
        latent_size=config.model.latent_size,
        pack=config.model.pack,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    generator, _ = _networks(config)
    return make_model(generator, latent_size=config.model.latent_size)


def _networks(config: ConfigDict) -> tuple[Generator, Discriminator]:
    model = config.model
    image_size = parse_image_size(config.data.image_size)
    seed_and_doublings(image_size)
    check_choice("model.form", model.form, FORMS)
    if model.width < 0 or model.latent_size < 1:
        raise UserError("model.width must be 0 or more, model.latent_size 1 or more")
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if model.pack < 1 or config.batch_size % model.pack:
        raise UserError(
            f"model.pack is {model.pack}; batch_size {config.batch_size} must be a multiple of it"
        )
    fields = {
        "image_size": image_size,
        "channels": config.data.channels,
        "width": model.width or PUBLISHED_WIDTH[model.form],
        "form": model.form,
        "dtype": jnp.dtype(model.dtype),
    }
    packed = fields | {"channels": model.pack * config.data.channels}
    return Generator(**fields), Discriminator(**packed)


def make_model(generator: Generator, *, latent_size: int = 100) -> Model:
    """Images from z [N, latent_size]."""

    def draw(rng: Array, index: Array, label: Array | None) -> dict[str, Array]:
        return {"z": draw_latents(rng, index, latent_size)}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        return generator.apply(trained.variables["generator"], inputs["z"], train=False)

    def sample(trained: Trained, inputs: Inputs, rng: Array) -> dict[str, Array]:
        return {"samples": sheet(trained, inputs, rng)}

    def project(trained: Trained, z: Array) -> Array:
        return project_latents(trained.variables["generator"]["params"], z)

    inputs = {"z": Field("vector", latent_size)}
    return Model(inputs, {"samples": IMAGE}, draw, sample, sheet, real="image", project=project)


def make(
    generator: Generator,
    discriminator: Discriminator,
    *,
    loss: losses.AdversarialPair,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    latent_size: int = 100,
    pack: int = 1,
    ema_half_life: float = 10_000,
) -> Task:
    """The game of Radford et al. 2016 in the form of dcgan.torch.

    The discriminator sees real and fake images as separate batches (each with its own batch
    statistics); the generator then meets the new discriminator with the same fakes, which are
    computed once. A batch holds `image` [B, H, W, C] (uint8, or float in [-1, 1]) and may bring
    its own `z` [B, latent_size].

    Args:
      latent_size: length of z, which is drawn from N(0, I).
      pack: images that the discriminator judges together, as channels of one (Lin et al. 2018,
        arXiv:1712.04086); it has `pack` times their channels.
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    def init(rng: Array) -> State:
        generator_rng, discriminator_rng = jax.random.split(rng)
        image = jnp.zeros((1, *discriminator.image_size, discriminator.channels))
        g = generator.init(generator_rng, jnp.zeros((1, latent_size)), train=True)
        d = discriminator.init(discriminator_rng, image, train=True)
        return State.start(
            {
                "generator": Network.start(g, generator_optimizer),
                "discriminator": Network.start(d, discriminator_optimizer),
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
            return _apply(discriminator, params, statistics, packed(images, pack))

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

        return state.after(
            {"generator": gen, "discriminator": disc},
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=real.shape[0],
            half_life=ema_half_life,
            metrics={
                "loss_generator": g_loss,
                "loss_discriminator": d_loss,
                "logit_real": real_logit,
                "logit_fake": fake_logit,
            },
        )

    model = make_model(generator, latent_size=latent_size)
    return Task(model, init, train_step, phases)


def packed(images: Array, pack: int) -> Array:
    """[B, H, W, C] to [B / pack, H, W, pack * C]: neighboring images as the channels of one."""
    batch, height, width, channels = images.shape
    images = images.reshape(batch // pack, pack, height, width, channels)
    return jnp.moveaxis(images, 1, 3).reshape(batch // pack, height, width, pack * channels)


def _apply(module, params, statistics, inputs: Array):
    """A training forward: outputs and new batch statistics."""
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = module.apply(variables, inputs, train=True, mutable=["batch_stats"])
    return outputs, changed["batch_stats"]
