"""The one error type that a user's mistake ends in, others' errors as one line, and warnings."""

import difflib
import sys
from collections.abc import Iterable

_told: set[str] = set()


class UserError(Exception):
    """A mistake that the user can mend: one line that says what is wrong and names the fix.

    Command lines print it as `error: ...` without a traceback and exit with status 2; library
    users may catch it.
    """


def one_line(error: BaseException, *, longest: int = 200) -> str:
    """What an error of a library says, without line breaks; its type where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[:longest]} ..."


def suggest(wrong: str, known: Iterable[str], *, most: int | None = None) -> str:
    """How a message about an unknown name ends: with the nearest one, else with what there is.

    Args:
      most: of the names that are shown; None for all.
    """
    names = list(known)
    if close := difflib.get_close_matches(wrong, names, n=1):
        return f"did you mean {close[0]}?"
    rest = ", ..." if names[:most] != names else ""
    return f"there is {', '.join(names[:most])}{rest}"


def tell_once(text: str, key: str = "") -> None:
    """Prints a line on stderr, above a progress bar, unless one of the same key was printed.

    Args:
      key: by default the text itself.
    """
    from tqdm import tqdm

    if (key or text) not in _told:
        _told.add(key or text)
        tqdm.write(text, file=sys.stderr)
