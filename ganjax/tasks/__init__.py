"""Training games, one file each; this one alone knows them by name.

A game's file has `defaults()`, the published settings with a comment for each field; `SMOKE`, the
fields that make a run of seconds; `streams(config)`, what its batches are made of;
`make(...)`, the pure game; `from_config(config)`, which builds it; and
`model_from_config(config)`, which builds the model alone and loads nothing that only training
needs.
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from ganjax import config as configs
from ganjax import weights
from ganjax.data.pipeline import Pipeline
from ganjax.errors import UserError
from ganjax.paths import cache_folder, expand
from ganjax.training.state import State
from ganjax.training.task import Model, Task

NAMES = (
    "adain", "attributes", "cut", "cyclegan", "dcgan", "gan", "inpainting", "pix2pix",
    "progressive", "segmentation", "spade", "super_resolution", "text", "wct",
)  # fmt: skip


def module(name: str) -> ModuleType:
    """The file of a game.

    Raises:
      UserError: there is none of that name.
    """
    if name not in NAMES:
        raise UserError(f"task {name!r} is unknown; there is {', '.join(NAMES)}")
    return importlib.import_module(f"ganjax.tasks.{name}")


def make(config: ConfigDict) -> Task:
    """Builds the task that `config.task` names.

    Raises:
      UserError: a field holds an impossible value; the message names the possible ones.
    """
    configs.check(config)
    return module(config.task).from_config(config)


def make_model(config: ConfigDict) -> Model:
    """Builds the model of a task, without what only training needs."""
    return module(config.task).model_from_config(config)


def make_data(config: ConfigDict) -> Pipeline:
    """Opens the data that a task is trained on.

    Raises:
      UserError: a field holds an impossible value, or there is no such data.
    """
    data = config.data
    if data.channels not in (1, 3, 4):
        raise UserError(f"data.channels is {data.channels}; choose 1 (gray), 3 (RGB) or 4 (RGBA)")
    if data.limit < 0:
        raise UserError(f"data.limit is {data.limit}; it must be 0 (all images) or more")
    return Pipeline(module(config.task).streams(config), expand(data.cache_dir or cache_folder()))


def make_start(config: ConfigDict) -> Callable[[State], State]:
    """What makes the first state of a new run from `Task.init`'s: `init_from` may name weights.

    They are those of the network that `ganjax export` writes: the one that is averaged.
    """

    def start(state: State) -> State:
        if not config.init_from:
            return state
        params = weights.load(config.init_from)
        role, *others = state.averages
        if others:
            raise UserError(
                f"init_from is for one network; {config.task} has several: leave it out"
            )
        weights.check_shapes(params, state.networks[role].params, config.init_from)
        return state.started_from(role, params)

    return start


def fill(saved: Mapping[str, Any]) -> ConfigDict:
    """The config of a saved run, with today's defaults for fields that it does not have."""
    return configs.fill(saved, module(saved["task"]).defaults())
