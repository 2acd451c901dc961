"""Pictures drawn of label maps: whether they show them, and how different the seeds are.

    python -m benchmarks.masks --model oasis_portraits --sheet sheet.png
    python -m benchmarks.masks --model runs/oasis_camvid --segmenter runs/segment_camvid \\
        --data paired:camvid:test --reference paired:camvid:train --resample car

Measured are the IoU of a segmenter in the pictures, beside that in the real images of the maps; the
LPIPS on VGG-16 between two seeds, beside that between real images; the Frechet distance to other
real images, the last ones of `--reference`; and whether `resample` draws a class anew and leaves
all else alone. The segmenter's config says how the label maps are written, and the size.
"""

import argparse
from typing import Any

import numpy as np

from ganjax.commands.terminal import start_jax

SHOWN, SEEDS = 8, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a run, a file or the name of a model")
    parser.add_argument("--segmenter", default="segment_avatars", help="(default: %(default)s)")
    parser.add_argument("--data", default="avatars:test", help="(default: %(default)s)")
    parser.add_argument("--reference", help="data of other real images (default: that of --data)")
    parser.add_argument("--num", type=int, default=500, help="maps (default: %(default)s)")
    parser.add_argument("--resample", default="hair", help="a class (default: %(default)s)")
    parser.add_argument(
        "--sheet", help="image file: maps, seeds, the class drawn anew, real images"
    )
    arguments = parser.parse_args()
    start_jax()
    import ganjax
    from ganjax import Translator, outputs, runs
    from ganjax.data.label_maps import palette
    from ganjax.errors import UserError

    run, judge = runs.load(arguments.model), runs.load(arguments.segmenter)
    translator, data = Translator(run), judge.config.data
    images, maps = read(data, arguments.data)
    images, maps = images[: arguments.num], maps[: arguments.num]
    num, names, ignored = len(maps), list(data.classes), run.config.data.get("ignored", ())
    others = read(data, arguments.reference or arguments.data)[0][-num:]
    colors = palette(data.colors, len(names))[np.minimum(maps, len(names) - 1)]
    by_color = translator.maps is None or translator.maps.colors
    given = list(colors if by_color else maps)
    drawn = [np.stack(translator(given, seed=seed)) for seed in range(SEEDS)]

    shown = [name for name in names if name not in ignored]
    print(f"{arguments.model}: {num} maps of {arguments.data}")
    print(f"| | {' | '.join(('mean', *shown))} |\n| --- |{' --- |' * (1 + len(shown))}")
    for name, pictures in (("drawn", drawn[0]), ("real", images)):
        shares = iou(judge, pictures, maps, [names.index(one) for one in shown])
        print(f"| {name} | {' | '.join(f'{x:.3f}' for x in (np.nanmean(shares), *shares))} |")
    one, two = (ganjax.measure(a, b, "lpips_vgg")["lpips_vgg"] for a, b in (
        (drawn[0], drawn[1]), (images, others)
    ))  # fmt: skip
    print(f"LPIPS between seeds {one:.3f}, between real images {two:.3f}")
    metric = f"frechet{num}_{'avatars' if arguments.data.startswith('avatars') else 'vgg16'}"
    for name, pictures in (("drawn", drawn[0]), ("real", images)):
        print(f"{metric} of {name} images: {ganjax.measure(pictures, others, metric)[metric]:.3f}")
    columns = [colors, *drawn]
    try:
        again = np.stack(translator(given, resample={arguments.resample: 7}))
    except UserError as error:
        print(error)
    else:
        changed, there = (again != drawn[0]).any(-1), maps == names.index(arguments.resample)
        print(
            f"{arguments.resample} drawn anew: {changed[there].mean():.3f} of it, "
            f"{changed[~there].mean():.3f} of the rest"
        )
        columns.append(again)
    if arguments.sheet:
        rows = np.stack([column[:SHOWN] for column in (*columns, images)], axis=1)
        grid = outputs.make_grid(rows.reshape(-1, *rows.shape[2:]), columns=rows.shape[1])
        outputs.write_image(arguments.sheet, grid, made=None)


def read(data: Any, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, 3] and label maps uint8 [N, H, W] of a source.

    Args:
      data: the fields `data` of the segmenter.
    """
    from ganjax.data.streams import labeled
    from ganjax.images import parse_image_size

    with data.unlocked():
        data.source = source
    titles = ("source", "target") if data.direction == "AtoB" else ("target", "source")
    stream = labeled(data, image=titles[0], label_map=titles[1])
    size = parse_image_size(data.image_size)
    found, _ = stream.source.load(range(len(stream.source)), size, 3)
    arrays = {title: found[name] for name, title in stream.names.items()}
    return arrays[titles[0]], arrays[titles[1]]


def iou(judge: Any, images: np.ndarray, maps: np.ndarray, classes: list[int]) -> np.ndarray:
    """Of some classes, over all pixels that belong to one of them; by the segmenter `judge`."""
    import jax

    from ganjax.metrics import segmentation

    label = jax.jit(lambda image: judge.model.sample(judge.trained, {"source": image}, None))
    found = np.concatenate([label(image[None])["labels"] for image in images])
    count = len(judge.config.data.classes)
    truth = np.where(np.isin(maps, classes), maps, count)
    return segmentation.iou(segmentation.confusion(found, truth, count))[classes]


if __name__ == "__main__":
    main()
