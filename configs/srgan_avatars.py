"""SRGAN x4 on avatars, the embedded portraits, from 16x16 to 64x64: no download.

Paper: Ledig, Theis, Huszar et al. 2017, https://arxiv.org/abs/1609.04802; half of the channels, 4
of 16 residual blocks, and features of a network of random weights.
Data: `avatars`, 50,000 training portraits.

    python train.py --config=configs/srgan_avatars.py
    ganjax translate --workdir runs/srgan_avatars --input small.png --output big.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.super_resolution import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "avatars"
    config.data.image_size = "64"
    config.data.load_size = "64"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.batch_size = 8
    config.total_kimg = 40.0
    config.adversarial_kimg = 10.0
    config.model.width = 32
    config.model.depth = 4
    config.loss.encoders = ("random:relu2_1,relu3_1",)
    config.optimizer.learning_rate = 1e-3
    config.log_every = 0.4
    config.save_every = 4.0
    config.sample_every = 4.0
    return with_variants(config, arguments, {"smoke": SMOKE | {"adversarial_kimg": 0.024}})
