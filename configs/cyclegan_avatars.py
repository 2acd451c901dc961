"""CycleGAN on avatars, the embedded portraits: glasses on and off; no download.

Paper: Zhu, Park, Isola and Efros 2017, https://arxiv.org/abs/1703.10593; four residual blocks and a
quarter of the channels at 64x64, four images of each side at a time, and generators that add what
they draw to their input (Shen and Liu 2017, https://arxiv.org/abs/1612.05363).
Data: portraits without glasses (A) and with glasses (B), no pairs: of 50,000, some 31,000 and
19,000.
Cost: 23 minutes on two CPU cores (12 img/s).
Expected: docs/unpaired.md.

    python train.py --config=configs/cyclegan_avatars.py
    ganjax translate --workdir runs/cyclegan_avatars --input portraits/ --output with_glasses/
    ganjax translate --workdir runs/cyclegan_avatars --direction BtoA --input faces/ --output bare/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.cyclegan import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "unpaired:avatars"
    config.data.image_size = "64"
    config.data.load_size = "64"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.batch_size = 4
    config.model.width = 16  # not published, as all that follows
    config.model.blocks = 4
    config.model.resampling = "resize"
    config.model.residual = True  # without it other attributes stay in 80 %, not 95
    config.model.layers = 2
    config.optimizer.learning_rate = 4e-4  # twice the published one, for batches of 4
    config.total_kimg = 16.0
    config.ema_half_life_kimg = 1.0
    config.log_every = 0.2
    config.save_every = 2.0
    config.sample_every = 2.0
    return with_variants(config, arguments, {"smoke": SMOKE})
