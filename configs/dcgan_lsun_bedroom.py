"""DCGAN on LSUN bedrooms at 64x64, as in the paper's main experiment.

Paper: Radford, Metz and Chintala 2016, https://arxiv.org/abs/1511.06434, in the form of
dcgan.torch (4x4 kernels, no bias); the paper's own 5x5 form is one field away:
`--config.model.form=5x5`.
Data: LSUN's original LMDB (bedroom_train_lmdb, 3,033,042 images, about 43 GB), unpacked; give its
folder as the source. The decoded 64x64 images take another 37 GB in the cache folder;
`--config.data.limit=300000` uses a tenth of both time and space.

    python train.py --config=configs/dcgan_lsun_bedroom.py \\
        --config.data.source=lsun:/data/bedroom_train_lmdb
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.dcgan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "lsun:bedroom_train_lmdb"
    config.batch_size = 128
    config.total_kimg = 15000.0  # 5 epochs
    config.log_every = 5.0
    config.save_every = 100.0
    config.sample_every = 100.0
    return with_variants(config, arguments, {"smoke": SMOKE})
