"""What the command lines share: one-line errors, config files, caches."""

import argparse
import ctypes
import errno
import os
import platform
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ganjax.errors import UserError
from ganjax.paths import cache_folder, run_folder
from ganjax.weights import model_path


def run_command(command: Callable[[list[str]], None], words: list[str]) -> None:
    """Runs a command on its arguments; what the user can mend ends in one line and status 2."""
    if hasattr(sys.stdout, "reconfigure"):  # names of files may be no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command(words)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _fail(f"the disk is full ({error.filename or error}); make room and run the command again")
    except (RuntimeError, AssertionError) as error:  # what XLA's own error type derives from
        if "RESOURCE_EXHAUSTED" in str(error):
            _fail("the device's memory is full; lower batch_size, the size of images, or --tile")
        if not _lacks_device():
            raise
        _fail(
            f"JAX_PLATFORMS={os.environ['JAX_PLATFORMS']} asks for a device that JAX does not find "
            "here; unset it to take what there is, or install JAX for that device (`pip install "
            "'jax[cuda12]'`, `pip install 'jax[tpu]'`)"
        )


def _lacks_device() -> bool:
    """Whether JAX cannot start the platform that $JAX_PLATFORMS names."""
    if not os.environ.get("JAX_PLATFORMS") or "jax" not in sys.modules:
        return False
    try:
        sys.modules["jax"].devices()
    except (RuntimeError, AssertionError):  # which for CUDA fails without a word
        return True
    return False


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


# By the launchers that train on several processes: this one's number, and how many there are.
_RANKS = {
    "JAX_PROCESS_ID": "JAX_NUM_PROCESSES",
    "SLURM_PROCID": "SLURM_STEP_NUM_TASKS",
    "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE",
}


def leave_to_first() -> None:
    """Ends all but the first of the processes that a launcher started, for what one can do."""
    for rank, count in _RANKS.items():
        if os.environ.get(count, "1") != "1" and os.environ.get(rank, "0") != "0":
            print(f"{rank}={os.environ[rank]}: left to the first process", file=sys.stderr)
            sys.exit(0)


def add_cache_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that `start_jax` takes as `compile_cache`."""
    parser.add_argument(
        "--no_compile_cache",
        dest="compile_cache",
        action="store_false",
        help="compile all programs anew, and keep none for the next start",
    )


def add_run_flag(
    parser: argparse.ArgumentParser, *, required: bool = True, files: bool = True, use: str = ""
) -> None:
    """Adds --workdir, of a run that was trained before, and --weights, of its model's file.

    Either one's path is `arguments.run`, which `runs.load` takes.

    Args:
      required: one of them must be given.
      files: whether there is --weights.
    """
    flags = parser.add_mutually_exclusive_group(required=required)
    flags.add_argument(
        "--workdir", dest="run", type=run_folder, metavar="DIR",
        help=f"folder of the training run{use}",
    )  # fmt: skip
    if files:
        flags.add_argument(
            "--weights", dest="run", type=model_path, metavar="FILE",
            help="in place of --workdir: FILE.safetensors of `ganjax export`, or the name of a "
            "model in the package",
        )  # fmt: skip


def add_model_flags(parser: argparse.ArgumentParser, *aliases: str) -> None:
    """Adds --checkpoint and --average, which choose the weights of a run, as `runs.load` does.

    Args:
      aliases: other names of --checkpoint.
    """
    parser.add_argument(
        "--checkpoint", *aliases, metavar="STEP",
        help="step to load, or best (default: the newest)",
    )  # fmt: skip
    parser.add_argument(
        "--average", choices=("ema", "live"), default="ema",
        help="the running average of the networks, or their last weights (default: ema)",
    )  # fmt: skip


def add_translation_flag(parser: argparse.ArgumentParser) -> None:
    """Adds --direction, of runs that translate."""
    parser.add_argument(
        "--direction", choices=("AtoB", "BtoA"), default="",
        help="of a model that was trained both ways (default: data.direction of its config)",
    )  # fmt: skip


def add_direction_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --direction, --keep and --directions, as `api.Generator.shift` takes them."""
    add = parser.add_argument
    add(
        "--direction", nargs="+", default=[], metavar="NAME=STRENGTH",
        help="move along directions that `ganjax edit --find` found, e.g. sefa_1=-2",
    )  # fmt: skip
    add(
        "--keep", nargs="+", default=[], metavar="NAME",
        help="directions that those of --direction leave as they are, e.g. skin_deep",
    )  # fmt: skip
    add(
        "--directions", type=Path, metavar="FILE",
        help="where they are (default: directions.safetensors in the run's folder)",
    )  # fmt: skip


def parse_directions(arguments: argparse.Namespace) -> dict[str, float]:
    """The strengths of --direction.

    Raises:
      UserError: one cannot be read, or is missing where another flag needs it.
    """
    from ganjax.editing.directions import parse

    strengths = parse(arguments.direction)
    for name in ("keep", "directions"):
        if getattr(arguments, name) and not strengths:
            raise UserError(f"--{name} goes with --direction; give one, too")
    return strengths


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --range and --follow_links, which `reading` turns into arguments of `open_files`."""
    parser.add_argument(
        "--range", default="", metavar="LOW..HIGH",
        help="black and white of gray images of more than 8 bits, as 0..4095 (default: as the "
        "files declare them); --range=LOW..HIGH where LOW is below 0",
    )  # fmt: skip
    parser.add_argument(
        "--follow_links", action="store_true", help="read what links in folders lead to, too"
    )


def reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """How `open_files`, `list_pictures` and `open_source` shall read files.

    Raises:
      UserError: --range is none.
    """
    from ganjax.images import Reading
    from ganjax.images.samples import parse_range

    asked = Reading(parse_range(arguments.range), getattr(arguments, "raw_colors", False))
    return {"reading": asked, "follow_links": arguments.follow_links}


def check_parent(option: str, path: Path | None) -> None:
    """Checks that a file can be made at `path`, where one is given.

    Raises:
      UserError: its folder does not exist.
    """
    if path and not path.absolute().parent.is_dir():
        raise UserError(f"{option} {path}: its folder does not exist; make it first")


def start_jax(*, compile_cache: bool = True) -> None:
    """Sets what JAX reads when it starts; to be called before the first computation.

    jaxlib below 0.11 runs convolutions on CPUs twice as fast without YNNPACK; a user's own
    XLA_FLAGS come first. On Linux the process keeps memory that it has used (`keep_memory`).

    Args:
      compile_cache: compiled programs are kept in `cache_folder()`, unless
        $JAX_COMPILATION_CACHE_DIR names another folder.
    """
    if version("jaxlib").startswith("0.10."):  # later ones do not know the flag, and would abort
        add_xla_flag("--xla_cpu_experimental_ynn_fusion_type", "")

    keep_memory()
    import jax

    # Programs on a CPU run where they are called: else a step's memory may be asked for before that
    # of the last one is free, and there are two of each.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    # On a full disk the next start compiles again; nothing else is lost.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    if not compile_cache:
        jax.config.update("jax_enable_compilation_cache", False)
    elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        # By default programs that took less than a second are compiled at every start.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def keep_memory() -> None:
    """Has the C library keep freed memory, so that the next step needs no fresh pages.

    By default glibc gives large blocks back to the system, which fills each page with zeros before
    it is used again: a fifth of a train step of pix2pix. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # of malloc.h
    mallopt(mmap_max, 0)  # a threshold of their size would leave out blocks above 2 GiB
    mallopt(trim_threshold, -1)  # never
    mallopt(arena_max, 1)  # the arenas of other threads hold no large blocks


def add_xla_flag(name: str, value: str) -> None:
    """Sets a flag of XLA, which reads them when it starts, unless the user's $XLA_FLAGS has it."""
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {name}={value}".strip()
