"""Times the starts of all commands: `python -m benchmarks.startup --help`."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ours, report
from benchmarks.timing import turn_order
from ganjax.commands.terminal import run_command
from ganjax.errors import UserError

EPILOG = """\
examples:
  python -m benchmarks.startup
  python -m benchmarks.startup --help_only

The wall time of whole commands, from an empty folder on: --help of each; `import ganjax.adain`;
stylize.py on a picture of 512x512, `ganjax sample` on a run of a few steps, and a step of
dcgan_avatars by train.py with its checkpoint and its sheet, the first time (programs are compiled,
portraits drawn) and later (they come from the cache). The cache is one of this benchmark's own. Run
it from the root of the checkout.
"""
TRAINED = "one_step"  # the folder of the run
HELPS = {
    "help_train": ("train.py", "--help"),
    "help_stylize": ("stylize.py", "--help"),
    **{
        f"help_{name}": ("-m", "ganjax", name, "--help")
        for name in ("sample", "evaluate", "prepare", "export", "weights")
    },
    "import_adain": ("-c", "import ganjax.adain"),
}


def main(argv: list[str]) -> None:
    parser = report.make_parser("startup", "Time the starts of all commands.", EPILOG)
    parser.add_argument("--help_only", action="store_true", help="only --help and the import")
    arguments = parser.parse_args(argv)
    report.check(arguments)
    if not Path("stylize.py").exists():
        raise UserError("stylize.py is not here; run this from the root of the checkout")
    with tempfile.TemporaryDirectory() as folder:
        rows = _measure(arguments, Path(folder))
    print(f"\n{'':24}{'median s':>11}{'min s':>11}")
    for row in rows:
        print(f"{row['name']:24}{row['ours_s']:11.2f}{row['min_s']:11.2f}")
    report.write_json(arguments.json, rows)


def _measure(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    environment = {**os.environ, "GANJAX_CACHE": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    commands, times = dict(HELPS), {}
    if not arguments.help_only:
        commands |= _make_inputs(folder, environment)
        # Every command but these is measured warm; their first times fill the cache.
        for name in ("stylize", "sample", "train"):
            times[f"{name}_first"] = [_run(commands[name], environment)]
    times |= {name: [] for name in commands}
    for name in HELPS:
        _run(commands[name], environment)  # Python compiles modules, the disk is read
    for order in turn_order(list(commands), arguments.rounds):
        for name in order:
            times[name].append(_run(commands[name], environment))
    return [
        {
            "name": name,
            "ours_s": statistics.median(values),
            "peer_s": None,
            "ratio": None,
            "min_s": min(values),
            "turns_s": values,
        }
        for name, values in times.items()
    ]


def _make_inputs(folder: Path, environment: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """Pictures and a short run in `folder`, and the commands that use them."""
    from ganjax.outputs import write_image

    for name, image in zip(("content", "style"), ours.avatars(2, 512), strict=True):
        write_image(folder / f"{name}.png", image, made=None)
    run = str(folder / "run")
    print("training for a few steps ...", file=sys.stderr)
    # The training has a cache of its own: sampling is to compile the first time.
    training = environment | {"GANJAX_CACHE": str(folder / "training")}
    config = ("--config=configs/dcgan_avatars.py:smoke", "--config.total_kimg=0.016")
    _run(("train.py", *config, f"--workdir={run}"), training)
    paths = {name: str(folder / f"{name}.png") for name in ("content", "style", "out", "grid")}
    return {
        "stylize": (
            "stylize.py", "--content", paths["content"], "--style", paths["style"],
            "--output", paths["out"], "--overwrite",
        ),
        "sample": ("-m", "ganjax", "sample", "--workdir", run, "--output", paths["grid"]),
        "train": (
            "train.py", "--config=configs/dcgan_avatars.py", "--config.total_kimg=0.064",
            f"--workdir={folder / TRAINED}",
        ),
    }  # fmt: skip


def _run(words: Sequence[str], environment: Mapping[str, str]) -> float:
    for word in words:  # each time the training is a new one
        if word.endswith(TRAINED):
            shutil.rmtree(word.partition("=")[2], ignore_errors=True)
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"{' '.join(words)} fails: {reason}; mend that first")
    return seconds


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
