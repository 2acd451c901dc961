"""AdaIN as published: a decoder for relu4_1 of a frozen VGG-19.

Paper: Huang and Belongie 2017, https://arxiv.org/abs/1703.06868, with losses as means over
channels and pixels and a style weight of 10, as in pytorch-AdaIN; 160,000 steps of batch 8.
Data: contents are COCO through TFDS; prepare it once with `ganjax prepare
tfds:coco/2017`, or give photos of your own: `--config.data.content="('folder:photos',)"`. Styles
are the folder (or .zip) `wikiart` of WikiArt's paintings, which TFDS does not have; any few
thousand paintings do.
Weights: the normalized VGG-19 that the paper uses; get it once with `ganjax weights fetch
vgg19_normalised`, or from `vgg_normalised.pth` with `ganjax weights import`.
Cost: 2.3 TFLOP per step of 8 crops by XLA's count, 0.36 EFLOP in all: work for a GPU; two CPU cores
would need weeks. A model for them is adain_compact.py.

    python train.py --config=configs/adain_vgg19.py
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.adain import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.content = ("tfds:coco/2017",)
    config.data.style = ("folder:wikiart",)
    return with_variants(config, arguments, {"smoke": SMOKE})
