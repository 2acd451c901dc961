"""AdaIN on VGG-19 in PyTorch, in the form of its common port: two passes of the encoder, a decoder.

As in https://github.com/naoto0804/pytorch-AdaIN, with random weights; images lie on the device.
"""

from typing import Any

import torch
from torch import nn

from benchmarks.peers import common
from benchmarks.timing import Program

# Channels of the convolutions up to relu4_1; "M" halves the image.
ENCODER = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512)
DECODER = (256, "U", 256, 256, 256, 128, "U", 128, 64, "U", 64)


def build(**options: Any) -> Program:
    """Stylization, from two images on the device to one; see `common.stylization`."""
    torch.manual_seed(0)
    return common.stylization(AdaIN(), **options)


class AdaIN(nn.Module):
    def __init__(self):
        super().__init__()
        encoder, below = [nn.Conv2d(3, 3, 1)], 3
        for width in ENCODER:
            if width == "M":
                encoder.append(nn.MaxPool2d(2, 2, 0, ceil_mode=True))
            else:
                encoder += [nn.ReflectionPad2d(1), nn.Conv2d(below, width, 3), nn.ReLU()]
                below = width
        decoder = []
        for width in DECODER:
            if width == "U":
                decoder.append(nn.Upsample(scale_factor=2, mode="nearest"))
            else:
                decoder += [nn.ReflectionPad2d(1), nn.Conv2d(below, width, 3), nn.ReLU()]
                below = width
        decoder += [nn.ReflectionPad2d(1), nn.Conv2d(below, 3, 3)]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)

    def forward(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return self.decoder(adain(self.encoder(content), *statistics(self.encoder(style))))


def statistics(features: torch.Tensor, eps: float = 1e-5) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel, [B, C, 1, 1]."""
    batch, channels = features.shape[:2]
    variance = features.reshape(batch, channels, -1).var(dim=2) + eps
    mean = features.reshape(batch, channels, -1).mean(dim=2)
    return mean.view(batch, channels, 1, 1), variance.sqrt().view(batch, channels, 1, 1)


def adain(content: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Gives features the statistics of a style."""
    own_mean, own_std = statistics(content)
    return (content - own_mean) / own_std * std + mean
