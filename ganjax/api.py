"""ganjax in Python scripts: stylize, generate, translate and measure images.

    import ganjax

    stylizer = ganjax.Stylizer.load()
    image = stylizer("photo.jpg", "painting.jpg")

The code behind the commands `stylize`, `sample`, `translate` and `evaluate` is the same, and
results are equal to the bit where JAX runs as it does there: call `ganjax.start_jax()` before
anything else. It keeps compiled programs for the next start, freed memory for the next call, and
makes convolutions faster on CPUs with jaxlib 0.10; without it, some of 100,000 values differ by 1
there.

Images go in as paths, Pillow images or uint8 arrays [H, W, C] (gray and transparent ones are
converted as those in files are) and come out as uint8 arrays. The functions named `apply` are pure,
take floats in [-1, 1] and can be jitted, vmapped and differentiated. A mistake in an argument
raises `ganjax.UserError`.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import conditions, seeds
from ganjax.data.fields import Field
from ganjax.data.folder import Picture
from ganjax.data.label_maps import InstanceMaps, LabelMaps
from ganjax.editing import directions as editing
from ganjax.editing.latents import truncate
from ganjax.errors import UserError, tell_once
from ganjax.images import (
    Reading,
    as_pixels,
    opaque,
    pad_to_multiple,
    parse_image_size,
    resize,
    to_uint8,
    with_alpha,
)
from ganjax.images.samples import parse_range
from ganjax.images.tiles import cut, join
from ganjax.nets.stylizers import blend_transfer
from ganjax.paths import expand
from ganjax.stylize.jobs import (
    LIMIT,
    TILE,
    EncodedStyle,
    Job,
    PreserveColor,
    draw,
    named,
    read_style,
)
from ganjax.stylize.models import Form, load_model
from ganjax.stylize.transfer import STYLE_GRAIN
from ganjax.stylize.video import stylize_frames

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganjax.runs import Average, Run
    from ganjax.training.task import Model

    Picturelike = str | Path | bytes | Image | np.ndarray | Array

CHUNK = 64  # images per call of a generator
MAX_OUTSCALE = 64  # times that a translator's result is as large as its image


@contextmanager
def _keywords() -> Iterator[None]:
    """Names options in messages as the keywords that they are here, not as flags."""
    try:
        yield
    except UserError as error:
        text = re.sub(r"(`[^`]*`)|--(?=[a-z])", lambda found: found[1] or "", str(error))
        raise UserError(text) from error


class Stylizer:
    """A model that gives pictures the style of other pictures.

    >>> stylizer = Stylizer.load()
    >>> stylizer("photo.jpg", "painting.jpg").shape
    (64, 96, 3)
    >>> night = stylizer.encode("painting.jpg", size=64)
    >>> images = stylizer(["photo.jpg", "other.jpg"], night, alpha=0.5)
    >>> [image.shape for image in images]
    [(64, 96, 3), (80, 80, 3)]
    """

    def __init__(self, model):
        """Args: model: from `ganjax.stylize.load_model`."""
        self._model = model

    @classmethod
    @_keywords()
    def load(
        cls,
        model: Form = "compact",
        weights: str | Path | None = None,
        levels: Sequence[str] = (),
    ) -> "Stylizer":
        """Loads "compact" or, for clips, "compact_video", which ship in the package.

        "vgg19" is AdaIN as published, "vgg16" is AdaIN on VGG-16, for weights of your own, "wct"
        the transform of Li et al. 2017, "wct2" its form for photographs, for weights of your own.

        Args:
          weights: of the part that is trained: the file that `ganjax export` wrote, or a name
            that `ganjax weights` knows; by default the model's own.
          levels: of "wct", in order, like "relu4_1" or "relu4_1=0.8" with its strength; by default
            all that the weights have, each with 0.6.

        Raises:
          UserError: there is no such model, or its weights are missing or do not fit.
        """
        return cls(load_model(model, path=str(weights or ""), levels=levels))

    @property
    def params(self) -> Any:
        """What `apply` takes: the parameters of the part that is trained, a pytree of float32."""
        return self._model.params

    @_keywords()
    def encode(
        self,
        style: "Picturelike",
        *,
        mask: "Picturelike | None" = None,
        size: int = 512,
    ) -> EncodedStyle:
        """Encodes a style once, for any number of contents.

        Args:
          mask: white where the style is taken from; it is scaled to the size of the style.
          size: short side in pixels to which the style is scaled; larger makes larger strokes.

        Raises:
          UserError: the style or its mask is no image, or the mask is black all over.
        """
        _check_counts(size=size)
        masks = [] if mask is None else [_mask(mask, "mask")]
        picture = _picture(style, "style")
        job = Job([], [picture], style_masks=masks, style_size=size)
        try:
            return read_style(job, self._model, 0, picture)
        except UserError as error:
            raise UserError(named(picture.name, error)) from error

    @_keywords()
    def __call__(
        self,
        content: "Picturelike | Sequence[Picturelike]",
        style: "Picturelike | EncodedStyle | Sequence[Picturelike | EncodedStyle]",
        alpha: float = 1.0,
        *,
        weights: Sequence[float] | None = None,
        content_mask: "Picturelike | Sequence[Picturelike] | None" = None,
        style_mask: "Picturelike | Sequence[Picturelike] | None" = None,
        preserve_color: PreserveColor = "none",
        size: int = 0,
        style_size: int = 512,
        crop: bool = False,
        tile: int = 0,
        batch_size: int = 0,
    ) -> np.ndarray | list[np.ndarray]:
        """Stylizes a picture, or each of a list; what `stylize.py` does, with the same options.

        Args:
          content: a picture, or a list of them.
          style: a picture or what `encode` gave; of a list, a mixture.
          alpha: in [0, 1]; 1 is the full style, 0 the content itself.
          weights: of a list of styles, 0 or more; by default all alike.
          content_mask: white where the style goes; one, or one for each style of a mixture. A mask
            is a picture or a bool array [H, W]; it is scaled to the size of its picture.
          style_mask: white where the style is taken from; one, or one for each style.
          preserve_color: keep the content's colors: "coral" recolors the style first, "luminance"
            takes only the luminance of the result; or "none".
          size, style_size: short sides in pixels; 0 leaves contents as they are, up to 2048 pixels
            on the long side unless there is a `tile`.
          crop: cut out the center squares.
          tile: work in tiles of so many pixels, for images of any size; 0 for none.
          batch_size: contents of equal size that go together; 0 for 1 on a CPU, 8 elsewhere.

        Returns:
          uint8 [H, W, 3], or [H, W, 4] where the content has transparent pixels; for a list of
          contents a list of them.

        Raises:
          UserError: an argument is no picture, or out of its range.
        """
        contents, styles = _several(content), _several(style)
        shares = _shares(weights, len(styles)) if _is_list(style) else ()
        content_masks, style_masks = (
            [] if mask is None else _pictures(mask, name, _mask)
            for name, mask in (("content_mask", content_mask), ("style_mask", style_mask))
        )
        _check_alpha(alpha)
        _check_counts(size=size, style_size=style_size, tile=tile, batch_size=batch_size)
        if preserve_color not in get_args(PreserveColor):
            choices = ", ".join(get_args(PreserveColor))
            raise UserError(f"preserve_color is {preserve_color!r}; choose one of {choices}")
        if weights is not None and not shares:
            raise UserError("weights belong to a list of styles; give style=[...]")
        most = len(styles)
        for name, masks in (("content_mask", content_masks), ("style_mask", style_masks)):
            if len(masks) not in (0, 1, most):
                given = f"{name} has {len(masks)} masks for {most} styles"
                raise UserError(f"{given}; give one, or one for each style")
        if style_masks and any(isinstance(one, EncodedStyle) for one in styles):
            raise UserError("an encoded style has its mask already; give it to encode(mask=...)")
        job = Job(
            _pictures(content, "content", _picture),
            _pictures(style, "style", _style),
            mixture=shares,
            content_masks=content_masks,
            style_masks=style_masks,
            alpha=float(alpha),
            preserve_color=preserve_color,
            size=size,
            style_size=style_size,
            crop=crop,
            tile=tile,
            batch_size=batch_size,
        )

        def fail(name: str, error: UserError) -> None:
            raise UserError(named(name, error)) from error

        pairs = {(number, 0) for number in range(len(contents))}
        drawn = {picture.content: picture.image for picture in draw(job, self._model, pairs, fail)}
        images = [drawn[number] for number in range(len(contents))]
        return images if _is_list(content) else images[0]

    @_keywords()
    def frames(
        self,
        frames: Iterable[np.ndarray],
        style: "Picturelike | EncodedStyle | Sequence[Picturelike | EncodedStyle]",
        alpha: float = 1.0,
        *,
        weights: Sequence[float] | np.ndarray | None = None,
        smoothing: float = 0.9,
        keep_colors: bool = False,
    ) -> Iterator[np.ndarray]:
        """Stylizes the frames of a video in order, in the memory of one.

        Args:
          frames: uint8 [H, W, 3] of one size.
          style: see `__call__`.
          weights: [N], how N styles are mixed, or [F, N], a row for each frame, to go from style to
            style; frames beyond have the last one. None for equal parts.
          alpha: in [0, 1], strength of the style.
          smoothing: in [0, 1), what the statistics of a frame weigh in the next frame's, against
            flicker; 0 for each frame by itself.
          keep_colors: only the luminance changes.

        Returns:
          An iterator of uint8 [H, W, 3].

        Raises:
          UserError: an argument is out of its range.
        """
        _check_alpha(alpha)
        if not 0 <= smoothing < 1:
            raise UserError(f"smoothing is {smoothing}; give 0 to below 1")
        styles = [
            one if isinstance(one, EncodedStyle) else self.encode(one) for one in _several(style)
        ]
        rows: Iterable[Sequence[float]]
        if weights is not None and np.ndim(weights) == 2:
            given = [_shares(row, len(styles)) for row in np.asarray(weights)]
            rows = itertools.chain(given, itertools.repeat(given[-1]))
        else:
            rows = itertools.repeat(_shares(weights, len(styles)))
        return stylize_frames(
            self._model,
            frames,
            [one.statistics for one in styles if one.statistics is not None],
            rows,
            alpha=float(alpha),
            smoothing=smoothing,
            keep_colors=keep_colors,
        )

    def apply(
        self,
        params: Any,
        contents: Array,
        styles: Array | EncodedStyle | Sequence[Array | EncodedStyle],
        alpha: float | Array = 1.0,
        *,
        weights: Sequence[float] | Array | None = None,
    ) -> Array:
        """Stylizes a batch, as a pure function of arrays.

        >>> stylizer = Stylizer.load()
        >>> contents, style = jnp.zeros((2, 32, 32, 3)), jnp.ones((1, 32, 32, 3))
        >>> jax.jit(stylizer.apply)(stylizer.params, contents, style).shape
        (2, 32, 32, 3)

        Args:
          params: see `params`.
          contents: floats [B, H, W, 3] in [-1, 1].
          styles: floats [B or 1, H', W', 3] in [-1, 1], or what `encode` gave; of a list, a
            mixture.
          alpha: in [0, 1], a scalar; 0 gives the contents back.
          weights: of a list of styles, [N], 0 or more; by default all alike.

        Returns:
          [B, H, W, 3], not clipped to [-1, 1].

        Raises:
          UserError: an array has the wrong type or shape.
        """
        stylizer = self._model.stylizer
        _check_floats("contents", contents)
        _check_alpha(alpha)
        mixture = _several(styles)
        shares = jnp.asarray(_shares(weights, len(mixture)), jnp.float32)
        shares = shares / jnp.sum(shares)
        found = [
            style.statistics
            if isinstance(style, EncodedStyle)
            else self._encode(params, style, "styles")
            for style in mixture
        ]
        if not (isinstance(alpha, Real) and alpha == 1):  # the content's own style takes the rest
            found.append(self._encode(params, contents, "contents"))
            alpha = jnp.asarray(alpha, jnp.float32)
            shares = jnp.concatenate([alpha * shares, jnp.reshape(1 - alpha, 1)])
        batch, height, width, _ = contents.shape
        statistics = jax.tree.map(
            lambda *leaves: jnp.stack([jnp.broadcast_to(x, (batch, *x.shape[1:])) for x in leaves]),
            *found,
        )
        padded = pad_to_multiple(contents, stylizer.multiple)

        def draw(shares: Array) -> Array:
            transfer = blend_transfer(stylizer.transform, statistics, shares)
            return stylizer.stylize(params, padded, transfer)

        images = draw(shares)
        if len(found) > len(mixture):  # what the model loses of the content comes back
            lost = padded - draw(jnp.eye(len(found))[-1])
            images = images + (1 - alpha) * lost
        return images[:, :height, :width]

    def _encode(self, params: Any, images: Array, name: str):
        _check_floats(name, images)
        batch, height, width, _ = images.shape
        padded = pad_to_multiple(images, STYLE_GRAIN)
        inside = jnp.zeros((*padded.shape[:3], 1)).at[:, :height, :width].set(1)
        return self._model.stylizer.encode_style(params, padded, inside)


def _check_use(model: "Model", use: str, name: str) -> None:
    if model.use != use:
        takes = " and ".join(model.inputs)
        can = f"use `ganjax {model.use}`" if model.use else "it draws no images"
        raise UserError(f"{name} is a model that takes {takes}; {can}")


class Generator:
    """A trained model that draws images, from the folder of its training run or an exported file.

    >>> generator = Generator.load("runs/dcgan_avatars")
    >>> generator.sample(3, seed=1).shape
    (3, 16, 16, 3)

    Attributes:
      trained: what `apply` takes: the networks' variables, a pytree.
      inputs: what an image is drawn from, by name, `z` first. A `Field` of kind "class" has the
        names that `sample(label=...)` takes; of kind "attributes" `names`, and for each its
        `values`.
      checkpoint: the name of the one that was loaded, like "step 3125 1f2e3d4c".
    """

    trained: Any
    inputs: Mapping[str, Field]
    checkpoint: str

    def __init__(self, run: "Run", name: str = "the run"):
        """Args: run: from `ganjax.runs.load`; name: what messages call it.

        Raises:
          UserError: it needs images to make images of, or makes none.
        """
        model = run.model
        _check_use(model, "sample", name)
        self._model, self._name = model, name
        self.trained, self.inputs, self.checkpoint = run.trained, model.inputs, run.checkpoint
        self._program = jax.jit(
            lambda trained, inputs: to_uint8(self.apply(trained, inputs, jax.random.key(0)))
        )

    @classmethod
    @_keywords()
    def load(
        cls,
        source: str | Path,
        *,
        checkpoint: int | Literal["best"] | None = None,
        average: "Average" = "ema",
    ) -> "Generator":
        """Loads the generator of a training run.

        Args:
          source: the folder of the run, gs://BUCKET/PATH, too; FILE.safetensors of `ganjax export`;
            or the name of a model in the package.
          checkpoint: a step, or "best" by the metric that the run was evaluated with; by default
            the newest. A file has one.
          average: "ema", the running average of the networks, or "live", their last weights.

        Raises:
          UserError: there is no run, no such checkpoint, or the model draws no images by itself.
        """
        return cls(_load_run(source, checkpoint, average), str(source))

    @_keywords()
    def sample(
        self,
        num: int = 1,
        seed: int = 0,
        label: str | int | Sequence[str | int] | None = None,
        attributes: Mapping[str, str] | None = None,
        text: str | Sequence[str] | None = None,
        direction: Mapping[str, float] | None = None,
        keep: Sequence[str] = (),
        directions: str | Path | None = None,
        truncation: float = 0.0,
    ) -> np.ndarray:
        """Draws images: those of `ganjax sample`.

        Args:
          num: how many. Image number i of a seed is the same, however many are drawn.
          seed: of the noise, 0 or more.
          label: a class, by its name or number, or one for each image; by default all in turn.
          attributes: name -> value; those that are not named are drawn.
          text: what the images shall show, or one text for each; by default captions of the data
            in turn.
          direction: name -> strength, of those that `ganjax edit` found, e.g. {"hair_long": 2.0}.
          keep: names of directions that those leave as they are.
          directions: the file that it wrote; by default that in the folder of the run.
          truncation: keep the values of z within it; 0 leaves them as they are drawn.

        Returns:
          uint8 [num, H, W, C].

        Raises:
          UserError: a number is impossible, or the model cannot be asked for that.
        """
        condition = self.inputs.get("label")

        if label is not None and text is not None:
            raise UserError("label and text are both given; give one of them")
        given, name, plural = (
            (label, "label", "classes") if text is None else (text, "text", "texts")
        )

        def parse(one):
            told = {} if one is None else {name: str(one)}
            return conditions.parse(condition, attributes=attributes or "", **told)

        if isinstance(given, str | int | None) or np.ndim(given) == 0:
            asked = parse(given)
        elif len(given) == num:
            asked = np.stack([parse(one) for one in given])
        else:
            raise UserError(
                f"{name} has {len(given)} {plural} for {num} images; give {num}, or one"
            )
        inputs = self.draw(num, seed, asked)
        if truncation:
            inputs["z"] = truncate(inputs["z"], truncation)
        if direction:
            inputs["z"] += self.shift(direction, keep, directions)
        return np.stack(list(self.images(inputs)))

    def shift(
        self,
        direction: Mapping[str, float],
        keep: Sequence[str] = (),
        directions: str | Path | None = None,
    ) -> np.ndarray:
        """What these strengths of directions add to z, [1, Z]; see `sample`.

        Raises:
          UserError: there is no such file, it is of another model, or lacks a direction.
        """
        path = expand(directions) if directions else expand(self._name) / editing.FILE
        found = editing.read(path, self.inputs["z"].size)
        if found.checkpoint != self.checkpoint:
            tell_once(
                f"warning: {path} was made of {found.checkpoint}, and this is {self.checkpoint}; "
                "directions may have changed: find them again with `ganjax edit --find`"
            )
        return found.shift(direction, keep)

    def project(self, z: Array) -> Array:
        """z [N, Z] -> [N, K], the first linear map of z, where directions are found.

        Raises:
          UserError: the model says of none.
        """
        if self._model.project is None:
            raise UserError(f"{self._name} has no linear map of z; choose --find attributes")
        return self._model.project(self.trained, z)

    def draw(self, num: int, seed: int = 0, asked: np.ndarray | None = None) -> dict[str, Array]:
        """The inputs of images 0 to `num` - 1 of a seed, as `apply` and `images` take them.

        Args:
          asked: from `conditions.parse`, for all images or one for each.

        Raises:
          UserError: a number is impossible.
        """
        if num < 1:
            raise UserError(f"num is {num}; it must be 1 or more")
        seeds.check("seed", seed)
        label = None
        if asked is not None:
            item = () if self.inputs["label"].kind == "class" else asked.shape[-1:]
            label = jnp.broadcast_to(asked, (num, *item))
        assert self._model.draw is not None
        return self._model.draw(seeds.key(seed), jnp.arange(num), label)

    def images(self, inputs: Mapping[str, Array]) -> Iterator[np.ndarray]:
        """Draws an image for each row of `inputs`, uint8 [H, W, C], some at a time.

        They are drawn in chunks of one size, so that one program serves any number.
        """
        (count,) = {len(value) for value in inputs.values()}
        for first in range(0, count, CHUNK):
            rows = jnp.arange(first, first + CHUNK) % count
            chunk = {name: value[rows] for name, value in inputs.items()}
            yield from jax.device_get(self._program(self.trained, chunk))[: count - first]

    def apply(self, trained: Any, inputs: Mapping[str, Array], rng: Array | None = None) -> Array:
        """Draws a batch, as a pure function of arrays.

        >>> generator = Generator.load("runs/dcgan_avatars")
        >>> inputs = generator.draw(3, seed=1)
        >>> def brightness(inputs):
        ...     return jnp.mean(generator.apply(generator.trained, inputs))
        >>> jax.grad(brightness)(inputs)["z"].shape
        (3, 100)

        Args:
          trained: see `trained`.
          inputs: arrays [N, ...] by the names of `inputs`, e.g. from `draw`.
          rng: of noise inside the network, where it has any; by default that of key 0.

        Returns:
          [N, H, W, C] in [-1, 1].

        Raises:
          UserError: an input is missing.
        """
        if missing := self.inputs.keys() - inputs.keys():
            raise UserError(f"inputs lack {', '.join(sorted(missing))}; draw() gives all of them")
        rng = jax.random.key(0) if rng is None else rng
        return self._model.sample(trained, inputs, rng)[self._model.image]


class Translator:
    """A trained model that turns images into others, from its training run or an exported file.

    >>> translator = Translator.load("runs/pix2pix_avatars")
    >>> translator("photo.jpg").shape
    (64, 96, 3)

    Attributes:
      trained: what `apply` takes: the networks' variables, a pytree.
      checkpoint: the name of the one that was loaded, like "step 3125 1f2e3d4c".
      maps: how the label maps are written that it takes; None where it takes images.
    """

    trained: Any
    checkpoint: str
    maps: LabelMaps | None

    def __init__(self, run: "Run", name: str = "the run"):
        """Args: run: from `ganjax.runs.load`; name: what messages call it.

        Raises:
          UserError: its model does not turn one image into another.
        """
        model = run.model
        _check_use(model, "translate", name)
        data = run.config.data
        self._model, self._channels = model, data.channels
        self._reading = Reading(parse_range(data.range))
        self.maps = None
        if model.inputs["source"].kind == "label_map":
            self.maps = LabelMaps.of(data.classes, data.colors)
        self.trained, self.checkpoint = run.trained, run.checkpoint
        self._program = jax.jit(
            lambda trained, images, optional, rng: to_uint8(
                self._translate(trained, images, rng, **optional)
            )
        )

    @classmethod
    @_keywords()
    def load(
        cls,
        source: str | Path,
        *,
        checkpoint: int | Literal["best"] | None = None,
        average: "Average" = "ema",
        direction: Literal["", "AtoB", "BtoA"] = "",
    ) -> "Translator":
        """Loads the model of a training run; the other arguments are those of `Generator.load`.

        Args:
          direction: of a model that was trained both ways; by default `data.direction`.

        Raises:
          UserError: there is no run, no such checkpoint, or the model translates no images, or not
            that way.
        """
        return cls(_load_run(source, checkpoint, average, direction), str(source))

    @_keywords()
    def __call__(
        self,
        image: "Picturelike | Sequence[Picturelike]",
        *,
        mask: "Picturelike | None" = None,
        seed: int | None = 0,
        tile: int = 0,
        outscale: float = 0.0,
        resample: Mapping[str, int] | None = None,
        style: "Picturelike | None" = None,
        instances: "Picturelike | None" = None,
    ) -> np.ndarray | list[Any]:
        """Translates an image of any size, or each of a list; what `ganjax translate` does.

        Args:
          image: of a model that takes label maps see `LabelMaps.of_image`.
          mask: of a model that fills holes: white where it shall draw; all else stays as it is. It
            is scaled to the size of the image.
          seed: of the noise, where the model has any; 0 or more, None to leave the noise out.
          tile: work in tiles of so many pixels; 0 for none up to 2048x2048 pixels. Of models whose
            pixels see only so far (`Model.reach`) the result is the same; tiles of others are
            translated by themselves and fade into each other.
          outscale: times that the result's sides are the image's; the model's result is scaled to
            that at the end. 0 for those of the model: 1 for most, 4 for super-resolution x4.
          resample: of a model whose noise has a place: class -> number of another draw of it, 1 to
            255, that its pixels have; all others stay as they are without it.
          style: of SPADE with an encoder: the image whose style the result has; `seed` then says
            nothing.
          instances: of a model that was trained with `data.instances`: integers [H, W], another
            number for each object, as large as the label map. None for the edges of classes alone.

        Returns:
          uint8 [H, W, C], of 4 channels where the image has transparent pixels; for a list a list
          of them.

        Raises:
          UserError: it is no image, or an argument is out of its range.
        """
        if seed is not None:
            seeds.check("seed", seed)
        _check_counts(tile=tile)
        if not 0 <= outscale <= MAX_OUTSCALE:
            raise UserError(f"outscale is {outscale}; give a number above 0, like 3.5")
        self.check_options(
            mask=mask is not None,
            style=style is not None,
            resample=bool(resample),
            instances=instances is not None,
        )
        if _is_list(image):
            options: Any = {"mask": mask, "seed": seed, "tile": tile, "outscale": outscale}
            options |= {"resample": resample, "style": style, "instances": instances}
            return [self(one, **options) for one in image]
        beside, shown = {}, {}
        if style is not None:
            shown["style"] = self._seen(as_pixels(style, channels=4, reading=self._reading))
        if self.maps:
            labels = self.maps.of_image(image)[..., None]
            if resample:
                beside["redrawn"] = self._redrawn(labels, self.maps, resample)
            if instances is not None:
                beside["instances"] = _instances(instances, labels.shape[:2])
            drawn = self._draw(labels, seed, tile, beside, shown)
            return resize(drawn, self._size(labels, outscale))
        rgba = as_pixels(image, channels=4, reading=self._reading)
        if mask is not None:
            beside["mask"] = _hole(mask, rgba)
        size = self._size(rgba, outscale)
        seen = self._seen(rgba)
        drawn = self._draw(seen, seed, tile, beside, shown)
        if self._model.scale > 1 and not np.ptp(seen, axis=-1).any():  # enlarging adds no color
            gray = np.rint(drawn.mean(-1, keepdims=True))
            drawn = np.broadcast_to(gray, drawn.shape).astype(np.uint8)
        drawn = resize(drawn, size)
        if self._channels == 4 or rgba[:, :, 3].min() == 255:
            return drawn
        rgba = resize(rgba, size)
        return with_alpha(as_pixels(drawn), opaque(rgba), rgba)

    def _seen(self, rgba: np.ndarray) -> np.ndarray:
        """What the model sees of an image [H, W, 4]: uint8 [H, W, C]."""
        seen = rgba if self._channels == 4 else opaque(rgba)
        return as_pixels(seen, channels=self._channels)

    def _redrawn(
        self, labels: np.ndarray, maps: LabelMaps, resample: Mapping[str, int]
    ) -> np.ndarray:
        """Which draw of the noise each pixel has: uint8 [H, W, 1]."""
        numbers = np.zeros_like(labels)
        for name, number in resample.items():
            if name not in maps.names:
                raise UserError(f"--resample {name}: there is {', '.join(maps.names)}")
            if not 1 <= number <= 255:
                raise UserError(f"--resample {name}={number}: give a number from 1 to 255")
            numbers[labels == maps.names.index(name)] = number
        return numbers

    def _size(self, image: np.ndarray, outscale: float) -> tuple[int, int]:
        """(H, W) of the result."""
        times = outscale or self._model.scale
        height, width = (max(1, round(times * side)) for side in image.shape[:2])
        return height, width

    def check_options(
        self, *, mask: bool, style: bool, resample: bool, instances: bool = False
    ) -> None:
        """Checks what is given beside images: a mask if the model needs one; no more than it takes.

        Raises:
          UserError: something is missing or too much.
        """
        optional = self._model.optional
        if mask != ("mask" in optional):
            hint = "takes no mask; leave out" if mask else "fills holes; say where with"
            raise UserError(f"the model {hint} --mask")
        if style and "style" not in optional:
            raise UserError("the model has no encoder of styles; leave out --style")
        if resample and "redrawn" not in optional:
            raise UserError("the model has no noise of single classes; leave out --resample")
        if instances and "instances" not in optional:
            raise UserError("the model does not know edges of instances; leave out --instances")

    def _draw(
        self,
        pixels: np.ndarray,
        seed: int | None,
        tile: int,
        beside: Mapping[str, np.ndarray],
        shown: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """Translates uint8 [H, W, C], whole or in tiles.

        Args:
          pixels: of a label map one channel.
          beside: what the model takes of each pixel, too, by name, uint8 [H, W, 1].
          shown: what all of the image is drawn with, uint8 [h, w, C].

        Returns:
          uint8 [scale * H, scale * W, C].
        """
        model = self._model
        padded = pad_to_multiple(pixels, model.multiple)
        beside = {name: pad_to_multiple(x, model.multiple) for name, x in beside.items()}
        whole = {name: x[None] for name, x in shown.items()}
        key = None if seed is None else seeds.key(seed)

        def draw(window: tuple[slice, ...], rng: Array | None) -> np.ndarray:
            optional = whole | {name: x[window][None, ..., 0] for name, x in beside.items()}
            drawn = self._program(self.trained, padded[window][None], optional, rng)
            return jax.device_get(drawn)[0]

        height, width = (model.scale * side for side in pixels.shape[:2])
        tile = tile or (TILE if pixels.shape[0] * pixels.shape[1] > LIMIT**2 else 0)
        if not tile or max(padded.shape) <= tile:
            return draw((), key)[:height, :width]
        margin = max(2, tile // 8) if model.reach is None else model.reach

        def key_of(n: int) -> Array | None:
            """Noise of its own for each tile, lest a pattern repeat."""
            return key if key is None or model.one_noise else jax.random.fold_in(key, n)

        parts = (
            (part.scaled(model.scale), draw(part.window, key_of(n)))
            for n, part in enumerate(cut(padded.shape[:2], tile, margin, model.multiple))
        )
        feather = model.scale * margin // 2 if model.reach is None else 0
        sides = tuple(model.scale * side for side in padded.shape[:2])
        return join(sides, parts, feather=feather)[:height, :width]

    def apply(self, trained: Any, images: Array, rng: Array | None = None) -> Array:
        """Translates a batch, as a pure function of arrays.

        >>> translator = Translator.load("runs/pix2pix_avatars")
        >>> translator.apply(translator.trained, jnp.zeros((2, 32, 40, 3))).shape
        (2, 32, 40, 3)

        Args:
          trained: see `trained`.
          images: floats [N, H, W, C] in [-1, 1]; of a model that takes label maps uint8 [N, H, W].
          rng: of the noise, where the model has any; by default that of key 0.

        Returns:
          [N, H, W, C] in [-1, 1]; of super-resolution, H and W `Model.scale` times as large.

        Raises:
          UserError: the array has the wrong type or shape.
        """
        if self.maps:
            if images.ndim != 3 or images.dtype != jnp.uint8:
                raise UserError(f"images are {images.dtype} {images.shape}; give uint8 [N, H, W]")
            images = images[..., None]
        else:
            _check_floats("images", images, channels=self._channels)
        height, width = (self._model.scale * side for side in images.shape[1:3])
        padded = pad_to_multiple(images, self._model.multiple)
        rng = jax.random.key(0) if rng is None else rng
        return self._translate(trained, padded, rng)[:, :height, :width]

    def _translate(
        self, trained: Any, images: Array, rng: Array | None, **optional: Array
    ) -> Array:
        inputs = {"source": images[..., 0] if self.maps else images, **optional}
        return self._model.sample(trained, inputs, rng)[self._model.image]


@_keywords()
def measure(
    generated: "str | Path | np.ndarray | Sequence[Picturelike]",
    reference: "str | Path | np.ndarray | Sequence[Picturelike] | None" = None,
    metrics: str = "",
    *,
    image_size: str | int | tuple[int, int] | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, float]:
    """Measures images against others; what `ganjax evaluate` does.

    >>> images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    >>> measure(images, images, "psnr,ssim")
    {'psnr': 100.0, 'psnr_equal_pairs': 20, 'ssim': 1.0}

    Args:
      generated: a folder, a .zip file or a data source like "avatars"; or images in memory, uint8
        [N, H, W, C] or a list of pictures.
      reference: likewise, what to compare with; metrics that compare pairs pair files by name, and
        images in memory by number. None where no metric needs one.
      metrics: names with commas between, which docs/metrics.md explains; by default those
        that suit the data, of up to 5000 images.
      image_size: 64 or (H, W); images are scaled until they cover it, and cut. By default they
        stay as they are.
      batch_size: images at a time.
      progress: show bars.

    Returns:
      The values by the names of the metrics; where a metric has more than one, the others are
      named like "kid50k_deviation".

    Raises:
      UserError: a metric is unknown or lacks its reference or weights, or the images are too few,
        of different sizes, or no images.
    """
    from ganjax.evaluation import measure as measuring
    from ganjax.evaluation import monitor
    from ganjax.evaluation.sets import open_pairs
    from ganjax.metrics.protocols import parse

    wanted = parse(metrics) if metrics else ()
    paired = [protocol for protocol in wanted if protocol.paired]
    rest = [protocol for protocol in wanted if not protocol.paired]
    _check_counts(batch_size=batch_size, least=1)
    sides = [_given(side) for side in (generated, reference)]
    if sides[0] is None or sides[1] is None and (paired or not wanted):
        missing = "generated" if sides[0] is None else "reference"
        raise UserError(f"{missing} is None; give a folder, a .zip file, an array or a list")
    results = []
    if paired:
        if image_size is not None:
            raise UserError(f"{paired[0].name} compares images as they are; leave image_size out")
        results += measuring.measure_pairs(paired, open_pairs(*sides), progress=progress)
    if rest or not wanted:
        mesh, batch_size = monitor.split_batch(batch_size)
        size = _image_size(image_size)
        made = _open(sides[0], "generated", mesh, image_size=size)._replace(digest="")
        real = None
        if sides[1] is not None and not (rest and all(protocol.one_sided for protocol in rest)):
            default = {"default_size": made.image_size}
            real = _open(sides[1], "reference", mesh, image_size=size, **default)
        if not rest:
            source = sides[1] if isinstance(sides[1], str) else ""
            sizes = [images.size for images in (made, real) if images]
            rest = monitor.default_metrics(source, *sizes)
        programs = measuring.load_programs(rest, mesh)
        results += measuring.measure(
            rest, made, real, programs, batch_size=batch_size, progress=progress
        )[0]
    values = {}
    for protocol in wanted or rest:
        (found,) = (result.values for result in results if result.protocol == protocol)
        first, *others = found
        values[protocol.name] = found[first]
        values |= {f"{protocol.name}_{name}": found[name] for name in others}
    return values


def _load_run(
    source: str | Path, checkpoint: int | str | None, average: "Average", direction: str = ""
) -> "Run":
    from ganjax import runs

    if average not in get_args(runs.Average):
        raise UserError(f"average is {average!r}; choose {' or '.join(get_args(runs.Average))}")
    return runs.load(str(source), step=checkpoint, average=average, direction=direction)


def _is_list(values: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(values, list | tuple) and not isinstance(values, EncodedStyle)


def _several(values: Any) -> list[Any]:
    if not _is_list(values):
        return [values]
    if not values:
        raise UserError("a list of pictures is empty; give at least one")
    return list(values)


def _pictures(values: Any, name: str, make: Callable[[Any, str], Any]) -> list[Any]:
    numbered = _is_list(values)
    return [
        make(one, f"{name} {n}" if numbered else name) for n, one in enumerate(_several(values))
    ]


def _style(style: "Picturelike | EncodedStyle", name: str) -> Picture | EncodedStyle:
    return style if isinstance(style, EncodedStyle) else _picture(style, name)


def _picture(image: "Picturelike", name: str) -> Picture:
    """A picture for `ganjax.stylize.jobs`, named as its file is, if it has any."""
    name = str(image) if isinstance(image, str | Path) else name
    return Picture(name, lambda: as_pixels(image, channels=4))


def _mask(mask: Any, name: str) -> Picture:
    if getattr(mask, "dtype", None) == np.bool_:
        mask = np.asarray(mask, np.uint8) * np.uint8(255)
    elif getattr(mask, "dtype", None) == np.uint8 and np.max(mask, initial=0) == 1:
        raise UserError(f"{name} has values 0 and 1, but white is 255; give bool, or 255 for 1")
    return _picture(mask, name)


def _hole(mask: Any, image: np.ndarray) -> np.ndarray:
    """Where a mask is white, at the size of an image: uint8 [H, W, 1]."""
    picture = _mask(mask, "mask")
    try:
        gray = picture.pixels(channels=1, may_shrink=True)
    except UserError as error:
        raise UserError(f"its mask {named(picture.name, error)}") from error
    return resize(gray, image.shape[:2], nearest=True)


def _instances(instances: Any, image_size: tuple[int, int]) -> np.ndarray:
    """Ranks of the numbers of a map of instances, at the size of an image: uint8 [H, W, 1]."""
    try:
        ranks = InstanceMaps().of_image(instances)
    except UserError as error:
        reason = str(error).removeprefix("image ")
        raise UserError(f"its map of instances {reason}") from error
    return resize(ranks[..., None], image_size, nearest=True)


def _shares(weights: Any, count: int) -> Any:
    """The weights of a mixture of `count` styles; those that are traced are not checked."""
    if weights is None:
        return (1.0,) * count
    if np.shape(weights) != (count,):
        raise UserError(f"weights have the shape {np.shape(weights)}; give one for each style")
    if isinstance(weights, jax.core.Tracer):
        return weights
    values = [float(value) for value in weights]
    if not (min(values) >= 0 and 0 < sum(values) < float("inf")):
        raise UserError(f"weights are {values}; they must be 0 or more, and one above 0")
    return tuple(values)


def _check_alpha(alpha: Any) -> None:
    if not isinstance(alpha, Real | np.ndarray | Array):
        raise UserError(f"alpha is {alpha!r}; give a number from 0 to 1")
    if shape := getattr(alpha, "shape", ()):
        raise UserError(f"alpha has the shape {shape}; give one number from 0 to 1")
    if not isinstance(alpha, jax.core.Tracer) and not 0 <= float(alpha) <= 1:
        raise UserError(f"alpha is {alpha}; it must be from 0 to 1")


def _check_counts(*, least: int = 0, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise UserError(f"{name} is {value}; it must be {least} or more")


def _check_floats(name: str, images: Any, channels: int = 3) -> None:
    dtype, shape = getattr(images, "dtype", None), np.shape(images)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        kind = type(images).__name__ if dtype is None else dtype
        remedy = "floats in [-1, 1], from uint8 by x / 127.5 - 1"
        raise UserError(f"{name} are {kind}; give {remedy}")
    if len(shape) != 4 or shape[3] != channels or 0 in shape:
        raise UserError(f"{name} have the shape {shape}; give [B, H, W, {channels}]")


def _given(images: Any) -> Any:
    """A source by its name, or images in memory; None stays None."""
    if images is None:
        return None
    if isinstance(images, str | Path):
        return str(images)
    if hasattr(images, "shape"):
        if len(images.shape) != 4:
            raise UserError(f"images have the shape {images.shape}; give [N, H, W, C], or a list")
        return np.asarray(images)
    if not isinstance(images, Iterable):
        kind = type(images).__name__
        raise UserError(f"a set of images is a {kind}; give a folder, a .zip, an array or a list")
    return list(images)


def _open(side: str | Sequence[Any], name: str, mesh: Any, *, image_size, default_size=None):
    from ganjax.evaluation.sets import make_set, open_set

    if isinstance(side, str):
        return open_set(side, mesh, image_size=image_size, default_size=default_size)
    return make_set(name, side, mesh, image_size=image_size)


def _image_size(size: str | int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    text = "x".join(map(str, size)) if isinstance(size, tuple | list) else str(size)
    return parse_image_size(text)
