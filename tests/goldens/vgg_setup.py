"""What vgg_torch.py and test_vgg.py share: images, drawn weights, what of the features is kept."""

import io
import math
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH = 4  # of the network with drawn weights
BLOCKS = (2, 2, 4, 4, 1)  # convolutions of VGG-19 in each block, up to relu5_1
PHOTOS = (
    "n01440764_tench.jpg",
    "n01443537_goldfish.jpg",
    "n01484850_great_white_shark.jpg",
    "n01491361_tiger_shark.jpg",
    "n01494475_hammerhead.jpg",
    "n01514668_cock.jpg",
)


def load_photos(data_folder: Path, side: int) -> np.ndarray:
    """The centers of `PHOTOS`: uint8 [6, side, side, 3]."""
    crops = []
    with zipfile.ZipFile(data_folder / "photos1000_256.zip") as archive:
        for name in PHOTOS:
            photo = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
            crops.append(photo[top : top + side, left : left + side])
    return np.stack(crops)


def draw_images(height: int, width: int) -> np.ndarray:
    return np.random.RandomState(height).randint(0, 256, (1, height, width, 3)).astype(np.uint8)


def draw_weights() -> dict[str, np.ndarray]:
    """{"encoder/conv1_1/kernel": float32 [3, 3, 3, 4], ...} of encoder and decoder to relu5_1."""
    random = np.random.RandomState(0)
    widths = [WIDTH * times for times in (1, 2, 4, 8, 8)]
    weights = {}

    def draw(name: str, *shape: int) -> None:
        scale = np.sqrt(2 / np.prod(shape[:3]))
        weights[f"{name}/kernel"] = (scale * random.standard_normal(shape)).astype(np.float32)
        weights[f"{name}/bias"] = (0.1 * random.standard_normal(shape[3])).astype(np.float32)

    draw("encoder/conv0", 1, 1, 3, 3)
    above = 3
    for block, count in enumerate(BLOCKS, 1):
        for number in range(1, count + 1):
            below, above = above, widths[block - 1]
            draw(f"encoder/conv{block}_{number}", 3, 3, below, above)
            draw(f"decoder/conv{block}_{number}", 3, 3, above, below)
    return weights


def summarize(features: np.ndarray) -> np.ndarray:
    """The norm of [H, W, C], then some 400 values from all over it."""
    flat = features.ravel()
    step = max(1, flat.size // 400)
    while math.gcd(step, 6) > 1:  # so that every channel comes up: there are 3, or a power of 2
        step += 1
    return np.append(np.linalg.norm(flat.astype(np.float64)), flat[::step]).astype(np.float32)
