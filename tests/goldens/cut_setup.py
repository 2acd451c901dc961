"""What both sides of CUT's golden start from: sizes, weights, images, places."""

import numpy as np
from cyclegan_setup import BATCH, BLOCKS, LAYERS, SIDE, WIDTH, draw, draw_images

__all__ = ["BATCH", "BLOCKS", "LAYERS", "SIDE", "WIDTH", "draw", "draw_images"]

HEAD_WIDTH, PATCHES, STEPS = 4, 6, 2
LEARNING_RATE = 2e-4
ROLES = ("generator", "discriminator", "heads")
# By name: the weight of PatchNCE, whether it is on the target too, whether the inputs are mirrored.
FORMS = {"cut": (1.0, True, False), "fast": (10.0, False, True)}


def draw_places(step: int, sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    """`PATCHES` places of each map (h, w), y * w + x, without repetition."""
    random = np.random.default_rng(step)
    return [random.permutation(h * w)[:PATCHES] for h, w in sizes]
