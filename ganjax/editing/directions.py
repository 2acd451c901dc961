"""Directions of a generator's latent space: where z moves along one, the image changes one way.

SeFa (Shen and Zhou 2021, arXiv:2007.06600) and GANSpace (Härkönen et al. 2020, arXiv:2004.02546)
find them in the first linear map of z, InterFaceGAN (Shen et al. 2020, arXiv:1907.10786) by labels
of drawn images.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax.errors import UserError, suggest
from ganjax.weights.safetensors import read_metadata, read_safetensors, write_safetensors

FILE = "directions.safetensors"  # in the folder of a run
HELD_OUT = 0.3  # of the samples
LEAST = 0.02  # of the samples have a value, and lack it
_RIDGE = 0.1
_NEWTON_STEPS = 10
_OVERSAMPLING = 10


class Directions(NamedTuple):
    """Directions of one model.

    Attributes:
      names: D of them, all different.
      vectors: float32 [D, Z], what a strength of 1 adds to z.
      accuracy: float32 [D]: of images not used to find it, the share that the direction tells
        right, a mean over those with the value and those without; NaN where there are no labels.
      method: "sefa", "pca" or "attributes".
      checkpoint: the name of the one that they were found in.
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    accuracy: np.ndarray
    method: str
    checkpoint: str

    def shift(self, strengths: Mapping[str, float], keep: Sequence[str] = ()) -> np.ndarray:
        """What these strengths add to z, [1, Z].

        Args:
          keep: directions that the others shall leave as they are; see `orthogonalize`.

        Raises:
          UserError: there is no direction of a name, or nothing of one is left.
        """
        total = np.zeros((1, self.vectors.shape[1]), np.float32)
        for name, strength in strengths.items():
            vector = self._vector("--direction", name)
            if keep:
                others = jnp.stack([self._vector("--keep", other) for other in keep])
                rest = np.asarray(orthogonalize(jnp.asarray(vector), others))
                if not rest.any():
                    raise UserError(f"--direction {name} is all that --keep names; keep less")
                vector = np.linalg.norm(vector) * rest
            total += np.float32(strength) * vector
        return total

    def _vector(self, option: str, name: str) -> np.ndarray:
        if name not in self.names:
            raise UserError(f"{option} {name}: {suggest(name, self.names, most=20)}")
        return self.vectors[self.names.index(name)]


def sefa(matrix: Array, count: int, *, normalize: bool = True) -> Array:
    """The unit vectors that a linear map changes most, unit [count, Z] (SeFa, equation 7).

    They are the eigenvectors of A^T A, those of the largest eigenvalues first.

    Args:
      matrix: A, [K, Z].
      count: Z or fewer.
      normalize: give each row of A unit length first, as the public code does.
    """
    if normalize:
        matrix = _unit(matrix)
    _, vectors = jnp.linalg.eigh(matrix.T @ matrix)
    return _signed(vectors.T[::-1][:count])


def pca(values: Array, z: Array, count: int) -> Array:
    """The principal components of activations, regressed to z: [count, Z] (GANSpace, section 2.2).

    Each is as long as the standard deviation of z along it. They are found in a random sketch of
    Z + 10 columns (Halko et al. 2011), which is exact where the activations are linear in z.

    Args:
      values: activations of z [N, Z], [N, K].
      count: the smaller of Z and K, or fewer.
    """
    values, z = values - values.mean(0, keepdims=True), z - z.mean(0, keepdims=True)
    columns = min(z.shape[1] + _OVERSAMPLING, *values.shape)
    test = jax.random.normal(jax.random.key(0), (values.shape[1], columns))
    basis, _ = jnp.linalg.qr(values @ test)
    rotation, _, _ = jnp.linalg.svd(basis.T @ values, full_matrices=False)
    scores = basis @ rotation[:, :count]  # orthonormal columns: least squares are products
    directions = _signed(_unit(scores.T @ z))
    return directions * jnp.std(z @ directions.T, axis=0)[:, None]


def attributes(z: Array, has: Array, seen: Array) -> tuple[Array, Array]:
    """The normals of planes that part z with a value from z without it (InterFaceGAN, section 3.1).

    Logistic regression, in which both sides weigh alike, however rare the value is. The last
    `HELD_OUT` of the rows do not take part; they give the accuracy.

    Args:
      z: [N, Z].
      has: bool [N, D], whether image n has value d.
      seen: bool [N, D], whether that can be told; other rows do not count.

    Returns:
      Unit normals [D, Z] that point to images with the value, and accuracies [D] (`Directions`).
    """
    count = round(len(z) * (1 - HELD_OUT))
    with_bias = jnp.concatenate([z, jnp.ones((len(z), 1))], axis=1)
    weights = _balance(has[:count], seen[:count])

    def fit(one: tuple[Array, Array]) -> Array:
        return _regress(with_bias[:count], *one)

    planes = jax.lax.map(fit, (has[:count].T.astype(z.dtype), weights.T))
    right = (with_bias[count:] @ planes.T > 0) == has[count:]
    accuracy = jnp.sum(right * _balance(has[count:], seen[count:]), axis=0)
    return _unit(planes[:, :-1]), accuracy


def _balance(has: Array, seen: Array) -> Array:
    """Weights [N, D]: half for the seen rows that have a value, half for those that do not."""
    sides = [seen & side for side in (has, ~has)]
    return sum((s / jnp.maximum(2 * s.sum(0, keepdims=True), 1) for s in sides), jnp.zeros(()))


def _regress(x: Array, target: Array, weights: Array) -> Array:
    """Ridge logistic regression of [N] on x [N, F], whose last column is 1: Newton's steps."""
    ridge = _RIDGE * jnp.ones(x.shape[1]).at[-1].set(1e-6)

    def step(plane: Array, _) -> tuple[Array, None]:
        p = jax.nn.sigmoid(x @ plane)
        gradient = (weights * (p - target)) @ x + ridge * plane
        curvature = (x * (weights * p * (1 - p))[:, None]).T @ x + jnp.diag(ridge)
        return plane - jnp.linalg.solve(curvature, gradient), None

    return jax.lax.scan(step, jnp.zeros(x.shape[1]), None, length=_NEWTON_STEPS)[0]


def orthogonalize(direction: Array, others: Array) -> Array:
    """The unit vector nearest to `direction` [Z] that leaves `others` [M, Z] as they are.

    InterFaceGAN's conditional manipulation (section 3.2): what lies in their span is taken out;
    zeros where nothing is left.
    """
    direction = _unit(direction)
    rest = direction - jnp.linalg.lstsq(others.T, direction)[0] @ others
    return jnp.where(jnp.linalg.norm(rest) > 1e-3, _unit(rest), 0)


def _unit(rows: Array) -> Array:
    length = jnp.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / jnp.where(length > 0, length, 1)


def _signed(rows: Array) -> Array:
    """Rows of which the entry farthest from 0 is positive: an eigenvector has no sign."""
    largest = jnp.argmax(jnp.abs(rows), axis=1, keepdims=True)
    return rows * jnp.sign(jnp.take_along_axis(rows, largest, axis=1))


def parse(texts: Sequence[str]) -> dict[str, float]:
    """["hair_long=2", "sefa_1=-1.5"] -> strengths by name.

    Raises:
      UserError: one is not of that form, or a name is there twice.
    """
    strengths: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            strength = float(number)
        except ValueError:
            strength = math.nan
        if not name or not math.isfinite(strength):
            raise UserError(f"--direction {text}: give NAME=STRENGTH, like sefa_1=2")
        if name in strengths:
            raise UserError(f"--direction {name} is given twice; give it once")
        strengths[name] = strength
    return strengths


def write(path: Path, directions: Directions) -> None:
    """Writes a .safetensors file, whole or not at all.

    Raises:
      UserError: the file cannot be written.
    """
    metadata = {
        "directions": json.dumps(directions.names),
        "method": directions.method,
        "checkpoint": directions.checkpoint,
    }
    arrays = {"vectors": directions.vectors, "accuracy": directions.accuracy}
    write_safetensors(path, arrays, metadata)


def read(path: Path, size: int) -> Directions:
    """Reads what `write` wrote.

    Args:
      size: Z, of the model that they are for.

    Raises:
      UserError: there is no such file, it holds something else, or directions of another size.
    """
    if not path.exists():
        raise UserError(
            f"{path} does not exist; write it with `ganjax edit --find`, or name another with "
            "--directions"
        )
    arrays, metadata = read_safetensors(path), read_metadata(path)
    try:
        names = tuple(json.loads(metadata["directions"]))
        vectors, accuracy = (arrays[name].astype(np.float32) for name in ("vectors", "accuracy"))
        method, checkpoint = metadata["method"], metadata["checkpoint"]
        whole = accuracy.shape == (len(names),) == vectors.shape[:1] and vectors.ndim == 2
        whole &= all(isinstance(name, str) for name in names) and len({*names}) == len(names)
        whole &= bool(np.isfinite(vectors).all())
    except (KeyError, ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"{path} holds no directions; give a file of `ganjax edit --find`")
    if vectors.shape[1] != size:
        raise UserError(
            f"{path} is of a model whose z has {vectors.shape[1]} values, not {size}; find the "
            "directions of this one with `ganjax edit --find`"
        )
    return Directions(names, vectors, accuracy, method, checkpoint)
