"""Training games, one file each; `make` is the only place that knows them by name."""

from typing import Any

from ganjax.errors import UserError
from ganjax.training.task import Task


def make(config: Any) -> Task:
    """Builds the task that `config.task` names from a config (see configs/).

    Raises:
      UserError: a field holds an impossible value; the message names the possible ones.
    """
    _check_common(config)
    match config.task:
        case "dcgan":
            return _dcgan(config)
        case other:
            raise UserError(f"task {other!r} is unknown; there is dcgan")


def _check_common(config: Any) -> None:
    if config.batch_size < 1:
        raise UserError(f"batch_size is {config.batch_size}; it must be 1 or more")
    if config.seed < 0:
        raise UserError(f"seed is {config.seed}; it must be 0 or more")
    if not config.total_kimg > 0:
        raise UserError(f"total_kimg is {config.total_kimg}; it must be above 0")
    if config.parallel != "jit":
        raise UserError(f"parallel is {config.parallel!r}; there is 'jit'")
    if config.keep_checkpoints < 1:
        raise UserError(f"keep_checkpoints is {config.keep_checkpoints}; it must be 1 or more")


def _dcgan(config: Any) -> Task:
    import jax.numpy as jnp

    from ganjax import losses
    from ganjax.images import parse_image_size
    from ganjax.nets.dcgan import (
        FORMS,
        PUBLISHED_WIDTH,
        Discriminator,
        Generator,
        seed_and_doublings,
    )
    from ganjax.tasks import dcgan
    from ganjax.training import optimisers
    from ganjax.training.task import Phase

    model = config.model
    image_size = parse_image_size(config.data.image_size)
    seed_and_doublings(image_size)
    _check_choice("model.form", model.form, FORMS)
    if model.width < 0 or model.latent_size < 1:
        raise UserError("model.width must be 0 or more, model.latent_size 1 or more")
    _check_choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    fields = {
        "image_size": image_size,
        "channels": config.data.channels,
        "width": model.width or PUBLISHED_WIDTH[model.form],
        "form": model.form,
        "dtype": jnp.dtype(model.dtype),
    }
    pairs = {"non_saturating": losses.NON_SATURATING, "saturating": losses.SATURATING}
    _check_choice("loss", config.loss, pairs)
    return dcgan.make(
        Generator(**fields),
        Discriminator(**fields),
        loss=pairs[config.loss],
        generator_optimiser=optimisers.make(config.optimiser),
        discriminator_optimiser=optimisers.make(config.optimiser),
        phases=(Phase("train", config.total_kimg, config.batch_size, image_size),),
        latent_size=model.latent_size,
        ema_half_life=config.ema_half_life_kimg * 1000,
    )


def _check_choice(field: str, value: str, choices) -> None:
    if value not in choices:
        raise UserError(f"{field} is {value!r}; choose {' or '.join(choices)}")
