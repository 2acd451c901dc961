"""DCGAN on stacked Fashion-MNIST: three gray pictures as red, green and blue, 1,000 modes.

Paper: Metz et al. 2017, https://arxiv.org/abs/1611.02163, on digits; packing is of Lin et al. 2018,
https://arxiv.org/abs/1712.04086.
Data: 128,000 triples of Fashion-MNIST; prepare it once with `ganjax prepare tfds:fashion_mnist`.
Cost and expected result: not measured. On digits, DCGAN is published with 99 of 1,000 modes, and
with two images in a pack (`:packed`) all of them.

    python train.py --config=configs/stacked_fashion_mnist.py
    python train.py --config=configs/stacked_fashion_mnist.py:packed
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.dcgan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "stacked:tfds:fashion_mnist"
    config.data.image_size = "32"
    config.data.flip = False  # shoes point one way
    config.total_kimg = 3200.0  # 25 epochs
    return with_variants(config, arguments, {"packed": {"model.pack": 2}, "smoke": SMOKE})
