"""What both sides of WGAN-GP's golden start from: sizes, weights, a batch for each step."""

import numpy as np
import resnet_gan_setup

BATCH, STEPS, LATENT = 3, 2, resnet_gan_setup.LATENT
RATE, B2, GRADIENT = 1e-2, 0.9, 7.0
WEIGHTS = 0.7, 0.3  # of the classifier, for D and for G
SIDE, CHANNELS, GENERATOR_WIDTH, WIDTH = 32, 1, 4, 3
SIZES = 2, 3  # values of two attributes


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights `name`: N(0, 0.4^2), of the name alone; float64."""
    return resnet_gan_setup.draw(name, shape, 0.4)


def draw_inputs(step: int) -> dict[str, np.ndarray]:
    """z of D and of G [2, B, Z], images [B, H, W, C], attributes [B, A], and the mixture [B]."""
    rng = np.random.default_rng(step)
    shape = (BATCH, SIDE, SIDE, CHANNELS)
    return {
        "z": rng.normal(size=(2, BATCH, LATENT)),
        "image": np.tanh(rng.normal(size=shape)),
        "label": np.stack([rng.integers(0, size, BATCH) for size in SIZES], axis=1),
        "mix": rng.uniform(size=BATCH),
    }
