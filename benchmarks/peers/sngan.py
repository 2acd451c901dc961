"""SNGAN's ResNets at 64x64 in PyTorch, as in mimicry's code but for nearest-neighbor upsampling.

One step is five of the discriminator, each on real images of its own, and one of the generator on
twice as many images; an average of the generator's weights, which our step has too. Images lie on
the device as floats.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from benchmarks.ours import avatars
from benchmarks.peers import common
from benchmarks.timing import Program

LATENT, STEPS, SEED = 128, 5, 4
GENERATOR, DISCRIMINATOR = (1024, 512, 256, 128, 64), (3, 64, 128, 256, 512, 1024)


def build(**options: Any) -> Program:
    """The train step, of images of 64x64.

    Args:
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    device, setting = common.device(), common.Setting(**options)
    if setting.image_size != 64:
        raise ValueError("these networks are those of 64x64")
    generator, discriminator = (setting.prepare(make()) for make in (Generator, Discriminator))
    adam_g, adam_d = (
        common.adam(network, learning_rate=2e-4, betas=(0.0, 0.9))
        for network in (generator, discriminator)
    )
    average = common.average(generator)
    run_g, run_d = map(setting.compile, (generator, discriminator))
    batches = setting.to_device(avatars(STEPS * setting.batch_size, 64)).chunk(STEPS)

    def generate(count: int) -> torch.Tensor:
        with setting.autocast():
            return run_g(torch.randn(count, LATENT, device=device))

    def judge(images: torch.Tensor) -> torch.Tensor:
        with setting.autocast():
            return run_d(images).float()

    def step() -> None:
        for real in batches:
            with torch.no_grad():
                fake = generate(len(real))
            loss = F.relu(1 - judge(real)).mean() + F.relu(1 + judge(fake)).mean()
            adam_d.zero_grad()
            loss.backward()
            adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad()
        (-judge(generate(2 * setting.batch_size)).mean()).backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        average.update_parameters(generator)

    return common.program(step, parameters=common.parameters(generator, discriminator))


class Up(nn.Module):
    def __init__(self, below: int, above: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(below), nn.BatchNorm2d(above)])
        self.first, self.second = (nn.Conv2d(n, above, 3, padding=1) for n in (below, above))
        self.shortcut = nn.Conv2d(below, above, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(F.interpolate(F.relu(self.norms[0](x)), scale_factor=2))
        y = self.second(F.relu(self.norms[1](y)))
        return y + self.shortcut(F.interpolate(x, scale_factor=2))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(LATENT, SEED**2 * GENERATOR[0])
        pairs = zip(GENERATOR, GENERATOR[1:], strict=False)
        self.ups = nn.Sequential(*(Up(*pair) for pair in pairs))
        self.norm = nn.BatchNorm2d(GENERATOR[-1])
        self.pixels = nn.Conv2d(GENERATOR[-1], 3, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.ups(self.project(z).view(-1, GENERATOR[0], SEED, SEED))
        return torch.tanh(self.pixels(F.relu(self.norm(x))))


class Down(nn.Module):
    def __init__(self, below: int, above: int, *, first: bool):
        super().__init__()
        inside = above if first else below
        self.before = nn.Identity() if first else nn.ReLU()
        self.first = spectral_norm(nn.Conv2d(below, inside, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(inside, above, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(below, above, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(F.relu(self.first(self.before(x))))
        return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        pairs = zip(DISCRIMINATOR, DISCRIMINATOR[1:], strict=False)
        self.downs = nn.Sequential(*(Down(*pair, first=pair[0] == 3) for pair in pairs))
        self.logits = spectral_norm(nn.Linear(DISCRIMINATOR[-1], 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits(F.relu(self.downs(images)).sum((2, 3)))
