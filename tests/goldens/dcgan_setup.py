"""What both sides of the DCGAN golden start from: weights, images, noise; all from one seed."""

import numpy as np

BATCH, STEPS, RATE, ENTRIES = 3, 3, 1e-2, 16
WIDTHS = (512, 256, 128, 64)


def shapes() -> dict[str, tuple[int, ...]]:
    """Every parameter of the 4x4 form at 64 px by its path, in a fixed order."""
    result = {"generator/project/kernel": (100, 4, 4, 512)}
    for n, (width, after) in enumerate(zip(WIDTHS, (*WIDTHS[1:], 3), strict=True)):
        result[f"generator/norm_{n}/scale"] = result[f"generator/norm_{n}/bias"] = (width,)
        result[f"generator/up_{n + 1}/kernel"] = (4, 4, width, after)
    before = 3
    for n, width in enumerate(reversed(WIDTHS), start=1):
        result[f"discriminator/down_{n}/kernel"] = (4, 4, before, width)
        if n > 1:
            for name in ("scale", "bias"):
                result[f"discriminator/norm_{n}/{name}"] = (width,)
        before = width
    result["discriminator/logits/kernel"] = (4, 4, 512, 1)
    return result


def draw_weights() -> dict[str, np.ndarray]:
    """N(0, 0.02), around 1 for scales; float32 values."""
    rng = np.random.default_rng(2016)
    return {
        name: (rng.normal(0, 0.02, shape) + name.endswith("scale")).astype(np.float32)
        for name, shape in shapes().items()
    }


def draw_batches() -> list[dict[str, np.ndarray]]:
    """For each step real images [B, 64, 64, 3] in [-1, 1], smooth as images are, and z [B, 100]."""
    rng = np.random.default_rng(64)
    batches = []
    for _ in range(STEPS):
        coarse = rng.uniform(-1, 1, (BATCH, 8, 8, 3)).repeat(8, 1).repeat(8, 2)
        image = np.clip(coarse + rng.normal(0, 0.1, coarse.shape), -1, 1)
        z = rng.normal(size=(BATCH, 100))
        batches.append({"image": image.astype(np.float32), "z": z.astype(np.float32)})
    return batches


def summarize(change: np.ndarray) -> np.ndarray:
    """The norm of a tensor and a fixed slice of its entries: float64 [1 + ENTRIES]."""
    flat = np.asarray(change, np.float64).ravel()
    places = np.random.default_rng(flat.size).integers(0, flat.size, ENTRIES)
    return np.concatenate([[np.linalg.norm(flat)], flat[places]])
