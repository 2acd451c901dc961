"""CUT in PyTorch, in the order of its public code: the judge, then the translator and the heads.

Blurs are depthwise convolutions, as there. Images lie on the device as floats.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.peers import common
from benchmarks.peers.cyclegan import Block
from benchmarks.timing import Program

FEATURES = (0, 4, 8, 12, 16)  # the layers that are compared
CHANNELS = (3, 128, 256, 256, 256)
PATCHES, WIDTH, TEMPERATURE = 256, 256, 0.07


def build(**options: Any) -> Program:
    """The train step at the published size, of images whose sides are multiples of 4.

    Args:
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    setting = common.Setting(**options)
    makers = (make_generator, make_discriminator, make_heads)
    networks = [setting.prepare(make()) for make in makers]
    for network in networks:
        network.apply(_init)
    adams = [common.adam(network, learning_rate=2e-4, betas=(0.5, 0.999)) for network in networks]
    generator, discriminator, heads = networks
    run_g, run_d, run_e = map(setting.compile, (generator, discriminator, encode))
    mse = nn.MSELoss()
    source, target = setting.pictures()

    def adversarial(images: torch.Tensor, wanted: float) -> torch.Tensor:
        with setting.autocast():
            logits = run_d(images)
        return mse(logits.float(), torch.full_like(logits.float(), wanted))

    def compare(theirs: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        with setting.autocast():
            queries, keys = run_e(generator, own), run_e(generator, theirs)
            loss = torch.zeros((), device=own.device)
            for head, query, key in zip(heads, queries, keys, strict=True):
                where = torch.randperm(query.shape[2] * query.shape[3], device=own.device)
                where = where[:PATCHES]
                query, key = (_vectors(head, feature, where) for feature in (query, key))
                logits = torch.bmm(query, key.detach().transpose(1, 2)).flatten(0, 1) / TEMPERATURE
                places = torch.arange(logits.shape[1], device=own.device).repeat(len(own))
                loss = loss + F.cross_entropy(logits.float(), places)
        return loss / len(FEATURES)

    def step() -> None:
        with setting.autocast():
            images = run_g(torch.cat([source, target]))
        fake, same = images.chunk(2)
        adams[1].zero_grad()
        discriminator.requires_grad_(True)
        (0.5 * (adversarial(fake.detach(), 0.0) + adversarial(target, 1.0))).backward()
        adams[1].step()
        discriminator.requires_grad_(False)
        adams[0].zero_grad()
        adams[2].zero_grad()
        nce = 0.5 * (compare(source, fake) + compare(target, same))
        (adversarial(fake, 1.0) + nce).backward()
        adams[0].step()
        adams[2].step()

    return common.program(step, parameters=common.parameters(*networks))


def encode(generator: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """The features that are compared."""
    found = []
    for number, layer in enumerate(generator[: FEATURES[-1] + 1]):
        x = layer(x)
        if number in FEATURES:
            found.append(x)
    return found


def _vectors(head: nn.Module, feature: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return F.normalize(head(feature.flatten(2).transpose(1, 2)[:, where]), dim=-1)


class Blur(nn.Module):
    """Down to half of the size after a blur, or up to twice of it with one."""

    def __init__(self, row: tuple[float, ...], *, up: bool = False):
        super().__init__()
        kernel = torch.tensor(row)
        kernel = kernel[:, None] * kernel
        self.up = up
        self.register_buffer("kernel", kernel * (4 if up else 1) / kernel.sum())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).repeat(channels, 1, 1, 1)
        x = F.pad(x, (1, 1, 1, 1), mode="replicate" if self.up else "reflect")
        if self.up:
            x = F.conv_transpose2d(x, kernel, stride=2, padding=2, groups=channels)
            return x[:, :, 1:-1, 1:-1]
        return F.conv2d(x, kernel, stride=2, groups=channels)


def make_generator() -> nn.Sequential:
    """ResNet-9 with blurs: images [B, 3, H, W] -> images."""

    def activated(below: int, above: int, side: int, padding: int) -> list[nn.Module]:
        convolution = nn.Conv2d(below, above, side, 1, padding)
        return [convolution, nn.InstanceNorm2d(above), nn.ReLU()]

    layers: list[nn.Module] = [nn.ReflectionPad2d(3), *activated(3, 64, 7, 0)]
    for below in (64, 128):
        layers += [*activated(below, 2 * below, 3, 1), Blur((1, 2, 1))]
    layers += [Block(256) for _ in range(9)]
    for below in (256, 128):
        layers += [Blur((1, 3, 3, 1), up=True), *activated(below, below // 2, 3, 1)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())


def make_discriminator() -> nn.Sequential:
    """PatchGAN 70 with blurs: images [B, 3, H, W] -> logits [B, 1, h, w]."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 1, 1), nn.LeakyReLU(0.2), Blur((1, 2, 1))]
    for below, above in ((64, 128), (128, 256), (256, 512)):
        layers += [nn.Conv2d(below, above, 4, 1, 1, bias=False), nn.InstanceNorm2d(above)]
        layers += [nn.LeakyReLU(0.2), *([Blur((1, 2, 1))] if above < 512 else [])]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


def make_heads() -> nn.ModuleList:
    """The MLPs of `FEATURES`."""
    return nn.ModuleList(
        nn.Sequential(nn.Linear(count, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        for count in CHANNELS
    )


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_normal_(module.weight, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
