"""The classifier of attributes: what it sees, learns and tells, and what ships of it."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from ganjax import losses, tasks, weights
from ganjax.commands import export
from ganjax.config import load as load_config
from ganjax.data import avatars
from ganjax.data.avatars import ATTRIBUTES
from ganjax.data.avatars.occlusion import HIDDEN, RULES, hide
from ganjax.errors import UserError
from ganjax.metrics import attributes as metrics
from ganjax.metrics import extractors
from ganjax.nets.attributes import Classifier
from ganjax.tasks import attributes as task_module
from ganjax.training.loop import fit
from ganjax.training.task import Phase
from ganjax.training.workdir import read_metrics

NAMES = list(ATTRIBUTES)
SIZES = [len(values) for values in ATTRIBUTES.values()]
CONFIG = "configs/attributes_avatars.py"
# Of 5,000 test portraits at 32x32, as in ganjax/weights/bundled/README.md.
STATED = {
    "background": 1.0,
    "pattern": 0.971,
    "skin": 0.994,
    "face": 0.833,
    "hair": 0.984,
    "hair_color": 0.987,
    "eyes": 0.704,
    "eye_color": 0.93,
    "gaze": 0.994,
    "brows": 0.72,
    "expression": 0.946,
    "cheeks": 0.818,
    "facial_hair": 0.957,
    "glasses": 0.978,
    "hat": 0.996,
    "hat_color": 0.996,
    "earrings": 0.963,
    "clothes": 0.955,
    "clothes_color": 0.997,
}


def portraits(count, side=32):
    return avatars.render(np.arange(count), (side, side), split="test")


def labels_of(**values):
    """One portrait's labels: the first value of each attribute, but for those that are given."""
    chosen = {name: known[0] for name, known in ATTRIBUTES.items()}
    chosen |= {"hair": "bob", "hat": "cap"} | values
    return np.array([[ATTRIBUTES[name].index(value) for name, value in chosen.items()]], np.int32)


@pytest.mark.parametrize(
    ("values", "hidden"),
    [
        ({}, {"hair"}),
        ({"hat": "headband"}, set()),
        ({"hat": "none"}, {"hat_color"}),
        ({"hat": "none", "hair": "bald"}, {"hat_color", "hair_color"}),
        ({"hat": "headband", "hair": "bald", "facial_hair": "goatee"}, set()),
        ({"hat": "headband", "facial_hair": "beard"}, {"cheeks"}),
        ({"hat": "headband", "glasses": "shades"}, {"eyes", "eye_color", "gaze"}),
        ({"hat": "headband", "eyes": "happy"}, {"eye_color", "gaze"}),
        ({"hat": "headband", "eyes": "wink"}, set()),
    ],
)
def test_hidden_attributes_are_these(values, hidden):
    labels = labels_of(**values)
    for array in (labels, jnp.asarray(labels)):
        result = hide(array)
        assert type(result) is type(array) and result.dtype == np.int32
        found = {name for name, value in zip(NAMES, result[0], strict=True) if value == HIDDEN}
        assert found == hidden
        np.testing.assert_array_equal(np.where(result < 0, labels, result), labels)


@pytest.mark.slow
def test_what_is_hidden_leaves_no_trace_and_what_is_not_does():
    """By painting the same portraits with every other value of an attribute."""
    count = 64
    base = portraits(count)
    hidden = hide(base["label"]) == HIDDEN

    def changes(name):
        """The least change of the picture that another value makes, in gray levels x pixels."""
        number, least = NAMES.index(name), np.full(count, np.inf)
        for index, value in enumerate(ATTRIBUTES[name]):
            other = avatars.render(
                np.arange(count), (32, 32), split="test", overrides={name: value}
            )["image"]
            change = np.abs(np.float32(other) - base["image"]).sum((1, 2, 3))
            same = base["label"][:, number] == index
            least = np.minimum(least, np.where(same, np.inf, change))
        return least, hidden[:, number]

    for name in ("eye_color", "gaze", "hat_color"):
        least, unseen = changes(name)
        assert least[unseen].max() < 10 and least[~unseen].min() > 200, name
    for name in ("hair", "hair_color", "cheeks"):  # hard to tell, if not without a trace
        least, unseen = changes(name)
        assert np.quantile(least[unseen], 0.25) < 0.25 * np.median(least[~unseen]), name
    assert {name for name, _ in RULES} == {NAMES[k] for k in np.flatnonzero(hidden.any(axis=0))}


def test_cross_entropy_is_its_formula():
    random = np.random.default_rng(0)
    sizes, count = (3, 2, 4), 6
    logits = random.normal(0, 3, (count, 9))
    labels = np.stack([random.integers(-1, size, count) for size in sizes], axis=1)
    assert (labels < 0).any()
    expected, right = np.zeros(count), np.zeros((count, 3), bool)
    for row, column in product(range(count), range(3)):
        own = logits[row, sum(sizes[:column]) :][: sizes[column]]
        if labels[row, column] >= 0:
            expected[row] -= own[labels[row, column]] - np.log(np.exp(own).sum())
        right[row, column] = own.argmax() == labels[row, column]
    with jax.numpy_dtype_promotion("strict"):
        arrays = jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.int32)
        got, got_right = jax.jit(losses.attribute_cross_entropy, static_argnums=2)(*arrays, sizes)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got_right, right)


@pytest.mark.slow
def test_disturbances_are_small_and_another_for_every_image_and_step():
    images = jnp.asarray(portraits(8)["image"]) / 127.5 - 1
    disturb = jax.jit(task_module.disturb)
    np.testing.assert_array_equal(disturb(jax.random.key(0), images, 0.0), images)
    one = disturb(jax.random.key(0), images, 1.0)
    other = disturb(jax.random.key(1), images, 1.0)
    change = np.abs(one - images).mean((1, 2, 3))
    assert np.all(change > 0.01) and np.all(change < 0.3) and len(set(change.tolist())) == 8
    assert not np.array_equal(one, other)
    # A single bright pixel stays within one pixel of where it was, whole but for noise and tone.
    spot = jnp.zeros((64, 9, 9, 3)).at[:, 4, 4].set(1000.0)
    moved = disturb(jax.random.key(2), spot, 1.0)
    np.testing.assert_allclose(moved[:, 3:6, 3:6].sum((1, 2)), 1000, atol=5)
    centers = jnp.einsum("bhwc,h->bc", moved[:, 3:6, 3:6], jnp.arange(3.0) - 1)[:, 0] / 1000
    assert centers.min() < -0.8 and centers.max() > 0.8


def make_small(**options):
    options = {"optimizer": optax.adam(1e-2), "disturbance": 0.5} | options
    phases = (Phase("train", 1, 16, (32, 32)),)
    return task_module.make(Classifier(sum(SIZES), 8, 32), SIZES, hide, phases=phases, **options)


@pytest.mark.slow
def test_a_step_learns_from_what_can_be_seen_alone():
    task = make_small()
    batch = {k: jnp.asarray(v) for k, v in portraits(16).items() if k != "mask"}
    step = jax.jit(task.train_step)
    state = start = jax.jit(task.init)(jax.random.key(0))
    _, first = step(start, batch, jax.random.key(0))
    guesses = np.mean([np.log(SIZES)[seen].sum() for seen in np.asarray(hide(batch["label"]) >= 0)])
    np.testing.assert_allclose(first["loss_classifier"], guesses, rtol=0.25)
    for number in range(20):
        state, last = step(state, batch, jax.random.key(number))
    assert last["loss_classifier"] < 0.8 * first["loss_classifier"]
    assert last["accuracy"] > first["accuracy"] + 0.1
    # Other colors of hats that are not there.
    bare = batch["label"][:, NAMES.index("hat")] == 0
    colors = batch["label"][:, NAMES.index("hat_color")]
    for rows, same in ((bare, True), (~bare, False)):
        changed = jnp.where(rows, (colors + 1) % 6, colors)
        label = batch["label"].at[:, NAMES.index("hat_color")].set(changed)
        _, again = step(start, batch | {"label": label}, jax.random.key(0))
        assert (float(again["loss_classifier"]) == float(first["loss_classifier"])) == same


@pytest.mark.slow
def test_what_ships_is_small_and_right():
    path = weights.BUNDLED / "attributes_avatars.safetensors"
    assert path.stat().st_size <= 1_000_000
    extractor = extractors.load("avatars")
    shapes = jax.eval_shape(
        Classifier(sum(SIZES)).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))
    )
    assert jax.tree.map(np.shape, extractor.variables) == jax.tree.map(np.shape, shapes)
    run = jax.jit(extractor.apply)
    for side in (32, 64):
        real = portraits(200, side)
        with jax.numpy_dtype_promotion("strict"):
            out = run(extractor.variables, jnp.asarray(real["image"]))
        assert out["features"].shape == (200, 128) and out["logits"].shape == (200, sum(SIZES))
        assert all(value.dtype == jnp.float32 for value in out.values())
        predicted = metrics.predict(np.asarray(out["logits"]), ATTRIBUTES)
        shares = metrics.accuracy(predicted, hide(real["label"]), ATTRIBUTES)
        for name, stated in STATED.items():
            # Three standard deviations of a share of 200.
            margin = 3 * (stated * (1 - stated) / 200) ** 0.5 + 0.01
            assert shares[name] > stated - margin, (side, name, shares[name])
        assert abs(np.mean(list(shares.values())) - np.mean(list(STATED.values()))) < 0.02


TOY = {"hat": ("none", "cap", "beret"), "smile": ("no", "yes")}


def test_predictions_and_accuracy_by_hand():
    logits = np.array([[0, 2, 1, 5, 4], [3, 0, 0, -1, 0], [0, 0, 1, 0, 9.0]])
    predicted = metrics.predict(logits, TOY)
    np.testing.assert_array_equal(predicted, [[1, 0], [0, 1], [2, 1]])
    labels = np.array([[1, 1], [0, -1], [-1, 1]])
    assert metrics.accuracy(predicted, labels, TOY) == {"hat": 1.0, "smile": 0.5}
    labels[:, 0] = -1
    assert metrics.accuracy(predicted, labels, TOY) == {"smile": 0.5}
    with pytest.raises(UserError, match=r"give \[N, 5\]"):
        metrics.predict(logits[:, :4], TOY)
    with pytest.raises(UserError, match="3 predictions, but 2 labels"):
        metrics.accuracy(predicted, labels[:2], TOY)


def test_coverage_by_hand():
    groups = {"both": ("hat", "smile"), "hats": ("hat",)}
    real = np.array([[0, 0], [0, 1], [1, 0], [-1, 1]])
    collapsed = np.array([[1, 0], [1, 0], [1, 0], [1, 1]])
    found = metrics.coverage(collapsed, real, TOY, groups=groups)
    assert found == {"both": metrics.Coverage(2, 4), "hats": metrics.Coverage(1, 3)}
    assert found["both"].share == 0.5
    assert metrics.coverage(real, real, TOY, groups=groups)["both"].share == 1
    # Half as many generated images: of the real ones, the mean over all pairs of them.
    pairs = [(a, b) for a, b in product(range(4), range(4)) if a < b]
    mean = np.mean([len({real[a, 0], real[b, 0]}) for a, b in pairs])
    found = metrics.coverage(collapsed[:2], real, TOY, groups=groups)
    np.testing.assert_allclose([found["hats"].generated, found["hats"].real], [1, mean], rtol=1e-14)
    with pytest.raises(UserError, match="N > 0"):
        metrics.coverage(real[:0], real, TOY, groups=groups)
    assert {name for group in metrics.GROUPS.values() for name in group} <= set(NAMES)


def test_histogram_distances_by_hand():
    real = np.array([[0, 0], [0, 1], [1, 0], [-1, 1]])
    collapsed = np.array([[1, 0], [1, 1]])
    found = metrics.histogram_distances(collapsed, real, TOY)
    assert found == {"hat": 0.75, "smile": 0.0}
    assert metrics.histogram_distances(real, real, TOY) == {"hat": 0.0, "smile": 0.0}
    with pytest.raises(UserError, match=r"give \[N, 2\]"):
        metrics.histogram_distances(real[:, :1], real, TOY)


def test_collapse_shows_in_every_figure_of_real_portraits():
    labels = hide(avatars.draw_attributes(np.arange(2000)))
    other = hide(avatars.draw_attributes(np.arange(2000), seed=1))
    collapsed = labels[np.arange(2000) % 50]
    for values, low, high in ((other, 0.95, 1.05), (collapsed, 0, 0.75)):
        shares = [cover.share for cover in metrics.coverage(values, labels, ATTRIBUTES).values()]
        assert low <= min(shares) and max(shares) <= high, shares
    distances = [metrics.histogram_distances(v, labels, ATTRIBUTES) for v in (other, collapsed)]
    assert max(distances[0].values()) < 0.06 < np.mean(list(distances[1].values()))


@pytest.mark.slow
def test_the_smoke_run_trains_and_exports(tmp_path):
    """By the one loop, on the labels of the pipeline."""
    small = ["--config.model.width=8", "--config.total_kimg=0.048", "--config.data.limit=32"]
    small.append(f"--config.data.cache_dir={tmp_path / 'cache'}")
    config = load_config(f"{CONFIG}:smoke", small)
    state = fit(tasks.make(config), tasks.make_data(config), config, tmp_path / "run")
    assert int(state.images) == 48
    assert not (tmp_path / "run" / "samples").exists()
    output = tmp_path / "a.safetensors"
    export.main(["--workdir", str(tmp_path / "run"), "--output", str(output)])
    like = state.averages["classifier"]["params"]
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-7), weights.load(str(output)), like
    )


def test_a_class_is_learned_like_an_attribute(tmp_path):
    """Of gray images in folders; their number must be that of the config."""
    random = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "data" / ("dark", "bright")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 100, (28, 28), dtype=np.uint8) + 150 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    words = [f"--config.data.source=folder:{tmp_path / 'data'}", "--config.model.width=4"]
    words += ["--config.model.classes=2", "--config.batch_size=8", "--config.total_kimg=0.24"]
    config = load_config("configs/classify_fashion_mnist.py", words)
    config.log_every, config.data.cache_dir = 0.008, str(tmp_path / "cache")
    fit(tasks.make(config), tasks.make_data(config), config, tmp_path / "run", fill=tasks.fill)
    rows = read_metrics(tmp_path / "run")
    assert np.mean([row["accuracy"] for row in rows[-5:]]) > 0.9 and len(rows) == 30
    config.model.classes = 3
    with pytest.raises(UserError, match="has 2 classes; set model.classes to 2"):
        tasks.make_data(config)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.data.source=folder:x"], "avatars have the attributes"),
        (["--config.data.image_size=64"], "set data.image_size=32"),
        (["--config.data.flip=True"], "set data.flip=False"),
        (["--config.data.labels=False"], "data.labels=True"),
        (["--config.model.features=0"], "must be 1 or more"),
        (["--config.disturbance=2.0"], "disturbance is 2.0"),
    ],
)
def test_impossible_configs(words, message):
    with pytest.raises(UserError, match=message):
        tasks.make(load_config(CONFIG, words))
