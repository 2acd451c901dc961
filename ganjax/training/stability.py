"""Watches a GAN's losses and samples: when its training goes wrong, and what cures it."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

FEW, MANY = 2000, 50_000  # images: below, DiffAugment; from there on, no augmentation
LASTS = 20.0  # kimg that a sign of the discriminator's victory must last,
ROWS = 20  # in so many rows or more,
SHARE = 0.9  # of which this share shows it
SURE = 20.0  # logits by which a discriminator tells real from fake that learns no more
DONE = 1e-3  # the loss of such a one
SHEETS = 3  # in succession that must show a collapse
DIVERSE, SAME = 0.5, 0.2  # of the data's diversity: that of good samples, that of collapsed ones


def advise(config: Any, count: int) -> str:
    """The setting of augmentation for `count` images, in one line; "" where all is well.

    Args:
      config: of a run; one without `augment.policy` has no such settings.
    """
    setting = _augmentation(config, count)
    if not setting:
        return ""
    return (
        f"{count:,} images are so few that a discriminator learns them by heart: "
        f"--config.{setting} helps (docs/little_data.md)"
    )


def _augmentation(config: Any, count: int) -> str:
    fields = config.get("augment", {})
    if "policy" not in fields or count >= MANY:
        return ""
    last = config.cosine.kimg and config.cosine.augment_probability
    if fields.policy or fields.adaptive or fields.probability or last:
        return ""
    if count < FEW:
        return "augment.policy=color,translation,cutout"
    fixed = config.loss in ("relativistic", "least_squares")  # D(x) is not 0 at even odds
    return "augment.probability=0.3" if fixed else "augment.adaptive=True"


class Watch:
    """Reads the rows and sheets of one run in order, and tells each trouble once.

    False alarms are worse than misses: signs must be strong and last.

    Args:
      config: of the run. Only games whose `loss` is a name have logits that are comparable: the
        scores of critics have no scale.
      count: images of the data.
    """

    def __init__(self, config: Any, count: int):
        self._config, self._count = config, count
        self._rows: deque[tuple[float, bool]] = deque()
        loss = config.get("loss")
        self._told_victory = not isinstance(loss, str) or loss == "wasserstein"
        self._told_collapse = False
        self._was_diverse, self._same = False, 0

    def look(self, row: Mapping[str, float]) -> str | None:
        """Takes a row of metrics.jsonl; a line when the discriminator has won, else None."""
        if self._told_victory or not {"logit_real", "logit_fake"} <= row.keys():
            return None
        gap = row["logit_real"] - row["logit_fake"]
        sure = (
            gap > SURE
            or gap > SURE / 2
            and row.get("sign_real", 0) > 0.98
            or abs(row.get("loss_discriminator", 1)) < DONE
        )
        self._rows.append((row["kimg"], sure))
        while len(self._rows) > ROWS and self._rows[1][0] <= row["kimg"] - LASTS:
            self._rows.popleft()
        signs = [sure for _, sure in self._rows]
        lasted = row["kimg"] - self._rows[0][0]
        if len(signs) < ROWS or lasted < LASTS or np.mean(signs) < SHARE:
            return None
        self._told_victory = True
        return (
            f"at {row['kimg']:g} kimg the discriminator has won: for {lasted:g} kimg it has told "
            f"real images from samples without doubt (logits {row['logit_real']:.3g} and "
            f"{row['logit_fake']:.3g}), and the generator learns little from it; {self._cure('')}"
        )

    def compare(self, kimg: float, samples: np.ndarray, real: np.ndarray) -> str | None:
        """Takes a sheet's samples and real images, see `diversity`; a line when they collapse."""
        share = diversity(samples) / max(diversity(real), 1e-6)
        self._was_diverse |= share > DIVERSE
        self._same = self._same + 1 if share < SAME else 0
        # Samples of the first steps are alike, too.
        if self._told_collapse or not self._was_diverse or self._same < SHEETS:
            return None
        self._told_collapse = True
        pack = "model.pack=2" if self._config.get("model", {}).get("pack") == 1 else ""
        return (
            f"at {kimg:g} kimg the samples have collapsed: for {SHEETS} sheets they have differed "
            f"by {100 * share:.0f} % of what real images do; {self._cure(pack)}"
        )

    def _cure(self, own: str) -> str:
        """What to train with instead; `own` helps against the trouble at hand alone."""
        config = self._config
        settings = [own, _augmentation(config, self._count)]
        if "penalties" in config:
            weight = config.penalties.r1_weight
            settings.append(f"penalties.r1_weight={4 * weight if weight else 1:g}")
        elif "learning_rate" in config.get("optimizer", {}):
            settings.append(f"optimizer.learning_rate={config.optimizer.learning_rate / 2:g}")
        if config.get("discriminator_steps", 1) > 1:
            settings.append("discriminator_steps=1")
        flags = " or ".join(f"--config.{setting}" for setting in settings if setting)
        return f"train anew, with {flags}" if flags else "train anew"


def diversity(images: np.ndarray) -> float:
    """The mean distance of two of some images, seen as about 8x8 pixels.

    Args:
      images: [N, H, W, C], uint8 or in [-1, 1].

    Returns:
      The root of a pixel's mean squared difference, averaged over all pairs.
    """
    images = images / 127.5 - 1 if images.dtype == np.uint8 else images
    for axis in (1, 2):
        block = max(images.shape[axis] // 8, 1)
        parts = np.arange(0, images.shape[axis] - block + 1, block)
        images = np.stack([images.take(range(n, n + block), axis).mean(axis) for n in parts], axis)
    rows = np.reshape(images, (len(images), -1)).astype(np.float64)
    squares = np.square(rows[:, None] - rows[None]).mean(-1)
    return float(np.sqrt(squares).sum() / max(len(rows) * (len(rows) - 1), 1))
