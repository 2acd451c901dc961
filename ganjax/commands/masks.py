"""Masks, and other pictures, that commands are given beside pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganjax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from ganjax.data.folder import Picture


def match(masks: Sequence["Picture"], pictures: Sequence[Any], flag: str = "--mask") -> list[Any]:
    """The mask of each picture: the only one, or that of its name, whatever the suffix.

    Args:
      flag: what the masks were given by.

    Raises:
      UserError: a picture has none.
    """
    if len(masks) <= 1:
        return [next(iter(masks), None)] * len(pictures)
    found = {Path(mask.name).stem: mask for mask in masks}
    names = [Path(picture.name).stem for picture in pictures]
    if missing := [name for name in names if name not in found]:
        raise UserError(f"{flag} has no {missing[0]}; give one for each input, or one for all")
    return [found[name] for name in names]


def read(picture: "Picture", role: str, *, channels: int = 1) -> "np.ndarray":
    """uint8 [H, W, channels].

    Args:
      role: what the picture is, for the message.

    Raises:
      UserError: it cannot be read; the message names it.
    """
    try:
        return picture.pixels(channels=channels)
    except UserError as error:
        reason = str(error).removeprefix("image ")
        raise UserError(f"{role} {picture.name} {reason}") from error
