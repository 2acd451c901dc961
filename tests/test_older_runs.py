"""Runs that an older version saved are gone on with, and sampled, by this one.

`older/config.json` is what `train.py --config=configs/dcgan_avatars.py:smoke`, with images of 16x16
and a width of 8, once left. Fields have come since, and some have other names.
"""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from ganjax import config as configs
from ganjax import runs, tasks
from ganjax.commands import sample
from ganjax.errors import UserError
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.loop import fit
from ganjax.trees import named_leaves

OLDER = Path(__file__).parent / "older" / "config.json"
NAMES = {"optimizer": "optimiser"}  # of today: of then
STEPS, BATCH = 3, 16  # steps before the run is put away


def make_config(folder, *, steps):
    """Today's config of the same run."""
    words = {
        "data.image_size": 16,
        "model.width": 8,
        "data.cache_dir": folder / "cache",
        "total_kimg": steps * BATCH / 1000,
        "save_every": STEPS * BATCH / 1000,
    }
    words = [f"--config.{name}={value}" for name, value in words.items()]
    return configs.load("dcgan_avatars:smoke", words)


def train(folder, name, *, steps):
    config = make_config(folder, steps=steps)
    data, start = tasks.make_data(config), tasks.make_start(config)
    return fit(tasks.make(config), data, config, folder / name, start=start, fill=tasks.fill)


def save_as_then(new: Path, old: Path):
    """Writes the newest state of a run as the older version did."""
    like = jax.eval_shape(tasks.make(runs.load_config(new)).init, jax.random.key(0))
    step = Checkpoints.read_only(new / "checkpoints").steps[-1]
    arrays = named_leaves(Checkpoints.read_only(new / "checkpoints").load(step, like))
    arrays = {
        "/".join(NAMES.get(part, part) for part in name.split("/")): x for name, x in arrays.items()
    }
    assert any("optimiser" in name for name in arrays)
    checkpoints = Checkpoints(old / "checkpoints")
    checkpoints.save(step, arrays)
    checkpoints.close()
    shutil.copy(OLDER, old / "config.json")
    for name in ("data.json", "metrics.jsonl"):
        shutil.copy(new / name, old / name)


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """Two folders of one run after a few steps: of today's version, and of the older one."""
    folder = tmp_path_factory.mktemp("older")
    train(folder, "new", steps=STEPS)
    save_as_then(folder / "new", folder / "old")
    return folder


def test_the_config_is_completed_with_todays_fields(older):
    saved, filled = json.loads(OLDER.read_text()), runs.load_config(older / "old")
    assert "init_from" not in saved and "optimiser" in saved
    wanted = make_config(older, steps=STEPS).to_dict()
    for name in ("total_kimg", "save_every"):
        wanted[name] = saved[name]
    wanted["data"]["cache_dir"] = ""
    assert filled.to_dict() == wanted


@pytest.mark.parametrize("average", ["ema", "live"])
def test_it_is_loaded_as_it_was(older, average):
    old, new = (runs.load(older / name, average=average) for name in ("old", "new"))
    assert old.step == new.step == STEPS and int(old.trained.images) == STEPS * BATCH
    jax.tree.map(np.testing.assert_array_equal, old.trained, new.trained)
    assert not any("optim" in name for name in named_leaves(old.trained))


def test_it_draws_what_it_drew(older, tmp_path):
    for name in ("old", "new"):
        words = ["--workdir", older / name, "--num", 4, "--output", tmp_path / f"{name}.png"]
        sample.main(list(map(str, words)))
    np.testing.assert_array_equal(*(Image.open(tmp_path / f"{n}.png") for n in ("old", "new")))


def test_it_is_gone_on_with_bit_for_bit(older, tmp_path):
    for name in ("old", "new"):
        shutil.copytree(older / name, tmp_path / name)
    shutil.copytree(older / "cache", tmp_path / "cache")
    old, new = (train(tmp_path, name, steps=2 * STEPS) for name in ("old", "new"))
    assert int(old.step) == 2 * STEPS
    jax.tree.map(np.testing.assert_array_equal, old, new)
    saved = json.loads((tmp_path / "old" / "config.json").read_text())  # as today from now on
    assert "optimiser" not in saved and saved["init_from"] == ""
    fields = json.loads((tmp_path / "old" / "fields.json").read_text())
    assert fields["image"]["kind"] == "image"
    # Checkpoints of both spellings lie side by side.
    live = [runs.load(tmp_path / "old", step=step, average="live") for step in (STEPS, 2 * STEPS)]
    assert [run.step for run in live] == [STEPS, 2 * STEPS]


def test_another_config_is_refused_by_todays_names(older):
    config = make_config(older, steps=STEPS).unlock()
    config.optimizer.learning_rate, config.init_from = 1e-3, "a.safetensors"
    message = 'init_from is "a.safetensors", was ""; optimizer.learning_rate is 0.001, was 0.0002'
    with pytest.raises(UserError, match=message):
        fit(tasks.make(config), tasks.make_data(config), config, older / "old", fill=tasks.fill)
