"""WCT's decoders for VGG-16: what `ganjax stylize --model wct` draws with.

Paper: Li, Fang, Yang, Wang, Lu and Yang 2017, https://arxiv.org/abs/1705.08086; on VGG-16, whose
weights pip fetches, in place of VGG-19. `:compact` trains a small encoder as well, a quarter of the
channels, by the features of VGG-16 (Wang et al. 2020, https://arxiv.org/abs/2003.08436): 1.9 M
parameters for all five levels, 3.7 MB as float16. `:wavelet` trains the one decoder of WCT2 for
`ganjax stylize --model wct2` (Yoo et al. 2019, https://arxiv.org/abs/1903.09760), with wavelets in
place of pooling; `:compact,wavelet` with a small encoder, 0.7 M parameters.
Data: any photos.
Weights: VGG-16: `ganjax weights fetch vgg16_features`, 64 MB.
Cost: VGG-16 forward and backward twice for each level, work for a GPU; `:compact` needs its
forward alone.

    python train.py --config=configs/wct_decoders.py --config.data.source="('folder:photos',)"
    ganjax export --workdir runs/wct_decoders --output wct.safetensors
    ganjax stylize --model wct --weights wct.safetensors --content a.jpg --style b.jpg --output c/
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.wct import SMOKE, defaults

COMPACT = {
    "data.image_size": "128",
    "data.load_size": "256",
    "data.zoom": 2.0,
    "model.encoder": "",
    "optimizer.learning_rate": 1e-3,
    "optimizer.decay": 2e-4,
    "ema_half_life_kimg": 0.5,
    "total_kimg": 60.0,
    "save_every": 1.0,
    "sample_every": 2.0,
}
WAVELET = {"model.pooling": "wavelet", "optimizer.learning_rate": 1e-3}


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = ("folder:photos",)
    config.save_every = 8.0
    config.sample_every = 8.0
    smoke = COMPACT | SMOKE
    variants = {"compact": COMPACT, "wavelet": WAVELET, "smoke": smoke}
    return with_variants(config, arguments, variants)
