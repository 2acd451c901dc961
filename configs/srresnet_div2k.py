"""Super-resolution x4 by SRResNet on DIV2K: as published, but for the images.

Paper: Ledig, Theis, Huszar et al. 2017, https://arxiv.org/abs/1609.04802: 16 residual blocks,
squared error of the pixels, crops of 96, batches of 16, Adam 1e-4, a million steps; 1,549,462
parameters. The paper trained on 350,000 images of ImageNet.
Data: the 800 training images of DIV2K (Agustsson and Timofte 2017), which you download yourself.
Published: 32.05 dB on Set5, 28.49 on Set14 (PSNR of Y without a border of 4).
Cost: work for a GPU.

    ganjax prepare DIV2K_train_HR/ --crops 192 --output div2k/
    python train.py --config=configs/srresnet_div2k.py
    ganjax translate --workdir runs/srresnet_div2k --input photo.jpg --output big.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.super_resolution import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "folder:div2k"
    config.data.load_size = "192"
    scales = {"x2": {"model.scale": 2}, "x3": {"model.scale": 3}}
    return with_variants(config, arguments, scales | {"smoke": SMOKE})
