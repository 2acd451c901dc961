"""Stylized video: each frame as by itself, or with statistics that last."""

import itertools

import numpy as np
import pytest
from PIL import Image
from test_stylize import by_styles, close, picture, toy
from test_video import make

from ganjax import Stylizer, clips
from ganjax.commands import stylize as command
from ganjax.errors import UserError
from ganjax.stylize import encode_style
from ganjax.stylize.video import fade, stylize_frames
from ganjax.video import probe, read_frames

STYLES = [picture(64, 64, 1), picture(50, 30, 2, 0, 255)]


def drawn(frames, **options):
    styles = [encode_style(toy(), style) for style in STYLES]
    return list(stylize_frames(toy(), frames, styles, itertools.repeat((0.3, 0.7)), **options))


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_without_smoothing_each_frame_is_by_itself(alpha):
    frames = [picture(33, 50, seed) for seed in (0, 3)]
    wanted = by_styles(toy(), frames, STYLES, (0.3, 0.7))
    if alpha == 1:
        for got, image in zip(drawn(frames, smoothing=0.0), wanted, strict=True):
            close(got, image)
    weak = drawn(frames, smoothing=0.0, alpha=alpha)[0]
    assert (
        np.abs(weak.astype(int) - frames[0]).mean()
        <= np.abs(wanted[0].astype(int) - frames[0]).mean()
    )


def test_the_api_draws_the_same():
    stylizer, frames = Stylizer(toy()), [picture(33, 50, seed) for seed in (0, 3)]
    styles = [stylizer.encode(style, size=min(style.shape[:2])) for style in STYLES]
    got = list(stylizer.frames(frames, styles, weights=(0.3, 0.7)))
    np.testing.assert_array_equal(got, drawn(frames))
    with pytest.raises(UserError, match="smoothing is 1; give 0 to below 1"):
        stylizer.frames(frames, styles, smoothing=1)


def test_styles_fade_into_each_other():
    stylizer, frame = Stylizer(toy()), picture(33, 50)
    styles = [stylizer.encode(style, size=min(style.shape[:2])) for style in STYLES]
    rows = np.array(list(itertools.islice(fade(2, 3), 3)))
    np.testing.assert_allclose(rows, [[1, 0], [0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(next(itertools.islice(fade(3, 5), 3, 4)), [0, 0.5, 0.5])
    got = list(stylizer.frames([frame] * 4, styles, weights=rows, smoothing=0))
    for image, mixture in zip(got, (rows[0], rows[1], rows[2], rows[2]), strict=True):
        close(image, by_styles(toy(), [frame], STYLES, mixture)[0])


def test_what_comes_and_goes_does_not_change_the_rest():
    """A corner that flashes moves the statistics of a frame, and so all of its pixels."""
    frames = []
    for number in range(6):
        frame = picture(48, 64)
        frame[:16, :16] = 255 * (number % 2)
        frames.append(frame)

    def flicker(images):
        rest = np.stack(images)[:, 24:, 24:].astype(float)
        return np.abs(np.diff(rest, axis=0)).mean()

    assert flicker(drawn(frames, smoothing=0.9)) < 0.5 * flicker(drawn(frames, smoothing=0.0))


def test_noise_is_averaged_where_nothing_moves():
    random, still = np.random.default_rng(0), picture(48, 64).astype(float)
    frames = []
    for number in range(8):
        frame = still + random.normal(0, 3, still.shape)
        frame[:, 40 + 2 * number : 44 + 2 * number] = 255 * (number % 2)  # what moves
        frames.append(frame.clip(0, 255).astype(np.uint8))

    def flicker(images):
        return np.square(np.diff(np.stack(images)[-4:, :, :36].astype(float), axis=0)).mean()

    smooth, single = drawn(frames, smoothing=0.9), drawn(frames, smoothing=0.0)
    assert flicker(smooth) < 0.3 * flicker(single)
    shown = np.stack([smooth[-1], single[-1]])[:, :, 54:58].astype(float)
    assert np.abs(shown[0] - shown[1]).mean() < 12  # no ghosts of it


def test_another_scene_starts_anew():
    dark, bright = picture(48, 64, 0, 0, 60), picture(48, 64, 3, 190, 255)
    last = drawn([dark, dark, bright])[-1]
    close(last, drawn([bright])[0])


def test_frames_go_on_from_what_is_remembered():
    """As if they had never stopped, bit for bit, and in the same scene."""
    frames = [picture(48, 64, 0, 0, 200 + number) for number in range(5)]
    memory: list = []
    first = drawn(frames[:3], memory=memory)
    again = drawn(frames[3:], memory=[np.asarray(array) for array in memory])
    np.testing.assert_array_equal([*first, *again], drawn(frames))
    assert not np.array_equal(again[0], drawn(frames[3:])[0])


def test_a_killed_clip_goes_on_by_the_same_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clips, "PART", 2)
    clip, style = make(tmp_path / "a.mp4", seconds=0.2), tmp_path / "style.png"
    Image.fromarray(STYLES[0]).save(style)
    words = ["--content", str(clip), "--style", str(style), "--style_size", "64"]
    command.main([*words, "--output", str(tmp_path / "straight.mp4")])
    resumed, write = tmp_path / "resumed.mp4", clips.encode

    def die(path, *arguments, **options):
        write(path, *arguments, **options)
        if "000001" in path.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(clips, "encode", die)
    with pytest.raises(KeyboardInterrupt):
        command.main([*words, "--output", str(resumed)])
    monkeypatch.setattr(clips, "encode", write)
    capsys.readouterr()
    command.main([*words, "--output", str(resumed)])
    assert "resumed.mp4 goes on after frame 2" in capsys.readouterr().err
    assert resumed.read_bytes() == (tmp_path / "straight.mp4").read_bytes()


def test_a_clip_is_stylized_with_its_sound(tmp_path):
    clip, style = make(tmp_path / "a.mp4", seconds=0.2), tmp_path / "s.mp4"
    picture_file = tmp_path / "style.png"
    Image.fromarray(STYLES[0]).save(picture_file)
    words = ["--content", str(clip), "--style", str(picture_file), "--style_size", "64"]
    output = ["--output", str(tmp_path / "out.mp4")]
    command.main([*words, *output])
    found = probe(tmp_path / "out.mp4")
    assert found._replace(path=clip) == probe(clip)
    before, after = (next(read_frames(file)) for file in (probe(clip), found))
    assert np.abs(before.astype(int) - after).mean() > 10
    for more, message in (
        (output, "exists; --overwrite replaces it"),
        (["--output", str(tmp_path / "out.png")], "out.png: give FILE.mp4"),
        ([*output, "--grid"], "--grid is not for videos"),
        ([*output, "--smoothing", "1"], "--smoothing from 0 to below 1"),
        (
            [*output, "--overwrite", "--style_weights", "1", "1"],
            "1 styles need --fade, or as many --style_weights",
        ),
        ([*output, "--overwrite", "--fade"], "--fade goes from style to style: give two or more"),
    ):
        with pytest.raises(UserError, match=message):
            command.main([*words, *more])
    dark = tmp_path / "dark.png"
    Image.fromarray(STYLES[1] // 4).save(dark)
    two = ["--content", str(clip), "--style", str(picture_file), str(dark), "--style_size", "64"]
    command.main([*two, "--fade", "--overwrite", *output])
    faded = list(read_frames(probe(tmp_path / "out.mp4")))
    assert faded[0].mean() > faded[-1].mean() + 20
    style.write_bytes(clip.read_bytes())
    with pytest.raises(UserError, match="is a video; give a picture"):
        command.main(["--content", str(clip), "--style", str(style), *output])
