"""Damages files: blindly, and knowingly where checksums would else stop a reader at once."""

import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

# What breaks arithmetic on lengths, counts and offsets.
NUMBERS = (
    0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 10**6, 0x7FFFFFFF, 0x80000000,
    0xFFFFFFFF, 10**12, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_DECIMALS = (*map(str, NUMBERS), "-1", "-9223372036854775808", "9" * 30, "9" * 5000, "1e400", "nan")
_NAMES = (
    "../../escaped.png", "/tmp/escaped.png", "a/../../../escaped.png", "..\\..\\escaped.png",
    "C:\\escaped.png", "a\nb.png", "\x1b[2Ja.png", "a\0b.png", "ü/\N{SNOWMAN}.png",
    "n" * 300 + ".png", "d/" * 200 + "a.png", "", ".", "/", "a.npy", "data.pkl", "a.png/b.png",
)  # fmt: skip
_LINK = 0o120777 << 16  # the attributes of a symbolic link


def mutate(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Damages a file in one to four ways.

    Args:
      content: a whole file.
      others: files of its kind, of which parts are put into it.
    """
    knowing = _knowing(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if knowing and random.random() < 0.5:
            content = knowing(content, random)
        else:
            content = random.choice(_BLIND)(content, others, random)
    return content


def _knowing(content: bytes) -> Callable[[bytes, Random], bytes] | None:
    if content.startswith(b"PK"):
        return _repack
    if content.startswith(b"\x89PNG"):
        return _png_chunk
    if content[8:9] == b"{":
        return _safetensors_header
    return None


def _span(content: bytes, random: Random) -> tuple[int, int]:
    """Where a part begins and ends, most often a short one near one of the file's ends."""
    size = len(content)
    near = min(size, 256)
    first = random.choice((random.randrange(near + 1), size - random.randrange(near + 1)))
    first = random.choice((first, random.randrange(size + 1)))
    return first, min(size, first + random.choice((1, 2, 4, 8, 32, 256, size // 4)))


def _flip_bits(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        first, _ = _span(content, random)
        if first < len(damaged):
            damaged[first] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _write_number(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    width, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    number = random.choice(NUMBERS) % 256**width
    first, _ = _span(content, random)
    return content[:first] + number.to_bytes(width, order) + content[first + width :]


def _write_decimal(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Puts another number where digits stand, as they do in JSON and in the headers of arrays."""
    found = list(re.finditer(rb"\d+", content[:4096]))
    if not found:
        return _write_number(content, others, random)
    first, last = random.choice(found).span()
    return content[:first] + random.choice(_DECIMALS).encode() + content[last:]


def _truncate(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return content[: _span(content, random)[0]]


def _delete(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    first, last = _span(content, random)
    return content[:first] + content[last:]


def _repeat(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    first, last = _span(content, random)
    part = content[first:last] * random.choice((2, 2, 3, 100) if last - first < 1000 else (2,))
    return content[:first] + part + content[last:]


def _insert(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    first, _ = _span(content, random)
    part = random.choice((random.randbytes(8), bytes(8), b"\xff" * 8, random.randbytes(100)))
    return content[:first] + part + content[first:]


def _splice(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return content[: _span(content, random)[0]] + other[_span(other, random)[0] :]


def _move(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others)
    begin, end = _span(other, random)
    first, _ = _span(content, random)
    return content[:first] + other[begin:end] + content[first + end - begin :]


_BLIND = (
    _flip_bits, _write_number, _write_number, _write_decimal, _truncate, _delete, _repeat, _insert,
    _splice, _move,
)  # fmt: skip


def _png_chunk(content: bytes, random: Random) -> bytes:
    """Damages one chunk and makes its checksum fit."""
    chunks, position = [], 8
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        kind = content[position + 4 : position + 8]
        chunks.append((kind, content[position + 8 : position + 8 + length]))
        position += 12 + length
    if not chunks:
        return content
    number = random.randrange(len(chunks))
    kind, data = chunks[number]
    match random.randrange(4):
        case 0:
            chunks.insert(random.randrange(len(chunks) + 1), (kind, data))
        case 1:
            del chunks[number]
        case 2 if kind == b"IDAT":
            try:
                data = zlib.compress(_damage(zlib.decompress(data), random))
            except zlib.error:
                data = _damage(data, random)
            chunks[number] = (kind, data)
        case _:
            chunks[number] = (kind, _damage(data, random))
    parts = [content[:8]]
    for kind, data in chunks:
        parts.append(struct.pack(">I", len(data)) + kind + data)
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def _safetensors_header(content: bytes, random: Random) -> bytes:
    """Damages the header and makes its length fit."""
    length = int.from_bytes(content[:8], "little")
    header = _damage(content[8 : 8 + length], random)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _repack(content: bytes, random: Random) -> bytes:
    """Damages, renames, repeats or links one member, and makes sizes and checksums fit."""
    packed = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > 2**24:
                return content
            members = [(info, archive.read(info)) for info in archive.infolist()]
        number = random.randrange(len(members))
        info, data = members[number]
        name, attributes = info.filename, info.external_attr
        match random.randrange(6):
            case 0:
                name = random.choice(_NAMES)
            case 1:
                attributes, data = _LINK, random.choice(_NAMES).encode()
            case 2:
                data += bytes(2**21)
            case _:
                data = _damage(data, random)
        added = zipfile.ZipInfo(name)
        added.external_attr, added.compress_type = attributes, random.choice((0, 0, 8, 12, 14))
        members[number : number + random.randrange(2)] = [(added, data)]
        with zipfile.ZipFile(packed, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a name is there twice
            for info, data in members:
                archive.writestr(info, data)
    except Exception:  # it is too damaged for that already
        return content
    return packed.getvalue()


def _damage(data: bytes, random: Random) -> bytes:
    return random.choice(_BLIND)(data, [data], random)
