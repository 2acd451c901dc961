"""Every comparison with PyTorch, in one table: `python -m benchmarks.all --help`."""

import sys
from typing import Any, NamedTuple

from benchmarks import report, stylize, train_step, translate
from ganjax.commands.terminal import run_command
from ganjax.errors import UserError

EPILOG = f"""\
examples:
  python -m benchmarks.all --json all.json                          every row, about 20 minutes
  python -m benchmarks.all --only spade oasis sr                    rows with these in their names
  python -m benchmarks.all --dtype bfloat16                         on a GPU, in its batch sizes

Rows come one after the other, and the last table has all of them: ratios of medians and of minima,
to both forms of PyTorch. Weights that some need: `ganjax weights fetch vgg16_features`.

{report.EPILOG}"""


class Row(NamedTuple):
    """A comparison.

    Attributes:
      rivals: see `report.Rivals`.
      image_size: of a batch's images.
      cpu, gpu: images in a batch.
    """

    rivals: report.Rivals
    image_size: int
    cpu: int
    gpu: int


STEPS = {
    "dcgan": (64, 64, 512), "sngan": (64, 4, 64), "r3gan": (32, 4, 64), "dfgan": (64, 8, 128),
    "progressive_narrow": (64, 16, 256), "progressive": (128, 1, 16), "pix2pix": (256, 1, 16),
    "cyclegan": (256, 1, 8), "cut": (256, 1, 8), "spade": (128, 1, 16), "oasis": (128, 1, 16),
    "oasis_avatars": (64, 8, 128), "srgan": (64, 4, 64), "srvgg": (128, 4, 64),
}  # fmt: skip
STYLES = {"vgg19": (512, 1, 8), "compact": (512, 1, 8)}
TRANSLATIONS = {
    "pix2pix": (1024, 1, 4), "cyclegan": (1024, 1, 4), "srvgg": (256, 1, 16),
    "srvgg_tiles": (1080, 1, 1),
}  # fmt: skip


def main(argv: list[str]) -> None:
    parser = report.make_parser("all", "Time every system of ganjax and of PyTorch.", EPILOG)
    report.add_network_options(parser, batch_size=None)
    parser.set_defaults(rounds=2)
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="rows to time")
    arguments = parser.parse_args(argv)
    report.check(arguments)
    forms = [] if arguments.no_peers else report.torch_forms(arguments.compile)
    on_gpu = any(options.get("compiled") for _, options in forms)
    makers: list[tuple[Any, dict[str, tuple[int, int, int]]]] = [
        (train_step.make_rivals, STEPS),
        (stylize.make_rivals, STYLES),
        (translate.make_rivals, TRANSLATIONS),
    ]
    wanted = [
        Row(make(name, sizes[0]), *sizes) for make, rows in makers for name, sizes in rows.items()
    ]
    wanted = [row for row in wanted if any(text in row.rivals.name for text in arguments.only)]
    if not wanted:
        raise UserError(f"--only {' '.join(arguments.only)}: no row has that in its name")
    found: list[dict[str, Any]] = []
    for row in wanted:
        arguments.image_size = row.image_size
        arguments.batch_size = [row.gpu if on_gpu else row.cpu]
        report.compare([row.rivals], arguments, forms, found)
    print(f"\n{summary(found)}")


def summary(rows: list[dict[str, Any]]) -> str:
    """All rows as one table in Markdown: seconds, and ratios as median (minimum)."""
    names = dict.fromkeys(name for row in rows for name in row["contestants"])
    others = [name for name in names if name != report.OURS]
    lines = [f"| row | {report.OURS} | {' | '.join(others)} |", "| --- |" + " --- |" * len(names)]
    for row in rows:
        mine = row["contestants"][report.OURS]
        cells = [row["name"], f"{mine['median_s']:.3g} s"]
        for name in others:
            one = row["contestants"].get(name)
            ratios = (one[x] / mine[x] for x in ("median_s", "min_s")) if one else ()
            cells.append("{:.2f} ({:.2f})".format(*ratios) if one else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
