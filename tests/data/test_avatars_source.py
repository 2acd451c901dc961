"""Avatars as a source of batches."""

import itertools

import numpy as np
import pytest
from PIL import Image

from ganjax.data import avatars
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import open_source
from ganjax.errors import UserError


def test_splits():
    train, test = open_source("avatars"), open_source("avatars", split="test")
    assert (len(train), len(test)) == (avatars.TRAIN_SIZE, avatars.TEST_SIZE)
    assert train.fields["label"].names == tuple(avatars.ATTRIBUTES) and train.digest != test.digest
    images = [source.load(range(4), (16, 16), 3)[0]["image"] for source in (train, test)]
    assert (images[0] != images[1]).any()
    with pytest.raises(UserError, match="no split 'valid'"):
        open_source("avatars", split="valid")


def test_some_attributes_alone():
    every = open_source("avatars:test")
    wanted = {"glasses": ("round", "shades"), "hat": ("none",)}
    text = ",".join(f"{name}={'+'.join(values)}" for name, values in wanted.items())
    some = open_source(f"avatars:test:{text}")
    assert open_source(f"avatars:{text}", split="test").digest == some.digest != every.digest
    columns = [list(avatars.ATTRIBUTES).index(name) for name in wanted]
    labels = every.attributes(range(len(every)))
    good = [
        all(
            avatars.ATTRIBUTES[name][row[column]] in values
            for column, (name, values) in zip(columns, wanted.items(), strict=True)
        )
        for row in labels
    ]
    places = np.flatnonzero(good)
    assert 0 < len(some) == len(places) < len(every) and some.name(1) == f"test {places[1]}"
    np.testing.assert_array_equal(some.attributes([1, 2]), labels[places[1:3]])
    one, other = (s.load([n], (16, 16), 3)[0] for s, n in ((some, 1), (every, int(places[1]))))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    for wrong, message in (
        ("glases=none", "avatars know no glases=none; choose among background, pattern"),
        ("glasses=big", "avatars know no glasses=big; choose among none, round"),
        ("glasses", "avatars have no split 'glasses'"),
    ):
        with pytest.raises(UserError, match=message):
            open_source(f"avatars:{wrong}")


@pytest.mark.slow
def test_channels():
    source = open_source("avatars")
    rgb, gray, rgba = (source.load(range(4), (16, 24), c)[0]["image"] for c in (3, 1, 4))
    assert gray.shape == (4, 16, 24, 1) and rgba.shape == (4, 16, 24, 4)
    assert gray.dtype == rgba.dtype == np.uint8
    np.testing.assert_array_equal(rgba[..., :3], rgb)
    assert (rgba[..., 3] == 255).all()
    for picture, luma in zip(rgb, gray, strict=True):  # as a file of the same picture would give
        np.testing.assert_array_equal(
            luma[..., 0], np.asarray(Image.fromarray(picture).convert("L"))
        )


def test_batches_hold_truth(tmp_path):
    names = {"image": "target", "mask": "source", "label": "label"}
    stream = Stream(open_source("avatars"), names, limit=40)
    batches = Pipeline((stream,), tmp_path).batches(
        seed=0, first=0, batch_size=20, image_size=(16, 16)
    )
    shown = {name: [] for name in names.values()}
    for batch in itertools.islice(batches, 2):
        for name, values in batch.items():
            shown[name].append(values)
    batches.close()
    shown = {name: np.concatenate(values) for name, values in shown.items()}
    truth = avatars.render(range(40), (16, 16))
    # One epoch is all forty, whatever their order; a portrait is found again by its labels.
    for image, mask, label in zip(shown["target"], shown["source"], shown["label"], strict=True):
        same = np.flatnonzero((truth["label"] == label).all(axis=1))
        assert any(
            (truth["image"][i] == image).all() and (truth["mask"][i] == mask).all() for i in same
        )
    assert len(np.unique(shown["target"].reshape(40, -1), axis=0)) == 40
