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
from ganjax.tasks.translators import glasses


def get_config(arguments: str = "") -> ConfigDict:
    config = glasses(defaults())
    config.total_kimg = 16.0
    return with_variants(config, arguments, {"smoke": SMOKE})
