"""How often translators put glasses on portraits and take them off, and what stays as it was.

    python -m benchmarks.glasses --weights runs/cyclegan_avatars runs/cut_avatars --sheet sheet.png

For runs of `unpaired:avatars`, measured on portraits of the test split. The classifier of avatars
in the package tells what is seen before and after. Glasses that are taken off leave the portrait
that the renderer paints without them: the PSNR to it, beside that of doing nothing.
"""

import argparse

import numpy as np

from ganjax.commands.terminal import start_jax

SIZE = (64, 64)
SHOWN = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, nargs="+", help="runs, or files")
    parser.add_argument("--num", type=int, default=500, help="portraits of each side")
    parser.add_argument("--sheet", help="image file: sources, and translations of each run")
    arguments = parser.parse_args()
    start_jax()
    from benchmarks.portraits import load_reader
    from ganjax import outputs

    seen = load_reader()
    print("| run | direction | changed | others kept | PSNR | of doing nothing |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows, names = [], []
    for direction in ("AtoB", "BtoA"):
        sources, truth = portraits(direction, arguments.num)
        rows.append(sources[:SHOWN])
        names.append("without" if direction == "AtoB" else "with glasses")
        for weights in arguments.weights:
            drawn = translate(weights, direction, sources)
            if drawn is None:
                continue
            changed, kept = compare(seen(sources), seen(drawn), wanted=direction == "AtoB")
            shares = f"| {weights} | {direction} | {changed:.3f} | {kept:.3f}"
            if truth is None:
                print(f"{shares} | | |")
            else:
                print(f"{shares} | {psnr(drawn, truth):.1f} | {psnr(sources, truth):.1f} |")
            rows.append(drawn[:SHOWN])
            names.append(weights.rstrip("/").rpartition("/")[2])
    if arguments.sheet:
        grid = outputs.make_grid(np.concatenate(rows), columns=SHOWN)
        outputs.write_image(arguments.sheet, outputs.label_rows(grid, names), made=None)


def portraits(direction: str, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Images uint8 [N, H, W, 3] of a side, and what they are to become where that is one image."""
    from ganjax.data import avatars

    column = list(avatars.ATTRIBUTES).index("glasses")
    none = avatars.ATTRIBUTES["glasses"].index("none")
    drawn = avatars.render(np.arange(4 * count), SIZE, split="test")
    bare = drawn["label"][:, column] == none
    chosen = np.flatnonzero(bare if direction == "AtoB" else ~bare)[:count]
    if direction == "AtoB":
        return drawn["image"][chosen], None
    truth = avatars.render(chosen, SIZE, split="test", overrides={"glasses": "none"})
    return drawn["image"][chosen], truth["image"]


def translate(weights: str, direction: str, images: np.ndarray) -> np.ndarray | None:
    """Images [N, H, W, 3] of a run; None where it was not trained in that direction."""
    from ganjax import Translator
    from ganjax.errors import UserError

    try:
        translator = Translator.load(weights, direction=direction)
    except UserError as error:
        print(f"{weights}: {error}")
        return None
    return np.stack(translator(list(images)))


def compare(before: np.ndarray, after: np.ndarray, *, wanted: bool) -> tuple[float, float]:
    """The share of portraits whose glasses are as wanted, and of other attributes that stayed.

    Args:
      before, after: attributes int [N, A], -1 where they cannot be seen.
      wanted: whether there should be glasses.
    """
    from ganjax.data.avatars import ATTRIBUTES

    column, none = list(ATTRIBUTES).index("glasses"), ATTRIBUTES["glasses"].index("none")
    others = (np.arange(before.shape[1]) != column) & (before >= 0) & (after >= 0)
    changed = np.mean((after[:, column] != none) == wanted)
    return float(changed), float((before == after)[others].mean())


def psnr(images: np.ndarray, truth: np.ndarray) -> float:
    """The median over images, in dB."""
    from ganjax.images import to_float
    from ganjax.metrics import similarity

    return float(np.median(similarity.psnr(to_float(images), to_float(truth))))


if __name__ == "__main__":
    main()
