"""The colors of avatars' masks, so that people can see, paint and save them as images."""

import numpy as np

from ganjax.data.avatars import MASK_CLASSES

COLORS = np.array(
    [
        (32, 32, 64),  # background
        (240, 192, 160),  # skin
        (96, 56, 24),  # hair
        (255, 255, 255),  # eyes
        (64, 24, 0),  # brows
        (224, 32, 64),  # mouth
        (0, 192, 224),  # glasses
        (240, 208, 0),  # hat
        (48, 96, 224),  # clothes
        (176, 96, 240),  # earrings
    ],
    np.uint8,
)
"""RGB by class, in the order of `MASK_CLASSES`: uint8 [10, 3]."""
assert len(COLORS) == len(MASK_CLASSES)
HEX = tuple(bytes(color).hex() for color in COLORS.tolist())
"""The same as `data.colors` has them, like "202040"."""


def paint(masks: np.ndarray) -> np.ndarray:
    """Masks uint8 [N, H, W] of classes -> colors, uint8 [N, H, W, 3]."""
    return COLORS[masks]
