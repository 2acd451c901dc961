"""Disks that are full or cannot be written, and data that is gone."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.cases import Case
from benchmarks.faults.damage import halved
from benchmarks.faults.runs import SETUPS, Lab, Result, reached, saved, wait_until

NAME = "dcgan"
MIB = 2**20
ROOMS = (0.0, 0.02, 0.2, 0.4, 0.6, 0.8)  # shares of what the run needs
_DECODED = "image.bin"


@contextlib.contextmanager
def _small_disk(lab: Lab, size: int = 32 * MIB) -> Iterator[Path | None]:
    """A file system of its own in memory; None where this user may not mount one."""
    folder = lab.new_folder()
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        print("full and read-only disks are left out: only root may mount one", file=sys.stderr)
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(disk: Path, room: int) -> Path:
    """Leaves so many bytes of a disk free."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        size = max(0, shutil.disk_usage(disk).free - room)
        os.posix_fallocate(file.fileno(), 0, size)
    return ballast


def full_disk(lab: Lab, kills: int) -> Iterator[Case]:
    """A disk that is full from the start or fills up, and is emptied later."""
    straight = lab.truth(NAME)[0]
    needed = sum(path.stat().st_size for path in straight.rglob("*") if path.is_file())
    for share in ROOMS:
        with _small_disk(lab) as disk:
            if disk is None:
                return
            folder = disk / "run"
            ballast = _fill(disk, int(share * needed))
            result = lab.run(SETUPS[NAME], folder)
            problems = result.problems(2, r"^error: .*disk is full")
            step, lost = saved(folder), reached(folder) - saved(folder)
            ballast.unlink()
            problems += _go_on(lab, folder, step)
            yield Case("full disk", problems, lost, result.lines[-1] if result.lines else "")
    with _small_disk(lab) as disk:
        shutil.copytree(lab.cache / "images", disk / "images")
        _fill(disk, 0)
        folder = lab.new_folder()
        result = lab.run(SETUPS[NAME], folder, GANJAX_CACHE=str(disk))
        problems = result.problems(0) + lab.differences(NAME, folder)
        yield Case("no room to keep compiled programs", problems, None, "".join(result.lines[-1:]))
    with _small_disk(lab) as disk:
        _fill(disk, 0)
        result = lab.run(SETUPS[NAME], lab.new_folder(), GANJAX_CACHE=str(disk))
        yield _refused("no room for decoded images", result)


def read_only(lab: Lab, kills: int) -> Iterator[Case]:
    """A run's folder on a disk that cannot be written."""
    resuming = r"^resuming \S+ from step 50$"
    for name, base, *lines in (("new", None), ("resumed", halved(lab), resuming)):
        with _small_disk(lab) as disk:
            if disk is None:
                return
            folder = disk / "run"
            if base:
                shutil.copytree(base, folder)
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            result = lab.run(SETUPS[NAME], folder)
            case = _refused(f"read-only disk, {name} run", result, *lines)
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            yield case._replace(problems=[*case.problems, *_go_on(lab, folder, saved(folder))])


def data(lab: Lab, kills: int) -> Iterator[Case]:
    """Images and the cache of decoded images, gone or cut short, between runs and in a run."""
    aside = lab.folder / "aside"
    base, some = halved(lab), lab.data / "07.png"

    folder = lab.new_folder(like=base)
    lab.data.rename(aside)
    case = _refused("folder of images deleted", lab.run(SETUPS[NAME], folder))
    aside.rename(lab.data)
    yield case._replace(problems=[*case.problems, *_go_on(lab, folder, saved(folder))])

    folder = lab.new_folder(like=base)
    some.rename(aside)
    case = _refused("one image deleted", lab.run(SETUPS[NAME], folder))
    aside.rename(some)
    yield case._replace(problems=[*case.problems, *_go_on(lab, folder, saved(folder))])

    def cut() -> None:
        for path in (lab.cache / "images").rglob(_DECODED):
            os.truncate(path, path.stat().st_size // 2)

    def delete() -> None:
        shutil.rmtree(lab.cache / "images")

    for what, act in (("cut short", cut), ("deleted", delete)):
        folder = lab.new_folder(like=base)
        act()
        yield Case(f"decoded images {what} between runs", _go_on(lab, folder, saved(folder)))

    for what, act in (
        ("one image deleted", lambda: some.rename(aside)),
        ("decoded images deleted", delete),
    ):
        folder = lab.new_folder()
        process = lab.start(SETUPS[NAME], folder)
        wait_until(process, lambda: reached(folder) > 3)  # noqa: B023
        act()
        problems = lab.finish(process).problems(0) + lab.differences(NAME, folder)
        yield Case(f"{what} in a run", problems)
        if aside.exists():
            aside.rename(some)
    folder = lab.new_folder()
    process = lab.start(SETUPS[NAME], folder)
    wait_until(process, lambda: reached(folder) > 3)
    cut()
    result, step = lab.finish(process), saved(folder)
    lost = reached(folder) - step
    case = _refused("decoded images cut short in a run", result)
    yield case._replace(problems=[*case.problems, *_go_on(lab, folder, step)], lost=lost)


def compiled(lab: Lab, kills: int) -> Iterator[Case]:
    """Compiled programs that were cut short, as by a kill while they were written."""
    lab.truth(NAME)
    cache = lab.new_folder(like=lab.cache)
    for path in (cache / "xla").iterdir():
        os.truncate(path, path.stat().st_size // 2)
    folder = lab.new_folder()
    result = lab.run(SETUPS[NAME], folder, GANJAX_CACHE=str(cache))
    problems = result.problems(0) + lab.differences(NAME, folder)
    yield Case("compiled programs cut short", problems, None, "".join(result.lines[-1:]))


def _refused(fault: str, result: Result, *before: str) -> Case:
    problems = result.problems(2, *before, "^error: ")
    return Case(fault, problems, message="".join(result.lines[-1:]))


def _go_on(lab: Lab, folder: Path, step: int) -> list[str]:
    """What is wrong where the fault is gone and the same command runs again."""
    expected = [rf"^resuming \S+ from step {step}$"] if step else []
    return lab.run(SETUPS[NAME], folder).problems(0, *expected) + lab.differences(NAME, folder)
