"""Images named by their path alone, wherever a source is named."""

import pytest
from ml_collections import ConfigDict
from PIL import Image

from ganjax import commands, config
from ganjax.commands import prepare
from ganjax.data.avatars.source import Avatars
from ganjax.data.source import open_source
from ganjax.data.streams import unpaired
from ganjax.errors import UserError
from ganjax.images import read_header


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (16, 16), "teal").save(folder / f"{name}.png")


def test_a_path_alone_is_a_folder_of_images(here):
    fill(here / "photos", "a", "b")
    for path in ("photos", "photos/", "./photos", str(here / "photos")):
        assert open_source(path).names == open_source(f"folder:{path}").names == ["a.png", "b.png"]


def test_a_folder_called_avatars_does_not_hide_the_embedded_data(here):
    fill(here / "avatars", "a")
    assert isinstance(open_source("avatars"), Avatars)
    assert open_source("./avatars").names == open_source("avatars/").names == ["a.png"]
    assert open_source("folder:avatars").names == ["a.png"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("photos/", "^photos/ does not exist"),
        ("photos.zip", "^photos.zip does not exist"),
        ("photos", "give avatars.*, folder:PATH"),
        ("webcam:0", "give avatars.*, folder:PATH"),
        ("", "give avatars.*, folder:PATH"),
    ],
)
def test_what_does_not_exist(here, spec, says):
    with pytest.raises(UserError, match=says):
        open_source(spec)


MORE = {"flip": False, "limit": 0, "range": "", "follow_links": False}


def parse(spec):
    data = {"content": (spec,), "load_size": "9", "zoom": 1.0, "channels": 3}
    (stream,) = unpaired(ConfigDict(data | MORE), "content")
    return stream.source.names, stream.load_size


@pytest.mark.parametrize("form", ["", "folder:"])
def test_a_whole_name_wins_over_its_suffixes(here, form):
    fill(here / "photos", "plain")
    assert parse(f"{form}photos@16") == (["plain.png"], (16, 16))
    assert parse(f"{form}photos@16*3") == (["plain.png"], (16, 16))
    fill(here / "photos@16", "at")
    assert parse(f"{form}photos@16") == (["at.png"], (9, 9))
    assert parse(f"{form}photos@16*3") == (["at.png"], (9, 9))
    assert parse(f"{form}photos@16@12") == (["at.png"], (12, 12))
    fill(here / "photos@16*3", "times")
    assert parse(f"{form}photos@16*3") == (["times.png"], (9, 9))
    assert parse(f"{form}photos@12") == (["plain.png"], (12, 12))


def test_smoke_keeps_a_path(here):
    fill(here / "photos*2", "a")
    fields = ConfigDict({"data": {"source": "photos*2", "content": ("photos*2@64",), "style": ()}})
    smoke = {"data.source": "avatars", "data.content": ("avatars",), "data.style": ("avatars",)}
    config.with_variants(fields, "smoke", {"smoke": smoke})
    assert fields.data.source == "photos*2" and fields.data.content == ("photos*2@64",)
    assert fields.data.style == ("avatars",)


def test_prepare_and_evaluate_take_paths(here, capsys):
    fill(here / "photos", "a", "b")
    prepare.main(["photos", "--image_size", "8", "--cache_dir", str(here / "cache")])
    assert "2 images are decoded" in capsys.readouterr().err
    commands.run(
        "evaluate", ["--generated", "photos", "--reference", "photos/", "--metrics", "ssim"]
    )
    assert capsys.readouterr().out.split()[:2] == ["ssim", "1"]


def test_headers_tell_what_is_read(tmp_path):
    cases = {"L": (True, False), "LA": (True, True), "RGB": (False, False), "RGBA": (False, True)}
    for mode, (gray, transparent) in cases.items():
        Image.new(mode, (30, 20)).save(tmp_path / "a.png")
        header = read_header((tmp_path / "a.png").read_bytes())
        assert header == ((20, 30), gray, transparent), mode
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert read_header((tmp_path / "a.jpg").read_bytes()).image_size == (30, 20)
    with pytest.raises(UserError, match="is no image"):
        read_header(b"text")
