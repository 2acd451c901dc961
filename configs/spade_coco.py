"""SPADE (GauGAN) on COCO-Stuff: scenes of label maps, at 256x256; or OASIS.

Paper: Park, Liu, Wang and Zhu 2019, https://arxiv.org/abs/1903.07291; OASIS: Sushko, Schönfeld,
Zhang et al. 2021, https://arxiv.org/abs/2012.04781. Not as published: SPADE's features are those of
VGG-16 instead of VGG-19, each channel divided by its mean, for pip can get these weights
(`ganjax weights fetch vgg16_features`).
Data: the 118,287 training images of COCO-Stuff (Caesar et al. 2018) with their pixel maps, numbers
0 to 181, and 255 for the rest, and maps of their instances; a folder or .zip with train/image,
train/label and train/instance. Where there are no instances: --config.data.instances="".
Cost: 100 epochs are 369,647 steps, work for several GPUs.
Published results: a Frechet distance of 22.6 and a mean IoU of 37.4 (SPADE), 17.0 and 44.1 (OASIS).

    python train.py --config=configs/spade_coco.py --config.data.source=paired:coco
    ganjax train spade_coco:oasis --config.data.source=paired:coco
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.spade import OASIS, SMOKE, spade_defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = spade_defaults()
    config.data.source = "paired:coco"
    config.data.classes = tuple(map(str, range(182)))
    config.data.instances = "instance"
    config.total_kimg = 11828.7  # 100 epochs
    config.optimizer.decay_from = 1.0
    return with_variants(config, arguments, {"oasis": OASIS, "smoke": SMOKE})
