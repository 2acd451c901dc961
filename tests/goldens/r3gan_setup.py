"""What both sides of R3GAN's golden start from: sizes, weights, inputs, a batch for each step."""

from typing import NamedTuple

import numpy as np
import resnet_gan_setup

BATCH, LATENT, STEPS = 3, 5, 2
RATE, B2, R1, R2 = 1e-2, 0.9, 0.7, 0.3  # of the train steps


class Case(NamedTuple):
    """Small networks: seeds of 4x4, with and without a stage of fewer channels."""

    side: int
    channels: int
    width: int
    conditions: int


CASES = {"16": Case(16, 3, 16, 2), "64": Case(64, 1, 16, 0)}
STEP = "16"  # the networks that train


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights `name`: N(0, 0.1^2), of the name alone; float64."""
    return resnet_gan_setup.draw(name, shape, 0.1)


def draw_inputs(name: str, images: int = BATCH) -> dict[str, np.ndarray | None]:
    """z [B, Z], images [N, H, W, C], what images are weighed by, and a class [N] or None."""
    case = CASES[name.split("/")[0]]
    shape = (images, case.side, case.side, case.channels)
    return {
        "z": resnet_gan_setup.draw(f"{name}/z", (BATCH, LATENT), 1),
        "image": np.tanh(resnet_gan_setup.draw(f"{name}/images", shape, 1)),
        "weights": resnet_gan_setup.draw(f"{name}/weights", shape, 1),
        "label": np.arange(images) % case.conditions if case.conditions else None,
    }
