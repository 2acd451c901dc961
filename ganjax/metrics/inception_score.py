"""The Inception Score: how sure a classifier is of every image, and how varied its answers are.

Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 4.
"""

import numpy as np
from numpy.typing import ArrayLike

from ganjax.metrics.checks import check_features


def inception_score(
    logits: ArrayLike, *, splits: int = 10, seed: int = 2020
) -> tuple[float, float]:
    """exp(E KL(p(y|x) || p(y))) of each split of the shuffled images.

    The published figures are of the 1008 logits of the Inception network of 2015 without the bias
    of its last layer. The shuffle is torch-fidelity's.

    Args:
      logits: [N, K].
      splits: into how many parts of nearly equal size.
      seed: of the shuffle.

    Returns:
      (mean, standard deviation) over splits; the score is from 1 to K.

    Raises:
      UserError: there are fewer images than splits, or logits are not finite.
    """
    logits = check_features(logits, what="logits", least=splits)
    order = np.random.RandomState(seed).permutation(len(logits))
    bounds = [split * len(logits) // splits for split in range(splits + 1)]
    scores = [
        _score(logits[order[start:stop]].astype(np.float64))
        for start, stop in zip(bounds, bounds[1:], strict=False)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: np.ndarray) -> float:
    # KL(p || q) in the mean is the entropy of q less the mean entropy of p.
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    q = p.mean(axis=0)
    q = q[q > 0]
    return np.exp(np.sum(p * log_p) / len(p) - np.sum(q * np.log(q)))
