"""IoU and Dice: held to their definitions, set by set in float64."""

import numpy as np
import pytest
from PIL import Image

from ganjax import api
from ganjax.errors import UserError
from ganjax.metrics import segmentation
from ganjax.metrics.protocols import parse


def sets(a, b, c):
    """Of class c: pixels in both, in a, in b."""
    return np.sum((a == c) & (b == c)), np.sum(a == c), np.sum(b == c)


def test_both_are_their_definitions():
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 4, (3, 17, 23)).astype(np.uint8) for _ in range(2))
    b[0, :4] = 255  # of no class
    counts = segmentation.confusion(a, b, 6)
    known = b != 255
    for c in range(4):
        both, size_a, size_b = map(float, sets(a[known], b[known], c))
        assert segmentation.iou(counts)[c] == both / (size_a + size_b - both)
        assert segmentation.dice(counts)[c] == 2 * both / (size_a + size_b)
    assert np.isnan(segmentation.iou(counts)[4:]).all() and np.isnan(segmentation.dice(counts)[5])
    assert counts.sum() == known.sum() and counts[1, 2] == np.sum((b == 1) & (a == 2))


def test_counts_of_images_add_up():
    random = np.random.default_rng(1)
    a, b = (random.integers(0, 3, (4, 9, 9)) for _ in range(2))
    parts = sum(segmentation.confusion(x, y, 3) for x, y in zip(a, b, strict=True))
    np.testing.assert_array_equal(parts, segmentation.confusion(a, b, 3))


def test_ends():
    a = np.array([0, 1, 1, 2])
    for measure in (segmentation.iou, segmentation.dice):
        np.testing.assert_array_equal(measure(segmentation.confusion(a, a, 3)), 1)
        np.testing.assert_array_equal(measure(segmentation.confusion((a + 1) % 3, a, 3)), 0)
    with pytest.raises(UserError, match="a prediction is 3"):
        segmentation.confusion(a + 1, a, 3)
    with pytest.raises(UserError, match="shapes"):
        segmentation.confusion(a, a[:2], 3)


def test_files_are_label_maps_by_the_colors_of_the_reference(tmp_path):
    colors = np.array([(0, 0, 0), (200, 30, 0), (0, 90, 255)], np.uint8)
    random = np.random.default_rng(2)
    truth, made = (random.integers(0, 3, (2, 8, 8)) for _ in range(2))
    for n in range(2):
        for name, maps in (("truth", truth), ("made", made)):
            (tmp_path / name).mkdir(exist_ok=True)
            image = colors[maps[n]].astype(int)
            image += random.integers(-9, 9, image.shape) * (name == "made")  # as networks draw
            image = np.clip(image, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{n}.png")
    found = api.measure(tmp_path / "made", tmp_path / "truth", "iou,dice,psnr")
    counts = segmentation.confusion(made, truth, 3)
    for name in ("iou", "dice"):
        each = getattr(segmentation, name)(counts)
        assert found[name] == pytest.approx(each.mean(), abs=1e-12)
        of_class = [found[f"{name}_class_{color}"] for color in ("000000", "c81e00", "005aff")]
        # In the order of the colors.
        assert sorted(of_class) == pytest.approx(sorted(each), abs=1e-12)
        assert found[f"{name}_class_c81e00"] == pytest.approx(each[1], abs=1e-12)
    with pytest.raises(UserError, match="more than 255 colors; label maps have one for each class"):
        noise = random.integers(0, 256, (1, 40, 40, 3), np.uint8)
        api.measure(noise, noise, "iou")


def test_names():
    iou, psnr = parse("iou,psnr")
    assert iou.paired and iou.of_labels and not psnr.of_labels
    assert iou.text == "iou of the pixels of all pairs, mean over the classes that are there"
