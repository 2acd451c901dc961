"""Optimizers from a config."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax import Array

from ganjax.config import check_choice
from ganjax.errors import UserError

Schedule = Callable[[Array], Any]
"""The value of a hyper-parameter at a moment of training, counted in images or updates."""


def cosine(first: float, last: float, length: float) -> Schedule:
    """From `first` to `last` along half a cosine; `first` for ever where `length` is 0.

    >>> value = cosine(1.0, 0.0, 100)
    >>> print(*(f"{value(moment):.2f}" for moment in (0, 25, 50, 100, 200)))
    1.00 0.85 0.50 0.00 0.00
    """
    if not length:
        return lambda moment: first
    share = lambda moment: (1 + jnp.cos(jnp.pi * jnp.minimum(moment / length, 1))) / 2  # noqa: E731
    return lambda moment: last + share(moment) * (first - last)


def make(
    config: Any,
    *,
    learning_rate: float | None = None,
    updates: int = 0,
    schedules: Mapping[str, Schedule] | None = None,
) -> optax.GradientTransformation:
    """Adam with `learning_rate`, `b1` and `b2`, or Muon.

    With `name` "muon", the steps of kernels are orthogonal matrices [inputs, outputs] (Jordan et
    al. 2024, https://kellerjordan.github.io/posts/muon), as long as Adam's usually are (Liu et al.
    2025, arXiv:2502.16982, equation 4); other parameters are
    moved by NAdam.

    With `decay`, the learning rate of step i (from 0) is `learning_rate` / (1 + decay * i); with
    `decay_from`, it falls linearly to 0 from that share of the run on; with `drop_from`, it is a
    tenth from that share on; with `clip_norm`, longer gradients are shortened to it first.

    Args:
      learning_rate: instead of the config's.
      updates: of the whole run, for `decay_from` and `drop_from`.
      schedules: by the names of Adam's arguments, from updates; in place of the config's values.

    Raises:
      UserError: a value is out of its range.
    """
    rate = config.learning_rate if learning_rate is None else learning_rate
    if not rate > 0:
        raise UserError(f"optimizer.learning_rate is {rate}; it must be above 0")
    for name in ("b1", "b2"):
        if not 0 <= config[name] < 1:
            raise UserError(f"optimizer.{name} is {config[name]}; it must be in [0, 1)")
    for name in ("decay", "clip_norm"):
        if config.get(name, 0) < 0:
            raise UserError(f"optimizer.{name} is {config[name]}; it must be 0 or more")
    decay, clip_norm = config.get("decay"), config.get("clip_norm")
    schedule = (lambda step: rate / (1 + decay * step)) if decay else rate
    for name in ("decay_from", "drop_from"):
        if not 0 <= config.get(name, 0) <= 1:
            raise UserError(f"optimizer.{name} is {config[name]}; it must be in [0, 1]")
    if "drop_from" in config:
        schedule = optax.piecewise_constant_schedule(rate, {round(config.drop_from * updates): 0.1})
    if "decay_from" in config:
        begin = round(config.decay_from * updates)
        if begin < updates:
            schedule = optax.linear_schedule(rate, 0.0, updates - begin, begin)
    name = config.get("name", "adam")
    check_choice("optimizer.name", name, ("adam", "muon"))
    if name == "muon":
        optimizer = optax.contrib.muon(
            schedule,
            adam_b1=config.b1,
            adam_b2=config.b2,
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=0.2,
        )
    elif schedules:
        optimizer = optax.inject_hyperparams(optax.adam)(b1=config.b1, **schedules)
    else:
        optimizer = optax.adam(schedule, b1=config.b1, b2=config.b2)
    return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer) if clip_norm else optimizer


def in_turn(*optimizers: optax.GradientTransformation) -> list[optax.GradientTransformation]:
    """The same optimizers for one network that has them one after the other.

    Each has a state of its own, and all states are parts of one: its form stays as it is.
    """

    def init(params: Any) -> tuple:
        return tuple(optimizer.init(params) for optimizer in optimizers)

    def make_turn(n: int) -> optax.GradientTransformation:
        def update(gradients: Any, states: Any, params: Any = None) -> tuple:
            updates, state = optimizers[n].update(gradients, states[n], params)
            return updates, (*states[:n], state, *states[n + 1 :])

        return optax.GradientTransformation(init, update)

    return [make_turn(n) for n in range(len(optimizers))]


def _matrices(params: Any) -> Any:
    """Which axes of a kernel [h, w, inputs, outputs] Muon takes for rows; None for the rest."""

    def axes(x: Any) -> Any:
        kernel = x.ndim >= 2
        rows = tuple(range(x.ndim - 1))
        return optax.contrib.MuonDimensionNumbers(rows, (x.ndim - 1,)) if kernel else None

    return jax.tree.map(axes, params)
