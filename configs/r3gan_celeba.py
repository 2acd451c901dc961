"""A narrow R3GAN on CelebA at 64x64.

Paper: Huang et al. 2024, https://arxiv.org/abs/2501.05441; a quarter of the published channels,
192, and the settings of FFHQ at 64x64 without its augmentation, since CelebA has enough faces.
Data: CelebA through TFDS; prepare it once with `ganjax prepare tfds:celeb_a`, or give
your own copy of the images: `--config.data.source=folder:img_align_celeba.zip`.
Cost: for accelerators.
Expected: no published figure. Not trained here.

    python train.py --config=configs/r3gan_celeba.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, r3gan_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = r3gan_defaults()
    config.data.source = "tfds:celeb_a"
    config.model.width = 192
    config.total_kimg = 2 * 10_000.0
    config.cosine.kimg = 2 * 10_000.0
    config.cosine.augment_probability = 0.0
    config.save_every = config.sample_every = 500.0
    return with_variants(config, arguments, {"smoke": SMOKE})
