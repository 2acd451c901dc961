"""DF-GAN in PyTorch, in the order of its public code: D with MA-GP, then G; the text is encoded.

Sentences come from a frozen bidirectional GRU, as they do in ours; an average of the generator's
weights, which our step has too. Images lie on the device as floats.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.ours import WORDS, avatars, tokens
from benchmarks.peers import common
from benchmarks.timing import Program

LATENT, SENTENCE, WORD, WIDTH, SEED = 100, 256, 300, 32, 4


def build(**options: Any) -> Program:
    """The train step, of images whose sides are a power of two from 32.

    Args:
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    device, setting = common.device(), common.Setting(**options)
    widths = [WIDTH * min(2**n, 8) for n in range((setting.image_size // SEED).bit_length())]
    generator, discriminator = (setting.prepare(make(widths)) for make in (Generator, Critic))
    encoder = Encoder().to(device).requires_grad_(False)
    adam_g, adam_d = (
        common.adam(network, learning_rate=rate, betas=(0.0, 0.9))
        for network, rate in ((generator, 1e-4), (discriminator, 4e-4))
    )
    average = common.average(generator)
    run_g = setting.compile(generator)  # compiled graphs have no second derivatives
    real = setting.to_device(avatars(setting.batch_size, setting.image_size))
    words = torch.from_numpy(tokens(setting.batch_size)).to(device)

    def judge(features: torch.Tensor, sentences: torch.Tensor) -> torch.Tensor:
        with setting.autocast():
            return discriminator.judge(features, sentences).float()

    def see(images: torch.Tensor) -> torch.Tensor:
        with setting.autocast():
            return discriminator.see(images)

    def step() -> None:
        sentences = encoder(words)
        images, told = real.detach().requires_grad_(), sentences.detach().requires_grad_()
        features = see(images)
        matching = judge(features, told)
        other = judge(features, sentences.roll(1, 0))
        with setting.autocast():
            fake = run_g(torch.randn(len(real), LATENT, device=device), sentences)
        on_fake = judge(see(fake.detach()), sentences)
        slopes = torch.autograd.grad(matching.sum(), (images, told), create_graph=True)
        length = torch.cat([x.flatten(1) for x in slopes], 1).norm(dim=1)
        game = F.relu(1 - matching) + (F.relu(1 + on_fake) + F.relu(1 + other)) / 2
        adam_d.zero_grad()
        (game + 2 * length**6).mean().backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad()
        (-judge(see(fake), sentences).mean()).backward()
        adam_g.step()
        discriminator.requires_grad_(True)
        average.update_parameters(generator)

    return common.program(step, parameters=common.parameters(generator, discriminator, encoder))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, WORD)
        self.gru = nn.GRU(WORD, SENTENCE // 2, batch_first=True, bidirectional=True)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        states, _ = self.gru(self.words(words))
        mean = states.mean(1)
        return mean * (mean.square().mean(1, keepdim=True) + 1e-6).rsqrt()


class Affine(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.scale, self.shift = (
            nn.Sequential(
                nn.Linear(LATENT + SENTENCE, channels), nn.ReLU(), nn.Linear(channels, channels)
            )
            for _ in range(2)
        )
        for network, start in ((self.scale, 1.0), (self.shift, 0.0)):
            nn.init.zeros_(network[2].weight)
            nn.init.constant_(network[2].bias, start)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.scale(condition), self.shift(condition)
        return F.leaky_relu(x * scale[:, :, None, None] + shift[:, :, None, None], 0.2)


class Up(nn.Module):
    def __init__(self, below: int, above: int):
        super().__init__()
        self.affines = nn.ModuleList(Affine(n) for n in (below, below, above, above))
        self.first, self.second = (nn.Conv2d(n, above, 3, padding=1) for n in (below, above))
        self.shortcut = nn.Conv2d(below, above, 1) if below != above else nn.Identity()

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        y = x = F.interpolate(x, scale_factor=2)
        for number, affine in enumerate(self.affines):
            y = affine(y, condition)
            if number % 2:
                y = (self.first, self.second)[number // 2](y)
        return self.shortcut(x) + y


class Generator(nn.Module):
    def __init__(self, widths: list[int]):
        super().__init__()
        deep = widths[::-1]
        self.project = nn.Linear(LATENT, SEED**2 * deep[0])
        self.ups = nn.ModuleList(Up(*pair) for pair in zip(deep, deep[1:], strict=False))
        self.pixels = nn.Conv2d(WIDTH, 3, 3, padding=1)

    def forward(self, z: torch.Tensor, sentences: torch.Tensor) -> torch.Tensor:
        condition = torch.cat([z, sentences], 1)
        x = self.project(z).view(len(z), -1, SEED, SEED)
        for up in self.ups:
            x = up(x, condition)
        return torch.tanh(self.pixels(F.leaky_relu(x, 0.2)))


class Down(nn.Module):
    def __init__(self, below: int, above: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(below, above, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(above, above, 3, padding=1, bias=False),
            nn.LeakyReLU(0.2),
        )
        self.gain = nn.Parameter(torch.zeros(1))
        self.shortcut = nn.Conv2d(below, above, 1) if below != above else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(self.shortcut(x), 2) + self.gain * self.layers(x)


class Critic(nn.Module):
    def __init__(self, widths: list[int]):
        super().__init__()
        downs = (Down(*pair) for pair in zip(widths, widths[1:], strict=False))
        self.see = nn.Sequential(nn.Conv2d(3, WIDTH, 3, padding=1), *downs)
        self.joint = nn.Conv2d(widths[-1] + SENTENCE, 2 * WIDTH, 3, padding=1, bias=False)
        self.logits = nn.Conv2d(2 * WIDTH, 1, SEED, bias=False)

    def judge(self, features: torch.Tensor, sentences: torch.Tensor) -> torch.Tensor:
        spread = sentences[:, :, None, None].expand(-1, -1, *features.shape[2:])
        joint = self.joint(torch.cat([features, spread], 1))
        return self.logits(F.leaky_relu(joint, 0.2))
