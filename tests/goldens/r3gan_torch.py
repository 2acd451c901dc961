"""Makes r3gan_torch.npz: R3GAN in PyTorch, float64: outputs, gradients, and two train steps.

In a train step, D pays softplus(D(G(z)) - D(x)) and half of the squared gradients at x and at G(z),
weighed by R1 and R2, and steps; then G meets the new D and other real images x', pays
softplus(D(x') - D(G(z'))), and steps. Penalties are differentiated twice.

pip install torch==2.13.0 numpy
python tests/goldens/r3gan_torch.py
"""

from pathlib import Path

import numpy as np
import resnet_gan_torch
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from r3gan_setup import B2, CASES, R1, R2, RATE, STEP, STEPS, draw, draw_inputs
from resnet_gan_torch import pixels

SEED = 4


class Parameters(resnet_gan_torch.Parameters):
    """Leaves in ganjax's layout, drawn when they are first asked for."""

    def __init__(self, prefix):
        super().__init__(prefix, draw)

    def linear(self, x, name, features):
        kernel = self.get(f"{name}/kernel", x.shape[1], features)
        return F.linear(x, kernel.T) if x.ndim == 2 else F.conv2d(x, kernel.T[:, :, None, None])


def widths(case):
    count = (case.side // SEED).bit_length()
    return [case.width >> max(n - 3, 0) for n in range(count)]


def blur(channels):
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(line, line).expand(channels, 1, 4, 4)


def block(p, x, name):
    channels, features = x.shape[1], 2 * x.shape[1]
    bias = [p.get(f"{name}/bias_{n}", features)[:, None, None] for n in range(2)]
    y = F.leaky_relu(p.linear(x, f"{name}/expand", features) + bias[0], 0.2)
    kernel = p.get(f"{name}/conv", 3, 3, 16, features).permute(3, 2, 0, 1)
    y = F.leaky_relu(F.conv2d(y, kernel, padding=1, groups=features // 16) + bias[1], 0.2)
    return x + p.linear(y, f"{name}/reduce", channels)


def generate(p, case, z, condition):
    if condition is not None:
        z = torch.cat([z, p.linear(condition, "embedding", z.shape[1])], 1)
    basis = p.get("basis", SEED, SEED, case.width).permute(2, 0, 1)
    x = basis * p.linear(z, "project", case.width)[:, :, None, None]
    for stage, features in enumerate(widths(case)):
        if features != x.shape[1]:
            x = p.linear(x, f"narrow_{stage}", features)
        if stage:
            x = F.conv_transpose2d(x, 4 * blur(features), stride=2, padding=1, groups=features)
        for n in range(2):
            x = block(p, x, f"block_{stage}_{n}")
    return p.linear(x, "pixels", case.channels)


def discriminate(p, case, x, condition):
    x = p.linear(x, "pixels", widths(case)[-1])
    for stage, features in reversed(list(enumerate(widths(case)))):
        if stage < len(widths(case)) - 1:
            x = F.conv2d(x, blur(x.shape[1]), stride=2, padding=1, groups=x.shape[1])
        if features != x.shape[1]:
            x = p.linear(x, f"widen_{stage}", features)
        for n in range(2):
            x = block(p, x, f"block_{stage}_{n}")
    kernel = p.get("basis", SEED, SEED, case.width).permute(2, 0, 1)[:, None]
    h = F.conv2d(x, kernel, groups=case.width).flatten(1)
    if condition is None:
        return p.linear(h, "logits", 1)[:, 0]
    embedding = p.linear(condition, "embedding", case.width)
    return (p.linear(h, "logits", case.width) * embedding).sum(1)


def one_hot(label, case):
    return None if label is None else F.one_hot(torch.from_numpy(label), case.conditions).double()


def squared_slopes(logits, images):
    (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slopes.square().sum((1, 2, 3))


def train(golden):
    case = CASES[STEP]
    g, d = Parameters(f"{STEP}/generator"), Parameters(f"{STEP}/discriminator")
    for step in range(STEPS):
        # Rows in turn: one for the discriminator, one for the generator.
        batch = draw_inputs(f"{STEP}/{step}", 6)
        image, condition = pixels(batch["image"]), one_hot(batch["label"], case)
        z = [torch.from_numpy(draw_inputs(f"{STEP}/{step}/{n}")["z"]) for n in range(2)]

        real = image[::2].requires_grad_()
        fake = generate(g, case, z[0], condition[::2]).detach().requires_grad_()
        logits = [discriminate(d, case, x, condition[::2]) for x in (real, fake)]
        r1, r2 = (squared_slopes(y, x) for y, x in zip(logits, (real, fake), strict=True))
        d_loss = (F.softplus(logits[1] - logits[0]) + R1 / 2 * r1 + R2 / 2 * r2).mean()
        if not step:
            adams = [torch.optim.Adam(p.values(), lr=RATE, betas=(0.0, B2)) for p in (g, d)]
        adams[1].zero_grad()
        d_loss.backward()
        adams[1].step()

        fake = generate(g, case, z[1], condition[1::2])
        logits = [discriminate(d, case, x, condition[1::2]) for x in (image[1::2], fake)]
        g_loss = F.softplus(logits[0] - logits[1]).mean()
        adams[0].zero_grad()
        g_loss.backward()
        adams[0].step()
        values = {"loss_discriminator": d_loss, "loss_generator": g_loss}
        values |= {"penalty_real": r1.mean(), "penalty_fake": r2.mean()}
        golden |= {f"step/{step}/{name}": value.item() for name, value in values.items()}
    for role, p in (("generator", g), ("discriminator", d)):
        for name, value in p.items():
            change = value.detach().numpy() - draw(f"{p.prefix}/{name}", tuple(value.shape))
            golden[f"step/{role}/{name}"] = summarize(change)


def main() -> None:
    golden = {}
    for name, case in CASES.items():
        inputs = draw_inputs(name)
        condition = one_hot(inputs["label"], case)
        g, d = Parameters(f"{name}/generator"), Parameters(f"{name}/discriminator")
        images = generate(g, case, torch.from_numpy(inputs["z"]), condition)
        (images * pixels(inputs["weights"])).sum().backward()
        logits = discriminate(d, case, pixels(inputs["image"]), condition)
        logits.square().sum().backward()
        side = slice(None, None, case.side // 8)
        golden[f"{name}/images"] = images.detach().numpy().transpose(0, 2, 3, 1)[:, side, side]
        golden[f"{name}/logits"] = logits.detach().numpy()
        for role, p in (("generator", g), ("discriminator", d)):
            for key, value in p.items():
                golden[f"{name}/{role}/{key}"] = summarize(value.grad.numpy())
    train(golden)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
