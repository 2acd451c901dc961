"""A model of the time that a train step takes on many chips, from their published figures."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

UTILIZATION = 0.4  # share of the peak that the arithmetic is assumed to reach
HOP_SECONDS = 1e-6  # that a message takes from one chip to the next


class Chip(NamedTuple):
    """Published figures of one chip; sources in docs/development/scaling.md.

    Attributes:
      flops: peak per second, bfloat16 factors, dense.
      memory: bytes.
      memory_speed: bytes per second.
      link_speed: bytes per second that it sends over all its links to its neighbors.
      torus: sides from which on a TPU slice's lines are closed to rings; 0 for GPUs: nodes of
        eight, between which each sends `network_speed` bytes per second.
    """

    flops: float
    memory: float
    memory_speed: float
    link_speed: float
    torus: int = 0
    network_speed: float = 0.0


CHIPS = {
    "v5e": Chip(197e12, 16e9, 819e9, 200e9, torus=16),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 600e9, torus=4),
    "h100": Chip(989e12, 80e9, 3350e9, 450e9, network_speed=50e9),
}
GPU_NODE = 8


def all_reduce_seconds(kind: str, sides: Sequence[int], size: float, count: int) -> float:
    """A model of the time that `count` all-reduces of `size` bytes in all take.

    Each chip sends every byte but its own share twice (to sum, and to spread the sums), over all
    its links at full speed; over lines that are not closed to rings, over half of them. Each
    all-reduce waits for the way along every side and back.

    Args:
      kind: of `CHIPS`.
      sides: of the slice; (GPUs,) of a cluster.
    """
    chip, chips = CHIPS[kind], math.prod(sides)
    if chip.torus:
        ring = all(side >= chip.torus for side in sides)
        hops = sum(side / 2 if ring else side - 1 for side in sides)
        speed = chip.link_speed if ring else chip.link_speed / 2
        return 2 * size * (1 - 1 / chips) / speed + count * 2 * hops * HOP_SECONDS
    nodes, near = -(-chips // GPU_NODE), min(chips, GPU_NODE)
    inside = 2 * size * (1 - 1 / near) / chip.link_speed
    between = 2 * size / near * (1 - 1 / nodes) / chip.network_speed
    hops = math.log2(near) + math.log2(nodes)  # of a tree
    return inside + between + count * 2 * hops * HOP_SECONDS


def hiding_batch(kind: str, flops_per_image: float, seconds: float) -> int:
    """The smallest batch of a chip whose arithmetic takes as long as `seconds` of exchange."""
    image_s = flops_per_image / (UTILIZATION * CHIPS[kind].flops)
    return math.ceil(seconds / image_s)


def model(row: dict[str, Any], kind: str, sides: Sequence[int]) -> dict[str, float]:
    """Times of a step by `all_reduce_seconds` and the published peaks, in seconds.

    Args:
      row: of `compile_step`, whose arithmetic and exchange the chips of `kind` are taken to have.
    """
    chip, sums = CHIPS[kind], row["exchanged"].get("all-reduce", {"bytes": 0, "count": 0})
    exchange = all_reduce_seconds(kind, sides, sums["bytes"], sums["count"])
    batch = hiding_batch(kind, row["flops"] / row["batch_per_chip"], exchange)
    return {
        "arithmetic_s": row["flops"] / (UTILIZATION * chip.flops),
        "memory_s": row["bytes_accessed"] / chip.memory_speed,
        "exchange_s": exchange,
        "batch": batch,
        "global_batch": batch * math.prod(sides),
    }
