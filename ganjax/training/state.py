"""The state of a training run: one pytree that holds all that a checkpoint must."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

Tree = Any


class Network(struct.PyTreeNode):
    """One network in training.

    Attributes:
      params: of the linen module, float32.
      statistics: its `batch_stats` collection, {} without one.
      optimizer: the optax state.
    """

    params: Tree
    statistics: Tree
    optimizer: optax.OptState

    @classmethod
    def start(cls, variables: Mapping[str, Tree], optimizer: optax.GradientTransformation):
        """A network before step 1, from the variables that `module.init` gave."""
        params = variables["params"]
        return cls(params, variables.get("batch_stats", {}), optimizer.init(params))

    @property
    def variables(self) -> dict[str, Tree]:
        """What `module.apply` takes."""
        return {"params": self.params, "batch_stats": self.statistics}


class Trained(struct.PyTreeNode):
    """What a model draws with: a part of a run's state.

    Attributes:
      images: real images that it was trained on, int32 scalar.
      variables: by role, what `module.apply` takes.
    """

    images: Array
    variables: dict[str, Tree]


class State(struct.PyTreeNode):
    """A run between two steps.

    Attributes:
      step: train steps done, int32 scalar.
      images: real images consumed, int32 scalar.
      networks: by role, e.g. "generator", "discriminator".
      averages: variables averaged over the run, by role; what samples are drawn from.
      memory: whatever else a game must remember, {} for most.
    """

    step: Array
    images: Array
    networks: dict[str, Network]
    averages: dict[str, Tree]
    memory: dict[str, Tree]

    @classmethod
    def start(
        cls,
        networks: dict[str, Network],
        *,
        averaged: tuple[str, ...] = (),
        memory: dict[str, Tree] | None = None,
    ) -> "State":
        """The state before step 1; the averages of the roles `averaged` start as their networks."""
        zero = jnp.zeros((), jnp.int32)
        # Copies: a buffer that appears twice in the state cannot be donated.
        averages = {role: jax.tree.map(jnp.copy, networks[role].variables) for role in averaged}
        return cls(zero, zero, networks, averages, memory or {})

    @property
    def trained(self) -> Trained:
        """What samples are drawn with: the averages."""
        return Trained(self.images, self.averages)

    def started_from(self, role: str, params: Tree) -> "State":
        """This first state with other parameters of one network, and of its average."""
        network = self.networks[role].replace(params=jax.tree.map(jnp.asarray, params))
        averages = dict(self.averages)
        if role in averages:
            averages[role] = jax.tree.map(jnp.copy, network.variables)
        return self.replace(networks=self.networks | {role: network}, averages=averages)

    def after(
        self,
        networks: dict[str, Network],
        gradients: dict[str, Tree],
        *,
        batch_size: int,
        half_life: float | Array,
        metrics: dict[str, Array],
        ramp_up: float = 0.05,
        **changes: Any,
    ) -> tuple["State", dict[str, Array]]:
        """The state after a train step, and the step's metrics with the gradients' norms.

        Args:
          networks: by role, after their updates; others stay as they are.
          gradients: by role, those that they were updated with.
          batch_size, ramp_up: see `average`.
          half_life: of the averages, in images; 0 for none.
          changes: other fields of the state.
        """
        networks = self.networks | networks
        averages = {
            role: average(
                old,
                networks[role].variables,
                images=self.images,
                batch_size=batch_size,
                half_life=half_life,
                ramp_up=ramp_up,
            )
            for role, old in self.averages.items()
        }
        norms = {f"grad_norm_{role}": optax.tree.norm(tree) for role, tree in gradients.items()}
        return self.replace(networks=networks, averages=averages, **changes), metrics | norms


def mean_over_devices(tree: Tree) -> Tree:
    """The mean of all devices' trees in a step that each device runs by itself, else `tree`.

    JAX itself knows which of the two is traced: the axes of a `shard_map` or `pmap` are manual. No
    game needs to know.
    """
    axes = jax.sharding.get_abstract_mesh().manual_axes
    return jax.lax.pmean(tree, axes) if axes else tree


def count_over_devices(count: int) -> int:
    """What all devices have together where each has `count`, as in `mean_over_devices`."""
    mesh = jax.sharding.get_abstract_mesh()
    return count * math.prod(mesh.shape[axis] for axis in mesh.manual_axes)


def update(
    network: Network, gradients: Tree, statistics: Tree, optimizer: optax.GradientTransformation
) -> Network:
    """One optimizer step on `network`, which takes over the new `statistics`.

    Where every device has a batch of its own (`devices.per_device`), they all step along the mean
    of their gradients.
    """
    gradients = mean_over_devices(gradients)
    updates, optimizer_state = optimizer.update(gradients, network.optimizer, network.params)
    return Network(optax.apply_updates(network.params, updates), statistics, optimizer_state)


def average(
    old: Tree,
    new: Tree,
    *,
    images: Array,
    batch_size: int,
    half_life: float | Array,
    ramp_up: float = 0.05,
) -> Tree:
    """Exponential moving average whose half-life is counted in images, not in steps.

    The half-life is shorter early on, when the weights of the first images are still worthless:
    at most `ramp_up` times the images seen (Karras et al. 2020, StyleGAN2-ADA's rule).

    Args:
      old: the average so far.
      new: a pytree of the same structure.
      images: real images consumed before this step, scalar.
      batch_size: images consumed by this step, on one device where each runs it by itself.
      half_life: in images; 0 returns `new`.
      ramp_up: share of `images` that the half-life is at most.
    """
    batch_size = count_over_devices(batch_size)
    ramped = jnp.minimum(half_life, ramp_up * images.astype(jnp.float32))
    decay = jnp.where(ramped > 0, 0.5 ** (batch_size / jnp.maximum(ramped, 1e-8)), 0.0)
    return jax.tree.map(lambda a, b: b + decay * (a - b), old, new)
