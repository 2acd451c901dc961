"""Folders and zips of images: what is read, what is left out and named, what is refused."""

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganjax.data import folder
from ganjax.data.fields import Field
from ganjax.data.source import Source, open_source
from ganjax.errors import UserError


def png(value: int, size: tuple[int, int] = (6, 6)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size[::-1], (value, value, value)).save(content, "PNG")
    return content.getvalue()


def jpeg(value: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (40, 40), (value, value, value)).save(content, "JPEG")
    return content.getvalue()


TREE = {
    "dog/1.png": png(10),
    "dog/2.JPG": jpeg(20),
    "cat/deep/er/3.png": png(30),
    "cat/4.jpeg": jpeg(40),
    "notes.txt": b"hello",
    ".hidden.png": png(50),
    ".git/x.png": png(60),
    "__MACOSX/._1.png": b"junk",
}


def write_tree(folder: Path, tree: dict[str, bytes]) -> Path:
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path: Path, tree: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    return path


def load_all(source: Source, size: tuple[int, int] = (6, 6)):
    return source.load(range(len(source)), size, 3)


@pytest.mark.parametrize("write", [write_tree, write_zip])
def test_images_are_found_recursively_and_in_order(tmp_path, write, capsys):
    source = open_source(f"folder:{write(tmp_path / 'data', TREE)}")
    arrays, broken = load_all(source)
    assert arrays["image"].shape == (4, 6, 6, 3) and arrays["image"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["image"][:, 3, 3, 0], [40, 30, 10, 20])
    assert source.fields["label"] == Field("class", names=("cat", "dog"))
    np.testing.assert_array_equal(arrays["label"], [0, 0, 1, 1])
    assert arrays["label"].dtype == np.int32 and not broken
    assert "1 files that are no images ignored: notes.txt" in capsys.readouterr().err


def test_any_subset_in_any_order(tmp_path):
    source = open_source(f"folder:{write_tree(tmp_path, TREE)}")
    arrays, _ = source.load([3, 0], (4, 5), 1)
    assert arrays["image"].shape == (2, 4, 5, 1)
    np.testing.assert_array_equal(arrays["image"][:, 2, 2, 0], [20, 40])
    np.testing.assert_array_equal(arrays["label"], [1, 0])


def test_a_flat_folder_has_no_labels(tmp_path):
    source = open_source(f"folder:{write_tree(tmp_path, {'a.png': png(1)})}")
    assert set(source.fields) == {"image"} == set(load_all(source)[0])


@pytest.mark.parametrize("write", [write_tree, write_zip])
def test_broken_files_are_named_and_left_out(tmp_path, write):
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(photo).save(content, "JPEG")
    tree = {
        "a/good.png": png(1),
        "a/truncated.jpg": content.getvalue()[:1500],
        "b/text.png": b"no image",
        "b/empty.png": b"",
        "b/last.png": png(2),
    }
    arrays, broken = load_all(open_source(f"folder:{write(tmp_path / 'data', tree)}"))
    np.testing.assert_array_equal(arrays["image"][:, 0, 0, 0], [1, 2])
    np.testing.assert_array_equal(arrays["label"], [0, 1])
    reasons = dict(broken)
    assert list(reasons) == ["a/truncated.jpg", "b/empty.png", "b/text.png"]
    assert "truncated" in reasons["a/truncated.jpg"]
    assert reasons["b/text.png"].startswith("is no image in JPEG")


def test_links(tmp_path, capsys):
    outside = write_tree(tmp_path / "outside", {"secret.png": png(9)})
    folder = write_tree(tmp_path / "data", {"real.png": png(1)})
    (folder / "inside.png").symlink_to("real.png")
    (folder / "leak.png").symlink_to(outside / "secret.png")
    (folder / "dangling.png").symlink_to("absent.png")
    (folder / "folder").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    source = open_source(f"folder:{folder}")
    arrays, broken = load_all(source)
    np.testing.assert_array_equal(arrays["image"][:, 0, 0, 0], [1, 1])
    reasons = dict(broken)
    assert set(reasons) == {"leak.png", "dangling.png"}
    assert reasons["leak.png"].startswith("is a link out of the folder; --follow_links")
    (line,) = capsys.readouterr().err.splitlines()
    assert "2 linked folders are passed over: folder, loop; --follow_links (in training" in line
    followed = open_source(f"folder:{folder}", follow_links=True)
    arrays, broken = load_all(followed)
    names = ["dangling.png", "folder/secret.png", "inside.png", "leak.png", "real.png"]
    assert followed.names == names and [b.name for b in broken] == ["dangling.png"]
    np.testing.assert_array_equal(arrays["image"][:, 0, 0, 0], [9, 1, 9, 1])
    assert followed.digest != source.digest
    (alone := tmp_path / "alone").mkdir()
    (alone / "leak.png").symlink_to(outside / "secret.png")
    pair = [open_source(f"folder:{alone}", follow_links=follow) for follow in (False, True)]
    assert pair[0].digest != pair[1].digest  # or the cache would know it as broken


def test_links_in_circles_and_to_each_other(tmp_path):
    """Each folder is read once, by its own name where it lies inside."""
    folder = write_tree(tmp_path / "data", {"cat/1.png": png(1), ".store/dog/2.png": png(2)})
    outside = write_tree(tmp_path / "outside", {"3.png": png(3), "deep/4.png": png(4)})
    (folder / "alias").symlink_to(folder / "cat")
    (folder / "dog").symlink_to(folder / ".store" / "dog")
    (folder / "owl").symlink_to(outside)
    (folder / "zoo").symlink_to(outside)
    (outside / "back").symlink_to(folder)
    (outside / "up").symlink_to(tmp_path)
    (outside / "deep" / "round").symlink_to(outside)
    source = open_source(f"folder:{folder}", follow_links=True)
    assert source.names == ["cat/1.png", "dog/2.png", "owl/3.png", "owl/deep/4.png"]
    assert source.fields["label"].names == ("cat", "dog", "owl")


@pytest.mark.parametrize("write", [write_tree, write_zip])
@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({".hidden": b""}, "holds nothing, no image"),
        (
            {"a.txt": b"a", "b/c.csv": b"c"},
            r"only 2 other files \(a.txt, b/c.csv\), no image",
        ),
        ({"a.txt": b"a", "z/inner.zip": b"PK"}, r"\(z/inner.zip, a.txt\), no image"),
    ],
)
def test_without_any_image(tmp_path, write, tree, message):
    with pytest.raises(UserError, match=message):
        open_source(f"folder:{write(tmp_path / 'data', tree)}")


def test_what_cannot_be_opened(tmp_path):
    write_tree(tmp_path, {"text.zip": b"no zip", "a/b.png": png(1)})
    with pytest.raises(UserError, match="does not exist"):
        open_source(f"folder:{tmp_path / 'absent'}")
    with pytest.raises(UserError, match="neither a folder nor a .zip"):
        open_source(f"folder:{tmp_path / 'text.zip'}")
    whole = write_zip(tmp_path / "cut.zip", {"b.png": png(1)})
    whole.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(UserError, match="cut.zip is cut short; fetch or copy it again"):
        open_source(f"folder:{whole}")
    for spec in ("", "folder", "folder:", "photos", "tfds:", "ftp://x"):
        with pytest.raises(UserError, match="give avatars.*, folder:PATH.*tfds:NAME.*lsun:PATH"):
            open_source(spec)


def test_an_unreadable_folder_is_not_passed_over(tmp_path, monkeypatch):
    write_tree(tmp_path, {"a/b.png": png(1), "c/d.png": png(2)})
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "c":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="c cannot be read: Permission denied"):
        open_source(f"folder:{tmp_path}")


def test_a_folder_inside_a_zip(tmp_path):
    tree = {"art/monet/a.png": png(1), "art/photo/b.png": png(2), "art/photo/c.png": png(3)}
    path = write_zip(tmp_path / "art.zip", tree)
    for spec in (f"folder:{path}/art/photo", f"{path}/art/photo/"):
        source = open_source(spec)
        assert [source.name(n) for n in range(len(source))] == [
            "art/photo/b.png",
            "art/photo/c.png",
        ]
        assert "label" not in source.fields
    np.testing.assert_array_equal(
        source.load([0], (4, 4), 3)[0]["image"],
        open_source(str(path)).load([1], (4, 4), 3)[0]["image"],
    )
    with pytest.raises(UserError, match="art.zip/art/phot holds nothing, no image"):
        open_source(f"{path}/art/phot")
    with pytest.raises(UserError, match="none.zip/art does not exist"):
        open_source(str(tmp_path / "none.zip" / "art"))


def test_zip_bombs(tmp_path, monkeypatch):
    tree = {"a.png": png(1), "bomb.png": bytes(17 * 2**20)}
    arrays, broken = load_all(open_source(f"folder:{write_zip(tmp_path / 'a.zip', tree)}"))
    assert len(arrays["image"]) == 1
    assert broken == [("bomb.png", "claims 17 MiB, which no honest image file has")]
    # Above the limit whatever its ratio.
    tree = {"a.png": png(1), "large.bmp": os.urandom(2000)}
    monkeypatch.setattr(folder, "MAX_BYTES", 1000)
    for write in (write_zip, write_tree):
        source = open_source(f"folder:{write(tmp_path / write.__name__, tree)}")
        assert [name for name, _ in load_all(source)[1]] == ["large.bmp"]


def _patch_directory(path: Path, name: str, offset: int, value: bytes) -> None:
    """Overwrites a field of one entry of a zip's central directory."""
    content = bytearray(path.read_bytes())
    start = content.rindex(name.encode()) - 46
    assert content[start : start + 4] == b"PK\x01\x02"
    content[start + offset : start + offset + len(value)] = value
    path.write_bytes(content)


def test_a_zip_that_lies_about_sizes_unpacks_no_more(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": png(1), "liar.png": bytes(64 * 2**20)})
    _patch_directory(path, "liar.png", 24, struct.pack("<I", 1000))
    source = open_source(f"folder:{path}")
    tracemalloc.start()
    try:
        arrays, broken = load_all(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(arrays["image"]) == 1 and [name for name, _ in broken] == ["liar.png"]
    assert peak < 4 * 2**20


def test_encrypted_and_damaged_members(tmp_path):
    path = write_zip(
        tmp_path / "a.zip",
        {"a.png": png(1), "locked.png": png(2), "rotten.png": png(3)},
        compression=zipfile.ZIP_STORED,
    )
    _patch_directory(path, "locked.png", 8, struct.pack("<H", 1))
    _patch_directory(path, "rotten.png", 16, b"\0\0\0\0")  # its checksum
    arrays, broken = load_all(open_source(f"folder:{path}"))
    assert len(arrays["image"]) == 1
    assert dict(broken)["locked.png"] == "is encrypted"
    assert "Bad CRC" in dict(broken)["rotten.png"]


def test_nothing_is_unpacked_to_disk(tmp_path):
    folder = tmp_path / "x" / "y"
    folder.mkdir(parents=True)
    path = write_zip(folder / "a.zip", {"../../evil.png": png(1), "/abs.png": png(2)})
    arrays, _ = load_all(open_source(f"folder:{path}"))
    assert len(arrays["image"]) == 2
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.zip"]


def test_digest_follows_the_content(tmp_path):
    folder = write_tree(tmp_path / "data", TREE)
    first = open_source(f"folder:{folder}").digest
    assert open_source(f"folder:{folder}").digest == first
    os.utime(folder / "notes.txt", ns=(1, 1))
    assert open_source(f"folder:{folder}").digest == first
    os.utime(folder / "dog/1.png", ns=(1, 1))
    touched = open_source(f"folder:{folder}").digest
    (folder / "dog/1.png").rename(folder / "dog/0.png")
    assert len({first, touched, open_source(f"folder:{folder}").digest}) == 3


@pytest.mark.parametrize("way", ["rename", "in place"])
def test_another_file_of_the_same_name_size_and_date_is_another(tmp_path, way):
    folder = write_tree(tmp_path / "data", TREE)
    first, path = open_source(f"folder:{folder}").digest, folder / "dog/1.png"
    before, target = path.stat(), path if way == "in place" else tmp_path / "new.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    target.write_bytes(content)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    target.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert open_source(f"folder:{folder}").digest != first


def test_digest_of_a_zip_ignores_its_own_date(tmp_path):
    first = open_source(f"folder:{write_zip(tmp_path / 'a.zip', TREE)}").digest
    os.utime(tmp_path / "a.zip", ns=(1, 1))
    assert open_source(f"folder:{tmp_path / 'a.zip'}").digest == first
    changed = TREE | {"dog/1.png": png(11)}
    assert open_source(f"folder:{write_zip(tmp_path / 'a.zip', changed)}").digest != first


def test_pipes_are_not_waited_for(tmp_path):
    folder = write_tree(tmp_path, {"a.png": png(1)})
    os.mkfifo(folder / "b.png")
    (folder / "c.png").symlink_to("c.png")
    arrays, broken = load_all(open_source(f"folder:{folder}"))
    assert len(arrays["image"]) == 1
    assert broken == [("b.png", "is no file"), ("c.png", "is a link that leads nowhere")]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_without_bounds_is_left_out(tmp_path, method):
    path = write_zip(tmp_path / "a.zip", {"bomb.png": bytes(2**25)}, compression=method)
    _patch_directory(path, "bomb.png", 24, struct.pack("<I", 1000))
    source = open_source(f"folder:{path}")
    tracemalloc.start()
    try:
        _, broken = load_all(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "another way than deflate" in broken[0].reason and peak < 2**20


@pytest.mark.parametrize("write", [write_tree, write_zip])
def test_names_do_not_reach_the_terminal_raw(tmp_path, write, capsys):
    tree = {"a\n\x1b[2J.png": png(7), "b\x1b.txt": b"", "ü\N{SNOWMAN}.png": b"no image"}
    source = open_source(f"folder:{write(tmp_path / 'data', tree)}")
    assert source.names == ["a\\n\\x1b[2J.png", "ü\N{SNOWMAN}.png"]
    arrays, broken = load_all(source)
    assert arrays["image"].max() == 7 and [name for name, _ in broken] == ["ü\N{SNOWMAN}.png"]
    assert capsys.readouterr().err.endswith(": b\\x1b.txt\n")


def test_long_names_are_shortened_and_told_apart(tmp_path):
    names = [f"{'d/' * 20000}{k}{'e' * 1000}.png" for k in range(3)]
    source = open_source(f"folder:{write_zip(tmp_path / 'a.zip', dict.fromkeys(names, png(1)))}")
    assert len(source) == 3 and max(map(len, source.names)) < 250
    assert len(load_all(source)[0]["image"]) == 3


def test_damaged_directories_of_zips(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": png(1)})
    whole = path.read_bytes()
    entry = whole.index(b"PK\1\2")
    # The version that it needs, a name that is no UTF-8, an empty name.
    for offset, value in ((6, b"\xff\xff"), (8, b"\0\x08"), (28, b"\0\0")):
        content = bytearray(whole)
        content[entry + offset : entry + offset + len(value)] = value
        content[entry + 46] = 0xFF
        path.write_bytes(content)
        with pytest.raises(UserError, match="^[ -~]+$"):
            open_source(f"folder:{path}")


@pytest.mark.parametrize("name", ["n" * 5000, "~nobody-of-that-name/x", "a\0b"])
def test_what_can_be_no_name(name):
    with pytest.raises(UserError, match="does not exist"):
        open_source(f"folder:{name}")
    with pytest.raises(UserError, match="does not exist"):
        folder.list_pictures([name])
