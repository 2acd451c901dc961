"""Makes degradation_torch.npz: images scaled by PyTorch's interpolate, float64.

pip install torch==2.13.0 numpy
python tests/goldens/degradation_torch.py
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

SIZES = ((9, 14), (5, 3), (13, 14), (9, 30), (1, 1))


def main() -> None:
    image = np.random.default_rng(0).random((9, 14, 3))
    pixels = torch.from_numpy(image.transpose(2, 0, 1))[None]
    golden = {"image": image}
    for mode in ("area", "bilinear", "bicubic"):
        options = {} if mode == "area" else {"align_corners": False}
        for size in SIZES:
            made = interpolate(pixels, size, mode=mode, **options)[0]
            golden[f"{mode}_{size[0]}x{size[1]}"] = made.numpy().transpose(1, 2, 0)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
