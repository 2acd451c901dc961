"""Style transfer on whole images of any size: the model, styles, mixtures, masks, tiles."""

from ganjax.stylise.transfer import Model as Model
from ganjax.stylise.transfer import encode_style as encode_style
from ganjax.stylise.transfer import load_model as load_model
from ganjax.stylise.transfer import recolour as recolour
from ganjax.stylise.transfer import stylise as stylise
