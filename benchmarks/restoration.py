"""Photographs enlarged four times: a model beside bicubic scaling and `sr_x4`.

    python -m benchmarks.restoration --model runs/realesr_photos --photos photos/ --sheet sheet.png

Photographs are cut to their middle 256x256 pixels and made worse by Real-ESRGAN's recipe, the same
for all, or with `--degradation bicubic` scaled down alone. Measured against what they were: PSNR
and LPIPS on AlexNet and on VGG-16; the mean over `--count` of them. The model shouldn't know the
photographs.
"""

import argparse

import numpy as np

from ganjax.commands.terminal import start_jax

SIDE, SCALE, SHOWN = 256, 4, 6
METRICS = "psnr,lpips_alex,lpips_vgg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a run, a file or the name of a model")
    parser.add_argument("--photos", required=True, help="a folder or .zip, 256 pixels or larger")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--degradation", choices=("photos", "bicubic"), default="photos")
    parser.add_argument("--seed", type=int, default=0, help="of how photographs are made worse")
    parser.add_argument("--sheet", help="image file: bicubic, sr_x4, the model, the photograph")
    arguments = parser.parse_args()
    start_jax()
    import jax

    import ganjax
    from ganjax import Translator, outputs
    from ganjax.data.source import open_source
    from ganjax.degradation import degrade
    from ganjax.images import to_float, to_uint8
    from ganjax.images.bicubic import bicubic, shrink

    source = open_source(arguments.photos)
    chosen = np.linspace(0, len(source) - 1, arguments.count).astype(int).tolist()
    photos = source.load(chosen, (SIDE, SIDE), 3)[0]["image"]
    worsen = jax.jit(lambda key, photo: to_uint8(degrade(key, to_float(photo), SCALE)))
    keys = jax.random.split(jax.random.key(arguments.seed), len(photos))
    bad = (
        shrink(photos, SCALE)
        if arguments.degradation == "bicubic"
        else np.concatenate(
            [worsen(key, photo[None]) for key, photo in zip(keys, photos, strict=True)]
        )
    )
    images = {
        "bicubic": np.asarray(to_uint8(bicubic(to_float(bad), (SIDE, SIDE)))),
        "sr_x4": np.stack(Translator.load("sr_x4")(list(bad))),
        "model": np.stack(Translator.load(arguments.model)(list(bad))),
    }
    print("| | PSNR | LPIPS, AlexNet | LPIPS, VGG-16 |\n| --- | --- | --- | --- |")
    for name, made in images.items():
        found = ganjax.measure(made, photos, METRICS)
        values = " | ".join(f"{found[metric]:.3f}" for metric in METRICS.split(","))
        print(f"| {name} | {values} |", flush=True)
    if arguments.sheet:
        columns = np.stack([made[:SHOWN] for made in (*images.values(), photos)], axis=1)
        grid = outputs.make_grid(columns.reshape(-1, *columns.shape[2:]), columns=4)
        outputs.write_image(arguments.sheet, grid, made=None)


if __name__ == "__main__":
    main()
