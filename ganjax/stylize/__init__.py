"""Style transfer on whole images of any size: the model, styles, mixtures, masks, tiles."""

from ganjax.stylize.transfer import Model as Model
from ganjax.stylize.transfer import encode_style as encode_style
from ganjax.stylize.transfer import load_model as load_model
from ganjax.stylize.transfer import recolor as recolor
from ganjax.stylize.transfer import stylize as stylize
