"""Which attributes of an avatar can be seen: a hat that is not there has no color.

The portraits' attributes are drawn independently of each other, so that some of them leave no
trace in the picture, or (hair under a hat) too little for all values to be told at 32x32 pixels.
"""

from functools import reduce
from operator import and_, or_
from typing import Any

from ganjax.data.avatars import ATTRIBUTES

HIDDEN = -1  # instead of a value's number
# An attribute, and the values of others that together hide it.
RULES: tuple[tuple[str, dict[str, tuple[str, ...]]], ...] = (
    ("hair", {"hat": ("cap", "beanie", "fedora", "beret")}),  # long hair shows below it
    ("hair_color", {"hair": ("bald",), "facial_hair": ("none",)}),
    ("eyes", {"glasses": ("shades",)}),
    ("eye_color", {"glasses": ("shades",)}),
    ("eye_color", {"eyes": ("happy",)}),
    ("gaze", {"glasses": ("shades",)}),
    ("gaze", {"eyes": ("happy",)}),
    ("cheeks", {"facial_hair": ("beard",)}),
    ("hat_color", {"hat": ("none",)}),
)


def hide(labels: Any) -> Any:
    """Attributes [N, A] (numpy or JAX, as in `ATTRIBUTES`) with `HIDDEN` where none can be seen."""
    columns = {name: labels[:, number] for number, name in enumerate(ATTRIBUTES)}
    hidden = {name: column < 0 for name, column in columns.items()}
    for name, causes in RULES:
        met = [
            reduce(or_, [columns[cause] == ATTRIBUTES[cause].index(value) for value in values])
            for cause, values in causes.items()
        ]
        hidden[name] |= reduce(and_, met)
    xp = labels.__array_namespace__()
    return xp.where(xp.stack(list(hidden.values()), axis=1), HIDDEN, labels)
