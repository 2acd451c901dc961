"""What both sides of the golden of SNGAN's ResNets start from: sizes, weights, inputs."""

import zlib
from typing import NamedTuple

import numpy as np

BATCH, LATENT = 4, 8


class Case(NamedTuple):
    """Small networks of one published table; `kind` says what the condition is."""

    side: int
    channels: int
    generator_width: int
    discriminator_width: int
    conditions: int
    kind: str


CASES = {
    "32": Case(32, 3, 6, 5, 3, "class"),
    "64": Case(64, 1, 2, 2, 4, "attributes"),
}


def draw(name: str, shape: tuple[int, ...], deviation: float = 0.2) -> np.ndarray:
    """The weights or inputs `name`: N(0, deviation^2), of the name alone; float64."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(0, deviation, shape)


def draw_inputs(name: str) -> dict[str, np.ndarray]:
    """z [B, Z], images and more images [B, H, W, C], the condition and what images are weighed by.

    One attribute vector is empty.
    """
    case = CASES[name]
    rng = np.random.default_rng(case.side)
    if case.kind == "class":
        condition = np.eye(case.conditions)[rng.integers(0, case.conditions, BATCH)]
    else:
        condition = rng.integers(0, 2, (BATCH, case.conditions)).astype(np.float64)
        condition[0] = 0
    shape = (BATCH, case.side, case.side, case.channels)
    return {
        "z": draw(f"{name}/z", (BATCH, LATENT), 1),
        "images": np.tanh(draw(f"{name}/images", shape, 1)),
        "more": np.tanh(draw(f"{name}/more", shape, 1)),
        "weights": draw(f"{name}/weights", shape, 1 / case.side),
        "condition": condition,
    }
