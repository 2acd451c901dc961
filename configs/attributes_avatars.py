"""A classifier of avatars' 19 attributes, which ships in the package: 384,488 parameters.

Its last hidden layer is a feature vector for Frechet distances, its logits tell what a generator
of portraits draws and what it leaves out (`ganjax/metrics/attributes.py`).
Data: `avatars` at 32x32, rendered by ganjax itself, shifted, blurred and with noise a little.
The weights that ship, and how often they are right: ganjax/weights/bundled/README.md.
Cost: 12 minutes on one CPU core (about 550 img/s).

    python train.py --config=configs/attributes_avatars.py
    ganjax export --workdir runs/attributes_avatars --output attributes.safetensors
"""

from ml_collections import ConfigDict

from configs.common import apply_arguments


def get_config(arguments: str = "") -> ConfigDict:
    config = ConfigDict()
    config.task = "attributes"
    config.seed = 0
    config.parallel = "jit"  # jit: one batch over all devices | pmap: each device has its own
    config.steps_per_call = 1  # train steps that an accelerator does in one go
    config.batch_size = 64
    config.total_kimg = 400.0  # thousands of portraits to train on: 8 epochs

    config.data = ConfigDict()
    config.data.source = "avatars"  # no other source has the attributes
    config.data.image_size = "32"
    config.data.channels = 3
    config.data.labels = True
    config.data.flip = False  # a mirrored gaze is another one
    config.data.limit = 0  # use only so many images; 0 for all
    config.data.cache_dir = ""  # decoded images; "" for the user's cache folder

    config.model = ConfigDict()
    config.model.width = 48  # channels at 1/2 of the resolution
    config.model.features = 128  # length of the feature vector

    config.disturbance = 1.0  # strength of shifts, blur and noise, 0 (none) to 1
    config.ema_half_life_kimg = 10.0  # of the classifier's average; 0 for none
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-3
    config.optimizer.decay = 1e-3  # learning rate of step i: learning_rate / (1 + decay * i)
    config.optimizer.clip_norm = 0.0  # of the gradient over all parameters; 0 for no clipping
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999

    config.log_every = 2.0  # kimg
    config.save_every = 20.0  # kimg
    config.sample_every = 0.0  # a classifier draws nothing
    config.keep_checkpoints = 3
    config.max_skips = 10
    return apply_arguments(config, arguments)
