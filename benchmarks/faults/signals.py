"""Runs that are asked to stop, and runs that stop by themselves."""

import signal
import time
from collections.abc import Iterator

from benchmarks.faults.cases import Case
from benchmarks.faults.runs import SETUPS, Lab, reached, saved, wait_until


def stop(lab: Lab, kills: int) -> Iterator[Case]:
    """SIGTERM and SIGINT, by turns, after some steps."""
    for name, times in (("dcgan", 6), ("progressive", 4)):
        lab.truth(name)
        folder, step, last = lab.new_folder(), 0, None
        for number in range(times):
            process = lab.start(SETUPS[name], folder)
            steps = lab.rng.integers(1, 10)
            if not wait_until(process, lambda: reached(folder) >= step + steps):  # noqa: B023
                break
            which = (signal.SIGTERM, signal.SIGINT)[number % 2]
            process.send_signal(which)
            result = lab.finish(process)
            expected = [rf"^resuming \S+ from step {step}$"] if step else []
            step = reached(folder)
            expected.append(rf"^stopped by {which.name} .*; step {step} is saved;")
            problems = result.problems(128 + which, *expected)
            if saved(folder) != step:
                problems.append(f"step {step} is not saved")
            if last:
                yield last
            last = Case(f"{which.name}, {name}", problems, step - saved(folder), result.lines[-1])
        problems = lab.run(SETUPS[name], folder).problems(0, rf"^resuming \S+ from step {step}$")
        problems += lab.differences(name, folder)
        yield last._replace(problems=[*last.problems, *problems])


def stop_early(lab: Lab, kills: int) -> Iterator[Case]:
    """SIGTERM and SIGINT while the process starts: nothing is to be saved yet."""
    seconds = lab.truth("dcgan")[1] / 2
    for which in (signal.SIGTERM, signal.SIGINT) * 3:
        folder = lab.new_folder()
        process = lab.start(SETUPS["dcgan"], folder)
        end = time.monotonic() + lab.rng.uniform(0, seconds)
        wait_until(process, lambda: time.monotonic() > end or reached(folder) > 0)  # noqa: B023
        process.send_signal(which)
        result = lab.finish(process)
        problems = []
        if result.code not in (-which, 128 + which):
            problems.append(f"exit status {result.code}")
        if len(result.lines) > 1:
            problems.append(f"{len(result.lines)} lines: {result.lines[-1]}")
        yield Case(f"{which.name} in start-up", problems, message="".join(result.lines[-1:]))


def not_finite(lab: Lab, kills: int) -> Iterator[Case]:
    """A learning rate that no network survives: skipped, counted, stopped, kept, replayed."""
    folder = lab.new_folder()
    words = ("--config.optimizer.learning_rate=1e38", "--config.max_skips=3")
    result = lab.run(SETUPS["dcgan"], folder, *words)
    skipped = r"^warning: step \d+: .* is skipped$"
    problems = result.problems(2, *[skipped] * 3, r"^error: step \d+: .*train.py --replay \S+")
    yield Case("updates that are not finite", problems, message=result.lines[-1])
    if (report := next(folder.glob("nonfinite_*"), None)) is None:
        yield Case("the step that stopped a run, done again", ["no report"])
        return
    output = lab.folder / "replay.txt"
    with output.open("w") as stdout:
        process = lab.command("train.py", f"--replay={report}", stdout=stdout)
    problems = lab.finish(process).problems(0)
    lines = output.read_text().splitlines()
    if not lines or not lines[-1].startswith("the first of it"):
        problems.append(f"the replay does not tell where it begins: {lines[-1:]}")
    yield Case("the step that stopped a run, done again", problems, message="".join(lines[-1:]))
