"""Checkpoint files that are cut short, emptied, deleted, or hold flipped bits."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import jax
import numpy as np

from benchmarks.faults.cases import Case
from benchmarks.faults.runs import SETUPS, Lab, contents, saved, structure
from ganjax.errors import UserError
from ganjax.training.checkpoints import Checkpoints

NAME = "dcgan"
PLACES = 12  # of each kind of damage in each file
TRIED = 12  # of them by real runs


def cut(path: Path, rng: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(1, max(2, len(content)))])


def flip(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)


def empty(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(b"")


def delete(path: Path, rng: np.random.Generator) -> None:
    path.unlink()


DAMAGES = {"cut short": cut, "with a flipped bit": flip, "emptied": empty, "deleted": delete}


@cache
def halved(lab: Lab) -> Path:
    """A run that has come half way."""
    folder = lab.new_folder()
    lab.truth(NAME)
    problems = lab.run(SETUPS[NAME], folder, "--config.total_kimg=0.4").problems(0)
    if problems:
        raise UserError(f"half a run fails without any fault: {'; '.join(problems)}")
    return folder


def damage(lab: Lab, kills: int) -> Iterator[Case]:
    """Every file of the newest checkpoint, damaged in every way, is loaded; some runs resume."""
    base = halved(lab)
    newest = base / "checkpoints" / str(saved(base))
    files = sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file())
    for how, break_file in DAMAGES.items():
        places = PLACES if break_file in (cut, flip) else 1
        for file in files:
            for _ in range(places):
                yield _load(lab, how, break_file, file)
    for _ in range(TRIED):
        how = str(lab.rng.choice(list(DAMAGES)))
        yield _resume(lab, how, files[lab.rng.integers(len(files))])
    folder = lab.new_folder(like=base)
    for path in (folder / "checkpoints").rglob("manifest.ocdbt"):
        cut(path, lab.rng)
    result = lab.run(SETUPS[NAME], folder)
    problems = result.problems(2, r"^error: no checkpoint in \S+ can be read")
    yield Case("every checkpoint damaged", problems, message=result.lines[-1])


def _load(lab: Lab, how: str, break_file: Callable, file: Path) -> Case:
    base = halved(lab)
    folder, step = lab.new_folder(like=base), saved(base)
    break_file(folder / "checkpoints" / str(step) / file, lab.rng)
    message, problems = "", []
    try:
        state, damages = Checkpoints(folder / "checkpoints").load_newest(structure(NAME))
        message = "; ".join(damages)
        restored = int(state.step)
        if damages and not all(f"step {step} " in text for text in damages):
            problems.append(f"{file}: the message does not name the step: {message}")
        if restored != step and not damages:
            problems.append(f"{file}: falls back without a word")
        if contents(state) != contents(_stored(lab, restored)):
            problems.append(f"{file}: other arrays than were saved")
        lost = step - restored
    except Exception as error:
        problems, lost = [f"{file}: {type(error).__name__}: {error}"], None
    shutil.rmtree(folder)
    return Case(f"checkpoint file {how}, loaded", problems, lost, message)


@cache
def _stored(lab: Lab, step: int) -> object:
    checkpoints = Checkpoints.read_only(halved(lab) / "checkpoints")
    return jax.device_get(checkpoints.load(step, structure(NAME)))


def _resume(lab: Lab, how: str, file: Path) -> Case:
    folder = lab.new_folder(like=halved(lab))
    step = saved(folder)
    DAMAGES[how](folder / "checkpoints" / str(step) / file, lab.rng)
    result = lab.run(SETUPS[NAME], folder)
    resumed = rf"^resuming \S+ from step {step - 5}$"
    good = result.problems(0, rf"^warning: step {step} ", resumed)
    if good and not result.problems(0, rf"^resuming \S+ from step {step}$"):
        good = []  # nothing that counts has changed
    problems = [f"{file}: {problem}" for problem in good]
    message = next((line for line in result.lines if line.startswith("warning")), "")
    problems += lab.differences(NAME, folder)
    return Case(f"checkpoint file {how}, resumed", problems, 5 if message else 0, message)
