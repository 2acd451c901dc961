"""Classifying attributes: one network tells every attribute of a portrait at once."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ganjax.images import to_float
from ganjax.nets.attributes import SIDE, Classifier
from ganjax.training.state import Network, State, average, update
from ganjax.training.task import Phase, Task


def make(
    classifier: Classifier,
    sizes: Sequence[int],
    hide: Callable[[Array], Array],
    *,
    optimizer: optax.GradientTransformation,
    phases: tuple[Phase, ...],
    disturbance: float = 1.0,
    ema_half_life: float = 0.0,
) -> Task:
    """Cross-entropy of every attribute that can be seen, on images that are disturbed a little.

    A batch holds `image` uint8 [B, 32, 32, 3] and `label` int32 [B, A]. A classifier draws
    nothing: there are no samples, but `accuracy` among the metrics, on the disturbed batch.

    Args:
      sizes: [A], how many values each attribute has.
      hide: labels -> labels with negative values where nothing can be seen.
      disturbance: strength of shifts, blur and noise, 0 (none) to 1.
      ema_half_life: of the classifier's average, in images; 0 for no averaging.
    """
    sizes = tuple(sizes)

    def init(rng: Array) -> State:
        params = classifier.init(rng, jnp.zeros((1, SIDE, SIDE, 3)))["params"]
        network = Network(params, {}, optimizer.init(params))
        return State.start({"classifier": network}, averaged=("classifier",))

    def train_step(state: State, batch, rng: Array) -> tuple[State, dict[str, Array]]:
        images, labels = disturb(rng, to_float(batch["image"]), disturbance), hide(batch["label"])

        def loss(params):
            logits = classifier.apply({"params": params}, images)["logits"]
            losses, right = cross_entropy(logits, labels, sizes)
            return jnp.mean(losses), right

        network = state.networks["classifier"]
        (value, right), gradients = jax.value_and_grad(loss, has_aux=True)(network.params)
        network = update(network, gradients, {}, optimizer)
        ema = average(
            state.averages["classifier"],
            network.variables,
            images=state.images,
            batch_size=images.shape[0],
            half_life=ema_half_life,
        )
        metrics = {
            "loss_classifier": value,
            "grad_norm_classifier": optax.tree.norm(gradients),
            "accuracy": jnp.sum(right) / jnp.maximum(jnp.sum(labels >= 0), 1),
        }
        state = state.replace(networks={"classifier": network}, averages={"classifier": ema})
        return state, metrics

    def sample(state: State, inputs, rng: Array) -> dict[str, Array]:
        return {}

    return Task(init, train_step, None, sample, phases)


def cross_entropy(logits: Array, labels: Array, sizes: Sequence[int]) -> tuple[Array, Array]:
    """Sum over attributes of -log softmax(logits of the attribute)[label].

    Args:
      logits: [B, K], those of one attribute after those of the other.
      labels: int [B, A]; attributes with negative ones do not count.
      sizes: [A], how many values each attribute has; their sum is K.

    Returns:
      Losses [B], and where the largest logit is that of the label, bool [B, A].
    """
    losses, right, first = [], [], 0
    for number, size in enumerate(sizes):
        label, own = labels[:, number], logits[:, first : first + size]
        chosen = jax.nn.one_hot(label, size, dtype=logits.dtype)  # no one where it is negative
        losses.append(-jnp.sum(chosen * jax.nn.log_softmax(own), axis=1))
        right.append(jnp.argmax(own, axis=1) == label)
        first += size
    return sum(losses), jnp.stack(right, axis=1)


def disturb(rng: Array, images: Array, strength: float) -> Array:
    """What generators do to portraits: each image shifted, blurred, with noise, in another tone.

    Args:
      images: [B, H, W, 3] in [-1, 1].
      strength: 0 for the images themselves; 1 shifts by up to a pixel, with noise of up to 0.05.
    """
    keys = jax.random.split(rng, 5)
    one = (images.shape[0], 1, 1, 1)
    for axis, key in zip((1, 2), keys, strict=False):
        # Half-way between two pixels a shift blurs, too.
        shift = strength * jax.random.uniform(key, one, minval=-1.0)
        before, after = (_moved(images, axis, step) for step in (-1, 1))
        target = jnp.where(shift < 0, before, after)
        images = images + jnp.abs(shift) * (target - images)
    tone = 0.05 * strength * jax.random.normal(keys[2], (*one[:3], 3))
    noise = 0.05 * strength * jax.random.uniform(keys[3], one)
    return images + tone + noise * jax.random.normal(keys[4], images.shape)


def _moved(images: Array, axis: int, step: int) -> Array:
    """Moved by a pixel; the border's pixels are repeated."""
    size = images.shape[axis]
    index = jnp.clip(jnp.arange(size) + step, 0, size - 1)
    return jnp.take(images, index, axis=axis)
