"""Streams of batches from the `data` fields of a config, in the forms that games ask for."""

from collections.abc import Mapping
from typing import Any

from ganjax.data.label_maps import LabelMaps
from ganjax.data.pipeline import Stream
from ganjax.data.source import Source, is_there, open_source
from ganjax.errors import UserError
from ganjax.images import Reading, parse_image_size
from ganjax.images.samples import parse_range


def single(
    data: Any,
    names: Mapping[str, str],
    *,
    maps: Mapping[str, LabelMaps] | None = None,
    instances: str = "",
    **settings: Any,
) -> Stream:
    """The stream of `data.source`.

    Args:
      data: the config's fields `data`.
      names: array of the source -> array of the batch.
      maps, instances: see `paired.open_paired`.
      settings: other attributes of `Stream`.

    Raises:
      UserError: there is no such source, or it lacks one of the arrays.
    """
    source = _open(
        data.source, data, folders=data.get("folders", ()), maps=maps, instances=instances
    )
    if missing := [name for name in names if name not in source.fields]:
        raise UserError(
            f"data.source {data.source} has no {missing[0]}, only {', '.join(source.fields)}"
        )
    return Stream(source, names, data.channels, data.flip, data.limit, spec=data.source, **settings)


def labeled(data: Any, *, image: str, label_map: str, instances: str = "") -> Stream:
    """The stream of images with their label maps, cut and mirrored together.

    Of pairs, `data.direction` says which side is the source, and so which one holds label maps.

    Args:
      data: the config's fields `data`.
      image, label_map: what a batch calls them: one "source", the other "target".
      instances: the folder of maps of instances, which a batch calls `instances`; "" for none.

    Raises:
      UserError: a field holds an impossible value, there is no such source, or it has other classes
        than `data.classes`.
    """
    if data.direction not in ("AtoB", "BtoA"):
        raise UserError(f"data.direction is {data.direction!r}; choose AtoB or BtoA")
    names, maps = {"image": image, "mask": label_map}, {}
    if data.source.startswith("paired:"):
        sides = "ab" if data.direction == "AtoB" else "ba"
        names = dict(zip(sides, ("source", "target"), strict=True))
        (side,) = (side for side, name in names.items() if name == label_map)
        maps = {side: LabelMaps.of(data.classes, data.colors)}
    if instances:
        names["instances"] = "instances"
    stream = single(
        data, names, maps=maps, instances=instances, load_size=parse_image_size(data.load_size)
    )
    found = {new_name: stream.source.fields[name] for name, new_name in names.items()}[label_map]
    if found.names != tuple(data.classes):
        raise UserError(
            f"data.source {data.source} has the classes {', '.join(found.names)}; give them as "
            "data.classes"
        )
    return stream


def unpaired(data: Any, name: str, title: str = "", *, default: str = "") -> tuple[Stream, ...]:
    """The streams of `data[name]`, a source or a tuple of them.

    A source may bear "@SIDE", what its images are scaled to before a part is cut out
    (`data.load_size` by default), and "*WEIGHT", its share of the rows beside the others' (1).
    Where files of the whole name exist, it bears none.

    Args:
      title: what the batch calls the images; "" for `name`.
      default: the source where `data[name]` names none.

    Raises:
      UserError: there is no such source, or `data.zoom` is impossible.
    """
    zoom, given = data.get("zoom", 1.0), data[name] or default
    if not zoom >= 1:
        raise UserError(f"data.zoom is {zoom}; it must be 1 or more")
    if not given:
        example = "folder:photos" if isinstance(data[name], str) else "('folder:photos',)"
        raise UserError(f"data.{name} is empty; give a source, like {example}")
    sources = [given] if isinstance(given, str) else given
    specs = [_parse(spec, data.load_size) for spec in sources]
    total = sum(weight for _, _, weight in specs)
    return tuple(
        Stream(
            _open(source, data),
            {"image": title or name},
            data.channels,
            data.flip,
            data.limit,
            load_size,
            zoom,
            weight / total,
            spec=source,
        )
        for source, load_size, weight in specs
    )


def _open(source: str, data: Any, **pairs: Any) -> Source:
    reading = Reading(range=parse_range(data.range))
    return open_source(source, reading=reading, follow_links=data.follow_links, **pairs)


def _parse(text: str, load_size: str) -> tuple[str, tuple[int, int], float]:
    """ "folder:a.zip@512*2" -> ("folder:a.zip", (512, 512), 2.0)."""
    text, weight = _suffix(text, "*")
    source, side = _suffix(text, "@")
    size = parse_image_size(side or load_size)
    return source, size, float(weight or 1)


def _suffix(text: str, mark: str) -> tuple[str, str]:
    if is_there(text):
        return text, ""
    head, found, tail = text.rpartition(mark)
    return (head, tail) if found and tail.isdecimal() and int(tail) else (text, "")
