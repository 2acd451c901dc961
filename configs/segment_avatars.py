"""Segmentation of avatars, the embedded portraits: the class of each pixel; no download.

Network: the U-Net of pix2pix (Isola, Zhu, Zhou and Efros 2017, https://arxiv.org/abs/1611.07004)
with 6 levels and a quarter of the channels at 64x64, trained by cross-entropy.
Data: `avatars`, portraits with their masks of ten classes; 50,000 training portraits.
Quality: a mean IoU of 0.89 on the test portraits (docs/segmentation.md).

    python train.py --config=configs/segment_avatars.py
    ganjax evaluate --workdir runs/segment_avatars --reference avatars:test --metrics iou,dice
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.data.avatars.palette import HEX
from ganjax.tasks.segmentation import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.data.colors = HEX
    config.total_kimg = 60.0
    config.log_every = 0.4
    config.save_every = 4.0
    config.sample_every = 4.0
    return with_variants(config, arguments, {"smoke": SMOKE})
