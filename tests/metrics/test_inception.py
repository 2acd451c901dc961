"""Inception of the FID protocol against torch-fidelity's and pytorch-fid's, with drawn weights."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.metrics import extractors
from ganjax.nets.inception import Inception
from ganjax.weights import keymaps
from ganjax.weights.safetensors import write_safetensors

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

from extractors_setup import BLOCKS, draw, draw_images, summarize  # noqa: E402

TOLERANCE = 1e-4  # relative, as torch-fidelity declares it for features; 1e-6 are reached


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "inception_torch.npz"))


@pytest.fixture(scope="module")
def arrays():
    """A file of the published layout."""
    images = jnp.zeros((1, 75, 75, 3))
    params = jax.eval_shape(Inception().init, jax.random.key(0), images)["params"]
    shapes = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for path, leaf in jax.tree.leaves_with_path(params):
        *layer, kind = (key.key for key in path)
        if kind == "kernel" and layer != ["fc"]:
            prefix, (height, width, inputs, outputs) = ".".join(layer), leaf.shape
            shapes[f"{prefix}.conv.weight"] = (outputs, inputs, height, width)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{prefix}.bn.{part}"] = (outputs,)
    assert len(shapes) == 2 + 5 * 94
    drawn = {name: draw(name, shape) for name, shape in shapes.items()}
    return drawn | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.array(0)}


@pytest.fixture(scope="module")
def parameters(arrays):
    return keymaps.convert("inception", arrays)


@pytest.fixture(scope="module")
def network():
    """Compiled once for all tests, for two images of 299 pixels."""
    apply = jax.jit(Inception().apply)

    def run(params, images):
        # The extractor's own precision: another would be another program.
        with jax.numpy_dtype_promotion("strict"), jax.default_matmul_precision("highest"):
            return apply(params, images)

    return run


@pytest.fixture(scope="module")
def outputs(parameters, network):
    images = (jnp.asarray(draw_images(2, 299, 299), jnp.float32) - 128) / 128
    return network({"params": keymaps.nested(parameters)}, images)


def agree(got, expected) -> None:
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert error < TOLERANCE, f"relative error {error:.1e}"


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block(golden, outputs, block):
    got, expected = summarize(np.asarray(outputs[block])[1]), golden[block]
    agree(got[:1], expected[:1])
    agree(got[1:], expected[1:])


@pytest.mark.parametrize("output", ["features", "logits", "logits_with_bias"])
def test_features_and_logits(golden, outputs, output):
    assert outputs[output].shape == golden[output].shape
    agree(outputs[output], golden[output])


def test_the_bias_tells_the_logits_apart(golden, outputs, arrays):
    bias = outputs["logits_with_bias"] - outputs["logits"]
    np.testing.assert_allclose(bias, np.tile(arrays["fc.bias"], (2, 1)), atol=2e-3)


@pytest.mark.slow
def test_the_protocols_from_small_images_on(golden, parameters, network, tmp_path, monkeypatch):
    """Resizing and range are torch-fidelity's by default, pytorch-fid's on request."""
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    write_safetensors(tmp_path / "inception.safetensors", parameters, {})
    monkeypatch.setattr(Inception, "apply", lambda _, variables, images: network(variables, images))
    images = jnp.asarray(draw_images(2, 48, 40))
    loaded = {
        "tf1": extractors.load("inception"),
        "pytorch": extractors.load("inception", resizing="pytorch"),
    }
    features = {}
    for dialect, extractor in loaded.items():
        outputs = extractor.apply(extractor.variables, images)
        features[dialect] = np.asarray(outputs["features"])
        agree(features[dialect], golden[f"protocol/{dialect}"])
    difference = np.linalg.norm(features["tf1"] - features["pytorch"])
    assert difference > 10 * TOLERANCE * np.linalg.norm(features["tf1"])
    assert loaded["tf1"].digest != loaded["pytorch"].digest


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("Mixed_7c.branch_pool.bn.running_var", (191,), "must have 192 values"),
        ("Mixed_6b.branch7x7_2.conv.weight", (128, 128, 7, 1), "must have the shape"),
    ],
)
def test_other_networks_are_refused(arrays, name, shape, message):
    with pytest.raises(UserError, match=message):
        keymaps.convert("inception", arrays | {name: np.zeros(shape, np.float32)})
