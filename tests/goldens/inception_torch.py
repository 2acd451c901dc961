"""Makes inception_torch.npz: Inception of torch-fidelity; weights of extractors_setup.

pip install torch==2.14.1 torchvision==0.29.1 torch-fidelity==0.4.0 pytorch-fid==0.3.0
python tests/goldens/inception_torch.py
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from extractors_setup import BLOCKS, draw, draw_images, summarize
from pytorch_fid import inception as pytorch_fid
from torch_fidelity import feature_extractor_inceptionv3 as torch_fidelity

OUTPUTS = ["2048", "logits_unbiased", "logits"]


def drawn_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(draw(name, tuple(value.shape))) if value.ndim else value
        for name, value in module.state_dict().items()
    }


def make_extractor() -> torch.nn.Module:
    """Its constructor wants a file of weights, of names that only the module knows."""
    load = torch_fidelity.FeatureExtractorInceptionV3.load_state_dict
    torch_fidelity.FeatureExtractorInceptionV3.load_state_dict = lambda module, state: load(
        module, drawn_state(module)
    )
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save({}, file.name)
        return torch_fidelity.FeatureExtractorInceptionV3(
            "drawn", OUTPUTS, file.name, feature_extractor_internal_dtype="float64"
        )


@torch.no_grad()
def main() -> None:
    module = make_extractor()
    golden, kept = {}, {}
    for ours in BLOCKS:
        theirs = {"pool1": "MaxPool_1", "pool2": "MaxPool_2"}.get(ours, ours)
        getattr(module, theirs).register_forward_hook(
            lambda _, __, output, ours=ours: kept.update({ours: output})
        )
    images = draw_images(2, 299, 299)
    outputs = module(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    for name, value in kept.items():
        golden[name] = summarize(value[1].permute(1, 2, 0).numpy())
    for name, value in zip(("features", "logits", "logits_with_bias"), outputs, strict=True):
        golden[name] = value.numpy()

    # The whole protocols from small images on: resizing and range as well.
    images = draw_images(2, 48, 40)
    golden["protocol/tf1"] = module(torch.from_numpy(images.transpose(0, 3, 1, 2)))[0].numpy()
    pytorch_fid.load_state_dict_from_url = lambda *_, **__: drawn_state(module)
    theirs = pytorch_fid.InceptionV3().double().eval()
    floats = torch.from_numpy(images.transpose(0, 3, 1, 2) / 255.0)
    golden["protocol/pytorch"] = theirs(floats)[0][:, :, 0, 0].numpy()
    golden = {name: value.astype(np.float32) for name, value in golden.items()}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
