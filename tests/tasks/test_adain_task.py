"""AdaIN's game: its losses by their formulas, what it trains and keeps, its samples, its resume."""

import os
import re
import signal
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from toys import toy_perceive, toy_stylizer

from ganjax import tasks
from ganjax.augment import move
from ganjax.config import with_variants
from ganjax.errors import UserError
from ganjax.images import to_float
from ganjax.nets import stylizers, vgg, vgg16
from ganjax.outputs import write_image
from ganjax.tasks import adain
from ganjax.training.loop import Interrupted, fit
from ganjax.training.task import Phase
from ganjax.weights import networks
from ganjax.weights.safetensors import write_safetensors

PHASES = (Phase("train", 0.032, 4, (16, 16)),)  # 8 steps
LAYERS = ("relu1_1", "relu2_1")


def make_toy(**options):
    options = {
        "optimizer": optax.sgd(0.01),
        "phases": PHASES,
        "content_layers": ("relu2_1",),
        "style_layers": LAYERS,
    } | options
    return adain.make(toy_stylizer(), toy_perceive, **options)


def draw_batch(size=16, count=4, seed=0):
    random = np.random.default_rng(seed)
    smooth = random.uniform(0, 255, (2, count, 4, 4, 3)).repeat(size // 4, 2).repeat(size // 4, 3)
    noise = random.uniform(-20, 20, smooth.shape)
    content, style = np.uint8(np.clip(smooth + noise, 0, 255))
    return {"content": content, "style": style}


def moments(x, eps=1e-5):
    return x.mean((1, 2), keepdims=True), np.sqrt(x.var((1, 2), keepdims=True) + eps)


def moved(content, style):
    (mean, std), (style_mean, style_std) = moments(content), moments(style)
    return (content - mean) / std * style_std + style_mean


def looked_up(image, flow):
    """What is at pixels plus their flow, bilinearly; and where that is inside."""
    sides = np.array(image.shape[:2]) - 1
    places = np.stack(np.indices(image.shape[:2]), -1) + flow
    inside = np.all((0 <= places) & (places <= sides), -1)
    places = np.clip(places, 0, sides)
    found = 0
    for corner in np.ndindex(2, 2):
        at = np.minimum(np.floor(places).astype(int) + corner, sides)
        share = np.prod(np.maximum(0, 1 - np.abs(np.floor(places) + corner - places)), -1)
        found = found + share[..., None] * image[at[..., 0], at[..., 1]]
    return found, inside


def toy_terms(params, batch, rng):
    """The losses of one batch in float64, before they are weighed."""
    content, style = (np.float64(batch[k]) / 127.5 - 1 for k in ("content", "style"))

    def stylize(images, style):
        return moved(images * params["gain"], style * params["tone"]) + params["bias"] * images

    def gram(x):
        flat = x.reshape(len(x), -1, x.shape[-1])
        return np.einsum("bpi,bpj->bij", flat, flat) / flat.shape[1]

    images, same = stylize(content, style), stylize(content[:1], content[:1])
    seen, wanted, own, back = (toy_perceive(x, LAYERS) for x in (images, style, content, same))
    target = moved(own["relu2_1"], wanted["relu2_1"])
    style_term = 0
    for name in LAYERS:
        for a, b in zip(moments(seen[name]), moments(wanted[name]), strict=True):
            style_term += ((a - b) ** 2).mean()
    got, gram_wanted = gram(seen["relu1_1"]), gram(wanted["relu1_1"])
    error = ((got - gram_wanted) ** 2).mean((1, 2)) / ((gram_wanted**2).mean((1, 2)) + 1e-5)
    identity = ((same - content[:1]) ** 2).mean()
    identity += 0.1 * ((back["relu2_1"] - own["relu2_1"][:1]) ** 2).mean()
    second, flow = map(np.float64, move(jax.random.fold_in(rng, 1), jnp.float32(content)))
    found, inside = map(np.stack, zip(*map(looked_up, images, flow), strict=True))
    gap = np.abs(found - stylize(second, style)).mean(-1)
    return {
        "content": ((seen["relu2_1"] - target) ** 2).mean(),
        "style": style_term,
        "covariance": error.mean(),
        "identity": identity,
        "motion": (inside * gap).mean(),
    }


WEIGHTS = {"content": 1.5, "style": 7.0, "covariance": 3.0, "identity": 2.0, "motion": 4.0}


@pytest.mark.slow
@pytest.mark.parametrize("weights", [WEIGHTS, {"content": 0.5, "style": 10.0}])
def test_losses_and_gradients_are_their_formulas(weights):
    batch = draw_batch()
    options = {f"{name}_weight": weight for name, weight in weights.items()}
    task = make_toy(covariance_layers=("relu1_1",), **options)
    before = task.init(jax.random.key(0))
    after, metrics = jax.jit(task.train_step)(before, batch, jax.random.key(1))
    params = {k: float(v) for k, v in before.networks["stylizer"].params.items()}

    def terms(params):
        found = toy_terms(params, batch, jax.random.key(1))
        return {k: weights[k] * v for k, v in found.items() if k in weights}

    assert set(metrics) == {f"loss_{name}" for name in weights} | {"grad_norm_stylizer"}
    for name, value in terms(params).items():
        np.testing.assert_allclose(metrics[f"loss_{name}"], value, rtol=1e-4)
    slopes = {}
    for name in params:
        high, low = (sum(terms(params | {name: params[name] + h}).values()) for h in (1e-5, -1e-5))
        slopes[name] = (high - low) / 2e-5
        change = float(after.networks["stylizer"].params[name]) - params[name]
        np.testing.assert_allclose(change, -0.01 * slopes[name], rtol=2e-3, atol=1e-6)
    norm = np.linalg.norm(list(slopes.values()))
    np.testing.assert_allclose(metrics["grad_norm_stylizer"], norm, rtol=1e-3)


@pytest.mark.slow
def test_images_may_be_float_and_several_layers_may_hold_the_content():
    batch = draw_batch()
    task = make_toy()
    state = task.init(jax.random.key(0))
    step = jax.jit(task.train_step)
    expected = step(state, batch, jax.random.key(1))[1]["loss_content"]
    floats = {name: to_float(images) for name, images in batch.items()}
    np.testing.assert_allclose(
        step(state, floats, jax.random.key(1))[1]["loss_content"], expected, rtol=1e-5
    )
    both = make_toy(content_layers=LAYERS)
    value = jax.jit(both.train_step)(state, batch, jax.random.key(1))[1]["loss_content"]
    params = {k: float(v) for k, v in state.networks["stylizer"].params.items()}
    content, style = (np.float64(floats[k]) for k in ("content", "style"))
    image = moved(content * params["gain"], style * params["tone"]) + params["bias"] * content
    first = ((image - moved(content, style)) ** 2).mean()
    np.testing.assert_allclose(value, expected + first, rtol=1e-4)


@pytest.mark.slow
def test_varied_styles_are_others_in_each_step():
    batch = draw_batch()
    plain, varied = make_toy(), make_toy(vary=True)
    state = plain.init(jax.random.key(0))
    step = jax.jit(varied.train_step)
    losses = [float(step(state, batch, jax.random.key(n))[1]["loss_style"]) for n in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.slow
def test_the_average_has_its_half_life():
    task = make_toy(ema_half_life=40.0)
    state = task.init(jax.random.key(0)).replace(images=jnp.int32(10**6))
    after, _ = jax.jit(task.train_step)(state, draw_batch(), jax.random.key(1))
    decay = 0.5 ** (4 / 40)
    for name, new in after.networks["stylizer"].params.items():
        old = state.averages["stylizer"]["params"][name]
        got = after.averages["stylizer"]["params"][name]
        np.testing.assert_allclose(got - new, decay * (old - new), rtol=1e-3, atol=1e-7)


def test_samples_are_styles_then_each_content_in_every_style():
    def paint(params, images, transfer):  # tells which content, which style and which parameters
        return images * 0.5 + transfer(0, images) * 0.25 + params["bias"]

    task = adain.make(
        toy_stylizer()._replace(stylize=paint),
        toy_perceive,
        optimizer=optax.sgd(0.1),
        phases=PHASES,
        content_layers=LAYERS[:1],
        style_layers=LAYERS,
    )
    state = task.init(jax.random.key(0))
    average = {"params": {"gain": 1.0, "tone": 1.0, "bias": jnp.float32(0.05)}}
    state = state.replace(averages={"stylizer": average})
    values = np.arange(8)
    flat = np.broadcast_to(values[:, None, None, None], (8, 16, 16, 3))
    inputs = {"content": np.uint8(flat * 8), "style": np.uint8(flat * 20 + 90)}
    samples = np.asarray(jax.jit(task.model.sheet)(state.trained, inputs, jax.random.key(0)))
    side = adain.SHEET_SIDE
    assert samples.shape == (1 + side, 1 + side, 16, 16, 3)
    grid = samples[:, :, 3, 3, 0]
    contents, styles = (to_float(inputs[k][:side, 0, 0, 0]) for k in ("content", "style"))
    assert grid[0, 0] == 1
    np.testing.assert_allclose(grid[0, 1:], styles, atol=1e-6)
    np.testing.assert_allclose(grid[1:, 0], contents, atol=1e-6)
    expected = 0.5 * contents[:, None] + 0.25 * styles[None] + 0.05  # of flat images
    np.testing.assert_allclose(grid[1:, 1:], expected, atol=1e-5)
    few = {k: v[:2] for k, v in inputs.items()}
    assert jax.eval_shape(task.model.sheet, state.trained, few, None).shape[:2] == (3, 3)
    # Row n of a sample is content n in style n.
    drawn = jax.jit(task.model.sample)(state.trained, inputs, jax.random.key(0))["samples"]
    assert drawn.shape == (8, 16, 16, 3)
    np.testing.assert_allclose(drawn[:side, 3, 3, 0], np.diag(expected), atol=1e-5)


@cache
def compact_params():
    """Random parameters of the compact model; compiling its own `init` takes long."""
    random = np.random.default_rng(5)

    def draw(like):
        deviation = (2 / np.prod(like.shape[:-1])) ** 0.5 if len(like.shape) > 1 else 0.01
        return random.normal(scale=deviation, size=like.shape).astype(np.float32)

    shapes = jax.eval_shape(lambda: stylizers.make_compact(8).init(jax.random.key(0)))
    return jax.tree.map(draw, shapes)


def make_compact(**options):
    task = adain.make(
        stylizers.make_compact(8),
        networks.perceptual(["random:relu1_1,relu2_1"])[0],
        optimizer=optax.adam(3e-3),
        phases=PHASES,
        content_layers=("relu2_1",),
        style_layers=LAYERS,
        ema_half_life=20.0,
        **options,
    )
    start = compact_params()
    return task._replace(init=lambda rng: task.init(rng).started_from("stylizer", start))


def test_each_content_of_a_group_meets_each_style_of_the_group():
    """The step of a batch in two groups is that of all their pairs, written out."""
    batch, rows = draw_batch(), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3)]
    content, style = (list(column) for column in zip(*rows, strict=True))
    pairs = {"content": batch["content"][content], "style": batch["style"][style]}
    results = []
    for given, group in ((batch, 2), (pairs, 1)):
        task = make_toy(group=group, covariance_layers=LAYERS, covariance_weight=0.5)
        state, metrics = jax.jit(task.train_step)(task.init(None), given, jax.random.key(0))
        results.append((state.networks["stylizer"].params, metrics))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *results)
    alone = jax.jit(make_toy().train_step)(make_toy().init(None), batch, jax.random.key(0))[1]
    assert abs(alone["loss_style"] - results[0][1]["loss_style"]) > 1e-3


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
    """The networks are traced only: CPUs take minutes for what they lack arithmetic for."""
    task = make_compact(dtype=jnp.bfloat16)
    state = jax.eval_shape(task.init, jax.random.key(0))
    batch = {k: jax.ShapeDtypeStruct((2, 32, 32, 3), np.uint8) for k in ("content", "style")}
    step = jax.jit(task.train_step).trace(state, batch, jax.random.key(0))
    convolutions = re.findall(r":(\w+)\[[\d,]*\] = conv_general_dilated", str(step.jaxpr))
    assert len(convolutions) > 50 and set(convolutions) == {"bf16"}
    state, _ = step.out_info
    floats = [x.dtype for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert set(floats) == {jnp.dtype(jnp.float32)}

    results = []
    for dtype in (jnp.float32, jnp.bfloat16):
        toy = make_toy(dtype=dtype, identity_weight=2.0)
        _, metrics = jax.jit(toy.train_step)(toy.init(None), draw_batch(), jax.random.key(0))
        assert {value.dtype for value in metrics.values()} == {jnp.dtype(jnp.float32)}
        results.append(metrics)
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=0.03, err_msg=name)


@pytest.mark.slow
def test_the_compact_model_learns_a_batch():
    task = make_compact()
    state = jax.jit(task.init)(jax.random.key(0))
    start = jax.device_get(state)
    step = jax.jit(task.train_step)
    batch, history = draw_batch(32, 2), []
    for number in range(30):
        state, metrics = step(state, batch, jax.random.key(0))
        state = state.replace(step=state.step + 1, images=state.images + 2 + 100 * (number == 9))
        history.append({name: float(value) for name, value in metrics.items()})
    assert all(np.isfinite(list(row.values())).all() for row in history)
    totals = [sum(v for k, v in row.items() if k.startswith("loss_")) for row in history]
    assert np.mean(totals[-5:]) < 0.5 * np.mean(totals[:5])
    assert history[-1]["loss_style"] < 0.5 * history[0]["loss_style"]
    old, new = start.networks["stylizer"].params, state.networks["stylizer"].params
    average = state.averages["stylizer"]["params"]
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: np.any(a != b), old, new)))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: np.any(a != b), average, new)))


def make_config(**fields) -> ConfigDict:
    config = with_variants(adain.defaults(), "smoke", {"smoke": adain.SMOKE})
    config.model.form, config.model.width = "compact", 8
    config.data.image_size = "32"
    config.update_from_flattened_dict(fields)
    return config


def shapes_of(tree):
    return jax.tree.map(lambda x: x.shape, tree)


@pytest.mark.slow
def test_the_published_form_trains_a_decoder_and_nothing_else():
    task = tasks.make(make_config(**{"model.form": "vgg19"}))
    state = jax.eval_shape(task.init, jax.random.key(0))
    decoder = vgg.Decoder(first="relu4_1").init
    wanted = jax.eval_shape(decoder, jax.random.key(0), jnp.zeros((1, 4, 4, 512)))["params"]
    assert shapes_of(state.networks["stylizer"].params) == shapes_of(wanted)
    batch = {k: jax.ShapeDtypeStruct((4, 32, 32, 3), np.uint8) for k in ("content", "style")}
    after, metrics = jax.eval_shape(task.train_step, state, batch, jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert set(metrics) == {"loss_content", "loss_style", "grad_norm_stylizer"}


@pytest.mark.slow
def test_the_published_form_on_vgg16(tmp_path):
    """A decoder as on VGG-19, from features of VGG-16; each form takes its own network only."""
    module, images = vgg16.VGG16(dense=False), jnp.zeros((1, 32, 32, 3))
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    params = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)
    path = tmp_path / "sixteen.safetensors"
    write_safetensors(path, flatten(params), {})
    encoder = {"model.encoder": str(path)}
    task = tasks.make(make_config(**encoder, **{"model.form": "vgg16"}))
    state = jax.eval_shape(task.init, jax.random.key(0))
    decoder = state.networks["stylizer"].params
    assert sum(x.size for x in jax.tree.leaves(decoder)) == 3_505_219
    with pytest.raises(UserError, match="sixteen.safetensors is no vgg19; choose another"):
        tasks.make(make_config(**encoder, **{"model.form": "vgg19"}))


def flatten(params):
    leaves = jax.tree.leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(x, np.float16)
        for path, x in leaves
    }


@pytest.mark.slow
def test_init_from_starts_from_given_weights_in_float32(tmp_path):
    path = tmp_path / "earlier.safetensors"
    params = compact_params()
    write_safetensors(path, flatten(params), {})
    config = make_config(init_from=str(path))
    task, start = tasks.make(config), tasks.make_start(config)
    state = jax.jit(lambda rng: start(task.init(rng)))(jax.random.key(0))
    started = state.networks["stylizer"].params
    assert {x.dtype for x in jax.tree.leaves(started)} == {jnp.dtype(jnp.float32)}
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.float16(b)), started, params)
    average = state.averages["stylizer"]["params"]
    jax.tree.map(np.testing.assert_array_equal, average, started)


@pytest.mark.slow
def test_init_from_another_network_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    write_safetensors(path, flatten(compact_params()), {})

    def start(**fields):
        config = make_config(**fields)
        task = tasks.make(config)
        jax.eval_shape(lambda rng: tasks.make_start(config)(task.init(rng)), jax.random.key(0))

    message = "hold another network: .* has shape .*, but .* in the model"
    with pytest.raises(UserError, match=message):
        start(init_from=str(path), **{"model.width": 4})
    with pytest.raises(UserError, match="hold another network"):
        start(init_from=str(path), **{"model.form": "vgg19"})
    with pytest.raises(UserError, match="absent.safetensors do not exist"):
        start(init_from="absent.safetensors")


def test_losses_look_through_vgg16(tmp_path):
    module, images = vgg16.VGG16(dense=False, width=2), jnp.zeros((1, 24, 16, 3))
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    path = tmp_path / "narrow.safetensors"
    write_safetensors(path, flatten(params), {})
    perceive, layers = networks.perceptual([f"{path}:relu1_2,relu2_1"])
    assert layers == ("relu1_2", "relu2_1")
    # Ones see 3 colors of 1/2 (and a bias of 1) in 9 places: 2.5 * 27 + 1, then 2 channels of that.
    first = 9 * 2.5 * 3 + 1
    features = jax.jit(perceive, static_argnums=1)(images, layers)
    np.testing.assert_allclose(features["relu1_2"][0, 2:-2, 2:-2], 9 * 2 * first + 1, rtol=1e-6)
    assert features["relu2_1"].shape == (1, 12, 8, 4)
    assert set(jax.eval_shape(lambda x: perceive(x, ("relu1_2",)), images)) == {"relu1_2"}
    usual = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    assert networks.perceptual([str(path)])[1] == usual
    for wrong in ("relu1_3", "relu3_4", "relu0", "fc1"):
        with pytest.raises(UserError, match=f"has no layer {wrong}; it has relu1_1, relu1_2,"):
            networks.perceptual([f"{path}:{wrong}"])


def test_channels_of_vgg16_weigh_alike(tmp_path):
    """A network whose channels always have their mean over photographs shows ones everywhere."""
    module, images = vgg16.VGG16(dense=False), jnp.zeros((1, 32, 16, 3))
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    for layer, means in networks._vgg16_means().items():
        params[layer.replace("relu", "conv")]["bias"] = means.ravel()
    path = tmp_path / "means.safetensors"
    leaves = jax.tree.leaves_with_path(params)
    names = {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}
    write_safetensors(path, names, {})
    layers = ("relu1_1", "relu2_2", "relu3_3", "relu4_1")
    perceive, _ = networks.perceptual([f"{path}:{','.join(layers)}"])
    for layer, features in perceive(images, layers).items():
        np.testing.assert_allclose(features, 1, rtol=1e-6, err_msg=layer)


@pytest.mark.slow
def test_layers_come_from_the_encoder_that_was_named_for_them(tmp_path):
    wide = vgg.VGG19(last="relu2_1", width=8)
    params = wide.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    path = tmp_path / "wide.safetensors"
    write_safetensors(path, flatten(params), {})
    perceive, layers = networks.perceptual([f"{path}:relu1_1,relu2_1", "random:relu3_1,relu4_1"])
    assert layers == vgg.LAYERS[:4]
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    features = jax.eval_shape(lambda x: perceive(x, layers), images)
    assert [features[name].shape[-1] for name in layers] == [8, 16, 64, 128]
    assert [features[name].shape[1] for name in layers] == [32, 16, 8, 4]
    assert set(jax.eval_shape(lambda x: perceive(x, ("relu3_1",)), images)) == {"relu3_1"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"group": 3}, "group is 3; give a divisor of batch_size 4"),
        ({"data.image_size": "40"}, "data.image_size is 40; give a multiple of 16"),
        ({"data.image_size": "32x48", "data.vary_styles": True}, "give a square"),
        ({"data.channels": 1}, r"data.channels is 1; adain takes 3 \(RGB\)"),
        ({"model.form": "large"}, "choose compact or vgg19 or vgg16"),
        ({"model.form": "vgg19", "model.encoder": "vgg16"}, "weights .*vgg16.* do not exist"),
        ({"loss.encoders": ("random:relu9_1",)}, "loss.encoders: random has no layer relu9_1"),
        ({"loss.encoders": ("random:relu1_1", "random")}, "gives relu1_1 twice"),
        ({"loss.content_layers": ("relu5_1",)}, r"loss.content_layers is .*; choose from relu1_1,"),
        ({"loss.covariance_layers": ("conv",)}, "loss.covariance_layers is"),
        ({"loss.content_layers": ()}, "loss.content_layers is empty"),
        ({"loss.style_weight": -1.0}, "loss.style_weight is below 0"),
        ({"model.dtype": "float16"}, "model.dtype is 'float16'"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        tasks.make(make_config(**fields))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    images = draw_batch(32, 6, seed=9)
    for name in ("content", "style"):
        (folder / name).mkdir()
        for number, image in enumerate(images[name]):
            write_image(folder / name / f"{number}.png", image, made=None)
    return folder


def fit_toy(photos, folder, *, stop_at=None, **fields):
    """8 steps on crops of the photos; `stop_at` interrupts when that step is asked for."""
    config = make_config(
        **{
            "data.content": (f"folder:{photos / 'content'}",),
            "data.style": (f"folder:{photos / 'style'}@24",),
            "data.image_size": "16",
            "data.load_size": "32",
            "data.zoom": 1.5,
            "data.cache_dir": str(photos / "cache"),
            "sample_every": 0.016,
            "save_every": 0.008,
        }
        | fields
    )
    made = make_toy(optimizer=optax.adam(0.01), vary=True, ema_half_life=16.0, identity_weight=1.0)
    pipeline = tasks.make_data(config)
    if stop_at is not None:
        pipeline = Stopping(pipeline, stop_at)
    return fit(made, pipeline, config, folder)


class Stopping:
    """A pipeline during whose batch `number` SIGTERM arrives."""

    def __init__(self, pipeline, number):
        self.pipeline, self.number = pipeline, number

    def batches(self, *, first, **options):
        for number, batch in enumerate(self.pipeline.batches(first=first, **options), first):
            if number == self.number:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    def contents(self, image_size):
        return self.pipeline.contents(image_size)

    @property
    def fields(self):
        return self.pipeline.fields


@pytest.mark.slow
def test_a_resumed_run_is_a_straight_one(photos, tmp_path):
    straight = fit_toy(photos, tmp_path / "straight")
    with pytest.raises(Interrupted):
        fit_toy(photos, tmp_path / "stopped", stop_at=4)
    resumed = fit_toy(photos, tmp_path / "stopped")
    assert int(resumed.step) == 8 and int(resumed.images) == 32
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)
    pictures = [
        {path.name: path.read_bytes() for path in (tmp_path / run / "samples").glob("*.png")}
        for run in ("straight", "stopped")
    ]
    assert {"000000004.png", "000000008.png"} <= pictures[0].keys()
    assert pictures[0]["000000008.png"] == pictures[1]["000000008.png"]


@pytest.mark.slow
def test_pictures_of_a_run_show_the_same_images_throughout(photos, tmp_path):
    from PIL import Image

    fit_toy(photos, tmp_path / "run")
    grids = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "run/samples").glob("*.png"))]
    assert len(grids) >= 2 and grids[0].shape == (5 * 18 + 2, 5 * 18 + 2, 3)
    for grid in grids[1:]:
        np.testing.assert_array_equal(grid[:18], grids[0][:18])  # the styles
        np.testing.assert_array_equal(grid[:, :18], grids[0][:, :18])  # the contents
        assert not np.array_equal(grid, grids[0])
