"""Directions: closed forms against NumPy, planted planes, models' first maps, and their file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from toys import draw_variables

from ganjax import UserError, tasks
from ganjax.config import with_variants
from ganjax.data.avatars import ATTRIBUTES
from ganjax.editing import directions
from ganjax.editing.directions import Directions
from ganjax.training.state import Trained
from ganjax.weights.safetensors import read_safetensors, write_safetensors


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_same_lines(a, b, atol=1e-3):
    """Rows are equal but for their signs."""
    np.testing.assert_allclose(np.abs(np.sum(a * b, axis=1)), 1, atol=atol)


# SeFa


@pytest.mark.parametrize("normalize", [False, True])
def test_sefa_gives_the_right_singular_vectors(normalize):
    matrix = normal(0, 40, 6) * np.arange(1, 7)
    rows = matrix / np.linalg.norm(matrix, axis=1, keepdims=True) if normalize else matrix
    found = np.asarray(directions.sefa(jnp.asarray(matrix), 4, normalize=normalize))
    assert_same_lines(found, np.linalg.svd(rows)[2][:4])
    np.testing.assert_allclose(found @ found.T, np.eye(4), atol=1e-5)
    changes = np.linalg.norm(rows @ found.T, axis=0)
    assert (np.diff(changes) < 0).all()


def test_signs_do_not_depend_on_those_of_the_map():
    matrix = normal(1, 30, 5)
    signs = np.where(np.arange(30)[:, None] % 2, 1, -1)
    found = directions.sefa(jnp.asarray(matrix), 5)
    np.testing.assert_allclose(found, directions.sefa(jnp.asarray(signs * matrix), 5), atol=1e-4)
    assert (np.take_along_axis(np.asarray(found), np.abs(found).argmax(1)[:, None], 1) > 0).all()


def test_a_row_of_zeros_changes_nothing():
    matrix = normal(2, 9, 3)
    padded = np.concatenate([matrix, np.zeros((2, 3), np.float32)])
    found = directions.sefa(jnp.asarray(padded), 3)
    np.testing.assert_allclose(found, directions.sefa(jnp.asarray(matrix), 3), atol=1e-5)


# GANSpace


@pytest.mark.parametrize("linear", [True, False])
def test_pca_is_regressed_to_z_by_least_squares(linear):
    z = normal(3, 500, 6)
    values = z @ (normal(4, 6, 12) * np.arange(1, 7)[:, None]) + 5
    values = values if linear else np.maximum(values, 0)
    found = np.asarray(directions.pca(jnp.asarray(values), jnp.asarray(z), 3))
    centered = values - values.mean(0)
    scores = centered @ np.linalg.svd(centered, full_matrices=False)[2][:3].T
    regressed = np.linalg.lstsq(scores, z - z.mean(0), rcond=None)[0]
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    units = regressed / np.linalg.norm(regressed, axis=1, keepdims=True)
    assert_same_lines(found / lengths, units)
    np.testing.assert_allclose(lengths[:, 0], np.std(z @ units.T, axis=0), rtol=1e-3)


def test_pca_of_a_linear_map_is_sefa_without_normalization():
    matrix = (normal(5, 50, 5) * [1, 2, 4, 8, 16]).astype(np.float32)
    z = normal(6, 20_000, 5)
    found = np.asarray(directions.pca(jnp.asarray(z @ matrix.T), jnp.asarray(z), 5))
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(lengths, 1, atol=0.03)  # of N(0, I)
    sefa = np.asarray(directions.sefa(jnp.asarray(matrix), 5, normalize=False))
    assert_same_lines(found / lengths, sefa, atol=1e-2)


# InterFaceGAN


def test_planted_planes_are_found_however_rare_their_value_is():
    z, planted = normal(7, 4000, 12), np.linalg.qr(normal(8, 12, 12))[0][:3]
    noise, thresholds = normal(9, 4000, 3), np.array([0, 1.5, -1.5])
    has = z @ planted.T + 0.2 * noise > thresholds
    normals, accuracy = directions.attributes(jnp.asarray(z), jnp.asarray(has), jnp.ones_like(has))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert (np.sum(normals * planted, axis=1) > 0.97).all()
    assert (np.asarray(accuracy) > 0.88).all()


def test_labels_of_chance_are_told_by_chance():
    z, has = normal(10, 2000, 8), normal(11, 2000, 1) > 1.5
    _, accuracy = directions.attributes(jnp.asarray(z), jnp.asarray(has), jnp.ones_like(has))
    assert abs(float(accuracy[0]) - 0.5) < 0.1  # not 0.93, the share of those without


def test_the_planes_are_those_of_weighted_ridge_regression():
    """Compared with SciPy's minimum of the loss as it is written in papers."""
    z, seen = normal(12, 300, 4), normal(13, 300, 1) > -1
    has = (z[:, :1] + normal(14, 300, 1)) > 0.5
    normals, accuracy = directions.attributes(*map(jnp.asarray, (z, has, seen)))
    x, kept = np.concatenate([z, np.ones((300, 1))], 1), seen[:, 0]
    train = kept & (np.arange(300) < 210)
    y = has[:, 0]

    def loss(plane):
        sides = [
            np.mean(np.logaddexp(0, -sign * (x[train & side] @ plane)))
            for sign, side in ((1, y), (-1, ~y))
        ]
        return np.mean(sides) + 0.05 * np.sum(plane[:-1] ** 2)

    plane = minimize(loss, np.zeros(5), tol=1e-10).x
    unit = plane[:-1] / np.linalg.norm(plane[:-1])
    np.testing.assert_allclose(normals[0], unit, atol=2e-3)
    test = kept & (np.arange(300) >= 210)
    right = (expit(x @ plane) > 0.5) == y
    expected = np.mean([right[test & side].mean() for side in (y, ~y)])
    np.testing.assert_allclose(accuracy[0], expected, atol=0.02)


def test_orthogonal_directions_leave_the_others():
    a, others = normal(15, 8), normal(16, 3, 8)
    found = np.asarray(directions.orthogonalize(jnp.asarray(a), jnp.asarray(others)))
    np.testing.assert_allclose(others @ found, 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-5)
    # InterFaceGAN's formula for one other.
    n1, n2 = (v / np.linalg.norm(v) for v in (a, others[0]))
    rest = n1 - (n1 @ n2) * n2
    one = directions.orthogonalize(jnp.asarray(a), jnp.asarray(others[:1]))
    np.testing.assert_allclose(one, rest / np.linalg.norm(rest), atol=1e-5)
    twice = jnp.asarray(np.concatenate([others, others]))  # a matrix without full rank
    np.testing.assert_allclose(directions.orthogonalize(jnp.asarray(a), twice), found, atol=1e-5)


def test_names_of_values_are_all_different():
    names = [f"{name}_{value}" for name, values in ATTRIBUTES.items() for value in values]
    assert len({*names}) == len(names)


# The first maps of models

SMALL = {
    "dcgan": ("dcgan", {"data.image_size": "16", "model.width": 4, "model.latent_size": 6}),
    "sngan": ("gan", {"model.width": 4, "model.latent_size": 6}),
    "r3gan": ("gan", {"model.form": "r3gan", "model.width": 8, "model.latent_size": 6}),
    "progressive": (
        "progressive",
        {"model.width": 8, "model.latent_size": 6, "data.labels": True, "model.classes": 3},
    ),
    "text": ("text", {"model.latent_size": 6}),
}


@pytest.mark.parametrize("name", SMALL)
def test_models_project_z_as_their_generators_do(name):
    """What moves the first layers' outputs moves the projection alike, by Flax's own record."""
    game, fields = SMALL[name]
    module = tasks.module(game)
    config = with_variants(module.defaults(), "smoke", {"smoke": module.SMOKE})
    config.update_from_flattened_dict(fields)
    model = tasks.make_model(config)
    generator = module._networks(config)[1 if game == "text" else 0]
    z, moved = normal(17, 2, 6), normal(18, 2, 6)
    if game == "progressive":  # which looks at the direction of z alone
        z, moved = (np.sqrt(6) * v / np.linalg.norm(v, axis=1, keepdims=True) for v in (z, moved))
    words = {
        "dcgan": {"train": False},
        "gan": {
            "condition": normal(19, 2, sum(config.model.get("attributes", ()))),
            "train": False,
        },
        "progressive": {"labels": jnp.array([0, 2])},
        "text": {"sentences": normal(20, 2, 32)},
    }[game]
    variables = draw_variables(generator, jnp.asarray(z), **words)
    names = {"project", "scale_hidden", "shift_hidden"}

    @jax.jit  # which leaves out all that comes after those layers
    def first_layers(variables, z):
        _, kept = generator.apply(
            variables, z, **words, mutable=["intermediates"],
            capture_intermediates=lambda layer, _: layer.name in names,
        )  # fmt: skip
        return jnp.concatenate([x.reshape(2, -1) for x in jax.tree.leaves(kept)], axis=1)

    trained = Trained(jnp.int32(0), {"generator": variables})
    found = model.project(trained, jnp.asarray(moved - z))
    expected = np.asarray(first_layers(variables, moved) - first_layers(variables, z))
    assert found.shape == expected.shape
    if game == "progressive":  # but for a constant
        expected = expected * np.linalg.norm(found) / np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected, atol=1e-4)


# Files

FOUND = Directions(
    ("glasses_round", "hat_cap", "sefa_1"),
    normal(21, 3, 5),
    np.array([0.8, 0.7, np.nan], np.float32),
    "attributes",
    "step 3 1234abcd",
)


def test_a_file_holds_all_of_it(tmp_path):
    path = tmp_path / "a.safetensors"
    directions.write(path, FOUND)
    content = path.read_bytes()
    again = directions.read(path, 5)
    assert again[:1] + again[3:] == FOUND[:1] + FOUND[3:]
    np.testing.assert_array_equal(again.vectors, FOUND.vectors)
    np.testing.assert_array_equal(again.accuracy, FOUND.accuracy)
    directions.write(path, again)
    assert path.read_bytes() == content


def test_other_files_end_in_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match="does not exist; write it with `ganjax edit --find`"):
        directions.read(path, 5)
    directions.write(path, FOUND)
    with pytest.raises(UserError, match="z has 5 values, not 6; find the directions of this one"):
        directions.read(path, 6)
    for damaged in (
        FOUND._replace(names=("a", "b")),
        FOUND._replace(names=("a", "a", "b")),
        FOUND._replace(vectors=np.full((3, 5), np.nan, np.float32)),
        FOUND._replace(vectors=FOUND.vectors[0]),
        FOUND._replace(accuracy=FOUND.accuracy[:2]),
    ):
        directions.write(path, damaged)
        with pytest.raises(UserError, match="holds no directions; give a file of"):
            directions.read(path, 5)
    write_safetensors(path, read_safetensors(path), {})
    with pytest.raises(UserError, match="holds no directions"):
        directions.read(path, 5)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="is no whole safetensors file"):
        directions.read(path, 5)


def test_strengths_add_up():
    shift = FOUND.shift({"glasses_round": 2.0, "sefa_1": -0.5})
    np.testing.assert_allclose(shift, 2 * FOUND.vectors[:1] - 0.5 * FOUND.vectors[2:], rtol=1e-6)
    kept = FOUND.shift({"glasses_round": 2.0}, keep=["hat_cap"])[0]
    assert abs(kept @ FOUND.vectors[1]) < 1e-5
    np.testing.assert_allclose(
        np.linalg.norm(kept), 2 * np.linalg.norm(FOUND.vectors[0]), rtol=1e-5
    )
    with pytest.raises(UserError, match="--direction hat_cap is all that --keep names"):
        FOUND.shift({"hat_cap": 1.0}, keep=["sefa_1", "hat_cap"])
    with pytest.raises(UserError, match="--direction glasses_rund: did you mean glasses_round?"):
        FOUND.shift({"glasses_rund": 1.0})
    with pytest.raises(UserError, match="--keep xyz: there is glasses_round, hat_cap, sefa_1"):
        FOUND.shift({"hat_cap": 1.0}, keep=["xyz"])


def test_strengths_are_read():
    assert directions.parse(["a=2", "b=-1.5"]) == {"a": 2.0, "b": -1.5}
    for text in ("a", "a=", "=2", "a=x", "a=nan", "a=inf"):
        with pytest.raises(UserError, match="give NAME=STRENGTH, like sefa_1=2"):
            directions.parse([text])
    with pytest.raises(UserError, match="--direction a is given twice"):
        directions.parse(["a=1", "a=2"])
