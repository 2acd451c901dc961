"""What training costs on TPU slices and GPU clusters: `python -m benchmarks.scaling --help`.

The programs are compiled for slices that nobody needs to have: `pip install "libtpu==0.0.42.*"`
(the version that jax[tpu] pins for jax 0.10.2) brings the compiler.
"""

import argparse
import json
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.clusters import CHIPS, model
from ganjax.commands.terminal import check_parent, run_command, start_jax
from ganjax.config import load as load_config
from ganjax.errors import UserError

EPILOG = """\
examples:
  python -m benchmarks.scaling --json benchmarks/scaling.json           tables of what is known
  python -m benchmarks.scaling --json FILE --compile                    everything: takes hours
  python -m benchmarks.scaling --json FILE --compile --network dcgan64 --slice v5e:2x4

Compiled is the call that the training loop makes, state replicated and donated, batch split. Read
from the program of one chip: arithmetic, bytes accessed, memory, and what the chips exchange. The
rest is a model: see docs/development/scaling.md. Programs in FILE already are not compiled again.
"""
PLACES = {
    "v5e": ((2, 4), (8, 8), (16, 16)),
    "v5p": ((2, 2, 2), (4, 4, 4), (4, 8, 8)),
    "h100": ((8,), (64,), (256,)),
}
SLICES = tuple(
    f"{kind}:{'x'.join(map(str, sides))}" for kind in ("v5e", "v5p") for sides in PLACES[kind]
)


class Setup(NamedTuple):
    """A network as its config describes it.

    Attributes:
      config: FILE.py or FILE.py:ARGUMENT.
      batch_size: of each chip, the published one.
      overrides: of the config; {vgg19} is a file of random weights of the published width.
      images: of a batch.
    """

    config: str
    batch_size: int
    overrides: tuple[str, ...] = ()
    images: tuple[str, ...] = ("image",)


_BF16 = "--config.model.dtype=bfloat16"
_PROGRESSIVE = "configs/progressive_celeba_hq.py"
_ADAIN = ("--config.model.encoder={vgg19}", "--config.loss.encoders=('{vgg19}',)")
_COMPACT = ("--config.loss.encoders=('{vgg19}:relu1_1,relu2_1,relu3_1', 'random:relu4_1')",)
NETWORKS = {
    "dcgan64": Setup("configs/dcgan_celeba.py", 64),
    "dcgan64_bf16": Setup("configs/dcgan_celeba.py", 64, (_BF16,)),
    "dcgan64_pmap": Setup("configs/dcgan_celeba.py", 64, ("--config.parallel=pmap",)),
    "adain_vgg19": Setup("configs/adain_vgg19.py", 8, _ADAIN, ("content", "style")),
    "adain_compact": Setup("configs/adain_compact.py", 8, _COMPACT, ("content", "style")),
    "progressive64": Setup(_PROGRESSIVE, 16, ("--config.data.image_size=64",)),
    "progressive256": Setup(_PROGRESSIVE, 8, ("--config.data.image_size=256",)),
    "progressive1024": Setup(_PROGRESSIVE, 4),
    "progressive1024_kept": Setup(_PROGRESSIVE, 4, ("--config.model.remat=False",)),
}


def compile_step(name: str, topology: str) -> dict[str, Any]:
    """Compiles the loop's call of a network for a TPU slice, and reads the program of one chip.

    Raises:
      UserError: there is no TPU compiler, or no such slice.
    """
    import jax
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh

    from benchmarks.flops import count_flops
    from ganjax import tasks
    from ganjax.training import devices, loop

    try:
        slice_ = topologies.get_topology_desc(topology, platform="tpu")
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f'{topology}: {reason}; pip install "libtpu==0.0.42.*"') from error
    chips = len(slice_.devices)
    setup, batch_size = NETWORKS[name], NETWORKS[name].batch_size * chips
    mesh = Mesh(np.array(slice_.devices), ("data",))
    everywhere, rows = devices.replicated(mesh), devices.split(mesh, axis=1)

    def placed(like: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(like.shape, like.dtype, sharding=sharding)

    with tempfile.TemporaryDirectory() as scratch:
        config = _config(setup, batch_size, Path(scratch))
        task = tasks.make(config)
        plain_step = task.train_step
        task = devices.spread(task, config.parallel, mesh)
        height, width = task.phases[-1].image_size
        batch = dict.fromkeys(
            setup.images, jax.ShapeDtypeStruct((batch_size, height, width, 3), "uint8")
        )
        call = {
            name: placed(jax.ShapeDtypeStruct((1, *images.shape), images.dtype), rows)
            for name, images in batch.items()
        }
        key = jax.eval_shape(lambda: jax.random.key(0))
        state = jax.eval_shape(task.init, key)
        placed_state = jax.tree.map(lambda x: placed(x, everywhere), state)
        skips = placed(jax.ShapeDtypeStruct((), "int32"), everywhere)
        run = loop._Run(task, None, config, Path(scratch, "run"), mesh, None, lambda state: state)
        requests = placed(jax.ShapeDtypeStruct((mesh.size,), "int32"), devices.split(mesh))
        lowered = run._program(task.train_step).lower(placed_state, skips, call, requests)
        run.close()
    begun = time.monotonic()
    program = lowered.compile()
    seconds = time.monotonic() - begun
    cost, memory = program.cost_analysis(), program.memory_analysis()
    networks = state.networks.values()
    return {
        "name": name,
        "slice": topology,
        "chips": chips,
        "batch_per_chip": setup.batch_size,
        "image_size": [height, width],
        "parameters": _elements([network.params for network in networks]),
        "statistics": _elements([network.statistics for network in networks]),
        "flops": cost["flops"],
        "counted_flops": count_flops(plain_step, state, batch, key) / chips,
        "bytes_accessed": cost["bytes accessed"],
        "memory": {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "program": memory.generated_code_size_in_bytes,
        },
        "exchanged": exchanges(program.as_text()),
        "compile_s": round(seconds, 1),
        "level": jax.config.jax_optimization_level,
        "versions": {"jax": version("jax"), "libtpu": version("libtpu")},
    }


def _config(setup: Setup, batch_size: int, scratch: Path) -> Any:
    path = scratch / "vgg19.safetensors"
    if "{vgg19}" in str(setup.overrides):
        _write_vgg19(path)
    overrides = [override.replace("{vgg19}", str(path)) for override in setup.overrides]
    if setup.config == _PROGRESSIVE:
        overrides.append(f"--config.growth.batch_sizes=({batch_size},)")
    else:
        overrides.append(f"--config.batch_size={batch_size}")
    return load_config(setup.config, overrides)


def _write_vgg19(path: Path) -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ganjax.nets import vgg
    from ganjax.trees import named_leaves
    from ganjax.weights.safetensors import write_safetensors

    images, rng = jnp.zeros((1, 32, 32, 3)), np.random.default_rng(0)
    params = jax.eval_shape(vgg.VGG19().init, jax.random.key(0), images)["params"]
    arrays = {
        name: rng.normal(scale=0.02, size=leaf.shape).astype(np.float32)
        for name, leaf in named_leaves(params).items()
    }
    write_safetensors(path, arrays, {})


def _elements(tree: Any) -> int:
    import jax

    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


_SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}
_EXCHANGE = re.compile(
    r" = (?P<shapes>.*?) "
    r"(?P<kind>all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all)"
    r"(?P<start>-start)?\("
)
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")


def exchanges(program: str) -> dict[str, dict[str, int]]:
    """What the chips of a compiled program exchange, by kind, from its HLO text.

    Returns:
      {kind: {"count": operations, "bytes": of their results, "asynchronous": operations that
      others run beside}}.
    """
    found: dict[str, dict[str, int]] = {}
    for match in _EXCHANGE.finditer(program):
        row = found.setdefault(match["kind"], {"count": 0, "bytes": 0, "asynchronous": 0})
        row["count"] += 1
        row["asynchronous"] += match["start"] is not None
        row["bytes"] += sum(
            _SIZES[dtype] * math.prod(int(side) for side in sides.split(",") if side)
            for dtype, sides in _ARRAY.findall(re.sub(r"\{[^}]*\}", "", match["shapes"]))
        )
    return found


def program_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What was read from the programs, as Markdown."""
    yield (
        "| network | slice | batch per chip | GFLOP | counted | GB accessed | all-reduces | MB "
        "| gradients MB | state, batch | temporaries | peak GiB | compiled in |"
    )
    yield "| --- " * 13 + "|"
    for row in rows:
        sums = row["exchanged"].get("all-reduce", {"bytes": 0, "count": 0})
        memory, chip = row["memory"], CHIPS[row["slice"].partition(":")[0]]
        peak = sum(memory.values())
        cells = (
            row["name"],
            row["slice"],
            row["batch_per_chip"],
            f"{row['flops'] / 1e9:.4g}",
            f"{row['counted_flops'] / 1e9:.4g}",
            f"{row['bytes_accessed'] / 1e9:.3g}",
            sums["count"],
            f"{sums['bytes'] / 1e6:.4g}",
            f"{4 * row['parameters'] / 1e6:.4g}",
            f"{memory['arguments'] / 2**30:.3f}",
            f"{memory['temporaries'] / 2**30:.3f}",
            f"{peak / 2**30:.2f} ({peak / chip.memory:.0%})",
            f"{row['compile_s']:.0f} s, {row['level']}",
        )
        yield f"| {' | '.join(map(str, cells))} |"


def model_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What follows for chips at their published speeds, as Markdown.

    Args:
      rows: of which the first of each network stands for all numbers and kinds of chips.
    """
    yield (
        "| network | chips | ms of arithmetic | of memory | of exchange at 8, 64, 256 chips "
        "| share of the step | hidden from global batch |"
    )
    yield "| --- " * 7 + "|"
    firsts = {row["name"]: row for row in reversed(rows)}
    for row in reversed(firsts.values()):
        for kind, places in PLACES.items():
            times = [model(row, kind, sides) for sides in places]
            rest = max(times[0]["arithmetic_s"], times[0]["memory_s"])
            cells = (
                row["name"],
                kind,
                f"{times[0]['arithmetic_s'] * 1e3:.3g}",
                f"{times[0]['memory_s'] * 1e3:.3g}",
                ", ".join(f"{time['exchange_s'] * 1e3:.2g}" for time in times),
                ", ".join(
                    f"{time['exchange_s'] / (rest + time['exchange_s']):.0%}" for time in times
                ),
                "; ".join(f"{time['global_batch']:,}" for time in times),
            )
            yield f"| {' | '.join(cells)} |"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description="Read from compiled TPU programs what training on many chips takes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="the rows known, and where new ones go")
    add("--network", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), metavar="NAME",
        help=f"any of {', '.join(NETWORKS)} (default: all)")  # fmt: skip
    add("--slice", nargs="+", choices=SLICES, default=list(SLICES), metavar="KIND:SIDES",
        help=f"any of {', '.join(SLICES)} (default: all)")  # fmt: skip
    add("--compile", action="store_true", help="compile what FILE lacks")
    arguments = parser.parse_args(argv)
    check_parent("--json", arguments.json)
    rows = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())
    known = {(row["name"], row["slice"]) for row in rows}
    wanted = [(name, slice_) for name in arguments.network for slice_ in arguments.slice]
    if arguments.compile:
        os.environ["JAX_PLATFORMS"] = "cpu"  # the host's; the slice is the compiler's alone
        start_jax()
        for name, slice_ in wanted:
            if (name, slice_) not in known:
                rows.append(compile_step(name, slice_))
                report.write_json(arguments.json, rows)
    order = {pair: place for place, pair in enumerate(wanted)}
    shown = [row for row in rows if (row["name"], row["slice"]) in order]
    shown.sort(key=lambda row: order[row["name"], row["slice"]])
    if not shown:
        raise UserError("no program is known; give --compile, or a --json FILE that holds some")
    print("\n".join([*program_table(shown), "", *model_table(shown)]))


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
