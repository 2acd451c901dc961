"""How much stylized clips flicker, of photographs that move by a known flow.

    python -m benchmarks.flicker --photos photos/ --styles paintings/ compact my_model.safetensors

Each clip goes over a photograph: it pans, turns, comes nearer, and has a little noise. Printed are
for each model, each frame by itself and with the smoothing of `ganjax stylize`: the warping error
(Lai et al. 2018) between neighbors and between frames ten apart, times 1000, by the flow that the
clip was made with; the style loss on VGG-16, and SSIM to the clip, of every tenth frame. A network
that does nothing flickers least: read the columns together.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ganjax.commands.terminal import start_jax

SIDE, FRAMES, STRIDES = 256, 24, (1, 10)
NOISE = 2.0  # deviation of 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("models", nargs="+", help="compact, or names or files of its weights")
    add("--photos", type=Path, required=True, help="folder of photographs")
    add("--styles", type=Path, required=True, help="folder of styles")
    add("--num", type=int, default=4, help="photographs and styles (default: %(default)s)")
    add("--sheet", help="image file: a frame of each clip, and of each model by itself")
    arguments = parser.parse_args()
    start_jax()
    from ganjax import Stylizer, outputs

    photos, styles = (_images(x, arguments.num) for x in (arguments.photos, arguments.styles))
    pairs = [(clip(photo), style) for photo in photos for style in styles]
    print(
        "| model | smoothing | neighbors | ten apart | style loss | SSIM |\n" + "| --- " * 6 + "|"
    )
    _report("the clip", "", [measure(content, content, style) for content, style in pairs])
    rows = [[content[0], _square(Image.fromarray(style), SIDE)] for content, style in pairs]
    for model in arguments.models:
        stylizer = Stylizer.load(weights=None if model == "compact" else model)
        for smoothing in (0.0, 0.9):
            figures = []
            for row, (content, style) in zip(rows, pairs, strict=True):
                frames = list(stylizer.frames(content, style, smoothing=smoothing))
                figures.append(measure(frames, content, style))
                if not smoothing:
                    row.append(frames[0])
            _report(model, smoothing, figures)
    if arguments.sheet:
        grid = outputs.make_grid(np.stack(sum(rows, [])), columns=len(rows[0]))
        outputs.write_image(arguments.sheet, grid, made=None)


def _report(model: str, smoothing: float | str, figures: list[list[float]]) -> None:
    near, far, style, similar = np.mean(figures, axis=0)
    print(
        f"| {model} | {smoothing} | {1000 * near:.3f} | {1000 * far:.3f} | {style:.3f} | "
        f"{similar:.3f} |",
        flush=True,
    )


def measure(frames: list[np.ndarray], content: list[np.ndarray], style: np.ndarray) -> list[float]:
    """Warping errors, the style loss and SSIM of what a `clip` became."""
    import jax.numpy as jnp

    import ganjax
    from ganjax.images import to_float
    from ganjax.metrics.flow import warping_error

    shown, found = [to_float(frame) for frame in frames], []
    for stride in STRIDES:
        errors = []
        for n in range(FRAMES - stride):
            flow = _flow(n, n + stride)
            ends = flow + np.stack(np.indices((SIDE, SIDE)), -1)
            sight = jnp.asarray(np.all((0 <= ends) & (ends < SIDE), -1), jnp.float32)
            errors.append(warping_error(shown[n], shown[n + stride], jnp.asarray(flow), sight))
        found.append(float(np.mean(errors)))
    some = frames[::10]
    near = ganjax.measure(some, [style] * len(some), "style_loss_vgg16")
    similar = ganjax.measure(some, content[::10], "ssim")
    return [*found, near["style_loss_vgg16"], similar["ssim"]]


def clip(photo: np.ndarray) -> list[np.ndarray]:
    """The frames, uint8 [SIDE, SIDE, 3], of a photograph of twice the side."""
    random, frames = np.random.default_rng(0), []
    for n in range(FRAMES):
        place = _place(n)
        place[:, 2] += 0.5 - place[:, :2] @ np.full(2, 0.5)  # Pillow has pixels' middles at 0.5
        (a, b, y), (c, d, x) = place
        affine = (d, c, x, b, a, y)  # Pillow goes by (x, y)
        frame = Image.fromarray(photo).transform(
            (SIDE, SIDE), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC
        )
        noisy = np.asarray(frame) + random.normal(0, NOISE, (SIDE, SIDE, 3))
        frames.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return frames


def _place(n: int) -> np.ndarray:
    """Where the pixels (y, x) of frame n are in the photograph: [2, 3], an affine map."""
    turn, near = np.deg2rad(0.3 * (n - FRAMES / 2)), 1.1 - 0.004 * n
    rows = near * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle = np.array([SIDE + 1.0 * n - FRAMES / 2, SIDE + 2.5 * n - 1.25 * FRAMES])
    return np.column_stack([rows, middle - rows @ np.full(2, (SIDE - 1) / 2)])


def _flow(first: int, second: int) -> np.ndarray:
    """From the pixels of one frame to those of another: float32 [SIDE, SIDE, 2]."""
    one, two = _place(first), _place(second)
    places = np.stack(np.indices((SIDE, SIDE)), -1).astype(float)
    there = places @ one[:, :2].T + one[:, 2] - two[:, 2]
    return (there @ np.linalg.inv(two[:, :2]).T - places).astype(np.float32)


def _images(folder: Path, count: int) -> list[np.ndarray]:
    """Some images of a folder, evenly chosen, 2 * SIDE on either side."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    chosen = files[:: max(1, len(files) // count)][:count]
    return [_square(Image.open(path), 2 * SIDE) for path in chosen]


def _square(image: Image.Image, side: int) -> np.ndarray:
    """The middle of an image, scaled: uint8 [side, side, 3]."""
    return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
