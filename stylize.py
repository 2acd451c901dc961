"""Gives contents the style of other pictures: `python stylize.py --help`."""

import os
import sys

if __name__ == "__main__":
    # Above the clone, `python -m ganjax.stylize` takes the clone itself for the package.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.modules.pop("ganjax", None)

    from ganjax import commands

    commands.run("stylize", sys.argv[1:])
