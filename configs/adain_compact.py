"""The compact arbitrary stylizer, which ships in the package: 1.4 M parameters.

python train.py --config=configs/adain_compact.py
"""

from ml_collections import ConfigDict

from configs.common import adain, apply_arguments

# A first stretch on small crops: four times as many images in the same time.
FIRST = {
    "data.image_size": "128",
    "data.zoom": 3.0,
}


def get_config(arguments: str = "") -> ConfigDict:
    config = adain()
    config.model.form = "compact"
    config.data.content = ("folder:photos",)
    config.data.style = ("folder:styles",)
    config.data.zoom = 2.0
    config.data.vary_styles = True
    config.loss.encoders = ("vgg19_normalised:relu1_1,relu2_1,relu3_1", "vgg19_16x:relu4_1")
    config.loss.covariance_weight = 10.0
    config.loss.identity_weight = 10.0
    config.ema_half_life_kimg = 1.0
    config.optimiser.learning_rate = 1e-3
    config.optimiser.decay = 2e-4
    config.optimiser.clip_norm = 30.0
    config.total_kimg = 100.0
    return apply_arguments(config, arguments, {"first": FIRST})
