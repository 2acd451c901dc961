"""One process at a time in the folder of a run; the dead stand in nobody's way."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ganjax import locks
from ganjax.errors import UserError

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from ganjax import locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder that is treated as one in a bucket, where holders are slow to be given up."""
    monkeypatch.setattr(locks, "in_bucket", lambda path: True)
    monkeypatch.setattr(locks, "_BEAT", 0.1)
    return tmp_path


def refused(folder: Path, says: str) -> None:
    with pytest.raises(UserError) as error, locks.hold(folder):
        raise AssertionError("it is held twice")
    assert says in str(error.value) and "\n" not in str(error.value)


def test_another_process_is_named_and_a_killed_one_is_no_obstacle(tmp_path):
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        refused(tmp_path, f"process {process.pid} on {socket.gethostname()} is training in")
        process.kill()
    assert (tmp_path / locks.HOLDER).exists()
    with locks.hold(tmp_path):
        assert json.loads((tmp_path / locks.HOLDER).read_text())["pid"] == os.getpid()
    assert not (tmp_path / locks.HOLDER).exists()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def acquire(self, timeout=0):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.FileLock, "acquire", acquire)
    with locks.hold(tmp_path):
        pass


def test_a_bucket_is_held_while_its_lock_is_renewed(bucket, capsys):
    inside, done = threading.Event(), threading.Event()

    def work():
        with locks.hold(bucket):
            inside.set()
            done.wait(30)

    other = {"host": "elsewhere", "pid": 7}
    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(30)
    with pytest.MonkeyPatch.context() as patch:
        # As another process of this host sees it.
        patch.setattr(locks, "_is_dead", lambda holder, me: False)
        patch.setattr(locks, "_MISSED", 300)  # the first beat will do, however late it is
        refused(bucket, f"process {os.getpid()} on {socket.gethostname()} is training in")
    done.set()
    thread.join()
    assert not (bucket / locks.LOCK).exists()
    # What nobody renews belongs to nobody, whenever it was written.
    (bucket / locks.LOCK).write_text(json.dumps(other))
    capsys.readouterr()
    before = time.monotonic()
    with locks.hold(bucket):
        assert time.monotonic() - before > 0.25
    assert "is process 7 on elsewhere still training" in capsys.readouterr().err


def test_a_dead_process_of_this_host_is_not_waited_for(bucket, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    monkeypatch.setattr(time, "sleep", None)
    for pid in (process.pid, os.getpid()):
        holder = {"host": socket.gethostname(), "pid": pid}
        (bucket / locks.LOCK).write_text(json.dumps(holder))
        with locks.hold(bucket):
            pass
