"""What a person would see of every option of stylize.py, on the model in the package.

On portraits that are embedded, and on photographs and paintings where GANJAX_TEST_DATA names them.
"""

import io
import zipfile
from functools import cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ganjax import Stylizer, weights
from ganjax.commands import stylize
from ganjax.data import avatars
from ganjax.images import contained, opaque, to_float
from ganjax.metrics.similarity import luminance, ssim

pytestmark = pytest.mark.skipif(
    not (weights.BUNDLED / "adain_compact.safetensors").exists(),
    reason="the trained weights are not in the package",
)
SIDE = 192
PHOTOS = ("n02980441_castle", "n02361337_marmot", "n02667093_abaya")
PAINTINGS = ("mst_21styles_016", "jcjohnson_style_044", "titu_style_027")


def square(image: Image.Image, side: int) -> Image.Image:
    short = min(image.size)
    left, top = ((length - short) // 2 for length in image.size)
    image = image.convert("RGB").crop((left, top, left + short, top + short))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def pick(path: Path, names: tuple[str, ...], side: int) -> list[Image.Image]:
    with zipfile.ZipFile(path) as archive:
        found = [next(n for n in archive.namelist() if name in n) for name in names]
        return [square(Image.open(io.BytesIO(archive.read(name))), side) for name in found]


class Pictures:
    """A folder with contents c0.png, c1.png .. and styles s0.png, s1.png .., and what is drawn."""

    def __init__(self, folder: Path, contents, styles):
        self.folder, self._count = folder, 0
        for letter, images in (("c", contents), ("s", styles)):
            for number, image in enumerate(images):
                image.save(folder / f"{letter}{number}.png")
        self.count = len(contents)
        self.draw = cache(self._draw)

    def content(self, number: int = 0) -> np.ndarray:
        return load(self.folder / f"c{number}.png")

    def style(self, number: int = 0) -> np.ndarray:
        return load(self.folder / f"s{number}.png")

    def save(self, name: str, image: np.ndarray) -> str:
        Image.fromarray(image).save(self.folder / name)
        return name

    def mask(self, name: str, mask: np.ndarray) -> str:
        return self.save(name, np.uint8(np.round(255 * mask)))

    def _draw(self, words: str, content: str = "c0.png", style: str = "s0.png") -> np.ndarray:
        """The picture that the command makes; names of files in `words` begin with @."""
        self._count += 1
        output = self.folder / f"out{self._count}.png"
        prefixed = [
            str(self.folder / word[1:]) if word[0] == "@" else word for word in words.split()
        ]
        styles = [str(self.folder / name) for name in style.split()]
        argv = ["--content", str(self.folder / content), "--style", *styles]
        stylize.main([*argv, "--style_size", str(SIDE), "--output", str(output), *prefixed])
        return load(output)


@pytest.fixture(scope="module", params=["avatars", "photos"])
def pictures(request, tmp_path_factory) -> Pictures:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "avatars":
        drawn = avatars.render(np.arange(3), image_size=(64, 64))["image"]
        images = [Image.fromarray(np.asarray(image)) for image in drawn]
        images = [image.resize((SIDE, SIDE), Image.Resampling.BICUBIC) for image in images]
        return Pictures(folder, images[:1], [images[2], images[1]])
    data = request.getfixturevalue("test_data")
    photos = pick(data / "photos1000_256.zip", PHOTOS, SIDE)
    return Pictures(folder, photos, pick(data / "styles_512.zip", PAINTINGS, SIDE))


def load(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of luminance."""
    a, b = (luminance(jnp.asarray(to_float(x))) for x in (a, b))
    return float(ssim(a, b))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def center() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE))
    mask[SIDE // 6 : -SIDE // 6, SIDE // 6 : -SIDE // 6] = 1
    return mask


def left() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE))
    mask[:, : SIDE // 2] = 1
    return mask


def names(pictures: Pictures) -> list[str]:
    return [f"c{number}.png" for number in range(pictures.count)]


def test_a_style_shows(pictures):
    """The content is recognized, its colors are the style's."""
    for content in names(pictures):
        drawn, image = pictures.draw("", content), load(pictures.folder / content)
        style = pictures.style()
        assert alike(drawn, image) > 0.15 and distance(drawn, image) > 12
        own, wanted = (np.abs(drawn.mean((0, 1)) - x.mean((0, 1))).mean() for x in (image, style))
        assert wanted < max(own, 12)


def test_the_inside_of_a_mask_looks_as_without_it(pictures):
    mask = center()
    words = f"--content_mask @{pictures.mask('center.png', mask)}"
    inner, inside = np.s_[SIDE // 6 : -SIDE // 6, SIDE // 6 : -SIDE // 6], mask > 0
    for content in names(pictures):
        plain, drawn = pictures.draw("", content), pictures.draw(words, content)
        image = load(pictures.folder / content)
        np.testing.assert_array_equal(drawn[~inside], image[~inside])
        assert alike(drawn[inner], plain[inner]) > 0.6
        assert distance(drawn[inner], plain[inner]) < 30
        # No halo: along the border the two differ no more than farther inside.
        change = np.abs(drawn.astype(float) - plain).mean(axis=2)[inner]
        band = np.ones_like(change, bool)
        band[4:-4, 4:-4] = False
        assert change[band].mean() < 1.5 * change[~band].mean() + 5


def test_two_regions_look_like_their_styles_alone(pictures):
    half = left()
    first, second = (pictures.draw("", style=name) for name in ("s0.png", "s1.png"))
    masks = [pictures.mask("left.png", half), pictures.mask("right.png", 1 - half)]
    words = f"--style_weights 1 3 --content_mask @{masks[0]} @{masks[1]}"
    drawn = pictures.draw(words, style="s0.png s1.png")
    assert distance(first, second) > 10
    wanted = np.where(half[..., None] > 0, first, second)
    assert np.abs(drawn.astype(int) - wanted).max() <= 1


def test_a_soft_mask_goes_over_smoothly(pictures):
    ramp = np.broadcast_to(np.linspace(0, 1, SIDE), (SIDE, SIDE))
    words = f"--content_mask @{pictures.mask('ramp.png', ramp)}"
    drawn, plain, content = pictures.draw(words), pictures.draw(""), pictures.content()
    change, whole = (np.abs(x.astype(float) - content).mean(axis=(0, 2)) for x in (drawn, plain))
    quarter = SIDE // 4
    share = [change[n * quarter :][:quarter].sum() / whole[n * quarter :][:quarter].sum()
             for n in range(4)]  # fmt: skip
    assert share == sorted(share) and share[0] < 0.35 and share[3] > 0.65


def test_a_style_mask_is_that_part_of_the_style(pictures):
    half = left()
    words = f"--style_mask @{pictures.mask('left.png', half)}"
    pictures.save("half.png", pictures.style()[:, : SIDE // 2])
    drawn = pictures.draw(words)
    # Of the same scale: the short side of the part is half as long.
    cut = pictures.draw(f"--style_size {SIDE // 2}", style="half.png")
    assert alike(drawn, cut) > 0.85
    assert distance(drawn, cut) < 0.5 * distance(pictures.draw(""), pictures.content())


def test_mixtures_lie_between(pictures):
    first, second = (pictures.draw("", style=name) for name in ("s0.png", "s1.png"))
    gaps = []
    for share in (1.0, 0.7, 0.3, 0.0):
        mixed = pictures.draw(f"--style_weights {share} {1 - share}", style="s0.png s1.png")
        gaps.append((distance(mixed, first), distance(mixed, second)))
    assert gaps[0][0] < 0.01 and gaps[3][1] < 0.01
    assert [a for a, _ in gaps] == sorted(a for a, _ in gaps)
    assert [b for _, b in gaps] == sorted((b for _, b in gaps), reverse=True)


def test_strength_goes_from_content_to_style(pictures):
    content, full = pictures.content(), pictures.draw("")
    drawn = [pictures.draw(f"--alpha {alpha}") for alpha in (0, 0.5, 1)]
    np.testing.assert_array_equal(drawn[2], full)
    assert np.abs(drawn[0].astype(int) - content).max() <= 1
    gaps = [distance(image, content) for image in drawn]
    assert gaps == sorted(gaps)
    likeness = [alike(image, content) for image in drawn]
    assert likeness[0] > likeness[2]


def test_luminance_keeps_the_colors_of_the_content(pictures):
    drawn, content = pictures.draw("--preserve_color luminance"), pictures.content()
    plain = pictures.draw("")
    inner = np.all((drawn > 0) & (drawn < 255), axis=2)
    assert inner.mean() > 0.4
    chroma = [x[inner].astype(float) - x[inner].mean(axis=1, keepdims=True) for x in
              (drawn, content)]  # fmt: skip
    assert np.abs(chroma[0] - chroma[1]).max() < 2
    assert alike(drawn, plain) > 0.75


def test_coral_takes_the_colors_of_the_content(pictures):
    drawn, content = pictures.draw("--preserve_color coral"), pictures.content()
    plain = pictures.draw("")
    gaps = [np.abs(x.mean((0, 1)) - content.mean((0, 1))).mean() for x in (drawn, plain)]
    assert gaps[0] < max(0.6 * gaps[1], 12)
    assert distance(drawn, content) > 8


@pytest.mark.parametrize("masked", [False, True])
def test_tiles_are_not_seen(pictures, masked):
    words, style = "", "s0.png"
    if masked:
        soft = np.clip(np.linspace(-1, 2, SIDE), 0, 1) * center()
        masks = [pictures.mask("a.png", soft), pictures.mask("b.png", (1 - soft) * center())]
        words = f"--style_weights 1 2 --content_mask @{masks[0]} @{masks[1]} --alpha 0.8"
        style = "s0.png s1.png"
    whole, tiled = (
        pictures.draw(words, style=style),
        pictures.draw(f"{words} --tile 48", style=style),
    )
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_transparency_is_kept(pictures):
    alpha = np.uint8(np.clip(np.linspace(-100, 400, SIDE), 0, 255))
    rgba = np.dstack([pictures.content(), np.broadcast_to(alpha, (SIDE, SIDE))])
    drawn = pictures.draw("", pictures.save("rgba.png", rgba))
    as_seen = pictures.draw("", pictures.save("seen.png", opaque(rgba)))
    np.testing.assert_array_equal(drawn[..., 3], rgba[..., 3])
    clear = alpha == 255
    np.testing.assert_array_equal(drawn[:, clear, :3], as_seen[:, clear])


def test_crop_is_the_center_square(pictures):
    wide = np.concatenate([pictures.content()[:, ::-1], pictures.content()], axis=1)
    cut = pictures.save("cut.png", wide[:, SIDE // 2 : -SIDE // 2])
    drawn = pictures.draw("--crop", pictures.save("wide.png", wide))
    np.testing.assert_array_equal(drawn, pictures.draw("", cut))


def test_size_is_the_short_side(pictures):
    drawn = pictures.draw("--size 96")
    assert drawn.shape == (96, 96, 3)
    small = np.asarray(Image.fromarray(pictures.draw("")).resize((96, 96)))
    assert np.abs(drawn.mean((0, 1)) - small.mean((0, 1))).max() < 30


def test_style_size_is_the_size_of_strokes(pictures):
    """The statistics change, the colors and the content do not."""
    plain, small = pictures.draw(""), pictures.draw(f"--style_size {SIDE // 2}")
    assert distance(plain, small) > 1
    assert np.abs(plain.mean((0, 1)) - small.mean((0, 1))).max() < 20
    assert alike(plain, small) > 0.5


def test_a_grid_shows_all(pictures):
    cell, step = stylize.CELL, stylize.CELL + 2
    sheet = pictures.draw("--grid", style="s0.png s1.png")
    assert sheet.shape == (2 * step + 2, 3 * step + 2, 3)
    shown = [pictures.content(), *(pictures.draw("", style=f"s{n}.png") for n in (0, 1))]
    for column, image in enumerate(shown):
        part = sheet[2 + step :, 2 + column * step :][:cell, :cell]
        np.testing.assert_array_equal(part, contained(image, cell))


def test_what_moves_keeps_its_strokes_with_the_model_for_clips(pictures):
    """Frames that pan by whole pixels are compared where they show the same."""
    image, style, step, side = pictures.content(), pictures.style(), 3, SIDE - 32
    places = [step * number for number in range(8)]
    clip = [image[16 : 16 + side, place : place + side] for place in places]
    change = {}
    for name in ("compact", "compact_video"):
        frames = list(Stylizer.load(name).frames(clip, style))
        pairs = zip(frames, frames[1:], strict=False)
        change[name] = np.mean([distance(a[:, step:], b[:, :-step]) for a, b in pairs])
        assert distance(frames[0], clip[0]) > 12
        shift = frames[0].mean((0, 1)) - style.mean((0, 1))
        assert np.abs(shift).max() < 0.6 * np.abs(clip[0].mean((0, 1)) - style.mean((0, 1))).max()
    assert change["compact_video"] < 0.75 * change["compact"]
