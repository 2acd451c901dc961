"""The models of style transfer, by name: a stylizer together with its weights."""

from typing import Any, Literal, NamedTuple, get_args

import jax

from ganjax import weights
from ganjax.errors import UserError
from ganjax.nets import stylizers
from ganjax.nets.stylizers import Stylizer

Form = Literal["compact", "vgg19", "vgg16"]


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


def load_model(form: Form = "compact", *, path: str = "") -> Model:
    """Loads a model: "compact", which ships in the package, or "vgg19", AdaIN as published,
    or "vgg16", the same on VGG-16, of which no decoder is published.

    Args:
      path: weights of the part that is trained, a name or file that `weights.load` knows; by
        default those in the package, or `adain_decoder`. The frozen VGG-19 is `vgg19_normalised`,
        the frozen VGG-16 `vgg16_features`.

    Raises:
      UserError: there is no such model, or its weights are missing or do not fit.
    """
    match form:
        case "compact":
            name = path or "adain_compact"
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
        case _:
            raise UserError(f"model {form!r} is unknown; there is {', '.join(get_args(Form))}")
    if path:  # tracing the whole network is a part of the start that the default can do without
        weights.check_shapes(params, jax.eval_shape(stylizer.init, jax.random.key(0)), name)
    return Model(stylizer, jax.device_put(params), name)
