"""The painter of avatars: layers of signed distances from the background to the hat.

A style is a row of a table and every portrait runs through every layer, so that one compiled
program without branches paints any mixture: arrays are [N, H, W], the parameters of a portrait are
[N, 1, 1]. Lengths are in units of half the shorter side, with y pointing down and the middle
between the eyes near the origin; edges are blended over one pixel. One picture in one file, which
is why it is long.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ganjax.data.avatars import ATTRIBUTES, MASK_CLASSES


def _palette(*colors: str) -> np.ndarray:
    return np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colors], np.float32) / 255


# Per skin: lit, in shade, line of the mouth.
_SKIN = _palette("ffe3d3", "f8cba6", "e8ae7c", "cf9460", "aa6d42", "7d4b31")
_SHADE = _palette("efb8a4", "e09c78", "c4814f", "a86c3f", "834c2b", "583020")
_LIP = _palette("b34a52", "a8434a", "963a40", "84323a", "62202a", "45141e")
_HAIR = _palette("2d2830", "5b3b2a", "8f432c", "d9702c", "f0c869", "b4b8c4", "4a7fdb", "ef7fb2")
_HAIR_DARK = _palette(
    "1f1c23", "3f281c", "662c1d", "a94f1e", "cb9a40", "878ca1", "2f59b3", "c3598e"
)
_CLOTHES = _palette("35508c", "1f9c93", "db4c41", "efb02e", "f5f2ec", "8459b8", "3d7f50", "464a57")
_BACKGROUND = _palette(
    "9bd8f4", "aee6c8", "f2e2bd", "fac6d3", "d4c7f7", "fde08a", "9fb1cb", "fbac93"
)
_BACKGROUND_LOW = _palette(
    "6fb9e6", "7fd0b0", "e3c894", "f09db8", "ad9cec", "fbc04f", "7388ab", "f2836f"
)
_HAT = _palette("e2574c", "3f6fb5", "f4bd3a", "4fa57c", "f4ede0", "4b4558")
_EYE = _palette("77472a", "3b8ad0", "4aa364", "8f98a6", "2f2730")
_GOLD, _WHITE, _INK = _palette("f6c445", "fffdf9", "2b2934")
_TONGUE, _BLUSH, _MOUTH = _palette("ee7c86", "f2717f", "7d2434")

_NONE = 9.0  # the distance of what is not there
# Hair, a row each. Behind the head, a rounded box: y, half width, half height, radius.
# The cap over the skull: y, radii, lowest y. The face's opening in it: parting x, spread, y, radii,
# half width. Tufts: x (and mirrored from 0.2 on), y, radii. Edge: waves, amplitude, roundness.
_STYLES = np.array(
    [
        # back: y hw hh r | cap: y rx ry low | opening: part spread y rx ry side | tuft: x y rx ry
        [0, -9, 0, 0, 0, -9, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, -9, 1, 9, 0, 0],  # bald
        [0, -9, 0, 0, -0.15, 0.432, 0.45, -0.06, 0, 0, 0.22, 0.46, 0.55, 0.365,
         0, 0, -9, 1, 9, 0, 0],  # buzz
        [0, -9, 0, 0, -0.15, 0.45, 0.46, -0.03, 0.30, -0.02, 0.24, 0.66, 0.53, 0.36,
         0.06, -0.53, 0.36, 0.17, 9, 0, 0],  # quiff
        [0, -9, 0, 0, -0.16, 0.46, 0.49, -0.02, -0.19, 0.0, 0.30, 0.62, 0.66, 0.365,
         0, 0, -9, 1, 9, 0, 0],  # parted
        [0, -9, 0, 0, -0.15, 0.47, 0.50, -0.04, 0, -0.13, 0.30, 0.25, 0.56, 0.355,
         0, 0, -9, 1, 15, 0.11, 0],  # spiky
        [-0.04, 0.53, 0.51, 0.38, -0.14, 0.49, 0.50, 0.36, 0, 0, 0.42, 1.10, 0.64, 0.355,
         0, 0, -9, 1, 9, 0, 0],  # bob
        [0.22, 0.53, 0.80, 0.42, -0.15, 0.485, 0.50, 0.40, -0.03, 0.13, 0.26, 0.52, 0.66, 0.385,
         0, 0, -9, 1, 9, 0, 0],  # long
        [0.14, 0.55, 0.68, 0.45, -0.16, 0.50, 0.51, 0.30, 0.20, 0.06, 0.28, 0.62, 0.62, 0.37,
         0, 0, -9, 1, 17, 0.05, 1],  # wavy
        [-0.13, 0.50, 0.44, 0.40, -0.18, 0.50, 0.50, 0.02, 0, 0.02, 0.24, 0.52, 0.55, 0.36,
         0, 0, -9, 1, 15, 0.075, 1],  # curly
        [-0.20, 0.66, 0.58, 0.56, -0.20, 0.58, 0.56, -0.04, 0, 0, 0.22, 0.46, 0.56, 0.365,
         0, 0, -9, 1, 23, 0.05, 1],  # afro
        [0, -9, 0, 0, -0.15, 0.445, 0.46, -0.02, 0, 0.04, 0.26, 0.46, 0.64, 0.38,
         0, -0.68, 0.18, 0.16, 9, 0, 0],  # bun
        [0, -9, 0, 0, -0.15, 0.455, 0.47, 0.02, 0, 0, 0.40, 1.00, 0.64, 0.37,
         0.545, 0.11, 0.145, 0.25, 9, 0, 0],  # pigtails
    ],
    np.float32,
)  # fmt: skip
# Jaw: half width, half height, radius of a rounded box; then the skull's radii.
_FACES = np.array(
    [
        [0.325, 0.33, 0.29, 0.410, 0.45],
        [0.395, 0.32, 0.31, 0.425, 0.44],
        [0.375, 0.32, 0.17, 0.410, 0.45],
        [0.250, 0.35, 0.22, 0.425, 0.45],
    ],
    np.float32,
)
# Mouth: lowest y, half width and depth of a line (0: filled); then y, radii, upper end of a fill.
_MOUTHS = np.array(
    [
        [0.275, 0.135, 0.075, 0, 1, 1, 0],
        [0, 0, 0, 0.185, 0.165, 0.165, 0.185],
        [0, 0, 0, 0.195, 0.165, 0.105, 0.195],
        [0.255, 0.085, 0.012, 0, 1, 1, 0],
        [0, 0, 0, 0.255, 0.058, 0.075, -_NONE],
    ],
    np.float32,
)
_EYE_HEIGHT = np.array([0.100, 0.088, 0.095, 0.098, 0.116], np.float32)  # by expression
# Brows: half thickness, y, slope.
_BROWS = np.array(
    [[0.017, -0.185, 0.05], [0.030, -0.19, 0.02], [0.019, -0.235, 0.12], [0.023, -0.185, -0.20]],
    np.float32,
)
_EYE_X = 0.178


def paint_portraits(attributes: Mapping[str, Array], pose: Array, height: int, width: int) -> Array:
    """Paints portraits.

    Args:
      attributes: int32 [N] by the names of `avatars.ATTRIBUTES`.
      pose: float32 [N, 6] in [0, 1).

    Returns:
      int32 [N, H, W]: from the lowest byte up, red, green, blue and the index into `MASK_CLASSES`.
    """
    pixel = 2 / min(height, width)
    columns = (jnp.arange(width, dtype=jnp.float32) + 0.5 - width / 2) * pixel
    rows = (jnp.arange(height, dtype=jnp.float32) + 0.5 - height / 2) * pixel
    x0, y0 = columns[None, None, :], rows[None, :, None]
    parts = [pose[:, k, None, None] for k in range(pose.shape[1])]

    # A small shift and scale of everything, and a tilt of the head about the neck.
    scale = 1.18 + 0.08 * parts[2]
    x = (x0 - 0.07 * (parts[0] - 0.5)) / scale
    y = (y0 - 0.05 * (parts[1] - 0.5) - 0.085) / scale
    tilt = 0.16 * (parts[3] - 0.5)
    look = _Look(attributes)
    canvas = _Canvas(_background(look, parts, x0, y0, pixel), scale / pixel)
    head_x, head_y = x + tilt * (y - 0.4), y - tilt * x
    head = _head(look, head_x, head_y)
    hair = _Hair(look, head_x, head_y, head)

    _paint_clothes(canvas, look, x, y)
    canvas.paint(hair.back, look.hair_dark, "hair")
    _paint_neck(canvas, look, x, y, _head(look, head_x, head_y - 0.08))
    _paint_head(canvas, look, head_x, head_y, head)
    _paint_beard(canvas, look, head_x, head_y, head)
    _paint_mouth(canvas, look, head_x, head_y)
    _paint_eyes(canvas, look, head_x, head_y)
    hair.paint_front(canvas, look, head_x, head_y)
    _paint_earrings(canvas, look, head_x, head_y)
    _paint_glasses(canvas, look, head_x, head_y)
    _paint_hat(canvas, look, head_x, head_y, hair.outline)
    return canvas.packed()


class _Look:
    """The attributes of portraits as parameters [N, 1, 1]."""

    def __init__(self, attributes: Mapping[str, Array]):
        self._attributes = attributes
        self.skin, self.shade = self.row(_SKIN, "skin"), self.row(_SHADE, "skin")
        self.hair, self.hair_dark = (
            self.row(_HAIR, "hair_color"),
            self.row(_HAIR_DARK, "hair_color"),
        )
        self.cloth = self.row(_CLOTHES, "clothes_color")

    def is_(self, name: str, *values: str) -> Array:
        known = ATTRIBUTES[name]
        matches = [self._attributes[name] == known.index(value) for value in values]
        return jnp.stack(matches).any(axis=0)[:, None, None]

    def row(self, table: np.ndarray, name: str) -> list[Array]:
        values = jnp.asarray(table)[self._attributes[name]]
        return [values[:, k, None, None] for k in range(table.shape[1])]

    def value(self, table: list[float] | np.ndarray, name: str) -> Array:
        return jnp.asarray(table, jnp.float32)[self._attributes[name]][:, None, None]

    def choose(self, name: str, **distances: Array) -> Array:
        """The distance that belongs to each portrait's value; values without one paint nothing."""
        chosen: Any = _NONE
        for value, distance in distances.items():
            chosen = jnp.where(self.is_(name, value), distance, chosen)
        return chosen


class _Canvas:
    """Three color planes and a mask, painted layer over layer."""

    def __init__(self, planes: list[Array], sharpness: Array):
        self._planes = planes
        self._mask = jnp.zeros(planes[0].shape, jnp.int32)
        self._sharpness = sharpness  # pixels per unit

    def paint(self, distance: Array, color, name: str | None = None, opacity=1.0) -> None:
        """Covers where `distance` < 0 with `color`, and names it `name` in the mask."""
        cover = jnp.clip(0.5 - distance * self._sharpness, 0, 1)
        alpha = cover * opacity
        self._planes = [p + alpha * (c - p) for p, c in zip(self._planes, color, strict=True)]
        if name:
            self._mask = jnp.where(cover > 0.5, MASK_CLASSES.index(name), self._mask)

    def packed(self) -> Array:
        # One output: XLA then computes every layer once, in few loops.
        red, green, blue = ((p.clip(0, 1) * 255 + 0.5).astype(jnp.int32) for p in self._planes)
        return red | (green << 8) | (blue << 16) | (self._mask << 24)


def _background(look: _Look, pose: list[Array], x, y, pixel: float) -> list[Array]:
    disc = _circle(x, y - 0.10, 0.86)
    stripes = (jnp.abs(_fraction(1.5 * (x + y) + pose[4]) - 0.5) - 0.25) / 2.12
    dots_x, dots_y = 2.6 * x + pose[4], 2.6 * y + pose[5]
    dots = _circle(_fraction(dots_x) - 0.5, _fraction(dots_y) - 0.5, 0.19) / 2.6
    angle = jnp.arctan2(x, y - 0.15) * (9 / np.pi)
    radius = jnp.sqrt(x * x + (y - 0.15) ** 2)
    rays = (jnp.abs(_fraction(angle + pose[4]) - 0.5) - 0.25) * radius * (np.pi / 9)
    cover = jnp.clip(
        0.5 - look.choose("pattern", disc=disc, stripes=stripes, dots=dots, rays=rays) / pixel, 0, 1
    )
    cover = cover * look.value([0, 0.36, 0.22, 0.32, 0.22], "pattern")
    low = (0.5 * y + 0.5).clip(0, 1)
    color = _mixed(
        look.row(_BACKGROUND, "background"), look.row(_BACKGROUND_LOW, "background"), low
    )
    return [c + cover * (1 - c) for c in color]


def _head(look: _Look, x, y) -> Array:
    jaw_width, jaw_height, jaw_radius, rx, ry = look.row(_FACES, "face")
    skull = _ellipse(x, y + 0.12, rx, ry)
    return _join(skull, _box(x, y - 0.44 + jaw_height, jaw_width, jaw_height, jaw_radius), 0.12)


def _paint_clothes(canvas: _Canvas, look: _Look, x, y) -> None:
    cloth, dark = look.cloth, _shaded(look.cloth)
    light = _mixed(cloth, _WHITE, 0.72)
    body = _box(x, y - 1.32, 0.76, 0.70, 0.36)
    body = _join(body, _ellipse(x, y - 0.66, 0.34, 0.15), 0.16)
    side = (1.3 * jnp.abs(x) - 0.35).clip(0, 1)
    canvas.paint(body, _mixed(cloth, dark, side), "clothes")
    stripes = jnp.abs(_fraction(5.0 * y + 0.1) - 0.5) * 0.2 - 0.05
    canvas.paint(
        jnp.where(look.is_("clothes", "striped"), jnp.maximum(body, stripes), _NONE), light
    )
    hood = _ellipse(x, y - 0.60, 0.43, 0.20)
    string = _segment(jnp.abs(x), y, 0.13, 0.72, 0.12, 0.86) - 0.016
    detail = look.choose("clothes", hoodie=hood)
    canvas.paint(detail, _mixed(dark, cloth, 0.25), "clothes")
    button = _circle(x, y - 0.86, 0.022)
    detail = look.choose("clothes", collar=button, hoodie=string)
    canvas.paint(detail, light)


def _paint_neck(canvas: _Canvas, look: _Look, x, y, shadow: Array) -> None:
    neck = _box(x, y - 0.44, 0.155, 0.24, 0.05)
    low = _ellipse(x, y - 0.59, 0.225, 0.105)
    pointed = jnp.maximum(jnp.abs(x) * 0.80 + (y - 0.83) * 0.6, 0.54 - y)
    low = jnp.where(look.is_("clothes", "v_neck", "collar"), pointed, low)
    low = jnp.where(look.is_("clothes", "turtleneck"), _NONE, low)
    canvas.paint(jnp.maximum(low - 0.03, 0.56 - y), _shaded(look.cloth), "clothes")
    neck = jnp.minimum(neck, low)
    canvas.paint(neck, look.skin, "skin")
    canvas.paint(jnp.maximum(neck, shadow), look.shade)
    tube = _box(x, y - 0.585, 0.185, 0.105, 0.05)
    flap_x, flap_y = jnp.abs(x) - 0.13, y - 0.66
    flap = _box(flap_x + 0.55 * flap_y, flap_y, 0.085, 0.095, 0.03)
    color = [jnp.where(look.is_("clothes", "collar"), 0.5 * c + 0.5, 0.88 * c) for c in look.cloth]
    canvas.paint(look.choose("clothes", collar=flap, turtleneck=tube), color, "clothes")


def _paint_head(canvas: _Canvas, look: _Look, x, y, head: Array) -> None:
    ear_x = jnp.abs(x) - 0.425
    ear = _ellipse(ear_x, y - 0.045, 0.085, 0.11)
    canvas.paint(ear, look.skin, "skin")
    canvas.paint(_ellipse(ear_x - 0.008, y - 0.045, 0.042, 0.062), look.shade)
    side = (2.4 * x + 0.5 * y - 0.30).clip(0, 0.62)
    canvas.paint(head, _mixed(look.skin, look.shade, side), "skin")
    cheek_x, cheek_y = jnp.abs(x) - 0.255, y - 0.165
    soft = (1 - (cheek_x * cheek_x * 90 + cheek_y * cheek_y * 170)).clip(0, 1)
    blush = jnp.where(look.is_("cheeks", "blush"), head, _NONE)
    canvas.paint(blush, _BLUSH, opacity=0.72 * soft)
    dots = jnp.minimum(
        _circle(jnp.abs(cheek_x) - 0.045, cheek_y + 0.025, 0.0145),
        _circle(cheek_x, cheek_y - 0.02, 0.0145),
    )
    canvas.paint(jnp.where(look.is_("cheeks", "freckles"), dots, _NONE), look.shade)
    canvas.paint(_arc(x, y, 0.135, 0.050, 0.036) - 0.016, look.shade)  # the nose


def _paint_beard(canvas: _Canvas, look: _Look, x, y, head: Array) -> None:
    beard = jnp.maximum(head - 0.022, 0.19 - 0.9 * x * x - y)
    beard = jnp.maximum(beard, -_ellipse(x, y - 0.245, 0.175, 0.072))
    bar_x = jnp.abs(x)
    moustache = _ellipse(bar_x - 0.075, y - 0.165 - 0.30 * bar_x, 0.105, 0.036)
    goatee = jnp.maximum(_box(x, y - 0.30, 0.185, 0.155, 0.13), -_ellipse(x, y - 0.25, 0.135, 0.08))
    full = _join(beard, moustache, 0.04)
    shape = look.choose("facial_hair", moustache=moustache, beard=full, goatee=goatee)
    canvas.paint(shape, _mixed(look.hair_dark, look.hair, 0.35), "hair")


def _paint_mouth(canvas: _Canvas, look: _Look, x, y) -> None:
    low, half, depth, fill_y, rx, ry, upper = look.row(_MOUTHS, "expression")
    line = _arc(x, y, low, jnp.maximum(half, 0.01), jnp.maximum(depth, 0.005)) - 0.020
    fill = -_join(-_ellipse(x, y - fill_y, rx, ry), y - upper, 0.05)
    mouth = jnp.where(half > 0, line, fill)
    color = [jnp.where(half > 0, c, d) for c, d in zip(look.row(_LIP, "skin"), _MOUTH, strict=True)]
    canvas.paint(mouth, color, "mouth")
    inner = mouth + 0.014
    laughs = look.is_("expression", "laugh")
    tongue = jnp.maximum(inner, _ellipse(x, y - 0.36, 0.10, 0.085))
    canvas.paint(jnp.where(laughs, tongue, _NONE), _TONGUE)
    teeth = jnp.where(laughs, jnp.maximum(inner, y - 0.232), inner)
    canvas.paint(jnp.where(laughs | look.is_("expression", "grin"), teeth, _NONE), _WHITE)


def _paint_eyes(canvas: _Canvas, look: _Look, x, y) -> None:
    eye_x = jnp.abs(x) - _EYE_X
    ry = look.value(_EYE_HEIGHT, "expression")
    closed = look.is_("eyes", "happy") | (look.is_("eyes", "wink") & (x > 0))
    white = _ellipse(eye_x, y, 0.100, ry)
    lash = _segment(eye_x, y, 0.085, -0.055, 0.135, -0.095) - 0.013
    lid = jnp.maximum(jnp.abs(white - 0.003) - 0.016, y + 0.30 * ry)
    lid = jnp.minimum(lid, jnp.where(look.is_("eyes", "lashes"), lash, _NONE))
    lid = jnp.where(closed, _arc(eye_x, -y, 0.04, 0.085, 0.062) - 0.019, lid)
    white = jnp.where(closed, _NONE, white)
    canvas.paint(white, _WHITE, "eyes")
    # The gaze moves both irises to one side, while everything else is mirrored.
    side = jnp.sign(x)
    iris_x = eye_x - side * look.value([0.0, -0.030, 0.030], "gaze")
    inside = white + 0.004
    iris = jnp.maximum(_circle(iris_x, y, 0.070), inside)
    canvas.paint(iris, look.row(_EYE, "eye_color"))
    canvas.paint(jnp.maximum(_circle(iris_x, y, 0.043), inside), _INK)
    glints = jnp.minimum(
        _circle(iris_x + side * 0.024, y + 0.028, 0.021),
        _circle(iris_x - side * 0.024, y - 0.030, 0.010),
    )
    canvas.paint(jnp.maximum(glints, inside), _WHITE)
    canvas.paint(lid, _INK, "eyes")
    thick, brow_y, slope = look.row(_BROWS, "brows")
    brow_y = brow_y - 0.8 * (ry - 0.10) - slope * eye_x
    brow = _arc(eye_x, brow_y - y, 0.0, 0.088, 0.026) - thick
    canvas.paint(brow, _mixed(look.hair_dark, _INK, 0.30), "brows")


class _Hair:
    """The shapes of the hair: `back` behind the head, the cap in front, the head's `outline`."""

    def __init__(self, look: _Look, x, y, head: Array):
        (
            back_y, back_width, back_height, back_radius, cap_y, cap_rx, cap_ry, cap_low,
            part, spread, open_y, open_rx, open_ry, side, tuft_x, tuft_y, tuft_rx, tuft_ry,
            waves, amplitude, roundness,
        ) = look.row(_STYLES, "hair")  # fmt: skip
        under_hat = 0.42 * x * x - 0.35 - y
        hat = jnp.where(look.is_("hat", "none", "headband"), -_NONE, under_hat)
        angle = jnp.arctan2(x, -0.14 - y) * (0.5 / np.pi) * waves
        wave = 2 * jnp.abs(_fraction(angle) - 0.5)
        edge = amplitude * (1 - wave - roundness * (wave * wave - wave))
        back = _box(x, y - back_y, back_width.clip(0), back_height, back_radius) - edge
        back = jnp.maximum(back, jnp.minimum(0.24 - jnp.abs(x), y - 0.56))
        self.back = jnp.maximum(jnp.where(back_width < 0, _NONE, back), hat)
        cap = _ellipse(x, y - cap_y, jnp.abs(cap_rx), cap_ry) - edge
        self.outline = jnp.minimum(jnp.where(cap_rx < 0, _NONE, cap), head)
        opening = _ellipse(jnp.abs(x - part) + spread, y - open_y, open_rx, open_ry)
        opening = -_join(-opening, side - jnp.abs(x), 0.08)
        cap = -_join(jnp.minimum(opening, -cap), cap_low - y, 0.03)
        cap = jnp.where(cap_rx < 0, _NONE, cap)
        mirrored = jnp.where(tuft_x > 0.2, jnp.abs(x), x)
        tuft = _ellipse(mirrored - tuft_x, y - tuft_y, jnp.abs(tuft_rx), tuft_ry)
        tuft = jnp.where(tuft_rx < 0, _NONE, tuft)
        self.front = jnp.maximum(_join(cap, tuft, 0.03), hat)

    def paint_front(self, canvas: _Canvas, look: _Look, x, y) -> None:
        tone = 1.04 - 0.30 * (y + 0.30)
        canvas.paint(self.front, [c * tone for c in look.hair], "hair")
        # The light: an arc on smooth hair and on a bald head, many on curls.
        turned_x, turned_y = 0.82 * x - 0.57 * y - 0.086, 0.57 * x + 0.82 * y + 0.123
        smooth = _arc(turned_x, -turned_y, 0.345, 0.13, 0.026) - 0.021
        cell_y = 7.0 * y
        cell_x = 6.0 * x + 0.5 * jnp.floor(cell_y)
        curls = _arc(_fraction(cell_x) - 0.5, 0.5 - _fraction(cell_y), 0.2, 0.28, 0.2) - 0.055
        curly = look.is_("hair", "curly", "afro")
        light = jnp.where(curly, curls / 7, smooth)
        bald = look.is_("hair", "bald") & look.is_("hat", "none", "headband")
        inside = jnp.where(bald, light, jnp.maximum(self.front + 0.035, light))
        color = [jnp.where(bald, 1.0, c + 0.30 * (1 - c)) for c in look.hair]
        canvas.paint(inside, color, opacity=jnp.where(curly, 0.5, 0.6))


def _paint_earrings(canvas: _Canvas, look: _Look, x, y) -> None:
    x = jnp.abs(x) - 0.445
    stud, hoop = _circle(x, y - 0.155, 0.034), jnp.abs(_circle(x, y - 0.205, 0.066)) - 0.016
    canvas.paint(look.choose("earrings", studs=stud, hoops=hoop), _GOLD, "earrings")


def _paint_glasses(canvas: _Canvas, look: _Look, x, y) -> None:
    eye_x, rim = jnp.abs(x) - _EYE_X, 0.017
    circle = _circle(eye_x, y - 0.005, 0.143)
    square = _box(eye_x, y - 0.01, 0.146, 0.115, 0.035)
    lens = _box(eye_x, y - 0.01, 0.155, 0.12, 0.085)
    bridge = jnp.maximum(jnp.abs(x) - 0.04, jnp.abs(y + 0.03) - rim)
    temple = jnp.maximum(jnp.abs(jnp.abs(x) - 0.37) - 0.055, jnp.abs(y + 0.02) - rim)
    frame = jnp.minimum(bridge, temple)
    inside = look.choose("glasses", round=circle, square=square, shades=lens)
    shine = jnp.maximum(inside + 0.03, jnp.abs(x - jnp.sign(x) * _EYE_X + y + 0.02) - 0.03)
    rims = jnp.where(look.is_("glasses", "shades"), inside, jnp.abs(inside) - rim)
    rims = jnp.where(look.is_("glasses", "none"), _NONE, jnp.minimum(rims, frame))
    canvas.paint(rims, _INK, "glasses")
    canvas.paint(shine, _WHITE, opacity=0.28)


def _paint_hat(canvas: _Canvas, look: _Look, x, y, outline: Array) -> None:
    hat = look.row(_HAT, "hat_color")
    dark = _shaded(hat)
    base = y + 0.26
    cap = jnp.maximum(_ellipse(x, y + 0.27, 0.475, 0.40), base)
    visor = _ellipse(x, y + 0.265 - 0.12 * x * x, 0.46, 0.075)
    logo = _circle(x, y + 0.47, 0.075)
    beanie = jnp.maximum(_ellipse(x, y + 0.30, 0.475, 0.42), base)
    fold = _box(x, y + 0.315, 0.50, 0.095, 0.07)
    pompom = _circle(x, y + 0.73, 0.105)
    ribs = jnp.maximum(fold + 0.03, jnp.abs(_fraction(7 * x) - 0.5) / 7 - 0.012)
    bent_y = y - 0.10 * x * x
    crown = _box(x, y + 0.50, 0.37 + 0.14 * (y + 0.5), 0.25, 0.13)
    brim = _ellipse(x, bent_y + 0.31, 0.70, 0.075)
    ribbon = jnp.maximum(crown, jnp.abs(bent_y + 0.415) - 0.05)
    turned_x, turned_y = 0.97 * x + 0.22 * y, 0.97 * y - 0.22 * x
    beret = _join(_ellipse(turned_x - 0.03, turned_y + 0.46, 0.52, 0.20), cap, 0.10)
    stem = _segment(x, y, 0.10, -0.62, 0.14, -0.72) - 0.024
    rim = _box(x, y + 0.285, 0.455, 0.042, 0.04)
    band = jnp.maximum(outline - 0.012, jnp.abs(y + 0.40 + 0.35 * x * x) - 0.055)
    top = {"cap": cap, "beanie": beanie, "fedora": crown, "beret": jnp.minimum(beret, stem)}
    canvas.paint(look.choose("hat", headband=band, **top), hat, "hat")
    fold = jnp.minimum(fold, pompom)
    trim = look.choose("hat", cap=visor, beanie=fold, fedora=brim, beret=rim)
    canvas.paint(trim, dark, "hat")
    detail = look.choose("hat", cap=logo, beanie=ribs, fedora=ribbon)
    color = [
        jnp.where(look.is_("hat", "cap"), w, 0.5 * c) for w, c in zip(_WHITE, hat, strict=True)
    ]
    canvas.paint(detail, color, "hat", jnp.where(look.is_("hat", "beanie"), 0.35, 1.0))


def _fraction(x: Array) -> Array:
    return x - jnp.floor(x)


def _shaded(color):
    return [share * c for share, c in zip((0.82, 0.76, 0.73), color, strict=True)]


def _mixed(color, other, share):
    return [c + share * (o - c) for c, o in zip(color, other, strict=True)]


def _join(a: Array, b: Array, radius: float) -> Array:
    """The union of two shapes with a fillet (polynomial smooth minimum, Quilez)."""
    overlap = jnp.maximum(radius - jnp.abs(a - b), 0)
    return jnp.minimum(a, b) - overlap * overlap * (0.25 / radius)


def _circle(x: Array, y: Array, radius) -> Array:
    return jnp.sqrt(x * x + y * y) - radius


def _segment(x: Array, y: Array, x1, y1, x2, y2) -> Array:
    dx, dy = x2 - x1, y2 - y1
    along = (((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy)).clip(0, 1)
    return _circle(x - x1 - along * dx, y - y1 - along * dy, 0)


def _arc(x: Array, y: Array, low, half, depth) -> Array:
    """An arc that hangs from (-half, low - depth) through (0, low) to (half, low - depth)."""
    radius = (half * half + depth * depth) / (2 * depth)
    x, y = jnp.abs(x), y - low + radius
    end_y = radius - depth
    ring = jnp.abs(_circle(x, y, radius))
    return jnp.where(end_y * x > half * y, _circle(x - half, y - end_y, 0), ring)


def _ellipse(x: Array, y: Array, rx, ry) -> Array:
    """Nearly the distance: the implicit form over its own slope, exact to first order."""
    inverse_x, inverse_y = 1 / rx, 1 / ry
    u, v = x * inverse_x, y * inverse_y
    form = u * u + v * v - 1
    slope_x, slope_y = u * inverse_x, v * inverse_y
    slope = jnp.sqrt(slope_x * slope_x + slope_y * slope_y)
    return 0.5 * form / jnp.maximum(slope, 1e-3)


def _box(x: Array, y: Array, half_width, half_height, radius) -> Array:
    """A box with rounded corners (Quilez, distance functions in 2D)."""
    u, v = jnp.abs(x) - half_width + radius, jnp.abs(y) - half_height + radius
    outside_u, outside_v = jnp.maximum(u, 0), jnp.maximum(v, 0)
    outside = jnp.sqrt(outside_u * outside_u + outside_v * outside_v)
    return outside + jnp.minimum(jnp.maximum(u, v), 0) - radius
