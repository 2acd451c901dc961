"""The compact arbitrary stylizer, which ships in the package: 1.4 M parameters.

Two encoders, AdaIN at six depths and one decoder, trained together (`ganjax/nets/compact.py`); the
losses are those of Huang and Belongie 2017, https://arxiv.org/abs/1703.06868, with second moments
between channels (Gatys et al. 2016) and an identity loss added.
Data: any photos and any paintings; the more styles, the better. The weights that ship, and what
they were trained on: ganjax/weights/bundled/README.md.
Weights: relu1_1 to relu3_1 of the normalized VGG-19 and relu4_1 of its 16x compressed form; get
them with `ganjax weights import FILE --as vgg19_normalised` and `--as vgg19_16x`. With
the whole VGG-19 at hand, `--config.loss.encoders="('vgg19_normalised',)"`.
Cost: on two CPU cores 5 img/s at 128x128, 1.2 img/s at 256x256.

    python train.py --config=configs/adain_compact.py:start   # 128x128, by the compressed VGG-19
    python train.py --config=configs/adain_compact.py:small   # goes on from there: init_from
    python train.py --config=configs/adain_compact.py         # 256x256
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.adain import SMOKE, defaults

# Small crops first: four times as many in the same time; and a loss at half the price.
SMALL = {"data.image_size": "128", "data.zoom": 3.0, "batch_size": 4}
START = SMALL | {
    "loss.encoders": ("vgg19_16x:relu1_1,relu2_1,relu3_1,relu4_1",),
    "optimizer.learning_rate": 1e-3,
}


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.model.form = "compact"
    config.data.content = ("folder:photos",)
    config.data.style = ("folder:styles",)
    config.data.zoom = 2.0
    config.data.vary_styles = True
    config.loss.encoders = ("vgg19_normalised:relu1_1,relu2_1,relu3_1", "vgg19_16x:relu4_1")
    config.loss.content_weight = 3.0  # with less, one pattern covers all that is flat
    config.loss.covariance_weight = 2.0
    config.loss.identity_weight = 20.0
    config.ema_half_life_kimg = 1.0
    config.optimizer.learning_rate = 6e-4
    config.optimizer.decay = 2e-4
    config.optimizer.clip_norm = 30.0
    config.total_kimg = 60.0
    config.log_every = 0.2
    config.save_every = 1.0
    config.sample_every = 1.0
    return with_variants(config, arguments, {"start": START, "small": SMALL, "smoke": SMOKE})
