"""Optimizers from a config: Adam, its decay and its clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from ganjax.errors import UserError
from ganjax.training import optimizers


def make(**fields) -> optax.GradientTransformation:
    fields = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.99} | fields
    return optimizers.make(ConfigDict(fields))


def steps(optimizer, gradients):
    """The updates that a row of gradients gives."""
    params = jnp.zeros(len(gradients[0]))
    state, updates = optimizer.init(params), []
    for gradient in gradients:
        update, state = optimizer.update(jnp.asarray(gradient), state, params)
        updates.append(update)
    return np.array(updates)


@pytest.mark.slow
def test_decay():
    """Adam moves by the learning rate itself while the gradient stays the same."""
    got = steps(make(decay=0.5), [[3.0, -0.2]] * 6)
    rates = 0.01 / (1 + 0.5 * np.arange(6))
    np.testing.assert_allclose(got, rates[:, None] * [-1, 1], rtol=1e-5)
    np.testing.assert_allclose(steps(make(decay=0.0), [[3.0]] * 6), -0.01, rtol=1e-5)


def test_the_rate_may_drop_to_a_tenth():
    optimizer = optimizers.make(
        ConfigDict({"learning_rate": 0.01, "drop_from": 0.5, "b1": 0.9, "b2": 0.99}), updates=6
    )
    got = steps(optimizer, [[3.0]] * 6)[:, 0]
    np.testing.assert_allclose(got, [-0.01] * 3 + [-0.001] * 3, rtol=1e-5)


def test_optimizers_in_turn_know_nothing_of_each_other():
    both = make(name="muon"), make(decay=0.5)
    first, second = optimizers.in_turn(*both)
    params, gradient = {"kernel": jnp.ones((3, 2))}, {"kernel": jnp.full((3, 2), 3.0)}
    state, own = first.init(params), [one.init(params) for one in both]
    for n in (0, 0, 1, 0, 1):
        update, new = (first, second)[n].update(gradient, state, params)
        wanted, own[n] = both[n].update(gradient, own[n], params)
        assert jax.tree.structure(new) == jax.tree.structure(state)
        np.testing.assert_array_equal(update["kernel"], wanted["kernel"])
        state = new


def test_longer_gradients_are_clipped_to_the_norm_and_shorter_ones_left():
    gradients = np.array([[3.0, 4.0], [0.3, -0.4], [-30.0, 1.0]], np.float32)
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients * np.minimum(1, 2 / norms)
    got = steps(make(clip_norm=2.0), gradients)
    np.testing.assert_allclose(got, steps(make(), clipped), rtol=1e-5)
    assert np.abs(got - steps(make(), gradients)).max() > 1e-3


def test_muons_steps_of_kernels_are_orthogonal_and_those_of_biases_nadams():
    random = np.random.default_rng(0)
    gradient = {
        "kernel": jnp.asarray(random.normal(size=(3, 3, 8, 16)), jnp.float32),
        "bias": jnp.asarray([3.0, -0.2]),
    }
    params, muon = jax.tree.map(jnp.zeros_like, gradient), make(name="muon")
    updates, _ = muon.update(gradient, muon.init(params), params)
    step = np.asarray(updates["kernel"], np.float64).reshape(72, 16)
    # All directions alike, but for the few Newton-Schulz steps; 0.2 sqrt(72) is Adam's usual size.
    values = np.linalg.svd(step, compute_uv=False) / (0.01 * 0.2 * 72**0.5)
    assert 0.65 < values.min() and values.max() < 1.25
    wide = np.linalg.svd(np.asarray(gradient["kernel"]).reshape(72, 16), compute_uv=False)
    assert wide.max() / wide.min() > 1.8
    assert np.vdot(step, np.asarray(gradient["kernel"]).reshape(72, 16)) < 0
    nadam = optax.nadam(0.01, b1=0.9, b2=0.99)
    wanted, _ = nadam.update(gradient, nadam.init(params))
    np.testing.assert_allclose(updates["bias"], wanted["bias"], rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate": 0.0}, "optimizer.learning_rate is 0.0; it must be above 0"),
        ({"name": "sgd"}, "optimizer.name is 'sgd'; choose adam or muon"),
        ({"b1": 1.0}, r"optimizer.b1 is 1.0; it must be in \[0, 1\)"),
        ({"decay": -1.0}, "optimizer.decay is -1.0; it must be 0 or more"),
        ({"clip_norm": -1.0}, "optimizer.clip_norm is -1.0; it must be 0 or more"),
    ],
)
def test_impossible_values_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        make(**fields)


def test_adam_follows_its_schedules():
    """By Kingma and Ba's algorithm with the rate and b2 of each update."""
    config, gradients = ConfigDict({"learning_rate": 0.2, "b1": 0.0, "b2": 0.9}), [3.0, -1.0, 2.0]
    schedules = {
        "learning_rate": optimizers.cosine(0.2, 0.1, 2),
        "b2": optimizers.cosine(0.9, 0.99, 2),
    }
    moved = steps(optimizers.make(config, schedules=schedules), [[x] for x in gradients])[:, 0]
    square = 0.0
    for count, gradient in enumerate(gradients, start=1):
        way = (1 - np.cos(np.pi * min(count - 1, 2) / 2)) / 2
        rate, b2 = 0.2 - 0.1 * way, 0.9 + 0.09 * way
        square = b2 * square + (1 - b2) * gradient**2
        wanted = -rate * gradient / (np.sqrt(square / (1 - b2**count)) + 1e-8)
        np.testing.assert_allclose(moved[count - 1], wanted, rtol=1e-4)
