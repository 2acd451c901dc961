"""What the goldens of extractors and their tests share: weights by recipe, images, what is kept."""

import zlib

import numpy as np

# Of Inception and VGG-16.
BLOCKS = (
    "pool1", "pool2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c",
    "Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c",
)  # fmt: skip
RELUS = {  # of VGG-16: places in torchvision's `features`
    "relu1_1": 1, "relu1_2": 3, "relu2_1": 6, "relu2_2": 8, "relu3_1": 11, "relu3_2": 13,
    "relu3_3": 15, "relu4_1": 18, "relu4_2": 20, "relu4_3": 22, "relu5_1": 25, "relu5_2": 27,
    "relu5_3": 29,
}  # fmt: skip


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of that name in a file of the published layout: float32, the same everywhere."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    kind = name.rpartition(".")[2]
    if kind == "running_var":
        return random.uniform(0.3, 1.5, shape).astype(np.float32)
    if kind == "running_mean" or kind == "bias":
        return random.uniform(-0.3, 0.3, shape).astype(np.float32)
    if len(shape) == 1:  # the normalization's weight
        return random.uniform(0.6, 1.4, shape).astype(np.float32)
    # This variance keeps the activations' size under ReLU. A hundred million numbers come from
    # fewer: a prime of them, so that no two rows of a kernel are alike.
    bound = np.sqrt(6 / np.prod(shape[1:]))
    count = min(int(np.prod(shape)), 999_983)
    return np.resize(random.uniform(-bound, bound, count).astype(np.float32), shape)


def draw_images(batch: int, height: int, width: int) -> np.ndarray:
    """Noise over a few large patches: uint8 [B, H, W, 3]."""
    random = np.random.RandomState(height)
    patches = random.randint(0, 256, (batch, -(-height // 16), -(-width // 16), 3))
    patches = patches.repeat(16, 1).repeat(16, 2)[:, :height, :width]
    noise = random.randint(-40, 41, patches.shape)
    return (patches + noise).clip(0, 255).astype(np.uint8)


def draw_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Images, and the same moved, darker, and under noise: uint8 [3, 70, 83, 3] each."""
    images = draw_images(3, 70, 83)
    noise = np.random.RandomState(0).randint(-60, 61, images[2].shape)
    others = (np.roll(images[0], 3, 1), images[1] * 0.6, (images[2] + noise).clip(0, 255))
    return images, np.stack(others).astype(np.uint8)


def summarize(features: np.ndarray) -> np.ndarray:
    """Of [H, W, C]: the norm, then some 300 values from all over it, borders and corners too."""
    flat = features.reshape(-1)
    places = np.linspace(0, flat.size - 1, 300).astype(int)
    corners = features[[0, 0, -1, -1], [0, -1, 0, -1]][:, :: max(1, features.shape[2] // 16)]
    norm = np.linalg.norm(flat.astype(np.float64))
    return np.concatenate([[norm], flat[places], corners.reshape(-1)]).astype(np.float32)
