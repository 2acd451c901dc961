"""Unpaired streams: parts cut out of larger images, and several sources that share a batch."""

import itertools

import numpy as np
import pytest
from ml_collections import ConfigDict

from ganjax import tasks
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.errors import UserError
from ganjax.outputs import write_image

SIZE, LOAD = (6, 8), (20, 30)
NAMES = {"image": "content", "label": "label"}


class Places:
    """Every pixel tells where it is and whose: row, column, number of the image."""

    fields = {"image": IMAGE, "label": Field("class")}

    def __init__(self, count: int, base: int = 0):
        self.count, self.base, self.digest = count, base, f"places {count} {base}"

    def __len__(self) -> int:
        return self.count

    def load(self, indices, image_size, channels):
        grid = np.indices(image_size)
        number = np.array(indices, np.int32) + self.base
        image = np.empty((len(number), *image_size, 3), np.uint8)
        image[..., 0], image[..., 1] = grid[0] * 5, grid[1] * 5
        image[..., 2] = number[:, None, None]
        return {"image": image, "label": number}, []


def make(tmp_path, *streams, **options):
    streams = streams or (Stream(Places(12), NAMES, load_size=LOAD, **options),)
    return Pipeline(streams, tmp_path)


def take(pipeline, count, *, seed=0, first=0, batch_size=8, image_size=SIZE, **options):
    batches = pipeline.batches(
        seed=seed, first=first, batch_size=batch_size, image_size=image_size, **options
    )
    result = list(itertools.islice(batches, count))
    batches.close()
    return result


def together(batches, name="content"):
    return np.concatenate([batch[name] for batch in batches])


def test_parts_of_the_image_at_its_own_scale(tmp_path):
    batches = take(make(tmp_path), 40)
    images = together(batches)
    assert images.shape[1:] == (*SIZE, 3)
    ys, xs = images[:, 0, 0, 0] // 5, images[:, 0, 0, 1] // 5
    for image, y, x, number in zip(images, ys, xs, together(batches, "label"), strict=True):
        whole = Places(12).load([number], LOAD, 3)[0]["image"][0]
        np.testing.assert_array_equal(image, whole[y : y + SIZE[0], x : x + SIZE[1]])
    # All places, the outermost among them.
    assert set(ys) == set(range(LOAD[0] - SIZE[0] + 1))
    assert set(xs) == set(range(LOAD[1] - SIZE[1] + 1))
    assert np.bincount(ys).max() < 3 * np.bincount(ys).mean()


@pytest.mark.parametrize(("zoom", "largest"), [(2.0, 2.0), (9.0, 20 / 6)])
def test_parts_of_up_to_zoom_times_the_size_as_far_as_the_image_goes(tmp_path, zoom, largest):
    images = together(take(make(tmp_path, zoom=zoom), 40)).astype(float)
    # A row of the image is `scale` rows of the source; bicubic edges leave the middle alone.
    scale = np.stack([(images[:, 4, 4, 0] - images[:, 1, 4, 0]) / 15,
                      (images[:, 3, 6, 1] - images[:, 3, 1, 1]) / 25])  # fmt: skip
    assert 0.85 < scale.min() < 1.2 and 0.85 * largest < scale.max() < 1.1 * largest
    middle = (1 + largest) / 2
    assert 0.3 < (scale > middle).mean() < 0.7
    np.testing.assert_allclose(scale[0], scale[1], atol=0.3)
    whole = Places(1).load([0], LOAD, 3)[0]["image"][0]
    assert images[..., 0].max() <= whole[..., 0].max() + 3


def test_crops_are_a_function_of_seed_and_number(tmp_path):
    pipeline = make(tmp_path, zoom=2.0, flip=True)
    straight = take(pipeline, 6)
    for batch, later in zip(straight[4:], take(pipeline, 2, first=4), strict=True):
        np.testing.assert_array_equal(batch["content"], later["content"])
    other = take(pipeline, 6, seed=1)
    assert not np.array_equal(together(straight), together(other))
    # An image that comes again is cut out elsewhere.
    corners = {}
    for image, number in zip(together(straight), together(straight, "label"), strict=True):
        corners.setdefault(number, set()).add(tuple(image[0, 0]))
    assert max(map(len, corners.values())) > 1


def two_sources(tmp_path):
    """A quarter and three quarters of the contents; labels go with the styles."""
    return make(
        tmp_path,
        Stream(Places(7), NAMES, load_size=LOAD, zoom=1.5, share=0.25, flip=True),
        Stream(Places(9, base=100), NAMES, load_size=(12, 12), zoom=1.5, share=0.75),
        Stream(Places(11, base=200), {"image": "style"}, load_size=LOAD),
    )


def test_shares_of_the_rows(tmp_path):
    batches = take(two_sources(tmp_path), 21)
    for batch in batches:
        assert batch["content"].shape == batch["style"].shape == (8, *SIZE, 3)
        np.testing.assert_array_equal(batch["label"] >= 100, np.arange(8) >= 2)
        np.testing.assert_array_equal(batch["content"][:, 2, 2, 2], batch["label"])
        assert (batch["style"][:, 2, 2, 2] >= 200).all()
    first = np.concatenate([batch["label"][:2] for batch in batches])  # 42 rows: 6 epochs of 7
    np.testing.assert_array_equal(np.bincount(first), [6] * 7)


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_any_number_of_processes_sees_the_same_global_batches(tmp_path, processes):
    """Row by row: which content meets which style is not the processes' affair."""
    pipeline = two_sources(tmp_path)
    split = [
        take(pipeline, 3, process_index=index, process_count=processes)
        for index in range(processes)
    ]
    for number, batch in enumerate(take(pipeline, 3)):
        for name, values in batch.items():
            joined = np.concatenate([part[number][name] for part in split])
            np.testing.assert_array_equal(joined, values)


def test_rows_that_cannot_be_shared_out_are_refused(tmp_path):
    pipeline = two_sources(tmp_path)
    for batch_size in (6, 1):
        with pytest.raises(UserError, match="a share of 0.25 of batch_size .* is no whole number"):
            take(pipeline, 1, batch_size=batch_size)
    with pytest.raises(UserError, match="batch_size is 8; give a multiple of the 3 processes"):
        take(pipeline, 1, process_count=3)


def test_images_are_never_loaded_smaller_than_a_batch_shows_them(tmp_path):
    pipeline = make(tmp_path, Stream(Places(4), NAMES, load_size=(4, 30)))
    (batch,) = take(pipeline, 1)
    assert batch["content"].shape == (8, *SIZE, 3)
    np.testing.assert_array_equal(batch["content"][:, :, 0, 0], [np.arange(6) * 5] * 8)


@pytest.fixture
def folder(tmp_path):
    """An image in a folder of an awkward name."""
    path = tmp_path / "my@photos*v2"
    path.mkdir()
    write_image(path / "a.png", np.full((40, 40, 3), 9, np.uint8), made=None)
    return path


def make_config(content, style=("avatars",), **fields) -> ConfigDict:
    fields = {
        "content": content, "style": style, "image_size": "16", "load_size": "32x48", "zoom": 1.5,
        "channels": 3, "flip": True, "limit": 8, "cache_dir": "/cache",
    } | fields  # fmt: skip
    config = tasks.module("adain").defaults()
    config.data.update(fields)
    return config


@pytest.mark.parametrize(
    ("ending", "load_size", "weight"),
    [
        ("", (32, 48), 1),
        ("@24", (24, 24), 1),
        ("*3", (32, 48), 3),
        ("@512*2", (512, 512), 2),
    ],
)
def test_sources_with_a_size_and_a_weight(folder, ending, load_size, weight):
    pipeline = tasks.make_data(make_config((f"folder:{folder}{ending}", "avatars*4"), ("avatars",)))
    first, second, style = pipeline.streams
    assert len(first.source) == 1 and len(second.source) > 100
    assert (first.load_size, second.load_size) == (load_size, (32, 48))
    assert first.share == weight / (weight + 4) and second.share == 4 / (weight + 4)
    assert style.share == 1 and (style.names, first.names) == (
        {"image": "style"},
        {"image": "content"},
    )
    for stream in pipeline.streams:
        assert (stream.channels, stream.flip, stream.limit, stream.zoom) == (3, True, 8, 1.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"content": ()}, r"data.content is empty; give a source, like \('folder:photos',\)"),
        ({"style": ()}, "data.style is empty"),
        ({"zoom": 0.5}, "data.zoom is 0.5; it must be 1 or more"),
        ({"load_size": "wide"}, "'wide': give one side like 64"),
        ({"content": ("folder:/absent@64*2",)}, "/absent does not exist"),
        ({"content": ("webcam",)}, "'webcam'; give avatars"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        tasks.make_data(make_config(**({"content": ("avatars",)} | fields)))
