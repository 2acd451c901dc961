"""Videos that are written part by part, so that a process that was killed goes on where it was."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.errors import UserError
from ganjax.outputs import encode, run_encoder, shown
from ganjax.paths import make_folder, replacing, write_atomic

PART = 250  # frames, as many as H.264 has from one key frame to the next
_SOUNDS = ("aac", "mp3", "ac3", "alac", "opus")  # codecs that .mp4 may hold


class ClipWriter:
    """Writes an .mp4 (H.264) whose parts lie in a folder beside it until it is whole.

    Each part is encoded by itself, so that a clip that was interrupted is the same as another.

    Args:
      path: FILE.mp4.
      job: what the frames follow from; parts of another job are removed with the first frame.

    Attributes:
      path: as given.
      frames: how many are in the parts that are there.

    Raises:
      UserError: the name is no .mp4's, or the folder holds something else.
    """

    def __init__(self, path: Path, job: str):
        if path.suffix.lower() != ".mp4":
            raise UserError(f"cannot write {path}: video goes to FILE.mp4")
        self.path = path
        self._folder, self._job = path.with_name(f"{path.name}.parts"), job.encode()
        self._about = self._folder / "job.json"
        if self._folder.exists() and not self._about.exists():
            raise UserError(f"{self._folder} is not of an interrupted clip; move it elsewhere")
        self._parts = 0
        if self._about.exists() and self._about.read_bytes() == self._job:
            while self._part(self._parts).exists():
                self._parts += 1
        self.frames = PART * self._parts

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06d}.mp4"

    def _memory(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"

    def memory(self) -> list[np.ndarray]:
        """What the last part left for the frames after it; empty at the beginning."""
        if not self._parts:
            return []
        with np.load(self._memory(self._parts - 1), allow_pickle=False) as file:
            return [file[name] for name in file.files]

    def write(
        self,
        frames: Iterator[Any],
        *,
        rate: str,
        sound: tuple[Path, str] | None = None,
        made: Mapping[str, str] | None,
        memory: Sequence[Any] = (),
    ) -> None:
        """Writes what is missing, and makes the video of all parts.

        Args:
          frames: those after `self.frames` others, taken one by one, as `outputs.write_animation`
            takes them; odd sides grow by 1.
          rate: frames per second, like "25" or "30000/1001".
          sound: (video file that has it, its codec); copied where .mp4 may hold it, else as AAC.
          made: see `ganjax.outputs`; the comment of the file.
          memory: arrays that the frames after the latest one depend on; read after each part.

        Raises:
          UserError: as `outputs.write_animation`, or the folder of the parts cannot be made.
        """
        while first := list(islice(frames, 1)):
            if not self._parts:
                shutil.rmtree(self._folder, ignore_errors=True)
                make_folder(self._folder)
                write_atomic(self._about, self._job)
            part = shown(self.path, "MP4", chain(first, islice(frames, PART - 1)), smallest=1)
            with replacing(self._part(self._parts)) as whole:
                encode(whole, part, rate, crf=18)
                # Before the part has its name: a part that is there has its memory beside it.
                with replacing(self._memory(self._parts)) as kept:
                    with open(kept, "wb") as file:
                        np.savez(file, *memory)
            if self._parts:
                self._memory(self._parts - 1).unlink(missing_ok=True)
            self._parts += 1
        self._join(sound, made)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _join(self, sound: tuple[Path, str] | None, made: Mapping[str, str] | None) -> None:
        names = "".join(f"file '{self._part(n).name}'\n" for n in range(self._parts))
        listed = self._folder / "parts.txt"
        write_atomic(listed, names.encode())
        words = ["-f", "concat", "-i", str(listed)]
        if sound:
            codec = "copy" if sound[1] in _SOUNDS else "aac"
            words += ["-i", str(sound[0]), "-map", "0:v", "-map", "1:a:0", "-c:a", codec]
        with replacing(self.path) as whole:
            run_encoder(whole, [*words, "-c:v", "copy"], made)
