"""TensorBoard's events, written by whoever has them to say: a disk's error is raised there."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Meanwhile, the first import of a module fails as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


with _hidden("torch"):  # tensorboardX imports it, for seconds, and needs it for tensors alone
    from tensorboardX import summary
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.record_writer import RecordWriter, directory_check

FLUSH_SECONDS = 120  # in a bucket, the file is written anew each time


class Events:
    """A new file of events in `folder`, beside those of the run's processes before.

    tensorboardX's `SummaryWriter` writes in a thread of its own, which dies of a full disk; its
    queue then holds up the training for ever.

    Args:
      folder: made when missing.
      step: later ones of the files before are made again; TensorBoard hides them.
    """

    def __init__(self, folder: Path, *, step: int):
        directory_check(str(folder))
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        self._writer = RecordWriter(f"{folder}/{name}")
        self._next_flush = 0.0
        self._write(0, file_version="brain.Event:2")
        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        self._write(step, summary=summary.scalar(name, value))

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Adds a uint8 image [H, W, C]."""
        self._write(step, summary=summary.image(name, image, dataformats="HWC"))

    def _write(self, step: int, **content) -> None:
        event = Event(wall_time=time.time(), step=step, **content)
        try:
            self._writer.write(event.SerializeToString())
            if time.monotonic() >= self._next_flush:
                self._writer.flush()
                self._next_flush = time.monotonic() + FLUSH_SECONDS
        except OSError:
            with suppress(OSError):  # what the file still holds fails once more
                self._writer.close()
            raise

    def close(self) -> None:
        self._writer.close()
