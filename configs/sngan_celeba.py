"""SNGAN on CelebA at 64x64, with the published ResNets.

Paper: Miyato et al. 2018, https://arxiv.org/abs/1802.05957; the ResNets of 64x64 are those of its
table 5 and of mimicry's PyTorch code.
Data: CelebA through TFDS; prepare it once with `ganjax prepare tfds:celeb_a`, or give
your own copy of the images: `--config.data.source=folder:img_align_celeba.zip`.
Cost: for accelerators; 12 M and 10 M parameters, 100,000 generator steps.
Expected: FID of 50,000 samples 5.71, as mimicry reports. Not trained here.

    python train.py --config=configs/sngan_celeba.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:celeb_a"
    config.data.image_size = "64"
    config.total_kimg = 32_000.0
    config.ema_half_life_kimg = 50.0  # not published
    config.save_every = config.sample_every = 320.0
    return with_variants(config, arguments, {"smoke": SMOKE})
