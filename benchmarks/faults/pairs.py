"""Two processes of one run, of which one dies."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.cases import Case
from benchmarks.faults.runs import SETUPS, Lab, differences, reached, saved, wait_until

NAME = "dcgan"
BOUND = 150  # seconds until the other one has to leave


def pair(lab: Lab, kills: int) -> Iterator[Case]:
    """Either process of two is killed; the other one must leave, and both go on later."""
    lab.truth(NAME)  # decodes the images, which one of two would tell of
    straight = lab.new_folder()
    ends = [lab.finish(process).problems(0) for process in _start(lab, straight)]
    yield Case("two processes, no fault", sum(ends, []))
    for dead in (0, 1):
        folder = lab.new_folder()
        processes = _start(lab, folder)
        wait_until(processes[0], lambda: reached(folder) > 12)  # noqa: B023
        processes[dead].kill()
        lab.finish(processes[dead])
        begin = time.monotonic()
        result = lab.finish(processes[1 - dead], patience=BOUND)
        seconds = time.monotonic() - begin
        step, lost = saved(folder), reached(folder) - saved(folder)
        # An abort where JAX finds out first, an exception where Python does; both print what they
        # like. One that had to be killed was waiting for ever.
        problems = [] if result.code in (1, -6) else [f"exit status {result.code}, not 1 or -6"]
        again = [lab.finish(process) for process in _start(lab, folder)]
        problems += again[0].problems(0, rf"^resuming \S+ from step {step}$")
        problems += again[1].problems(0) + differences(NAME, straight, folder)
        message = f"after {seconds:.0f} s: {''.join(result.lines[-1:])}"
        yield Case(f"process {dead} of two killed", problems, lost, message)


def _start(lab: Lab, folder: Path) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        lab.start(
            SETUPS[NAME],
            folder,
            XLA_FLAGS="--xla_force_host_platform_device_count=2",
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(number),
        )
        for number in (0, 1)
    ]
