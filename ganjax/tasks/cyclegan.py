"""CycleGAN's game: two translators that undo each other, without pairs (Zhu et al. 2017)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import losses
from ganjax.config import check_choice, short_run
from ganjax.data.pipeline import Stream
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.resnet_translator import MULTIPLE, ResNetTranslator
from ganjax.tasks import translators
from ganjax.tasks.image_pool import ImagePool, draw_places, exchange
from ganjax.tasks.translators import DIRECTIONS
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Batch, Model, Phase, Task

GENERATORS = {"AtoB": "generator_ab", "BtoA": "generator_ba"}
SMOKE = {
    "data.source": "unpaired:avatars",
    "data.a": "",
    "data.b": "",
    "data.image_size": "32",
    "data.load_size": "36",
    "model.width": 8,
    "model.blocks": 1,
    "model.layers": 1,
    "batch_size": 4,
    **short_run(4),
}


def defaults() -> ConfigDict:
    """CycleGAN as published: ResNet-9, PatchGAN 70, least squares, a pool of 50, batch 1."""
    config = translators.unpaired_fields("cyclegan")
    config.total_kimg = 267.0  # thousands of images of A to train on: 200 epochs of 1,334
    config.data.direction = "AtoB"  # what sheets show and `translate` does by default: AtoB | BtoA
    config.loss.cycle_weight = 10.0  # of the mean absolute difference after a cycle
    config.loss.identity_weight = 0.5  # of leaving images of the own side alone; times cycle_weight
    config.loss.pool_size = 50  # earlier images that each discriminator is shown, too; 0 for none
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images of A and of B, each shuffled, cut and mirrored on its own."""
    return translators.two_sides(config.data)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    loss, model = config.loss, config.model
    check_choice("loss.adversarial", loss.adversarial, losses.PAIRS)
    check_choice("model.layers", model.layers, (0, 1, 2, 3, 4, 5))
    for name in ("cycle_weight", "identity_weight", "pool_size"):
        if loss[name] < 0:
            raise UserError(f"loss.{name} is below 0; give 0 or more")
    image_size = parse_image_size(config.data.image_size)
    phase = Phase("train", config.total_kimg, config.batch_size, image_size)
    return make(
        translators.resnet(config),
        PatchGAN(model.width, model.layers, "instance", dtype=jnp.dtype(model.dtype)),
        loss=losses.PAIRS[loss.adversarial],
        cycle_weight=loss.cycle_weight,
        identity_weight=loss.identity_weight,
        pool_size=loss.pool_size,
        generator_optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        discriminator_optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        phases=(phase,),
        direction=config.data.direction,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config's direction."""
    return make_model(translators.resnet(config), config.data.direction)


def make_model(generator: ResNetTranslator, direction: str = "AtoB") -> Model:
    """Images of A from those of B, or the other way; see `translators.make_model`."""

    def translate(trained: Trained, source: Array, rng: Array | None) -> Array:
        return generator.apply(trained.variables[GENERATORS[direction]], source)

    model = translators.make_model(translate, multiple=MULTIPLE)
    return model._replace(directions=tuple(DIRECTIONS))


def make(
    generator: ResNetTranslator,
    discriminator: PatchGAN,
    *,
    loss: losses.AdversarialPair = losses.LEAST_SQUARES,
    cycle_weight: float = 10.0,
    identity_weight: float = 0.5,
    pool_size: int = 50,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    direction: str = "AtoB",
    ema_half_life: float = 0.0,
) -> Task:
    """The game of Zhu et al. 2017, equations 1 to 3, in the order of its public code.

    Both generators take a step against the discriminators as they are; then each discriminator, for
    half of its loss, on real images and on translations that went through its pool. A batch holds
    `source` and `target` [B, H, W, C] (uint8, or float in [-1, 1]), which are no pairs.

    Args:
      cycle_weight: of |G_ba(G_ab(a)) - a| and |G_ab(G_ba(b)) - b|, means over pixels.
      identity_weight: of |G_ab(b) - b| and |G_ba(a) - a|, times `cycle_weight`; 0 leaves them out.
      pool_size: images of each discriminator's pool; 0 for none. Where each device has a batch of
        its own, so has it pools.
      direction: "AtoB" where `source` is of A, "BtoA" where it is of B.
      ema_half_life: of the generators' averages, in images; 0 for no averaging.
    """
    (phase,) = phases
    names = DIRECTIONS[direction]

    def init(rng: Array) -> State:
        keys = jax.random.split(rng, 4)
        height, width = phase.image_size
        image = jnp.zeros((1, height, width, generator.channels))

        def start(key: Array, module: nn.Module, optimizer) -> Network:
            return Network.start(module.init(key, image), optimizer)

        pools = {f"pool_{side}": ImagePool.start(pool_size, image.shape[1:]) for side in "ab"}
        return State.start(
            {
                "generator_ab": start(keys[0], generator, generator_optimizer),
                "generator_ba": start(keys[1], generator, generator_optimizer),
                "discriminator_a": start(keys[2], discriminator, discriminator_optimizer),
                "discriminator_b": start(keys[3], discriminator, discriminator_optimizer),
            },
            averaged=tuple(GENERATORS.values()),
            memory=pools,
        )

    def train_step(state: State, batch: Batch, rng: Array) -> tuple[State, dict[str, Array]]:
        a, b = (as_float(batch[names[side]]) for side in "ab")
        roles = tuple(GENERATORS.values())
        disc_a, disc_b = (state.networks[f"discriminator_{side}"] for side in "ab")

        def discriminate(params, images: Array) -> Array:
            return discriminator.apply({"params": params}, images)

        def generators_loss(params):
            def translate(role: str, images: Array, own: Array | None = None) -> list[Array]:
                """Images of one side, and those of its own side, as one batch."""
                batch = images if own is None else jnp.concatenate([images, own])
                outputs = generator.apply({"params": params[role]}, batch)
                return jnp.split(outputs, len(batch) // len(images))

            fake_b, *same_b = translate("generator_ab", a, b if identity_weight else None)
            fake_a, *same_a = translate("generator_ba", b, a if identity_weight else None)
            (back_a,), (back_b,) = (
                translate("generator_ba", fake_b),
                translate("generator_ab", fake_a),
            )
            terms = {
                "adversarial": jnp.mean(loss.generator(discriminate(disc_a.params, fake_a)))
                + jnp.mean(loss.generator(discriminate(disc_b.params, fake_b))),
                "cycle": cycle_weight * (_distance(back_a, a) + _distance(back_b, b)),
            }
            if identity_weight:
                same = _distance(same_a[0], a) + _distance(same_b[0], b)
                terms["identity"] = cycle_weight * identity_weight * same
            return sum(terms.values()), (terms, fake_a, fake_b)

        def discriminator_loss(params, real: Array, fake: Array):
            real, fake = discriminate(params, real), discriminate(params, fake)
            return 0.5 * (jnp.mean(loss.real(real)) + jnp.mean(loss.fake(fake)))

        params = {role: state.networks[role].params for role in roles}
        gradients, (terms, *fakes) = jax.grad(generators_loss, has_aux=True)(params)
        networks = {
            role: update(state.networks[role], gradients[role], {}, generator_optimizer)
            for role in roles
        }
        memory, metrics = {}, {f"loss_{name}": value for name, value in terms.items()}
        for side, real, fake, key in zip("ab", (a, b), fakes, jax.random.split(rng), strict=True):
            role = f"discriminator_{side}"
            pool = state.memory[f"pool_{side}"]
            pool, shown = exchange(pool, fake, draw_places(key, pool, len(fake)))
            disc_loss, gradients[role] = jax.value_and_grad(discriminator_loss)(
                state.networks[role].params, real, shown
            )
            networks[role] = update(
                state.networks[role], gradients[role], {}, discriminator_optimizer
            )
            memory[f"pool_{side}"], metrics[f"loss_{role}"] = pool, disc_loss
        return state.after(
            networks,
            gradients,
            batch_size=len(a),
            half_life=ema_half_life,
            metrics=metrics,
            memory=memory,
        )

    return Task(make_model(generator, direction), init, train_step, phases)


def _distance(x: Array, y: Array) -> Array:
    return jnp.mean(jnp.abs(x - y))
