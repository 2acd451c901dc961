"""Images in a folder or a .zip, found recursively, with their classes."""

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ganjax.data.fields import IMAGE, Field
from ganjax.data.labels import LISTS, find_labels, in_order
from ganjax.data.source import Broken
from ganjax.errors import UserError, one_line, tell_once
from ganjax.images import DECLARED, Reading, as_pixels, read_image, samples, undeclared_samples
from ganjax.images.formats import SUFFIXES
from ganjax.paths import expand

LISTING = ".listing.json"  # in a copy of a folder in a bucket: what it is a copy of
MAX_BYTES = 256 * 2**20  # of one image file; what claims or unpacks to more is no honest image
_MAX_RATIO = 200  # of unpacking what is above 16 MiB; even uncompressed photos stay below 3
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others cannot be told where to stop
_ARCHIVES = frozenset(".zip .tar .gz .tgz .bz2 .xz .zst .7z .rar".split())
_LONGEST = 200  # characters of a name that are shown; zips allow 65,535
_NAMED = 3  # ignored files that are named on the screen
_SCIENTIFIC = (".tif", ".tiff")  # suffixes of files that may declare no range of samples
_FOLLOW = "--follow_links (in training --config.data.follow_links=true) has them read"
_LOOKED_AT = 32  # of these, for the range that all of a folder share


class Picture(NamedTuple):
    """An image file, not opened yet.

    Attributes:
      name: with its folders, as far as they tell it from others.
      read: gives its content, as `images.as_pixels` takes it; raises UserError where it cannot be
        read.
      reading: of the file.
    """

    name: str
    read: Callable[[], Any]
    reading: Reading = DECLARED

    def pixels(self, *, channels: int = 3, may_shrink: bool = False) -> np.ndarray:
        """As `images.as_pixels` gives them: uint8 [H, W, channels]."""
        content = self.read()
        return as_pixels(content, channels=channels, may_shrink=may_shrink, reading=self.reading)


class Files:
    """Image files behind a function that reads one by its relative name.

    Args:
      stamps: relative name with "/" between folders -> what tells a file from its later versions.
      read: name -> the file's bytes; raises UserError where it cannot.
      lists: see `find_labels`.
      beside: what reads NAME.txt, by NAME with its folders.
      title: what messages call all of them.
      reading: of the files.

    Attributes:
      names: in order.
      read: as given.
      lists, beside: as given.
      labels: the number of each image's class, int32 [N]; [0] without classes.
      reading: as given; files that declare no range of their samples are read by the same one.
    """

    def __init__(
        self,
        stamps: dict[str, str],
        read: Callable[[str], bytes],
        lists: Mapping[str, Callable[[], bytes]] | None = None,
        beside: Mapping[str, Callable[[], bytes]] | None = None,
        *,
        title: str = "",
        reading: Reading = DECLARED,
    ):
        self.names, self.read = sorted(stamps), read
        self.lists, self.beside = lists or {}, beside or {}
        self._title, self.reading = title, reading._replace(guess=self._guess)
        self.fields, self.labels = {"image": IMAGE}, np.empty(0, np.int32)
        labels = find_labels(self.names, self.lists)
        if labels:
            classes = in_order(labels)
            self.fields["label"] = Field("class", names=classes)
            numbers = {label: number for number, label in enumerate(classes)}
            self.labels = np.array([numbers[label] for label in labels], np.int32)
        lines = "".join(f"{name}\t{stamps[name]}\n" for name in self.names)
        if labels and lists:
            lines += "\n".join(labels)
        if reading.range or reading.raw_colors:
            lines += f"\n{reading.range} {reading.raw_colors}"
        self.digest = hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        names = [self.name(index) for index in indices]
        images, good, broken = decode_images(
            names, self.read, image_size, channels, reading=self.reading
        )
        arrays = {"image": images}
        if "label" in self.fields:
            arrays["label"] = self.labels[np.array(indices)[good]]
        return arrays, broken

    def _guess(self, tiles: Iterable[np.ndarray], name: Any) -> samples.Guess:
        if self._shared is None:
            return samples.guess(tiles, name)
        samples.check(self._shared, tiles, name)
        return self._shared

    @cached_property
    def _shared(self) -> samples.Guess | None:
        """What samples mean in files that do not declare it, by a look at some of them."""
        found = [name for name in self.names if name.lower().endswith(_SCIENTIFIC)]
        tiles: list[np.ndarray] = []
        for name in found[:: -(-len(found) // _LOOKED_AT) or 1]:
            with suppress(UserError):  # which those will meet who read it
                tiles += undeclared_samples(self.read(name))
        return samples.guess(tiles, self._title) if tiles else None


def decode_images(
    names: Sequence[str],
    read: Callable[[str], bytes],
    image_size: tuple[int, int],
    channels: int,
    *,
    reading: Reading = DECLARED,
) -> tuple[np.ndarray, np.ndarray, list[Broken]]:
    """Decodes encoded images, leaving out the broken ones.

    Returns:
      uint8 [G, H, W, C], the positions [G] of the good ones in `names`, and the broken ones.
    """
    images = np.empty((len(names), *image_size, channels), np.uint8)
    good: list[int] = []
    broken: list[Broken] = []
    for position, name in enumerate(names):
        try:
            image = read_image(
                read(name), channels=channels, image_size=image_size, reading=reading
            )
        except UserError as error:
            broken.append(Broken(name, str(error).removeprefix("image ")))
        else:
            images[len(good)] = image
            good.append(position)
    return images[: len(good)], np.array(good, np.intp), broken


def open_files(
    path: str | Path, *, reading: Reading = DECLARED, follow_links: bool = False
) -> Files:
    """Opens a folder or .zip of images, or a folder inside a .zip: photos.zip/train.

    Hidden files are passed over; other files that are no images are named on stderr.

    Args:
      reading: of the files.
      follow_links: read what links lead to: folders, each once, and files outside `path`.

    Raises:
      UserError: it does not exist, is neither, cannot be read, or holds no image.
    """
    root = expand(path)
    if os.path.isdir(root):
        return _open_folder(root, reading, follow_links)
    if not os.path.exists(root):
        if inside := [part for part in root.parents if part.suffix.lower() == ".zip"]:
            if os.path.isfile(inside[0]):
                return _open_zip(inside[0], reading, root.relative_to(inside[0]).as_posix())
        raise UserError(f"{path} does not exist")
    if not os.path.isfile(root):
        raise UserError(f"{path} is neither a folder nor a .zip file")
    return _open_zip(root, reading)


def list_pictures(
    paths: Sequence[str | Path], *, reading: Reading = DECLARED, follow_links: bool = False
) -> list[Picture]:
    """The image files that paths name: files themselves, and all in folders and .zip archives.

    Args:
      reading, follow_links: see `open_files`.

    Raises:
      UserError: a path does not exist, is a device or a pipe, or its folder or archive holds no
        image.
    """
    pictures = []
    for path in map(expand, paths):
        if os.path.isdir(path) or path.suffix.lower() == ".zip":
            files = open_files(path, reading=reading, follow_links=follow_links)
            pictures += [
                Picture(name, partial(files.read, name), files.reading) for name in files.names
            ]
        elif os.path.isfile(path):
            pictures.append(Picture(path.name, partial(_read_file, path), reading))
        else:
            raise UserError(f"{path} {'is no file' if os.path.exists(path) else 'does not exist'}")
    return pictures


def _read_file(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would never end
            raise UserError("is no file")
        if status.st_size > MAX_BYTES:
            raise UserError(too_large(status.st_size))
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error


def stamp(path: Path, *, copied: bool) -> str:
    """What tells a file from its later versions, and from another one of its name, size and date.

    Not all that replaces a file gives it a date of its own; the date of the inode is the system's.

    Args:
      copied: from a bucket (`LISTING` is there). Then its date is the object's generation, which
        is the same on all machines and tells all versions.

    Raises:
      OSError: the file is not there.
    """
    status = path.stat()
    text = f"{status.st_size} {status.st_mtime_ns}"
    return text if copied else f"{text} {status.st_ctime_ns} {status.st_ino}"


def _is_hidden(part: str) -> bool:
    return (part.startswith(".") and part != "..") or part == "__MACOSX"


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _open_folder(root: Path, reading: Reading, follow_links: bool) -> Files:
    found, paths, others, inside = {}, {}, [], root.resolve()
    lists, beside, links, seen = {}, {}, [], set()
    copied = (root / LISTING).exists()

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    def leads_out(path: Path) -> bool:
        return not follow_links and path.is_symlink() and not _target(path).is_relative_to(inside)

    waiting = [root]
    while waiting:
        for folder, folders, files in os.walk(waiting.pop(0), onerror=refuse):
            real = os.path.realpath(folder)
            if real in seen:  # links may lead in circles
                folders.clear()
                continue
            seen.add(real)
            # Links to folders wait: what they lead to may lie among the others.
            folders[:] = sorted(name for name in folders if not _is_hidden(name))
            links += [path for name in folders if (path := Path(folder, name)).is_symlink()]
            if follow_links:
                waiting += links
                links.clear()
            for file in files:
                path = Path(folder, file)
                name = printable(path.relative_to(root).as_posix())
                if _is_hidden(file):
                    continue
                if file in LISTS:
                    lists[name] = partial(_read_file, path)
                    continue
                if name.lower().endswith(".txt"):
                    beside[stem(name)] = partial(_read_file, path)
                    continue
                if not _is_image(name):
                    others.append(name)
                    continue
                paths[name] = path
                try:
                    found[name] = stamp(path, copied=copied)
                    if leads_out(path):
                        found[name] = "outside"
                except (OSError, UserError):  # a dangling link; reading it will say so
                    found[name] = "absent"
    if links:
        named = ", ".join(path.name for path in links[:_NAMED])
        tell_once(f"{root}: {len(links)} linked folders are passed over: {named}; {_FOLLOW}")
    _check_found(root, found, others + _lonely(beside, found))

    def read(name: str) -> bytes:
        path = paths[name]
        if leads_out(path):
            raise UserError(f"is a link out of the folder; {_FOLLOW}")
        return _read_file(path)

    return Files(found, read, lists, beside, title=str(root), reading=reading)


def _open_zip(path: Path, reading: Reading, folder: str = "") -> Files:
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                cut_short = file.read(4) == b"PK\x03\x04"  # the end of an archive lists its files
            if cut_short:
                raise UserError(f"{path} is cut short; fetch or copy it again")
            raise UserError(f"{path} is neither a folder nor a .zip file")
        archive = zipfile.ZipFile(path)
    except UserError:
        raise
    except Exception as error:  # zipfile ends damaged directories in many types of errors
        raise UserError(f"{path} cannot be opened: {printable(one_line(error))}") from error
    found, infos, others, lists, texts = {}, {}, [], [], []
    for info in archive.infolist():
        # Some programs on Windows write their own separator.
        written = info.filename.replace("\\", "/")
        while written.startswith("./"):
            written = written[2:]
        name = printable(written)
        # `is_dir` fails on a name that is empty.
        if name.endswith("/") or any(map(_is_hidden, PurePosixPath(written).parts)):
            continue
        if folder and not name.startswith(f"{folder}/"):
            continue
        infos[name] = info
        if _is_image(name):
            found[name] = f"{info.file_size} {info.CRC:08x}"
        elif PurePosixPath(name).name in LISTS:
            lists.append(name)
        elif name.lower().endswith(".txt"):
            texts.append(name)
        else:
            others.append(name)

    def read(name: str) -> bytes:
        info = infos[name]
        if info.flag_bits & 1:
            raise UserError("is encrypted")
        if info.compress_type not in _METHODS:
            raise UserError("is compressed in another way than deflate; pack it anew")
        size = info.file_size
        if size > MAX_BYTES or (size > 2**24 and size > _MAX_RATIO * info.compress_size):
            raise UserError(too_large(size))
        try:
            with archive.open(info) as file:
                # Without a number all would be unpacked, whatever the directory says of its size.
                return file.read(size)
        except Exception as error:  # zipfile ends damaged members in many types of errors
            raise UserError(f"cannot be unpacked: {printable(one_line(error))}") from error

    members = {name: partial(read, name) for name in lists}
    beside = {stem(name): partial(read, name) for name in texts}
    _check_found(path / folder, found, others + _lonely(beside, found))
    return Files(found, read, members, beside, title=str(path), reading=reading)


def printable(name: str) -> str:
    """A name from a file system or an archive, without what would break a line or a terminal."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    if len(shown) <= _LONGEST:
        return shown
    digest = hashlib.sha256(shown.encode()).hexdigest()[:8]  # tells it from others
    return f"{shown[: _LONGEST // 2]}...{digest}...{shown[-_LONGEST // 2 :]}"


def stem(name: str) -> str:
    """The name of a file with its folders, but without its suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def _lonely(beside: Iterable[str], found: Iterable[str]) -> list[str]:
    """The texts that have no image of their name."""
    stems = set(map(stem, found))
    return [f"{name}.txt" for name in beside if name not in stems]


def _target(link: Path) -> Path:
    try:
        return link.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # to what is not there, or to itself
        raise UserError("is a link that leads nowhere") from error


def too_large(size: int) -> str:
    return f"claims {size / 2**20:,.0f} MiB, which no honest image file has"


def _check_found(path: Path, found: dict[str, str], others: list[str]) -> None:
    # An archive inside is named first: somebody may believe that its images are read.
    others.sort(key=lambda name: (PurePosixPath(name).suffix.lower() not in _ARCHIVES, name))
    named = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
    if not found:
        what = f"only {len(others)} other files ({named})" if others else "nothing"
        raise UserError(
            f"{path} holds {what}, no image "
            f"({' '.join(sorted(SUFFIXES))}); name the folder of your images"
        )
    if others:
        tell_once(f"{path}: {len(others)} files that are no images ignored: {named}")
