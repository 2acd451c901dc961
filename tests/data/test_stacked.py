"""Three gray images as one: which, where, and of what class."""

import numpy as np
import pytest
from PIL import Image

from ganjax.data.source import open_source
from ganjax.data.stacked import Stacked
from ganjax.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of three gray images of 28x28, one of which is broken."""
    folder, random = tmp_path_factory.mktemp("gray"), np.random.default_rng(1)
    for number in range(6):
        path = folder / ("bag", "coat")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (28, 28), np.uint8)).save(path)
    (folder / "bag" / "4.png").write_bytes(b"no image")
    return folder


def test_channels_and_classes_are_those_of_the_three(folder):
    source = open_source(str(folder))
    stacked = Stacked(source, spec=str(folder), count=60)
    assert len(stacked) == 60 and len(open_source(f"stacked:{folder}")) == 128_000
    assert stacked.fields["label"].names[5] == "coat+bag+coat"
    indices = range(10, 40)
    arrays, broken = stacked.load(indices, (32, 32), 3)
    bad = [index for index in indices if "bag/4.png" in stacked.name(index)]
    assert 0 < len(bad) < 30 and [b.name for b in broken] == [stacked.name(n) for n in bad]
    single, _ = source.load(range(6), (28, 28), 1)
    names = [source.name(n) for n in range(6)]
    good = [name for name in names if name != "bag/4.png"]
    for image, label, index in zip(
        arrays["image"], arrays["label"], (n for n in indices if n not in bad), strict=True
    ):
        assert not image[:2].any() and not image[-2:].any() and not image[:, [0, 1, 30, 31]].any()
        for channel, name in enumerate(stacked.name(index).split(" + ")):
            wanted = single["image"][good.index(name), ..., 0]
            np.testing.assert_array_equal(image[2:-2, 2:-2, channel], wanted)
            assert (label >> 2 - channel) & 1 == name.startswith("coat")
    assert arrays["label"].dtype == np.int32
    twice = [Stacked(source, spec="", count=60).load(indices, (28, 28), 3)[0] for _ in range(2)]
    np.testing.assert_array_equal(twice[0]["image"], twice[1]["image"])
    np.testing.assert_array_equal(twice[0]["image"], arrays["image"][:, 2:-2, 2:-2])


def test_what_cannot_be_stacked_is_said(folder):
    with pytest.raises(UserError, match="needs images with classes"):
        open_source("stacked:avatars")
    with pytest.raises(UserError, match="set data.channels=3"):
        open_source(f"stacked:{folder}").load([0], (32, 32), 1)
