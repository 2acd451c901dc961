"""DF-GAN on avatars at 64x64, portraits from sentences about them: no download.

Paper: Tao et al. 2022, https://arxiv.org/abs/2008.05865; with a quarter of the channels (0.55 M
parameters in G) and a text encoder of its own, which learns in the first phase of the run.
Data: `avatars`, 50,000 training portraits that describe themselves in four captions each.
Cost: 50 minutes on two CPU cores (110 img/s). The result is in the package, `portraits_text`.
Expected: docs/text.md.

    python train.py --config=configs/text_avatars.py
    ganjax sample --workdir runs/text_avatars --text "a smiling woman with red hair" --num 16
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.text import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "avatars"
    config.batch_size = 16
    config.total_kimg = 320.0
    config.encoder_kimg = 60.0
    config.ema_half_life_kimg = 5.0
    config.model.width = 8
    config.model.words = 256  # captions have 174
    config.model.sentence_size = 128
    config.model.word_size = 64
    config.optimizer.learning_rate = 4e-4  # four times the published one, and twice
    config.optimizer.discriminator_learning_rate = 8e-4
    config.optimizer.decay_from = 0.5
    config.log_every = 0.64
    config.save_every = config.sample_every = 10.0
    return with_variants(config, arguments, {"smoke": SMOKE})
