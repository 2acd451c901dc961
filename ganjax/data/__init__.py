"""Images for training: sources, a cache of decoded images, batches. TensorFlow is not needed."""

from typing import Any

from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import Source, open_source
from ganjax.errors import UserError
from ganjax.images import parse_image_size
from ganjax.paths import cache_folder, expand


def make(config: Any) -> Pipeline:
    """Builds the pipeline that `config.data` describes.

    With `data.content` and `data.style`, two unpaired kinds of images of those names; else one
    stream named `image`, and `label` where `data.labels` asks for it; those must be as many
    classes as `model.classes` says, where it says so.

    Raises:
      UserError: a field holds an impossible value, or there is no such data.
    """
    data = config.data
    if data.channels not in (1, 3, 4):
        raise UserError(f"data.channels is {data.channels}; choose 1 (gray), 3 (RGB) or 4 (RGBA)")
    if data.limit < 0:
        raise UserError(f"data.limit is {data.limit}; it must be 0 (all images) or more")
    classes = config.get("model", {}).get("classes", 0)
    streams = _unpaired(data) if "style" in data else (_labeled(data, classes),)
    return Pipeline(streams, expand(data.cache_dir or cache_folder()))


def _labeled(data: Any, classes: int) -> Stream:
    source = open_source(data.source)
    names = {"image": "image"}
    if data.get("labels", False):
        if not source.label_names:
            raise UserError(f"data.source {data.source} has no labels; set data.labels to False")
        names["label"] = "label"
        if classes:
            _check_classes(source, data, classes)
    pyramid = parse_image_size(data.image_size) if data.get("pyramid", False) else None
    return Stream(source, names, data.channels, data.flip, data.limit, pyramid=pyramid)


def _check_classes(source: Source, data: Any, classes: int) -> None:
    arrays, _ = source.load(range(1), parse_image_size(data.image_size), data.channels)
    if arrays["label"].ndim > 1:
        raise UserError(
            f"data.source {data.source} has attributes, not classes; set data.labels to False and "
            "model.classes to 0"
        )
    if (found := len(source.label_names)) != classes:
        raise UserError(
            f"model.classes is {classes}, but {data.source} has {found} of them; set it to {found}"
        )


def _unpaired(data: Any) -> tuple[Stream, ...]:
    """Streams of `data.content` and `data.style`, each a tuple of sources.

    A source may bear "@SIDE", what its images are scaled to before a part is cut out
    (`data.load_size` by default), and "*WEIGHT", its share of the rows beside the others' (1).
    """
    if not data.zoom >= 1:
        raise UserError(f"data.zoom is {data.zoom}; it must be 1 or more")
    streams = []
    for name in ("content", "style"):
        specs = [_source_spec(spec, data.load_size) for spec in data[name]]
        total = sum(weight for _, _, weight in specs)
        if not specs:
            raise UserError(f"data.{name} is empty; give sources, like ('folder:photos',)")
        for source, load_size, weight in specs:
            stream = Stream(
                open_source(source),
                {"image": name},
                data.channels,
                data.flip,
                data.limit,
                load_size,
                data.zoom,
                weight / total,
            )
            streams.append(stream)
    return tuple(streams)


def _source_spec(text: str, load_size: str) -> tuple[str, tuple[int, int], float]:
    """ "folder:a.zip@512*2" -> ("folder:a.zip", (512, 512), 2.0)."""
    text, weight = _suffix(text, "*")
    source, side = _suffix(text, "@")
    size = parse_image_size(side or load_size)
    return source, size, float(weight or 1)


def _suffix(text: str, mark: str) -> tuple[str, str]:
    head, found, tail = text.rpartition(mark)
    return (head, tail) if found and tail.isdecimal() and int(tail) else (text, "")
