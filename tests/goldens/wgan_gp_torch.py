"""Makes wgan_gp_torch.npz: train steps of WGAN-GP's ResNets with AC-GAN's classifier, float64.

D pays D(G(z)) - D(x), the penalty of its gradient between x and G(z), and the cross-entropy of x's
attributes; then G meets the new D and pays -D(G(z')) and the cross-entropy of its images.

pip install torch==2.13.0 numpy
python tests/goldens/wgan_gp_torch.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import wgan_gp_setup as setup
from dcgan_setup import summarize
from resnet_gan_setup import Case
from resnet_gan_torch import Parameters, generate, pixels

CASE = Case(
    setup.SIDE, setup.CHANNELS, setup.GENERATOR_WIDTH, setup.WIDTH, sum(setup.SIZES), "attributes"
)


def conv(p, x, name, features, side=3):
    kernel = p.get(f"{name}/kernel", side, side, x.shape[1], features).permute(3, 2, 0, 1)
    return F.conv2d(x, kernel, p.get(f"{name}/bias", features), padding=side // 2)


def discriminate(p, x):
    """Scores [B], and logits of the attributes [B, K]."""
    for n, halves in enumerate((True, True, False, False), start=1):
        y = x if n == 1 else F.relu(x)
        y = conv(p, y, f"block_{n}/conv_0", setup.WIDTH)
        y = conv(p, F.relu(y), f"block_{n}/conv_1", setup.WIDTH)
        if halves:
            y = F.avg_pool2d(y, 2)
            x = F.avg_pool2d(conv(p, x, f"block_{n}/shortcut", setup.WIDTH, 1), 2)
        x = x + y
    h = F.relu(x).mean((2, 3))
    heads = [
        h @ p.get(f"{name}/kernel", setup.WIDTH, size) + p.get(f"{name}/bias", size)
        for name, size in (("logits", 1), ("classes", sum(setup.SIZES)))
    ]
    return heads[0][:, 0], heads[1]


def classification(logits, label):
    parts = torch.split(logits, setup.SIZES, dim=1)
    return sum(F.cross_entropy(part, label[:, n]) for n, part in enumerate(parts))


def main() -> None:
    golden: dict = {}
    g, d = Parameters("wgan_gp/generator", setup.draw), Parameters("wgan_gp/critic", setup.draw)
    for step in range(setup.STEPS):
        inputs = setup.draw_inputs(step)
        real, label = pixels(inputs["image"]), torch.from_numpy(inputs["label"])
        parts = [F.one_hot(label[:, n], size) for n, size in enumerate(setup.SIZES)]
        condition = torch.cat(parts, 1).double()
        z, mix = torch.from_numpy(inputs["z"]), torch.from_numpy(inputs["mix"])

        fake = generate(g, CASE, z[0], condition).detach()
        (scores, logits), (fake_scores, _) = discriminate(d, real), discriminate(d, fake)
        mixed = (real + mix[:, None, None, None] * (fake - real)).requires_grad_()
        (slopes,) = torch.autograd.grad(discriminate(d, mixed)[0].sum(), mixed, create_graph=True)
        penalty = (slopes.square().sum((1, 2, 3)).sqrt() - 1).square().mean()
        wrong = classification(logits, label)
        game = fake_scores.mean() - scores.mean()
        d_loss = game + setup.GRADIENT * penalty + setup.WEIGHTS[0] * wrong
        if not step:
            adams = [
                torch.optim.Adam(p.values(), lr=setup.RATE, betas=(0.0, setup.B2)) for p in (g, d)
            ]
        adams[1].zero_grad()
        d_loss.backward()
        adams[1].step()

        scores, logits = discriminate(d, generate(g, CASE, z[1], condition))
        g_loss = setup.WEIGHTS[1] * classification(logits, label) - scores.mean()
        adams[0].zero_grad()
        g_loss.backward()
        adams[0].step()
        values = {"loss_discriminator": d_loss, "loss_generator": g_loss}
        values |= {"penalty_gradient": penalty, "loss_classifier": wrong}
        golden |= {f"{step}/{name}": value.item() for name, value in values.items()}
    for role, p in (("generator", g), ("discriminator", d)):
        for name, value in p.items():
            change = value.detach().numpy() - setup.draw(f"{p.prefix}/{name}", tuple(value.shape))
            golden[f"{role}/{name}"] = summarize(change)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
