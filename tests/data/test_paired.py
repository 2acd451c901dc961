"""Pairs of images: side by side, in two folders, and what is wrong with them."""

import zipfile

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from ganjax.data.avatars.palette import paint
from ganjax.data.avatars.source import Avatars
from ganjax.data.label_maps import LabelMaps, palette
from ganjax.data.source import open_source
from ganjax.data.streams import single
from ganjax.errors import UserError

COLORS = {"a": (200, 0, 0), "b": (0, 0, 200)}


def write(path, *colors, size=(8, 8)):
    """An image of stripes side by side, one for each color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((size[0], size[1] * len(colors), 3), np.uint8)
    for n, color in enumerate(colors):
        image[:, n * size[1] : (n + 1) * size[1]] = color
    Image.fromarray(image).save(path)


def packed(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    return path


def open_pairs(path, **options):
    return open_source(f"paired:{path}", **options)


def check(source, names, size=(8, 8)):
    """The names, and that a is red and b blue, as bright as the number of the example."""
    assert [source.name(n) for n in range(len(source))] == names
    arrays, broken = source.load(range(len(source)), size, 3)
    assert not broken and list(arrays) == ["a", "b"]
    for side, color in COLORS.items():
        wanted = np.array([[np.array(color) + n for n in range(len(names))]], np.uint8)
        wanted = np.broadcast_to(wanted[0, :, None, None], (len(names), *size, 3))
        np.testing.assert_array_equal(arrays[side], wanted)


def shade(side, n):
    return tuple(channel + n for channel in COLORS[side])


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_side_by_side(tmp_path, form):
    folder = tmp_path / "pairs"
    for split in ("train", "test"):
        for n in range(3):
            write(folder / split / f"{n}.png", shade("a", n), shade("b", n), size=(16, 16))
    path = packed(folder) if form == "zip" else folder
    check(open_pairs(path), [f"train/{n}.png" for n in range(3)])
    check(open_pairs(f"{path}:test"), [f"test/{n}.png" for n in range(3)])
    with pytest.raises(UserError, match="there is no folder val, only test, train"):
        open_pairs(f"{path}:val")


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("names", [("A", "B"), ("image", "label"), ("photos", "drawings")])
@pytest.mark.parametrize("place", ["{side}", "train/{side}", "{side}/train", "set/{side}/deep"])
def test_two_folders(tmp_path, form, names, place):
    folder = tmp_path / "pairs"
    for n in range(3):
        for side, name in zip("ab", names, strict=True):
            suffix = "png" if side == "a" else "tif"
            where = folder / place.format(side=name)
            write(where / f"{n}.{suffix}", shade(side, n))
            if "train" in place:
                write(folder / place.format(side=name).replace("train", "val") / "x.png", (0, 0, 0))
    path = packed(folder) if form == "zip" else folder
    folders = names if names[0] == "photos" else ()
    where = place.format(side=names[0])
    check(open_pairs(path, folders=folders), [f"{where}/{n}.png" for n in range(3)])


def test_files_of_other_folders_are_passed_over(tmp_path):
    for name in ("A", "B", "thumbnails"):
        write(tmp_path / name / "1.png", (0, 0, 0))
    assert len(open_pairs(tmp_path)) == 1


def test_a_pair_may_have_two_resolutions_of_one_shape(tmp_path):
    write(tmp_path / "A" / "1.png", COLORS["a"], size=(30, 20))
    write(tmp_path / "B" / "1.png", COLORS["b"], size=(15, 10))
    check(open_pairs(tmp_path), ["A/1.png"], (6, 4))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["A/1.png", "A/2.png", "B/1.png"], r"A/2\.png has no partner in B; add it, or remove"),
        (["A/1.png", "B/1.png", "B/2.png", "B/3.png"],
         r"B/2\.png has no partner in A \(nor have 1 others\)"),
        (["A/1.png"], "there are images in A, none in B; put the partners there, or, if"),
        (["label/1.png", "x.png"], "there are images in label, none in image"),
        (["A/1.png", "A/1.jpg", "B/1.png"], r"A/1\.jpg and A/1\.png differ in the suffix only"),
    ],
)  # fmt: skip
def test_missing_partners_are_named(tmp_path, files, message):
    for file in files:
        write(tmp_path / file, (0, 0, 0))
    with pytest.raises(UserError, match=message) as error:
        open_pairs(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("x",), r"data\.folders is \('x',\); give two names"),
        (("A", "A"), "give two names"),
        (("A", "y"), "there are images in A, none in y; put the partners there$"),
        (("x", "y"), "there are images in .*, none in [xy]; put"),
    ],
)
def test_wrong_names_of_folders(tmp_path, folders, message):
    for name in ("A", "B"):
        write(tmp_path / name / "1.png", (0, 0, 0))
    with pytest.raises(UserError, match=message):
        open_pairs(tmp_path, folders=folders)


def test_sizes_that_do_not_fit_are_named(tmp_path):
    for name, size in (("A", (8, 8)), ("B", (8, 12))):
        write(tmp_path / "two" / name / "1.png", (0, 0, 0), size=size)
    with pytest.raises(UserError, match=r"A/1\.png has 8x8 pixels and its partner B/1\.png 12x8"):
        open_pairs(tmp_path / "two").load([0], (8, 8), 3)
    write(tmp_path / "one" / "1.png", (0, 0, 0), size=(8, 9))
    write(tmp_path / "one" / "2.png", COLORS["a"], COLORS["b"])
    arrays, broken = open_pairs(tmp_path / "one").load([0, 1], (8, 8), 3)
    assert len(arrays["a"]) == 1
    assert broken == [("1.png", "is 9 pixels wide, which has no two halves")]


def test_a_damaged_file_leaves_out_its_partner(tmp_path):
    for name in ("A", "B"):
        for n in range(3):
            write(tmp_path / name / f"{n}.png", shade(name.lower(), n))
    (tmp_path / "A" / "1.png").write_bytes(b"?")
    (tmp_path / "B" / "2.png").write_bytes(b"?")
    arrays, broken = open_pairs(tmp_path).load(range(3), (8, 8), 3)
    assert len(arrays["a"]) == len(arrays["b"]) == 1
    assert [one.name for one in broken] == ["A/1.png", "A/2.png"]
    assert broken[0].reason.startswith("is no image")
    assert broken[1].reason.startswith("has a partner B/2.png that is no image")


LABELS = np.arange(64, dtype=np.uint8).reshape(8, 8) % 11


def write_sides(folder, a):
    """Pairs whose side B is a photograph."""
    for n in range(2):
        (folder / "A").mkdir(parents=True, exist_ok=True)
        a.save(folder / "A" / f"{n}.png")
        write(folder / "B" / f"{n}.png", (0, 0, 200))
    return folder


def test_label_maps_with_a_palette_are_read_in_its_colors(tmp_path, capsys):
    image = Image.fromarray(LABELS)
    image.putpalette(palette((), 11).tobytes())
    arrays, _ = open_pairs(write_sides(tmp_path, image)).load([0], (8, 8), 3)
    np.testing.assert_array_equal(arrays["a"][0], palette((), 11)[LABELS])
    assert not capsys.readouterr().err


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_gray_numbers_of_classes_are_told_of(tmp_path, capsys, kind):
    labels = LABELS.astype(kind)
    labels[0, 0] = 255  # not labeled
    folder = write_sides(tmp_path, Image.fromarray(labels))
    open_pairs(folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder}: gray values of A/0.png and others end at 10, which is almost" in line
    maps = LabelMaps(tuple("abcdefghijk"))
    open_pairs(folder, maps={"a": maps})
    assert not capsys.readouterr().err


@pytest.mark.parametrize("image", [LABELS > 5, LABELS * np.uint8(25), LABELS * np.uint16(6000)])
def test_what_is_seen_is_not_told_of(tmp_path, capsys, image):
    open_pairs(write_sides(tmp_path, Image.fromarray(image)))
    assert not capsys.readouterr().err


def test_the_config_names_the_folders(tmp_path):
    for name in ("x", "y"):
        write(tmp_path / name / "1.png", (0, 0, 0))
    fields = {"source": f"paired:{tmp_path}", "folders": ("x", "y")}
    fields |= {"channels": 3, "flip": False, "limit": 0, "range": "", "follow_links": False}
    data = ConfigDict(fields)
    assert len(single(data, {"a": "source"}).source) == 1


@pytest.mark.slow
def test_portraits_are_avatars_with_their_masks():
    source, avatars = open_pairs("avatars:test"), Avatars(split="test")
    assert len(source) == len(avatars) and source.name(3) == "test 3"
    (pairs, _), (arrays, _) = (one.load([3, 5], (16, 16), 3) for one in (source, avatars))
    np.testing.assert_array_equal(pairs["a"], paint(arrays["mask"]))
    np.testing.assert_array_equal(pairs["b"], arrays["image"])
    with pytest.raises(UserError, match="masks have colors: choose 3"):
        source.load([3], (16, 16), 1)
