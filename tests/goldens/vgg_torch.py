"""Makes vgg_torch.npz: VGG-19 encoders and mirrored decoders in PyTorch, in float64.

pip install torch==2.13.0 numpy pillow
python tests/goldens/vgg_torch.py WEIGHTS DATA

The folders are those of the tests, GANJAX_TEST_WEIGHTS and GANJAX_TEST_DATA.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from vgg_setup import BLOCKS, draw_images, draw_weights, load_photos, summarize

torch.set_default_dtype(torch.float64)
WIDTHS = (64, 128, 256, 512, 512)


def normalized_encoder(depth: int) -> nn.Sequential:
    """As in `vgg_normalised.pth`, whose keys are the places in this sequence."""
    modules, below = [nn.Conv2d(3, 3, 1)], 3
    for block in range(depth):
        for _ in range(1 if block == depth - 1 else BLOCKS[block]):
            modules += [nn.ReflectionPad2d(1), nn.Conv2d(below, WIDTHS[block], 3), nn.ReLU()]
            below = WIDTHS[block]
        modules.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    return nn.Sequential(*modules[:-1])


def mirrored_decoder(depth: int) -> nn.Sequential:
    """As in WCT's `feature_invertor_conv*.pth` and AdaIN's `decoder.pth`."""
    modules = []
    for block in reversed(range(depth)):
        above, below = WIDTHS[block], WIDTHS[block - 1] if block else 3
        for _ in range(0 if block == depth - 1 else BLOCKS[block] - 1):
            modules += [nn.ReflectionPad2d(1), nn.Conv2d(above, above, 3), nn.ReLU()]
        modules += [nn.ReflectionPad2d(1), nn.Conv2d(above, below, 3), nn.ReLU()]
        modules.append(nn.UpsamplingNearest2d(scale_factor=2))
    return nn.Sequential(*modules[:-2])


def encode_named(weights, x, depth, *, mode="reflect", ceil_mode=True) -> list[torch.Tensor]:
    """relu1_1 .. relu<depth>_1 by weights named conv0, conv11, conv12, ..."""
    outputs = []
    x = F.conv2d(x, weights["conv0.weight"], weights["conv0.bias"])
    for block in range(1, depth + 1):
        if block > 1:
            x = F.max_pool2d(x, 2, 2, ceil_mode=ceil_mode)
        for number in range(1, 1 + (1 if block == depth else BLOCKS[block - 1])):
            x = F.pad(x, (1, 1, 1, 1), mode=mode)
            name = f"conv{block}{number}"
            x = F.relu(F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"]))
            if number == 1:
                outputs.append(x)
    return outputs


def decode_named(weights, x, depth) -> torch.Tensor:
    names = [f"conv{b}{n}" for b in range(1, depth + 1) for n in range(1, BLOCKS[b - 1] + 1)]
    names = names[: names.index(f"conv{depth}1") + 1]
    for name in reversed(names):
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        if name != "conv11":
            x = F.relu(x)
        if name.endswith("1") and name != "conv11":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
    return x


def load(path: Path) -> dict[str, torch.Tensor]:
    arrays = torch.load(path, map_location="cpu", weights_only=True)
    arrays = arrays.get("model", arrays)  # in wct_16x, beside the state of the training
    return {name: value.double() for name, value in arrays.items()}


def drawn(role: str) -> dict[str, torch.Tensor]:
    tensors = {}
    for path, value in draw_weights().items():
        of, layer, kind = path.split("/")
        if of == role:
            name = f"{layer.replace('_', '')}.{'weight' if kind == 'kernel' else 'bias'}"
            axes = (3, 2, 0, 1) if kind == "kernel" else (0,)
            tensors[name] = torch.from_numpy(value.transpose(axes).astype(np.float64))
    return tensors


def to_torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2) / 255.0)


def keep(features: torch.Tensor) -> np.ndarray:
    return summarize(features[0].numpy().transpose(1, 2, 0))


def psnr(images: torch.Tensor, reconstructions: torch.Tensor) -> np.ndarray:
    error = (images - reconstructions.clip(0, 1)).square().mean((1, 2, 3))
    return (-10 * error.log10()).numpy()


@torch.no_grad()
def main(weights_folder: Path, data_folder: Path) -> None:
    golden = {}
    random_encoder, random_decoder = drawn("encoder"), drawn("decoder")
    even, odd = to_torch(draw_images(48, 32)), to_torch(draw_images(45, 37))
    reflected = encode_named(random_encoder, odd, 5)
    # torchvision's and Keras' form: zeros around, pooling that drops an odd last row.
    zeros = encode_named(random_encoder, even, 5, mode="constant", ceil_mode=False)
    for k in range(1, 6):
        golden[f"drawn/reflect/{k}"] = keep(reflected[k - 1])
        golden[f"drawn/zero/{k}"] = keep(zeros[k - 1])
        golden[f"drawn/decoder/{k}"] = keep(decode_named(random_decoder, reflected[k - 1], k))

    photos = load_photos(data_folder, 128)
    golden["crop/even"] = photos[1:2, 40:88, 40:72]
    golden["crop/odd"] = photos[1:2, 40:85, 40:77]
    photos = to_torch(photos)
    for depth in (1, 2, 3):
        encoder, decoder = normalized_encoder(depth), mirrored_decoder(depth)
        folder = weights_folder / "vgg19_normalised_wct"
        encoder.load_state_dict(load(folder / f"vgg_normalised_conv{depth}_1.pth"))
        decoder.load_state_dict(load(folder / f"feature_invertor_conv{depth}_1.pth"))
        for crop in ("even", "odd"):
            features = encoder(to_torch(golden[f"crop/{crop}"]))
            golden[f"normalized/{crop}/{depth}"] = keep(features)
        golden[f"normalized/psnr/{depth}"] = psnr(photos, decoder(encoder(photos)))
    for depth in range(1, 6):
        folder = weights_folder / "wct_16x"
        encoder = load(folder / f"encoder_relu{depth}_1.pth")
        decoder = load(folder / f"decoder_relu{depth}_1.pth")
        features = encode_named(encoder, photos, depth)[-1]
        golden[f"16x/psnr/{depth}"] = psnr(photos, decode_named(decoder, features, depth))
    for k, features in enumerate(encode_named(encoder, to_torch(golden["crop/even"]), 5), 1):
        weight, bias = encoder[f"conv{k}1_aux.weight"], encoder[f"conv{k}1_aux.bias"]
        golden[f"16x/even/{k}"] = keep(F.relu(F.conv2d(features, weight, bias)))
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
