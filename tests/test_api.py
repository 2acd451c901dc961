"""ganjax in scripts: what the commands give, from paths, Pillow images and arrays; pure functions.

The runs are of no step: their networks are as they began, the averages a little beside them.
"""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from toys import save_run

import ganjax
from ganjax import Generator, Stylizer, Translator, UserError, api
from ganjax.commands import evaluate, sample, stylize, translate
from ganjax.data.fields import Field
from ganjax.images import read_image, to_float, to_uint8
from ganjax.nets import stylizers
from ganjax.stylize import Model
from ganjax.trees import named_leaves
from ganjax.weights.safetensors import write_safetensors

GARMENTS = Field("class", names=("Shirt", "Sandal", "Bag"))
HEADS = Field("attributes", 2, ("hat", "eyes"), (("none", "cap"), ("blue", "gray", "brown")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scripts") / "runs"
    small = {"model__width": 8}
    save_run(folder / "dcgan_avatars", "dcgan", data__image_size="16", **small)
    save_run(folder / "pix2pix_avatars", "pix2pix", data__image_size="64", **small)
    save_run(folder / "cyclegan_avatars", "cyclegan", data__image_size="16", **small)
    asked = {"data__channels": 1, "model__latent_size": 8, **small}
    garments, heads = {"label": GARMENTS}, {"label": HEADS}
    save_run(folder / "garments", "gan", garments, model__attributes=(), model__classes=3, **asked)
    save_run(folder / "heads", "gan", heads, model__attributes=(2, 3), **asked)
    return folder


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """A folder with pictures, which the process is in."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, size) in enumerate(
        {"photo.jpg": (64, 96), "other.jpg": (80, 80), "painting.jpg": (70, 64)}.items()
    ):
        Image.fromarray(picture(seed, *size)).save(name, quality=95)
    return tmp_path


def picture(seed: int, height: int = 64, width: int = 64, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, channels), np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def images_in(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


# The package's root


def test_importing_the_package_imports_nothing_heavy():
    code = "import ganjax, sys; ganjax.UserError; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "ganjax.errors" in modules and not {"jax", "numpy", "PIL"} & set(modules.split())


def test_the_root_names_its_entries():
    assert set(ganjax.__all__) <= set(dir(ganjax))
    assert ganjax.Stylizer is api.Stylizer and ganjax.measure is api.measure
    with pytest.raises(AttributeError, match="no attribute 'Styliser'"):
        _ = ganjax.Styliser


@pytest.mark.long
def test_examples(runs, files):
    (files / "runs").symlink_to(runs)
    with jax.numpy_rank_promotion("allow"):  # as users have it
        result = doctest.testmod(api)
    assert result.attempted and not result.failed


# Generators


@pytest.mark.parametrize(
    ("run", "options", "words"),
    [
        ("dcgan_avatars", {}, []),
        ("dcgan_avatars", {"average": "live"}, ["--average", "live"]),
        ("garments", {}, []),
        ("garments", {"label": "Sandal"}, ["--label", "Sandal"]),
        ("garments", {"label": 2}, ["--label", "bag"]),
        ("heads", {"attributes": {"eyes": "gray"}}, ["--attributes", "eyes=gray"]),
    ],
)
def test_samples_are_those_of_the_command(run, options, words, runs, tmp_path):
    call = {name: options[name] for name in options if name != "average"}
    load = {name: options[name] for name in options if name == "average"}
    output = tmp_path / "out"
    words = ["--workdir", str(runs / run), "--output", str(output), "--num", "5", *words]
    sample.main([*words, "--seed", "7"])
    drawn = Generator.load(str(runs / run), **load).sample(5, seed=7, **call)
    assert drawn.dtype == np.uint8 and drawn.ndim == 4 and drawn.std() > 0
    np.testing.assert_array_equal(drawn.squeeze(-1) if drawn.shape[3] == 1 else drawn,
                                  images_in(output))  # fmt: skip


def test_a_label_for_each_image(runs):
    generator = Generator.load(runs / "garments")
    assert generator.inputs["label"] == GARMENTS and generator.checkpoint.startswith("step 3 ")
    mixed = generator.sample(3, label=["bag", 0, "Sandal"])
    for number, label in enumerate(["Bag", "Shirt", 1]):
        np.testing.assert_array_equal(mixed[number], generator.sample(3, label=label)[number])
    assert not np.array_equal(mixed[0], generator.sample(1, label="Shirt")[0])


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        ("garments", {"label": "Sandel"}, "label Sandel: did you mean Sandal?"),
        ("garments", {"label": 3}, "label 3: give one of Shirt, Sandal, Bag"),
        ("garments", {"label": ["Bag"], "num": 2}, "1 classes for 2 images; give 2, or one"),
        ("garments", {"attributes": {"hat": "cap"}}, "this model can be asked for label"),
        ("heads", {"attributes": {"hat": "top"}}, "attributes hat top: did you mean|give one of"),
        ("dcgan_avatars", {"label": "Bag"}, "this model can be asked for nothing"),
        ("dcgan_avatars", {"num": 0}, "num is 0; it must be 1 or more"),
        ("dcgan_avatars", {"seed": -1}, "seed is -1; it must be 0 or more"),
    ],
)
def test_wrong_requests_of_a_generator(run, options, message, runs):
    with pytest.raises(UserError, match=message) as caught:
        Generator.load(runs / run).sample(**options)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("load", "run", "options", "message"),
    [
        (Generator, "none", {}, "holds no run"),
        (Generator, "dcgan_avatars", {"checkpoint": 9}, "no checkpoint of step 9; there is 3"),
        (Generator, "dcgan_avatars", {"average": "best"}, "choose ema or live"),
        (Generator, "pix2pix_avatars", {}, "takes source; use `ganjax translate`"),
        (Translator, "dcgan_avatars", {}, "takes z; use `ganjax sample`"),
    ],
)
def test_wrong_runs(load, run, options, message, runs):
    with pytest.raises(UserError, match=message):
        load.load(runs / run, **options)


@pytest.mark.slow
def test_generating_is_a_pure_function(runs):
    generator = Generator.load(runs / "garments")
    inputs = generator.draw(4, seed=2)
    drawn = jax.jit(generator.apply)(generator.trained, inputs)
    np.testing.assert_allclose(to_uint8(drawn).astype(int), generator.sample(4, seed=2), atol=1)
    single = jax.tree.map(lambda x: x[:, None], inputs)
    mapped = jax.vmap(generator.apply, (None, 0))(generator.trained, single)[:, 0]
    np.testing.assert_allclose(mapped, drawn, atol=1e-4)

    def brightness(z):
        return jnp.mean(generator.apply(generator.trained, inputs | {"z": z}))

    slope = jax.grad(brightness)(inputs["z"])
    assert np.all(np.isfinite(slope)) and np.any(slope != 0)
    with pytest.raises(UserError, match="inputs lack label"):
        generator.apply(generator.trained, {"z": inputs["z"]})


# Translators


def test_translations_are_those_of_the_command(runs, files):
    run = runs / "pix2pix_avatars"
    words = ["--workdir", str(run), "--input", "photo.jpg", "other.jpg", "--output", "out"]
    translate.main([*words, "--seed", "4"])
    translator = Translator.load(run)
    images = translator(["photo.jpg", Image.open("other.jpg")], seed=4)
    for name, image in zip(("photo", "other"), images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(f"out/{name}.png")))
    np.testing.assert_array_equal(translator(read_image("photo.jpg"), seed=4), images[0])
    assert not np.array_equal(translator("photo.jpg", seed=5), images[0])  # dropout
    with pytest.raises(UserError, match="seed is -1"):
        translator("photo.jpg", seed=-1)


def test_a_run_of_both_directions_is_used_in_either(runs, files):
    run = runs / "cyclegan_avatars"
    there, back = (Translator.load(run, direction=way)("photo.jpg") for way in ("AtoB", "BtoA"))
    assert there.shape == (64, 96, 3) and not np.array_equal(there, back)
    np.testing.assert_array_equal(Translator.load(run)("photo.jpg"), there)
    words = ["--workdir", str(run), "--input", "photo.jpg", "--output", "out.png"]
    translate.main([*words, "--direction", "BtoA"])
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), back)
    with pytest.raises(UserError, match="direction BtoA: it was trained AtoB: leave it out"):
        Translator.load(runs / "pix2pix_avatars", direction="BtoA")
    with pytest.raises(UserError, match="direction BtoA: it has none: leave it out"):
        Translator.load(runs / "dcgan_avatars", direction="BtoA")


@pytest.mark.slow
def test_translating_is_a_pure_function(runs):
    translator = Translator.load(runs / "pix2pix_avatars")
    image = picture(3, 40, 33)
    images, rng = jnp.stack([to_float(image)]), jax.random.key(0)
    result = jax.jit(translator.apply)(translator.trained, images, rng)
    np.testing.assert_allclose(to_uint8(result[0]).astype(int), translator(image), atol=1)
    slope = jax.grad(lambda x: jnp.mean(translator.apply(translator.trained, x)))(images)
    assert slope.shape == images.shape and np.any(slope != 0)
    for wrong, message in (
        (image[None], "images are uint8; give floats"),
        (images[0], r"give \[B, H, W, 3\]"),
        (images[..., :1], r"give \[B, H, W, 3\]"),
    ):
        with pytest.raises(UserError, match=message):
            translator.apply(translator.trained, wrong)


# Stylizers


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    network = stylizers.make_compact(8)
    random = np.random.default_rng(0)

    def draw(like):
        deviation = (1 / np.prod(like.shape[:-1])) ** 0.5 if len(like.shape) > 1 else 0.1
        return random.normal(scale=deviation, size=like.shape).astype(np.float32)

    params = jax.tree.map(draw, jax.eval_shape(network.init, jax.random.key(0)))
    return Stylizer(Model(network, params, "drawn"))


@pytest.fixture(scope="module")
def weights(stylizer, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("weights") / "drawn.safetensors"
    write_safetensors(path, named_leaves(stylizer.params), {})
    return str(path)


def same_as_the_command(result, weights, content, styles, *words):
    words = ["--content", content, "--style", *styles, *words, "--weights", weights]
    stylize.main([*words, "--output", "out.png", "--style_size", "64", "--overwrite"])
    np.testing.assert_array_equal(result, np.asarray(Image.open("out.png")))


@pytest.mark.slow
def test_pictures_are_those_of_the_command(stylizer, weights, files):
    def draw(styles, **options):
        return stylizer("photo.jpg", styles, style_size=64, **options)

    one, two = "painting.jpg", "other.jpg"
    Image.fromarray(np.eye(64, 96, dtype=np.uint8) * 255).save("mask.png")
    plain = draw(one)
    assert plain.shape == (64, 96, 3) and plain.dtype == np.uint8
    same_as_the_command(plain, weights, "photo.jpg", [one])
    same_as_the_command(
        draw([one, two], weights=[1, 3], alpha=0.5),
        weights, "photo.jpg", [one, two], "--style_weights", "1", "3", "--alpha", "0.5",
    )  # fmt: skip
    same_as_the_command(
        draw(one, content_mask="mask.png", preserve_color="luminance"),
        weights, "photo.jpg", [one], "--content_mask", "mask.png", "--preserve_color", "luminance",
    )  # fmt: skip
    same_as_the_command(
        draw(one, preserve_color="coral"), weights, "photo.jpg", [one], "--preserve_color", "coral"
    )
    mask = np.eye(64, 96, dtype=bool)
    np.testing.assert_array_equal(
        draw(one, content_mask=mask), draw(one, content_mask="mask.png")
    )  # fmt: skip
    loaded = Stylizer.load(weights=weights)
    np.testing.assert_array_equal(loaded("photo.jpg", one, style_size=64), plain)


def test_all_forms_of_a_picture_give_the_same(stylizer, files):
    rgba = picture(5, channels=4)
    style = stylizer.encode("painting.jpg", size=64)
    for pixels in (picture(5), picture(5)[..., 0], picture(5)[..., :1], rgba):
        flat = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
        Image.fromarray(flat).save("a.png")
        results = [
            stylizer(form, style)
            for form in ("a.png", files / "a.png", Image.open("a.png"), pixels, jnp.asarray(pixels))
        ]
        for result in results:
            np.testing.assert_array_equal(result, results[0])
    assert results[0].shape == (64, 64, 4)
    np.testing.assert_array_equal(results[0][..., 3], rgba[..., 3])


def test_lists_and_encoded_styles(stylizer, files):
    style = stylizer.encode("painting.jpg", size=64, mask=np.tri(70, 64, dtype=bool))
    pictures = [picture(0), picture(1), picture(2, 48, 64)]
    results = stylizer(pictures, style, alpha=0.7)
    for content, result in zip(pictures, results, strict=True):
        alone = stylizer(
            content, "painting.jpg", 0.7, style_size=64, style_mask=np.tri(70, 64, dtype=bool)
        )
        np.testing.assert_allclose(result.astype(int), alone, atol=1)
    other = stylizer.encode("other.jpg", size=64)
    mixed = stylizer(pictures[0], [style, other], weights=[0, 1])
    np.testing.assert_allclose(mixed.astype(int), stylizer(pictures[0], other), atol=1)
    assert not np.array_equal(mixed, stylizer(pictures[0], style))


FLOATS = np.zeros((8, 8, 3), np.float32)
WRONG = [
    ({"content": FLOATS}, r'content: has the type float32; .* \(x \* 255\).round\(\).astype\("u'),
    ({"content": [picture(0), FLOATS]}, "content 1: has the type float32"),
    ({"content": np.zeros((8, 8), int)}, "content: has the type int64; give uint8"),
    ({"content": np.zeros((3, 8, 8), np.uint8)}, r"shape \(3, 8, 8\); give \[H, W\]"),
    ({"content": np.zeros((2, 8, 8, 3), np.uint8)}, r"shape \(2, 8, 8, 3\); give \[H, W\]"),
    ({"content": np.zeros((0, 8, 3), np.uint8)}, "no pixels"),
    ({"content": {}}, "content: is a dict; give a path, a Pillow image or a uint8 array"),
    ({"content": None}, "content: is a NoneType; give a path"),
    ({"content": []}, "a list of pictures is empty"),
    ({"content": "absent.png"}, "^absent.png does not exist"),
    ({"style": b"no image"}, "^style: is no image in"),
    ({"style": "notes.txt"}, "^notes.txt is no image in"),
    ({"style_mask": np.zeros((8, 8), np.uint8)}, "style: its mask style_mask is black all over"),
    ({"style_mask": np.eye(8, dtype=np.uint8)}, "values 0 and 1, but white is 255; give bool"),
    ({"content_mask": np.zeros((8, 8))}, "content: its mask content_mask: has the type float64"),
    ({"content_mask": [picture(0)] * 2}, "content_mask has 2 masks for 1 styles"),
    ({"alpha": 2}, "alpha is 2; it must be from 0 to 1"),
    ({"alpha": float("nan")}, "alpha is nan"),
    ({"alpha": "half"}, "alpha is 'half'; give a number from 0 to 1"),
    ({"style": [picture(0)] * 2, "weights": [1]}, r"weights have the shape \(1,\)"),
    ({"style": [picture(0)] * 2, "weights": [0, 0]}, "0 or more, and one above 0"),
    ({"style": [picture(0)] * 2, "weights": [2, -1]}, "0 or more, and one above 0"),
    ({"weights": [1]}, "weights belong to a list of styles"),
    ({"preserve_color": "all"}, "choose one of none, coral, luminance"),
    ({"tile": -1}, "tile is -1; it must be 0 or more"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_pictures_and_numbers(options, message, stylizer, files):
    (files / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=message) as caught:
        stylizer(**({"content": picture(0), "style": picture(1), "style_size": 64} | options))
    assert "\n" not in str(caught.value)


def test_wrong_models():
    known = "compact, compact_video, vgg19, vgg16, wct, wct2"
    with pytest.raises(UserError, match=f"model 'vgg11' is unknown; there is {known}"):
        Stylizer.load("vgg11")
    with pytest.raises(UserError, match="absent"):
        Stylizer.load(weights="absent.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_stylizing_is_a_pure_function(alpha, stylizer):
    contents, style = [picture(0, 50, 64), picture(1, 50, 64)], picture(2)
    batch, styles = (to_float(np.stack(images)) for images in (contents, [style]))
    result = jax.jit(stylizer.apply)(stylizer.params, batch, styles, alpha)
    wanted = stylizer(contents, stylizer.encode(style, size=64), alpha)
    np.testing.assert_allclose(to_uint8(result).astype(int), np.stack(wanted), atol=1)
    encoded = stylizer.encode(style, size=64)
    known = stylizer.apply(stylizer.params, batch, encoded, alpha)
    np.testing.assert_allclose(known, result, atol=2e-3)
    mixed = stylizer.apply(stylizer.params, batch, [encoded, styles], alpha, weights=[3, 1])
    np.testing.assert_allclose(mixed, result, atol=2e-3)


@pytest.mark.long
def test_stylizing_is_mapped_and_differentiated(stylizer):
    contents, styles = (to_float(np.stack([picture(n), picture(n + 1)])) for n in (0, 2))
    contents, styles = contents[:, :32, :32], styles[:, :32, :32]
    whole = jax.jit(stylizer.apply)(stylizer.params, contents, styles, 0.5)
    mapped = jax.jit(jax.vmap(stylizer.apply, (None, 0, 0, None)))(
        stylizer.params, contents[:, None], styles[:, None], 0.5
    )
    np.testing.assert_allclose(mapped[:, 0], whole, atol=1e-3)

    def contrast(params, contents, styles, alpha, weights):
        styles = [styles, styles[::-1]]
        return jnp.var(stylizer.apply(params, contents, styles, alpha, weights=weights))

    slopes = jax.jit(jax.grad(contrast, (0, 1, 2, 3, 4)))(
        stylizer.params, contents, styles, 0.5, jnp.array([0.3, 0.7])
    )
    for slope in jax.tree.leaves(slopes):
        assert np.all(np.isfinite(slope))
    for part in slopes:
        assert any(np.any(slope != 0) for slope in jax.tree.leaves(part))
    for wrong, message in (
        ((picture(0)[None], styles), r"contents are uint8; give floats in \[-1, 1\]"),
        ((contents, styles[0]), r"styles have the shape \(32, 32, 3\)"),
        ((contents, styles, 2), "alpha is 2"),
        ((contents, styles, jnp.ones(2)), "alpha has the shape"),
    ):
        with pytest.raises(UserError, match=message):
            stylizer.apply(stylizer.params, *wrong)


# Measuring


@pytest.fixture
def sets(tmp_path, monkeypatch) -> dict[str, np.ndarray]:
    """Folders a and b of equally named images, and what is in them."""
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    found = {"a": np.stack([picture(n, 16, 16) for n in range(10)])}
    found["b"] = 255 - found["a"][::-1]
    for name, images in found.items():
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")
    return found


METRICS = "swd8,psnr,ssim"


def test_what_is_measured_is_what_the_command_measures(sets, tmp_path):
    words = ["--generated", "a", "--reference", "b", "--metrics", METRICS, "--json", "out.json"]
    evaluate.main(words)
    rows = {row["metric"]: row for row in json.loads(Path("out.json").read_text())}
    found = ganjax.measure("a", tmp_path / "b", METRICS)
    assert list(found) == ["swd8", "swd8_value_16", "psnr", "psnr_equal_pairs", "ssim"]
    assert all(found[name] == rows[name]["value"] for name in rows)
    in_memory = ganjax.measure(sets["a"], jnp.asarray(sets["b"]), METRICS)
    assert in_memory == found
    pictures = [Image.open(f"a/{n}.png") for n in range(10)]
    assert ganjax.measure(pictures, [f"b/{n}.png" for n in range(10)], METRICS) == found
    assert ganjax.measure(sets["a"], "b", "swd8") == ganjax.measure("a", "b", "swd8")
    larger = sets["a"].repeat(2, axis=1).repeat(2, axis=2)
    scaled = [ganjax.measure(larger, "b", "swd8", image_size=size) for size in (16, "16", (16, 16))]
    assert scaled[0] == scaled[1] == scaled[2] and scaled[0].keys() == {"swd8", "swd8_value_16"}


@pytest.mark.parametrize(
    ("sides", "metrics", "options", "message"),
    [
        (("A", "B"), "swd20", {}, "generated has 10 images, swd20 needs 20"),
        (("A", None), "swd8", {}, "needs a reference; give reference=SOURCE"),
        (("A", None), "psnr", {}, "reference is None; give a folder"),
        (("A", None), "", {}, "reference is None"),
        (("A", "B"), "swt8", {}, "swt8"),
        (("absent", "B"), "swd8", {}, "absent"),
        ((FLOATS[None], "B"), "swd8", {}, "image 0 of generated has the type float32"),
        (("A", FLOATS[None]), "psnr", {}, "no image 000001"),
        ((FLOATS, "B"), "swd8", {}, r"shape \(8, 8, 3\); give \[N, H, W, C\]"),
        (([], "B"), "swd8", {}, "generated holds no image"),
        ((5, "B"), "swd8", {}, "a set of images is a int"),
        (("A", "B"), "swd8", {"image_size": "big"}, "give one side like 64"),
        (("A", "B"), "swd8", {"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
        (("A", "B"), "psnr", {"image_size": 16}, "leave image_size out"),
        (("mixed", "B"), "swd8", {}, "images differ in size: image . of generated is 16x"),
    ],
)
def test_wrong_sets(sides, metrics, options, message, sets):
    mixed = [*sets["a"][:9], sets["a"][0].repeat(2, axis=1)]
    named = {"A": sets["a"], "B": sets["b"], "mixed": mixed}
    sides = [named.get(side, side) if isinstance(side, str) else side for side in sides]
    with pytest.raises(UserError, match=message) as caught:
        ganjax.measure(*sides, metrics, **options)
    assert "--" not in str(caught.value) and "\n" not in str(caught.value)
