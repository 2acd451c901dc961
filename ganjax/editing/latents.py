"""Ways of z, which is drawn from N(0, I): the sphere of its lengths, ways along it, truncation."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm


def on_sphere(z: Array) -> Array:
    """z [N, Z] scaled to length sqrt(Z)."""
    return z * (z.shape[-1] ** 0.5 / jnp.linalg.norm(z, axis=-1, keepdims=True))


def between(a: Array, b: Array, shares: Array) -> Array:
    """Points [T, Z] on the great circle from z `a` [Z] (share 0) to `b` (share 1).

    Between two Gaussian draws a straight line runs through shorter vectors than the network has
    ever seen; spherical interpolation keeps their length (White 2016, arXiv:1609.04468).
    """
    cosine = jnp.sum(a * b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
    angle = jnp.maximum(jnp.arccos(jnp.clip(cosine, -1, 1)), 1e-4)
    t = shares[:, None]
    return (jnp.sin((1 - t) * angle) * a[None] + jnp.sin(t * angle) * b[None]) / jnp.sin(angle)


def closed_walk(stops: Array, steps: int) -> Array:
    """From each stop [N, Z] to the next and back to the first, by `between`: [N * steps, Z]."""
    shares = jnp.linspace(0, 1, steps, endpoint=False)
    ways = jax.vmap(between, (0, 0, None))(stops, jnp.roll(stops, -1, axis=0), shares)
    return ways.reshape(-1, stops.shape[-1])


def truncate(z: Array, limit: float) -> Array:
    """z from N(0, 1) as draws from the same distribution within `limit` (the truncation trick).

    Brock et al. 2019 (arXiv:1809.11096, section 3.1) draw values beyond the limit again; here each
    moves to its quantile of the truncated distribution, so that a seed's images change smoothly.

    Args:
      limit: above 0; small ones make images more typical and more alike.
    """
    low, high = norm.cdf(-limit), norm.cdf(limit)
    return jnp.clip(norm.ppf(low + norm.cdf(z) * (high - low)), -limit, limit)
