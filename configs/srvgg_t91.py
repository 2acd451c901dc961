"""Super-resolution x4 by SRVGG, small and fast, on the 91 images of Yang et al.; also :x3 and :x2.

Network: SRVGGNetCompact (Wang, Xie, Dong and Shan 2021, https://arxiv.org/abs/2107.10833, the fast
models of its code): 621,424 parameters at x4.
Data: crops of 128 pixels of T91 (Yang et al. 2010) or of any other sharp images.
Training: absolute difference of the pixels; not published for this network, chosen for few images.
Quality: docs/super_resolution.md.

    ganjax prepare T91/ --crops 128 --output t91/
    python train.py --config=configs/srvgg_t91.py
    ganjax translate --workdir runs/srvgg_t91 --input photo.jpg --output big.png
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.super_resolution import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    config.data.source = "folder:t91"
    config.batch_size = 4
    config.total_kimg = 40.0
    config.ema_half_life_kimg = 1.0
    config.model.form = "srvgg"
    config.loss.pixels = "l1"
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1.5e-3
    config.optimizer.decay_from = 0.0
    config.log_every = 0.4
    config.save_every = 2.0
    config.sample_every = 10.0
    scales = {"x2": {"model.scale": 2}, "x3": {"model.scale": 3}}
    return with_variants(config, arguments, scales | {"smoke": SMOKE})
