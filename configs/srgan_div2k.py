"""SRGAN x4 on DIV2K: SRResNet's million steps, then 200,000 against a discriminator.

Paper: Ledig, Theis, Huszar et al. 2017, https://arxiv.org/abs/1609.04802. Not as published:
features are VGG-16's last ones (relu5_3, before the last pooling) instead of VGG-19's, each channel
divided by its mean, for pip can get these weights: `ganjax weights fetch vgg16_features`.
Data: the 800 training images of DIV2K (Agustsson and Timofte 2017), which you download yourself.
Cost: work for a GPU.

    ganjax prepare DIV2K_train_HR/ --crops 192 --output div2k/
    python train.py --config=configs/srgan_div2k.py
    ganjax translate --workdir runs/srgan_div2k --input photo.jpg --output big.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.super_resolution import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "folder:div2k"
    config.data.load_size = "192"
    config.adversarial_kimg = 3200.0
    config.total_kimg = 16000.0 + config.adversarial_kimg
    return with_variants(config, arguments, {"smoke": SMOKE | {"adversarial_kimg": 0.024}})
