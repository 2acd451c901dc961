"""Measures generated images: `ganjax evaluate --workdir runs/dcgan_avatars`."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from ganjax import records, seeds
from ganjax.commands.terminal import (
    add_cache_flag,
    add_model_flags,
    add_reading_flags,
    add_run_flag,
    add_translation_flag,
    check_parent,
    leave_to_first,
    reading,
    start_jax,
)
from ganjax.errors import UserError

EPILOG = """\
examples:
  ganjax evaluate --workdir runs/dcgan_avatars               what suits the run's data
  ganjax evaluate --workdir runs/my_faces --checkpoint best \\
      --metrics fid50k_full,kid50k,pr10k                               the published metrics
  ganjax evaluate --generated fakes.zip --reference photos/ \\
      --metrics frechet5k_vgg16,kernel5k_vgg16                         two sets of images
  ganjax evaluate --generated out/ --reference truth/ --metrics psnr,ssim,ms_ssim
  ganjax evaluate --workdir runs/segment_avatars --reference avatars:test --metrics iou,dice
  ganjax evaluate --weights generator.safetensors --reference photos/      a file of `ganjax export`
  ganjax evaluate --video out.mp4 --content clip.mp4 --style painting.jpg        flicker and style
  ganjax evaluate --human ours/ theirs/ --output compare.html    ask people
  ganjax evaluate --score compare.html answers_*.json            what they answered

A metric's name says how many images it takes (any number: fid10k, frechet512_avatars) and on
which features; docs/metrics.md explains each. Weights of VGG-16 (64 MB) are fetched by pip at their
first use. Results of a run are appended to its metrics.jsonl.
Image number i of a seed is always the same image, and the same command gives the same numbers.
"""
# With the style: a network that does nothing never flickers.
VIDEO_METRICS = "warping_error1,warping_error10,style_loss_vgg16"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax evaluate",
        description="Measure how good generated images are.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_run_flag(parser, required=False, use=" to measure")
    add("--generated", metavar="SOURCE", help="images to measure: folder, .zip or data source")
    add(
        "--reference", metavar="SOURCE",
        help="real images: folder, .zip or data source (default: what the run was trained on)",
    )  # fmt: skip
    add(
        "--video", metavar="PATH",
        help="stylized video to measure: a file, or a folder of frames; with --content, the video "
        "it was made of, and --style",
    )  # fmt: skip
    add("--content", metavar="PATH", help="of --video, whose motion is followed")
    add("--style", metavar="FILE", help="of --video, the picture that gave the style")
    add(
        "--metrics", default="", metavar="NAMES",
        help="names with commas between (default: those that suit the data, of up to 5000 images)",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="of the generated images (default: 0)")
    add_translation_flag(parser)
    add_model_flags(parser, "--step")
    add(
        "--image_size", metavar="SIZE",
        help="scale and crop --generated and --reference, to 64 or 96x64 (default: as they are, "
        "or as the run was trained)",
    )  # fmt: skip
    add(
        "--raw_colors", action="store_true",
        help="leave color profiles of files out, as other tools do (default: convert to sRGB)",
    )  # fmt: skip
    add_reading_flags(parser)
    add("--batch_size", type=int, default=64, metavar="N", help="images at a time (default: 64)")
    add("--save_features", type=Path, metavar="FILE", help="write all features to FILE.npz")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")
    add("--human", nargs=2, metavar=("A", "B"), help="write a page on which people compare images")
    add("--output", type=Path, metavar="FILE", help="the page of --human, FILE.html")
    add("--pairs", type=int, default=50, metavar="N", help="of --human (default: 50)")
    add("--question", metavar="TEXT", help="what --human asks")
    add("--score", nargs="+", type=Path, metavar="FILE", help="a page of --human, then its answers")
    add_cache_flag(parser)
    arguments = parser.parse_args(argv)
    leave_to_first()
    seeds.check("--seed", arguments.seed)
    if arguments.human or arguments.score:
        return _ask_people(arguments)
    if [arguments.run, arguments.generated, arguments.video].count(None) != 2:
        raise UserError(
            "give --workdir (a run), --weights (its file), --generated (images) or --video, one of "
            "them"
        )
    if arguments.batch_size < 1:
        raise UserError(f"--batch_size is {arguments.batch_size}; it must be 1 or more")
    check_parent("--save_features", arguments.save_features)
    check_parent("--json", arguments.json)
    if arguments.save_features and arguments.save_features.suffix != ".npz":
        raise UserError(f"--save_features {arguments.save_features}: give FILE.npz")
    if arguments.video:
        _measure_video(arguments)
    else:
        _measure(arguments)


def _measure(arguments: argparse.Namespace) -> None:
    from ganjax.metrics.protocols import parse

    wanted = parse(arguments.metrics) if arguments.metrics else ()
    start_jax(compile_cache=arguments.compile_cache)
    from ganjax.commands.weights import fetch_missing
    from ganjax.evaluation import measure, monitor

    paired = [protocol for protocol in wanted if protocol.paired]
    rest = [protocol for protocol in wanted if not protocol.paired]
    results: list[Any] = []
    run = {"seed": arguments.seed}
    run |= {name: x for name in ("raw_colors", "range") if (x := getattr(arguments, name))}
    if paired:
        open_examples = _open_examples if arguments.run else _open_pairs
        measure_examples, about = open_examples(arguments, paired)
        run |= about
        fetch_missing(measure.weights_of(paired))
        results += measure_examples()
    if rest or not wanted:
        mesh, batch_size = monitor.split_batch(arguments.batch_size)
        open_sets = _open_run if arguments.run else _open_images
        generated, open_reference, about = open_sets(arguments, mesh)
        run |= about
        one_sided = rest and all(protocol.one_sided for protocol in rest)
        reference = None if one_sided else open_reference()
        if reference:
            run["reference"] = reference.name
            sizes = generated.size, reference.size
            rest = rest or monitor.default_metrics(reference.name, *sizes)
        fetch_missing(measure.weights_of(rest))
        programs = measure.load_programs(rest, mesh)
        keep = arguments.save_features is not None
        found, features = measure.measure(
            rest, generated, reference, programs, batch_size=batch_size, keep=keep
        )
        results += found
        if keep:
            _save_features(arguments.save_features, features)
    names = [protocol.name for protocol in wanted or rest]
    results.sort(key=lambda result: names.index(result.protocol.name))
    rows = [monitor.to_row(result, run) for result in results]
    if arguments.run:
        from ganjax.runs import is_file
        from ganjax.training.workdir import append_metrics

        if not is_file(arguments.run):
            append_metrics(arguments.run, rows)
    _report(arguments, rows)


def _measure_video(arguments: argparse.Namespace) -> None:
    from ganjax.metrics.protocols import parse

    wanted = parse(arguments.metrics or VIDEO_METRICS, video=True)
    if all(protocol.of_video for protocol in wanted):
        wanted += parse(VIDEO_METRICS, video=True)[-1:]
    if not arguments.content or not arguments.style:
        raise UserError("--video needs --content, the video it was made of, and --style")
    start_jax(compile_cache=arguments.compile_cache)
    from ganjax.commands.weights import fetch_missing
    from ganjax.evaluation import measure, monitor, video

    drawn, content = (
        video.open_frames(path, **reading(arguments))
        for path in (arguments.video, arguments.content)
    )
    style = video.open_style(arguments.style, **reading(arguments))
    fetch_missing(measure.weights_of([protocol for protocol in wanted if not protocol.of_video]))
    results = video.measure_video(wanted, drawn, content, style)
    about = {name: getattr(arguments, name) for name in ("video", "content", "style")}
    _report(arguments, [monitor.to_row(result, about) for result in results])


def _report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    from ganjax.paths import write_atomic

    _print_table(rows)
    if arguments.json:
        write_atomic(arguments.json, (records.dumps(rows, indent=1) + "\n").encode())


def _open_pairs(arguments: argparse.Namespace, paired: list[Any]):
    """What measures pairs of files by paired metrics, and what rows say of them."""
    from ganjax.evaluation.measure import measure_pairs
    from ganjax.evaluation.sets import open_pairs

    if not arguments.reference:
        raise UserError(f"{paired[0].name} compares images; give --reference, too")
    about = {"generated": arguments.generated, "reference": arguments.reference}
    return partial(measure_pairs, paired, open_pairs(*about.values(), **reading(arguments))), about


def _open_images(arguments: argparse.Namespace, mesh: Any):
    """The generated images, a function that opens the reference, and what rows say of both."""
    from ganjax.evaluation.sets import open_set
    from ganjax.images import parse_image_size

    size = parse_image_size(arguments.image_size) if arguments.image_size else None
    asked = reading(arguments)
    generated = open_set(arguments.generated, mesh, image_size=size, **asked)
    # What is measured once need not be remembered; references are.
    generated = generated._replace(digest="")

    def open_reference():
        if not arguments.reference:
            raise UserError("there is nothing to compare with; give --reference=SOURCE")
        return open_set(
            arguments.reference,
            mesh,
            image_size=size,
            default_size=generated.image_size,
            **asked,
        )

    about = {"generated": arguments.generated, "reference": arguments.reference}
    return generated, open_reference, about


def _load_run(arguments: argparse.Namespace):
    """The run, and what rows say of it."""
    from ganjax import runs

    run = runs.load(
        arguments.run,
        step=arguments.checkpoint,
        average=arguments.average,
        direction=arguments.direction,
    )
    with run.config.unlocked():
        run.config.data.range = arguments.range or run.config.data.range
        run.config.data.follow_links |= arguments.follow_links
    about = {
        "step": run.step,
        "kimg": int(run.trained.images) / 1000,
        "checkpoint": run.checkpoint,
        "average": arguments.average,
        "reference": arguments.reference or run.config.data.get("source"),
    }
    return run, about


def _open_examples(arguments: argparse.Namespace, paired: list[Any]):
    """What measures a run's translations by paired metrics, and what rows say of it."""
    from ganjax.evaluation import monitor

    run, about = _load_run(arguments)
    if not arguments.reference:
        _check_data(run.config, "give --reference=SOURCE, examples with what they should become")
    measure = monitor.open_examples(
        paired, run.model, run.config, run.trained, seed=arguments.seed,
        source=arguments.reference or "",
    )  # fmt: skip
    return measure, about


def _open_run(arguments: argparse.Namespace, mesh: Any):
    from ganjax.evaluation import monitor
    from ganjax.evaluation.sets import open_set
    from ganjax.images import parse_image_size

    run, about = _load_run(arguments)
    config = run.config
    if run.model.use == "translate":
        hint = "`ganjax translate` images, then give them as --generated, with --reference"
        _check_data(config, hint)
    generated = monitor.make_images(run.model, config, mesh)(run.trained, arguments.seed)
    size = parse_image_size(arguments.image_size) if arguments.image_size else None

    def open_reference():
        if not arguments.reference:
            _check_data(config, "give --reference=SOURCE")
            at, raw = size or generated.image_size, arguments.raw_colors
            try:
                return monitor.open_data(run.model, config, mesh, at, raw_colors=raw)
            except UserError as error:
                hint = "" if "--reference" in str(error) else "; --reference names other images"
                raise UserError(f"{error}{hint}") from error
        return open_set(
            arguments.reference,
            mesh,
            image_size=size or generated.image_size,
            channels=config.data.channels,
            **reading(arguments),
        )

    return generated, open_reference, about


def _check_data(config: Any, hint: str) -> None:
    """Checks that a model knows data: files of `ganjax export` name none but the embedded."""
    from ganjax.config import flat
    from ganjax.training.workdir import PLACES

    if not any(flat(config).get(name) for name in PLACES):
        raise UserError(f"the model names no data; {hint}")


def _save_features(path: Path, features: dict[str, Any]) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.savez(file, **features)
    print(f"wrote {path}", file=sys.stderr)


def _print_table(rows: list[dict[str, Any]]) -> None:
    """A line per metric: its value, and what else it comes with; details are in the JSON."""
    width = max(len(row["metric"]) for row in rows)
    for row in rows:
        more = {
            name: x
            for name, x in row.items()
            if name in _COUNTS or (isinstance(x, float) and name not in _KNOWN)
        }
        words = [
            f"{name} {x:.5g}"
            for name, x in more.items()
            if not any(name.startswith(f"{other}_") for other in more)
        ]
        print(f"{row['metric']:{width}}  {row['value']:>10.5g}  {', '.join(words)}".rstrip())


_KNOWN = ("value", "kimg")
_COUNTS = ("equal_pairs", "subset_size")


def _ask_people(arguments: argparse.Namespace) -> None:
    from ganjax.data.folder import list_pictures
    from ganjax.evaluation.human import page, scoring

    if arguments.score:
        asked, *answers = arguments.score
        print(scoring.describe(scoring.score(asked, answers)))
        return
    if not arguments.output:
        raise UserError("--human needs --output=FILE.html, the page to write")
    a, b = (
        {
            picture.name: partial(picture.pixels, may_shrink=True)
            for picture in list_pictures([name], **reading(arguments))
        }
        for name in arguments.human
    )
    key = page.write_page(
        a,
        b,
        arguments.output,
        pairs=arguments.pairs,
        seed=arguments.seed,
        question=arguments.question or page.QUESTION,
        names=tuple(arguments.human),
    )
    print(f"wrote {arguments.output}, which raters get, and {key}, which they do not")
