"""Requests to stop: SIGINT, SIGTERM and SIGHUP, collected until a step is done."""

import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather


class Interrupted(Exception):
    """The run was asked to stop, has saved its state and leaves.

    Attributes:
      signal: the number of the signal that asked.
    """

    def __init__(self, message: str, *, signal: int):
        super().__init__(message)
        self.signal = signal


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Collects signals to stop, so that the step under way ends; a second one is not held.

    SIGHUP, which comes when a terminal closes, is one of them unless it is ignored, as by `nohup`.

    Yields:
      A function that gives the number of the signal that came to this process, 0 for none.
    """
    received: list[int] = []
    previous: dict[signal.Signals, Any] = {}

    def handle(number, frame):
        received.append(number)
        if number == signal.SIGHUP:
            _leave_terminal()
        signal.signal(number, previous[number])

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        # JAX's own handler, where several processes have joined, is none that Python knows.
        previous[number] = signal.signal(number, handle) or signal.SIG_DFL
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _leave_terminal() -> None:
    """Sends output to nowhere: writing to a terminal that is gone is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def agree(request: int) -> int:
    """The largest of all processes' requests; each must ask. It waits for what devices still do."""
    return request if jax.process_count() == 1 else int(process_allgather(np.int32(request)).max())
