"""R3GAN in PyTorch, after its public code: RpGAN, both penalties by `create_graph`, two networks.

Of images of 32x32, without classes and augmentation; an average of the generator's weights. Images
lie on the device as floats.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ours import avatars
from benchmarks.peers import common
from benchmarks.timing import Program

LATENT, SEED, WIDTH, GROUP, GAMMA = 64, 4, 768, 16, 0.05


def build(**options: Any) -> Program:
    """The train step, of images of 32x32.

    Args:
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    device, setting = common.device(), common.Setting(**options)
    stages = (setting.image_size // SEED).bit_length()
    if stages > 4:
        raise ValueError("these networks are those of up to 32x32")
    generator, discriminator = (setting.prepare(make(stages)) for make in (Generator, Critic))
    adam_g, adam_d = (
        common.adam(network, learning_rate=2e-4, betas=(0.0, 0.9))
        for network in (generator, discriminator)
    )
    average = common.average(generator)
    run_g = setting.compile(generator)  # compiled graphs have no second derivatives
    both = setting.to_device(avatars(2 * setting.batch_size, setting.image_size)).chunk(2)

    def generate() -> torch.Tensor:
        with setting.autocast():
            return run_g(torch.randn(setting.batch_size, LATENT, device=device)).float()

    def judge(images: torch.Tensor) -> torch.Tensor:
        with setting.autocast():
            return discriminator(images).float()

    def squared_slopes(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return slopes.square().sum((1, 2, 3))

    def step() -> None:
        with torch.no_grad():
            fake = generate()
        real, fake = both[0].detach().requires_grad_(), fake.requires_grad_()
        on_real, on_fake = judge(real), judge(fake)
        slopes = squared_slopes(on_real, real) + squared_slopes(on_fake, fake)
        adam_d.zero_grad()
        (F.softplus(on_fake - on_real) + GAMMA / 2 * slopes).mean().backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad()
        F.softplus(judge(both[1]) - judge(generate())).mean().backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        average.update_parameters(generator)

    return common.program(step, parameters=common.parameters(generator, discriminator))


def _filter(channels: int) -> torch.Tensor:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(line, line).expand(channels, 1, 4, 4).contiguous()


class Block(nn.Module):
    def __init__(self, blocks: int):
        super().__init__()
        wide = 2 * WIDTH
        self.expand, self.reduce = (
            nn.Conv2d(a, b, 1, bias=False) for a, b in ((WIDTH, wide), (wide, WIDTH))
        )
        self.conv = nn.Conv2d(wide, wide, 3, padding=1, groups=wide // GROUP, bias=False)
        self.biases = nn.ParameterList([torch.zeros(wide, 1, 1) for _ in range(2)])
        gain = math.sqrt(2 / 1.04) * blocks**-0.25
        for layer in (self.expand, self.conv):
            nn.init.normal_(layer.weight, 0, gain * layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.reduce.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.expand(x) + self.biases[0], 0.2)
        y = F.leaky_relu(self.conv(y) + self.biases[1], 0.2)
        return x + self.reduce(y)


class Generator(nn.Module):
    def __init__(self, stages: int):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(WIDTH, SEED, SEED))
        self.project = nn.Linear(LATENT, WIDTH, bias=False)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(2 * stages), Block(2 * stages)) for _ in range(stages)
        )
        self.pixels = nn.Conv2d(WIDTH, 3, 1, bias=False)
        self.register_buffer("filter", 4 * _filter(WIDTH))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.basis * self.project(z)[:, :, None, None]
        for number, stage in enumerate(self.stages):
            if number:
                x = F.conv_transpose2d(x, self.filter, stride=2, padding=1, groups=WIDTH)
            x = stage(x)
        return self.pixels(x)


class Critic(nn.Module):
    def __init__(self, stages: int):
        super().__init__()
        self.pixels = nn.Conv2d(3, WIDTH, 1, bias=False)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(2 * stages), Block(2 * stages)) for _ in range(stages)
        )
        self.basis = nn.Conv2d(WIDTH, WIDTH, SEED, groups=WIDTH, bias=False)
        self.logits = nn.Linear(WIDTH, 1, bias=False)
        self.register_buffer("filter", _filter(WIDTH))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.pixels(images)
        for number, stage in enumerate(self.stages):
            if number:
                x = F.conv2d(x, self.filter, stride=2, padding=1, groups=WIDTH)
            x = stage(x)
        return self.logits(self.basis(x).flatten(1))
