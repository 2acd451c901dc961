"""Processes that die: kill -9 at any moment."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.cases import Case
from benchmarks.faults.runs import SETUPS, Lab, reached, saved, saving, wait_until

CHAIN = 5  # kills of one run
# Shares of the kills.
SHARES = {"dcgan": 0.55, "progressive": 0.3, "adain": 0.15}
MOMENTS = ("at any moment", "in training", "in mid-save")


def kill(lab: Lab, kills: int, *, name: str) -> Iterator[Case]:
    """Runs that are killed several times in a row, until they end."""
    lab.truth(name)
    left = max(1, round(kills * SHARES[name]))
    while left > 0:
        cases = _chain(lab, name, min(CHAIN, left))
        left -= len(cases)
        yield from cases


def _chain(lab: Lab, name: str, kills: int) -> list[Case]:
    """At most so many kills of one run; the end of it tells of them all."""
    setup, folder, cases = SETUPS[name], lab.new_folder(), []
    known = 0  # the newest complete checkpoint after the kill before
    while len(cases) < kills:
        moment = MOMENTS[lab.rng.integers(len(MOMENTS))]
        process = lab.start(setup, folder)
        _wait(lab, name, moment, process, folder)
        process.kill()
        result = lab.finish(process)
        if result.code == 0:
            break  # it came to its end before
        lost, in_mid_save = reached(folder) - saved(folder), bool(saving(folder))
        problems = result.problems(-9, *_resuming(folder, known, result.lines))
        # A save that is due waits for the one before: of these two the first may be lost, too.
        if lost > 2 * setup.interval:
            problems.append(f"{lost} steps lost")
        known = saved(folder)
        if in_mid_save:
            moment = MOMENTS[2]
        elif moment == MOMENTS[2]:  # the save was faster
            moment = MOMENTS[0]
        cases.append(Case(f"kill -9 {moment}, {name}", problems, lost))
    else:
        result = lab.run(setup, folder)
    problems = result.problems(0, *_resuming(folder, known, result.lines))
    problems += lab.differences(name, folder)
    if cases:
        cases[-1] = cases[-1]._replace(problems=[*cases[-1].problems, *problems])
    elif problems:
        return [Case(f"no fault, {name}", problems)]
    return cases


def _wait(lab: Lab, name: str, moment: str, process: subprocess.Popen, folder: Path) -> None:
    """Waits for the moment, or the end of the process."""
    if moment == "in training":
        steps, seen = lab.rng.integers(1, 15), []

        def condition() -> bool:
            seen.append(reached(folder))  # it falls where the process takes up the run
            return seen[-1] >= min(seen) + steps

    elif moment == "in mid-save":
        old, names, wanted = set(saving(folder)), set(), lab.rng.integers(1, 4)

        def condition() -> bool:
            names.update(set(saving(folder)) - old)
            return len(names) == wanted

    else:
        end = time.monotonic() + lab.rng.uniform(0, lab.truth(name)[1])

        def condition() -> bool:
            return time.monotonic() >= end

    wait_until(process, condition)


def _resuming(folder: Path, step: int, lines: list[str]) -> list[str]:
    """The lines that a process says that goes on from `step`; none if it did not get that far."""
    return [rf"^resuming {folder} from step {step}$"] if step and lines else []
