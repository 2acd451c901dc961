"""Pairs of images: side by side in one file as pix2pix has it, or in two folders."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from ganjax.data.avatars.palette import paint
from ganjax.data.avatars.source import Avatars
from ganjax.data.fields import IMAGE, Field
from ganjax.data.folder import Files, open_files
from ganjax.data.label_maps import UNLABELED, InstanceMaps, LabelMaps
from ganjax.data.source import Broken, Source
from ganjax.errors import UserError, tell_once
from ganjax.images import (
    DECLARED,
    Reading,
    cover,
    read_header,
    read_image,
    read_values,
    undeclared_samples,
)

SPLITS = ("train", "val", "test")
FOLDERS = (("A", "B"), ("image", "label"), ("images", "labels"))
_LOOKED_AT = 16  # images of a side, for what looks like numbers of classes
_DARK = 64  # of 255 (or of 65,535): below it there is nothing to see
_SHAPES = 0.02  # by which the proportions of two images of a pair may differ
INSTANCES = "instances"
SIDES = ("a", "b", INSTANCES)
Picture = np.ndarray  # uint8 [H, W, C], or of a label map [H, W]


class Pairs:
    """Examples of two pictures, `a` and `b`: images uint8 [N, H, W, C] or label maps [N, H, W].

    Maps of `instances` [N, H, W] may belong to them. All are scaled until they cover the frame, and
    cut alike.

    Args:
      examples: the files of each example: one that holds a on its left and b on its right half,
        or those of a and b, and of the instances.
      files: of all names.
      form: what tells these examples from others of the same files.
      maps: how the sides that are label maps, and instances, are written.
    """

    def __init__(
        self,
        examples: Sequence[tuple[str, ...]],
        files: Files,
        form: str,
        *,
        maps: Mapping[str, LabelMaps | InstanceMaps],
    ):
        self._examples, self._files, self._maps = examples, files, maps
        self.digest = f"{form}: {files.digest}" + (f" {dict(maps)}" if maps else "")
        self.fields = {
            side: Field("label_map", names=maps[side].names) if side in maps else IMAGE
            for side in SIDES[: 3 if INSTANCES in maps else 2]
        }

    def __len__(self) -> int:
        return len(self._examples)

    def name(self, index: int) -> str:
        return self._examples[index][0]

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        """See `Source`.

        Raises:
          UserError: a label map has a wrong value, or the two files of an example differ in their
            proportions.
        """
        found: dict[str, list[Picture]] = {side: [] for side in self.fields}
        broken = []
        for index in indices:
            files = self._examples[index]
            pictures = self._decode(files, channels)
            if isinstance(pictures, Broken):
                broken.append(pictures)
                continue
            _check_shapes(files, pictures)
            for side, picture in zip(found, pictures, strict=True):
                nearest = self.fields[side].kind == "label_map"
                found[side].append(_fitted(picture, image_size, nearest=nearest))
        arrays = {}
        for side, pictures in found.items():
            shape, kind = self.fields[side].array(image_size, channels)
            arrays[side] = np.stack(pictures) if pictures else np.empty((0, *shape), kind)
        return arrays, broken

    def _decode(self, files: tuple[str, ...], channels: int) -> list[Picture] | Broken:
        @cache  # of both halves
        def values(file: str, maps: LabelMaps | InstanceMaps | None) -> Picture:
            content = self._files.read(file)
            if maps:
                return maps.read(content)
            reading = self._files.reading
            return read_image(content, channels=channels, may_shrink=True, reading=reading)

        pictures = []
        for number, side in enumerate(self.fields):
            file, maps = files[number % len(files)], self._maps.get(side)
            try:
                picture = values(file, maps)
                if len(files) == 1:
                    picture = _halves(picture)[number]
            except UserError as error:
                where = "" if file == files[0] else f"has a partner {file} that "
                return Broken(files[0], where + str(error).removeprefix("image "))
            if maps:
                try:
                    picture = maps.look_up(picture, self._files.read(file))
                except UserError as error:
                    raise UserError(f"{file} {error}") from error
            pictures.append(picture)
        return pictures


def _halves(image: Picture) -> list[Picture]:
    if image.shape[1] % 2:
        raise UserError(f"is {image.shape[1]} pixels wide, which has no two halves")
    return np.split(image, 2, axis=1)


def _check_shapes(files: Sequence[str], images: Sequence[Picture]) -> None:
    height, width = images[0].shape[:2]
    for number, image in enumerate(images):
        other_height, other_width = image.shape[:2]
        if abs(height * other_width - other_height * width) > _SHAPES * height * other_width:
            raise UserError(
                f"{files[0]} has {width}x{height} pixels and its partner {files[number]} "
                f"{other_width}x{other_height}; give both the same proportions"
            )


def _fitted(picture: Picture, image_size: tuple[int, int], *, nearest: bool) -> Picture:
    flat = picture[:, :, 0] if picture.shape[2:] == (1,) else picture
    fitted = np.asarray(cover(Image.fromarray(flat), image_size, nearest=nearest))
    return fitted.reshape(*image_size, *picture.shape[2:])


class Portraits:
    """Avatars as pairs: `a` the mask in the colors of its palette, `b` the portrait."""

    fields = {"a": IMAGE, "b": IMAGE}

    def __init__(self, *, split: str):
        self._source = Avatars(split=split)
        self.digest = f"portraits: {self._source.digest}"

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        return self._source.name(index)

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        if channels != 3:
            raise UserError(f"data.channels is {channels}; masks have colors: choose 3")
        arrays, broken = self._source.load(indices, image_size, channels)
        return {"a": paint(arrays["mask"]), "b": arrays["image"]}, broken


def open_paired(
    where: str,
    *,
    split: str,
    folders: Sequence[str] = (),
    maps: Mapping[str, LabelMaps] | None = None,
    instances: str = "",
    reading: Reading = DECLARED,
    follow_links: bool = False,
) -> Source:
    """Opens PATH[:SPLIT], a folder or .zip of pairs, or `avatars`.

    Where there are two folders of the names `folders`, or of one of `FOLDERS`, they hold a and b;
    files whose names differ in the suffix only belong together. Else each file holds both.

    Args:
      split: of folders named `SPLITS`, where there are any; all others are passed over.
      folders: the names of a's folder and b's; () for `FOLDERS`.
      maps: how the sides that are label maps are written.
      instances: the name of the folder of maps of instances; "" for none.
      reading, follow_links: of files, see `folder.open_files`.

    Raises:
      UserError: there is no such data or split, a file has no partner, or a side has no file.
    """
    path, _, own_split = where.partition(":")
    split = own_split or split
    if path == "avatars":
        if maps:
            raise UserError("the masks of paired:avatars are images; give data.source=avatars")
        return Portraits(split=split)
    if len(folders) not in (0, 2) or len({*folders}) != len(folders):
        raise UserError(f"data.folders is {tuple(folders)}; give two names, of a and of b")
    files = open_files(path, reading=reading, follow_links=follow_links)
    names, found = _of_split(files.names, split)
    maps = dict(maps or {})
    if two := _find_folders(names, path, tuple(folders)):
        examples = _partners(names, (*two, instances) if instances else two, path)
        for number, side in enumerate(("a", "b")):
            if side not in maps:
                _tell_of_numbers([example[number] for example in examples], files, path)
        form = " and ".join((f"in {two[0]}", two[1], *([instances] if instances else [])))
    elif instances:
        raise UserError(
            f"{path} holds both images in one file; data.instances is for folders: "
            f"image/, label/ and {instances}/"
        )
    else:
        examples, form = [(name,) for name in names], "side by side"
    form += f", {split if found else 'all'}"
    described = maps | ({INSTANCES: InstanceMaps()} if instances else {})
    return Pairs(examples, files, form, maps=described)


def _tell_of_numbers(names: Sequence[str], files: Files, path: str) -> None:
    """Tells of images that look like the numbers of classes."""
    highest = 0
    for name in names[:: -(-len(names) // _LOOKED_AT) or 1]:
        try:
            content = files.read(name)
            # Samples without a declared range are given one that shows them.
            if not read_header(content).gray or undeclared_samples(content):
                return
            values = read_values(content, colors=False)
        except UserError:  # which those will meet who read it
            continue
        if values.dtype == bool:  # black and white
            return
        highest = max(highest, values[values != UNLABELED].max(initial=0))
    if 0 < highest < _DARK:
        tell_once(
            f"{path}: gray values of {names[0]} and others end at {highest}, which is almost "
            "black; if they are numbers of classes, save them with a palette of colors "
            "(docs/pix2pix.md has how)"
        )


def _of_split(names: Sequence[str], split: str) -> tuple[list[str], bool]:
    """The files of a split, and whether there are any splits; else all."""
    found = {part for name in names for part in name.split("/")[:-1] if part in SPLITS}
    if not found:
        return list(names), False
    if split not in found:
        raise UserError(f"there is no folder {split}, only {', '.join(sorted(found))}")
    return [name for name in names if split in name.split("/")[:-1]], True


def _find_folders(
    names: Sequence[str], path: str, wanted: tuple[str, ...]
) -> tuple[str, str] | None:
    there = {part for name in names for part in name.split("/")[:-1]}
    for a, b in [wanted] if wanted else FOLDERS:
        if missing := {a, b} - there:
            if len(missing) == 2 and not wanted:
                continue
            full = ({a, b} - missing) or {path}
            hint = "put the partners there"
            if not wanted:
                hint += ", or, if the files hold both images side by side, name that folder itself"
            raise UserError(
                f"{path}: there are images in {full.pop()}, none in {missing.pop()}; {hint}"
            )
        return a, b
    return None


def _partners(names: Sequence[str], folders: tuple[str, ...], path: str) -> list[tuple[str, ...]]:
    """The files of the folders that belong together, in order."""
    sides: dict[str, dict[str, str]] = {folder: {} for folder in folders}
    for name in names:
        parts = list(PurePosixPath(name).with_suffix("").parts)
        side = next((part for part in parts[:-1] if part in sides), None)
        if side is None:
            continue
        parts.remove(side)
        other = sides[side].setdefault("/".join(parts), name)
        if other != name:
            raise UserError(f"{path}: {other} and {name} differ in the suffix only; remove one")
    first = folders[0]
    pairs = [pair for other in folders[1:] for pair in ((first, other), (other, first))]
    for side, partner in pairs:
        if alone := sorted(sides[side].keys() - sides[partner].keys()):
            more = f" (nor have {len(alone) - 1} others)" if alone[1:] else ""
            raise UserError(
                f"{path}: {sides[side][alone[0]]} has no partner in {partner}{more}; add it, or "
                "remove the file"
            )
    return [tuple(side[key] for side in sides.values()) for key in sorted(sides[first])]
