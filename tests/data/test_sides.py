"""Two sets of images without pairs by one name."""

import shutil

import pytest
from PIL import Image

from ganjax.data.sides import find_sides
from ganjax.data.source import open_source
from ganjax.errors import UserError


def fill(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + number, 8), "teal").save(path)
    return root


def names_of(spec):
    return [open_source(side).names for side in find_sides(spec)]


def test_splits_of_tensorflow_datasets():
    a, b = "tfds:cycle_gan/monet2photo:trainA", "tfds:cycle_gan/monet2photo:trainB"
    assert find_sides("tfds:cycle_gan/monet2photo") == (a, b)


def test_portraits_with_and_without_glasses_are_all_of_them():
    a, b = (len(open_source(side)) for side in find_sides("unpaired:avatars"))
    assert a + b == len(open_source("avatars")) and min(a, b) > 10_000


@pytest.mark.parametrize(("a", "b"), [("trainA", "trainB"), ("A", "B")])
@pytest.mark.parametrize("form", ["unpaired:{}", "folder:{}", "{}", "{}/"])
def test_two_folders(tmp_path, a, b, form):
    fill(tmp_path / "art", f"{a}/1.png", f"{a}/more/2.png", f"{b}/3.png", "testA/4.png", "5.png")
    assert names_of(form.format(tmp_path / "art")) == [["1.png", "more/2.png"], ["3.png"]]


@pytest.mark.parametrize("inside", ["", "/horse2zebra"])
def test_two_folders_in_a_zip_with_a_folder_around_them(tmp_path, monkeypatch, inside):
    fill(tmp_path / "art" / "horse2zebra", "trainA/1.png", "trainB/2.png", "testB/3.png")
    shutil.make_archive(str(tmp_path / "h2z"), "zip", tmp_path / "art")
    monkeypatch.chdir(tmp_path)
    sides = ["horse2zebra/trainA/1.png"], ["horse2zebra/trainB/2.png"]
    assert names_of(f"unpaired:h2z.zip{inside}") == list(sides)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["trainA/1.png"], "art has no images in a folder trainB; put them there"),
        (["B/1.png", "1.png"], "art has no images in a folder A; put them there"),
        (["1.png"], "no folders trainA and trainB, nor A and B; give each side as data.a and data"),
        (["train/A/1.png", "test/A/1.png", "train/B/1.png"], "test/A and train/A; name the folder"),
    ],
)
def test_a_missing_side_is_named(tmp_path, names, says):
    with pytest.raises(UserError, match=says):
        find_sides(f"unpaired:{fill(tmp_path / 'art', *names)}")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("unpaired:photos", "^photos does not exist"),
        ("unpaired:gs://bucket/photos", "give tfds:NAME, unpaired:PATH .* or each side as data.a"),
        ("unpaired:", "give tfds:NAME"),
        ("paired:avatars", "data.source is 'paired:avatars'; give tfds:NAME, unpaired:PATH"),
    ],
)
def test_what_is_no_two_sides(tmp_path, monkeypatch, spec, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        find_sides(spec)
