"""Trains any system of ganjax: `python train.py --config=configs/dcgan_avatars.py`."""

import argparse
import sys
from pathlib import Path

from ganjax.commands.terminal import add_cache_flag, load_config, start_jax
from ganjax.paths import run_folder

EPILOG = """\
examples:
  python train.py --config=configs/dcgan_avatars.py           portraits in minutes, no download
  python train.py --config=configs/dcgan_avatars.py:smoke     does everything work here?
  python train.py --config=configs/dcgan_celeba.py --config.data.source=folder:my_faces \\
      --config.batch_size=128 --workdir=runs/my_faces

Running the same command again resumes the run. Every field of a config can be set with
--config.FIELD=VALUE; the file's docstring says what to expect.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train the system that a config file describes; resumes where it was stopped.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE[:ARGS]", help="config file, e.g. with :smoke")
    what.add_argument(
        "--replay", metavar="DIR", help="show where a step went wrong that stopped a run"
    )
    parser.add_argument(
        "--config.FIELD",
        dest="_",
        metavar="VALUE",
        help="set one field, e.g. --config.batch_size=128 or --config.data.image_size=96x64",
    )
    parser.add_argument(
        "--workdir", metavar="DIR", help="folder of the run (default: runs/ and the config's name)"
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="join the other processes of the run; SLURM, Open MPI and GKE are recognized anyway",
    )
    parser.add_argument(
        "--plan", action="store_true", help="say what the run will take on this machine, and leave"
    )
    add_cache_flag(parser)
    arguments, overrides = parser.parse_known_args(argv)
    if arguments.replay:
        if overrides:
            parser.error(f"--replay takes no {overrides[0]}")
        start_jax(compile_cache=arguments.compile_cache)
        from ganjax.runs import replay

        for line in replay(run_folder(arguments.replay)):
            print(line, flush=True)
        return
    config = load_config(arguments.config, overrides)
    name = Path(arguments.config.partition(":")[0]).stem
    variant = arguments.config.partition(":")[2].replace(",", "_")
    workdir = run_folder(arguments.workdir or f"runs/{name}_{variant}".rstrip("_"))

    start_jax(compile_cache=arguments.compile_cache)
    from ganjax.training.devices import join_processes

    join_processes(asked=arguments.distributed)
    from ganjax import data, tasks
    from ganjax.training.loop import fit
    from ganjax.training.signals import Interrupted

    try:
        task = tasks.make(config)
        if arguments.plan:
            from ganjax.training.plan import plan

            for line in plan(task, data.make(config)):
                print(line, flush=True)
            return
        evaluation = None
        if config.get("evaluate_every", 0):
            from ganjax.evaluation.monitor import make_evaluation

            evaluation = make_evaluation(task, config)
        fit(task, data.make(config), config, workdir, evaluation)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(128 + interruption.signal)
