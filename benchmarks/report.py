"""What the benchmarks share: options, the comparison of ours with the peers, tables, JSON."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import ours, peers
from benchmarks.timing import Contestant, Figures, Program, race
from ganjax.commands.terminal import check_parent
from ganjax.errors import UserError

OURS, ROOFLINE = "ganjax", "matrix product"
# The peer that the ratio is taken to: the first of these that ran.
NAMED_PEERS = {
    "cpu": ("PyTorch channels_last", "PyTorch"),
    "gpu": ("PyTorch compiled", "PyTorch channels_last", "PyTorch"),
}
INSTALL_PEER = "the peer is not installed: pip install torch==2.13.0"

EPILOG = """\
All contestants run in one go, each in a process of its own, and take turns (A B C, B C A, ...).

  median, min   seconds per step: over turns, each the mean of its steps
  ratio         median of the peer / median of ganjax: above 1, ganjax is faster. The peer is
                PyTorch channels_last on a CPU and torch.compile on a GPU, where they ran
  GFLOP/s       convolutions and matrix products that cannot be left out, counted once for all
                contestants, per second
  roofline      the share of what a large dense matrix product of JAX reached in the same run
  memory        on a CPU the most that the process held, on a GPU the most that arrays took
"""


def make_parser(module: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="turns of each (default: 5)")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the rows {name, ours_s, peer_s, ratio} here",
    )
    return parser


def add_network_options(parser: argparse.ArgumentParser, *, batch_size: int | None) -> None:
    """The options of benchmarks of networks, which have PyTorch peers.

    Args:
      batch_size: the default; None where it cannot be chosen.
    """
    add = parser.add_argument
    if batch_size:
        add(
            "--batch_size", type=int, nargs="+", default=[batch_size], metavar="N",
            help=f"images in a step; one comparison for each (default: {batch_size})",
        )  # fmt: skip
    add(
        "--dtype", choices=("float32", "bfloat16"), default="float32",
        help="of the computation (default: float32)",
    )  # fmt: skip
    add(
        "--turn_seconds", type=float, default=2.0, metavar="S",
        help="about how long a turn lasts, at least one step (default: 2)",
    )  # fmt: skip
    add(
        "--compile", action=argparse.BooleanOptionalAction,
        help="also time torch.compile (default: where PyTorch has a GPU)",
    )  # fmt: skip
    add("--no_peers", action="store_true", help="do not time PyTorch")
    add("--no_roofline", action="store_true", help="do not time the matrix product")


def check(arguments: argparse.Namespace) -> None:
    """Checks the options of `make_parser` and `add_network_options`.

    Raises:
      UserError: a value is impossible.
    """
    if arguments.rounds < 1:
        raise UserError(f"--rounds is {arguments.rounds}; it must be 1 or more")
    check_parent("--json", arguments.json)
    if min(sizes := getattr(arguments, "batch_size", [1])) < 1:
        raise UserError(f"--batch_size is {min(sizes)}; it must be 1 or more")


def torch_forms(compiled: bool | None) -> list[tuple[str, dict[str, Any]]]:
    """The forms of a PyTorch peer as (name, keywords of its `build`); [] without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        print(INSTALL_PEER, file=sys.stderr)
        return []
    forms = [
        ("PyTorch", {}),
        ("PyTorch channels_last", {"channels_last": True}),
        ("PyTorch compiled", {"channels_last": True, "compiled": True}),
    ]
    if compiled is None:
        compiled = _torch_has_gpu()
    return forms if compiled else forms[:2]


def _torch_has_gpu() -> bool:
    """Asked in a process of its own, that this one stays small."""
    import subprocess

    code = "import torch; print(torch.cuda.is_available())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return result.stdout.strip() == "True"


class Rivals(NamedTuple):
    """What is compared.

    Attributes:
      name: the row's begins with it; the batch size and the type follow.
      mine: keywords `batch_size`, `image_size` and `dtype` -> our program.
      peer: its module in `benchmarks.peers`; None where there is none.
      options: what the peer's `build` takes besides the sizes and the form.
    """

    name: str
    mine: Callable[..., Program]
    peer: str | None
    options: dict[str, Any] = {}


def compare(
    rivals: Sequence[Rivals],
    arguments: argparse.Namespace,
    forms: Sequence[tuple[str, dict[str, Any]]],
    rows: list[dict[str, Any]] | None = None,
) -> None:
    """Times ganjax against peers at each batch size, prints tables, and writes the rows as asked.

    Args:
      arguments: of the command line, with the options of `add_network_options` and `image_size`.
      forms: of `torch_forms`.
      rows: those before, to which these are added.
    """
    rows = [] if rows is None else rows
    for each in rivals:
        for batch_size in arguments.batch_size:
            rows.append(_compare(each, arguments, forms, batch_size=batch_size))
            write_json(arguments.json, rows)


def _compare(
    rivals: Rivals,
    arguments: argparse.Namespace,
    forms: Sequence[tuple[str, dict[str, Any]]],
    *,
    batch_size: int,
) -> dict[str, Any]:
    dtype = arguments.dtype
    options = {"batch_size": batch_size, "image_size": arguments.image_size, "dtype": dtype}
    entrants = [Contestant(OURS, partial(rivals.mine, **options))]
    if rivals.peer:
        entrants += [
            Contestant(
                form, partial(peers.build, rivals.peer, **options, **rivals.options, **keywords)
            )
            for form, keywords in forms
        ]
    if not arguments.no_roofline:
        product = partial(ours.matrix_product, dtype=dtype)
        entrants.append(Contestant(ROOFLINE, product))
    figures = race(entrants, rounds=arguments.rounds, turn_seconds=arguments.turn_seconds)
    row = make_row(f"{rivals.name}_b{batch_size}_{dtype}", figures, items=batch_size)
    print(table(row))
    return row


def make_row(
    name: str,
    figures: dict[str, Figures],
    *,
    items: int,
    peers: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The row of a comparison, as it stands in the JSON file.

    Args:
      figures: of ganjax, the peers that ran, and the matrix product where it did.
      items: images in a step.
      peers: the ratio is taken to the first of these that ran on the same device as ganjax; None
        for those of `NAMED_PEERS`.
    """
    figures = dict(figures)
    product = figures.pop(ROOFLINE, None)
    mine = figures[OURS]
    roofline = product and product.flops / product.minimum
    peers = NAMED_PEERS.get(mine.device, ()) if peers is None else peers
    ran = (name for name in peers if name in figures and figures[name].device == mine.device)
    peer = next(ran, None)
    peer_s = figures[peer].median if peer else None
    return {
        "name": name,
        "ours_s": mine.median,
        "peer_s": peer_s,
        "ratio": peer_s / mine.median if peer else None,
        "peer": peer,
        "device": mine.device,
        "items_per_step": items,
        "flops_per_step": mine.flops,
        "roofline_flops_per_s": roofline,
        "contestants": {
            name: _details(one, items, mine.flops, roofline) for name, one in figures.items()
        },
    }


def _details(figures: Figures, items: int, flops: float | None, roofline: float | None) -> dict:
    speed = flops / figures.median if flops else None
    return {
        "median_s": figures.median,
        "min_s": figures.minimum,
        "turns_s": list(figures.turns),
        "items_per_s": items / figures.median,
        "flops_per_s": speed,
        "share_of_roofline": speed / roofline if speed and roofline else None,
        "peak_memory_bytes": figures.peak_memory,
        "device": figures.device,
        **figures.notes,
    }


def table(row: dict[str, Any]) -> str:
    """A row as text for people."""
    lines = [f"\n{row['name']} on {row['device']}"]
    heads = ("median s", "min s", "ratio", "img/s", "GFLOP/s", "roofline", "memory MiB")
    lines.append(" " * 24 + "".join(head.rjust(11) for head in heads))
    for name, one in row["contestants"].items():
        cells = (
            f"{one['median_s']:.4g}",
            f"{one['min_s']:.4g}",
            f"{one['median_s'] / row['ours_s']:.2f}",
            f"{one['items_per_s']:.4g}",
            f"{one['flops_per_s'] / 1e9:.0f}" if one["flops_per_s"] else "",
            f"{one['share_of_roofline']:.0%}" if one["share_of_roofline"] else "",
            f"{one['peak_memory_bytes'] / 2**20:.0f}",
        )
        lines.append(f"{name:24}" + "".join(cell.rjust(11) for cell in cells))
    if row["roofline_flops_per_s"]:
        lines.append(f"{'dense matrix product':24}{row['roofline_flops_per_s'] / 1e9:55.0f}")
    if row["ratio"]:
        lines.append(f"{row['peer']} / ganjax: {row['ratio']:.2f}")
    if len({one["device"] for one in row["contestants"].values()}) > 1:
        lines.append("ganjax and PyTorch ran on different devices: install both for the same one")
    mine = row["contestants"][OURS]
    if "donated_bytes" in mine:
        lines.append(
            f"state {mine['state_bytes'] / 2**20:.1f} MiB, of which "
            f"{mine['donated_bytes'] / 2**20:.1f} are written in place; temporaries "
            f"{mine['temporary_bytes'] / 2**20:.0f} MiB"
        )
    return "\n".join(lines)


def write_json(path: Path | None, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows where a file was asked for."""
    if path:
        from ganjax.paths import write_atomic

        write_atomic(path, (json.dumps(list(rows), indent=1) + "\n").encode())
        print(f"wrote {path}", file=sys.stderr)
