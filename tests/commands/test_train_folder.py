"""`ganjax train` on a folder or .zip of images: what is chosen, said, and chosen again."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganjax import commands
from ganjax.commands import choose
from ganjax.commands.choose import Images
from ganjax.errors import UserError
from ganjax.training.checkpoints import Checkpoints

TINY = ["--config.model.width=8", "--config.data.image_size=16", "--config.batch_size=8"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path


def fill(folder: Path, count: int = 20, *, size=(90, 70), mode="RGB", suffix="png") -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 255, (size[0], size[1], 4), np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number}.{suffix}")
    return folder


def config_of(workdir) -> dict:
    return json.loads((Path(workdir) / "config.json").read_text())


@pytest.mark.parametrize(
    ("images", "platform", "wanted"),
    [
        (Images(10_000, (109, 89)), "gpu", {"data.image_size": "64", "total_kimg": 250.0}),
        (Images(50, (109, 89)), "gpu", {"total_kimg": 100.0, "data.flip": True}),
        (Images(10**6, (109, 89)), "tpu", {"total_kimg": 5000.0, "save_every": 20.0}),
        (Images(10**6, (109, 89)), "cpu", {"data.image_size": "64", "total_kimg": 500.0}),
        (Images(10**6, (28, 28)), "cpu", {"data.image_size": "32", "total_kimg": 3000.0}),
        (Images(10, (64, 4000)), "cpu", {"data.image_size": "64", "total_kimg": 100.0}),
        (Images(10, (63, 4000)), "cpu", {"data.image_size": "32"}),
        (Images(10, (99, 99), gray=True), "cpu", {"data.channels": 1}),
        (Images(10, (99, 99), transparent=True), "cpu", {"data.channels": 3}),
    ],
)
def test_choices(images, platform, wanted):
    chosen = choose.choose(images, platform)
    assert {name: chosen[name] for name in wanted} == wanted
    assert chosen["total_kimg"] / chosen["sample_every"] >= 25  # pictures to watch


@pytest.mark.parametrize("rate", choose.CPU_RATES.items())
def test_on_a_cpu_it_ends_the_same_day(rate):
    side, images_per_second = rate
    chosen = choose.choose(Images(10**7, (side, side)), "cpu")
    assert chosen["data.image_size"] == str(side)
    assert 1000 * chosen["total_kimg"] / images_per_second < 3 * 3600


def test_a_look_reads_headers_of_a_sample(here):
    fill(here / "gray", mode="L", size=(40, 70))
    assert choose.look("gray") == Images(20, (40, 70), gray=True)
    fill(here / "colors" / "a", 3, size=(10, 30))
    fill(here / "colors" / "b", 4, size=(50, 80), mode="RGBA")
    (here / "colors" / "a" / "broken.png").write_bytes(b"no image")
    assert choose.look("folder:colors") == Images(8, (50, 80), transparent=True, classes=2)
    with zipfile.ZipFile("broken.zip", "w") as archive:
        archive.writestr("a.png", "no image")
    with pytest.raises(UserError, match="can be read: a.png is no image"):
        choose.look("broken.zip")


def test_a_look_takes_few_of_many(here, monkeypatch):
    fill(here / "many", 150, size=(2, 2))
    looked = []
    monkeypatch.setattr(
        choose, "read_header", lambda content, read=choose.read_header: looked.append(read(content))
        or looked[-1]
    )  # fmt: skip
    assert choose.look("many").size == 150 and 32 < len(looked) <= choose.SAMPLE


def test_what_is_a_config_and_what_are_images(here):
    fill(here / "photos", 1)
    fill(here / "dcgan_avatars", 1)
    fill(here / "odd:smoke", 1)
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write("photos/0.png")
    (here / "my.py").touch()
    for spec, found in {
        "photos": ("photos", ""),
        "photos/:smoke": ("photos/", "smoke"),
        "folder:photos:smoke": ("photos", "smoke"),
        "a.zip": ("a.zip", ""),
        "odd:smoke": ("odd:smoke", ""),
        "gs://bucket/a.zip:smoke": ("gs://bucket/a.zip", "smoke"),
        "dcgan_avatars": None,
        "dcgan_avatars:smoke": None,
        "dcgan_avatars/": ("dcgan_avatars/", ""),
        "my.py": None,
        "my.py:smoke": None,
        "absent": None,
        "configs/absent.py": None,
    }.items():
        assert choose.find_images(spec) == found, spec
    for spec in ("absent/", "absent.zip:smoke", "absent/of/here"):
        with pytest.raises(UserError, match="^absent.* does not exist; give a folder"):
            choose.find_images(spec)


def test_runs_are_called_as_their_images(here, monkeypatch):
    names = {"photos/": "photos", "a/b.c/": "b.c", "a/b.c.ZIP": "b.c", "~/x": "x", "/": "images"}
    for path, name in names.items():
        assert choose.name_of(path) == name
    (here / "photos").mkdir()
    monkeypatch.chdir(here / "photos")
    assert choose.name_of(".") == "photos"


@pytest.mark.slow
def test_a_folder_is_trained_on_and_gone_on_with(here, capsys):
    fill(here / "my photos" / "cat", 30)
    fill(here / "my photos" / "dog", 10)
    words = ["my photos/", *TINY, "--config.total_kimg=0.016"]
    commands.run("train", words)
    said = capsys.readouterr().err
    assert "my photos: 40 images of about 90x70 (height x width), 2 classes" in said
    assert "chosen for runs/my photos: DCGAN at 16x16, mirrored at random, 0.016 kimg (0.4" in said
    assert "--config.total_kimg=N" in said and "warning: 40 images are few" in said
    assert (
        "samples are in runs/my photos/samples; `ganjax sample --workdir 'runs/my photos'" in said
    )
    config = config_of("runs/my photos")
    assert config["data"]["source"] == "folder:my photos" and config["model"]["form"] == "4x4"

    # The same again: done; further, with the settings that were chosen then.
    commands.run("train", words)
    captured = capsys.readouterr()
    assert "already trained to 0.016 kimg" in captured.out and "ganjax sample" in captured.err
    assert "the settings of runs/my photos" in captured.err and "chosen" not in captured.err
    commands.run("train", ["my photos", "--config.total_kimg=0.032"])
    assert Checkpoints.read_only(here / "runs/my photos/checkpoints").steps[-1] == 4
    assert config_of("runs/my photos")["model"]["width"] == 8

    # What was chosen once stays, whatever would be chosen today.
    fill(here / "other", 20)
    with pytest.raises(SystemExit):
        commands.run("train", ["other", "--workdir=runs/my photos", *TINY])
    assert "holds a run on other images or labels" in capsys.readouterr().err


def test_what_was_chosen_is_chosen_again(here):
    fill(here / "photos")
    folder = here / "runs" / "photos"
    first, _ = choose.load("photos", "", ["--config.seed=3"], folder, "cpu")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(first.to_json())
    again, lines = choose.load("photos/", "", [], folder, "gpu")
    assert again == first and again.seed == 3 and "the settings of" in lines[1]
    fill(here / "others", size=(40, 40))
    other, lines = choose.load("others", "", [], folder, "gpu")
    assert other.data.image_size == "32" and other.seed == 0 and "chosen" in lines[1]


def test_smoke_is_a_try_on_the_same_images(here):
    fill(here / "photos")
    config, _ = choose.load("photos", "smoke", [], here / "run", "cpu")
    assert config.data.source == "folder:photos" and config.total_kimg < 1
    with pytest.raises(UserError, match="there is smoke"):
        choose.load("photos", "smock", [], here / "run", "cpu")


def test_runs_do_not_lie_among_their_images(here, monkeypatch):
    fill(here / "photos")
    monkeypatch.chdir("photos")
    with pytest.raises(UserError, match="runs/photos would lie among the images of ."):
        choose.load(".", "", [], Path("runs/photos"), "cpu")


def test_help_on_images(here, capsys):
    fill(here / "photos", mode="L", size=(40, 50))
    commands.run("train", ["photos", "--help"])
    out = capsys.readouterr().out.splitlines()
    assert "20 images of about 40x50" in out[0] and "gray" in out[0] and "32x32" in out[1]
    assert any(line.split()[:2] == ["data.channels", "1"] for line in out)
    assert not (here / "runs").exists()
