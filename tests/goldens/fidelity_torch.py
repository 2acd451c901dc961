"""Makes fidelity_torch.npz: distances by torch-fidelity, prdc and pytorch-msssim.

pip install torch==2.13.0 torchvision torch-fidelity==0.4.0 prdc==0.2 pytorch-msssim==1.0.0
python tests/goldens/fidelity_torch.py
"""

from pathlib import Path

import numpy as np
import torch
from fidelity_setup import SUBSETS, draw_features, draw_images, draw_logits
from prdc import compute_prdc
from pytorch_msssim import ms_ssim
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc


def main() -> None:
    real, fake = (torch.from_numpy(x) for x in draw_features())
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (fake, real)]
    kid = metric_kid.kid_features_to_metric(
        fake,
        real,
        kid_subsets=SUBSETS["subsets"],
        kid_subset_size=SUBSETS["subset_size"],
        verbose=False,
    )
    score = metric_isc.isc_features_to_metric(torch.from_numpy(draw_logits()))
    balls = metric_prc.prc_features_to_metric(fake, real, verbose=False)
    naeem = compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    images = [torch.from_numpy(x).permute(0, 3, 1, 2).double() for x in draw_images()]
    golden = {
        "frechet": list(metric_fid.fid_statistics_to_metric(*statistics, False).values())[0],
        "kernel": list(kid.values()),
        "inception_score": list(score.values()),
        "precision_recall": list(balls.values())[:2],
        "density_coverage": [naeem["density"], naeem["coverage"]],
        "ms_ssim": ms_ssim(*images, data_range=255, size_average=False).numpy(),
    }
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
