"""Makes resizing_originals.npz: the resizing of torch-fidelity, pytorch-fid and clean-fid.

pip install torch==2.14.1 torchvision==0.29.1 torch-fidelity==0.4.0 clean-fid==0.1.35
python tests/goldens/resizing_originals.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from cleanfid.resize import make_resizer
from extractors_setup import draw_images
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

# Height, width and the side of the result: larger, smaller, one of each, equal, a single row.
SIZES = ((9, 13, 31), (45, 38, 17), (21, 60, 32), (24, 24, 24), (16, 24, 24), (1, 7, 5))


def main() -> None:
    golden = {}
    for height, width, size in SIZES:
        images = draw_images(1, height, width)
        planes = torch.from_numpy(images.transpose(0, 3, 1, 2)).float()
        square = (size, size)
        results = {
            "tf1": interpolate_bilinear_2d_like_tensorflow1x(planes, square, align_corners=False),
            # As in `pytorch_fid.inception.InceptionV3.forward`.
            "pytorch": F.interpolate(planes, square, mode="bilinear", align_corners=False),
        }
        results = {name: value[0].permute(1, 2, 0).numpy() for name, value in results.items()}
        results["clean"] = make_resizer("PIL", False, "bicubic", square)(images[0])
        for name, value in results.items():
            golden[f"{name}/{height}x{width}/{size}"] = value
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
