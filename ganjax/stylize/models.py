"""The models of style transfer, by name: a stylizer together with its weights."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax

from ganjax import weights
from ganjax.errors import UserError
from ganjax.nets import stylizers, vgg
from ganjax.nets.stylizers import Stylizer

Form = Literal["compact", "compact_video", "vgg19", "vgg16", "wct", "wct2"]
STRENGTH = 0.6  # of WCT at each level (Li et al. 2017, section 4.1)


class Model(NamedTuple):
    """A stylizer with its weights.

    Attributes:
      stylizer: the network.
      params: of the network, float32.
      name: of the weights, for people.
    """

    stylizer: Stylizer
    params: Any
    name: str


def load_model(form: Form = "compact", *, path: str = "", levels: Sequence[str] = ()) -> Model:
    """Loads a model.

    "compact" and "compact_video" ship in the package, the second for clips: its strokes move with
    what they are on. "vgg19" is AdaIN as published, "vgg16" the same on VGG-16, of which no decoder
    is published. "wct" and "wct2", the form for photographs, have no weights in the package either.

    Args:
      path: weights of the part that is trained, a name or file that `weights.load` knows; by
        default those in the package, or `adain_decoder`, or `wct`. The frozen VGG-19 is
        `vgg19_normalised`, the frozen VGG-16 `vgg16_features`.
      levels: of WCT, in order, each like "relu4_1" or "relu4_1=0.8", with its strength in [0, 1];
        () for all that there are, from coarse to fine, with 0.6.

    Raises:
      UserError: there is no such model, or its weights are missing or do not fit.
    """
    if levels and form != "wct":
        raise UserError(f"model {form} has no levels to choose from; leave them out, or choose wct")
    match form:
        case "compact" | "compact_video":
            name = path or f"adain_{form}"
            params = weights.load(name)
            stylizer = stylizers.make_compact(stylizers.compact_width(params, name))
        case "vgg19":
            name = path or "adain_decoder"
            params = weights.load(name)
            stylizer = stylizers.make_vgg(weights.load("vgg19_normalised"))
        case "vgg16":
            if not path:
                raise UserError("no weights of model vgg16 are published; train adain_vgg16")
            name, params = path, weights.load(path)
            stylizer = stylizers.make_vgg(weights.load("vgg16_features"))
        case "wct":
            name = path or "wct"
            loaded = weights.load(name)
            strengths = _strengths(levels, sorted(loaded.keys() & set(vgg.LAYERS))[::-1], name)
            params = {level: loaded[level] for level in strengths}
            if any("encoder" not in params[level] for level in strengths):
                params["encoder"] = loaded.get("encoder") or weights.load("vgg16_features")
            stylizer = stylizers.make_wct(params, strengths)
        case "wct2":
            if not path:
                raise UserError(
                    "model wct2 needs --weights of your own training; train wct_decoders:wavelet"
                )
            name, loaded = path, weights.load(path)
            if "wavelet" not in loaded:
                raise UserError(f"weights {name} are not WCT2's; choose another --model")
            params = {"wavelet": loaded["wavelet"]}
            params["encoder"] = loaded.get("encoder") or weights.load("vgg16_features")
            stylizer = stylizers.make_wct2(params)
        case _:
            raise UserError(f"model {form!r} is unknown; there is {', '.join(get_args(Form))}")
    if path:  # tracing the whole network is a part of the start that the default can do without
        wanted = jax.eval_shape(stylizer.init, jax.random.key(0))
        trained = params
        if form == "wct":
            trained = {level: {"decoder": params[level]["decoder"]} for level in wanted}
        elif form == "wct2":
            trained = {"wavelet": params["wavelet"]}
        weights.check_shapes(trained, wanted, name)
    return Model(stylizer, jax.device_put(params), name)


def _strengths(levels: Sequence[str], known: Sequence[str], name: str) -> dict[str, float]:
    """The strength of each level of WCT that is asked for."""
    if not known:
        raise UserError(f"weights {name} are not WCT's; choose another --model")
    strengths = {}
    for entry in levels or known:
        level, _, value = entry.partition("=")
        if level not in known:
            raise UserError(f"weights {name} have no level {level}; there is {', '.join(known)}")
        try:
            strengths[level] = float(value) if value else STRENGTH
        except ValueError:
            strengths[level] = math.nan
        if not 0 <= strengths[level] <= 1:
            raise UserError(f"level {entry}: give a strength from 0 to 1, like {level}=0.6")
    return strengths
