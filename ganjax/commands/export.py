"""Writes a trained network to one file: `ganjax export --workdir runs/adain_compact`."""

import argparse
import sys
from pathlib import Path

from ganjax.commands.terminal import (
    add_cache_flag,
    add_run_flag,
    leave_to_first,
    start_jax,
)
from ganjax.errors import UserError

EPILOG = """\
examples:
  ganjax export --workdir runs/adain_compact --output my_model.safetensors
  ganjax sample --weights my_model.safetensors                           where it draws images
  python stylize.py --weights my_model.safetensors --content a.jpg --style b.jpg --output c.png
  python train.py --config=configs/adain_compact.py --config.init_from=my_model.safetensors

The file holds the network (of CycleGAN those of both directions), averaged over the run, parameters
in half precision; and the config, without paths, so that `sample`, `translate` and `evaluate` take
it as --weights, on any machine.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax export",
        description="Write the trained network of a run to a .safetensors file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_run_flag(parser, files=False)
    add("--output", required=True, type=Path, metavar="FILE", help="FILE.safetensors")
    add("--network", metavar="ROLE", help="one alone, where the run has several")
    add("--checkpoint", metavar="STEP", help="step to load, or best (default: the newest)")
    add("--float32", action="store_true", help="full precision: twice the size")
    add("--overwrite", action="store_true", help="replace a file that is there already")
    add_cache_flag(parser)
    arguments = parser.parse_args(argv)
    leave_to_first()
    output = arguments.output
    if output.suffix != ".safetensors":
        raise UserError(f"--output {output}: give FILE.safetensors")
    if output.exists() and not arguments.overwrite:
        raise UserError(f"{output} exists; --overwrite replaces it")

    start_jax(compile_cache=arguments.compile_cache)
    import jax
    import numpy as np

    from ganjax import runs
    from ganjax.weights.safetensors import write_safetensors

    run = runs.load(arguments.run, step=arguments.checkpoint)
    roles = sorted(run.trained.variables)
    if arguments.network and arguments.network not in roles:
        raise UserError(f"--network: choose {' or '.join(roles)}")
    chosen = [arguments.network] if arguments.network else roles
    dtype = np.float32 if arguments.float32 else np.float16
    write_safetensors(output, *runs.to_arrays(run, chosen, dtype))
    params = [run.trained.variables[role]["params"] for role in chosen]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(f"wrote {output}: {count:,} parameters of {run.checkpoint}", file=sys.stderr)
