"""Words and their numbers: what networks read of a caption.

A vocabulary is a tuple of words whose first one is "", the padding behind a text, so that a word's
number is its place. Words that are not in it are left out.

>>> known = vocabulary(["a red hat", "a blue hat"], 8)
>>> known
('', 'a', 'hat', 'blue', 'red')
>>> encode("A red, woolly hat!", known, 5)
array([1, 4, 2, 0, 0], dtype=int32)
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

PADDING = 0  # the number of no word
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def split(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; "t-shirt" is one."""
    return _WORD.findall(text.casefold())


def vocabulary(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """The padding and the most frequent words of texts, up to `size` in all; by their frequency.

    Words of one frequency come by the alphabet.
    """
    counts = Counter(word for text in texts for word in split(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return ("", *ordered[: size - 1])


def numbers(known: Sequence[str]) -> dict[str, int]:
    """The number of each word of a vocabulary."""
    return {word: number for number, word in enumerate(known) if word}


def encode(text: str, known: Sequence[str] | Mapping[str, int], length: int) -> np.ndarray:
    """The numbers of a text's first known words: int32 [length], 0 (`PADDING`) behind the last.

    Args:
      known: the vocabulary, or its `numbers`.
    """
    places = known if isinstance(known, Mapping) else numbers(known)
    found = [places[word] for word in split(text) if word in places][:length]
    return np.array(found + [PADDING] * (length - len(found)), np.int32)


def unknown(text: str, known: Sequence[str]) -> dict[str, str]:
    """The words of a text that are not in a vocabulary, each with the nearest one or ""."""
    others = [word for word in dict.fromkeys(split(text)) if word not in known]
    nearest = {word: difflib.get_close_matches(word, known, n=1) for word in others}
    return {word: found[0] if found else "" for word, found in nearest.items()}
