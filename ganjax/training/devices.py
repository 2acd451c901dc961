"""Processes and the mesh of their devices: replicated state, batches split along "data"."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ganjax.errors import UserError
from ganjax.training.state import State, mean_over_devices
from ganjax.training.task import Batch, Task, TrainStep

# What launchers tell each process of a run: how many there are, or on which hosts.
_COUNTS = (
    "JAX_NUM_PROCESSES",
    "SLURM_STEP_NUM_TASKS",
    "OMPI_COMM_WORLD_SIZE",
    "MEGASCALE_NUM_SLICES",
)
_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")


def join_processes(*, asked: bool = False) -> None:
    """Joins this process with the others of its run; before any computation.

    Recognized are $JAX_NUM_PROCESSES (with $JAX_PROCESS_ID and $JAX_COORDINATOR_ADDRESS), the tasks
    of a SLURM step or of Open MPI's mpirun, and the workers of a TPU slice on Kubernetes.

    Args:
      asked: join even where nothing is recognized, as on Cloud TPU VMs.

    Raises:
      UserError: the others are not found.
    """
    several = any(os.environ.get(name, "1") != "1" for name in _COUNTS)
    if not (asked or several or any("," in os.environ.get(name, "") for name in _HOSTS)):
        return
    try:
        given: dict[str, Any] = {
            argument: int(os.environ[name])
            for argument, name in (
                ("num_processes", "JAX_NUM_PROCESSES"),
                ("process_id", "JAX_PROCESS_ID"),
            )
            if name in os.environ
        }
        jax.distributed.initialize(**given)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")[:200]
        raise UserError(
            f"the processes of this run do not find each other: {reason}; set "
            "JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID for each"
        ) from error


def make_mesh(batch_sizes: tuple[int, ...]) -> Mesh:
    """A one-axis mesh over all devices of all processes.

    Raises:
      UserError: a batch size is not a multiple of the number of devices.
    """
    devices = jax.devices()
    for batch_size in batch_sizes:
        if batch_size % len(devices):
            raise UserError(
                f"batch_size {batch_size} cannot be split over {len(devices)} devices; "
                f"make it a multiple of {len(devices)}"
            )
    return Mesh(np.array(devices), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, *, axis: int = 0) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def to_devices(
    batch: Mapping[str, np.ndarray], mesh: Mesh, *, axis: int = 0
) -> dict[str, jax.Array]:
    """This process' rows of a batch -> the global batch, split over the mesh.

    Args:
      axis: that of the rows.
    """
    sharding = split(mesh, axis=axis)
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }


def spread(task: Task, parallel: str, mesh: Mesh) -> Task:
    """`task` as a config's `parallel` wants it on a mesh: "jit", one batch over all devices, or
    "pmap", a batch for each (`per_device`).
    """
    if parallel == "jit":
        return task

    def init(rng: Array) -> State:
        state = task.init(rng)
        each = lambda x: jnp.broadcast_to(x, (mesh.size, *x.shape))  # noqa: E731
        return state.replace(memory=jax.tree.map(each, state.memory))

    steps = {name: per_device(step, mesh) for name, step in task.steps.items()}
    return task._replace(init=init, train_step=per_device(task.train_step, mesh), steps=steps)


def per_device(train_step: TrainStep, mesh: Mesh) -> TrainStep:
    """`train_step` as `jax.pmap` and PyTorch's DistributedDataParallel run it.

    Each device takes its rows for the whole batch: batch statistics, losses that compare rows and
    random numbers (the key is folded with the device's place in the mesh) are its own. Optimizers
    meet the mean of the gradients (`state.update`). Metrics and running statistics are the means of
    the devices', where DistributedDataParallel keeps its first device's statistics alone; a
    `grad_norm` is the mean of the devices' norms, not the norm of their mean.

    What a game remembers (`State.memory`), each device remembers on its own: [devices, ...].
    """

    def step(state: State, batch: Batch, rng: Array) -> tuple[State, dict[str, Array]]:
        state = state.replace(memory=jax.tree.map(lambda x: x[0], state.memory))
        rng = jax.random.fold_in(rng, jax.lax.axis_index("data"))
        state, metrics = train_step(state, batch, rng)
        statistics, averaged, metrics = mean_over_devices(
            (
                {role: network.statistics for role, network in state.networks.items()},
                {role: variables["batch_stats"] for role, variables in state.averages.items()},
                metrics,
            )
        )
        networks = {
            role: network.replace(statistics=statistics[role])
            for role, network in state.networks.items()
        }
        averages = {
            role: variables | {"batch_stats": averaged[role]}
            for role, variables in state.averages.items()
        }
        memory = jax.tree.map(lambda x: x[None], state.memory)
        return state.replace(networks=networks, averages=averages, memory=memory), metrics

    # In a state, what stands for all arrays of a field.
    everywhere: Any = PartitionSpec()
    rows: Any = PartitionSpec("data")
    states = State(everywhere, everywhere, everywhere, everywhere, rows)
    # With JAX's own check, gradients by replicated parameters would already be sums over devices.
    return jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(states, rows, everywhere),
        out_specs=(states, everywhere),
        check_vma=False,
    )
