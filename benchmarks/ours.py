"""ganjax's side of the comparisons: programs that are built in a process of their own.

JAX is imported by the functions: the process that compares keeps out of its way.
"""

from typing import Any

from benchmarks.timing import Program, host_memory
from ganjax.commands.terminal import start_jax
from ganjax.config import load as load_config

CONFIGS = {
    "dcgan": "configs/dcgan_avatars.py:64",
    "adain_compact": "configs/adain_compact.py",
    "cut": "configs/cut_horse2zebra.py",
    "cyclegan": "configs/cyclegan_horse2zebra.py",
    "dfgan": "configs/text_folder.py",
    "oasis": "configs/oasis_camvid.py",
    "oasis_avatars": "configs/oasis_avatars.py",
    "pix2pix": "configs/pix2pix_facades.py",
    "progressive": "configs/progressive_avatars.py:128",
    "progressive_narrow": "configs/progressive_avatars.py",
    "r3gan": "configs/r3gan_cifar10.py",
    "sngan": "configs/sngan_celeba.py",
    "spade": "configs/spade_camvid.py",
    "srgan": "configs/srgan_div2k.py",
    "srvgg": "configs/srvgg_t91.py",
}
# What differs from these configs: captions have few words, R3GAN's peer no classes and no changes,
# OASIS's of portraits no pay for diversity, SRVGG's has Adam.
FIELDS = {
    "dfgan": {"model.words": 256, "ema_half_life_kimg": 10.0},
    "r3gan": {
        "data.labels": False, "model.classes": 0, "cosine.augment_probability": 0.0,
    },
    "oasis_avatars": {"loss.diversity_weight": 0.0},
    "srvgg": {"optimizer.name": "adam"},
}  # fmt: skip
SCREEN, TILE = (1080, 1920), 512  # of what is enlarged by tiles
WORDS, LENGTH = 256, 40  # of the vocabulary, of a caption
# Channels of progressive networks up to 32x32, and the length of their z.
WIDTHS = {"progressive": 512, "progressive_narrow": 64}


def train_step(*, task: str, batch_size: int, image_size: int, dtype: str) -> Program:
    """A train step as the loop runs it: jitted, its state donated, metrics fetched one step late.

    The batch is uint8 on the device. Noted are the bytes of the state, of those that the step
    takes over from it (all, where no second copy is made) and of its temporaries.
    """
    step = make_step(task=task, batch_size=batch_size, image_size=image_size, dtype=dtype)
    import jax

    batch = jax.device_put(_batch(task, avatars(step.images, image_size)))

    def run(steps: int) -> None:
        pending = None
        for _ in range(steps):
            metrics = step(batch)
            if pending:
                jax.device_get(pending)
            pending = metrics
        jax.block_until_ready(step.state)
        jax.device_get(pending)

    return Program(run, jax.default_backend(), step.flops, peak_memory, step.notes)


class Step:
    """A compiled train step and its state.

    Attributes:
      state: donated by each call, and replaced.
      images: of a batch.
      flops: of one call.
      notes: number of parameters, and bytes of the state, of the part of it that is written in
        place, and of temporaries.
    """

    def __init__(self, function, state, batch):
        import jax

        self.images = next(iter(batch.values())).shape[0]

        from benchmarks.flops import count_flops

        self.state, self.flops = state, count_flops(function, state, batch)
        self._compiled = jax.jit(function, donate_argnums=0).lower(state, batch).compile()
        networks = [network.params for network in state.networks.values()]
        self.notes: dict[str, Any] = {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(networks)),
            "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
        }
        if memory := self._compiled.memory_analysis():
            self.notes |= {
                "donated_bytes": memory.alias_size_in_bytes,
                "temporary_bytes": memory.temp_size_in_bytes,
            }

    def __call__(self, batch):
        self.state, metrics = self._compiled(self.state, batch)
        return metrics


def make_step(*, task: str, batch_size: int, image_size: int, dtype: str) -> Step:
    """The step of a task as its config describes it, at other sizes; starts JAX."""
    fields = {"data.image_size": image_size, "model.dtype": dtype}
    if width := WIDTHS.get(task):
        fields |= {"model.width": width, "model.latent_size": width}
        fields |= {"growth.batch_sizes": (batch_size,), "total_kimg": 1e5}
    else:
        fields["batch_size"] = batch_size
    if task == "adain_compact":
        # A VGG-19 of the published width with random weights stands for the trained one.
        fields["loss.encoders"] = ("random",)
    fields |= FIELDS.get(task, {})
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    config = load_config(CONFIGS[task], overrides)
    start_jax()
    import jax

    from ganjax import tasks
    from ganjax.training.step import guard

    game = tasks.make(config)
    phase = game.phases[-1]
    guarded = guard(game.step_of(phase), config.max_skips)
    # Several discriminator steps, each on real images of its own, are one step.
    images = phase.batch_size if task in ("r3gan", "sngan") else batch_size

    def step(state, batch):
        rng = jax.random.fold_in(jax.random.key(1), state.step)
        new, _, metrics = guarded(state, 0, batch, rng)
        return new.replace(step=state.step + 1, images=state.images + images), metrics

    batch = _batch(task, avatars(images, image_size))
    return Step(step, jax.jit(game.init)(jax.random.key(0)), batch)


def _batch(task: str, images: Any) -> dict[str, Any]:
    if task == "adain_compact":
        return {"content": images, "style": images}
    if task in ("cut", "cyclegan", "pix2pix"):
        return {"source": images, "target": images}
    if task == "dfgan":
        return {"image": images, "label": tokens(images.shape[0])}
    if task in ("oasis", "oasis_avatars", "spade"):
        return {"source": label_maps(*images.shape[:2]), "target": images}
    if task in ("srgan", "srvgg"):
        return {"source": images[:, ::4, ::4], "target": images}
    return {"image": images}


def label_maps(count: int, image_size: int) -> Any:
    """Masks of portraits, uint8 [B, H, W] of numbers below 10."""
    from ganjax.data.avatars import render

    return render(range(count), (image_size, image_size))["mask"]


def tokens(count: int) -> Any:
    """Numbers of the words of captions of full length, int32 [B, T]."""
    import numpy as np

    return np.random.default_rng(0).integers(1, WORDS, (count, LENGTH)).astype(np.int32)


def stylize(*, form: str, batch_size: int, image_size: int, dtype: str) -> Program:
    """Encoding of content and style, AdaIN and decoding, from uint8 to uint8 on the device.

    Args:
      form: "vgg19", with random weights, or "compact".
    """
    start_jax()
    import jax
    import jax.numpy as jnp

    from benchmarks.flops import count_flops
    from ganjax.images import to_float, to_uint8
    from ganjax.nets import stylizers, vgg

    key = jax.random.key(0)
    if form == "vgg19":
        images = jnp.zeros((1, 32, 32, 3))
        encoder = jax.jit(vgg.VGG19().init)(key, images)["params"]
        stylizer, frozen = stylizers.make_vgg(encoder), encoder
    else:
        stylizer, frozen = stylizers.make_compact(), {}
    params = jax.jit(stylizer.init)(key)

    def draw(params, content, style):
        content, style = (to_float(images).astype(dtype) for images in (content, style))
        styles = jax.tree.map(lambda value: value[None], stylizer.encode_style(params, style))
        transfer = stylizers.blend_transfer(stylizer.transform, styles, jnp.ones(1))
        return to_uint8(stylizer.stylize(params, content, transfer))

    content, style = jax.device_put(pictures(batch_size, image_size))
    program = jax.jit(draw)

    def run(steps: int) -> None:
        for _ in range(steps):
            drawn = program(params, content, style)
        drawn.block_until_ready()

    parameters = sum(leaf.size for leaf in jax.tree.leaves((params, frozen)))
    flops = count_flops(draw, params, content, style)
    return Program(run, jax.default_backend(), flops, peak_memory, {"parameters": parameters})


def translate(*, task: str, batch_size: int, image_size: int, dtype: str) -> Program:
    """Translation of images, from uint8 to uint8 on the device, with the noise that the model has.

    Args:
      task: of models that translate images, as their configs in `CONFIGS` have them, with random
        weights.
    """
    config = load_config(CONFIGS[task], [f"--config.model.dtype={dtype}"])
    start_jax()
    import jax

    from benchmarks.flops import count_flops
    from ganjax import tasks
    from ganjax.images import to_uint8

    game = tasks.make(config)
    model, trained = game.model, jax.jit(game.init)(jax.random.key(0)).trained
    images = jax.device_put(avatars(batch_size, image_size, distinct=4))

    def draw(trained, images, rng):
        return to_uint8(model.sample(trained, {"source": images}, rng)[model.image])

    arguments = trained, images, jax.random.key(1)
    program = jax.jit(draw).lower(*arguments).compile()

    def run(steps: int) -> None:
        for _ in range(steps):
            drawn = program(*arguments)
        drawn.block_until_ready()

    flops = count_flops(draw, *arguments)
    return Program(run, jax.default_backend(), flops, peak_memory)


def enlarge(*, batch_size: int, image_size: int, dtype: str) -> Program:
    """`sr_x4` over one image of `SCREEN` by tiles, uint8 from array to array; float32."""
    start_jax()
    import jax
    import jax.numpy as jnp

    from benchmarks.flops import count_flops
    from ganjax import Translator

    translator, image = Translator.load("sr_x4"), screen()

    def run(steps: int) -> None:
        for _ in range(steps):
            translator(image, tile=TILE)

    whole = jax.ShapeDtypeStruct((1, *image.shape), jnp.float32)
    flops = count_flops(translator.apply, translator.trained, whole)
    return Program(run, jax.default_backend(), flops, peak_memory)


def screen():
    """A picture of portraits, uint8 [1080, 1920, 3]."""
    import numpy as np

    height, width = SCREEN
    portraits = avatars(1, 512)[0]
    times = -(-height // len(portraits)), -(-width // len(portraits)), 1
    return np.ascontiguousarray(np.tile(portraits, times)[:height, :width])


def matrix_product(*, dtype: str) -> Program:
    """A large dense matrix product: the arithmetic that the device is capable of."""
    start_jax()
    import jax
    import jax.numpy as jnp

    device = jax.default_backend()
    side = 3072 if device == "cpu" else 8192
    a, b = jax.random.normal(jax.random.key(0), (2, side, side), dtype)
    product = jax.jit(jnp.matmul)

    def run(steps: int) -> None:
        for _ in range(steps):
            result = product(a, b)
        result.block_until_ready()

    return Program(run, device, 2.0 * side**3, peak_memory)


def peak_memory() -> int:
    """The most that arrays took on the device so far, or the process on a CPU; in bytes."""
    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use") or host_memory()


def avatars(count: int, image_size: int, *, distinct: int = 64):
    """Portraits, uint8 [count, H, W, 3]; they repeat after `distinct`, which takes long enough."""
    import numpy as np

    from ganjax.data.avatars import render

    images = render(range(min(count, distinct)), (image_size, image_size))["image"]
    return np.resize(images, (count, *images.shape[1:]))


def pictures(batch_size: int, image_size: int):
    """Contents and styles, each uint8 [B, H, W, 3]."""
    images = avatars(2 * batch_size, image_size, distinct=4)
    return images[:batch_size], images[batch_size:]
