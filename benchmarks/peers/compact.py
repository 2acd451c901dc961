"""The compact stylizer (`ganjax/nets/compact.py`) as somebody would write it in PyTorch."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, relu

from benchmarks.peers import common
from benchmarks.peers.adain import adain, statistics
from benchmarks.timing import Program

WIDTH = 32
BLOCKS = 3


def build(**options: Any) -> Program:
    """Stylization, from two images on the device to one; see `common.stylization`."""
    torch.manual_seed(0)
    return common.stylization(Compact(), **options)


def _conv(below: int, above: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(below, above, 3, stride, padding=1, padding_mode="reflect")


class Encoder(nn.Module):
    def __init__(self, levels: int):
        super().__init__()
        widths = [12, *(times * WIDTH for times in (1, 2, 4, 4)[:levels])]
        self.convs = nn.ModuleList(
            _conv(below, above, 1 if number == 0 else 2)
            for number, (below, above) in enumerate(zip(widths, widths[1:], strict=False))
        )

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        x, features = pixel_unshuffle(images, 2), []
        for conv in self.convs:
            x = relu(conv(x))
            features.append(x)
        return features


class Compact(nn.Module):
    def __init__(self):
        super().__init__()
        deep = 4 * WIDTH
        self.style, self.content = Encoder(4), Encoder(3)
        widths = [deep] * (BLOCKS + 1) + [2 * WIDTH, WIDTH]
        below = [deep] * (BLOCKS + 2) + [2 * WIDTH]
        self.mixtures = nn.ModuleList(
            nn.Conv2d(source, width, 1) for source, width in zip(below, widths, strict=True)
        )
        self.block_in = nn.ModuleList(_conv(deep, deep) for _ in range(BLOCKS))
        self.block_out = nn.ModuleList(_conv(deep, deep) for _ in range(BLOCKS))
        self.up_quarter, self.up_half = _conv(deep, 2 * WIDTH), _conv(2 * WIDTH, WIDTH)
        self.skip_quarter = nn.Conv2d(2 * WIDTH, 2 * WIDTH, 1)
        self.skip_half = nn.Conv2d(WIDTH, WIDTH, 1)
        self.pixels = _conv(WIDTH, 12)

    def forward(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        _, quarter, eighth, sixteenth = self.style(style)
        sources = [eighth, eighth, *[sixteenth] * (BLOCKS - 1), eighth, quarter]
        styles = [
            statistics(mixture(source))
            for mixture, source in zip(self.mixtures, sources, strict=True)
        ]
        half, quarter, x = self.content(content)
        x = adain(x, *styles[0])
        for number in range(BLOCKS):
            y = relu(adain(self.block_in[number](x), *styles[number + 1]))
            x = x + self.block_out[number](y)
        x = self.up_quarter(interpolate(x, scale_factor=2)) + self.skip_quarter(quarter)
        x = relu(adain(x, *styles[-2]))
        x = self.up_half(interpolate(x, scale_factor=2)) + self.skip_half(half)
        x = relu(adain(x, *styles[-1]))
        return pixel_shuffle(self.pixels(x), 2)
