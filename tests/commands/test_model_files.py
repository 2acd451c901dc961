"""A file of `ganjax export` is a model: what commands and Python make of it, what it keeps out.

The runs are of no step: their networks are as they began, the averages a little beside them.
"""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from toys import save_run

from ganjax import Generator, Translator, UserError, commands, runs, tasks, weights
from ganjax.config import flat
from ganjax.training.state import Trained
from ganjax.training.task import Model
from ganjax.training.workdir import METRICS
from ganjax.weights.safetensors import read_metadata, read_safetensors, write_safetensors

# Texts of configs that are no paths.
WORDS = {
    "task", "parallel", "loss", "evaluate_metrics", "data.image_size", "data.load_size",
    "data.range", "data.direction", "data.classes", "data.colors", "data.ignored", "model.form",
    "model.dtype", "model.norm", "model.generator", "model.resampling", "model.attributes",
    "loss.adversarial", "loss.content_layers", "loss.style_layers", "loss.covariance_layers",
    "loss.pixels", "loss.features", "model.head", "model.levels", "model.pooling", "optimizer.name",
    "data.degradation", "data.instances", "model.discriminator", "augment.policy",
}  # fmt: skip


def run(name: str, *words) -> None:
    commands.importlib.import_module(f"ganjax.commands.{name}").main([str(word) for word in words])


def export(folder: Path, *words) -> Path:
    """Its file, in another folder; the run's own folder is not where it was."""

    file = folder.with_name(f"{folder.name}.safetensors")
    run("export", "--workdir", folder, "--output", file, *words)
    (elsewhere := folder.with_name(f"{folder.name}_elsewhere")).mkdir()
    shutil.move(file, elsewhere)
    return elsewhere / file.name


@pytest.fixture(scope="module")
def dcgan(tmp_path_factory) -> tuple[Path, Path]:
    """A run whose network keeps statistics of batches, and its file in full precision."""
    folder = save_run(
        tmp_path_factory.mktemp("dcgan") / "run", "dcgan", model__width=8, data__image_size="16"
    )
    return folder, export(folder, "--float32")


@pytest.fixture(scope="module")
def pix2pix(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pix2pix") / "run"
    private = {"data__source": f"paired:{folder}", "data__cache_dir": str(folder)}
    private |= {"data__folders": ("mine", "yours"), "data__direction": "BtoA"}
    save_run(folder, "pix2pix", model__width=2, data__image_size="16", **private)
    return folder, export(folder, "--float32")


@pytest.fixture(scope="module")
def cyclegan(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cyclegan") / "run"
    save_run(folder, "cyclegan", model__width=2, data__image_size="16")
    return folder, export(folder, "--float32")


@pytest.fixture
def picture(tmp_path) -> Path:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_samples_are_those_of_the_run(dcgan, tmp_path):
    for flag, source in zip(("--workdir", "--weights"), dcgan, strict=True):
        words = ["--output", tmp_path / f"{flag}.png", "--num", "4", "--seed", "7"]
        run("sample", flag, source, *words)
    by_run, by_file = (Image.open(tmp_path / f"--{name}.png") for name in ("workdir", "weights"))
    np.testing.assert_array_equal(by_run, by_file)
    assert by_run.text == by_file.text and by_file.text["Checkpoint"].startswith("step 3 ")
    generators = [Generator.load(source) for source in dcgan]
    jax.tree.map(np.testing.assert_array_equal, *(g.trained for g in generators))
    assert "batch_stats" in generators[1].trained.variables["generator"]


def test_translations_are_those_of_the_run(pix2pix, picture, tmp_path):
    for flag, source in zip(("--workdir", "--weights"), pix2pix, strict=True):
        run("translate", flag, source, "--input", picture, "--output", tmp_path / f"{flag}.png")
    by_run, by_file = (Image.open(tmp_path / f"--{name}.png") for name in ("workdir", "weights"))
    np.testing.assert_array_equal(by_run, by_file)
    assert runs.load(pix2pix[1]).config.data.direction == "BtoA"
    with pytest.raises(UserError, match="--direction AtoB: it was trained BtoA"):
        run(
            "translate", "--weights", pix2pix[1], "--direction", "AtoB",
            "--input", picture, "--output", tmp_path / "b.png",
        )  # fmt: skip


def test_half_precision_is_close(dcgan, tmp_path):
    run("export", "--workdir", dcgan[0], "--output", file := tmp_path / "half.safetensors")
    images = [Generator.load(source).sample(4).astype(int) for source in (dcgan[0], file)]
    assert np.abs(images[0] - images[1]).max() <= 3
    assert images[0].std() > 10
    types = {array.dtype for name, array in read_safetensors(file).items() if ":" in name}
    assert types == {np.dtype(np.float32)}  # variances may be beyond what halves hold


def test_names_and_the_progress_of_growth_are_in_it(dcgan, tmp_path):
    found, many = runs.load(dcgan[0]), 2**31 - 1
    values = (("none", "cap"), ("blue", "gray"))
    named = found.model.inputs["z"]._replace(names=("hat", "eyes"), values=values)
    changed = found._replace(
        model=found.model._replace(inputs={"z": named}),
        trained=found.trained.replace(images=np.int32(many)),
    )
    file = tmp_path / "a.safetensors"
    write_safetensors(file, *runs.to_arrays(changed, ["generator"], np.float16))
    loaded = runs.load(file)
    assert loaded.model.inputs == {"z": named} and int(loaded.trained.images) == many
    assert (loaded.step, loaded.checkpoint) == (found.step, found.checkpoint)
    assert loaded.config.to_json() == found.config.to_json()


def test_no_path_is_in_it(pix2pix):
    folder, file = pix2pix
    metadata = read_metadata(file)
    config = json.loads(metadata["config"])
    assert str(folder.parent) not in str(metadata) and "mine" not in str(metadata)
    kept = {"source": "", "folders": [], "cache_dir": "", "direction": "BtoA", "image_size": "16"}
    assert config["data"].items() >= kept.items()
    assert config["model"] == runs.load_config(folder).model.to_dict()


def test_no_field_of_any_game_keeps_a_path():
    path, model = "/home/eve/a.safetensors", Model({}, {}, None, None, None)
    for name in tasks.NAMES:
        config = tasks.module(name).defaults()
        texts = {
            field: (path, "avatars") if isinstance(value, list) else path
            for field, value in flat(config).items()
            if field not in WORDS
            and (isinstance(value, str) or isinstance(value, list) and not is_numbers(value))
        }
        assert {"init_from", "data.cache_dir"} < texts.keys()
        config.update_from_flattened_dict(texts)
        found = runs.Run(config, model, Trained(0, {"a": {}}), 1, "step 1")
        _, metadata = runs.to_arrays(found, ["a"], np.float16)
        assert "/home" not in metadata["config"], metadata["config"]


def is_numbers(values) -> bool:
    return bool(values) and all(isinstance(value, int | float) for value in values)


def test_embedded_data_is_measured_without_more(dcgan, pix2pix, tmp_path, capsys):
    metrics = ["--metrics", "swd4"]
    rows = []
    for flag, source in zip(("--workdir", "--weights"), dcgan, strict=True):
        run("evaluate", flag, source, *metrics, "--json", tmp_path / "rows.json")
        rows.append(json.loads((tmp_path / "rows.json").read_text()))
    assert rows[0] == rows[1] and rows[1][0]["reference"] == "avatars"
    assert (dcgan[0] / METRICS).exists() and len(list(dcgan[1].parent.iterdir())) == 1
    for words, message in (
        (["--metrics", "psnr"], "names no data; give --reference=SOURCE"),
        (metrics, "names no data; `ganjax translate` images"),
    ):
        with pytest.raises(UserError, match=message):
            run("evaluate", "--weights", pix2pix[1], *words)


def test_a_new_run_starts_from_it(dcgan):
    folder, file = dcgan
    assert any(name.startswith("batch_stats:") for name in read_safetensors(file))
    config = runs.load_config(folder).unlock()
    config.init_from = str(file)
    begin, init = tasks.make_start(config), tasks.make(config).init
    state = jax.jit(lambda: begin(init(jax.random.key(0))))()
    wanted = runs.load(folder).trained.variables["generator"]["params"]
    jax.tree.map(np.testing.assert_array_equal, state.networks["generator"].params, wanted)
    jax.tree.map(np.testing.assert_array_equal, weights.load(str(file)), wanted)


def test_a_model_in_the_package_goes_by_its_name(pix2pix, picture, tmp_path, monkeypatch):
    (package := tmp_path / "bundled").mkdir()
    shutil.copy(pix2pix[1], package / "portraits.safetensors")
    monkeypatch.setattr(weights, "BUNDLED", package)
    monkeypatch.chdir(tmp_path)
    run("translate", "--weights", "portraits", "--input", picture, "--output", "b.png")
    wanted = Translator.load(pix2pix[0])(picture)
    np.testing.assert_array_equal(Image.open("b.png"), wanted)
    np.testing.assert_array_equal(Translator.load("portraits")(picture), wanted)
    with pytest.raises(UserError, match="no model portrait; .*in the package: portraits"):
        run("translate", "--weights", "portrait", "--input", picture, "--output", "c.png")
    (tmp_path / "portraits").mkdir()  # a folder of the user's comes first in Python
    with pytest.raises(UserError, match="portraits holds no run"):
        Translator.load("portraits")


def changed(file: Path, folder: Path, **metadata) -> Path:
    """The file with other metadata; None leaves one out."""
    texts = {k: v for k, v in (read_metadata(file) | metadata).items() if v is not None}
    write_safetensors(folder / "changed.safetensors", read_safetensors(file), texts)
    return folder / "changed.safetensors"


def test_wrong_files_and_flags_are_one_line(dcgan, tmp_path, capsys):
    folder, file = dcgan

    def refused(message, *words, weights=file):
        with pytest.raises(UserError, match=message) as caught:
            run("sample", "--weights", weights, "--output", tmp_path / "a.png", *words)
        assert "\n" not in str(caught.value)

    refused("leave --checkpoint and --average out", "--checkpoint", "3")
    refused("leave --checkpoint and --average out", "--average", "live")
    refused("give its --workdir", "--growth", "--output", tmp_path / "a.gif")
    refused(
        "there is no model .*gone.safetensors; give FILE", weights=tmp_path / "gone.safetensors"
    )
    older = changed(file, tmp_path, config=None, networks=None, fields=None)
    refused("changed.safetensors has no config: it was .* older version .*--workdir", weights=older)
    assert weights.load(str(older)).keys() == weights.load(str(file)).keys()
    config = json.loads(read_metadata(file)["config"])
    for other, message in (
        ("[", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("{}", "cannot be read"),
        (json.dumps(config | {"task": "os"}), "task 'os' is unknown"),
        (json.dumps(config | {"task": "pix2pix"}), "do not fit"),
        (json.dumps(config | {"model": config["model"] | {"width": 16}}), "do not fit"),
        (json.dumps(config | {"data": 1}), "do not fit"),
    ):
        refused(message, weights=changed(file, tmp_path, config=other))
    for name in ("fields", "kimg", "checkpoint"):
        refused("do not fit", weights=changed(file, tmp_path, **{name: "x"}))
    with pytest.raises(UserError, match="^.*leave checkpoint and average out"):
        Generator.load(file, checkpoint=3)
    for words in ([], ["--weights", file, "--workdir", folder]):
        with pytest.raises(SystemExit):
            run("sample", *words)
        assert "--w" in capsys.readouterr().err


def test_a_file_of_both_directions_is_used_in_either(cyclegan, picture, tmp_path):
    folder, file = cyclegan
    made = []
    for way in ("AtoB", "BtoA"):
        translators = [Translator.load(source, direction=way) for source in cyclegan]
        variables = [translator.trained.variables for translator in translators]
        jax.tree.map(np.testing.assert_array_equal, *variables)
        of_run, of_file = (translator(picture) for translator in translators)
        np.testing.assert_array_equal(of_run, of_file)
        made.append(of_file)
    assert not np.array_equal(*made)
    words = ["--direction", "BtoA", "--input", picture, "--output", tmp_path / "b.png"]
    run("translate", "--weights", file, *words)
    np.testing.assert_array_equal(Image.open(tmp_path / "b.png"), made[1])


def test_each_of_several_networks_keeps_all_that_it_draws_with(dcgan):
    """Statistics of batches, say, which one of them may have alone."""
    found = runs.load(dcgan[0])
    whole = found.trained.variables["generator"]
    two = {"a": whole, "b": {"params": whole["params"]}}
    several = found._replace(trained=found.trained.replace(variables=two))
    arrays, metadata = runs.to_arrays(several, ["a", "b"], "f")
    assert metadata["network"] == metadata["networks"] == "a, b"
    names = {name for one in two.values() for name in weights.name_variables(one, "f")}
    assert {re.sub("(^|:)[ab]/", r"\1", name) for name in arrays} == names
    assert len(arrays) == len(jax.tree.leaves(two))


def test_one_network_of_two_is_no_model(cyclegan, picture, tmp_path):
    file = tmp_path / "ba.safetensors"
    run("export", "--workdir", cyclegan[0], "--output", file, "--network", "generator_ba")
    with pytest.raises(UserError, match="holds generator_ba alone, of generator_ab, generator_ba;"):
        Translator.load(file)
