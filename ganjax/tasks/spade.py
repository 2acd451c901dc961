"""Images of label maps: SPADE's game (Park et al. 2019) and OASIS's (Sushko et al. 2021)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import augment, losses
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.avatars import MASK_CLASSES
from ganjax.data.fields import IMAGE, Field
from ganjax.data.label_maps import LabelMaps, palette
from ganjax.data.pipeline import Stream
from ganjax.data.streams import labeled
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size, to_float
from ganjax.nets.spade import Generator, LabelMap, SegmentationDiscriminator
from ganjax.tasks.translators import SHEET_ROWS
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task

MAX_DOWNS = 6
SMOKE = {
    "data.source": "avatars",
    "data.classes": MASK_CLASSES,
    "data.colors": (),
    "data.ignored": (),
    "data.image_size": "32",
    "data.load_size": "36",
    "model.width": 4,
    "model.discriminator_width": 4,
    "model.downs": 0,
    "batch_size": 4,
    **short_run(4),
}


def defaults() -> ConfigDict:
    """OASIS as published for ADE20K: no perceptual network, 3D noise, LabelMix, batches of 32."""
    config = run_fields("spade")
    config.batch_size = 32  # pairs of a step, over all devices
    config.total_kimg = 4000.0  # thousands of pairs to train on: 200 epochs of 20,000
    # Of the generator's average: 0.9999 for each step of 32 as published; 0 for none.
    config.ema_half_life_kimg = 220.0

    config.data.source = ""  # avatars | paired:PATH, photos A with label maps B
    # Names of the folders of A and of B; () for A and B, or image and label, where there are any,
    # else a file holds A on its left and B on its right half.
    config.data.folders = ()
    config.data.direction = "BtoA"  # of pairs: BtoA, where B is the label map | AtoB
    config.data.classes = ()  # of the label maps: their names, that of number 0 first
    # Their colors in files, like "f0c0a0"; () where files hold the numbers.
    config.data.colors = ()
    config.data.ignored = ()  # those of the classes that count for nothing, like ("void",)
    config.data.image_size = "256"  # what a batch shows
    config.data.load_size = "286"  # what images are scaled to before that is cut out

    config.model = ConfigDict()
    config.model.form = "oasis"  # oasis
    config.model.width = 64  # channels of the generator's last block
    config.model.discriminator_width = 0  # of the first layers of the other; 0 for `width`
    config.model.downs = 0  # halvings of OASIS's D; 0 for as many as image_size allows, up to 6
    config.model.noise_size = 64  # channels of the noise
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    config.loss.mix_weight = 10.0  # of LabelMix, by which D's answers to a mixture mix, too
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-4  # Adam's, for the generator
    config.optimizer.discriminator_learning_rate = 4e-4  # for the discriminator
    config.optimizer.decay_from = 1.0  # share of the run where both begin to fall linearly to 0
    config.optimizer.b1 = 0.0  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Label maps as `source` with their images as `target`, cut and mirrored together."""
    return (labeled(config.data, image="target", label_map="source"),)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    size = parse_image_size(config.data.image_size)
    if config.loss.mix_weight < 0:
        raise UserError("loss.mix_weight is below 0; give 0 or more")
    phase = Phase("train", config.total_kimg, config.batch_size, size)
    rate = config.optimizer.discriminator_learning_rate
    if not rate > 0:
        raise UserError(f"optimizer.discriminator_learning_rate is {rate}; it must be above 0")
    maps = LabelMaps.of(config.data.classes, config.data.colors)
    return make(
        _generator(config),
        _oasis(config),
        make_model(_generator(config), maps, config.model.noise_size),
        generator_optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        discriminator_optimizer=optimizers.make(
            config.optimizer, learning_rate=rate, updates=phase.steps
        ),
        phases=(phase,),
        noise_size=config.model.noise_size,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    maps = LabelMaps.of(config.data.classes, config.data.colors)
    return make_model(_generator(config), maps, config.model.noise_size)


def _generator(config: ConfigDict) -> Generator:
    model, data = config.model, config.data
    check_choice("model.form", model.form, ("oasis",))
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if min(model.width, model.noise_size) < 1:
        raise UserError("model.width and model.noise_size must be 1 or more")
    generator = Generator(
        model.form, len(data.classes), data.channels, model.width, dtype=jnp.dtype(model.dtype)
    )
    if any(side % generator.multiple for side in parse_image_size(data.image_size)):
        raise UserError(
            f"data.image_size is {data.image_size}; give multiples of {generator.multiple}"
        )
    return generator


def _oasis(config: ConfigDict) -> "OASIS":
    model, data = config.model, config.data
    sides = parse_image_size(data.image_size)
    most = min(MAX_DOWNS, *((side & -side).bit_length() - 1 for side in sides))
    if not 0 <= model.downs <= most or model.discriminator_width < 0:
        raise UserError(
            f"model.downs must be 0 to {most} at data.image_size {data.image_size}, "
            "model.discriminator_width 0 or more"
        )
    if wrong := [name for name in data.ignored if name not in data.classes]:
        raise UserError(f"data.ignored has {wrong[0]}, which is none of data.classes")
    discriminator = SegmentationDiscriminator(
        len(data.classes),
        model.discriminator_width or model.width,
        model.downs or most,
        jnp.dtype(model.dtype),
    )
    ignored = tuple(map(list(data.classes).index, data.ignored))
    return OASIS(discriminator, config.loss.mix_weight, ignored)


def make_model(generator: Generator, maps: LabelMaps, noise_size: int) -> Model:
    """Images of label maps `source`, uint8 [N, H, W]; numbers beyond the classes are no class.

    The noise is one vector for the whole image (`generator`'s 3D noise, constant over the pixels),
    and follows from `rng`, for all images alike; it is 0 without one.
    """
    colors = to_float(palette(maps.colors, len(maps.names)))

    def draw(trained: Trained, labels: Array, rng: Array | None) -> Array:
        noise = jnp.zeros(noise_size) if rng is None else jax.random.normal(rng, (noise_size,))
        where = LabelMap(labels, jnp.broadcast_to(noise, (len(labels), noise_size)))
        return generator.apply(trained.variables["generator"], where, train=False)

    def sample(trained: Trained, inputs: Inputs, rng: Array | None) -> dict[str, Array]:
        return {"samples": draw(trained, inputs["source"], rng)}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """A row for each map: itself, its image with two noises and, if it is there, the target."""
        shown = {name: values[:SHEET_ROWS] for name, values in inputs.items()}
        columns = [draw(trained, shown["source"], key) for key in jax.random.split(rng)]
        painted = jnp.take(jnp.asarray(colors), shown["source"], axis=0, mode="fill", fill_value=0)
        columns += [to_float(shown["target"])] if "target" in shown else []
        painted = jnp.broadcast_to(painted[..., :3], columns[0].shape)
        return jnp.stack([painted, *columns], axis=1)

    inputs, outputs = {"source": Field("label_map", names=maps.names)}, {"samples": IMAGE}
    return Model(
        inputs, outputs, None, sample, sheet, generator.multiple, generator.reach,
        real="target", one_noise=True,
    )  # fmt: skip


Judge = Callable[..., tuple[Any, Any]]
"""Inputs of the discriminator -> (what it says, its new statistics)."""
Terms = tuple[Mapping[str, Array], Any]
"""What a player pays, by name, and the discriminator's new statistics."""


class OASIS(NamedTuple):
    """A segmenter of N + 1 classes against the generator (Sushko et al. 2021, equations 1 to 3).

    Attributes:
      mix_weight: of the squared distance between the discriminator's logits of a mixture and the
        mixture of its logits (LabelMix).
      ignored: numbers of classes that weigh nothing.
    """

    discriminator: SegmentationDiscriminator
    mix_weight: float = 10.0
    ignored: Sequence[int] = ()

    def discriminator_terms(
        self, judge: Judge, rng: Array, labels: Array, real: Array, fake: Array
    ) -> Terms:
        """What the discriminator pays: real pixels to their class, generated ones to class 0."""
        classes = self.discriminator.classes
        mixture, mask = augment.mix_by_label(rng, labels, classes, real, fake)
        # No statistics of the batch are taken: one pass, and one power iteration, serve all.
        logits, statistics = judge(jnp.concatenate([real, fake, mixture]))
        on_real, on_fake, on_mixture = jnp.split(logits, 3)
        mixed = mask * on_real + (1 - mask) * on_fake
        return {
            "real": self._to_classes(on_real, labels),
            "fake": jnp.mean(losses.cross_entropy(on_fake, jnp.zeros_like(labels))),
            "mix": self.mix_weight * jnp.mean(jnp.square(on_mixture - mixed)),
        }, statistics

    def generator_terms(self, judge: Judge, labels: Array, real: Array, fake: Array) -> Terms:
        """What the generator pays: its pixels shall be taken for those of their classes."""
        logits, statistics = judge(fake)
        return {"game": self._to_classes(logits, labels)}, statistics

    def _to_classes(self, logits: Array, labels: Array) -> Array:
        weights = losses.class_weights(labels, self.discriminator.classes, self.ignored)
        values = losses.cross_entropy(logits, labels.astype(jnp.int32) + 1)
        return jnp.mean(weights * values)


def make(
    generator: Generator,
    game: OASIS,
    model: Model,
    *,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    noise_size: int,
    ema_half_life: float = 0.0,
) -> Task:
    """The game of a generator of label maps, the discriminator first.

    A batch holds `source` uint8 [B, H, W], label maps, and `target` [B, H, W, C] (uint8, or float
    in [-1, 1]). Each image has noise of its own.

    Args:
      game: the discriminator, and what both players pay.
      model: of the generator.
      noise_size: channels of the noise.
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    def init(rng: Array) -> State:
        keys, size = jax.random.split(rng), phases[0].image_size
        where = LabelMap(jnp.zeros((1, *size), jnp.uint8), jnp.zeros((1, noise_size)))
        g = generator.init(keys[0], where, train=True)
        image = jnp.zeros((1, *size, generator.channels))
        d = game.discriminator.init(keys[1], image, train=True)
        return State.start(
            {
                "generator": Network.start(g, generator_optimizer),
                "discriminator": Network.start(d, discriminator_optimizer),
            },
            averaged=("generator",),
        )

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        labels, target = batch["source"], as_float(batch["target"])
        gen, disc = state.networks["generator"], state.networks["discriminator"]
        noise_key, game_key = jax.random.split(rng)

        def generate(params):
            noise = jax.random.normal(noise_key, (len(labels), noise_size))
            return _apply(generator, params, gen.statistics, LabelMap(labels, noise))

        def discriminator_loss(params):
            judge = partial(_apply, game.discriminator, params, disc.statistics)
            terms, statistics = game.discriminator_terms(judge, game_key, labels, target, images)
            return sum(terms.values()), (statistics, terms)

        def generator_loss(images: Array):
            judge = partial(_apply, game.discriminator, disc.params, disc.statistics)
            terms, statistics = game.generator_terms(judge, labels, target, images)
            return sum(terms.values()), (statistics, terms)

        # One forward of the generator serves both players: its pullback waits for the new
        # discriminator.
        images, pull_back, gen_statistics = jax.vjp(generate, gen.params, has_aux=True)
        (d_loss, (statistics, d_terms)), d_gradients = jax.value_and_grad(
            discriminator_loss, has_aux=True
        )(disc.params)
        disc = update(disc, d_gradients, statistics, discriminator_optimizer)
        (g_loss, (statistics, g_terms)), gradient = jax.value_and_grad(
            generator_loss, has_aux=True
        )(images)
        disc = disc.replace(statistics=statistics)
        (g_gradients,) = pull_back(gradient)
        gen = update(gen, g_gradients, gen_statistics, generator_optimizer)
        return state.after(
            {"generator": gen, "discriminator": disc},
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=len(labels),
            half_life=ema_half_life,
            metrics={
                "loss_generator": g_loss,
                "loss_discriminator": d_loss,
                **{f"loss_{name}": value for name, value in (d_terms | g_terms).items()},
            },
        )

    return Task(model, init, train_step, phases)


def _apply(module: Any, params: Any, statistics: Any, *inputs: Any) -> tuple[Any, Any]:
    """A training forward: outputs and new statistics."""
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = module.apply(variables, *inputs, train=True, mutable=["batch_stats"])
    return outputs, changed.get("batch_stats", {})
