"""The contracts: a model, which commands use, and a task, the game that trains it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ganjax.data.fields import Field
from ganjax.training.state import State, Trained
from ganjax.trees import named_leaves

Batch = Mapping[str, Array]
Inputs = Mapping[str, Array]
TrainStep = Callable[[State, Batch, Array], tuple[State, dict[str, Array]]]


class Phase(NamedTuple):
    """A stretch of training in which batch and image size stay as they are.

    Attributes:
      name: shown in the progress bar.
      kimg: thousands of real images that the phase consumes.
      batch_size: real images that one train step consumes, over all devices.
      image_size: (H, W) of the data.
    """

    name: str
    kimg: float
    batch_size: int
    image_size: tuple[int, int]

    @property
    def steps(self) -> int:
        """Train steps of the phase; the last one may pass `kimg` by less than a batch."""
        return -int(-self.kimg * 1000 // self.batch_size)


def draw_latents(rng: Array, index: Array, size: int) -> Array:
    """z [N, size] from N(0, I); a row depends on `rng` and its entry of `index` [N] alone."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, index)
    return jax.vmap(lambda key: jax.random.normal(key, (size,)))(keys)


def project_latents(params: Any, z: Array, layers: Sequence[str] = ("project",)) -> Array:
    """z [N, Z] through the first linear maps that a generator applies to it, [N, K].

    Their outputs are side by side, without biases and constant factors. Layers may take other
    values after those of z.

    Args:
      params: of the generator.
      layers: names of the maps, at any depth.
    """
    kernels = [
        kernel.reshape(len(kernel), -1)[: z.shape[1]]
        for name, kernel in named_leaves(params).items()
        if f"/{name}".endswith(tuple(f"/{layer}/kernel" for layer in layers))
    ]
    return z @ jnp.concatenate(kernels, axis=1)


class Model(NamedTuple):
    """A trained model as pure functions, closed over its modules: all that using it needs.

    Attributes:
      inputs: what `sample` takes, by name.
      outputs: what it gives, by name; images first.
      draw: (rng, index [N], label) -> those inputs that are drawn; a row depends on rng, its index
        and its label alone. `label` is what is asked for, [N], [N, A] or [N, T] with -1 where it is
        drawn, too; None to draw all. None where all inputs are read from files.
      sample: (trained, inputs, rng) -> {name: [N, ...]}, images [N, H, W, C] in [-1, 1]; row i
        follows from row i of the inputs and rng alone. Models that take images leave their noise
        out where rng is None.
      sheet: (trained, inputs, rng) -> one picture for people: images [N, H, W, C] in [-1, 1], or
        [rows, columns, H, W, C] where their places mean something. None where there is nothing to
        see.
      multiple: of which the sides of input images must be multiples.
      reach: pixels beyond which one of an input image has no influence on one of the output; None
        where all see all, e.g. through normalization by the image at hand.
      optional: what `sample` takes, too: a mask of what the model shall draw, without which it
        makes one up; or an image of any size whose style the results shall have.
      real: what a batch calls the real images that the outputs shall be like; "" where no images
        of the data are that.
      directions: the values of `data.direction` that one run can be used with.
      scale: times that the sides of output images are those of input images.
      one_noise: whether the noise is that of a whole image, so that all tiles of it have the same.
      rebuild: inputs -> the model with them, where `draw` goes by the names that `inputs` have.
      project: (trained, z [N, Z]) -> [N, K], the first linear map of z, or several side by side,
        where directions of z are found; see `project_latents`. None where there is none.
    """

    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]
    draw: Callable[[Array, Array, Array | None], dict[str, Array]] | None
    sample: Callable[[Trained, Inputs, Any], dict[str, Array]]
    sheet: Callable[[Trained, Inputs, Array], Array] | None
    multiple: int = 1
    reach: int | None = None
    real: str = ""
    optional: Mapping[str, Field] = {}
    directions: tuple[str, ...] = ()
    scale: int = 1
    one_noise: bool = False
    rebuild: "Callable[[Mapping[str, Field]], Model] | None" = None
    project: Callable[[Trained, Array], Array] | None = None

    def named(self, fields: Mapping[str, Field]) -> "Model":
        """The model with the names that a run's data gave to classes, attributes and words."""
        inputs = {
            name: fields[name] if name in fields and fields[name].kind == field.kind else field
            for name, field in self.inputs.items()
        }
        return self.rebuild(inputs) if self.rebuild else self._replace(inputs=inputs)

    @property
    def use(self) -> Literal["sample", "translate", "stylize", ""]:
        """The command that draws with the model; "" where it makes no images."""
        if not self.image:
            return ""
        if self.draw is not None:
            return "sample"
        return "stylize" if "style" in self.inputs else "translate"

    @property
    def image(self) -> str:
        """The name of the output that is measured and shown; "" where there are no images."""
        return next((name for name, field in self.outputs.items() if field.kind == "image"), "")


class Task(NamedTuple):
    """A training game as pure functions, closed over its modules and hyper-parameters.

    Attributes:
      model: what is trained.
      init: rng -> State.
      train_step: (state, batch, rng) -> (state, metrics), one whole iteration of the game. The
        batch is a dict of named arrays, images as uint8 [B, H, W, C]; metrics are scalars named
        `loss_<role>` and `grad_norm_<role>`, and `alpha` where something is faded in. The loop
        itself counts steps and images.
      phases: in order; one for most games.
      steps: by the name of a phase, a train step of its own, where it has one.
      begin_phase: (state, phase) -> State, called once as each phase begins.
    """

    model: Model
    init: Callable[[Array], State]
    train_step: TrainStep
    phases: tuple[Phase, ...]
    begin_phase: Callable[[State, Phase], State] = lambda state, phase: state
    steps: Mapping[str, TrainStep] = {}

    def step_of(self, phase: Phase) -> TrainStep:
        """The train step of a phase."""
        return self.steps.get(phase.name, self.train_step)

    def phase_at(self, step: int) -> Phase:
        """The phase of the train step after `step` others."""
        ends = accumulate(phase.steps for phase in self.phases)
        return next(phase for phase, end in zip(self.phases, ends, strict=True) if step < end)
