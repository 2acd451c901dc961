"""A narrow R3GAN on avatars, the embedded portraits, at 32x32.

Paper: Huang et al. 2024, https://arxiv.org/abs/2501.05441.
The networks have 96 channels, an eighth of the published ones: 0.5 M parameters each.
Data: `avatars`, rendered by ganjax itself from (seed, index); 50,000 training images.
Cost and expected result: not measured.

    python train.py --config=configs/r3gan_avatars.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, r3gan_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = r3gan_defaults()
    config.data.source = "avatars"
    config.data.image_size = "32"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.model.width = 96
    config.model.dtype = "float32"
    config.batch_size = 32
    config.total_kimg = 200.0
    config.penalties.r1_weight = config.penalties.r2_weight = 0.5  # as published for ImageNet-32
    config.cosine.kimg = 200.0
    config.cosine.ema_half_life_kimg = 10.0
    config.cosine.augment_probability = 0.0  # 50,000 portraits are enough
    config.save_every = config.sample_every = 10.0
    return with_variants(config, arguments, {"smoke": SMOKE})
