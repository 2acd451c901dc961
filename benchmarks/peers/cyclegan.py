"""CycleGAN in PyTorch, in the order of its public code: both generators, the pools, both judges.

Images lie on the device as floats; the pools are lists, as there.
"""

import random
from typing import Any

import torch
from torch import nn

from benchmarks.peers import common
from benchmarks.timing import Program

POOL_SIZE = 50


def build(*, translate: bool = False, **options: Any) -> Program:
    """The train step at the published size, of images whose sides are multiples of 4.

    Args:
      translate: only a generator's pass.
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    if translate:
        return common.translation(make_generator(), **options)
    setting = common.Setting(**options)
    judges = (common.make_patchgan(3, nn.InstanceNorm2d) for _ in range(2))
    networks = [setting.prepare(n) for n in (make_generator(), make_generator(), *judges)]
    for network in networks:
        network.apply(common.init)
    to_b, to_a, judge_a, judge_b = map(setting.compile, networks)
    adam_g, adam_d = (
        common.adam(*pair, learning_rate=2e-4, betas=(0.5, 0.999))
        for pair in (networks[:2], networks[2:])
    )
    l1, mse = nn.L1Loss(), nn.MSELoss()
    a, b = setting.pictures()
    pools: tuple[list, list] = ([], [])

    def adversarial(judge: nn.Module, images: torch.Tensor, target: float) -> torch.Tensor:
        with setting.autocast():
            logits = judge(images)
        return mse(logits.float(), torch.full_like(logits.float(), target))

    def step() -> None:
        adam_g.zero_grad()
        for network in networks[2:]:
            network.requires_grad_(False)
        with setting.autocast():
            fake_b, fake_a = to_b(a), to_a(b)
            back_a, back_b = to_a(fake_b), to_b(fake_a)
            same_a, same_b = to_a(a), to_b(b)
        loss = 10 * (l1(back_a, a) + l1(back_b, b)) + 5 * (l1(same_a, a) + l1(same_b, b))
        loss = loss + adversarial(judge_a, fake_a, 1.0) + adversarial(judge_b, fake_b, 1.0)
        loss.backward()
        adam_g.step()
        adam_d.zero_grad()
        for network in networks[2:]:
            network.requires_grad_(True)
        sides = ((judge_a, a, fake_a, pools[0]), (judge_b, b, fake_b, pools[1]))
        for judge, real, fake, pool in sides:
            shown = exchange(pool, fake)
            half = adversarial(judge, real, 1.0) + adversarial(judge, shown, 0.0)
            (0.5 * half).backward()
        adam_d.step()

    return common.program(step, parameters=common.parameters(*networks))


def exchange(pool: list, images: torch.Tensor) -> torch.Tensor:
    """Keeps images in a pool, and gives earlier ones half of the time once that is full."""
    given = []
    for image in images.detach():
        if len(pool) < POOL_SIZE:
            pool.append(image)
        elif random.random() > 0.5:
            place = random.randrange(POOL_SIZE)
            image, pool[place] = pool[place], image
        given.append(image)
    return torch.stack(given)


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        layers = []
        for _ in range(2):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3)]
            layers += [nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def make_generator() -> nn.Sequential:
    """ResNet-9: images [B, 3, H, W] -> images."""

    def activated(convolution: nn.Module, width: int) -> list[nn.Module]:
        return [convolution, nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]

    layers: list[nn.Module] = [nn.ReflectionPad2d(3), *activated(nn.Conv2d(3, 64, 7), 64)]
    layers += activated(nn.Conv2d(64, 128, 3, 2, 1), 128)
    layers += activated(nn.Conv2d(128, 256, 3, 2, 1), 256)
    layers += [Block(256) for _ in range(9)]
    layers += activated(nn.ConvTranspose2d(256, 128, 3, 2, 1, output_padding=1), 128)
    layers += activated(nn.ConvTranspose2d(128, 64, 3, 2, 1, output_padding=1), 64)
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())
