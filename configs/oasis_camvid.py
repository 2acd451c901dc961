"""OASIS on CamVid: street scenes of label maps, at 96x128.

Paper: Sushko, Schönfeld, Zhang et al. 2021, https://arxiv.org/abs/2012.04781; half of the channels
and batches of 8 at 96x128, where images halve five times.
Data: CamVid (Brostow et al. 2009) with the 11 classes of SegNet and "void" for the rest, as gray
numbers; a folder or .zip with train/image and train/label, likewise val and test (docs/spade.md).
Cost: work for a GPU.

    python train.py --config=configs/oasis_camvid.py --config.data.source=paired:camvid
    ganjax translate --workdir runs/oasis_camvid --input labels/ --output photos/ --seed 1
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.spade import SMOKE, camvid, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = camvid(defaults())
    config.model.width = 32
    config.ema_half_life_kimg = 20.0
    return with_variants(config, arguments, {"smoke": SMOKE})
