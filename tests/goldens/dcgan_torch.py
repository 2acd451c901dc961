"""Makes dcgan_torch.npz: DCGAN and three steps of its game in PyTorch, in float64.

pip install torch==2.13.0 numpy
python tests/goldens/dcgan_torch.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dcgan_setup import RATE, draw_batches, draw_weights, summarize
from torch import nn

torch.set_default_dtype(torch.float64)
# ganjax layout -> torch layout, by the kind of layer.
TO_TORCH = {
    "project": (0, 3, 1, 2),
    "up": (2, 3, 0, 1),
    "down": (3, 2, 0, 1),
    "logits": (3, 2, 0, 1),
}


def networks() -> tuple[nn.Module, nn.Module]:
    def up(a, b, stride, padding):
        return nn.ConvTranspose2d(a, b, 4, stride, padding, bias=False)

    def down(a, b, stride, padding):
        return nn.Conv2d(a, b, 4, stride, padding, bias=False)

    generator = nn.Sequential()
    generator.add_module("project", up(100, 512, 1, 0))
    for n, (a, b) in enumerate([(512, 256), (256, 128), (128, 64), (64, 3)]):
        generator.add_module(f"norm_{n}", nn.BatchNorm2d(a))
        generator.add_module(f"relu_{n}", nn.ReLU())
        generator.add_module(f"up_{n + 1}", up(a, b, 2, 1))
    generator.add_module("tanh", nn.Tanh())
    discriminator = nn.Sequential()
    for n, (a, b) in enumerate([(3, 64), (64, 128), (128, 256), (256, 512)], start=1):
        discriminator.add_module(f"down_{n}", down(a, b, 2, 1))
        if n > 1:
            discriminator.add_module(f"norm_{n}", nn.BatchNorm2d(b))
        discriminator.add_module(f"leaky_{n}", nn.LeakyReLU(0.2))
    discriminator.add_module("logits", down(512, 1, 1, 0))
    discriminator.add_module("flatten", nn.Flatten(0))
    return generator, discriminator


def parameters(generator: nn.Module, discriminator: nn.Module) -> dict[str, nn.Parameter]:
    result = {}
    for role, network in (("generator", generator), ("discriminator", discriminator)):
        for name, parameter in network.named_parameters():
            layer, _, kind = name.rpartition(".")
            kind = {"bias": "bias", "weight": "scale" if "norm" in layer else "kernel"}[kind]
            result[f"{role}/{layer}/{kind}"] = parameter
    return result


def to_ganjax(name: str, value: torch.Tensor) -> np.ndarray:
    array = value.detach().numpy()
    if not name.endswith("kernel"):
        return array.copy()
    axes = TO_TORCH[name.split("/")[1].split("_")[0]]
    return array.transpose(np.argsort(axes)).copy()


def main() -> None:
    generator, discriminator = networks()
    tensors = parameters(generator, discriminator)
    weights = draw_weights()
    assert tensors.keys() == weights.keys()
    with torch.no_grad():
        for name, value in weights.items():
            if name.endswith("kernel"):
                value = value.transpose(TO_TORCH[name.split("/")[1].split("_")[0]])
            tensors[name].copy_(torch.from_numpy(value.astype(np.float64)))
    batches = [
        (
            torch.from_numpy(batch["image"].astype(np.float64).transpose(0, 3, 1, 2)),
            torch.from_numpy(batch["z"].astype(np.float64))[:, :, None, None],
        )
        for batch in draw_batches()
    ]
    golden = {}
    with torch.no_grad():
        images, z = batches[0]
        golden["images"] = generator(z).numpy().transpose(0, 2, 3, 1)[:2, ::7, ::7]
        golden["logits"] = discriminator(images).numpy()
    generator_sgd = torch.optim.SGD(generator.parameters(), RATE)
    discriminator_sgd = torch.optim.SGD(discriminator.parameters(), RATE)
    losses = []
    for images, z in batches:
        fake = generator(z)
        discriminator_sgd.zero_grad()
        d_loss = F.softplus(-discriminator(images)).mean()
        d_loss = d_loss + F.softplus(discriminator(fake.detach())).mean()
        d_loss.backward()
        discriminator_sgd.step()
        generator_sgd.zero_grad()
        g_loss = F.softplus(-discriminator(fake)).mean()
        g_loss.backward()
        generator_sgd.step()
        losses.append([d_loss.item(), g_loss.item()])
    golden["losses"] = np.array(losses)
    for name, tensor in tensors.items():
        golden[f"change/{name}"] = summarize(to_ganjax(name, tensor) - weights[name])
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
