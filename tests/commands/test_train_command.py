"""What `ganjax train` says: configs and fields to choose from, classes, and how to go on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from ganjax import commands, config, tasks
from ganjax.commands import train
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import open_source
from ganjax.training import loop

ROOT = Path(__file__).parents[2]
SMALL = [
    "--config.data.image_size=32",
    "--config.batch_size=4",
    "--config.discriminator_steps=1",
    "--config.model.width=8",
    "--config.total_kimg=0.008",
]


@pytest.fixture
def classes(tmp_path) -> Path:
    random = np.random.default_rng(0)
    for name, count in {"bird": 2, "cat": 5, "dog": 4}.items():
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    (tmp_path / "pets" / "cat" / "broken.png").write_bytes(b"no image")
    return tmp_path / "pets"


def test_the_list_names_every_config(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "70")
    commands.run("train", ["--list"])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line[2] != " "]
    assert names == config.names() and len(names) > 5
    assert max(map(len, lines)) <= 70
    (line,) = (line for line in lines if line.startswith("  dcgan_celeba "))
    assert line.split(maxsplit=1)[1] == "DCGAN on CelebA at 64x64."


def test_without_a_config_they_are_listed(capsys):
    with pytest.raises(SystemExit) as exit:
        commands.run("train", [])
    errors = capsys.readouterr().err
    assert exit.value.code == 2 and all(name in errors for name in config.names())
    assert errors.splitlines()[-1].endswith("give a CONFIG, or a folder or .zip of images")


@pytest.mark.parametrize("name", ["trian", "smaple", "styleize"])
def test_a_misspelled_command_is_told(name, capsys):
    with pytest.raises(SystemExit) as exit:
        commands.run(name, [])
    assert exit.value.code == 2 and "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dcgan_avatars", "adain_compact", "progressive_avatars"])
@pytest.mark.parametrize("width", [60, 80, 140])
def test_help_groups_all_fields_and_keeps_to_the_width(name, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    commands.run("train", [name, "--help"])
    text = capsys.readouterr().out
    about, _, table = text.partition("\n\nfields, each to be set with --config.FIELD=VALUE:\n\n")
    assert about == config.docstring(name)
    fields = config.flat(config.load(name))
    groups = [
        [line.split()[0] for line in group.splitlines() if line[2] != " "]
        for group in table.split("\n\n")
    ]
    assert sorted(sum(groups, [])) == sorted(fields)
    prefixes = [{field.rpartition(".")[0] for field in group} for group in groups]
    assert all(len(prefix) == 1 for prefix in prefixes)
    assert prefixes[:2] == [{""}, {"data"}] and groups[0][0] == "task"
    values = {str(tuple(v) if isinstance(v, list) else v) for v in fields.values()}
    for line in table.splitlines():  # a value is never cut in two
        assert len(line) <= max(width, 65) or line.split(maxsplit=1)[1] in values
    assert "thousands of" in table


def test_a_long_value_has_its_line_to_itself():
    fields = ConfigDict({"a": 1, "long": ("folder:some/where",), "late": 2})
    lines = list(config.describe(fields, {"late": "first", "long": "of a list"}, width=50))
    assert lines == [
        "  late  2               first",
        "  long  ('folder:some/where',)",
        "                        of a list",
        "  a     1",
    ]


def test_classes_are_counted(classes, tmp_path):
    source = open_source(str(classes))
    data = Pipeline((Stream(source, {"image": "image", "label": "label"}),), tmp_path / "cache")
    counts = data.classes((8, 8))
    assert counts == {"bird": 2, "cat": 5, "dog": 4}  # the broken one is none
    assert loop._listed(counts) == "3 classes: bird 2, cat 5, dog 4"
    many = {f"c{n}": 1000 + n for n in range(30)}
    assert loop._listed(many).startswith("30 classes: c0 1,000, c1 1,001, ")
    assert loop._listed(many).endswith("c9 1,009, ... (1,000 to 1,029 images each)")
    alone = Pipeline((Stream(source, {"image": "image"}),), tmp_path / "cache")
    assert alone.classes((8, 8)) == {}


@pytest.mark.long
def test_a_run_with_labels_says_which(classes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [f"--config.data.source={classes}", "--config.model.classes=3", *SMALL]
    words += ["--config.data.cache_dir=cache", "--config.data.channels=3", "--workdir=run"]
    commands.run("train", ["sngan_fashion_mnist", *words])
    errors = capsys.readouterr().err
    assert errors.count("3 classes: bird 2, cat 5, dog 4") == 1
    assert "samples are in run/samples; `ganjax sample --workdir run` draws more" in errors
    # Its classes are asked for by the names of their folders.
    drawn = []
    for label in ("dog", "2", "bird"):
        words = ["--workdir", "run", "--num", "1", "--label", label, "--output", f"{label}.png"]
        commands.run("sample", words)
        drawn.append(np.asarray(Image.open(f"{label}.png")))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("name", "command", "says"),
    [
        ("dcgan_avatars", "sample", "`ganjax sample --workdir runs/x` draws more"),
        ("pix2pix_avatars", "translate", "`ganjax translate --workdir runs/x --input FILES"),
        ("cyclegan_avatars", "translate", "`ganjax translate --workdir runs/x --input FILES"),
        ("adain_compact:smoke", "stylize", "`ganjax export --workdir runs/x .*`ganjax stylize"),
        ("attributes_avatars", "", "^`ganjax export --workdir runs/x .* writes its network"),
    ],
)
def test_the_end_says_which_command_uses_the_model(name, command, says):
    model = tasks.make_model(config.load(name))
    assert model.use == command
    text = train._how_to_go_on(model, Path("runs/x"))
    assert re.search(says, text), text
    assert ("samples are in runs/x/samples" in text) == (model.sheet is not None)


def test_above_a_clone_the_installed_package_is_found(tmp_path):
    """There `ganjax/` is the clone: a folder without __init__.py, which any package hides."""
    (tmp_path / "ganjax" / "docs").mkdir(parents=True)
    result = subprocess.run(
        [sys.executable, "-m", "ganjax", "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0 and result.stdout.startswith("ganjax "), result.stderr
