"""A classifier of avatars' 19 attributes, which ships in the package: 384,488 parameters.

Its last hidden layer is a feature vector for Frechet distances, its logits tell what a generator
of portraits draws and what it leaves out (`ganjax/metrics/attributes.py`).
Data: `avatars` at 32x32, rendered by ganjax itself, shifted, blurred and with noise a little.
The weights that ship, and how often they are right: ganjax/weights/bundled/README.md.
Cost: 12 minutes on one CPU core (about 550 img/s).

    python train.py --config=configs/attributes_avatars.py
    ganjax export --workdir runs/attributes_avatars --output attributes.safetensors
"""

from ml_collections import ConfigDict

from ganjax.config import with_variants
from ganjax.tasks.attributes import SMOKE, defaults


def get_config(arguments: str = "") -> ConfigDict:
    config = defaults()
    return with_variants(config, arguments, {"smoke": SMOKE})
