"""Every option of the commands on runs that were trained, by what its user would see."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ganjax import Generator, Translator, commands
from ganjax.data.avatars import render
from ganjax.images import read_image
from ganjax.images.bicubic import shrink
from ganjax.outputs import ANIMATIONS
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.workdir import read_metrics
from ganjax.weights.safetensors import read_metadata, read_safetensors

STEPS = 3


def run(name: str, *words) -> None:
    commands.importlib.import_module(f"ganjax.commands.{name}").main([str(word) for word in words])


def train(folder: Path, config: str, *fields: str, batch_size: int) -> Path:
    """A run of three steps; each is saved, and has its sheet."""
    kimg = batch_size / 1000
    values = {"model.width": 8, "data.limit": 16, "optimizer.learning_rate": 0.01}
    values |= {"batch_size": batch_size, "total_kimg": STEPS * kimg}
    values |= {"save_every": kimg, "sample_every": kimg, "log_every": kimg}
    words = [*fields, *(f"{name}={value}" for name, value in values.items())]
    run("train", config, *(f"--config.{word}" for word in words), "--workdir", folder)
    return folder


@pytest.fixture(scope="module")
def dcgan(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dcgan") / "run"
    return train(folder, "dcgan_avatars:smoke", "data.image_size=16", batch_size=4)


@pytest.fixture(scope="module")
def pix2pix(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pix2pix") / "run"
    small = "model.downs=2", "model.layers=0"
    return train(folder, "pix2pix_avatars:smoke", *small, batch_size=2)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def text_of(path) -> dict[str, str]:
    with Image.open(path) as image:
        return image.text


def save(path: str, *seeds: int, side: int = 16) -> str:
    """Portraits in a folder, or one in a file."""
    many = Path(path).suffix == ""
    for seed in seeds:
        target = Path(path) / f"{seed:02d}.png" if many else Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render([seed], (side, side))["image"][0]).save(target)
    return path


# sample


def draw(workdir: Path, output: str, *words) -> Path:
    run("sample", "--workdir", workdir, "--output", output, *words)
    return Path(output)


def singles(folder: Path) -> np.ndarray:
    return np.stack([pixels(path) for path in sorted(folder.iterdir())])


def test_sample_num_seed_checkpoint_and_average(dcgan, here):
    plain = singles(draw(dcgan, "plain", "--num", 3))
    assert plain.shape == (3, 16, 16, 3)
    np.testing.assert_array_equal(singles(draw(dcgan, "more", "--num", 5))[:3], plain)
    for n, (words, load, seed) in enumerate(
        (
            (["--seed", 7], {}, 7),
            (["--checkpoint", 1], {"checkpoint": 1}, 0),
            (["--average", "live"], {"average": "live"}, 0),
        )
    ):
        other = singles(draw(dcgan, str(n), "--num", 3, *words))
        assert not np.array_equal(other, plain)
        generator = Generator.load(dcgan, **load)
        np.testing.assert_array_equal(other, generator.sample(3, seed=seed))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif", ".mp4"])
def test_sample_output_overwrite_and_no_metadata(suffix, dcgan, here):
    output = draw(dcgan, f"a{suffix}", "--num", 2, "--seed", 3)
    before = output.read_bytes()
    assert b"trainedAlgorithmicMedia" in before
    if suffix not in ANIMATIONS:
        assert pixels(output).shape == (38, 20, 3)
    elif suffix == ".gif":
        with Image.open(output) as walk:
            assert len(list(ImageSequence.Iterator(walk))) == 60
    with pytest.raises(commands.UserError, match=f"a{suffix} exists; --overwrite replaces it"):
        draw(dcgan, f"a{suffix}")
    assert output.read_bytes() == before
    draw(dcgan, f"a{suffix}", "--num", 2, "--seed", 3, "--overwrite", "--no_metadata")
    assert b"trainedAlgorithmicMedia" not in output.read_bytes()


def test_sample_growth(dcgan, here):
    output = draw(dcgan, "growth.gif", "--growth")
    sheets = sorted((dcgan / "samples").iterdir())
    assert len(sheets) >= STEPS
    with Image.open(output) as animation:
        frames = [np.asarray(f.convert("RGB"), float) for f in ImageSequence.Iterator(animation)]
    for frame, sheet in zip(frames, sheets, strict=False):
        assert np.abs(frame - pixels(sheet)).mean() < 8  # of 256 colors


@pytest.mark.parametrize("given", [True, False])
def test_no_compile_cache(given, dcgan, here):
    try:
        draw(dcgan, "grid.png", "--num", 1, *(["--no_compile_cache"] if given else []))
        assert jax.config.jax_enable_compilation_cache != given
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


# translate


@pytest.mark.slow
def test_translate(pix2pix, here, capsys):
    save("in", 0, 1, side=32)

    def translate(output: str, *words, given=("in",)) -> Path:
        run(
            "translate",
            "--workdir",
            pix2pix,
            "--input",
            *given,
            "--output",
            output,
            *words,
        )
        return Path(output)

    plain = singles(translate("out"))
    assert plain.shape == (2, 32, 32, 3)
    assert text_of("out/00.png")["DigitalSourceType"].endswith(
        "compositeWithTrainedAlgorithmicMedia"
    )
    np.testing.assert_array_equal(pixels(translate("one.png", given=["in/01.png"])), plain[1])
    for words, load, seed in (
        (["--seed", 5], {}, 5),
        (["--checkpoint", 1], {"checkpoint": 1}, 0),
        (["--average", "live"], {"average": "live"}, 0),
    ):
        translator = Translator.load(pix2pix, **load)
        expected = translator(["in/00.png", "in/01.png"], seed=seed)
        np.testing.assert_array_equal(singles(translate("out", "--overwrite", *words)), expected)
        assert words[0] != "--checkpoint" or not np.array_equal(expected, plain)
    capsys.readouterr()
    kept = Path("out/00.png").read_bytes()
    translate("out")
    assert "2 of 2 pictures were in out already" in capsys.readouterr().err
    assert Path("out/00.png").read_bytes() == kept
    assert not text_of(translate("bare.png", "--no_metadata", given=["in/00.png"]))
    shown = write_deep("far/deep.png")
    Path("in/link").symlink_to(here / "far")
    translate("more", "--follow_links", "--range", "0..4095")
    assert [path.name for path in sorted(Path("more").iterdir())] == [
        "00.png",
        "01.png",
        "deep.png",
    ]
    expected = Translator.load(pix2pix)(np.stack([shown] * 3, axis=-1))
    np.testing.assert_array_equal(pixels("more/deep.png"), expected)


def write_deep(path: str) -> np.ndarray:
    """Samples of 12 bits in 16, and what they show."""
    values = np.linspace(0, 4095, 32 * 32).reshape(32, 32).astype(np.uint16)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return np.round(values / 4095 * 255).astype(np.uint8)


def test_range_and_follow_links(here, capsys):
    """All commands that read images take them in the same way."""
    shown = write_deep("far/deep.png")
    save("in", 0, side=32)
    Path("in/link").symlink_to(here / "far")
    asked = ["--follow_links", "--range", "0..4095"]
    rgb = np.stack([shown] * 3, axis=-1)
    words = ["--content", "in", "--style", "in/00.png", "--size", "32", "--style_size", "32"]
    run("stylize", *words, "--alpha", "0", "--output", "plain")
    assert "1 linked folders are passed over: link; --follow_links" in capsys.readouterr().err
    assert [path.name for path in Path("plain").iterdir()] == ["00__00.png"]
    run("stylize", *words, "--alpha", "0", "--output", "drawn", *asked)
    drawn = pixels("drawn/deep__00.png").astype(int)
    assert np.abs(drawn - rgb).mean() < 20  # alpha of 0 is the content, as the network draws it
    run("prepare", "in", "--image_size", "32", "--channels", "1", "--cache_dir", "cache", *asked)
    (found,) = Path("cache/images").glob("*/image.bin")
    np.testing.assert_array_equal(np.fromfile(found, np.uint8).reshape(2, 32, 32)[1], shown)
    save("truth", 0, side=32)
    Image.fromarray(shown).save("truth/deep.png")
    Path("flat").mkdir()
    Path("flat/deep.png").symlink_to(here / "far/deep.png")
    Path("flat/00.png").symlink_to(here / "in/00.png")
    sides = ["--generated", "flat", "--reference", "truth", "--metrics", "psnr"]
    run("evaluate", *sides, *asked, "--json", "rows.json")
    (row,) = json.loads(Path("rows.json").read_text())
    assert row["equal_pairs"] == 2
    assert row["range"] == "0..4095"
    run("evaluate", "--human", "flat", "truth", "--output", "a.html", "--pairs", "1", *asked)


# evaluate


def test_evaluate_a_run(dcgan, here, capsys):
    def evaluate(*words) -> dict:
        run("evaluate", "--workdir", dcgan, "--metrics", "swd16", *words)
        return read_metrics(dcgan)[-1]

    plain = evaluate()
    assert plain["step"] == STEPS and plain["average"] == "ema" and plain["reference"] == "avatars"
    assert evaluate("--batch_size", 8)["value"] == pytest.approx(plain["value"], rel=1e-4)
    others = [evaluate("--seed", 1), evaluate("--average", "live")]
    others += [evaluate(flag, 1) for flag in ("--checkpoint", "--step")]
    assert others[2] == others[3] and others[2]["step"] == 1 and others[0]["seed"] == 1
    assert all(row["value"] != plain["value"] for row in others)
    save("photos", *range(100, 116))
    named = evaluate("--reference", "photos")
    assert named["reference"] == "photos" and named["value"] != plain["value"]
    assert "swd16" in capsys.readouterr().out


def test_evaluate_with_the_classifier_of_the_package(here):
    save("photos", *range(32), side=40)
    words = ["--generated", "photos", "--reference", "avatars", "--image_size", "32"]
    words += ["--metrics", "frechet16_avatars", "--json", "rows.json", "--save_features", "f.npz"]
    run("evaluate", *words)
    (row,) = json.loads(Path("rows.json").read_text())
    assert row["metric"] == "frechet16_avatars" and row["value"] > 0
    with np.load("f.npz") as file:
        shapes = {file[name].shape[0] for name in file.files if file[name].ndim == 2}
    assert shapes == {16}


def test_evaluate_by_people(here, capsys):
    save("a", *range(4))
    save("b", *range(10, 14))
    ask = ["--human", "a", "b", "--output", "page.html", "--pairs", "3", "--question", "Which cat?"]
    run("evaluate", *ask, "--seed", "2")
    page = Path("page.html").read_text()
    assert "Which cat?" in page
    key = json.loads(Path("page.key.json").read_text())
    answers = [
        {"trial": trial, "choice": "left" if place["left"] == "a" else "right", "ms": 900}
        for trial, place in key["trials"].items()
    ]
    content = {"page": key["page"], "rater": "Eve", "answers": answers}
    Path("answers.json").write_text(json.dumps(content))
    capsys.readouterr()
    run("evaluate", "--score", "page.html", "answers.json")
    told = capsys.readouterr().out
    assert "Which cat?" in told and "Eve" in told and "100" in told  # percent for A


# export


def parameters(arrays) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if ":" not in name}


def test_export(dcgan, here):
    def export(*words) -> dict[str, np.ndarray]:
        run("export", "--workdir", dcgan, "--output", "a.safetensors", *words)
        return read_safetensors(Path("a.safetensors"))

    half = export("--network", "generator")
    assert read_metadata(Path("a.safetensors"))["network"] == "generator"
    assert {value.dtype for value in parameters(half).values()} == {np.dtype(np.float16)}
    with pytest.raises(commands.UserError, match="a.safetensors exists; --overwrite replaces it"):
        export()
    half = parameters(half)
    whole = parameters(export("--overwrite", "--float32"))
    params = Checkpoints.read_only(dcgan / "checkpoints").load_trained(STEPS, "ema")
    leaves = jax.tree.leaves(params.variables["generator"]["params"])
    assert sum(map(np.size, leaves)) == sum(map(np.size, whole.values()))
    for name, value in whole.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(half[name], value, rtol=1e-3, atol=1e-6)
        assert any(np.array_equal(value, leaf) for leaf in leaves)
    first = export("--overwrite", "--checkpoint", 1)
    assert any(not np.array_equal(first[name], half[name]) for name in half)


# prepare, weights, train


def test_prepare(here, capsys):
    save("photos", 0, 1, side=20)
    words = ["photos", "--image_size", "8x10", "--channels", "1", "--cache_dir", "cache"]
    run("prepare", *words)
    assert "2 images are decoded in cache" in capsys.readouterr().err
    (index,) = Path("cache/images").glob("*/index.json")
    assert json.loads(index.read_text())["arrays"]["image"] == ["|u1", [2, 8, 10, 1]]
    for flag in ("--manual_dir", "--data_dir"):  # with TFDS's data sets: tests/data/test_tfds.py
        with pytest.raises(commands.UserError, match="are for tfds:NAME only"):
            run("prepare", *words, flag, "x")


def test_prepare_cuts_and_shrinks_images(here, capsys):
    save("photos", 0, side=21)
    save("photos", 1, side=16)
    run("prepare", "photos", "--crops", 17, "--output", "crops")
    whole = read_image("photos/00.png")
    found = {path.name: read_image(path) for path in Path("crops").iterdir()}
    corners = {(int(y), int(x)) for _, y, x in (name[:-4].split("_") for name in found)}
    assert corners == {(0, 0), (0, 4), (4, 0), (4, 4)}  # none of the small one
    np.testing.assert_array_equal(found["00_0_4.png"], whole[:17, 4:])
    run("prepare", "photos", "--shrink", 4, "--output", "pairs")
    for name, side in (("00.png", 5), ("01.png", 4)):
        large = read_image(f"photos/{name}")[: 4 * side, : 4 * side]
        np.testing.assert_array_equal(read_image(f"pairs/large/{name}"), large)
        np.testing.assert_array_equal(read_image(f"pairs/small/{name}"), shrink(large, 4))
    assert "wrote 4 pictures to pairs" in capsys.readouterr().err
    for words, message in (
        (["--crops", 10], "and --output DIR"),
        (["--crops", 10, "--shrink", 2, "--output", "x"], "give --crops N or --shrink N"),
        (["--shrink", 0, "--output", "x"], "1 or more"),
        (["--shrink", 2, "--output", "pairs"], "holds other images"),
        (["--shrink", 20, "--output", "x"], "01 is smaller than 20x20 pixels; leave it out"),
    ):
        with pytest.raises(commands.UserError, match=message):
            run("prepare", "photos", *words)


@pytest.mark.slow
def test_weights_import_of_a_published_file(test_weights, here, monkeypatch, capsys):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(here / "kept"))
    file = next((test_weights / "tiny_darknet").iterdir())
    words = ["weights", "import", file, "--as", "tiny_darknet"]
    run(*words)
    run(*words, "--name", "mine", "--output", "other")
    default, named = Path("kept/tiny_darknet.safetensors"), Path("other/mine.safetensors")
    assert default.read_bytes() == named.read_bytes()
    changed = read_safetensors(default)
    assert sum(value.size for value in changed.values()) > 10**6
    run(*words)
    assert "has these weights already" in capsys.readouterr().err
    default.write_bytes(Path("kept/tiny_darknet.safetensors").read_bytes()[:-4] + b"abcd")
    with pytest.raises(commands.UserError, match="--overwrite replaces them"):
        run(*words)
    run(*words, "--overwrite")
    assert default.read_bytes() == named.read_bytes()
    save("photos", *range(4), side=32)
    metric = ["--metrics", "frechet4_tiny_darknet"]
    run("evaluate", "--generated", "photos", "--reference", "photos", *metric)
    assert re.search(r"frechet4_tiny_darknet +-?\d", capsys.readouterr().out)


@pytest.mark.slow
def test_train_plan_and_config(here, capsys):
    config = ["--config", "dcgan_avatars:smoke", "--config.data.image_size=16"]
    config += ["--config.model.width=8", "--config.batch_size=4", "--config.data.limit=16"]
    run("train", *config, "--workdir", "new", "--plan")
    assert re.search(r"generator: [\d,]+ parameters", capsys.readouterr().out)
    assert not Path("new").exists()
