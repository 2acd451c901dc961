"""Images of label maps: SPADE's game (Park et al. 2019) and OASIS's (Sushko et al. 2021)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
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
from ganjax.nets.spade import (
    Encoder,
    Generator,
    LabelMap,
    PatchDiscriminators,
    SegmentationDiscriminator,
    edges_of,
)
from ganjax.tasks.translators import SHEET_ROWS
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Inputs, Model, Phase, Task
from ganjax.weights import networks

MAX_DOWNS = 6
DRAWS = 256  # of the noise, which pixels may choose from
SMOKE = {
    "data.source": "avatars",
    "data.classes": MASK_CLASSES,
    "data.colors": (),
    "data.instances": "",
    "data.ignored": (),
    "data.image_size": "32",
    "data.load_size": "36",
    "model.width": 4,
    "model.discriminator_width": 4,
    "model.downs": 0,
    "loss.encoders": ("random:relu1_1,relu2_1",),
    "batch_size": 4,
    **short_run(4),
}


OASIS = {
    "model.form": "oasis",
    "model.noise_size": 64,
    "ema_half_life_kimg": 220.0,
    "optimizer.decay_from": 1.0,
    "optimizer.b2": 0.999,
    "data.instances": "",
}
"""What differs in OASIS's `defaults` from `spade_defaults`."""
CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign", "fence", "car", "pedestrian", "bicyclist", "void",
)  # fmt: skip


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
    # Folder of maps of instances, a number for each object, whose edges networks see; "" for none.
    config.data.instances = ""
    config.data.ignored = ()  # classes that OASIS's losses leave out, like ("void",)
    config.data.image_size = "256"  # what a batch shows
    config.data.load_size = "286"  # what images are scaled to before that is cut out

    config.model = ConfigDict()
    config.model.form = "oasis"  # oasis | spade
    config.model.generator = "normal"  # of SPADE: normal | more | most, by the number of doublings
    config.model.width = 64  # channels of the generator's last blocks
    config.model.ups = 0  # doublings of the generator, 1 to 5; 0 as published (5 to 7)
    config.model.hidden = 0  # features of the label map inside of SPADE; 0 for twice the width
    config.model.discriminator_width = 0  # of the first layers of the other; 0 for `width`
    config.model.downs = 0  # halvings of OASIS's D; 0 for as many as image_size allows, up to 6
    config.model.noise_size = 64  # channels of the noise; SPADE has some with an encoder only
    config.model.variational = False  # of SPADE: an encoder of images gives the noise
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    # Of OASIS's LabelMix, by which D's answers to a mixture mix, too; 0 for none.
    config.loss.mix_weight = 10.0
    config.loss.features_weight = 10.0  # of SPADE's distance of D's features
    config.loss.perceptual_weight = 10.0  # of SPADE's distance of the features of `encoders`
    # NETWORK:LAYER,..., see docs/adain.md
    config.loss.encoders = ("vgg16_features:relu1_1,relu2_1,relu3_1,relu4_1,relu5_1",)
    # Of how much less the classes' colors differ with the noise than between real images; 0 for
    # none. Helps where seeds look alike, and takes half a pass of the generator more.
    config.loss.diversity_weight = 0.0
    config.loss.divergence_weight = 0.05  # of the distance of SPADE's encoded noise to N(0, I)
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-4  # Adam's, for the generator
    config.optimizer.discriminator_learning_rate = 4e-4  # for the discriminator
    config.optimizer.decay_from = 1.0  # share of the run where both begin to fall linearly to 0
    config.optimizer.b1 = 0.0  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.999  # Adam's decay of the mean squared gradient
    return config


def spade_defaults() -> ConfigDict:
    """SPADE as published for ADE20K: hinge, features of D and of a VGG, the rate falls to 0."""
    config = defaults()
    config.model.form = "spade"
    config.model.noise_size = 256
    config.ema_half_life_kimg = 0.0
    config.optimizer.decay_from = 0.5
    config.optimizer.b2 = 0.9
    return config


def camvid(config: ConfigDict) -> ConfigDict:
    """`config` for CamVid at 96x128, with the classes of SegNet (Badrinarayanan et al. 2017)."""
    config.data.source = "paired:camvid"
    config.data.classes = CAMVID
    config.data.ignored = ("void",)
    config.data.image_size = "96x128"
    config.data.load_size = "104x139"
    config.batch_size = 8
    config.total_kimg = 400.0
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Label maps as `source`, images as `target`, maybe `instances`; cut and mirrored together."""
    data = config.data
    return (labeled(data, image="target", label_map="source", instances=data.instances),)


def from_config(config: ConfigDict) -> Task:
    """The game of a config, with the network that its losses look through."""
    model, rate = config.model, config.optimizer.discriminator_learning_rate
    generator, size = _generator(config), parse_image_size(config.data.image_size)
    for name in ("mix", "features", "perceptual", "divergence", "diversity"):
        if config.loss[f"{name}_weight"] < 0:
            raise UserError(f"loss.{name}_weight is below 0; give 0 or more")
    if config.loss.diversity_weight and not _noise_size(config):
        raise UserError("loss.diversity_weight needs noise; set model.variational=True")
    if config.loss.diversity_weight and config.batch_size < 2:
        raise UserError("loss.diversity_weight takes batches of 2 or more")
    if model.discriminator_width < 0:
        raise UserError("model.discriminator_width is below 0; give 0 or more")
    if not rate > 0:
        raise UserError(f"optimizer.discriminator_learning_rate is {rate}; it must be above 0")
    phase = Phase("train", config.total_kimg, config.batch_size, size)
    return make(
        generator,
        _oasis(config) if model.form == "oasis" else _spade(config),
        model_from_config(config),
        generator_optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        discriminator_optimizer=optimizers.make(
            config.optimizer, learning_rate=rate, updates=phase.steps
        ),
        phases=(phase,),
        noise_size=_noise_size(config),
        encoder=_encoder(config),
        divergence_weight=config.loss.divergence_weight,
        diversity_weight=config.loss.diversity_weight,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    data = config.data
    return make_model(
        _generator(config),
        LabelMaps.of(data.classes, data.colors),
        _noise_size(config),
        _encoder(config),
        parse_image_size(data.image_size),
        instances=bool(data.instances),
    )


def _noise_size(config: ConfigDict) -> int:
    model = config.model
    return model.noise_size if model.form == "oasis" or model.variational else 0


def _encoder(config: ConfigDict) -> Encoder | None:
    model = config.model
    if model.form == "oasis" or not model.variational:
        return None
    return Encoder(model.noise_size, model.width, jnp.dtype(model.dtype))


def _generator(config: ConfigDict) -> Generator:
    model, data = config.model, config.data
    check_choice("model.form", model.form, ("oasis", "spade"))
    check_choice("model.generator", model.generator, ("normal", "more", "most"))
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if min(model.width, model.noise_size) < 1 or model.hidden < 0:
        raise UserError("model.width and .noise_size must be 1 or more, .hidden 0 or more")
    if not 0 <= model.ups <= 5:
        raise UserError(f"model.ups is {model.ups}; give 0 to 5")
    form = "oasis" if model.form == "oasis" else model.generator
    generator = Generator(
        form,
        len(data.classes),
        data.channels,
        model.width,
        model.hidden,
        model.ups,
        dtype=jnp.dtype(model.dtype),
    )
    times, size = generator.multiple, parse_image_size(data.image_size)
    if any(side % times for side in size):
        raise UserError(f"data.image_size is {data.image_size}; give multiples of {times}")
    if model.form == "oasis" or not model.variational:
        return generator
    return generator.clone(latent=(size[0] // times, size[1] // times))


def _oasis(config: ConfigDict) -> "OasisGame":
    model, data = config.model, config.data
    sides = parse_image_size(data.image_size)
    most = min(MAX_DOWNS, *((side & -side).bit_length() - 1 for side in sides))
    if not 0 <= model.downs <= most:
        raise UserError(f"model.downs is {model.downs}; at {data.image_size} give 0 to {most}")
    if wrong := [name for name in data.ignored if name not in data.classes]:
        raise UserError(f"data.ignored has {wrong[0]}, which is none of data.classes")
    discriminator = SegmentationDiscriminator(
        len(data.classes),
        model.discriminator_width or model.width,
        model.downs or most,
        jnp.dtype(model.dtype),
    )
    ignored = tuple(map(list(data.classes).index, data.ignored))
    return OasisGame(discriminator, config.loss.mix_weight, ignored)


def _spade(config: ConfigDict) -> "SpadeGame":
    model, loss = config.model, config.loss
    width = model.discriminator_width or model.width
    classes, dtype = len(config.data.classes), jnp.dtype(model.dtype)
    perceive = None
    if loss.perceptual_weight:
        network, layers = networks.perceptual(loss.encoders)
        if config.data.channels != 3 or len(layers) > len(LAYER_WEIGHTS):
            raise UserError(
                f"loss.encoders has {len(layers)} layers, for {config.data.channels} channels; "
                f"give up to {len(LAYER_WEIGHTS)}, and 3 channels (RGB)"
            )
        perceive = lambda images: network(images, layers)  # noqa: E731
    return SpadeGame(
        PatchDiscriminators(classes, width, dtype=dtype),
        perceive,
        features_weight=loss.features_weight,
        perceptual_weight=loss.perceptual_weight,
    )


def make_model(
    generator: Generator,
    maps: LabelMaps,
    noise_size: int,
    encoder: Encoder | None = None,
    encoded_size: tuple[int, int] = (256, 256),
    *,
    instances: bool = False,
) -> Model:
    """Images of label maps `source`, uint8 [N, H, W]; numbers beyond the classes are no class.

    The noise is one vector for the whole image (`generator`'s 3D noise, constant over the pixels),
    and follows from `rng`, for all images alike; it is 0 without one. OASIS's takes `redrawn`, too,
    uint8 [N, H, W]: pixels of a number above 0 are drawn with another noise, the others stay.

    Args:
      encoder: gives the noise of `style`, images [N, h, w, C] of any size (uint8, or float in
        [-1, 1]), in place of a drawn one: the mean that it finds.
      encoded_size: what these are scaled to.
      instances: the networks see edges: those of `instances`, uint8 [N, H, W], another number for
        each object; without them those of the classes.
    """
    colors = to_float(palette(maps.colors, len(maps.names)))

    def encode(trained: Trained, style: Array) -> Array:
        """The noise of images, [N, Z]."""
        assert encoder
        shape = (len(style), *encoded_size, style.shape[-1])
        scaled = jax.image.resize(as_float(style), shape, "linear")
        return encoder.apply(trained.variables["encoder"], scaled, train=False)[0]

    def draw(trained: Trained, inputs: Inputs, rng: Array | None, numbers: Any = None) -> Array:
        """Images; `numbers` [N, H, W] tell which draw of the noise a pixel has."""
        labels = inputs["source"]
        noise = jnp.zeros(noise_size) if rng is None else jax.random.normal(rng, (noise_size,))
        noises = jnp.broadcast_to(noise, (len(labels), noise_size)) if noise_size else None
        if numbers is not None and rng is not None:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(1, DRAWS))
            others = jax.vmap(lambda key: jax.random.normal(key, (noise_size,)))(keys)
            noises = jnp.concatenate([noise[None], others])[numbers]
        if "style" in inputs:
            noises = encode(trained, inputs["style"])
        edges = edges_of(inputs.get("instances", labels)) if instances else None
        where = LabelMap(labels, noises, edges)
        return generator.apply(trained.variables["generator"], where, train=False)

    def sample(trained: Trained, inputs: Inputs, rng: Array | None) -> dict[str, Array]:
        images = draw(trained, inputs, rng)
        if "redrawn" in inputs:
            numbers = inputs["redrawn"]
            others = draw(trained, inputs, rng, numbers)
            images = jnp.where(numbers[..., None] > 0, others, images)
        return {"samples": images}

    def sheet(trained: Trained, inputs: Inputs, rng: Array) -> Array:
        """A row for each map: itself, its image with two noises and, if it is there, the target."""
        shown = {name: values[:SHEET_ROWS] for name, values in inputs.items()}
        columns = [draw(trained, shown, key) for key in jax.random.split(rng)]
        painted = jnp.take(jnp.asarray(colors), shown["source"], axis=0, mode="fill", fill_value=0)
        columns += [to_float(shown["target"])] if "target" in shown else []
        painted = jnp.broadcast_to(painted[..., :3], columns[0].shape)
        return jnp.stack([painted, *columns], axis=1)

    inputs, outputs = {"source": Field("label_map", names=maps.names)}, {"samples": IMAGE}
    optional = {"redrawn": Field("label_map")} if noise_size and not generator.latent else {}
    optional |= {"instances": Field("label_map")} if instances else {}
    optional |= {"style": IMAGE} if encoder else {}
    return Model(
        inputs, outputs, None, sample, sheet, generator.multiple, generator.reach,
        real="target", optional=optional, one_noise=True,
    )  # fmt: skip


Judge = Callable[..., tuple[Any, Any]]
"""Inputs of the discriminator -> (what it says, its new statistics)."""
Terms = tuple[Mapping[str, Array], Any]
"""What a player pays, by name, and the discriminator's new statistics."""


class OasisGame(NamedTuple):
    """A segmenter of N + 1 classes against the generator (Sushko et al. 2021, equations 1 to 3).

    Attributes:
      mix_weight: of the squared distance between the discriminator's logits of a mixture and the
        mixture of its logits (LabelMix); 0 for none.
      ignored: numbers of classes that weigh nothing.
    """

    discriminator: SegmentationDiscriminator
    mix_weight: float = 10.0
    ignored: Sequence[int] = ()

    def start(self, rng: Array, where: LabelMap, images: Array) -> Any:
        """The discriminator's first variables."""
        return self.discriminator.init(rng, images, train=True)

    def discriminator_terms(
        self, judge: Judge, rng: Array, where: LabelMap, real: Array, fake: Array
    ) -> Terms:
        """What the discriminator pays: real pixels to their class, generated ones to class 0."""
        labels, shown, mask = where.labels, [real, fake], jnp.ones(())
        if self.mix_weight:
            classes = self.discriminator.classes
            mixture, mask = augment.mix_by_label(rng, labels, classes, real, fake)
            shown.append(mixture)
        # No statistics of the batch are taken: one pass, and one power iteration, serve all.
        logits, statistics = judge(jnp.concatenate(shown))
        on_real, on_fake, *on_mixture = jnp.split(logits, len(shown))
        terms = {
            "real": self._to_classes(on_real, labels),
            "fake": jnp.mean(losses.cross_entropy(on_fake, jnp.zeros_like(labels))),
        }
        for found in on_mixture:
            mixed = mask * on_real + (1 - mask) * on_fake
            terms["mix"] = self.mix_weight * jnp.mean(jnp.square(found - mixed))
        return terms, statistics

    def generator_terms(self, judge: Judge, where: LabelMap, real: Array, fake: Array) -> Terms:
        """What the generator pays: its pixels shall be taken for those of their classes."""
        logits, statistics = judge(fake)
        return {"game": self._to_classes(logits, where.labels)}, statistics

    def _to_classes(self, logits: Array, labels: Array) -> Array:
        weights = losses.class_weights(labels, self.discriminator.classes, self.ignored)
        values = losses.cross_entropy(logits, labels.astype(jnp.int32) + 1)
        return jnp.mean(weights * values)


LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Of a perceptual network's layers, as SPADE has them, the deepest one last."""


class SpadeGame(NamedTuple):
    """PatchGANs that are given the label map, and features to match (Park et al. 2019, section 3).

    Attributes:
      perceive: images [B, H, W, 3] in [-1, 1] -> layer -> features [B, h, w, C]; None for none.
      features_weight: of the mean absolute distance of the discriminators' features, added over
        layers, the mean over scales.
      perceptual_weight: of that of the features that `perceive` gives, times `LAYER_WEIGHTS`.
    """

    discriminator: PatchDiscriminators
    perceive: Callable[[Array], Mapping[str, Array]] | None = None
    features_weight: float = 10.0
    perceptual_weight: float = 10.0

    def start(self, rng: Array, where: LabelMap, images: Array) -> Any:
        """The discriminators' first variables."""
        return self.discriminator.init(rng, images, where, train=True)

    def discriminator_terms(
        self, judge: Judge, rng: Array, where: LabelMap, real: Array, fake: Array
    ) -> Terms:
        """What the discriminators pay: hinge, the mean over their scales."""
        pairs, statistics = self._judge(judge, where, real, fake)
        last = [layers[-1] for layers in pairs]
        return {
            "real": _mean(jnp.mean(losses.HINGE.real(on_real)) for on_real, _ in last),
            "fake": _mean(jnp.mean(losses.HINGE.fake(on_fake)) for _, on_fake in last),
        }, statistics

    def generator_terms(self, judge: Judge, where: LabelMap, real: Array, fake: Array) -> Terms:
        """What the generator pays."""
        pairs, statistics = self._judge(judge, where, real, fake)
        terms = {"game": _mean(jnp.mean(losses.HINGE.generator(x[-1][1])) for x in pairs)}
        matched = _mean(sum(_distance(*pair) for pair in layers[:-1]) for layers in pairs)
        terms["features"] = self.features_weight * matched
        if self.perceive:
            wanted, found = self.perceive(real), self.perceive(fake)
            weights = LAYER_WEIGHTS[-len(wanted) :]
            values = [
                weight * _distance(wanted[layer], found[layer])
                for weight, layer in zip(weights, sorted(wanted), strict=True)
            ]
            terms["perceptual"] = self.perceptual_weight * jnp.sum(jnp.stack(values))
        return terms, statistics

    def _judge(self, judge: Judge, where: LabelMap, real: Array, fake: Array) -> tuple[Any, Any]:
        """Of each scale, of each layer, what is found for real and for generated images."""
        twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), where._replace(noise=None))
        scales, statistics = judge(jnp.concatenate([real, fake]), twice)
        return [[jnp.split(x, 2) for x in layers] for layers in scales], statistics


def _mean(values: Iterable[Any]) -> Array:
    return jnp.mean(jnp.stack(list(values)))


def _distance(wanted: Array, found: Array) -> Array:
    return jnp.mean(jnp.abs(jax.lax.stop_gradient(wanted) - found))


def make(
    generator: Generator,
    game: OasisGame | SpadeGame,
    model: Model,
    *,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    noise_size: int,
    encoder: Encoder | None = None,
    divergence_weight: float = 0.05,
    diversity_weight: float = 0.0,
    ema_half_life: float = 0.0,
) -> Task:
    """The game of a generator of label maps, the discriminator first.

    A batch holds `source` uint8 [B, H, W], label maps, `target` [B, H, W, C] (uint8, or float in
    [-1, 1]) and, for networks that see edges, `instances` uint8 [B, H, W]. Each image has noise of
    its own: of N(0, I), or of what the encoder tells of the target, as a variational autoencoder
    has it.

    Args:
      game: the discriminator, and what both players pay.
      model: of the generator.
      generator_optimizer: of the generator, and of the encoder.
      noise_size: channels of the noise; 0 for none.
      divergence_weight: of the divergence of the encoder's noise from N(0, I).
      diversity_weight: of what `_narrowness` finds between the first half of the images and others
        of the same label maps, for the generator not to leave its noise out (after Yang et al.
        2019, arXiv:1901.09024, who pay for any distance).
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    def make_noise(rng: Array, count: int) -> Array | None:
        return jax.random.normal(rng, (count, noise_size)) if noise_size else None

    def init(rng: Array) -> State:
        keys, size = jax.random.split(rng, 3), phases[0].image_size
        labels, images = jnp.zeros((1, *size), jnp.uint8), jnp.zeros((1, *size, generator.channels))
        edges = edges_of(labels) if "instances" in model.optional else None
        where = LabelMap(labels, make_noise(rng, 1), edges)
        found = {
            "generator": generator.init(keys[0], where, train=True),
            "discriminator": game.start(keys[1], where, images),
        }
        if encoder:
            found["encoder"] = encoder.init(keys[2], images, train=True)
        optimizer = {"discriminator": discriminator_optimizer}
        return State.start(
            {
                role: Network.start(variables, optimizer.get(role, generator_optimizer))
                for role, variables in found.items()
            },
            averaged=("generator", "encoder") if encoder else ("generator",),
        )

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        target, edges = as_float(batch["target"]), None
        if "instances" in batch:
            edges = edges_of(batch["instances"])
        where = LabelMap(batch["source"], edges=edges)
        more = len(target) // 2 if diversity_weight else 0  # label maps that are drawn twice
        drawn = jax.tree.map(lambda x: jnp.concatenate([x, x[:more]]), where)
        disc = state.networks["discriminator"]
        makers = {role: x for role, x in state.networks.items() if role != "discriminator"}
        noise_key, game_key = jax.random.split(rng)

        def generate(params):
            count = len(target)
            noise, divergence = make_noise(noise_key, count + more), jnp.zeros(())
            statistics, narrowness = {}, jnp.zeros(())
            if encoder:
                assert noise is not None
                (mean, log_variance), statistics["encoder"] = _apply(
                    encoder, params["encoder"], makers["encoder"].statistics, target
                )
                divergence = jnp.mean(losses.divergence(mean, log_variance))
                encoded = mean + jnp.exp(log_variance / 2) * noise[:count]
                noise = jnp.concatenate([encoded, noise[count:]])
            images, statistics["generator"] = _apply(
                generator,
                params["generator"],
                makers["generator"].statistics,
                drawn._replace(noise=noise),
            )
            if more:
                twice = images[:more], images[count:]
                narrowness = _narrowness(where.labels, generator.classes, twice, target)
            return (images[:count], divergence, narrowness), statistics

        def discriminator_loss(params):
            judge = partial(_apply, game.discriminator, params, disc.statistics)
            terms, statistics = game.discriminator_terms(judge, game_key, where, target, images)
            return sum(terms.values()), (statistics, terms)

        def generator_loss(made):
            images, divergence, narrowness = made
            judge = partial(_apply, game.discriminator, disc.params, disc.statistics)
            terms, statistics = game.generator_terms(judge, where, target, images)
            if encoder:
                terms = {**terms, "divergence": divergence_weight * divergence}
            if more:
                terms = {**terms, "diversity": diversity_weight * narrowness}
            return sum(terms.values()), (statistics, terms)

        # One forward of the generator serves both players: its pullback waits for the new
        # discriminator.
        params = {role: network.params for role, network in makers.items()}
        made, pull_back, made_statistics = jax.vjp(generate, params, has_aux=True)
        images, *_ = made
        (d_loss, (statistics, d_terms)), d_gradients = jax.value_and_grad(
            discriminator_loss, has_aux=True
        )(disc.params)
        disc = update(disc, d_gradients, statistics, discriminator_optimizer)
        (g_loss, (statistics, g_terms)), gradient = jax.value_and_grad(
            generator_loss, has_aux=True
        )(made)
        disc = disc.replace(statistics=statistics)
        (gradients,) = pull_back(gradient)
        changed = {
            role: update(network, gradients[role], made_statistics[role], generator_optimizer)
            for role, network in makers.items()
        }
        return state.after(
            {**changed, "discriminator": disc},
            {**gradients, "discriminator": d_gradients},
            batch_size=len(target),
            half_life=ema_half_life,
            metrics={
                "loss_generator": g_loss,
                "loss_discriminator": d_loss,
                **{f"loss_{name}": value for name, value in {**d_terms, **g_terms}.items()},
            },
        )

    return Task(model, init, train_step, phases)


def _narrowness(labels: Array, classes: int, drawn: tuple[Array, Array], target: Array) -> Array:
    """By how much the colors of the classes differ less with the noise than between real images.

    The color of a class is the mean over its pixels. What real images have is the mean over pairs
    of them, what generated ones have that over pairs of one label map; the difference, where it is
    positive, is averaged over the classes.

    Args:
      labels: [B, H, W] of `target`; its first ones are those of `drawn`.
      drawn: two times images [N, H, W, C].
      target: real images [B, H, W, C].
    """
    real, there = _class_colors(labels, classes, target)
    pairs = there[:, None] & there[None] & ~jnp.eye(len(target), dtype=bool)[..., None]
    apart = jnp.mean(jnp.abs(real[:, None] - real[None]), axis=-1)
    wanted = jnp.sum(apart * pairs, axis=(0, 1)) / jnp.maximum(jnp.sum(pairs, axis=(0, 1)), 1)
    count = len(drawn[0])
    one, two = (_class_colors(labels[:count], classes, images)[0] for images in drawn)
    shown = there[:count]
    apart = jnp.mean(jnp.abs(one - two), axis=-1)
    found = jnp.sum(apart * shown, axis=0) / jnp.maximum(jnp.sum(shown, axis=0), 1)
    known = jnp.any(pairs, axis=(0, 1)) & jnp.any(shown, axis=0)
    return jnp.sum(known * nn.relu(wanted - found)) / jnp.maximum(jnp.sum(known), 1)


def _class_colors(labels: Array, classes: int, images: Array) -> tuple[Array, Array]:
    """The mean color of each class of each image, [N, K, C], and whether it is there, [N, K]."""
    one_hot = jax.nn.one_hot(labels, classes, dtype=images.dtype)
    counts = jnp.sum(one_hot, axis=(1, 2))
    sums = jnp.einsum("nhwk,nhwc->nkc", one_hot, images)
    return sums / jnp.maximum(counts, 1)[..., None], counts > 0


def _apply(module: Any, params: Any, statistics: Any, *inputs: Any) -> tuple[Any, Any]:
    """A training forward: outputs and new statistics."""
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = module.apply(variables, *inputs, train=True, mutable=["batch_stats"])
    return outputs, changed.get("batch_stats", {})
