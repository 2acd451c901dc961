"""Sets of encoders and decoders of WCT, a file for each, as two public repositories have them."""

import re

from ganjax.errors import UserError
from ganjax.nets import vgg
from ganjax.weights.keymaps import vgg19
from ganjax.weights.keymaps.layers import Arrays


def levels(arrays: Arrays) -> Arrays:
    """Parameters "relu4_1/encoder/conv1_1/kernel" of arrays "FILE:array" of several files.

    Of Li et al. 2017 `vgg_normalised_conv4_1` and `feature_invertor_conv4_1`, of Wang et al. 2020
    `encoder_relu4_1` and `decoder_relu4_1`.
    """
    files: dict[str, Arrays] = {}
    for name, array in arrays.items():
        stem, _, leaf = name.partition(":")
        files.setdefault(stem, {})[leaf] = array
    if not files:
        raise UserError("there are no weights in it; give the folder of the encoders and decoders")
    parameters: Arrays = {}
    found: dict[str, set[str]] = {}
    for stem, content in files.items():
        match = re.search(r"(?:conv|relu)([1-5]_1)$", stem)
        if not match:
            raise UserError(f"file {stem} says no level; names end in relu1_1 to relu5_1")
        level = f"relu{match[1]}"
        part = "encoder" if stem.startswith(("vgg", "encoder")) else "decoder"
        compressed = any("conv" in name for name in content)
        if part == "encoder":
            read = vgg19.compressed_vgg if compressed else vgg19.normalized_vgg
        else:
            read = vgg19.compressed_decoder if compressed else vgg19.mirrored_decoder
        found.setdefault(level, set()).add(part)
        for path, value in read(content).items():
            if not path.startswith("head"):  # what approximates the features of another network
                parameters[f"{level}/{part}/{path}"] = value
    for level in vgg.LAYERS:
        if level in found and len(found[level]) < 2:
            raise UserError(f"the {found[level].pop()} of {level} is there without the other half")
    return parameters
