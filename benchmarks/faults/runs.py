"""Real trainings in processes of their own, and what they are compared by."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganjax.errors import UserError
from ganjax.training.checkpoints import Checkpoints
from ganjax.trees import named_leaves

PYTHON = [sys.executable]
PATIENCE = 300  # seconds until a process counts as hanging
# Progress bars, what they leave, and XLA's complaints about slow machines.
_NOISE = re.compile(r"%\||^\s*$|^\*+$|slow_operation_alarm|Very slow compile")


class Setup(NamedTuple):
    """A run of some seconds.

    Attributes:
      words: of its command line.
      interval: the most steps from one save to the next.
    """

    words: tuple[str, ...]
    interval: int


def _setup(config: str, interval: int, **fields: Any) -> Setup:
    fields = {"keep_checkpoints": 3, **fields}
    overrides = [f"--config.{k.replace('__', '.')}={v}" for k, v in fields.items()]
    return Setup((f"--config=configs/{config}:smoke", *overrides), interval)


# Small networks: a step takes milliseconds, each is logged, and there is always a save nearby.
SETUPS = {
    "dcgan": _setup(
        "dcgan_avatars.py", 5, data__image_size=16, data__source="folder:DATA", model__width=4,
        batch_size=8, total_kimg=0.8, log_every=0.008, save_every=0.04, sample_every=0.2,
    ),
    "progressive": _setup(
        "progressive_avatars.py", 5, data__source="folder:DATA", model__width=8,
        model__latent_size=8, total_kimg=0.48, log_every=0.008, save_every=0.04, sample_every=0.2,
        evaluate_every=0.0,
    ),
    "adain": _setup(
        "adain_vgg19.py", 3, data__content="('folder:DATA',)", data__style="('folder:DATA',)",
        data__image_size=32, data__load_size=48, total_kimg=0.096, ema_half_life_kimg=0.02,
    ),
}  # fmt: skip


class Result(NamedTuple):
    """How a process ended.

    Attributes:
      code: its exit status; minus the signal that killed it.
      lines: of its stderr, but for progress bars.
    """

    code: int
    lines: list[str]

    def problems(self, code: int, *expected: str) -> list[str]:
        """What differs from this exit status and lines that match these patterns, in order."""
        found = [f"exit status {self.code}, not {code}"] if self.code != code else []
        rest = list(self.lines)
        for pattern in expected:
            if not rest or not re.search(pattern, rest.pop(0)):
                found.append(f"no line {pattern!r}")
                rest = list(self.lines)
        return found + [f"unexpected: {line}" for line in rest]


class Lab:
    """A folder with data, a cache and the runs of a campaign.

    Attributes:
      rng: of the random moments and places.
    """

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.data, self.cache = self.folder / "data", self.folder / "cache"
        self.rng = np.random.default_rng()
        self._count = 0
        self._running: list[subprocess.Popen] = []
        self._write_data()

    def _write_data(self) -> None:
        from benchmarks import ours
        from ganjax.outputs import write_image

        if self.data.exists():
            return
        self.data.mkdir(parents=True)
        for number, image in enumerate(ours.avatars(32, 16)):
            write_image(self.data / f"{number:02}.png", image, made=None)

    def new_folder(self, like: Path | None = None) -> Path:
        """A name for a run, or a copy of one."""
        folder = self._new("run")
        if like:
            shutil.copytree(like, folder)
        return folder

    def _new(self, name: str) -> Path:
        self._count += 1
        while (path := self.folder / f"{name}_{self._count}").exists():
            self._count += 1
        return path

    def start(self, setup: Setup, folder: Path, *words: str, **options: Any) -> subprocess.Popen:
        """Starts a training in `folder`."""
        given = [word.replace("DATA", str(self.data)) for word in setup.words]
        return self.command("train.py", *given, f"--workdir={folder}", *words, **options)

    def command(
        self, *words: str, stdout: Any = subprocess.DEVNULL, **environment: str
    ) -> subprocess.Popen:
        """Starts a command of ganjax; its stderr goes to a file."""
        environment = os.environ | {"GANJAX_CACHE": str(self.cache)} | environment
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        path = self._new("stderr")
        with path.open("wb") as stderr:
            process = subprocess.Popen(
                [*PYTHON, *words], env=environment, stdout=stdout, stderr=stderr
            )
        process.report = path
        self._running.append(process)
        return process

    def finish(self, process: subprocess.Popen, *, patience: float = PATIENCE) -> Result:
        """Waits for the end of a process, and makes one of what hangs."""
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        text = process.report.read_text(errors="replace").replace("\r", "\n").replace("\x1b[A", "")
        lines = [line for line in text.split("\n") if not _NOISE.search(line)]
        return Result(process.returncode, lines)

    def run(self, setup: Setup, folder: Path, *words: str, **options: Any) -> Result:
        return self.finish(self.start(setup, folder, *words, **options))

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()

    @cache  # noqa: B019 (a lab lives as long as the campaign)
    def truth(self, name: str) -> tuple[Path, float]:
        """A run that nothing happens to: its folder, and the seconds it takes with a warm cache."""
        for _ in range(2):
            folder, begin = self.new_folder(), time.monotonic()
            result = self.run(SETUPS[name], folder)
            if problems := result.problems(0):
                raise UserError(f"{name} fails without any fault: {'; '.join(problems)}")
        return folder, time.monotonic() - begin

    def differences(self, name: str, folder: Path) -> list[str]:
        """What differs from the run that nothing happens to."""
        return differences(name, self.truth(name)[0], folder)


def differences(name: str, *folders: Path) -> list[str]:
    """What of the last states and the metrics of two runs differs."""
    (a, b), found = (last_state(name, folder) for folder in folders), []
    wrong = [path for path in a.keys() | b.keys() if a.get(path) != b.get(path)]
    if wrong:
        found.append(f"{len(wrong)} of {len(a)} arrays differ, e.g. {wrong[0]}")
    if logged(folders[0]) != logged(folders[1]):
        found.append("the metrics differ")
    return found


def last_state(name: str, folder: Path) -> dict[str, bytes]:
    """The arrays of a run's newest checkpoint, whose digests have been verified, by name."""
    checkpoints = Checkpoints.read_only(folder / "checkpoints")
    state = checkpoints.load(checkpoints.steps[-1], structure(name))
    return contents(state)


def contents(state: Any) -> dict[str, bytes]:
    """The arrays of a state by name."""
    return {path: np.asarray(x).tobytes() for path, x in named_leaves(state).items()}


@cache
def structure(name: str) -> Any:
    """Shapes and types of a setup's state."""
    import jax

    from ganjax import tasks
    from ganjax.config import load as load_config

    config, *overrides = SETUPS[name].words
    task = tasks.make(load_config(config.removeprefix("--config="), overrides))
    return jax.eval_shape(task.init, jax.random.key(0))


def logged(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl without speeds."""
    try:
        text = (folder / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    for row in rows:
        row.pop("images_per_second", None)
    return rows


def reached(folder: Path) -> int:
    """The last step whose metrics are on the disk."""
    return max((row["step"] for row in logged(folder)), default=0)


def saved(folder: Path) -> int:
    """The step of the newest complete checkpoint, 0 for none."""
    return max((int(name) for name in _names(folder) if name.isdigit()), default=0)


def saving(folder: Path) -> Sequence[str]:
    """Temporary folders of saves under way."""
    return [name for name in _names(folder) if "tmp" in name]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder / "checkpoints")
    except FileNotFoundError:
        return []


def wait_until(
    process: subprocess.Popen, condition: Callable[[], bool], *, every: float = 0.002
) -> bool:
    """Whether the condition came true before the process ended."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every)
    return False
