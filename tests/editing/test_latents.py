"""Ways along the sphere of z, and its truncation."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ganjax.editing.latents import between, closed_walk, on_sphere, truncate


def test_the_way_between_two_z_keeps_their_length_and_pace():
    a, b = on_sphere(jax.random.normal(jax.random.key(0), (2, 16)))
    way = np.asarray(between(a, b, jnp.linspace(0, 1, 5)))
    np.testing.assert_allclose(way[[0, -1]], [a, b], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 4, rtol=1e-5)
    np.testing.assert_allclose(np.sum(way[1:] * way[:-1], 1), np.sum(way[0] * way[1]), rtol=1e-4)
    np.testing.assert_allclose(between(a, a, jnp.array([0.3])), a[None], atol=1e-5)


def test_a_walk_goes_from_stop_to_stop_and_back():
    stops = jax.random.normal(jax.random.key(1), (3, 8))
    walk = closed_walk(stops, 4)
    np.testing.assert_allclose(walk[::4], stops, atol=1e-5)
    np.testing.assert_allclose(walk[8:], between(stops[2], stops[0], jnp.arange(4) / 4), atol=1e-5)


def test_truncated_z_has_the_truncated_distribution():
    z = jax.random.normal(jax.random.key(2), (4000,))
    values = np.asarray(truncate(z, 0.8))
    assert np.abs(values).max() <= 0.8
    assert stats.kstest(values, stats.truncnorm(-0.8, 0.8).cdf).pvalue > 0.01
    np.testing.assert_array_equal(np.argsort(values), np.argsort(z))  # none overtakes another
    np.testing.assert_allclose(truncate(jnp.array([-3.0, 0.5, 3.0]), 6.0), [-3, 0.5, 3], atol=1e-2)
    assert np.isfinite(truncate(jnp.array([-9.0, 9.0]), 8.0)).all()
