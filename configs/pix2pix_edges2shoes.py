"""pix2pix on edges2shoes: drawings of edges to photographs of shoes.

Paper: Isola, Zhu, Zhou and Efros 2017, https://arxiv.org/abs/1611.07004, section 6.2.
Data: the pairs as pix2pix publishes them, 49,825 training images of 512x256 with the edges on the
left and the photograph on the right, in train/ and val/; a folder or a .zip of them.
Cost: 15 epochs of batches of four are 186,844 steps, work for a GPU.

    python train.py --config=configs/pix2pix_edges2shoes.py --config.data.source=paired:shoes.zip
    ganjax translate --workdir runs/pix2pix_edges2shoes --input drawings/ --output shoes/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.pix2pix import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "paired:edges2shoes"
    config.batch_size = 4
    config.total_kimg = 747.375  # 15 epochs
    return with_variants(config, arguments, {"smoke": SMOKE})
