"""Makes similarity_skimage.npz: pairs of images with their PSNR and SSIM by scikit-image.

pip install scikit-image==0.26.0
python tests/goldens/similarity_skimage.py
"""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

PROTOCOL = {
    "data_range": 1.0,
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
}
LUMINANCE = np.array([0.299, 0.587, 0.114])


def images() -> tuple[np.ndarray, np.ndarray]:
    """Pairs uint8 [4, 37, 52, 3]: noise, blur, another contrast, and bright almost flat images."""
    rng = np.random.default_rng(0)
    a = gaussian_filter(rng.random((4, 37, 52, 3)), (0, 2, 3, 0))
    a = (a - a.min()) / (a.max() - a.min()) * 0.8 + 0.1
    a[3] = 0.95 + 0.02 * a[3]
    b = a + np.array([0.1, 0.0, 0.0, 0.01])[:, None, None, None] * rng.standard_normal(a.shape)
    b[1] = gaussian_filter(a[1], (3, 3, 0))
    b[2] = 0.4 * a[2] ** 2 + 0.3
    return tuple((x.clip(0, 1) * 255).round().astype(np.uint8) for x in (a, b))


def main() -> None:
    a, b = images()
    pairs = list(zip(a / 255, b / 255, strict=True))
    values = {
        "psnr": [peak_signal_noise_ratio(x, y, data_range=1.0) for x, y in pairs],
        "ssim": [structural_similarity(x, y, channel_axis=-1, **PROTOCOL) for x, y in pairs],
        "ssim_luminance": [
            structural_similarity(x @ LUMINANCE, y @ LUMINANCE, **PROTOCOL) for x, y in pairs
        ],
    }
    np.savez_compressed(Path(__file__).with_suffix(".npz"), a=a, b=b, **values)


if __name__ == "__main__":
    main()
