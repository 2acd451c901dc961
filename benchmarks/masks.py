"""Portraits drawn of masks: whether they show them, and how different the seeds are.

    python -m benchmarks.masks --model oasis_portraits --sheet sheet.png

Masks are those of portraits of the test split. Measured are the IoU of the segmenter of avatars in
the package, beside that of the real portraits; the LPIPS on VGG-16 between two seeds, beside that
between real portraits; the Frechet distance to as many other portraits of that split, by the
classifier of avatars; and whether `resample` draws the hair anew and leaves all else alone.
"""

import argparse

import numpy as np

from ganjax.commands.terminal import start_jax

SIZE, SHOWN, SEEDS = (64, 64), 8, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a run, a file or the name of a model")
    parser.add_argument("--num", type=int, default=500, help="masks, at most 2500")
    parser.add_argument("--sheet", help="image file: masks, seeds, other hair, real portraits")
    arguments = parser.parse_args()
    start_jax()
    import ganjax
    from ganjax import Translator, outputs
    from ganjax.data import avatars
    from ganjax.data.avatars.palette import paint
    from ganjax.errors import UserError

    translator, segmenter = map(Translator.load, (arguments.model, "segment_avatars"))
    real = avatars.render(np.arange(2 * arguments.num), SIZE, split="test")
    masks, images, others = *(real[x][: arguments.num] for x in ("mask", "image")), real["image"]
    colors = list(paint(masks))
    given = colors if translator.maps is None or translator.maps.colors else list(masks)
    drawn = [np.stack(translator(given, seed=seed)) for seed in range(SEEDS)]

    print(f"| | {' | '.join(('mean', *avatars.MASK_CLASSES))} |")
    print("| --- |" + " --- |" * (1 + len(avatars.MASK_CLASSES)))
    for name, portraits in (("drawn", drawn[0]), ("real", images)):
        shares = _iou(segmenter(list(portraits)), masks)
        print(f"| {name} | {' | '.join(f'{x:.3f}' for x in (shares.mean(), *shares))} |")
    one, two = (ganjax.measure(a, b, "lpips_vgg")["lpips_vgg"] for a, b in (
        (drawn[0], drawn[1]), (images, others[arguments.num :])
    ))  # fmt: skip
    print(f"LPIPS between seeds {one:.3f}, between real portraits {two:.3f}")
    metric = f"frechet{arguments.num}_avatars"
    for name, portraits in (("drawn", drawn[0]), ("real", images)):
        found = ganjax.measure(portraits, others[arguments.num :], metric)[metric]
        print(f"{metric} of {name} portraits: {found:.3f}")
    columns = [np.stack(colors), *drawn]
    try:
        again = np.stack(translator(given, resample={"hair": 7}))
    except UserError as error:
        print(error)
    else:
        changed = (again != drawn[0]).any(axis=-1)
        hair = masks == avatars.MASK_CLASSES.index("hair")
        print(
            f"other hair: {changed[hair].mean():.3f} of it, {changed[~hair].mean():.3f} of the rest"
        )
        columns.append(again)
    if arguments.sheet:
        columns.append(images)
        rows = np.stack([column[:SHOWN] for column in columns], axis=1)
        grid = outputs.make_grid(rows.reshape(-1, *rows.shape[2:]), columns=len(columns))
        outputs.write_image(arguments.sheet, grid, made=None)


def _iou(painted: list[np.ndarray], masks: np.ndarray) -> np.ndarray:
    """Of each class, over all pixels.

    Args:
      painted: what the segmenter found, uint8 [H, W, 3].
    """
    from ganjax.data.avatars import MASK_CLASSES
    from ganjax.data.avatars.palette import COLORS
    from ganjax.data.label_maps import LabelMaps
    from ganjax.metrics import segmentation

    maps = LabelMaps.of(MASK_CLASSES, [bytes(color).hex() for color in COLORS.tolist()])
    found = np.stack([maps.of_image(image) for image in painted])
    return segmentation.iou(segmentation.confusion(found, masks, len(MASK_CLASSES)))


if __name__ == "__main__":
    main()
