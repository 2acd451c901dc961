"""`ganjax translate`: any size, tiles, formats, names and errors, on models of a few operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from toys import save_run

from ganjax import UserError, ops, runs
from ganjax.api import Translator
from ganjax.commands import translate
from ganjax.data.fields import IMAGE
from ganjax.images import as_float, as_pixels, opaque, resize
from ganjax.training.task import Model


def blur(images):
    """The mean of 5x5 pixels, zeros beyond the border, as convolutions have it."""
    padded = jnp.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    _, height, width, _ = images.shape
    return sum(padded[:, y : y + height, x : x + width] / 25 for y in range(5) for x in range(5))


def level(images):
    """As normalization: through the mean, each pixel depends on all others."""
    return images - jnp.mean(images, axis=(1, 2, 3), keepdims=True)


def negative(images):
    return -images


def make(function, *, channels=3, multiple=1, reach=None, scale=1):
    def sample(trained, inputs, rng):
        images = as_float(inputs["source"])
        assert images.shape[1] % multiple == images.shape[2] % multiple == 0
        noise = 0 if rng is None else 0.2 * jax.random.normal(rng, images.shape)
        return {"samples": ops.upsample(function(images) + noise, scale)}

    inputs, outputs = {"source": IMAGE}, {"samples": IMAGE}
    model = Model(inputs, outputs, None, sample, None, multiple, reach, scale=scale)
    config = ConfigDict({"data": {"channels": channels, "range": ""}})
    return Translator(runs.Run(config, model, {}, 1, "step 1"))


def picture(height, width, channels=3, seed=0):
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (5, 6, channels), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (61, 45), (64, 64)])
def test_any_size_is_padded_and_cut_back(size):
    image = picture(*size)
    np.testing.assert_array_equal(make(negative, multiple=32)(image, seed=None), 255 - image)


@pytest.mark.parametrize("tile", [5, 16, 64])
def test_tiles_are_the_whole_where_pixels_see_only_so_far(tile):
    image = picture(61, 90)
    translator = make(blur, multiple=4, reach=2)
    whole, tiled = (translator(image, seed=None, tile=side) for side in (0, tile))
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    # And not by chance: with too small a margin they are not.
    short = make(blur, multiple=1, reach=1)(image, seed=None, tile=tile)
    assert tile == 64 or np.abs(whole.astype(int) - short).max() > 1


def test_other_tiles_fade_into_each_other():
    ramp = np.arange(256, dtype=np.uint8)[None, :, None]  # whose tiles have other means
    image = np.broadcast_to(ramp, (64, 256, 3))
    whole, tiled = (make(level)(image, seed=None, tile=side).astype(int) for side in (0, 64))
    assert np.abs(tiled - whole).max() > 50
    assert np.abs(np.diff(tiled, axis=1)).max() <= 1 + 64 / 8 + 1  # in the 8 pixels of a fade


def test_large_images_go_in_tiles_unasked(monkeypatch):
    image, shapes = picture(64, 100), []

    def seen(images):
        shapes.append(images.shape)
        return images

    monkeypatch.setattr("ganjax.api.LIMIT", 64)
    monkeypatch.setattr("ganjax.api.TILE", 32)
    np.testing.assert_array_equal(make(seen, reach=0)(image, seed=None), image)
    assert shapes[0][1:3] == (34, 27)  # two tiles by four, a pixel more on either side


def test_noise_is_of_the_seed_and_differs_from_tile_to_tile():
    gray = np.full((32, 64, 3), 128, np.uint8)
    translator = make(negative, reach=0)
    np.testing.assert_array_equal(translator(gray, seed=1), translator(gray, seed=1))
    assert np.any(translator(gray, seed=1) != translator(gray, seed=2))
    np.testing.assert_array_equal(translator(gray, seed=None), 127)
    left, right = np.split(translator(gray, tile=32), 2, axis=1)
    assert np.any(left != right)


def test_transparent_parts_stay_transparent():
    rgba = picture(20, 30, 4).copy()
    rgba[:5, :, 3], rgba[5:10, :, 3] = 255, 0
    drawn = make(negative)(rgba, seed=None)
    np.testing.assert_array_equal(drawn[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(drawn[:5, :, :3], 255 - rgba[:5, :, :3])
    np.testing.assert_array_equal(drawn[5:10], rgba[5:10])  # which nobody sees
    gray = make(negative, channels=1)(rgba, seed=None)
    np.testing.assert_array_equal(gray[..., 3], rgba[..., 3])
    own = make(negative, channels=4)(rgba, seed=None)  # alpha as one more channel of the model
    np.testing.assert_array_equal(own, 255 - rgba)


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_16_bits_are_what_they_look_like(tmp_path, channels):
    gray = np.ascontiguousarray(picture(16, 20)[..., 0])
    Image.fromarray(gray).save(tmp_path / "8.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16.png")
    for name in ("8.png", "16.png"):
        drawn = make(negative, channels=channels)(tmp_path / name, seed=None)
        wanted = np.broadcast_to(255 - gray[..., None], (16, 20, channels))
        np.testing.assert_array_equal(drawn, wanted)
    color = picture(16, 20)
    drawn = make(negative, channels=channels)(color, seed=None)
    np.testing.assert_array_equal(drawn, 255 - as_pixels(color, channels=channels))


def larger(image, times):
    return image.repeat(times, axis=0).repeat(times, axis=1)


@pytest.mark.parametrize("tile", [0, 16])
def test_models_may_enlarge(tile):
    image = picture(37, 50)
    translator = make(blur, reach=2, multiple=4, scale=3)
    wanted = larger(make(blur, reach=2, multiple=4)(image, seed=None), 3)
    drawn = translator(image, seed=None, tile=tile)
    assert drawn.shape == (111, 150, 3)
    assert np.abs(drawn.astype(int) - wanted).max() <= 1
    floats = translator.apply({}, jnp.asarray(as_float(image[None])), None)
    assert floats.shape == (1, 111, 150, 3)
    # Tiles of a model that sees all fade over as many larger pixels.
    whole = larger(make(level)(image, seed=None, tile=tile), 3)
    faded = make(level, scale=3)(image, seed=None, tile=tile).astype(int)
    assert np.abs(faded - whole).max() <= (20 if tile else 1)


def test_alpha_grows_with_the_image():
    rgba = picture(20, 30, 4).copy()
    rgba[:8, :, 3], rgba[8:, :, 3] = 255, 0
    drawn = make(negative, scale=2)(rgba, seed=None)
    assert drawn.shape == (40, 60, 4)
    assert (drawn[:12, :, 3] == 255).all() and (drawn[20:, :, 3] == 0).all()
    np.testing.assert_array_equal(drawn[:12, :, :3], larger(255 - rgba[:6, :, :3], 2))
    own = make(negative, channels=4, scale=2)(rgba, seed=None)
    np.testing.assert_array_equal(own, larger(255 - rgba, 2))


@pytest.mark.parametrize(("outscale", "size"), [(2.5, (50, 75)), (0.5, (10, 15)), (4.0, (80, 120))])
def test_results_are_scaled_to_what_is_asked(outscale, size):
    rgba = picture(20, 30, 4).copy()
    rgba[..., 3] = 128
    for image in (rgba, opaque(rgba)):
        drawn = make(negative, scale=4)(image, seed=None, outscale=outscale)
        assert drawn.shape == (*size, image.shape[2])
    whole = make(negative, scale=4)(image, seed=None)
    np.testing.assert_array_equal(drawn, resize(whole, size))


def test_arguments_out_of_their_range():
    asked = ({"tile": -1}, "tile is -1; it must be 0"), ({"seed": -1}, "seed is")
    for words, message in (*asked, ({"outscale": -1}, "outscale is -1; give a number above 0")):
        with pytest.raises(UserError, match=message):
            make(negative)(picture(8, 8), **words)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pix2pix"
    return save_run(folder, "pix2pix", model__width=2, data__image_size="16")


def test_files_keep_their_names_and_one_that_is_broken_stops_none(run, tmp_path, capsys):
    (folder := tmp_path / "in" / "sub").mkdir(parents=True)
    Image.fromarray(picture(20, 30)).save(folder / "a.jpg")
    Image.fromarray(picture(33, 12, 4)).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"no image")
    (output := tmp_path / "out").mkdir()
    (output / "a.png").write_bytes(b"mine")
    words = ["--workdir", run, "--input", tmp_path / "in", "--output", output]
    with pytest.raises(SystemExit) as ended:
        translate.main([*map(str, words), "--side_by_side", "--no_noise"])
    assert ended.value.code == 1
    assert sorted(path.name for path in output.iterdir()) == ["a.png", "b.png"]
    assert (output / "a.png").read_bytes() == b"mine"
    said = capsys.readouterr().err
    assert "error: sub/c.png: is no image in" in said and "wrote 1 pictures" in said
    assert "1 of 3 pictures were in" in said and "--overwrite makes them again" in said
    rgba = picture(33, 12, 4)
    pair = np.asarray(Image.open(output / "b.png"))
    drawn = Translator.load(run)(rgba, seed=None)
    np.testing.assert_array_equal(pair, np.concatenate([rgba, drawn], axis=1))
    words = ["--workdir", run, "--input", folder / "a.jpg", "--output", tmp_path / "a.png"]
    translate.main([*map(str, words), "--side_by_side"])
    large = ["--overwrite", "--side_by_side", "--outscale", "1.5"]
    translate.main([*map(str, words[:-1]), str(tmp_path / "large.png"), *large])
    assert as_pixels(tmp_path / "large.png").shape == (30, 90, 3)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (60, 20) and image.mode == "RGB" and image.text["Seed"] == "0"
        left = opaque(as_pixels(folder / "a.jpg", channels=4))
        np.testing.assert_array_equal(np.asarray(image)[:, :30], left)


def test_each_image_is_translated_by_itself(run):
    """Statistics of a batch would make the same file another picture in other company."""
    loaded = runs.load(run)
    images = np.stack([picture(32, 32, seed=n) for n in range(3)])
    draw = jax.jit(lambda images: loaded.model.sample(loaded.trained, {"source": images}, None))
    together = draw(images)["samples"]
    for n in range(3):
        alone = draw(images[n : n + 1])["samples"]
        np.testing.assert_allclose(together[n], alone[0], atol=1e-5)


def test_a_style_that_is_of_no_use_ends_in_one_line(tmp_path):
    good, damaged = tmp_path / "good.png", tmp_path / "bad.png"
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(good)
    damaged.write_bytes(good.read_bytes()[:100])
    words = ["--weights", "glasses_portraits", "--input", str(good)]
    words += ["--output", str(tmp_path / "out.png"), "--style"]
    for style, message in (
        (good, "no encoder of styles; leave out --style"),
        (damaged, "the style bad.png is damaged"),
        (tmp_path, "2 images; give one"),
    ):
        with pytest.raises(UserError, match=message):
            translate.main([*words, str(style)])
    assert not (tmp_path / "out.png").exists()
