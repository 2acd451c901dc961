"""Metrics within classes, which folders name."""

import numpy as np
import pytest
from PIL import Image

from ganjax import UserError, measure
from ganjax.data import avatars

COUNT = 12  # images of a class


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two sets of portraits in two classes, the second with a file that is no image."""
    root = tmp_path_factory.mktemp("classes")
    images = avatars.render(np.arange(4 * COUNT), (32, 32))["image"]
    for number, image in enumerate(images):
        side, name = divmod(number // COUNT, 2)
        # Names that mix the classes in any order of files.
        path = root / f"set{side}" / ("hats", "beards")[name] / f"{number % COUNT}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (root / "set1" / "beards" / "0_broken.png").write_bytes(b"no image")
    return root


def test_the_distance_within_classes_is_the_mean_of_those_of_the_classes(folders, capsys):
    metric = f"intra_frechet{2 * COUNT}_avatars"
    found = measure(str(folders / "set0"), str(folders / "set1"), metric)
    assert "1 images of" in capsys.readouterr().err  # the broken one, which shifts no label
    assert found.keys() == {metric, *(f"{metric}_value_{name}" for name in ("hats", "beards"))}
    alone = f"frechet{COUNT}_avatars"
    for name in ("hats", "beards"):
        sides = (str(folders / side / name) for side in ("set0", "set1"))
        each = measure(*sides, alone)[alone]
        np.testing.assert_allclose(found[f"{metric}_value_{name}"], each, rtol=1e-9)
    each = [found[f"{metric}_value_{name}"] for name in ("hats", "beards")]
    np.testing.assert_allclose(found[metric], np.mean(each))
    swapped = measure(str(folders / "set1"), str(folders / "set0"), metric)
    np.testing.assert_allclose(swapped[metric], found[metric], rtol=1e-5)


def test_sides_without_the_same_classes_are_refused(folders):
    metric, whole = f"intra_frechet{COUNT}_avatars", str(folders / "set0")
    with pytest.raises(UserError, match="hats has no classes; folders name those of files"):
        measure(str(folders / "set0" / "hats"), whole, metric)
    with pytest.raises(UserError, match="class by class, and avatars:test has no classes"):
        measure(whole, "avatars:test", metric, image_size=32)
    other = folders / "set2"
    for name, numbers in (("hats", (0, 1)), ("wigs", (2, 3))):
        (other / name).mkdir(parents=True)
        for number in numbers:
            (other / name / f"{number}.png").hardlink_to(folders / f"set0/hats/{number}.png")
    with pytest.raises(UserError, match="beards is on one side only"):
        measure(str(other), whole, "intra_frechet4_avatars,frechet4_avatars")
    (other / "wigs" / "3.png").unlink()
    with pytest.raises(UserError, match="class wigs of .*set2 has 1 images"):
        measure(str(other), whole, "intra_frechet3_avatars")
