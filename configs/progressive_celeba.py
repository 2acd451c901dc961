"""Progressive GAN on CelebA, grown to 128x128.

Paper: Karras, Aila, Laine and Lehtinen 2018, https://arxiv.org/abs/1710.10196; 600,000 images to
fade each resolution in and 600,000 after that, 12 million in all.
Data: CelebA through TFDS; prepare it once with `python -m ganjax.prepare tfds:celeb_a`, or give
your own copy of the images: `--config.data.source=folder:img_align_celeba.zip`.
Cost: for a GPU or TPU; not measured.

    python train.py --config=configs/progressive_celeba.py
"""

from ml_collections import ConfigDict

from configs.common import apply_arguments, progressive


def get_config(arguments: str = "") -> ConfigDict:
    config = progressive()
    config.data.source = "tfds:celeb_a"
    config.data.image_size = "128"
    return apply_arguments(config, arguments)
