"""What a process says when another one of its run is gone: one line, in place of JAX's report.

JAX ends a process that has lost another one from a native thread, which no Python sees. So what
native code writes to stderr takes the way through a small process of its own: this file.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LAST_WORDS = (
    "error: another process of this run is gone or does not answer; the last saved step is good; "
    "run the same command again on all of them to go on\n"
)
_ASKED = "ganjax: last words\n"
# How JAX's reports begin, which one depends on who is gone and how (0.10 to 0.12).
_REPORTS = (
    "Failed to retrieve preemption notice from coordination service",
    "Use error polling to propagate the following error to all tasks",
    "Polled an error from coordination service",
    "Terminating process because the JAX distributed service detected fatal errors",
)
# What operations of several processes end in where Python gets to know.
_ERRORS = (
    "Gloo ",
    "NCCL",
    "coordination service",
    "Connection closed by peer",
    "Connection reset by peer",
    "UNAVAILABLE",
)
_relay: subprocess.Popen | None = None


def watch() -> None:
    """Puts the relay between native code's stderr and the real one, to which Python's still goes.

    It passes on line by line until the beginning of a report of JAX, says the last words in its
    place, and swallows the rest. It outlives this process.
    """
    global _relay
    sys.stderr.flush()
    stderr = os.dup(2)
    # A signal to stop goes to all processes of a group; the relay inherits what is blocked here.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        _relay = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=subprocess.DEVNULL,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    os.dup2(_relay.stdin.fileno(), 2)
    _relay.stdin.close()
    kind = {"encoding": sys.stderr.encoding, "errors": sys.stderr.errors}
    sys.stderr = open(stderr, "w", buffering=1, closefd=False, **kind)


@contextmanager
def spoken() -> Iterator[None]:
    """Says the last words in place of an error that comes of another process' end, and ends.

    At once: what else a process does at its end, such as completing a save, waits for the others.
    Only where `watch` was called.
    """
    try:
        yield
    except Exception as error:
        if not (_relay and _of_another(error)):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(2, _ASKED.encode())
        os.close(2)
        with suppress(subprocess.TimeoutExpired):  # a child may have stderr, too
            _relay.wait(10)
        os._exit(2)


def _of_another(error: BaseException | None) -> bool:
    """Whether an error is, or was raised for, one of JAX's that tells of another process."""
    while error:
        if isinstance(error, RuntimeError) and any(text in str(error) for text in _ERRORS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _pass_on() -> None:
    """What the relay does."""
    output, gone = open(1, "wb", buffering=0), False
    for line in sys.stdin.buffer:
        if gone:
            continue
        asked = line == _ASKED.encode()
        gone = asked or any(report.encode() in line for report in _REPORTS)
        if gone:  # a progress bar may be open, where Python did not ask
            line = ("" if asked else "\n").encode() + LAST_WORDS.encode()
        with suppress(OSError):  # nobody may read any more; the process must not be held up
            output.write(line)


if __name__ == "__main__":
    _pass_on()
