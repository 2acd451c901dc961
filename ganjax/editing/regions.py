"""Parts of an image, by a model that tells the class of each pixel."""

from collections.abc import Sequence

import jax
import numpy as np
from PIL import Image

from ganjax.errors import UserError, suggest
from ganjax.images import cover, parse_image_size, to_float
from ganjax.runs import Run

SEGMENTER = "segment_avatars"


class Segmenter:
    """Finds the pixels of some classes.

    Args:
      run: of `configs/segment_avatars.py` or another one of its task, from `ganjax.runs.load`.
      name: what messages call it.
      classes: those to find.

    Raises:
      UserError: the model tells no classes of pixels, or not these.
    """

    def __init__(self, run: Run, name: str, classes: Sequence[str]):
        labels = run.model.outputs.get("labels")
        if labels is None or labels.kind != "label_map":
            raise UserError(f"{name} tells no classes of pixels; give a run of segment_avatars")
        for wrong in [each for each in classes if each not in labels.names]:
            raise UserError(f"--hold {wrong}: {suggest(wrong, labels.names)}")
        self._trained = run.trained
        self._numbers = [labels.names.index(each) for each in classes]
        self._image_size = parse_image_size(run.config.data.image_size)
        self._program = jax.jit(
            lambda trained, image: run.model.sample(trained, {"source": image}, None)["labels"]
        )

    def region(self, image: np.ndarray) -> np.ndarray:
        """Where an image uint8 [H, W, 3] shows one of the classes: uint8 [h, w, 1], 255 or 0.

        [h, w] is the size of the images that the model was trained with.
        """
        fitted = np.asarray(cover(Image.fromarray(image), self._image_size))
        labels = self._program(self._trained, to_float(fitted)[None])[0]
        return np.where(np.isin(labels, self._numbers), 255, 0).astype(np.uint8)[:, :, None]
