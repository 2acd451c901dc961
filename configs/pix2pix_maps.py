"""pix2pix on maps: aerial photographs to maps, or back.

Paper: Isola, Zhu, Zhou and Efros 2017, https://arxiv.org/abs/1611.07004, section 6.2.
Data: the Google Maps pairs as pix2pix publishes them, 1,096 training images of 1200x600 with the
photograph on the left and the map on the right, in train/ and val/; a folder or a .zip of them.
Cost: 200 epochs are 219,200 steps of one pair, work for a GPU.

    python train.py --config=configs/pix2pix_maps.py --config.data.source=paired:maps.zip
    ganjax train pix2pix_maps --config.data.direction=BtoA --workdir=runs/maps_to_photos
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.pix2pix import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "paired:maps"
    config.total_kimg = 219.2  # 200 epochs
    return with_variants(config, arguments, {"smoke": SMOKE})
