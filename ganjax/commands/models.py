"""Lists the trained models of the package: `ganjax models --help`."""

import argparse
from typing import NamedTuple

from ganjax.weights import BUNDLED

EPILOG = """\
examples:
  ganjax models

They need no training and no download. ganjax/weights/bundled/README.md says of each what it was
trained on, by which command, and how good it is. Models of your own, in one file: `ganjax export`.
"""


class Bundled(NamedTuple):
    """A model of the package.

    Attributes:
      name: of its file, and of the model in commands.
      about: what it does.
      command: one that uses it.
    """

    name: str
    about: str
    command: str


MODELS = (
    Bundled(
        "adain_compact",
        "gives pictures the style of other pictures (compact AdaIN)",
        "ganjax stylize --content photo.jpg --style painting.jpg --output out.png",
    ),
    Bundled(
        "adain_compact_video",
        "gives clips the style of pictures, with little flicker (compact AdaIN)",
        "ganjax stylize --content clip.mp4 --style painting.jpg --output out.mp4",
    ),
    Bundled(
        "portraits_text",
        "draws portraits of 64x64 pixels from a sentence (DF-GAN)",
        'ganjax sample --weights portraits_text --text "a smiling woman with red hair" --num 16',
    ),
    Bundled(
        "oasis_portraits",
        "turns painted masks of 64x64 pixels into portraits, others for each seed (OASIS)",
        "ganjax translate --weights oasis_portraits --input masks/ --output portraits/ --seed 1",
    ),
    Bundled(
        "inpaint_portraits",
        "fills holes in portraits of 64x64 pixels (pix2pix's U-Net)",
        "ganjax translate --weights inpaint_portraits --input face.png --mask hole.png "
        "--output out.png",
    ),
    Bundled(
        "glasses_portraits",
        "puts glasses on portraits of 64x64 pixels, or takes them off (CycleGAN)",
        "ganjax translate --weights glasses_portraits --direction BtoA --input face.png "
        "--output bare.png",
    ),
    Bundled(
        "sr_x4",
        "makes photos four times as wide and high (SRVGG)",
        "ganjax translate --weights sr_x4 --input photo.jpg --output big.png",
    ),
    Bundled(
        "sr_x2",
        "makes photos twice as wide and high (SRVGG)",
        "ganjax translate --weights sr_x2 --input photo.jpg --output big.png",
    ),
    Bundled(
        "realesr_x4",
        "the same for photos that are blurred, noisy or compressed (Real-ESRGAN's recipe)",
        "ganjax translate --weights realesr_x4 --input old.jpg --output big.png",
    ),
    Bundled(
        "segment_avatars",
        "tells the hair, hat, glasses and seven other classes of the pixels of avatars (U-Net)",
        "ganjax translate --weights segment_avatars --input portraits/ --output masks/",
    ),
    Bundled(
        "attributes_avatars",
        "tells hair, hat, glasses and 16 other attributes of avatars, to measure their generators",
        "ganjax evaluate --workdir runs/dcgan_avatars --metrics attributes5k_avatars",
    ),
    Bundled(
        "classify_fashion_mnist",
        "tells the ten classes of Fashion-MNIST, to measure generators of them",
        "ganjax evaluate --workdir runs/sngan_fashion_mnist --metrics accuracy5k_fashion_mnist",
    ),
)


def main(argv: list[str]) -> None:
    argparse.ArgumentParser(
        prog="ganjax models",
        description="List the trained models that ship with ganjax.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    for name, about, command in MODELS:
        size = (BUNDLED / f"{name}.safetensors").stat().st_size
        print(f"{name} ({size / 1e6:.1f} MB): {about}\n  {command}")
