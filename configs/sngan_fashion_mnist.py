"""A label-conditional SNGAN on Fashion-MNIST: ask for a Sandal, get a sandal.

Papers: Miyato et al. 2018, https://arxiv.org/abs/1802.05957 (spectral normalization), and Miyato
and Koyama 2018, https://arxiv.org/abs/1802.05637 (projection discriminator); the ResNets for 32x32
with a quarter of the channels.
Data: Fashion-MNIST through TFDS, 60,000 training images of ten classes, scaled to 32x32; prepare it
once with `ganjax prepare tfds:fashion_mnist`.

    python train.py --config=configs/sngan_fashion_mnist.py
    ganjax sample --workdir runs/sngan_fashion_mnist --label Sandal --num 16
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:fashion_mnist"
    config.data.channels = 1
    config.data.flip = False  # shoes point one way
    config.data.labels = True
    config.model.classes = 10
    config.model.width = 64
    config.total_kimg = 2000.0
    config.ema_half_life_kimg = 10.0
    config.save_every = 20.0
    config.sample_every = 20.0
    return with_variants(config, arguments, {"smoke": SMOKE})
