"""Counts the arithmetic that a function asks for: its convolutions and matrix products."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax


def count_flops(function: Callable, *args: Any) -> float:
    """Multiplications and additions in the convolutions and matrix products of `function`.

    The count is that of the mathematics, whatever form a backend chooses: zeros that a dilation
    puts between pixels do not count, results that nobody uses do not either, and of branches (one
    for each platform) the one with the least arithmetic does. Elementwise work is left out.

    Args:
      args: arrays, or `jax.ShapeDtypeStruct`s.
    """
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return _of_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def _of_jaxpr(jaxpr: Any, used: Sequence[bool]) -> tuple[float, list[bool]]:
    """The count, and which inputs it needs, where only the outputs `used` are wanted."""
    # Constants among the outputs have no name.
    live = {v for v, wanted in zip(jaxpr.outvars, used, strict=True) if wanted and _named(v)}
    total = 0.0
    for equation in reversed(jaxpr.eqns):
        wanted = [variable in live for variable in equation.outvars]
        if any(wanted):
            flops, needed = _of_equation(equation, wanted)
            total += flops
            live |= {v for v, n in zip(equation.invars, needed, strict=True) if n and _named(v)}
    return total, [variable in live for variable in jaxpr.invars]


def _named(variable: Any) -> bool:
    return not hasattr(variable, "val")


def _of_equation(equation: Any, used: Sequence[bool]) -> tuple[float, list[bool]]:
    params, everything = equation.params, [True] * len(equation.invars)
    match equation.primitive.name:
        case "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            size = equation.outvars[0].aval.size
            return 2.0 * size * math.prod(shape[axis] for axis in contracted), everything
        case "conv_general_dilated":
            kernel = equation.invars[1].aval
            features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
            size = equation.outvars[0].aval.size
            dilation = math.prod(params["lhs_dilation"])
            return 2.0 * size * kernel.size / features / dilation, everything
        case "cond":
            return min(
                _of_jaxpr(branch.jaxpr, used)[0] for branch in params["branches"]
            ), everything
        case "scan":
            inner = params["jaxpr"].jaxpr
            once, _ = _of_jaxpr(inner, [True] * len(inner.outvars))
            return params["length"] * once, everything
    for name in ("jaxpr", "call_jaxpr"):
        if inner := params.get(name):
            return _of_jaxpr(getattr(inner, "jaxpr", inner), used)
    return 0.0, everything
