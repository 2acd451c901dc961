"""More styles of few, DiffAugment and ADA: what is changed, how often, and what stays."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ganjax.augment import (
    SYM6,
    Adaptation,
    Changes,
    change,
    cut_out,
    differentiable,
    draw_changes,
    move,
    translate,
    vary_color,
    vary_styles,
)

COUNT, SIDE = 64, 6


@pytest.fixture(scope="module")
def pair():
    random = np.random.default_rng(0)
    mixtures = random.uniform(-0.2, 0.3, (COUNT, 1, 3, 3))
    images = random.uniform(-0.5, 0.5, (COUNT, SIDE, SIDE, 3)) @ mixtures
    images = np.float32(images + random.uniform(-0.3, 0.3, (COUNT, 1, 1, 3)))
    return images, np.asarray(jax.jit(vary_styles)(jax.random.key(3), images))


def forms(image):
    """As it is, turned, mirrored, and both."""
    turned = image.swapaxes(0, 1)
    return [image, turned, image[::-1], turned[::-1]]


def test_half_is_turned_half_mirrored_half_recolored(pair):
    images, varied = pair
    assert varied.shape == images.shape and varied.dtype == np.float32
    found = []
    for image, result in zip(images, varied, strict=True):
        found += [[n for n, form in enumerate(forms(image)) if np.array_equal(form, result)][:1]]
    kept = [form[0] for form in found if form]
    assert 0.3 < len(kept) / COUNT < 0.7
    assert {0, 1, 2, 3} == set(kept) and max(np.bincount(kept)) < 0.5 * len(kept)


def test_the_others_have_the_colors_of_another_image(pair):
    images, varied = pair
    means, own = images.mean((1, 2)), varied.mean((1, 2))
    distances = np.abs(own[:, None] - means[None]).max(-1)
    assert distances.min(1).max() < 2e-3
    nearest = distances.argmin(1)
    others = nearest != np.arange(COUNT)
    assert 0.3 < others.mean() < 0.7
    spread = varied.reshape(COUNT, -1, 3).std(1)
    wanted = images.reshape(COUNT, -1, 3).std(1)[nearest]
    # So few pixels feel the identity that CORAL adds.
    assert np.median(np.abs(spread / wanted - 1)[others]) < 0.05


@pytest.mark.slow
def test_a_function_of_the_key_that_stays_in_range():
    images = np.random.default_rng(1).choice([-1, 1], (4, SIDE, SIDE, 3)).astype(np.float32)
    run = jax.jit(vary_styles)
    first, again, other = (run(jax.random.key(seed), images) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1 and np.abs(first).max() <= 1


@pytest.fixture(scope="module", params=[(16, 12), (7, 5)])
def images(request):
    return np.random.default_rng(2).uniform(0.1, 0.9, (400, *request.param, 3)).astype(np.float32)


def test_second_frames_show_the_first_along_their_flow():
    # A picture of its own coordinates, which bilinear values are exact of.
    rows, columns = np.indices((48, 64)) / 64.0
    images = np.float32(np.stack([rows - 0.5, columns - 0.5, rows - columns], -1))
    moved, flow = move(jax.random.key(0), jnp.asarray(np.stack([images] * 6)))
    y, x = np.indices((48, 64))
    places = np.stack([y, x], -1) + np.asarray(flow)
    inside = np.all((0 <= places) & (places <= (47, 63)), -1)
    wanted = np.stack([places[..., 0] / 64 - 0.5, places[..., 1] / 64 - 0.5], -1)
    noise = (np.asarray(moved)[..., :2] - wanted)[inside]
    assert 0.019 < noise.std() < 0.021 and abs(noise.mean()) < 1e-3
    lengths = np.abs(np.asarray(flow)).mean((1, 2))
    assert 3 < lengths.mean() < 6 and np.ptp(lengths) > 1  # each image has a motion of its own


def test_colors_are_scaled_about_their_means_and_shifted(images):
    """Distances to gray are scaled twice, gray once, and the mean moves; by least squares.

    Brightness is in [-0.5, 0.5], saturation in [0, 2], contrast in [0.5, 1.5], each image's own.
    """
    varied = np.asarray(jax.jit(vary_color)(jax.random.key(0), images))
    brightness = (varied - images).mean((1, 2, 3))
    factors = []
    for part in (lambda x: x.mean(3) - x.mean((1, 2, 3))[:, None, None], _chroma):
        before, after = part(images), part(varied)
        axes = tuple(range(1, before.ndim))
        factor = (before * after).sum(axes) / (before**2).sum(axes)
        shape = (-1, *(1,) * len(axes))
        np.testing.assert_allclose(after, factor.reshape(shape) * before, atol=2e-5)
        factors.append(factor)
    contrast, saturation = factors[0], factors[1] / factors[0]
    for found, least, most in ((brightness, -0.5, 0.5), (contrast, 0.5, 1.5), (saturation, 0, 2)):
        assert least - 1e-4 <= found.min() < least + 0.05 * (most - least)
        assert most + 1e-4 >= found.max() > most - 0.05 * (most - least)
        assert abs(found.mean() - (least + most) / 2) < 0.05 * (most - least)
    assert np.abs(np.corrcoef([brightness, contrast, saturation]) - np.eye(3)).max() < 0.2


def _chroma(images):
    return images - images.mean(3, keepdims=True)


def test_images_are_moved_by_up_to_an_eighth(images):
    moved = np.asarray(jax.jit(translate)(jax.random.key(0), images))
    height, width = images.shape[1:3]
    down, right = (int(size / 8 + 0.5) for size in (height, width))
    padded = np.pad(images, ((0, 0), (down, down), (right, right), (0, 0)))
    found = np.zeros((2 * down + 1, 2 * right + 1), int)
    for y, x in np.ndindex(found.shape):
        same = np.all(padded[:, y : y + height, x : x + width] == moved, axis=(1, 2, 3))
        found[y, x] = same.sum()
    assert found.sum() == len(images) and found.min() > 0.4 * len(images) / found.size


def test_half_of_each_side_is_cut_out(images):
    cut = np.asarray(jax.jit(cut_out)(jax.random.key(0), images))
    gone = (cut == 0).all(3)
    np.testing.assert_array_equal(np.where(gone[..., None], 0, images), cut)
    for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
        hole = int(size / 2 + 0.5)
        lines = gone.any(3 - axis)
        expected = set()
        for center in range(size + 1 - hole % 2):
            line = np.zeros(size, bool)
            line[max(center - hole // 2, 0) : center - hole // 2 + hole] = True
            expected.add(tuple(line))
        assert {tuple(line) for line in lines} == expected
    # A rectangle: all that is in both a row and a column with anything gone.
    np.testing.assert_array_equal(gone, gone.any(2)[:, :, None] & gone.any(1)[:, None])


def test_a_policy_does_its_steps_in_order_and_lets_gradients_through():
    images = np.random.default_rng(3).uniform(-1, 1, (3, 8, 8, 3)).astype(np.float32)
    augment, key = differentiable("color,cutout"), jax.random.key(4)
    plain = vary_color(jax.random.fold_in(key, 0), images)
    plain = cut_out(jax.random.fold_in(key, 1), plain)
    augmented = jax.jit(augment)(key, images)
    np.testing.assert_allclose(augmented, plain, atol=1e-6)
    check_grads(partial(augment, key), (images,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
    np.testing.assert_array_equal(differentiable("")(key, images), images)


SIDES = 12, 12
apply_changes = jax.jit(change)


@pytest.fixture(scope="module")
def squares():
    return np.random.default_rng(4).uniform(-1, 1, (4, *SIDES, 3)).astype(np.float32)


def only(**values):
    """Four images' changes, of which there are only these."""
    none = jax.eval_shape(lambda: draw_changes(jax.random.key(0), 4, 0.0))
    zeros = Changes(*(np.zeros(x.shape, x.dtype) for x in none))
    return zeros._replace(**{name: np.asarray(value) for name, value in values.items()})


@pytest.mark.parametrize("changes", [only(), draw_changes(jax.random.key(0), 4, 0.0)])
def test_without_changes_images_stay_as_they_are(squares, changes):
    np.testing.assert_allclose(apply_changes(squares, changes), squares, atol=2e-6)


def test_mirrored_turned_and_moved_images_are_copies(squares):
    """With what NumPy does to them, and mirror images at the borders."""
    got = apply_changes(squares, only(flip=[True, False, True, True]))
    np.testing.assert_allclose(got[0], squares[0, :, ::-1], atol=2e-6)
    np.testing.assert_allclose(got[1], squares[1], atol=2e-6)
    got = apply_changes(squares, only(turns=[0, 1, 2, 3]))
    for turns in range(4):
        np.testing.assert_allclose(got[turns], np.rot90(squares[turns], turns), atol=2e-6)
    moves = [(1, 0), (0, -1), (-1, 1), (3, 5)]  # pixels down and right
    shift = (np.float32(moves) + 0.3).T / 12
    got = apply_changes(squares, only(shift=shift))
    for image, (down, right), moved in zip(squares, moves, got, strict=True):
        padded = np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="reflect")
        wanted = padded[5 - down : 17 - down, 5 - right : 17 - right]
        np.testing.assert_allclose(moved, wanted, atol=2e-5)
    wide = squares[:, :6]
    got = jax.jit(change)(wide, only(flip=[True] * 4, turns=[0, 1, 2, 3]))
    for turns in range(4):
        wanted = np.rot90(wide[turns, :, ::-1], 2 * turns)
        np.testing.assert_allclose(got[turns], wanted, atol=2e-6)


def _affine(down=0.0, right=0.0, angle=0.0, tall=1.0, wide=1.0):
    """Of columns (y, x, 1), y down: counterclockwise turns as they are seen."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return np.array([[tall, 0, down], [0, wide, right], [0, 0, 1]]) @ turn


def test_shapes_follow_one_affine_map(squares):
    """Of a wave that goes on where the image is mirrored, so that its value is known everywhere."""
    size = SIDES[0]

    def wave(y, x):
        return np.cos(np.pi * y / (size - 1)) * (2 + np.cos(2 * np.pi * x / (size - 1))) / 3

    places = np.meshgrid(*[np.arange(size)] * 2, indexing="ij")
    images = np.repeat(np.float32(wave(*places))[None, ..., None], 4, 0)
    angles, angles_after = [0.4, -2.0, 0.0, 0.3], [0.0, 1.0, -0.7, 0.2]
    zoom, stretch = [0.3, 0.0, -0.2, 0.1], [0.0, -0.3, 0.2, 0.1]
    shift = np.array([[1, 0, -1, 1], [0, 2, 1, -1]])
    drift = np.array([[0.04, -0.1, 0.0, 0.1], [0.1, 0.03, -0.05, 0.0]])
    got = apply_changes(images, only(
        rotation=np.float32(angles), last_rotation=np.float32(angles_after),
        zoom=np.float32(zoom), stretch=np.float32(stretch),
        shift=np.float32(shift / size), drift=np.float32(drift),
    ))  # fmt: skip
    # The filter is not quite symmetric: the doubled image lies a bit beside the image.
    center = (size - 1) / 2 + (5.5 - np.average(np.arange(12), weights=SYM6)) / 2
    for n in range(4):
        forth = (
            _affine(*drift[:, n] * size)
            @ _affine(angle=angles_after[n])
            @ _affine(tall=2 ** -stretch[n], wide=2 ** stretch[n])
            @ _affine(angle=angles[n])
            @ _affine(tall=2 ** zoom[n], wide=2 ** zoom[n])
            @ _affine(*shift[:, n])
        )
        columns = np.stack([places[0] - center, places[1] - center, np.ones((size, size))])
        y, x, _ = np.einsum("ij,jhw->ihw", np.linalg.inv(forth), columns)
        # Between pixels it is interpolated.
        np.testing.assert_allclose(got[n, ..., 0], wave(y + center, x + center), atol=0.02)


AXIS = np.ones(3) / np.sqrt(3)  # of gray
ALONG = np.outer(AXIS, AXIS)
CROSS = np.cross(AXIS, np.eye(3)).T  # times a color: AXIS x color
COLORS = {
    "brightness": lambda x: (np.eye(3), x),
    "contrast": lambda x: (2**x * np.eye(3), 0),
    "invert": lambda x: (np.eye(3) - 2 * ALONG * x, 0),
    "hue": lambda x: (ALONG + np.cos(x) * (np.eye(3) - ALONG) + np.sin(x) * CROSS, 0),
    "saturation": lambda x: (ALONG + 2**x * (np.eye(3) - ALONG), 0),
}


@pytest.mark.parametrize("names", [*((name,) for name in COLORS), tuple(COLORS)])
def test_colors_are_multiplied_by_matrices(squares, names):
    values = {name: np.float32([0.0, 0.7, -1.0, 0.2]) for name in names}
    if "invert" in names:
        values["invert"] = np.array([False, True, True, False])
    got = apply_changes(squares, only(**values))
    for n, image in enumerate(squares):
        for name in names:
            matrix, offset = COLORS[name](float(values[name][n]))
            image = image @ matrix.T + offset
        np.testing.assert_allclose(got[n], image, atol=1e-5)


def test_gray_and_transparent_images_have_their_own_colors(squares):
    changes = only(
        brightness=np.float32([0.1] * 4), contrast=np.float32([1.0] * 4), hue=np.float32([1.0] * 4)
    )
    gray = apply_changes(squares[..., :1], changes)
    np.testing.assert_allclose(gray, 2 * (squares[..., :1] + 0.1), atol=1e-5)
    four = apply_changes(np.concatenate([squares, squares[..., :1]], 3), changes)
    np.testing.assert_allclose(four[..., 3:], squares[..., :1], atol=1e-5)
    np.testing.assert_allclose(four[..., :3], apply_changes(squares, changes), atol=1e-5)


def test_a_hole_is_half_of_each_side(squares):
    center = np.float32([[0.5, 0.0, 1.0, 0.5], [0.5, 0.5, 1.0, 0.25]])
    got = apply_changes(squares, only(hole=np.float32([0.5, 0.5, 0.5, 0]), center=center))
    wanted = squares.copy()
    wanted[0, 3:9, 3:9] = wanted[1, :3, 3:9] = wanted[2, 9:, 9:] = 0
    np.testing.assert_allclose(got, wanted, atol=2e-6)


def test_changes_come_with_their_probability_and_published_sizes():
    """Karras et al. 2020, appendix B: deviations, largest angles, and how often there are any."""
    count = 4000
    draw = jax.jit(
        lambda p, color, cutout: draw_changes(
            jax.random.key(1), count, p, color=color, cutout=cutout
        )
    )
    always, rarely = draw(1.0, 1.0, 1.0), draw(0.36, 0.5, 1.0)
    for name, deviation in {
        "zoom": 0.2, "stretch": 0.2, "drift": 0.125, "brightness": 0.2, "contrast": 0.5,
        "saturation": 1.0, "shift": 0.125 / 3**0.5, "rotation": np.pi / 3**0.5,
        "last_rotation": np.pi / 3**0.5, "hue": np.pi / 3**0.5,
    }.items():  # fmt: skip
        values = np.asarray(getattr(always, name))
        np.testing.assert_allclose(values.std(), deviation, rtol=0.06, err_msg=name)
        assert abs(values.mean()) < 0.06 * deviation
    assert np.abs(always.shift).max() <= 0.125 and np.abs(always.hue).max() <= np.pi + 1e-6
    np.testing.assert_allclose(np.bincount(always.turns) / count, 0.25, atol=0.03)
    for values in (always.flip, always.invert):
        np.testing.assert_allclose(np.mean(values), 0.5, atol=0.03)
    often = {"drift": 0.36, "rotation": 0.2, "last_rotation": 0.2, "hue": 0.18, "hole": 0.36}
    for name, share in often.items():
        there = np.asarray(getattr(rarely, name)) != 0
        np.testing.assert_allclose(there.mean(), share, atol=0.03, err_msg=name)
    # Each by itself.
    assert abs(np.corrcoef(rarely.zoom != 0, rarely.stretch != 0)[0, 1]) < 0.06


def test_gradients_come_through_all_changes(squares):
    """<change(x) - change(0), y> is <x, pull-back of y>: it is affine in the images."""
    changes = draw_changes(jax.random.key(3), 4, 0.9, cutout=1.0)
    other = np.random.default_rng(5).normal(size=squares.shape).astype(np.float32)
    _, pull_back = jax.vjp(lambda images: apply_changes(images, changes), squares)
    forth = apply_changes(squares, changes) - apply_changes(np.zeros_like(squares), changes)
    assert np.abs(forth - squares).max() > 0.1
    (back,) = pull_back(other)
    np.testing.assert_allclose((forth * other).sum(), (squares * back).sum(), rtol=1e-4)


def test_the_probability_follows_the_signs_of_real_images():
    """Every 4 steps by 4 steps' share of the images in which it can go from 0 to 1."""
    adaptation = Adaptation(target=0.6, images=1000, start=0.5)
    follow = jax.jit(adaptation.follow, static_argnums=2)
    followed, found = adaptation.begin(), []
    for sign in [1.0, 1.0, 1.0, -0.4] + [0.7] * 4 + [0.5] * 4:  # means 0.65, 0.7 and 0.5
        found.append(float(followed.probability))
        followed = follow(followed, np.float32(sign), 20)
    found.append(float(followed.probability))
    np.testing.assert_allclose(found, [0.5] * 4 + [0.58] * 4 + [0.66] * 4 + [0.58], atol=1e-6)
    for sign, end in ((1.0, 1.0), (-1.0, 0.0)):  # and stays in [0, 1]
        for _ in range(4 * 16):
            followed = follow(followed, np.float32(sign), 20)
        assert float(followed.probability) == end
