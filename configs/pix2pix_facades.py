"""pix2pix on facades: label maps of buildings to photographs.

Paper: Isola, Zhu, Zhou and Efros 2017, https://arxiv.org/abs/1611.07004.
Data: the CMP facades as pix2pix publishes them, 400 training images of 512x256 with the photograph
on the left and the labels on the right, in train/, val/ and test/; a folder or a .zip of them.
Cost: 200 epochs are 80,000 steps of one pair, work for a GPU; `:small` 19 minutes on two CPU cores.
Expected: docs/pix2pix.md.

    python train.py --config=configs/pix2pix_facades.py --config.data.source=paired:facades.zip
    ganjax translate --workdir runs/pix2pix_facades --input labels/ --output photos/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.pix2pix import SMOKE, defaults

# For a CPU: 128x128, half of the channels, batches of 4 and twice the published rate.
SMALL = {
    "data.image_size": "128",
    "data.load_size": "143",
    "model.width": 32,
    "model.norm": "instance",  # batches of 4 would be normalized together, but not single images
    "batch_size": 4,
    "optimizer.learning_rate": 4e-4,
    "total_kimg": 16.0,
    "log_every": 0.4,
    "save_every": 2.0,
    "sample_every": 4.0,
}


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "paired:facades"
    config.data.direction = "BtoA"
    return with_variants(config, arguments, {"small": SMALL, "smoke": SMOKE})
