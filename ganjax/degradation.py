"""Photographs made worse on the device, for networks that learn to repair them: Real-ESRGAN's way.

Wang, Xie, Dong and Shan 2021, arXiv:2107.10833, sections 3.1 to 3.4 and the settings of its code:
blur, scaling, noise and JPEG, twice, and the ringing of sinc filters; all drawn for each image by
itself. Images are float [H, W, C] in [0, 1] inside, on canvases of fixed size; what an image
doesn't fill of its canvas repeats its border.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Round(NamedTuple):
    """How one round of blur, scaling, noise and JPEG is drawn.

    Attributes:
      blurred: probability of a blur.
      sigma: range of the blur's deviations, in pixels.
      growth: probabilities of growing and of shrinking; otherwise the size stays.
      scales: of the sides, least and most.
      normal: range of the deviation of Gaussian noise, in levels of 255.
      poisson: range of the strength of Poisson noise, 1 for that of 256 photons at white.
    """

    blurred: float
    sigma: tuple[float, float]
    growth: tuple[float, float]
    scales: tuple[float, float]
    normal: tuple[float, float]
    poisson: tuple[float, float]


FIRST = Round(1.0, (0.2, 3.0), (0.2, 0.7), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0))
SECOND = Round(0.8, (0.2, 1.5), (0.3, 0.4), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5))
# Of blurs: sinc filters, else kernels of Gaussian, generalized Gaussian and plateau form.
_SINC, _FORMS = 0.1, (0.70, 0.15, 0.15)
_ISOTROPIC = (0.45 / 0.70, 0.8, 0.8)  # share of kernels that are round, of each form
_BETA, _PLATEAU_BETA = (0.5, 4.0), (1.0, 2.0)  # exponents of the other forms
_LAST_SINC = 0.8  # probability of a sinc filter at the end
_REACH = 10  # pixels that the largest kernel, 21x21, sees to each side
_GRAY_NOISE = 0.4  # share of noise that is the same in all channels
_QUALITY = (30.0, 95.0)  # of JPEG
_MODES = ("area", "bilinear", "bicubic")


def degrade(rng: Array, images: Array, scale: int) -> Array:
    """Small, bad photographs of large, good ones, each by draws of its own.

    Args:
      rng: a key.
      images: [B, H, W, 3] in [-1, 1]; sides are multiples of `scale`.
      scale: times that sides become shorter.

    Returns:
      [B, H / scale, W / scale, 3] in [-1, 1], of 8 bits; gradients don't flow.
    """
    keys = jax.random.split(rng, len(images))
    with jax.default_matmul_precision("float32"):  # TPUs would round to 8 bits
        made = jax.vmap(lambda key, image: _degrade(key, image, scale))(keys, (images + 1) / 2)
    return jax.lax.stop_gradient(2 * jnp.round(255 * made) / 255 - 1)


def _degrade(rng: Array, image: Array, scale: int) -> Array:
    keys = jax.random.split(rng, 8)
    height, width, _ = image.shape
    whole, small = (height, width), (height // scale, width // scale)
    image, size = _round(keys[0], FIRST, image, jnp.array(whole), whole)
    image = jpeg(image, _uniform(keys[1], _QUALITY))
    image, size = _round(keys[2], SECOND, image, size, small)
    mode, quality = jax.random.randint(keys[3], (), 0, len(_MODES)), _uniform(keys[4], _QUALITY)
    kernel = _sinc(keys[5], (jnp.pi / 3, jnp.pi / 3))
    kernel = jnp.where(jax.random.bernoulli(keys[6], _LAST_SINC), kernel, _identity())

    def finish(image: Array) -> Array:
        shrunk = resize(image, size, jnp.array(small), small, mode)
        return jnp.clip(blur(shrunk, kernel), 0, 1)

    filtered_first = jax.random.bernoulli(keys[7])
    early, late = finish(image), finish(jpeg(image, quality))
    return jnp.where(filtered_first, jpeg(early, quality), late)


def _round(
    rng: Array, drawn: Round, image: Array, size: Array, unit: tuple[int, int]
) -> tuple[Array, Array]:
    """Blur, scaling and noise.

    Args:
      image: [H, W, C] in [0, 1], of which `size` pixels of each side count.
      unit: (H, W) that the scales are times of.

    Returns:
      (the image on a canvas for the largest scale, how many pixels of each side count).
    """
    keys = jax.random.split(rng, 6)
    kernel = draw_kernel(keys[0], drawn.sigma)
    kernel = jnp.where(jax.random.bernoulli(keys[1], drawn.blurred), kernel, _identity())
    image = jnp.clip(blur(image, kernel), 0, 1)
    (least, most), (up, down) = drawn.scales, drawn.growth
    grow_key, shrink_key = jax.random.split(keys[2])
    grown, shrunk = _uniform(grow_key, (1.0, most)), _uniform(shrink_key, (least, 1.0))
    choice = jax.random.uniform(keys[3])
    factor = jnp.where(choice < up, grown, jnp.where(choice < up + down, shrunk, 1.0))
    wanted = jnp.maximum((jnp.array(unit) * factor).astype(int), 1)
    canvas = (int(unit[0] * most), int(unit[1] * most))
    mode = jax.random.randint(keys[4], (), 0, len(_MODES))
    image = jnp.clip(resize(image, size, wanted, canvas, mode), 0, 1)
    return jnp.clip(add_noise(keys[5], image, drawn.normal, drawn.poisson), 0, 1), wanted


def _uniform(rng: Array, bounds: tuple[float, float]) -> Array:
    return jax.random.uniform(rng, (), minval=bounds[0], maxval=bounds[1])


# Blurs.


def draw_kernel(rng: Array, sigma: tuple[float, float]) -> Array:
    """A kernel of 7x7 to 21x21 pixels amid zeros, [21, 21], of sum 1.

    Args:
      sigma: range of its deviations, in pixels.
    """
    keys = jax.random.split(rng, 10)
    form = jax.random.choice(keys[0], 3, p=jnp.array(_FORMS))
    first, second = _uniform(keys[1], sigma), _uniform(keys[2], sigma)
    isotropic = jax.random.bernoulli(keys[3], jnp.array(_ISOTROPIC)[form])
    second = jnp.where(isotropic, first, second)
    low = _uniform(keys[4], (_BETA[0], 1.0))
    beta = jnp.where(jax.random.bernoulli(keys[5]), low, _uniform(keys[6], (1.0, _BETA[1])))
    beta = jnp.where(form == 2, _uniform(keys[6], _PLATEAU_BETA), jnp.where(form == 1, beta, 1.0))
    kernel = gaussian(first, second, _uniform(keys[7], (-jnp.pi, jnp.pi)), beta, form == 2)
    kernel = _cut(kernel, jax.random.randint(keys[8], (), 3, _REACH + 1))
    is_sinc, sinc_key = jax.random.split(keys[9])
    lowpass = _sinc(sinc_key, (jnp.pi / 3, jnp.pi / 5))
    return jnp.where(jax.random.bernoulli(is_sinc, _SINC), lowpass, kernel)


def gaussian(
    first: Array, second: Array, angle: Array, beta: Array | float, plateau: Array | bool
) -> Array:
    """exp(-q^beta / 2), or 1 / (1 + q^beta) with a plateau, of the quadratic form q: [21, 21].

    Args:
      first, second: deviations along axes that are turned by `angle`, in radians.
    """
    y, x = _grid()
    along, across = (
        x * jnp.cos(angle) + y * jnp.sin(angle),
        y * jnp.cos(angle) - x * jnp.sin(angle),
    )
    power = ((along / first) ** 2 + (across / second) ** 2) ** beta
    return jnp.where(plateau, 1 / (1 + power), jnp.exp(-power / 2))


def _sinc(rng: Array, lowest: tuple[float, float]) -> Array:
    """A sinc filter with a cutoff up to pi, from `lowest` of kernels below 13x13 and of others."""
    keys = jax.random.split(rng)
    half = jax.random.randint(keys[0], (), 3, _REACH + 1)
    start = jnp.where(half < 6, *lowest)
    return _cut(sinc(start + (jnp.pi - start) * jax.random.uniform(keys[1])), half)


def sinc(cutoff: Array | float) -> Array:
    """The round lowpass filter of a cutoff in radians per pixel, [21, 21] (equation 6)."""
    radius = jnp.sqrt(sum(axis**2 for axis in _grid()))
    # J1 by its integral: the trapezoid rule is exact for periodic functions.
    angles = 2 * np.pi * (np.arange(128)[None, None] + 0.5) / 128
    bessel = jnp.cos(angles - cutoff * radius[..., None] * np.sin(angles)).mean(-1)
    center = cutoff**2 / (4 * jnp.pi)
    return jnp.where(radius > 0, cutoff * bessel / (2 * jnp.pi * jnp.maximum(radius, 1)), center)


def _cut(kernel: Array, half: Array) -> Array:
    """Keeps 2 `half` + 1 pixels of each side, of sum 1."""
    y, x = _grid()
    kernel = jnp.where(jnp.maximum(abs(y), abs(x)) <= half, kernel, 0)
    return kernel / kernel.sum()


def _grid() -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _identity() -> Array:
    return jnp.zeros((2 * _REACH + 1,) * 2).at[_REACH, _REACH].set(1)


def blur(image: Array, kernel: Array) -> Array:
    """[H, W, C] under a symmetric kernel [21, 21], the borders repeated."""
    height, width, _ = image.shape
    padded = jnp.pad(image, ((_REACH, _REACH), (_REACH, _REACH), (0, 0)), mode="edge")
    # A convolution of 441 taps is slow as such; by Fourier's transform it is a product.
    sides, axes = padded.shape[:2], (0, 1)
    product = jnp.fft.rfft2(padded, sides, axes) * jnp.fft.rfft2(kernel, sides)[..., None]
    found = jnp.fft.irfft2(product, sides, axes)
    return found[2 * _REACH :, 2 * _REACH :][:height, :width].astype(image.dtype)


# Scaling.


def resize(
    image: Array, old: Array, new: Array, canvas: tuple[int, int], mode: Array | int
) -> Array:
    """Scales an image as `torch.nn.functional.interpolate` does, with sizes that are no constants.

    Args:
      image: [H, W, C], of which `old` (h, w) pixels count.
      new: (h', w') that it is scaled to.
      canvas: (H', W') of the result; what is beyond `new` repeats the border.
      mode: place among "area", "bilinear" and "bicubic"; the latter two see the nearest pixels
        alone, so that shrinking aliases.

    Returns:
      [H', W', C].
    """
    rows, columns = (
        _weights(image.shape[n], old[n], new[n], canvas[n], mode) for n in (0, 1)
    )  # fmt: skip
    return jnp.einsum("hy,wx,yxc->hwc", rows, columns, image, optimize="optimal")


def _weights(inputs: int, old: Array, new: Array, outputs: int, mode: Array | int) -> Array:
    """What each pixel of a line takes of those before: [outputs, inputs]."""
    place = jnp.minimum(jnp.arange(outputs), new - 1)
    start, end = place * old // new, -((place + 1) * old // -new)
    taken = jnp.arange(inputs)[None]
    inside = (start[:, None] <= taken) & (taken < end[:, None])
    area = inside / (end - start)[:, None]
    center = (place + 0.5) * old / new - 0.5
    first = jnp.floor(center)

    def taps(kernel, reach: int) -> Array:
        places = first[:, None] + jnp.arange(1 - reach, reach + 1)[None]
        nearest = jnp.clip(places, 0, old - 1).astype(int)
        hot = jax.nn.one_hot(nearest, inputs)
        return jnp.einsum("ok,oki->oi", kernel(jnp.abs(center[:, None] - places)), hot)

    linear = taps(lambda x: jnp.maximum(1 - x, 0), 1)
    return jnp.stack([area, linear, taps(_cubic, 2)])[mode]


def _cubic(x: Array) -> Array:
    """Keys' kernel with a = -0.75, as PyTorch has it."""
    a = -0.75
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    return jnp.where(x < 1, near, a * (((x - 5) * x + 8) * x - 4))


# Noise and JPEG.


def add_noise(
    rng: Array, image: Array, normal: tuple[float, float], poisson: tuple[float, float]
) -> Array:
    """Adds Gaussian noise or, as often, Poisson noise to [H, W, C] in [0, 1].

    Args:
      normal: range of the deviation of Gaussian noise, in levels of 255.
      poisson: range of the strength of Poisson noise, whose variance is a pixel's value / 256 at 1.
    """
    keys = jax.random.split(rng, 5)
    gray = jax.random.bernoulli(keys[0], _GRAY_NOISE)
    noise = jax.random.normal(keys[1], image.shape)
    noise = jnp.where(gray, noise[..., :1], noise)
    light = jnp.where(gray, image @ jnp.array(_LUMA)[:, None], image)
    # 256 photons and more: their number is nearly normal.
    shot = _uniform(keys[2], poisson) * jnp.sqrt(jnp.maximum(light, 0) / 256)
    even = _uniform(keys[3], normal) / 255
    return image + noise * jnp.where(jax.random.bernoulli(keys[4]), even, shot)


def jpeg(image: Array, quality: Array | float) -> Array:
    """What JPEG leaves of an image, with colors at half of the size (4:2:0).

    Args:
      image: [H, W, 3] in [0, 1].
      quality: 1 to 100, as libjpeg counts it.
    """
    height, width, _ = image.shape
    pads = (0, -height % 16), (0, -width % 16), (0, 0)
    ycc = jnp.pad(jnp.round(255 * image), pads, mode="edge") @ _YCC.T
    brightness = _quantize(ycc[..., 0] - 128, _TABLES[0], quality)
    colors = ycc[..., 1:]
    rows, columns, _ = colors.shape
    colors = colors.reshape(rows // 2, 2, columns // 2, 2, 2).mean((1, 3))
    colors = jnp.stack(
        [_quantize(colors[..., n], _TABLES[1], quality) for n in (0, 1)], axis=-1
    )  # fmt: skip
    colors = jnp.repeat(jnp.repeat(colors, 2, 0), 2, 1)
    found = jnp.concatenate([brightness[..., None] + 128, colors], -1) @ _RGB.T
    return jnp.clip(jnp.round(found[:height, :width]), 0, 255) / 255


def _quantize(plane: Array, table: np.ndarray, quality: Array | float) -> Array:
    """[H, W] after its 8x8 blocks were rounded to multiples of a table."""
    factor = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    steps = jnp.clip(jnp.floor((table * factor + 50) / 100), 1, 255)[None, :, None]
    rows, columns = plane.shape
    blocks = plane.reshape(rows // 8, 8, columns // 8, 8)
    found = jnp.einsum("ua,vb,xayb->xuyv", _COSINES, _COSINES, blocks)
    found = jnp.round(found / steps) * steps
    return jnp.einsum("ua,vb,xuyv->xayb", _COSINES, _COSINES, found).reshape(rows, columns)


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Of ITU-T T.871: brightness, and the distances of blue and of red to it.
_YCC = np.stack([_LUMA, (np.eye(3)[2] - _LUMA) / 1.772, (np.eye(3)[0] - _LUMA) / 1.402])
_RGB = np.linalg.inv(_YCC).astype(np.float32)
_YCC = _YCC.astype(np.float32)
_COSINES = np.cos(np.pi / 16 * np.outer(np.arange(8), 2 * np.arange(8) + 1)) / 2
_COSINES = (_COSINES * np.where(np.arange(8) == 0, np.sqrt(0.5), 1)[:, None]).astype(np.float32)
# Steps of the frequencies of brightness and colors at quality 50 (ITU-T T.81, annex K).
_TABLES = np.full((2, 8, 8), 99, np.float32)
_TABLES[0] = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]
_TABLES[1, :4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


# Targets.


def sharpen(images: Array) -> Array:
    """Sharper targets: half of what a blur takes away is added, where that is more than 10 levels.

    The unsharp mask of Real-ESRGAN's code, of a Gaussian of 51 taps, deviation 8.

    Args:
      images: [B, H, W, C] in [-1, 1].
    """
    with jax.default_matmul_precision("float32"):  # TPUs would round to 8 bits
        lost = images - _smooth(images)
        edges = _smooth((jnp.abs(lost) > 20 / 255).astype(images.dtype))
    return images + edges * (jnp.clip(images + 0.5 * lost, -1, 1) - images)


def _smooth(images: Array) -> Array:
    rows, columns = (jnp.asarray(_smoothing(side)) for side in images.shape[1:3])
    return jnp.einsum("hy,wx,byxc->bhwc", rows, columns, images)


def _smoothing(side: int) -> np.ndarray:
    """The Gaussian along a line with mirrored ends, as a matrix [side, side]."""
    taps = np.exp(-0.5 * (np.arange(-25, 26) / 8.0) ** 2)
    mirrored = np.pad(np.eye(side), ((25, 25), (0, 0)), mode="reflect" if side > 1 else "edge")
    return sum(
        tap * mirrored[n : n + side] for n, tap in enumerate(taps / taps.sum())
    ).astype(np.float32)  # fmt: skip
