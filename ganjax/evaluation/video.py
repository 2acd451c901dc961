"""How a stylized video flickers, and how near it is to its style, in the memory of a few frames."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from ganjax.data.folder import Picture, list_pictures
from ganjax.errors import UserError
from ganjax.evaluation.measure import Result
from ganjax.images import DECLARED, Reading, resize, to_float
from ganjax.metrics import flow, pairs
from ganjax.metrics.protocols import Protocol
from ganjax.paths import expand
from ganjax.progress import bar
from ganjax.video import is_video, probe, read_frames

STYLE_EVERY = 10  # frames, of which one is compared with the style
STYLE_SIZE = 512  # pixels of its short side, at most, as `ganjax stylize` has it
_CUT = 0.3  # of the pixels: frames of two scenes have less in common, by chance


class Frames(NamedTuple):
    """A video that is read once, frame by frame.

    Attributes:
      name: for people.
      length: about so many frames; 0 where it is unknown.
      frames: uint8 [H, W, 3].
    """

    name: str
    length: int
    frames: Iterator[np.ndarray]


class _Step(NamedTuple):
    """A frame of both videos, and the flow between it and the next one."""

    drawn: np.ndarray
    content: np.ndarray
    ahead: Array | None = None
    back: Array | None = None


def open_frames(
    path: str | Path, *, reading: Reading = DECLARED, follow_links: bool = False
) -> Frames:
    """A video file, an animated .gif, or a folder or .zip of frames in the order of their names.

    Args:
      reading, follow_links: of pictures, see `ganjax.data.folder.open_files`.

    Raises:
      UserError: it is missing, or no video.
    """
    name = str(path)
    if is_video(path) or Path(path).suffix.lower() == ".gif":
        clip = probe(expand(path))
        return Frames(name, clip.frames, read_frames(clip))
    pictures = list_pictures([path], reading=reading, follow_links=follow_links)
    if len(pictures) < 2:
        raise UserError(f"{name} is one picture; give a video, or a folder of frames")
    return Frames(name, len(pictures), map(_pixels, pictures))


def open_style(
    path: str | Path, *, reading: Reading = DECLARED, follow_links: bool = False
) -> np.ndarray:
    """The picture of a style, uint8 [H, W, 3], scaled down to `STYLE_SIZE`.

    Raises:
      UserError: it is missing, or no picture.
    """
    if is_video(path):
        raise UserError(f"--style {path} is a video; give a picture, e.g. a frame")
    picture, *others = list_pictures([path], reading=reading, follow_links=follow_links)
    if others:
        raise UserError(f"--style {path} has {len(others) + 1} pictures; give one")
    image = _pixels(picture)
    scale = min(1, STYLE_SIZE / min(image.shape[:2]))
    height, width = (round(side * scale) for side in image.shape[:2])
    return resize(image, (height, width))


def _pixels(picture: Picture) -> np.ndarray:
    try:
        return picture.pixels()
    except UserError as error:
        raise UserError(f"{picture.name}: {error}") from error


def measure_video(
    wanted: Sequence[Protocol],
    drawn: Frames,
    content: Frames,
    style: np.ndarray,
    *,
    progress: bool = True,
) -> list[Result]:
    """Measures a stylized video: means over pairs of frames, and over frames.

    The flow is that of the content, by `ganjax.metrics.flow`; over several frames it begins with
    the chain of the flows between neighbors. Pairs of frames across a cut do not count. Beside a
    warping error stand that of the content itself (noise, changing light, the flow's own error) and
    the share of the pixels that are seen in both frames.

    Args:
      wanted: warping errors and style distances.
      style: uint8 [H, W, 3].

    Raises:
      UserError: the videos differ in size or length, have too few frames for a metric, or weights
        are missing.
    """
    strides = {protocol.size for protocol in wanted if protocol.of_video}
    styles = [protocol for protocol in wanted if not protocol.of_video]
    sights = {name: pairs.load(name) for name in dict.fromkeys(p.extractor for p in styles)}
    aims = {name: sight.perceive(to_float(style)) for name, sight in sights.items()}
    distances: dict[Protocol, list[float]] = {protocol: [] for protocol in styles}
    errors: dict[int, list[tuple[float, float, float]]] = {stride: [] for stride in strides}
    recent: deque[_Step] = deque(maxlen=max(strides, default=1))
    number = 0
    length = drawn.length or content.length or None
    with bar(length, label="frames", unit="frame", shown=progress, leave=False) as counter:
        for number, step in enumerate(_steps(drawn, content), 1):
            if number % STYLE_EVERY == 1:
                seen = {name: s.perceive(to_float(step.drawn)) for name, s in sights.items()}
                for p in styles:
                    distance = pairs.compare(p.kind, seen[p.extractor], aims[p.extractor], {})
                    distances[p].append(np.asarray(distance).item())
            if recent and strides:
                before, after = (to_float(s.content) for s in (recent[-1], step))
                ahead, back = flow.estimate(before, after), flow.estimate(after, before)
                recent[-1] = recent[-1]._replace(ahead=ahead, back=back)
            for stride in strides:
                if len(recent) >= stride:
                    errors[stride].append(_changes(list(recent)[-stride:], step))
            recent.append(step)
            counter.update()
    results = []
    for protocol in wanted:
        if not protocol.of_video:
            values, count = {"value": float(np.mean(distances[protocol]))}, len(distances[protocol])
            results.append(Result(protocol, values, sights[protocol.extractor].digest, count, 1))
            continue
        if number <= protocol.size:
            raise UserError(
                f"{drawn.name} has {number} frames, {protocol.name} needs {protocol.size + 1}; "
                "give --metrics warping_error1"
            )
        kept = [error for error in errors[protocol.size] if error[-1] > _CUT]
        means = np.mean(kept, axis=0) if kept else np.full(3, math.nan)
        values = dict(zip(("value", "content_error", "seen"), means.tolist(), strict=True))
        results.append(Result(protocol, values, "", len(kept), len(kept)))
    return results


def _changes(way: Sequence[_Step], last: _Step) -> tuple[float, float, float]:
    """Warping errors of the drawn frames and of the content, and the share of pixels in sight.

    Args:
      way: the first frame and those before the last one.
    """
    first = way[0]
    ahead, back = way[0].ahead, way[-1].back
    assert ahead is not None and back is not None
    a, b = to_float(first.content), to_float(last.content)
    if len(way) > 1:
        ahead = flow.estimate(a, b, flow.chain([step.ahead for step in way]))
        back = flow.estimate(b, a, flow.chain([step.back for step in reversed(way)]))
    sight = flow.in_sight(ahead, back)
    drawn = flow.warping_error(to_float(first.drawn), to_float(last.drawn), ahead, sight)
    own = flow.warping_error(a, b, ahead, sight)
    values = jax.device_get((drawn, own, sight.mean()))
    return float(values[0]), float(values[1]), float(values[2])


def _steps(drawn: Frames, content: Frames) -> Iterator[_Step]:
    """Frames of both videos side by side; a row or column that the encoder added is cut off."""
    for number, (a, b) in enumerate(zip_longest(drawn.frames, content.frames)):
        if a is None or b is None:
            longer, shorter = (content, drawn) if a is None else (drawn, content)
            raise UserError(
                f"{shorter.name} has {number} frames, {longer.name} more; give the video that "
                f"{drawn.name} was made of, whole"
            )
        if max(abs(x - y) for x, y in zip(a.shape, b.shape, strict=True)) > 1:
            sizes = [f"{x.shape[1]}x{x.shape[0]}" for x in (a, b)]
            raise UserError(
                f"frames of {drawn.name} are {sizes[0]}, of {content.name} {sizes[1]}; stylize it "
                "in its own size, or scale the content likewise"
            )
        height, width = (min(sides) for sides in zip(a.shape[:2], b.shape[:2], strict=True))
        yield _Step(a[:height, :width], b[:height, :width])
