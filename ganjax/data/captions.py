"""Captions beside images, as numbers of words."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ganjax import text
from ganjax.data.avatars import captions as portraits
from ganjax.data.avatars.source import Avatars
from ganjax.data.fields import Field
from ganjax.data.folder import Files, stem
from ganjax.data.labels import read_list
from ganjax.data.source import Broken, Source
from ganjax.errors import UserError

MOST = 10  # captions of an image that are read
EXAMPLES = 500  # captions that are kept with a run


class Captioned:
    """A source whose examples have captions, too: `text` int32 [K, T], numbers of words.

    Images that have fewer captions than others have theirs several times.

    Args:
      captions: indices -> the captions of each example, K or less.
      count: K.
      known: the vocabulary.
      length: T.
      content: what changes when captions do.
    """

    def __init__(
        self,
        source: Source,
        captions: Callable[[Sequence[int]], list[list[str]]],
        count: int,
        known: tuple[str, ...],
        length: int,
        content: str,
    ):
        self._source, self._captions, self._count, self._length = source, captions, count, length
        self._numbers = text.numbers(known)
        firsts = captions(range(min(EXAMPLES, len(source))))
        examples = tuple(each[0] for each in firsts)
        self.fields = {**source.fields, "text": Field("text", length, known, (examples,))}
        about = f"{source.digest}\n{count} {length} {' '.join(known)}\n{content}"
        self.digest = hashlib.sha256(about.encode(errors="surrogateescape")).hexdigest()

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        return self._source.name(index)

    def load(
        self, indices: Sequence[int], image_size: tuple[int, int], channels: int
    ) -> tuple[dict[str, np.ndarray], list[Broken]]:
        arrays, broken = self._source.load(indices, image_size, channels)
        bad = {example.name for example in broken}
        good = [index for index in indices if self.name(index) not in bad]
        shape = (len(good), self._count, self._length)
        tokens = [
            text.encode(each[number % len(each)], self._numbers, self._length)
            for each in (self._captions(good) if good else ())
            for number in range(self._count)
        ]
        return arrays | {"text": np.array(tokens, np.int32).reshape(shape)}, broken


def open_captions(source: Source, *, words: int, length: int, spec: str) -> Captioned:
    """A source with its captions: avatars describe themselves, files have theirs beside them.

    Args:
      words: of the vocabulary, at most, the padding included.
      length: of a caption in words; what follows is cut off.
      spec: the text that names the source.

    Raises:
      UserError: the source has none, or an image lacks one; the message names it.
    """
    match source:
        case Avatars():
            code = Path(inspect.getfile(portraits)).read_text()
            count = len(source.captions([0])[0])
            return Captioned(
                source, source.captions, count, portraits.words()[:words], length, code
            )
        case Files():
            found = find_captions(source.names, source.lists, source.beside)
            known = text.vocabulary((one for each in found for one in each), words)
            count = max(map(len, found))
            content = "\n\n".join(map("\n".join, found))
            take = lambda indices: [found[index] for index in indices]  # noqa: E731
            return Captioned(source, take, count, known, length, content)
    raise UserError(
        f"{spec} has no captions; give avatars, or a folder or .zip with NAME.txt files"
    )


def find_captions(
    names: Sequence[str],
    lists: Mapping[str, Callable[[], bytes]],
    beside: Mapping[str, Callable[[], bytes]],
) -> list[list[str]]:
    """The captions of each image, up to `MOST`.

    A `metadata.csv` or `metadata.jsonl` with `file_name` and `text` (Hugging Face's ImageFolder)
    decides where there is one, with a row for each caption; else NAME.txt beside the image, with a
    line for each.

    Args:
      names: of the images, with "/" between folders.
      lists: by name, what reads the files that are called as one of `labels.LISTS`.
      beside: by NAME with its folders, what reads NAME.txt.

    Raises:
      UserError: an image has none; the message names it. Or a file cannot be read.
    """
    known: dict[str, list[str]] = {}
    for path, read in lists.items():
        for name, caption in read_list(path, read(), "text") or ():
            known.setdefault(name, []).append(caption)
    found = []
    for name in names:
        lines = known.get(name, ()) if known else _lines(name, beside)
        found.append([line for line in lines if text.split(line)][:MOST])
    if missing := [name for name, lines in zip(names, found, strict=True) if not lines]:
        where = "in the list's column text" if known else f"to {stem(missing[0])}.txt beside it"
        raise UserError(
            f"{missing[0]} has no caption, as {len(missing)} of {len(names)} images; write it "
            f"{where}"
        )
    return found


def _lines(name: str, beside: Mapping[str, Callable[[], bytes]]) -> list[str]:
    read = beside.get(stem(name))
    if read is None:
        return []
    try:
        return read().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{stem(name)}.txt is no text in UTF-8; save it as such") from error
