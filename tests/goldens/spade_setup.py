"""What both sides of the golden of SPADE and OASIS start from: sizes, weights, inputs."""

import zlib

import numpy as np

BATCH, SIZE, CLASSES, NOISE, UPS, DOWNS = 2, (32, 64), 3, 5, 1, 2
WEIGHTS = {"mix": 10.0, "features": 10.0, "divergence": 0.05}
IGNORED, UNLABELED = 2, 255  # a class that weighs nothing, the number of no class


def draw(name: str, shape: tuple[int, ...], deviation: float = 0.2) -> np.ndarray:
    """The weights or inputs `name`: N(0, deviation^2), of the name alone; float64."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(0, deviation, shape)


def draw_inputs() -> dict[str, np.ndarray]:
    """Label maps [B, H, W] with some pixels of no class, images, noise [B, Z], LabelMix's mask."""
    rng = np.random.default_rng(0)
    coarse = rng.choice([0, 1, IGNORED, UNLABELED], (BATCH, 8, 16), p=(0.5, 0.3, 0.1, 0.1))
    return {
        "labels": coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8),
        "target": np.tanh(draw("target", (BATCH, *SIZE, 3), 1)),
        "noise": draw("noise", (BATCH, NOISE), 1),
        "mask": rng.integers(0, 2, (BATCH, *SIZE, 1)).astype(np.float64),
    }
