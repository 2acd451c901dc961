"""Gives contents the style of other pictures: `python stylize.py --help`."""

import sys

from ganjax import commands

if __name__ == "__main__":
    commands.run("stylize", sys.argv[1:])
