"""Video files in and out, made and read back by ffmpeg itself."""

import subprocess

import numpy as np
import pytest

from ganjax import clips
from ganjax.clips import ClipWriter
from ganjax.errors import UserError
from ganjax.video import ffmpeg, is_video, probe, read_frames


def make(path, *options, size="64x48", rate="30000/1001", seconds=0.4, sound=True):
    """A test picture that moves, and a tone."""
    words = [ffmpeg(), "-y", "-v", "error"]
    words += ["-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}:duration={seconds}"]
    if sound:
        words += ["-f", "lavfi", "-i", f"sine=440:duration={seconds}", "-c:a", "aac"]
    subprocess.run([*words, "-pix_fmt", "yuv444p", *options, str(path)], check=True)
    return path


@pytest.fixture
def clip(tmp_path):
    return make(tmp_path / "a.mp4")


def test_a_file_says_what_it_is(clip):
    found = probe(clip)
    assert found.size == (48, 64) and found.rate == "30000/1001" and found.sound == "aac"
    frames = list(read_frames(found))
    assert len(frames) == found.frames == 12 and frames[0].shape == (48, 64, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 0.5
    assert not probe(make(clip, sound=False)).sound
    half = next(read_frames(found, (24, 32)))
    assert half.shape == (24, 32, 3) and abs(half.mean() - frames[0].mean()) < 2


def test_frames_are_turned_and_square(clip, tmp_path):
    turned = tmp_path / "turned.mp4"
    words = [ffmpeg(), "-v", "error", "-display_rotation", "90", "-i", str(clip), "-c", "copy"]
    subprocess.run([*words, str(turned)], check=True)
    assert probe(turned).size == (64, 48)
    frame, upright = next(read_frames(probe(turned))), next(read_frames(probe(clip)))
    np.testing.assert_allclose(np.rot90(upright).astype(int), frame, atol=3)
    wide = make(tmp_path / "wide.mkv", "-vf", "setsar=2")
    assert probe(wide).size == (48, 128)
    odd = make(tmp_path / "odd.mkv", size="63x47")
    assert probe(odd).size[0] == 47


def test_variable_frame_rates_keep_the_time(tmp_path):
    """Every third frame is missing in the second half; the length stays."""
    select = "select='lt(n,10)+mod(n,3)'"
    path = make(tmp_path / "v.mkv", "-vf", select, "-fps_mode", "vfr", rate="20", seconds=1)
    assert abs(len(list(read_frames(probe(path)))) - 20) <= 1


def write(path, frames, **options):
    ClipWriter(path, "job").write(iter(frames), **options)


@pytest.mark.parametrize("part", [250, 5])
def test_what_is_written_comes_back(clip, tmp_path, monkeypatch, part):
    monkeypatch.setattr(clips, "PART", part)
    found, path = probe(clip), tmp_path / "b.mp4"
    made = {"model": "toy"}
    write(path, read_frames(found), rate=found.rate, sound=(clip, found.sound), made=made)
    again = probe(path)
    assert again._replace(path=clip) == found
    for wanted, got in zip(read_frames(found), read_frames(again), strict=True):
        error = wanted.astype(float) - got
        assert np.abs(error.mean(axis=(0, 1))).max() < 2  # colors have half of the resolution
        assert np.abs(error @ (0.299, 0.587, 0.114)).mean() < 3
    words = [ffmpeg(), "-i", str(path)]
    said = subprocess.run(words, capture_output=True, check=False).stderr.decode()
    assert "model=toy" in said
    pcm = make(tmp_path / "pcm.mkv", "-c:a", "pcm_s16le")
    sound = (pcm, probe(pcm).sound)
    write(path, read_frames(found), rate="25", sound=sound, made=made)
    assert probe(path).sound == "aac" and probe(path).rate == "25/1"
    odd = [np.zeros((47, 63, 3), np.uint8)] * 2
    write(path, odd, rate="25", made=made)
    assert probe(path).size == (48, 64)
    with pytest.raises(UserError, match="video goes to FILE.mp4"):
        write(tmp_path / "a.gif", odd, rate="25", made=made)


def test_a_clip_that_was_interrupted_is_the_same(tmp_path, monkeypatch):
    """Whole parts stay, and what is remembered with them; those of another job do not."""
    monkeypatch.setattr(clips, "PART", 4)
    random = np.random.default_rng(0)
    frames = list(random.integers(0, 255, (10, 16, 24, 3), dtype=np.uint8))
    options = {"rate": "25", "made": None}
    write(tmp_path / "straight.mp4", frames, **options)

    def breaks(number):
        yield from frames[:number]
        raise KeyboardInterrupt

    path, seen = tmp_path / "broken.mp4", [np.int64(9)]
    with pytest.raises(KeyboardInterrupt):
        ClipWriter(path, "job").write(breaks(7), memory=seen, **options)
    assert not path.exists()
    assert ClipWriter(path, "another job").frames == 0
    again = ClipWriter(path, "job")
    assert again.frames == 4 and again.memory() == seen
    again.write(iter(frames[again.frames :]), **options)
    assert path.read_bytes() == (tmp_path / "straight.mp4").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken.mp4", "straight.mp4"]
    with pytest.raises(KeyboardInterrupt):
        ClipWriter(path, "job").write(breaks(7), **options)
    ClipWriter(path, "another job").write(iter(frames[:3]), **options)
    assert len(list(read_frames(probe(path)))) == 3
    mine = tmp_path / "broken.mp4.parts" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UserError, match="not of an interrupted clip; move it elsewhere"):
        ClipWriter(path, "job")
    assert mine.exists()


def test_bad_files_are_one_line(clip, tmp_path):
    assert is_video("A.MP4") and not is_video("a.png")
    whole = clip.read_bytes()
    sound = tmp_path / "sound.mp4"
    words = [ffmpeg(), "-v", "error", "-i", str(clip), "-vn", "-c", "copy", str(sound)]
    subprocess.run(words, check=True)
    for name, content, message in (
        ("cut.mp4", whole[: len(whole) // 2], "cannot be read: "),
        ("text.mp4", b"no video at all", "cannot be read: "),
        ("empty.mp4", b"", "cannot be read: "),
        ("sound.mp4", sound.read_bytes(), "has no pictures"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            probe(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        probe(tmp_path / "missing.mp4")
