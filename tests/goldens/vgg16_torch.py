"""Makes vgg16_torch.npz: VGG-16 of torch-fidelity; weights of extractors_setup.

pip install torch==2.14.1 torchvision==0.29.1 torch-fidelity==0.4.0
python tests/goldens/vgg16_torch.py
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from extractors_setup import RELUS, draw, draw_images, summarize
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16


@torch.no_grad()
def main() -> None:
    shapes = torchvision.models.vgg16().state_dict()
    state = {name: torch.from_numpy(draw(name, tuple(v.shape))) for name, v in shapes.items()}
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(state, file.name)
        module = FeatureExtractorVGG16("drawn", ["fc2_relu"], file.name)
    kept = {}
    for ours, place in RELUS.items():
        module.model.features[place].register_forward_hook(
            lambda _, __, output, ours=ours: kept.update({ours: output[0].permute(1, 2, 0).numpy()})
        )
    images = draw_images(1, 224, 224)
    (features,) = module(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    logits = features @ state["classifier.6.weight"].T + state["classifier.6.bias"]
    golden = {name: summarize(value) for name, value in kept.items()}
    golden |= {"features": features.numpy(), "logits": logits.numpy()}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
