"""OASIS on avatars, the embedded portraits: paint a mask, get a portrait; no download.

Paper: Sushko, Schönfeld, Zhang et al. 2021, https://arxiv.org/abs/2012.04781; an eighth of the
channels at 64x64, 16 channels of noise instead of 64, 8 features of the label map in SPADE instead
of 128, no LabelMix, and pay for seeds that differ. The generator has 971,067 parameters, 1.9 MB as
float16.
Data: `avatars`, portraits with their masks of ten classes; 50,000 training portraits.
Cost: 21 img/s on two CPU threads, two hours.

    python train.py --config=configs/oasis_avatars.py
    ganjax translate --workdir runs/oasis_avatars --input masks/ --output portraits/ --seed 1
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.data.avatars import MASK_CLASSES
from ganjax.data.avatars.palette import HEX
from ganjax.tasks.spade import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "avatars"
    config.data.classes = MASK_CLASSES
    config.data.colors = HEX
    config.data.image_size = "64"
    config.data.load_size = "64"
    config.data.flip = False  # the renderer mirrors by itself what may be mirrored
    config.batch_size = 8
    config.model.width = 8
    config.model.hidden = 8
    config.model.noise_size = 16
    config.loss.mix_weight = 0.0
    config.loss.diversity_weight = 4.0
    config.total_kimg = 150.0
    config.ema_half_life_kimg = 3.0
    config.optimizer.learning_rate = 4e-4
    config.optimizer.discriminator_learning_rate = 2e-4  # at 4e-4 forms stay vague
    config.log_every = 0.4
    config.save_every = 5.0
    config.sample_every = 5.0
    return with_variants(config, arguments, {"smoke": SMOKE})
