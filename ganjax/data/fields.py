"""What the arrays of an example are: kinds decide how they are cut, mirrored, scaled and cached."""

from typing import Literal, NamedTuple

import numpy as np

Kind = Literal["image", "label_map", "mask", "class", "attributes", "text", "vector"]
_PICTURES = ("image", "label_map", "mask")


class Field(NamedTuple):
    """One array of an example.

    Attributes:
      kind: "image" uint8 [H, W, C]; "label_map" uint8 [H, W], a class for each pixel; "mask" uint8
        [H, W], 0 to 255; "class" int32 []; "attributes" int32 [A], a value for each; "text" int32
        [T], numbers of words (of several texts for an example, [K, T] in a source, a batch shows
        one); "vector" float32 [D].
      size: A, T or D; 0 for the other kinds.
      names: of the classes or attributes, if they have any; of a text, the vocabulary.
      values: of each attribute, the names of its values; of a text, one tuple of examples.
    """

    kind: Kind
    size: int = 0
    names: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()

    @property
    def is_picture(self) -> bool:
        """Whether it shows the scene, and is cut, mirrored and scaled as the others that do."""
        return self.kind in _PICTURES

    def array(self, image_size: tuple[int, int], channels: int) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of one example's array, pictures at `image_size`."""
        match self.kind:
            case "image":
                return (*image_size, channels), np.dtype(np.uint8)
            case "label_map" | "mask":
                return image_size, np.dtype(np.uint8)
            case "class":
                return (), np.dtype(np.int32)
            case "vector":
                return (self.size,), np.dtype(np.float32)
        return (self.size,), np.dtype(np.int32)


IMAGE = Field("image")
