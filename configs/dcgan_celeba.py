"""DCGAN on CelebA at 64x64.

Paper: Radford, Metz and Chintala 2016, https://arxiv.org/abs/1511.06434, in the form of
dcgan.torch (4x4 kernels, no bias).
Data: CelebA through TFDS; prepare it once with `ganjax prepare tfds:celeb_a`, or give
your own copy of the images: `--config.data.source=folder:img_align_celeba.zip`.
Cost: about 50 img/s on two CPU cores (float32). Faces that anyone would call faces appear after
100 kimg; 220 kimg on 10,000 images took 80 minutes there.

    python train.py --config=configs/dcgan_celeba.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.dcgan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:celeb_a"
    config.total_kimg = 5000.0  # about 25 epochs of 202,599 images
    return with_variants(config, arguments, {"smoke": SMOKE})
