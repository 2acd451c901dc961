"""What the classifier of avatars in the package sees in images, for the benchmarks."""

from collections.abc import Callable, Sequence

import numpy as np


def load_reader() -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Images uint8 [N, H, W, 3] -> attributes int [N, A], -1 where they cannot be seen; for JAX."""
    import jax

    from ganjax.data.avatars import ATTRIBUTES
    from ganjax.data.avatars.occlusion import hide
    from ganjax.metrics import attributes, extractors

    classifier = extractors.load("avatars")
    look = jax.jit(classifier.apply)

    def read(images: Sequence[np.ndarray]) -> np.ndarray:
        parts = np.array_split(np.stack(images), -(-len(images) // 100))
        logits = [np.asarray(look(classifier.variables, part)["logits"]) for part in parts]
        return hide(attributes.predict(np.concatenate(logits), ATTRIBUTES))

    return read
