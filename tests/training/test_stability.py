"""What the watch says of curves and sheets, and that it says nothing of healthy ones."""

import numpy as np
import pytest

from ganjax import tasks
from ganjax.tasks import gan
from ganjax.training.stability import Watch, advise, diversity

RANDOM = np.random.default_rng(0)


def curve(*, gap, loss=0.5, sign=None, kimg=300, every=1.0, noise=0.3):
    """Rows whose values are functions of kimg, with lognormal noise."""
    rows = []
    for at in np.arange(every, kimg + every, every):
        shaken = RANDOM.lognormal(0, noise, 2)
        value = gap(at) * shaken[0] if callable(gap) else gap * shaken[0]
        row = {"kimg": at, "logit_real": value / 2, "logit_fake": -value / 2}
        row["loss_discriminator"] = (loss(at) if callable(loss) else loss) * shaken[1]
        rows.append(row | ({} if sign is None else {"sign_real": sign}))
    return rows


def lines(watch, rows):
    found = [(row["kimg"], watch.look(row)) for row in rows]
    return [(kimg, line) for kimg, line in found if line]


HEALTHY = {
    "DCGAN": curve(gap=8.0, loss=0.3, noise=0.6),
    "hinge": curve(gap=1.5, loss=1.2, sign=0.55),
    "relativistic, D(x) far from 0": [
        row | {"logit_real": row["logit_real"] + 90, "logit_fake": row["logit_fake"] + 90}
        for row in curve(gap=2.0, loss=0.6, sign=1.0)
    ],
    "a start that D wins": curve(
        gap=lambda at: 40 * np.exp(-at / 10) + 4, loss=lambda at: 0.001 if at < 12 else 0.4
    ),
    "spikes": [
        row | ({"logit_real": 80.0, "loss_discriminator": 1e-4} if n % 3 == 0 else {})
        for n, row in enumerate(curve(gap=6.0))
    ],
    "a smoke run": curve(gap=60.0, loss=1e-4, kimg=0.2, every=0.01),
    "no logits": [{"kimg": float(n), "loss_discriminator": 0.0} for n in range(200)],
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_curves_raise_no_alarm(name):
    config = tasks.module("dcgan").defaults()
    assert not lines(Watch(config, 10_000), HEALTHY[name])


@pytest.mark.parametrize(
    ("rows", "earliest"),
    [
        (curve(gap=lambda at: 4 + max(at - 100, 0)), 116),
        (curve(gap=1.0, loss=lambda at: 0.3 if at < 50 else 1e-4), 65),  # least squares
        (curve(gap=lambda at: 2 if at < 50 else 16, sign=0.99, noise=0.1), 65),
    ],
)
def test_the_discriminators_victory_is_told_once(rows, earliest):
    config = gan.defaults()
    config.penalties.r1_weight = 0.5
    ((kimg, line),) = lines(Watch(config, 1500), rows)
    assert earliest <= kimg <= earliest + 30
    assert f"at {kimg:g} kimg the discriminator has won" in line and "\n" not in line
    assert "with --config.augment.policy=color,translation,cutout or " in line
    assert line.endswith("--config.penalties.r1_weight=2 or --config.discriminator_steps=1")


def test_scores_of_critics_have_no_scale():
    critic = tasks.module("gan").defaults()
    critic.loss = "wasserstein"
    for config in (critic, tasks.module("progressive").defaults()):
        assert not lines(Watch(config, 10), curve(gap=500.0, loss=1e-4))


def sheet(modes, contrast=0.5):
    """64 images of so many motifs, with a little noise."""
    motifs = RANDOM.normal(0, contrast, (modes, 16, 12, 3))
    images = motifs[np.arange(64) % modes] + RANDOM.normal(0, 0.02, (64, 16, 12, 3))
    return np.float32(np.clip(images, -1, 1))


def test_a_collapse_is_told_once_and_after_three_sheets():
    watch = Watch(tasks.module("dcgan").defaults(), 10_000)
    real = np.uint8((sheet(64) + 1) * 127.5)
    shown = [sheet(1)] * 5 + [sheet(64)] * 3 + [sheet(1)] * 2 + [sheet(64)] + [sheet(1)] * 6
    found = [watch.compare(20.0 * n, images, real) for n, images in enumerate(shown)]
    (number,) = [n for n, line in enumerate(found) if line]
    assert number == 13 and "at 260 kimg the samples have collapsed" in found[number]
    cures = "--config.model.pack=2 or --config.optimizer.learning_rate=0.0001"
    assert found[number].endswith(f"train anew, with {cures}")


def test_samples_with_less_contrast_are_no_collapse():
    watch = Watch(tasks.module("dcgan").defaults(), 10_000)
    real = np.uint8((sheet(64) + 1) * 127.5)
    shown = [sheet(64), *[sheet(4)] * 4, *[sheet(64, contrast=0.2)] * 4]
    assert not any(watch.compare(20.0, images, real) for images in shown)


def test_diversity_is_the_mean_distance_of_pairs():
    images = np.zeros((3, 16, 24, 1), np.float32)
    images[1], images[2] = 1, -1
    np.testing.assert_allclose(diversity(images), (1 + 1 + 2) / 3)
    np.testing.assert_allclose(diversity(np.uint8((images + 1) * 127.5)), 4 / 3, atol=0.01)
    checks = np.indices((16, 24)).sum(0) % 2 * 2 - 1  # finer than what is looked at
    images += np.float32(checks)[None, ..., None] * np.float32([0, 1, -1])[:, None, None, None]
    np.testing.assert_allclose(diversity(images), 4 / 3)


@pytest.mark.parametrize(
    ("count", "fields", "setting"),
    [
        (300, {}, "augment.policy=color,translation,cutout"),
        (300, {"loss": "relativistic"}, "augment.policy=color,translation,cutout"),
        (9000, {}, "augment.adaptive=True"),
        (9000, {"loss": "relativistic"}, "augment.probability=0.3"),
        (9000, {"loss": "least_squares"}, "augment.probability=0.3"),
        (50_000, {}, ""),
        (300, {"augment.policy": "color"}, ""),
        (300, {"augment.adaptive": True}, ""),
        (300, {"cosine.kimg": 10.0, "cosine.augment_probability": 0.3}, ""),
    ],
)
def test_the_augmentation_for_the_size_of_the_data(count, fields, setting):
    config = gan.defaults()
    config.update_from_flattened_dict(fields)
    line = advise(config, count)
    assert bool(line) == bool(setting) and f"--config.{setting}" in line + "--config."
    if setting:  # which is one that the game takes
        name, _, value = setting.partition("=")
        kinds = {"True": True, "0.3": 0.3}
        config.update_from_flattened_dict({name: kinds.get(value, value)})
        tasks.make(config)
        assert not advise(config, count)


def test_other_games_have_no_such_settings():
    assert not advise(tasks.module("dcgan").defaults(), 300)
    assert not advise(tasks.module("adain").defaults(), 300)
