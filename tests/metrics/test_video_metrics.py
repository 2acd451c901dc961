"""Flicker of stylized videos: clips whose motion and whose errors are known, files, refusals."""

import json

import numpy as np
import pytest
from PIL import Image
from test_flow import GRID, paint
from test_video import make

from ganjax.clips import ClipWriter
from ganjax.commands import evaluate
from ganjax.commands import weights as command_weights
from ganjax.errors import UserError
from ganjax.evaluation import video
from ganjax.metrics import pairs
from ganjax.metrics.protocols import parse

WANTED = parse("warping_error1,warping_error4,gram_distance_vgg16", video=True)
STYLE = np.full((20, 30, 3), 40, np.uint8)


def colors(name: str) -> pairs.Sight:
    """In place of a network: the colors themselves as a layer."""
    return pairs.Sight("tiny", lambda image: {"relu1_1": image[None]}, {})


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(pairs, "load", colors)
    monkeypatch.setattr(command_weights, "fetch_missing", lambda names: None)


def clip(count=6, seed=0):
    """A ground that goes by whole pixels."""
    places = [GRID - np.array((1.0, -2.0)) * number for number in range(count)]
    return [np.round(paint(p, seed) * 127.5 + 127.5).astype(np.uint8) for p in places]


def measured(drawn, content, wanted=WANTED):
    sides = (video.Frames(name, 0, iter(f)) for name, f in (("out", drawn), ("in", content)))
    results = video.measure_video(wanted, *sides, STYLE, progress=False)
    return {result.protocol.name: result for result in results}


def test_a_consistent_style_does_not_flicker_and_noise_has_its_variance():
    frames = clip()
    inverted = measured([255 - frame for frame in frames], frames)
    for stride, count in ((1, 5), (4, 2)):
        result = inverted[f"warping_error{stride}"]
        assert result.size == count and result.values["value"] < 2e-6
        np.testing.assert_allclose(*list(result.values.values())[:2], atol=1e-7)
        assert result.values["seen"] > 0.85
    random = np.random.default_rng(0)
    halved = [64 + frame / 2 for frame in frames]
    noisy = [(f + random.normal(0, 12, f.shape)).astype(np.uint8) for f in halved]
    got = measured(noisy, frames)
    for stride in (1, 4):
        # Flows that are not quite whole numbers of pixels average some of it.
        np.testing.assert_allclose(
            got[f"warping_error{stride}"].values["value"], 2 * (12 / 255) ** 2, rtol=0.15
        )


def test_a_style_that_pumps_is_seen_over_a_longer_time():
    frames = clip()
    drawn = [frame // 2 + 8 * number for number, frame in enumerate(frames)]
    got = measured(drawn, frames)
    for stride in (1, 4):
        error = got[f"warping_error{stride}"].values["value"]
        np.testing.assert_allclose(error, (8 * stride / 255) ** 2, rtol=0.05)


def test_pairs_across_a_cut_do_not_count():
    frames = clip() + clip(seed=7)
    got = measured([255 - frame for frame in frames], frames)
    assert [got[f"warping_error{stride}"].size for stride in (1, 4)] == [10, 4]
    assert got["warping_error4"].values["value"] < 1e-5


def test_the_distance_to_the_style_stands_beside_it():
    frames = clip(12)
    (result,) = measured([np.full_like(f, 40) for f in frames], frames, WANTED[2:]).values()
    assert result.size == 2 and result.digest == "tiny" and result.values["value"] < 1e-6
    (result,) = measured(frames, frames, WANTED[2:]).values()
    assert result.values["value"] > 0.1


def write(folder, frames):
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    return folder


def test_files_folders_and_gifs_are_measured(tmp_path, capsys):
    frames = clip()
    # One of the two may have a row more: encoders add one.
    content = write(tmp_path / "in", [np.pad(f, ((0, 1), (0, 0), (0, 0))) for f in frames])
    drawn, style = tmp_path / "out.mp4", tmp_path / "s.png"
    ClipWriter(drawn, "").write(iter(frames), rate="25", made=None)
    Image.fromarray(STYLE).save(style)
    words = ["--video", str(drawn), "--content", str(content), "--style", str(style)]
    told = tmp_path / "told.json"
    evaluate.main([*words, "--metrics", "warping_error1,warping_error4", "--json", str(told)])
    rows = json.loads(told.read_text())
    # The style is measured though nobody asked.
    names = ["warping_error1", "warping_error4", "style_loss_vgg16"]
    assert [row["metric"] for row in rows] == names
    assert rows[0]["value"] < 1e-3 and rows[0]["n"] == 5 and rows[0]["content_error"] < 1e-5
    assert rows[0]["video"] == str(drawn) and rows[2]["value"] > 0.01
    assert "content_error" in capsys.readouterr().out
    gif = tmp_path / "in.gif"
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(gif, save_all=True, append_images=images[1:], duration=40)
    assert len(list(video.open_frames(gif).frames)) == 6


def test_what_does_not_belong_together_is_one_line(tmp_path):
    frames, style = clip(3), tmp_path / "s.png"
    Image.fromarray(STYLE).save(style)
    folder = write(tmp_path / "in", frames)
    other = make(tmp_path / "other.mp4", sound=False)

    def refused(message, *words):
        with pytest.raises(UserError, match=message):
            evaluate.main([str(word) for word in words])

    refused("one of them", "--video", folder, "--generated", folder)
    refused("--video needs --content", "--video", folder, "--style", style)
    words = ["--content", folder, "--style", style]
    refused("frames of .*other.mp4 are 64x48, of .*in 128x96", "--video", other, *words)
    refused("has 3 frames, warping_error10 needs 11", "--video", folder, *words)
    refused("s.png is one picture", "--video", style, *words)
    refused("is a video; give a picture", "--video", folder, *words[:3], other)
    refused("has 3 pictures; give one", "--video", folder, *words[:3], folder)
    refused("fid5k is not for videos", "--video", folder, *words, "--metrics", "fid5k")
    refused(
        "warping_error1 is for videos",
        *("--generated", folder, "--reference", folder, "--metrics", "warping_error1"),
    )
    with pytest.raises(UserError, match="in has 3 frames, out more"):
        measured(clip(4), frames)
    (folder / "001.png").write_bytes(b"nothing")
    refused("001.png: ", "--video", folder, *words)
