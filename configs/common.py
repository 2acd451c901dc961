"""What the experiments share: DCGAN's defaults and the arguments of a config file."""

from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from ganjax.errors import UserError


def dcgan() -> ConfigDict:
    """DCGAN in the form of dcgan.torch: 64x64 RGB, batch 64, Adam 2e-4 with b1 0.5."""
    config = ConfigDict()
    config.task = "dcgan"
    config.seed = 0
    config.parallel = "jit"  # one global batch over all devices
    config.batch_size = 64
    config.total_kimg = 5000.0  # thousands of real images to train on

    config.data = ConfigDict()
    config.data.source = ""  # avatars | folder:PATH | tfds:NAME | lsun:PATH
    config.data.image_size = "64"  # "64", or "96x64" for height x width
    config.data.channels = 3  # 1 grey, 3 RGB, 4 RGBA
    config.data.flip = True  # mirror every other image
    config.data.limit = 0  # use only so many images; 0 for all
    config.data.cache_dir = ""  # decoded images; "" for the user's cache folder

    config.model = ConfigDict()
    config.model.form = "4x4"  # "4x4" (dcgan.torch) | "5x5" (the paper)
    config.model.width = 0  # channels at full resolution; 0 for the published 64 (4x4) or 128 (5x5)
    config.model.latent_size = 100
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = "non_saturating"  # non_saturating | saturating
    config.ema_half_life_kimg = 10.0  # of the generator's average; 0 for none
    config.optimiser = ConfigDict()
    config.optimiser.learning_rate = 2e-4
    config.optimiser.b1 = 0.5
    config.optimiser.b2 = 0.999

    config.log_every = 1.0  # kimg
    config.save_every = 20.0  # kimg
    config.sample_every = 20.0  # kimg
    config.keep_checkpoints = 3
    return config


def apply_arguments(
    config: ConfigDict, arguments: str, variants: Mapping[str, Mapping] | None = None
) -> ConfigDict:
    """Applies FILE.py:ARGUMENTS, a comma-separated list of `smoke` and the file's variants.

    Args:
      variants: fields to change by variant name, as {"data.image_size": "64"}.
    """
    variants = dict(variants or {})
    for argument in filter(None, arguments.split(",")):
        if argument in variants:
            config.update_from_flattened_dict(variants[argument])
        elif argument == "smoke":
            config.update_from_flattened_dict(SMOKE)
        else:
            known: Sequence[str] = ["smoke", *variants]
            raise UserError(f"config argument {argument!r} is unknown; there is {', '.join(known)}")
    return config


# The full networks on a handful of embedded images: does everything work on this machine?
SMOKE = {
    "data.source": "avatars",
    "data.limit": 256,
    "batch_size": 16,
    "total_kimg": 0.192,
    "log_every": 0.016,
    "save_every": 0.048,
    "sample_every": 0.096,
    "keep_checkpoints": 5,
}
