"""The one door that generated pixels leave by: pictures, grids and animations, as files that say
what made them.

Every function that writes takes `made`, what `ganjax.provenance.provenance` gives; it may be None
only where the user asked for files without metadata. Images are uint8, or floats in [-1, 1] as
networks give them.
"""

import io
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ganjax.errors import UserError
from ganjax.images import opaque, to_uint8
from ganjax.images.formats import SUFFIXES
from ganjax.paths import make_folder, replacing, write_atomic
from ganjax.provenance import xmp_packet
from ganjax.video import ffmpeg

PICTURES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF",
    ".tiff": "TIFF",
}  # fmt: skip
ANIMATIONS = {".gif": "GIF", ".mp4": "MP4"}
MAX_SIDES = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535, "MP4": 16384}  # pixels
MAX_STEM = 100  # bytes; a file name may have 255, of two stems
MIN_SIDE = 256  # pixels of the longer side of an animation
_XMP = 700  # the TIFF tag


class Destination:
    """Where a command's --output goes: to one file, or into a folder of many.

    It is a file where it has one of `suffixes` and no folder is there already. Nothing is made or
    removed before `open`.

    Args:
      path: as the user gave it.
      suffixes: of the files that the command can write, e.g. `PICTURES`.
      overwrite: whether the user asked for it.
      names: regular expression of the file names that the command gives in a folder. Such a folder
        is for one call's images alone: else a later evaluation would measure a mixture. None where
        the command itself looks after each file.

    Attributes:
      path: as given.
      is_file: one file, not a folder.

    Raises:
      UserError: an unknown suffix, a file that exists, a folder that holds images, or a place that
        cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        suffixes: Iterable[str] = PICTURES,
        *,
        overwrite: bool,
        names: str | None = None,
    ):
        self.path = path
        self.is_file = path.suffix.lower() in suffixes and not path.is_dir()
        self._old: list[Path] = []
        if self.is_file:
            if path.exists() and not overwrite:
                raise UserError(f"{path} exists; --overwrite replaces it")
        elif not path.is_dir():
            known = f"give FILE{', '.join(suffixes)}, or a folder"
            if path.suffix:
                raise UserError(
                    f"--output {path}: {known}; make it first if there is a dot in its name"
                )
            if path.exists():
                raise UserError(f"--output {path} is a file; {known}")
        elif names:
            self._old = self._earlier(names)
            if self._old and not overwrite:
                raise UserError(
                    f"{path} holds {len(self._old)} images of an earlier call; --overwrite "
                    "removes them first, or give another folder"
                )
        self._check_place()

    def _earlier(self, names: str) -> list[Path]:
        """The images of an earlier call in the folder, which may hold no others."""
        found = []
        for folder, folders, files in os.walk(self.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(folder, name)
                if path.suffix.lower() not in SUFFIXES or name.startswith("."):
                    continue
                if path.parent != self.path or not re.fullmatch(names, name):
                    raise UserError(
                        f"{self.path} holds other images, e.g. {path.relative_to(self.path)}; "
                        "give another folder"
                    )
                found.append(path)
        return found

    def _check_place(self) -> None:
        """Refuses before the work is done what could not be written after it."""
        folder = self.path.absolute().parent if self.is_file else self.path.absolute()
        there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
        if not there.is_dir():
            raise UserError(f"--output {self.path}: {there} is a file; give a path without it")
        if not os.access(there, os.W_OK):
            raise UserError(f"--output {self.path}: {there} cannot be written to; give another")

    def open(self) -> int:
        """Makes the folder, and removes from it the images of an earlier call: how many.

        To be called once the first image is there, lest a failure leave nothing at all.

        Raises:
          UserError: the folder cannot be made, or an image cannot be removed.
        """
        make_folder(self.path.parent if self.is_file else self.path)
        removed, self._old = self._old, []
        for path in removed:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"cannot remove {path}: {error.strerror}") from error
        return len(removed)


def file_names(names: Sequence[str]) -> list[str]:
    """File names for pictures, without suffixes, and without folders where that tells them apart.

    Args:
      names: of the pictures, with their folders.
    """
    whole = [name.replace("/", "_") for name in names]
    for short in ([Path(n).stem for n in names], [Path(n).stem for n in whole], whole):
        if differ(short) and [cut_name(name) for name in short] == short:
            return short
    return numbered(whole)


def differ(names: Sequence[str]) -> bool:
    """Whether all names do, also where capital letters make no difference."""
    return len({name.casefold() for name in names}) == len(names)


def numbered(names: Sequence[str]) -> list[str]:
    """Names that differ by a number in front."""
    return [f"{number:03d}_{cut_name(name)}" for number, name in enumerate(names, 1)]


def cut_name(name: str) -> str:
    """The first `MAX_STEM` bytes; a name of no encoding stays as it is if it is short."""
    content = os.fsencode(name)
    return name if len(content) <= MAX_STEM else content[:MAX_STEM].decode(errors="ignore")


def write_image(path: str | Path, image: Any, *, made: Mapping[str, str] | None) -> None:
    """Writes a picture, whole or not at all.

    JPEG, which has no transparency, shows it on white.

    Args:
      path: its suffix names the format: one of `PICTURES`.
      image: [H, W, C], uint8 or floats in [-1, 1], of 1, 3 or 4 channels.
      made: see above; an XMP packet in the file, and text of a PNG.

    Raises:
      UserError: the suffix is unknown, the format has no images so large, or the file cannot be
        written.
    """
    # A path in a bucket is no `Path`, and stays what it is.
    path = Path(path) if isinstance(path, str) else path
    form = _form(path, PICTURES)
    array = _bytes(image)
    _check_sides(path, form, array)
    options: dict[str, Any] = {"format": form}
    packet = xmp_packet(made) if made else None
    match form:
        case "PNG":
            options["pnginfo"] = text = PngImagePlugin.PngInfo()
            for key, value in (made or {}).items():
                text.add_text(key, value)
            if packet:
                text.add_itxt("XML:com.adobe.xmp", packet.decode())
        case "TIFF":
            options |= {"compression": "tiff_lzw", "tiffinfo": {_XMP: packet} if packet else {}}
        case "JPEG" | "WEBP":
            options |= {"quality": 95} | ({"xmp": packet} if packet else {})
            array = opaque(array) if form == "JPEG" and array.shape[2] == 4 else array
    content = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(content, **options)
    write_atomic(path, content.getvalue())


def write_animation(
    path: str | Path,
    frames: Iterable[Any],
    *,
    frames_per_second: int = 30,
    made: Mapping[str, str] | None,
) -> None:
    """Writes frames as .gif or .mp4 (H.264), whole or not at all.

    Transparency is shown on white; small frames are enlarged to crisp squares.

    Args:
      path: its suffix names the format: one of `ANIMATIONS`.
      frames: at least one [H, W, C], uint8 or floats in [-1, 1], of 1, 3 or 4 channels, all of one
        size. Those of an .mp4 are taken one by one.
      made: see above; the comment of the file.

    Raises:
      UserError: the suffix is unknown, the frames differ in size or are too large, or the file
        cannot be written.
    """
    path = Path(path)
    form = _form(path, ANIMATIONS)
    images = shown(path, form, frames)
    if form == "MP4":
        with replacing(path) as whole:
            encode(whole, images, str(frames_per_second), crf=10, made=made)
        return
    first, *rest = map(Image.fromarray, images)
    content = io.BytesIO()
    first.save(
        content,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=round(1000 / frames_per_second),
        loop=0,
        **({"comment": xmp_packet(made)} if made else {}),
    )
    write_atomic(path, content.getvalue())


def make_grid(images: Any, *, columns: int | None = None, padding: int = 2) -> np.ndarray:
    """Lays images out row by row on white.

    Args:
      images: [N, H, W, C], uint8 or floats in [-1, 1].
      columns: by default the number that makes the grid most nearly square.
      padding: pixels between images and around them.

    Returns:
      uint8 [H', W', C].
    """
    images = _bytes(images)
    count, height, width, channels = images.shape
    columns = columns or max(1, round((count * height / width) ** 0.5))
    columns = min(columns, count)
    rows = -(-count // columns)
    cell = (height + padding, width + padding)
    grid = np.full((rows * cell[0] + padding, columns * cell[1] + padding, channels), 255, np.uint8)
    for number, image in enumerate(images):
        y, x = padding + number // columns * cell[0], padding + number % columns * cell[1]
        grid[y : y + height, x : x + width] = image
    return grid


def label_rows(grid: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Writes the names of its rows on the left of a grid, black on white.

    Args:
      grid: uint8 [H, W, C] of as many equally high rows as there are names.

    Returns:
      uint8 [H, W', C].
    """
    font, height = ImageFont.load_default(), len(grid) / len(names)
    width = round(max(map(font.getlength, names)))
    margin = Image.new("L", (width + 8, len(grid)), 255)
    pen = ImageDraw.Draw(margin)
    for row, name in enumerate(names):
        pen.text((5, (row + 0.5) * height - 6), name, fill=0, font=font)
    channels = [np.asarray(margin)] * min(grid.shape[2], 3)
    channels += [np.full(margin.size[::-1], 255, np.uint8)] * (grid.shape[2] - len(channels))
    return np.concatenate([np.stack(channels, axis=-1), grid], axis=1)


def _bytes(images: Any) -> np.ndarray:
    """Images as uint8; NaN, of a network that failed, is shown gray."""
    array = np.asarray(images)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "biu":
        raise TypeError(f"images are {array.dtype}; give uint8, or floats in [-1, 1]")
    return to_uint8(np.nan_to_num(np.clip(array.astype(np.float32), -1, 1)))


def _form(path: Path, forms: Mapping[str, str]) -> str:
    suffix = path.suffix.lower()
    if suffix not in forms:
        raise UserError(f"cannot write {path}: {suffix or 'no suffix'}; give {', '.join(forms)}")
    return forms[suffix]


def _check_sides(path: Path, form: str, image: np.ndarray) -> None:
    if (limit := MAX_SIDES.get(form)) and max(image.shape[:2]) > limit:
        remedy = "make it smaller" if form in ANIMATIONS.values() else "give FILE.png"
        raise UserError(f"{path}: {form} has up to {limit} pixels a side; {remedy}")


def shown(
    path: Path, form: str, frames: Iterable[Any], *, smallest: int = MIN_SIDE
) -> Iterator[np.ndarray]:
    """Frames as uint8 [H, W, 3] of one size that the format takes; smaller ones are enlarged."""
    size = None
    for frame in map(_bytes, frames):
        if frame.shape[2] == 4:
            frame = opaque(frame)
        elif frame.shape[2] == 1:
            frame = np.repeat(frame, 3, axis=2)
        size = size or frame.shape
        if frame.shape != size:
            both = " and ".join("{1}x{0}".format(*shape) for shape in (size, frame.shape))
            raise UserError(f"cannot write {path}: its frames have {both} pixels; give one size")
        _check_sides(path, form, frame)
        times = max(1, smallest // max(frame.shape[:2]))
        frame = frame.repeat(times, axis=0).repeat(times, axis=1)
        if form == "MP4":  # H.264 needs even sides
            odd = [(0, side % 2) for side in frame.shape[:2]]
            frame = np.pad(frame, (*odd, (0, 0)), mode="edge")
        yield np.ascontiguousarray(frame)


def encode(
    path: Path,
    frames: Iterator[np.ndarray],
    rate: str,
    *,
    crf: int,
    made: Mapping[str, str] | None = None,
) -> None:
    """Writes frames of `shown` as H.264, one by one; `crf` is the quality, 0 without loss."""
    first = next(frames)
    height, width, _ = first.shape
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {rate} -i -".split()
    # Without B-frames, parts of a clip can be joined as they are, in step.
    target = f"-c:v libx264 -bf 0 -pix_fmt yuv420p -crf {crf} -an".split()
    run_encoder(path, [*source, *target], made, chain([first], frames))


def run_encoder(
    path: Path,
    words: Sequence[str],
    made: Mapping[str, str] | None,
    frames: Iterable[np.ndarray] = (),
) -> None:
    """Runs ffmpeg with `words` to an .mp4; it reads `frames`.

    Raises:
      OSError: it fails, e.g. on a full disk.
    """
    text = "; ".join(f"{key}={value}" for key, value in (made or {}).items())
    comment = ["-metadata", f"comment={text}"] if text else []
    # imageio_ffmpeg's own writer does not tell when the encoder fails.
    process = subprocess.Popen(
        [ffmpeg(), "-y", "-v", "error", *words, *comment, "-f", "mp4", str(path.absolute())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which ends the encoder
    )
    try:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # why it has ended is found below
            for frame in frames:
                process.stdin.write(frame.data)
    except BaseException:
        process.kill()
        raise
    finally:
        _, said = process.communicate()
    if process.returncode:
        raise _encoder_error(process.returncode, said.decode(errors="replace"))


def _encoder_error(status: int, said: str) -> OSError:
    """ffmpeg's exit status is 256 less the error number, or 1 in older versions."""
    number = 256 - status
    if status > 128 and not os.strerror(number).startswith("Unknown error"):
        return OSError(number, os.strerror(number))
    lines = said.splitlines() or [f"ffmpeg ended with status {status}"]
    return OSError(0, re.sub(r"^\[.*?\] ", "", lines[0])[:200])
