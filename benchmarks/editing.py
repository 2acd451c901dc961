"""How well photographs are inverted and edited: portraits that the run has never seen.

    python -m benchmarks.editing --workdir runs/dcgan_avatars --num 200

Directions must be there (`ganjax edit --workdir ... --find attributes`). The classifier of avatars
in the package tells what is seen before and after: how many attributes an inversion keeps, how
often an edit brings its value about, and how many of the other attributes it leaves.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from ganjax.commands.terminal import start_jax

EDITS = (
    "hair_color_blue", "hair_color_blond", "hair_long", "skin_deep", "skin_porcelain",
    "background_mint", "glasses_none", "clothes_color_teal", "expression_laugh", "hat_none",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--num", type=int, default=200, help="portraits of the test split")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--strength", type=float, default=3.0)
    parser.add_argument("--edits", nargs="+", default=list(EDITS))
    arguments = parser.parse_args()
    start_jax()
    from benchmarks.portraits import load_reader
    from ganjax import Generator, runs
    from ganjax.data.avatars import ATTRIBUTES
    from ganjax.data.avatars.source import open_avatars
    from ganjax.editing.editor import Editor

    run = runs.load(arguments.workdir)
    editor, generator = Editor(run), Generator(run, str(arguments.workdir))
    labels = load_reader()
    source, size = open_avatars("", split="test"), editor.image_size
    loaded, _ = source.load(list(range(arguments.num)), size, 3)
    kept, began = [], time.monotonic()
    for number, image in enumerate(loaded["image"]):
        kept.append(editor.invert(image, steps=arguments.steps))
        print(f"\r{number + 1} of {arguments.num}", end="", flush=True)
    seconds = (time.monotonic() - began) / arguments.num
    print(f"\r{arguments.num} portraits of {size[0]}x{size[1]}, {seconds:.1f} s each")
    truth = labels(loaded["image"])
    for name in ("found", "tuned"):
        values = [getattr(one, name) for one in kept]
        params = None if name == "tuned" else editor.params
        drawn = [editor.edit(one._replace(params=params or one.params))[0] for one in kept]
        seen = truth >= 0
        share = (labels(drawn) == truth)[seen].mean()
        lpips, psnr = (np.median([float(x[n][0]) for x in values]) for n in (0, 1))
        print(f"{name}: LPIPS {lpips:.3f}, PSNR {psnr:.1f} dB, attributes kept {share:.2f}")
    before = labels([editor.edit(one)[0] for one in kept])
    print("| edit | before | after | others kept |\n| --- | --- | --- | --- |")
    for edit in arguments.edits:
        name = next(n for n in sorted(ATTRIBUTES, key=len)[::-1] if edit.startswith(f"{n}_"))
        column, value = list(ATTRIBUTES).index(name), edit.removeprefix(f"{name}_")
        wanted = ATTRIBUTES[name].index(value)
        shift = generator.shift({edit: arguments.strength})
        after = labels([editor.edit(one, shift=shift)[0] for one in kept])
        others = np.arange(len(ATTRIBUTES)) != column
        both = (before >= 0) & (after >= 0) & others
        print(
            f"| `{edit}` | {np.mean(before[:, column] == wanted):.2f} "
            f"| {np.mean(after[:, column] == wanted):.2f} "
            f"| {(before == after)[both].mean():.2f} |"
        )


if __name__ == "__main__":
    main()
