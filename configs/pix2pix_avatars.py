"""pix2pix on avatars, the embedded portraits: paint a mask, get a portrait; no download.

Paper: Isola, Zhu, Zhou and Efros 2017, https://arxiv.org/abs/1611.07004; a U-Net with 6 levels and
half of the channels at 64x64, four pairs at a time.
Data: `paired:avatars`, masks of ten classes in the colors of ganjax/data/avatars/palette.py with
the portraits that they belong to; 50,000 training pairs.

    python train.py --config=configs/pix2pix_avatars.py
    ganjax translate --workdir runs/pix2pix_avatars --input masks/ --output portraits/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.pix2pix import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "paired:avatars"
    config.data.direction = "AtoB"
    config.data.image_size = "64"
    config.data.load_size = "64"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.batch_size = 4
    config.model.width = 32
    config.total_kimg = 40.0
    config.log_every = 0.2
    config.save_every = 2.0
    config.sample_every = 2.0
    return with_variants(config, arguments, {"smoke": SMOKE})
