"""Reads PyTorch's .pth files, and pickled NumPy arrays, without running what they say.

A .pth file is a pickle, a program for a stack machine, beside raw tensors. `pickle` would run any
function that the program names. Here the program is only read: a small interpreter knows the
opcodes that state dicts and settings need, and calls none of the names in it.
What any other name makes, like an `argparse.Namespace`, is left out.
"""

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganjax.weights.guard import MAX_BYTES, guarded

_MAX_PICKLE = 64 * 2**20
_MAX_ENTRIES = 100_000
_MAX_DEPTH = 4  # of dicts in dicts
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # widened to float32 below
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_DICTS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
# Of NumPy 1 and 2.
_NDARRAYS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_NUMPY_DTYPES = frozenset("f2 f4 f8 i1 i2 i4 i8 u1 b1".split())
_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
# No settings are made by these. Nothing that a file names is called in any case; one with them was
# made to do harm elsewhere, which is worth a word.
_HARMFUL = set(
    "os posix nt subprocess sys shutil socket runpy importlib ctypes pty code webbrowser".split()
)
_BUILTINS = set("set frozenset list dict tuple slice range complex bytearray object int".split())
# Under which a checkpoint holds a network's tensors beside other things: the first that is there.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "params_ema", "params", "generator")


def read_pth(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict, of both of PyTorch's file formats, or pickled arrays.

    Args:
      path: a file written by `torch.save`, or a pickle of NumPy arrays; its dict may hold dicts,
        whose keys are then joined with dots. Of a checkpoint of several parts, those under one of
        `_WRAPPERS`.

    Returns:
      Name -> array; bfloat16 as float32. What is no tensor (epochs, settings) is left out.

    Raises:
      UserError: the file is missing, damaged, too large, holds no tensors, or names what runs
        programs.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """`read_pth`, and under which keys of the file the arrays are."""
    path = Path(path)
    with guarded(path, ".pth") as size:
        if size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 30} GiB")
        content = path.read_bytes()
        zipped = zipfile.is_zipfile(io.BytesIO(content))
        root = _read_zip(content) if zipped else _read_legacy(content)
        value, keys = _unwrapped(root.value)
        arrays = dict(_arrays(root._replace(value=value)))
        if not arrays:
            raise ValueError("it holds no tensors by name; give what `model.state_dict()` saves")
    return arrays, keys


def _unwrapped(value: Any) -> tuple[Any, list[str]]:
    keys: list[str] = []
    # A number beside them, like the best accuracy, may be a tensor, too.
    while isinstance(value, dict) and not any(
        isinstance(x, _Tensor) and x.shape for x in value.values()
    ):
        inside = [key for key in _WRAPPERS if isinstance(value.get(key), dict) and value[key]]
        if not inside or len(keys) == _MAX_DEPTH:
            break
        keys.append(inside[0])
        value = value[inside[0]]
    return value, keys


class _LeftOut:
    """What the file makes of a class that no tensor is made of; nothing of it is kept."""


class _Name(NamedTuple):
    """A function or class that the file names; never called."""

    name: str


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Ndarray:
    """A NumPy array: a pickle gives its state after others may refer to it."""

    array: np.ndarray | None = None  # None where its elements are no numbers


class _Root(NamedTuple):
    value: Any
    storages: Mapping[str, bytes | memoryview]


def _read_zip(content: bytes) -> _Root:
    """Since PyTorch 1.6: a zip of data.pkl and one file for each storage."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
            raise ValueError("it is compressed, which torch.save never does")
        if sum(info.file_size for info in infos.values()) > len(content):
            raise ValueError("its members overlap, or it is cut short")
        pickles = [name for name in infos if name.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but not one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        if infos[pickles[0]].file_size > _MAX_PICKLE:
            raise ValueError("its pickle is too large")
        order = f"{folder}byteorder"
        if order in infos and archive.read(order).strip() != b"little":
            raise ValueError("its bytes are big-endian")
        value = _interpret(io.BytesIO(archive.read(pickles[0])))
        prefix = f"{folder}data/"
        storages = {
            name.removeprefix(prefix): archive.read(name)
            for name in infos
            if name.startswith(prefix)
        }
    return _Root(value, storages)


def _read_legacy(content: bytes) -> _Root:
    """Before PyTorch 1.6: five pickles, then for each storage its count and its bytes.

    A file whose first pickle is a dict has no more than that.
    """
    file = io.BytesIO(content)
    first = _interpret(file)
    if isinstance(first, dict):
        return _Root(first, {})
    if first != _LEGACY_MAGIC:
        raise ValueError("it does not begin as torch.save begins")
    _interpret(file)  # the protocol's version
    if _interpret(file).get("little_endian") is not True:
        raise ValueError("its bytes are big-endian")
    named: dict[str, _Storage] = {}
    value = _interpret(file, named)
    keys = _interpret(file)
    storages, view = {}, memoryview(content)
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        size = count * named[key].dtype.itemsize
        start = file.tell()
        if count < 0 or start + size > len(content):
            raise ValueError("it is cut short")
        storages[key] = view[start : start + size]
        file.seek(start + size)
    return _Root(value, storages)


def _arrays(root: _Root) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(root.value, dict):
        raise ValueError(f"it holds a {type(root.value).__name__}, not a dict of tensors")
    budget, entries = MAX_BYTES, 0
    pending = [("", root.value, 0)]
    while pending:
        prefix, values, depth = pending.pop()
        entries += len(values)
        if entries > _MAX_ENTRIES:  # dicts may share dicts: a small file can hold a huge tree
            raise ValueError(f"it has more than {_MAX_ENTRIES} entries")
        for key, value in values.items():
            name = f"{prefix}{key}"
            if isinstance(value, _Ndarray):
                value = value.array
            if isinstance(value, _Tensor | np.ndarray):
                array = value if isinstance(value, np.ndarray) else _array(value, root.storages)
                budget -= array.nbytes
                if budget < 0:
                    raise ValueError(f"its tensors take more than {MAX_BYTES >> 30} GiB")
                yield name, array
            elif isinstance(value, dict) and depth < _MAX_DEPTH:
                pending.append((f"{name}.", value, depth + 1))


def _array(tensor: _Tensor, storages: Mapping[str, bytes | memoryview]) -> np.ndarray:
    dtype = tensor.storage.dtype
    flat = np.frombuffer(storages[tensor.storage.key], dtype)
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or min((*shape, *strides, tensor.offset), default=0) < 0:
        raise ValueError("a tensor has an impossible shape")
    count = math.prod(shape)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if count and (last >= len(flat) or count > len(flat)):
        raise ValueError("a tensor reaches beyond its storage")
    view = np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], shape, [s * dtype.itemsize for s in strides]
    )
    if dtype == np.dtype("<u2"):
        return (view.astype(np.uint32) << 16).view(np.float32)
    return np.array(view, dtype.newbyteorder("="), order="C")


def _interpret(file: io.BytesIO, storages: dict[str, _Storage] | None = None) -> Any:
    """Reads one pickle up to its end.

    Args:
      file: left behind the pickle.
      storages: filled with the storages that the pickle refers to.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop_marked() -> list[Any]:
        first = marks.pop()
        values = stack[first:]
        del stack[first:]
        return values

    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(pop_marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE"
                | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINSTRING" | "SHORT_BINSTRING" | "INT"
                | "LONG" | "LONG4" | "FLOAT" | "UNICODE" | "BINBYTES" | "SHORT_BINBYTES"
                | "BINBYTES8" | "BYTEARRAY8"
            ):  # fmt: skip
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "POP":
                stack.pop()
            case "POP_MARK":
                pop_marked()
            case "APPEND" | "APPENDS":
                values = [stack.pop()] if opcode.name == "APPEND" else pop_marked()
                if not isinstance(stack[-1], _LeftOut):
                    stack[-1].extend(values)
            case "SETITEM" | "SETITEMS":
                values = [stack.pop(-2), stack.pop()] if opcode.name == "SETITEM" else pop_marked()
                if not isinstance(stack[-1], _LeftOut):
                    stack[-1].update(zip(values[::2], values[1::2], strict=True))
            case "EMPTY_SET":
                stack.append(_LeftOut())
            case "ADDITEMS":
                pop_marked()
            case "FROZENSET":
                pop_marked()
                stack.append(_LeftOut())
            case "GLOBAL":
                stack.append(_named(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(f"{module}.{name}"))
            case "BINPERSID":
                storage = _storage(stack.pop())
                if storages is not None:
                    storages[storage.key] = storage
                stack.append(storage)
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_rebuild(function, arguments))
            case "NEWOBJ" | "NEWOBJ_EX":
                del stack[-2 if opcode.name == "NEWOBJ" else -3 :]
                stack.append(_LeftOut())
            case "BUILD":
                _build(stack[-2], stack.pop())
            case other:
                raise ValueError(f"its pickle uses {other}, which state dicts have no need of")
    raise ValueError("it is cut short")


def _named(name: str) -> _Name:
    first, *rest = parts = name.split(".")
    builtin = first in ("builtins", "__builtin__")
    if _HARMFUL & set(parts) or (builtin and ".".join(rest) not in _BUILTINS):
        raise ValueError(f"it names {name!r:.100}, which runs programs and has no place in weights")
    return _Name(name)


def _storage(persistent: Any) -> _Storage:
    kind, storage_type, key, _, _, *views = persistent
    if kind != "storage" or any(view is not None for view in views):
        raise ValueError("it refers to something that is no storage")
    dtype = _DTYPES.get(storage_type.name.removeprefix("torch."))
    if dtype is None:
        raise ValueError(f"it holds tensors of {storage_type.name!r:.100}, which no weights have")
    return _Storage(dtype, str(key))


def _rebuild(function: Any, arguments: tuple[Any, ...]) -> Any:
    match function:
        case _Name("collections.OrderedDict"):
            return dict(*arguments)
        case _Name(name) if name in _DICTS:
            return {}
        case _Name(name) if name in _PARAMETERS and isinstance(arguments[0], _Tensor):
            return arguments[0]
        case _Name(name) if name in _NDARRAYS and arguments[0] == _Name("numpy.ndarray"):
            return _Ndarray()
        case _Name("numpy.dtype") if arguments[0] in _NUMPY_DTYPES:
            return np.dtype(arguments[0])
        case _Name("torch._tensor._rebuild_from_type_v2"):  # of a subclass of tensors
            return _rebuild(arguments[0], arguments[2])
        case _Name(name) if name in _TENSORS:
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, _Storage):
                raise ValueError("a tensor has no storage")
            return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
    return _LeftOut()


def _build(target: Any, state: Any) -> None:
    """What a pickle says of a value that it made before; attributes of other classes are dropped.

    The state of an array is (version, shape, dtype, whether columns come first, bytes).
    """
    if isinstance(target, np.dtype) and state[1] == ">":
        raise ValueError("its bytes are big-endian")
    if not isinstance(target, _Ndarray):
        return
    _, shape, dtype, columns_first, content = state
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes):
        return  # of other elements, or as protocol 2 writes bytes
    if min(shape, default=0) < 0:
        raise ValueError("an array has an impossible shape")
    flat = np.frombuffer(content, dtype)
    array = flat.reshape(shape, order="F" if columns_first else "C")
    target.array = np.array(array, order="C")  # that of the file can't be written to
