"""Data sets of TensorFlow Datasets, once prepared, read without TensorFlow."""

import difflib
import hashlib
import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ganjax.data.fields import IMAGE, Field
from ganjax.data.folder import decode_images
from ganjax.data.source import Broken
from ganjax.errors import UserError, one_line
from ganjax.paths import in_bucket, run_folder

INSTALL = "pip install 'ganjax[prepare]'"


class TfdsImages:
    """Images of one split, with `label` int32 [N], or [N, A] of binary attributes, if there are.

    Args:
      builder: of a data set that is prepared.
      split: in TFDS's notation, e.g. "train" or "train[:80%]".

    Raises:
      UserError: there is no such split, or no image in the data set.
    """

    def __init__(self, builder: Any, *, split: str):
        import tensorflow_datasets as tfds

        self._name, self._folder = builder.info.full_name, builder.data_path
        try:
            builder.info.splits[split]
        except (ValueError, KeyError) as error:
            raise UserError(
                f"data.source tfds:{builder.name} has no split {split!r}; "
                f"there is {', '.join(builder.info.splits)}"
            ) from error
        features = builder.info.features
        self._image_key = _find_image(builder.name, features)
        self._label_key = next((key for key in ("label", "attributes") if key in features), "")
        label = _label_field(features[self._label_key]) if self._label_key else None
        self.fields = {"image": IMAGE} | ({"label": label} if label else {})
        self._examples = builder.as_data_source(
            split, decoders={self._image_key: tfds.decode.SkipDecoding()}
        )
        content = (self._name, split, len(self), _sizes(builder.info.splits))
        self.digest = hashlib.sha256(repr(content).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._examples)

    def name(self, index: int) -> str:
        return f"example {index}"

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        try:
            examples = self._examples.__getitems__(list(indices))
            if any(example[self._image_key] is None for example in examples):
                raise EOFError("records are missing")  # as at the end of a file cut short
        except Exception as error:  # array_record ends damaged files in several types of errors
            raise UserError(
                f"tfds:{self._name} is damaged ({one_line(error)}); delete {self._folder} and "
                "prepare it again"
            ) from error
        encoded = {
            self.name(index): example[self._image_key]
            for index, example in zip(indices, examples, strict=True)
        }
        images, good, broken = decode_images(
            list(encoded), encoded.__getitem__, image_size, channels
        )
        arrays = {"image": images}
        if "label" in self.fields:
            labels = [self._label(example) for example in examples]
            arrays["label"] = np.array(labels, np.int32)[good]
        return arrays, broken

    def _label(self, example: dict[str, Any]) -> int | list[int]:
        label = example[self._label_key]
        names = self.fields["label"].names
        return [label[name] for name in names] if isinstance(label, dict) else label


def _find_image(name: str, features: Any) -> str:
    import tensorflow_datasets as tfds

    images = [
        key
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image)
        and not isinstance(feature, tfds.features.LabeledImage)
        and feature.np_dtype in (np.uint8, np.uint16)
    ]
    if not images:
        raise UserError(f"data.source tfds:{name} has no images, only {', '.join(features)}")
    return "image" if "image" in images else images[0]


def _label_field(feature: Any) -> Field | None:
    """A class, binary attributes, or None for what is no label."""
    import tensorflow_datasets as tfds

    match feature:
        case tfds.features.ClassLabel():
            return Field("class", names=tuple(feature.names))
        case tfds.features.FeaturesDict() if all(f.np_dtype == np.bool_ for f in feature.values()):
            names = tuple(sorted(feature))
            return Field("attributes", len(names), names, (("no", "yes"),) * len(names))
    return None


def _sizes(splits: Any) -> list[tuple[str, int, list[int]]]:
    return [(name, int(info.num_bytes), info.shard_lengths) for name, info in splits.items()]


def open_tfds(where: str, *, split: str) -> TfdsImages:
    """Opens NAME[/CONFIG][:SPLIT], from a copy on this machine's disk if it is in a bucket.

    Args:
      split: unless `where` names one.

    Raises:
      UserError: there is no such data set or split, it has no images, or is not prepared.
    """
    name, _, own_split = where.partition(":")
    builder = make_builder(name)
    _find_image(name, builder.info.features)
    if not builder.info.splits:
        install = "" if has_tensorflow() else f" (after {INSTALL})"
        raise UserError(
            f"data.source tfds:{name} is not prepared in {builder.data_path}; run once{install}: "
            f"{prepare_command(name, builder)}; if a download is refused, as by Google Drive "
            "when its quota is exhausted, fetch the files by hand and add --manual_dir=DIR"
        )
    if in_bucket(builder.data_path):
        import tensorflow_datasets as tfds

        from ganjax.data.bucket import fetch

        folder = fetch(str(builder.data_path))
        builder = tfds.builder_from_directory(folder, file_format="array_record")
    return TfdsImages(builder, split=own_split or split)


def prepare_command(name: str, builder: Any) -> str:
    """What prepares NAME[/CONFIG] where its builder looks for it."""
    command = f"ganjax prepare tfds:{name}"
    if not in_bucket(builder.data_path):
        return command
    where = f"DISK/{builder.info.full_name} {builder.data_path}"
    return f"{command} --data_dir DISK && gcloud storage rsync -r {where}"


def make_builder(name: str, *, data_dir: str | None = None) -> Any:
    """The `tfds.core.DatasetBuilder` of NAME[/CONFIG], for files that need no TensorFlow to read.

    Args:
      data_dir: a folder, also in a bucket; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.

    Raises:
      UserError: the name or the config is unknown, TensorFlow is needed, or the data set is
        prepared in a format that only TensorFlow reads, or the folder cannot be read.
    """
    import tensorflow_datasets as tfds

    # TFDS itself looks at the variable only when it is imported.
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    if data_dir:
        run_folder(data_dir)  # refuses a bucket that cannot be reached
    try:
        return tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except tfds.core.registered.DatasetNotFoundError as error:
        known = set(tfds.list_builders(with_community_datasets=False))
        near = difflib.get_close_matches(name.split("/")[0], sorted(known), 3)
        raise UserError(
            f"TFDS knows no data set {name!r}"
            + (f"; did you mean {' or '.join(near)}?" if near else "")
            + " (all: https://www.tensorflow.org/datasets/catalog)"
        ) from error
    except (ImportError, ValueError, OSError) as error:
        message = re.sub(r'^Failed to construct dataset.*?}": ', "", str(error)).split(" Here are ")
        if isinstance(error, ImportError):
            raise UserError(f"tfds:{name} needs more ({message[0]}): {INSTALL}") from error
        if message[0].startswith("File format"):
            raise UserError(
                f"tfds:{name} is prepared in a format that only TensorFlow reads; prepare it into "
                f"another folder: ganjax prepare tfds:{name} --data_dir DIR, and train "
                "with TFDS_DATA_DIR=DIR"
            ) from error
        raise UserError(f"tfds:{name} cannot be opened: {message[0]}") from error


def has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None
