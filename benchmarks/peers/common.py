"""What the peers share: device, layout, automatic mixed precision, compilation."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.ours import pictures
from benchmarks.timing import Program, host_memory


def device() -> torch.device:
    """The GPU where there is one; its convolutions are tuned for the sizes at hand."""
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Setting(NamedTuple):
    """The form in which a program is timed; sizes are of its batches."""

    batch_size: int
    image_size: int
    dtype: str
    channels_last: bool = False
    compiled: bool = False

    def prepare(self, module: nn.Module) -> nn.Module:
        """Moves a network to the device, in the layout wanted."""
        module = module.to(device())
        return module.to(memory_format=torch.channels_last) if self.channels_last else module

    def to_device(self, images: Any) -> torch.Tensor:
        """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in [-1, 1] on the device."""
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device()) / 127.5 - 1
        return tensor.to(memory_format=torch.channels_last) if self.channels_last else tensor

    def pictures(self) -> list[torch.Tensor]:
        """Two batches of images on the device."""
        return [self.to_device(images) for images in pictures(self.batch_size, self.image_size)]

    def compile(self, function: Callable) -> Callable:
        """A network or function, compiled where that is wanted."""
        return torch.compile(function) if self.compiled else function

    def autocast(self):
        """Automatic mixed precision for bfloat16, nothing for float32."""
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(device().type, dtype=torch.bfloat16)


def adam(
    *networks: nn.Module, learning_rate: float, betas: tuple[float, float]
) -> torch.optim.Adam:
    """One optimizer of several networks, in one kernel on a GPU."""
    parameters = [p for network in networks for p in network.parameters()]
    fused = device().type == "cuda"
    return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, fused=fused)


def average(network: nn.Module) -> AveragedModel:
    """The running average of a network's weights; `update_parameters(network)` after each step."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.999))


def program(step: Callable[[], Any], **notes: Any) -> Program:
    """Steps as a `Program`."""
    gpu = device().type == "cuda"

    def run(steps: int) -> None:
        for _ in range(steps):
            step()
        if gpu:
            torch.cuda.synchronize()

    memory = torch.cuda.max_memory_allocated if gpu else host_memory
    return Program(run, "gpu" if gpu else "cpu", peak_memory=memory, notes=notes)


def stylization(network: nn.Module, **options: Any) -> Program:
    """Passes of `network` over contents and styles that lie on the device; see `Setting`."""
    setting = Setting(**options)
    network = setting.prepare(network.eval())
    run = setting.compile(network)
    content, style = setting.pictures()

    def step() -> None:
        with torch.inference_mode(), setting.autocast():
            run(content, style)

    return program(step, parameters=parameters(network))


def translation(network: nn.Module, **options: Any) -> Program:
    """Passes of `network` over images that lie on the device, with its dropout; see `Setting`."""
    setting = Setting(**options)
    network = setting.prepare(network)
    run = setting.compile(network)
    images, _ = setting.pictures()

    def step() -> None:
        with torch.inference_mode(), setting.autocast():
            run(images)

    return program(step, parameters=parameters(network))


def parameters(*modules: nn.Module) -> int:
    """How many numbers networks learn."""
    return sum(p.numel() for module in modules for p in module.parameters())


def make_patchgan(channels: int, norm: type[nn.Module]) -> nn.Sequential:
    """PatchGAN 70: images, or pairs of them, [B, channels, H, W] -> logits [B, 1, h, w]."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for below, above, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        layers += [nn.Conv2d(below, above, 4, stride, 1, bias=False), norm(above)]
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


class VGG16(nn.Module):
    """Random weights: images [B, 3, H, W] -> the outputs of some of its 13 ReLUs."""

    def __init__(self, taps: Sequence[int]):
        super().__init__()
        self.taps, layers, below = tuple(taps), [], 3
        for width in (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3):
            if width == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(below, width, 3, 1, 1), nn.ReLU()]
                below = width
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return [found[tap] for tap in self.taps]


def init(module: nn.Module) -> None:
    """The start of pix2pix and CycleGAN, for `Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
