"""Inpainting of avatars, the embedded portraits: fills boxes and strokes; no download.

Method: the networks and losses of pix2pix (Isola, Zhu, Zhou and Efros 2017,
https://arxiv.org/abs/1611.07004), on boxes as in Pathak et al. 2016 and free-form strokes as in Yu
et al. 2019; a U-Net with 6 levels and a quarter of the published channels, 1,830,819 parameters,
3.7 MB as float16.
Data: `avatars` at 64x64; 50,000 training portraits.
Cost: 21 minutes on two CPU cores (80 img/s). The result, `inpaint_portraits`, is in the package.
Expected: docs/inpainting.md.

    python train.py --config=configs/inpaint_avatars.py
    ganjax translate --workdir runs/inpaint_avatars --input a.png --mask hole.png --output out.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.inpainting import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "avatars"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.model.width = 16
    config.model.discriminator_width = 32
    config.optimizer.learning_rate = 4e-4  # twice the published one, for batches of 8
    config.total_kimg = 100.0
    config.log_every = 0.4
    config.save_every = 5.0
    config.sample_every = 5.0
    return with_variants(config, arguments, {"smoke": SMOKE})
