"""SPADE (GauGAN) on CamVid: street scenes of label maps, at 96x128.

Paper: Park, Liu, Wang and Zhu 2019, https://arxiv.org/abs/1903.07291; half of the channels and
batches of 8 at 96x128. Not as published: features are those of VGG-16 instead of VGG-19, each
channel divided by its mean, for pip can get these weights: `ganjax weights fetch vgg16_features`.
Data: CamVid (Brostow et al. 2009) with the 11 classes of SegNet and "void" for the rest, as gray
numbers; a folder or .zip with train/image and train/label, likewise val and test (docs/spade.md).
Cost: work for a GPU.

    python train.py --config=configs/spade_camvid.py --config.data.source=paired:camvid
    ganjax translate --workdir runs/spade_camvid --input labels/ --output photos/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.spade import SMOKE, camvid, spade_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = camvid(spade_defaults())
    config.model.width = 32
    return with_variants(config, arguments, {"smoke": SMOKE})
