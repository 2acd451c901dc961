"""Makes cut_torch.npz: train steps of CUT and of FastCUT in PyTorch, float64.

The step is the published algorithm, written with PyTorch's cross-entropy and layers.

pip install torch==2.13.0 numpy
python tests/goldens/cut_torch.py
"""

from pathlib import Path

import cut_setup as setup
import numpy as np
import torch
import torch.nn.functional as F
from cyclegan_torch import (
    Blur,
    fill,
    in_our_layout,
    leaves,
    make_discriminator,
    make_generator,
    pixels,
)
from dcgan_setup import summarize
from torch import nn

torch.set_default_dtype(torch.float64)


def encode(network, names, x):
    """The outputs of the mirrored border, the convolutions down and the first block."""
    wanted, found = {0, *(names[name] for name in ("down_1", "down_2", "block_1"))}, []
    for number, layer in enumerate(network):
        x = layer(x)
        if number in wanted:
            found.append(x)
    return found


def vectors(heads, features, places):
    found = []
    for mlp, feature, where in zip(heads, features, places, strict=True):
        x = mlp(feature.flatten(2).transpose(1, 2)[:, torch.from_numpy(where)])
        found.append(x / (x.norm(dim=-1, keepdim=True) + 1e-7))
    return found


def nce(queries, keys):
    """Cross-entropy with a positive and a row of negatives, whose own entry is taken out."""
    values = []
    for q, k in zip(queries, keys, strict=True):
        k = k.detach()
        positive = (q * k).sum(-1, keepdim=True)
        negatives = torch.bmm(q, k.transpose(1, 2))
        own = torch.eye(q.shape[1], dtype=torch.bool)[None]
        negatives = negatives.masked_fill(own, -10.0)
        logits = torch.cat([positive, negatives], -1).flatten(0, 1) / 0.07
        values.append(F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)))
    return sum(values) / len(values)


def steps(golden, form):
    """Losses of some steps, and all parameters after them."""
    weight, identity, flip = setup.FORMS[form]
    generator, names = make_generator("antialiased")
    discriminator, judge_names = make_discriminator(blurred=True)
    assert any(isinstance(layer, Blur) for layer in discriminator)
    channels = [3, 2 * setup.WIDTH, 4 * setup.WIDTH, 4 * setup.WIDTH]
    heads = nn.ModuleList(
        nn.Sequential(
            nn.Linear(count, setup.HEAD_WIDTH),
            nn.ReLU(),
            nn.Linear(setup.HEAD_WIDTH, setup.HEAD_WIDTH),
        )
        for count in channels
    )
    found = {
        "generator": leaves(generator, names),
        "discriminator": leaves(discriminator, judge_names),
        "heads": {
            f"{kind}_{n + 1}/{part}": (
                getattr(mlp[place], name),
                (1, 0) if part == "kernel" else (0,),
            )
            for n, mlp in enumerate(heads)
            for kind, place in (("hidden", 0), ("out", 2))
            for part, name in (("kernel", "weight"), ("bias", "bias"))
        },
    }
    for role in setup.ROLES:
        fill(role, found[role])
    adams = [
        torch.optim.Adam(module.parameters(), lr=setup.LEARNING_RATE, betas=(0.5, 0.999))
        for module in (generator, discriminator, heads)
    ]
    adam_g, adam_d, adam_h = adams
    mse = nn.MSELoss()

    def judged(images, real):
        logits = discriminator(images)
        return mse(logits, torch.full_like(logits, float(real)))

    for step in range(setup.STEPS):
        source, target = (pixels(setup.draw_images(f"{side} {step}")) for side in "ab")
        real = torch.cat([source, target]) if identity else source
        images = generator(real.flip(3) if flip else real)
        fake, same = images[: setup.BATCH], images[setup.BATCH :]
        adam_d.zero_grad()
        d_loss = 0.5 * (judged(fake.detach(), False) + judged(target, True))
        d_loss.backward()
        adam_d.step()

        def compare(own, theirs):
            own, theirs = (encode(generator, names, x) for x in (own, theirs))
            places = setup.draw_places(step, [tuple(x.shape[2:]) for x in own])  # noqa: B023
            own = [x.flip(3) for x in own] if flip else own
            return weight * nce(vectors(heads, own, places), vectors(heads, theirs, places))

        terms = {"adversarial": judged(fake, True), "nce": compare(fake, source)}
        total = terms["nce"]
        if identity:
            terms["nce_identity"] = compare(same, target)
            total = 0.5 * (total + terms["nce_identity"])
        adam_g.zero_grad()
        adam_h.zero_grad()
        (terms["adversarial"] + total).backward()
        adam_g.step()
        adam_h.step()
        for name, value in {"discriminator": d_loss, **terms}.items():
            golden[f"{form}/step {step}/loss_{name}"] = value.detach().numpy()
    for role in setup.ROLES:
        for name, (parameter, order) in found[role].items():
            value = np.ascontiguousarray(in_our_layout(parameter, order))
            golden[f"{form}/{role}/{name}"] = summarize(value)


def main() -> None:
    golden = {}
    for form in setup.FORMS:
        steps(golden, form)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)


if __name__ == "__main__":
    main()
