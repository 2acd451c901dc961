"""pix2pix on facades: a run's test images beside an untrained network and a nearest neighbor.

    python -m benchmarks.facades --workdir runs/pix2pix_facades --data facades.zip --sheet sheet.png

Measured on the 106 test pairs of pix2pix's facades at the run's size: the mean absolute difference
to the photographs (of 255), SSIM, LPIPS on VGG-16, and the Frechet distance of VGG-16's features.
The nearest neighbor is the training photograph whose labels differ least, by squares at 32x32.
"""

import argparse

import numpy as np

from ganjax.commands.terminal import start_jax

SHOWN = 6
METRICS = "ssim,lpips_vgg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--data", required=True, help="facades with train and test, as published")
    parser.add_argument("--sheet", help="image file: labels, each method, photographs")
    arguments = parser.parse_args()
    start_jax()
    import jax

    import ganjax
    from ganjax import Translator, outputs, runs, tasks
    from ganjax.images import parse_image_size

    run = runs.load(arguments.workdir)
    size = parse_image_size(run.config.data.image_size)
    labels, photos = read(f"paired:{arguments.data}:test", size)
    known, answers = read(f"paired:{arguments.data}:train", size)
    start = jax.jit(tasks.make(run.config).init)(jax.random.key(0)).trained
    images = {
        "untrained": np.stack(Translator(run._replace(trained=start))(list(labels))),
        "nearest neighbor": answers[nearest(labels, known)],
        "pix2pix": np.stack(Translator(run)(list(labels))),
    }
    frechet = f"frechet{len(photos)}_vgg16"
    print(f"{arguments.workdir}: {run.checkpoint}, {len(photos)} pairs of {size[0]}x{size[1]}")
    print("| | L1 | SSIM | LPIPS | Frechet |\n| --- | --- | --- | --- | --- |")
    for name, made in images.items():
        l1 = np.abs(made.astype(float) - photos).mean()
        found = ganjax.measure(made, photos, f"{METRICS},{frechet}")
        values = " | ".join(f"{found[metric]:.3f}" for metric in METRICS.split(","))
        print(f"| {name} | {l1:.1f} | {values} | {found[frechet]:.1f} |", flush=True)
    if arguments.sheet:
        shown = labels, *images.values(), photos
        columns = np.stack([made[:SHOWN] for made in shown], axis=1)
        grid = outputs.make_grid(columns.reshape(-1, *columns.shape[2:]), columns=len(shown))
        outputs.write_image(arguments.sheet, grid, made=None)


def read(spec: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and photographs of a split, uint8 [N, H, W, 3]."""
    from ganjax.data.source import open_source

    source = open_source(spec)
    loaded, _ = source.load(list(range(len(source))), size, 3)
    return loaded["b"], loaded["a"]


def nearest(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Of each of the labels, the number of the known ones that differ least, int [N]."""
    small, others = (np.stack([_shrink(one) for one in side]) for side in (labels, known))
    return np.square(small[:, None] - others[None]).sum(-1).argmin(1)


def _shrink(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX), float).ravel()


if __name__ == "__main__":
    main()
