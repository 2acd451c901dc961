"""Progressive GAN on CelebA-HQ, grown to 1024x1024 as published.

Paper: Karras, Aila, Laine and Lehtinen 2018, https://arxiv.org/abs/1710.10196; 600,000 images to
fade each resolution in and 600,000 after that, 12 million in all.
Data: the 30,000 images of CelebA-HQ as a folder or a .zip of files:
`--config.data.source=folder:celeba_hq_1024.zip`. Decoded once into the cache folder and
halved there for each smaller resolution, 120 GiB in all.
Cost: for a GPU or TPU; not measured.

    python train.py --config=configs/progressive_celeba_hq.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.progressive import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "folder:celeba_hq"
    config.model.dtype = "bfloat16"
    config.model.remat = True
    return with_variants(config, arguments, {"smoke": SMOKE})
