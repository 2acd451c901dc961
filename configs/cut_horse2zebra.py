"""CUT on horses and zebras, photographs of ImageNet without pairs; `:fast` is FastCUT.

Paper: Park, Efros, Zhang and Zhu 2020, https://arxiv.org/abs/2007.15651; antialiased ResNet-9 and
PatchGAN 70 at 256x256, as published.
Data: TensorFlow Datasets' cycle_gan/horse2zebra (`ganjax prepare tfds:cycle_gan/horse2zebra`),
1,067 horses (A) and 1,334 zebras (B); or a folder or .zip of your own that holds trainA and trainB,
with `--config.data.source=unpaired:PATH`.
Cost: 400 epochs are 534,000 steps, of FastCUT half as many, each half of CycleGAN's; work for a
GPU.

    python train.py --config=configs/cut_horse2zebra.py
    python train.py --config=configs/cut_horse2zebra.py:fast --workdir=runs/fastcut_horse2zebra
    ganjax translate --workdir runs/cut_horse2zebra --input horses/ --output zebras/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.cut import FAST, SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:cycle_gan/horse2zebra"
    fast = FAST | {"total_kimg": config.total_kimg / 2}
    return with_variants(config, arguments, {"smoke": SMOKE, "fast": fast})
