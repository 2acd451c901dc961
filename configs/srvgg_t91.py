"""Super-resolution x4 by SRVGG, small and fast, on the 91 images of Yang et al.; also :x3 and :x2.

`:perceptual` goes on from `sr_x4` against a discriminator, for textures instead of the least error.

Network: SRVGGNetCompact (Wang, Xie, Dong and Shan 2021, https://arxiv.org/abs/2107.10833, the fast
models of its code): 621,424 parameters at x4.
Data: crops of 128 pixels of T91 (Yang et al. 2010) or of any other sharp images.
Training: absolute difference of the pixels; not published for this network, chosen for few images.
Perceptual: plus a tenth of the features' difference and a fiftieth of the game, against a U-Net of
16 channels; needs `ganjax weights fetch vgg16_features`.
Quality: docs/super_resolution.md.

    ganjax prepare T91/ --crops 128 --output t91/
    python train.py --config=configs/srvgg_t91.py
    ganjax translate --workdir runs/srvgg_t91 --input photo.jpg --output big.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.super_resolution import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "folder:t91"
    config.batch_size = 4
    config.total_kimg = 40.0
    config.ema_half_life_kimg = 1.0
    config.model.form = "srvgg"
    config.loss.pixels = "l1"
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1.5e-3
    config.optimizer.decay_from = 0.0
    config.log_every = 0.4
    config.save_every = 2.0
    config.sample_every = 10.0
    scales = {"x2": {"model.scale": 2}, "x3": {"model.scale": 3}}
    perceptual = {
        "init_from": "sr_x4",
        "batch_size": 8,
        "total_kimg": 10.0,
        "adversarial_kimg": 10.0,
        "ema_half_life_kimg": 0.3,
        "model.discriminator": "unet",
        "model.discriminator_width": 16,
        "loss.pixels_weight": 1.0,
        "loss.encoders": ("vgg16_features:relu2_2,relu3_3,relu4_3",),
        "loss.features": "l1",
        "loss.features_weight": 0.1,
        "loss.adversarial_weight": 0.02,
        "adversarial_optimizer.learning_rate": 2e-4,
        "log_every": 0.2,
        "save_every": 1.0,
        "sample_every": 2.0,
    }
    variants = {**scales, "perceptual": perceptual, "smoke": SMOKE}
    return with_variants(config, arguments, variants)
