"""Progressive GAN in PyTorch (Karras et al. 2018), at one resolution that is faded in already.

Written as its users write it: scaled weights, the penalty's slopes with `create_graph`, a critic
whose parameters want no gradient while the generator learns. At alpha 1 there is nothing to blend,
which our step, the same program at any alpha, does nevertheless. Images lie on the device as
floats.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ours import avatars
from benchmarks.peers import common
from benchmarks.timing import Program

GROUP = 4  # of the minibatch standard deviation


def build(*, width: int, **options: Any) -> Program:
    """The train step, of images whose sides are a power of two from 8.

    Args:
      width: of the networks, and the length of z.
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    device, setting = common.device(), common.Setting(**options)
    batch_size, image_size = setting.batch_size, setting.image_size
    generator, critic = (setting.prepare(make(image_size, width)) for make in (Generator, Critic))
    adam_g, adam_c = (
        common.adam(network, learning_rate=1e-3, betas=(0.0, 0.99))
        for network in (generator, critic)
    )
    average = common.average(generator)
    # The penalty takes the critic as it is: compiled graphs have no second derivatives.
    run_g, run_c = map(setting.compile, (generator, critic))
    real = setting.to_device(avatars(batch_size, image_size))

    def generate() -> torch.Tensor:
        with setting.autocast():
            return run_g(torch.randn(batch_size, width, device=device)).float()

    def criticize(images: torch.Tensor, network: nn.Module = run_c) -> torch.Tensor:
        with setting.autocast():
            return network(images).float()

    def step() -> None:
        with torch.no_grad():
            fake = generate()
        mixed = torch.lerp(real, fake, torch.rand(batch_size, 1, 1, 1, device=device))
        mixed.requires_grad_()
        (slopes,) = torch.autograd.grad(criticize(mixed, critic).sum(), mixed, create_graph=True)
        penalty = (slopes.flatten(1).norm(dim=1) - 1).square()
        scores = criticize(real)
        loss = criticize(fake) - scores + 10 * penalty + 1e-3 * scores.square()
        adam_c.zero_grad()
        loss.mean().backward()
        adam_c.step()
        critic.requires_grad_(False)
        adam_g.zero_grad()
        (-criticize(generate()).mean()).backward()
        adam_g.step()
        critic.requires_grad_(True)
        average.update_parameters(generator)

    return common.program(step, parameters=common.parameters(generator, critic))


class Conv(nn.Module):
    """A convolution with equalized learning rate; `transposed` turns z into the first pixels."""

    def __init__(
        self,
        below: int,
        above: int,
        kernel: int = 3,
        padding: int = 1,
        gain: float = math.sqrt(2),
        transposed: bool = False,
    ):
        super().__init__()
        shape = (below, above) if transposed else (above, below)
        self.weight = nn.Parameter(torch.randn(*shape, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(above))
        self.scale = gain / math.sqrt(below if transposed else below * kernel**2)
        self.padding, self.conv = padding, F.conv_transpose2d if transposed else F.conv2d

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x, self.weight * self.scale, self.bias, padding=self.padding)


class Generator(nn.Module):
    def __init__(self, image_size: int, width: int):
        super().__init__()
        widths = _widths(image_size, width)
        self.project = Conv(width, width, 4, 0, math.sqrt(2) / 4, transposed=True)
        self.conv = Conv(width, width)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Conv(below, above), Conv(above, above)])
            for below, above in zip(widths, widths[1:], strict=False)
        )
        self.to_rgb = Conv(widths[-1], 3, 1, 0, gain=1.0)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = _activate(self.project(_normalize(z)[:, :, None, None]))
        x = _activate(self.conv(x))
        for first, second in self.blocks:
            x = _activate(first(F.interpolate(x, scale_factor=2)))
            x = _activate(second(x))
        return self.to_rgb(x)


class Critic(nn.Module):
    def __init__(self, image_size: int, width: int):
        super().__init__()
        widths = _widths(image_size, width)[::-1]
        self.from_rgb = Conv(3, widths[0], 1, 0)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Conv(below, below), Conv(below, above)])
            for below, above in zip(widths, widths[1:], strict=False)
        )
        self.conv = Conv(width + 1, width)
        self.dense = Conv(width, width, 4, 0)
        self.score = Conv(width, 1, 1, 0, gain=1.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = _leaky(self.from_rgb(images))
        for first, second in self.blocks:
            x = F.avg_pool2d(_leaky(second(_leaky(first(x)))), 2)
        x = _leaky(self.conv(_with_deviation(x)))
        return self.score(_leaky(self.dense(x))).flatten()


def _widths(image_size: int, width: int) -> list[int]:
    """Channels at 4x4, 8x8, ...: all up to 32x32, then each half as many."""
    return [width >> max(0, level - 3) for level in range(image_size.bit_length() - 2)]


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2)


def _normalize(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def _activate(x: torch.Tensor) -> torch.Tensor:
    return _normalize(_leaky(x))


def _with_deviation(x: torch.Tensor) -> torch.Tensor:
    batch, _, height, width = x.shape
    group = min(GROUP, batch)
    variance = x.unflatten(0, (-1, group)).var(dim=1, unbiased=False)
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3)).repeat_interleave(group)
    return torch.cat([x, deviation[:, None, None, None].expand(-1, 1, height, width)], dim=1)
