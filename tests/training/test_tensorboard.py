"""TensorBoard's events of a run: what a reader finds, hidden steps, disks that are full."""

import errno
import io
import os
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboardX import record_writer
from tensorboardX.proto.event_pb2 import Event, SessionLog

from ganjax.training.tensorboard import Events
from ganjax.training.workdir import Writer


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read(folder: Path) -> list[Event]:
    """The events of a folder's only file, by the format of TFRecord alone."""
    (path,) = folder.iterdir()
    assert ".tfevents." in path.name  # what TensorBoard looks for
    data, events = path.read_bytes(), []
    while data:
        size, crc = struct.unpack("<QI", data[:12])
        content = data[12 : 12 + size]
        assert crc == masked(data[:8])
        assert struct.unpack("<I", data[12 + size : 16 + size]) == (masked(content),)
        events.append(Event.FromString(content))
        data = data[16 + size :]
    return events


def test_events_are_what_was_written(tmp_path):
    writer, grid = Writer(tmp_path, step=7), np.linspace(-1, 1, 4 * 48, dtype=np.float32)
    writer.scalars(8, {"kimg": 0.5, "loss_model": -3.0})
    writer.evaluation(9, {"step": 9, "metric": "fid", "value": 12.5})
    writer.sheet(9, grid.reshape(4, 4, 4, 3), seed=0)
    writer.close()
    version, start, *events = read(tmp_path / "tensorboard")
    assert version.file_version == "brain.Event:2"  # older ones hide no steps
    assert (start.step, start.session_log.status) == (8, SessionLog.START)
    found = [(event.step, value) for event in events for value in event.summary.value]
    assert [(step, value.tag, value.simple_value) for step, value in found[:3]] == [
        (8, "kimg", 0.5),
        (8, "loss_model", -3.0),
        (9, "evaluation/fid", 12.5),
    ]
    ((step, value),) = found[3:]
    assert (step, value.tag) == (9, "samples")
    picture = Image.open(io.BytesIO(value.image.encoded_image_string))
    written = Image.open(tmp_path / "samples" / "000000009.png")
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(written))
    times = [event.wall_time for event in (version, start, *events)]
    assert times == sorted(times) and times[0] > 0


def test_events_are_there_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("ganjax.training.tensorboard.FLUSH_SECONDS", 0)
    events = Events(tmp_path, step=0)
    for step in (1, 2):
        events.scalar("loss", 1.0, step)
        assert read(tmp_path)[-1].step == step
    events.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_disk_is_an_error_of_the_caller(tmp_path, monkeypatch):
    events = Events(tmp_path / "a", step=0)
    full = partial(open, "/dev/full", "wb")
    monkeypatch.setattr(record_writer, "open_file", lambda path: full())
    with pytest.raises(OSError) as at_start:
        Events(tmp_path / "b", step=0)
    events._writer._writer.close()
    events._writer._writer = full()
    with pytest.raises(OSError) as at_end:
        events.scalar("loss", 1.0, 1)
        events.close()
    events._writer._writer = full()
    with pytest.raises(OSError) as between:
        for step in range(1000):
            events.scalar("loss", 1.0, step)
    events.close()  # which is told once
    assert {e.value.errno for e in (at_start, at_end, between)} == {errno.ENOSPC}


def test_no_pytorch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("")
    words = (
        "import sys; from ganjax.training.tensorboard import Events; print('torch' in sys.modules)"
    )
    command, environment = (
        [sys.executable, "-c", words],
        {**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
