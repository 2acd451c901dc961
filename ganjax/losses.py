"""Losses as per-example values; averaging is the caller's.

An adversarial pair is three functions of logits: what the discriminator pays for a real and for
a fake image, and what the generator pays for a fake one.

>>> print(HINGE.real(jnp.array([-1.0, 0.0, 2.0])))
[2. 1. 0.]
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class AdversarialPair(NamedTuple):
    """A two-player game on logits of any shape; every function returns values of that shape.

    Attributes:
      real: the discriminator's loss on the logits of real images.
      fake: the discriminator's loss on the logits of generated images.
      generator: the generator's loss on the logits of its images.
      paired: whether they take, in place of a logit, how far it is above that of the other kind.
    """

    real: Callable[[Array], Array]
    fake: Callable[[Array], Array]
    generator: Callable[[Array], Array]
    paired: bool = False


def _log_sigmoid_loss(logits: Array) -> Array:
    return jax.nn.softplus(-logits)


NON_SATURATING = AdversarialPair(
    real=_log_sigmoid_loss,
    fake=jax.nn.softplus,
    generator=_log_sigmoid_loss,
)
"""-log D(x), -log(1 - D(G(z))) and -log D(G(z)) (Goodfellow et al. 2014, section 3, last part)."""

SATURATING = NON_SATURATING._replace(generator=lambda logits: -jax.nn.softplus(logits))
"""The minimax formula: the generator pays log(1 - D(G(z))) (Goodfellow et al. 2014, equation 1)."""

WASSERSTEIN = AdversarialPair(
    real=lambda scores: -scores,
    fake=lambda scores: scores,
    generator=lambda scores: -scores,
)
"""-D(x), D(G(z)) and -D(G(z)) of a critic D (Arjovsky et al. 2017, algorithm 1)."""

HINGE = AdversarialPair(
    real=lambda scores: jax.nn.relu(1 - scores),
    fake=lambda scores: jax.nn.relu(1 + scores),
    generator=lambda scores: -scores,
)
"""max(0, 1 - D(x)), max(0, 1 + D(G(z))), -D(G(z)) (Miyato et al. 2018, equations 16 and 17)."""

LEAST_SQUARES = AdversarialPair(
    real=lambda scores: jnp.square(scores - 1),
    fake=jnp.square,
    generator=lambda scores: jnp.square(scores - 1),
)
"""(D(x) - 1)^2, D(G(z))^2 and (D(G(z)) - 1)^2 (Mao et al. 2017, equation 9, without its 1/2)."""

RELATIVISTIC = AdversarialPair(
    real=_log_sigmoid_loss, fake=jnp.zeros_like, generator=_log_sigmoid_loss, paired=True
)
"""RpGAN: -log sigmoid(D(x) - D(G(z))), and the same with both exchanged (Jolicoeur-Martineau 2018,
arXiv:1807.00734, section 3.2; Huang et al. 2024, arXiv:2501.05441, equation 2)."""

PAIRS = {
    "non_saturating": NON_SATURATING,
    "saturating": SATURATING,
    "hinge": HINGE,
    "least_squares": LEAST_SQUARES,
}
"""The pairs whose logits need no penalty, by the names that configs give them."""


def gradient_penalty(
    critic: Callable[[Array], Array], real: Array, fake: Array, mix: Array
) -> Array:
    """WGAN-GP: (|grad D| - 1)^2 between real and generated images (Gulrajani 2017, equation 3).

    Args:
      critic: images [B, H, W, C] -> scores [B].
      real, fake: [B, H, W, C].
      mix: [B] in [0, 1]; image i is examined at real + mix * (fake - real).

    Returns:
      [B].

    >>> zeros, ones = jnp.zeros((1, 2, 2, 1)), jnp.ones((1, 2, 2, 1))
    >>> critic = lambda images: images.sum((1, 2, 3))  # whose gradient has the length 2
    >>> print(gradient_penalty(critic, zeros, ones, jnp.array([0.5])))
    [1.]
    """
    mixed = real + mix[:, None, None, None] * (fake - real)
    slopes = jax.grad(lambda images: critic(images).sum())(mixed)
    # The root's own slope at 0 is infinite: a flat critic would end in NaN.
    norms = jnp.sqrt(jnp.square(slopes).sum((1, 2, 3)) + 1e-16)
    return jnp.square(norms - 1)


def squared_slopes(
    critic: Callable[[Any], tuple[Array, Any]], inputs: Any
) -> tuple[Array, Array, Any]:
    """|grad D|^2 at each input: the zero-centered penalty, with D(x) from the same forward pass.

    On real images it is R1 (Mescheder et al. 2018, arXiv:1801.04406, equation 9), on generated ones
    R2 (equation 10); both have a weight of gamma / 2. On real images with sentences that match, to
    the power of 3, it is MA-GP (Tao et al. 2022, arXiv:2008.05865, equation 2).

    Args:
      critic: inputs -> (scores [B], anything else).
      inputs: images [B, H, W, C], or a pytree of arrays [B, ...].

    Returns:
      (scores [B], squares [B], what else the critic gave).

    >>> scores, squares, _ = squared_slopes(
    ...     lambda images: (3 * images.sum((1, 2, 3)), None), jnp.ones((1, 2, 2, 1))
    ... )
    >>> print(scores, squares)
    [12.] [36.]
    """
    scores, pull_back, rest = jax.vjp(critic, inputs, has_aux=True)
    slopes = jax.tree.leaves(pull_back(jnp.ones_like(scores)))
    squares = [jnp.square(x).sum(tuple(range(1, x.ndim))) for x in slopes]
    return scores, sum(squares[1:], squares[0]), rest


def drift(scores: Array) -> Array:
    """D(x)^2 of real images, which keeps a critic's scores near 0 (Karras et al. 2018, A.1)."""
    return jnp.square(scores)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """-log softmax(logits)[label].

    Args:
      logits: [..., K].
      labels: int [...]; numbers out of 0 to K - 1 are no class.

    Returns:
      [...], 0 where there is no class.
    """
    chosen = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)  # no one beyond K
    return -jnp.sum(chosen * jax.nn.log_softmax(logits), axis=-1)


def attribute_cross_entropy(
    logits: Array, labels: Array, sizes: Sequence[int]
) -> tuple[Array, Array]:
    """Sum over attributes of -log softmax(logits of the attribute)[label].

    Args:
      logits: [B, K], those of one attribute after those of the other.
      labels: int [B, A]; attributes with negative ones do not count.
      sizes: [A], how many values each attribute has; their sum is K.

    Returns:
      Losses [B], and where the largest logit is that of the label, bool [B, A].
    """
    values, right, first = [], [], 0
    for number, size in enumerate(sizes):
        label, own = labels[:, number], logits[:, first : first + size]
        values.append(cross_entropy(own, label))
        right.append(jnp.argmax(own, axis=1) == label)
        first += size
    return jnp.sum(jnp.stack(values), axis=0), jnp.stack(right, axis=1)


def pixel_cross_entropy(logits: Array, labels: Array) -> Array:
    """-log softmax(logits)[label], the mean over an image's pixels that have a label.

    Args:
      logits: [B, H, W, K].
      labels: int [B, H, W]; pixels of K or more have none.

    Returns:
      [B], 0 for an image without labels.
    """
    count = jnp.sum(labels < logits.shape[-1], axis=(1, 2))
    return jnp.sum(cross_entropy(logits, labels), axis=(1, 2)) / jnp.maximum(count, 1)


def class_weights(labels: Array, classes: int, ignored: Sequence[int] = ()) -> Array:
    """What each pixel weighs so that the classes of a batch weigh alike, and 1 on the mean.

    It is the number of pixels over (classes that are there times pixels of its class), as OASIS has
    it (Sushko et al. 2021, arXiv:2012.04781, equation 1, by the batch at hand).

    Args:
      labels: int [B, H, W].
      classes: their number K; pixels of K or more weigh nothing.
      ignored: classes that weigh nothing, too.

    Returns:
      float32 [B, H, W].

    >>> print(class_weights(jnp.array([[[0, 0, 0, 1]]]), 3)[0, 0])
    [0.6666667 0.6666667 0.6666667 2.       ]
    """
    counts = jnp.sum(labels.reshape(1, -1) == jnp.arange(classes)[:, None], axis=1)
    counts = counts.at[jnp.array(ignored, int)].set(0)
    there = jnp.sum(counts > 0)
    weights = jnp.where(counts > 0, labels.size / jnp.maximum(there * counts, 1), 0)
    return jnp.take(weights, labels, mode="fill", fill_value=0)


def divergence(mean: Array, log_variance: Array) -> Array:
    """Of N(mean, variance) from N(0, I): Kullback and Leibler's (Kingma and Welling 2014, app. B).

    Args:
      mean, log_variance: [B, Z].

    Returns:
      [B].

    >>> print(divergence(jnp.array([[0.0, 2.0]]), jnp.zeros((1, 2))))
    [2.]
    """
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance, axis=-1)


def patch_nce(queries: Array, keys: Array, *, temperature: float = 0.07) -> Array:
    """Cross-entropy of which patch of its image a query is of (Park et al. 2020, equation 4).

    The others of the same image are the negatives; no gradient flows to the keys.

    Args:
      queries, keys: unit vectors [B, P, C]; query p belongs to key p.
      temperature: by which the cosines are divided.

    Returns:
      [B, P].

    >>> corners = jnp.eye(2)[None]
    >>> values = patch_nce(corners, corners, temperature=1.0)
    >>> [f"{value:.4f}" for value in values[0]]  # log(1 + 1 / e)
    ['0.3133', '0.3133']
    """
    cosines = jnp.einsum(
        "bpc,bqc->bpq", queries, jax.lax.stop_gradient(keys), precision=jax.lax.Precision.HIGHEST
    )
    return -jnp.diagonal(jax.nn.log_softmax(cosines / temperature), axis1=1, axis2=2)


def contrast(a: Array, b: Array, *, temperature: float = 0.1) -> tuple[Array, Array]:
    """Cross-entropy of which b an a belongs to, and which a a b (van den Oord et al. 2018).

    All others of the batch are the negatives (arXiv:1807.03748, equation 4, in both directions as
    Radford et al. 2021, arXiv:2103.00020, figure 3).

    Args:
      a, b: [B, D]; row i of one belongs to row i of the other. Their cosines are compared.
      temperature: by which the cosines are divided.

    Returns:
      The mean of both directions, and whether the a that is nearest to each b is its own, both [B].

    >>> values, right = contrast(jnp.eye(2), 3 * jnp.eye(2), temperature=1.0)
    >>> [f"{value:.4f}" for value in values], right.tolist()  # log(1 + 1 / e)
    (['0.3133', '0.3133'], [True, True])
    """
    a, b = (x * jax.lax.rsqrt(jnp.sum(jnp.square(x), 1, keepdims=True) + 1e-12) for x in (a, b))
    logits = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST) / temperature
    ways = [jnp.diagonal(jax.nn.log_softmax(logits, axis=axis)) for axis in (0, 1)]
    return -(ways[0] + ways[1]) / 2, jnp.argmax(logits, axis=0) == jnp.arange(len(a))
