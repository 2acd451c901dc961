"""Readers of weight files: what they read, against bytes made by hand, and what they refuse."""

import argparse
import collections
import datetime
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganjax.errors import UserError
from ganjax.weights import read
from ganjax.weights.h5 import read_h5
from ganjax.weights.npz import read_npz
from ganjax.weights.pth import read_pth
from ganjax.weights.safetensors import (
    read_metadata,
    read_safetensors,
    to_bytes,
    write_safetensors,
)

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv/kernel": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32),
    "conv/bias": RNG.normal(size=4).astype(np.float32),
    "half": RNG.normal(size=(2, 5)).astype(np.float16),
    "double": RNG.normal(size=7),
    "long": RNG.integers(-(2**62), 2**62, 3),
    "int": np.array([[-1, 2]], np.int32),
    "short": np.array([-300], np.int16),
    "char": np.array([-3, 3], np.int8),
    "byte": np.arange(6, dtype=np.uint8).reshape(3, 2),
    "flag": np.array([True, False, True]),
    "scalar": np.array(1.5, np.float32),
    "none": np.zeros((0, 4), np.float32),
}


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        array = found[name]
        assert type(array) is np.ndarray, name
        assert array.dtype == value.dtype and array.dtype.isnative, name
        assert array.flags.c_contiguous and array.flags.writeable, name
        np.testing.assert_array_equal(array, value, err_msg=name, strict=True)


def refused(reader, path: Path, says: str = "") -> None:
    with pytest.raises(UserError) as error:
        reader(path)
    message = str(error.value)
    assert path.name in message and "\n" not in message and says in message


def little(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


# Files made by hand: the formats as they are published, not as our writers see them.


def make_safetensors(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def make_npz(arrays: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def make_h5(arrays: dict[str, np.ndarray], **options) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", **options) as file:
        file.attrs["layer_names"] = [b"conv"]
        for name, value in arrays.items():
            file[name] = value
    return content.getvalue()


STORAGES = {
    "f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "i4": "Int", "i2": "Short",
    "i1": "Char", "u1": "Byte", "b1": "Bool",
}  # fmt: skip


def text(value: str) -> bytes:
    return b"X" + struct.pack("<i", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def function(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def tensor(key: str, storage: str, count: int, offset=0, shape=(), strides=(), *views) -> bytes:
    stored = group(
        text("storage"), function(f"torch.{storage}Storage"), text(key), text("cpu"),
        number(count), *views,
    )  # fmt: skip
    return (
        function("torch._utils._rebuild_tensor_v2")
        + group(
            stored + b"Q", number(offset), group(*map(number, shape)),
            group(*map(number, strides)), b"\x89", function("collections.OrderedDict") + b")R",
        )
        + b"R"
    )  # fmt: skip


def state_dict(items: dict[str, bytes]) -> bytes:
    pairs = b"".join(text(name) + value for name, value in items.items())
    return b"\x80\x02" + function("collections.OrderedDict") + b")R(" + pairs + b"u."


def pickled(arrays: dict[str, np.ndarray], *views: bytes) -> bytes:
    items = {}
    for key, (name, value) in enumerate(arrays.items()):
        strides = [step // value.itemsize for step in value.strides]
        storage = STORAGES[value.dtype.str[1:]]
        items[name] = tensor(str(key), storage, value.size, 0, value.shape, strides, *views)
    return state_dict(items)


def zipped(program: bytes, storages: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("name/data.pkl", program)
        archive.writestr("name/byteorder", "little")
        for key, value in storages.items():
            archive.writestr(f"name/data/{key}", value)
        archive.writestr("name/version", "3\n")
    return content.getvalue()


def make_pth(arrays: dict[str, np.ndarray]) -> bytes:
    return zipped(pickled(arrays), {str(k): little(v) for k, v in enumerate(arrays.values())})


def make_legacy(arrays: dict[str, np.ndarray]) -> bytes:
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    content = b"".join(pickle.dumps(value, 2) for value in head)
    content += pickled(arrays, b"N") + pickle.dumps([str(k) for k in range(len(arrays))], 2)
    for value in arrays.values():
        content += struct.pack("<q", value.size) + little(value)
    return content


MAKERS = {
    "safetensors": (read_safetensors, ".safetensors", lambda arrays: to_bytes(arrays, {"a": "b"})),
    "npz": (read_npz, ".npz", make_npz),
    "h5": (read_h5, ".h5", make_h5),
    "pth": (read_pth, ".pth", make_pth),
    "legacy": (read_pth, ".pth", make_legacy),
    "pickle": (read_pth, ".ckpt", lambda arrays: pickle.dumps(arrays, 3)),
}


@pytest.fixture(params=MAKERS)
def made(request, tmp_path):
    reader, suffix, make = MAKERS[request.param]
    return reader, tmp_path / f"file{suffix}", make


def test_every_type_and_shape_comes_back(made):
    reader, path, make = made
    path.write_bytes(make(ARRAYS))
    same(reader(path), ARRAYS)
    same(read(path), ARRAYS)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not weights\n" * 50, b"PK\3\4", b"{}"])
def test_what_is_no_weight_file_is_refused(made, content):
    reader, path, _ = made
    path.write_bytes(content)
    refused(reader, path)


def test_missing_files_and_folders_are_refused(made, tmp_path):
    reader, path, _ = made
    refused(reader, path, "does not exist")
    path.mkdir()
    refused(reader, path)


@pytest.mark.slow
def test_truncated_files_are_refused(made):
    reader, path, make = made
    content = make({"a": ARRAYS["conv/kernel"], "b": ARRAYS["conv/bias"]})
    for end in range(1, len(content), len(content) // (12 if reader is read_h5 else 150)):
        path.write_bytes(content[:end])
        refused(reader, path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_flipped_bytes_end_in_arrays_or_one_line(kind, tmp_path):
    reader, suffix, make = MAKERS[kind]
    good = make({"a": ARRAYS["conv/bias"], "b/c": ARRAYS["int"], "d": ARRAYS["flag"]})
    path = tmp_path / f"file{suffix}"
    flip = st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255))

    @settings(
        max_examples=20 if kind == "h5" else 200,  # each runs in a process of its own
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(flip, min_size=1, max_size=4))
    def check(flips):
        content = bytearray(good)
        for position, value in flips:
            content[position] = value
        path.write_bytes(content)
        try:
            arrays = reader(path)
        except UserError as error:
            assert path.name in str(error) and "\n" not in str(error)
        else:
            assert sum(array.nbytes for array in arrays.values()) < 2**20

    check()


# safetensors


def test_safetensors_as_published(tmp_path):
    path = tmp_path / "a.safetensors"
    half = np.array([1.5, -2.0], np.float16)
    brain = np.array([1.0, -3.0, 2.0**100], np.float32)  # exact in bfloat16
    data = little(half) + little(brain)[2::4] + little(brain)[3::4]
    data = little(half) + b"".join(little(value)[2:] for value in brain) + b"\1\0"
    header = {
        "__metadata__": {"format": "pt"},
        "brain": {"dtype": "BF16", "shape": [3, 1], "data_offsets": [4, 10]},
        "half": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        "flag": {"dtype": "BOOL", "shape": [2], "data_offsets": [10, 12]},
    }
    path.write_bytes(make_safetensors(json.dumps(header).encode() + b"   ", data))
    flag = np.array([True, False])
    same(read_safetensors(path), {"half": half, "brain": brain[:, None], "flag": flag})
    assert read_metadata(path) == {"format": "pt"}


def test_written_safetensors_have_the_published_layout(tmp_path):
    path = tmp_path / "a.safetensors"
    big = np.asfortranarray(ARRAYS["conv/kernel"]).astype(">f4")
    write_safetensors(path, {"z": ARRAYS["char"], "a": big}, {"source": "ü"})
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header["__metadata__"] == {"source": "ü"}
    assert header["a"] == {"dtype": "F32", "shape": [3, 3, 2, 4], "data_offsets": [0, 288]}
    assert length % 8 == 0 and content[8 + length :] == little(big) + little(ARRAYS["char"])


def test_safetensors_are_deterministic_whole_and_typed(tmp_path):
    shuffled = dict(reversed(ARRAYS.items()))
    metadata = {"a": "1", "b": "2"}
    assert to_bytes(ARRAYS, metadata) == to_bytes(shuffled, dict(reversed(metadata.items())))
    with pytest.raises(ValueError, match="complex"):
        to_bytes({"a": np.zeros(2, np.complex64)}, {})
    with pytest.raises(ValueError, match="__metadata__"):
        to_bytes({"__metadata__": np.zeros(2)}, {})
    with pytest.raises(UserError, match="cannot write"):
        write_safetensors(tmp_path / "no" / "a.safetensors", ARRAYS, {})


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry(shape=[3])},
        {"a": entry(shape=[2**62, 2**62, 0, 2**62])},
        {"a": entry(shape=[-2, -1])},
        {"a": entry(shape=[True, 2])},
        {"a": entry(shape=[2.0])},
        {"a": entry(shape=[1] * 70 + [2])},
        {"a": entry(offsets=[0, 8, 8])},
        {"a": entry(offsets=[8, 0])},
        {"a": entry(offsets=[4, 12])},
        {"a": entry(offsets=[0, 2**50], shape=[2**48])},
        {"a": entry(), "b": entry()},
        {"a": entry(shape=[1], offsets=[0, 4])},
        {},
        {"a": entry(dtype="F8_E4M3", shape=[8])},
        {"a": entry(dtype="C64", shape=[1])},
        {"a": entry(dtype=[])},
        {"a": []},
        {"a": entry(), "__metadata__": {"x": 1}},
        {"a": entry(), "__metadata__": []},
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 1}',
        b'{"a": 1',
        b'["a"]',
        b"{" + b'"a":[' * 100_000,
        b'{"a": 1' + b"0" * 10_000 + b"}",
        b'{"\xff": 1}',
    ],
)
def test_safetensors_that_break_a_rule_are_refused(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(make_safetensors(header, bytes(8)))
    refused(read_safetensors, path)


@pytest.mark.parametrize("length", [10, 2**24 + 1, 2**40, 2**63, 2**64 - 1])
def test_safetensors_headers_are_bounded(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(make_safetensors({"a": entry()}, bytes(8), length))
    refused(read_safetensors, path)
    with path.open("ab") as file:
        file.truncate(2**25)  # a hole: the header may be as long as it says
    refused(read_safetensors, path)


# npz


def test_npz_in_fortran_order_and_big_endian(tmp_path):
    path = tmp_path / "a.npz"
    kernel = ARRAYS["conv/kernel"]
    np.savez(path, fortran=np.asfortranarray(kernel), big=kernel.astype(">f4"))
    same(read_npz(path), {"fortran": kernel, "big": kernel})


def test_npz_never_unpickles(tmp_path):
    path, marker = tmp_path / "a.npz", tmp_path / "marker"

    class Hostile:
        def __reduce__(self):
            return Path.touch, (marker,)

    np.savez(path, a=np.array([Hostile()], object))
    refused(read_npz, path, "object")
    assert not marker.exists()


@pytest.mark.parametrize(
    "value", [np.array(["text"]), np.zeros(2, "f4,f4"), np.zeros(2, np.complex64)]
)
def test_npz_of_anything_but_numbers_is_refused(tmp_path, value):
    path = tmp_path / "a.npz"
    np.savez(path, a=value)
    refused(read_npz, path, "no numbers")


def npy(shape: str, data: bytes = bytes(8)) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize("shape", ["(3,)", "(1,)", "(2**40,)", f"({2**40},)", "(-1, -2)", "()"])
def test_npz_whose_shape_does_not_fit_is_refused(tmp_path, shape):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy(shape))
    refused(read_npz, path)


@pytest.mark.parametrize(
    ("name", "method"),
    [("a.txt", zipfile.ZIP_STORED), ("a.npy", zipfile.ZIP_LZMA), ("a.npy", zipfile.ZIP_BZIP2)],
)
def test_npz_that_numpy_does_not_write_is_refused(tmp_path, name, method):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, npy("(2,)"))
    refused(read_npz, path, name.removesuffix(".npy"))


@pytest.mark.parametrize("lie", [False, True])
def test_npz_bombs_are_refused_in_little_memory(tmp_path, lie):
    path, size = tmp_path / "a.npz", 2**26
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(f"({size // 4},)", bytes(size)))
    if lie:  # of the size in the archive's directory
        content = path.read_bytes()
        start = content.rindex(b"PK\1\2") + 24
        path.write_bytes(content[:start] + struct.pack("<I", 100) + content[start + 4 :])
    tracemalloc.start()
    refused(read_npz, path, "" if lie else "too many")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


# HDF5


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_h5_of_both_generations(tmp_path, libver):
    path = tmp_path / "a.h5"
    path.write_bytes(make_h5(ARRAYS, libver=libver))
    same(read_h5(path), ARRAYS)


def test_h5_compressed_and_big_endian(tmp_path):
    path, kernel = tmp_path / "a.h5", ARRAYS["conv/kernel"]
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=kernel, compression="gzip", shuffle=True, fletcher32=True)
        file["b/c"] = kernel.astype(">f4")
    same(read_h5(path), {"a": kernel, "b/c": kernel})


def _external(file, folder):
    file.create_dataset("a", (4,), "f4", external=[(str(folder / "secret"), 0, 16)])


def _virtual(file, folder):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "a", (4,))
    file.create_virtual_dataset("a", layout)


def _loop(file, folder):
    file["a/b"] = file.create_group("a")


def _text(file, folder):
    file["a"] = "text"


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda file, folder: file.update({"a": h5py.ExternalLink("other.h5", "/a")}), "link"),
        (lambda file, folder: file.update({"a": h5py.SoftLink("/b")}), "link"),
        (_external, "another file"),
        (_virtual, "another file"),
        (_loop, "twice"),
        (_text, "no numbers"),
        (lambda file, folder: file.update({"a": h5py.Empty("f4")}), "no numbers"),
        (lambda file, folder: file.update({"a": np.zeros(2, np.complex64)}), "no numbers"),
        (lambda file, folder: file.update({"a": np.dtype("f4")}), "no array"),
        (lambda file, folder: file.create_dataset("a", (2**28,), "f4"), "too many"),
        (lambda file, folder: file.create_dataset("a", (2**62,), "f4", chunks=(8,)), "too many"),
        (
            lambda file, folder: file.create_dataset("a", (2,), "f4", compression="lzf"),
            "compressed",
        ),
    ],
)
def test_h5_that_is_no_plain_weight_file_is_refused(tmp_path, build, says):
    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.ones(4, np.float32)
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        build(file, tmp_path)
    refused(read_h5, path, says)


# pth


def test_pth_views_of_shared_storages(tmp_path):
    path = tmp_path / "a.pth"
    data = np.arange(12, dtype=np.float32)
    program = state_dict(
        {
            "whole": tensor("0", "Float", 12, 0, (3, 4), (4, 1)),
            "transposed": tensor("0", "Float", 12, 0, (4, 3), (1, 4)),
            "part": tensor("0", "Float", 12, 5, (2, 2), (4, 2)),
            "same": tensor("0", "Float", 12, 3, (5,), (0,)),
            "brain": tensor("1", "BFloat16", 2, 0, (2,), (1,)),
            "epoch": number(7),
        }
    )
    brain = np.array([-2.5, 3.0], np.float32)
    storages = {"0": little(data), "1": b"".join(little(value)[2:] for value in brain)}
    path.write_bytes(zipped(program, storages))
    whole = data.reshape(3, 4)
    wanted = {
        "whole": whole,
        "transposed": whole.T,
        "part": np.array([[5, 7], [9, 11]], np.float32),
        "same": np.full(5, 3, np.float32),
        "brain": brain,
    }
    same(read_pth(path), wanted)


@pytest.mark.parametrize(
    "item",
    [
        tensor("0", "Float", 4, 1, (4,), (1,)),  # beyond the end
        tensor("0", "Float", 4, 0, (2, 2), (3, 1)),
        tensor("0", "Float", 4, -1, (2,), (1,)),  # before the beginning
        tensor("0", "Float", 4, 3, (2,), (-1,)),
        tensor("0", "Float", 4, 0, (2,), (1, 1)),
        tensor("0", "Float", 4, 0, (2**30, 2**30, 2**30), (0, 0, 0)),  # out of all proportion
        tensor("0", "Float", 4, 0, (2**30,), (0,)),
        tensor("1", "Float", 4, 0, (4,), (1,)),  # no such storage
        tensor("0", "Complex", 4, 0, (4,), (1,)),
    ],
)
def test_pth_tensors_outside_their_storage_are_refused(tmp_path, item):
    path = tmp_path / "a.pth"
    path.write_bytes(zipped(state_dict({"a": item}), {"0": bytes(16)}))
    refused(read_pth, path)


def hostile(marker: Path) -> dict[str, bytes]:
    """Programs that run a shell command under `pickle.load`."""
    command = f"touch {marker}"
    line = command.encode() + b"\n"
    stack_global = b"\x80\x04\x8c\x02os\x8c\x06system\x93"
    return {
        "reduce": b"\x80\x02" + function("os.system") + group(text(command)) + b"R.",
        "posix": b"\x80\x02" + function("posix.system") + group(text(command)) + b"R.",
        "eval": b"\x80\x02"
        + function("builtins.eval")
        + group(text(f"__import__('os').system({command!r})"))
        + b"R.",
        "stack_global": stack_global + group(text(command)) + b"R.",
        "inst": b"(S'" + line[:-1] + b"'\nios\nsystem\n.",
        "obj": b"(" + function("os.system") + text(command) + b"o.",
        "newobj": b"\x80\x02" + function("subprocess.Popen") + group(text(command)) + b"\x81.",
        "build": b"\x80\x02"
        + function("collections.OrderedDict")
        + b")R"
        + function("os.system")
        + group(text(command))
        + b"Rb.",
        "value": state_dict({"a": function("os.system") + group(text(command)) + b"R"}),
        "hidden": state_dict(
            {
                "a": tensor("0", "Float", 4, 0, (4,), (1,)),
                "b": function("torch._utils.os.system") + group(text(command)) + b"R",
            }
        ),
    }


@pytest.mark.parametrize("name", hostile(Path("marker")))
def test_pth_never_runs_what_it_says(tmp_path, name):
    path, marker = tmp_path / "a.pth", tmp_path / "marker"
    program = hostile(marker)[name]
    if name in ("reduce", "inst", "obj", "stack_global"):  # else this test would prove nothing
        pickle.loads(program)
        assert marker.exists()
        marker.unlink()
    legacy = make_legacy({"a": ARRAYS["int"]})
    middle = legacy.index(b"\x80\x02ccollections")
    for content in (zipped(program, {"0": bytes(16)}), program, legacy[:middle] + program):
        path.write_bytes(content)
        refused(read_pth, path)
        assert not marker.exists()


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_pickled_arrays_of_numpy_in_dicts(tmp_path, module):
    shared = RNG.normal(size=(2, 3)).astype(np.float32)
    columns = np.asfortranarray(ARRAYS["conv/kernel"])
    tree = {"net": {"a": shared, "b": {"kernel": columns}}, "again": shared, "lr": 0.5}
    tree["words"] = np.array(["a"], object)  # no numbers: left out
    path = tmp_path / "a.ckpt"
    own = np.zeros(1).__reduce__()[0].__module__.encode()
    path.write_bytes(pickle.dumps(tree, 3).replace(own, module))
    same(
        read(path), {"net.a": shared, "net.b.kernel": np.array(columns, order="C"), "again": shared}
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": np.zeros(3, ">f4")}, "big-endian"),
        ({"a": np.zeros(3, "c8")}, "holds no tensors"),
        ({"a": [np.zeros(3)]}, "holds no tensors"),
        ([np.zeros(3)], "does not begin as torch.save"),
    ],
)
def test_pickles_of_other_things_are_refused(tmp_path, value, says):
    path = tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps(value, 3))
    refused(read_pth, path, says)


def test_pickled_arrays_whose_shape_lies_are_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    content = pickle.dumps({"a": np.zeros((7, 9), np.float32)}, 3)
    for lie in (b"K\x07K\x0a", b"K\x07J\xff\xff\xff\xff", b"J\xff\xff\xff\xffJ\xc1\xff\xff\xff"):
        assert b"K\x07K\x09" in content
        path.write_bytes(content.replace(b"K\x07K\x09", lie))
        refused(read_pth, path)


def test_pth_bombs_are_refused_in_little_memory(tmp_path):
    path = tmp_path / "a.pth"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickled({"a": ARRAYS["int"]}))
        archive.writestr("a/data/0", bytes(2**26))
    path.write_bytes(content.getvalue())
    tracemalloc.start()
    refused(read_pth, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_pth_whose_directory_lies_is_refused_in_little_memory(tmp_path, method):
    path, content = tmp_path / "a.pth", io.BytesIO()
    data = bytes(2**26 if method else 2**16)
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr("a/data.pkl", pickled({"a": ARRAYS["int"]}))
        archive.writestr("a/data/0", data)
    true, claimed = struct.pack("<I", len(data)), 8 if method else 2**30
    path.write_bytes(content.getvalue().replace(true, struct.pack("<I", claimed)))
    tracemalloc.start()
    refused(read_pth, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_pth_whose_storages_lie_in_each_other_is_refused_in_little_memory(tmp_path):
    """Each storage has all later ones in it, with their headers: n * size bytes of one."""
    infos, data = [], bytes(2**20)
    for key in range(64):
        info = zipfile.ZipInfo(f"a/data/{key}")
        info.CRC, info.file_size, info.compress_size = zlib.crc32(data), len(data), len(data)
        data = info.FileHeader(zip64=False) + data
        info.header_offset = -len(data)
        infos.append(info)
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for info in infos:
            info.header_offset += len(data)
        archive.fp.write(data)
        archive.start_dir = len(data)
        archive.filelist += infos
        archive.writestr("a/data.pkl", pickled({"a": ARRAYS["int"]}))
    tracemalloc.start()
    refused(read_pth, path, "cut short")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_pth_whose_dicts_share_dicts_ends_soon(tmp_path):
    # Each level holds the one below ten times: 10**40 entries in a few kilobytes.
    program = b"\x80\x02}q\0(" + text("x") + number(1) + b"u0"
    for level in range(40):
        pairs = b"".join(text(str(n)) + b"h" + bytes([level]) for n in range(10))
        program += b"}q" + bytes([level + 1]) + b"(" + pairs + b"u0"
    path = tmp_path / "a.pth"
    path.write_bytes(zipped(program.replace(b"u0", b"u")[:-1] + b"u.", {}))
    refused(read_pth, path)


CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("plain.pth.tar", ""),
        ("module.pth", "names without 'module'"),
        ("state_dict.pth", "the part 'state_dict' of it"),
        ("namespace.pth", "the part 'state_dict' of it"),
    ],
)
def test_what_torch_saves_around_a_network_is_left_out_and_said_so(name, says, capsys):
    arrays = read(CASES / name)
    assert sorted(arrays) == [f"lin{n}.model.1.weight" for n in range(5)]
    same(arrays, read(CASES / "plain.pth.tar"))
    said = capsys.readouterr().err
    assert said == (f"{CASES / name}: read {says}\n" if says else "")


@pytest.mark.parametrize(
    "suffix", [".pth.tar", ".pt", ".bin", ".ckpt", ".model", "", ".npz", ".h5"]
)
def test_content_decides_whatever_the_suffix(made, suffix):
    _, path, make = made
    path = path.with_name(f"weights{suffix}")
    path.write_bytes(make(ARRAYS))
    same(read(path), ARRAYS)


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (["model_state_dict"], ""),
        (["model", "state_dict"], "module."),
        (["params_ema"], "_orig_mod."),
        (["params"], "_orig_mod.module."),
        (["generator"], ""),
    ],
)
def test_wrappers_in_each_other(tmp_path, keys, prefix, capsys):
    path = tmp_path / "a.ckpt"
    array = np.arange(4, dtype=np.float32)
    weight = tensor("0", "Float", 4, 0, (4,), (1,))
    inside = state_dict({f"{prefix}features.module.0.weight": weight})[2:-1]
    for key in keys[::-1]:
        # Beside them lie the optimizer's moments, the best accuracy, and older weights.
        rest = {"optimizer": state_dict({"m": weight})[2:-1], "best": tensor("1", "Float", 1)}
        if key == "params_ema":
            rest["params"] = state_dict({"features.0.weight": tensor("1", "Float", 1)})[2:-1]
        inside = state_dict({**rest, key: inside})[2:-1]
    path.write_bytes(zipped(b"\x80\x02" + inside + b".", {"0": little(array), "1": bytes(4)}))
    same(read(path), {"features.0.weight": array})
    assert ".".join(keys) in capsys.readouterr().err


class Settings(dict):
    """Whatever people subclass."""


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_settings_beside_the_tensors_are_left_out(tmp_path, protocol):
    loop: list = []
    loop.append((loop, {"a": loop}))
    settings = {
        "args": argparse.Namespace(lr=0.1, sizes=[1, 2], where=Path("a/b")),
        "numpy": [np.float64(0.5), np.int32(3), np.arange(3), np.dtype("f4")],
        "sets": ({1, 2}, frozenset("ab"), set()),
        "counts": [collections.Counter("aab"), collections.defaultdict(list, {"a": [1]})],
        "own": Settings(a=1, b=Settings()),
        "time": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        "bytes": [b"x" * 300, b"y", bytearray(b"z"), 2**70, 1.5, slice(1, 2), 1j],
        "loop": loop,
    }
    # Each value in a dict's text, between its opcodes for the beginning and the end.
    programs = {name: pickle.dumps(value, protocol) for name, value in settings.items()}
    for name, program in programs.items():
        path = tmp_path / f"{name}.pth"
        head, value = program[:2], program[2:-1]
        items = text("w") + tensor("0", "Float", 4, 0, (4,), (1,)) + text(name) + value
        path.write_bytes(zipped(head + b"}(" + items + b"u.", {"0": bytes(16)}))
        same(read_pth(path), {"w": np.zeros(4, np.float32)})


def test_unknown_suffixes_are_refused(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"x")
    refused(read, path, ".safetensors")
