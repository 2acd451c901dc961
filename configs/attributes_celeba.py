"""Faces by their attributes: SNGAN on CelebA's 40 attributes at 64x64.

Papers: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, and Miyato and Koyama 2018,
https://arxiv.org/abs/1802.05637 (conditions), with attributes in place of classes; half of the
channels.
Data: CelebA through TFDS, whose labels are the attributes; prepare it once with
`ganjax prepare tfds:celeb_a`.
Cost: for accelerators.
Expected: no published figure. Not trained here.

    python train.py --config=configs/attributes_celeba.py
    ganjax sample --workdir runs/attributes_celeba --attributes Smiling=yes,Eyeglasses=yes
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:celeb_a"
    config.data.image_size = "64"
    config.data.labels = True
    config.model.attributes = (2,) * 40
    config.model.width = 32
    config.total_kimg = 16_000.0
    config.ema_half_life_kimg = 50.0
    config.save_every = config.sample_every = 320.0
    return with_variants(config, arguments, {"smoke": SMOKE})
