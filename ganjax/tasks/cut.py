"""CUT's game: a translator whose patches stay where they were, without pairs (Park et al. 2020)."""

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
from ganjax.nets.patch_heads import PatchHeads
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.resnet_translator import MULTIPLE, ResNetTranslator
from ganjax.tasks import translators
from ganjax.training import optimizers
from ganjax.training.state import Network, State, Trained, update
from ganjax.training.task import Batch, Model, Phase, Task

SMOKE = {
    "data.source": "unpaired:avatars",
    "data.a": "",
    "data.b": "",
    "data.image_size": "32",
    "data.load_size": "36",
    "model.width": 8,
    "model.blocks": 1,
    "model.layers": 1,
    "model.head_width": 16,
    "batch_size": 4,
    **short_run(4),
}
# FastCUT, which takes half of the time, against the fields of CUT.
FAST = {
    "loss.nce_weight": 10.0,
    "loss.nce_identity": False,
    "loss.flip_equivariance": True,
    "optimizer.decay_from": 0.75,
}
# Normal, of the variance 0.02^2 * 2 / (fan in + fan out).
xavier = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")


def defaults() -> ConfigDict:
    """CUT as published: antialiased ResNet-9 and PatchGAN 70, least squares, PatchNCE, batch 1."""
    config = translators.unpaired_fields("cut")
    config.total_kimg = 534.0  # thousands of images of A to train on: 400 epochs of 1,334
    config.model.resampling = "antialiased"
    config.model.head_width = 256  # of the vectors that are compared
    config.loss.nce_weight = 1.0  # of the PatchNCE loss
    config.loss.nce_identity = True  # half of it on images of the target, which shall stay
    # Mirror half of the inputs, but not what their translations are compared with.
    config.loss.flip_equivariance = False
    config.loss.patches = 256  # that are compared in each image and layer
    config.loss.temperature = 0.07  # by which cosines are divided
    return config


def streams(config: ConfigDict) -> tuple[Stream, ...]:
    """Images of A and of B, each shuffled, cut and mirrored on its own."""
    return translators.two_sides(config.data)


def from_config(config: ConfigDict) -> Task:
    """The game of a config."""
    loss, model = config.loss, config.model
    check_choice("loss.adversarial", loss.adversarial, losses.PAIRS)
    check_choice("model.layers", model.layers, (0, 1, 2, 3, 4, 5))
    if loss.patches < 2 or model.head_width < 1:
        raise UserError("loss.patches must be 2 or more, model.head_width 1 or more")
    if loss.nce_weight < 0 or not loss.temperature > 0:
        raise UserError("loss.nce_weight must be 0 or more, loss.temperature above 0")
    image_size, dtype = parse_image_size(config.data.image_size), jnp.dtype(model.dtype)
    phase = Phase("train", config.total_kimg, config.batch_size, image_size)
    discriminator = PatchGAN(
        model.width,
        model.layers,
        "instance",
        antialiased=model.resampling == "antialiased",
        kernel_init=xavier,
        dtype=dtype,
    )
    return make(
        _generator(config),
        discriminator,
        PatchHeads(model.head_width, xavier, dtype),
        loss=losses.PAIRS[loss.adversarial],
        nce_weight=loss.nce_weight,
        nce_identity=loss.nce_identity,
        flip_equivariance=loss.flip_equivariance,
        patches=loss.patches,
        temperature=loss.temperature,
        optimizer=optimizers.make(config.optimizer, updates=phase.steps),
        phases=(phase,),
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def model_from_config(config: ConfigDict) -> Model:
    """The generator of a config."""
    return make_model(_generator(config))._replace(directions=(config.data.direction,))


def _generator(config: ConfigDict) -> ResNetTranslator:
    return translators.resnet(config).clone(kernel_init=xavier)


def make_model(generator: ResNetTranslator) -> Model:
    """Images of the target's kind from those of the source's; see `translators.make_model`."""

    def translate(trained: Trained, source: Array, rng: Array | None) -> Array:
        return generator.apply(trained.variables["generator"], source)

    return translators.make_model(translate, multiple=MULTIPLE)


def make(
    generator: ResNetTranslator,
    discriminator: PatchGAN,
    heads: PatchHeads,
    *,
    loss: losses.AdversarialPair = losses.LEAST_SQUARES,
    nce_weight: float = 1.0,
    nce_identity: bool = True,
    flip_equivariance: bool = False,
    patches: int = 256,
    temperature: float = 0.07,
    optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    ema_half_life: float = 0.0,
) -> Task:
    """The game of Park et al. 2020, equations 1 to 5, in the order of its public code.

    The discriminator takes a step for half of its loss; then the generator and the heads theirs
    against the new one. Patches of a translation shall be told from each other by those of the
    source, in features of the generator's own encoder. A batch holds `source` and `target`
    [B, H, W, C] (uint8, or float in [-1, 1]), which are no pairs.

    Args:
      heads: what turns features into the vectors that are compared.
      nce_weight: of the PatchNCE loss, a mean over layers, images and patches.
      nce_identity: translate images of the target too; half of the PatchNCE loss is theirs.
      flip_equivariance: mirror all images of a step before they are translated with a probability
        of 1/2, but compare with the features of the unmirrored ones.
      patches: compared in each layer, the same places of all images.
      ema_half_life: of the generator's average, in images; 0 for no averaging.
    """

    def init(rng: Array) -> State:
        keys = jax.random.split(rng, 3)
        side = 2 ** (discriminator.layers + 2)
        image = jnp.zeros((1, side, side, generator.channels))
        start = generator.init(keys[0], image)
        features = generator.apply(start, image, encode=True)
        places = [jnp.zeros(1, jnp.int32)] * len(features)
        return State.start(
            {
                "generator": Network.start(start, optimizer),
                "discriminator": Network.start(discriminator.init(keys[1], image), optimizer),
                "heads": Network.start(heads.init(keys[2], features, places), optimizer),
            },
            averaged=("generator",),
        )

    def train_step(state: State, batch: Batch, rng: Array) -> tuple[State, dict[str, Array]]:
        source, target = (as_float(batch[name]) for name in ("source", "target"))
        gen, disc, head = (state.networks[r] for r in ("generator", "discriminator", "heads"))
        flip_rng, places_rng = jax.random.split(rng)
        count = len(source)
        # One batch, so that XLA finds the features of the keys in the forward pass, too.
        real = jnp.concatenate([source, target]) if nce_identity else source
        flipped = flip_equivariance & jax.random.bernoulli(flip_rng)
        inputs = jnp.where(flipped, real[:, :, ::-1], real) if flip_equivariance else real

        def encode(params, images: Array) -> list[Array]:
            return generator.apply({"params": params}, images, encode=True)

        def discriminate(params, images: Array) -> Array:
            return discriminator.apply({"params": params}, images)

        def discriminator_loss(params):
            real_logits = discriminate(params, target)
            fake_logits = discriminate(params, images[:count])
            value = jnp.mean(loss.real(real_logits)) + jnp.mean(loss.fake(fake_logits))
            return 0.5 * value

        def generator_loss(params, head_params, images: Array):
            adversarial = jnp.mean(loss.generator(discriminate(disc.params, images[:count])))
            own, theirs = encode(params, images), encode(params, real)
            places = draw_places(places_rng, own, patches)
            same = [
                jnp.where(flipped, mirror(where, feature.shape[2]), where)
                for where, feature in zip(places, own, strict=True)
            ]
            keys = heads.apply({"params": head_params}, theirs, places)
            queries = heads.apply({"params": head_params}, own, same)
            values = [
                jnp.mean(losses.patch_nce(q, k, temperature=temperature), axis=1)
                for q, k in zip(queries, keys, strict=True)
            ]
            nce = nce_weight * jnp.mean(jnp.stack(values), axis=0)
            terms = {"adversarial": adversarial, "nce": jnp.mean(nce[:count])}
            if nce_identity:
                terms["nce_identity"] = jnp.mean(nce[count:])
            return adversarial + jnp.mean(nce), terms

        # One forward of G serves both players: its pullback waits for the new discriminator.
        images, pull_back = jax.vjp(
            lambda params: generator.apply({"params": params}, inputs), gen.params
        )
        d_loss, d_gradients = jax.value_and_grad(discriminator_loss)(disc.params)
        disc = update(disc, d_gradients, {}, optimizer)
        gradients, terms = jax.grad(generator_loss, argnums=(0, 1, 2), has_aux=True)(
            gen.params, head.params, images
        )
        encoder_gradients, head_gradients, image_gradient = gradients
        g_gradients = jax.tree.map(jnp.add, encoder_gradients, *pull_back(image_gradient))
        return state.after(
            {
                "generator": update(gen, g_gradients, {}, optimizer),
                "discriminator": disc,
                "heads": update(head, head_gradients, {}, optimizer),
            },
            {"generator": g_gradients, "discriminator": d_gradients, "heads": head_gradients},
            batch_size=count,
            half_life=ema_half_life,
            metrics={"loss_discriminator": d_loss}
            | {f"loss_{name}": value for name, value in terms.items()},
        )

    return Task(make_model(generator), init, train_step, phases)


def draw_places(rng: Array, features: list[Array], count: int) -> list[Array]:
    """For each layer [B, h, w, C] up to `count` places without repetition: int32 [P], y * w + x."""
    sizes = [feature.shape[1] * feature.shape[2] for feature in features]
    keys = jax.random.split(rng, len(sizes))
    return [
        jax.random.permutation(key, size)[:count] for key, size in zip(keys, sizes, strict=True)
    ]


def mirror(places: Array, width: int) -> Array:
    """Where places of a map of that width are in its mirror image."""
    rows, columns = jnp.divmod(places, width)
    return rows * width + width - 1 - columns
