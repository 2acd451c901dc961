"""Trains any system of ganjax: `python train.py --config=configs/dcgan_avatars.py`."""

import os
import sys

if __name__ == "__main__":
    # Above the clone, `python -m ganjax.train` takes the clone itself for the package.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.modules.pop("ganjax", None)

    from ganjax import commands

    commands.run("train", sys.argv[1:])
