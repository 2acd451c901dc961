"""What generation can be asked for: a class, values of attributes, or a text; checked in one place.

A condition is declared as a `Field` of kind "class", "attributes" or "text". Its values are int32,
[N], [N, A] or [N, T]. Networks take classes and attributes encoded as vectors [N, K], where linear
maps are tables of embeddings, and texts as they are, numbers of words.
"""

import difflib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax import text as words
from ganjax.data.fields import Field
from ganjax.errors import UserError, tell_once

DRAWN = -1  # in place of a value that nobody asked for


def declare(classes: int = 0, attributes: Sequence[int] = ()) -> Field | None:
    """The condition of a config: so many classes, or attributes with so many values each.

    Raises:
      UserError: both are given, or a number is impossible.
    """
    if classes < 0 or any(size < 1 for size in attributes):
        raise UserError("model.classes must be 0 or more, model.attributes 1 or more each")
    if classes and attributes:
        raise UserError("model.classes and model.attributes are both set; set one of them")
    if classes:
        return Field("class", names=_numbers(classes))
    if attributes:
        values = tuple(map(_numbers, attributes))
        return Field("attributes", len(values), _numbers(len(values)), values)
    return None


def declare_text(vocabulary: int, length: int) -> Field:
    """Texts of up to `length` words of a vocabulary, which a run's data has the words of.

    Raises:
      UserError: a number is impossible.
    """
    if vocabulary < 2 or length < 1:
        raise UserError("model.words must be 2 or more, model.caption_words 1 or more")
    known = ("", *_numbers(vocabulary)[1:])
    return Field("text", length, known, (known[1:],))


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def sizes(condition: Field) -> tuple[int, ...]:
    """How many values the class, or each attribute, has."""
    if condition.kind == "class":
        return (len(condition.names),)
    return tuple(map(len, condition.values))


def width(condition: Field | None) -> int:
    """K of the encoded condition [N, K]; 0 for none."""
    return sum(sizes(condition)) if condition else 0


def check(condition: Field, found: Field | None, source: str) -> None:
    """Checks that the labels of a source are what a config says.

    Raises:
      UserError: they are not; the message names the fields to set.
    """
    if found is None:
        raise UserError(f"{source} has no labels; set data.labels to False, model.classes to 0")
    if found.kind == condition.kind and sizes(found) == sizes(condition):
        return
    if found.kind == "class":
        what, fields = f"{len(found.names)} classes", f"model.classes to {len(found.names)}"
    elif condition.kind == "class":  # a model may know no attributes
        what = f"{len(found.names)} attributes, not classes"
        fields = "data.labels to False, model.classes to 0"
    else:
        what, fields = f"{len(found.names)} attributes", f"model.attributes to {sizes(found)}"
    raise UserError(f"{source} has {what}; set {fields}")


def draw(condition: Field, rng: Array, index: Array, asked: Array | None) -> Array:
    """Values for rows `index` [N]: those asked for, the others drawn.

    Classes and the examples of texts go round, so that any run of rows has all of them; attributes
    are drawn at random. A row depends on rng, its index and what is asked for alone.

    Args:
      asked: [N], [N, A] or [N, T], `DRAWN` where nothing is asked for; None for nothing at all.
    """
    if condition.kind == "class":
        drawn = index % len(condition.names)
    elif condition.kind == "text":
        (examples,), numbers = condition.values, words.numbers(condition.names)
        known = np.stack([words.encode(each, numbers, condition.size) for each in examples])
        drawn = jnp.asarray(known)[index % len(known)]
    else:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(rng, 1), index)
        limits = jnp.array(sizes(condition))
        drawn = jax.vmap(lambda key: jax.random.randint(key, limits.shape, 0, limits))(keys)
    return drawn if asked is None else jnp.where(asked == DRAWN, drawn, asked)


def encode(condition: Field, values: Array) -> Array:
    """Values [N] or [N, A] as vectors [N, K] with a one for each value."""
    columns = values[:, None] if condition.kind == "class" else values
    parts = [jax.nn.one_hot(columns[:, n], size) for n, size in enumerate(sizes(condition))]
    return jnp.concatenate(parts, axis=1)


def parse(
    condition: Field | None,
    *,
    label: str = "",
    attributes: str | Mapping[str, str] = "",
    text: str = "",
) -> np.ndarray | None:
    """What somebody asks for.

    Args:
      label: the name of a class, or its number.
      attributes: "glasses=round,hat=none", or a mapping; those that are not named are drawn.
      text: what the image shall show. Words that the model does not know are told on stderr, with
        the nearest one that it knows, and left out.

    Returns:
      int32 [] for a class, [A] for attributes, [T] for a text; None where nothing is asked for.

    Raises:
      UserError: the model cannot be asked for that; the message names what it can be asked for.
    """
    kind = condition.kind if condition else "nothing"
    for option, given, wanted in (
        ("--label", label, "class"),
        ("--attributes", attributes, "attributes"),
        ("--text", text, "text"),
    ):
        if given and kind != wanted:
            options = {"class": "--label", "attributes": "--attributes", "text": "--text"}
            can = options.get(kind, "nothing")
            raise UserError(f"{option} {given}: this model can be asked for {can}")
    if condition is None:
        return None
    if label:
        return np.asarray(_number("--label", label, condition.names), np.int32)
    if text:
        return _parse_text(condition, text)
    if not attributes:
        return None
    asked = np.full(len(condition.names), DRAWN, np.int32)
    for name, value in _pairs(attributes).items():
        number = _number("--attributes", name, condition.names)
        asked[number] = _number(f"--attributes {name}", value, condition.values[number])
    return asked


def _parse_text(condition: Field, text: str) -> np.ndarray:
    missing = [
        f"{word} (did you mean {near}?)" if near else word
        for word, near in words.unknown(text, condition.names).items()
    ]
    tokens = words.encode(text, condition.names, condition.size)
    if not tokens.any():
        raise UserError(
            f"--text {text}: the model knows none of these words; one that it was "
            f"trained with is {condition.values[0][0]!r}"
        )
    if missing:
        tell_once(f"--text: words that the model does not know are left out: {', '.join(missing)}")
    return tokens


def _pairs(attributes: str | Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(attributes, str):
        return {str(name): str(value) for name, value in attributes.items()}
    pairs = {}
    for part in attributes.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise UserError(f"--attributes {part}: give NAME=VALUE,NAME=VALUE")
        pairs[name] = value
    return pairs


def _number(option: str, text: str, names: Sequence[str]) -> int:
    lower = [name.casefold() for name in names]
    if text.casefold() in lower:
        return lower.index(text.casefold())
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    close = difflib.get_close_matches(text.casefold(), lower, n=1)
    hint = f"did you mean {names[lower.index(close[0])]}?" if close else f"give {_listed(names)}"
    raise UserError(f"{option} {text}: {hint}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return f"one of {shown}" + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
