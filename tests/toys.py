"""Small models and runs that several tests use."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ganjax import tasks
from ganjax.adain import channel_statistics
from ganjax.config import with_variants
from ganjax.nets import stylizers
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.workdir import CONFIG, FIELDS
from ganjax.trees import named_leaves


def toy_stylizer() -> stylizers.Stylizer:
    """AdaIN on pixels: a gain before it, a bias after it, a tone on the style."""

    def encode_style(params, images, mask=None):
        return [channel_statistics(images * params["tone"])]

    def stylize(params, images, transfer):
        return transfer(0, images * params["gain"]) + params["bias"] * images

    # Unlike parameters, or a mistake in one could pass for another.
    params = {"gain": 0.7, "tone": 1.3, "bias": 0.2}
    init = lambda rng: jax.tree.map(jnp.float32, params)  # noqa: E731
    made = stylizers.make_compact(8)
    return made._replace(init=init, encode_style=encode_style, stylize=stylize, depths=1)


def toy_perceive(images, layers):
    features = {"relu1_1": images, "relu2_1": images[:, ::2, ::2] ** 2 - images[:, 1::2, ::2]}
    return {name: features[name] for name in layers}


def double_start(task, draw):
    """The first state of a task in float64, its parameters `draw("ROLE/NAME", shape)`."""

    def zeros(x):
        return jnp.zeros(x.shape, jnp.float64 if x.dtype == jnp.float32 else x.dtype)

    state = jax.tree.map(zeros, jax.eval_shape(task.init, jax.random.key(0)))
    networks = {}
    for role, network in state.networks.items():
        names = named_leaves(network.params)
        leaves = [jnp.asarray(draw(f"{role}/{name}", x.shape)) for name, x in names.items()]
        params = jax.tree.unflatten(jax.tree.structure(network.params), leaves)
        networks[role] = network.replace(params=params)
    return state.replace(networks=networks)


def save_run(folder: Path, game: str, fields=None, **changes) -> Path:
    """A run of no step."""
    module = tasks.module(game)
    config = with_variants(module.defaults(), "smoke", {"smoke": module.SMOKE})
    config.update_from_flattened_dict({name.replace("__", "."): v for name, v in changes.items()})
    state = jax.jit(tasks.make(config).init)(jax.random.key(0))
    random = np.random.default_rng(0)
    moved = jax.tree.map(lambda x: x + random.normal(0, 0.1, x.shape).astype("f"), state.averages)
    folder.mkdir(parents=True)
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(3, state.replace(averages=moved))
    checkpoints.close()
    (folder / CONFIG).write_text(json.dumps(config.to_dict()))
    described = {name: field._asdict() for name, field in (fields or {}).items()}
    (folder / FIELDS).write_text(json.dumps(described))
    return folder


def draw_variables(module, *inputs, **options):
    """Variables of a module with about the spread of its own, drawn by NumPy: nothing compiles."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **options))
    random = np.random.default_rng(0)

    def draw(path, x):
        deviation = np.prod(x.shape[:-1]) ** -0.5 if len(x.shape) > 1 else 0.1
        values = random.normal(path[-1].key in ("scale", "var"), deviation, x.shape)
        return jnp.asarray(values, x.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)
