"""What every reader of weights does about files that are missing, damaged or hostile."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganjax.errors import UserError, one_line

MAX_BYTES = 2 * 2**30  # of the arrays in one file; VGG-19 with all its layers has 0.55 GiB
_MAX_RATIO = 200  # of unpacking; trained weights hardly compress
_FREE = 16 * 2**20  # bytes that no file is asked to account for


@contextmanager
def guarded(path: Path, kind: str) -> Iterator[int]:
    """Turns every failure to read a file into one line that names it.

    Parsers of damaged bytes end anywhere and in any type of error; what a reader has to say of a
    file it says by ValueError.

    Args:
      kind: of the file, e.g. "safetensors".

    Yields:
      The file's size in bytes.

    Raises:
      UserError: whatever happened inside, or `path` is missing or no regular file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path} is no file")
        yield status.st_size
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        raise UserError(f"{path} is no whole {kind} file: {one_line(error)}") from error


def allowance(file_size: int) -> int:
    """Bytes that a file of `file_size` bytes may unpack to."""
    return min(MAX_BYTES, _FREE + _MAX_RATIO * file_size)
