"""Makes text_gan_torch.npz: DF-GAN in PyTorch, float64: outputs, gradients, D's whole loss.

Blocks are in the order of the publication: images are doubled before anything else, and halved
after the shortcut's convolution. MA-GP is differentiated twice. The text encoder is `torch.nn.GRU`
over packed sequences.

pip install torch==2.13.0 numpy
python tests/goldens/text_gan_torch.py
"""

from pathlib import Path

import numpy as np
import resnet_gan_torch
import text_gan_setup as setup
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from resnet_gan_torch import pixels


class Parameters(resnet_gan_torch.Parameters):
    """Leaves in ganjax's layout, drawn when they are first asked for."""

    def __init__(self, prefix):
        super().__init__(prefix, setup.draw)

    def linear(self, x, name, features):
        kernel = self.get(f"{name}/kernel", x.shape[1], features)
        return x @ kernel + self.get(f"{name}/bias", features)

    def conv(self, x, name, features, size, stride=1, bias=True):
        kernel = self.get(f"{name}/kernel", size, size, x.shape[1], features).permute(3, 2, 0, 1)
        bias = self.get(f"{name}/bias", features) if bias else None
        return F.conv2d(x, kernel, bias, stride=stride, padding=(size - 1) // 2)


def fuse(p, x, condition, name):
    for n in range(2):
        terms = []
        for term in ("scale", "shift"):
            path = f"{name}/affine_{n}/{term}"
            hidden = F.relu(p.linear(condition, f"{path}_hidden", x.shape[1]))
            terms.append(p.linear(hidden, path, x.shape[1])[:, :, None, None])
        x = F.leaky_relu(x * terms[0] + terms[1], 0.2)
    return x


def widths():
    """From full size on: 2, 4, 8, 16 at 32x32."""
    return [setup.WIDTH * min(2**n, 8) for n in range((setup.SIDE // 4).bit_length())]


def generate(p, z, sentences):
    first, *rest = widths()[::-1]
    condition = torch.cat([z, sentences], 1)
    x = p.linear(z, "project", 16 * first).reshape(-1, 4, 4, first).permute(0, 3, 1, 2)
    for n, features in enumerate(rest):
        x = F.interpolate(x, scale_factor=2)
        y = p.conv(fuse(p, x, condition, f"up_{n}/fusion_0"), f"up_{n}/conv_0", features, 3)
        y = p.conv(fuse(p, y, condition, f"up_{n}/fusion_1"), f"up_{n}/conv_1", features, 3)
        if x.shape[1] != features:
            x = p.conv(x, f"up_{n}/shortcut", features, 1)
        x = x + y
    return torch.tanh(p.conv(F.leaky_relu(x, 0.2), "pixels", 3, 3))


def see(p, x):
    first, *rest = widths()
    x = p.conv(x, "pixels", first, 3)
    for n, features in enumerate(rest):
        name = f"downs_{n}"
        y = F.leaky_relu(p.conv(x, f"{name}/conv_0", features, 4, 2, bias=False), 0.2)
        y = F.leaky_relu(p.conv(y, f"{name}/conv_1", features, 3, bias=False), 0.2)
        if x.shape[1] != features:
            x = p.conv(x, f"{name}/shortcut", features, 1)
        x = F.avg_pool2d(x, 2) + p.get(f"{name}/gain") * y
    return x


def judge(p, features, sentences):
    spread = sentences[:, :, None, None].expand(-1, -1, 4, 4)
    x = p.conv(torch.cat([features, spread], 1), "joint", 2 * setup.WIDTH, 3, bias=False)
    kernel = p.get("logits", 4, 4, 2 * setup.WIDTH, 1).permute(3, 2, 0, 1)
    return F.conv2d(F.leaky_relu(x, 0.2), kernel).flatten()


def penalty(logits, real, sentences):
    slopes = torch.autograd.grad(logits.sum(), (real, sentences), create_graph=True)
    lengths = torch.cat([x.flatten(1) for x in slopes], 1).square().sum(1).sqrt()
    return (lengths**setup.PENALTY_POWER).mean()


def encode(tokens):
    p, half = Parameters("encoder"), setup.SENTENCE // 2
    gru = torch.nn.GRU(setup.WORD_SIZE, half, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for way, suffix in (("forward", ""), ("backward", "_reverse")):
            shapes = {
                "kernel": ("weight_ih", (setup.WORD_SIZE, 3 * half)),
                "recurrent": ("weight_hh", (half, 3 * half)),
                "bias": ("bias_ih", (3 * half,)),
                "recurrent_bias": ("bias_hh", (3 * half,)),
            }
            for ours, (theirs, shape) in shapes.items():
                value = p.get(f"{way}/{ours}", *shape)
                getattr(gru, f"{theirs}_l0{suffix}").copy_(value.T if len(shape) == 2 else value)
        x = p.get("embedding", setup.WORDS, setup.WORD_SIZE)[torch.from_numpy(tokens)]
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, setup.LENGTHS, batch_first=True, enforce_sorted=False
        )
        words, _ = torch.nn.utils.rnn.pad_packed_sequence(gru(packed)[0], batch_first=True)
        mean = words.sum(1) / torch.tensor(setup.LENGTHS)[:, None]
        return words, mean / (mean.square().mean(1, keepdim=True) + 1e-6).sqrt()


def main() -> None:
    golden, inputs = {}, setup.draw_inputs()
    words, sentences = encode(inputs["tokens"])
    golden |= {"encoder/words": words.numpy(), "encoder/sentences": sentences.numpy()}

    g, z = Parameters("generator"), torch.from_numpy(inputs["z"])
    sentences = torch.from_numpy(inputs["sentences"])
    images = generate(g, z, sentences)
    (images * pixels(inputs["weights"])).sum().backward()
    golden["generator/images"] = images.detach().numpy().transpose(0, 2, 3, 1)[:, ::4, ::4]

    d, real = Parameters("discriminator"), pixels(inputs["real"]).requires_grad_()
    asked = sentences.clone().requires_grad_()
    features = see(d, real)
    matching = judge(d, features, asked)
    others = judge(d, features, sentences.roll(1, 0))
    fakes = judge(d, see(d, pixels(inputs["fake"])), sentences)
    slopes = penalty(matching, real, asked)
    loss = (
        F.relu(1 - matching).mean() + F.relu(1 + fakes).mean() / 2 + F.relu(1 + others).mean() / 2
    )
    loss = loss + setup.PENALTY_WEIGHT * slopes
    loss.backward()
    for name, value in (("matching", matching), ("others", others), ("fakes", fakes)):
        golden[f"logits/{name}"] = value.detach().numpy()
    golden |= {"loss": loss.item(), "penalty": slopes.item()}
    for role, p in (("generator", g), ("discriminator", d)):
        golden |= {f"{role}/{name}": summarize(value.grad.numpy()) for name, value in p.items()}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
