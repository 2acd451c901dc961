"""CycleGAN on Monet's paintings and photographs of landscapes.

Paper: Zhu, Park, Isola and Efros 2017, https://arxiv.org/abs/1703.10593; ResNet-9 and PatchGAN 70
at 256x256, as published.
Data: TensorFlow Datasets' cycle_gan/monet2photo (`ganjax prepare tfds:cycle_gan/monet2photo`),
1,072 paintings (A) and 6,287 photographs (B); or two folders or .zip files of your own, like
`--config.data.a=art.zip/monet --config.data.b=art.zip/photo`.
Cost: 200 epochs of 6,287 steps, work for a GPU; `:small` 14 minutes on two CPU cores.

    python train.py --config=configs/cyclegan_monet2photo.py
    ganjax translate --workdir runs/cyclegan_monet2photo --direction BtoA --input a/ --output b/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.cyclegan import SMOKE, defaults

# For a CPU: crops of 64x64 of images of 128x128, a quarter of the channels, four residual blocks.
SMALL = {
    "data.image_size": "64",
    "data.load_size": "128",
    "model.width": 16,
    "model.blocks": 4,
    "model.resampling": "resize",
    "batch_size": 4,
    "optimizer.learning_rate": 4e-4,
    "total_kimg": 10.0,
    "ema_half_life_kimg": 1.0,
    "log_every": 0.2,
    "save_every": 2.0,
    "sample_every": 2.0,
}


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:cycle_gan/monet2photo"
    config.total_kimg = 1257.0
    return with_variants(config, arguments, {"small": SMALL, "smoke": SMOKE})
