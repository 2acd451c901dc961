"""Images in a folder or a .zip, found recursively; first-level folders are classes."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ganjax.data.source import Broken
from ganjax.errors import UserError
from ganjax.images import SUFFIXES, read_image

MAX_BYTES = 128 * 2**20  # of one image file; what claims or unpacks to more is no honest image


class Files:
    """Image files behind a function that reads one by its relative name.

    Args:
      names: relative names with "/" between folders, sorted.
      stamps: what besides the name tells a file from its later versions, one per name.
      read: name -> the file's bytes; may raise UserError.
    """

    def __init__(self, names: Sequence[str], stamps: Sequence[str], read: Callable[[str], bytes]):
        self._names, self._read = list(names), read
        first = [name.split("/")[0] if "/" in name else "" for name in names]
        classes = sorted(set(first))
        self.label_names = tuple(classes) if classes != [""] else ()
        number = {name: index for index, name in enumerate(classes)}
        self._labels = np.array([number[name] for name in first], np.int32)
        lines = (f"{name}\t{stamp}\n" for name, stamp in zip(names, stamps, strict=True))
        self.digest = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def __len__(self) -> int:
        return len(self._names)

    def load(self, indices, image_size, channels):
        return load_encoded(
            [(self._names[i], self._labels[i]) for i in indices],
            self._read,
            image_size,
            channels,
        )


def load_encoded(
    named: Sequence[tuple[str, int]],
    read: Callable[[str], bytes],
    image_size: tuple[int, int],
    channels: int,
) -> tuple[dict[str, np.ndarray], list[Broken]]:
    """Decodes encoded images: (name, label) pairs -> what `Source.load` returns."""
    images, labels, broken = [], [], []
    for name, label in named:
        try:
            images.append(read_image(read(name), channels=channels, image_size=image_size))
            labels.append(label)
        except UserError as error:
            broken.append(Broken(name, str(error).removeprefix("image ")))
    if not images:
        return {}, broken
    return {"image": np.stack(images), "label": np.array(labels, np.int32)}, broken


def open_files(path: str) -> Files:
    """Opens a folder or .zip of images.

    Raises:
      UserError: it does not exist, is neither, or holds no image.
    """
    root = Path(path).expanduser()
    if root.is_dir():
        return _open_folder(root)
    if not root.exists():
        raise UserError(f"data.source folder:{path} does not exist")
    if not zipfile.is_zipfile(root):
        raise UserError(f"data.source folder:{path} is neither a folder nor a .zip file")
    return _open_zip(root)


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in SUFFIXES


def _open_folder(root: Path) -> Files:
    found, others = [], 0
    # Links to folders are not followed: a link to a parent would never end.
    for folder, folders, files in os.walk(root):
        folders.sort()
        relative = Path(folder).relative_to(root).as_posix()
        for file in files:
            name = file if relative == "." else f"{relative}/{file}"
            if not _is_image(name):
                others += 1
                continue
            try:
                status = os.stat(root / name)
            except OSError:  # a dangling link; reading it will say so
                found.append((name, "absent"))
            else:
                found.append((name, f"{status.st_size} {status.st_mtime_ns}"))
    _check_found(root, found, others)

    def read(name: str) -> bytes:
        try:
            if (size := os.path.getsize(root / name)) > MAX_BYTES:
                raise UserError(_too_large(size))
            return (root / name).read_bytes()
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}") from error

    return Files(*zip(*sorted(found), strict=True), read)


def _open_zip(path: Path) -> Files:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"data.source folder:{path} cannot be opened: {error}") from error
    members = [info for info in archive.infolist() if not info.is_dir()]
    found = {i.filename: f"{i.file_size} {i.CRC:08x}" for i in members if _is_image(i.filename)}
    _check_found(path, list(found), len(members) - len(found))

    def read(name: str) -> bytes:
        info = archive.getinfo(name)
        if info.file_size > MAX_BYTES:
            raise UserError(_too_large(info.file_size))
        try:
            with archive.open(info) as file:
                content = file.read(MAX_BYTES + 1)  # the size in the directory may be a lie
        except Exception as error:  # zipfile raises many types for damaged or encrypted members
            raise UserError(f"cannot be unpacked: {error}") from error
        if len(content) > MAX_BYTES:
            raise UserError(_too_large(len(content)))
        return content

    return Files(*zip(*sorted(found.items()), strict=True), read)


def _too_large(size: int) -> str:
    return f"unpacks to {size / 2**20:.0f} MiB, above the limit of {MAX_BYTES // 2**20}"


def _check_found(path: Path, found: list, others: int) -> None:
    if not found:
        what = f"only {others} other files" if others else "nothing"
        raise UserError(
            f"data.source folder:{path} holds {what}, no image "
            f"({', '.join(sorted(SUFFIXES))}); name the folder of your images"
        )
