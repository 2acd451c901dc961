"""A classifier of Fashion-MNIST's ten classes, which ships in the package.

It tells whether a conditional model draws what it was asked for (`accuracy5k_fashion_mnist`), and
how many of the 1,000 modes of stacked images a model reaches (`modes26k_stacked`).
Data: Fashion-MNIST through TFDS, 60,000 training images scaled to 32x32, shifted, blurred and with
noise a little; prepare it once with `ganjax prepare tfds:fashion_mnist`.
The weights that ship, and how often they are right: ganjax/weights/bundled/README.md.

    python train.py --config=configs/classify_fashion_mnist.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.attributes import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:fashion_mnist"
    config.data.channels = 1
    config.model.classes = 10
    config.disturbance = 0.1
    config.total_kimg = 200.0
    config.ema_half_life_kimg = 10.0
    avatars = {"data.source": "avatars", "data.channels": 3}
    smoke = SMOKE | avatars | {"model.classes": 0}
    return with_variants(config, arguments, {"smoke": smoke})
