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
  python stylize.py --weights my_model.safetensors --content a.jpg --style b.jpg --output c.png
  python train.py --config=configs/adain_compact.py --config.init_from=my_model.safetensors

The file holds the parameters alone, averaged over the run, in half precision.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax export",
        description="Write the trained network of a run to a .safetensors file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_run_flag(parser)
    add("--output", required=True, type=Path, metavar="FILE", help="FILE.safetensors")
    add("--network", metavar="ROLE", help="which one, where the run averages several")
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
    import numpy as np

    from ganjax import runs
    from ganjax.trees import named_leaves
    from ganjax.weights.safetensors import write_safetensors

    run = runs.load(arguments.workdir, step=arguments.checkpoint)
    roles = sorted(run.trained.variables)
    role = arguments.network or roles[0]
    if role not in roles or not arguments.network and len(roles) > 1:
        raise UserError(f"--network: choose {' or '.join(roles)}")
    dtype = np.float32 if arguments.float32 else np.float16
    params = named_leaves(run.trained.variables[role]["params"])
    arrays = {name: np.asarray(leaf).astype(dtype) for name, leaf in params.items()}
    kimg = f"{int(run.trained.images) / 1000:g}"
    metadata = {"network": role, "checkpoint": run.checkpoint, "kimg": kimg}
    write_safetensors(output, arrays, metadata)
    count = sum(value.size for value in arrays.values())
    print(f"wrote {output}: {count:,} parameters of {run.checkpoint}", file=sys.stderr)
