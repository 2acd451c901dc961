"""Segmentation: its loss, its data, what its model gives, and how a run of it is measured."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from toys import save_run

from ganjax import losses, runs, tasks
from ganjax.api import Translator
from ganjax.commands import evaluate
from ganjax.data.avatars import MASK_CLASSES
from ganjax.data.avatars.source import Avatars
from ganjax.data.label_maps import palette
from ganjax.errors import UserError
from ganjax.metrics import segmentation as metrics
from ganjax.tasks import segmentation

SMALL = {"model__width": 2, "data__image_size": "16", "data__load_size": "16"}


def test_cross_entropy_is_the_mean_over_pixels_with_a_label():
    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 3, (3, 5, 6, 4)), random.integers(0, 4, (3, 5, 6))
    labels[0, :2], labels[2] = 255, 255
    with jax.enable_x64(True):
        got = losses.pixel_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
        slope = jax.grad(lambda x: losses.pixel_cross_entropy(x, jnp.asarray(labels)).sum())(
            jnp.asarray(logits)
        )
    wanted = []
    for image, truth in zip(logits, labels, strict=True):
        pixels = [
            np.log(np.exp(image[place]).sum()) - image[place][truth[place]]
            for place in np.ndindex(truth.shape)
            if truth[place] < 4
        ]
        wanted.append(np.mean(pixels) if pixels else 0)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)
    np.testing.assert_array_equal(np.any(np.asarray(slope) != 0, axis=-1), labels < 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "segmentation"
    return save_run(folder, "segmentation", data__limit=12, **SMALL)


def test_classes_are_shown_in_their_colors(run):
    loaded, image = runs.load(run), Avatars(split="test").load([0], (16, 16), 3)[0]["image"]
    outputs = jax.jit(loaded.model.sample)(loaded.trained, {"source": image}, None)
    labels = np.asarray(outputs["labels"])
    assert len(np.unique(labels)) > 1 and loaded.model.outputs["labels"].names == MASK_CLASSES
    shown = Translator.load(run)(image[0])
    np.testing.assert_array_equal(shown, palette((), len(MASK_CLASSES))[labels[0]])


def test_a_run_is_measured_on_examples_with_the_truth(run, capsys, tmp_path):
    words = ["--workdir", run, "--reference", "avatars:test", "--metrics", "dice,iou"]
    evaluate.main([*map(str, words), "--json", str(tmp_path / "rows.json")])
    loaded, (arrays, _) = runs.load(run), Avatars(split="test").load(range(12), (16, 16), 3)
    made = jax.jit(loaded.model.sample)(loaded.trained, {"source": arrays["image"]}, None)["labels"]
    counts = metrics.confusion(np.asarray(made), arrays["mask"], len(MASK_CLASSES))
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["metric"] for row in rows] == ["dice", "iou"]
    for row in rows:
        each = getattr(metrics, row["metric"])(counts)
        assert row["value"] == pytest.approx(np.nanmean(each), rel=1e-9)
        assert row["class_skin"] == pytest.approx(each[MASK_CLASSES.index("skin")], rel=1e-9)
        assert (row["n"], row["step"], row["reference"]) == (12, 3, "avatars:test")
    assert "class_background" in capsys.readouterr().out
    with pytest.raises(UserError, match="psnr compares what the model makes with what the data"):
        evaluate.main([*map(str, words[:4]), "--metrics", "psnr"])


def test_translations_are_measured_pair_by_pair(tmp_path_factory):
    run = save_run(tmp_path_factory.mktemp("runs") / "pix2pix", "pix2pix", data__limit=5, **SMALL)
    evaluate.main(["--workdir", str(run), "--metrics", "psnr"])
    row = json.loads((run / "metrics.jsonl").read_text())
    assert (row["metric"], row["n"], row["reference"]) == ("psnr", 5, "paired:avatars")
    with pytest.raises(UserError, match="iou compares what the model makes with what the data"):
        evaluate.main(["--workdir", str(run), "--metrics", "iou"])


def test_photos_with_label_maps_are_read_in_either_direction(tmp_path):
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "A" / "1.png")
    Image.fromarray(np.full((32, 32), 1, np.uint8)).save(tmp_path / "B" / "1.png")
    config = segmentation.defaults()
    config.data.source, config.data.classes = f"paired:{tmp_path}", ("road", "sky")
    (stream,) = segmentation.streams(config)
    assert stream.names == {"a": "source", "b": "target"}
    assert stream.source.fields["b"].names == ("road", "sky")
    assert tasks.make_model(config).outputs["labels"].names == ("road", "sky")
    config.data.direction = "BtoA"  # whose A are the maps
    (stream,) = segmentation.streams(config)
    with pytest.raises(UserError, match=r"^A/1\.png|has colors and no numbers"):
        arrays, broken = stream.source.load([0], (32, 32), 3)
        assert len(arrays["a"]) == 0
        raise UserError(broken[0].reason)


def test_the_classes_of_the_data_are_those_of_the_config():
    config = segmentation.defaults()
    config.data.classes = ("road", "sky")
    with pytest.raises(UserError, match="avatars has the classes background, skin, hair"):
        segmentation.streams(config)
