"""Optimisers from a config."""

from typing import Any

import optax

from ganjax.errors import UserError


def make(config: Any) -> optax.GradientTransformation:
    """Adam with `learning_rate`, `b1` and `b2`.

    Raises:
      UserError: a value is out of its range.
    """
    if not config.learning_rate > 0:
        raise UserError(f"optimiser.learning_rate is {config.learning_rate}; it must be above 0")
    for name in ("b1", "b2"):
        if not 0 <= config[name] < 1:
            raise UserError(f"optimiser.{name} is {config[name]}; it must be in [0, 1)")
    return optax.adam(config.learning_rate, b1=config.b1, b2=config.b2)
