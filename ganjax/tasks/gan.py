"""The game of SNGAN, WGAN-GP and R3GAN: discriminator steps, then one generator step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from ganjax import augment, conditions, losses
from ganjax.config import check_choice, run_fields, short_run
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Stream
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import as_float, parse_image_size
from ganjax.nets import r3gan, resnet_gan
from ganjax.training import optimizers
from ganjax.training.state import (
    Network,
    State,
    Trained,
    count_over_devices,
    mean_over_devices,
    update,
)
from ganjax.training.task import Inputs, Model, Phase, Task, draw_latents, project_latents

Generator = resnet_gan.Generator | r3gan.Generator
Discriminator = resnet_gan.Discriminator | r3gan.Discriminator
LOSSES = losses.PAIRS | {
    "relativistic": losses.RELATIVISTIC,
    "wasserstein": losses.WASSERSTEIN,
}
ADAPTABLE = ("hinge", "non_saturating", "saturating")  # D(x) is 0 where real and fake are as likely
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
    config.model.form = "resnet"  # resnet, SNGAN's | wgan_gp | r3gan
    # How the discriminator learns labels: projection | classifier, AC-GAN's (not for r3gan).
    config.model.head = "projection"
    # Channels of a ResNet's last block of G and first of D, of R3GAN's four smallest stages; 0 as
    # published.
    config.model.width = 0
    config.model.latent_size = 128  # length of z
    config.model.classes = 0  # of the labels; 0 for none
    config.model.attributes = ()  # how many values each attribute has; () for none
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    # hinge | non_saturating | saturating | least_squares | relativistic | wasserstein
    config.loss = "hinge"
    config.classifier = ConfigDict()  # its cross-entropy, where model.head has one
    config.classifier.discriminator_weight = 1.0  # of real images
    config.classifier.generator_weight = 0.1  # of generated ones
    config.penalties = ConfigDict()
    config.penalties.gradient_weight = 0.0  # of WGAN-GP's; 10 as published
    config.penalties.r1_weight = 0.0  # of half of the discriminator's squared gradients at images
    config.penalties.r2_weight = 0.0  # the same at generated images
    # These two are taken in each so-many-th train step only, and weigh so many times as much.
    config.penalties.every = 1
    config.augment = ConfigDict()
    # color, translation, cutout, or several with commas between; "" for none. For little data.
    config.augment.policy = ""
    # ADA: changes of shape and color, each with a probability that follows the discriminator's
    # signs on real images, from augment.probability on. For 2,000 to 50,000 images.
    config.augment.adaptive = False
    config.augment.target = 0.6  # of the mean sign
    config.augment.kimg = 500.0  # in which the probability can go from 0 to 1
    config.augment.probability = 0.0  # of each change
    config.augment.color = 1.0  # times the probability: of each change of color
    config.augment.cutout = 0.0  # times the probability: of a hole
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-4  # Adam's, for both networks
    config.optimizer.decay_from = 0.0  # share of the run where it begins to fall linearly to 0
    config.optimizer.b1 = 0.0  # Adam's decay of the mean gradient
    config.optimizer.b2 = 0.9  # Adam's decay of the mean squared gradient

    # Where cosine.kimg is not 0, values go to those below along half a cosine, and stay there.
    config.cosine = ConfigDict()
    config.cosine.kimg = 0.0  # thousands of real images until then; 0 for none of it
    config.cosine.learning_rate = 5e-5  # the last one
    config.cosine.b2 = 0.99  # the last one
    config.cosine.penalties = 0.1  # the last weights of all penalties, as a share of the first
    config.cosine.augment_probability = 0.0  # the last one; the first is augment.probability
    config.cosine.ema_half_life_kimg = 500.0  # the last one
    return config


def r3gan_defaults() -> ConfigDict:
    """R3GAN as published for FFHQ at 64x64: RpGAN, R1 and R2, cosines, changes of ADA.

    Lengths are in real images, of which the generator's steps take as many as the discriminator's;
    the published ones count half of them.
    """
    config = defaults()
    config.batch_size = 256
    config.discriminator_steps = 1
    config.generator_batch = 1
    config.total_kimg = 50_000.0  # ours; the public code goes on until it is stopped
    config.data.image_size = "64"
    config.model.form = "r3gan"
    config.model.latent_size = 64
    config.model.dtype = "bfloat16"
    config.loss = "relativistic"
    config.penalties.r1_weight = config.penalties.r2_weight = 2.0
    config.cosine.kimg = 2 * 20_000.0
    config.cosine.ema_half_life_kimg = 2 * 500.0
    config.augment.color, config.augment.cutout = 0.5, 1.0
    config.cosine.augment_probability = 0.3
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
    check_choice("loss", config.loss, LOSSES)
    loss, penalties, cosine = LOSSES[config.loss], config.penalties, config.cosine
    length = cosine.kimg * 1000
    if min(config.discriminator_steps, config.generator_batch) < 1:
        raise UserError("discriminator_steps and generator_batch must be 1 or more")
    if min(penalties.gradient_weight, penalties.r1_weight, penalties.r2_weight) < 0:
        raise UserError("penalties.gradient_weight, .r1_weight and .r2_weight must be 0 or more")
    if penalties.every < 1:
        raise UserError(f"penalties.every is {penalties.every}; give 1 or more")
    if config.loss == "wasserstein" and not penalties.gradient_weight:
        raise UserError("loss=wasserstein needs its penalty; set penalties.gradient_weight=10")
    if min(config.classifier.values()) < 0:
        raise UserError("classifier.discriminator_weight and .generator_weight must be 0 or more")
    if not cosine.learning_rate > 0 or not 0 <= cosine.b2 < 1:
        raise UserError("cosine.learning_rate must be above 0, cosine.b2 in [0, 1)")
    if min(cosine.kimg, cosine.penalties, cosine.ema_half_life_kimg) < 0:
        raise UserError("cosine.kimg, .penalties and .ema_half_life_kimg must be 0 or more")
    image_size = parse_image_size(config.data.image_size)
    parts = _count_parts(loss, config.discriminator_steps, config.generator_batch)
    batch_size = config.batch_size * parts
    phase = Phase("train", config.total_kimg, batch_size, image_size)
    return make(
        *_networks(config),
        loss=loss,
        generator_optimizer=_optimizer(config, phase, 1),
        discriminator_optimizer=_optimizer(config, phase, config.discriminator_steps),
        phases=(phase,),
        condition=_condition(config),
        latent_size=config.model.latent_size,
        discriminator_steps=config.discriminator_steps,
        generator_batch=config.generator_batch,
        gradient_weight=penalties.gradient_weight,
        r1_weight=penalties.r1_weight,
        r2_weight=penalties.r2_weight,
        penalize_every=penalties.every,
        classifier_weights=tuple(config.classifier.values()),
        **_augmentation(config),
        penalty_schedule=optimizers.cosine(1.0, cosine.penalties, length),
        ema_half_life=optimizers.cosine(
            config.ema_half_life_kimg * 1000, cosine.ema_half_life_kimg * 1000, length
        ),
        # A half-life that has a schedule needs no other.
        ema_ramp_up=1.0 if length else 0.05,
    )


def _augmentation(config: ConfigDict) -> dict[str, Any]:
    """What the discriminator's images go through: DiffAugment, or ADA's changes, or nothing."""
    fields, last = config.augment, config.cosine.augment_probability
    for name in filter(None, fields.policy.split(",")):
        check_choice("augment.policy", name, augment.STEPS)
    shares = ("probability", "color", "cutout")
    if not all(0 <= value <= 1 for value in (last, *(fields[name] for name in shares))):
        raise UserError(
            "augment.probability, .color, .cutout and cosine.augment_probability must be in [0, 1]"
        )
    if not (fields.adaptive or fields.probability or config.cosine.kimg and last):
        steps = augment.differentiable(fields.policy)
        return {"augmentation": lambda rng, images, probability: steps(rng, images)}
    if fields.policy:
        raise UserError(
            "augment.policy goes without augment.adaptive, augment.probability and "
            "cosine.augment_probability; set these to False and 0, or augment.policy to ''"
        )
    changes = augment.adaptive(color=fields.color, cutout=fields.cutout)
    if not fields.adaptive:
        schedule = optimizers.cosine(fields.probability, last, config.cosine.kimg * 1000)
        return {"augmentation": changes, "probability": schedule}
    if config.loss not in ADAPTABLE:
        raise UserError(
            "augment.adaptive goes by the sign of D(real), which means nothing in "
            f"loss={config.loss}; set augment.probability, or choose {' or '.join(ADAPTABLE)}"
        )
    if not -1 < fields.target < 1 or not fields.kimg > 0:
        raise UserError("augment.target must be in (-1, 1), augment.kimg above 0")
    adaptation = augment.Adaptation(fields.target, fields.kimg * 1000, fields.probability)
    return {"augmentation": changes, "adaptation": adaptation}


def _optimizer(config: ConfigDict, phase: Phase, updates: int) -> optax.GradientTransformation:
    """Adam, for so many updates of a train step."""
    first, last = config.optimizer, config.cosine
    # Updates are what an optimizer counts.
    length = last.kimg * 1000 / phase.batch_size * updates
    names = ("learning_rate", "b2") if length else ()
    schedules = {name: optimizers.cosine(first[name], last[name], length) for name in names}
    return optimizers.make(first, updates=phase.steps * updates, schedules=schedules)


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
    check_choice("model.form", model.form, ("resnet", "wgan_gp", "r3gan"))
    check_choice("model.head", model.head, ("projection", "classifier"))
    check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    if model.width < 0 or model.latent_size < 1:
        raise UserError("model.width must be 0 or more, model.latent_size 1 or more")
    fields = {
        "image_size": image_size,
        "channels": config.data.channels,
        "conditions": conditions.width(_condition(config)),
        "dtype": jnp.dtype(model.dtype),
    }
    classifier = model.head == "classifier"
    if classifier and (model.form == "r3gan" or not fields["conditions"]):
        raise UserError(
            "model.head=classifier needs data.labels=True and model.form=resnet or wgan_gp; set "
            "model.head=projection"
        )
    if model.form == "r3gan":
        fields["width"] = model.width or r3gan.WIDTH
        r3gan.seed_and_widths(image_size, fields["width"])
        return r3gan.Generator(**fields), r3gan.Discriminator(**fields)
    resnet_gan.seed_and_table(image_size)
    fields["width"] = model.width or None
    spectral = model.form == "resnet"
    return (
        resnet_gan.Generator(**fields),
        resnet_gan.Discriminator(**fields, spectral=spectral, classifier=classifier),
    )


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
        # R3GAN's generator has no bounds.
        return jnp.clip(generator.apply(variables, inputs["z"], encoded, train=False), -1, 1)

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
    loss: losses.AdversarialPair,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    condition: Field | None = None,
    latent_size: int = 128,
    discriminator_steps: int = 5,
    generator_batch: int = 2,
    gradient_weight: float = 0.0,
    r1_weight: float = 0.0,
    r2_weight: float = 0.0,
    penalize_every: int = 1,
    classifier_weights: tuple[float, float] = (1.0, 0.1),
    augmentation: Callable[[Array, Array, Any], Array] = lambda rng, images, probability: images,
    probability: optimizers.Schedule = lambda images: 0.0,
    adaptation: augment.Adaptation | None = None,
    penalty_schedule: optimizers.Schedule = lambda images: 1.0,
    ema_half_life: optimizers.Schedule = lambda images: 0.0,
    ema_ramp_up: float = 0.05,
) -> Task:
    """The game of Miyato et al. 2018, arXiv:1802.05957, section 4 and appendix B.

    A batch holds `image` [P * B, H, W, C] (uint8, or float in [-1, 1]) and, where there is a
    condition, `label` [P * B] or [P * B, A]: D parts for as many discriminator steps and, where the
    loss is paired, others for the generator step. Fakes are given the labels of the real images, so
    that both come in the same proportions.

    With a paired loss and both penalties it is R3GAN's (Huang et al. 2024, arXiv:2501.05441), with
    the loss of critics and the gradient's penalty WGAN-GP's (Gulrajani et al. 2017,
    arXiv:1704.00028, algorithm 1).

    Args:
      condition: what images are asked for by; None for nothing.
      latent_size: length of z, which is drawn from N(0, I).
      discriminator_steps: D.
      generator_batch: images of a generator step, as a multiple of B.
      gradient_weight: of `losses.gradient_penalty`, between each real and a generated image.
      r1_weight, r2_weight: of half of the discriminator's squared gradients at real and at
        generated images.
      penalize_every: train steps, of which one takes these two, times their number (Karras et al.
        2020, arXiv:1912.04958, section 3.1: lazy regularization).
      classifier_weights: where the discriminator is a classifier, too: of the cross-entropy of real
        images, which it pays, and of that of generated ones, which the generator pays.
      augmentation: (rng, images, probability) -> images, of all that the discriminator sees; slopes
        are penalized at the images before it.
      probability: of each of its changes, from images.
      adaptation: by what the probability moves, in place of that.
      penalty_schedule: what all penalties are multiplied by, from images.
      ema_half_life: of the generator's average, in images, from images; 0 for no averaging.
      ema_ramp_up: see `state.average`.
    """
    parts = _count_parts(loss, discriminator_steps, generator_batch)
    penalized = r1_weight > 0 or r2_weight > 0
    classifies = getattr(discriminator, "classifier", False)
    sizes = conditions.sizes(condition) if condition else ()

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
            memory={"augmentation": adaptation.begin()} if adaptation else {},
        )

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        gen, disc = state.networks["generator"], state.networks["discriminator"]
        chance = probability(state.images)
        if adaptation:
            chance = state.memory["augmentation"].probability
        # Parts of neighboring rows, so that each device keeps the rows that it has.
        images = _parts(as_float(batch["image"]), parts)
        encoded: list[Any] = [None] * parts
        labels: list[Any] = [None] * parts
        if condition:
            encoded = _parts(conditions.encode(condition, batch["label"]), parts)
            labels = _parts(batch["label"].reshape(len(batch["label"]), -1), parts)

        def generate(params, key: Array, encoded: Array | None, count: int):
            z = jax.random.normal(key, (count, latent_size))
            return _apply(generator, params, gen.statistics, z, encoded)

        def augmented(key: Array, images: Array) -> Array:
            return augmentation(jax.random.fold_in(key, 1), images, chance)

        def judge(params, statistics, images: Array, encoded: Any):
            """Logits [B], and those of a classifier [B, K] with the new statistics."""
            outputs, statistics = _apply(discriminator, params, statistics, images, encoded)
            if not classifies:
                return outputs, (None, statistics)
            return outputs[:, 0], (outputs[:, 1:], statistics)

        def classify(logits: Array, labels: Array) -> Array:
            values, _ = losses.attribute_cross_entropy(logits, labels, sizes)
            return jnp.mean(values)

        def discriminator_loss(params, key: Array, real: Array, fake: Array, encoded, labels):
            def criticize(images: Array, encoded: Any):
                return judge(params, disc.statistics, augmented(key, images), encoded)

            # No statistics of the batch are taken: one pass, and one power iteration, serve both.
            both = None if encoded is None else jnp.concatenate([encoded, encoded])
            images, critic = jnp.concatenate([real, fake]), partial(criticize, encoded=both)
            penalty, metrics = jnp.zeros(()), {}
            if penalized and penalize_every == 1:
                logits, squares, (classes, statistics) = losses.squared_slopes(critic, images)
            else:
                logits, (classes, statistics) = critic(images)
                squares = jnp.zeros(logits.shape, logits.dtype)
                if penalized:
                    squares = jax.lax.cond(
                        state.step % penalize_every == 0,
                        lambda: penalize_every * losses.squared_slopes(critic, images)[1],
                        lambda: squares,
                    )
            if penalized:
                r1, r2 = map(jnp.mean, jnp.split(squares, 2))
                penalty = (r1_weight * r1 + r2_weight * r2) / 2
                metrics = {"penalty_real": r1, "penalty_fake": r2}
            if gradient_weight:
                mix = jax.random.uniform(jax.random.fold_in(key, 2), (len(real),))
                values = losses.gradient_penalty(
                    lambda images: criticize(images, encoded)[0], real, fake, mix
                )
                metrics["penalty_gradient"] = jnp.mean(values)
                penalty += gradient_weight * metrics["penalty_gradient"]
            penalty *= penalty_schedule(state.images)
            real_logits, fake_logits = jnp.split(logits, 2)
            metrics |= {
                "logit_real": jnp.mean(real_logits),
                "logit_fake": jnp.mean(fake_logits),
                "sign_real": jnp.mean(jnp.sign(real_logits)),
            }
            if loss.paired:
                real_logits, fake_logits = real_logits - fake_logits, fake_logits - real_logits
            value = jnp.mean(loss.real(real_logits)) + jnp.mean(loss.fake(fake_logits)) + penalty
            if classifies:
                metrics["loss_classifier"] = classify(classes[: len(real)], labels)
                value += classifier_weights[0] * metrics["loss_classifier"]
            return value, (statistics, {"loss_discriminator": value} | metrics)

        rows = []
        for number in range(discriminator_steps):
            real, asked, key = images[number], encoded[number], jax.random.fold_in(rng, number)
            fake, _ = generate(gen.params, key, asked, len(real))
            (_, (statistics, row)), d_gradients = jax.value_and_grad(
                discriminator_loss, has_aux=True
            )(disc.params, key, real, fake, asked, labels[number])
            disc = update(disc, d_gradients, statistics, discriminator_optimizer)
            rows.append(row)

        def generator_loss(params):
            first = discriminator_steps if loss.paired else 0
            own = [(first + n) % parts for n in range(generator_batch)]
            asked: Any = jnp.concatenate([encoded[n] for n in own]) if condition else None
            key = jax.random.fold_in(rng, discriminator_steps)
            fake, statistics = generate(params, key, asked, generator_batch * len(images[0]))
            rivals = [images[n] for n in own] if loss.paired else []
            if rivals and condition:
                asked = jnp.concatenate([asked, asked])
            shown = augmented(key, jnp.concatenate([fake, *rivals]))
            logits, (classes, d_statistics) = judge(disc.params, disc.statistics, shown, asked)
            if rivals:
                logits = jnp.subtract(*jnp.split(logits, 2))
            value = jnp.mean(loss.generator(logits))
            if classifies:
                wanted = jnp.concatenate([labels[n] for n in own])
                value += classifier_weights[1] * classify(classes[: len(fake)], wanted)
            return value, (statistics, d_statistics)

        (g_loss, (statistics, d_statistics)), g_gradients = jax.value_and_grad(
            generator_loss, has_aux=True
        )(gen.params)
        disc = disc.replace(statistics=d_statistics)
        gen = update(gen, g_gradients, statistics, generator_optimizer)
        metrics = {
            "loss_generator": g_loss,
            **{name: jnp.mean(jnp.stack([row[name] for row in rows])) for name in rows[0]},
        }
        memory = state.memory
        if adaptation:
            sign, count = mean_over_devices(metrics["sign_real"]), len(batch["image"])
            followed = memory["augmentation"]
            memory = {"augmentation": adaptation.follow(followed, sign, count_over_devices(count))}
            metrics["augment_probability"] = chance
        return state.after(
            {"generator": gen, "discriminator": disc},
            {"generator": g_gradients, "discriminator": d_gradients},
            batch_size=len(batch["image"]),
            half_life=ema_half_life(state.images),
            ramp_up=ema_ramp_up,
            metrics=metrics,
            memory=memory,
        )

    model = make_model(generator, condition, latent_size=latent_size)
    return Task(model, init, train_step, phases)


def _count_parts(
    loss: losses.AdversarialPair, discriminator_steps: int, generator_batch: int
) -> int:
    """Of a train step's batch: each as many images as a discriminator step takes."""
    return discriminator_steps + (generator_batch if loss.paired else 0)


def _parts(rows: Array, count: int) -> list[Array]:
    """Rows [D * B, ...] as D arrays [B, ...], each of every D-th row."""
    grouped = rows.reshape(-1, count, *rows.shape[1:])
    return [grouped[:, number] for number in range(count)]


def _apply(module, params, statistics, inputs: Array, encoded: Array | None):
    """A training forward: outputs and new statistics."""
    variables = {"params": params, "batch_stats": statistics}
    outputs, changed = module.apply(variables, inputs, encoded, train=True, mutable=["batch_stats"])
    return outputs, changed.get("batch_stats", {})
