"""Progressive GAN on avatars, the embedded portraits, grown from 4x4 to 64x64 on a CPU.

Paper: Karras, Aila, Laine and Lehtinen 2018, https://arxiv.org/abs/1710.10196; 32 channels instead
of 512, and 390,000 images instead of millions.
Data: `avatars`, rendered by ganjax itself from (seed, index); 50,000 training images.
Cost: 2.5 hours on one CPU core, 92 minutes of them at 64x64. Expect the heads of
docs/progressive_avatars_64.png: hats, hair and glasses, with rough edges.

    python train.py --config=configs/progressive_avatars.py        # 64x64, 32 channels
    python train.py --config=configs/progressive_avatars.py:128    # 128x128 as published, for a GPU
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.progressive import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "avatars"
    config.data.image_size = "64"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.model.width = 32
    config.model.latent_size = 64
    config.growth.batch_sizes = (32, 32, 16, 16)
    config.growth.fade_kimg = (0.0, 30.0, 40.0, 50.0, 40.0)
    config.growth.stable_kimg = (20.0, 30.0, 40.0, 60.0)
    config.total_kimg = 390.0
    config.log_every = 0.5
    config.save_every = 10.0
    config.sample_every = 10.0
    config.evaluate_metrics = "swd512"  # 2048 images would take a CPU a minute each time
    config.ema_half_life_kimg = 2.0
    large = {
        "data.image_size": "128",
        "model.width": 512,
        "model.latent_size": 512,
        "growth.batch_sizes": (128, 128, 128, 64, 32, 16),
        "growth.fade_kimg": (300.0,),
        "growth.stable_kimg": (300.0,),
        "total_kimg": 4800.0,
        "log_every": 5.0,
        "save_every": 100.0,
        "sample_every": 50.0,
        "evaluate_metrics": "swd2048",
        "ema_half_life_kimg": 10.0,
    }
    return with_variants(config, arguments, {"128": large, "smoke": SMOKE})
