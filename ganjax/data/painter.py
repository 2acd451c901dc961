"""The painter of avatars: layers of signed distances from the background to the hat.

All functions work on arrays [N, H, W]; the parameters of a portrait are [N, 1, 1]. There are no
branches: a style is a row of a table, and every portrait runs through every layer.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import Array

MASK_CLASSES = (
    "background", "skin", "hair", "eyes", "brows", "mouth", "glasses", "hat", "clothes", "earrings",
)  # fmt: skip


def _palette(*colours: str) -> np.ndarray:
    return np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colours], np.float32) / 255


_BACKGROUND = _palette(
    "8fd0ee", "a5e0c3", "ecd9b0", "f5bccb", "cbbdf0", "fbd975", "8b9cb5", "f7a38b"
)
_SKIN = _palette("fde2d2", "f5c9a6", "e3a978", "c98f5d", "9b6439", "65402b")
_HAIR = _palette("2a2629", "5a3a29", "83402c", "c8652b", "ecc673", "a9adb3", "4b78cf", "e979a9")
_EYE = _palette("6b4226", "3f83c9", "4a9a5c", "2b2430")
_CLOTHES = _palette("33497e", "23918c", "d4483f", "e2a62f", "f3f1ec", "7b56ac", "3a7148", "40434c")
_GOLD, _WHITE, _INK = _palette("f2c14e", "fffdf8", "2c2a35")
_LIP, _TONGUE, _BLUSH = _palette("a83c46", "e4707a", "ef7d86")

# Hair styles, one row each. Back: centre y, half width, half height and radius of a rounded box
# behind the head. Cap: centre y, radii, lowest y. Opening of the face in it: centre x and y, radii.
# Bun: centre y, radius. Curls: amplitude.
_NONE = 9.0
_STYLES = np.array(
    [
        # back y, hw, hh, r | cap y, rx, ry, low | opening x, y, rx, ry | bun y, r | curls
        [0, -_NONE, 0, 0, 0.0, -_NONE, -_NONE, 0, 0, 0, 1, 1, 0, -_NONE, 0],  # bald
        [0, -_NONE, 0, 0, -0.14, 0.435, 0.49, -0.10, 0, 0.17, 0.37, 0.47, 0, -_NONE, 0],  # buzz
        [0, -_NONE, 0, 0, -0.17, 0.46, 0.55, -0.04, 0, 0.18, 0.37, 0.45, 0, -_NONE, 0],  # short
        [0, -_NONE, 0, 0, -0.18, 0.46, 0.57, -0.03, 0.10, 0.22, 0.46, 0.50, 0, -_NONE, 0],  # parted
        [-0.06, 0.53, 0.52, 0.42, -0.15, 0.50, 0.57, 0.30, 0, 0.26, 0.36, 0.45, 0, -_NONE, 0],
        [0.16, 0.54, 0.80, 0.46, -0.16, 0.49, 0.57, 0.30, -0.06, 0.20, 0.36, 0.50, 0, -_NONE, 0],
        [-0.12, 0.50, 0.46, 0.40, -0.20, 0.49, 0.56, 0.06, 0, 0.17, 0.35, 0.44, 0, -_NONE, 0.035],
        [-0.24, 0.68, 0.64, 0.60, -0.24, 0.56, 0.60, -0.06, 0, 0.20, 0.37, 0.48, 0, -_NONE, 0.022],
        [0, -_NONE, 0, 0, -0.15, 0.445, 0.53, -0.02, 0, 0.20, 0.37, 0.50, -0.76, 0.17, 0],  # bun
        [0, -_NONE, 0, 0, -0.48, 0.13, 0.43, -0.20, 0, 0.24, 0.30, 0.52, 0, -_NONE, 0.02],  # mohawk
    ],
    np.float32,
)
# Jaw: half width, half height, radius of a rounded box; then the skull's radii.
_FACES = np.array(
    [
        [0.30, 0.31, 0.29, 0.395, 0.45],
        [0.375, 0.29, 0.285, 0.42, 0.44],
        [0.345, 0.30, 0.16, 0.4, 0.45],
    ],
    np.float32,
)
# Mouth: centre y, radii, 1 for an outline only, upper end.
_MOUTHS = np.array(
    [
        [0.155, 0.14, 0.115, 1, 0.185],
        [0.165, 0.165, 0.175, 0, 0.17],
        [0.225, 0.095, 0.018, 0, -_NONE],
        [0.24, 0.06, 0.08, 0, -_NONE],
    ],
    np.float32,
)
_EYE_HEIGHT = np.array([0.078, 0.062, 0.075, 0.10], np.float32)  # by expression
# Brows: half thickness, lift, slope.
_BROWS = np.array(
    [[0.016, 0.0, 0.12], [0.029, 0.0, 0.08], [0.02, 0.05, 0.16], [0.024, -0.005, -0.32]], np.float32
)
_EYE_X, _EYE_Y = 0.17, -0.06


def paint_portraits(
    attributes: Mapping[str, Array], pose: Array, height: int, width: int
) -> tuple[Array, Array]:
    """Paints portraits.

    Args:
      attributes: int32 [N] by the names of `avatars.ATTRIBUTES`.
      pose: float32 [N, 6] in [0, 1).

    Returns:
      uint8 [N, H, W, 3] and the mask uint8 [N, H, W], indices into `MASK_CLASSES`.
    """
    side = min(height, width)
    pixel = 2 / side
    columns = (jnp.arange(width, dtype=jnp.float32) + 0.5 - width / 2) * pixel
    rows = (jnp.arange(height, dtype=jnp.float32) + 0.5 - height / 2) * pixel
    x0, y0 = columns[None, None, :], rows[None, :, None]
    pose = pose[:, :, None, None]

    # The pose: a small shift and scale of everything, and a tilt of the head about the chin.
    scale = 1.02 + 0.09 * pose[:, 2]
    x = (x0 - 0.08 * (pose[:, 0] - 0.5)) / scale
    y = (y0 - 0.06 * (pose[:, 1] - 0.5) - 0.06) / scale
    tilt = 0.16 * (pose[:, 3] - 0.5)
    head_x = x + tilt * (y - 0.4)
    head_y = y - tilt * x

    def of(name: str) -> Array:
        return attributes[name][:, None, None]

    def is_(name: str, value: int) -> Array:
        return attributes[name][:, None, None] == value

    def row(table: np.ndarray, name: str) -> list[Array]:
        values = jnp.asarray(table)[attributes[name]]
        return [values[:, k, None, None] for k in range(table.shape[1])]

    skin, hair, cloth = (
        row(_SKIN, "skin"),
        row(_HAIR, "hair_colour"),
        row(_CLOTHES, "clothes_colour"),
    )
    shade = _mixed(skin, _palette("8a3b2f")[0], 0.24)
    dark_hair = [c * 0.72 for c in hair]
    light_hair = _mixed(hair, _WHITE, 0.22)
    dark_cloth = [c * 0.78 for c in cloth]

    canvas = _Canvas(_background(attributes, pose, x0, y0, row, pixel), pixel)
    paint = canvas.paint
    has_hat = of("hat") > 0

    # Behind the head.
    style = row(_STYLES, "hair")
    back_y, back_w, back_h, back_r = style[:4]
    curls = style[14] * jnp.sin(24 * head_x) * jnp.sin(24 * head_y + 1)
    back = _box(head_x, head_y - back_y, back_w, back_h, back_r) + curls
    under_hat = jnp.where(has_hat, -0.30 - head_y, -_NONE)
    paint(jnp.maximum(back, under_hat), dark_hair, "hair")

    # Body: shoulders, neck, neckline.
    body = _box(x, y - 1.30, 0.74, 0.66, 0.40)
    paint(body, cloth, "clothes")
    stripes = jnp.abs((y * 4.5) % 1.0 - 0.5) / 4.5 - 0.055
    striped = jnp.where(is_("clothes", 4), jnp.maximum(body, stripes), _NONE)
    paint(striped, _mixed(cloth, _WHITE, 0.72), None)
    paint(jnp.maximum(body, -_box(x + 0.16, y - 1.30, 0.74, 0.66, 0.40)), dark_cloth, None, 0.45)
    low = jnp.where(is_("clothes", 1), 0.86 - 1.3 * jnp.abs(x), 0.70 - 0.9 * x * x)
    neckline = jnp.maximum(jnp.abs(x) - 0.20, y - low)
    neck = jnp.minimum(_box(x, y - 0.46, 0.15, 0.22, 0.06), jnp.maximum(neckline, body))
    paint(neck, skin, "skin")
    face_w, face_h, face_r, skull_rx, skull_ry = row(_FACES, "face")

    def head_at(px, py):
        skull = _ellipse(px, py + 0.10, skull_rx, skull_ry)
        return jnp.minimum(skull, _box(px, py - 0.11, face_w, face_h, face_r))

    head = head_at(head_x, head_y)
    paint(jnp.maximum(neck, head_at(head_x, head_y - 0.075)), shade, None)
    collar = _box(x, y - 0.60, 0.17, 0.11, 0.05)
    paint(jnp.where(is_("clothes", 3), collar, _NONE), dark_cloth, "clothes")
    flap_x, flap_y = jnp.abs(x) - 0.15, y - 0.70
    flap = jnp.maximum(jnp.abs(flap_x + 0.5 * flap_y) - 0.085, jnp.abs(flap_y) - 0.085)
    paint(jnp.where(is_("clothes", 2), flap, _NONE), _mixed(cloth, _WHITE, 0.55), "clothes")

    # Head: ears, earrings, face.
    ear = _ellipse(jnp.abs(head_x) - 0.415, head_y + 0.01, 0.08, 0.105)
    paint(ear, skin, "skin")
    paint(_ellipse(jnp.abs(head_x) - 0.42, head_y + 0.01, 0.042, 0.062), shade, None)
    drop = _circle(jnp.abs(head_x) - 0.435, head_y - 0.115, 0.034)
    hoop = jnp.abs(_circle(jnp.abs(head_x) - 0.44, head_y - 0.16, 0.062)) - 0.014
    paint(jnp.where(is_("earrings", 1), drop, _NONE), _GOLD, "earrings")
    paint(jnp.where(is_("earrings", 2), hoop, _NONE), _GOLD, "earrings")
    paint(head, skin, "skin")
    paint(jnp.maximum(head, -head_at(head_x + 0.07, head_y + 0.02)), shade, None, 0.5)
    cheek_x = jnp.abs(head_x) - 0.265
    blush = jnp.maximum(_ellipse(cheek_x, head_y - 0.12, 0.085, 0.055), head)
    paint(jnp.where(is_("cheeks", 1), blush, _NONE), _BLUSH, None, 0.55)
    freckles = _NONE
    for dot_x, dot_y in ((-0.05, 0.085), (0.0, 0.12), (0.05, 0.08), (0.0, 0.05)):
        freckles = jnp.minimum(freckles, _circle(cheek_x - dot_x, head_y - dot_y, 0.015))
    paint(jnp.where(is_("cheeks", 2), freckles, _NONE), shade, None)

    _paint_beard(canvas, head_x, head_y, head, dark_hair, is_)
    _paint_mouth(canvas, head_x, head_y, row, is_)
    nose = jnp.maximum(
        jnp.abs(_ellipse(head_x, head_y - 0.05, 0.055, 0.06)) - 0.014, 0.065 - head_y
    )
    paint(nose, shade, None)
    _paint_eyes(canvas, head_x, head_y, attributes, row, of, dark_hair)

    # Hair in front.
    cap_y, cap_rx, cap_ry, cap_low, open_x, open_y, open_rx, open_ry, bun_y, bun_r = style[4:14]
    cap = _ellipse(head_x, head_y - cap_y, jnp.abs(cap_rx), jnp.abs(cap_ry)) + curls
    cap = jnp.where(cap_rx < 0, _NONE, cap)
    opening = _ellipse(head_x - open_x, head_y - open_y, open_rx, open_ry)
    cap = jnp.maximum(jnp.maximum(cap, -opening), head_y - cap_low)
    bun = jnp.where(bun_r < 0, _NONE, _circle(head_x, head_y - bun_y, jnp.abs(bun_r)))
    front = jnp.maximum(jnp.minimum(cap, bun), under_hat)
    paint(front, hair, "hair")
    gloss = jnp.abs(_ellipse(head_x + 0.03, head_y + 0.10, 0.36, 0.40)) - 0.022
    gloss = jnp.maximum(jnp.maximum(front + 0.03, gloss), jnp.maximum(head_x + 0.02, head_y + 0.30))
    paint(gloss, light_hair, None, 0.8)

    _paint_glasses(canvas, head_x, head_y, is_)
    _paint_hat(canvas, head_x, head_y, cloth, dark_cloth, is_)
    return canvas.image(), canvas.mask()


class _Canvas:
    """Three colour planes and a mask, painted layer over layer."""

    def __init__(self, planes: list[Array], pixel: float):
        self._planes = planes
        self._mask = jnp.zeros(planes[0].shape, jnp.uint8)
        self._pixel = pixel

    def paint(self, distance: Array, colour, name: str | None, opacity: float = 1.0) -> None:
        """Covers where `distance` < 0 with `colour`, and names it `name` in the mask."""
        cover = jnp.clip(0.5 - distance / self._pixel, 0, 1)
        alpha = cover * opacity
        self._planes = [p + alpha * (c - p) for p, c in zip(self._planes, colour, strict=True)]
        if name:
            self._mask = jnp.where(cover > 0.5, jnp.uint8(MASK_CLASSES.index(name)), self._mask)

    def image(self) -> Array:
        stacked = jnp.stack(self._planes, axis=-1)
        return jnp.round(stacked * 255).clip(0, 255).astype(jnp.uint8)

    def mask(self) -> Array:
        return self._mask


def _background(attributes, pose, x, y, row, pixel) -> list[Array]:
    colour = row(_BACKGROUND, "background")
    light = 1.04 - 0.09 * (y + 1)
    pattern = attributes["pattern"][:, None, None]
    disc = _circle(x, y - 0.1, 0.86)
    stripes = jnp.abs((1.6 * (x + y) + pose[:, 4]) % 1.0 - 0.5) / 2.3 - 0.11
    dots = (
        _circle((x * 2.6 + pose[:, 4]) % 1.0 - 0.5, (y * 2.6 + pose[:, 5]) % 1.0 - 0.5, 0.19) / 2.6
    )
    choices = [jnp.full_like(dots, _NONE), disc + 0 * dots, stripes + 0 * dots, dots]
    shape = jnp.select([pattern == k for k in range(4)], choices)
    cover = 0.32 * jnp.clip(0.5 - shape / pixel, 0, 1)
    return [(c * light).clip(0, 1) * (1 - cover) + cover for c in colour]


def _paint_beard(canvas: _Canvas, x, y, head, colour, is_) -> None:
    mouth = _ellipse(x, y - 0.215, 0.185, 0.085)
    edge = jnp.maximum(0.13 - 1.3 * x * x - y, -mouth)
    beard = jnp.maximum(head - 0.02, edge)
    moustache = _ellipse(jnp.abs(x) - 0.07, y - 0.145 - 0.25 * jnp.abs(x), 0.095, 0.036)
    goatee = jnp.maximum(_ellipse(x, y - 0.38, 0.11, 0.085), head - 0.03)
    shape = jnp.select(
        [is_("facial_hair", 1), is_("facial_hair", 2), is_("facial_hair", 3)],
        [moustache, jnp.minimum(beard, moustache), goatee],
        _NONE,
    )
    canvas.paint(shape, colour, "hair")


def _paint_mouth(canvas: _Canvas, x, y, row, is_) -> None:
    centre, rx, ry, outline, upper = row(_MOUTHS, "expression")
    mouth = _ellipse(x, y - centre, rx, ry)
    mouth = jnp.where(outline > 0, jnp.abs(mouth) - 0.02, mouth)
    mouth = jnp.maximum(mouth, upper - y)
    canvas.paint(mouth, _LIP, "mouth")
    inner = jnp.where(is_("expression", 1), mouth + 0.012, _NONE)
    canvas.paint(jnp.maximum(inner, _ellipse(x, y - 0.36, 0.10, 0.09)), _TONGUE, None)
    canvas.paint(jnp.maximum(inner, _box(x, y - 0.165, 0.13, 0.055, 0.02)), _WHITE, None)


def _paint_eyes(canvas: _Canvas, x, y, attributes, row, of, brow_colour) -> None:
    eye_x, eye_y = jnp.abs(x) - _EYE_X, y - _EYE_Y
    ry = jnp.asarray(_EYE_HEIGHT)[attributes["expression"]][:, None, None]
    white = _ellipse(eye_x, eye_y, 0.098, ry)
    canvas.paint(white, _WHITE, "eyes")
    # The gaze moves both irises to one side, while everything else is mirrored.
    gaze = jnp.asarray([0.0, -0.034, 0.034])[of("gaze")]
    iris_x = eye_x - jnp.sign(x) * gaze
    inside = white + 0.004
    canvas.paint(jnp.maximum(_circle(iris_x, eye_y, 0.064), inside), row(_EYE, "eye_colour"), None)
    canvas.paint(jnp.maximum(_circle(iris_x, eye_y, 0.036), inside), _INK, None)
    glint = _circle(iris_x + jnp.sign(x) * 0.02, eye_y + 0.024, 0.017)
    canvas.paint(jnp.maximum(glint, inside), _WHITE, None)
    lid = jnp.maximum(jnp.abs(white - 0.004) - 0.013, eye_y + 0.25 * ry)
    canvas.paint(lid, _INK, "eyes")
    thick, lift, slope = row(_BROWS, "brows")
    brow_y = y + 0.215 + lift + slope * eye_x * -1 + 1.6 * eye_x * eye_x
    brow_y = brow_y + 0.3 * (ry - 0.078)
    canvas.paint(_box(eye_x, brow_y, 0.105, thick, 0.014), brow_colour, "brows")


def _paint_glasses(canvas: _Canvas, x, y, is_) -> None:
    eye_x, eye_y = jnp.abs(x) - _EYE_X, y - _EYE_Y
    rim = 0.016
    rounds = jnp.abs(_circle(eye_x, eye_y, 0.138)) - rim
    squares = jnp.abs(_box(eye_x, eye_y, 0.145, 0.105, 0.03)) - rim
    lens = _box(eye_x, eye_y - 0.005, 0.152, 0.112, 0.07)
    bridge = jnp.maximum(jnp.abs(x) - 0.035, jnp.abs(eye_y + 0.03) - rim)
    temple = jnp.maximum(jnp.abs(jnp.abs(x) - 0.36) - 0.055, jnp.abs(eye_y + 0.02) - rim)
    frame = jnp.minimum(bridge, temple)
    shape = jnp.select(
        [is_("glasses", 1), is_("glasses", 2), is_("glasses", 3)],
        [jnp.minimum(rounds, frame), jnp.minimum(squares, frame), jnp.minimum(lens, frame)],
        _NONE,
    )
    canvas.paint(shape, _INK, "glasses")
    shine = jnp.maximum(lens + 0.03, jnp.abs(eye_x + eye_y + 0.05) - 0.025)
    canvas.paint(jnp.where(is_("glasses", 3), shine, _NONE), _WHITE, None, 0.35)


def _paint_hat(canvas: _Canvas, x, y, cloth, dark, is_) -> None:
    dome = jnp.maximum(_ellipse(x, y + 0.30, 0.47, 0.44), y + 0.26)
    visor = _box(x + 0.10, y + 0.27, 0.47, 0.05, 0.05)
    band = _box(x, y + 0.30, 0.49, 0.085, 0.06)
    pompom = _circle(x, y + 0.78, 0.10)
    crown = _box(x, y + 0.56, 0.35 + 0.12 * (y + 0.56), 0.28, 0.13)
    brim = _ellipse(x, y + 0.33, 0.70, 0.085)
    ribbon = jnp.maximum(crown, jnp.abs(y + 0.415) - 0.05)
    top = jnp.select([is_("hat", 1), is_("hat", 2), is_("hat", 3)], [dome, dome, crown], _NONE)
    trim = jnp.select(
        [is_("hat", 1), is_("hat", 2), is_("hat", 3)],
        [visor, jnp.minimum(band, pompom), brim],
        _NONE,
    )
    canvas.paint(top, cloth, "hat")
    canvas.paint(jnp.where(is_("hat", 3), ribbon, _NONE), _INK, "hat")
    canvas.paint(trim, dark, "hat")


def _mixed(colour, other, share: float):
    return [c + share * (o - c) for c, o in zip(colour, other, strict=True)]


def _circle(x: Array, y: Array, radius) -> Array:
    return jnp.sqrt(x * x + y * y) - radius


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
