"""Many contents in many styles: read, scaled, equal sizes together, each style encoded once."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ganjax.data.folder import Picture
from ganjax.errors import UserError
from ganjax.images import max_pixels, opaque, resize, with_alpha
from ganjax.stylize.models import Model
from ganjax.stylize.transfer import Style, encode_style, recolor, stylize

PreserveColor = Literal["none", "coral", "luminance"]
LIMIT = 2048  # pixels of the long side, of styles, and of contents without tiles
TILE = 1024  # of what is larger than LIMIT x LIMIT all the same
_WAITING = 8  # batches' worth of contents that wait for others of their size
# (name of a file, what is wrong with it)
Report = Callable[[str, UserError], None]


class EncodedStyle(NamedTuple):
    """A style that was read and encoded once, for any number of contents.

    Attributes:
      image: uint8 [H, W, 3], at the size at which it was encoded.
      mask: float32 [H, W, 1], where the style was taken from; None for everywhere.
      statistics: what transfers give to contents; None where each content has the style encoded
        in colors of its own (preserve_color "coral").
    """

    image: np.ndarray
    mask: np.ndarray | None
    statistics: Style | None


class Job(NamedTuple):
    """What is to be drawn.

    Attributes:
      contents, styles: every content gets every style. Masks and sizes do not count for styles
        that are encoded.
      mixture: weights that make one style of all; () for single ones.
      content_masks: white where the style goes: none, one, or with a mixture one for each style.
      style_masks: white where the style is taken from: none, one, or one for each style.
      alpha: in [0, 1], strength of the style.
      preserve_color: see `stylize.py --help`.
      size, style_size: short sides in pixels; 0 leaves contents as they are, up to `LIMIT`.
      crop: cut out the center square.
      tile: in pixels; 0 for none where the content has up to `LIMIT` x `LIMIT` pixels.
      batch_size: contents that go together; 0 for 1 on a CPU and 8 elsewhere.
    """

    contents: Sequence[Picture]
    styles: Sequence[Picture | EncodedStyle]
    mixture: Sequence[float] = ()
    content_masks: Sequence[Picture] = ()
    style_masks: Sequence[Picture] = ()
    alpha: float = 1.0
    preserve_color: PreserveColor = "none"
    size: int = 0
    style_size: int = 512
    crop: bool = False
    tile: int = 0
    batch_size: int = 0

    @property
    def columns(self) -> int:
        """Pictures for each content."""
        return 1 if self.mixture else len(self.styles)


class Drawn(NamedTuple):
    """A picture, with what it was made of.

    Attributes:
      content, style: their numbers; the style of a mixture is 0.
      image: uint8 [H, W, 3], or [H, W, 4] where the content has transparent pixels.
      content_image, style_image: uint8 [H, W, 3], as the network saw them.
    """

    content: int
    style: int
    image: np.ndarray
    content_image: np.ndarray
    style_image: np.ndarray


class _Content(NamedTuple):
    number: int
    image: np.ndarray  # uint8 [H, W, 3]
    rgba: np.ndarray | None  # uint8 [H, W, 4], where any pixel is transparent
    masks: np.ndarray | None  # float32 [N, H, W, 1], or [1, H, W, 1] for all styles


def draw(job: Job, model: Model, pairs: set[tuple[int, int]], report: Report) -> Iterator[Drawn]:
    """Draws pairs of (content, style), contents of one size together.

    Args:
      report: told of each file that cannot be read; what needs it is left out.
    """
    styles = _read_styles(job, model, {style for _, style in pairs}, report)
    if not styles or (job.mixture and len(styles) < len(job.styles)):
        return
    batch_size = job.batch_size or (1 if jax.default_backend() == "cpu" else 8)
    numbers = sorted({content for content, _ in pairs})
    contents = (_read_content(job, number, report) for number in numbers)
    for batch in _batches(filter(None, contents), batch_size):
        for column in range(job.columns):
            rows = [content for content in batch if (content.number, column) in pairs]
            chosen = [styles[n] for n in (styles if job.mixture else [column]) if n in styles]
            if rows and chosen:
                images = _stylize(job, model, rows, chosen)
                for content, image in zip(rows, images, strict=True):
                    yield Drawn(content.number, column, image, content.image, chosen[0].image)


def _read_styles(
    job: Job, model: Model, wanted: set[int], report: Report
) -> dict[int, EncodedStyle]:
    styles = {}
    for number, picture in enumerate(job.styles):
        if number not in wanted and not job.mixture:
            continue
        if isinstance(picture, EncodedStyle):
            styles[number] = picture
            continue
        try:
            styles[number] = read_style(job, model, number, picture)
        except UserError as error:
            report(picture.name, error)
    return styles


def read_style(job: Job, model: Model, number: int, picture: Picture) -> EncodedStyle:
    """Reads, scales and encodes style `number` of a job, a picture.

    Raises:
      UserError: it or its mask cannot be read, or the mask is black.
    """
    image, mask = picture.pixels(channels=4, may_shrink=True), None
    if job.style_masks:
        picture_of_mask = job.style_masks[number % len(job.style_masks)]
        mask = _read_mask(picture_of_mask, image)
        if not mask.any():
            raise UserError(f"its mask {picture_of_mask.name} is black all over")
    # A long strip must not become a giant.
    limit = max(LIMIT, 4 * job.style_size)
    size = _scaled_size(image.shape[:2], job.style_size, crop=job.crop, limit=limit)
    image = opaque(_fitted(image, size, job.crop))
    mask = None if mask is None else _soft(_fitted(mask, size, job.crop))
    recolored = job.preserve_color == "coral"
    statistics = None if recolored else encode_style(model, image, mask=mask)
    return EncodedStyle(image, mask, statistics)


def _read_content(job: Job, number: int, report: Report) -> _Content | None:
    picture = job.contents[number]
    try:
        scaled = bool(job.size) or not job.tile
        image = picture.pixels(channels=4, may_shrink=scaled)
        masks = [_read_mask(mask, image) for mask in job.content_masks]
        limit = 0 if job.tile or job.size else LIMIT
        size = _scaled_size(image.shape[:2], job.size, crop=job.crop, limit=limit)
    except UserError as error:
        report(picture.name, error)
        return None
    side = (min if job.crop else max)(image.shape[:2])
    if limit and max(size) < side:
        tqdm.write(
            f"{picture.name} is scaled down to {size[1]}x{size[0]} pixels; --tile keeps its size",
            file=sys.stderr,
        )
    image = _fitted(image, size, job.crop)
    regions = None
    if masks:
        regions = np.stack([_soft(_fitted(mask, size, job.crop)) for mask in masks])
    transparent = image[:, :, 3].min() < 255
    return _Content(number, opaque(image), image if transparent else None, regions)


def _stylize(
    job: Job, model: Model, rows: Sequence[_Content], styles: Sequence[EncodedStyle]
) -> list[np.ndarray]:
    def encoded(style: EncodedStyle, content: _Content) -> Style:
        if job.preserve_color != "coral" and style.statistics is not None:
            return style.statistics
        return encode_style(model, recolor(style.image, content.image), mask=style.mask)

    height, width = rows[0].image.shape[:2]
    masks = [content.masks for content in rows if content.masks is not None]
    images = stylize(
        model,
        [content.image for content in rows],
        [[encoded(style, content) for style in styles] for content in rows],
        job.mixture or (1.0,),
        alpha=job.alpha,
        masks=masks or None,
        keep_colors=job.preserve_color == "luminance",
        tile=job.tile or (TILE if height * width > LIMIT**2 else 0),
    )
    return [
        image if content.rgba is None else with_alpha(image, content.image, content.rgba)
        for content, image in zip(rows, images, strict=True)
    ]


def _batches(contents: Iterator[_Content], size: int) -> Iterator[list[_Content]]:
    """Contents of one size together, though others come between; no more than `size` at a time."""
    waiting: dict[tuple[int, ...], list[_Content]] = {}
    for content in contents:
        batch = waiting.setdefault(content.image.shape, [])
        batch.append(content)
        if len(batch) == size:
            yield waiting.pop(content.image.shape)
        elif sum(map(len, waiting.values())) >= _WAITING * size:  # all that wait are in memory
            yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
    yield from waiting.values()


def _scaled_size(
    image_size: tuple[int, int], short: int, *, crop: bool, limit: int
) -> tuple[int, int]:
    """What an image of (H, W) is scaled to.

    Args:
      short: side in pixels; 0 keeps the size.
      crop: it becomes a square first.
      limit: of the long side; 0 for none.
    """
    if crop:
        image_size = (min(image_size), min(image_size))
    scale = short / min(image_size) if short else 1.0
    if limit:
        scale = min(scale, limit / max(image_size))
    height, width = (max(1, round(side * scale)) for side in image_size)
    if height * width > max_pixels():
        raise UserError(f"would have {width}x{height} pixels; give a smaller size")
    return height, width


def frame_size(job: Job, size: tuple[int, int]) -> tuple[int, int]:
    """What frames of (H, W) are scaled to."""
    return _scaled_size(size, job.size, crop=False, limit=0 if job.size else LIMIT)


def _fitted(image: np.ndarray, size: tuple[int, int], crop: bool) -> np.ndarray:
    if crop:
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        image = image[top : top + side, left : left + side]
    return image if image.shape[:2] == size else resize(image, size)


def _read_mask(picture: Picture, image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 1] at the size of the image that it belongs to."""
    try:
        mask = picture.pixels(channels=1, may_shrink=True)
    except UserError as error:
        raise UserError(f"its mask {named(picture.name, error)}") from error
    return mask if mask.shape[:2] == image.shape[:2] else resize(mask, image.shape[:2])


def reason(error: UserError) -> str:
    """What is wrong with an image that was read from bytes, without a name for it."""
    return str(error).removeprefix("image ")


def named(name: str, error: UserError) -> str:
    """What is wrong with an image, with its name once."""
    text = reason(error)
    return text if text.startswith(name) else f"{name}: {text}"


def _soft(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.float32) / np.float32(255)
