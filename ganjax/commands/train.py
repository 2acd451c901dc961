"""Trains any system of ganjax: `ganjax train dcgan_avatars`."""

import argparse
import sys
from pathlib import Path

from ganjax.commands.terminal import add_cache_flag, start_jax
from ganjax.paths import run_folder

EPILOG = """\
examples:
  ganjax train dcgan_avatars                   portraits in minutes, no download
  ganjax train dcgan_avatars:smoke             does everything work here?
  ganjax train dcgan_avatars --help            every field of the config
  ganjax train dcgan_celeba --config.data.source=my_faces/ --workdir=runs/my_faces
  python train.py --config=configs/dcgan_avatars.py        the same in a checkout

Running the same command again resumes the run. Every field of a config can be set with
--config.FIELD=VALUE; the file's docstring says what to expect.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax train",
        description="Train the system that a config describes; resumes where it was stopped.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    add("name", nargs="?", metavar="CONFIG", help="name or file of a config, e.g. with :smoke")
    add("--config", metavar="FILE[:ARGS]", help="the same")
    add(
        "--config.FIELD", dest="_", metavar="VALUE",
        help="set one field, e.g. --config.batch_size=128 or --config.data.image_size=96x64",
    )  # fmt: skip
    add("--workdir", metavar="DIR", help="folder of the run (default: runs/ and the config's name)")
    add(
        "--distributed", action="store_true",
        help="join the other processes of the run; SLURM, Open MPI and GKE are recognized anyway",
    )  # fmt: skip
    add("--plan", action="store_true", help="say what the run will take on this machine, and leave")
    add("--replay", metavar="DIR", help="show where a step went wrong that stopped a run")
    add("-h", "--help", action="store_true", help="this text; of a config, all of its fields")
    add_cache_flag(parser)
    arguments, overrides = parser.parse_known_args(argv)
    spec = arguments.name or arguments.config
    if arguments.name and arguments.config:
        parser.error("give one config, not two")
    if arguments.help:
        return _help(parser, spec)
    if (spec is None) == (arguments.replay is None):
        parser.error("give a CONFIG (or --replay DIR)")
    start_jax(compile_cache=arguments.compile_cache)
    if arguments.replay:
        if overrides:
            parser.error(f"--replay takes no {overrides[0]}")
        _replay(arguments.replay)
    else:
        _train(spec, overrides, arguments)


def _help(parser: argparse.ArgumentParser, spec: str | None) -> None:
    if spec is None:
        return parser.print_help()
    import runpy

    from ganjax import config as configs
    from ganjax import tasks

    config = configs.load(spec)
    defaults = tasks.module(config.task).defaults
    known = configs.comments(configs.run_fields) | configs.comments(defaults)
    text = runpy.run_path(str(configs.find(spec.partition(":")[0]))).get("__doc__") or ""
    print(f"{text.strip()}\n\nfields, each to be set with --config.FIELD=VALUE:\n")
    for line in configs.describe(config, known):
        print(line)


def _replay(folder: str) -> None:
    from ganjax.runs import replay

    for line in replay(run_folder(folder)):
        print(line, flush=True)


def _train(spec: str, overrides: list[str], arguments: argparse.Namespace) -> None:
    from ganjax import config as configs

    config = configs.load(spec, overrides)
    path, _, variant = spec.partition(":")
    name = f"{Path(path).stem}_{variant.replace(',', '_')}".rstrip("_")
    workdir = run_folder(arguments.workdir or f"runs/{name}")
    from ganjax.training.devices import join_processes

    join_processes(asked=arguments.distributed)
    from ganjax import tasks
    from ganjax.training.loop import fit
    from ganjax.training.signals import Interrupted

    try:
        task = tasks.make(config)
        if arguments.plan:
            from ganjax.training.plan import plan

            for line in plan(task, tasks.make_data(config)):
                print(line, flush=True)
            return
        evaluation = None
        if config.evaluate_every:
            from ganjax.evaluation.monitor import make_evaluation

            evaluation = make_evaluation(task, config)
        data, start = tasks.make_data(config), tasks.make_start(config)
        fit(task, data, config, workdir, evaluation, start=start, fill=tasks.fill)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(128 + interruption.signal)
