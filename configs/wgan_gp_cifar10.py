"""WGAN-GP on CIFAR-10, with the published ResNets, penalty and schedule.

Paper: Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028. `:classes` learns the classes with
a classifier in the critic, as AC-GAN (Odena et al. 2017, https://arxiv.org/abs/1610.09585).
Data: CIFAR-10 through TFDS; prepare it once with `ganjax prepare tfds:cifar10`.
Cost: for accelerators; 100,000 generator steps.
Expected: Inception Score 7.86 without classes and 8.42 with them, as published; FID of 50,000
samples 22.3 without, as mimicry's PyTorch code reports. Not trained here.

    python train.py --config=configs/wgan_gp_cifar10.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.gan import SMOKE, defaults

CLASSES = {"data.labels": True, "model.classes": 10, "model.head": "classifier"}


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:cifar10"
    config.model.form = "wgan_gp"
    config.model.width = 128
    config.loss = "wasserstein"
    config.penalties.gradient_weight = 10.0
    config.total_kimg = 32_000.0
    config.save_every = config.sample_every = 320.0
    return with_variants(config, arguments, {"classes": CLASSES, "smoke": SMOKE})
