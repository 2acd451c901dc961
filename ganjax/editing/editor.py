"""Editing photographs by a generator: inverted once, then drawn anew with changes."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from ganjax import conditions, runs, seeds
from ganjax.editing.inversion import Inverter, Likeness, Target
from ganjax.editing.latents import between
from ganjax.errors import UserError
from ganjax.images import cover, parse_image_size, to_float, to_uint8
from ganjax.metrics import pairs
from ganjax.trees import named_leaves
from ganjax.weights.safetensors import read_metadata, read_safetensors, write_safetensors

PERCEPTION = "vgg16"
ROLE = "generator"  # of the network that is tuned
CANDIDATES = 1024  # draws that the starts are the best of
_CHUNK = 64  # of them at a time
_PAIRS = 16  # of own images, whose distance is what images are called unlike by
Tell = Callable[[int], None]


class Inverted(NamedTuple):
    """An image as a generator draws it.

    Attributes:
      inputs: z [1, Z] and, where there is one, the condition.
      params: of the generator, tuned to the image.
      target: uint8 [H, W, C], the image as large as the generator's own.
      found: how near it came by z alone.
      tuned: how near it came with the tuned generator.
    """

    inputs: Mapping[str, Array]
    params: Any
    target: np.ndarray
    found: Likeness
    tuned: Likeness


class Editor:
    """Draws photographs by a generator, and changes what it draws.

    Args:
      run: of a model that draws images from z, from `ganjax.runs.load`.
      name: what messages call it.

    Attributes:
      checkpoint: the name of the one that was loaded.
      condition: what the model can be asked for; None for nothing.
      image_size: (H, W) of its images.
      channels: of its images.

    Raises:
      UserError: the model has no z, or the weights of VGG-16 and LPIPS are missing.
    """

    def __init__(self, run: runs.Run, name: str = "the run"):
        model, data = run.model, run.config.data
        if model.use != "sample" or "z" not in model.inputs or ROLE not in run.trained.variables:
            raise UserError(f"{name} draws no images from z, so that it cannot edit")
        self.checkpoint, self.condition = run.checkpoint, model.inputs.get("label")
        self.image_size, self.channels = parse_image_size(data.image_size), data.channels
        self._model, self._trained = model, run.trained
        self._sight = pairs.load(PERCEPTION)
        if min(self.image_size) < self._sight.least:
            raise UserError(f"{name} draws images below {self._sight.least} pixels, too small")
        self._inverter = Inverter(self._apply, self._sight)
        self._drawn = jax.jit(lambda params, inputs: to_uint8(self._apply(params, inputs)))
        self._errors = jax.jit(self._squared_errors)
        self._spread: float | None = None

    @classmethod
    def load(cls, source: str | Path, **options: Any) -> "Editor":
        """Loads the model of a run, a file or the package; the options are `ganjax.runs.load`'s."""
        return cls(runs.load(source, **options), str(source))

    @property
    def params(self) -> Any:
        """Of the generator, as it was trained."""
        return self._trained.variables[ROLE]["params"]

    @property
    def spread(self) -> float:
        """Median LPIPS between two images of the model; what is farther off is none of its kind."""
        if self._spread is None:
            images = self._apply(self.params, self._draw(2 * _PAIRS, 0, None))
            distance = jax.jit(self._inverter.distance)
            values = distance(self._sight.params, *jnp.split(images, 2))
            self._spread = float(jnp.median(values))
        return self._spread

    def fit(self, image: np.ndarray) -> np.ndarray:
        """uint8 [h, w, C] scaled and cut to the size of the generator's images."""
        flat = image[:, :, 0] if image.shape[2] == 1 else image
        fitted = np.asarray(cover(Image.fromarray(flat), self.image_size))
        return fitted.reshape(*self.image_size, self.channels)

    def fit_mask(self, mask: np.ndarray) -> np.ndarray:
        """uint8 [h, w, 1] cut as `fit` cuts images, float32 [H, W] in [0, 1]."""
        fitted = cover(Image.fromarray(mask[:, :, 0]), self.image_size)
        return np.asarray(fitted, np.float32) / 255

    def invert(
        self,
        image: np.ndarray,
        *,
        steps: int = 500,
        starts: int = 8,
        tuning: int = 350,
        seed: int = 0,
        asked: np.ndarray | None = None,
        tell: Tell = lambda steps: None,
    ) -> Inverted:
        """Finds the z that an image is drawn from, and tunes the generator to draw it from there.

        Args:
          image: uint8 [H, W, C], from `fit`.
          steps: of the descent to z.
          starts: how many of `CANDIDATES` draws it begins with.
          tuning: steps of the generator at most; 0 to leave it as it was trained.
          seed: of the draws.
          asked: what the image shows, from `conditions.parse`; else the condition is that of the
            nearest draw.
          tell: called with the number of steps done since the last call.
        """
        target = self._inverter.see(to_float(jnp.asarray(image)))
        found, likeness = self._inverter.project(
            self.params,
            self._starts(target, starts, seed, asked),
            target,
            steps=steps,
            tell=tell,
        )
        params, tuned = self._inverter.tune(self.params, found, target, steps=tuning, tell=tell)
        return Inverted(found, params, image, likeness, tuned)

    def edit(
        self,
        inverted: Inverted,
        *,
        shift: Array | np.ndarray | float = 0.0,
        asked: np.ndarray | None = None,
        keep: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """Draws the image with changes.

        Args:
          shift: added to z, [Z] or [N, Z] for N pictures.
          asked: the new condition, from `conditions.parse`; values that it leaves open stay.
          keep: float [H, W] in [0, 1], 1 where the pixels of the image itself stay.

        Returns:
          uint8 [N, H, W, C].
        """
        z = inverted.inputs["z"] + jnp.atleast_2d(jnp.asarray(shift, jnp.float32))
        inputs = self._rows(inverted, z)
        if asked is not None:
            label, new = inputs["label"], jnp.asarray(asked)[None]
            inputs["label"] = jnp.where(new == conditions.DRAWN, label, new)
        images = jax.device_get(self._drawn(inverted.params, inputs))
        share = np.broadcast_to(np.float32(keep), self.image_size)[None, :, :, None]
        mixed = share * inverted.target + (1 - share) * images
        return np.round(mixed).astype(np.uint8)

    def morph(self, a: Inverted, b: Inverted, frames: int) -> Iterator[np.ndarray]:
        """Pictures uint8 [H, W, C] from one image to another, `frames` in all.

        z goes along the great circle, the tuned generator in a straight line; a condition changes
        half way.
        """
        shares = np.linspace(0, 1, frames, dtype=np.float32)
        ways = between(a.inputs["z"][0], b.inputs["z"][0], jnp.asarray(shares))
        for share, z in zip(shares.tolist(), ways, strict=True):
            params = jax.tree.map(lambda x, y, t=share: (1 - t) * x + t * y, a.params, b.params)
            inputs = self._rows(a if share < 0.5 else b, z[None])
            yield jax.device_get(self._drawn(params, inputs))[0]

    def write(self, path: Path, inverted: Inverted) -> None:
        """Keeps an inversion: z, condition and tuned generator, for edits without another descent.

        Raises:
          UserError: the file cannot be written.
        """
        arrays = {f"inputs/{name}": np.asarray(x) for name, x in inverted.inputs.items()}
        arrays |= {f"params/{n}": np.asarray(x) for n, x in named_leaves(inverted.params).items()}
        arrays["target"] = inverted.target
        likeness = [float(x[0]) for pair in (inverted.found, inverted.tuned) for x in pair]
        metadata = {"inversion": json.dumps(likeness), "checkpoint": self.checkpoint}
        write_safetensors(path, arrays, metadata)

    def read(self, path: Path) -> Inverted:
        """An inversion that `write` kept.

        Raises:
          UserError: the file holds none, or one by another generator.
        """
        arrays, metadata = read_safetensors(path), read_metadata(path)
        if "inversion" not in metadata:
            raise UserError(f"{path} is no inversion of `ganjax edit --save_latent`")
        if metadata["checkpoint"] != self.checkpoint:
            raise UserError(
                f"{path} was made with {metadata['checkpoint']}, not {self.checkpoint}; choose "
                "that with --checkpoint, or invert the image again"
            )
        names, structure = named_leaves(self.params), jax.tree.structure(self.params)
        params = [jnp.asarray(arrays[f"params/{name}"]) for name in names]
        values = [jnp.asarray([x]) for x in json.loads(metadata["inversion"])]
        return Inverted(
            {
                name.removeprefix("inputs/"): jnp.asarray(x)
                for name, x in arrays.items()
                if name.startswith("inputs/")
            },
            jax.tree.unflatten(structure, params),
            arrays["target"],
            Likeness(*values[:2]),
            Likeness(*values[2:]),
        )

    def _apply(self, params: Any, inputs: Mapping[str, Array]) -> Array:
        variables = self._trained.variables
        network = {**variables[ROLE], "params": params}
        trained = self._trained.replace(variables={**variables, ROLE: network})
        return self._model.sample(trained, inputs, jax.random.key(0))[self._model.image]

    def _draw(self, count: int, seed: int, asked: np.ndarray | None) -> dict[str, Array]:
        label = None
        if asked is not None:
            label = jnp.broadcast_to(jnp.asarray(asked), (count, *np.shape(asked)))
        assert self._model.draw is not None
        return self._model.draw(seeds.key(seed), jnp.arange(count), label)

    def _starts(
        self, target: Target, count: int, seed: int, asked: np.ndarray | None
    ) -> dict[str, Array]:
        """The draws whose images are nearest to the target in pixels."""
        inputs = self._draw(CANDIDATES, seed, asked)
        errors = []
        for first in range(0, CANDIDATES, _CHUNK):
            rows = {name: value[first : first + _CHUNK] for name, value in inputs.items()}
            errors.append(self._errors(self.params, rows, target.image))
        order = jnp.argsort(jnp.concatenate(errors))[:count]
        return {name: value[order] for name, value in inputs.items()}

    def _squared_errors(self, params: Any, inputs: Mapping[str, Array], target: Array) -> Array:
        return jnp.mean(jnp.square(self._apply(params, inputs) - target), axis=(1, 2, 3))

    def _rows(self, inverted: Inverted, z: Array) -> dict[str, Array]:
        """The inputs with other z [N, Z]."""
        others = {name: jnp.repeat(x, len(z), axis=0) for name, x in inverted.inputs.items()}
        return {**others, "z": z}
