"""SRVGG by the distance of pixels, and SRGAN's second phase, in PyTorch, as in BasicSR's code.

In SRGAN's step one forward of the generator serves both players, the discriminator first, as in
ganjax. Images lie on the device as floats.
"""

from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ours import avatars, screen
from benchmarks.peers import common
from benchmarks.timing import Program

SCALE, WIDTH, DEPTH = 4, 64, 16
MARGIN = 10  # pixels around a tile, as published: less than the network sees, so borders show


def build(*, form: str, translate: bool = False, tile: int = 0, **options: Any) -> Program:
    """The train step, of large crops whose sides are multiples of 16.

    Args:
      form: "srvgg" or "srgan".
      translate: only a pass of SRVGG, of small images.
      tile: only that of one image of `ours.SCREEN`, by tiles of so many pixels.
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    if tile:
        return _tiles(common.Setting(**options), tile)
    if translate:
        return common.translation(SRVGG().eval(), **options)
    setting = common.Setting(**options)
    images = avatars(setting.batch_size, setting.image_size)
    large, small = map(setting.to_device, (images, images[:, ::SCALE, ::SCALE]))
    return (_srvgg if form == "srvgg" else _srgan)(setting, small, large)


def _tiles(setting: common.Setting, tile: int) -> Program:
    """As Real-ESRGAN's code goes: each tile with `MARGIN` pixels around it, uint8 to uint8."""
    network, image = setting.prepare(SRVGG().eval()), screen()
    run = setting.compile(network)

    def step() -> None:
        height, width = image.shape[:2]
        result = np.empty((SCALE * height, SCALE * width, 3), np.uint8)
        for y, x in product(range(0, height, tile), range(0, width, tile)):
            top, left = max(y - MARGIN, 0), max(x - MARGIN, 0)
            part = image[top : y + tile + MARGIN, left : x + tile + MARGIN]
            with torch.inference_mode(), setting.autocast():
                drawn = run(setting.to_device(part[None]))[0].float()
            pixels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            core = result[SCALE * y : SCALE * (y + tile), SCALE * x : SCALE * (x + tile)]
            begin = SCALE * (y - top), SCALE * (x - left)
            windows = (slice(n, n + side) for n, side in zip(begin, core.shape[:2], strict=True))
            core[:] = pixels.permute(1, 2, 0).cpu().numpy()[*windows]

    return common.program(step, parameters=common.parameters(network))


def _srvgg(setting: common.Setting, small: torch.Tensor, large: torch.Tensor) -> Program:
    network = setting.prepare(SRVGG())
    run, adam = setting.compile(network), common.adam(network, learning_rate=1e-3, betas=BETAS)
    average = common.average(network)

    def step() -> None:
        adam.zero_grad()
        with setting.autocast():
            drawn = run(small)
        F.l1_loss(drawn.float(), large).backward()
        adam.step()
        average.update_parameters(network)

    return common.program(step, parameters=common.parameters(network))


BETAS = (0.9, 0.999)


def _srgan(setting: common.Setting, small: torch.Tensor, large: torch.Tensor) -> Program:
    generator = setting.prepare(SRResNet())
    discriminator = setting.prepare(Discriminator(setting.image_size))
    vgg = setting.prepare(common.VGG16(taps=(12,))).requires_grad_(False)
    adam_g, adam_d = (
        common.adam(network, learning_rate=1e-4, betas=BETAS)
        for network in (generator, discriminator)
    )
    run_g, run_d, run_v = map(setting.compile, (generator, discriminator, vgg))
    cross_entropy = nn.BCEWithLogitsLoss()

    def adversarial(images: torch.Tensor, label: float) -> torch.Tensor:
        with setting.autocast():
            logits = run_d(images).float()
        return cross_entropy(logits, torch.full_like(logits, label))

    def step() -> None:
        with setting.autocast():
            drawn = run_g(small)
        discriminator.requires_grad_(True)
        adam_d.zero_grad()
        (adversarial(large, 1.0) + adversarial(drawn.detach(), 0.0)).backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad()
        with setting.autocast():
            with torch.no_grad():
                (wanted,) = run_v(large)
            (found,) = run_v(drawn)
        loss = 6e-3 * F.mse_loss(found.float(), wanted.float()) + 1e-3 * adversarial(drawn, 1.0)
        loss.backward()
        adam_g.step()

    return common.program(step, parameters=common.parameters(generator, discriminator))


class SRVGG(nn.Module):
    """SRVGGNetCompact: images [B, 3, h, w] -> [B, 3, 4 h, 4 w]."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, 1, 1), nn.PReLU(WIDTH)]
        for _ in range(DEPTH):
            layers += [nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.PReLU(WIDTH)]
        layers += [nn.Conv2d(WIDTH, 3 * SCALE**2, 3, 1, 1), nn.PixelShuffle(SCALE)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + F.interpolate(x, scale_factor=SCALE, mode="nearest")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.BatchNorm2d(WIDTH), nn.PReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.BatchNorm2d(WIDTH),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class SRResNet(nn.Module):
    """SRGAN's generator: images [B, 3, h, w] -> [B, 3, 4 h, 4 w]."""

    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, WIDTH, 9, 1, 4), nn.PReLU())
        trunk = [Residual() for _ in range(DEPTH)]
        last = [nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.BatchNorm2d(WIDTH)]
        self.trunk = nn.Sequential(*trunk, *last)
        ups: list[nn.Module] = []
        for _ in range(2):
            ups += [nn.Conv2d(WIDTH, 4 * WIDTH, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU()]
        self.tail = nn.Sequential(*ups, nn.Conv2d(WIDTH, 3, 9, 1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        return self.tail(x + self.trunk(x))


class Discriminator(nn.Module):
    """SRGAN's: crops [B, 3, H, W] -> logits [B, 1]."""

    def __init__(self, side: int):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, 1, 1), nn.LeakyReLU(0.2)]
        below = WIDTH
        for n in range(1, 8):
            above = WIDTH * 2 ** (n // 2)
            layers += [nn.Conv2d(below, above, 3, 1 + n % 2, 1), nn.BatchNorm2d(above)]
            layers.append(nn.LeakyReLU(0.2))
            below = above
        layers += [nn.Flatten(), nn.Linear(below * (side // 16) ** 2, 1024), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(1024, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)
