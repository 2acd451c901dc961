"""Descent to z and pivotal tuning on a generator of one layer, seen through two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.editing import inversion
from ganjax.editing.inversion import Inverter
from ganjax.editing.latents import on_sphere
from ganjax.metrics.pairs import Sight

SIZE = 6  # of z


def draw(params, inputs):
    z = inputs["z"] + params["offset"]
    return jnp.tanh(z @ params["matrix"] + inputs["label"][:, None]).reshape(-1, 8, 8, 1)


def see(params, images):
    assert images.shape[-1] == 3  # gray images are seen as RGB
    edges = images[:, 1:] - images[:, :-1]
    constant = lambda x: jnp.full_like(x[..., :1], 2.0)  # noqa: E731
    return {
        "pixels": jnp.concatenate([params * images, constant(images)], -1),
        "edges": jnp.concatenate([edges, constant(edges)], -1),
    }


SIGHT = Sight("", lambda image: image, {"pixels": jnp.ones(4), "edges": jnp.ones(4)}, 0.5, see)


@pytest.fixture(scope="module")
def params():
    random = np.random.default_rng(0)
    matrix = random.normal(0, SIZE**-0.5, (SIZE, 64)).astype("f")
    return {"matrix": jnp.asarray(matrix), "offset": jnp.zeros((1, SIZE))}


@pytest.fixture(scope="module")
def inverter():
    return Inverter(draw, SIGHT)


def inputs(seed: int, count: int):
    z = jax.random.normal(jax.random.key(seed), (count, SIZE))
    return {"z": on_sphere(z), "label": jnp.zeros(count)}


@pytest.fixture(scope="module")
def found(inverter, params):
    """The inversion of an image of the generator's own, and its z."""
    own = inputs(1, 1)
    target = inverter.see(draw(params, own)[0])
    steps = []
    result = inverter.project(params, inputs(2, 4), target, steps=155, tell=steps.append)
    return own, target, result, steps


def test_an_image_of_its_own_is_found_again(found):
    own, _, (inverted, likeness), steps = found
    assert likeness.psnr[0] > 35 and likeness.lpips[0] < 1e-3
    np.testing.assert_allclose(inverted["z"], own["z"], atol=0.05)
    assert sum(steps) == 155  # also where they are no whole number of chunks


def test_z_stays_where_draws_are_and_the_condition_as_it_is(inverter, params):
    target = inverter.see(jnp.full((8, 8, 1), 0.3))
    starts = inputs(3, 4) | {"label": jnp.full(4, 0.25)}
    inverted, _ = inverter.project(params, starts, target, steps=30)
    np.testing.assert_allclose(jnp.linalg.norm(inverted["z"]), SIZE**0.5, rtol=1e-5)
    assert inverted["label"].tolist() == [0.25]


def test_the_number_of_steps_is_what_was_asked_for_whatever_a_chunk_has(monkeypatch, params):
    target = Inverter(draw, SIGHT).see(jnp.full((8, 8, 1), 0.3))
    results = []
    for chunk in (10, 7):
        monkeypatch.setattr(inversion, "CHUNK", chunk)
        inverted, _ = Inverter(draw, SIGHT).project(params, inputs(3, 2), target, steps=20)
        results.append(inverted["z"])
    np.testing.assert_allclose(*results, atol=1e-5)


def test_the_nearest_start_goes_on(monkeypatch, inverter, params, found):
    own, target, _, _ = found
    starts = inputs(4, 3)
    starts["z"] = starts["z"].at[1].set(own["z"][0])
    inverted, likeness = inverter.project(params, starts, target, steps=10)
    np.testing.assert_allclose(inverted["z"], own["z"], atol=0.3)
    other, worse = inverter.project(params, inputs(4, 1), target, steps=10)
    assert worse.lpips[0] > 2 * likeness.lpips[0]


def test_likeness_is_lpips_and_psnr(inverter, params, found):
    _, target, (inverted, likeness), _ = found
    image = draw(params, inverted)
    mse = float(jnp.mean((image - target.image) ** 2))
    np.testing.assert_allclose(likeness.psnr[0], 10 * np.log10(4 / mse), rtol=1e-3)
    a, b = (see(0.5, jnp.repeat(x, 3, -1)) for x in (image, target.image))
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    with np.errstate(invalid="ignore"):
        distances = [((np.nan_to_num(unit(a[k])) - np.nan_to_num(unit(b[k]))) ** 2) for k in a]
    wanted = sum(d.sum(-1).mean() for d in distances)
    np.testing.assert_allclose(likeness.lpips[0], wanted, rtol=1e-2, atol=1e-6)


def test_tuning_brings_the_generator_to_the_image_and_then_ends(inverter, params):
    pivot = inputs(5, 1)
    other = {**params, "matrix": params["matrix"] + 0.2 * params["matrix"][::-1]}
    target = inverter.see(draw(other, pivot)[0])
    steps = []
    tuned, likeness = Inverter(draw, SIGHT, tuning_rate=0.002).tune(
        params, pivot, target, steps=300, enough=0.001, tell=steps.append
    )
    assert likeness.lpips[0] <= 0.001 and sum(steps) == 300
    assert len(steps) < 30  # enough is enough
    again, _ = inverter.tune(tuned, pivot, target, steps=300, enough=0.001)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, tuned, again))
    _, before = inverter.tune(params, pivot, target, steps=0)
    assert before.lpips[0] > likeness.lpips[0] and before.psnr[0] < likeness.psnr[0]
