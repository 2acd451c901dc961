"""The cache of decoded images: built once, whole or not at all, and again where it must be."""

import errno
import json
import shutil
import threading
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ganjax.data import cache
from ganjax.data.cache import open_examples
from ganjax.data.fields import IMAGE, Field
from ganjax.data.source import Broken, open_source
from ganjax.errors import UserError
from ganjax.images import read_image
from ganjax.outputs import write_image


class Numbers:
    """Images that show their own index; counts what is decoded."""

    fields = {"image": IMAGE, "label": Field("class", names=("even", "odd"))}

    def __init__(self, count: int = 200, *, broken: tuple[int, ...] = (), digest: str = "a"):
        self.count, self.broken, self.digest, self.decoded = count, broken, digest, 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def load(self, indices, image_size, channels):
        time.sleep(0.002 * (indices[0] // 64 % 3))  # threads end out of order
        with self._lock:
            self.decoded += len(indices)
        good = np.array([index for index in indices if index not in self.broken], np.int32)
        image = np.broadcast_to(good[:, None, None, None], (len(good), *image_size, channels))
        bad = [Broken(f"{index}.png", "is bad") for index in indices if index in self.broken]
        return {"image": image.astype(np.uint8), "label": good % 2}, bad


def open_numbers(source, folder, **options):
    options = {"image_size": (4, 5), "channels": 3, "progress": False} | options
    return open_examples(source, folder=folder, **options)


def parts(folder):
    return sorted(path.name for path in (folder / "images").iterdir() if path.suffix != ".lock")


def test_every_example_is_kept_in_order(tmp_path):
    examples = open_numbers(Numbers(), tmp_path)
    image = examples.arrays["image"]
    assert len(examples) == 200 and image.shape == (200, 4, 5, 3) and image.dtype == np.uint8
    assert isinstance(image, np.memmap) and not image.flags.writeable
    np.testing.assert_array_equal(image[:, 3, 4, 2], np.arange(200))
    np.testing.assert_array_equal(examples.arrays["label"], np.arange(200) % 2)
    assert examples.arrays["label"].dtype == np.int32


def test_nothing_is_decoded_twice(tmp_path):
    source = Numbers()
    open_numbers(source, tmp_path)
    assert source.decoded == 200
    again = Numbers()
    examples = open_numbers(again, tmp_path)
    assert again.decoded == 0 and examples.arrays["image"][7, 0, 0, 0] == 7


def test_what_belongs_to_the_key(tmp_path):
    open_numbers(Numbers(), tmp_path)
    others = [
        (Numbers(digest="b"), {}),
        (Numbers(), {"image_size": (5, 4)}),
        (Numbers(), {"channels": 1}),
        (Numbers(), {"limit": 100}),
    ]
    for source, options in others:
        open_numbers(source, tmp_path, **options)
        assert source.decoded == options.get("limit", 200)
    assert len(parts(tmp_path)) == 5


def test_limit_above_the_number_of_examples_is_no_limit(tmp_path):
    assert len(open_numbers(Numbers(), tmp_path, limit=150)) == 150
    open_numbers(Numbers(), tmp_path)
    source = Numbers()
    assert len(open_numbers(source, tmp_path, limit=500)) == 200 and source.decoded == 0


def test_broken_examples_are_named_and_left_out(tmp_path, capsys):
    bad = (0, 3, 64, 65, 128, 199)
    for source in (Numbers(broken=bad), Numbers(broken=bad)):  # decoding, then from the cache
        examples = open_numbers(source, tmp_path, progress=True)
        np.testing.assert_array_equal(
            examples.arrays["image"][:, 0, 0, 0], np.delete(np.arange(200), bad)
        )
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("warning: 6 of 200 images left out: 0.png is bad; 3.png is bad;")
        assert "128.png" in message and "199.png" not in message
    index = json.loads((tmp_path / "images" / parts(tmp_path)[0] / "index.json").read_text())
    assert [name for name, _ in index["broken"]] == [f"{number}.png" for number in bad]


@pytest.mark.parametrize("broken", [(), (0, 65, 130)])
def test_checksums_are_those_of_the_arrays(tmp_path, broken):
    for source in (Numbers(broken=broken), Numbers(broken=broken)):  # decoding, then cached
        examples = open_numbers(source, tmp_path)
        wanted = {name: zlib.crc32(values.tobytes()) for name, values in examples.arrays.items()}
        assert examples.checksums == wanted and wanted.keys() == {"image", "label"}


def test_progress_is_shown(tmp_path, capsys):
    open_numbers(Numbers(), tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "decoding" in shown and "200/200" in shown and "img/s" in shown


def test_without_any_good_image(tmp_path):
    source = Numbers(3, broken=(0, 1, 2))
    with pytest.raises(UserError, match="none of 3 images .* can be read; 0.png is bad"):
        open_numbers(source, tmp_path)
    assert parts(tmp_path) == []


@pytest.mark.parametrize(
    "damage", ["truncated", "missing", "no index", "torn index", "no checksums"]
)
def test_damaged_caches_are_made_anew(tmp_path, damage):
    open_numbers(Numbers(), tmp_path)
    (folder,) = (tmp_path / "images" / name for name in parts(tmp_path))
    if damage == "truncated":
        content = (folder / "image.bin").read_bytes()
        (folder / "image.bin").write_bytes(content[:-1])
    elif damage == "missing":
        (folder / "label.bin").unlink()
    elif damage == "no index":
        (folder / "index.json").unlink()
    elif damage == "no checksums":  # as in caches of before
        index = json.loads((folder / "index.json").read_text())
        del index["checksums"]
        (folder / "index.json").write_text(json.dumps(index))
    else:
        text = (folder / "index.json").read_text()
        (folder / "index.json").write_text(text[: len(text) // 2])
    source = Numbers()
    examples = open_numbers(source, tmp_path)
    assert source.decoded == 200
    np.testing.assert_array_equal(examples.arrays["image"][:, 0, 0, 0], np.arange(200))


def test_a_full_disk_is_noticed_before(tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    source = Numbers()
    with pytest.raises(UserError, match="need .* GiB in .*cache_dir=DIR"):
        open_numbers(source, tmp_path)
    assert source.decoded == 0 and parts(tmp_path) == []


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def fill(*arguments, **options):
        (folder,) = (p for p in (tmp_path / "images").iterdir() if p.is_dir())
        (folder / "image.bin").write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write", fill)
    with pytest.raises(UserError, match="No space left on device; make room"):
        open_numbers(Numbers(), tmp_path)
    assert parts(tmp_path) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the cache .*cache_dir=DIR"):
        open_numbers(Numbers(), tmp_path / "file")


def test_what_a_killed_process_left_is_cleared(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(cache, "_write", kill)
        patch.setattr(cache.shutil, "rmtree", lambda *arguments, **options: None)
        open_numbers(Numbers(), tmp_path)
    (rest,) = parts(tmp_path)
    (tmp_path / "images" / rest / "junk.bin").write_bytes(b"junk")
    assert len(open_numbers(Numbers(), tmp_path)) == 200
    assert parts(tmp_path) == [rest.removeprefix(".")]
    assert not (tmp_path / "images" / rest.removeprefix(".") / "junk.bin").exists()


def test_a_race_decodes_once(tmp_path, capsys):
    source = Numbers(2000)
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(open_numbers, source, tmp_path) for _ in range(3)]
        assert [len(run.result()) for run in runs] == [2000] * 3
    assert source.decoded == 2000
    assert "another process is decoding" in capsys.readouterr().err


def test_a_changed_file_is_decoded_again(tmp_path):
    for name, value in (("a", 10), ("b", 20)):
        write_image(tmp_path / f"{name}.png", np.full((4, 4, 3), value, np.uint8), made=None)
    folder = tmp_path / "cache"

    def values():
        source = open_source(f"folder:{tmp_path}")
        examples = open_numbers(source, folder, image_size=(4, 4))
        return list(examples.arrays["image"][:, 0, 0, 0])

    assert values() == [10, 20]
    write_image(tmp_path / "b.png", np.full((4, 4, 3), 30, np.uint8), made=None)
    assert values() == [10, 30]


def test_faces(test_data, tmp_path):
    path = test_data / "celeba10k_89x109.zip"
    source = open_source(f"folder:{path}")
    assert len(source) == 10_000
    examples = open_numbers(source, tmp_path, image_size=(64, 64), limit=130)
    assert examples.arrays["image"].shape == (130, 64, 64, 3) and not examples.broken
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for number in (0, 64, 129):
            face = read_image(archive.read(names[number]), image_size=(64, 64))
            np.testing.assert_array_equal(examples.arrays["image"][number], face)
