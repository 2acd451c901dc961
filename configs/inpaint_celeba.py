"""Inpainting of CelebA's faces at 128x128: fills boxes and strokes.

Method: the networks and losses of pix2pix (Isola, Zhu, Zhou and Efros 2017,
https://arxiv.org/abs/1611.07004), on boxes as in Pathak et al. 2016 and free-form strokes as in Yu
et al. 2019; U-Net-128 and PatchGAN-70 at their published width.
Data: CelebA's 162,770 aligned training faces through TFDS (`ganjax prepare tfds:celeb_a`), or any
folder or .zip of images.
Cost: work for a GPU.

    python train.py --config=configs/inpaint_celeba.py
    ganjax translate --workdir runs/inpaint_celeba --input a.png --mask hole.png --output out.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.inpainting import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:celeb_a"
    config.data.image_size = "128"
    config.data.load_size = "144"
    config.model.width = 64
    config.total_kimg = 2000.0
    return with_variants(config, arguments, {"smoke": SMOKE})
