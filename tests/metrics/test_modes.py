"""Modes of stacked images, and classes that a model was asked for, by a classifier's word."""

import gzip
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import tasks
from ganjax.data.stacked import Stacked
from ganjax.errors import UserError
from ganjax.evaluation.measure import Program, measure
from ganjax.evaluation.sets import ImageSet, make_generator
from ganjax.metrics import extractors
from ganjax.metrics.modes import FASHION_MNIST, count_modes
from ganjax.metrics.protocols import parse
from ganjax.training import devices
from ganjax.training.state import Trained

CLASSES = len(FASHION_MNIST)


def test_modes_by_hand():
    random = np.random.default_rng(0)
    triples = np.array([[1, 2, 3], [1, 2, 3], [3, 2, 1], [0, 0, 0]])
    logits = random.normal(size=(4, 3, 5))
    np.put_along_axis(logits, triples[..., None], 9.0, axis=2)
    reached, divergence = count_modes(logits)
    shares = {0.5: 1, 0.25: 2}
    wanted = sum(count * p * math.log(p * 5**3) for p, count in shares.items())
    assert reached == 3
    np.testing.assert_allclose(divergence, wanted, rtol=1e-12)
    every = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)
    assert count_modes(np.eye(5)[every]).reached == 125
    np.testing.assert_allclose(count_modes(np.eye(5)[every]).reverse_kl, 0, atol=1e-12)


def _images(count=6) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)


def test_each_channel_is_an_image_of_its_own():
    extractor, images = extractors.load("fashion_mnist"), _images()
    run = jax.jit(extractor.apply)
    logits = run(extractor.variables, images)["logits"].reshape(len(images), 3, CLASSES)
    for channel in range(3):
        gray = np.repeat(images[..., channel : channel + 1], 3, axis=3)
        alone = run(extractor.variables, gray)["logits"].reshape(len(images), 3, CLASSES)
        np.testing.assert_allclose(logits[:, channel], alone[:, 0], atol=1e-4)
        np.testing.assert_allclose(alone[:, 0], alone[:, 2], atol=1e-4)


def _fashion_mnist(folder, count):
    """The first test images as they are, and their classes."""
    pixels, labels = (
        np.frombuffer(gzip.open(folder / "fashion_mnist" / f"t10k-{name}.gz").read()[skip:], "u1")
        for name, skip in (("images-idx3-ubyte", 16), ("labels-idx1-ubyte", 8))
    )
    return pixels.reshape(-1, 28, 28)[:count], labels[:count]


@pytest.mark.slow
def test_the_classifier_in_the_package_is_as_good_as_stated(test_data):
    """In 2,000 test images, and as well where they are stacked with a frame."""
    pixels, labels = _fashion_mnist(test_data, 2000)
    gray = jnp.asarray(np.repeat(pixels[..., None], 3, axis=3))
    framed = jnp.pad(gray, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for name, images in (("fashion_mnist", gray), ("stacked", framed)):
        extractor = extractors.load(name)
        logits = jax.jit(extractor.apply)(extractor.variables, images)["logits"]
        right = np.asarray(logits).reshape(-1, 3, CLASSES).argmax(2) == labels[:, None]
        assert right.mean() > STATED - 0.015, (name, right.mean())


STATED = 0.912  # ganjax/weights/bundled/README.md


def test_stacked_images_are_cut_out_of_their_frame():
    class Ones:
        fields = {"image": None, "label": type("Class", (), {"kind": "class", "names": ("a", "b")})}
        digest = ""

        def __len__(self):
            return 2

        def name(self, index):
            return str(index)

        def load(self, indices, image_size, channels):
            images = np.full((len(indices), *image_size, 1), 255, np.uint8)
            return {"image": images, "label": np.array(indices)}, []

    arrays, _ = Stacked(Ones(), spec="ones", count=2).load([0], (32, 32), 3)
    assert extractors._unframed(arrays["image"]).min() == 255 > arrays["image"].min()


def _set(labels=None) -> ImageSet:
    def batches(count: int, batch_size: int) -> Iterator:
        yield jnp.zeros((batch_size, 2, 2, 3), jnp.uint8), count

    return ImageSet("toys", None, "", (2, 2), batches, classes=labels)


def test_accuracy_is_of_the_classes_that_were_asked_for():
    protocols = parse("accuracy4_fashion_mnist,modes4_stacked")
    assert all(protocol.one_sided and not protocol.lower_is_better for protocol in protocols)
    told = np.array([0, 1, 1, 3])
    logits = np.tile(np.eye(CLASSES, dtype=np.float32)[told], 3)
    programs = {
        (protocol.extractor, ""): Program("", lambda images: {"logits": logits})
        for protocol in protocols
    }
    asked = _set(lambda count: np.array([0, 0, 1, 3])[:count])
    results, _ = measure(protocols, asked, None, programs, batch_size=4, progress=False)
    accuracy, modes = (result.values for result in results)
    assert accuracy["value"] == (0.5 + 1 + 1) / 3 and accuracy["value_t_shirt"] == 0.5
    assert "value_dress" in accuracy and "value_bag" not in accuracy
    assert modes["value"] == 3
    for labels in (None, lambda count: np.full(count, CLASSES)):
        with pytest.raises(UserError, match="is of a model that is asked for 10 classes"):
            measure(protocols, _set(labels), None, programs, batch_size=4, progress=False)


def test_a_conditional_model_says_what_it_was_asked_for():
    config = tasks.module("gan").defaults()
    config.data.labels, config.model.classes = True, CLASSES
    model = tasks.module("gan").model_from_config(config)
    images = make_generator(model, devices.make_mesh((8,)))
    variables = jax.eval_shape(lambda: tasks.make(config).init(jax.random.key(0))).trained
    assert isinstance(variables, Trained)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), variables)
    np.testing.assert_array_equal(images(zeros, 0).classes(12), np.arange(12) % CLASSES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("accuracy5k_fashion", "did you mean accuracy5k_fashion_mnist"),
        ("modes26k", "did you mean modes26k_stacked"),
        ("modes26k_stacked_full", "unknown"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        parse(name)
