"""Times programs against each other: a process for each, measured in turns within one run.

JAX and PyTorch keep threads of their own; in one process they would disturb each other. Between
its turns a process waits on its pipe and takes no time from the others.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from ganjax.errors import UserError

_LONGEST_TURN = 10_000  # steps


def host_memory() -> int:
    """The most memory that this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Program(NamedTuple):
    """What is timed, built in its own process.

    Attributes:
      run: makes so many steps and waits until the device has done them.
      device: "cpu", "gpu" or "tpu".
      flops: arithmetic of a step that cannot be left out; None where it is not counted.
      peak_memory: bytes held at most so far, on the device.
      notes: other figures, by name.
      least: steps of a turn at least; many where steps are prepared ahead, between turns too.
    """

    run: Callable[[int], None]
    device: str = "cpu"
    flops: float | None = None
    peak_memory: Callable[[], int] = host_memory
    notes: dict[str, Any] = {}
    least: int = 1


class Contestant(NamedTuple):
    """A program to be.

    Attributes:
      name: for people.
      build: makes the `Program`; called in another process, so it must be importable, or a
        `functools.partial` of what is.
    """

    name: str
    build: Callable[[], Program]


class Figures(NamedTuple):
    """What was measured of one program.

    Attributes:
      turns: seconds per step, the mean of each turn.
      peak_memory: bytes.
      device, flops, notes: as the program states them.
    """

    turns: tuple[float, ...]
    device: str
    flops: float | None
    peak_memory: int
    notes: dict[str, Any]

    @property
    def median(self) -> float:
        return statistics.median(self.turns)

    @property
    def minimum(self) -> float:
        return min(self.turns)


def turn_order(names: Sequence[str], rounds: int) -> list[list[str]]:
    """Who is measured when: A B C, B C A, C A B, ..., so that nobody always comes first."""
    turns = [number % len(names) for number in range(rounds)]
    return [[*names[first:], *names[:first]] for first in turns]


def race(
    contestants: Sequence[Contestant], *, rounds: int, turn_seconds: float = 2.0
) -> dict[str, Figures]:
    """Builds all contestants and times them in turns.

    Args:
      rounds: turns of each.
      turn_seconds: about how long a turn lasts, at least one step.

    Returns:
      The figures by name, in the given order. The first contestant must work; another that cannot
      be built is left out with a line on stderr that says why.

    Raises:
      UserError: the first contestant cannot be built.
    """
    with ExitStack() as stack:
        workers, ready = {}, {}
        for contestant in contestants:
            print(f"building {contestant.name} ...", file=sys.stderr)
            ask = stack.enter_context(_worker(contestant.build))
            try:
                ready[contestant.name] = ask(None)
                workers[contestant.name] = ask
            except _Failed as failure:
                if not workers:
                    raise UserError(f"{contestant.name} cannot be built: {failure}") from None
                print(f"warning: {contestant.name} is left out: {failure}", file=sys.stderr)
        return _take_turns(workers, ready, rounds, turn_seconds)


def _take_turns(workers, ready, rounds: int, turn_seconds: float) -> dict[str, Figures]:
    steps = {
        name: min(max(first["least"], round(turn_seconds / first["step_s"])), _LONGEST_TURN)
        for name, first in ready.items()
    }
    turns: dict[str, list[float]] = {name: [] for name in workers}
    last = {}
    for order in turn_order(list(workers), rounds):
        for name in order:
            last[name] = workers[name](steps[name])
            turns[name].append(last[name]["step_s"])
    fields = ("device", "flops", "peak_memory", "notes")
    return {
        name: Figures(tuple(turns[name]), *(last[name][field] for field in fields))
        for name in workers
    }


class _Failed(Exception):
    """A program could not be built or run; the message is its last line."""


@contextmanager
def _worker(build: Callable[[], Program]):
    """A process that builds a program, as a function: None -> its first answer, steps -> times."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # Not a daemon, for those must not have processes of their own; it ends with its pipe.
    process = context.Process(target=_work, args=(theirs, build))
    process.start()
    theirs.close()

    def ask(steps: int | None) -> dict[str, Any]:
        try:
            if steps is not None:
                ours.send(steps)
            answer = ours.recv()
        except (EOFError, BrokenPipeError):
            raise _Failed(f"its process died with status {process.exitcode}") from None
        if "error" in answer:
            raise _Failed(answer["error"])
        return answer

    try:
        yield ask
    finally:
        ours.close()
        process.join(timeout=10)
        if process.is_alive():
            process.terminate()
            process.join()


def _work(pipe, build: Callable[[], Program]) -> None:
    # Several processes share an accelerator; none may claim its memory in advance.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        program = build()
        program.run(1)  # compiles what is not compiled yet
        pipe.send(_describe(program, _time(program, 1)))
        while True:
            pipe.send(_describe(program, _time(program, pipe.recv())))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
        pipe.send({"error": f"{type(error).__name__}: {reason}"})


def _describe(program: Program, step_s: float) -> dict[str, Any]:
    peak = program.peak_memory()
    return program._asdict() | {"run": None, "peak_memory": peak, "step_s": step_s}


def _time(program: Program, steps: int) -> float:
    start = time.perf_counter()
    program.run(steps)
    return (time.perf_counter() - start) / steps
