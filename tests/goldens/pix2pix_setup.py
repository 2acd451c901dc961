"""What both sides of the golden of pix2pix's networks start from: sizes, weights, inputs."""

import zlib

import numpy as np

WIDTH, DOWNS = 2, 6
SHAPE = (2, 64, 128, 3)
NORMS = ("batch", "instance")
LAYERS = (0, 1, 3)  # of the PatchGANs


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights or inputs `name`: N(0, 0.2^2), around 1 for scales; of the name alone."""
    values = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.2, shape)
    return values + name.endswith("scale")


def draw_inputs() -> dict[str, np.ndarray]:
    """Images [B, H, W, C] in [-1, 1], two of them for the discriminator, and weights of outputs."""
    return {
        "images": np.tanh(5 * draw("images", SHAPE)),
        "pairs": np.tanh(5 * draw("pairs", (*SHAPE[:3], 6))),
        "weights": draw("weights", SHAPE),
    }


def draw_pairs(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Source and target [B, H, W, C] in [-1, 1] of a train step."""
    return tuple(np.tanh(5 * draw(f"{side} {number}", SHAPE)) for side in ("source", "target"))
