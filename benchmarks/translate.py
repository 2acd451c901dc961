"""Times translation of large images against PyTorch's: `python -m benchmarks.translate --help`."""

import sys
from functools import partial
from typing import Any

from benchmarks import ours, report
from ganjax.commands.terminal import run_command
from ganjax.errors import UserError

EPILOG = f"""\
examples:
  python -m benchmarks.translate                                    all networks, 1024x1024
  python -m benchmarks.translate --network srvgg --image_size 256
  python -m benchmarks.translate --network srvgg_tiles              1920x1080 to 7680x4320

A step is one pass of the generator, from images on the device to images on the device, with random
weights: pix2pix's U-Net-256 with its dropout, CycleGAN's ResNet-9, and SRVGG x4, whose images of
--image_size become four times as large. srvgg_tiles enlarges one image of 1920x1080 by tiles of
512, from array to array, whatever --image_size and --batch_size say.

{report.EPILOG}"""
# The file of a network's peer, and what its `build` takes besides.
NETWORKS = {
    "pix2pix": ("pix2pix", {"translate": True}),
    "cyclegan": ("cyclegan", {"translate": True}),
    "srvgg": ("super_resolution", {"form": "srvgg", "translate": True}),
    "srvgg_tiles": ("super_resolution", {"form": "srvgg", "tile": ours.TILE}),
}


def main(argv: list[str]) -> None:
    parser = report.make_parser("translate", "Time translation by ganjax and by PyTorch.", EPILOG)
    add = parser.add_argument
    add(
        "--network", choices=NETWORKS, nargs="+", default=list(NETWORKS), metavar="NAME",
        help=f"{', '.join(NETWORKS)} (default: all)",
    )  # fmt: skip
    add("--image_size", type=int, default=1024, metavar="PIXELS", help="(default: 1024)")
    report.add_network_options(parser, batch_size=1)
    arguments = parser.parse_args(argv)
    report.check(arguments)
    size = arguments.image_size
    if not 256 <= size <= 1024 or size % 256:
        raise UserError(f"--image_size is {size}; give a multiple of 256 from 256 to 1024")

    forms = [] if arguments.no_peers else report.torch_forms(arguments.compile)
    report.compare([make_rivals(name, size) for name in arguments.network], arguments, forms)


def make_rivals(network: str, image_size: int) -> report.Rivals:
    """The passes of a generator."""
    tiled = network == "srvgg_tiles"
    mine: Any = ours.enlarge if tiled else partial(ours.translate, task=network)
    return report.Rivals(f"translate_{network}_{image_size}", mine, *NETWORKS[network])


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
