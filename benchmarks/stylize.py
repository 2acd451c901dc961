"""Times stylization against PyTorch's: `python -m benchmarks.stylize --help`."""

import sys
from functools import partial

from benchmarks import ours, report
from ganjax.commands.terminal import run_command
from ganjax.errors import UserError

EPILOG = f"""\
examples:
  python -m benchmarks.stylize                                      both models, 512x512
  python -m benchmarks.stylize --model vgg19 --batch_size 1 8 --dtype bfloat16        on a GPU

A step encodes a content and a style, normalizes and decodes, from images on the device to images
on the device; files, compilation and start are `python -m benchmarks.startup`'s. The weights are
random, for time does not depend on them: AdaIN on VGG-19 to relu4_1 as published, and the compact
model, which is written for PyTorch too.

{report.EPILOG}"""
MODELS = {"vgg19": "adain", "compact": "compact"}


def main(argv: list[str]) -> None:
    parser = report.make_parser("stylize", "Time stylization by ganjax and by PyTorch.", EPILOG)
    add = parser.add_argument
    add(
        "--model", choices=tuple(MODELS), nargs="+", default=list(MODELS), metavar="NAME",
        help="vgg19, compact (default: both)",
    )  # fmt: skip
    add("--image_size", type=int, default=512, metavar="PIXELS", help="(default: 512)")
    report.add_network_options(parser, batch_size=1)
    arguments = parser.parse_args(argv)
    report.check(arguments)
    size = arguments.image_size
    if not 32 <= size <= 1024 or size % 16:
        raise UserError(f"--image_size is {size}; give a multiple of 16 from 32 to 1024")

    forms = [] if arguments.no_peers else report.torch_forms(arguments.compile)
    report.compare([make_rivals(model, size) for model in arguments.model], arguments, forms)


def make_rivals(model: str, image_size: int) -> report.Rivals:
    """The passes of a stylizer."""
    mine = partial(ours.stylize, form=model)
    return report.Rivals(f"adain_{model}_{image_size}", mine, MODELS[model])


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
