"""Super-resolution x4 for photographs as they are: blurred, noisy, compressed (Real-ESRGAN).

Paper: Wang, Xie, Dong and Shan 2021, https://arxiv.org/abs/2107.10833; the fast network of its code
(SRVGGNetCompact, 32 convolutions) or, with `:rrdb`, the published one of 16,697,987 parameters.
Differs from the publication: features of VGG-16 instead of VGG-19, each channel divided by its
mean; each image of a batch is made worse by draws of its own, so that no pool mixes batches.
Data: a folder or .zip of sharp photographs; the crops of 400 pixels of large ones.
Training: 1,000,000 steps of 48 crops by the pixels, then 400,000 of the game; work for a GPU.

    ganjax prepare photos/ --crops 400 --output tiles/
    python train.py --config=configs/realesr_photos.py --config.data.source=folder:tiles
    ganjax translate --workdir runs/realesr_photos --input old.jpg --output big.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.super_resolution import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "folder:tiles"
    config.data.image_size = "256"
    config.data.load_size = "400"
    config.data.degradation = "photos"
    config.batch_size = 48
    config.total_kimg = 67200.0
    config.adversarial_kimg = 19200.0
    config.ema_half_life_kimg = 33.0  # 0.999 of each step
    config.model.form = "srvgg"
    config.model.depth = 32
    config.model.discriminator = "unet"
    config.loss.pixels = "l1"
    config.loss.pixels_weight = 1.0
    config.loss.encoders = ("vgg16_features:relu1_2,relu2_2,relu3_3,relu4_3,relu5_3",)
    config.loss.features = "l1"
    config.loss.features_weight = 1.0
    config.loss.adversarial_weight = 0.1
    config.loss.sharpen = True
    config.optimizer.learning_rate = 2e-4
    config.optimizer.b2 = 0.99
    config.adversarial_optimizer.drop_from = 1.0
    config.adversarial_optimizer.b2 = 0.99
    rrdb = {"model.form": "rrdb", "model.depth": 23}
    smoke = SMOKE | {"adversarial_kimg": 0.024}
    return with_variants(config, arguments, {"rrdb": rrdb, "smoke": smoke})
