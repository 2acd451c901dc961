"""The avatars' renderer: draws, pictures, masks."""

import itertools

import numpy as np
import pytest

from ganjax.data import avatars
from ganjax.data.avatars import ATTRIBUTES, MASK_CLASSES, draw_attributes, painter, render
from ganjax.errors import UserError

# What must hold for an attribute to be in sight.
_SHOWN = {
    "hair_color": {"hair": "long"},
    "eyes": {"glasses": "none", "hair": "buzz"},
    "eye_color": {"glasses": "none", "hair": "buzz", "eyes": "open"},
    "gaze": {"glasses": "none", "hair": "buzz", "eyes": "open"},
    "brows": {"glasses": "none", "hair": "bald", "hat": "none"},
    "face": {"hair": "bald", "facial_hair": "none"},
    "cheeks": {"glasses": "none", "hair": "bald", "facial_hair": "none"},
    "facial_hair": {"hair_color": "blue"},
    "hair": {"hat": "none"},
    "hat": {"hat_color": "green", "hair_color": "pink", "hair": "quiff"},
    "hat_color": {"hat": "beanie"},
    "clothes": {"hair": "bald", "clothes_color": "teal"},
    "clothes_color": {"clothes": "turtleneck"},
}


def _share(image, mask, name):
    """Mean color in [0, 1] of each portrait's pixels of one class."""
    inside = mask == MASK_CLASSES.index(name)
    return [picture[where].mean(axis=0) / 255 for picture, where in zip(image, inside, strict=True)]


def test_hash_is_splitmix64():
    # The published generator's first outputs from the state 1234567.
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + k * step) % 2**64 for k in range(3)], np.uint64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert avatars._mix(states).tolist() == expected


def test_draws_are_independent():
    labels = draw_attributes(np.arange(avatars.TRAIN_SIZE))
    assert labels.dtype == np.int32 and labels.shape == (avatars.TRAIN_SIZE, len(ATTRIBUTES))
    assert len(ATTRIBUTES) >= 12

    def excess(observed, expected, freedom):
        """Chi-square in standard deviations above its mean."""
        return (((observed - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)

    counts = []
    for column, (name, values) in zip(labels.T, ATTRIBUTES.items(), strict=True):
        weights = np.array(avatars._WEIGHTS.get(name, [1] * len(values)))
        observed = np.bincount(column, minlength=len(values))
        expected = weights / weights.sum() * len(column)
        assert excess(observed, expected, len(values) - 1) < 6, name
        counts.append(observed)
    # Every two attributes of a portrait, and of two neighbors.
    numbers = range(len(counts))
    pairs = [(a, b, 0) for a, b in itertools.combinations(numbers, 2)]
    for a, b, lag in pairs + [(a, b, 1) for a, b in itertools.product(numbers, repeat=2)]:
        first, second = labels[: len(labels) - lag, a], labels[lag:, b]
        width = len(counts[b])
        observed = np.bincount(first * width + second, minlength=len(counts[a]) * width)
        expected = np.outer(counts[a], counts[b]).ravel() / len(labels)
        freedom = (len(counts[a]) - 1) * (width - 1)
        assert excess(observed, expected, freedom) < 6, (a, b, lag)


def test_draws_belong_to_seed_split_and_index():
    indices = np.array([4999, 0, 17, 0])
    labels = draw_attributes(indices)
    np.testing.assert_array_equal(labels, draw_attributes(range(5000))[indices])
    others = [draw_attributes(range(5000), seed=1), draw_attributes(range(5000), split="test")]
    everyone = np.concatenate([draw_attributes(range(5000)), *others])
    assert len(np.unique(everyone, axis=0)) > 14_900
    assert draw_attributes([]).shape == (0, len(ATTRIBUTES))


@pytest.mark.slow
def test_pictures_do_not_depend_on_the_batch():
    size = (33, 21)
    whole = render(range(70), size, seed=3)
    again = render(range(70), size, seed=3)
    picked = [69, 3, 64, 3]
    some = render(picked, size, seed=3)
    for name in ("image", "mask", "label"):
        np.testing.assert_array_equal(whole[name], again[name])
        np.testing.assert_array_equal(whole[name][picked], some[name])
    assert whole["image"].shape == (70, 33, 21, 3) and whole["mask"].shape == (70, 33, 21)
    assert whole["image"].dtype == whole["mask"].dtype == np.uint8
    assert len(np.unique(whole["image"].reshape(70, -1), axis=0)) == 70
    for other in (render(range(70), size), render(range(70), size, seed=3, split="test")):
        assert (other["image"] != whole["image"]).any(axis=(1, 2, 3)).all()


@pytest.mark.slow
def test_same_picture_at_every_size():
    small = None
    for side in (256, 128, 64, 32, 16):
        large, small = small, render(range(24), (side, side))
        if large is None:
            continue
        blocks = large["image"].reshape(24, side, 2, side, 2, 3).mean(axis=(2, 4))
        difference = np.abs(blocks - small["image"])
        # Lines thinner than a pixel are drawn stronger than their area: most at 16 pixels.
        tolerance = {128: 0.5, 64: 1.0, 32: 2.0, 16: 4.0}[side]
        assert difference.mean() < tolerance, side
        corners = large["mask"][:, ::2, ::2] == large["mask"][:, 1::2, 1::2]
        agree = large["mask"][:, ::2, ::2] == small["mask"]
        assert agree[corners].mean() > {128: 0.99, 64: 0.98, 32: 0.97, 16: 0.94}[side]


@pytest.mark.slow
def test_background_extends_around_a_centerd_portrait():
    square = render(range(8), (32, 32))
    for height, width in ((32, 60), (60, 32)):
        wide = render(range(8), (height, width))
        rows, columns = (height - 32) // 2, (width - 32) // 2
        middle = np.s_[:, rows : rows + 32, columns : columns + 32]
        np.testing.assert_allclose(wide["image"][middle], square["image"], atol=1.0)
        np.testing.assert_array_equal(wide["mask"][middle], square["mask"])
    wide = render(range(8), (32, 60))
    assert (wide["mask"][:, :, :8] == 0).all() and (wide["mask"][:, :, -8:] == 0).all()


@pytest.mark.slow
def test_largest_size():
    large = render([5], (1024, 1024))
    small = render([5], (128, 128))
    blocks = large["image"].reshape(1, 128, 8, 128, 8, 3).mean(axis=(2, 4))
    assert np.abs(blocks - small["image"]).mean() < 1


def test_faces_are_aligned():
    masks = render(range(256), (64, 64), overrides={"eyes": "open", "glasses": "none"})["mask"]
    rows, columns = np.mgrid[:64, :64]
    eyes = masks == MASK_CLASSES.index("eyes")
    centers = np.array([[rows[eye].mean(), columns[eye].mean()] for eye in eyes])
    assert (np.abs(centers.mean(axis=0) - (34.5, 31.5)) < 1).all()
    assert (centers.std(axis=0) < 1.5).all() and (centers.std(axis=0) > 0.3).all()


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_visible(name):
    pictures = []
    for number, value in enumerate(ATTRIBUTES[name]):
        shown = render(range(6), (64, 64), overrides=_SHOWN.get(name, {}) | {name: value})
        assert (shown["label"][:, list(ATTRIBUTES).index(name)] == number).all()
        pictures.append(shown)
    for one, other in itertools.combinations(pictures, 2):
        change = np.abs(one["image"].astype(int) - other["image"]).max(axis=-1) > 12
        assert (change.sum(axis=(1, 2)) >= 6).all()
        if "color" in name or name in ("background", "pattern", "skin", "gaze"):
            np.testing.assert_array_equal(one["mask"], other["mask"])
        if name in ("background", "pattern"):
            assert not change[one["mask"] != 0].mean() > 0.06  # the blended edges alone


@pytest.mark.parametrize(
    ("name", "region", "palette", "shown"),
    [
        ("skin", "skin", painter._SKIN, {"cheeks": "plain"}),
        ("hair_color", "hair", painter._HAIR, {"hair": "quiff", "facial_hair": "none"}),
        ("clothes_color", "clothes", painter._CLOTHES, {"clothes": "v_neck"}),
        ("hat_color", "hat", painter._HAT, {"hat": "beret"}),
    ],
)
def test_mask_covers_the_color_that_the_label_names(name, region, palette, shown):
    for number, value in enumerate(ATTRIBUTES[name]):
        shown_here = render(range(8), (128, 128), overrides=shown | {name: value})
        for color in _share(shown_here["image"], shown_here["mask"], region):
            distances = np.linalg.norm(palette - color, axis=1)
            # Shading darkens: the mean is near its own color, though not always nearest to it.
            assert distances[number] < 0.2 and (distances < distances[number]).sum() <= 1


def test_mask_holds_what_the_label_says():
    shown = render(range(128), (128, 128))
    present = {
        name: (shown["mask"] == number).any(axis=(1, 2)) for number, name in enumerate(MASK_CLASSES)
    }
    for name in ("glasses", "hat", "earrings"):
        label = shown["label"][:, list(ATTRIBUTES).index(name)]
        np.testing.assert_array_equal(present[name], label != ATTRIBUTES[name].index("none"))
    for name in ("background", "skin", "clothes"):
        assert present[name].all()
    shades = ATTRIBUTES["glasses"].index("shades")
    glasses = shown["label"][:, list(ATTRIBUTES).index("glasses")]
    assert present["eyes"][glasses != shades].all()
    mouth = render(range(64), (128, 128), overrides={"expression": "grin"})
    for color in _share(mouth["image"], mouth["mask"], "mouth"):
        assert color.mean() > 0.6  # teeth


def test_mistakes():
    for size in ((15, 64), (64, 1025)):
        with pytest.raises(UserError, match="16 to 1024 pixels"):
            render([0], size)
    for indices in ([-1], [avatars.TRAIN_SIZE], [0.5], [[0]], 0):
        with pytest.raises(UserError, match="indices"):
            draw_attributes(indices)
    with pytest.raises(UserError, match="0 to 4999"):
        render([avatars.TEST_SIZE], (16, 16), split="test")
    with pytest.raises(UserError, match="no split 'valid'; there is train and test"):
        draw_attributes([0], split="valid")
    with pytest.raises(UserError, match="seed"):
        draw_attributes([0], seed=-1)
    with pytest.raises(UserError, match="no nose=big; choose among background, pattern, skin"):
        render([0], (16, 16), overrides={"nose": "big"})
    with pytest.raises(UserError, match="hat=crown; choose among none, cap, beanie"):
        render([0], (16, 16), overrides={"hat": "crown"})
