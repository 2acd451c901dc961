"""A class-conditional SNGAN on CIFAR-10, with the published networks, loss and schedule.

Papers: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, and Miyato and Koyama 2018,
https://arxiv.org/abs/1802.05637. `:unconditional` leaves the classes out.
Data: CIFAR-10 through TFDS; prepare it once with `ganjax prepare tfds:cifar10`.
Cost: for accelerators; 50,000 generator steps.
Expected: FID of 50,000 samples 10.8 with classes and 16.8 without, as mimicry's PyTorch code
reports after 100,000 generator steps. Not trained here.

    python train.py --config=configs/sngan_cifar10.py
    ganjax sample --workdir runs/sngan_cifar10 --label horse --num 16
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:cifar10"
    config.data.labels = True
    config.model.classes = 10
    config.ema_half_life_kimg = 50.0  # not published
    config.save_every = config.sample_every = 320.0
    plain = {"data.labels": False, "model.classes": 0}
    return with_variants(config, arguments, {"unconditional": plain, "smoke": SMOKE})
