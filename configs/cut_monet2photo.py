"""CUT on photographs of landscapes and Monet's paintings; `:fast` is FastCUT.

Paper: Park, Efros, Zhang and Zhu 2020, https://arxiv.org/abs/2007.15651; antialiased ResNet-9 and
PatchGAN 70 at 256x256, as published.
Data: TensorFlow Datasets' cycle_gan/monet2photo (`ganjax prepare tfds:cycle_gan/monet2photo`),
1,072 paintings (A) and 6,287 photographs (B), from photographs to paintings; or two folders or
.zip files of your own.
Cost: 400 epochs of 1,072 steps, work for a GPU.

    python train.py --config=configs/cut_monet2photo.py
    ganjax translate --workdir runs/cut_monet2photo --input photos/ --output paintings/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.cut import FAST, SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "tfds:cycle_gan/monet2photo"
    config.data.direction = "BtoA"
    config.total_kimg = 428.0
    fast = FAST | {"total_kimg": config.total_kimg / 2}
    return with_variants(config, arguments, {"smoke": SMOKE, "fast": fast})
