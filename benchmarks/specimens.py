"""Files of every kind that ganjax reads, whole and hostile, and what reads each kind."""

import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.mutations import NUMBERS, mutate

ROOT = Path(__file__).parents[1]
_LARGEST = 3 * 2**20  # of real files: larger ones show nothing new, and take time
_REAL = 6  # real files of each kind


class Kind(NamedTuple):
    """What is fuzzed.

    Attributes:
      share: of the cases.
      specimens: whole files, and hostile ones.
      make: (random, specimens) -> a case.
      read: (case, an empty folder) -> what it was refused for, if only in part; raises UserError
        where it was refused.
    """

    share: int
    specimens: Callable[[], Sequence[bytes]]
    make: Callable[[Random, Sequence[bytes]], bytes]
    read: Callable[[bytes, Path], Sequence[str]]


def mutated(random: Random, specimens: Sequence[bytes]) -> bytes:
    return mutate(random.choice(specimens), specimens, random)


# Images


def _encode(image: Image.Image, form: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


@cache
def pictures() -> tuple[bytes, ...]:
    """Images of all formats and modes."""
    y, x = np.mgrid[0:24, 0:32]
    waves = [np.uint8(127 + 120 * np.sin(x / (k + 3) + y / 5)) for k in range(4)]
    rgb, rgba = Image.fromarray(np.stack(waves[:3], -1)), Image.fromarray(np.stack(waves, -1))
    gray, wide = Image.fromarray(waves[0]), Image.fromarray(waves[0].astype(np.uint16) * 257)
    palette, bits, real = rgb.quantize(16), gray.convert("1"), gray.convert("F")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    frames = [rgb.rotate(90 * k) for k in range(3)]
    animation = {"save_all": True, "append_images": frames, "duration": 40}
    files = [
        *(_encode(image, "PNG") for image in (rgb, rgba, gray, wide, palette, bits)),
        _encode(palette, "PNG", transparency=3, exif=exif),
        _encode(rgba.convert("LA"), "PNG", icc_profile=bytes(200)),
        _encode(rgb, "JPEG", quality=85, exif=exif),
        _encode(rgb, "JPEG", progressive=True, restart_marker_blocks=2),
        _encode(gray, "JPEG"),
        _encode(rgb.convert("CMYK"), "JPEG"),
        _encode(rgb, "WEBP", exif=exif),
        _encode(rgba, "WEBP", lossless=True),
        _encode(rgba, "WEBP", **animation),
        _encode(palette, "GIF", transparency=3),
        _encode(rgb, "GIF", **animation),
        *(_encode(image, "BMP") for image in (rgb, rgba, palette, bits)),
        *(_encode(image, "TIFF") for image in (rgb, wide, real, rgb.convert("CMYK"))),
        *(
            _encode(rgb, "TIFF", compression=name)
            for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        _encode(bits, "TIFF", compression="group4"),
        _encode(rgb, "TIFF", big_tiff=True, exif=exif),
        *(_encode(image, "PPM") for image in (rgb, gray, bits, wide)),
        b"P3\n# plain\n3 2 99\n" + b"1 22 99 " * 6,
        b"P1 4 2\n1 0 1 1\n0 1 0 0\n",
        b"Pf\n2 2\n-1.0\n" + np.float32([0, -np.inf, np.nan, 1]).tobytes(),
    ]
    return *files, *_real("GANJAX_TEST_DATA", ".png", ".jpg")


def _real(variable: str, *suffixes: str) -> list[bytes]:
    """Files in the folder that an environment variable names, also of archives there."""
    found: list[bytes] = []
    for path in sorted(Path(os.environ.get(variable) or os.devnull).rglob("*")):
        if path.suffix in suffixes and path.stat().st_size < _LARGEST:
            found.append(path.read_bytes())
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = sorted(name for name in archive.namelist() if name.endswith(suffixes))
                found += [archive.read(name) for name in names[:1]]
    return found[:_REAL]


def _read_picture(content: bytes, folder: Path) -> list[str]:
    from ganjax.images import read_image

    (path := folder / "a.png").write_bytes(content)
    for options in ({}, {"channels": 4}, {"channels": 1, "image_size": (16, 12)}):
        image = read_image(path if not options else content, **options)
        assert image.dtype == np.uint8 and image.ndim == 3
    assert image.shape == (16, 12, 1)
    return []


# Archives and folders of images


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


@cache
def archives() -> tuple[bytes, ...]:
    """Archives of images: plain ones, bombs, and names that lead elsewhere."""
    some = pictures()
    plain = {f"{'ab'[k % 2]}/{k}.png": data for k, data in enumerate(some[:6])}
    odd = {"../../escaped.png": some[0], "/tmp/escaped.png": some[1], "C:\\x.png": some[2]}
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    linked = io.BytesIO(archive(plain))
    with zipfile.ZipFile(linked, "a") as file:
        file.writestr(link, "/etc/passwd")
    bomb = archive({"a.png": some[0], "bomb.png": bytes(2**25)})
    size = struct.pack("<I", 2**25)
    return (
        archive(plain),
        archive(plain, zipfile.ZIP_STORED),
        archive(odd),
        linked.getvalue(),
        bomb,
        bomb.replace(size, struct.pack("<I", 1000)),  # it lies about its size
        archive({"a.png": some[0], "bomb.png": bytes(2**24)}, zipfile.ZIP_BZIP2),
        archive({"a.png": some[0], "b.zip": archive(plain)}),
    )


def _read_archive(content: bytes, folder: Path) -> list[str]:
    (folder / "a.zip").write_bytes(content)
    return _read_source(f"folder:{folder / 'a.zip'}")


def _read_source(spec: str) -> list[str]:
    from ganjax.data.source import open_source

    source = open_source(spec)
    arrays, broken = source.load(range(min(len(source), 12)), (8, 8), 3)
    assert len(arrays["image"]) + len(broken) == min(len(source), 12)
    return [f"{name}: {reason}" for name, reason in broken]


def _tree(random: Random, specimens: Sequence[bytes]) -> bytes:
    return random.randbytes(8)


def _read_tree(content: bytes, folder: Path) -> list[str]:
    """A folder of files, pipes, holes and links, some of which lead out of it."""
    random, inside = Random(content), folder / "inside"
    (inside / "sub" / "deep").mkdir(parents=True)
    for number in range(random.randrange(1, 7)):
        where = random.choice((inside, inside / "sub", inside / "sub" / "deep"))
        name = random.choice(("{}.png", "{}.txt", ".{}.png", "{}\n.png", "{}\x1b[2J.jpg", "{}.zip"))
        path = where / name.format(number)
        match random.randrange(8):
            case 0:
                path.symlink_to(
                    random.choice(("/etc/passwd", os.path.relpath("/etc/passwd", where)))
                )
            case 1:
                path.symlink_to("/etc", target_is_directory=True)
            case 2:
                path.symlink_to(random.choice((".", "..", path.name, "absent.png", "/dev/zero")))
            case 3:
                os.mkfifo(path)
            case 4:
                with path.open("wb") as file:
                    file.truncate(random.choice((2**24, 2**40)))  # a hole
            case 5:
                path.mkdir()
            case _:
                path.write_bytes(random.choice(pictures()))
    return _read_source(f"folder:{inside}")


@cache
def databases() -> tuple[bytes, ...]:
    import lmdb

    found = []
    for count in (3, 200):
        with tempfile.TemporaryDirectory() as folder:
            with lmdb.open(folder, map_size=2**22) as environment:
                with environment.begin(write=True) as transaction:
                    for key in range(count):
                        image = pictures()[key % 30]
                        transaction.put(f"{key:040x}".encode(), image)
            found.append(Path(folder, "data.mdb").read_bytes())
    return tuple(found)


def _cut(random: Random, specimens: Sequence[bytes]) -> bytes:
    """Cuts a file short, most often. LMDB takes all else that is in a file on trust."""
    content = random.choice(specimens)
    return content[: random.choice((random.randrange(len(content)), len(content)))]


def _read_database(content: bytes, folder: Path) -> list[str]:
    (folder / "data.mdb").write_bytes(content)
    return _read_source(f"lsun:{folder}")


# Weights


ARRAYS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.bias": np.float16([1, -2]),
    "count": np.array(7),
    "flag": np.array([True, False, True]),
}
_STORAGES = {"f4": "Float", "f2": "Half", "i8": "Long", "b1": "Bool"}


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _numbers(*values: int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def _state_dict(*last: bytes) -> bytes:
    """The pickle of `ARRAYS` as torch.save writes it; `last` ends every storage."""
    program = b"\x80\x02ccollections\nOrderedDict\n)R("
    for key, (name, value) in enumerate(ARRAYS.items()):
        kind = _STORAGES[value.dtype.str[1:]]
        strides = [step // value.itemsize for step in value.strides]
        program += _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        program += _text("storage") + f"ctorch\n{kind}Storage\n".encode() + _text(str(key))
        program += _text("cpu") + b"K" + bytes([value.size]) + b"".join(last) + b"tQK\0"
        program += _numbers(*value.shape) + _numbers(*strides) + b"\x89N" + b"tR"
    return program + b"u."


def _zipped(program: bytes, storages: dict[str, bytes]) -> bytes:
    members = {"x/data.pkl": program, "x/byteorder": b"little", "x/version": b"3\n"}
    return archive(members | {f"x/data/{k}": v for k, v in storages.items()}, zipfile.ZIP_STORED)


@cache
def pth_files() -> tuple[bytes, ...]:
    """Files of both of PyTorch's formats, and attacks in the place of their pickles."""
    storages = {str(key): value.tobytes() for key, value in enumerate(ARRAYS.values())}
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
    legacy = b"".join(pickle.dumps(value, 2) for value in head)
    legacy += _state_dict(b"N") + pickle.dumps(list(storages), 2)
    for value in ARRAYS.values():
        legacy += struct.pack("<q", value.size) + value.tobytes()
    command = "touch escaped"
    attacks = (
        b"cposix\nsystem\n(" + _text(command) + b"tR.",
        b"cos\nsystem\n(" + _text(command) + b"tR.",
        b"cbuiltins\neval\n(" + _text("open('escaped', 'w')") + b"tR.",
        b"cbuiltins\nexec\n(" + _text("open('escaped', 'w')") + b"tR.",
        b"(" + _text(command) + b"ios\nsystem\n.",
        b"(cos\nsystem\n" + _text(command) + b"o.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + _text(command) + b"tR.",
        b"\x80\x02}(" + _text("a") + b"cbuiltins\ngetattr\n(cos\nsystem\n"
        + _text("__call__") + b"tR(" + _text(command) + b"tRu.",
    )  # fmt: skip
    whole = _zipped(_state_dict(), storages)
    bomb = archive({"x/data.pkl": _state_dict(), "x/data/0": bytes(2**25)})
    lies = bomb.replace(struct.pack("<I", 2**25), struct.pack("<I", 96))
    return (
        *[whole] * 4, *[legacy] * 3, bomb, lies,
        *(_zipped(program, storages) for program in attacks),
        *(b"".join(pickle.dumps(value, 2) for value in head) + program for program in attacks),
        *_real("GANJAX_TEST_WEIGHTS", ".pth"),
    )  # fmt: skip


@cache
def npz_files() -> tuple[bytes, ...]:
    files = []
    for save, arrays in (
        *[(np.savez, ARRAYS)] * 4,
        *[(np.savez_compressed, ARRAYS)] * 2,
        (np.savez, {"a": np.asfortranarray(ARRAYS["a.weight"]), "b": np.array([1, None])}),
        (np.savez, {"a": np.array(["text"]), "b": np.zeros(2, "f4,i2")}),
        (np.savez_compressed, {"a": np.zeros(2**22)}),
    ):
        content = io.BytesIO()
        save(content, **arrays)
        files.append(content.getvalue())
    return *files, *_real("GANJAX_TEST_WEIGHTS", ".npz")


@cache
def safetensors_files() -> tuple[bytes, ...]:
    from ganjax.weights import BUNDLED
    from ganjax.weights.safetensors import to_bytes

    entry = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"a": entry}).encode()
    huge = len(header).to_bytes(8, "little") + header
    small = to_bytes(ARRAYS, {"made": "by hand"})
    return *[small] * 6, huge, *(path.read_bytes() for path in BUNDLED.glob("*.safetensors"))


@cache
def h5_files() -> tuple[bytes, ...]:
    import h5py

    files = []
    for options, keywords in (
        ({"libver": "earliest"}, {}),
        ({"libver": "latest"}, {}),
        ({}, {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True}),
    ):
        content = io.BytesIO()
        with h5py.File(content, "w", **options) as file:
            file.attrs["layer_names"] = [b"conv1", b"conv2"]
            for layer in ("conv1", "conv2"):
                file.create_dataset(f"{layer}/w:0", data=ARRAYS["a.weight"], **keywords)
                file[f"{layer}/b:0"] = ARRAYS["a.bias"]
        files.append(content.getvalue())
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("huge", (10**12,), "f4")
        file["link"] = h5py.ExternalLink("/etc/passwd", "/a")
    return *files, content.getvalue()


def _read_weights(suffix: str, content: bytes, folder: Path) -> list[str]:
    from ganjax.weights import read

    (path := folder / f"a{suffix}").write_bytes(content)
    arrays = read(path)
    assert all(array.dtype.kind in "fiub" for array in arrays.values())
    return []


# Configs


@cache
def config_files() -> tuple[bytes, ...]:
    """Source texts. A config is a program: what it does when run is its author's affair."""
    return tuple(path.read_bytes() for path in sorted((ROOT / "configs").glob("*.py")))


def _read_config(content: bytes, folder: Path) -> list[str]:
    from ganjax.config import load as load_config

    (path := folder / "a.py").write_bytes(content)
    load_config(str(path))
    return []


_VALUES = (
    "", "0", "1", "-1", "0.5", "nan", "inf", "-inf", "1e999", "9" * 25, "9" * 5000, "true",
    "None", "64", "96x64", "0x0", "x", "()", "(1,)", "('a',)", "('avatars@64*2',)", "[1, 'a', 2.5]",
    "{1: 2}",
    "((" * 500, "-" * 5000 + "1", "ü", "²", "٣", "avatars", "avatars:test",
    "folder:", "folder:/absent", "folder:~nobody-of-that-name/x", "folder:" + "n" * 5000,
    "folder:a\0b", "lsun:/dev/null", "lsun:~nobody-of-that-name/x", "/dev/null", "random",
    "random:relu9_9", "../../escaped", "__import__('os').system('touch escaped')",
    "frechet5k_avatars", "float32", "bfloat16", "pmap",
)  # fmt: skip


def _overrides(random: Random, specimens: Sequence[bytes]) -> bytes:
    """Words of a command line: a config file, then fields of it and of others."""
    texts = specimens[1:]
    words = [random.choice(texts)]
    for _ in range(random.choice((1, 1, 2, 3))):
        name = random.choice(_fields()[words[0]])
        if random.random() < 0.1:
            name = random.choice(("", ".", f"{name}.x", "data", name[:-1], "seed.real", "é"))
        value = random.choice((*_VALUES, str(random.choice(NUMBERS)), random.randbytes(3).hex()))
        words.append(f"--config.{name}={value}".encode())
    return b"\0".join(word.replace(b"\0", b"?") for word in words)


@cache
def _fields() -> dict[bytes, list[str]]:
    from ganjax.config import load as load_config

    return {word: list(_flat(load_config(word.decode()))) for word in config_words()[1:]}


def _flat(config, prefix: str = "") -> Iterator[str]:
    for name in config:
        nested = hasattr(config[name], "keys")
        yield from _flat(config[name], f"{prefix}{name}.") if nested else [prefix + name]


def config_words() -> tuple[bytes, ...]:
    names = ("dcgan_avatars", "progressive_avatars", "attributes_avatars", "adain_compact")
    return (b"", *(os.fsencode(f"configs/{name}.py:smoke") for name in names))


def _read_overrides(content: bytes, folder: Path) -> list[str]:
    from ganjax import tasks
    from ganjax.config import load as load_config

    spec, *words = (word.decode(errors="surrogateescape") for word in content.split(b"\0"))
    config = load_config(spec, words)
    tasks.make(config)
    tasks.make_data(config)
    return []


KINDS = {
    "image": Kind(30, pictures, mutated, _read_picture),
    "zip": Kind(12, archives, mutated, _read_archive),
    "folder": Kind(5, pictures, _tree, _read_tree),
    "lsun": Kind(4, databases, _cut, _read_database),
    "pth": Kind(16, pth_files, mutated, partial(_read_weights, ".pth")),
    "npz": Kind(10, npz_files, mutated, partial(_read_weights, ".npz")),
    "safetensors": Kind(10, safetensors_files, mutated, partial(_read_weights, ".safetensors")),
    "h5": Kind(5, h5_files, mutated, partial(_read_weights, ".h5")),
    "config": Kind(4, config_files, mutated, _read_config),
    "override": Kind(4, config_words, _overrides, _read_overrides),
}
