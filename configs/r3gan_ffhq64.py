"""R3GAN on faces at 64x64, with the published networks, losses, schedules and augmentation.

Paper: Huang et al. 2024, https://arxiv.org/abs/2501.05441.
Data: FFHQ's 70,000 faces at 64x64, or any folder of images.
Cost: for accelerators; 22 M parameters in each network.
Expected: the published FID is 1.95. Not trained here.

    python train.py --config=configs/r3gan_ffhq64.py --config.data.source=folder:ffhq64.zip
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, r3gan_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = r3gan_defaults()
    config.save_every = config.sample_every = 500.0
    return with_variants(config, arguments, {"smoke": SMOKE})
