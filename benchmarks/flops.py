"""Counts the arithmetic that a function asks for: its convolutions and matrix products."""

import math
from collections.abc import Callable
from typing import Any

import jax


def count_flops(function: Callable, *args: Any) -> float:
    """Multiplications and additions in the convolutions and matrix products of `function`.

    Zeros that a dilation puts between pixels do not count, and of the branches that stand for
    different platforms the one with the least arithmetic does: the count is that of the
    mathematics, whatever form a backend chooses. Elementwise work is left out.

    Args:
      args: arrays, or `jax.ShapeDtypeStruct`s.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def _of_jaxpr(jaxpr: Any) -> float:
    return float(sum(map(_of_equation, jaxpr.eqns)))


def _of_equation(equation: Any) -> float:
    params = equation.params
    match equation.primitive.name:
        case "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            return 2.0 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        case "conv_general_dilated":
            output, kernel = params["dimension_numbers"][2], params["dimension_numbers"][1]
            shape = equation.invars[1].aval.shape
            features = shape[kernel[0]]
            taps = equation.invars[1].aval.size / features
            positions = equation.outvars[0].aval.size
            assert equation.outvars[0].aval.shape[output[1]] == features
            return 2.0 * positions * taps / math.prod(params["lhs_dilation"])
        case "cond":
            return min(_of_jaxpr(branch.jaxpr) for branch in params["branches"])
        case "scan":
            return params["length"] * _of_jaxpr(params["jaxpr"].jaxpr)
    inner = (params.get(name) for name in ("jaxpr", "call_jaxpr"))
    return sum(_of_jaxpr(getattr(jaxpr, "jaxpr", jaxpr)) for jaxpr in inner if jaxpr is not None)
