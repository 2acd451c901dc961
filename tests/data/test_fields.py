"""Kinds decide how the arrays of an example are cut, mirrored and halved, not their shapes."""

import itertools

import numpy as np
import pytest

from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.pyramid import Halved
from ganjax.images import resize

SIZE, LOAD, COUNT = (6, 8), (18, 24), 12
FIELDS = {
    "image": IMAGE,
    "map": Field("label_map", names=("a", "b", "c")),
    "mask": Field("mask"),
    "class": Field("class", names=("a", "b")),
    "attributes": Field("attributes", 3, ("x", "y", "z"), (("0", "1"),) * 3),
    "text": Field("text", LOAD[1]),
    "vector": Field("vector", LOAD[1]),
    # As large as a picture: [H, W] and [H, W, C] of an example.
    "matrix": Field("vector", LOAD[1]),
    "cube": Field("vector", 3),
}
PICTURES = ("image", "map", "mask")


class Scenes:
    """Examples of all kinds. Red tells the column, green the row, blue the example; so do maps."""

    digest = "scenes"
    fields = FIELDS

    def __len__(self) -> int:
        return COUNT

    def name(self, index):
        return str(index)

    def load(self, indices, image_size, channels):
        index = np.asarray(indices)
        row, column = np.indices(image_size)
        random = np.random.default_rng(0).normal(size=(COUNT, *image_size, 3)).astype(np.float32)
        whole = np.broadcast_to
        shape = (len(index), *image_size)
        image = np.stack([whole(column * 10, shape), whole(row * 10, shape),
                          whole(index[:, None, None], shape)], -1)  # fmt: skip
        return {
            "image": image.astype(np.uint8),
            "map": whole(column * 10, shape).astype(np.uint8),
            "mask": whole(column * 10, shape).astype(np.uint8),
            "class": (index % 2).astype(np.int32),
            "attributes": np.stack([index % 2, index // 2 % 2, index // 4 % 2], 1).astype(np.int32),
            # Two texts alike: a batch shows either (test_captions.py).
            "text": whole(np.arange(image_size[1]), (len(index), 2, image_size[1])).astype(
                np.int32
            ),
            "vector": random[index, 0, :, 0],
            "matrix": random[index, :, :, 0],
            "cube": random[index],
        }, []


@pytest.fixture
def take(tmp_path):
    def take(count=12, **options):
        stream = Stream(Scenes(), {name: name for name in FIELDS}, **options)
        batches = Pipeline((stream,), tmp_path).batches(
            seed=1, first=0, batch_size=COUNT, image_size=SIZE
        )
        found = list(itertools.islice(batches, count))
        batches.close()
        return {name: np.concatenate([batch[name] for batch in found]) for name in FIELDS}

    return take


def test_pictures_are_known_by_their_kind():
    assert [name for name, field in FIELDS.items() if field.is_picture] == list(PICTURES)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("image", (6, 8, 4), np.uint8),
        ("map", (6, 8), np.uint8),
        ("mask", (6, 8), np.uint8),
        ("class", (), np.int32),
        ("attributes", (3,), np.int32),
        ("text", (24,), np.int32),
        ("vector", (24,), np.float32),
    ],
)
def test_shapes_and_types_of_an_example(name, shape, dtype):
    assert FIELDS[name].array(SIZE, 4) == (shape, np.dtype(dtype))


def unchanged(batch, image_size):
    """What is no picture, as the source has it: by the examples that blue tells."""
    index = batch["image"][:, 0, 0, 2]
    arrays, _ = Scenes().load(index, image_size, 3)
    arrays["text"] = arrays["text"][:, 0]
    for name in FIELDS.keys() - set(PICTURES):
        np.testing.assert_array_equal(batch[name], arrays[name], err_msg=name)


def test_pictures_are_mirrored_together_and_nothing_else_is(take):
    batch = take(flip=True)
    unchanged(batch, SIZE)
    red = batch["image"][:, 0, :, 0].astype(int)
    mirrored = red[:, 0] > red[:, -1]
    assert 0.3 < mirrored.mean() < 0.7
    columns = 10 * np.arange(SIZE[1])
    np.testing.assert_array_equal(red, np.where(mirrored[:, None], columns[::-1], columns))
    for name in ("map", "mask"):
        np.testing.assert_array_equal(batch[name], batch["image"][..., 0], err_msg=name)


def test_pictures_are_cut_together_and_nothing_else_is(take):
    batch = take(load_size=LOAD, flip=True)
    unchanged(batch, LOAD)
    assert batch["image"].shape[1:] == (*SIZE, 3) and batch["map"].shape[1:] == SIZE
    for name in ("map", "mask"):
        np.testing.assert_array_equal(batch[name], batch["image"][..., 0], err_msg=name)
    corners = {(pixel[0], pixel[1]) for pixel in batch["image"][:, 0, 0]}
    assert len(corners) > 20  # the parts differ from example to example


def test_classes_of_a_map_are_never_mixed_by_scaling(take):
    batch = take(load_size=LOAD, zoom=3.0)
    unchanged(batch, LOAD)
    assert set(np.unique(batch["map"])) <= set(10 * np.arange(LOAD[1]))
    mask = set(np.unique(batch["mask"]))
    assert not mask <= set(10 * np.arange(LOAD[1]))  # a mask has values in between
    # Of one part: what is scaled is the same place of the scene.
    difference = abs(batch["map"].astype(int) - batch["image"][..., 0])
    assert difference.max() <= 20


def test_halving_takes_means_of_pixels_and_first_ones_of_maps():
    class Held:
        def __init__(self):
            self.arrays, _ = Scenes().load(range(COUNT), LOAD, 3)

        def __len__(self):
            return COUNT

        def take(self, name, indices):
            return self.arrays[name][np.asarray(indices)]

    held = Held()
    source = Halved(Scenes(), held)
    assert source.fields == FIELDS
    halved, broken = source.load([3, 5], (LOAD[0] // 2, LOAD[1] // 2), 3)
    assert not broken and halved.keys() == FIELDS.keys()
    whole = {name: held.take(name, [3, 5]) for name in FIELDS}
    np.testing.assert_array_equal(halved["map"], whole["map"][:, ::2, ::2])
    for name in ("image", "mask"):
        x = whole[name].astype(float)
        means = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
        np.testing.assert_array_equal(halved[name], np.rint(means), err_msg=name)
    for name in FIELDS.keys() - set(PICTURES):
        np.testing.assert_array_equal(halved[name], whole[name], err_msg=name)


def test_nearest_scaling_takes_values_that_are_there():
    board = np.kron(np.array([[0, 200], [90, 30]], np.uint8), np.ones((5, 5), np.uint8))
    for size in ((3, 3), (4, 7), (2, 2)):
        assert set(np.unique(resize(board, size, nearest=True))) <= {0, 200, 90, 30}
    assert not set(np.unique(resize(board, (3, 3)))) <= {0, 200, 90, 30}
