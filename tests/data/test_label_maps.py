"""Label maps: numbers or colors in files, checked when they are read."""

import io

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from ganjax.data.label_maps import LabelMaps, palette
from ganjax.data.source import open_source
from ganjax.data.streams import single
from ganjax.errors import UserError
from ganjax.images import Reading, read_image

NAMES = ("sky", "tree", "road")
COLORS = ("0000ff", "00ff00", "808080")


def encode(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def read(content, colors=()):
    maps = LabelMaps(NAMES, colors)
    return maps.look_up(maps.read(content), content)


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 3, (12, 20)).astype(np.uint8)


def test_numbers_are_gray_values_or_indices_of_a_palette(labels):
    labels[0, 0] = 255
    for kind in (np.uint8, np.uint16):
        np.testing.assert_array_equal(read(encode(Image.fromarray(labels.astype(kind)))), labels)
    indexed = Image.fromarray(labels, "P")
    indexed.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    np.testing.assert_array_equal(read(encode(indexed)), labels)


def test_colors_are_those_of_the_config(labels):
    table = palette(COLORS)
    colored = Image.fromarray(table[labels])
    indexed = Image.fromarray(labels, "P")
    indexed.putpalette(table.tobytes())
    for image in (colored, indexed, colored.convert("RGBA")):
        np.testing.assert_array_equal(read(encode(image), COLORS), labels)
    blocks = np.kron(labels[:2, :3], np.ones((16, 16), np.uint8))
    lossy = encode(Image.fromarray(table[blocks]), "JPEG", quality=80, subsampling=0)
    assert np.mean(read(lossy, COLORS) == blocks) > 0.95
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8))
    with pytest.raises(UserError, match="far from data.colors in .*; is it a label map"):
        read(encode(photo, "JPEG"), COLORS)


@pytest.mark.parametrize(
    ("pixel", "colors", "message"),
    [
        (3, (), r"has the number 3, but data\.classes has 3 names, for 0 to 2 \(255: not labeled"),
        ((1, 2, 3), (), "has colors and no numbers of classes; name them in data.colors"),
        ((1, 2, 3), COLORS, r"has the color 010203, which is none of data\.colors"),
    ],
)
def test_wrong_values_are_told(pixel, colors, message):
    image = np.full((4, 4, *np.shape(pixel)), pixel, np.uint8)
    with pytest.raises(UserError, match=message):
        read(encode(Image.fromarray(image)), colors)


@pytest.mark.parametrize(
    ("names", "colors", "message"),
    [
        (("a",), (), r"data\.classes has 1 names; give 2 to 255"),
        (NAMES, COLORS[:2], "has 2 colors for 3 data.classes"),
        (NAMES, (*COLORS[:2], "#80808"), "has '#80808'; give six digits like"),
        (NAMES, (*COLORS[:2], COLORS[0]), "a color twice"),
    ],
)
def test_wrong_fields_are_told(names, colors, message):
    with pytest.raises(UserError, match=message):
        LabelMaps.of(names, colors)


def test_palettes_have_different_colors():
    for count in (2, 10, 255):
        colors = palette((), count)
        assert colors.shape == (count, 3) and len(np.unique(colors, axis=0)) == count
        assert colors[0].tolist() == [0, 0, 0]


@pytest.fixture
def pairs(tmp_path, labels):
    """Photos of 16 bits with label maps of twice their resolution."""
    random = np.random.default_rng(3)
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
    for n in range(2):
        photo = random.integers(100, 300, (12, 20)).astype(np.uint16)
        Image.fromarray(photo).save(tmp_path / "A" / f"{n}.png")
        Image.fromarray(np.kron(labels, np.ones((2, 2), np.uint8))).save(
            tmp_path / "B" / f"{n}.png"
        )
    return tmp_path


def test_pairs_have_maps_that_are_never_mixed(pairs, labels):
    source = open_source(f"paired:{pairs}", maps={"b": LabelMaps(NAMES)})
    assert source.fields["b"].kind == "label_map" and source.fields["b"].names == NAMES
    arrays, broken = source.load([0, 1], (12, 20), 3)
    assert not broken and arrays["a"].shape == (2, 12, 20, 3)
    np.testing.assert_array_equal(arrays["b"], [labels, labels])
    arrays, _ = source.load([0], (5, 7), 3)
    assert set(np.unique(arrays["b"])) <= {0, 1, 2}


def test_pairs_side_by_side_may_have_maps(tmp_path, labels):
    photo = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    both = np.concatenate([photo, palette(COLORS)[labels]], axis=1)
    Image.fromarray(both).save(tmp_path / "1.png")
    source = open_source(f"paired:{tmp_path}", maps={"b": LabelMaps(NAMES, COLORS)})
    arrays, _ = source.load([0], (12, 20), 3)
    np.testing.assert_array_equal(arrays["a"][0], photo)
    np.testing.assert_array_equal(arrays["b"][0], labels)


def test_a_wrong_label_stops_and_names_the_file(pairs):
    Image.fromarray(np.full((24, 40), 7, np.uint8)).save(pairs / "B" / "1.png")
    source = open_source(f"paired:{pairs}", maps={"b": LabelMaps(NAMES)})
    with pytest.raises(UserError, match=r"^B/1\.png has the number 7, but"):
        source.load([0, 1], (12, 20), 3)


def test_16_bits_keep_the_range_that_the_config_names(pairs):
    fields = {"source": f"paired:{pairs}", "channels": 1, "flip": False, "limit": 0}
    fields["follow_links"] = False
    with Image.open(pairs / "A" / "0.png") as image:
        values = np.asarray(image).astype(np.float64)
    dark, seen = (
        single(ConfigDict(fields | {"range": text}), {"a": "source"}).source
        for text in ("", "100..300")
    )
    assert dark.digest != seen.digest
    wanted = np.rint(np.clip((values - 100) / 200, 0, 1) * 255)
    np.testing.assert_array_equal(seen.load([0], (12, 20), 1)[0]["a"][0, :, :, 0], wanted)
    assert dark.load([0], (12, 20), 1)[0]["a"].max() <= 2
    path = pairs / "A" / "0.png"
    image = read_image(path, channels=1, reading=Reading((100, 300)))
    np.testing.assert_array_equal(image[..., 0], wanted)
