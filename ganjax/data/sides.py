"""Two sets of images without pairs by one name, as the data sets of CycleGAN are published."""

import os
import re
from pathlib import PurePosixPath

from ganjax.data.folder import open_files
from ganjax.data.source import is_there
from ganjax.errors import UserError
from ganjax.paths import expand

FORMS = "tfds:NAME, unpaired:PATH (a folder or .zip with trainA and trainB, or A and B)"
FOLDERS = (("trainA", "trainB"), ("A", "B"))
_PORTRAITS = ("avatars:glasses=none", "avatars:glasses=round+square+shades")


def find_sides(spec: str, *, follow_links: bool = False) -> tuple[str, str]:
    """The sources of A and of B that one of `FORMS` stands for; of `unpaired:avatars`, portraits.

    Where the PATH exists, it will do alone. The two folders may lie in others, as in a .zip.

    Raises:
      UserError: the form is unknown, there is no such data, or it lacks a side.
    """
    kind, _, path = spec.partition(":")
    if kind == "tfds" and path:
        return f"{spec}:trainA", f"{spec}:trainB"
    if is_there(spec):
        kind, path = "unpaired", spec.removeprefix("folder:")
    if kind != "unpaired" or not path or "://" in path:
        raise UserError(f"data.source is {spec!r}; give {FORMS}, or each side as data.a and data.b")
    if path == "avatars":
        return _PORTRAITS
    names = open_files(path, follow_links=follow_links).names
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    for pair in FOLDERS:
        found = [sorted(f for f in folders if PurePosixPath(f).name == side) for side in pair]
        if not any(found):
            continue
        for side, places in zip(pair, found, strict=True):
            if not places:
                raise UserError(f"{path} has no images in a folder {side}; put them there")
            if len(places) > 1:
                raise UserError(f"{path} has {' and '.join(places)}; name the folder around one")
        a, b = (f"folder:{os.path.join(_root(path), place)}" for (place,) in found)
        return a, b
    raise UserError(
        f"{path} has no folders {' and '.join(FOLDERS[0])}, nor {' and '.join(FOLDERS[1])}; give "
        "each side as data.a and data.b"
    )


def _root(path: str) -> str:
    """Where the names of files in `path` begin: of a folder in a .zip, at the .zip."""
    return path if os.path.exists(expand(path)) else re.sub(r"(?i)(\.zip)/.*", r"\1", path)
