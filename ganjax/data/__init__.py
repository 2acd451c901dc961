"""Images for training: sources, a cache of decoded images, batches. TensorFlow is not needed."""

from pathlib import Path
from typing import Any

from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import open_source
from ganjax.errors import UserError
from ganjax.folders import cache_folder


def make(config: Any) -> Pipeline:
    """Builds the pipeline that `config.data` describes: one stream named `image`.

    Raises:
      UserError: a field holds an impossible value, or there is no such data.
    """
    data = config.data
    if data.channels not in (1, 3, 4):
        raise UserError(f"data.channels is {data.channels}; choose 1 (grey), 3 (RGB) or 4 (RGBA)")
    if data.limit < 0:
        raise UserError(f"data.limit is {data.limit}; it must be 0 (all images) or more")
    stream = Stream(
        open_source(data.source), {"image": "image"}, data.channels, data.flip, data.limit
    )
    return Pipeline((stream,), Path(data.cache_dir or cache_folder()).expanduser())
