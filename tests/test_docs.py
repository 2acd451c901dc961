"""The docs: links lead somewhere, commands parse, and the examples of the README run."""

import argparse
import ast
import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganjax import commands, config
from ganjax.commands import models
from ganjax.data.avatars.palette import COLORS
from ganjax.metrics.protocols import parse
from ganjax.weights import keymaps, sources

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [*PAGES, ROOT / "ganjax/weights/bundled/README.md"]
# What stands for words of the user's own.
PLACEHOLDERS = {"COMMAND", "CONFIG", "ARGUMENTS", "FILE", "NAME", "...", "NAMES"}
PREFIXES = {
    "ganjax": None,
    "python train.py": "train",
    "python stylize.py": "stylize",
    "docs/launch/tpu.sh keep": "train",
    "sbatch docs/launch/slurm.sh": "train",
}


def title(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def without_blocks(path: Path) -> str:
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def command_lines(path: Path) -> list[list[str]]:
    """The commands of a page as (name of ganjax's command, words ...)."""
    if path.suffix == ".py":  # the docstring of a config
        text = _joined(ast.get_docstring(ast.parse(path.read_text())))
        lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    else:
        lines = [line for block in blocks(path, "sh") for line in _joined(block).splitlines()]
        lines += re.findall(r"`([^`\n]+)`", without_blocks(path))
    found = []
    for line in lines:
        for part in _joined(line).split(" && "):
            for prefix, name in PREFIXES.items():
                text = re.sub(r"^(\w+=\S+ )+", "", part.strip())
                if text == prefix or text.startswith(f"{prefix} "):
                    words = shlex.split(text.removeprefix(prefix), comments=True)
                    words = [name, *words] if name else words
                    if len(words) > 1 and not PLACEHOLDERS & set(words):
                        found.append(words)
                    elif words and words[0] not in PLACEHOLDERS:
                        assert words[0] in commands.COMMANDS, line
    return found


def _joined(text: str) -> str:
    return re.sub(r"\\\n\s*", "", text)


COMMAND_LINES = sorted(
    {
        (title(path), *words)
        for path in [*PAGES[:2], *PAGES[3:], *(ROOT / "configs").glob("*.py")]
        for words in command_lines(path)
    }
    | {("models", *shlex.split(model.command)[1:]) for model in models.MODELS}
)


@pytest.mark.parametrize("path", TEXTS, ids=title)
def test_links_lead_to_files_and_headings(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_blocks(path)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("path", TEXTS, ids=title)
def test_paths_in_the_text_exist(path):
    """Those into folders of the checkout; names in capitals and globs stand for others."""
    folders = "ganjax|configs|docs|tests|benchmarks"
    for name in re.findall(rf"`((?:{folders})/[\w./]+)`", path.read_text()):
        if not re.search(r"[A-Z]{3}", name.replace("README", "")):
            assert (ROOT / name).exists(), name


def test_docs_named_in_code_exist():
    for folder in ("ganjax", "configs", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"(?<![\w/])docs/[\w/]+\.\w+", path.read_text()):
                assert (ROOT / name).exists(), f"{path}: {name}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


class Parsed(Exception):
    """What a command's parser made of its words."""


@pytest.fixture
def parse_words(monkeypatch):
    """(command, words) -> the parsed arguments and the words that are left; nothing runs."""
    original = argparse.ArgumentParser.parse_known_args

    def stop(self, args=None, namespace=None):
        raise Parsed(*original(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)

    def parse_words(name, words):
        with pytest.raises(Parsed) as caught:
            commands.run(name, words)
        return caught.value.args

    return parse_words


@pytest.mark.parametrize("line", COMMAND_LINES, ids=" ".join)
def test_commands_parse(line, parse_words, tmp_path, monkeypatch):
    _, name, *words = line
    monkeypatch.chdir(tmp_path)
    (own,) = [text for text in blocks(ROOT / "docs/start.md", "python") if "get_config" in text]
    Path("my_config.py").write_text(own)
    if "--help" in words and name != "train":
        with pytest.raises(SystemExit) as end:
            commands.run(name, words)
        assert end.value.code == 0
        return
    arguments, rest = parse_words(name, words)
    if name == "train":
        spec = arguments.name or arguments.config
        # A folder or .zip of images has the fields of DCGAN's config.
        if spec and spec.partition(":")[0].endswith(("/", ".zip")):
            spec = "dcgan_avatars"
        if spec:
            config.load(spec, rest)
        return
    assert not rest
    if name == "evaluate" and arguments.metrics:
        parse(arguments.metrics, video=bool(arguments.video))
    if name == "weights" and hasattr(arguments, "sha256"):
        sources.find(arguments.name)
    if name == "weights" and hasattr(arguments, "format"):
        assert arguments.format in keymaps.FORMATS


def test_benchmarks_exist():
    for path in PAGES:
        for name in re.findall(r"python -m (benchmarks\.\w+)", path.read_text()):
            target = ROOT / name.replace(".", "/")
            assert target.is_dir() or target.with_suffix(".py").is_file(), name


def test_the_config_of_the_start_page_is_one(tmp_path):
    (text,) = blocks(ROOT / "docs/start.md", "python")
    path = tmp_path / "my_config.py"
    path.write_text(text)
    assert config.load(str(path)).model.width == 32
    assert config.load(f"{path}:smoke").data.source == "avatars"


def test_adains_example_runs():
    found = blocks(ROOT / "docs/python.md", "python")
    (text,) = [text.replace("256", "8") for text in found if "adain.adain" in text]
    values = {}
    exec(text, values)
    assert values["gradient"].shape == values["features"].shape == (4, 32, 32, 8)
    np.testing.assert_allclose(values["again"], values["features"], atol=1e-5)


TINY = [
    "--config.data.image_size=32",
    "--config.model.width=8",
    "--config.batch_size=4",
    "--config.total_kimg=0.04",
    "--config.save_every=0.04",
    "--config.sample_every=0",
]


@pytest.fixture
def ganjax(tmp_path, monkeypatch):
    """Runs a command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def ganjax(text, *more):
        name, *words = shlex.split(text)
        commands.run(name, [*words, *more])

    return ganjax


def write_pictures(folder: Path, count: int, side: int = 40) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.long
def test_faces_are_trained_sampled_measured_and_exported(ganjax):
    ganjax("train dcgan_avatars:smoke --workdir=runs/dcgan_avatars", *TINY)
    ganjax("sample --workdir runs/dcgan_avatars --num 16 --seed 7")
    ganjax("sample --workdir runs/dcgan_avatars --num 3 --output faces/")
    ganjax("sample --workdir runs/dcgan_avatars --num 2 --output walk.mp4")
    ganjax("sample --workdir runs/dcgan_avatars --growth --output growth.gif")
    assert size("grid.png") == (4 * 34 + 2,) * 2 and size("faces/000002.png") == (32, 32)
    assert Path("walk.mp4").stat().st_size and Path("growth.gif").stat().st_size
    ganjax("evaluate --workdir runs/dcgan_avatars --metrics frechet16_avatars --json out.json")
    assert Path("out.json").exists()
    ganjax("export --workdir runs/dcgan_avatars --output generator.safetensors")
    start = "--config.init_from=generator.safetensors"
    ganjax(f"train dcgan_avatars:smoke {start} --workdir=runs/second", *TINY)


@pytest.mark.slow
def test_dcgan_celeba_is_trained_on_a_zip(ganjax):
    write_pictures(Path("faces"), 8)
    with zipfile.ZipFile("my_faces.zip", "w") as file:
        for path in Path("faces").iterdir():
            file.write(path)
    source = "--config.data.source=folder:my_faces.zip --workdir=runs/my_faces"
    ganjax(f"train --config=configs/dcgan_celeba.py:smoke {source}", *TINY)
    ganjax("sample --workdir runs/my_faces --num 1")
    assert Path("grid.png").exists()


@pytest.mark.long
def test_labels_become_photos(ganjax):
    ganjax("train pix2pix_facades:smoke --workdir=runs/pix2pix_facades", *TINY)
    Path("labels").mkdir()
    Image.fromarray(np.repeat(COLORS[:, None], 24, axis=1)).save("labels/a.png")
    ganjax("translate --workdir runs/pix2pix_facades --input labels/ --output photos/")
    assert size("photos/a.png") == (24, 10)


@pytest.mark.slow
def test_a_photo_is_stylized(ganjax):
    write_pictures(Path("pictures"), 2)
    words = "--content pictures/0.png --style pictures/1.png --style_size 64 --output out.png"
    ganjax(f"stylize {words}")
    assert size("out.png") == (40, 40)
