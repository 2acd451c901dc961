"""Style transfer on whole images of any size: models, styles, mixtures, masks, tiles."""

from ganjax.stylize.models import Model as Model
from ganjax.stylize.models import load_model as load_model
from ganjax.stylize.transfer import encode_style as encode_style
from ganjax.stylize.transfer import recolor as recolor
from ganjax.stylize.transfer import stylize as stylize
