"""SPADE and OASIS in PyTorch, their networks and losses as in the public codes.

One forward of the generator serves both players, the discriminator first, as in ganjax; the public
codes draw the images twice. Images and one-hot label maps lie on the device as floats.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from benchmarks.ours import label_maps
from benchmarks.peers import common
from benchmarks.timing import Program

TIMES = {"oasis": (16, 16, 8, 4, 2, 1), "spade": (16, 16, 16, 8, 4, 2, 1)}  # widths of the blocks
DOUBLED = {"oasis": (1, 2, 3, 4, 5), "spade": (1, 3, 4, 5, 6)}  # numbers of blocks
DOWNS = (2, 2, 4, 4, 8, 8)


def build(
    *,
    form: str,
    classes: int,
    width: int,
    hidden: int,
    noise: int = 0,
    mix: float = 0.0,
    **options: Any,
) -> Program:
    """The train step, of images whose sides are multiples of 32.

    Args:
      form: "oasis" or "spade".
      classes: of the label maps.
      width: channels of the last blocks, and of the discriminator's first ones.
      hidden: features of the label map inside of SPADE.
      noise: channels of OASIS's noise.
      mix: weight of LabelMix; 0 for none.
      options: of `common.Setting`.
    """
    torch.manual_seed(0)
    setting = common.Setting(**options)
    generator = setting.prepare(Generator(form, classes, width, hidden, noise))
    one_hot = F.one_hot(
        torch.from_numpy(label_maps(setting.batch_size, setting.image_size)).long(), classes
    )
    one_hot = one_hot.permute(0, 3, 1, 2).float().contiguous().to(common.device())
    if setting.channels_last:
        one_hot = one_hot.to(memory_format=torch.channels_last)
    real, _ = setting.pictures()
    if form == "oasis":
        downs = min(len(DOWNS), (setting.image_size & -setting.image_size).bit_length() - 1)
        discriminator = setting.prepare(Segmenter(classes, width, downs))
        players = make_oasis(setting.compile(discriminator), setting, one_hot, real, mix)
    else:
        discriminator = setting.prepare(Patches(classes, width))
        vgg = setting.prepare(common.VGG16(taps=(0, 2, 4, 7, 10))).requires_grad_(False)
        players = make_spade(
            setting.compile(discriminator), setting.compile(vgg), setting, one_hot, real
        )
    betas = (0.0, 0.999 if form == "oasis" else 0.9)
    adam_g = common.adam(generator, learning_rate=1e-4, betas=betas)
    adam_d = common.adam(discriminator, learning_rate=4e-4, betas=betas)
    average = common.average(generator) if form == "oasis" else None
    run, (discriminator_loss, generator_loss) = setting.compile(generator), players

    def step() -> None:
        with setting.autocast():
            fake = run(one_hot)
        discriminator.requires_grad_(True)
        adam_d.zero_grad()
        discriminator_loss(fake.detach()).backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad()
        generator_loss(fake).backward()
        adam_g.step()
        if average:
            average.update_parameters(generator)

    return common.program(step, parameters=common.parameters(generator, discriminator))


Loss = Callable[[torch.Tensor], torch.Tensor]


def make_oasis(
    segmenter: Callable,
    setting: common.Setting,
    one_hot: torch.Tensor,
    real: torch.Tensor,
    mix: float,
) -> tuple[Loss, Loss]:
    """What both players pay for generated images: balanced cross-entropy, LabelMix."""
    targets = 1 + one_hot.argmax(1)
    counts = one_hot.sum((0, 2, 3))
    there = counts > 0
    pixels = one_hot.numel() / one_hot.shape[1]
    balance = torch.where(there, pixels / (there.sum() * counts.clamp(min=1)), 0)
    weights = (one_hot * balance[:, None, None]).sum(1)

    def segment(images: torch.Tensor) -> torch.Tensor:
        with setting.autocast():
            return segmenter(images).float()

    def to_classes(logits: torch.Tensor) -> torch.Tensor:
        return (weights * F.cross_entropy(logits, targets, reduction="none")).mean()

    def discriminator_loss(fake: torch.Tensor) -> torch.Tensor:
        on_real, on_fake = segment(real), segment(fake)
        loss = to_classes(on_real) + F.cross_entropy(on_fake, torch.zeros_like(targets))
        if not mix:
            return loss
        chosen = torch.randint(0, 2, (len(real), one_hot.shape[1], 1, 1), device=real.device)
        mask = (one_hot * chosen).sum(1, keepdim=True)
        on_mixture = segment(mask * real + (1 - mask) * fake)
        return loss + mix * F.mse_loss(on_mixture, mask * on_real + (1 - mask) * on_fake)

    return discriminator_loss, lambda fake: to_classes(segment(fake))


def make_spade(
    patches: Callable,
    vgg: Callable,
    setting: common.Setting,
    one_hot: torch.Tensor,
    real: torch.Tensor,
) -> tuple[Loss, Loss]:
    """What both players pay for generated images: hinge, features of D and of a VGG."""
    both = one_hot.repeat(2, 1, 1, 1)

    def judge(fake: torch.Tensor) -> list[list[tuple[torch.Tensor, ...]]]:
        with setting.autocast():
            scales = patches(torch.cat([both, torch.cat([real, fake])], 1))
        return [[x.float().chunk(2) for x in layers] for layers in scales]

    def discriminator_loss(fake: torch.Tensor) -> torch.Tensor:
        last = [layers[-1] for layers in judge(fake)]
        return mean(F.relu(1 - a).mean() + F.relu(1 + b).mean() for a, b in last)

    def generator_loss(fake: torch.Tensor) -> torch.Tensor:
        scales = judge(fake)
        game = mean(-layers[-1][1].mean() for layers in scales)
        matched = mean(sum(F.l1_loss(b, a.detach()) for a, b in layers[:-1]) for layers in scales)
        with setting.autocast():
            with torch.no_grad():
                wanted = vgg(real)
            found = vgg(fake)
        weights = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
        alike = sum(
            weight * F.l1_loss(b.float(), a.float())
            for weight, a, b in zip(weights, wanted, found, strict=True)
        )
        return game + 10 * matched + 10 * alike

    return discriminator_loss, generator_loss


def mean(values: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(values)).mean()


def make_conv(below: int, above: int, side: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution as both papers start it."""
    made = nn.Conv2d(below, above, side, padding=options.pop("padding", side // 2), **options)
    nn.init.xavier_normal_(made.weight, 0.02)
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


class SPADE(nn.Module):
    def __init__(self, channels: int, hidden: int, planes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Sequential(make_conv(planes, hidden), nn.ReLU())
        self.gamma, self.beta = make_conv(hidden, channels), make_conv(hidden, channels)

    def forward(self, x: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        y = self.shared(F.interpolate(where, x.shape[2:], mode="nearest"))
        return self.norm(x) * (1 + self.gamma(y)) + self.beta(y)


class Block(nn.Module):
    def __init__(self, below: int, above: int, hidden: int, planes: int):
        super().__init__()
        inside = min(below, above)
        self.spade_0, self.spade_1 = SPADE(below, hidden, planes), SPADE(inside, hidden, planes)
        self.conv_0 = spectral_norm(make_conv(below, inside))
        self.conv_1 = spectral_norm(make_conv(inside, above))
        self.shortcut = None
        if below != above:
            self.spade_shortcut = SPADE(below, hidden, planes)
            self.shortcut = spectral_norm(make_conv(below, above, 1, bias=False))

    def forward(self, x: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        y = self.conv_0(F.leaky_relu(self.spade_0(x, where), 0.2))
        y = self.conv_1(F.leaky_relu(self.spade_1(y, where), 0.2))
        if self.shortcut is not None:
            x = self.shortcut(self.spade_shortcut(x, where))
        return x + y


class Generator(nn.Module):
    """OASIS's with 3D noise, or SPADE's `normal` without an encoder: label maps -> images."""

    def __init__(self, form: str, classes: int, width: int, hidden: int, noise: int):
        super().__init__()
        self.noise, self.doubled, planes = noise, DOUBLED[form], classes + noise
        sizes = [times * width for times in TIMES[form]]
        self.start = make_conv(planes, sizes[0])
        pairs = zip([sizes[0], *sizes], sizes, strict=False)
        self.blocks = nn.ModuleList(Block(*pair, hidden, planes) for pair in pairs)
        self.pixels = make_conv(sizes[-1], 3)

    def forward(self, where: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = where.shape
        if self.noise:
            z = torch.randn(batch, self.noise, 1, 1, device=where.device)
            where = torch.cat([z.expand(-1, -1, height, width), where], 1)
        times = 2 ** len(self.doubled)
        x = self.start(F.interpolate(where, (height // times, width // times), mode="nearest"))
        for n, block in enumerate(self.blocks):
            x = F.interpolate(x, scale_factor=2) if n in self.doubled else x
            x = block(x, where)
        return torch.tanh(self.pixels(F.leaky_relu(x, 0.2)))


class SegmenterBlock(nn.Module):
    def __init__(self, below: int, above: int, *, up: bool, first: bool = False):
        super().__init__()
        self.up, self.first = up, first
        self.conv_0 = spectral_norm(make_conv(below, above))
        self.conv_1 = spectral_norm(make_conv(above, above))
        self.shortcut = spectral_norm(make_conv(below, above, 1)) if below != above else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.first else F.leaky_relu(x, 0.2)
        y = self.conv_0(F.interpolate(y, scale_factor=2) if self.up else y)
        y = self.conv_1(F.leaky_relu(y, 0.2))
        if self.up:
            x = F.interpolate(x, scale_factor=2)
            return y + (self.shortcut(x) if self.shortcut else x)
        return F.avg_pool2d(y, 2) + F.avg_pool2d(self.shortcut(x) if self.shortcut else x, 2)


class Segmenter(nn.Module):
    """OASIS's discriminator: images -> logits of the classes and of fakes."""

    def __init__(self, classes: int, width: int, downs: int):
        super().__init__()
        sizes = [times * width for times in DOWNS[:downs]]
        pairs = zip([3, *sizes], sizes, strict=False)
        self.downs = nn.ModuleList(
            SegmenterBlock(*pair, up=False, first=not n) for n, pair in enumerate(pairs)
        )
        ups, below = [], sizes[-1]
        for n, size in enumerate([*sizes[-2::-1], width]):
            ups.append(SegmenterBlock(below + (sizes[-1 - n] if n else 0), size, up=True))
            below = size
        self.ups, self.logits = nn.ModuleList(ups), make_conv(width, classes + 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for block in self.downs:
            x = block(x)
            found.append(x)
        for n, block in enumerate(self.ups):
            x = block(torch.cat([found[-1 - n], x], 1) if n else x)
        return self.logits(x)


class Patches(nn.Module):
    """SPADE's discriminators: label maps with images -> of two scales, features and logits."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.scales = nn.ModuleList(self._make(classes, width) for _ in range(2))

    def _make(self, classes: int, width: int) -> nn.ModuleList:
        sizes = [classes + 3, width, 2 * width, 4 * width, 8 * width]
        layers = [nn.Sequential(make_conv(*sizes[:2], 4, stride=2, padding=2), nn.LeakyReLU(0.2))]
        for n, pair in enumerate(zip(sizes[1:], sizes[2:], strict=False)):
            stride = 1 if n == 2 else 2
            conv = spectral_norm(make_conv(*pair, 4, stride=stride, padding=2, bias=False))
            layers.append(nn.Sequential(conv, nn.InstanceNorm2d(pair[1]), nn.LeakyReLU(0.2)))
        last = nn.Sequential(make_conv(sizes[-1], 1, 4, padding=2))
        return nn.ModuleList([*layers, last])

    def forward(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        scales = []
        for n, layers in enumerate(self.scales):
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if n else x
            found = [x]
            for layer in layers:
                found.append(layer(found[-1]))
            scales.append(found[1:])
        return scales
