"""Makes pix2pix_step_torch.npz: two train steps of pix2pix in PyTorch, float64.

In the order of the public code: D meets (source, target) and the detached translation, pays half,
and steps; then G meets the new D, with 100 times the L1 distance to the target, and steps.

pip install torch==2.14.1 numpy
python tests/goldens/pix2pix_step_torch.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dcgan_setup import summarize
from pix2pix_setup import draw, draw_pairs
from pix2pix_torch import Network, patchgan, pixels, unet

LAYERS, STEPS = 1, 2


class Trained(Network):
    """Its leaves are drawn once."""

    def get(self, name, *shape):
        known = self.parameters.get(name)
        return super().get(name, *shape) if known is None else known


def judge(logits, real):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


def main() -> None:
    golden, batches = {}, [[pixels(x) for x in draw_pairs(n)] for n in range(STEPS)]
    g, d = Trained("step_unet", "batch"), Trained("step_patchgan", "batch")
    unet(g, batches[0][0])
    patchgan(d, torch.cat(batches[0], 1), LAYERS)  # which draws the leaves
    players = {"generator": g, "discriminator": d}
    adams = {
        role: torch.optim.Adam(network.parameters.values(), lr=2e-4, betas=(0.5, 0.999))
        for role, network in players.items()
    }
    for number, (source, target) in enumerate(batches):
        translation = unet(g, source)
        real = patchgan(d, torch.cat([source, target], 1), LAYERS)
        fake = patchgan(d, torch.cat([source, translation.detach()], 1), LAYERS)
        d_loss = 0.5 * (judge(real, 1.0) + judge(fake, 0.0))
        adams["discriminator"].zero_grad()
        d_loss.backward()
        adams["discriminator"].step()
        fake = patchgan(d, torch.cat([source, translation], 1), LAYERS)
        l1 = F.l1_loss(translation, target)
        g_loss = judge(fake, 1.0) + 100 * l1
        adams["generator"].zero_grad()
        g_loss.backward()
        adams["generator"].step()
        for name, loss in (("generator", g_loss), ("discriminator", d_loss), ("l1", l1)):
            golden[f"{number}/loss_{name}"] = loss.item()
    for role, network in players.items():
        for name, value in network.parameters.items():
            change = value.detach().numpy() - draw(f"{network.prefix}/{name}", tuple(value.shape))
            golden[f"{role}/{name}"] = summarize(change)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
