"""SPADE (GauGAN) on ADE20K: scenes of label maps, at 256x256; or OASIS.

Paper: Park, Liu, Wang and Zhu 2019, https://arxiv.org/abs/1903.07291; OASIS: Sushko, Schönfeld,
Zhang et al. 2021, https://arxiv.org/abs/2012.04781. Not as published: SPADE's features are those of
VGG-16 instead of VGG-19, each channel divided by its mean, for pip can get these weights:
`ganjax weights fetch vgg16_features`.
Data: the 20,210 training images of the scene parsing benchmark (Zhou et al. 2017) with their label
maps, numbers 1 to 150, and 0 for the rest; a folder or .zip with train/image and train/label.
Cost: 200 epochs are 126,313 steps, work for several GPUs.
Published results: a Frechet distance of 33.9 and a mean IoU of 38.5 (SPADE), 28.3 and 48.8 (OASIS).

    python train.py --config=configs/spade_ade20k.py --config.data.source=paired:ade20k
    ganjax train spade_ade20k:oasis --config.data.source=paired:ade20k
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.spade import OASIS, SMOKE, spade_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = spade_defaults()
    config.data.source = "paired:ade20k"
    config.data.classes = tuple(map(str, range(151)))
    config.data.ignored = ("0",)
    config.total_kimg = 4042.0  # 200 epochs
    return with_variants(config, arguments, {"oasis": OASIS, "smoke": SMOKE})
