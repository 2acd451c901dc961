"""What both sides of DF-GAN's golden start from: sizes, weights, inputs."""

import numpy as np
import resnet_gan_setup

BATCH, LATENT, SENTENCE, SIDE, WIDTH = 3, 5, 4, 32, 2
WORDS, WORD_SIZE, LENGTHS = 7, 3, (5, 2, 3)  # of the text encoder; the last are captions' words
PENALTY_WEIGHT, PENALTY_POWER = 2.0, 6.0


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights `name`: N(0, 0.3^2), of the name alone; float64."""
    return resnet_gan_setup.draw(name, shape, 0.3)


def draw_inputs() -> dict[str, np.ndarray]:
    """z, sentences, real and generated images, what images are weighed by, and tokens."""
    shape = (BATCH, SIDE, SIDE, 3)
    tokens = np.random.default_rng(3).integers(1, WORDS, (BATCH, max(LENGTHS)))
    tokens[np.arange(max(LENGTHS)) >= np.array(LENGTHS)[:, None]] = 0
    return {
        "z": resnet_gan_setup.draw("text/z", (BATCH, LATENT), 1),
        "sentences": resnet_gan_setup.draw("text/sentences", (BATCH, SENTENCE), 1),
        "real": np.tanh(resnet_gan_setup.draw("text/real", shape, 1)),
        "fake": np.tanh(resnet_gan_setup.draw("text/fake", shape, 1)),
        "weights": resnet_gan_setup.draw("text/weights", shape, 1 / SIDE),
        "tokens": tokens,
    }
