"""Makes spade_torch.npz: a train step of OASIS and one of SPADE in PyTorch, float64.

The images, what both players pay, and the gradients of all networks: the discriminator meets the
detached images and steps (by its whole gradient), then the generator meets the new discriminator.
Spectral normalization is PyTorch's own, one power iteration for each forward.

pip install torch==2.14.1 numpy
python tests/goldens/spade_torch.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from spade_setup import (
    BATCH,
    CLASSES,
    DOWNS,
    IGNORED,
    NOISE,
    SIZE,
    UPS,
    WEIGHTS,
    draw,
    draw_inputs,
)
from torch import nn
from torch.nn.utils import spectral_norm

BLOCKS = [(16, 0), (16, 1), (8, 1), (4, 1), (2, 1), (1, 1)]  # widths, doubled before
WIDTH = 1


def to_torch(kernel):
    """HWIO to OIHW, or [in, out] to [out, in]."""
    order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
    return torch.from_numpy(kernel.transpose(order).copy())


def to_ganjax(tensor):
    array = tensor.detach().numpy()
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])


class Network:
    """Layers by name, made when they are first needed; their weights are drawn."""

    def __init__(self, prefix):
        self.prefix, self.layers = prefix, {}

    def layer(self, name, x, features, size=3, stride=1, padding=None, spectral=False, bias=True):
        if name not in self.layers:
            path = f"{self.prefix}/{name}"
            if size:
                padding = size // 2 if padding is None else padding
                made = nn.Conv2d(x.shape[1], features, size, stride, padding, bias=bias)
                shape = (size, size, x.shape[1], features)
            else:
                made, shape = nn.Linear(x.shape[1], features), (x.shape[1], features)
            made.weight = nn.Parameter(to_torch(draw(f"{path}/kernel", shape)))
            if bias:
                made.bias = nn.Parameter(torch.from_numpy(draw(f"{path}/bias", (features,))))
            if spectral:
                made = spectral_norm(made)
                made.weight_u.copy_(torch.from_numpy(draw(f"{path}/spectral/u", (features,))))
            self.layers[name] = made.double().train()
        return self.layers[name](x)

    def parameters(self):
        for name, layer in self.layers.items():
            for key, value in layer.named_parameters():
                yield f"{name}/{'bias' if key == 'bias' else 'kernel'}", value

    def gradients(self):
        return {name: summarize(to_ganjax(value.grad)) for name, value in self.parameters()}


def leaky(x):
    return F.leaky_relu(x, 0.2)


def double(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def generate(g, form, segmentation, noise):
    """The label map's channels come last, those of OASIS's noise first."""
    height, width = (side // 2**UPS for side in SIZE)
    blocks = BLOCKS[-UPS - 1 :]
    first = blocks[0][0] * WIDTH
    if form == "oasis":
        spread = noise[:, :, None, None].expand(-1, -1, *SIZE)
        segmentation = torch.cat([spread, segmentation], 1)
        x = F.interpolate(segmentation, (height, width), mode="nearest")
        x = g.layer("start", x, first)
    else:
        x = g.layer("start", noise, first * height * width, 0)
        x = x.reshape(BATCH, height, width, -1).permute(0, 3, 1, 2)  # channels last, as in ganjax

    def spade(name, x):
        where = F.interpolate(segmentation, x.shape[2:], mode="nearest")
        y = F.relu(g.layer(f"{name}/hidden", where, 2 * WIDTH))
        both = g.layer(name, y, 2 * x.shape[1])
        scale, bias = both.chunk(2, 1)
        return F.batch_norm(x, None, None, training=True) * (1 + scale) + bias

    for n, (times, up) in enumerate(blocks):
        x, features = double(x) if up and n else x, times * WIDTH
        path, before = f"block_{n}", x.shape[1]
        y = leaky(spade(f"{path}/spade_0", x))
        y = g.layer(f"{path}/conv_0", y, min(before, features), spectral=True)
        y = leaky(spade(f"{path}/spade_1", y))
        y = g.layer(f"{path}/conv_1", y, features, spectral=True)
        if before != features:
            x = spade(f"{path}/spade_shortcut", x)
            x = g.layer(f"{path}/shortcut", x, features, 1, spectral=True, bias=False)
        x = x + y
    return torch.tanh(g.layer("pixels", leaky(x), 3))


def segment(d, x):
    """OASIS's discriminator."""

    def block(name, x, features, up, first=False):
        def layer(kind, x, size=3):
            return d.layer(f"{name}/{kind}", x, features, size, spectral=True)

        y = x if first else leaky(x)
        y = layer("conv_1", leaky(layer("conv_0", double(y) if up else y)))
        x = double(x) if up else x
        x = layer("shortcut", x, 1) if x.shape[1] != features else x
        return x + y if up else F.avg_pool2d(x, 2) + F.avg_pool2d(y, 2)

    widths, found = (2, 2, 4, 4, 8, 8)[:DOWNS], []
    for n, width in enumerate(widths):
        x = block(f"down_{n}", x, width, False, n == 0)
        found.append(x)
    for n, width in enumerate([*widths[:-1][::-1], 1]):
        x = torch.cat([found[-1 - n], x], 1) if n else x
        x = block(f"up_{n}", x, width, True)
    return d.layer("logits", x, CLASSES + 1, 1)


def judge(d, segmentation, images):
    """SPADE's discriminators: of each scale, features and logits."""
    x, scales = torch.cat([segmentation, images], 1), []
    for scale in range(2):
        if scale:
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        y, layers = x, []
        for n, (width, stride) in enumerate(((1, 2), (2, 2), (4, 2), (8, 1))):
            name, inner = f"conv_{scale}_{n}", n > 0
            y = d.layer(name, y, width, 4, stride, 2, spectral=inner, bias=not inner)
            y = leaky(F.instance_norm(y) if inner else y)
            layers.append(y)
        scales.append([*layers, d.layer(f"conv_{scale}_4", y, 1, 4, 1, 2)])
    return scales


def encode(e, x):
    for n, width in enumerate((1, 2, 4, 8, 8)):
        x = e.layer(f"conv_{n}", x, width, 3, 2, 1, spectral=True, bias=False)
        x = leaky(F.instance_norm(x))
    x = x.permute(0, 2, 3, 1).flatten(1)
    return e.layer("mean", x, NOISE, 0), e.layer("log_variance", x, NOISE, 0)


def to_classes(logits, segmentation):
    """OASIS's balanced cross-entropy; pixels without a class have only zeros."""
    counts = segmentation.sum((0, 2, 3))
    counts[IGNORED] = 0
    there = counts > 0
    pixels = segmentation.numel() / CLASSES
    balance = torch.where(there, pixels / (there.sum() * counts.clamp(min=1)), 0)
    weights = (segmentation * balance[:, None, None]).sum(1)
    values = F.cross_entropy(logits, 1 + segmentation.argmax(1), reduction="none")
    return (weights * values).mean()


def oasis(golden):
    inputs = {name: torch.from_numpy(x) for name, x in draw_inputs().items()}
    segmentation = one_hot(inputs["labels"])
    real, mask = (inputs[name].permute(0, 3, 1, 2) for name in ("target", "mask"))
    g, d = Network("oasis/generator"), Network("oasis/discriminator")
    fake = generate(g, "oasis", segmentation, inputs["noise"])
    mixture = mask * real + (1 - mask) * fake.detach()
    on_real, on_fake, on_mixture = segment(d, torch.cat([real, fake.detach(), mixture])).chunk(3)
    mixed = mask * on_real + (1 - mask) * on_fake
    zeros = torch.zeros(on_fake[:, 0].shape, dtype=torch.int64)
    terms = {
        "real": to_classes(on_real, segmentation),
        "fake": F.cross_entropy(on_fake, zeros),
        "mix": WEIGHTS["mix"] * F.mse_loss(on_mixture, mixed),
    }
    step(d, terms)
    golden |= {f"oasis/discriminator/{name}": value for name, value in d.gradients().items()}
    terms["game"] = to_classes(segment(d, fake), segmentation)
    terms["game"].backward()
    golden |= {f"oasis/generator/{name}": value for name, value in g.gradients().items()}
    finish(golden, "oasis", terms)


def spade(golden):
    inputs = {name: torch.from_numpy(x) for name, x in draw_inputs().items()}
    segmentation, real = one_hot(inputs["labels"]), inputs["target"].permute(0, 3, 1, 2)
    g, d, e = (Network(f"spade/{role}") for role in ("generator", "discriminator", "encoder"))
    mean, log_variance = encode(e, real)
    noise = mean + torch.exp(log_variance / 2) * inputs["noise"]
    fake = generate(g, "spade", segmentation, noise)

    def scales(images):
        both = judge(d, segmentation.repeat(2, 1, 1, 1), torch.cat([real, images]))
        return [[x.chunk(2) for x in layers] for layers in both]

    found = scales(fake.detach())
    terms = {
        "real": sum(F.relu(1 - layers[-1][0]).mean() for layers in found) / 2,
        "fake": sum(F.relu(1 + layers[-1][1]).mean() for layers in found) / 2,
    }
    step(d, terms)
    golden |= {f"spade/discriminator/{name}": value for name, value in d.gradients().items()}
    found = scales(fake)
    paid = {
        "game": sum(-layers[-1][1].mean() for layers in found) / 2,
        "features": WEIGHTS["features"]
        * sum(F.l1_loss(b, a.detach()) for layers in found for a, b in layers[:-1])
        / 2,
        "divergence": WEIGHTS["divergence"]
        * -0.5
        * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean(),
    }
    sum(paid.values()).backward()
    for role, network in (("generator", g), ("encoder", e)):
        golden |= {f"spade/{role}/{name}": value for name, value in network.gradients().items()}
    finish(golden, "spade", terms | paid)


def one_hot(labels):
    classes = torch.arange(CLASSES)[:, None, None]
    return (labels[:, None] == classes).double()


def step(d, terms):
    """The discriminator moves by its gradient."""
    sum(terms.values()).backward()
    with torch.no_grad():
        for _, value in d.parameters():
            value -= value.grad


def finish(golden, form, terms):
    golden |= {f"{form}/loss_{name}": value.item() for name, value in terms.items()}


def main() -> None:
    golden: dict = {}
    oasis(golden)
    spade(golden)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
