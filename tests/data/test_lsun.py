"""LSUN's LMDB form, on a small one written here."""

import io

import lmdb
import numpy as np
import pytest
from PIL import Image

from ganjax.data.cache import open_examples
from ganjax.data.source import open_source
from ganjax.errors import UserError


def encode(value: int, form: str) -> bytes:
    content = io.BytesIO()
    options = {"lossless": True} if form == "WEBP" else {}
    Image.new("RGB", (40, 30), (value,) * 3).save(content, form, **options)
    return content.getvalue()


def write_lmdb(folder, values, *, form="WEBP"):
    environment = lmdb.open(str(folder), map_size=2**24)
    with environment.begin(write=True) as transaction:
        for key, value in values.items():
            content = value if isinstance(value, bytes) else encode(value, form)
            transaction.put(key.encode(), content)
    environment.close()
    return folder


@pytest.mark.parametrize("form", ["WEBP", "JPEG"])
def test_images_come_in_the_order_of_their_keys(tmp_path, form):
    keys = [f"{(7919 * k) % 1000:040x}" for k in range(150)]  # LSUN's keys are SHA-1 digests
    folder = write_lmdb(tmp_path / "bedroom_val_lmdb", dict(zip(keys, range(150), strict=True)))
    source = open_source(f"lsun:{folder}")
    assert len(source) == 150 and set(source.fields) == {"image"}
    examples = open_examples(
        source, image_size=(16, 16), channels=3, folder=tmp_path / "cache", progress=False
    )
    expected = [keys.index(key) for key in sorted(keys)]
    np.testing.assert_array_equal(examples.arrays["image"][:, 8, 8, 0], expected)
    assert set(examples.arrays) == {"image"} and examples.arrays["image"].shape[1:] == (16, 16, 3)


def test_keys_are_found_as_far_as_needed_and_in_any_order(tmp_path):
    folder = write_lmdb(tmp_path / "a", {f"{k:03d}": k for k in range(100)})
    source = open_source(f"lsun:{folder}")
    for indices in ([5, 2], [30, 99, 0], [7]):
        arrays, _ = source.load(indices, (8, 8), 1)
        np.testing.assert_array_equal(arrays["image"][:, 4, 4, 0], indices)


def test_broken_images_are_named(tmp_path):
    folder = write_lmdb(tmp_path / "a", {"aa": 1, "bb": b"junk", "cc": 3})
    arrays, broken = open_source(f"lsun:{folder}").load(range(3), (8, 8), 3)
    np.testing.assert_array_equal(arrays["image"][:, 0, 0, 0], [1, 3])
    assert [name for name, _ in broken] == ["bb"]


def test_the_same_file_may_be_opened_twice(tmp_path):
    folder = write_lmdb(tmp_path / "a", {"aa": 1})
    first, second = open_source(f"lsun:{folder}"), open_source(f"lsun:{folder}")
    assert first.digest == second.digest and len(second) == 1


def test_digest_follows_the_content(tmp_path):
    digests = set()
    for number, values in enumerate(({"aa": 1}, {"aa": 1, "bb": 2}, {"ab": 1})):
        digests.add(open_source(f"lsun:{write_lmdb(tmp_path / str(number), values)}").digest)
    assert len(digests) == 3


def test_what_cannot_be_opened(tmp_path):
    for name, message in (("absent", "does not exist"), ("", "holds no data.mdb")):
        with pytest.raises(UserError, match=message):
            open_source(f"lsun:{tmp_path / name}")
    (tmp_path / "bedroom_train_lmdb.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="still packed; unpack it"):
        open_source(f"lsun:{tmp_path / 'bedroom_train_lmdb.zip'}")
    (tmp_path / "data.mdb").write_bytes(b"no database")
    with pytest.raises(UserError, match="no LMDB that can be read"):
        open_source(f"lsun:{tmp_path}")
    with pytest.raises(UserError, match="is empty"):
        open_source(f"lsun:{write_lmdb(tmp_path / 'empty', {})}")


def test_files_that_were_cut_short_are_refused_before_they_are_mapped(tmp_path):
    """LMDB would end the process (SIGBUS)."""
    data = write_lmdb(tmp_path / "a", {f"{k:03d}": k for k in range(200)}) / "data.mdb"
    content = data.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 8192, 4200, 4096, 160, 159, 1, 0):
        data.write_bytes(content[:size])
        with pytest.raises(UserError, match="cut short|begins with something else"):
            open_source(f"lsun:{data.parent}")
    data.write_bytes(content)
    assert len(open_source(f"lsun:{data.parent}")) == 200


def test_the_newest_meta_page_counts(tmp_path):
    """The older one knows of fewer pages."""
    folder = write_lmdb(tmp_path / "a", {"aa": 1})
    for key in ("bb", "cc"):  # each transaction writes the other meta page
        write_lmdb(folder, {key: b"x" * 50_000})
        content = (folder / "data.mdb").read_bytes()
        (folder / "data.mdb").write_bytes(content[:-4096])
        with pytest.raises(UserError, match="cut short"):
            open_source(f"lsun:{folder}")
        (folder / "data.mdb").write_bytes(content)


def test_pages_of_an_impossible_size(tmp_path):
    data = write_lmdb(tmp_path / "a", {"aa": 1}) / "data.mdb"
    content = bytearray(data.read_bytes())
    content[40:44] = bytes(4)
    data.write_bytes(content)
    with pytest.raises(UserError, match="pages have 0 bytes"):
        open_source(f"lsun:{data.parent}")


def test_a_file_that_is_cut_short_while_in_use(tmp_path):
    data = write_lmdb(tmp_path / "a", {"aa": 1, "bb": b"x" * 10000}) / "data.mdb"
    source = open_source(f"lsun:{data.parent}")
    assert source.name(1) == "bb"
    with data.open("r+b") as file:
        file.truncate(8192)
    arrays, broken = source.load(range(2), (8, 8), 3)
    assert broken[-1] == ("bb", "cannot be read: the file was cut short")
