"""Runs in a bucket, gs://BUCKET/PATH, on a server that speaks Google Cloud Storage's protocol."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganjax.errors import UserError
from ganjax.folders import run_folder

ROOT = Path(__file__).parents[1]
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
        words = ("-m", "ganjax.sample", f"--workdir={workdir}", f"--output={grids[-1]}")
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


def test_a_bucket_that_is_not_there_is_one_line(environment):
    result = run(environment, "train.py", *SMALL, "--workdir=gs://no-such-bucket/a")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_only_known_places(monkeypatch):
    assert run_folder("runs/a") == Path("runs/a")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"needs gcsfs; pip install 'ganjax\[gs\]'"):
        run_folder("gs://bucket/run")
    with pytest.raises(UserError, match="only gs://BUCKET/PATH is known"):
        run_folder("s3://bucket/run")
