"""Roots of symmetric matrices, whose derivatives are finite where eigenvalues coincide."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

# By default GPUs and TPUs round factors to 10 or 8 bits.
_einsum = partial(jnp.einsum, precision="highest")
# Enough for condition numbers of 1e6; more changes nothing, for the iteration then stands still.
_ITERATIONS = 24


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def roots(matrix: Array, threshold: float = 0.0) -> tuple[Array, Array]:
    """The roots of symmetric positive semidefinite matrices [..., C, C], and their inverses.

    Args:
      threshold: eigenvalues up to it are left out, in the root and in its (pseudo-)inverse.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    (root, _), (inverse, _) = _kept(values, threshold)
    return _compose(vectors, root), _compose(vectors, inverse)


@roots.defjvp
def _roots_jvp(threshold, primals, tangents):
    """Daleckii and Krein 1965: divided differences of the function, between eigenvalues."""
    (matrix,), (change,) = primals, tangents
    values, vectors = jnp.linalg.eigh(matrix)
    change = _einsum("...ki,...kl,...lj->...ij", vectors, change, vectors)
    columns, rows = values[..., :, None], values[..., None, :]
    # Those of near eigenvalues cancel; the mean of the slopes is as good there.
    apart = jnp.abs(columns - rows) > 1e-4 * jnp.maximum(jnp.abs(columns), jnp.abs(rows))
    primal, tangent = [], []
    for powers, slopes in _kept(values, threshold):
        differences = powers[..., :, None] - powers[..., None, :]
        means = (slopes[..., :, None] + slopes[..., None, :]) / 2
        quotients = jnp.where(apart, differences / jnp.where(apart, columns - rows, 1), means)
        primal.append(_compose(vectors, powers))
        tangent.append(_einsum("...ik,...kl,...jl->...ij", vectors, quotients * change, vectors))
    return tuple(primal), tuple(tangent)


def _kept(values: Array, threshold: float) -> tuple[tuple[Array, Array], ...]:
    """The root and its inverse with their slopes; 0 where they are left out."""
    kept = values > threshold
    root = jnp.sqrt(jnp.where(kept, values, 1))
    pairs = ((root, 0.5 / root), (1 / root, -0.5 / root**3))
    return tuple((jnp.where(kept, x, 0), jnp.where(kept, slope, 0)) for x, slope in pairs)


def _compose(vectors: Array, values: Array) -> Array:
    return _einsum("...ik,...k,...jk->...ij", vectors, values, vectors)


def newton_schulz(matrix: Array) -> tuple[Array, Array]:
    """The root of symmetric positive definite matrices [..., C, C], and its inverse, by products.

    Higham 2008, "Functions of Matrices", equation 6.35 (the coupled iteration of Denman and Beavers
    without inverses). Accelerators do products much faster than eigenvalues.
    """
    eye = jnp.broadcast_to(jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape)
    # Below 1, as the iteration wants all eigenvalues to be.
    scale = jnp.linalg.norm(matrix, axis=(-2, -1), keepdims=True)
    scale = jnp.where(scale > 0, scale, 1)

    def improve(_, pair):
        root, inverse = pair
        step = 1.5 * eye - 0.5 * _einsum("...ij,...jk->...ik", inverse, root)
        return (
            _einsum("...ij,...jk->...ik", root, step),
            _einsum("...ij,...jk->...ik", step, inverse),
        )

    root, inverse = jax.lax.fori_loop(0, _ITERATIONS, improve, (matrix / scale, eye))
    return root * jnp.sqrt(scale), inverse / jnp.sqrt(scale)
