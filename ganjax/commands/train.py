"""Trains any system of ganjax: `ganjax train dcgan_avatars`."""

import argparse
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganjax.commands.terminal import add_cache_flag, start_jax
from ganjax.paths import run_folder

if TYPE_CHECKING:  # `--help` is quicker without it
    from ml_collections import ConfigDict

EPILOG = """\
examples:
  ganjax train my_photos/                      a folder or .zip; the settings are chosen for it
  ganjax train dcgan_avatars                   portraits in minutes, no download
  ganjax train dcgan_avatars:smoke             does everything work here?
  ganjax train dcgan_avatars --help            every field of the config
  ganjax train --list                          all configs
  ganjax train dcgan_celeba --config.data.source=my_faces/ --workdir=runs/my_faces
  python train.py --config=configs/dcgan_avatars.py        the same in a checkout

Running the same command again resumes the run. Every field of a config can be set with
--config.FIELD=VALUE; the file's docstring says what to expect.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax train",
        description="Train what a config describes, or on a folder or .zip of images; resumes "
        "where it was stopped.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    add(
        "name", nargs="?", metavar="CONFIG",
        help="name or file of a config, or a folder or .zip of images; with :smoke for a try",
    )  # fmt: skip
    add("--config", metavar="FILE[:ARGS]", help="name or file of a config")
    add(
        "--config.FIELD", dest="_", metavar="VALUE",
        help="set one field, e.g. --config.batch_size=128 or --config.data.image_size=96x64",
    )  # fmt: skip
    add("--workdir", metavar="DIR", help="folder of the run (default: runs/ and CONFIG's name)")
    add(
        "--distributed", action="store_true",
        help="join the other processes of the run; SLURM, Open MPI and GKE are recognized anyway",
    )  # fmt: skip
    add("--list", action="store_true", help="say what configs there are, and leave")
    add("--plan", action="store_true", help="say what the run will take on this machine, and leave")
    add("--replay", metavar="DIR", help="show where a step went wrong that stopped a run")
    add("-h", "--help", action="store_true", help="this text; of a config, all of its fields")
    add_cache_flag(parser)
    arguments, overrides = parser.parse_known_args(argv)
    if arguments.name and arguments.config:
        parser.error("give one config, not two")
    if arguments.list:
        print("\n".join(_list()))
        return
    if arguments.help and not (arguments.name or arguments.config):
        return parser.print_help()
    if arguments.replay:
        if overrides or arguments.name or arguments.config:
            parser.error("--replay takes a folder alone")
        start_jax(compile_cache=arguments.compile_cache)
        return _replay(arguments.replay)
    if not (arguments.name or arguments.config):
        print("\n".join(["configs:", *_list(), ""]), file=sys.stderr)
        parser.error("give a CONFIG, or a folder or .zip of images")
    start_jax(compile_cache=arguments.compile_cache)
    config, workdir, lines = _load(arguments, overrides)
    if arguments.help:
        return _help(config, lines or [_docstring(arguments.name or arguments.config)])
    _train(config, workdir, lines, arguments)


def _list() -> list[str]:
    """Lines that name all configs, and say what each is."""
    from ganjax import config as configs

    names = configs.names()
    column = max(map(len, names)) + 4
    width = max(_columns() - column, 20)
    lines = []
    for name in names:
        first, *rest = textwrap.wrap(configs.docstring(name).partition("\n")[0], width) or [""]
        lines.append(f"  {name:{column - 2}}{first}".rstrip())
        lines += [" " * column + line for line in rest]
    return lines


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _replay(folder: str) -> None:
    from ganjax.runs import replay

    for line in replay(run_folder(folder)):
        print(line, flush=True)


def _load(
    arguments: argparse.Namespace, overrides: list[str]
) -> "tuple[ConfigDict, Path, list[str]]":
    """The config, the folder of the run, and what to tell of a config that was chosen."""
    from ganjax import config as configs
    from ganjax.commands import choose

    images = choose.find_images(arguments.name) if arguments.name else None
    if images:
        path, variant = images
        name = choose.name_of(path)
    else:
        spec = arguments.name or arguments.config
        config = configs.load(spec, overrides)
        path, _, variant = spec.partition(":")
        name = Path(path).stem
    name = f"{name}_{variant.replace(',', '_')}".rstrip("_")
    workdir = run_folder(arguments.workdir or f"runs/{name}")
    from ganjax.training.devices import join_processes

    join_processes(asked=arguments.distributed)
    if not images:
        return config, workdir, []
    import jax

    platform = jax.default_backend()
    config, lines = choose.load(path, variant, overrides, workdir, platform)
    return config, workdir, lines


def _docstring(spec: str) -> str:
    from ganjax import config as configs

    return configs.docstring(spec.partition(":")[0])


def _help(config: "ConfigDict", about: list[str]) -> None:
    from ganjax import config as configs
    from ganjax import tasks

    known = configs.comments(tasks.module(config.task).defaults)
    print("\n".join([*about, "", "fields, each to be set with --config.FIELD=VALUE:", ""]))
    for line in configs.describe(config, known, width=_columns()):
        print(line)


def _train(
    config: "ConfigDict", workdir: Path, lines: list[str], arguments: argparse.Namespace
) -> None:
    import jax

    from ganjax import tasks
    from ganjax.training.loop import fit
    from ganjax.training.signals import Interrupted

    first = jax.process_index() == 0
    for line in lines if first else ():
        print(line, file=sys.stderr, flush=True)
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
    if first:
        print(_how_to_go_on(task.model, workdir), file=sys.stderr)


def _how_to_go_on(model: Any, workdir: Path) -> str:
    """Where a finished run has its samples, and which command uses its model."""
    run = f"--workdir {shlex.quote(str(workdir))}"
    export = f"`ganjax export {run} --output model.safetensors`"
    match model.use:
        case "sample":
            use = f"`ganjax sample {run}` draws more"
        case "translate":
            use = f"`ganjax translate {run} --input FILES --output FOLDER` makes more"
        case "stylize":
            use = f"{export} writes the model for `ganjax stylize --weights model.safetensors`"
        case _:
            use = f"{export} writes its network"
    return (f"samples are in {workdir / 'samples'}; " if model.sheet else "") + use
