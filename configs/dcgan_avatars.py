"""DCGAN on avatars, the embedded portraits: 32x32 in minutes on a CPU, with nothing to download.

Paper: Radford, Metz and Chintala 2016, https://arxiv.org/abs/1511.06434, in the form of
dcgan.torch (4x4 kernels, no bias).
Data: `avatars`, rendered by ganjax itself from (seed, index); 50,000 training images.
Cost: 32x32 in 4 minutes on two CPU cores (about 310 img/s, float32), with faces, hair, glasses and
hats that are easy to tell, and backgrounds without their patterns yet. 64x64 at about 50 img/s.

    python train.py --config=configs/dcgan_avatars.py        # 32x32
    python train.py --config=configs/dcgan_avatars.py:64     # 64x64, a larger network
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.dcgan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "avatars"
    config.data.image_size = "32"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.total_kimg = 65.0
    config.log_every = 0.5
    config.save_every = 5.0
    config.sample_every = 5.0
    config.ema_half_life_kimg = 2.0
    large = {
        "data.image_size": "64",
        "total_kimg": 400.0,
        "save_every": 20.0,
        "sample_every": 20.0,
        "ema_half_life_kimg": 10.0,
    }
    return with_variants(config, arguments, {"64": large, "smoke": SMOKE})
