"""The user's folders."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where ganjax keeps what can be made again: $GANJAX_CACHE, by default ~/.cache/ganjax."""
    if folder := os.environ.get("GANJAX_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ganjax"
