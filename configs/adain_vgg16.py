"""AdaIN as published, on weights that pip can fetch: a decoder for relu4_1 of a frozen VGG-16.

Paper: Huang and Belongie 2017, https://arxiv.org/abs/1703.06868. VGG-16 has the channels of VGG-19
at relu4_1, so that the decoder is the paper's, 3,505,219 parameters; the losses compare relu1_2,
relu2_2, relu3_3 and relu4_1, their channels divided by their means over photographs and paintings.
Data: any photos and any paintings, the folders (or .zip) `photos` and `styles`.
Weights: `ganjax weights fetch vgg16_features`, 64 MB.
Cost: about that of adain_vgg19.py, which is work for a GPU. A model for two cores is
adain_compact.py.

    python train.py --config=configs/adain_vgg16.py
    ganjax export --workdir runs/adain_vgg16 --output decoder.safetensors
    ganjax stylize --model vgg16 --weights decoder.safetensors --content photo.jpg \\
        --style painting.jpg --output out.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.adain import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.content = ("folder:photos",)
    config.data.style = ("folder:styles",)
    config.model.form = "vgg16"
    config.model.encoder = "vgg16_features"
    config.loss.encoders = ("vgg16_features:relu1_2,relu2_2,relu3_3,relu4_1",)
    config.loss.covariance_layers = ("relu2_2", "relu3_3")
    return with_variants(config, arguments, {"smoke": SMOKE})
