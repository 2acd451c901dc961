"""Makes a data set ready for training, once: `ganjax prepare tfds:celeb_a`."""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganjax.commands.terminal import add_reading_flags, reading
from ganjax.errors import UserError, one_line
from ganjax.paths import absolute, cache_folder, expand, in_bucket, run_folder

if TYPE_CHECKING:  # `--help` is quicker without it
    import numpy as np

EPILOG = """\
examples:
  ganjax prepare tfds:fashion_mnist
  ganjax prepare tfds:celeb_a --manual_dir ~/Downloads/celeba
  ganjax prepare my_photos.zip --image_size 128
  ganjax prepare T91/ --crops 128 --output tiles/        to train super-resolution
  ganjax prepare Set5/ --shrink 4 --output set5_x4/      to measure it: large/ and small/

tfds:NAME[/CONFIG] is downloaded and converted by TensorFlow Datasets. That needs TensorFlow, which
training does not: pip install 'ganjax[prepare]'. The result goes to $TFDS_DATA_DIR, by default
~/tensorflow_datasets. Files that somebody downloaded by hand, under their original names, are
taken from --manual_dir; celeb_a needs that whenever Google Drive's daily quota is exhausted.
In a bucket nothing is prepared; copy the result there: TFDS_DATA_DIR=gs://BUCKET/PATH is read.

With --image_size the images are decoded into the cache as well, as the first step of a training
would do. For folders, .zip files, lsun:PATH and avatars that is all there is to prepare.

--crops cuts images of a folder or .zip into squares, pixel for pixel, that overlap as little as
they can; smaller images are left out. --shrink makes small images by bicubic scaling, as
benchmarks of super-resolution do, and cuts the large ones to multiples of its number.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax prepare",
        description="Make a data set ready for training; to be done once.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", help="tfds:NAME[/CONFIG], lsun:PATH, avatars, or a folder or .zip")
    add("--manual_dir", metavar="DIR", help="folder of files downloaded by hand (tfds)")
    add("--data_dir", metavar="DIR", help="folder of prepared data sets (tfds)")
    add("--image_size", metavar="SIZE", help="also decode to 64, or 96x64 (height x width)")
    add("--channels", type=int, default=3, choices=(1, 3, 4), help="of the decoded (default: 3)")
    add("--cache_dir", metavar="DIR", help="of decoded images (default: $GANJAX_CACHE)")
    add("--crops", type=int, metavar="N", help="cut images into squares of N pixels, to --output")
    add("--shrink", type=int, metavar="N", help="make images of 1/N of the sides, to --output")
    add("--output", type=Path, metavar="DIR", help="new folder for the pictures of these two")
    add_reading_flags(parser)
    arguments = parser.parse_args(argv)
    if arguments.crops is not None or arguments.shrink is not None or arguments.output:
        return _write_pictures(arguments)
    kind, _, name = arguments.source.partition(":")
    if kind == "tfds" and name:
        _prepare_tfds(name.partition(":")[0], arguments.data_dir, arguments.manual_dir)
    elif arguments.manual_dir or arguments.data_dir:
        raise UserError("--manual_dir and --data_dir are for tfds:NAME only")
    elif not arguments.image_size:
        from ganjax.data.source import open_source

        open_source(arguments.source, **reading(arguments))  # which refuses what does not exist
        raise UserError(f"{arguments.source} needs no preparation; --image_size=64 decodes it")
    if arguments.image_size:
        _decode(arguments)


def _prepare_tfds(name: str, data_dir: str | None, manual_dir: str | None) -> None:
    from ganjax import locks
    from ganjax.data.tfds import INSTALL, has_tensorflow, make_builder, prepare_command

    if manual_dir and not expand(manual_dir).is_dir():
        raise UserError(f"--manual_dir {manual_dir} is no folder")
    if data_dir:
        data_dir = str(absolute(run_folder(data_dir)))
        os.environ["TFDS_DATA_DIR"] = data_dir  # for the decoding afterwards
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    builder = make_builder(name, data_dir=data_dir)
    if not builder.info.splits:
        if in_bucket(builder.data_path):  # where array_record files cannot be written
            command = prepare_command(name, builder)
            raise UserError(
                f"tfds:{name} is not in {builder.data_path}, where TFDS cannot prepare it; run: "
                f"{command}"
            )
        if not has_tensorflow():
            raise UserError(f"preparing tfds:{name} needs TensorFlow, once: {INSTALL}")
        root = Path(builder.data_path).parents[len(name.split("/"))]
        root.mkdir(parents=True, exist_ok=True)
        with locks.wait_for(root / f".{name.replace('/', '_')}.lock", f"preparing tfds:{name}"):
            builder = make_builder(name, data_dir=data_dir)
            if not builder.info.splits:  # else another process has just done it
                _download(builder, name, manual_dir)
    counts = ", ".join(f"{key} {info.num_examples:,}" for key, info in builder.info.splits.items())
    print(f"tfds:{name} is prepared in {builder.data_path} ({counts} examples)", file=sys.stderr)
    if data_dir:
        print(f"train with TFDS_DATA_DIR={data_dir} in the environment", file=sys.stderr)


def _download(builder: Any, name: str, manual_dir: str | None) -> None:
    import requests
    import tensorflow as tf
    import tensorflow_datasets as tfds

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it names every one of its retries
    settings = tfds.download.DownloadConfig(manual_dir=expand(manual_dir) if manual_dir else None)
    try:
        builder.download_and_prepare(download_config=settings)
    except (
        tfds.download.DownloadError,
        tfds.core.download.download_manager.NonMatchingChecksumError,
        requests.RequestException,
    ) as error:
        raise UserError(_explain_download(builder, name, manual_dir, error)) from error
    except ImportError as error:
        raise UserError(f"preparing tfds:{name} needs one more package: {error}") from error
    except (OSError, AssertionError, tf.errors.OpError) as error:
        # TFDS asserts what it wants from the user, manual downloads above all.
        raise UserError(f"preparing tfds:{name} failed: {one_line(error, longest=300)}") from error


def _explain_download(builder: Any, name: str, manual_dir: str | None, error: Exception) -> str:
    files = sorted({info.filename for info in (builder.url_infos or {}).values()})
    present = expand(manual_dir or "")
    missing = [file for file in files if not manual_dir or not (present / file).exists()]
    reason = f"a download for tfds:{name} failed: {one_line(error, longest=300)}"
    if not missing:
        return f"{reason}; fetch that file into {manual_dir} again"
    where = f" from {builder.info.homepage}" if builder.info.homepage else ""
    quota = ", tomorrow if Google Drive's quota is exhausted" if name.startswith("celeb_a") else ""
    return (
        f"{reason}; try again{quota}, or download {', '.join(missing)} by hand{where} into a "
        f"folder DIR and run: ganjax prepare tfds:{name} --manual_dir DIR"
    )


def _write_pictures(arguments: argparse.Namespace) -> None:
    """Writes what is made of each picture as PNG files without the metadata of generated ones."""
    from ganjax.data.folder import list_pictures
    from ganjax.outputs import Destination, file_names, write_image
    from ganjax.paths import make_folder
    from ganjax.progress import bar

    given = {_crops: arguments.crops, _shrunk: arguments.shrink}
    chosen = [(make, number) for make, number in given.items() if number is not None]
    if len(chosen) != 1 or chosen[0][1] < 1 or not arguments.output:
        raise UserError("give --crops N or --shrink N, 1 or more, and --output DIR")
    ((make, number),) = chosen
    output = Destination(arguments.output, (), overwrite=False, names="-")  # no earlier images
    pictures = list_pictures([arguments.source], **reading(arguments))
    names, written = file_names([picture.name for picture in pictures]), 0
    with bar(len(pictures)) as counter:
        for name, picture in zip(names, pictures, strict=True):
            for path, image in make(picture.pixels(), number, name).items():
                make_folder((output.path / path).parent)
                write_image(output.path / path, image, made=None)
                written += 1
            counter.update()
    print(f"wrote {written} pictures to {output.path}", file=sys.stderr)


def _crops(pixels: "np.ndarray", side: int, name: str) -> "dict[str, np.ndarray]":
    """The fewest squares that cover an image, at even distances; none of a smaller image."""
    import numpy as np

    height, width, _ = pixels.shape
    if min(height, width) < side:
        return {}
    tops, lefts = (
        np.rint(np.linspace(0, length - side, -(-length // side))).astype(int)
        for length in (height, width)
    )
    return {
        f"{name}_{top}_{left}.png": pixels[top : top + side, left : left + side]
        for top in tops
        for left in lefts
    }


def _shrunk(pixels: "np.ndarray", times: int, name: str) -> "dict[str, np.ndarray]":
    """An image cut to multiples of `times`, and the small one that is left of it."""
    from ganjax.images.bicubic import shrink

    height, width = (length // times * times for length in pixels.shape[:2])
    if not height or not width:
        raise UserError(f"{name} is smaller than {times}x{times} pixels; leave it out")
    large = pixels[:height, :width]
    return {f"large/{name}.png": large, f"small/{name}.png": shrink(large, times)}


def _decode(arguments: argparse.Namespace) -> None:
    from ganjax.data.cache import open_examples
    from ganjax.data.source import open_source
    from ganjax.images import parse_image_size

    folder = expand(arguments.cache_dir) if arguments.cache_dir else cache_folder()
    examples = open_examples(
        open_source(arguments.source, **reading(arguments)),
        image_size=parse_image_size(arguments.image_size),
        channels=arguments.channels,
        folder=folder,
    )
    print(f"{len(examples):,} images are decoded in {folder}", file=sys.stderr)
