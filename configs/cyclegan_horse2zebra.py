"""CycleGAN on horses and zebras, photographs of ImageNet without pairs.

Paper: Zhu, Park, Isola and Efros 2017, https://arxiv.org/abs/1703.10593; ResNet-9 and PatchGAN 70
at 256x256, as published.
Data: TensorFlow Datasets' cycle_gan/horse2zebra (`ganjax prepare tfds:cycle_gan/horse2zebra`),
1,067 horses (A) and 1,334 zebras (B); or a folder or .zip of your own that holds trainA and trainB,
with `--config.data.source=unpaired:PATH`.
Cost: 200 epochs are 267,000 steps, work for a GPU.

    python train.py --config=configs/cyclegan_horse2zebra.py
    ganjax translate --workdir runs/cyclegan_horse2zebra --input horses/ --output zebras/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.cyclegan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:cycle_gan/horse2zebra"
    return with_variants(config, arguments, {"smoke": SMOKE})
