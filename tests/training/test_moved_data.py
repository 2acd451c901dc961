"""Paths say where data lies, not what it is: a run goes on where its images have moved."""

import jax
import numpy as np
import pytest
from PIL import Image

from ganjax import runs, tasks
from ganjax.commands import evaluate
from ganjax.config import with_variants
from ganjax.data.source import seen_from
from ganjax.errors import UserError
from ganjax.tasks import dcgan
from ganjax.training.loop import fit
from ganjax.training.workdir import load_config, read_metrics

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


def test_a_run_knows_where_its_data_is_from_any_folder(tmp_path, monkeypatch):
    project, other = tmp_path / "project", tmp_path / "other"
    project.mkdir()
    other.mkdir()
    write_images(project / "photos", seed=1)
    monkeypatch.chdir(project)
    train("folder:photos", tmp_path / "cache", project / "runs" / "a", steps=1)
    train("folder:photos", tmp_path / "cache", tmp_path / "b", steps=1)
    assert runs.load_config(project / "runs" / "a").data.source == "folder:photos"
    monkeypatch.chdir(other)
    words = ["--metrics", "swd8"]
    evaluate.main(["--workdir", "../b", *words])
    assert read_metrics(tmp_path / "b")[-1]["n_reference"] == 8
    project.rename(tmp_path / "elsewhere")  # run and data together
    found = runs.load_config(tmp_path / "elsewhere" / "runs" / "a").data.source
    assert found == f"folder:{tmp_path.resolve()}/elsewhere/photos"
    with pytest.raises(UserError, match="photos does not exist; --reference names other images"):
        evaluate.main(["--workdir", "../b", *words])


def test_paths_of_data_from_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "start" / "a@2").mkdir(parents=True)
    (tmp_path / "start" / "avatars").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    start = tmp_path / "start"
    for spec, found in {
        "a@2": f"{start}/a@2", "folder:a@2@64*3": f"folder:{start}/a@2@64*3", "here": "here",
        "paired:a@2:val": f"paired:{start}/a@2:val", "lsun:a@2": f"lsun:{start}/a@2",
        "unpaired:a@2": f"unpaired:{start}/a@2", "unpaired:avatars": "unpaired:avatars",
        "avatars": "avatars", "avatars:test": "avatars:test", "paired:avatars": "paired:avatars",
        "folder:avatars": f"folder:{start}/avatars", "tfds:a@2": "tfds:a@2", "b": "b",
        "gs://bucket/a@2": "gs://bucket/a@2", f"folder:{tmp_path}/no": f"folder:{tmp_path}/no",
    }.items():  # fmt: skip
        assert seen_from(start, spec) == found


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
