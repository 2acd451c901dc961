"""Losses as per-example values; averaging is the caller's.

An adversarial pair is three functions of logits: what the discriminator pays for a real and for
a fake image, and what the generator pays for a fake one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array


class AdversarialPair(NamedTuple):
    """A two-player game on logits of any shape; every function returns values of that shape.

    Attributes:
      real: the discriminator's loss on the logits of real images.
      fake: the discriminator's loss on the logits of generated images.
      generator: the generator's loss on the logits of its images.
    """

    real: Callable[[Array], Array]
    fake: Callable[[Array], Array]
    generator: Callable[[Array], Array]


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
