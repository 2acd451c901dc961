"""Turns images into others with a trained model: `ganjax translate --help`."""

import argparse
import sys
from pathlib import Path

from ganjax import seeds
from ganjax.commands.masks import match, read
from ganjax.commands.terminal import (
    add_cache_flag,
    add_model_flags,
    add_reading_flags,
    add_run_flag,
    add_translation_flag,
    leave_to_first,
    reading,
    start_jax,
)
from ganjax.errors import UserError

EPILOG = """\
examples:
  ganjax translate --workdir runs/pix2pix_facades --input labels.png --output photo.png
  ganjax translate --workdir runs/pix2pix_facades --input labels/ --output photos/
  ganjax translate --workdir runs/inpaint_avatars --input a.png --mask hole.png --output out.png
  ganjax translate --workdir runs/pix2pix_facades --input plan.tif --output out/ --tile 512
  ganjax translate --weights facades.safetensors --input labels/ --output photos/
  ganjax translate --workdir runs/oasis_avatars --input masks/ --output out/ --resample hair=7
  ganjax translate --workdir runs/gaugan --input map.png --style photo.jpg --output out.png
  ganjax translate --weights sr_x4 --input photo.jpg --output big.png --outscale 3.5

Images may have any size and shape: they are padded to what the network takes, and cropped back;
results are as large as their images, or as many times as large as the model makes them;
transparent parts stay transparent. The same seed gives the same pictures. Each file says in its
metadata that a model made it. Exit status: 0 all is written, 1 some files could not be read, 2 the
command cannot be carried out.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax translate",
        description="Turn images into others with a trained model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_run_flag(parser)
    add("--input", required=True, nargs="+", metavar="PATH", help="images, folders or .zip files")
    add(
        "--output", required=True, type=Path, metavar="PATH",
        help="FILE.png or .jpg for one picture, else a folder: NAME.png",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="of the noise, where the model has any (default: 0)")
    add_translation_flag(parser)
    add(
        "--no_noise", action="store_true",
        help="leave the noise out, e.g. the dropout that pix2pix keeps on",
    )  # fmt: skip
    add(
        "--tile", type=int, nargs="?", const=1024, default=0, metavar="N",
        help="work in tiles of N pixels that fade into each other, for images that the memory does "
        "not hold (default N: 1024; default: none up to 2048x2048 pixels)",
    )  # fmt: skip
    add(
        "--mask", nargs="+", default=[], metavar="PATH",
        help="of a model that fills holes: white where it shall draw; one for all, or one for each "
        "input, of the same name",
    )  # fmt: skip
    add(
        "--outscale", type=float, default=0.0, metavar="X",
        help="scale the results to X times the size of the input, e.g. 3.5 (default: as the model "
        "makes them: as large as the input, or 4 times for super-resolution x4)",
    )  # fmt: skip
    add(
        "--resample", nargs="+", default=[], metavar="CLASS=N",
        help="of a model that draws label maps with noise of its own for each pixel (OASIS): draw "
        "this class with another noise, number N from 1 to 255, and leave all else as it is",
    )  # fmt: skip
    add(
        "--style", metavar="PATH",
        help="of SPADE with an encoder (model.variational): the image whose style results have",
    )  # fmt: skip
    add(
        "--instances", nargs="+", default=[], metavar="PATH",
        help="of a model of label maps that was trained with data.instances: maps with another "
        "number for each object; one for all, or one for each input, of the same name",
    )  # fmt: skip
    add("--side_by_side", action="store_true", help="write each input on the left of its result")
    add_model_flags(parser)
    add_reading_flags(parser)
    add("--overwrite", action="store_true", help="replace files that are there already")
    add("--no_metadata", action="store_true", help="do not say in the files what made them")
    add_cache_flag(parser)
    arguments = parser.parse_args(argv)
    leave_to_first()
    seeds.check("--seed", arguments.seed)
    if arguments.tile < 0:
        raise UserError(f"--tile is {arguments.tile}; it must be 0 or more")
    from ganjax.data.folder import list_pictures
    from ganjax.outputs import Destination, file_names
    from ganjax.runs import load_config

    arguments.range = arguments.range or load_config(arguments.run).data.range  # as it was trained
    pictures = list_pictures(arguments.input, **reading(arguments))
    masks = match(list_pictures(arguments.mask), pictures)
    instances = match(list_pictures(arguments.instances), pictures, "--instances")
    styles = list_pictures([arguments.style], **reading(arguments)) if arguments.style else []
    if len(styles) > 1:
        raise UserError(f"--style {arguments.style}: {len(styles)} images; give one")
    style = read(styles[0], "the style", channels=4) if styles else None
    output = Destination(arguments.output, overwrite=arguments.overwrite)
    if output.is_file and len(pictures) > 1:
        raise UserError(f"--output {output.path}: {len(pictures)} pictures go to a folder")
    targets, names = [output.path], [picture.name for picture in pictures]
    if not output.is_file:
        targets = [output.path / f"{name}.png" for name in file_names(names)]
    start_jax(compile_cache=arguments.compile_cache)
    beside = list(zip(masks, instances, strict=True))
    if not _translate(arguments, pictures, beside, style, targets, output):
        sys.exit(1)


def _translate(
    arguments: argparse.Namespace, pictures, beside, style, targets: list[Path], output
) -> bool:
    """Whether all pictures could be read; beside each are its mask and its instances, or None."""
    from ganjax import progress, runs
    from ganjax.api import Translator
    from ganjax.outputs import write_image
    from ganjax.provenance import COMPOSITE, provenance

    run = runs.load(
        arguments.run,
        step=arguments.checkpoint,
        average=arguments.average,
        direction=arguments.direction,
    )
    translator = Translator(run, str(arguments.run))
    resample = _numbers(arguments.resample)
    translator.check_options(
        mask=bool(arguments.mask),
        style=style is not None,
        resample=bool(resample),
        instances=bool(arguments.instances),
    )
    made, seed = None, None if arguments.no_noise else arguments.seed
    if not arguments.no_metadata:
        noise = {} if seed is None else {"seed": seed}
        made = provenance(source_type=COMPOSITE, checkpoint=run.checkpoint, **noise)
    written, broken = 0, 0
    skipped = [path for path in targets if path.exists() and not arguments.overwrite]
    output.open()
    with progress.bar(len(pictures)) as bar:
        for picture, (mask, instances), target in zip(pictures, beside, targets, strict=True):
            if target not in skipped:
                try:
                    source = picture.read() if translator.maps else picture.pixels(channels=4)
                    hole = None if mask is None else read(mask, "its mask")
                    image = translator(
                        source,
                        mask=hole,
                        seed=seed,
                        tile=arguments.tile,
                        outscale=arguments.outscale,
                        resample=resample,
                        style=style,
                        instances=instances and instances.read(),
                    )
                    if arguments.side_by_side:
                        source = picture.pixels(channels=4)
                        image = _beside(source, image)
                    write_image(target, image, made=made)
                    written += 1
                except UserError as error:
                    reason = str(error).removeprefix("image ")
                    bar.write(f"error: {picture.name}: {reason}", file=sys.stderr)
                    broken += 1
            bar.update()
    if skipped:
        text = f"{len(skipped)} of {len(targets)} pictures were in {output.path} already"
        print(f"{text}; --overwrite makes them again", file=sys.stderr)
    print(f"wrote {written} pictures to {arguments.output}", file=sys.stderr)
    return not broken


def _numbers(words: list[str]) -> dict[str, int]:
    """{"hair": 7} of the word "hair=7"."""
    found = {}
    for word in words:
        name, _, number = word.rpartition("=")
        if not name or not number.isdecimal():
            raise UserError(f"--resample {word}: give CLASS=N, like hair=7")
        found[name] = int(number)
    return found


def _beside(source, image):
    """The source on the left of its image, of as many channels and as large as that."""
    import numpy as np

    from ganjax.images import as_pixels, opaque, resize

    source = resize(source, image.shape[:2])
    left = source if image.shape[2] == 4 else as_pixels(opaque(source), channels=image.shape[2])
    return np.concatenate([left, image], axis=1)
