"""What fidelity_torch.py and the tests both draw."""

import numpy as np

# Subsets of KID in the golden, small as the sets are.
SUBSETS = {"subsets": 20, "subset_size": 100}


def draw_features() -> tuple[np.ndarray, np.ndarray]:
    """Real [300, 24] and fake [280, 24] float64 features, not centerd, of correlated channels."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(24, 24)) / 5
    real = np.abs(rng.normal(size=(300, 24)) @ mix + 0.4)
    fake = np.abs(rng.normal(size=(280, 24)) @ mix * 1.1 + 0.5)
    return real, fake


def draw_logits() -> np.ndarray:
    """[303, 20]: a number that 10 splits do not divide."""
    return np.random.default_rng(1).normal(size=(303, 20)) * 2


def draw_images() -> tuple[np.ndarray, np.ndarray]:
    """Pairs uint8 [3, 192, 176, 3]: noise on shapes, another contrast, and a negative."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:192, :176] / 16
    shapes = np.stack([np.sin(x * f + y) * np.cos(y / f) for f in (0.5, 1, 2)], axis=-1)
    a = np.clip(127.5 + 100 * shapes + rng.normal(size=(3, 192, 176, 3)) * 5, 0, 255)
    b = a + rng.normal(size=a.shape) * 30
    b[1] = 0.5 * a[1] + 40
    b[2] = 255 - a[2]
    return tuple(np.clip(images, 0, 255).astype(np.uint8) for images in (a, b))
