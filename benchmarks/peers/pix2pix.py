"""pix2pix in PyTorch, in the order of its public code: the discriminator, then the generator."""

from typing import Any

import torch
from torch import nn

from benchmarks.peers import common
from benchmarks.timing import Program


def build(*, translate: bool = False, **options: Any) -> Program:
    """The train step at the published size, of images whose sides are a power of two.

    Args:
      translate: only the generator's pass, of images whose sides are multiples of 256.
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    if translate:
        return common.translation(make_generator(8), **options)
    setting = common.Setting(**options)
    downs = min(8, setting.image_size.bit_length() - 1)
    pair = (make_generator(downs), common.make_patchgan(6, nn.BatchNorm2d))
    networks = [setting.prepare(network) for network in pair]
    for network in networks:
        network.apply(common.init)
    generator, judge = map(setting.compile, networks)
    adam_g, adam_d = (
        common.adam(network, learning_rate=2e-4, betas=(0.5, 0.999)) for network in networks
    )
    l1, cross_entropy = nn.L1Loss(), nn.BCEWithLogitsLoss()
    source, target = setting.pictures()

    def adversarial(images: torch.Tensor, label: float) -> torch.Tensor:
        with setting.autocast():
            logits = judge(torch.cat([source, images], 1))
        return cross_entropy(logits.float(), torch.full_like(logits.float(), label))

    def step() -> None:
        with setting.autocast():
            fake = generator(source)
        networks[1].requires_grad_(True)
        adam_d.zero_grad()
        (0.5 * (adversarial(fake.detach(), 0.0) + adversarial(target, 1.0))).backward()
        adam_d.step()
        networks[1].requires_grad_(False)
        adam_g.zero_grad()
        (adversarial(fake, 1.0) + 100 * l1(fake.float(), target)).backward()
        adam_g.step()

    return common.program(step, parameters=common.parameters(*networks))


class Level(nn.Module):
    """A U-Net's level: down, all that lies below it, up; its input stands beside the result."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, *, dropout: bool):
        super().__init__()
        down = nn.Conv2d(outer, inner, 4, 2, 1, bias=False)
        layers = [nn.LeakyReLU(0.2), down]
        if below is not None:
            layers += [nn.BatchNorm2d(inner), below]
        up = inner if below is None else 2 * inner
        layers += [nn.ReLU(), nn.ConvTranspose2d(up, outer, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(outer), *([nn.Dropout(0.5)] if dropout else [])]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.layers(x)], 1)


def make_generator(downs: int) -> nn.Sequential:
    """The U-Net: images [B, 3, H, W] -> images."""
    widths = [64 * min(2**n, 8) for n in range(downs)]
    below: nn.Module | None = None
    for n in range(downs - 1, 0, -1):
        dropout = 4 <= n < downs - 1
        below = Level(widths[n - 1], widths[n], below, dropout=dropout)
    assert below is not None
    first, last = nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.ConvTranspose2d(128, 3, 4, 2, 1)
    return nn.Sequential(first, below, nn.ReLU(), last, nn.Tanh())
