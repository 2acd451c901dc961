"""Stylizing whole images: tiles, masks, mixtures, padding, held to the plain form and to algebra.

`toy` is a stylizer of two AdaINs and a linear end that compiles in no time; what depends on the
networks themselves is shown on them, with random weights.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ganjax import adain, ops
from ganjax.adain import channel_statistics
from ganjax.data import folder
from ganjax.data.folder import Picture
from ganjax.errors import UserError
from ganjax.images import contained, opaque, resize, to_float
from ganjax.nets import stylizers, vgg
from ganjax.nets.stylizers import Stylizer, blend_transfer
from ganjax.stylize import Model, encode_style, jobs, load_model, recolor, stylize, transfer
from ganjax.weights.safetensors import write_safetensors


def drawn_params(shapes, seed=0):
    """He-normal kernels; compiling a network's own `init` takes longer."""
    random = np.random.default_rng(seed)

    def draw(like):
        deviation = (1 / np.prod(like.shape[:-1])) ** 0.5 if len(like.shape) > 1 else 0.1
        return random.normal(scale=deviation, size=like.shape).astype(np.float32)

    return jax.tree.map(draw, shapes)


@cache
def compact() -> Model:
    stylizer = stylizers.make_compact(8)
    return Model(stylizer, drawn_params(jax.eval_shape(stylizer.init, jax.random.key(0))), "drawn")


@cache
def published(layer: str) -> Model:
    """AdaIN on VGG-19, of random weights."""
    images = jnp.zeros((1, 16, 16, 3))
    encoder = jax.eval_shape(vgg.VGG19(last=layer).init, jax.random.key(0), images)["params"]
    stylizer = stylizers.make_vgg(drawn_params(encoder), layer=layer)
    params = drawn_params(jax.eval_shape(stylizer.init, jax.random.key(0)))
    # Nearly all of what it draws shall be in range: what is clipped is alike for nothing.
    params["conv1_1"] = {"kernel": 0.1 * params["conv1_1"]["kernel"], "bias": np.full(3, 0.5, "f")}
    return Model(stylizer, params, "drawn")


@cache
def toy(depths: int = 2) -> Model:
    """Features at 1/2 normalized, convolved (2 pixels at 1/2), perhaps normalized again."""
    random = np.random.default_rng(3)
    kernel = (random.normal(size=(3, 3, 12, 12)) / 9).astype(np.float32)
    end = np.linalg.qr(random.normal(size=(12, 12)))[0].astype(np.float32)

    def conv(x):
        return ops.conv(ops.pad_reflect(x, 1), jnp.asarray(kernel))

    def encode(params, images):
        return jnp.einsum("...i,ij->...j", ops.space_to_depth(images), end)

    def encode_style(params, images, mask=None):
        features = encode(params, images)
        small = None if mask is None else ops.shrink(mask, features.shape[1:3])
        found = [features, conv(features)][:depths]
        return [channel_statistics(x, mask=small) for x in found]

    def draw(params, images, transfer):
        x = transfer(0, encode(params, images))
        if depths == 2:
            x = transfer(1, conv(jax.nn.relu(x)))
        return ops.depth_to_space(jnp.einsum("...i,ji->...j", x, end))

    # The end is the inverse of the beginning: with one AdaIN, the own style gives the content back.
    stylizer = Stylizer(lambda rng: {}, encode_style, draw, adain.TRANSFORM, depths, 4, 4)
    return Model(stylizer, {}, "toy")


def picture(height: int, width: int, seed: int = 0, low: int = 60, high: int = 200) -> np.ndarray:
    """Waves, an edge and noise: neither flat nor the same in any two places."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 40
    waves = [np.sin(a * x + b * y + c) for a, b, c in random.uniform(-3, 3, (3, 3))]
    image = 0.5 + 0.35 * np.stack(waves, axis=-1) + random.normal(0, 0.1, (height, width, 3))
    image[:, width // 3 :, seed % 3] *= 0.6
    return np.uint8(low + (high - low) * image.clip(0, 1))


def soft_masks(count: int, height: int, width: int) -> np.ndarray:
    """[N, H, W, 1]; they overlap, and together leave the top free."""
    y, x = np.mgrid[0:height, 0:width]
    columns = [np.clip(1.5 - np.abs(x / width * count - n - 0.5), 0, 1) for n in range(count)]
    masks = np.stack(columns)[..., None] * (y >= height / 4)[None, :, :, None]
    return masks.astype(np.float32)


def close(a, b, tolerance=1):
    assert a.dtype == b.dtype == np.uint8
    np.testing.assert_allclose(a.astype(int), b.astype(int), atol=tolerance)


def by_styles(model: Model, contents, styles, *arguments, **options):
    encoded = [encode_style(model, style) for style in styles]
    return stylize(model, contents, [encoded] * len(contents), *arguments, **options)


# Tiles


@pytest.mark.parametrize(
    ("size", "tile", "options"),
    [
        ((64, 64), 16, {}),
        ((33, 50), 5, {"alpha": 0.4, "masks": 2, "keep_colors": True}),
        ((7, 13), 4, {"masks": 1}),
        ((1, 1), 16, {"alpha": 0.7}),
    ],
)
def test_tiles_are_the_whole(size, tile, options):
    content, styles = picture(*size), [picture(64, 64, 1), picture(50, 30, 2, 0, 255)]
    if count := options.get("masks"):
        options = options | {"masks": [soft_masks(count, *size)]}
    whole = by_styles(toy(), [content], styles, (0.3, 0.7), **options)[0]
    tiled = by_styles(toy(), [content], styles, (0.3, 0.7), tile=tile, **options)[0]
    assert whole.shape == tiled.shape == content.shape
    close(tiled, whole)


@pytest.mark.slow
def test_tiles_of_the_compact_model_are_the_whole():
    content, styles = picture(45, 300), [picture(64, 64, 1), picture(64, 64, 2, 0, 255)]
    options = {"alpha": 0.7, "masks": [soft_masks(2, 45, 300)]}
    whole = by_styles(compact(), [content], styles, (0.5, 0.5), **options)[0]
    tiled = by_styles(compact(), [content], styles, (0.5, 0.5), tile=96, **options)[0]
    assert np.mean((whole > 0) & (whole < 255)) > 0.5  # else all is alike for nothing
    close(tiled, whole)


@pytest.mark.slow
def test_tiles_of_the_published_form_are_the_whole():
    content, style = picture(90, 70), picture(64, 64, 1)
    model = published("relu2_1")
    whole = by_styles(model, [content], [style])[0]
    assert np.mean((whole > 0) & (whole < 255)) > 0.5
    close(by_styles(model, [content], [style], tile=16)[0], whole)


def test_tiles_under_a_black_mask_are_the_content():
    content = picture(33, 50)
    black = [np.zeros((1, 33, 50, 1), np.float32)]
    for tile in (0, 8):
        drawn = by_styles(toy(), [content], [picture(64, 64, 1)], masks=black, tile=tile)[0]
        np.testing.assert_array_equal(drawn, content)


@pytest.mark.slow
@pytest.mark.parametrize("model", [compact, lambda: published("relu4_1")], ids=["compact", "vgg19"])
def test_no_influence_goes_beyond_the_reach(model):
    """With fixed statistics: a strip, of which one column is changed."""
    model = model()
    network, width = model.stylizer, 288
    statistics = network.encode_style(model.params, jnp.asarray(to_float(picture(16, 16, 1)[None])))
    known = [(0 * mean, std / std) for mean, std in statistics]
    styles = [(mean[None], std[None]) for mean, std in statistics]
    images = np.repeat(to_float(picture(16, width)[None]), 3, axis=0)
    changed = (143, 152)  # at the end of a block and in its middle
    for row, column in enumerate(changed, 1):
        images[row, :, column] *= -1
    move = blend_transfer(adain.TRANSFORM, styles, jnp.ones(1), known=known)
    drawn = jax.jit(lambda x: network.stylize(model.params, x, move))(images)
    for row, column in enumerate(changed, 1):
        difference = np.abs(np.asarray(drawn[row] - drawn[0])).max(axis=(0, 2))
        distance = np.abs(np.arange(width) - column)
        assert np.all(difference[distance > network.reach] == 0)
        assert np.any(difference[distance > network.reach / 2] > 0)


# Sizes and batches


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 50), (64, 64)])
def test_a_batch_is_its_members(size):
    contents = [picture(*size, seed) for seed in range(3)]
    styles = [encode_style(toy(), picture(*size, 5 + seed)) for seed in range(3)]
    together = stylize(toy(), contents, [[style] for style in styles], alpha=0.8)
    for content, style, drawn in zip(contents, styles, together, strict=True):
        assert drawn.shape == content.shape
        close(stylize(toy(), [content], [[style]], alpha=0.8)[0], drawn)


def test_a_batch_of_the_compact_model_is_its_members():
    contents = [picture(7, 13, seed) for seed in range(2)]
    style = [encode_style(compact(), picture(33, 50, 7))]
    for content, drawn in zip(contents, stylize(compact(), contents, [style] * 2), strict=True):
        close(stylize(compact(), [content], [style])[0], drawn)


def test_padding_of_a_style_does_not_count(monkeypatch):
    """What lies out of the sight of its own pixels may be anything."""
    image = picture(65, 60)
    plain, padded = encode_style(compact(), image), transfer.pad_to_multiple

    def noisy(array, size):
        array = padded(array, size)
        if array.shape[2] == 3:
            array[65 + 40 :] = np.random.default_rng(0).integers(0, 256, array[65 + 40 :].shape)
        return array

    monkeypatch.setattr(transfer, "pad_to_multiple", noisy)
    jax.tree.map(np.testing.assert_array_equal, encode_style(compact(), image), plain)


def test_a_style_mask_hides_the_rest():
    image, mask = picture(128, 64), np.zeros((128, 64, 1), np.float32)
    mask[:48] = 1
    outside, inside = image.copy(), image.copy()
    outside[48 + 40 :] = 255 - outside[48 + 40 :]
    inside[:20] = 255 - inside[:20]
    first, second, third = (encode_style(compact(), x, mask=mask) for x in (image, outside, inside))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    for other in (third, encode_style(compact(), image)):
        assert all(jax.tree.leaves(jax.tree.map(lambda a, b: np.any(a != b), first, other)))


# Masks of contents


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("keep_colors", [False, True])
def test_what_no_mask_covers_is_untouched(alpha, keep_colors):
    content, masks = picture(64, 64), soft_masks(2, 64, 64)
    drawn = by_styles(
        toy(), [content], [picture(64, 64, 1), picture(64, 64, 2)], (1, 2),
        alpha=alpha, masks=[masks], keep_colors=keep_colors,
    )[0]  # fmt: skip
    free = masks.max(axis=(0, 3)) == 0
    np.testing.assert_array_equal(drawn[free], content[free])
    assert np.mean(drawn[~free] != content[~free]) > 0.5


def test_what_no_mask_covers_does_not_count():
    content, mask = picture(64, 64), np.zeros((1, 64, 64, 1), np.float32)
    mask[:, 32:] = 1
    other = content.copy()
    other[:16] = 255 - other[:16]
    for tile in (0, 8):
        first, second = (
            by_styles(toy(), [x], [picture(64, 64, 1)], masks=[mask], alpha=0.6, tile=tile)[0]
            for x in (content, other)
        )
        np.testing.assert_array_equal(first[32:], second[32:])


def test_a_region_looks_as_with_its_style_alone():
    content, styles = picture(64, 64), [picture(64, 64, 1), picture(64, 64, 2, 0, 100)]
    masks = np.zeros((2, 64, 64, 1), np.float32)
    masks[0, :, :32], masks[1, :, 32:] = 1, 1
    for options in ({}, {"alpha": 0.6}, {"keep_colors": True}, {"tile": 16}):
        both = by_styles(toy(), [content], styles, (0.9, 0.1), masks=[masks], **options)[0]
        first, second = (by_styles(toy(), [content], [x], **options)[0] for x in styles)
        close(both[:, :32], first[:, :32])
        close(both[:, 32:], second[:, 32:])


def test_a_wild_surrounding_does_not_flood_a_flat_region():
    """What is outside is seen by its neighbors, but held to what is usual inside."""
    random = np.random.default_rng(0)
    content = random.choice(np.uint8([0, 255]), (64, 64, 3))
    content[16:48, 16:48] = 128 + random.integers(-1, 2, (32, 32, 3))
    mask = np.zeros((1, 64, 64, 1), np.float32)
    mask[:, 16:48, 16:48] = 1
    style = picture(64, 64, 1)
    for tile in (0, 16):
        drawn = by_styles(toy(), [content], [style], masks=[mask], tile=tile)[0][16:48, 16:48]
        border = np.concatenate([drawn[:4].reshape(-1, 3), drawn[-4:].reshape(-1, 3)])
        inside = drawn[8:-8, 8:-8].reshape(-1, 3)
        assert inside.std(axis=0).min() > 5
        assert np.abs(border.mean(axis=0) - inside.mean(axis=0)).max() < 40


def test_alpha_is_the_same_in_every_region():
    """With one AdaIN and a linear end, strength a is (1 - a) times strength 0 plus a times 1."""
    content, styles = picture(64, 64), [picture(64, 64, 1), picture(64, 64, 2, 80, 160)]
    regions = np.zeros((2, 64, 64, 1), np.float32)
    regions[0, :, :40], regions[1, :, 30:] = 1, 1
    for masks in (None, [regions], [soft_masks(2, 64, 64)], [soft_masks(1, 64, 64)]):
        none, half, full = (
            by_styles(toy(1), [content], styles, (0.3, 0.7), alpha=alpha, masks=masks)[0]
            for alpha in (0.0, 0.5, 1.0)
        )
        inner = (full > 0) & (full < 255)
        assert inner.mean() > 0.8
        between = np.uint8((none.astype(int) + full) // 2)
        close(half[inner], between[inner], 2)


def test_without_strength_the_content_comes_back():
    content, mask = picture(64, 64), np.zeros((1, 64, 64, 1), np.float32)
    mask[:, :16] = 1
    for masks in (None, [mask]):
        close(
            by_styles(toy(1), [content], [picture(64, 64, 1)], alpha=0.0, masks=masks)[0], content
        )


def test_a_soft_mask_is_half_the_change():
    content, styles = picture(64, 64), [picture(64, 64, 1), picture(64, 64, 2)]
    full = by_styles(toy(), [content], styles, (1, 1))[0]
    half_mask = [np.full((1, 64, 64, 1), 0.5, np.float32)]
    wanted = np.uint8((content.astype(int) + full) // 2)
    for alpha in (1.0, 0.9999):
        close(by_styles(toy(), [content], styles, (1, 1), alpha=alpha, masks=half_mask)[0], wanted)


def test_a_mixture_of_one_is_that_style():
    content, styles = picture(33, 50), [picture(64, 64, seed) for seed in (1, 2, 3)]
    masks = soft_masks(3, 33, 50)
    for number, style in enumerate(styles):
        shares = np.eye(3)[number]
        alone = by_styles(toy(), [content], [style])[0]
        np.testing.assert_array_equal(by_styles(toy(), [content], styles, shares)[0], alone)
        alone = by_styles(toy(), [content], [style], masks=[masks[number : number + 1]])[0]
        close(by_styles(toy(), [content], styles, shares, masks=[masks])[0], alone)


# Colors


def test_luminance_alone_changes():
    content = picture(64, 64, low=100, high=160)
    style = picture(64, 64, 1, 60, 200)
    drawn = by_styles(toy(), [content], [style], keep_colors=True)[0].astype(float)
    plain = by_styles(toy(), [content], [style])[0].astype(float)
    inner = np.all((drawn > 0) & (drawn < 255), axis=2)
    assert inner.mean() > 0.5
    # NTSC's YIQ (FCC 1953).
    yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    change = (drawn - content) @ yiq.T
    assert np.abs(change[inner][:, 1:]).max() < 1.5
    assert np.abs(change[inner][:, 0]).max() > 10
    unclipped = inner & np.all((plain > 0) & (plain < 255), axis=2)
    assert np.abs(((drawn - plain) @ yiq.T)[unclipped][:, 0]).max() < 1.5


def job_of(contents, styles, **options):
    def pictures(images):
        return [Picture(f"{n}.png", lambda image=image: image) for n, image in enumerate(images)]

    masks = {k: pictures(v) for k, v in options.items() if k.endswith("_masks")}
    return jobs.Job(pictures(contents), pictures(styles), **(options | masks))


@pytest.fixture
def draw(monkeypatch):
    """Draws all pairs of arrays, which stand for files of them."""

    def read(content, *, channels, **_):
        if channels == 4 and content.shape[2] == 3:
            return np.concatenate([content, np.full_like(content[:, :, :1], 255)], axis=2)
        return content[:, :, :channels]

    monkeypatch.setattr(folder, "as_pixels", read)

    def draw(contents, styles, *, model=None, **options):
        job = job_of(contents, styles, **options)
        pairs = {(c, s) for c in range(len(contents)) for s in range(job.columns)}
        reports = []
        drawn = list(jobs.draw(job, model or toy(), pairs, lambda *report: reports.append(report)))
        assert not reports and {(d.content, d.style) for d in drawn} == pairs
        return {(d.content, d.style): d for d in drawn}

    return draw


def test_coral_changes_the_style_alone(draw):
    content, style = picture(64, 64), picture(50, 64, 1, 0, 120)
    drawn = draw([content], [style], preserve_color="coral", style_size=50)[0, 0].image
    recolored = recolor(style, content)
    close(drawn, by_styles(toy(), [content], [recolored])[0], 0)
    np.testing.assert_allclose(recolored.mean((0, 1)), content.mean((0, 1)), atol=2)
    assert np.abs(style.mean((0, 1)) - content.mean((0, 1))).max() > 20


# Jobs


@pytest.mark.parametrize(
    ("options", "calls"),
    [({}, 2), ({"mixture": (1, 2)}, 2), ({"batch_size": 2}, 2), ({"preserve_color": "coral"}, 6)],
)
def test_a_style_is_encoded_once(options, calls, draw, monkeypatch):
    encoded = []

    def counting(model, image, **rest):
        encoded.append(image)
        return encode_style(model, image, **rest)

    monkeypatch.setattr(jobs, "encode_style", counting)
    contents = [picture(64, 64, seed) for seed in range(3)]
    draw(contents, [picture(64, 64, 5), picture(64, 64, 6)], style_size=64, **options)
    assert len(encoded) == calls


def test_batches_change_nothing(draw):
    sizes = [(64, 64), (33, 50), (64, 64), (64, 64), (33, 50), (7, 13)]
    contents = [picture(*size, seed) for seed, size in enumerate(sizes)]
    styles = [picture(64, 64, 9)]
    single, batched = (draw(contents, styles, batch_size=n, style_size=64) for n in (1, 2))
    for key, value in single.items():
        close(batched[key].image, value.image)


def test_contents_of_many_sizes_do_not_pile_up():
    random = np.random.default_rng(0)
    contents = [
        jobs._Content(n, np.zeros((height, 1, 3), np.uint8), None, None)
        for n, height in enumerate([*random.integers(1, 4, 50), *range(1, 200)])
    ]
    read = []

    def reading():
        for content in contents:
            read.append(content.number)
            yield content

    given = []
    for batch in jobs._batches(reading(), 4):
        assert len({content.image.shape for content in batch}) == 1 and 0 < len(batch) <= 4
        given += [content.number for content in batch]
        assert len(read) - len(given) <= 32
        if given[-1] == read[-1] < 50:
            assert len(batch) in (1, 4)
    assert sorted(given) == list(range(len(contents)))


def test_one_mask_serves_all_styles_of_a_mixture(draw):
    content, styles = picture(64, 64), [picture(64, 64, seed) for seed in (1, 2)]
    gray = np.full((64, 64, 1), 128, np.uint8)
    options = {"mixture": (1, 3), "style_size": 64}
    plain = draw([content], styles, **options)[0, 0].image
    masked = draw([content], styles, content_masks=[gray], **options)[0, 0].image
    close(masked, np.uint8((content.astype(int) * 127 + plain.astype(int) * 128) // 255))


def test_masks_are_scaled_and_cut_like_their_image(draw):
    content, mask = picture(64, 96), np.zeros((32, 48, 1), np.uint8)
    mask[:, :24] = 255
    options = {"size": 32, "crop": True, "style_size": 64}
    drawn = draw([content], [picture(64, 64, 1)], content_masks=[mask], **options)[0, 0]
    assert drawn.image.shape == (32, 32, 3)
    same = np.all(drawn.image == drawn.content_image, axis=(0, 2))
    assert same[19:].all() and not same[:13].any()


def test_large_images_go_in_tiles_unasked(draw, monkeypatch):
    """A strip of an extreme size, which --size can ask for."""
    asked = []
    monkeypatch.setattr(jobs, "LIMIT", 64)
    monkeypatch.setattr(
        jobs, "stylize", lambda m, contents, *_, tile, **__: asked.append(tile) or contents
    )
    for size in ((64, 64), (100, 80)):
        draw([picture(*size)], [picture(64, 64, 1)], size=min(size))
    assert asked == [0, 1024]


@pytest.mark.parametrize(
    ("image_size", "short", "crop", "limit", "wanted"),
    [
        ((64, 64), 0, False, 2048, (64, 64)),
        ((3000, 4000), 0, False, 2048, (1536, 2048)),
        ((3000, 4), 0, False, 2048, (2048, 3)),
        ((3000, 4), 512, False, 2048, (2048, 3)),
        ((4, 30000), 0, False, 2048, (1, 2048)),
        ((300, 400), 600, False, 0, (600, 800)),
        ((300, 400), 100, True, 0, (100, 100)),
        ((300, 400), 0, True, 0, (300, 300)),
        ((1, 1), 512, False, 0, (512, 512)),
    ],
)
def test_sizes(image_size, short, crop, limit, wanted):
    assert jobs._scaled_size(image_size, short, crop=crop, limit=limit) == wanted


def test_a_giant_is_refused():
    with pytest.raises(UserError, match="would have 3840000x512 pixels; give a smaller size"):
        jobs._scaled_size((4, 30000), 512, crop=False, limit=0)


# Transparency and scaling


def on_white(image):
    color, alpha = image[..., :3].astype(np.float64), image[..., 3:].astype(np.float64) / 255
    return color * alpha + 255 * (1 - alpha)


def test_opaque_is_the_image_on_white():
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    assert np.abs(opaque(values) - on_white(values)).max() <= 0.5 + 1e-9
    values[..., 3] = 255
    np.testing.assert_array_equal(opaque(values), values[..., :3])


def test_contained_keeps_proportions_on_white():
    shown = contained(np.zeros((30, 60, 3), np.uint8), 20)
    assert shown.shape == (20, 20, 3)
    np.testing.assert_array_equal(np.flatnonzero(shown.max(axis=(1, 2)) == 0), range(5, 15))
    assert (contained(np.zeros((3000, 4, 3), np.uint8), 16) == 0).all(axis=(1, 2)).sum() == 0
    assert (contained(np.zeros((3000, 4, 3), np.uint8), 16)[:, 7] == 0).all()


def test_resize_is_pillows_bicubic():
    for image in (picture(40, 30), picture(40, 30)[..., :1]):
        wanted = Image.fromarray(image.squeeze()).resize((15, 22), Image.Resampling.BICUBIC)
        scaled = resize(image, (22, 15))
        np.testing.assert_array_equal(scaled, np.asarray(wanted).reshape(scaled.shape))
    mask = np.full((40, 30, 1), 0.25, np.float32)
    np.testing.assert_allclose(resize(mask, (22, 15)), np.full((22, 15, 1), 0.25), atol=1e-6)


# Weights


def flat(params):
    leaves = jax.tree.leaves_with_path(params)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in leaves}


def test_weights_of_any_width_are_loaded(tmp_path):
    path = tmp_path / "own.safetensors"
    arrays = {name: value.astype(np.float16) for name, value in flat(compact().params).items()}
    write_safetensors(path, arrays, {})
    model = load_model(path=str(path))
    assert model.stylizer is stylizers.make_compact(8)  # whose programs are compiled already
    for name, value in flat(model.params).items():
        np.testing.assert_array_equal(value, arrays[name].astype(np.float32))


def test_the_published_form_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="adain_decoder.* do not exist; get them .* fetch"):
        load_model("vgg19")
    encoder = vgg.VGG19().init
    shapes = jax.eval_shape(encoder, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    encoder = drawn_params(shapes)
    decoder = jax.eval_shape(vgg.Decoder().init, jax.random.key(0), jnp.zeros((1, 4, 4, 512)))
    decoder = drawn_params(decoder["params"], 1)
    write_safetensors(tmp_path / "adain_decoder.safetensors", flat(decoder), {})
    with pytest.raises(UserError, match="vgg19_normalised.* do not exist; get them .* fetch"):
        load_model("vgg19")
    write_safetensors(tmp_path / "vgg19_normalised.safetensors", flat(encoder), {})
    model = load_model("vgg19")
    assert model.stylizer.depths == 1 and model.stylizer.multiple == 8
    found = jax.eval_shape(model.stylizer.encode_style, model.params, jnp.zeros((2, 64, 64, 3)))
    assert found[0][0].shape == (2, 1, 1, 512)


def test_no_decoder_on_vgg16_is_published():
    with pytest.raises(UserError, match="no weights of model vgg16 are published; train adain_"):
        load_model("vgg16")


def broken_params(kind):
    params = jax.tree.map(lambda x: x, compact().params)
    match kind:
        case "another network":
            return {"decoder": params["stylizer"]}
        case "array for a group":
            return {"stylizer": np.zeros(3, np.float32)}
        case "group for an array":
            params["stylizer"]["encoder"]["Conv_0"]["bias"] = {"a": np.zeros(8, np.float32)}
        case "no channels":
            params["stylizer"]["encoder"]["Conv_0"]["bias"] = np.zeros(0, np.float32)
        case "another width":
            params["stylizer"]["encoder"]["Conv_0"]["bias"] = np.zeros(9, np.float32)
        case "a layer less":
            del params["style_encoder"]["mixture_3"]
        case "a layer more":
            params["more"] = np.zeros(3, np.float32)
    return params


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("another network", "are not the compact model's; choose another --model"),
        ("array for a group", "are not the compact model's"),
        ("group for an array", "are not the compact model's"),
        ("no channels", "are not the compact model's"),
        ("another width", "hold another network: "),
        ("a layer less", "style_encoder/mixture_3/bias has shape None, but "),
        ("a layer more", "more has shape \\(3,\\), but None"),
    ],
)
def test_weights_of_another_network_are_refused(kind, message, tmp_path):
    path = tmp_path / "other.safetensors"
    write_safetensors(path, flat(broken_params(kind)), {})
    with pytest.raises(UserError, match=message) as caught:
        load_model(path=str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
