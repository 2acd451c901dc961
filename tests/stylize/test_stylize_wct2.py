"""WCT2: wavelets that come together exactly, transfers of one pass, edges that stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_stylize import picture

from ganjax import ops, wct
from ganjax.errors import UserError
from ganjax.nets import stylizers, vgg, vgg16
from ganjax.stylize import load_model
from ganjax.trees import named_leaves
from ganjax.weights.safetensors import write_safetensors


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def drawn(module=None, width=2):
    """An encoder and a decoder of random weights, as He et al. start them."""
    random = np.random.default_rng(0)

    def draw(like):
        if len(like.shape) == 1:
            return np.full(like.shape, 0.1, np.float32)
        deviation = (2 / np.prod(like.shape[:-1])) ** 0.5
        return random.normal(scale=deviation, size=like.shape).astype(np.float32)

    images = jax.ShapeDtypeStruct((1, 16, 16, 3), "float32")
    module = module or vgg.VGG19("relu4_1", width)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    params = {"encoder": jax.tree.map(draw, shapes)}
    stylizer = stylizers.make_wct2(params)
    shapes = jax.eval_shape(stylizer.init, jax.random.key(0))
    return stylizer, params | jax.tree.map(draw, shapes)


def passing():
    """Weights by which every convolution passes the three colors on."""
    stylizer, params = drawn(width=3)

    def center(leaf):
        kernel = np.zeros_like(leaf)
        if leaf.ndim == 4:
            kernel[leaf.shape[0] // 2, leaf.shape[1] // 2, :3, :3] = np.eye(3)
        return kernel

    return stylizer, jax.tree.map(center, params)


def test_wavelets_are_an_orthogonal_transform():
    x = jnp.asarray(noise(2, 6, 8, 3))
    bands = ops.haar(x)
    low, high = np.array([1, 1]) / 2**0.5, np.array([-1, 1]) / 2**0.5
    blocks = np.asarray(x).reshape(2, 3, 2, 4, 2, 3)
    for got, (down, across) in zip(
        bands, ((low, low), (low, high), (high, low), (high, high)), strict=True
    ):
        wanted = np.einsum("bhiwjc,i,j->bhwc", blocks, down, across)
        np.testing.assert_allclose(got, wanted, atol=1e-6)
    np.testing.assert_allclose(ops.inverse_haar(bands), x, atol=1e-6)
    np.testing.assert_allclose(np.sum(bands**2), np.sum(x**2), rtol=1e-5)


def test_a_pass_is_its_formula():
    """The first levels and the last, and the shapes of all between."""
    stylizer, params = drawn()
    seen = []

    def note(depth, features):
        seen.append((depth, features))
        return features

    image = jnp.float32(picture(32, 32)[None] / 127.5 - 1)
    plain = stylizer.stylize(params, image, note)
    assert [depth for depth, _ in seen] == list(range(7)) and plain.shape == image.shape
    shapes = [features.shape[1:] for _, features in seen]
    assert shapes[:4] == [(32 >> n, 32 >> n, 2 << n) for n in range(4)]
    assert shapes[4:] == shapes[2::-1]  # the decoder mirrors the encoder
    encoder, decoder = params["encoder"], params["wavelet"]["decoder"]

    def conv(x, p, size=3):
        return vgg.Conv(p["bias"].shape[0], size).apply({"params": p}, x)

    x = jax.nn.relu(conv(conv((image + 1) / 2, encoder["conv0"], 1), encoder["conv1_1"]))
    np.testing.assert_allclose(x, seen[0][1], atol=1e-5)
    x = jax.nn.relu(conv(x, encoder["conv1_2"]))
    x = jax.nn.relu(conv(ops.haar(x)[0], encoder["conv2_1"]))
    np.testing.assert_allclose(x, seen[1][1], atol=1e-5)
    np.testing.assert_allclose(conv(seen[6][1], decoder["conv1_1"]) * 2 - 1, plain, atol=1e-5)


def test_a_transfer_keeps_to_the_range_of_the_content():
    content, style = noise(1, 8, 8, 3), 9 * noise(1, 8, 8, 3)[:, ::-1, :, ::-1]
    transform = wct.RANGED_TRANSFORM
    mask = np.zeros((1, 8, 8, 1), np.float32)
    mask[:, :4] = 1
    content, style = jnp.asarray(content), jnp.asarray(style)
    found = transform.statistics(transform.measure(content, mask))
    styles = jax.tree.map(lambda x: x[None], transform.statistics(transform.measure(style)))
    got = transform.apply(content, found, styles, jnp.ones(1))
    inside = content[:, :4]
    assert got.min() == inside.min() and got.max() == inside.max()
    plain = wct.wct(content, style, content_mask=jnp.asarray(mask))[:, :4]
    np.testing.assert_allclose(
        got[:, :4], jnp.clip(plain, inside.min(), inside.max()), rtol=1e-4, atol=1e-4
    )


def test_ranges_of_parts_are_those_of_the_whole():
    features = jnp.asarray(noise(1, 6, 5, 3))
    nothing = jnp.zeros((1, 6, 5, 1))
    transform = wct.RANGED_TRANSFORM
    whole = transform.measure(features)
    for library in (jnp.asarray, np.asarray):
        parts = [
            jax.tree.map(library, transform.measure(*part))
            for part in ((features, nothing), (features[:, :2],), (features[:, 2:],))
        ]
        for order in (parts, parts[::-1]):
            together = transform.combine(transform.combine(*order[:2]), order[2])
            for got, wanted in zip(together, whole, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_edges_stay_where_they_are():
    """Weights that pass colors on give the image back, and its edges in the colors of the style."""
    stylizer, params = passing()
    grid = np.full((64, 64, 3), 0.2, np.float32)
    grid[5::9], grid[:, 3::7] = 0.7, -0.5  # lines of one pixel, at no multiple of 8
    grid = jnp.asarray(grid + 0.01 * noise(*grid.shape))[None]
    same = stylizer.stylize(params, grid, lambda depth, features: features)
    np.testing.assert_allclose(same, grid, atol=1e-5)

    style = jnp.float32(picture(64, 64, 1, 60, 200)[None] / 127.5 - 1)
    styles = jax.tree.map(lambda x: x[None], stylizer.encode_style(params, style))
    transfer = stylizers.blend_transfer(stylizer.transform, styles, jnp.ones(1))
    got = np.asarray(stylizer.stylize(params, grid, transfer))[0]
    np.testing.assert_allclose(got.mean((0, 1)), style[0].mean((0, 1)), atol=0.05)
    for axis, first, step in ((0, 5, 9), (1, 3, 7)):
        profile = got.mean((1 - axis, 2))
        lines = np.zeros(64, bool)
        lines[first::step] = True
        profile *= np.sign(profile[lines].mean() - profile[~lines].mean())
        contrast = profile[lines].mean() - profile[~lines].mean()
        assert profile[lines].min() - profile[~lines].max() > 0.4 * contrast > 0.02


def test_weights_are_told_from_others(tmp_path):
    path, (_, params) = tmp_path / "w.safetensors", drawn()
    write_safetensors(path, named_leaves(params), {})
    model = load_model("wct2", path=str(path))
    assert model.stylizer.depths == 7 and model.stylizer.multiple == 8
    for form, name, message in (
        ("wct2", "", "needs --weights of your own training"),
        ("wct2", "adain_compact", "are not WCT2's"),
        ("wct", str(path), "are not WCT's"),
    ):
        with pytest.raises(UserError, match=message):
            load_model(form, path=name)
    params["wavelet"]["decoder"]["conv1_1"]["bias"] = np.zeros(4, np.float32)
    write_safetensors(path, named_leaves(params), {})
    with pytest.raises(UserError, match="hold another network"):
        load_model("wct2", path=str(path))


def test_a_vgg16_encodes_as_well():
    stylizer, params = drawn(vgg16.VGG16(dense=False, width=2))
    seen = {}
    image = jnp.float32(picture(16, 24)[None] / 127.5 - 1)
    stylizer.stylize(params, image, lambda depth, x: seen.setdefault(depth, x))
    names = ("relu1_1",)
    wanted = vgg16.VGG16(dense=False, width=2).apply({"params": params["encoder"]}, image, names)
    np.testing.assert_allclose(seen[0], wanted["relu1_1"], atol=1e-5)
    assert seen[3].shape == (1, 2, 3, 16)
