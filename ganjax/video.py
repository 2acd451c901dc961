"""Frames of video files, one by one in the memory of one, through the packaged ffmpeg."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ganjax.errors import UserError

if TYPE_CHECKING:  # `--help` is quicker without it
    import numpy as np

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
# Pixels that are not square become so; ffmpeg turns by itself what is marked as turned.
_SQUARE = "scale=trunc(iw*sar/2+0.5)*2:ih,setsar=1"


class Clip(NamedTuple):
    """A video file.

    Attributes:
      path: the file.
      size: (H, W) of its frames as people see them: turned, with square pixels.
      rate: frames per second, a fraction like "30000/1001". Frames of variable rate are read at
        this one: some twice, or left out, so that sound stays in step.
      frames: about so many; 0 where the file does not say.
      sound: the codec of its sound, like "aac"; "" without sound.
    """

    path: Path
    size: tuple[int, int]
    rate: str
    frames: int
    sound: str


def is_video(path: str | Path) -> bool:
    """Whether the name is that of a video file."""
    return Path(path).suffix.lower() in SUFFIXES


def ffmpeg() -> str:
    """The program.

    Raises:
      UserError: there is none.
    """
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UserError("there is no ffmpeg for video files; install it") from error


def probe(path: Path) -> Clip:
    """What a video file is, by its first frame.

    Raises:
      UserError: it is missing, has no frames, or cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    words = [ffmpeg(), "-nostdin", "-i", str(path), "-map", "0:v:0", "-vf", _SQUARE]
    # The header of this format says size and rate as they are after all that is done to a frame.
    words += ["-frames:v", "1", "-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "-"]
    done = subprocess.run(words, capture_output=True, check=False)
    header = re.match(rb"YUV4MPEG2 W([0-9]+) H([0-9]+) F([0-9]+):([0-9]+)", done.stdout)
    said = done.stderr.decode(errors="replace")
    if not header:
        why = "has no pictures" if " Audio: " in said and " Video: " not in said else _reason(said)
        raise UserError(f"video {path} {why}")
    width, height, above, below = map(int, header.groups())
    length = re.search(r"Duration: ([0-9]+):([0-9]+):([0-9.]+)", said)
    seconds = 0.0
    if length:
        seconds = 3600 * int(length[1]) + 60 * int(length[2]) + float(length[3])
    sound = re.search(r"Stream #0:.*Audio: (\w+)", said)
    frames = round(seconds * above / below)
    return Clip(path, (height, width), f"{above}/{below}", frames, sound[1] if sound else "")


def read_frames(clip: Clip, size: tuple[int, int] | None = None) -> "Iterator[np.ndarray]":
    """The frames in order, uint8 [H, W, 3], read while they are asked for.

    Args:
      size: (H, W) that they are scaled to; None for their own.

    Raises:
      UserError: the file ends in an error before its first frame.
    """
    import numpy as np

    height, width = size or clip.size
    scale = f"{_SQUARE},scale={width}:{height}:flags=lanczos"
    words = [ffmpeg(), "-nostdin", "-v", "error", "-i", str(clip.path), "-map", "0:v:0"]
    words += ["-vf", scale, "-fps_mode", "cfr", "-r", clip.rate]
    words += ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    with tempfile.TemporaryFile() as errors:  # a pipe that nobody reads would fill up
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        assert process.stdout is not None
        try:
            count = 0
            while len(data := process.stdout.read(height * width * 3)) == height * width * 3:
                count += 1
                yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
            if not count:
                process.wait()
                errors.seek(0)
                raise UserError(
                    f"video {clip.path} {_reason(errors.read().decode('utf8', 'replace'))}"
                )
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _reason(said: str) -> str:
    """What ffmpeg has against a file, in its last words."""
    lines = [line for line in said.splitlines() if line.strip() and "Conversion failed" not in line]
    last = re.sub(r"^\[.*?\] ", "", lines[-1])[:200] if lines else "has no frames"
    return f"cannot be read: {last}"
