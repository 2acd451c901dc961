"""Requests to stop: SIGINT, SIGTERM and preemption, collected until a step is done."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import jax
from jax.experimental.multihost_utils import reached_preemption_sync_point


class Interrupted(Exception):
    """The run was asked to stop, has saved its state and leaves.

    Attributes:
      signal: the number of the signal that asked.
    """

    def __init__(self, message: str, *, signal: int):
        super().__init__(message)
        self.signal = signal


@contextmanager
def stop_requests() -> Iterator[Callable[[], int | None]]:
    """Collects SIGINT and SIGTERM, so that the step under way ends; a second one is not held.

    Of several processes, a SIGTERM of any one stops all after the same step: they must ask equally
    often. JAX's own handler tells it to the others.

    Yields:
      A function that gives the number of the signal that came, or None.
    """
    received: list[int] = []
    previous = {}

    def handle(number, frame):
        received.append(number)
        signal.signal(number, previous[number])

    asked = count(1)

    def requested() -> int | None:
        if several and not received and reached_preemption_sync_point(next(asked)):
            received.append(signal.SIGTERM)
        return received[0] if received else None

    several = jax.process_count() > 1
    for number in () if several else (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
