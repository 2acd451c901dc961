"""Progressive GAN on CelebA, grown to 128x128 as published, or to 64x64 on a CPU.

Paper: Karras, Aila, Laine and Lehtinen 2018, https://arxiv.org/abs/1710.10196; 600,000 images to
fade each resolution in and 600,000 after that, 12 million in all.
Data: CelebA through TFDS; prepare it once with `ganjax prepare tfds:celeb_a`, or give
your own copy of the images: `--config.data.source=folder:img_align_celeba.zip`.
Cost: for a GPU or TPU; not measured. The smaller one has 32 channels instead of 512 and takes a CPU
hours: docs/progressive.md.

    python train.py --config=configs/progressive_celeba.py         # 128x128 as published
    python train.py --config=configs/progressive_celeba.py:64      # 64x64, 32 channels
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.progressive import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:celeb_a"
    config.data.image_size = "128"
    small = {
        "data.image_size": "64",
        "model.width": 32,
        "model.latent_size": 64,
        "growth.batch_sizes": (32, 32, 16, 16),
        "growth.fade_kimg": (0.0, 30.0, 30.0, 40.0, 40.0),
        "growth.stable_kimg": (20.0, 30.0, 30.0, 40.0),
        "total_kimg": 300.0,
        "log_every": 0.5,
        "save_every": 10.0,
        "sample_every": 10.0,
        "ema_half_life_kimg": 2.0,
    }
    return with_variants(config, arguments, {"64": small, "smoke": SMOKE})
