"""A terminal that closes, and what `nohup` makes of it."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganjax.training import signals
from ganjax.training.checkpoints import Checkpoints

ROOT = Path(__file__).parents[2]


# Makes stdin the terminal of its session, then becomes the command.
OWN_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _keep(monkeypatch):
    monkeypatch.setattr(signals, "_leave_terminal", lambda: None)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests are run under
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_request_to_stop_is_collected(name):
    number = signal.Signals[name]
    before = signal.getsignal(number)
    with signals.stop_requests() as requested:
        assert requested() == 0
        os.kill(os.getpid(), number)
        assert requested() == number
    assert signal.getsignal(number) is before


def test_nohup_goes_on():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.stop_requests() as requested:
        os.kill(os.getpid(), signal.SIGHUP)
        assert requested() == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.slow
def test_a_run_saves_when_its_terminal_closes(tmp_path):
    workdir, (ours, terminal) = tmp_path / "run", pty.openpty()
    words = [
        *(sys.executable, "-c", OWN_TERMINAL, sys.executable),
        *("train.py", "--config=configs/dcgan_avatars.py:smoke"),
        *("--config.data.image_size=16", "--config.model.width=4", f"--workdir={workdir}"),
        *("--config.total_kimg=1000", "--config.save_every=100"),
    ]

    files = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(words, cwd=ROOT, start_new_session=True, **files) as process:
        os.close(terminal)
        deadline = time.monotonic() + 300
        while not (workdir / "metrics.jsonl").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        os.close(ours)
        process.wait(timeout=300)
    assert process.returncode == 128 + signal.SIGHUP
    assert Checkpoints.read_only(workdir / "checkpoints").steps
