"""SPADE (GauGAN) on Cityscapes: street scenes of label maps, at 256x512; or OASIS.

Paper: Park, Liu, Wang and Zhu 2019, https://arxiv.org/abs/1903.07291, batches of 32 instead of 16;
OASIS: Sushko, Schönfeld, Zhang et al. 2021, https://arxiv.org/abs/2012.04781. Not as published:
SPADE's features are those of VGG-16 instead of VGG-19, each channel divided by its mean, for pip
can get these weights (`ganjax weights fetch vgg16_features`).
Data: the 2,975 fine training images of Cityscapes (Cordts et al. 2016) with their labelIds, numbers
0 to 33, and instanceIds; a folder or .zip with train/image, train/label and train/instance,
likewise val. Where there are no instances: --config.data.instances="".
Cost: 200 epochs are 18,594 steps, work for several GPUs.
Published results: a Frechet distance of 71.8 and a mean IoU of 62.3 (SPADE), 47.7 and 69.3 (OASIS).

    python train.py --config=configs/spade_cityscapes.py --config.data.source=paired:cityscapes
    ganjax train spade_cityscapes:oasis --config.data.source=paired:cityscapes
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.spade import OASIS, SMOKE, spade_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = spade_defaults()
    config.data.source = "paired:cityscapes"
    config.data.classes = tuple(map(str, range(34)))
    config.data.instances = "instance"
    config.data.ignored = ("0",)  # not labeled
    config.data.image_size = "256x512"
    config.data.load_size = "256x512"
    config.total_kimg = 595.0  # 200 epochs
    oasis = OASIS | {"batch_size": 20, "ema_half_life_kimg": 139.0}
    return with_variants(config, arguments, {"oasis": oasis, "smoke": SMOKE})
