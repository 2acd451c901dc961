"""Inversion: the z from which a generator draws an image, and the generator tuned until it does.

z-space inversion in two stages, then pivotal tuning. Several starts descend in pixels alone, for a
perceptual network is dear; the nearest of them goes on by LPIPS and pixels. Every step ends on the
sphere of radius sqrt(Z), where draws from N(0, I) lie: else descent leaves for z that the generator
was never trained with.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ganjax.editing.latents import on_sphere
from ganjax.metrics import perceptual
from ganjax.metrics.pairs import Sight
from ganjax.metrics.similarity import psnr

Tree = Any
Draw = Callable[[Tree, Mapping[str, Array]], Array]
CHUNK = 10  # steps from one call of a program to the next, between which bars move
PIXEL_SHARE = 0.3  # of all steps that several starts take in pixels
# Of the learning rate: shares of the steps in which it rises and falls (Karras et al. 2020,
# arXiv:1912.04958, appendix D).
RISE, FALL = 0.05, 0.25


class Target(NamedTuple):
    """The image that is to be drawn: [1, H, W, C] in [-1, 1], and its features."""

    image: Array
    features: Mapping[str, Array]


class Likeness(NamedTuple):
    """How near images are to the one that was to be drawn; LPIPS [N], and PSNR [N] in dB."""

    lpips: Array
    psnr: Array


class Inverter:
    """Programs that invert images by one generator; compiled once, for any number of images.

    Args:
      draw: (parameters of the generator, inputs) -> images [N, H, W, C] in [-1, 1]; the inputs hold
        z [N, Z], and a condition where there is one.
      sight: what LPIPS looks through, of `metrics.pairs.load`.
      pixel_weight: of the mean squared error of pixels beside LPIPS.
      learning_rate: Adam's for z, at its height.
      tuning_rate: Adam's for the generator (Roich et al. 2021, arXiv:2106.05744, section 4).
    """

    def __init__(
        self,
        draw: Draw,
        sight: Sight,
        *,
        pixel_weight: float = 1.0,
        learning_rate: float = 0.1,
        tuning_rate: float = 3e-4,
    ):
        self._draw, self._sight, self._pixel_weight = draw, sight, pixel_weight
        self._rate, self._tuner = learning_rate, optax.adam(tuning_rate)
        self._adam = optax.scale_by_adam(b1=0.9, b2=0.999)
        self._descent = jax.jit(self._descend, static_argnames="perceptual")
        self._tuning = jax.jit(self._tune)
        self._compared = jax.jit(self._compare)
        self._seen = jax.jit(lambda sight, image: Target(image, self._see(sight, image)))

    def see(self, image: Array) -> Target:
        """A target from an image [H, W, C] in [-1, 1]."""
        return self._seen(self._sight.params, image[None])

    def project(
        self,
        params: Tree,
        starts: Mapping[str, Array],
        target: Target,
        *,
        steps: int,
        tell: Callable[[int], None] = lambda steps: None,
    ) -> tuple[dict[str, Array], Likeness]:
        """Finds z.

        Args:
          params: of the generator.
          starts: inputs [S, ...] to begin with; all but z stays as it is.
          target: from `see`.
          steps: of all; the first `PIXEL_SHARE` of them by all starts at once.
          tell: called with the number of steps done since the last call.

        Returns:
          The inputs [1, ...] found, and how near their image is.
        """
        first = round(PIXEL_SHARE * steps)
        inputs, likeness = self._run(params, dict(starts), target, first, False, tell)
        best = jnp.argmin(likeness.lpips)[None]
        inputs = {name: value[best] for name, value in inputs.items()}
        return self._run(params, inputs, target, steps - first, True, tell)

    def _run(self, params, inputs, target, steps, perceptual, tell):
        state = self._adam.init(inputs["z"])
        for step in range(0, steps, CHUNK):
            numbers = jnp.arange(step, step + CHUNK)
            inputs, state = self._descent(
                params, self._sight.params, inputs, state, target, numbers, steps,
                perceptual=perceptual,
            )  # fmt: skip
            jax.block_until_ready(inputs)
            tell(min(CHUNK, steps - step))
        return inputs, self._compared(params, self._sight.params, inputs, target)

    def _descend(self, params, sight, inputs, state, target, numbers, steps, *, perceptual: bool):
        def loss(z: Array) -> Array:
            images = self._draw(params, {**inputs, "z": z})
            return jnp.sum(self._loss(sight, images, target, perceptual=perceptual))

        def step(carry, number):
            z, state = carry
            updates, new = self._adam.update(jax.grad(loss)(z), state)
            rate = self._rate * _share(number / steps)
            moved = on_sphere(z - rate * updates)
            # The last chunk may be longer than what is left to do.
            done = number >= steps
            keep = lambda a, b: jax.tree.map(partial(jnp.where, done), a, b)  # noqa: E731
            return (keep(z, moved), keep(state, new)), None

        (z, state), _ = jax.lax.scan(step, (inputs["z"], state), numbers)
        return {**inputs, "z": z}, state

    def tune(
        self,
        params: Tree,
        inputs: Mapping[str, Array],
        target: Target,
        *,
        steps: int,
        enough: float = 0.03,
        tell: Callable[[int], None] = lambda steps: None,
    ) -> tuple[Tree, Likeness]:
        """Pivotal tuning (Roich et al. 2021): the generator learns to draw `target` from this z.

        Args:
          inputs: from `project`.
          steps: at most.
          enough: LPIPS at which it ends, for what is tuned further can be edited less well.

        Returns:
          The parameters, and how near their image is.
        """
        state = self._tuner.init(params)
        likeness = self._compared(params, self._sight.params, inputs, target)
        for step in range(0, steps, CHUNK):
            if likeness.lpips[0] <= enough:
                tell(steps - step)
                break
            params, state = self._tuning(params, self._sight.params, inputs, state, target)
            likeness = self._compared(params, self._sight.params, inputs, target)
            tell(min(CHUNK, steps - step))
        return params, likeness

    def _tune(self, params, sight, inputs, state, target):
        def loss(params: Tree) -> Array:
            return jnp.sum(self._loss(sight, self._draw(params, inputs), target, perceptual=True))

        def step(carry, _):
            params, state = carry
            updates, state = self._tuner.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), length=CHUNK)[0]

    def distance(self, sight: Tree, images: Array, others: Array) -> Array:
        """LPIPS [N] between images [N, H, W, C] in [-1, 1] and others."""
        return self._distance(self._see(sight, images), self._see(sight, others))

    def _see(self, sight: Tree, images: Array) -> Mapping[str, Array]:
        rgb = jnp.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        return self._sight.apply(sight, rgb)

    def _distance(self, features: Mapping[str, Array], others: Mapping[str, Array]) -> Array:
        wide = {name: jnp.broadcast_to(x, features[name].shape) for name, x in others.items()}
        return perceptual.lpips(features, wide, self._sight.channels)

    def _loss(self, sight: Tree, images: Array, target: Target, *, perceptual: bool) -> Array:
        errors = jnp.mean(jnp.square(images - target.image), axis=(1, 2, 3))
        if not perceptual:
            return errors
        return self._pixel_weight * errors + self._distance(
            self._see(sight, images), target.features
        )

    def _compare(self, params: Tree, sight: Tree, inputs, target: Target) -> Likeness:
        images = self._draw(params, inputs)
        others = jnp.broadcast_to(target.image, images.shape)
        distance = self._distance(self._see(sight, images), target.features)
        return Likeness(distance, psnr(images, others))


def _share(done: Array) -> Array:
    """Of the learning rate, after this share of the steps."""
    fall = jnp.minimum(1.0, (1.0 - done) / FALL)
    return (0.5 - 0.5 * jnp.cos(jnp.pi * fall)) * jnp.minimum(1.0, (done + 1e-3) / RISE)
