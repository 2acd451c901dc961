"""Makes resnet_gan_torch.npz: SNGAN's ResNets in PyTorch, float64: outputs, gradients, sigmas.

pip install torch==2.13.0 numpy
python tests/goldens/resnet_gan_torch.py
"""

import math
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from resnet_gan_setup import CASES, LATENT, draw, draw_inputs
from torch import nn
from torch.nn.utils import spectral_norm

warnings.simplefilter("ignore", FutureWarning)  # the form that starts from u, as published
torch.set_default_dtype(torch.float64)
GENERATOR = {32: (1, 1, 1, 1), 64: (16, 8, 4, 2, 1), 128: (16, 16, 8, 4, 2, 1)}
# Channels and halving of each block.
DISCRIMINATOR = {
    32: ((1, True), (1, True), (1, False), (1, False)),
    64: ((1, True), (2, True), (4, True), (8, True), (16, True)),
    128: ((1, True), (2, True), (4, True), (8, True), (16, True), (16, False)),
}


def to_torch(array):
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))


def to_ganjax(tensor):
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[tensor.ndim]
    return tensor.detach().numpy().transpose(axes)


def pixels(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


class Parameters(dict):
    """Leaves in ganjax's layout, drawn when they are first asked for."""

    def __init__(self, prefix, draw=draw):
        super().__init__()
        self.prefix, self.draw = prefix, draw

    def get(self, name, *shape):
        if name not in self:
            value = torch.from_numpy(self.draw(f"{self.prefix}/{name}", shape))
            self[name] = value.requires_grad_()
        return self[name]


def generate(p, case, z, condition):
    def conv(x, name, features, side):
        kernel = p.get(f"{name}/kernel", side, side, x.shape[1], features)
        bias = p.get(f"{name}/bias", features)
        return F.conv2d(x, kernel.permute(3, 2, 0, 1).contiguous(), bias, padding=side // 2)

    def norm(x, name, conditional=True):
        x_hat, channels = F.batch_norm(x, None, None, training=True, eps=2e-5), x.shape[1]
        if not (conditional and case.conditions):
            scale, bias = p.get(f"{name}/scale", channels), p.get(f"{name}/bias", channels)
            return x_hat * scale[:, None, None] + bias[:, None, None]
        scale = p.get(f"{name}/scale", case.conditions, channels)
        bias = p.get(f"{name}/bias", case.conditions, channels)
        if case.kind == "class":
            classes = condition.argmax(1)
            scale, bias = F.embedding(classes, 1 + scale), F.embedding(classes, bias)
        else:
            scale, bias = 1 + condition @ scale, condition @ bias
        return x_hat * scale[:, :, None, None] + bias[:, :, None, None]

    def up(x):
        return F.interpolate(x, scale_factor=2, mode="nearest")

    widths = [case.generator_width * times for times in GENERATOR[case.side]]
    kernel = p.get("project/kernel", LATENT, 16 * widths[0])
    x = z @ kernel + p.get("project/bias", 16 * widths[0])
    x = x.reshape(len(z), 4, 4, widths[0]).permute(0, 3, 1, 2)
    for n, width in enumerate(widths[1:], start=1):
        y = conv(up(F.relu(norm(x, f"up_{n}/norm_0"))), f"up_{n}/conv_0", width, 3)
        y = conv(F.relu(norm(y, f"up_{n}/norm_1")), f"up_{n}/conv_1", width, 3)
        x = y + conv(up(x), f"up_{n}/shortcut", width, 1)
    return torch.tanh(conv(F.relu(norm(x, "norm", False)), "pixels", case.channels, 3))


class Block(nn.Module):
    def __init__(self, before, after, halves, first):
        super().__init__()
        inside = after if first else before
        self.halves, self.first = halves, first
        self.conv_0 = spectral_norm(nn.Conv2d(before, inside, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(inside, after, 3, padding=1))
        if halves or before != after:
            self.shortcut = spectral_norm(nn.Conv2d(before, after, 1))

    def forward(self, x):
        y = self.conv_1(F.relu(self.conv_0(x if self.first else F.relu(x))))
        x = self.shortcut(x) if hasattr(self, "shortcut") else x
        return F.avg_pool2d(y, 2) + F.avg_pool2d(x, 2) if self.halves else y + x


class Discriminator(nn.Module):
    def __init__(self, case):
        super().__init__()
        before, self.blocks = case.channels, []
        for n, (times, halves) in enumerate(DISCRIMINATOR[case.side], start=1):
            after = times * case.discriminator_width
            self.add_module(f"block_{n}", Block(before, after, halves, n == 1))
            self.blocks.append(f"block_{n}")
            before = after
        self.logits = spectral_norm(nn.Linear(before, 1, bias=case.side > 32))
        if case.conditions:
            self.projection = spectral_norm(nn.Embedding(case.conditions, before))

    def forward(self, x, condition):
        for name in self.blocks:
            x = getattr(self, name)(x)
        h = F.relu(x).sum((2, 3))
        logits = self.logits(h)[:, 0]
        if condition is None:
            return logits
        one_each = self.projection(torch.arange(condition.shape[1]))
        return logits + ((condition @ one_each) * h).sum(1)


def discriminate(case, name, inputs, condition, golden):
    network = Discriminator(case).train()
    tensors = {}
    for key, tensor in network.state_dict(keep_vars=True).items():
        layer, _, kind = key.replace(".", "/").rpartition("/")
        if kind == "weight_v":
            continue
        kind = {"weight_orig": "kernel", "weight_u": "spectral/u", "bias": "bias"}[kind]
        shape = to_ganjax(tensor).shape
        with torch.no_grad():
            value = draw(f"{name}/discriminator/{layer}/{kind}", shape)
            tensor.copy_(to_torch(value))
        tensors[f"{layer}/{kind}"] = tensor
    first = network(pixels(inputs["images"]), condition)
    second = network(pixels(inputs["more"]), condition)
    (first.square().sum() + second.sum()).backward()
    golden[f"{name}/logits"] = torch.stack([first, second]).detach().numpy()
    for key, tensor in tensors.items():
        if key.endswith("/u"):
            golden[f"{name}/u/{key}"] = tensor.numpy()
            module = network.get_submodule(key.removesuffix("/spectral/u").replace("/", "."))
            ratio = module.weight_orig.norm() / module.weight.norm()
            golden[f"{name}/sigma/{key}"] = ratio.detach().numpy()
        else:
            golden[f"{name}/gradient/discriminator/{key}"] = summarize(to_ganjax(tensor.grad))


def main() -> None:
    golden = {}
    for name, case in CASES.items():
        inputs = draw_inputs(name)
        condition = torch.from_numpy(inputs["condition"])
        parameters = Parameters(f"{name}/generator")
        images = generate(parameters, case, torch.from_numpy(inputs["z"]), condition)
        (images * pixels(inputs["weights"])).sum().backward()
        step = math.ceil(case.side / 8)
        golden[f"{name}/images"] = images.detach().numpy().transpose(0, 2, 3, 1)[:, ::step, ::step]
        for key, value in parameters.items():
            golden[f"{name}/gradient/generator/{key}"] = summarize(value.grad.numpy())
        discriminate(case, name, inputs, condition, golden)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
