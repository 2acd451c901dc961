"""R3GAN on CIFAR-10 by classes, with the published networks, losses, schedules and augmentation.

Paper: Huang et al. 2024, https://arxiv.org/abs/2501.05441.
Data: CIFAR-10 through TFDS; prepare it once with `ganjax prepare tfds:cifar10`.
Cost: for accelerators; the published run took 4 days on 8 L40.
Expected: the published FID is 1.96. Not trained here.

    python train.py --config=configs/r3gan_cifar10.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, r3gan_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = r3gan_defaults()
    config.data.source = "tfds:cifar10"
    config.data.image_size = "32"
    config.data.labels = True
    config.model.classes = 10
    config.batch_size = 512
    config.total_kimg = 2 * 250_000.0
    config.penalties.r1_weight = config.penalties.r2_weight = 0.05
    config.cosine.ema_half_life_kimg = 2 * 5000.0
    config.cosine.augment_probability = 0.55
    config.save_every = config.sample_every = 1000.0
    return with_variants(config, arguments, {"smoke": SMOKE})
