"""Paths say where data lies, not what it is: a run goes on where its images have moved."""

import jax
import numpy as np
import pytest
from PIL import Image

from ganjax import tasks
from ganjax.config import with_variants
from ganjax.errors import UserError
from ganjax.tasks import dcgan
from ganjax.training.loop import fit
from ganjax.training.workdir import load_config

STEPS = 4


def write_images(folder, seed):
    folder.mkdir()
    random = np.random.default_rng(seed)
    for number in range(8):
        image = random.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")


def train(source, cache, run, steps=STEPS):
    config = with_variants(dcgan.defaults(), "smoke", {"smoke": dcgan.SMOKE})
    fields = {"data.source": source, "data.image_size": "16", "model.width": 4, "batch_size": 4}
    fields |= {"total_kimg": steps * 0.004, "save_every": 0.004, "sample_every": 0.0}
    config.update_from_flattened_dict(fields | {"data.cache_dir": str(cache)})
    return fit(tasks.make(config), tasks.make_data(config), config, run, fill=tasks.fill)


def test_a_run_goes_on_where_its_images_have_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "here", seed=1)
    straight = train("folder:here", "cache", tmp_path / "straight")
    train("folder:here", "cache", tmp_path / "moved", steps=STEPS // 2)
    (tmp_path / "here").rename(tmp_path / "there")
    resumed = train("folder:./there/", "other", tmp_path / "moved")
    jax.tree.map(np.testing.assert_array_equal, resumed, straight)
    assert load_config(tmp_path / "moved")["data"]["source"] == "folder:./there/"
    write_images(tmp_path / "others", seed=2)
    with pytest.raises(UserError, match="on other images or labels"):
        train("folder:others", "cache", tmp_path / "moved", steps=STEPS + 1)
