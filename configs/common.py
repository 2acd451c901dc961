"""What the experiments share: DCGAN's defaults and the arguments of a config file."""

from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from ganjax.errors import UserError


def dcgan() -> ConfigDict:
    """DCGAN in the form of dcgan.torch: 64x64 RGB, batch 64, Adam 2e-4 with b1 0.5."""
    config = ConfigDict()
    config.task = "dcgan"
    config.seed = 0
    config.parallel = "jit"  # jit: one batch over all devices | pmap: each device has its own
    config.steps_per_call = 1  # train steps that an accelerator does in one go
    config.batch_size = 64
    config.total_kimg = 5000.0  # thousands of real images to train on

    config.data = ConfigDict()
    config.data.source = ""  # avatars | folder:PATH | tfds:NAME | lsun:PATH
    config.data.image_size = "64"  # "64", or "96x64" for height x width
    config.data.channels = 3  # 1 gray, 3 RGB, 4 RGBA
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
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-4
    config.optimizer.b1 = 0.5
    config.optimizer.b2 = 0.999

    config.log_every = 1.0  # kimg
    config.save_every = 20.0  # kimg
    config.sample_every = 20.0  # kimg
    config.evaluate_every = 0.0  # kimg; 0 for never
    # "frechet5k_avatars,...": the checkpoint that is best by the first of them is kept, too; "" for
    # what suits the data (docs/metrics.md).
    config.evaluate_metrics = ""
    config.keep_checkpoints = 3
    config.max_skips = 10  # updates in succession that may be skipped for not being finite
    return config


def adain() -> ConfigDict:
    """AdaIN as published: a decoder for VGG-19's relu4_1, crops of 256, batch 8, Adam 1e-4."""
    config = ConfigDict()
    config.task = "adain"
    config.seed = 0
    config.parallel = "jit"  # jit: one batch over all devices | pmap: each device has its own
    config.steps_per_call = 1  # train steps that an accelerator does in one go
    config.batch_size = 8
    config.total_kimg = 1280.0  # thousands of contents to train on: 160,000 steps
    config.init_from = ""  # weights to start from, FILE.safetensors; "" for random ones

    # Sources: folder:PATH | tfds:NAME, "@SIDE" and "*WEIGHT" where wanted (docs/style.md).
    config.data = ConfigDict()
    config.data.content = ()
    config.data.style = ()
    config.data.image_size = "256"  # what a batch shows
    config.data.load_size = "512"  # what images are scaled to before that is cut out
    config.data.zoom = 1.0  # up to so many times image_size is cut out, and scaled down
    config.data.channels = 3
    config.data.flip = True  # mirror every other image
    config.data.vary_styles = False  # make more styles of few: turned, and in other colors
    config.data.limit = 0  # use only so many images of each source; 0 for all
    config.data.cache_dir = ""  # decoded images; "" for the user's cache folder

    config.model = ConfigDict()
    config.model.form = "vgg19"  # vgg19 (the paper) | compact
    config.model.encoder = "vgg19_normalised"  # weights of the frozen encoder (vgg19), or "random"
    config.model.width = 32  # channels at 1/2 of the resolution (compact)
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16

    config.loss = ConfigDict()
    # "WEIGHTS:LAYER,LAYER", WEIGHTS as `ganjax.weights` knows them, or "random": a narrow VGG-19
    # of random weights, which needs no download. Its style statistics are usable (Ustyuzhaninov et
    # al. 2016, arXiv:1606.00021), but it knows no objects: good enough to try things out.
    config.loss.encoders = ("vgg19_normalised:relu1_1,relu2_1,relu3_1,relu4_1",)
    config.loss.content_layers = ("relu4_1",)
    config.loss.content_weight = 1.0
    config.loss.style_weight = 10.0
    config.loss.covariance_layers = ("relu2_1", "relu3_1")
    config.loss.covariance_weight = 0.0  # second moments between channels, as Gram matrices have
    config.loss.identity_weight = 0.0  # content in its own style gives the content back

    config.ema_half_life_kimg = 0.0  # of the stylizer's average; 0 for none
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay = 5e-5  # learning rate of step i: learning_rate / (1 + decay * i)
    config.optimizer.clip_norm = 0.0  # of the gradient over all parameters; 0 for no clipping
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999

    config.log_every = 0.4  # kimg
    config.save_every = 20.0  # kimg
    config.sample_every = 20.0  # kimg
    config.keep_checkpoints = 3
    config.max_skips = 10  # updates in succession that may be skipped for not being finite
    return config


def progressive() -> ConfigDict:
    """Progressive GAN as published for one device: 1024x1024 RGB, WGAN-GP, 12 million images."""
    config = ConfigDict()
    config.task = "progressive"
    config.seed = 0
    config.parallel = "jit"  # jit: one batch over all devices | pmap: each device has its own
    config.steps_per_call = 1  # train steps that an accelerator does in one go
    config.total_kimg = 12000.0  # thousands of real images in all; the last size takes the rest

    # By resolution, from 4x4 on; the last value serves all later ones, too.
    config.growth = ConfigDict()
    config.growth.batch_sizes = (128, 128, 128, 64, 32, 16, 8, 4)
    config.growth.fade_kimg = (600.0,)  # images during which a resolution is faded in
    config.growth.stable_kimg = (600.0,)  # images after that

    config.data = ConfigDict()
    config.data.source = ""  # avatars | folder:PATH | tfds:NAME | lsun:PATH
    config.data.image_size = "1024"  # of the last resolution; "128x96" grows from 4x3
    config.data.channels = 3  # 1 gray, 3 RGB, 4 RGBA
    config.data.flip = True  # mirror every other image
    config.data.pyramid = True  # decode the last resolution only; smaller ones are its means
    config.data.labels = False  # learn the images' classes, model.classes of them
    config.data.limit = 0  # use only so many images; 0 for all
    config.data.cache_dir = ""  # decoded images; "" for the user's cache folder

    config.model = ConfigDict()
    config.model.width = 512  # channels up to 32x32; they halve with each doubling from there on
    config.model.latent_size = 512
    config.model.classes = 0  # of the labels; 0 for none
    config.model.dtype = "float32"  # of the computation: float32 | bfloat16
    config.model.remat = False  # less memory, more time: compute activations twice

    config.loss = ConfigDict()
    config.loss.penalty_weight = 10.0  # of the gradient penalty
    config.loss.drift_weight = 1e-3  # of the squared scores of real images
    config.loss.label_weight = 1.0  # of the classification of images with labels
    config.ema_half_life_kimg = 10.0  # of the generator's average; 0 for none
    config.optimizer = ConfigDict()
    config.optimizer.learning_rates = (1e-3,) * 8 + (1.5e-3,)  # by resolution
    config.optimizer.b1 = 0.0
    config.optimizer.b2 = 0.99

    config.log_every = 5.0  # kimg
    config.save_every = 100.0  # kimg
    config.sample_every = 100.0  # kimg
    # Beside this, each phase ends with it; 0 for never. Values of each level: docs/metrics.md.
    config.evaluate_every = 100.0  # kimg
    config.evaluate_metrics = "swd2048"  # "" for what suits the data
    config.keep_checkpoints = 3
    config.max_skips = 10  # updates in succession that may be skipped for not being finite
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
            config.update_from_flattened_dict(SMOKE[config.task])
        else:
            known: Sequence[str] = ["smoke", *variants]
            raise UserError(f"config argument {argument!r} is unknown; there is {', '.join(known)}")
    return config


# The full networks on a handful of embedded images: does everything work on this machine?
SMOKE = {
    "dcgan": {
        "data.source": "avatars",
        "data.limit": 256,
        "batch_size": 16,
        "total_kimg": 0.192,
        "log_every": 0.016,
        "save_every": 0.048,
        "sample_every": 0.096,
        "keep_checkpoints": 5,
    },
    "adain": {
        "data.content": ("avatars",),
        "data.style": ("avatars",),
        "data.limit": 64,
        "data.image_size": "64",
        "data.load_size": "96",
        "model.encoder": "random",
        "loss.encoders": ("random",),
        "batch_size": 4,
        "total_kimg": 0.048,
        "log_every": 0.004,
        "save_every": 0.012,
        "sample_every": 0.024,
        "keep_checkpoints": 5,
    },
    "progressive": {
        "data.source": "avatars",
        "data.image_size": "16",
        "data.limit": 256,
        "model.width": 64,
        "growth.batch_sizes": (16, 8),
        "growth.fade_kimg": (0.064,),
        "growth.stable_kimg": (0.064,),
        "total_kimg": 0.32,
        "log_every": 0.016,
        "save_every": 0.048,
        "sample_every": 0.096,
        "evaluate_metrics": "swd64",
        "keep_checkpoints": 5,
    },
    "attributes": {
        "data.limit": 256,
        "batch_size": 16,
        "total_kimg": 0.192,
        "log_every": 0.016,
        "save_every": 0.048,
        "sample_every": 0.0,
        "keep_checkpoints": 5,
    },
}
