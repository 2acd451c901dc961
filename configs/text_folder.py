"""DF-GAN on your own images with captions, at 64x64 (":128", ":256" for larger ones).

Paper: Tao et al. 2022, https://arxiv.org/abs/2008.05865; the published networks and settings but
for the text encoder, which learns from the same captions in the first phase of the run.
Data: a folder or .zip with NAME.txt beside NAME.jpg, one caption to a line; or with metadata.csv or
metadata.jsonl that have the columns file_name and text.
Published: FID 12.1 on CUB birds at 256x256, with a text encoder that was trained apart.

    python train.py --config=configs/text_folder.py --config.data.source=folder:my_photos
    ganjax sample --workdir runs/text_folder --text "a red bird with a short beak" --num 16
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.text import SMOKE, defaults

VARIANTS = {size: {"data.image_size": size} for size in ("128", "256")}


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    return with_variants(config, arguments, VARIANTS | {"smoke": SMOKE})
