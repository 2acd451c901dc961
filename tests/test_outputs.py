"""What is written: it reads back, says what made it, and replaces nothing unasked."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import imageio_ffmpeg
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ganjax import outputs
from ganjax.commands import sample
from ganjax.errors import UserError
from ganjax.images import opaque, read_image, to_float, to_uint8
from ganjax.outputs import (
    ANIMATIONS,
    PICTURES,
    Destination,
    label_rows,
    make_grid,
    write_animation,
    write_image,
)
from ganjax.paths import write_atomic
from ganjax.provenance import SOURCE_TYPE, provenance

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
MADE = provenance(seed=7, prompt='a "é" & <b>')


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(3 * x / width + k) * np.cos(4 * y / height - k) for k in range(channels)]
    return np.uint8(127.5 + 120 * np.stack(waves, axis=-1))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def decode_mp4(path: Path, folder: Path) -> tuple[list[np.ndarray], str]:
    """The frames, and what ffmpeg says of the file."""
    folder.mkdir()
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, folder / "%03d.png"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stderr
    return [read_image(file) for file in sorted(folder.iterdir())], said


# Pictures


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", PICTURES)
def test_a_picture_reads_back_with_its_metadata(tmp_path, suffix, channels):
    pixels, path = smooth(40, 50, channels), tmp_path / f"a{suffix.upper()}"
    write_image(path, pixels, made=MADE)
    if suffix.startswith(".j") and channels == 4:
        channels, pixels = 3, opaque(pixels)
    shown = read_image(path, channels=channels).astype(int)
    lossy = PICTURES[suffix] in ("JPEG", "WEBP")
    if channels == 4:  # what nobody sees need not be stored
        shown, pixels = shown * (shown[..., 3:] > 0), pixels * (pixels[..., 3:] > 0)
    assert np.abs(shown - pixels).mean() <= (2 if lossy else 0)
    with Image.open(path) as image:
        assert image.format == PICTURES[suffix]
        (description,) = ElementTree.fromstring(image.info["xmp"]).iter(f"{{{RDF}}}Description")
    said = {name.rpartition("}")[2]: value for name, value in description.items()}
    assert description.get(f"{{{IPTC}}}DigitalSourceType") == SOURCE_TYPE
    assert said["Seed"] == "7" and said["Prompt"] == 'a "é" & <b>'
    assert said["CreatorTool"].startswith("ganjax")
    write_image(path, pixels, made=None)
    with Image.open(path) as image:
        assert not {"xmp", "Seed"} & image.info.keys()
    assert b"ganjax" not in path.read_bytes()


def test_text_of_a_png(tmp_path):
    write_image(tmp_path / "a.png", noise(4, 5), made=MADE)
    with Image.open(tmp_path / "a.png") as image:
        assert MADE.items() <= image.text.items()


def test_metadata_cannot_be_forgotten(tmp_path):
    with pytest.raises(TypeError, match="made"):
        write_image(tmp_path / "a.png", noise(4, 4))
    with pytest.raises(TypeError, match="made"):
        write_animation(tmp_path / "a.gif", [noise(4, 4)])
    assert not names(tmp_path)


def test_networks_hand_over_what_they_give(tmp_path):
    pixels = noise(2 * 4, 5).reshape(2, 4, 5, 3)
    floats = to_float(pixels)
    for name, image in (("numpy", floats[0]), ("jax", jnp.asarray(floats[0]))):
        write_image(tmp_path / f"{name}.png", image, made=None)
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), pixels[0])
    np.testing.assert_array_equal(make_grid(jnp.asarray(floats)), make_grid(pixels))
    half = jnp.asarray(floats[0], jnp.bfloat16)
    write_image(tmp_path / "half.png", half, made=None)
    np.testing.assert_array_equal(
        read_image(tmp_path / "half.png"), to_uint8(np.asarray(half, np.float32))
    )
    write_animation(tmp_path / "floats.gif", floats, made=None)
    write_animation(tmp_path / "bytes.gif", pixels, made=None)
    assert (tmp_path / "floats.gif").read_bytes() == (tmp_path / "bytes.gif").read_bytes()


def test_values_that_are_no_colors(tmp_path):
    values = np.array([np.nan, np.inf, -np.inf, 3e38, -7.0], np.float32)[None, :, None]
    write_image(tmp_path / "a.png", values, made=None)
    shown = read_image(tmp_path / "a.png", channels=1)[0, :, 0]
    np.testing.assert_array_equal(shown, [128, 255, 0, 255, 0])
    with pytest.raises(TypeError, match="int64; give uint8"):
        write_image(tmp_path / "a.png", np.ones((2, 2, 3), np.int64), made=None)


def test_formats_have_their_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "MAX_SIDES", {"JPEG": 60, "GIF": 50})
    with pytest.raises(UserError, match="b.jpg: JPEG has up to 60 pixels a side; give FILE.png$"):
        write_image(tmp_path / "b.jpg", noise(2, 61), made=None)
    with pytest.raises(UserError, match="b.gif: GIF has up to 50 pixels a side; make it smaller$"):
        write_animation(tmp_path / "b.gif", [noise(51, 2)], made=None)
    write_image(tmp_path / "b.png", noise(2, 61), made=None)
    assert names(tmp_path) == ["b.png"]


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_the_limits_are_those_of_the_formats(tmp_path, form):
    suffix, side = f".{form.lower()}", outputs.MAX_SIDES[form]
    write_image(tmp_path / f"a{suffix}", np.zeros((1, side, 3), np.uint8), made=None)
    with pytest.raises(UserError, match=f"up to {side}"):
        write_image(tmp_path / f"b{suffix}", np.zeros((1, side + 1, 3), np.uint8), made=None)


def test_grid():
    pictures = np.stack([noise(4, 6, seed=k) for k in range(5)])
    grid = make_grid(pictures, columns=2, padding=1)
    assert grid.shape == (3 * 5 + 1, 2 * 7 + 1, 3)
    for number, picture in enumerate(pictures):
        y, x = 1 + number // 2 * 5, 1 + number % 2 * 7
        np.testing.assert_array_equal(grid[y : y + 4, x : x + 6], picture)
        grid[y : y + 4, x : x + 6] = 255
    assert (grid == 255).all()
    assert make_grid(pictures[:1], columns=8, padding=0).shape == (4, 6, 3)
    assert make_grid(np.zeros((64, 8, 8, 1), np.uint8)).shape == (82, 82, 1)


# Animations


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_names_stand_beside_their_rows(channels):
    grid = np.full((3 * 18 + 2, 40, channels), 7, np.uint8)
    labeled = label_rows(grid, ["hat_cap", "", "a much longer name"])
    margin = labeled[:, :-40]
    np.testing.assert_array_equal(labeled[:, -40:], grid)
    ink = [(margin[y : y + 18, :, 0] < 128).sum() for y in (0, 18, 36)]
    assert ink[1] == 0 < ink[0] < ink[2]
    assert (margin[:, :2] == 255).all() and (margin[:, -2:] == 255).all()  # nothing is cut off
    assert channels < 4 or (margin[..., 3] == 255).all()


def test_animations(tmp_path):
    frames = [smooth(32, 32) // (k + 1) for k in range(4)]
    write_animation(tmp_path / "a.gif", frames, made=MADE)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 4 and gif.size == (256, 256)
        assert SOURCE_TYPE.encode() in gif.info["comment"]
    write_animation(tmp_path / "a.mp4", frames, frames_per_second=10, made=MADE)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content[4:8] == b"ftyp" and f"DigitalSourceType={SOURCE_TYPE}".encode() in content
    shown, said = decode_mp4(tmp_path / "a.mp4", tmp_path / "shown")
    assert len(shown) == 4 and "10 fps" in said and "h264" in said and "yuv420p" in said
    for frame, pixels in zip(shown, frames, strict=True):
        large = pixels.repeat(8, axis=0).repeat(8, axis=1)
        assert np.abs(frame.astype(int) - large).mean() < 5
    for suffix in ANIMATIONS:
        write_animation(tmp_path / f"b{suffix}", frames, made=None)
        assert b"AlgorithmicMedia" not in (tmp_path / f"b{suffix}").read_bytes()
    assert names(tmp_path) == ["a.gif", "a.mp4", "b.gif", "b.mp4", "shown"]


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_frames_show_transparency_on_white(tmp_path, suffix):
    frame = np.full((64, 64, 4), (200, 0, 0, 255), np.uint8)
    frame[:, 32:, 3] = 0  # hidden, and red all the same
    path = tmp_path / f"a{suffix}"
    write_animation(path, [frame] * 2, made=None)
    if suffix == ".mp4":
        shown = decode_mp4(path, tmp_path / "shown")[0][0]
    else:
        with Image.open(path) as gif:
            shown = np.asarray(next(ImageSequence.Iterator(gif)).convert("RGB"))
    assert np.abs(shown[100, 200].astype(int) - 255).max() < 4
    assert np.abs(shown[100, 50].astype(int) - [200, 0, 0]).max() < 8


def test_no_pixel_is_cut_off(tmp_path):
    """H.264 needs even sides."""
    frame = smooth(301, 173)
    write_animation(tmp_path / "a.mp4", [frame], made=None)
    (shown,), _ = decode_mp4(tmp_path / "a.mp4", tmp_path / "shown")
    assert shown.shape == (302, 174, 3)
    assert np.abs(shown[:301, :173].astype(int) - frame).mean() < 5
    write_animation(tmp_path / "line.mp4", [noise(1, 300, 1)], made=None)
    (line,), _ = decode_mp4(tmp_path / "line.mp4", tmp_path / "line")
    assert line.shape == (2, 300, 3)
    write_animation(tmp_path / "a.gif", [frame], made=None)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.size == (173, 301)


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_frames_of_two_sizes(tmp_path, suffix):
    with pytest.raises(UserError, match="have 300x8 and 8x300 pixels; give one size"):
        write_animation(tmp_path / f"a{suffix}", [noise(8, 300), noise(300, 8)], made=None)
    assert not names(tmp_path)


@full_disk
def test_long_videos_are_not_held_in_memory(tmp_path):
    taken = 0

    def frames():
        nonlocal taken
        while taken < 100_000:
            taken += 1
            yield frame

    frame, made = noise(256, 256), {"Seed": "1"}
    os.symlink("/dev/full", tmp_path / f".a.mp4.{os.getpid()}")
    with pytest.raises(UserError, match="disk is full"):
        write_animation(tmp_path / "a.mp4", frames(), made=made)
    assert taken < 1000


# Whole or not at all


@full_disk
@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.mp4"])
def test_a_full_disk_keeps_the_old_file(tmp_path, name):
    """The file that stands in for the temporary one is on a device that is always full."""

    def write(image):
        if name == "a.png":
            write_image(tmp_path / name, image, made=MADE)
        else:
            write_animation(tmp_path / name, [image] * 3, made=MADE)

    write(noise(64, 64))
    old = (tmp_path / name).read_bytes()
    os.symlink("/dev/full", tmp_path / f".{name}.{os.getpid()}")
    with pytest.raises(UserError) as caught:
        write(noise(64, 64, seed=1))
    reason = "No space left on device; the disk is full: make room and run the command again"
    assert str(caught.value) == f"cannot write {tmp_path / name}: {reason}"
    assert names(tmp_path) == [name] and (tmp_path / name).read_bytes() == old


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_frames_that_fail_keep_the_old_file(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(b"old")

    def frames():
        yield noise(64, 64)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_animation(tmp_path / f"a{suffix}", frames(), made=None)
    assert names(tmp_path) == [f"a{suffix}"]
    assert (tmp_path / f"a{suffix}").read_bytes() == b"old"


def test_an_encoder_that_dies_is_one_line(tmp_path, monkeypatch):
    script = tmp_path / "encoder"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('[mp4 @ 0x1] it broke\\nmore')\n")
    script.chmod(0o700)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(script))
    with pytest.raises(UserError, match="^cannot write .*a.mp4: it broke$"):
        write_animation(tmp_path / "a.mp4", [noise(300, 300)] * 9, made=None)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(tmp_path / "absent"))
    with pytest.raises(UserError, match="^cannot write .*a.mp4: No such file or directory$"):
        write_animation(tmp_path / "a.mp4", [noise(300, 300)], made=None)
    assert names(tmp_path) == ["encoder"]


def test_a_failed_renaming_keeps_the_old_file(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", noise(4, 4), made=None)
    old = (tmp_path / "a.png").read_bytes()

    def fail(*paths):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="a.png: Permission denied$"):
        write_image(tmp_path / "a.png", noise(4, 4, seed=1), made=None)
    assert names(tmp_path) == ["a.png"] and (tmp_path / "a.png").read_bytes() == old


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    (tmp_path / "a.txt").write_bytes(b"old")
    for name in ("write_bytes", "unlink"):  # it refuses both
        monkeypatch.setattr(Path, name, fail)
    with pytest.raises(UserError, match="^cannot write .*a.txt: Read-only file system$"):
        write_atomic(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"old"


def test_writing_where_it_cannot_be(tmp_path):
    with pytest.raises(UserError, match="a.xyz: .xyz; give .png, .jpg"):
        write_image(tmp_path / "a.xyz", noise(2, 2), made=None)
    with pytest.raises(UserError, match="a: no suffix; give .gif, .mp4"):
        write_animation(tmp_path / "a", [noise(2, 2)], made=None)
    for name in ("a.gif", "a.mp4"):
        with pytest.raises(UserError, match=f"cannot write .*absent/{name}: No such file"):
            write_animation(tmp_path / "absent" / name, [noise(2, 2)], made=None)
    (tmp_path / "plain").write_text("")
    with pytest.raises(UserError, match="plain/a.png: Not a directory"):
        write_image(tmp_path / "plain" / "a.png", noise(2, 2), made=None)


# Where a command writes to


@pytest.fixture
def folder(tmp_path) -> Path:
    """Of an earlier call: five images, and a file of the user's."""
    (tmp_path / "faces").mkdir()
    for number in range(5):
        write_image(tmp_path / "faces" / f"{number:06d}.png", noise(4, 4), made=None)
    (tmp_path / "faces" / "notes.txt").write_text("mine")
    return tmp_path / "faces"


def draw(count: int):
    return lambda inputs: iter([noise(4, 4, seed=9)] * count)


def test_a_folder_is_never_a_mixture(folder, capsys):
    words = {"overwrite": True, "names": sample.NAMES}
    before = names(folder)
    with pytest.raises(UserError, match="faces holds 5 images of an earlier call; --overwrite"):
        Destination(folder, overwrite=False, names=sample.NAMES)
    output = Destination(folder, **words)
    assert not output.is_file and names(folder) == before  # as yet
    sample._write_singles(output, {}, draw(2), None)
    assert names(folder) == ["000000.png", "000001.png", "notes.txt"]
    assert capsys.readouterr().err == "removed 5 images of an earlier call\n"


def test_images_of_the_user_are_not_removed(folder):
    for name in ("photo.jpg", "deep/000000.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_image(folder / name, noise(4, 4), made=None)
        for overwrite in (False, True):
            with pytest.raises(UserError, match=f"other images, e.g. {name}; give another folder"):
                Destination(folder, overwrite=overwrite, names=sample.NAMES)
        (folder / name).unlink()
    (folder / ".hidden.png").write_bytes(b"")
    Destination(folder, overwrite=True, names=sample.NAMES).open()
    assert names(folder) == [".hidden.png", "deep", "notes.txt"]


def test_a_call_that_draws_nothing_removes_nothing(folder):
    def fail(inputs):
        raise RuntimeError("RESOURCE_EXHAUSTED")
        yield

    output = Destination(folder, overwrite=True, names=sample.NAMES)
    with pytest.raises(RuntimeError):
        sample._write_singles(output, {}, fail, None)
    assert len(names(folder)) == 6


def test_folders_whose_files_the_command_looks_after(folder):
    for overwrite in (False, True):
        assert Destination(folder, overwrite=overwrite).open() == 0
    assert len(names(folder)) == 6
    output = Destination(folder.parent / "new" / "deep", overwrite=False)
    assert not output.is_file and not output.path.exists()
    assert output.open() == 0 and output.path.is_dir()


def test_a_file_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "a.GIF"
    assert Destination(path, ANIMATIONS, overwrite=False).is_file
    path.write_text("mine")
    with pytest.raises(UserError, match="a.GIF exists; --overwrite replaces it$"):
        Destination(path, ANIMATIONS, overwrite=False)
    assert Destination(path, ANIMATIONS, overwrite=True).open() == 0 and path.read_text() == "mine"
    (tmp_path / "v1.png").mkdir()
    assert not Destination(tmp_path / "v1.png", overwrite=False).is_file


def test_places_that_make_no_sense(tmp_path, monkeypatch):
    def refused(name, message, **options):
        before = names(tmp_path)
        with pytest.raises(UserError, match=message) as caught:
            Destination(tmp_path / name, overwrite=True, **options)
        assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)
        assert names(tmp_path) == before

    (tmp_path / "plain").write_text("")
    refused("a.gif", "give FILE.png, .jpg, .* or a folder; make it first if there is a dot in")
    refused("a.png", "give FILE.gif, .mp4, or a folder", suffixes=ANIMATIONS)
    refused("plain", "is a file; give FILE.png")
    refused("plain/a.png", "plain is a file; give a path without it")
    refused("plain/deep/out", "plain is a file; give a path without it")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    refused("out/a.png", f"{tmp_path} cannot be written to; give another")
    refused("out", f"{tmp_path} cannot be written to; give another")


def test_folders_and_images_that_resist(folder, monkeypatch):
    def fail(self, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    old = Destination(folder, overwrite=True, names=sample.NAMES)
    new = Destination(folder.parent / "new", overwrite=False)
    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(UserError, match=r"^cannot remove .*faces/00000\d.png: Read-only file"):
        old.open()
    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(UserError, match="^cannot make .*new: Read-only file system$"):
        new.open()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no such folder")
def test_a_folder_in_which_nothing_can_be_made():
    for path in (Path("/proc/ganjax"), Path("/proc/ganjax/a.png")):
        with pytest.raises(UserError, match="/proc/ganjax"):
            Destination(path, overwrite=False).open()  # which one of them knows depends on the user


def test_writing_starts_no_jax():
    code = "import sys, ganjax.outputs; assert not {'jax', 'imageio_ffmpeg'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
