"""DCGAN on Fashion-MNIST at its own 28x28, gray: the seed is 7x7, doubled twice.

Paper: Radford, Metz and Chintala 2016, https://arxiv.org/abs/1511.06434, in the form of
dcgan.torch (4x4 kernels, no bias).
Data: Fashion-MNIST through TFDS, 60,000 training images; prepare it once with
`ganjax prepare tfds:fashion_mnist`.

    python train.py --config=configs/dcgan_fashion_mnist.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.dcgan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:fashion_mnist"
    config.data.image_size = "28"
    config.data.channels = 1
    config.data.flip = False  # shoes point one way
    config.total_kimg = 1500.0  # 25 epochs
    return with_variants(config, arguments, {"smoke": SMOKE})
