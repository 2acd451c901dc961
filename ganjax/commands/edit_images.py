"""Inverts photographs by a generator and draws them with changes: `ganjax edit --input`."""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from ganjax.commands.masks import match, read
from ganjax.commands.terminal import parse_directions, reading, start_jax
from ganjax.errors import UserError

FRAMES_PER_SECOND = 30
SLIDER_COLUMNS = 7  # from minus the strength to the strength
UNLIKE = 0.5  # share of the distance between two of its own images above which an image is unlike


def add_flags(group: Any) -> None:
    """Adds the flags that nothing else has to a parser or a group of it."""
    add = group.add_argument
    add(
        "--shows", default="", metavar="WHAT",
        help="what the images show, of a model with classes, attributes or captions: a class, "
        "NAME=VALUE,..., or a sentence (default: what the nearest of its own images show)",
    )  # fmt: skip
    add("--label", default="", metavar="NAME", help="draw it as another class")
    add(
        "--text", default="", metavar="SENTENCE",
        help="draw it by another caption; with a + in front the words are added to what it shows",
    )  # fmt: skip
    add(
        "--set", default="", metavar="NAME=VALUE,...",
        help="other values of attributes: of what the model can be asked for, or directions "
        "NAME_VALUE of --find attributes",
    )  # fmt: skip
    add(
        "--strength", type=float, default=2.0, metavar="X",
        help="of --set where it goes along directions (default: 2)",
    )  # fmt: skip
    add(
        "--sliders", action="store_true",
        help="a row for each --direction, from minus its strength to its strength",
    )  # fmt: skip
    add(
        "--mask", nargs="+", default=[], metavar="PATH",
        help="white where the image may change, black where its own pixels stay; one for all, or "
        "one for each input, of the same name",
    )  # fmt: skip
    add(
        "--hold", nargs="+", default=[], metavar="CLASS",
        help="parts of the image whose own pixels stay, e.g. background hair, as --segmenter sees "
        "them",
    )  # fmt: skip
    add(
        "--segmenter", default="", metavar="RUN_OR_FILE",
        help="tells the classes of pixels (default: that of avatars in the package)",
    )  # fmt: skip
    add("--steps", type=int, default=500, help="of the descent to z (default: 500)")
    add("--starts", type=int, default=8, metavar="N", help="of the descent (default: 8)")
    add(
        "--tuning", type=int, default=350, metavar="STEPS",
        help="of the generator, at most; 0 leaves it as it was trained (default: 350)",
    )  # fmt: skip
    add("--frames", type=int, default=60, metavar="N", help="of --between (default: 60)")
    add(
        "--save_latent", type=Path, metavar="PATH",
        help="keep what was found, FILE.safetensors or a folder; --input of it takes a second",
    )  # fmt: skip


def edit(arguments: argparse.Namespace) -> None:
    """Writes edited images, a video of two, or what was found of them."""
    _check(arguments)
    from ganjax.data.folder import list_pictures
    from ganjax.outputs import ANIMATIONS, PICTURES, Destination, file_names

    inputs = arguments.between or arguments.input
    pictures: list[Any] = []
    for path in inputs:  # in order; a kept inversion is no image
        kept = path.endswith(".safetensors")
        pictures += [Path(path)] if kept else list_pictures([path], **reading(arguments))
    if arguments.between and len(pictures) != 2:
        raise UserError(f"--between takes two images; {' '.join(inputs)} are {len(pictures)}")
    masks = match(list_pictures(arguments.mask), pictures)
    suffixes = ANIMATIONS if arguments.between else PICTURES
    names = file_names([picture.name for picture in pictures])
    output = latents = None
    if arguments.output:
        output = Destination(arguments.output, suffixes, overwrite=arguments.overwrite)
        if output.is_file and len(pictures) > 1 and not arguments.between:
            raise UserError(f"--output {output.path}: {len(pictures)} pictures go to a folder")
        if arguments.between and not output.is_file:
            raise UserError(f"--output {output.path}: --between gives FILE.mp4 or FILE.gif")
    if arguments.save_latent:
        latents = Destination(
            arguments.save_latent, (".safetensors",), overwrite=arguments.overwrite
        )
        if latents.is_file and len(pictures) > 1:
            raise UserError(f"--save_latent {latents.path}: {len(pictures)} go to a folder")
    start_jax(compile_cache=arguments.compile_cache)
    from ganjax import runs
    from ganjax.commands.weights import fetch_missing
    from ganjax.editing.editor import PERCEPTION
    from ganjax.metrics import pairs

    runs.load_config(arguments.run)  # nothing is fetched for a run that is not there
    fetch_missing(pairs.weights_of(PERCEPTION))
    session = _Session(arguments)
    if arguments.between:
        assert output
        first, second = (session.invert(picture) for picture in pictures)
        output.open()
        session.write_morph(output.path, first, second)
        print(f"wrote {output.path}", file=sys.stderr)
        return
    broken = 0
    for picture, mask, name in zip(pictures, masks, names, strict=True):
        paths = _target(output, f"{name}.png"), _target(latents, f"{name}.safetensors")
        wanted = [path for path in paths if path and (arguments.overwrite or not path.exists())]
        if not wanted:
            print(f"{picture.name}: is there already; --overwrite replaces it", file=sys.stderr)
            continue
        try:
            inverted = session.invert(picture)
            for place in filter(None, (output, latents)):
                place.open()
            if paths[1] in wanted:
                session.editor.write(paths[1], inverted)
            if paths[0] in wanted:
                session.write(paths[0], inverted, mask)
        except UserError as error:
            broken += 1
            about = "" if isinstance(picture, Path) else f"{picture.name}: "
            print(f"error: {about}{str(error).removeprefix('image ')}", file=sys.stderr)
    session.tell_means()
    if broken:
        sys.exit(1)


def _check(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be meant, before anything is read."""
    if not (arguments.output or arguments.save_latent):
        raise UserError("give --output, or --save_latent to keep what is found")
    if arguments.between and not arguments.output:
        raise UserError("--between needs --output FILE.mp4 or FILE.gif")
    if arguments.sliders and not (arguments.direction or arguments.set):
        raise UserError("--sliders needs --direction NAME=STRENGTH, one row for each")
    if arguments.segmenter and not arguments.hold:
        raise UserError("--segmenter goes with --hold CLASS; give it, too")
    for name, least in (("steps", 10), ("starts", 1), ("tuning", 0), ("frames", 2)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name} is {getattr(arguments, name)}; it must be {least} or more")


class _Session:
    """A generator, and what the command line asks of it."""

    def __init__(self, arguments: argparse.Namespace):
        from ganjax import conditions, runs
        from ganjax.api import Generator
        from ganjax.editing import regions
        from ganjax.editing.editor import Editor

        run = runs.load(arguments.run, step=arguments.checkpoint, average=arguments.average)
        self.editor = Editor(run, str(arguments.run))
        self._generator = Generator(run, str(arguments.run))
        self._arguments = arguments
        self._found: list[tuple[Any, ...]] = []  # seconds, then (LPIPS, PSNR) once or twice
        self._segmenter = None
        if arguments.hold:
            source = arguments.segmenter or regions.SEGMENTER
            self._segmenter = regions.Segmenter(runs.load(source), source, arguments.hold)
        condition = self.editor.condition
        kind = {"class": "label", "attributes": "attributes", "text": "text"}
        self._shown = None
        if arguments.shows:
            if not condition:
                raise UserError("--shows: this model knows no classes, attributes or captions")
            told = {kind[condition.kind]: arguments.shows}
            self._shown = conditions.parse(condition, **told)
        self._added = arguments.text.startswith("+")
        conditioned = condition is not None and condition.kind == "attributes"
        self._asked = conditions.parse(
            condition,
            label=arguments.label,
            attributes=arguments.set if conditioned else "",
            text=arguments.text.removeprefix("+"),
        )
        self._strengths = parse_directions(arguments)
        if not conditioned:
            names = [pair.replace("=", "_") for pair in arguments.set.split(",") if pair]
            self._strengths |= dict.fromkeys(names, arguments.strength)
        if arguments.sliders and not self._strengths:
            raise UserError("--sliders shows directions; --set is a condition of this model")
        # Before the minutes of an inversion: a direction may not be there.
        self._shift = self._find_shift()

    def invert(self, picture: Any):
        """A photograph, or what --save_latent kept of one; says how well it went."""
        from ganjax import progress

        if isinstance(picture, Path):
            return self.editor.read(picture)
        arguments, editor = self._arguments, self.editor
        image, began = editor.fit(picture.pixels(channels=editor.channels)), time.monotonic()
        steps = arguments.steps + arguments.tuning
        with progress.bar(steps, label=picture.name, unit="step", leave=False) as bar:
            inverted = editor.invert(
                image,
                steps=arguments.steps,
                starts=arguments.starts,
                tuning=arguments.tuning,
                seed=arguments.seed,
                asked=self._shown,
                tell=bar.update,
            )
        measured = [inverted.found, *([inverted.tuned] if arguments.tuning else [])]
        values = [(float(one.lpips[0]), float(one.psnr[0])) for one in measured]
        self._found.append((time.monotonic() - began, *values))
        print(f"{picture.name}: inverted in {_described(*self._found[-1])}", file=sys.stderr)
        if inverted.found.lpips[0] > UNLIKE * editor.spread:
            print(
                f"{picture.name}: unlike what the model draws, whose own images differ by LPIPS "
                f"{editor.spread:.3f}; edits may go wrong. Cut it as the training images were",
                file=sys.stderr,
            )
        return inverted

    def tell_means(self) -> None:
        """How well the inversions went on average, where there were several."""
        if len(self._found) > 1:
            import numpy as np

            seconds, *values = (
                np.mean(column, axis=0) for column in zip(*self._found, strict=True)
            )
            line = _described(float(seconds), *((float(a), float(b)) for a, b in values))
            print(f"mean of {len(self._found)} images: {line}", file=sys.stderr)

    def _find_shift(self) -> Any:
        """What is added to z, [N, Z]: for one picture, or for a row of sliders per direction."""
        import numpy as np

        arguments, strengths = self._arguments, self._strengths
        if not strengths:
            return 0.0
        shift = partial(self._generator.shift, keep=arguments.keep, directions=arguments.directions)
        if not arguments.sliders:
            return shift(strengths)
        steps = np.linspace(-1, 1, SLIDER_COLUMNS, dtype=np.float32)[:, None]
        return np.concatenate([steps * shift({name: x}) for name, x in strengths.items()])

    def write(self, path: Path, inverted: Any, mask: Any) -> None:
        """The edited image, or its sliders."""
        import numpy as np

        from ganjax.evaluation.sets import to_rgb
        from ganjax.outputs import label_rows, make_grid, write_image

        keep = 0.0 if mask is None else 1 - self.editor.fit_mask(read(mask, "its mask"))
        if self._segmenter:
            held = self._segmenter.region(to_rgb(inverted.target))
            keep = np.maximum(keep, self.editor.fit_mask(held))
        images = self.editor.edit(
            inverted, shift=self._shift, asked=self._asked_of(inverted), keep=keep
        )
        picture = images[0]
        if self._arguments.sliders:
            grid = make_grid(images, columns=SLIDER_COLUMNS)
            picture = label_rows(grid, list(self._strengths))
        write_image(path, picture, made=self._made())
        print(f"wrote {path}", file=sys.stderr)

    def write_morph(self, path: Path, first: Any, second: Any) -> None:
        from ganjax.outputs import write_animation

        frames = self.editor.morph(first, second, self._arguments.frames)
        write_animation(path, frames, frames_per_second=FRAMES_PER_SECOND, made=self._made())

    def _made(self) -> dict[str, str] | None:
        from ganjax.provenance import COMPOSITE, provenance

        if self._arguments.no_metadata:
            return None
        return provenance(source_type=COMPOSITE, checkpoint=self.editor.checkpoint)

    def _asked_of(self, inverted: Any) -> Any:
        """The new condition; the added words of a text come behind the image's own."""
        if self._asked is None or not self._added:
            return self._asked
        import numpy as np

        own = np.asarray(inverted.inputs["label"][0])
        words = [word for label in (own, self._asked) for word in label if word]
        padded = words[: len(own)] + [0] * (len(own) - len(words))
        return np.asarray(padded, own.dtype)


def _described(seconds: float, *likenesses: tuple[float, float]) -> str:
    """Of an inversion: LPIPS and PSNR of the z that was found and, if there is one, of the tuned
    generator."""
    found, *tuned = (f"LPIPS {lpips:.3f}, PSNR {psnr:.1f} dB" for lpips, psnr in likenesses)
    return "; ".join(
        [f"{seconds:.0f} s, {found}", *(f"with the generator tuned, {x}" for x in tuned)]
    )


def _target(place: Any, name: str) -> Path | None:
    """Where an image's result goes; None where nothing was asked for."""
    if not place:
        return None
    return place.path if place.is_file else place.path / name
