"""The device mesh: replicated state, batches split along the "data" axis."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ganjax.errors import UserError


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


def split(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec("data"))


def to_devices(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process' rows of a batch -> the global batch, split over the mesh."""
    sharding = split(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }
