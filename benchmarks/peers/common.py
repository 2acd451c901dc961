"""What the peers share: device, layout, automatic mixed precision, compilation."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from benchmarks.ours import pictures
from benchmarks.timing import Program, host_memory


def device() -> torch.device:
    """The GPU where there is one; its convolutions are tuned for the sizes at hand."""
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(module: nn.Module, *, channels_last: bool) -> nn.Module:
    """Moves a network to the device, in the layout wanted."""
    module = module.to(device())
    return module.to(memory_format=torch.channels_last) if channels_last else module


def to_device(images: Any, *, channels_last: bool) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in [-1, 1] on the device."""
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device()) / 127.5 - 1
    return tensor.to(memory_format=torch.channels_last) if channels_last else tensor


def autocast(dtype: str):
    """Automatic mixed precision for bfloat16, nothing for float32."""
    if dtype == "float32":
        return nullcontext()
    return torch.autocast(device().type, dtype=torch.bfloat16)


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


def stylization(
    network: nn.Module,
    *,
    batch_size: int,
    image_size: int,
    dtype: str,
    channels_last: bool = False,
    compiled: bool = False,
) -> Program:
    """Passes of `network` over contents and styles that lie on the device."""
    network = prepare(network.eval(), channels_last=channels_last)
    run = torch.compile(network) if compiled else network
    content, style = (
        to_device(images, channels_last=channels_last)
        for images in pictures(batch_size, image_size)
    )

    def step() -> None:
        with torch.inference_mode(), autocast(dtype):
            run(content, style)

    return program(step, parameters=parameters(network))


def parameters(*modules: nn.Module) -> int:
    """How many numbers networks learn."""
    return sum(p.numel() for module in modules for p in module.parameters())
