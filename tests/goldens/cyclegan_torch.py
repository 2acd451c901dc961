"""Makes cyclegan_torch.npz: CycleGAN's networks and its train step in PyTorch, float64.

The networks are sequences of PyTorch's own layers in the published order; the step is the
published algorithm, with a list as the pool.

pip install torch==2.13.0 numpy
python tests/goldens/cyclegan_torch.py
"""

from pathlib import Path

import cyclegan_setup as setup
import numpy as np
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from torch import nn

torch.set_default_dtype(torch.float64)


def pixels(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


class Block(nn.Module):
    def __init__(self, width, norm, bias):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width),
        )  # fmt: skip

    def forward(self, x):
        return x + self.layers(x)


class Blur(nn.Module):
    """A depthwise convolution by [1, 2, 1] with stride 2, the borders mirrored."""

    def forward(self, x):
        row = torch.tensor([1.0, 2.0, 1.0])
        kernel = (row[:, None] * row / 16).repeat(x.shape[1], 1, 1, 1)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])


class Spread(nn.Module):
    """Its counterpart: a depthwise transposed convolution by [1, 3, 3, 1], the borders repeated."""

    def forward(self, x):
        row = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = (row[:, None] * row / 16).repeat(x.shape[1], 1, 1, 1)
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        x = F.conv_transpose2d(x, kernel, stride=2, padding=2, groups=kernel.shape[0])
        return x[:, :, 1:-1, 1:-1]


def make_generator(resampling="strided", norm="instance", width=setup.WIDTH, blocks=setup.BLOCKS):
    """The published sequence, and the position of each of its layers that has weights, by name."""
    bias = norm == "instance"
    normalize = nn.InstanceNorm2d if bias else nn.BatchNorm2d
    layers, names = [], {}

    def add(*modules, name=""):
        if name:
            names[name] = len(layers)
        layers.extend(modules)

    add(nn.ReflectionPad2d(3))
    add(nn.Conv2d(3, width, 7, bias=bias), name="first")
    add(normalize(width), name="first_norm")
    add(nn.ReLU())
    blurred = resampling == "antialiased"
    for n in (1, 2):
        below, above = width * 2 ** (n - 1), width * 2**n
        add(nn.Conv2d(below, above, 3, 1 if blurred else 2, 1, bias=bias), name=f"down_{n}")
        add(normalize(above), name=f"down_{n}_norm")
        add(nn.ReLU(), *([Blur()] if blurred else []))
    for n in range(1, blocks + 1):
        add(Block(4 * width, normalize, bias), name=f"block_{n}")
    for n in (2, 1):
        below, above = width * 2**n, width * 2 ** (n - 1)
        if resampling == "strided":
            add(
                nn.ConvTranspose2d(below, above, 3, 2, 1, output_padding=1, bias=bias),
                name=f"up_{n}",
            )
        else:
            add(Spread() if blurred else nn.Upsample(scale_factor=2))
            add(nn.Conv2d(below, above, 3, 1, 1, bias=bias), name=f"up_{n}")
        add(normalize(above), name=f"up_{n}_norm")
        add(nn.ReLU())
    add(nn.ReflectionPad2d(3))
    add(nn.Conv2d(width, 3, 7), name="last")
    add(nn.Tanh())
    return nn.Sequential(*layers), names


def make_discriminator(blurred=False, width=setup.WIDTH, layers=setup.LAYERS):
    """PatchGAN with instance normalization; with blurs after convolutions without a stride."""
    sequence, names, below = [], {}, 3
    for n in range(layers + 1):
        strides = 2 if n < layers else 1
        names[f"conv_{n + 1}"] = len(sequence)
        features = width * min(2**n, 8)
        sequence.append(nn.Conv2d(below, features, 4, 1 if blurred else strides, 1))
        if n:
            sequence.append(nn.InstanceNorm2d(features))
        sequence.append(nn.LeakyReLU(0.2))
        if blurred and strides == 2:
            sequence.append(Blur())
        below = features
    names[f"conv_{layers + 2}"] = len(sequence)
    sequence.append(nn.Conv2d(below, 1, 4, 1, 1))
    return nn.Sequential(*sequence), names


def leaves(network, names):
    """ganjax's name -> the parameter, and how it lies: a permutation to ganjax's layout."""
    found = {}
    for name, position in names.items():
        module = network[position]
        parts = {name: module}
        if isinstance(module, Block):
            kinds = ("conv_1", "norm_1", "conv_2", "norm_2")
            parts = {
                f"{name}/{kind}": module.layers[n]
                for kind, n in zip(kinds, (1, 2, 5, 6), strict=True)
            }
        for part, layer in parts.items():
            if isinstance(layer, nn.InstanceNorm2d):
                continue
            normal = isinstance(layer, nn.BatchNorm2d)
            order = (2, 3, 0, 1) if isinstance(layer, nn.ConvTranspose2d) else (2, 3, 1, 0)
            found[f"{part}/{'scale' if normal else 'kernel'}"] = (
                layer.weight,
                (0,) if normal else order,
            )
            if layer.bias is not None:
                found[f"{part}/bias"] = (layer.bias, (0,))
    return found


def fill(prefix, found):
    """Draws the parameters of a network in ganjax's layout."""
    with torch.no_grad():
        for name, (parameter, order) in found.items():
            shape = tuple(parameter.shape[n] for n in order)
            value = torch.from_numpy(setup.draw(f"{prefix}/{name}", shape))
            parameter.copy_(value.permute(*np.argsort(order)))


def in_our_layout(parameter, order):
    return parameter.detach().permute(*order).numpy()


def networks(golden):
    """Outputs and gradients of every form of the generator."""
    images, weights = (pixels(setup.draw_images(name)) for name in ("images", "weights"))
    for resampling, norm in setup.FORMS:
        prefix = f"{resampling}_{norm}"
        network, names = make_generator(resampling, norm)
        found = leaves(network, names)
        fill(prefix, found)
        outputs = network(images)
        (outputs * weights).sum().backward()
        golden[f"{prefix}/outputs"] = outputs.detach().numpy()[:, :, ::5, ::7]
        for name, (parameter, order) in found.items():
            gradient = in_our_layout(parameter.grad, order)
            golden[f"{prefix}/gradient/{name}"] = summarize(np.ascontiguousarray(gradient))


def exchange(pool, images, places):
    given = []
    for image, place in zip(images.detach(), places, strict=True):
        if len(pool) < setup.POOL_SIZE:
            pool.append(image)
        elif place >= 0:
            image, pool[place] = pool[place], image
        given.append(image)
    return torch.stack(given)


def steps(golden):
    """Losses of three steps, and all parameters after them."""
    made = {role: make_generator() for role in setup.ROLES[:2]}
    made |= {role: make_discriminator() for role in setup.ROLES[2:]}
    found = {role: leaves(*made[role]) for role in setup.ROLES}
    for role in setup.ROLES:
        fill(role, found[role])
    to_b, to_a, judge_a, judge_b = (made[role][0] for role in setup.ROLES)
    options = {"lr": setup.LEARNING_RATE, "betas": (0.5, 0.999)}
    adam_g = torch.optim.Adam([*to_a.parameters(), *to_b.parameters()], **options)
    adam_d = torch.optim.Adam([*judge_a.parameters(), *judge_b.parameters()], **options)
    mse, l1 = nn.MSELoss(), nn.L1Loss()

    def judged(logits, real):
        return mse(logits, torch.full_like(logits, float(real)))

    pools = {"a": [], "b": []}
    for step in range(setup.STEPS):
        a, b = (pixels(setup.draw_images(f"{side} {step}")) for side in "ab")
        fake_b, fake_a = to_b(a), to_a(b)
        adversarial = judged(judge_a(fake_a), True) + judged(judge_b(fake_b), True)
        cycle = 10 * (l1(to_a(fake_b), a) + l1(to_b(fake_a), b))
        identity = 0.5 * 10 * (l1(to_a(a), a) + l1(to_b(b), b))
        adam_g.zero_grad()
        (adversarial + cycle + identity).backward()
        adam_g.step()
        adam_d.zero_grad()
        terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
        for side, judge, real, fake in (("a", judge_a, a, fake_a), ("b", judge_b, b, fake_b)):
            shown = exchange(pools[side], fake, setup.swaps(step)[side])
            loss = 0.5 * (judged(judge(real), True) + judged(judge(shown), False))
            loss.backward()
            terms[f"discriminator_{side}"] = loss
        adam_d.step()
        for name, value in terms.items():
            golden[f"step {step}/loss_{name}"] = value.detach().numpy()
    for role in setup.ROLES:
        for name, (parameter, order) in found[role].items():
            value = np.ascontiguousarray(in_our_layout(parameter, order))
            golden[f"steps/{role}/{name}"] = summarize(value)


def main() -> None:
    golden = {}
    networks(golden)
    steps(golden)
    count = sum(p.numel() for p in make_generator(width=64, blocks=9)[0].parameters())
    golden["parameters"] = np.array(count)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
