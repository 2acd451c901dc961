"""Tiles: cut, and joined again."""

import numpy as np
import pytest

from ganjax.images import tiles


def test_cores_cover_every_pixel_once_and_see_the_margin():
    random = np.random.default_rng(0)
    for _ in range(200):
        grain = int(2 ** random.integers(0, 5))
        height, width = (int(n) * grain for n in random.integers(1, 40, 2))
        tile, margin = (int(n) for n in random.integers(1, 100, 2))
        count = np.zeros((height, width), int)
        shapes = set()
        for part in tiles.cut((height, width), tile, margin, grain):
            view = np.arange(height * width).reshape(height, width)[part.window]
            shapes.add(view.shape)
            core = view[part.core]
            count.ravel()[core.ravel()] += 1
            for axis, side in enumerate((height, width)):
                window, inner = part.window[axis], part.core[axis]
                assert window.start % grain == 0
                assert inner.start >= margin or window.start == 0
                assert window.stop - window.start - inner.stop >= margin or window.stop == side
        assert np.all(count == 1) and len(shapes) == 1


def test_no_window_is_larger_than_the_number_of_cores_asks():
    parts = tiles.cut((1080, 1920), 512, margin=17, grain=1)
    assert len(parts) == 3 * 4
    for part in parts:
        assert [side.stop - side.start for side in part.window] == [360 + 34, 480 + 34]


@pytest.mark.parametrize("feather", [0, 1, 5])
def test_an_image_is_what_its_own_windows_make_up(feather):
    random = np.random.default_rng(0)
    for height, width, tile in ((64, 40, 16), (8, 128, 24), (32, 32, 32), (36, 20, 5)):
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        parts = tiles.cut((height, width), tile, margin=2 * feather, grain=4)
        joined = tiles.join(
            (height, width), ((part, image[part.window]) for part in parts), feather=feather
        )
        np.testing.assert_array_equal(joined, image)


def test_scaled_tiles_make_up_the_larger_image():
    image = np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8)
    large = image.repeat(3, axis=0).repeat(3, axis=1)
    parts = [part.scaled(3) for part in tiles.cut((21, 30), 8, margin=2, grain=1)]
    for feather in (0, 3):
        joined = tiles.join((63, 90), ((p, large[p.window]) for p in parts), feather=feather)
        np.testing.assert_array_equal(joined, large)


def test_tiles_fade_linearly_into_each_other():
    left, right = tiles.cut((8, 64), 32, margin=8, grain=8)
    parts = [(left, np.zeros((8, 48, 1), np.uint8)), (right, np.full((8, 48, 1), 200, np.uint8))]
    row = tiles.join((8, 64), parts, feather=4)[3, :, 0]
    ramp = np.clip((np.arange(64) + 0.5 - 28) / 8, 0, 1) * 200
    np.testing.assert_array_equal(row, np.rint(ramp))
    row = tiles.join((8, 64), parts)[3, :, 0]
    np.testing.assert_array_equal(row, np.repeat([0, 200], 32))
