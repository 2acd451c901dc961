"""Images for training: sources, a cache of decoded images, batches. TensorFlow is not needed."""

from pathlib import Path
from typing import Any

from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import open_source
from ganjax.errors import UserError
from ganjax.folders import cache_folder


def make(config: Any) -> Pipeline:
    """Builds the pipeline that `config.data` describes: one stream named `image`.

    With `config.data.labels` (where there is such a field) batches hold `label` as well.

    Raises:
      UserError: a field holds an impossible value, or there is no such data.
    """
    data = config.data
    if data.channels not in (1, 3, 4):
        raise UserError(f"data.channels is {data.channels}; choose 1 (grey), 3 (RGB) or 4 (RGBA)")
    if data.limit < 0:
        raise UserError(f"data.limit is {data.limit}; it must be 0 (all images) or more")
    source = open_source(data.source)
    names = {"image": "image"}
    if data.get("labels", False):
        if not source.label_names:
            raise UserError(f"data.source {data.source} has no labels; set data.labels to False")
        names["label"] = "label"
    stream = Stream(source, names, data.channels, data.flip, data.limit)
    return Pipeline((stream,), Path(data.cache_dir or cache_folder()).expanduser())
