"""Progressive GAN on LSUN bedrooms, grown to 256x256.

Paper: Karras, Aila, Laine and Lehtinen 2018, https://arxiv.org/abs/1710.10196; 600,000 images to
fade each resolution in and 600,000 after that, 12 million in all.
Data: LSUN's original LMDB (bedroom_train_lmdb, 3,033,042 images), unpacked; give its folder as the
source. Decoded at all resolutions they take 740 GiB in the cache folder;
`--config.data.limit=300000` uses a tenth of both time and space.
Cost: for a GPU or TPU; not measured.

    python train.py --config=configs/progressive_lsun_bedroom.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.progressive import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "lsun:bedroom_train_lmdb"
    config.data.image_size = "256"
    return with_variants(config, arguments, {"smoke": SMOKE})
