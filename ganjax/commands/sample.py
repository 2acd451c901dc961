"""Draws images from a trained model: `ganjax sample --workdir runs/dcgan_avatars`."""

import argparse
import sys
from pathlib import Path

from ganjax import seeds
from ganjax.commands.terminal import (
    add_cache_flag,
    add_direction_flags,
    add_model_flags,
    add_run_flag,
    leave_to_first,
    parse_directions,
    start_jax,
)
from ganjax.errors import UserError

EPILOG = """\
examples:
  ganjax sample --workdir runs/dcgan_avatars                     a grid of 64
  ganjax sample --workdir runs/dcgan_avatars --output faces/     64 single PNGs
  ganjax sample --workdir runs/dcgan_avatars --output walk.mp4   a walk through z
  ganjax sample --workdir runs/sngan_fashion_mnist --label Sandal --num 16
  ganjax sample --weights portraits_text --text "a smiling woman with red hair" --num 16
  ganjax sample --workdir runs/dcgan_avatars --direction hair_color_blue=3 glasses_none=2
                                                                 after `ganjax edit --find`
  ganjax sample --weights generator.safetensors                  of `ganjax export`
  ganjax sample --workdir runs/dcgan_avatars --growth --output growth.gif
                                          the same 64 while the run learnt to draw them

All that is needed is the folder of the run, or the file that `ganjax export` wrote of it. Image
number i of a seed is always the same image, however many are drawn. Every file says in its metadata
that a trained model made it.
"""
NAMES = r"\d{6,}\.png"  # of single images
WALK_FRAMES = 30  # from one picture to the next
GROWTH_FRAMES_PER_SECOND = 5
GROWTH_SIDE = 1080  # pixels, at most: a grid of 1024x1024 images has 8000


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax sample",
        description="Draw images from a trained model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_run_flag(parser)
    add("--num", type=int, default=64, metavar="N", help="images, or stops of a walk (default: 64)")
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    add(
        "--output", type=Path, default=Path("grid.png"), metavar="PATH",
        help="FILE.png, .jpg, .webp or .tif: a grid; FOLDER: single PNGs; FILE.gif or FILE.mp4: a "
        "walk through the latent space, back to its start (default: grid.png)",
    )  # fmt: skip
    add(
        "--overwrite", action="store_true",
        help="replace FILE, or all images that an earlier call wrote to FOLDER",
    )  # fmt: skip
    add_model_flags(parser)
    add("--label", default="", metavar="NAME", help="a class, by its name or number")
    add(
        "--attributes", default="", metavar="NAME=VALUE,...",
        help="values of attributes; those that are not named are drawn",
    )  # fmt: skip
    add(
        "--text", default="", metavar="SENTENCE",
        help="what the images shall show, of a model that was trained with captions",
    )  # fmt: skip
    add_direction_flags(parser)
    add(
        "--truncation", type=float, default=0.0, metavar="T",
        help="keep the values of z within -T and T: less variety, fewer odd images (try 1)",
    )  # fmt: skip
    add(
        "--growth", action="store_true",
        help="FILE.gif or FILE.mp4 of the grids that the run drew while it trained",
    )  # fmt: skip
    add("--no_metadata", action="store_true", help="do not say in the files what made them")
    add_cache_flag(parser)
    arguments = parser.parse_args(argv)
    leave_to_first()
    if arguments.num < 1:
        raise UserError(f"--num is {arguments.num}; it must be 1 or more")
    if arguments.truncation < 0:
        raise UserError(f"--truncation is {arguments.truncation}; it must be above 0")
    seeds.check("--seed", arguments.seed)
    from ganjax.outputs import ANIMATIONS, PICTURES, Destination

    strengths = parse_directions(arguments)
    output = Destination(
        arguments.output, PICTURES | ANIMATIONS, overwrite=arguments.overwrite, names=NAMES
    )
    animated = output.is_file and output.path.suffix.lower() in ANIMATIONS

    if arguments.growth:
        if not animated:
            raise UserError(f"--growth with --output {arguments.output}: give FILE.gif or FILE.mp4")
        _write_growth(output, arguments.run, not arguments.no_metadata)
        print(f"wrote {arguments.output}", file=sys.stderr)
        return
    start_jax(compile_cache=arguments.compile_cache)
    generator, inputs = _load(arguments)
    images_of = generator.images
    if strengths:
        shift = generator.shift(strengths, arguments.keep, arguments.directions)
        images_of = lambda inputs: generator.images(inputs | {"z": inputs["z"] + shift})  # noqa: E731
    metadata = None
    if not arguments.no_metadata:
        from ganjax.provenance import provenance

        given = {name: " ".join(getattr(arguments, name)) for name in ("direction", "keep")}
        moved = {name: text for name, text in given.items() if text}
        metadata = provenance(seed=arguments.seed, checkpoint=generator.checkpoint, **moved)
    write = _write_walk if animated else _write_grid if output.is_file else _write_singles
    write(output, inputs, images_of, metadata)
    print(f"wrote {arguments.output}", file=sys.stderr)


def _load(arguments: argparse.Namespace):
    """The generator, and the inputs of all images."""
    from ganjax import conditions, runs
    from ganjax.api import Generator
    from ganjax.editing.latents import truncate

    run = runs.load(arguments.run, step=arguments.checkpoint, average=arguments.average)
    generator = Generator(run, str(arguments.run))
    condition = generator.inputs.get("label")
    asked = conditions.parse(
        condition, label=arguments.label, attributes=arguments.attributes, text=arguments.text
    )
    inputs = generator.draw(arguments.num, arguments.seed, asked)
    if arguments.truncation:
        inputs["z"] = truncate(inputs["z"], arguments.truncation)
    return generator, inputs


def _write_grid(output, inputs, images_of, made) -> None:
    import numpy as np

    from ganjax.outputs import make_grid, write_image

    grid = make_grid(np.stack(list(images_of(inputs))))
    output.open()
    write_image(output.path, grid, made=made)


def _write_singles(output, inputs, images_of, made) -> None:
    from ganjax.outputs import write_image

    for number, image in enumerate(images_of(inputs)):
        if number == 0 and (removed := output.open()):
            print(f"removed {removed} images of an earlier call", file=sys.stderr)
        write_image(output.path / f"{number:06d}.png", image, made=made)


def _write_walk(output, inputs, images_of, made) -> None:
    from ganjax.editing.latents import closed_walk
    from ganjax.outputs import write_animation

    walk = {
        # Conditions stay as they are from each stop to the next.
        name: closed_walk(value, WALK_FRAMES) if name == "z" else value.repeat(WALK_FRAMES, axis=0)
        for name, value in inputs.items()
    }
    output.open()
    write_animation(output.path, images_of(walk), frames_per_second=30, made=made)


def _write_growth(output, workdir: Path, with_metadata: bool) -> None:
    """All grids of one fixed z, in the order in which they were drawn; the last one for longer."""
    from ganjax.images import read_image, resize
    from ganjax.outputs import write_animation
    from ganjax.provenance import provenance
    from ganjax.training.workdir import load_config

    if workdir.suffix == ".safetensors":
        raise UserError("--growth shows what a run drew while it trained; give its --workdir")
    seed = load_config(workdir)["seed"]
    samples = workdir / "samples"
    found = samples.iterdir() if samples.is_dir() else ()
    grids = sorted(path for path in found if path.suffix == ".png")
    if not grids:
        raise UserError(f"{workdir} holds no samples; train until the first ones")
    checkpoint = f"steps {int(grids[0].stem)} to {int(grids[-1].stem)}"
    made = provenance(seed=seed, checkpoint=checkpoint) if with_metadata else None

    def frames():
        for grid in [*grids, *grids[-1:] * 2 * GROWTH_FRAMES_PER_SECOND]:
            frame = read_image(grid)
            height, width, _ = frame.shape
            shrink = max(height, width, GROWTH_SIDE) / GROWTH_SIDE
            yield resize(frame, (round(height / shrink), round(width / shrink)))

    output.open()
    fps = GROWTH_FRAMES_PER_SECOND
    write_animation(output.path, frames(), frames_per_second=fps, made=made)
