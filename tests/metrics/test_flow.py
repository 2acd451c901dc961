"""Optical flow on clips that a formula draws, whose motion is known; warping errors of noise."""

import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import ops
from ganjax.metrics import flow

SIZE = 96, 128
GRID = np.stack(np.mgrid[: SIZE[0], : SIZE[1]], -1) - np.array(SIZE) / 2


def paint(places, seed=0):
    """A texture that is defined everywhere, [..., 2] -> [..., 3] in [-1, 1].

    The longer its waves are, the higher, as in photographs.
    """
    random = np.random.default_rng(seed)
    waves = random.normal(size=(60, 2))
    lengths = np.exp(random.uniform(np.log(6), np.log(150), (60, 1)))
    waves *= 2 * np.pi / lengths / np.linalg.norm(waves, axis=1, keepdims=True)
    phases = places @ waves.T + random.uniform(0, 2 * np.pi, 60)
    heights = random.normal(size=(60, 3)) * lengths / 500
    return (np.sin(phases) @ heights).clip(-1, 1).astype(np.float32)


def affine(angle=0.0, zoom=1.0, shift=(0.0, 0.0)):
    """The frame 0 and the one in which its pixels have moved, and the flows there and back."""
    c, s = np.cos(angle), np.sin(angle)
    matrix = zoom * np.array([[c, -s], [s, c]])
    shift = np.array(shift)
    there, back = GRID @ matrix.T + shift, (GRID - shift) @ np.linalg.inv(matrix).T
    return paint(GRID), paint(back), there - GRID, back - GRID


MOTIONS = {
    "shift": {"shift": (1.3, -2.7)},
    "turn": {"angle": 0.03, "shift": (0.5, 1.0)},
    "zoom": {"zoom": 1.03, "shift": (-1.0, 0.5)},
    "far": {"shift": (-6.0, 9.5)},
}


@pytest.mark.parametrize("name", MOTIONS)
def test_the_flow_is_that_of_the_motion(name):
    first, second, there, back = affine(**MOTIONS[name])
    found, again = flow.estimate(first, second), flow.estimate(second, first)
    sight = np.asarray(flow.in_sight(found, again))
    away = np.linalg.norm(found - there, axis=-1)
    assert np.mean(away[sight > 0]) < 0.1 and np.quantile(away[sight > 0], 0.99) < 0.4
    # What leaves the image is out of sight, nearly all of the rest in it.
    np.testing.assert_allclose(sight.mean(), flow.in_sight(there, back).mean(), atol=0.04)


def test_what_goes_far_is_found_by_the_way():
    """Over six frames, by the chain of the flows between neighbors."""
    steps = [paint(GRID - np.array((3.2, -1.9)) * number) for number in range(7)]
    flows = [flow.estimate(a, b) for a, b in zip(steps, steps[1:], strict=False)]
    found = flow.estimate(steps[0], steps[-1], flow.chain(flows))
    inside = np.asarray(found[:70, 20:])
    np.testing.assert_allclose(inside.mean((0, 1)), (19.2, -11.4), atol=0.02)
    assert np.abs(inside - np.array((19.2, -11.4))).max() < 0.5


def test_a_chain_follows_the_pixels():
    """Thrice a zoom of 1.1 is one of 1.331, where the pixels stay in the image."""
    ahead = flow.chain([jnp.float32(0.1 * GRID)] * 3)
    np.testing.assert_allclose(ahead[16:-16, 16:-16], 0.331 * GRID[16:-16, 16:-16], atol=1e-4)


def test_flat_images_have_no_flow():
    gray = jnp.zeros((40, 33, 3))
    np.testing.assert_array_equal(flow.estimate(gray, gray), 0)


def test_warping_undoes_the_motion():
    first, second, there, _ = affine(shift=(3.0, -5.0))
    warped, inside = ops.warp(second, jnp.asarray(there))
    np.testing.assert_allclose(warped[inside > 0], first[inside > 0], atol=1e-5)
    wanted = np.ones(SIZE)
    wanted[-3:], wanted[:, :5] = 0, 0
    np.testing.assert_array_equal(inside, wanted)
    half, _ = ops.warp(jnp.arange(12.0).reshape(3, 4, 1), jnp.full((3, 4, 2), 0.5))
    np.testing.assert_allclose(half[:2, :3, 0], np.arange(12.0).reshape(3, 4)[:2, :3] + 2.5)


def test_a_consistent_style_has_no_error_and_noise_its_variance():
    first, second, there, back = affine(shift=(2.0, 3.0))
    sight = flow.in_sight(there, back)

    def style(image):  # what depends on the color alone goes along with it
        return np.sin(3 * image[..., ::-1])

    assert flow.warping_error(style(first), style(second), there, sight) < 1e-10
    random = np.random.default_rng(1)
    noisy = [style(x) + random.normal(0, 0.1, x.shape) for x in (first, second)]
    error = flow.warping_error(*map(jnp.float32, noisy), there, sight)
    np.testing.assert_allclose(error, 2 * (0.1 / 2) ** 2, rtol=0.03)  # of both, in [0, 1]
    # The same difference where nothing is in sight does not count.
    assert flow.warping_error(*map(jnp.float32, noisy), there, jnp.zeros(SIZE)) == 0


def test_what_a_box_hides_is_out_of_sight():
    """A box goes 6 pixels to the right over a still ground, and hides and bares a strip of it."""
    frames, flows = [], []
    for number, side in enumerate((1, -1)):
        frame, motion = paint(GRID), np.zeros((*SIZE, 2), np.float32)
        box = np.s_[30:66, 40 + 6 * number : 76 + 6 * number]
        frame[box] = paint(GRID[30:66, 40:76], seed=1)
        motion[box] = 0, 6 * side
        frames.append(frame)
        flows.append(motion)
    hidden = np.s_[32:64, 76:82]
    for ahead, back in (flows, (flow.estimate(*frames), flow.estimate(*frames[::-1]))):
        sight = np.asarray(flow.in_sight(ahead, back))
        assert sight[hidden].mean() < 0.2
        assert sight[:20].mean() > 0.95 and sight[38:58, 48:68].mean() > 0.95


def test_other_scenes_have_nothing_in_common():
    a, b = paint(GRID), paint(GRID, seed=5)
    assert flow.in_sight(flow.estimate(a, b), flow.estimate(b, a)).mean() < 0.3
