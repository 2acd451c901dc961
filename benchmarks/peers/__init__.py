"""PyTorch's side of the comparisons, written the way its users write it.

Nothing here is imported by the process that compares: `build` runs in the contestants' own.
"""

from importlib import import_module
from typing import Any

from benchmarks.timing import Program


def build(peer: str, **options: Any) -> Program:
    """The program of the file `peer`."""
    return import_module(f"benchmarks.peers.{peer}").build(**options)
