"""What both sides of CycleGAN's golden start from: sizes, weights, images."""

import zlib

import numpy as np

WIDTH, BLOCKS, LAYERS = 2, 1, 1
BATCH, SIDE = 2, 16
FORMS = (  # of the generator: resampling and normalization
    ("strided", "instance"),
    ("strided", "batch"),
    ("resize", "instance"),
    ("antialiased", "instance"),
)
STEPS, POOL_SIZE = 3, 3  # in the second step the pool is full, and gives images of the first
LEARNING_RATE = 2e-4
ROLES = ("generator_ab", "generator_ba", "discriminator_a", "discriminator_b")


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights or inputs `name`: N(0, 0.2^2), around 1 for scales; of the name alone."""
    values = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.2, shape)
    return values + name.endswith("scale")


def draw_images(name: str, side: int = SIDE) -> np.ndarray:
    """[B, H, W, 3] in [-1, 1]."""
    return np.tanh(5 * draw(name, (BATCH, side, 2 * side, 3)))


def swaps(step: int) -> dict[str, list[int]]:
    """By pool, for each image of a step that finds the pool full: the place to swap with, or -1."""
    random = np.random.default_rng(step)
    return {side: [int(n) for n in random.integers(-1, POOL_SIZE, BATCH)] for side in "ab"}
