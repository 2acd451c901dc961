"""What both sides of the progressive golden start from: weights, images, noise from one seed."""

import numpy as np

BATCH, WIDTH, LATENT, LAST = 8, 16, 16, 6  # up to 256 px
LEVELS, ALPHAS = range(LAST + 1), (0.0, 0.3, 1.0)
PENALTY, DRIFT = 10.0, 1e-3


def features(level: int) -> int:
    return WIDTH if level < 4 else WIDTH >> (level - 3)


def shapes() -> dict[str, tuple[int, ...]]:
    """Every kernel (bias: its last axis) by its path, in a fixed order."""
    w = WIDTH
    kernels = {"generator/project": (LATENT, 4, 4, w), "generator/conv": (3, 3, w, w)}
    kernels |= {"discriminator/conv": (3, 3, w + 1, w), "discriminator/dense": (16 * w, 1, 1, w)}
    kernels["discriminator/score"] = (w, 1, 1, 1)
    for n in LEVELS:
        f = features(n)
        kernels[f"generator/to_rgb_{n}"] = (1, 1, f, 3)
        kernels[f"discriminator/from_rgb_{n}"] = (1, 1, 3, f)
        if n:
            before = features(n - 1)
            kernels[f"generator/up_{n}/conv_0"] = (3, 3, before, f)
            kernels[f"generator/up_{n}/conv_1"] = (3, 3, f, f)
            kernels[f"discriminator/down_{n}/conv_0"] = (3, 3, f, f)
            kernels[f"discriminator/down_{n}/conv_1"] = (3, 3, f, before)
    result = {}
    for name, shape in kernels.items():
        result[f"{name}/kernel"], result[f"{name}/bias"] = shape, shape[-1:]
    return result


def draw_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2018)
    return {
        name: rng.normal(0, 1.0 if name.endswith("kernel") else 0.1, shape)
        for name, shape in shapes().items()
    }


def draw_inputs(level: int) -> dict[str, np.ndarray]:
    """z [B, LATENT], real [B, H, W, 3] and the places of the penalty's mixtures [B]."""
    rng = np.random.default_rng([2018, level])
    side = 4 << level
    return {
        "z": rng.normal(size=(BATCH, LATENT)),
        "real": rng.uniform(-1, 1, (BATCH, side, side, 3)),
        "mix": rng.uniform(size=BATCH),
    }


def crop(images: np.ndarray) -> np.ndarray:
    """A few pixels of [B, H, W, 3], the corners among them."""
    places = np.unique(np.linspace(0, images.shape[1] - 1, 4).astype(int))
    return images[:2][:, places][:, :, places]


def summarize(name: str, gradient: np.ndarray) -> np.ndarray:
    """The norm of a gradient and its product with a fixed direction: float64 [2]."""
    flat = np.asarray(gradient, np.float64).ravel()
    direction = np.random.default_rng(list(name.encode())).normal(size=flat.size)
    return np.array([np.linalg.norm(flat), flat @ direction])
