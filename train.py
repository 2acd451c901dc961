"""Trains any system of ganjax: `python train.py --config=configs/dcgan_avatars.py`."""

import sys

from ganjax import commands

if __name__ == "__main__":
    commands.run("train", sys.argv[1:])
