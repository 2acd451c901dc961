"""A small pix2pix: masks of the embedded portraits to portraits, in 4 MB.

Paper: Isola, Zhu, Zhou and Efros 2017, https://arxiv.org/abs/1611.07004; a U-Net with 6 levels and
a quarter of the published channels, 16 to 128 instead of 64 to 512: 1,829,267 parameters, 3.7 MB as
float16. The PatchGAN, which is not shipped, has half of the published channels.
Data: `paired:avatars` at 64x64, or at 128x128; 50,000 training pairs.
Cost: 15 minutes on two CPU cores (90 img/s).
Expected: docs/pix2pix.md.

    python train.py --config=configs/pix2pix_portraits.py
    ganjax train pix2pix_portraits:128               # 128x128, the same network
    ganjax export --workdir runs/pix2pix_portraits --output pix2pix_portraits.safetensors
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.pix2pix import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "paired:avatars"
    config.data.image_size = "64"
    config.data.load_size = "64"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.batch_size = 8
    config.model.width = 16
    config.model.discriminator_width = 32
    config.model.norm = "instance"  # the same in training and in use, whatever the batch
    config.total_kimg = 80.0
    config.ema_half_life_kimg = 2.0
    config.log_every = 0.4
    config.save_every = 4.0
    config.sample_every = 4.0
    large = {"data.image_size": "128", "data.load_size": "128", "model.downs": 6}
    return with_variants(config, arguments, {"128": large, "smoke": SMOKE})
