"""Inpainting: its holes, and that nothing outside of them is touched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from toys import save_run

from ganjax import runs, weights
from ganjax.api import Translator
from ganjax.commands import translate
from ganjax.commands.terminal import run_command
from ganjax.data import avatars
from ganjax.errors import UserError
from ganjax.tasks import inpainting


def holes(count, size=(32, 48)):
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: inpainting.draw_hole(key, size)))(keys))


def test_holes_are_boxes_and_strokes_of_a_fair_size():
    drawn = holes(200)
    boxes = []
    for hole in drawn:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        box = hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if box.all():
            boxes.append(box.shape)
    assert 70 < len(boxes) < 130
    for height, width in boxes:
        assert 32 / 4 - 1 <= height <= 32 / 2 + 1 and 48 / 4 - 1 <= width <= 48 / 2 + 1
    shares = drawn.mean((1, 2))
    assert 0.02 < shares.min() and shares.max() < 0.6 and 0.1 < shares.mean() < 0.3
    assert len({hole.tobytes() for hole in drawn}) == 200
    np.testing.assert_array_equal(holes(200), drawn)


def test_holes_are_shares_of_the_image():
    """The same hole at twice the resolution, but for its border."""
    small, large = holes(20, (32, 32)), holes(20, (64, 64))
    assert np.mean(small != large[:, ::2, ::2]) < 0.02


SIZES = {"data__image_size": "16", "data__load_size": "16", "model__width": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "inpainting"
    return save_run(folder, "inpainting", **SIZES)


def picture(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def test_known_pixels_stay_bit_exact(run):
    translator = Translator.load(run)
    mask = np.zeros((21, 30), bool)
    mask[5:12, 8:20] = True
    for channels in (3, 4):
        image = picture(21, 30, channels)
        for tile in (0, 16):
            drawn = translator(image, mask=mask, tile=tile)
            np.testing.assert_array_equal(drawn[~mask], image[~mask])
            seen = mask if channels == 3 else mask & (image[..., 3] > 0)
            assert np.mean(drawn[seen] != image[seen]) > 0.5
    other = image.copy()
    other[mask] = 255 - other[mask]
    opaque = [np.ascontiguousarray(x[..., :3]) for x in (image, other)]
    one, two = (translator(x, mask=mask) for x in opaque)
    np.testing.assert_array_equal(one, two)  # the hole is not seen
    for words, message in (({}, "say where with mask"), ({"mask": "no.png"}, "no.png does not")):
        with pytest.raises(UserError, match=message):
            translator(image, **words)


@pytest.mark.slow
def test_the_model_in_the_package_fills_holes_better_than_their_surroundings():
    """Than the mean color of the known pixels within six pixels of the hole's box."""
    assert (weights.BUNDLED / "inpaint_portraits.safetensors").stat().st_size <= 4_000_000
    translator = Translator.load("inpaint_portraits")
    images = avatars.render(np.arange(40), (64, 64), split="test")["image"]
    errors = []
    for n, image in enumerate(images):
        hole, around = np.zeros((2, 64, 64), bool)
        y, x = 6 + 4 * (n % 8), 6 + 6 * (n // 8)
        hole[y : y + 22, x : x + 22] = around[y - 6 : y + 28, x - 6 : x + 28] = True
        filled = translator(image, mask=hole)
        np.testing.assert_array_equal(filled[~hole], image[~hole])
        plain = image[around & ~hole].mean(0, keepdims=True)
        errors.append(
            [np.abs(fill - image[hole].astype(float)).mean() for fill in (filled[hole], plain)]
        )
    ours, plain = np.mean(errors, axis=0)
    assert ours < 0.65 * plain


def test_a_hole_that_nobody_gave_follows_from_key_and_image(run):
    loaded, images = runs.load(run), np.stack([picture(16, 16), 255 - picture(16, 16)])
    sample = jax.jit(loaded.model.sample)
    drawn = np.asarray(sample(loaded.trained, {"source": images}, jax.random.key(0))["samples"])
    swapped = sample(loaded.trained, {"source": images[::-1]}, jax.random.key(0))["samples"]
    np.testing.assert_allclose(drawn[::-1], swapped, atol=1e-6)
    again = sample(loaded.trained, {"source": images}, jax.random.key(1))["samples"]
    assert np.any(drawn != np.asarray(again))


def test_the_network_sees_the_hole_and_not_what_was_in_it():
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)), jnp.float32)
    hole = jnp.zeros((2, 8, 8), bool).at[:, 2:5, 3:7].set(True)
    source = np.asarray(inpainting.with_hole(images, hole))
    np.testing.assert_array_equal(source[..., 3], np.where(hole, 1, -1))
    np.testing.assert_array_equal(source[..., :3][hole], 0)
    np.testing.assert_array_equal(source[..., :3][~hole], np.asarray(images)[~hole])


def test_the_command_takes_one_mask_or_one_for_each(run, tmp_path, capsys):
    for folder in ("in", "masks"):
        (tmp_path / folder).mkdir()
    for n, name in enumerate("ab"):
        Image.fromarray(picture(20, 20)).save(tmp_path / "in" / f"{name}.png")
        mask = np.zeros((20, 20), np.uint8)
        mask[4 * n : 4 * n + 8] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.gif")
    words = ["--workdir", run, "--input", tmp_path / "in", "--output", tmp_path / "out"]
    words = [*map(str, words)]
    translate.main([*words, "--mask", str(tmp_path / "masks")])
    for n, name in enumerate("ab"):
        same = np.asarray(Image.open(tmp_path / "out" / f"{name}.png")) == picture(20, 20)
        rows = np.zeros(20, bool)
        rows[4 * n : 4 * n + 8] = True
        assert same[~rows].all() and same[rows].mean() < 0.5
    one = ["--mask", str(tmp_path / "masks" / "a.gif")]
    translate.main([*words, *one, "--overwrite"])
    assert np.all(np.asarray(Image.open(tmp_path / "out" / "b.png"))[8:] == picture(20, 20)[8:])
    Image.fromarray(picture(8, 8)).save(tmp_path / "in" / "c.png")
    for more, message in (
        (["--mask", str(tmp_path / "masks")], "--mask has no c; give one for each input"),
        ([], "the model fills holes; say where with --mask"),
    ):
        with pytest.raises(SystemExit):
            run_command(translate.main, [*words, *more, "--overwrite"])
        assert message in capsys.readouterr().err
