"""Changes photographs by a generator, or finds what it can change: `ganjax edit --help`."""

import argparse
from pathlib import Path

from ganjax import seeds
from ganjax.commands import edit_directions, edit_images
from ganjax.commands.terminal import (
    add_cache_flag,
    add_direction_flags,
    add_model_flags,
    add_reading_flags,
    add_run_flag,
    leave_to_first,
)
from ganjax.errors import UserError
from ganjax.paths import run_folder

EPILOG = """\
examples:
  ganjax edit --workdir runs/dcgan_avatars --find sefa           directions, in a second
  ganjax edit --workdir runs/dcgan_avatars --find attributes     named by what they change
  ganjax sample --workdir runs/dcgan_avatars --direction sefa_1=2    new images, moved along one
  ganjax edit --workdir runs/dcgan_avatars --input face.png --output edited.png --direction sefa_1=2
  ganjax edit --workdir runs/dcgan_avatars --input face.png --output sliders.png \\
      --direction sefa_1=3 sefa_2=3 --sliders
  ganjax edit --weights portraits_text --input face.png --output edited.png \\
      --shows "a woman with red hair" --text "a woman with blue hair"
  ganjax edit --workdir runs/dcgan_avatars --between a.png b.png --output morph.mp4
  ganjax edit --workdir runs/dcgan_avatars --input face.png --save_latent face.safetensors
  ganjax edit --workdir runs/dcgan_avatars --input face.safetensors --output edited.png \\
      --direction sefa_1=-2

--find writes directions of z to one file, in the folder of the run unless --output names another,
with a sheet beside it: a row for each direction, two images with strengths from -3 to 3.

--input inverts an image first: it finds the z from which the generator draws it most alike, then
tunes the generator until it draws the image from there. That takes a minute or so; --save_latent
keeps it for more edits. Images should show what the generator was trained with, cut as its training
images were: what is too far off is told. The first time, weights of VGG-16 (64 MB) are fetched.
Every file says in its metadata that a model made or changed it. Exit status: 0 all is written, 1
some files could not be read, 2 the command cannot be carried out.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax edit",
        description="Change photographs by a generator, or find what it can change.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_run_flag(parser)
    tasks = parser.add_mutually_exclusive_group(required=True)
    tasks.add_argument(
        "--find", choices=("sefa", "pca", "attributes"),
        help="directions; sefa: of what changes the first layer most; pca: of what its outputs "
        "differ most by; attributes: of what a classifier sees",
    )  # fmt: skip
    tasks.add_argument(
        "--input", nargs="+", default=[], metavar="PATH",
        help="images, folders, .zip files, or FILE.safetensors of --save_latent",
    )  # fmt: skip
    tasks.add_argument(
        "--between", nargs=2, default=[], metavar="PATH",
        help="two images: --output FILE.mp4 or FILE.gif shows how one turns into the other",
    )  # fmt: skip
    add(
        "--output", type=Path, metavar="PATH",
        help="FILE.png or .jpg for one image, else a folder; of --find FILE.safetensors (default: "
        "directions.safetensors in the run's folder)",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    edit_images.add_flags(parser.add_argument_group("of --input and --between"))
    add_direction_flags(parser)
    add_reading_flags(parser)
    found = parser.add_argument_group("of --find")
    found.add_argument(
        "--num", type=int, metavar="D",
        help=f"directions, the strongest or surest (default: {edit_directions.COUNT}; of "
        "attributes all)",
    )  # fmt: skip
    found.add_argument(
        "--samples", type=int, default=10_000, metavar="N",
        help="images (of pca: z) that directions are found by (default: 10000)",
    )  # fmt: skip
    found.add_argument(
        "--scorer", type=run_folder, metavar="RUN_OR_FILE",
        help="a classifier of avatars' attributes, trained or exported (default: the package's)",
    )  # fmt: skip
    found.add_argument(
        "--sheet", type=Path, metavar="FILE", help="a picture (default: beside the output, .png)"
    )
    add("--overwrite", action="store_true", help="replace files that are there already")
    add_model_flags(parser)
    add("--no_metadata", action="store_true", help="do not say in the files what made them")
    add_cache_flag(parser)
    arguments = parser.parse_args(argv)
    leave_to_first()
    seeds.check("--seed", arguments.seed)
    if arguments.num is not None and arguments.num < 1:
        raise UserError(f"--num is {arguments.num}; it must be 1 or more")
    if arguments.samples < 100:
        raise UserError(f"--samples is {arguments.samples}; it must be 100 or more")
    if arguments.scorer and arguments.find != "attributes":
        raise UserError("--scorer is for --find attributes; leave it out")
    if arguments.find:
        edit_directions.find(arguments)
    else:
        edit_images.edit(arguments)
