"""Whitening and coloring against the formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ganjax import matrices, wct
from ganjax.errors import UserError


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


def draw(*shape, seed=0):
    """Correlated channels of other sizes and means, float64."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(shape[-1], shape[-1])) + 2 * np.eye(shape[-1])
    return rng.normal(size=shape) @ mix + rng.normal(size=shape[-1:])


def pixels(x, mask=None):
    x = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    return x if mask is None else x[np.asarray(mask).reshape(-1) > 0]


def published(content, style, threshold=1e-5):
    """Li et al. 2017, section 3.2, on pixels [N, C], by singular values as their code has it."""
    mean = content.mean(0)
    u, s, _ = np.linalg.svd(np.cov((content - mean).T))
    kept = s > threshold
    white = (content - mean) @ (u[:, kept] / np.sqrt(s[kept])) @ u[:, kept].T
    v, t, _ = np.linalg.svd(np.cov(style.T))
    kept = t > threshold
    return white @ (v[:, kept] * np.sqrt(t[kept])) @ v[:, kept].T + style.mean(0)


CONTENT, STYLE = draw(2, 9, 7, 5), draw(2, 6, 8, 5, seed=1)
CONTENT_MASK = (np.random.default_rng(2).random((2, 9, 7, 1)) > 0.4).astype(np.float64)
STYLE_MASK = (np.random.default_rng(3).random((2, 6, 8, 1)) > 0.4).astype(np.float64)


def test_the_transfer_is_the_published_one():
    got = wct.wct(CONTENT.astype(np.float32), STYLE.astype(np.float32))
    for row, content, style in zip(got, CONTENT, STYLE, strict=True):
        wanted = published(pixels(content), pixels(style)).reshape(content.shape)
        np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-4)


def test_covariances_become_the_styles():
    with jax.enable_x64(True):
        content, style = jnp.asarray(CONTENT), jnp.asarray(STYLE)
        options = {"content_mask": jnp.asarray(CONTENT_MASK), "style_mask": jnp.asarray(STYLE_MASK)}
        got = jax.jit(wct.wct)(content, style, **options)
        white = wct.whiten(content)
        again = wct.color(white, style)
    for b in range(2):
        inside, outside = (pixels(got[b], m) for m in (CONTENT_MASK[b], 1 - CONTENT_MASK[b]))
        wanted = pixels(STYLE[b], STYLE_MASK[b])
        np.testing.assert_allclose(np.cov(inside.T), np.cov(wanted.T), atol=1e-9)
        np.testing.assert_allclose(inside.mean(0), wanted.mean(0), atol=1e-9)
        np.testing.assert_array_equal(outside, pixels(CONTENT[b], 1 - CONTENT_MASK[b]))
        np.testing.assert_allclose(np.cov(pixels(white[b]).T), np.eye(5), atol=1e-9)
        np.testing.assert_allclose(np.cov(pixels(again[b]).T), np.cov(pixels(STYLE[b]).T))


def test_directions_without_variance_stay_without():
    """Features of rank 2 in 5 channels: nothing is blown up, and nothing is made of nothing."""
    flat = CONTENT[0, ..., :2] @ np.random.default_rng(4).normal(size=(2, 5))
    got = wct.wct(flat.astype(np.float32), STYLE[0].astype(np.float32))
    values = np.linalg.eigvalsh(np.cov(pixels(got).T))
    assert np.isfinite(got).all() and (values > 1e-4).sum() == 2
    same = wct.wct(flat.astype(np.float32), flat.astype(np.float32))
    np.testing.assert_allclose(same, flat, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("side", ["content_mask", "style_mask"])
def test_masks_of_fewer_than_two_pixels_leave_the_content(side, count):
    content, style = CONTENT[0].astype(np.float32), STYLE[0].astype(np.float32)
    mask = np.zeros(((content if side == "content_mask" else style).shape[0:2]) + (1,), np.float32)
    mask.reshape(-1)[:count] = 1
    np.testing.assert_array_equal(wct.wct(content, style, **{side: mask}), content)


def test_the_same_to_the_bit_and_row_by_row():
    content, style = CONTENT.astype(np.float32), STYLE.astype(np.float32)
    transfer = jax.jit(wct.wct)
    first = transfer(content, style)
    np.testing.assert_array_equal(first, transfer(content, style))
    np.testing.assert_allclose(jax.vmap(wct.wct)(content, style), first, rtol=1e-4, atol=1e-4)
    half = wct.wct(content, style, 0.25)
    np.testing.assert_allclose(half, 0.75 * content + 0.25 * first, rtol=1e-4, atol=1e-4)
    low = wct.wct(jnp.asarray(content, jnp.bfloat16), jnp.asarray(style, jnp.bfloat16))
    assert low.dtype == jnp.bfloat16
    assert np.abs(np.asarray(low, np.float32) - first).mean() < 0.05


def test_products_give_what_eigenvalues_give():
    content, style = CONTENT.astype(np.float32), STYLE.astype(np.float32)
    got = wct.wct(content, style, method="newton_schulz")
    wanted = wct.wct(content, style)
    assert np.abs(got - wanted).max() < 1e-3 * np.abs(wanted).max()


def test_moments_of_parts_are_those_of_the_whole():
    rows = (slice(0, 4), slice(4, 9))
    parts = [wct.channel_covariances(jnp.float32(CONTENT[:, r]), CONTENT_MASK[:, r]) for r in rows]
    whole = wct.channel_covariances(jnp.float32(CONTENT), CONTENT_MASK)
    for got, wanted in zip(wct.combine_moments(*parts), whole, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_differences():
    """Also where eigenvalues coincide, and where one is left out."""
    with jax.enable_x64(True):
        plain = jnp.asarray(np.cov(pixels(CONTENT[0]).T))
        for matrix in (plain, jnp.diag(jnp.array([1.0, 1.0, 2.0, 2.0, 3.0]))):
            check_grads(lambda m: matrices.roots((m + m.T) / 2), (matrix,), 1, ["rev"])
        singular = jnp.diag(jnp.array([0.0, 0.0, 1.0, 1.0, 2.0]))
        gradient = jax.grad(lambda m: sum(x.sum() for x in matrices.roots(m, 1e-5)))(singular)
        assert np.isfinite(gradient).all()
        gradient = jax.grad(lambda x: wct.wct(x, x[::-1]).var())(jnp.ones((4, 4, 3)))
        assert np.isfinite(gradient).all()


def test_mistakes_are_one_line():
    x = jnp.ones((4, 4, 3))
    with pytest.raises(UserError, match="3 and 2 channels"):
        wct.wct(x, x[..., :2])
    with pytest.raises(UserError, match="from 0 to 1"):
        wct.wct(x, x, 1.5)
    with pytest.raises(UserError, match="give an array of floats"):
        wct.wct(jnp.ones((4, 4, 3), jnp.int32), x)
    with pytest.raises(UserError, match="mask has the shape"):
        wct.wct(x, x, style_mask=jnp.ones((2, 2, 1)))
