"""Makes super_resolution_torch.npz: the networks in PyTorch, float64: outputs and gradients.

pip install torch==2.13.0 numpy
python tests/goldens/super_resolution_torch.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from pix2pix_setup import draw
from super_resolution_setup import DEPTH, FORMS, SHAPE, SIDE, WIDTH, draw_images

torch.set_default_dtype(torch.float64)


def pixels(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


class Network:
    """Leaves in ganjax's layout, drawn when they are first asked for."""

    def __init__(self, prefix):
        self.prefix, self.parameters = prefix, {}

    def get(self, name, *shape):
        value = torch.from_numpy(draw(f"{self.prefix}/{name}", shape)).requires_grad_()
        self.parameters[name] = value
        return value

    def conv(self, x, name, features, side=3, stride=1):
        kernel = self.get(f"{name}/kernel", side, side, x.shape[1], features)
        bias = self.get(f"{name}/bias", features)
        return F.conv2d(x, kernel.permute(3, 2, 0, 1).contiguous(), bias, stride, side // 2)

    def prelu(self, x, name, each=False):
        return F.prelu(x, self.get(f"{name}/slope", x.shape[1] if each else 1))

    def norm(self, x, name):
        scale, bias = (self.get(f"{name}/{kind}", x.shape[1]) for kind in ("scale", "bias"))
        return F.batch_norm(x, None, None, scale, bias, training=True)

    def dense(self, x, name, features):
        kernel = self.get(f"{name}/kernel", x.shape[1], features)
        return F.linear(x, kernel.T, self.get(f"{name}/bias", features))


def shuffle(x, times):
    """PixelShuffle of channels in ganjax's order: row, column, channel."""
    batch, _, height, width = x.shape
    x = x.view(batch, times, times, -1, height, width).permute(0, 3, 1, 2, 4, 5)
    return F.pixel_shuffle(x.reshape(batch, -1, height, width), times)


def steps(scale):
    return (2, 2) if scale == 4 else (scale,)


def srvgg(net, x, scale):
    out = x
    for n in range(DEPTH + 1):
        out = net.prelu(net.conv(out, f"conv_{n}", WIDTH), f"prelu_{n}", each=True)
    out = shuffle(net.conv(out, "pixels", 3 * scale**2), scale)
    return out + F.interpolate(x, scale_factor=scale, mode="nearest")


def srresnet(net, x, scale):
    first = x = net.prelu(net.conv(x, "head", WIDTH, 9), "head_prelu")
    for n in range(DEPTH):
        y = net.prelu(net.norm(net.conv(x, f"conv_{n}_0", WIDTH), f"norm_{n}_0"), f"prelu_{n}")
        x = x + net.norm(net.conv(y, f"conv_{n}_1", WIDTH), f"norm_{n}_1")
    x = first + net.norm(net.conv(x, "trunk", WIDTH), "trunk_norm")
    for n, times in enumerate(steps(scale)):
        x = shuffle(net.conv(x, f"up_{n}", WIDTH * times**2), times)
        x = net.prelu(x, f"up_prelu_{n}")
    return (net.conv(x, "pixels", 3, 9) + 1) / 2


def msrresnet(net, x, scale):
    small, x = x, F.leaky_relu(net.conv(x, "head", WIDTH), 0.1)
    for n in range(DEPTH):
        y = F.relu(net.conv(x, f"conv_{n}_0", WIDTH))
        x = x + net.conv(y, f"conv_{n}_1", WIDTH)
    for n, times in enumerate(steps(scale)):
        x = F.leaky_relu(shuffle(net.conv(x, f"up_{n}", WIDTH * times**2), times), 0.1)
    x = net.conv(F.leaky_relu(net.conv(x, "large", WIDTH), 0.1), "pixels", 3)
    return x + F.interpolate(small, scale_factor=scale, mode="bilinear", align_corners=False)


def rrdb(net, x, scale):
    def dense(x, name):
        found = x
        for k in range(4):
            y = F.leaky_relu(net.conv(found, f"{name}_{k}", WIDTH // 2), 0.2)
            found = torch.cat([found, y], 1)
        return net.conv(found, f"{name}_4", WIDTH) * 0.2 + x

    first = x = net.conv(x, "head", WIDTH)
    for n in range(DEPTH):
        y = x
        for m in range(3):
            y = dense(y, f"conv_{n}_{m}")
        x = y * 0.2 + x
    x = first + net.conv(x, "trunk", WIDTH)
    for n in range(2):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.leaky_relu(net.conv(x, f"up_{n}", WIDTH), 0.2)
    return net.conv(F.leaky_relu(net.conv(x, "large", WIDTH), 0.2), "pixels", 3)


def discriminator(net, x):
    for n in range(8):
        x = net.conv(x, f"conv_{n}", WIDTH * 2 ** (n // 2), stride=1 + n % 2)
        x = F.leaky_relu(net.norm(x, f"norm_{n}") if n else x, 0.2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    return net.dense(F.leaky_relu(net.dense(x, "dense", 16 * WIDTH), 0.2), "logit", 1)[:, 0]


def unet_discriminator(net, x):
    """Whose singular vectors are those of the drawn weights: a power iteration from ones."""

    def conv(x, name, features, side=3, stride=1):
        kernel = net.get(f"{name}/kernel", side, side, x.shape[1], features)
        matrix = kernel.reshape(-1, features)
        with torch.no_grad():
            right = F.normalize(matrix @ torch.ones(features) / features**0.5, dim=0)
            left = F.normalize(right @ matrix, dim=0)
        kernel = kernel / (right @ (matrix @ left))
        return F.leaky_relu(F.conv2d(x, kernel.permute(3, 2, 0, 1), None, stride, 1), 0.2)

    x = F.leaky_relu(net.conv((x + 1) / 2, "conv_0", WIDTH), 0.2)
    found = [x]
    for n, times in enumerate((2, 4, 8), start=1):
        x = conv(x, f"conv_{n}", times * WIDTH, 4, 2)
        found.append(x)
    for n, same in enumerate(found[-2::-1], start=4):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = conv(x, f"conv_{n}", same.shape[1]) + same
    x = conv(conv(x, "conv_7", WIDTH), "conv_8", WIDTH)
    return net.conv(x, "logits", 1)[:, 0]


def main() -> None:
    golden = {}

    def add(network, outputs):
        outputs.square().sum().backward()
        golden[f"{network.prefix}/outputs"] = outputs.detach().numpy()
        for name, value in network.parameters.items():
            golden[f"{network.prefix}/gradient/{name}"] = summarize(value.grad.numpy())

    for form, scale in FORMS:
        network = Network(f"{form}_{scale}")
        small = (pixels(draw_images(*SHAPE)) + 1) / 2
        images = 2 * globals()[form](network, small, scale) - 1
        add(network, images.permute(0, 2, 3, 1))
    network = Network("discriminator")
    add(network, discriminator(network, pixels(draw_images(2, SIDE, SIDE, 3))))
    network = Network("unet_discriminator")
    add(network, unet_discriminator(network, pixels(draw_images(2, SIDE, SIDE, 3))))
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
