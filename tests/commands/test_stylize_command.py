"""stylize.py and `ganjax export` as users meet them, with a small random model.

Nearly all images have 64x64 pixels: every other size is compiled anew.
"""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from ganjax import commands, outputs, tasks, weights
from ganjax.commands import export, sample, stylize
from ganjax.config import load as load_config
from ganjax.data.folder import Picture, list_pictures
from ganjax.errors import UserError
from ganjax.images import contained, opaque, read_image
from ganjax.nets import stylizers
from ganjax.stylize import jobs
from ganjax.training.checkpoints import Checkpoints
from ganjax.weights.safetensors import read_metadata, read_safetensors, write_safetensors

ROOT = Path(__file__).parents[2]


def drawn_params():
    random = np.random.default_rng(0)

    def draw(like):
        deviation = (1 / np.prod(like.shape[:-1])) ** 0.5 if len(like.shape) > 1 else 0.1
        return random.normal(scale=deviation, size=like.shape).astype(np.float32)

    shapes = jax.eval_shape(stylizers.make_compact(8).init, jax.random.key(0))
    return jax.tree.map(draw, shapes)


def flat(params):
    leaves = jax.tree.leaves_with_path(params)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in leaves}


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    write_safetensors(path, flat(drawn_params()), {})
    return path


@pytest.fixture
def run(model, monkeypatch, capsys, tmp_path):
    """Runs the command in `tmp_path`; its status and its lines on stderr, but "wrote ..."."""
    monkeypatch.chdir(tmp_path)

    def run(*words, weights=model):
        words = ["--style_size", 64, *words, *(["--weights", weights] if weights else [])]
        status, _ = 0, capsys.readouterr()
        try:
            commands.run("stylize", list(map(str, words)))
        except SystemExit as exit:
            status = exit.code
        lines = capsys.readouterr().err.splitlines()
        wrote = [line for line in lines if line.startswith("wrote ")]
        assert len(wrote) <= 1 and lines[len(lines) - len(wrote) :] == wrote
        return status, lines[: len(lines) - len(wrote)]

    return run


def picture(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def save(path: str, image=0, **options) -> str:
    """Writes an array, a Pillow image or the picture of a seed."""
    image = picture(image) if isinstance(image, int) else image
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **options)
    return path


def load(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=95)
    return load(content)


def names(folder) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def drawn_alone(run, content, style, **options):
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    output = f"alone_{zlib.crc32(repr((content, style, options)).encode())}.png"
    assert run("--content", content, "--style", style, "--output", output, *words) == (0, [])
    return load(output)


# What is written


def test_every_content_gets_every_style(run):
    for seed, name in enumerate(["in/deep/a.png", "in/b.jpg", "c.bmp", "s.png", "t.png"]):
        save(name, seed)
    with zipfile.ZipFile("styles.zip", "w") as archive:
        archive.write("s.png", "inside/s.png")
        archive.write("t.png", "t.png")
    words = ("--content", "in", "c.bmp", "--style", "styles.zip", "--output", "new/out")
    assert run(*words) == (0, [])
    assert names("new/out") == [f"{content}__{style}.png" for content in "abc" for style in "st"]
    for path in Path("new/out").iterdir():
        assert load(path).shape == (64, 64, 3)
    for content, style in (("in/deep/a.png", "t.png"), ("c.bmp", "s.png")):
        path = Path("new/out") / f"{Path(content).stem}__{Path(style).stem}.png"
        np.testing.assert_array_equal(load(path), drawn_alone(run, content, style))
    assert not np.array_equal(load("new/out/a__s.png"), load("new/out/a__t.png"))


def pictures(*names):
    return [Picture(name, bytes) for name in names]


def names_of(contents, styles, **options):
    output = outputs.Destination(Path("out"), overwrite=False)
    argv = ["--content", "x", "--style", "y", "--output", "out"]
    argv += [word for name, value in options.items() for word in (f"--{name}", *value)]
    arguments = stylize._parse(argv)
    targets = stylize._targets(arguments, output, pictures(*contents), pictures(*styles))
    return {pair: path.name for pair, path in targets.items()}


@pytest.mark.parametrize(
    ("contents", "name"),
    [
        (["deep/a.png", "b.png"], "a__s.png"),
        (["x/a.png", "y/a.png"], "x_a__s.png"),
        (["a.png", "a.jpg"], "a.png__s.png"),
        (["a.png", "A.jpg"], "a.png__s.png"),
        (["a.png", "a.png"], "001_a.png__s.png"),
        (["x/a.png", "x_a.png"], "a__s.png"),
        (["x/a.png", "x_a.png", "y/a.png"], "001_x_a.png__s.png"),
        (["../../a.png", "/etc/a.png"], ".._.._a__s.png"),
        ([f"{'长' * 70}.png", "b.png"], f"001_{'长' * 33}__s.png"),
        ([f"{'x' * 300}1.png", f"{'x' * 300}2.png"], f"001_{'x' * 100}__s.png"),
        (["odd\udcff.png", "b.png"], "odd\udcff__s.png"),
    ],
)
def test_names_do_not_collide(contents, name):
    found = names_of(contents, ["s.png"])
    assert found[0, 0] == name
    assert len({value.casefold() for value in found.values()}) == len(contents)
    for value in found.values():
        assert "/" not in value and len(value.encode(errors="replace")) < 240


def test_names_of_pairs_do_not_collide():
    found = names_of(["a.png", "a__b.png"], ["b__c.png", "c.png"])
    assert len(set(found.values())) == 4


def test_a_mixture_is_named_after_all_its_styles():
    assert names_of(["a.png"], ["s.png", "t.png"], style_weights="12") == {(0, 0): "a__s+t.png"}
    styles = [f"{number:050d}.png" for number in range(9)]
    (name,) = names_of(["a.png"], styles, style_weights="1" * 9).values()
    assert len(name) < 200


def test_equal_stems_are_all_written(run):
    for seed, name in enumerate(["one/a.png", "two/a.png", "two/a.jpg", "s.png"]):
        save(name, seed)
    words = ("--content", "one", "two", "--style", "s.png", "--output", "out")
    assert run(*words)[0] == 0
    found = [load(path).tobytes() for path in Path("out").iterdir()]
    assert len(set(found)) == 3


def test_one_file(run):
    content, style = save("a.png", 1), save("s.png", 2)
    drawn = drawn_alone(run, content, style)
    assert run("--content", content, "--style", style, "--output", "b/out.JPG") == (0, [])
    with Image.open("b/out.JPG") as image:
        assert image.format == "JPEG" and image.size == (64, 64)
        np.testing.assert_array_equal(image, as_jpeg(drawn))
    Path("v1.0").mkdir()  # a dot makes no file of a folder
    assert run("--content", content, "--style", style, "--output", "v1.0") == (0, [])
    np.testing.assert_array_equal(load("v1.0/a__s.png"), drawn)


def test_a_sheet_shows_contents_styles_and_pairs(run):
    wide = save("a/wide.png", picture(0, 32, 64))
    contents = [save("a/x.png", 1), wide]
    styles = [save("s/s.png", 3), save("s/t.png", 4)]
    words = ("--content", "a", "--style", "s", "--output", "sheet.png", "--grid")
    assert run(*words) == (0, [])
    sheet, step = load("sheet.png"), stylize.CELL + 2
    assert sheet.shape == (3 * step + 2, 3 * step + 2, 3)

    def cell(row, column):
        return sheet[2 + row * step :, 2 + column * step :][: stylize.CELL, : stylize.CELL]

    assert np.all(cell(0, 0) == 255)
    for row, content in enumerate(sorted(contents), 1):
        np.testing.assert_array_equal(cell(row, 0), contained(load(content), stylize.CELL))
        for column, style in enumerate(styles, 1):
            alone = contained(drawn_alone(run, content, style), stylize.CELL)
            np.testing.assert_array_equal(cell(row, column), alone)
    for column, style in enumerate(styles, 1):
        np.testing.assert_array_equal(cell(0, column), contained(load(style), stylize.CELL))


def test_existing_files_are_kept(run):
    words = ("--content", save("a.png", 1), save("b.png", 2), "--style", save("s.png", 3))
    Path("out").mkdir()
    Path("out/a__s.png").write_bytes(b"mine")
    status, lines = run(*words, "--output", "out")
    assert status == 0 and len(lines) == 1 and "1 of 2 pictures are in out already" in lines[0]
    assert Path("out/a__s.png").read_bytes() == b"mine" and load("out/b__s.png").size
    status, lines = run(*words, "--output", "out")
    assert status == 0 and "2 of 2 pictures are in out already" in lines[0]
    assert run(*words, "--output", "out", "--overwrite") == (0, [])
    assert load("out/a__s.png").shape == (64, 64, 3)
    Path("one.png").write_bytes(b"mine")
    one = ("--content", "a.png", "--style", "s.png", "--output", "one.png")
    assert run(*one) == (2, ["error: one.png exists; --overwrite replaces it"])
    sheet = run(*words, "--output", "one.png", "--grid")
    assert sheet == (2, ["error: one.png exists; --overwrite replaces it"])
    assert Path("one.png").read_bytes() == b"mine"
    assert run(*one, "--overwrite") == (0, []) and load("one.png").shape == (64, 64, 3)


def test_files_say_that_a_model_made_them(run, model):
    words = ("--content", save("a.png", 1), "--style", save("s.png", 2))
    for name in ("a1.png", "a1.jpg"):
        assert run(*words, "--output", name) == (0, [])
        content = Path(name).read_bytes()
        assert b"/digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in content
        assert b"small.safetensors" in content and str(model.parent).encode() not in content
        assert run(*words, "--output", f"no_{name}", "--no_metadata") == (0, [])
        for word in (b"rainedAlgorithmicMedia", b"ganjax"):
            assert word not in Path(f"no_{name}").read_bytes()
    assert Image.open("a1.png").text["DigitalSourceType"].endswith("AlgorithmicMedia")


# What is read


def _forms() -> dict[str, Image.Image]:
    color = Image.fromarray(picture(5))
    alpha = Image.fromarray(np.uint8(np.arange(4096).reshape(64, 64) // 16))
    palette = color.quantize(16)
    palette.info["transparency"] = 3
    rgba = color.copy()
    rgba.putalpha(alpha)
    gray = np.asarray(color.convert("L"))
    return {
        "gray.png": Image.fromarray(gray),
        "gray_alpha.png": rgba.convert("LA"),
        "rgba.png": rgba,
        "deep.png": Image.fromarray(gray.astype(np.uint16) * 257),
        "bits.png": color.convert("1"),
        "palette.png": palette,
        "cmyk.jpg": color.convert("CMYK"),
        "turned.jpg": color,
    }


def test_every_form_of_image_arrives_as_people_see_it(run):
    """Under a black mask what goes in comes out."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image in _forms().items():
        save(f"in/{name}", image, **({"exif": exif} if name == "turned.jpg" else {}))
    save("black.png", np.zeros((64, 64), np.uint8))
    words = ("--content", "in", "--style", save("s.png", 2), "--output", "out")
    assert run(*words, "--content_mask", "black.png") == (0, [])
    assert len(names("out")) == len(_forms())
    for name in _forms():
        with Image.open(f"in/{name}") as image:
            transparent = "A" in image.mode or "transparency" in image.info
        shown = load(f"out/{Path(name).stem}__s.png")
        assert shown.shape == (64, 64, 4 if transparent else 3)
        wanted = read_image(f"in/{name}", channels=shown.shape[2])
        np.testing.assert_array_equal(shown, wanted)
    turned = load("out/turned__s.png").astype(int) - np.rot90(picture(5), -1)
    assert np.abs(turned).mean() < 6
    np.testing.assert_array_equal(load("out/deep__s.png"), load("out/gray__s.png"))


def test_alpha_is_kept(run):
    rgba = _forms()["rgba.png"]
    plain = opaque(np.asarray(rgba))
    content, style = save("a.png", rgba), save("s.png", 2)
    drawn = drawn_alone(run, content, style)
    np.testing.assert_array_equal(drawn[..., 3], np.asarray(rgba)[..., 3])
    as_seen = drawn_alone(run, save("plain.png", plain), style)
    assert np.abs(as_seen.astype(int) - plain).mean() > 5
    clear = drawn[..., 3] == 255
    np.testing.assert_array_equal(drawn[clear][:, :3], as_seen[clear])
    possible = np.all((drawn > 0) & (drawn < 255), axis=2)
    assert possible.sum() > 100
    assert np.abs(opaque(drawn).astype(int) - as_seen)[possible].max() <= 1
    assert run("--content", content, "--style", style, "--output", "a.jpg") == (0, [])
    np.testing.assert_array_equal(load("a.jpg"), as_jpeg(opaque(drawn)))


def test_sizes(run):
    save("a.png", np.concatenate([picture(1), picture(2)[:, :32]], axis=1))
    rgba = _forms()["rgba.png"]
    save("rgba.png", rgba)
    style = save("s.png", 3)
    resized = np.asarray(rgba.resize((32, 32), Image.Resampling.BICUBIC))
    drawn = drawn_alone(run, "rgba.png", style, size=32)
    np.testing.assert_array_equal(drawn[..., 3], resized[..., 3])
    words = ("--content", "a.png", "--style", style, "--crop", "--output")
    assert run(*words, "crop.png") == (0, [])
    save("middle.png", load("a.png")[:, 16:80])
    np.testing.assert_array_equal(load("crop.png"), drawn_alone(run, "middle.png", style))
    assert run(*words, "small.png", "--size", 32) == (0, [])
    assert load("small.png").shape == (32, 32, 3)


def test_flags_reach_the_job(run, monkeypatch):
    found = []
    monkeypatch.setattr(jobs, "draw", lambda job, *_: found.append(job) or iter(()))
    save("a.png", 1), save("s.png", 2), save("t.png", 3)
    flags = (
        "--alpha 0.5 --style_weights 1 3 --preserve_color coral --size 100 --style_size 300 "
        "--crop --tile --batch_size 3 --content_mask a.png --style_mask s.png t.png"
    )
    words = ("--content", "a.png", "--style", "s.png", "t.png", "--output", "out")
    assert run(*words, *flags.split()) == (0, [])
    (job,) = found
    assert job[2:3] == ([1, 3],) and job[5:] == (0.5, "coral", 100, 300, True, 1024, 3)
    assert [[p.name for p in group] for group in (job.contents, job.styles)] == [
        ["a.png"], ["s.png", "t.png"],
    ]  # fmt: skip
    assert [[p.name for p in group] for group in job[3:5]] == [["a.png"], ["s.png", "t.png"]]


@pytest.mark.slow
def test_mixtures_and_masks(run):
    content, styles = save("a.png", 1), [save("s.png", 2), save("t.png", 3)]
    left, right = np.zeros((2, 64, 64), np.uint8)
    left[:, :20], right[:, 40:] = 255, 255
    masks = [save("left.png", left), save("right.png", right)]
    words = ("--content", content, "--style", *styles, "--output")
    assert run(*words, "one.png", "--style_weights", 0, 2) == (0, [])
    np.testing.assert_array_equal(load("one.png"), drawn_alone(run, content, styles[1]))
    regions = ("--style_weights", 1, 1, "--content_mask", *masks)
    assert run(*words, "regions.png", *regions) == (0, [])
    changed = np.any(load("regions.png") != load(content), axis=2)
    assert not changed[:, 20:40].any()
    assert changed[:, :20].mean() > 0.9 and changed[:, 40:].mean() > 0.9
    both = drawn_alone(run, content, styles[0], style_mask=masks[0])
    assert np.any(both != drawn_alone(run, content, styles[0]))


def test_the_limit_is_told(run, monkeypatch):
    assert stylize.LIMIT == jobs.LIMIT  # the help is written without importing it
    monkeypatch.setattr(jobs, "LIMIT", 64)
    words = ("--content", save("a.png", picture(1, 128, 128)), "--style", save("s.png", 2))
    line = "a.png is scaled down to 64x64 pixels; --tile keeps its size"
    assert run(*words, "--output", "a1.png") == (0, [line])
    assert run(*words, "--output", "a2.png", "--crop") == (0, [line])
    assert run(*words, "--output", "a3.png", "--size", 64) == (0, [])  # what was asked for
    for name in ("a1.png", "a2.png", "a3.png"):
        assert load(name).shape == (64, 64, 3)


def test_progress_is_shown_to_people(run, monkeypatch):
    save("in/a.png", 1), save("in/b.png", 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    status, lines = run("--content", "in", "--style", save("s.png", 3), "--output", "out")
    assert status == 0 and "2/2" in lines[-1]


@pytest.mark.slow
def test_strips(run):
    content, style = save("a.png", picture(1, 4, 3000)), save("s.png", picture(2, 3000, 4))
    words = ("--content", content, "--style", style, "--style_size", 512, "--output", "out.png")
    status, lines = run(*words)
    assert status == 0 and lines == ["a.png is scaled down to 2048x3 pixels; --tile keeps its size"]
    assert load("out.png").shape == (3, 2048, 3)


def test_a_jpeg_has_its_limits(run, monkeypatch):
    monkeypatch.setitem(outputs.MAX_SIDES, "JPEG", 60)
    words = ("--content", save("a.png", 1), "--style", save("s.png", 2), "--output", "out.jpg")
    message = "error: out.jpg: JPEG has up to 60 pixels a side; give FILE.png"
    assert run(*words) == (2, [message])
    assert not Path("out.jpg").exists()


# Broken and hostile files


def _giant_png() -> bytes:
    header = (60000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    parts = [
        len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _write_broken(folder: Path) -> list[str]:
    folder.mkdir()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    content = io.BytesIO()
    noise.save(content, "JPEG")
    (folder / "text.png").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(content.getvalue()[:900])
    (folder / "giant.png").write_bytes(_giant_png())
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    return sorted(["text.png", "empty.png", "truncated.jpg", "giant.png", "dangling.png"])


def _zip_with_broken_member(path: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # stored, not compressed
        for name in ("zipped.png", "good.png"):
            archive.writestr(name, Path(save(name, 7)).read_bytes())
    content = bytearray(Path(path).read_bytes())
    content[content.index(b"IDAT") + 20] ^= 0xFF
    Path(path).write_bytes(content)


def reported(lines) -> list[str]:
    return [re.fullmatch(r"error: ([^ :]+): .+", line)[1] for line in lines]


def test_broken_contents_are_named_and_the_rest_goes_on(run, tmp_path):
    broken = _write_broken(tmp_path / "in")
    save("in/a.png", 1)
    _zip_with_broken_member("more.zip")
    words = ("--content", "in", "more.zip", "--style", save("s.png", 2), "--output", "out")
    status, lines = run(*words)
    assert status == 1
    assert sorted(reported(lines)) == sorted([*broken, "zipped.png"])
    assert names("out") == ["a__s.png", "good__s.png"]


def test_broken_styles_are_named_and_the_rest_goes_on(run, tmp_path):
    broken = _write_broken(tmp_path / "styles")
    save("styles/s.png", 2)
    words = ("--content", save("a.png", 1), "--style", "styles", "--output")
    status, lines = run(*words, "out")
    assert status == 1 and reported(lines) == broken and names("out") == ["a__s.png"]
    status, lines = run(*words, "sheet.png", "--grid")
    assert status == 1 and reported(lines) == broken
    assert load("sheet.png").shape == (2 * 258 + 2, 2 * 258 + 2, 3)  # of what there is
    status, lines = run(*words, "mixed", "--style_weights", *"111111")
    assert status == 1 and reported(lines) == broken and not Path("mixed").exists()


def test_a_broken_only_file(run):
    Path("a.png").write_text("no image")
    words = ("--content", "a.png", "--style", save("s.png", 2), "--output")
    for output in (["out.png"], ["sheet.png", "--grid"], ["out"]):
        status, lines = run(*words, *output)
        assert status == 1 and reported(lines) == ["a.png"]
        assert not Path(output[0]).exists()


def test_broken_masks(run):
    Path("m.png").write_text("no image")
    save("black.png", np.zeros((8, 8), np.uint8))
    words = ("--content", save("a.png", 1), "--style", save("s.png", 2), "--output", "out.png")
    status, (line,) = run(*words, "--content_mask", "m.png")
    assert status == 1 and line.startswith("error: a.png: its mask m.png: is no image in")
    status, (line,) = run(*words, "--style_mask", "m.png")
    assert status == 1 and line.startswith("error: s.png: its mask m.png: is no image in")
    status, lines = run(*words, "--style_mask", "black.png")
    assert status == 1 and lines == ["error: s.png: its mask black.png is black all over"]


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # to read it would take forever
    with pytest.raises(UserError, match="pipe.png is no file"):
        list_pictures([tmp_path / "pipe.png"])
    with pytest.raises(UserError, match="absent.png does not exist"):
        list_pictures([tmp_path / "absent.png"])


# What is refused at once


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--alpha 2", "--alpha is 2.0; it must be from 0 to 1"),
        ("--alpha nan", "--alpha is nan"),
        ("--size -5", "--size is -5; it must be 0 or more"),
        ("--style_size -1", "--style_size is -1"),
        ("--tile -1", "--tile is -1"),
        ("--batch_size -1", "--batch_size is -1; it must be 0 or more"),
        ("--style_weights 1", "--style_weights has 1 weights for 2 styles"),
        ("--style_weights 1 -1", "--style_weights must be 0 or more, and one above 0"),
        ("--style_weights 0 0", "--style_weights must be 0 or more, and one above 0"),
        ("--style_weights 1 inf", "--style_weights must be 0 or more"),
        ("--content_mask s.png t.png", "has 2 masks; give one; --style_weights takes more"),
        (
            "--style_weights 1 1 --content_mask s.png t.png a.png",
            "has 3 masks; give one, or 2: one for each style",
        ),
        ("--style_mask s.png t.png a.png", "--style_mask has 3 masks for 2 styles"),
        ("--content absent.png", "absent.png does not exist"),
        ("--content_mask absent.png", "absent.png does not exist"),
        ("--style empty", "empty holds nothing, no image"),
        ("--style no.zip", "no.zip is neither a folder nor a .zip file"),
        ("--output out.png", "2 pictures go to a folder, or with --grid to one sheet"),
        ("--output out.gif", "give FILE.png, .jpg, .jpeg, .webp, .tif, .tiff, or a folder"),
        ("--output sheet --grid", "a sheet goes to one file, e.g. sheet.png"),
        ("--output empty --grid", "a sheet goes to one file, e.g. sheet.png"),
        ("--output plain", "--output plain is a file; give FILE.png, .jpg"),
        ("--output plain/out", "plain is a file; give a path without it"),
        ("--weights absent.safetensors", "absent.safetensors do not exist; get them"),
        ("--weights plain", "plain.safetensors do not exist"),
        ("--weights torn.safetensors", "torn.safetensors is no whole safetensors file"),
        ("--weights other.safetensors", "are not the compact model's; choose another --model"),
        ("--model vgg19", "adain_decoder"),
    ],
)
def test_what_makes_no_sense_is_one_line(words, message, run, monkeypatch, tmp_path):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path / "none"))
    for name in ("a.png", "s.png", "t.png"):
        save(name)
    Path("empty").mkdir()
    Path("plain").write_text("")
    Path("no.zip").write_text("")
    Path("torn.safetensors").write_bytes(b"12345")
    write_safetensors("other.safetensors", {"conv/kernel": np.zeros(3, np.float32)}, {})
    before = names(".")
    given = ["--content", "a.png", "--style", "s.png", "t.png", "--output", "out"]
    other = "--weights" in words or "--model" in words
    status, lines = run(*given, *words.split(), **({"weights": None} if other else {}))
    assert status == 2 and len(lines) == 1, lines
    assert lines[0].startswith("error: ") and message in lines[0]
    if other and "fetch" not in message and "exist" in lines[0]:
        assert "ganjax weights fetch" in lines[0]
    assert names(".") == before


def test_help_is_quick_and_teaches():
    code = (
        "import sys, time\n"
        "from ganjax.commands import stylize\n"
        "try: stylize.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'numpy', 'PIL', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert time.process_time() < 0.5, time.process_time()"
    )
    words = [sys.executable, "-c", code]
    shown = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout
    for word in (b"--style_weights 0.3 0.7", b"CONTENT__STYLE.png", b"up to 2048", b"Exit status"):
        assert word in shown


@pytest.mark.slow
@pytest.mark.skipif(
    not (weights.BUNDLED / "adain_compact.safetensors").exists(),
    reason="the trained weights are not in the package",
)
def test_nothing_but_the_package_is_needed(run, monkeypatch, tmp_path):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path / "none"))
    words = ("--content", save("a.png", 1), "--style", save("s.png", 2), "--output", "out.png")
    assert run(*words, weights=None) == (0, [])
    assert load("out.png").shape == (64, 64, 3) and load("out.png").std() > 5
    assert Image.open("out.png").text["Model"] == "adain_compact"


# From a training run


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run at step 3, whose average differs from its last weights."""
    folder = tmp_path_factory.mktemp("runs")
    start, workdir = folder / "start.safetensors", folder / "run"
    write_safetensors(start, flat(drawn_params()), {})
    words = ["--config.model.width=8", f"--config.init_from={start}"]
    config = load_config(str(ROOT / "configs/adain_compact.py:smoke"), words)
    state = tasks.make_start(config)(tasks.make(config).init(jax.random.key(0)))
    state = state.replace(averages=jax.tree.map(lambda x: x + 0.5, state.averages))
    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.save(3, state)
    checkpoints.close()
    (workdir / "config.json").write_text(json.dumps(config.to_dict()))
    start.unlink()  # the run has to do without it from now on
    return workdir


def test_an_exported_model_stylizes_and_trains_on(trained, run, tmp_path):
    path = tmp_path / "mine.safetensors"
    export.main(["--workdir", str(trained), "--output", str(path)])
    arrays = read_safetensors(path)
    assert {value.dtype for value in arrays.values()} == {np.dtype(np.float16)}
    for name, value in flat(drawn_params()).items():
        np.testing.assert_allclose(arrays[name], value + 0.5, atol=2e-3, rtol=1e-3)
    metadata = read_metadata(path)
    assert metadata["network"] == "stylizer" and metadata["checkpoint"].startswith("step 3 ")
    words = ("--content", save("a.png", 1), "--style", save("s.png", 2), "--output", "out.png")
    assert run(*words, weights=path) == (0, [])
    config = ConfigDict(json.loads((trained / "config.json").read_text()))
    config.init_from = str(path)
    state = tasks.make_start(config)(tasks.make(config).init(jax.random.key(0)))
    for name, value in flat(state.networks["stylizer"].params).items():
        np.testing.assert_array_equal(value, arrays[name].astype(np.float32))


@pytest.mark.slow
def test_export_refuses_in_one_line(trained, tmp_path):
    def refused(message, *words, output="new.safetensors", workdir=trained):
        with pytest.raises(UserError, match=message) as caught:
            export.main(["--workdir", str(workdir), "--output", str(tmp_path / output), *words])
        assert "\n" not in str(caught.value)

    refused("give FILE.safetensors", output="new.pth")
    refused("holds no run", workdir=tmp_path)
    refused("there is no checkpoint of step 9; there is 3", "--checkpoint", "9")
    refused("--network: choose stylizer", "--network", "generator")
    refused("cannot write", output="absent/new.safetensors")
    (tmp_path / "new.safetensors").write_bytes(b"mine")
    refused("exists; --overwrite replaces it")
    assert (tmp_path / "new.safetensors").read_bytes() == b"mine"
    words = ["--workdir", str(trained), "--output", str(tmp_path / "new.safetensors")]
    export.main([*words, "--overwrite", "--float32"])
    values = read_safetensors(tmp_path / "new.safetensors").values()
    assert {value.dtype for value in values} == {np.dtype(np.float32)}


def test_sampling_such_a_run_names_the_way(trained, tmp_path):
    with pytest.raises(UserError, match="takes content and style; use `ganjax stylize`"):
        sample.main(["--workdir", str(trained), "--output", str(tmp_path / "grid.png")])
