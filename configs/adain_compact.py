"""The compact arbitrary stylizer, which ships in the package: 1.4 M parameters.

Two encoders, AdaIN at six depths and one decoder, trained together (`ganjax/nets/compact.py`); the
losses are those of Huang and Belongie 2017, https://arxiv.org/abs/1703.06868, with second moments
between channels (Gatys et al. 2016) and an identity loss added.
Data: any photos and any paintings; the more styles, the better. The weights that ship, and what
they were trained on: ganjax/weights/bundled/README.md.
Weights: VGG-16, which the losses look through: `ganjax weights fetch vgg16_features`, 64 MB.
Cost: a step of 16 pictures takes about 4 s on one CPU core at 128x128.

    python train.py --config=configs/adain_compact.py:small   # 128x128
    python train.py --config=configs/adain_compact.py         # 256x256
    python train.py --config=configs/adain_compact.py --config.init_from=adain_compact   # goes on
    python train.py --config=configs/adain_compact.py:video   # from the model in the package on

`:video` adds what a video wants: a moved content is drawn as the moved picture (Wang, Yang, Xu and
Liu 2020, https://doi.org/10.1109/TIP.2020.3024018, who move single images, too). It takes no videos
and no optical flow.
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.adain import SMOKE, defaults

# Small crops first: four times as many in the same time.
SMALL = {"data.image_size": "128", "data.zoom": 3.0}
VIDEO = {
    **SMALL,
    "init_from": "adain_compact",
    "loss.motion_weight": 15.0,  # with more, strokes fade
    "optimizer.learning_rate": 2e-4,
    "total_kimg": 2.4,
}


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.model.form = "compact"
    config.data.content = ("folder:photos",)
    config.data.style = ("folder:styles",)
    config.data.zoom = 2.0
    config.data.vary_styles = True
    config.batch_size = 4
    config.group = 4  # 16 pictures a step
    # Two thirds of the cost of VGG-16 up to relu4_3.
    config.loss.encoders = ("vgg16_features:relu1_2,relu2_2,relu3_3,relu4_1",)
    config.loss.content_layers = ("relu3_3",)
    config.loss.content_weight = 0.3  # with less, one pattern covers all that is flat
    config.loss.style_weight = 1.0
    config.loss.covariance_layers = ("relu2_2", "relu3_3")
    config.loss.covariance_weight = 2.0
    config.loss.identity_weight = 10.0
    config.ema_half_life_kimg = 0.4
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 8e-4
    config.optimizer.decay = 1e-3
    config.optimizer.clip_norm = 30.0
    config.total_kimg = 60.0
    config.log_every = 0.1
    config.save_every = 0.4
    config.sample_every = 0.8
    return with_variants(config, arguments, {"small": SMALL, "video": VIDEO, "smoke": SMOKE})
