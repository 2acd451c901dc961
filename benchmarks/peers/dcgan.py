"""DCGAN in PyTorch, after its official example: real and fake batches apart, G on the same fakes.

As in https://github.com/pytorch/examples/tree/main/dcgan, with logits instead of a sigmoid and an
average of the generator's weights, which our step has too. Images lie on the device as floats.
"""

from typing import Any

import torch
from torch import nn

from benchmarks.ours import avatars
from benchmarks.peers import common
from benchmarks.timing import Program

LATENT = 100
WIDTH = 64


def build(**options: Any) -> Program:
    """The train step, of images whose sides are a power of two from 16.

    Args:
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    setting = common.Setting(**options)
    batch_size, image_size = setting.batch_size, setting.image_size
    networks = [setting.prepare(make(image_size)) for make in (make_generator, make_discriminator)]
    for network in networks:
        network.apply(_init)
    adam_g, adam_d = (
        common.adam(network, learning_rate=2e-4, betas=(0.5, 0.999)) for network in networks
    )
    generator, discriminator = networks
    average = common.average(generator)
    run_g, run_d = map(setting.compile, networks)
    criterion = nn.BCEWithLogitsLoss()
    real = setting.to_device(avatars(batch_size, image_size))
    ones = torch.ones(batch_size, device=common.device())
    zeros = torch.zeros_like(ones)

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with setting.autocast():
            logits = run_d(images)
        return criterion(logits.float().flatten(), labels)

    def step() -> None:
        discriminator.zero_grad()
        loss_of(real, ones).backward()
        noise = torch.randn(batch_size, LATENT, 1, 1, device=common.device())
        with setting.autocast():
            fake = run_g(noise)
        loss_of(fake.detach(), zeros).backward()
        adam_d.step()
        generator.zero_grad()
        loss_of(fake, ones).backward()
        adam_g.step()
        average.update_parameters(generator)

    return common.program(step, parameters=common.parameters(*networks))


def make_generator(image_size: int) -> nn.Sequential:
    """z [B, 100, 1, 1] -> images [B, 3, H, W]."""
    widths = _widths(image_size)[::-1]
    layers = [nn.ConvTranspose2d(LATENT, widths[0], 4, 1, 0, bias=False)]
    for below, above in zip(widths, [*widths[1:], 3], strict=True):
        layers += [nn.BatchNorm2d(below), nn.ReLU(inplace=True)]
        layers.append(nn.ConvTranspose2d(below, above, 4, 2, 1, bias=False))
    return nn.Sequential(*layers, nn.Tanh())


def make_discriminator(image_size: int) -> nn.Sequential:
    """Images [B, 3, H, W] -> logits [B, 1, 1, 1]."""
    widths = _widths(image_size)
    layers = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for below, above in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv2d(below, above, 4, 2, 1, bias=False), nn.BatchNorm2d(above)]
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False))


def _widths(image_size: int) -> list[int]:
    doublings = (image_size // 4).bit_length() - 1
    return [WIDTH * min(2**n, 16) for n in range(doublings)]


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
