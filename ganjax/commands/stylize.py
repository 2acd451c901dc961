"""Gives contents the style of other pictures: `python stylize.py --help`."""

import argparse
import itertools
import json
import sys
from pathlib import Path

from ganjax.commands.terminal import add_cache_flag, add_reading_flags, reading, start_jax
from ganjax.errors import UserError
from ganjax.paths import expand
from ganjax.video import is_video, probe, read_frames

EPILOG = """\
examples:
  python stylize.py --content photo.jpg --style painting.jpg --output out.png
  python stylize.py --content photos/ --style paintings.zip --output out/          all pairs
  python stylize.py --content photos/ --style paintings/ --output sheet.jpg --grid
  python stylize.py --content photo.jpg --style a.jpg b.jpg --style_weights 0.3 0.7 \\
      --content_mask sky.png ground.png --output out.png              two styles, two regions
  python stylize.py --content portrait.jpg --style a.jpg --alpha 0.5 \\
      --preserve_color luminance --output out.png
  python stylize.py --content poster.png --style a.jpg --tile --output out.png     any size
  python stylize.py --content clip.mp4 --style a.jpg --output out.mp4              with its sound

The weights of the compact models are in the package. Each file says in its metadata that a model
made it. Exit status: 0 all is written, 1 some files could not be read, 2 the command cannot be
carried out.
"""
LIMIT = 2048  # pixels of the long side, without --tile; `ganjax.stylize.jobs.LIMIT`
CELL = 256  # pixels of a picture in a contact sheet


def main(argv: list[str]) -> None:
    arguments = _parse(argv)
    video = any(is_video(path) for path in (*arguments.content, *arguments.style))
    arguments.model = arguments.model or ("compact_video" if video else "compact")
    if video:
        _stylize_video(arguments)
        return
    if arguments.fade:
        raise UserError("--fade is for videos; --style_weights mixes the styles of a picture")
    from ganjax.data.folder import list_pictures
    from ganjax.outputs import Destination, write_image

    asked = reading(arguments)
    contents, styles = (
        list_pictures(paths, **asked) for paths in (arguments.content, arguments.style)
    )
    content_masks, style_masks = map(list_pictures, (arguments.content_mask, arguments.style_mask))
    output = Destination(arguments.output, overwrite=arguments.overwrite)
    _check(arguments, output, *map(len, (contents, styles, content_masks, style_masks)))
    targets = _targets(arguments, output, contents, styles)
    if not targets:
        return

    start_jax(compile_cache=arguments.compile_cache)
    from tqdm import tqdm

    from ganjax import stylize
    from ganjax.provenance import COMPOSITE, provenance
    from ganjax.stylize.jobs import Job, draw, reason

    model = stylize.load_model(arguments.model, path=arguments.weights, levels=arguments.levels)
    job = Job(
        contents,
        styles,
        mixture=arguments.style_weights,
        content_masks=content_masks,
        style_masks=style_masks,
        alpha=arguments.alpha,
        preserve_color=arguments.preserve_color,
        size=arguments.size,
        style_size=arguments.style_size,
        crop=arguments.crop,
        tile=arguments.tile,
        batch_size=arguments.batch_size,
    )
    broken = []

    def report(name: str, error: UserError) -> None:
        broken.append(name)
        tqdm.write(f"error: {name}: {reason(error)}", file=sys.stderr)

    made = None
    if not arguments.no_metadata:
        # Not the path, which tells of the user's machine.
        made = provenance(source_type=COMPOSITE, model=Path(model.name).name)
    drawn = draw(job, model, set(targets), report)
    with tqdm(drawn, total=len(targets), unit="img", disable=None, dynamic_ncols=True) as bar:
        written = []
        if arguments.grid:
            if (sheet := _sheet(bar)) is not None:
                written.append(output.path)
                output.open()
                write_image(output.path, sheet, made=made)
        else:
            for picture in bar:
                written.append(targets[picture.content, picture.style])
                output.open()
                write_image(written[-1], picture.image, made=made)
    if written == [arguments.output]:
        print(f"wrote {arguments.output}", file=sys.stderr)
    elif written:
        print(f"wrote {len(written)} pictures to {arguments.output}", file=sys.stderr)
    if broken:
        sys.exit(1)


def _stylize_video(arguments: argparse.Namespace) -> None:
    """One clip in one style, or in one mixture."""
    from ganjax.clips import ClipWriter
    from ganjax.data.folder import list_pictures
    from ganjax.outputs import Destination

    if any(map(is_video, arguments.style)):
        raise UserError(f"--style {arguments.style[0]} is a video; give a picture, e.g. a frame")
    if len(arguments.content) > 1:
        raise UserError("--content: give one video at a time")
    for name in ("grid", "crop", "tile", "content_mask", "style_mask", "batch_size"):
        if getattr(arguments, name):
            raise UserError(f"--{name} is not for videos; leave it out")
    if arguments.preserve_color == "coral":
        raise UserError("--preserve_color coral is not for videos; give luminance")
    if not 0 <= arguments.alpha <= 1 or not 0 <= arguments.smoothing < 1:
        raise UserError("--alpha must be from 0 to 1, --smoothing from 0 to below 1")
    output = Destination(arguments.output, (".mp4",), overwrite=arguments.overwrite)
    if not output.is_file:
        raise UserError(f"--output {arguments.output}: give FILE.mp4 for a video")
    pictures = list_pictures(arguments.style, **reading(arguments))
    mixture = arguments.style_weights or [1.0]
    if arguments.fade and (arguments.style_weights or len(pictures) < 2):
        raise UserError("--fade goes from style to style: give two or more, no --style_weights")
    if not arguments.fade and (
        len(mixture) != len(pictures) or min(mixture) < 0 or not sum(mixture)
    ):
        raise UserError(
            f"a video gets one style, or a mixture: {len(pictures)} styles need --fade, or as many "
            "--style_weights of 0 or more"
        )
    clip = probe(expand(arguments.content[0]))
    if arguments.fade and not clip.frames:
        raise UserError(f"{clip.path} does not say how long it is; leave --fade out")

    start_jax(compile_cache=arguments.compile_cache)
    from tqdm import tqdm

    from ganjax import __version__, stylize
    from ganjax.metrics.extractors import digest_of
    from ganjax.provenance import COMPOSITE, provenance
    from ganjax.stylize.jobs import Job, frame_size, read_style
    from ganjax.stylize.video import fade, stylize_frames

    model = stylize.load_model(arguments.model, path=arguments.weights, levels=arguments.levels)
    job = Job((), pictures, size=arguments.size, style_size=arguments.style_size)
    styles = [read_style(job, model, number, picture) for number, picture in enumerate(pictures)]
    statistics = [style.statistics for style in styles if style.statistics is not None]
    size = frame_size(job, clip.size)
    content = clip.path.stat()
    options = ("alpha", "smoothing", "preserve_color", "levels", "model", "fade", "no_metadata")
    follows_from = {name: getattr(arguments, name) for name in options} | {
        "content": [str(clip.path.absolute()), content.st_size, content.st_mtime_ns, *size],
        "mixture": mixture,
        "weights": digest_of((model.params, statistics), __version__),
    }
    writer = ClipWriter(arguments.output, json.dumps(follows_from))
    memory = writer.memory()
    shares = fade(len(pictures), clip.frames) if arguments.fade else itertools.repeat(mixture)
    drawn = stylize_frames(
        model,
        itertools.islice(read_frames(clip, size), writer.frames, None),
        statistics,
        itertools.islice(shares, writer.frames, None),
        alpha=arguments.alpha,
        smoothing=arguments.smoothing,
        keep_colors=arguments.preserve_color == "luminance",
        memory=memory,
    )
    made = None
    if not arguments.no_metadata:
        made = provenance(source_type=COMPOSITE, model=Path(model.name).name)
    if writer.frames:
        print(f"{arguments.output} goes on after frame {writer.frames}", file=sys.stderr)
    sound = (clip.path, clip.sound) if clip.sound else None
    with tqdm(
        drawn, total=clip.frames or None, initial=writer.frames, unit="frame", disable=None
    ) as bar:
        writer.write(iter(bar), rate=clip.rate, sound=sound, made=made, memory=memory)
    print(f"wrote {arguments.output}", file=sys.stderr)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="stylize.py",
        description="Give pictures the style of other pictures.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    several = {"nargs": "+", "metavar": "PATH"}
    add("--content", required=True, **several, help="images, folders or .zip files; or one video")
    add("--style", required=True, **several, help="likewise; every content gets every style")
    add(
        "--output", required=True, type=Path, metavar="PATH",
        help="FILE.png, .jpg, .webp or .tif for one picture, FILE.mp4 for a video, else a folder: "
        "CONTENT__STYLE.png",
    )  # fmt: skip
    add(
        "--smoothing", type=float, default=0.9, metavar="S",
        help="of videos: what the statistics of a frame, and what stands still, weigh in the next "
        "frame, against flicker; 0 for each frame by itself (default: 0.9)",
    )  # fmt: skip
    add(
        "--fade", action="store_true",
        help="of videos: go from the first style to the last in the course of the clip",
    )  # fmt: skip
    add("--grid", action="store_true", help="--output is one sheet of all contents and styles")
    add("--overwrite", action="store_true", help="replace files that are there already")
    add(
        "--alpha", type=float, default=1.0, metavar="A",
        help="strength of the style, from 0 to 1 (default: 1)",
    )  # fmt: skip
    add(
        "--style_weights", nargs="+", type=float, default=[], metavar="W",
        help="one for each style: mix them into one",
    )  # fmt: skip
    add(
        "--content_mask", nargs="+", default=[], metavar="FILE",
        help="white where the style goes; with --style_weights one, or one for each style",
    )  # fmt: skip
    add(
        "--style_mask", nargs="+", default=[], metavar="FILE",
        help="white where the style is taken from; one, or one for each style",
    )  # fmt: skip
    add(
        "--preserve_color", choices=("none", "coral", "luminance"), default="none",
        help="keep the content's colors: the style is recolored first, or only its luminance "
        "is used (default: none)",
    )  # fmt: skip
    add(
        "--size", type=int, default=0, metavar="N",
        help=f"short side of the contents in pixels (default: as they are, up to {LIMIT} on the "
        "long side; with --tile without limit)",
    )  # fmt: skip
    add(
        "--style_size", type=int, default=512, metavar="N",
        help="short side of the styles: larger makes larger strokes (default: 512)",
    )  # fmt: skip
    add("--crop", action="store_true", help="cut the center square out of contents and styles")
    add(
        "--tile", type=int, nargs="?", const=1024, default=0, metavar="N",
        help="work in tiles of N pixels, for images of any size; the result is the same "
        "(default N: 1024)",
    )  # fmt: skip
    add(
        "--model", choices=("compact", "compact_video", "vgg19", "vgg16", "wct", "wct2"),
        help="the two in the package, the second for videos; AdaIN on VGG-19, whose weights "
        "`ganjax weights` fetches; AdaIN on VGG-16, with --weights of your own training; WCT, "
        "whose weights `ganjax weights import FOLDER --as wct` converts; WCT2, for photographs, "
        "with --weights of your own training (default: compact_video for videos, else compact)",
    )  # fmt: skip
    add(
        "--levels", nargs="+", default=[], metavar="LEVEL[=A]",
        help="of WCT, in order, each with its strength from 0 to 1 (default: relu5_1=0.6 to "
        "relu1_1=0.6, those that the weights have)",
    )  # fmt: skip
    add(
        "--weights", default="", metavar="FILE",
        help="other weights of the model, e.g. exported from a training run",
    )  # fmt: skip
    add(
        "--batch_size", type=int, default=0, metavar="N",
        help="contents of equal size that go together (default: 1 on a CPU, else 8)",
    )  # fmt: skip
    add("--no_metadata", action="store_true", help="do not say in the files what made them")
    add_reading_flags(parser)
    add_cache_flag(parser)
    return parser.parse_args(argv)


def _check(
    arguments: argparse.Namespace,
    output,
    contents: int,
    styles: int,
    content_masks: int,
    style_masks: int,
) -> None:
    if not 0 <= arguments.alpha <= 1:
        raise UserError(f"--alpha is {arguments.alpha}; it must be from 0 to 1")
    for name in ("size", "style_size", "tile", "batch_size"):
        if (value := getattr(arguments, name)) < 0:
            raise UserError(f"--{name} is {value}; it must be 0 or more")
    weights = arguments.style_weights
    if weights and len(weights) != styles:
        raise UserError(f"--style_weights has {len(weights)} weights for {styles} styles")
    if weights and (min(weights) < 0 or not 0 < sum(weights) < float("inf")):
        raise UserError("--style_weights must be 0 or more, and one above 0")
    if style_masks not in (0, 1, styles):
        raise UserError(f"--style_mask has {style_masks} masks for {styles} styles")
    if content_masks not in ((0, 1, styles) if weights else (0, 1)):
        raise UserError(
            f"--content_mask has {content_masks} masks; give one"
            + (f", or {styles}: one for each style" if weights else "; --style_weights takes more")
        )
    pairs = contents * (1 if weights else styles)
    if arguments.grid and not output.is_file:
        raise UserError(f"--output {output.path}: a sheet goes to one file, e.g. sheet.png")
    if output.is_file and pairs > 1 and not arguments.grid:
        raise UserError(
            f"--output {output.path}: {pairs} pictures go to a folder, or with --grid to one sheet"
        )


def _targets(
    arguments: argparse.Namespace, output, contents, styles
) -> dict[tuple[int, int], Path]:
    """Where each picture goes, by (content, style) number; without those that are there already."""
    from ganjax.outputs import cut_name, differ, file_names, numbered

    rows, columns = (file_names([p.name for p in side]) for side in (contents, styles))
    if arguments.style_weights:
        columns = [cut_name("+".join(columns))]
    pairs = [(c, s) for c in range(len(rows)) for s in range(len(columns))]
    if output.is_file:
        return dict.fromkeys(pairs, output.path)
    if not differ([f"{rows[c]}__{columns[s]}" for c, s in pairs]):  # a__b x c, a x b__c
        rows = numbered(rows)
    targets = {(c, s): output.path / f"{rows[c]}__{columns[s]}.png" for c, s in pairs}
    there = [pair for pair, path in targets.items() if path.exists()]
    if there and not arguments.overwrite:
        print(
            f"{len(there)} of {len(targets)} pictures are in {output.path} already and stay as "
            "they are; --overwrite makes them again",
            file=sys.stderr,
        )
        targets = {pair: path for pair, path in targets.items() if pair not in set(there)}
    return targets


def _sheet(drawn):
    """The styles in a row, then a row for each content, which stands before it."""
    import numpy as np

    from ganjax.images import contained
    from ganjax.outputs import make_grid

    cells = {}
    for picture in drawn:
        row, column = picture.content + 1, picture.style + 1
        cells[row, column] = picture.image
        cells[row, 0], cells[0, column] = picture.content_image, picture.style_image
        for place in ((row, column), (row, 0), (0, column)):
            cells[place] = contained(_without_alpha(cells[place]), CELL)
    if not cells:
        return None
    rows, columns = (sorted({0, *(place[axis] for place in cells)}) for axis in (0, 1))
    blank = np.full((CELL, CELL, 3), 255, np.uint8)
    grid = np.stack([cells.get((r, c), blank) for r in rows for c in columns])
    return make_grid(grid, columns=len(columns))


def _without_alpha(image):
    from ganjax.images import opaque

    return opaque(image) if image.shape[2] == 4 else image
