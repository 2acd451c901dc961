"""Makes progressive_torch.npz: Progressive GAN, its losses and gradients in PyTorch, in float64.

pip install torch==2.13.0 numpy
python tests/goldens/progressive_torch.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from progressive_setup import (
    ALPHAS,
    BATCH,
    DRIFT,
    LEVELS,
    PENALTY,
    WIDTH,
    crop,
    draw_inputs,
    draw_weights,
    summarize,
)

torch.set_default_dtype(torch.float64)


class Weights(dict):
    """Tensors in the layout of ganjax, used in that of torch."""

    def scaled(self, name: str, gain: float) -> torch.Tensor:
        kernel = self[f"{name}/kernel"]
        dense = name.endswith(("project", "dense", "score"))
        fan_in = kernel.shape[0] if dense else kernel[..., 0].numel()
        return kernel * (gain / fan_in**0.5)

    def conv(self, x, name, gain=2**0.5):
        kernel = self.scaled(name, gain)
        padding = kernel.shape[0] // 2
        return F.conv2d(x, kernel.permute(3, 2, 0, 1), self[f"{name}/bias"], padding=padding)

    def dense(self, x, name, gain=2**0.5):
        """Over the whole of NCHW `x`, whose weights are ordered H, W, C."""
        x = x.permute(0, 2, 3, 1).flatten(1)
        return x @ self.scaled(name, gain).flatten(1) + self[f"{name}/bias"]


def leaky(x):
    return F.leaky_relu(x, 0.2)


def pixel_norm(x):
    return x / torch.sqrt((x**2).mean(1, keepdim=True) + 1e-8)


def double(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def halve(x):
    return F.avg_pool2d(x, 2)


def generate(w, z, level, alpha):
    x = pixel_norm(z) @ w.scaled("generator/project", 2**0.5 / 4).flatten(1)
    x = x.view(BATCH, 4, 4, WIDTH).permute(0, 3, 1, 2)
    x = pixel_norm(leaky(x + w["generator/project/bias"][None, :, None, None]))
    x = pixel_norm(leaky(w.conv(x, "generator/conv")))
    before = None
    for n in range(1, level + 1):
        before = x
        x = double(x)
        for m in range(2):
            x = pixel_norm(leaky(w.conv(x, f"generator/up_{n}/conv_{m}")))
    image = w.conv(x, f"generator/to_rgb_{level}", 1.0)
    if level:
        coarse = double(w.conv(before, f"generator/to_rgb_{level - 1}", 1.0))
        image = torch.lerp(coarse, image, alpha)
    return image


def criticize(w, images, level, alpha):
    x = leaky(w.conv(images, f"discriminator/from_rgb_{level}"))
    for n in range(level, 0, -1):
        for m in range(2):
            x = leaky(w.conv(x, f"discriminator/down_{n}/conv_{m}"))
        x = halve(x)
        if n == level:
            coarse = leaky(w.conv(halve(images), f"discriminator/from_rgb_{n - 1}"))
            x = torch.lerp(coarse, x, alpha)
    maps = []
    for group in x.split(4):
        deviation = torch.sqrt(group.var(0, unbiased=False) + 1e-8).mean()
        maps.append(deviation.expand(len(group), 1, 4, 4))
    x = torch.cat([x, torch.cat(maps)], 1)
    x = leaky(w.conv(x, "discriminator/conv"))
    x = leaky(w.dense(x, "discriminator/dense"))
    return w.dense(x[:, :, None, None], "discriminator/score", 1.0)[:, 0]


def differentiate(w, loss, role):
    """The gradient by each weight of a network, 0 for those that the resolution does not use."""
    names = [name for name in w if name.startswith(role)]
    gradients = torch.autograd.grad(
        loss, [w[name] for name in names], allow_unused=True, retain_graph=True
    )
    return {
        name: np.zeros(1) if gradient is None else gradient.numpy()
        for name, gradient in zip(names, gradients, strict=True)
    }


def main() -> None:
    w = Weights({k: torch.from_numpy(v).requires_grad_() for k, v in draw_weights().items()})
    golden = {}
    for level in LEVELS:
        inputs = {k: torch.from_numpy(v) for k, v in draw_inputs(level).items()}
        real = inputs["real"].permute(0, 3, 1, 2)
        for alpha in ALPHAS:
            key = f"{level}/{alpha}"
            fake = generate(w, inputs["z"], level, alpha)
            golden[f"{key}/images"] = crop(fake.detach().permute(0, 2, 3, 1).numpy())
            shown = torch.lerp(double(halve(real)), real, alpha) if level else real
            mix = inputs["mix"][:, None, None, None]
            mixed = (shown + mix * (fake.detach() - shown)).requires_grad_()
            real_scores, fake_scores = (
                criticize(w, images, level, alpha) for images in (shown, fake.detach())
            )
            scores = criticize(w, mixed, level, alpha)
            (slope,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
            penalty = (slope.flatten(1).norm(dim=1) - 1) ** 2
            loss = fake_scores - real_scores + PENALTY * penalty + DRIFT * real_scores**2
            golden[f"{key}/loss"] = loss.detach().numpy()
            golden[f"{key}/scores"] = real_scores.detach().numpy()
            generator_loss = -criticize(w, fake, level, alpha).mean()
            gradients = differentiate(w, generator_loss, "generator")
            gradients |= differentiate(w, loss.mean(), "discriminator")
            golden[f"{key}/gradients"] = np.array([summarize(*item) for item in gradients.items()])
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
