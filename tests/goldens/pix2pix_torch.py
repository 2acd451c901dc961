"""Makes pix2pix_torch.npz: pix2pix's networks in PyTorch, float64: outputs and gradients.

pip install torch==2.13.0 numpy
python tests/goldens/pix2pix_torch.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from pix2pix_setup import DOWNS, LAYERS, NORMS, WIDTH, draw, draw_inputs

torch.set_default_dtype(torch.float64)


def pixels(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


class Network:
    """Leaves in ganjax's layout, drawn when they are first asked for."""

    def __init__(self, prefix, norm):
        self.prefix, self.norm, self.parameters = prefix, norm, {}

    def get(self, name, *shape):
        value = torch.from_numpy(draw(f"{self.prefix}/{name}", shape)).requires_grad_()
        self.parameters[name] = value
        return value

    def down(self, x, name, features, side=4, stride=2, padding=1, bias=False):
        kernel = self.get(f"{name}/kernel", side, side, x.shape[1], features)
        bias = self.get(f"{name}/bias", features) if bias else None
        return F.conv2d(x, kernel.permute(3, 2, 0, 1).contiguous(), bias, stride, padding)

    def up(self, x, name, features, bias=False):
        kernel = self.get(f"{name}/kernel", 4, 4, x.shape[1], features)
        bias = self.get(f"{name}/bias", features) if bias else None
        kernel = kernel.permute(2, 3, 0, 1).contiguous()
        return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)

    def normalize(self, x, name):
        if self.norm == "instance":
            return F.instance_norm(x)
        scale, bias = (self.get(f"{name}/{kind}", x.shape[1]) for kind in ("scale", "bias"))
        return F.batch_norm(x, None, None, scale, bias, training=True)


def unet(network, x, level=1):
    """What level - 1 is given: the published recursion, from the outermost level inwards."""
    features = WIDTH * min(2 ** (level - 1), 8)
    above = 3 if level == 1 else WIDTH * min(2 ** (level - 2), 8)
    ends = level in (1, DOWNS)
    y = x if level == 1 else F.leaky_relu(x, 0.2)
    bias = ends and network.norm == "instance"
    y = network.down(y, f"down_{level}", features, bias=bias)
    if not ends:
        y = network.normalize(y, f"down_norm_{level}")
    if level < DOWNS:
        y = torch.cat([y, unet(network, y, level + 1)], 1)
    y = network.up(F.relu(y), f"up_{level}", above, bias=level == 1)
    return torch.tanh(y) if level == 1 else network.normalize(y, f"up_norm_{level}")


def patchgan(network, x, layers):
    def conv(x, n, features, stride, bias):
        side, padding = (4, 1) if layers else (1, 0)
        return network.down(x, f"conv_{n}", features, side, stride, padding, bias)

    strides = [2] * layers + [1] if layers else [1, 1]
    for n, stride in enumerate(strides, start=1):
        x = conv(x, n, WIDTH * min(2 ** (n - 1), 8), stride, bias=n == 1)
        x = F.leaky_relu(x if n == 1 else network.normalize(x, f"norm_{n}"), 0.2)
    last = layers > 0 or network.norm == "instance"
    return conv(x, len(strides) + 1, 1, 1, bias=last)[:, 0]


def main() -> None:
    golden, inputs = {}, draw_inputs()

    def add(network, outputs, loss):
        loss.backward()
        golden[f"{network.prefix}/outputs"] = outputs.detach().numpy()
        for name, value in network.parameters.items():
            golden[f"{network.prefix}/gradient/{name}"] = summarize(value.grad.numpy())

    for norm in NORMS:
        network = Network(f"unet_{norm}", norm)
        images = unet(network, pixels(inputs["images"]))
        outputs = images.permute(0, 2, 3, 1)[:, ::9, ::9]
        add(network, outputs, (images * pixels(inputs["weights"])).sum())
        for layers in LAYERS:
            network = Network(f"patchgan_{norm}_{layers}", norm)
            logits = patchgan(network, pixels(inputs["pairs"]), layers)
            add(network, logits[:, ::3, ::5], logits.square().sum())
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
