"""Do distances grow with what they should? `python -m benchmarks.metric_sanity --help`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ganjax.commands.terminal import check_parent, run_command, start_jax
from ganjax.errors import UserError

EPILOG = """\
examples:
  python -m benchmarks.metric_sanity --output sanity.png
  python -m benchmarks.metric_sanity --output sanity.png --photos photos.zip

Half of the images are the reference. The other half is blurred, disturbed with noise, or left
with fewer and fewer classes, and its distance to the reference is drawn. The first point of each
curve is the distance of real images to other real images. Classes are avatars' hair, which goes
by kind, and the photographs in the order of their names, which those of ImageNet's files follow.

--photos needs vgg16_features of `ganjax weights fetch`.
"""
MISSING = (0.0, 0.25, 0.5, 0.75)  # share of the classes
BATCH = 50

Images = np.ndarray  # uint8 [N, H, W, 3]


class Curve(NamedTuple):
    """What one panel shows."""

    title: str
    x_label: str
    x: Sequence[float]
    y: Sequence[float]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metric_sanity",
        description="Draw how metrics answer to blur, noise and missing classes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", required=True, type=Path, metavar="FILE", help="the picture, FILE.png")
    add("--photos", metavar="PATH", help="a folder or .zip of 500 or more photographs")
    add("--count", type=int, default=2000, metavar="N", help="avatars in a set (default: 2000)")
    arguments = parser.parse_args(argv)
    if arguments.output.suffix != ".png":
        raise UserError(f"--output {arguments.output}: give FILE.png")
    check_parent("--output", arguments.output)
    if not 500 <= arguments.count <= 4000 or arguments.count % BATCH:
        raise UserError(f"--count {arguments.count}: give 500 to 4000, a multiple of {BATCH}")

    start_jax()
    rows = [avatar_curves(arguments.count)]
    if arguments.photos:
        rows += photo_curves(arguments.photos)
    for curve in (curve for row in rows for curve in row):
        print(json.dumps(curve._asdict()))
    draw_panels(rows).save(arguments.output, optimize=True)
    print(f"wrote {arguments.output}", file=sys.stderr)


def avatar_curves(count: int) -> list[Curve]:
    """The Frechet distance on the bundled classifier's features, portraits of 32x32."""
    from ganjax.data import avatars

    def portraits(indices: np.ndarray) -> Images:
        return avatars.render(indices, (32, 32))["image"]

    hair = avatars.draw_attributes(np.arange(avatars.TRAIN_SIZE))[:, _column("hair")]
    kinds = len(avatars.ATTRIBUTES["hair"])

    def without(share: float) -> Images:
        kept = np.flatnonzero(hair < kinds - round(share * kinds))
        return portraits(kept[kept >= count][:count])

    features = _extractor("avatars")
    real = features(portraits(np.arange(count)))
    return _curves(
        features,
        {f"frechet{count}_avatars": lambda fake: _frechet(real, fake)},
        portraits(np.arange(count, 2 * count)),
        without,
        blurs=(0, 0.4, 0.6, 0.8, 1.2),
        noises=(0, 4, 8, 16, 32),
    )[0]


def photo_curves(path: str) -> list[list[Curve]]:
    """Frechet and kernel distance on VGG-16's features, photographs of 224x224."""
    from ganjax.data.source import open_source
    from ganjax.metrics.kernel import kernel_distance

    source = open_source(f"folder:{path}")
    half = len(source) // 2 // BATCH * BATCH
    if half < 250:
        raise UserError(f"{path} has {len(source)} images; give 500 or more")
    arrays, broken = source.load(range(2 * half), (224, 224), 3)
    if broken:
        raise UserError(f"{broken[0].name} {broken[0].reason}; remove it")
    images = arrays["image"]

    def without(share: float) -> Images:
        kept = images[1 : round(2 * half * (1 - share)) : 2]
        return np.resize(kept, (half, *kept.shape[1:]))  # repeated: sets are equally large

    features = _extractor("vgg16")
    real = features(images[::2])

    def kernel(fake: np.ndarray) -> float:
        return kernel_distance(real, fake, subset_size=250)[0]

    return _curves(
        features,
        {
            f"frechet{half}_vgg16": lambda fake: _frechet(real, fake),
            "kernel distance, subsets of 250, vgg16": kernel,
        },
        images[1::2],
        without,
        blurs=(0, 1, 2, 4, 8),
        noises=(0, 10, 20, 40, 80),
    )


def _curves(
    features: Callable[[Images], np.ndarray],
    metrics: dict[str, Callable[[np.ndarray], float]],
    images: Images,
    without: Callable[[float], Images],
    *,
    blurs: Sequence[float],
    noises: Sequence[float],
) -> list[list[Curve]]:
    """A row of three panels for each metric."""
    rows: list[list[Curve]] = [[] for _ in metrics]
    for x_label, xs, disturb in (
        ("blur: standard deviation in pixels", blurs, lambda x: _blur(images, x)),
        ("noise: standard deviation of 255", noises, lambda x: _add_noise(images, x)),
        ("share of classes that are missing", MISSING, without),
    ):
        seen = [features(disturb(x)) for x in xs]
        for row, (title, metric) in zip(rows, metrics.items(), strict=True):
            row.append(Curve(title, x_label, xs, [metric(fake) for fake in seen]))
    return rows


def _extractor(name: str) -> Callable[[Images], np.ndarray]:
    import jax

    from ganjax.metrics import extractors

    extractor = extractors.load(name)
    apply = jax.jit(extractor.apply)

    def features(images: Images) -> np.ndarray:
        parts = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
        outputs = [np.asarray(apply(extractor.variables, part)["features"]) for part in parts]
        return np.concatenate(outputs)

    return features


def _frechet(real: np.ndarray, fake: np.ndarray) -> float:
    from ganjax.metrics.frechet import MomentsStream, frechet_distance

    streams = []
    for rows in (real, fake):
        streams.append(MomentsStream())
        streams[-1].add(rows)
    return frechet_distance(*(stream.moments() for stream in streams))


def _column(attribute: str) -> int:
    from ganjax.data import avatars

    return list(avatars.ATTRIBUTES).index(attribute)


def _blur(images: Images, sigma: float) -> Images:
    blurred = (Image.fromarray(x).filter(ImageFilter.GaussianBlur(sigma)) for x in images)
    return np.stack([np.asarray(x) for x in blurred])


def _add_noise(images: Images, sigma: float) -> Images:
    noise = np.random.default_rng(0).normal(scale=sigma, size=images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


SCALE = 3  # drawn larger and scaled down: lines are smooth
WIDTH, HEIGHT = 300, 190  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 26, 38  # around its axes


def draw_panels(rows: Sequence[Sequence[Curve]]) -> Image.Image:
    """A picture with a panel per curve, each from 0 up."""
    size = (SCALE * WIDTH * max(map(len, rows)), SCALE * HEIGHT * len(rows))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for i, row in enumerate(rows):
        for j, curve in enumerate(row):
            _draw_panel(draw, curve, j * WIDTH, i * HEIGHT)
    return picture.reduce(SCALE)


def _draw_panel(draw: ImageDraw.ImageDraw, curve: Curve, left: int, top: int) -> None:
    font = ImageFont.load_default(10 * SCALE)
    ceiling = _round_up(max(*curve.y, 1e-9))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / max(curve.x) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - y / ceiling * (HEIGHT - TOP - BOTTOM)
        return SCALE * (left + across), SCALE * (top + down)

    def write(place: tuple[float, float], text: str, anchor: str) -> None:
        draw.text(place, text, fill="#333333", font=font, anchor=anchor)

    for part in range(5):
        y = ceiling * part / 4
        (x0, height), (x1, _) = place(0, y), place(max(curve.x), y)
        draw.line([(x0, height), (x1, height)], fill="#dddddd" if part else "#333333", width=SCALE)
        write((x0 - 5 * SCALE, height), f"{y:.5g}", "rm")
    for x in curve.x:
        across, down = place(x, 0)
        write((across, down + 5 * SCALE), f"{x:g}", "mt")
    middle = SCALE * (left + (LEFT + WIDTH - RIGHT) / 2)
    write((middle, SCALE * (top + HEIGHT - 8)), curve.x_label, "ms")
    write((middle, SCALE * (top + 15)), curve.title, "ms")
    points = [place(x, max(y, 0)) for x, y in zip(curve.x, curve.y, strict=True)]
    draw.line(points, fill="#1f5fa8", width=2 * SCALE, joint="curve")
    for x, y in points:
        radius = 3 * SCALE
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill="#1f5fa8")


def _round_up(value: float) -> float:
    """The next number of the form 1, 2, 4 or 8 times a power of 10."""
    power: Any = 10.0 ** np.floor(np.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
