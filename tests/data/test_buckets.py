"""Runs and data in a bucket, on a server that speaks Google Cloud Storage's protocol."""

import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from test_tfds import feature, flat, image_feature, write_dataset

from ganjax.data import bucket
from ganjax.data.tfds import has_tensorflow
from ganjax.errors import UserError
from ganjax.paths import run_folder

ROOT = Path(__file__).parents[2]
SERVER = """
import sys, threading
from gcp_storage_emulator.server import create_server
create_server("localhost", int(sys.argv[1]), in_memory=True, default_bucket="bucket").start()
threading.Event().wait()
"""
SMALL = [
    "--config=configs/dcgan_avatars.py:smoke",
    "--config.data.image_size=16",
    "--config.model.width=4",
    "--config.keep_checkpoints=2",
]


@pytest.fixture(scope="module")
def environment():
    pytest.importorskip("gcsfs")
    if has_tensorflow():  # by which paths in buckets are then reached
        pytest.skip("TensorFlow knows no other server than Google's")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", SERVER, str(port)], **silent) as server:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as client:
                if client.connect_ex(("localhost", port)) == 0:
                    break
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        address = f"http://localhost:{port}"
        yield os.environ | {
            "STORAGE_EMULATOR_HOST": address,
            "TENSORSTORE_GCS_HTTP_URL": address,
        }
        server.kill()


def run(environment, *words) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.long
def test_a_run_in_a_bucket_is_the_same_as_one_on_a_disk(environment, tmp_path):
    bucket, disk = "gs://bucket/runs/a", tmp_path / "run"
    first = run(environment, "train.py", *SMALL, f"--workdir={bucket}", "--config.total_kimg=0.096")
    assert first.returncode == 0, first.stderr
    second = run(environment, "train.py", *SMALL, f"--workdir={bucket}")
    assert second.returncode == 0, second.stderr
    assert f"resuming {bucket} from step 6" in second.stderr
    straight = run(environment, "train.py", *SMALL, f"--workdir={disk}")
    assert straight.returncode == 0, straight.stderr
    grids = []
    for number, workdir in enumerate((bucket, disk)):
        grids.append(tmp_path / f"{number}.png")
        words = ("-m", "ganjax", "sample", f"--workdir={workdir}", f"--output={grids[-1]}")
        drawn = run(environment, *words)
        assert drawn.returncode == 0, drawn.stderr
    # The picture's metadata holds the digest of the whole state.
    assert grids[0].read_bytes() == grids[1].read_bytes()

    listing = run(environment, "-c", LIST)
    found = json.loads(listing.stdout)
    steps = {name.split("/")[4] for name in found["names"] if "/checkpoints/" in name}
    assert steps == {"9", "12"}
    assert any("/tensorboard/events" in name for name in found["names"])
    assert "bucket/runs/a/samples/000000012.png" in found["names"]
    losses = [
        {row["step"]: row["loss_generator"] for row in map(json.loads, text.splitlines())}
        for text in (found["metrics"], (disk / "metrics.jsonl").read_text())
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 12

    other = run(environment, "train.py", *SMALL, f"--workdir={bucket}", "--config.seed=9")
    assert other.returncode == 2 and "seed is 9, was 0" in other.stderr


LIST = """
import json, fsspec
files = fsspec.filesystem("gcs")
metrics = files.cat("bucket/runs/a/metrics.jsonl").decode()
print(json.dumps({"names": files.find("bucket/runs/a"), "metrics": metrics}))
"""


@pytest.mark.long
def test_a_bucket_that_is_not_there_is_one_line(environment):
    result = run(environment, "train.py", *SMALL, "--workdir=gs://no-such-bucket/a")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


UNREACHABLE = """
import asyncio
import sys
from ganjax.commands.terminal import run_command
from ganjax.paths import run_folder
async def at_once(*_):
    pass
asyncio.sleep = at_once  # between the attempts
run_command(lambda words: run_folder(words[0]), sys.argv[1:])
"""


@pytest.mark.long
def test_a_server_that_cannot_be_reached_is_one_line(environment):
    nobody = environment | {"STORAGE_EMULATOR_HOST": "http://localhost:1"}
    result = run(nobody, "-c", UNREACHABLE, "gs://bucket/a")
    assert result.returncode == 2
    assert result.stderr.startswith("error: gs://bucket/a cannot be reached: ")
    assert result.stderr.count("\n") == 1


def test_only_known_places(monkeypatch):
    assert run_folder("runs/a") == Path("runs/a")
    assert run_folder("~/runs/a") == Path.home() / "runs/a"
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"needs gcsfs; pip install 'ganjax\[gs\]'"):
        run_folder("gs://bucket/run")
    with pytest.raises(UserError, match="only gs://BUCKET/PATH is known"):
        run_folder("s3://bucket/run")


UPLOAD = """
import sys, fsspec
files = fsspec.filesystem("gcs")
if files.exists(sys.argv[2]):
    files.rm(sys.argv[2], recursive=True)
files.put(sys.argv[1], sys.argv[2], recursive=True)
"""
OPEN = """
import json, sys
from ganjax.data.source import open_source
source = open_source(sys.argv[1])
arrays, _ = source.load(range(len(source)), (8, 8), 3)
assert "tensorflow" not in sys.modules
names = source.fields["label"].names
print(json.dumps([source.digest, names, {k: v.tolist() for k, v in arrays.items()}]))
"""


def upload(environment, path: Path, where: str) -> None:
    result = run(environment, "-c", UPLOAD, path, where)
    assert result.returncode == 0, result.stderr


def content(environment, spec: str) -> tuple[list, bool]:
    """A source's digest, names of labels and examples; and whether anything was copied for it."""
    result = run(environment, "-c", OPEN, spec)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), "copying" in result.stderr


CLOTHES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
]  # fmt: skip


@pytest.mark.long
def test_tfds_in_a_bucket_are_the_same_as_on_a_disk(environment, tmp_path):
    disk, cache, name, version = tmp_path / "tfds", tmp_path / "cache", "of_my_own", "1.0.0"
    label = feature("class_label_feature.ClassLabel", classLabel={"numClasses": str(len(CLOTHES))})

    def prepare(count: int) -> Path:
        examples = [{"image": flat(20 * k + count), "label": k % 3} for k in range(count)]
        features = {"image": image_feature(), "label": label}
        folder = write_dataset(disk / str(count), name, features, {"train": examples}, version)
        (folder / "label.labels.txt").write_text("\n".join(CLOTHES))
        return folder

    upload(environment, prepare(5), f"bucket/tfds/{name}/{version}")
    upload(environment, prepare(6), f"bucket/tfds/{name}2/{version}")
    there = environment | {"TFDS_DATA_DIR": "gs://bucket/tfds", "GANJAX_CACHE": str(cache)}
    here = environment | {"TFDS_DATA_DIR": str(disk / "5")}
    expected, _ = content(here, f"tfds:{name}")
    assert expected[1] == CLOTHES and len(expected[2]["image"]) == 5
    assert content(there, f"tfds:{name}") == (expected, True)
    (copy,) = (cache / "bucket").glob("*/")  # of nothing else in the bucket
    assert content(there, f"tfds:{name}") == (expected, False)

    upload(environment, prepare(4), f"bucket/tfds/{name}/{version}")
    expected, _ = content(here | {"TFDS_DATA_DIR": str(disk / "4")}, f"tfds:{name}")
    assert content(there, f"tfds:{name}") == (expected, True)
    assert list((cache / "bucket").glob("*/")) == [copy]

    words = ("-m", "ganjax", "prepare", f"tfds:{name}", "--data_dir=gs://bucket/tfds")
    decoded = run(there, *words, "--image_size=8")
    assert decoded.returncode == 0, decoded.stderr
    assert "4 images are decoded" in decoded.stderr


@pytest.mark.long
def test_what_is_not_prepared_in_a_bucket_names_the_commands(environment):
    for words in (
        ("train.py", *SMALL, "--config.data.source=tfds:celeb_a"),
        ("-m", "ganjax", "prepare", "tfds:celeb_a", "--data_dir=gs://bucket/none"),
    ):
        result = run(environment | {"TFDS_DATA_DIR": "gs://bucket/none"}, *words)
        assert result.returncode == 2
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert "ganjax prepare tfds:celeb_a --data_dir DISK" in result.stderr
        where = "DISK/celeb_a/2.1.0 gs://bucket/none/celeb_a/2.1.0"
        assert f"gcloud storage rsync -r {where}" in result.stderr


@pytest.mark.long
def test_images_in_a_bucket(environment, tmp_path):
    photos = tmp_path / "photos"
    for name in ("cats/a.png", "cats/b.png", "dogs/a.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(flat(ord(name[0]) + ord(name[5])))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, path.relative_to(photos))
    for name in ("photos", "photos.zip"):
        upload(environment, tmp_path / name, f"bucket/{name}")
    found = []
    for cache in ("1", "2"):  # as on two machines
        there = environment | {"GANJAX_CACHE": str(tmp_path / cache)}
        found += [content(there, f"folder:gs://bucket/{name}") for name in ("photos", "photos.zip")]
    assert found[:2] == found[2:] and all(copied for _, copied in found)
    for name, (source, _) in zip(("photos", "photos.zip"), found, strict=False):
        expected, _ = content(environment, f"folder:{tmp_path / name}")
        assert source[1:] == expected[1:]
        assert (source[0] == expected[0]) == (name == "photos.zip")  # a folder's has its times

    for name in ("bucket/photo", "no-such-bucket/photos"):
        result = run(environment, "-c", OPEN, f"folder:gs://{name}")
        assert f"UserError: gs://{name} does not exist" in result.stderr


class Objects:
    """Stands in for a bucket: names and contents."""

    def __init__(self, **contents: bytes):
        self.contents, self.generation, self.fails = contents, 1, 0

    def find(self, root: str, *, detail: bool) -> dict[str, dict]:
        assert detail
        return {
            f"{root}/{name}": {"type": "file", "size": len(value), "generation": self.generation}
            for name, value in self.contents.items()
        } | {f"{root}/b/": {"type": "file", "size": 0, "generation": 1}}  # made by a web page

    def get(self, names: list[str], paths: list[str], *, callback) -> None:
        for number, (name, path) in enumerate(zip(names, paths, strict=True)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(self.contents[name.removeprefix("b/data/")])
            if self.fails and number == self.fails - 1:
                raise OSError("the network is gone")


@pytest.fixture
def objects(monkeypatch, tmp_path):
    stand_in = Objects(**{"a.png": b"1", "b/c.png": b"2", "d.png": b"3"})
    monkeypatch.setattr(bucket, "filesystem", lambda _: stand_in)
    monkeypatch.setattr(bucket, "run_folder", Path)
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    return stand_in


def copies(tmp_path) -> list[str]:
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"]


def test_a_copy_is_whole_or_not_there(objects, tmp_path):
    objects.fails = 2
    with pytest.raises(UserError, match="gs://b/data cannot be copied to .*: the network is gone"):
        bucket.fetch("gs://b/data")
    assert copies(tmp_path) == ["bucket"]
    objects.fails = 0
    folder = bucket.fetch("gs://b/data")
    assert folder == bucket.fetch("gs://b/data/")
    # As a process that was killed leaves it.
    held = folder.rename(folder.with_name(f".{folder.name}"))
    (held / ".listing.json").unlink()
    (held / "d.png").unlink()
    assert (bucket.fetch("gs://b/data") / "d.png").read_bytes() == b"3" and not held.exists()

    objects.contents["d.png"], objects.generation, objects.fails = b"4", 2, 3
    with pytest.raises(UserError, match="the network is gone"):
        bucket.fetch("gs://b/data")
    objects.fails = 0
    assert (bucket.fetch("gs://b/data") / "d.png").read_bytes() == b"4"


def test_a_change_during_the_copy_is_refused(objects, tmp_path, monkeypatch):
    def get(*arguments, **options):
        Objects.get(objects, *arguments, **options)
        objects.generation = 2

    monkeypatch.setattr(objects, "get", get)
    with pytest.raises(UserError, match="was changed while it was copied; run again"):
        bucket.fetch("gs://b/data")
    assert copies(tmp_path) == ["bucket"]


def test_a_disk_that_is_too_small_is_one_line(objects, monkeypatch):
    monkeypatch.setattr(bucket.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(2))
    with pytest.raises(UserError, match="needs 0.0 GiB in .*; make room, or .*GANJAX_CACHE=DIR"):
        bucket.fetch("gs://b/data")


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "a//x.png", "./x.png"])
def test_no_object_is_copied_out_of_the_cache(objects, tmp_path, name):
    objects.contents[name] = b"5"
    with pytest.raises(UserError, match="x.png cannot be copied: no file has such a name"):
        bucket.fetch("gs://b/data")
    assert not copies(tmp_path)
