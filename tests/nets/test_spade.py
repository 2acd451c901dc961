"""SPADE's and OASIS's networks: published sizes, noise, how far pixels see; see also the task's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.nets import spade
from ganjax.nets.spade import Generator, LabelMap, PatchDiscriminators, SegmentationDiscriminator
from ganjax.trees import named_leaves


def _count(module, *inputs):
    variables = jax.eval_shape(partial(module.init, train=True), jax.random.key(0), *inputs)
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("form", "classes", "noise", "count"),
    [("oasis", 151, 64, 74_314_691), ("normal", 151, 0, 96_492_483), ("most", 36, 0, 93_570_659)],
)
def test_generators_have_the_published_sizes(form, classes, noise, count):
    """SPADE tells 96.5 million for ADE20K; "most" of other sizes is added up by hand."""
    module = Generator(form, classes)
    where = LabelMap(jnp.zeros((1, 128, 256), jnp.uint8), jnp.zeros((1, noise)) if noise else None)
    assert _count(module, where) == count
    assert module.multiple == {"oasis": 32, "normal": 32, "most": 128}[form]


def test_discriminators_have_the_published_sizes():
    images = jnp.zeros((1, 64, 128, 3))
    assert _count(SegmentationDiscriminator(151), images) == 22_258_904
    where = LabelMap(jnp.zeros((1, 64, 128), jnp.uint8))
    # Of pix2pix's PatchGAN of 154 channels without biases before a norm, twice.
    one = 16 * (154 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1
    assert _count(PatchDiscriminators(151), images, where) == 2 * one


def test_edges_are_where_a_neighbor_is_another_instance_and_one_channel_more():
    """As SPADE's `get_edges` has them; on Cityscapes' 35 labels it tells 36 channels."""
    instances = np.array([[7, 7, 7, 2], [7, 7, 7, 2], [7, 7, 7, 7]], np.uint8)
    wanted = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(spade.edges_of(jnp.asarray(instances)[None])[0], wanted)
    labels = jnp.zeros((1, 128, 256), jnp.uint8)
    where, without = LabelMap(labels, edges=labels > 0), LabelMap(labels)
    assert _count(Generator("most", 35), where) == _count(Generator("most", 36), without)
    images = jnp.zeros((1, 128, 256, 3))
    more = 2 * 16 * 64  # of a channel of both scales' first layers
    assert _count(PatchDiscriminators(35), images, where) == more + _count(
        PatchDiscriminators(35), images, without
    )


def test_noise_is_the_same_whether_it_is_spread_or_not():
    """In both forms a pixel at the border meets zeros around."""
    rng = np.random.default_rng(0)
    noise, kernel = rng.normal(size=(2, 3)), rng.normal(size=(3, 3, 3, 4))
    for size in ((1, 2), (3, 5)):
        spread = jnp.broadcast_to(noise[:, None, None], (2, *size, 3))
        wanted = spade.ops.conv(spread, jnp.asarray(kernel, jnp.float32), padding=1)
        got = spade._spread_conv(jnp.asarray(noise), jnp.asarray(kernel, jnp.float32), size)
        np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.fixture(scope="module")
def drawn():
    """A small OASIS generator in use: its draw function, and weights that are not tiny."""
    module = Generator("oasis", 3, width=1, ups=2)
    where = LabelMap(jnp.zeros((1, 32, 32), jnp.uint8), jnp.zeros((1, 4)))
    shapes = jax.eval_shape(partial(module.init, train=True), jax.random.key(0), where)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape).astype(np.float32)), shapes
    )
    for name in named_leaves(shapes):
        if name.endswith("var"):
            role, *path, last = name.split("/")
            tree = variables[role]
            for part in path:
                tree = tree[part]
            tree[last] = jnp.ones_like(tree[last])
    draw = jax.jit(partial(module.apply, variables, train=False))
    return module, draw


@pytest.mark.slow
def test_a_pixel_sees_no_farther_than_reach(drawn):
    """Nor does noise reach farther, that is drawn anew at some pixels: a strip at the left."""
    module, draw = drawn
    rng, width = np.random.default_rng(1), 96
    labels = rng.integers(0, 3, (1, 32, width)).astype(np.uint8)
    noise = np.broadcast_to(rng.normal(size=4).astype(np.float32), (1, 32, width, 4)).copy()
    images = draw(LabelMap(labels, noise))
    labels[:, :, :32], noise[:, :, :32] = 2 - labels[:, :, :32], 1
    changed = np.abs(draw(LabelMap(labels, noise)) - images).max(axis=(0, 1, 3)) > 0
    assert changed[:32].all() and not changed[32 + module.reach :].any()
