"""Times a train step against PyTorch's: `python -m benchmarks.train_step --help`."""

import sys
from functools import partial
from typing import Any

from benchmarks import ours, report
from ganjax.commands.terminal import run_command
from ganjax.errors import UserError

EPILOG = f"""\
examples:
  python -m benchmarks.train_step                                   DCGAN-64, batch 64, float32
  python -m benchmarks.train_step --batch_size 128 256 512 1024 --dtype bfloat16     on a GPU
  python -m benchmarks.train_step --task progressive --image_size 128 --batch_size 16
  python -m benchmarks.train_step --task progressive_narrow --batch_size 16      64 channels
  python -m benchmarks.train_step --task adain_compact --image_size 128 --batch_size 4
  python -m benchmarks.train_step --task cyclegan --image_size 256 --batch_size 1
  python -m benchmarks.train_step --task r3gan --image_size 32 --batch_size 4

A step is a whole iteration: the discriminator on real and on fake images, both optimizers, the
generator's average. ganjax runs what the training loop runs (state donated, images uint8 on the
device); PyTorch its official DCGAN example, or the other systems as one writes them there (images
float on the device; autocast for bfloat16). The stylizer's step has no peer. spade and srgan need
`ganjax weights fetch vgg16_features`.

{report.EPILOG}"""
CAMVID = {"classes": 12, "width": 32, "hidden": 64}
PORTRAITS = {"classes": 10, "width": 8, "hidden": 8, "noise": 16}
# The file of a task's peer, and what its `build` takes besides.
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "cut": ("cut", {}),
    "cyclegan": ("cyclegan", {}),
    "dcgan": ("dcgan", {}),
    "dfgan": ("dfgan", {}),
    "oasis": ("spade", {"form": "oasis", **CAMVID, "noise": 64, "mix": 10.0}),
    "oasis_avatars": ("spade", {"form": "oasis", **PORTRAITS}),
    "pix2pix": ("pix2pix", {}),
    "progressive": ("progressive", {"width": ours.WIDTHS["progressive"]}),
    "progressive_narrow": ("progressive", {"width": ours.WIDTHS["progressive_narrow"]}),
    "r3gan": ("r3gan", {}),
    "sngan": ("sngan", {}),
    "spade": ("spade", {"form": "spade", **CAMVID}),
    "srgan": ("super_resolution", {"form": "srgan"}),
    "srvgg": ("super_resolution", {"form": "srvgg"}),
}


def main(argv: list[str]) -> None:
    parser = report.make_parser(
        "train_step", "Time a whole train step of ganjax and of PyTorch.", EPILOG
    )
    add = parser.add_argument
    add("--task", choices=tuple(ours.CONFIGS), default="dcgan", help="(default: dcgan)")
    add("--image_size", type=int, default=64, metavar="PIXELS", help="(default: 64)")
    report.add_network_options(parser, batch_size=64)
    arguments = parser.parse_args(argv)
    report.check(arguments)
    task, size = arguments.task, arguments.image_size
    if not 16 <= size <= 1024 or size & (size - 1):
        raise UserError(f"--image_size is {size}; give a power of two from 16 to 1024")

    rivals = make_rivals(task, size)
    wanted = rivals.peer and not arguments.no_peers
    forms = report.torch_forms(arguments.compile) if wanted else []
    report.compare([rivals], arguments, forms)


def make_rivals(task: str, image_size: int) -> report.Rivals:
    """The train steps of a task."""
    peer, options = PEERS.get(task, (None, {}))
    mine = partial(ours.train_step, task=task)
    return report.Rivals(f"{task}{image_size}", mine, peer, options)


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
