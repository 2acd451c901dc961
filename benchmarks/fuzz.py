"""Reads damaged and hostile files of every kind: `python -m benchmarks.fuzz --help`."""

import argparse
import multiprocessing
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.specimens import KINDS, ROOT
from ganjax.commands.terminal import check_parent, run_command
from ganjax.errors import UserError

EPILOG = """\
examples:
  python -m benchmarks.fuzz --cases 10000
  python -m benchmarks.fuzz --cases 1000 --kinds pth npz
  python -m benchmarks.fuzz --case pth 1234          one case again, with its traceback

Whole files of every kind, hostile ones among them, and real ones of the folders that
$GANJAX_TEST_DATA and $GANJAX_TEST_WEIGHTS name, are damaged at random and read. Each must be read,
or refused with a UserError of one short line, within --seconds and --mib; nothing in it may run,
and no file but the case itself may be opened. (A config is a program, which may do as it likes.)
Cases that fail are kept in --folder; the status is then 1. Run it from the root of the checkout.

  partly    some images of a folder or an archive were left out, with a reason for each
  peak      the most memory that the process took for a case, above what it had; HDF5 is read in
            a process of its own, whose memory ganjax bounds
"""
_LINE = 500  # characters of a message
# Audit events of what no reader has to do, whatever a file says.
_FORBIDDEN = (
    "exec", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
    "subprocess.Popen", "socket.connect", "socket.bind", "pickle.find_class", "ctypes.dlopen",
    "os.link", "os.symlink", "os.chmod", "os.chown", "os.kill",
)  # fmt: skip
# A config is run, and names files anywhere; HDF5 is read in a process of its own.
_ALLOWED = {
    "config": ("exec", "open"),
    "override": ("exec", "open", "ctypes.dlopen"),
    "h5": ("subprocess.Popen", "os.posix_spawn"),
    "folder": ("os.symlink",),  # the case makes them
}
_CODE = tuple({os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, ROOT)})


class Failure(Exception):
    """A case broke a rule; the message is one line."""


class Outcome(NamedTuple):
    """How a case ended.

    Attributes:
      result: "read", "partly", "refused" or "failed".
      reason: of the last three, the first that was given.
      seconds: that it took.
      peak: MiB of memory that it took at most, above what the process had.
    """

    result: str
    reason: str = ""
    seconds: float = 0.0
    peak: float = 0.0


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz",
        description="Read damaged and hostile files of every kind.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cases", type=int, default=10_000, metavar="N", help="of all kinds (default: 10000)")
    add("--seed", type=int, default=0, metavar="N", help="of all randomness (default: 0)")
    add("--first", type=int, default=0, metavar="N", help="number of the first case (default: 0)")
    add("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="only these")
    add("--case", nargs=2, metavar=("KIND", "N"), help="judge one case in this process")
    add("--seconds", type=float, default=5.0, metavar="S", help="for a case (default: 5)")
    add("--mib", type=int, default=1024, metavar="N", help="of memory for a case (default: 1024)")
    add("--folder", type=Path, default=Path("fuzz_failures"), metavar="DIR",
        help="where cases that fail are kept (default: fuzz_failures)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write a row for each kind here")
    arguments = parser.parse_args(argv)
    if arguments.cases < 1 or arguments.first < 0:
        raise UserError("--cases must be 1 or more, --first 0 or more")
    check_parent("--json", arguments.json)
    if not Path("configs/dcgan_avatars.py").exists():
        raise UserError("configs are not here; run this from the root of the checkout")
    if arguments.case:
        kind, number = arguments.case
        if kind not in KINDS or not number.isdecimal():
            raise UserError(f"--case {kind} {number}: give one of {', '.join(KINDS)}, and a number")
        with tempfile.TemporaryDirectory() as folder:
            content = make_case(kind, arguments.seed, int(number))
            print(judge(kind, content, Path(folder)))
        return
    rows = run_campaign(arguments)
    _print(rows)
    report.write_json(arguments.json, rows)
    if any(row["failed"] for row in rows):
        sys.exit(1)


def make_case(kind: str, seed: int, number: int) -> bytes:
    """Case `number` of a kind; the same wherever there are the same real files."""
    random = Random(f"{kind}/{seed}/{number}")
    return KINDS[kind].make(random, KINDS[kind].specimens())


def judge(kind: str, content: bytes, folder: Path) -> Outcome:
    """Reads a case in an empty folder.

    Raises:
      Failure: it broke a rule.
    """
    _import_readers(kind)
    reasons: Sequence[str] = ()
    result = "read"
    with _temporaries_in(folder), watched(folder, _ALLOWED.get(kind, ())) as broken:
        try:
            reasons = KINDS[kind].read(content, folder)
        except UserError as error:
            result, reasons = "refused", [str(error)]
            if any(isinstance(cause, MemoryError) for cause in _causes(error)):
                raise Failure("it asked for more memory than it may have") from error
        except BaseException as error:
            if not broken:
                place = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(place.filename).name}:{place.lineno}"
                text = f"{type(error).__name__} in {where}: {' '.join(str(error).split()):.200}"
                raise Failure(text) from error
    if broken:
        raise Failure(f"it {'; it '.join(broken[:3])}")
    for reason in reasons:
        # What users say of a config is as long as they like.
        if len(reason) > _LINE and kind != "override" or not reason.isprintable():
            raise Failure(f"a message of more than one short line: {reason[:200]!r}")
    if reasons and result == "read":
        result = "partly"
    return Outcome(result, reasons[0] if reasons else "")


@contextmanager
def _temporaries_in(folder: Path) -> Iterator[None]:
    old, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = old


@cache
def _import_readers(kind: str) -> None:
    """Reads a file unwatched: what is imported on the way runs code."""
    with tempfile.TemporaryDirectory() as folder, suppress(UserError):
        KINDS[kind].read(KINDS[kind].specimens()[0], Path(folder))


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error := error.__cause__ or error.__context__:
        yield error


_watch: dict[str, Any] = {}  # what `_audit` needs while a case is read
_hooks: list[Any] = []  # there is no way to take one off again


@contextmanager
def watched(folder: Path, allowed: Sequence[str] = ()) -> Iterator[list[str]]:
    """Lists what the body does and no reader has to do: run code, open files beside `folder`.

    Args:
      allowed: audit events of Python that are nothing to be told of; "open" for files that are
        only read.
    """
    if not _hooks:
        sys.addaudithook(_audit)
        _hooks.append(_audit)
    broken: list[str] = []
    _watch.update(folder=os.path.realpath(folder), allowed=allowed, broken=broken)
    try:
        yield broken
    finally:
        _watch.clear()


def _audit(event: str, arguments: tuple) -> None:
    if not _watch or event != "open" and event not in _FORBIDDEN:
        return
    if event != "open":
        # Modules of Python's and our own are imported when they are needed.
        module = event == "exec" and arguments[0].co_filename.startswith(_CODE)
        if not module and event not in _watch["allowed"]:
            _watch["broken"].append(f"ran {event} {str(arguments):.100}")
        return
    path, _, flags = arguments
    writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if path in (os.devnull, None) or isinstance(path, int):
        return
    if not writes and "open" in _watch["allowed"]:
        return
    path = os.path.realpath(path)
    places = [_watch["folder"], *(() if writes else _CODE)]
    if not any(path == place or path.startswith(f"{place}/") for place in places):
        _watch["broken"].append(f"{'wrote' if writes else 'read'} {path}")


def run_campaign(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Judges all cases, in a process that may die of them, and returns a row for each kind."""
    outcomes: dict[str, list[Outcome]] = {kind: [] for kind in arguments.kinds}
    worker = None
    try:
        for kind, number in _schedule(arguments.kinds, arguments.first, arguments.cases):
            worker = worker or _Worker(arguments.seed, arguments.mib)
            outcome = worker.judge(kind, number, arguments.seconds)
            outcomes[kind].append(outcome)
            if outcome.result == "failed":
                _keep(arguments, kind, number, outcome.reason)
            if not worker.alive:
                worker.close()
                worker = None
    finally:
        if worker:
            worker.close()
    return [_row(kind, found) for kind, found in outcomes.items() if found]


def _schedule(kinds: Sequence[str], first: int, count: int) -> Iterator[tuple[str, int]]:
    """Each kind by its share, evenly mixed."""
    turns = sorted(
        ((turn + 0.5) / KINDS[kind].share, kind)
        for kind in kinds
        for turn in range(KINDS[kind].share)
    )
    for number in range(first, first + count):
        yield turns[number % len(turns)][1], number


class _Worker:
    """A process that judges cases one by one."""

    def __init__(self, seed: int, mib: int):
        context = multiprocessing.get_context("spawn")
        self._scratch = tempfile.TemporaryDirectory(prefix="ganjax-fuzz-")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, seed, self._scratch.name, mib))
        self._process.start()
        theirs.close()
        self.alive = True

    def judge(self, kind: str, number: int, seconds: float) -> Outcome:
        try:
            self._pipe.send((kind, number))
            self._pipe.recv()  # it has made the case
            if self._pipe.poll(seconds):
                return self._pipe.recv()
            reason = f"it took more than {seconds:g} seconds"
        except (EOFError, ConnectionError):
            self._process.join()
            reason = f"the process died with status {self._process.exitcode}"
        self.alive = False
        return Outcome("failed", reason, seconds)

    def close(self) -> None:
        self._pipe.close()
        if not self.alive:
            self._process.kill()
        self._process.join()
        self._scratch.cleanup()


def _work(pipe: Connection, seed: int, scratch: str, mib: int) -> None:
    warnings.simplefilter("ignore")  # Pillow's, of damaged metadata
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff's, and names of files left out
    try:
        while True:
            kind, number = pipe.recv()
            content = make_case(kind, seed, number)
            folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=scratch))
            pipe.send(None)
            pipe.send(_measured(kind, content, folder, mib))
            shutil.rmtree(folder, ignore_errors=True)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _measured(kind: str, content: bytes, folder: Path, mib: int) -> Outcome:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start = _memory("VmRSS"), time.perf_counter()
    _limit_memory(_memory("VmSize") + 2 * mib)
    try:
        outcome = judge(kind, content, folder)
    except Failure as failure:
        outcome = Outcome("failed", str(failure))
    finally:
        _limit_memory(None)
    seconds, peak = time.perf_counter() - start, _memory("VmHWM") - before
    if peak > mib:
        outcome = Outcome("failed", f"it took {peak:.0f} MiB of memory")
    reason = outcome.reason.replace(f"{folder}/", "")
    return Outcome(outcome.result, reason, seconds, peak)


def _memory(field: str) -> float:
    """MiB of this process, by a field of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def _limit_memory(mib: float | None) -> None:
    """Bounds the addresses that this process may use: what it asks for and never touches, too."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (most if mib is None else int(mib * 2**20), most))


def _keep(arguments: argparse.Namespace, kind: str, number: int, reason: str) -> None:
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / f"{kind}-{arguments.seed}-{number}"
    path.write_bytes(make_case(kind, arguments.seed, number))
    again = f"python -m benchmarks.fuzz --seed {arguments.seed} --case {kind} {number}"
    print(f"{path}: {reason}\n  {again}", file=sys.stderr)


def _row(kind: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    counts = Counter(outcome.result for outcome in outcomes)
    times = [outcome.seconds for outcome in outcomes]
    reasons = Counter(_general(outcome.reason) for outcome in outcomes if outcome.reason)
    return {
        "name": kind,
        "cases": len(outcomes),
        **{result: counts[result] for result in ("read", "partly", "refused", "failed")},
        "median_s": statistics.median(times),
        "slowest_s": max(times),
        "peak_mib": max(outcome.peak for outcome in outcomes),
        "reasons": dict(reasons.most_common(20)),
    }


def _general(reason: str) -> str:
    """A reason without what tells one case from another."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[-\d.,]*\d", "*", reason)[:80]


def _print(rows: Sequence[dict[str, Any]]) -> None:
    total = {"name": "all"} | {key: sum(row[key] for row in rows) for key in list(rows[0])[1:6]}
    heads = ("cases", "read", "partly", "refused", "failed")
    print(f"{'':12}" + "".join(f"{head:>9}" for head in (*heads, "med. ms", "most ms", "peak MiB")))
    for row in (*rows, total):
        line = f"{row['name']:12}" + "".join(f"{row[head]:9,}" for head in heads)
        if row is not total:
            line += f"{row['median_s'] * 1e3:9.1f}{row['slowest_s'] * 1e3:9.0f}"
            line += f"{row['peak_mib']:9.0f}"
        print(line)


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
