"""Avatars: portraits rendered from (seed, index), the data set that needs no download.

Every picture is a function of a few integers, its attributes, and a few small numbers, its pose;
both are hashed from (seed, split, index), so that labels and masks are exact, any subset can be
rendered in any order, and the same portrait exists at every size. Shapes are signed distances in
units of half the shorter side, with y pointing down; edges are blended over one pixel.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from ganjax.errors import UserError

TRAIN_SIZE = 50_000
TEST_SIZE = 5_000
MIN_SIDE, MAX_SIDE = 16, 1024

MASK_CLASSES: tuple[str, ...] = (
    "background", "skin", "hair", "eyes", "brows", "mouth", "glasses", "hat", "clothes", "earrings",
)  # fmt: skip
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "background": ("sky", "mint", "sand", "rose", "lilac", "sun", "slate", "coral"),
    "pattern": ("plain", "disc", "stripes", "dots", "rays"),
    "skin": ("porcelain", "light", "tan", "olive", "brown", "deep"),
    "face": ("oval", "round", "square", "heart"),
    "hair": (
        "bald", "buzz", "quiff", "parted", "spiky", "bob",
        "long", "wavy", "curly", "afro", "bun", "pigtails",
    ),
    "hair_color": ("black", "brown", "auburn", "ginger", "blond", "silver", "blue", "pink"),
    "eyes": ("open", "lashes", "happy", "wink"),
    "eye_color": ("brown", "blue", "green", "gray", "black"),
    "gaze": ("ahead", "left", "right"),
    "brows": ("soft", "bold", "raised", "angled"),
    "expression": ("smile", "laugh", "grin", "calm", "surprise"),
    "cheeks": ("plain", "blush", "freckles"),
    "facial_hair": ("none", "moustache", "beard", "goatee"),
    "glasses": ("none", "round", "square", "shades"),
    "hat": ("none", "cap", "beanie", "fedora", "beret", "headband"),
    "hat_color": ("red", "blue", "yellow", "green", "cream", "plum"),
    "earrings": ("none", "studs", "hoops"),
    "clothes": ("crew", "v_neck", "collar", "turtleneck", "striped", "hoodie"),
    "clothes_color": ("navy", "teal", "red", "mustard", "white", "violet", "forest", "charcoal"),
}  # fmt: skip
"""Attribute -> its values, all drawn independently of each other."""

# Weights of the values; attributes that are not listed are uniform.
_WEIGHTS = {
    "pattern": (4, 3, 2, 2, 2),
    "hair": (2, 2, 4, 4, 3, 4, 4, 4, 4, 3, 3, 2),
    "eyes": (10, 5, 2, 1),
    "gaze": (4, 1, 1),
    "brows": (4, 3, 2, 1),
    "expression": (5, 3, 3, 2, 1),
    "cheeks": (5, 4, 2),
    "facial_hair": (14, 2, 3, 1),
    "glasses": (10, 3, 2, 1),
    "hat": (14, 1, 2, 1, 1, 2),
    "earrings": (6, 2, 2),
}
_POSE = 6  # numbers per portrait: shift x and y, scale, tilt, two of the background's pattern
_SPLITS = {"train": TRAIN_SIZE, "test": TEST_SIZE}
_CHUNK_PIXELS = 2**18


def draw_attributes(
    indices: Sequence[int] | np.ndarray, *, seed: int = 0, split: str = "train"
) -> np.ndarray:
    """The attributes of portraits: int32 [N, A], in the order of `ATTRIBUTES`.

    Args:
      indices: [N], below `TRAIN_SIZE` or `TEST_SIZE`.
      seed: 0 to 2**32 - 1; each gives other portraits.
      split: "train" or "test"; their portraits are drawn independently.

    Raises:
      UserError: an index, the seed or the split is out of bounds.
    """
    return _attributes_of(_hash(_check_indices(indices, split), seed, split))


def render(
    indices: Sequence[int] | np.ndarray,
    image_size: tuple[int, int],
    *,
    seed: int = 0,
    split: str = "train",
    overrides: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Renders portraits with their truth.

    Args:
      indices: [N], below `TRAIN_SIZE` or `TEST_SIZE`.
      image_size: (H, W), each of 16 to 1024 pixels; the portrait fills the shorter side.
      seed, split: as for `draw_attributes`.
      overrides: attributes to fix, e.g. {"hat": "fedora"}.

    Returns:
      `image` uint8 [N, H, W, 3], `mask` uint8 [N, H, W] of indices into `MASK_CLASSES`, and
      `label` int32 [N, A] as from `draw_attributes`.

    Raises:
      UserError: a size, index or override is out of bounds.
    """
    height, width = image_size
    if not (MIN_SIDE <= min(image_size) and max(image_size) <= MAX_SIDE):
        raise UserError(f"avatars are {MIN_SIDE} to {MAX_SIDE} pixels a side, not {height}x{width}")
    uniform = _hash(_check_indices(indices, split), seed, split)
    label, pose = _attributes_of(uniform), uniform[:, len(ATTRIBUTES) :]
    for name, value in (overrides or {}).items():
        if name not in ATTRIBUTES or value not in ATTRIBUTES[name]:
            known = ", ".join(ATTRIBUTES.get(name, ATTRIBUTES))
            raise UserError(f"avatars know no {name}={value}; choose among {known}")
        label[:, list(ATTRIBUTES).index(name)] = ATTRIBUTES[name].index(value)
    images = np.empty((len(label), height, width, 3), np.uint8)
    masks = np.empty((len(label), height, width), np.uint8)
    # One size of chunk per image size: each is compiled once.
    chunk = max(1, min(64, _CHUNK_PIXELS // (height * width)))
    paint = _compiled(height, width)
    for first in range(0, len(label), chunk):
        rows = np.arange(first, first + chunk) % len(label)
        count = min(chunk, len(label) - first)
        packed = np.asarray(paint(label[rows], pose[rows].astype(np.float32)))[:count]
        layers = packed.astype("<i4", copy=False).view(np.uint8).reshape(*packed.shape, 4)
        images[first : first + count] = layers[..., :3]
        masks[first : first + count] = layers[..., 3]
    return {"image": images, "mask": masks, "label": label}


@cache
def _compiled(height: int, width: int):
    """Labels and poses -> packed pictures, on the CPU whatever the training runs on."""
    import jax

    from ganjax.data.avatars.painter import paint_portraits

    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise UserError("avatars are painted on the CPU: add cpu to JAX_PLATFORMS") from error

    @jax.jit
    def paint(label, pose):
        attributes = {name: label[:, number] for number, name in enumerate(ATTRIBUTES)}
        return paint_portraits(attributes, pose, height, width)

    def on_cpu(label, pose):
        return paint(jax.device_put(label, cpu), jax.device_put(pose, cpu))

    return on_cpu


def _attributes_of(uniform: np.ndarray) -> np.ndarray:
    columns = []
    for number, (name, values) in enumerate(ATTRIBUTES.items()):
        weights = np.array(_WEIGHTS.get(name, (1,) * len(values)), np.float64)
        bounds = np.cumsum(weights / weights.sum())[:-1]
        columns.append(np.searchsorted(bounds, uniform[:, number], side="right"))
    return np.stack(columns, axis=1).astype(np.int32)


def _check_indices(indices: Sequence[int] | np.ndarray, split: str) -> np.ndarray:
    if split not in _SPLITS:
        raise UserError(f"avatars have no split {split!r}; there is {' and '.join(_SPLITS)}")
    indices = np.asarray(indices)
    if not indices.size:
        return np.zeros(0, np.uint64)
    whole = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    if not (whole and 0 <= indices.min() and indices.max() < _SPLITS[split]):
        raise UserError(f"avatars' {split} indices are a list of 0 to {_SPLITS[split] - 1}")
    return indices.astype(np.uint64)


def _hash(indices: np.ndarray, seed: int, split: str) -> np.ndarray:
    """Uniform numbers in [0, 1), [N, A + pose], by SplitMix64 (Steele et al. 2014)."""
    if not 0 <= seed < 2**32:
        raise UserError(f"avatars' seed is 0 to {2**32 - 1}, not {seed}")
    stream = np.array(seed * 2 + list(_SPLITS).index(split), np.uint64)
    columns = np.arange(len(ATTRIBUTES) + _POSE, dtype=np.uint64)
    state = _mix(stream) ^ _mix(indices[:, None] * np.uint64(1 << 8) + columns)
    return (_mix(state) >> np.uint64(11)) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = np.asarray(x, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
