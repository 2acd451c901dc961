"""`ganjax edit --find` and what `ganjax sample --direction` makes of it, on runs of no step."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from toys import save_run

from ganjax import Generator, UserError, commands, outputs
from ganjax.commands import edit, edit_directions, sample
from ganjax.data.avatars import ATTRIBUTES, render
from ganjax.editing import directions
from ganjax.editing.latents import closed_walk, truncate
from ganjax.images import read_image

FILE = "directions.safetensors"
SMALL = {"data__image_size": "16", "model__width": 4, "model__latent_size": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with directions of SeFa."""
    folder = save_run(tmp_path_factory.mktemp("runs") / "dcgan", "dcgan", **SMALL)
    edit.main(["--workdir", str(folder), "--find", "sefa"])
    return folder


def call(command, run: Path, *words) -> None:
    command.main(["--workdir", str(run), *map(str, words)])


def test_sefa_writes_a_file_and_a_sheet_that_say_where_they_are_from(run):
    generator = Generator.load(run)
    found = directions.read(run / FILE, 6)
    assert found.names == tuple(f"sefa_{n}" for n in range(1, 7))  # z has no more values
    assert found.checkpoint == generator.checkpoint and found.method == "sefa"
    kernel = np.asarray(generator.trained.variables["generator"]["params"]["project"]["kernel"])
    rows = kernel.reshape(6, -1).T
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = np.abs(np.sum(found.vectors * np.linalg.svd(rows)[2], axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-3)
    sheet = Image.open(run / "directions.png")
    assert sheet.height == 6 * 18 + 2 and "trainedAlgorithmicMedia" in str(sheet.text)
    assert sheet.text["Checkpoint"] == generator.checkpoint


def test_the_sheet_shows_the_moved_images(run):
    sheet, generator = read_image(run / "directions.png"), Generator.load(run)
    sheet = sheet[:, -2 * (7 * 18 + 2) :]  # without names
    for number, place in ((0, 0), (1, 7 * 18 + 2)):
        for row, column, strength in ((0, 3, 0), (2, 0, -3), (5, 6, 3)):
            image = generator.sample(2, direction={f"sefa_{row + 1}": strength})[number]
            y, x = 2 + 18 * row, place + 2 + 18 * column
            shown = sheet[y : y + 16, x : x + 16]
            np.testing.assert_allclose(shown.astype(int), image.astype(int), atol=1)


def test_names_and_accuracies_are_printed(run, tmp_path, capsys):
    found = directions.read(run / FILE, 6)
    accuracy = np.array([0.5, np.nan, 1, 1, 1, 1], np.float32)
    edit_directions._print_table(found._replace(accuracy=accuracy))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["sefa_1  held-out accuracy 0.50", "sefa_2"]
    call(edit, run, "--find", "sefa", "--num", 2, "--output", tmp_path / "two.safetensors")
    assert capsys.readouterr().out == "sefa_1\nsefa_2\n"
    assert directions.read(tmp_path / "two.safetensors", 6).names == ("sefa_1", "sefa_2")


def test_pca_is_that_of_the_seeds_samples(run, tmp_path):
    words = "--find", "pca", "--samples", 300, "--seed", 1, "--num", 2
    call(edit, run, *words, "--output", tmp_path / "made" / "a.safetensors")
    generator = Generator.load(run)
    z = generator.draw(300, seed=1)["z"]
    found = directions.read(tmp_path / "made" / "a.safetensors", 6)
    assert found.names == ("pca_1", "pca_2") and np.isnan(found.accuracy).all()
    expected = directions.pca(generator.project(z), z, 2)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)


def test_attributes_are_what_the_scorer_sees(run, tmp_path, monkeypatch):
    """Here it takes it for another expression where the upper half is brighter than in others."""

    def above(images):
        return images[:, :8].mean((1, 2, 3)) - images[:, 8:].mean((1, 2, 3))

    def load_scorer(path):
        def score(images):
            labels = np.zeros((len(images), 19), int)
            labels[:, list(ATTRIBUTES).index("expression")] = above(images) > np.median(
                above(images)
            )
            return labels

        return score

    monkeypatch.setattr(edit_directions, "_load_scorer", load_scorer)
    output = tmp_path / "a.safetensors"
    call(edit, run, "--find", "attributes", "--samples", 400, "--output", output)
    found = directions.read(output, 6)
    assert set(found.names) == {"expression_smile", "expression_laugh"}
    assert (found.accuracy > 0.65).all() and found.method == "attributes"
    generator = Generator.load(run)
    before, after = (
        above(generator.sample(20, direction={"expression_laugh": x}, directions=output))
        for x in (-3, 3)
    )
    assert np.mean(before < after) > 0.9


@pytest.mark.slow
def test_scorers(tmp_path):
    """Those of the package and of a run see the attributes of avatars."""
    shown = render(np.arange(64), (48, 48))
    told = edit_directions._load_scorer(None)(shown["image"])
    assert told.shape == (64, 19)
    assert np.mean((told == shown["label"])[:, list(ATTRIBUTES).index("background")]) > 0.9
    run = save_run(tmp_path / "attributes", "attributes", model__width=4)
    assert edit_directions._load_scorer(run)(shown["image"]).shape == (64, 19)
    with pytest.raises(UserError, match="it draws no images"):
        call(edit, run, "--find", "sefa")
    dcgan = save_run(tmp_path / "dcgan", "dcgan", **SMALL)
    with pytest.raises(UserError, match="tells no attributes; give a run of attributes_avatars"):
        edit_directions._load_scorer(dcgan)


# ganjax sample --direction


def test_samples_are_moved_as_in_python(run, tmp_path):
    words = "--num", 3, "--seed", 5, "--direction", "sefa_1=2", "sefa_3=-1", "--keep", "sefa_2"
    call(sample, run, *words, "--output", tmp_path / "moved")
    call(sample, run, "--num", 3, "--seed", 5, "--output", tmp_path / "plain")
    moved, plain = (
        np.stack([read_image(tmp_path / name / f"{n:06d}.png") for n in range(3)])
        for name in ("moved", "plain")
    )
    generator = Generator.load(run)
    strengths = {"sefa_1": 2.0, "sefa_3": -1.0}
    again = generator.sample(3, seed=5, direction=strengths, keep=["sefa_2"])
    np.testing.assert_array_equal(moved, again)
    inputs = generator.draw(3, seed=5)
    vectors = directions.read(run / FILE, 6).vectors  # which are orthogonal: nothing to take out
    inputs["z"] += jnp.asarray(2 * vectors[:1] - vectors[2:3])
    np.testing.assert_allclose(np.stack([*generator.images(inputs)]).astype(int), moved, atol=1)
    assert not np.array_equal(moved, plain)
    text = Image.open(tmp_path / "moved" / "000000.png").text
    assert text["Direction"] == "sefa_1=2 sefa_3=-1" and text["Keep"] == "sefa_2"


def test_a_walk_is_moved_by_the_same_everywhere(run, tmp_path, monkeypatch):
    frames = {}

    def keep(path, drawn, **options):
        frames[path.stem] = np.stack([*drawn]).astype(int)

    monkeypatch.setattr(outputs, "write_animation", keep)
    words = "--num", 2, "--seed", 1, "--output"
    call(sample, run, *words, tmp_path / "moved.gif", "--direction", "sefa_1=3")
    generator = Generator.load(run)
    inputs = generator.draw(2, 1)
    inputs["z"] = closed_walk(inputs["z"], sample.WALK_FRAMES) + generator.shift({"sefa_1": 3.0})
    np.testing.assert_array_equal(frames["moved"], np.stack([*generator.images(inputs)]))


def test_truncation_narrows_z(run, tmp_path):
    words = "--num", 2, "--seed", 5, "--truncation", 0.5, "--output", tmp_path / "a"
    call(sample, run, *words)
    generator = Generator.load(run)
    inputs = generator.draw(2, seed=5)
    inputs["z"] = truncate(inputs["z"], 0.5)
    wanted = np.stack([*generator.images(inputs)])
    np.testing.assert_array_equal(generator.sample(2, seed=5, truncation=0.5), wanted)
    np.testing.assert_array_equal(read_image(tmp_path / "a" / "000001.png"), wanted[1])


# What the user can mend


def test_nothing_is_replaced_unless_asked(run, tmp_path):
    before = (run / FILE).read_bytes()
    with pytest.raises(UserError, match=f"{FILE} exists; --overwrite replaces it"):
        call(edit, run, "--find", "pca")
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(UserError, match="a.png exists; --overwrite replaces it"):
        call(edit, run, "--find", "sefa", "--output", tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists() and (run / FILE).read_bytes() == before
    words = "--find", "sefa", "--output", tmp_path / "a.safetensors", "--overwrite"
    call(edit, run, *words, "--no_metadata")
    assert not Image.open(tmp_path / "a.png").text
    assert (tmp_path / "a.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--find", "sefa", "--output", "a.safetensors", "--num", "7"],
            "--num is 7; z has 6 values",
        ),
        (["--find", "sefa", "--num", "0"], "--num is 0; it must be 1 or more"),
        (["--find", "pca", "--samples", "9"], "--samples is 9; it must be 100 or more"),
        (["--find", "sefa", "--seed", "-1"], "--seed is -1"),
        (["--find", "sefa", "--scorer", "x"], "--scorer is for --find attributes"),
        (["--find", "sefa", "--output", "a.npz"], "--output a.npz: give FILE.safetensors"),
        (["--find", "sefa", "--output", "a.safetensors", "--sheet", "a.gif"], "--sheet a.gif: giv"),
    ],
)
def test_wrong_options_end_in_one_line(run, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        call(edit, run, *words)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--direction", "sefa_10=1"], "--direction sefa_10: did you mean sefa_1?"),
        (["--direction", "sefa_1"], "give NAME=STRENGTH"),
        (["--direction", "sefa_1=1", "--keep", "sefa_1"], "sefa_1 is all that --keep names"),
        (["--keep", "sefa_1"], "--keep goes with --direction"),
        (["--directions", "x"], "--directions goes with --direction"),
        (["--direction", "a=1", "--directions", "no.safetensors"], "no.safetensors does not exist"),
    ],
)
def test_wrong_directions_end_in_one_line(run, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        call(sample, run, *words)
    assert not any(tmp_path.iterdir())


def test_a_models_file_needs_an_output(run, tmp_path):
    file = tmp_path / "model.safetensors"
    commands.run("export", ["--workdir", str(run), "--output", str(file)])
    with pytest.raises(UserError, match="need --output FILE.safetensors"):
        edit.main(["--weights", str(file), "--find", "sefa"])
    words = ["--find", "sefa", "--output", str(tmp_path / "out.safetensors")]
    edit.main(["--weights", str(file), *words])
    found = directions.read(tmp_path / "out.safetensors", 6)
    np.testing.assert_allclose(found.vectors, directions.read(run / FILE, 6).vectors, atol=0.02)


def test_directions_of_another_checkpoint_are_told(run, tmp_path, capsys):
    other = directions.read(run / FILE, 6)._replace(checkpoint="step 9 ffffffff")
    directions.write(tmp_path / "a.safetensors", other)
    Generator.load(run).shift({"sefa_1": 1.0}, directions=tmp_path / "a.safetensors")
    assert "was made of step 9 ffffffff, and this is step 3" in capsys.readouterr().err
