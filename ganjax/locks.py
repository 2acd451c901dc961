"""Locks: one process at a time makes a cache, or trains in a folder."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

from filelock import FileLock, Timeout

from ganjax.errors import UserError
from ganjax.paths import in_bucket, write_atomic

LOCK, HOLDER = ".lock", ".holder.json"  # in the folder of a run
_BEAT = 20.0  # seconds after which the holder of a bucket's lock renews it
_MISSED = 3  # beats, without which a holder counts as dead


@contextmanager
def wait_for(path: Path, doing: str) -> Iterator[None]:
    """Holds a lock that the system frees even if the process is killed; waits for it.

    Args:
      doing: what another process, if it holds the lock, does.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another process is {doing}; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in `folder`, on a disk or in a bucket.

    On a disk the system frees the lock with its process. A bucket has no locks: there the holder
    renews an object, and one that is not renewed for a minute belongs to nobody. File systems that
    know no locks are used without.

    Raises:
      UserError: another process holds it; the message names its host and number.
    """
    me = {"host": socket.gethostname(), "pid": os.getpid()}
    with _hold_in_bucket(folder, me) if in_bucket(folder) else _hold_on_disk(folder, me):
        yield


@contextmanager
def _hold_on_disk(folder: Path, me: dict[str, Any]) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise _busy(folder, _read(folder / HOLDER)) from None
    except (OSError, NotImplementedError):  # of the file system, which says so when it is written
        pass
    with suppress(UserError):  # it is for the message alone
        write_atomic(folder / HOLDER, json.dumps(me).encode())
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER).unlink()
        lock.release()


@contextmanager
def _hold_in_bucket(folder: Path, me: dict[str, Any]) -> Iterator[None]:
    path, done = folder / LOCK, Event()
    found = _read(path)
    if found and not _is_dead(found, me):
        print(f"is process {_name(found)} still training in {folder}? waiting", file=sys.stderr)
        for _ in range(_MISSED):
            time.sleep(_BEAT)
            if (now := _read(path)) != found:
                if now:
                    raise _busy(folder, now)
                break

    def write(beat: int) -> None:
        with suppress(Exception):  # of networks, in many types: the next one may be written
            path.write_text(json.dumps(me | {"beat": beat}))

    def renew() -> None:
        for beat in count(1):
            if done.wait(_BEAT):
                return
            write(beat)

    write(0)
    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(Exception):
            path.unlink()


def _read(path: Path) -> dict[str, Any]:
    """Who holds a lock; {} where nobody does or that cannot be read."""
    try:
        found = json.loads(path.read_text())
    except Exception:  # of disks, networks and buckets, in many types
        return {}
    return found if isinstance(found, dict) else {}


def _is_dead(holder: dict[str, Any], me: dict[str, Any]) -> bool:
    """Whether it was a process of this host which has ended."""
    pid = holder.get("pid")
    if holder.get("host") != me["host"] or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        return False
    return pid == me["pid"]  # in a container, numbers begin anew


def _name(holder: dict[str, Any]) -> str:
    return f"{holder.get('pid', '(unknown)')} on {holder.get('host', 'another host')}"


def _busy(folder: Path, holder: dict[str, Any]) -> UserError:
    return UserError(
        f"process {_name(holder)} is training in {folder}; wait for it or stop it, or give another "
        "--workdir"
    )
