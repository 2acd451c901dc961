"""`ganjax edit --input` and `--between`, on runs of no step, seen through pixels."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from toys import save_run

from ganjax import Generator, UserError, outputs, runs
from ganjax.commands import edit, edit_images, weights
from ganjax.data.avatars import ATTRIBUTES, MASK_CLASSES, render
from ganjax.editing.editor import Editor
from ganjax.editing.regions import Segmenter
from ganjax.images import read_image
from ganjax.metrics import pairs

pytestmark = pytest.mark.slow
SMALL = {"data__image_size": "16", "model__width": 4, "model__latent_size": 6}
FEW = ("--steps", 10, "--starts", 2, "--tuning", 10)


@pytest.fixture(autouse=True)
def sight(monkeypatch):
    """The pixels themselves are the features."""
    seen = pairs.Sight(
        "", lambda image: image, {"pixels": jnp.ones(3)}, 2.0,
        lambda params, images: {"pixels": params + images}, least=16,
    )  # fmt: skip
    monkeypatch.setattr(pairs, "load", lambda name: seen)
    monkeypatch.setattr(weights, "fetch_missing", lambda names: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with directions, and two images of its own in own/."""
    folder = save_run(tmp_path_factory.mktemp("runs") / "dcgan", "dcgan", **SMALL)
    edit.main(["--workdir", str(folder), "--find", "sefa"])
    (folder / "own").mkdir()
    for number, image in enumerate(Generator.load(folder).sample(2, seed=3)):
        Image.fromarray(image).save(folder / "own" / f"{number}.png")
    return folder


def call(run: Path, *words) -> None:
    edit.main(["--workdir", str(run), *map(str, words)])


def far(a, b) -> float:
    return float(np.abs(np.asarray(a, int) - np.asarray(b, int)).mean())


def test_a_kept_inversion_is_edited_as_in_python(run, tmp_path, capsys):
    own = run / "own"
    call(run, "--input", own / "0.png", *FEW, "--save_latent", tmp_path / "a.safetensors")
    assert "0.png: inverted in" in capsys.readouterr().err
    editor = Editor.load(str(run))
    kept = editor.read(tmp_path / "a.safetensors")
    assert kept.tuned.lpips <= kept.found.lpips
    np.testing.assert_array_equal(kept.target, read_image(own / "0.png"))
    words = "--input", tmp_path / "a.safetensors", "--direction", "sefa_1=2", "sefa_2=-1"
    call(run, *words, "--output", tmp_path / "edited.png")
    shift = Generator.load(run).shift({"sefa_1": 2.0, "sefa_2": -1.0})
    (edited,) = editor.edit(kept, shift=shift)
    np.testing.assert_array_equal(read_image(tmp_path / "edited.png"), edited)
    (plain,) = editor.edit(kept)
    assert far(edited, plain) > 1
    text = Image.open(tmp_path / "edited.png").text
    assert "compositeWithTrainedAlgorithmicMedia" in text["DigitalSourceType"]
    assert text["Checkpoint"] == editor.checkpoint


@pytest.mark.long
def test_many_images_go_to_folders_and_nothing_is_replaced(run, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for image in (run / "own").iterdir():
        (tmp_path / "in" / image.name).write_bytes(image.read_bytes())
    (tmp_path / "in" / "2.png").write_bytes(b"broken")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.png").write_bytes(b"mine")
    words = "--input", tmp_path / "in", *FEW, "--output", tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        call(run, *words, "--no_metadata")
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "error: 2.png: " in said and "0.png: is there already" in said
    assert (tmp_path / "out" / "0.png").read_bytes() == b"mine"
    assert not Image.open(tmp_path / "out" / "1.png").text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]


def test_several_inversions_are_told_on_average(capsys):
    session = edit_images._Session.__new__(edit_images._Session)
    session._found = [(10.0, (0.2, 20.0), (0.1, 30.0)), (20.0, (0.4, 22.0), (0.3, 32.0))]
    session.tell_means()
    assert capsys.readouterr().err == (
        "mean of 2 images: 15 s, LPIPS 0.300, PSNR 21.0 dB; with the generator tuned, LPIPS 0.200, "
        "PSNR 31.0 dB\n"
    )


def test_sliders_have_a_row_for_each_direction(run, tmp_path):
    words = "--input", run / "own" / "0.png", *FEW, "--output", tmp_path / "a.png", "--sliders"
    call(run, *words, "--direction", "sefa_1=3", "sefa_2=1")
    sheet = read_image(tmp_path / "a.png")[:, -(7 * 18 + 2) :]
    assert sheet.shape == (2 * 18 + 2, 7 * 18 + 2, 3)
    cells = [[sheet[y : y + 16, 2 + 18 * x : 18 + 18 * x] for x in range(7)] for y in (2, 20)]
    np.testing.assert_array_equal(cells[0][3], cells[1][3])  # both of strength 0
    assert far(cells[0][0], cells[0][3]) > far(cells[0][2], cells[0][3]) > 0
    call(run, *words[:-3], "--output", tmp_path / "b.png", "--direction", "sefa_1=-3")
    np.testing.assert_allclose(read_image(tmp_path / "b.png"), cells[0][0], atol=1)


@pytest.mark.long
def test_masks_and_held_classes_keep_the_images_own_pixels(run, tmp_path, monkeypatch):
    mask = np.zeros((16, 16), np.uint8)
    mask[:8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in.png")
    words = "--input", tmp_path / "in.png", *FEW, "--direction", "sefa_1=3"
    call(run, *words, "--output", tmp_path / "all.png")
    call(run, *words, "--output", tmp_path / "half.png", "--mask", tmp_path / "mask.png")
    whole, half = (read_image(tmp_path / name) for name in ("all.png", "half.png"))
    np.testing.assert_array_equal(half, np.where(mask[:, :, None] > 0, whole, noise))
    segmenter = save_run(
        tmp_path / "segmenter", "segmentation", model__width=4, data__image_size="16",
        data__load_size="16",
    )  # fmt: skip
    held = Segmenter(runs.load(segmenter), "it", MASK_CLASSES[:5]).region(noise)
    words += "--segmenter", segmenter, "--hold", *MASK_CLASSES[:5]
    call(run, *words, "--output", tmp_path / "held.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "held.png"), np.where(held > 0, noise, whole)
    )


def test_classes_are_found_where_they_are():
    shown = render(np.arange(4), (64, 64))
    segmenter = Segmenter(runs.load("segment_avatars"), "it", ["hair", "hat"])
    for image, classes in zip(shown["image"], shown["mask"], strict=True):
        held, wanted = (
            segmenter.region(image)[:, :, 0] > 0,
            np.isin(classes, [2, 7]),
        )
        assert (held & wanted).sum() > 0.8 * (held | wanted).sum()


@pytest.mark.long
def test_between_two_images_lies_a_video(run, tmp_path, monkeypatch):
    frames = []
    monkeypatch.setattr(outputs, "write_animation", lambda path, drawn, **_: frames.extend(drawn))
    images = run / "own" / "0.png", run / "own" / "1.png"
    for number, image in enumerate(images):
        call(run, "--input", image, *FEW, "--save_latent", tmp_path / f"{number}.safetensors")
    kept = tmp_path / "0.safetensors", tmp_path / "1.safetensors"
    call(run, "--between", *kept, "--output", tmp_path / "a.mp4", "--frames", 5)
    editor = Editor.load(str(run))
    ends = [editor.edit(editor.read(path))[0] for path in kept]
    assert len(frames) == 5
    np.testing.assert_allclose(frames[0].astype(int), ends[0], atol=1)
    np.testing.assert_allclose(frames[-1].astype(int), ends[1], atol=1)
    assert 0 < far(frames[2], ends[0]) < far(*ends) * 1.5


@pytest.mark.long
def test_conditions_change_alone(tmp_path, capsys):
    """Attributes by --set; words of a text in place of others, or behind them."""
    sizes = tuple(map(len, ATTRIBUTES.values()))
    run = save_run(
        tmp_path / "gan", "gan", data__labels=True, model__attributes=sizes, model__classes=0
    )
    image = Generator.load(run).sample(1)[0]
    Image.fromarray(image).save(tmp_path / "in.png")
    words = "--input", tmp_path / "in.png", *FEW, "--shows", "1=2", "--save_latent"
    call(run, *words, tmp_path / "a.safetensors")
    editor = Editor.load(str(run))
    kept = editor.read(tmp_path / "a.safetensors")
    assert kept.inputs["label"][0, 1] == 2
    call(run, "--input", tmp_path / "a.safetensors", "--set", "0=3", "--output", tmp_path / "b.png")
    asked = np.full(len(sizes), -1)
    asked[0] = 3
    (edited,) = editor.edit(kept, asked=asked)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), edited)
    changed = kept._replace(inputs=kept.inputs | {"label": kept.inputs["label"].at[0, 0].set(3)})
    np.testing.assert_array_equal(editor.edit(changed)[0], edited)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--input", "{own}"], "give --output, or --save_latent"),
        (["--input", "{own}", "--output", "a.png", "--sliders"], "--sliders needs --direction"),
        (["--input", "{own}", "--output", "a.png", "--steps", "0"], "--steps is 0; it must be 10"),
        (["--input", "{own}", "--output", "a.png", "--shows", "cat"], "knows no classes"),
        (["--input", "{own}", "--output", "a.png", "--text", "cat"], "can be asked for nothing"),
        (["--input", "{own}", "--output", "a.png", "--hold", "hiar"], "did you mean hair?"),
        (["--input", "{own}", "--output", "a.png", "--segmenter", "x"], "goes with --hold CLASS"),
        (["--input", "{own}", "--output", "a.png", "--set", "hat=cap"], "--direction hat_cap"),
        (["--between", "{own}", "{own}", "--output", "a.png"], "give FILE.gif, .mp4"),
        (["--input", "no.png", "--output", "a.png"], "no.png does not exist"),
    ],
)
def test_wrong_options_end_in_one_line(run, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    words = [word.format(own=run / "own" / "0.png") for word in words]
    try:
        call(run, *words, *FEW[: 0 if "--steps" in words else 6])
        said = ""
    except UserError as error:
        said = str(error)
    except SystemExit:
        said = capsys.readouterr().err
    assert says in said
    assert not any(tmp_path.iterdir())
