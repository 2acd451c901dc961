"""LSUN's LMDB form, on a small one written here."""

import io
import struct

import lmdb
import numpy as np
import pytest
from PIL import Image

from ganjax.data import lsun
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
    assert len(source) == 150 and source.label_names == ()
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


def test_all_is_found_that_the_library_finds(tmp_path):
    """Pages of three levels; values beside their keys, on pages of their own, and empty ones."""
    random = np.random.default_rng(0)
    lengths = [0, 1, 700, 2000, 2030, 5000, 20000]
    values = {
        random.bytes(int(n)): random.bytes(lengths[k % 7]) for k, n in enumerate(range(9, 400))
    }
    values |= {f"{k:020d}": random.bytes(40) for k in random.permutation(4000)}
    values = {k if isinstance(k, bytes) else k.encode(): v for k, v in values.items()}
    with lmdb.open(str(tmp_path), map_size=2**26) as environment:
        for part in (0, 1):  # the second transaction leaves pages free
            with environment.begin(write=True) as transaction:
                for key in list(values)[part::2]:
                    transaction.put(key, values[key])
        with environment.begin(write=True) as transaction:
            for key in list(values)[::5]:
                transaction.delete(key)
                del values[key]
        assert environment.stat()["depth"] == 3
    source = open_source(f"lsun:{tmp_path}")
    assert len(source) == len(values)
    tree = source._tree
    found = [(key, lsun._read(tree, offset, size)) for key, offset, size in lsun._walk(tree)]
    assert found == sorted(values.items())
    assert [key for key, _, _ in lsun._walk(tree, backwards=True)] == sorted(values)[::-1]


def test_what_was_cut_short_or_leads_in_circles(tmp_path):
    """With LMDB's own library these end the process."""
    data = write_lmdb(tmp_path / "a", {f"{k:03d}": k for k in range(200)}) / "data.mdb"
    content = bytearray(data.read_bytes())
    data.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cut short"):
        open_source(f"lsun:{data.parent}")
    root = struct.unpack_from("<Q", content, 4096 + 16 + 24 + 48 + 40)[0]
    first, second = struct.unpack_from("<HH", content, root * 4096 + 16)
    struct.pack_into("<Q", content, root * 4096 + first, root)  # the first child is itself
    data.write_bytes(content)
    with pytest.raises(UserError, match="in circles"):
        open_source(f"lsun:{data.parent}")
    struct.pack_into("<Q", content, root * 4096 + first, 3)
    struct.pack_into("<Q", content, root * 4096 + second, 10**9)
    data.write_bytes(content)
    with pytest.raises(UserError, match="is damaged: it is cut short"):
        open_source(f"lsun:{data.parent}").load(range(200), (8, 8), 3)


def test_a_file_that_is_cut_short_while_in_use(tmp_path):
    data = write_lmdb(tmp_path / "a", {"aa": 1, "bb": b"x" * 10000}) / "data.mdb"
    source = open_source(f"lsun:{data.parent}")
    assert source.name(1) == "bb"
    with data.open("r+b") as file:
        file.truncate(8192)
    arrays, broken = source.load(range(2), (8, 8), 3)
    assert broken[-1] == ("bb", "cannot be read: it is cut short")
