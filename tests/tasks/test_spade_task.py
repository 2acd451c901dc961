"""The games of OASIS and SPADE: PyTorch's (tests/goldens/spade_torch.py), LabelMix, label maps."""

import itertools
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from ganjax import augment, losses
from ganjax.api import Translator
from ganjax.data import avatars
from ganjax.data.avatars.palette import paint
from ganjax.data.label_maps import LabelMaps
from ganjax.errors import UserError
from ganjax.images import as_float, to_uint8
from ganjax.nets.spade import (
    Encoder,
    Generator,
    LabelMap,
    PatchDiscriminators,
    SegmentationDiscriminator,
    edges_of,
)
from ganjax.runs import Run
from ganjax.tasks import spade
from ganjax.training.state import Network, Trained
from ganjax.training.task import Phase
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import dcgan_setup  # noqa: E402
import spade_setup as setup  # noqa: E402

LABELS = np.array([[[0, 1, 2, 2], [0, 0, 255, 1]], [[0, 0, 0, 0], [0, 0, 0, 0]]], np.uint8)


def _drawn(prefix, tree):
    """The golden's values in place of a tree's own."""
    leaves = [
        jnp.asarray(setup.draw(f"{prefix}/{n}", x.shape)) for n, x in named_leaves(tree).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _make(form):
    fields = {"width": 1, "dtype": jnp.float64}
    if form == "oasis":
        discriminator = SegmentationDiscriminator(setup.CLASSES, downs=setup.DOWNS, **fields)
        game = spade.OasisGame(discriminator, setup.WEIGHTS["mix"], (setup.IGNORED,))
        generator = Generator("oasis", setup.CLASSES, ups=setup.UPS, **fields)
        encoder = None
    else:
        game = spade.SpadeGame(PatchDiscriminators(setup.CLASSES, **fields))
        latent = tuple(side // 2**setup.UPS for side in setup.SIZE)
        generator = Generator("normal", setup.CLASSES, ups=setup.UPS, latent=latent, **fields)
        encoder = Encoder(setup.NOISE, **fields)
    maps = LabelMaps.of(tuple("abc"), ())
    return spade.make(
        generator,
        game,
        spade.make_model(generator, maps, setup.NOISE),
        generator_optimizer=optax.sgd(1.0),
        discriminator_optimizer=optax.sgd(1.0),
        phases=(Phase("train", 1, setup.BATCH, setup.SIZE),),
        noise_size=setup.NOISE,
        encoder=encoder,
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["oasis", "spade"])
def test_a_train_step_is_pytorchs(form, monkeypatch):
    golden = dict(np.load(GOLDENS / "spade_torch.npz"))
    with jax.enable_x64(True):
        inputs = jax.tree.map(jnp.asarray, setup.draw_inputs())
        task = _make(form)
        state, networks = jax.eval_shape(task.init, jax.random.key(0)), {}
        for role, network in state.networks.items():
            params = _drawn(f"{form}/{role}", network.params)
            statistics = _drawn(f"{form}/{role}", network.statistics)
            networks[role] = Network(params, statistics, optax.sgd(1.0).init(params))
        zero = jnp.zeros((), jnp.int32)
        averages = {"generator": networks["generator"].variables}
        state = state.replace(step=zero, images=zero, networks=networks, averages=averages)

        def mixed(rng, labels, classes, real, fake):
            mask = inputs["mask"]
            return mask * real + (1 - mask) * fake, mask

        monkeypatch.setattr(augment, "mix_by_label", mixed)
        monkeypatch.setattr(jax.random, "normal", lambda key, shape: inputs["noise"])
        batch = {"source": inputs["labels"], "target": inputs["target"]}
        after, metrics = jax.jit(task.train_step)(state, batch, jax.random.key(0))
    names = {name.partition("/")[2] for name in golden if name.startswith(f"{form}/loss_")}
    assert len(names) == {"oasis": 4, "spade": 5}[form]
    for name in names:
        np.testing.assert_allclose(metrics[name], golden[f"{form}/{name}"], rtol=1e-9)
    for role, network in networks.items():
        change = jax.tree.map(jnp.subtract, network.params, after.networks[role].params)
        wanted = {k: v for k, v in golden.items() if k.startswith(f"{form}/{role}/")}
        got = {f"{form}/{role}/{k}": np.asarray(v) for k, v in named_leaves(change).items()}
        assert got.keys() == wanted.keys()
        for name, value in wanted.items():
            summary = dcgan_setup.summarize(got[name])
            # What a normalization cancels is 0 but for rounding.
            np.testing.assert_allclose(summary, value, rtol=1e-6, atol=1e-10, err_msg=name)


def test_classes_weigh_alike_and_pixels_1_on_the_mean():
    weights = losses.class_weights(LABELS, 4, (2,))
    assert weights.shape == LABELS.shape and not weights[LABELS >= 2].any()
    for number in (0, 1):
        assert weights[LABELS == number].sum() == pytest.approx(LABELS.size / 2)
    np.testing.assert_array_equal(losses.class_weights(np.full((1, 2, 2), 255), 4), 0)


def test_cross_entropy_leaves_out_what_has_no_class():
    logits = jax.random.normal(jax.random.key(0), (*LABELS.shape, 3))
    values = losses.cross_entropy(logits, LABELS)
    wanted = -np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    one = np.where(LABELS < 3, LABELS, 0)[..., None]
    wanted = np.where(LABELS < 3, np.take_along_axis(wanted, one, -1)[..., 0], 0)
    np.testing.assert_allclose(values, wanted, rtol=1e-5)


def test_mixtures_are_of_whole_classes():
    labels = np.tile(LABELS, (32, 1, 1))
    ones = jnp.ones((*labels.shape, 3))
    images, mask = augment.mix_by_label(jax.random.key(0), labels, 3, ones, -ones)
    np.testing.assert_array_equal(images, np.broadcast_to(2 * mask - 1, ones.shape))
    for values, found in zip(np.asarray(mask)[..., 0], labels, strict=True):
        assert all(len(np.unique(values[found == number])) <= 1 for number in (0, 1, 2, 255))
    # Each class of each image by itself.
    chosen = np.asarray(mask)[::2, ..., 0][:, *zip((0, 0), (0, 1), (0, 2), (1, 2), strict=True)]
    assert len(np.unique(chosen, axis=0)) > 8 and 0.3 < chosen.mean() < 0.7


def test_a_config_names_the_published_networks():
    config = spade.defaults()
    config.data.classes = tuple(map(str, range(151)))
    assert spade._generator(config) == Generator("oasis", 151)
    assert spade._oasis(config).discriminator == SegmentationDiscriminator(151)
    config = spade.spade_defaults()
    config.data.classes = tuple(map(str, range(36)))
    config.loss.encoders = ("random:relu1_1,relu2_1,relu3_1,relu4_1",)
    assert spade._generator(config) == Generator("normal", 36)
    assert spade._spade(config).discriminator == PatchDiscriminators(36)
    config.model.variational, config.data.image_size = True, "256x512"
    assert spade._generator(config) == Generator("normal", 36, latent=(8, 16))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("data.image_size", "48", "give multiples of 32"),
        ("data.ignored", ("sky",), "sky, which is none of data.classes"),
        ("model.form", "pix2pix", "choose oasis or spade"),
        ("model.downs", 7, "at 64 give 0 to 6"),
        ("model.ups", 6, "give 0 to 5"),
        ("model.noise_size", 0, "1 or more"),
        ("loss.mix_weight", -1.0, "give 0 or more"),
        ("loss.diversity_weight", -1.0, "give 0 or more"),
        ("optimizer.discriminator_learning_rate", 0.0, "must be above 0"),
    ],
)
def test_impossible_configs_say_what_is_right(field, value, says):
    config = spade.defaults()
    config.data.classes, config.data.image_size = ("a", "b"), "64"
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=says):
        spade.from_config(config)


def test_diversity_needs_noise_and_pairs():
    config = spade.spade_defaults()
    config.data.classes, config.loss.diversity_weight = ("a", "b"), 1.0
    with pytest.raises(UserError, match="needs noise; set model.variational=True"):
        spade.from_config(config)
    config.model.variational, config.batch_size = True, 1
    with pytest.raises(UserError, match="batches of 2 or more"):
        spade.from_config(config)


def test_colors_of_classes_shall_differ_as_much_as_those_of_real_images():
    random = np.random.default_rng(0)
    target = random.normal(size=(3, 2, 4, 3)).astype(np.float32)
    labels = np.concatenate([LABELS, LABELS[:1]])  # class 0 in all three, 1 and 2 in two
    drawn = random.normal(size=(2, 2, 2, 4, 3)).astype(np.float32)
    drawn[:, LABELS == 0] *= 0.1
    drawn[0, LABELS == 2] += 9

    def color(image, number, label):
        return image[label == number].mean(axis=0)

    lacks = []
    for number, there in ((0, (0, 1, 2)), (1, (0, 2)), (2, (0, 2))):
        colors = [color(target[n], number, labels[n]) for n in there]
        wanted = [np.abs(a - b).mean() for a, b in itertools.combinations(colors, 2)]
        found = [
            np.abs(color(a, number, label) - color(b, number, label)).mean()
            for a, b, label in zip(*drawn, labels, strict=False)
            if number in label
        ]
        lacks.append(max(np.mean(wanted) - np.mean(found), 0))
    assert min(lacks) == 0 < max(lacks)  # what differs more counts as nothing
    got = spade._narrowness(jnp.asarray(labels), 3, tuple(map(jnp.asarray, drawn)), target)
    np.testing.assert_allclose(got, np.mean(lacks), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["oasis", "spade"])
def test_images_part_where_the_generator_is_paid_for_it(form):
    config = spade.defaults() if form == "oasis" else spade.spade_defaults()
    config.data.classes, config.data.image_size = ("sky", "sea", "sand"), "32"
    config.loss.encoders, config.loss.mix_weight = ("random:relu1_1",), 0.0
    config.model.update(width=2, ups=1, noise_size=4, variational=form == "spade")
    config.optimizer.learning_rate = 1e-2
    config.loss.diversity_weight = weight = 1e4
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, (4, 4, 4)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    colors = random.integers(0, 256, (4, 3, 3), np.uint8)  # of the classes of each image
    images = np.stack([table[numbers] for table, numbers in zip(colors, labels, strict=True)])
    task = spade.from_config(config)
    state, step = jax.jit(task.init)(jax.random.key(0)), jax.jit(task.train_step)
    lacks = []
    for number in range(20):
        batch = {"source": labels, "target": images}
        state, metrics = step(state, batch, jax.random.key(number))
        lacks.append(float(metrics["loss_diversity"]) / weight)
    # Without pay they stay above 0.5.
    assert lacks[0] > 0.5 and np.mean(lacks[10:]) < 0.3


@pytest.fixture(scope="module")
def translator():
    """Of a run of OASIS with weights that are not tiny."""
    config = spade.defaults()
    config.data.classes, config.data.image_size = ("sky", "sea", "sand"), "32"
    config.data.colors = ("0000ff", "00ff00", "ffff00")
    generator = Generator("oasis", 3, width=1, ups=1)
    model = spade.make_model(generator, LabelMaps.of(config.data.classes, config.data.colors), 4)
    where = LabelMap(jnp.zeros((1, 8, 8), jnp.uint8), jnp.zeros((1, 4)))
    return _translator(config, model, {"generator": (generator, where)})


def _translator(config, model, modules):
    """With weights of N(0, 0.3^2), of modules and their inputs by role."""
    random, variables = np.random.default_rng(0), {}
    for role, (module, inputs) in modules.items():
        shapes = jax.eval_shape(partial(module.init, train=True), jax.random.key(0), inputs)
        leaves = {
            name: random.normal(0, 0.3, x.shape).astype(np.float32)
            for name, x in named_leaves(shapes).items()
        }
        leaves |= {name: np.ones_like(x) for name, x in leaves.items() if name.endswith("var")}
        variables[role] = jax.tree.unflatten(jax.tree.structure(shapes), leaves.values())
    return Translator(Run(config, model, Trained(jnp.int32(0), variables), 1, "step 1"))


COLORS = np.array([[0, 0, 255], [0, 255, 0], [255, 255, 0]], np.uint8)


@pytest.mark.slow
def test_seeds_give_other_pictures_and_resampling_changes_one_class(translator, tmp_path):
    numbers = np.random.default_rng(1).integers(0, 3, (5, 6)).repeat(6, 0).repeat(5, 1)
    colors = COLORS[numbers]
    first = translator(colors)
    assert first.shape == (30, 30, 3) and first.std() > 1
    Image.fromarray(colors).save(tmp_path / "map.png")
    np.testing.assert_array_equal(translator(tmp_path / "map.png"), first)
    assert (translator(colors, seed=1) != first).mean() > 0.1
    again = translator(colors, resample={"sea": 3})
    changed = (again != first).any(axis=2)
    assert changed[numbers == 1].mean() > 0.1 and not changed[numbers != 1].any()
    other = translator(colors, resample={"sea": 4})
    assert (other != again)[numbers == 1].mean() > 0.1
    with pytest.raises(UserError, match="resample sun: there is sky, sea, sand"):
        translator(colors, resample={"sun": 3})
    with pytest.raises(UserError, match="sea=0: give a number from 1 to 255"):
        translator(colors, resample={"sea": 0})
    with pytest.raises(UserError, match="has the color 0000fe, which is none of data.colors"):
        translator(np.full((32, 32, 3), (0, 0, 254), np.uint8))
    with pytest.raises(UserError, match=r"uint8 \[32, 32\]; .* colors \[H, W, 3\]"):
        translator(np.zeros((32, 32), np.uint8))


@pytest.mark.slow
def test_an_image_lends_its_style(tmp_path):
    """As the mean that the encoder finds, of an image of any size and kind."""
    config = spade.spade_defaults()
    config.data.classes, config.data.image_size = ("sky", "sea", "sand"), "64"
    config.model.update(variational=True, width=2, noise_size=4, ups=1)
    model, generator = spade.model_from_config(config), spade._generator(config)
    encoder = spade._encoder(config)
    labels = np.random.default_rng(1).integers(0, 3, (64, 64)).astype(np.uint8)
    where = LabelMap(labels[None], jnp.zeros((1, 4)))
    waves = np.sin(np.arange(64) / 9)
    images = jnp.asarray(np.stack([np.outer(waves, waves**n) for n in range(3)], -1)[None])
    modules = {"generator": (generator, where), "encoder": (encoder, images)}
    translator = _translator(config, model, modules)
    variables = translator.trained.variables
    style = np.asarray(to_uint8(images[0]))
    mean, _ = encoder.apply(variables["encoder"], as_float(style[None]), train=False)
    where = LabelMap(labels[None], mean)
    wanted = to_uint8(generator.apply(variables["generator"], where, train=False))[0]
    found = translator(labels, style=style, seed=3)
    np.testing.assert_allclose(found.astype(int), wanted, atol=1)
    large, gray = style.repeat(2, 0).repeat(2, 1), np.zeros((30, 40), np.uint8)
    Image.fromarray(large).save(tmp_path / "large.png")
    pictures = [translator(labels, style=one) for one in (tmp_path / "large.png", gray)]
    assert np.abs(pictures[0].astype(int) - wanted).mean() < 3
    drawn = [translator(labels, seed=seed) for seed in (0, 1)]
    for other in (pictures[1], *drawn):
        assert (other != found).mean() > 0.5
    with pytest.raises(UserError, match=r"images of 64x64 alone; .* of 32x64 to that"):
        translator(labels[:32], style=style)


@pytest.mark.slow
def test_styles_need_an_encoder(translator):
    with pytest.raises(UserError, match="no encoder of styles; leave out style"):
        translator(COLORS[np.zeros((32, 32), int)], style=np.zeros((8, 8, 3), np.uint8))


def test_label_maps_are_read_from_what_callers_have(tmp_path):
    maps = LabelMaps.of(("sky", "sea", "sand"), ())
    numbers = np.array([[0, 1], [2, 255]], np.uint8)
    image = Image.fromarray(numbers)
    image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "map.png")
    for given in (tmp_path / "map.png", (tmp_path / "map.png").read_bytes(), image, numbers):
        np.testing.assert_array_equal(maps.of_image(given), numbers)
    with pytest.raises(UserError, match="has the number 3, but data.classes has 3 names"):
        maps.of_image(numbers + 1)
    with pytest.raises(UserError, match="none.png cannot be read"):
        maps.of_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="numbers of classes"):
        maps.of_image(numbers.astype(float))


def test_label_maps_of_pairs_are_checked_when_they_are_read(tmp_path):
    for folder, color in (("image", (1, 2, 3)), ("label", 1)):
        (tmp_path / folder).mkdir()
        picture = np.full((32, 32, 3) if folder == "image" else (32, 32), color, np.uint8)
        Image.fromarray(picture).save(tmp_path / folder / "1.png")
    config = spade.defaults()
    config.data.source, config.data.classes = f"paired:{tmp_path}", ("road", "sky")
    (stream,) = spade.streams(config)
    arrays, _ = stream.source.load([0], (32, 32), 3)
    found = {new_name: arrays[name] for name, new_name in stream.names.items()}
    assert found["source"].shape == (1, 32, 32) and (found["source"] == 1).all()
    assert (found["target"][0, 0, 0] == (1, 2, 3)).all()
    assert "instances" not in found
    Image.fromarray(np.full((32, 32), 2, np.uint8)).save(tmp_path / "label" / "1.png")
    with pytest.raises(UserError, match=r"label/1\.png has the number 2, but data.classes has 2"):
        spade.streams(config)[0].source.load([0], (32, 32), 3)


@pytest.mark.slow
def test_networks_see_the_edges_of_instances(tmp_path):
    """16-bit maps in a third folder, which training and translation read."""
    random = np.random.default_rng(0)
    objects = random.integers(24_000, 24_400, (8, 8)).repeat(4, 0).repeat(4, 1).astype(np.uint16)
    for folder, picture in (
        ("image", random.integers(0, 256, (32, 32, 3), np.uint8)),
        ("label", np.zeros((32, 32), np.uint8)),
        ("instance", objects),
    ):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture).save(tmp_path / folder / "1.png")
    config = spade.spade_defaults()
    config.data.source, config.data.instances = f"paired:{tmp_path}", "instance"
    config.data.classes, config.data.image_size = ("road", "car"), "32"
    config.loss.encoders = ("random:relu1_1",)
    config.model.update(width=2, ups=1)
    (stream,) = spade.streams(config)
    arrays, _ = stream.source.load([0], (32, 32), 3)
    batch = {new_name: arrays[name] for name, new_name in stream.names.items()}
    assert batch["instances"].dtype == np.uint8
    edges = edges_of(jnp.asarray(objects.astype(int))[None])
    np.testing.assert_array_equal(edges_of(jnp.asarray(batch["instances"])), edges)

    task = spade.from_config(config)
    state = jax.jit(task.init)(jax.random.key(0))
    step = jax.jit(task.train_step)
    losses_of = [
        float(step(state, b, jax.random.key(1))[1]["loss_generator"])
        for b in (batch, batch | {"instances": np.zeros((1, 32, 32), np.uint8)})
    ]
    assert losses_of[0] != losses_of[1]

    where = LabelMap(jnp.zeros((1, 32, 32), jnp.uint8), edges=edges)
    modules = {"generator": (spade._generator(config), where)}
    translator = _translator(config, task.model, modules)
    labels = np.zeros((32, 32), np.uint8)
    labels[:16] = 1
    drawn = translator(labels, instances=objects)
    wanted = to_uint8(
        modules["generator"][0].apply(
            translator.trained.variables["generator"],
            LabelMap(labels[None], edges=edges),
            train=False,
        )
    )[0]
    np.testing.assert_allclose(drawn.astype(int), wanted, atol=1)
    # Without them the edges are those of the classes.
    np.testing.assert_array_equal(translator(labels), translator(labels, instances=labels))
    assert (translator(labels) != drawn).mean() > 0.1
    with pytest.raises(UserError, match="its map of instances has colors"):
        translator(labels, instances=tmp_path / "image" / "1.png")
    (tmp_path / "instance" / "1.png").rename(tmp_path / "instance" / "2.png")
    with pytest.raises(UserError, match=r"image/1\.png has no partner in instance"):
        spade.streams(config)


@pytest.mark.slow
def test_models_without_instances_say_so(translator):
    colors = COLORS[np.zeros((32, 32), int)]
    with pytest.raises(UserError, match="does not know edges of instances"):
        translator(colors, instances=np.zeros((32, 32), np.uint8))


@pytest.mark.slow
def test_the_model_in_the_package_shows_masks_and_seeds_differ():
    real = avatars.render(np.arange(24), (64, 64), split="test")
    painted = list(paint(real["mask"]))
    translator, segmenter = map(Translator.load, ("oasis_portraits", "segment_avatars"))
    drawn = np.stack([np.stack(translator(painted, seed=seed)) for seed in range(6)])
    found = segmenter(list(drawn[0]))
    shown = (np.stack(found) == np.stack(painted)).all(axis=-1)
    assert shown.mean() > 0.92  # 0.96 of the pixels of real portraits
    apart = np.abs(np.diff(drawn.astype(int), axis=0)).mean(axis=(0, -1))  # neighboring seeds
    hair = real["mask"] == avatars.MASK_CLASSES.index("hair")
    assert apart[hair].mean() > 20 and apart[~hair].mean() > 20
