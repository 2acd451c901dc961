"""CUT on avatars, the embedded portraits: glasses on; no download.

Paper: Park, Efros, Zhang and Zhu 2020, https://arxiv.org/abs/2007.15651; four residual blocks and a
quarter of the channels at 64x64, four images of each side at a time, upsampling by nearest neighbor
instead of blurs, and a generator that adds what it draws to its input (Shen and Liu 2017,
https://arxiv.org/abs/1612.05363).
Data: portraits without glasses (A) and with glasses (B), no pairs: of 50,000, some 31,000 and
19,000.
Cost: 23 minutes on two CPU cores (14 img/s).
Expected: docs/unpaired.md.

    python train.py --config=configs/cut_avatars.py
    python train.py --config=configs/cut_avatars.py --config.data.direction=BtoA   # glasses off
    ganjax translate --workdir runs/cut_avatars --input portraits/ --output with_glasses/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.cut import FAST, SMOKE, defaults
from ganjax.tasks.translators import glasses


def get_config(arguments: str = "") -> ConfigDict:
    config = glasses(defaults())
    config.total_kimg = 20.0
    fast = FAST | {"total_kimg": config.total_kimg}
    return with_variants(config, arguments, {"smoke": SMOKE, "fast": fast})
