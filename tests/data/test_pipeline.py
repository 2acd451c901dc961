"""Batches: a function of (seed, number), the same for any number of processes."""

import itertools
import os
import shutil
import threading
import time
import zlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from ganjax import tasks
from ganjax.data.fields import IMAGE, Field
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import Broken, open_source
from ganjax.errors import UserError
from ganjax.outputs import write_image

SIZE = (4, 6)


class Ramps:
    """Image i: value i everywhere but in its first column, which is 0; a mask alike; label i.

    Every example whose number `broken` divides is broken.
    """

    fields = {"image": IMAGE, "mask": Field("mask"), "label": Field("class")}

    def __init__(self, count: int, broken: int = 0):
        self.count, self.broken, self.digest = count, broken, f"ramps {count} {broken}"

    def __len__(self) -> int:
        return self.count

    def name(self, index):
        return f"ramp {index}"

    def load(self, indices, image_size, channels):
        bad = [i for i in indices if self.broken and i % self.broken == 0]
        index = np.array([i for i in indices if i not in bad], np.int32)
        mask = np.repeat(index.astype(np.uint8), image_size[0] * image_size[1])
        mask = mask.reshape(-1, *image_size)
        mask[:, :, 0] = 0
        image = np.repeat(mask[..., None], channels, axis=-1)
        broken = [Broken(self.name(i), "is broken") for i in bad]
        return {"image": image, "mask": mask, "label": index}, broken


NAMES = {"image": "image", "mask": "mask", "label": "label"}


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def one(cache_dir):
    return Pipeline((Stream(Ramps(50), NAMES, flip=True),), cache_dir)


@pytest.fixture
def two(cache_dir):
    streams = (
        Stream(Ramps(50), {"image": "content", "label": "content_label"}, flip=True),
        Stream(Ramps(50), {"image": "style", "label": "style_label"}, channels=1),
    )
    return Pipeline(streams, cache_dir)


def take(pipeline, count, *, seed=0, first=0, batch_size=8, image_size=SIZE, **options):
    batches = pipeline.batches(
        seed=seed, first=first, batch_size=batch_size, image_size=image_size, **options
    )
    result = list(itertools.islice(batches, count))
    batches.close()
    return result


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def order(batches, name="label"):
    return np.concatenate([batch[name] for batch in batches])


def test_shapes_and_types(two):
    (batch,) = take(two, 1)
    assert batch["content"].shape == (8, *SIZE, 3) and batch["style"].shape == (8, *SIZE, 1)
    for name in ("content", "style"):
        assert batch[name].dtype == np.uint8 and batch[name].flags.c_contiguous
    assert batch["content_label"].dtype == np.int32
    assert set(batch) == {"content", "content_label", "style", "style_label"}


def test_batches_hold_the_examples(one):
    for batch in take(one, 7):
        np.testing.assert_array_equal(batch["image"].max(axis=(1, 2, 3)), batch["label"])


@pytest.mark.parametrize("processes", [2, 4])
def test_any_number_of_processes_sees_the_same_global_batches(two, processes):
    whole = take(two, 15)
    split = [
        take(two, 15, process_index=index, process_count=processes) for index in range(processes)
    ]
    for number, batch in enumerate(whole):
        joined = {name: np.concatenate([part[number][name] for part in split]) for name in batch}
        assert_same(joined, batch)


@pytest.mark.parametrize("first", [1, 6, 7, 1000])
def test_starting_later_is_skipping(two, first):
    for a, b in zip(take(two, 3, first=first), take(two, first + 3)[first:], strict=True):
        assert_same(a, b)


def test_every_epoch_shows_each_example_once_in_another_order(one):
    shown = order(take(one, 25, batch_size=8)).reshape(4, 50)
    for epoch in shown:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(50))
    for a, b in itertools.combinations([np.arange(50), *shown], 2):
        assert (a == b).mean() < 0.3


def test_seeds_and_streams_have_their_own_orders(one, two):
    batches = take(two, 6)
    orders = [
        order(take(one, 6)),
        order(take(one, 6, seed=1)),
        order(batches, "style_label"),
    ]
    np.testing.assert_array_equal(orders[0], order(batches, "content_label"))
    for a, b in itertools.combinations(orders, 2):
        assert (a == b).mean() < 0.3


def test_fewer_examples_than_a_batch(cache_dir):
    pipeline = Pipeline((Stream(Ramps(3), NAMES),), cache_dir)
    shown = order(take(pipeline, 3, batch_size=16)).reshape(16, 3)
    np.testing.assert_array_equal(np.sort(shown), [[0, 1, 2]] * 16)


def test_about_half_is_mirrored_with_its_mask(one):
    batches = take(one, 50)
    image, mask = (np.concatenate([batch[name] for batch in batches]) for name in ("image", "mask"))
    label = order(batches)
    image, mask, label = image[label > 0], mask[label > 0], label[label > 0]
    mirrored = image[:, 0, -1, 0] == 0
    assert 0.4 < mirrored.mean() < 0.6
    zero = np.where(mirrored, SIZE[1] - 1, 0)
    expected = np.where(np.arange(SIZE[1]) == zero[:, None], 0, label[:, None])
    for row in range(SIZE[0]):
        np.testing.assert_array_equal(mask[:, row], expected)
        for channel in range(3):
            np.testing.assert_array_equal(image[:, row, :, channel], expected)


def test_an_example_is_mirrored_in_one_epoch_and_not_in_another(one):
    shown = take(one, 25, batch_size=8)
    label = order(shown)
    mirrored = np.concatenate([batch["image"][:, 0, -1, 0] == 0 for batch in shown])
    per_example = np.array([mirrored[label == number].mean() for number in range(1, 50)])
    assert ((per_example > 0) & (per_example < 1)).mean() > 0.6


def test_without_flip_nothing_is_mirrored(two):
    for batch in take(two, 7):
        np.testing.assert_array_equal(batch["style"][:, 0, 0, 0], 0)
        np.testing.assert_array_equal(batch["style"][:, 0, -1, 0], batch["style_label"])


def test_closing_ends_the_threads(one):
    def prefetching() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if "prefetch" in thread.name}

    before = prefetching()
    batches = one.batches(seed=0, first=0, batch_size=8, image_size=SIZE)
    next(batches)
    started = prefetching() - before
    assert started
    batches.close()
    deadline = time.monotonic() + 10
    while started & prefetching() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not started & prefetching()


@pytest.mark.parametrize("pyramid", [None, (8, 12)])
def test_names_of_a_batch_are_those_of_its_examples(cache_dir, pyramid):
    streams = [
        Stream(Ramps(50, broken), {"image": "image", "label": "label"}, share=0.5, pyramid=pyramid)
        for broken in (0, 3)
    ]
    pipeline = Pipeline(tuple(streams), cache_dir)
    for number, batch in enumerate(take(pipeline, 8)):
        names = pipeline.examples(number, seed=0, batch_size=8, image_size=SIZE)
        assert names == {"image": [f"ramp {label}" for label in batch["label"]]}


def test_contents_are_counts_and_checksums_of_what_streams_show(cache_dir):
    streams = (
        Stream(Ramps(50, broken=3), {"image": "content", "mask": "mask"}, limit=40),
        Stream(Ramps(50), {"image": "content"}, load_size=(8, 12)),
        Stream(Ramps(50), {"image": "content"}, channels=1),
    )

    def checksum(numbers, size, channels):
        return zlib.crc32(Ramps(50).load(numbers, size, channels)[0]["image"].tobytes())

    good = [number for number in range(40) if number % 3]
    masks = zlib.crc32(Ramps(50).load(good, SIZE, 1)[0]["mask"].tobytes())
    first = {"image": checksum(good, SIZE, 3), "mask": masks}
    assert Pipeline(streams, cache_dir).contents(SIZE) == {
        "content 4x6": [
            {"examples": len(good), "crc32": first},
            {"examples": 50, "crc32": {"image": checksum(range(50), SIZE, 1)}},
        ],
        "content 8x12": [
            {"examples": 50, "crc32": {"image": checksum(range(50), (8, 12), 3)}},
        ],
    }


def test_contents_of_a_pyramid_are_its_largest_images_at_any_size(cache_dir):
    pipeline = Pipeline((Stream(Ramps(50), NAMES, pyramid=(8, 12)),), cache_dir)
    assert pipeline.contents((2, 3)) == pipeline.contents((8, 12))
    assert pipeline.contents((2, 3)).keys() == {"image 8x12"}


@pytest.mark.parametrize("options", [{}, {"pyramid": (8, 12)}, {"load_size": (8, 12)}])
def test_contents_need_nothing_that_batches_do_not(tmp_path, options, monkeypatch):
    pipeline = Pipeline((Stream(Ramps(50), NAMES, **options),), tmp_path)
    take(pipeline, 1)
    monkeypatch.setattr(Ramps, "load", None)
    assert pipeline.contents(SIZE)


def test_contents_are_those_of_the_pixels_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, *SIZE, 3), np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()

    def write(number, image):
        write_image(folder / f"{number}.png", image, made=None)

    def contents(path=folder):
        stream = Stream(open_source(f"folder:{path}"), {"image": "image"})
        return Pipeline((stream,), tmp_path / "cache").contents(SIZE)

    for number, image in enumerate(images):
        write(number, image)
    whole = contents()
    shutil.make_archive(tmp_path / "packed", "zip", folder)
    shutil.copytree(folder, tmp_path / "copied")
    assert contents(tmp_path / "packed.zip") == contents(tmp_path / "copied") == whole
    write(0, images[1])
    write(1, images[0])
    assert contents() != whole
    write(0, images[0])
    write(1, images[1])
    assert contents() == whole
    changed = images[2].copy()
    changed[1, 2, 0] ^= 1
    write(2, changed)
    assert contents() != whole
    (folder / "2.png").unlink()
    assert contents()["image 4x6"][0]["examples"] == 4


@pytest.mark.parametrize("pyramid", [None, (8, 12)])
def test_decoded_images_cut_short_while_they_are_read_end_in_one_line(tmp_path, pyramid):
    pipeline = Pipeline((Stream(Ramps(50), NAMES, pyramid=pyramid),), tmp_path)
    batches = pipeline.batches(seed=0, first=0, batch_size=8, image_size=SIZE)
    next(batches)
    for path in tmp_path.rglob("image.bin"):
        os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(UserError, match="image.bin was cut short .*; run the same") as stopped:
        list(itertools.islice(batches, 100))
    assert "\n" not in str(stopped.value)
    batches.close()
    assert len(take(pipeline, 7)) == 7  # made anew


def test_a_negative_seed_is_refused(one):
    with pytest.raises(UserError, match="seed is -1"):
        take(one, 1, seed=-1)


def make_config(task: str = "dcgan", **fields) -> ConfigDict:
    config = tasks.module(task).defaults()
    config.data.update(
        {"source": "avatars", "image_size": "32", "flip": False, "limit": 8} | fields
    )
    return config


@pytest.mark.slow
def test_make(tmp_path, monkeypatch):
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "home"))
    pipeline = tasks.make_data(make_config())
    assert pipeline.cache_dir == tmp_path / "home"
    stream = pipeline.streams[0]
    assert (stream.channels, stream.flip, stream.limit) == (3, False, 8)
    assert stream.names == {"image": "image"}
    pipeline = tasks.make_data(make_config("attributes", flip=True, cache_dir=str(tmp_path / "c")))
    assert pipeline.cache_dir == tmp_path / "c" and pipeline.streams[0].flip
    (batch,) = take(pipeline, 1, batch_size=4, image_size=(16, 24))
    assert set(batch) == {"image", "label"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 2}, "data.channels is 2; choose 1"),
        ({"limit": -1}, "data.limit is -1"),
        ({"source": "folder:/absent"}, "does not exist"),
        ({"source": "nothing"}, "data.source is 'nothing'"),
    ],
)
def test_make_refuses(fields, message):
    with pytest.raises(UserError, match=message):
        tasks.make_data(make_config(**fields))


def test_labels_where_there_are_none(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8), made=None)
    config = make_config("progressive", source=f"folder:{tmp_path}", labels=True)
    config.model.classes = 2
    with pytest.raises(UserError, match="has no labels; set data.labels to False"):
        tasks.make_data(config)
