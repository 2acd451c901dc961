"""Measures how good stylized images are: `python -m benchmarks.style_quality --help`."""

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.commands.terminal import check_parent, run_command, start_jax
from ganjax.errors import UserError

EPILOG = """\
example:
  python stylize.py --content photos/ --style paintings/ --output ours/
  python -m benchmarks.style_quality --content photos/ --style paintings/ ours/ theirs/

Each folder of outputs holds <content stem>__<style stem>.png, made by whatever program. Figures
are medians and means over the pairs that ALL folders hold, so that columns compare.

  style loss   squared differences of the means and standard deviations of every channel between
               output and style, mean over channels, summed over layers (AdaIN's equation 13): in
               the normalized VGG-19, in relu4_1 of the VGG-19 compressed 16x, which approximates
               the deeper layer, and in tiny darknet, on which nobody trains stylizers. Lower is
               nearer to the style.
  Gram         squared error of the Gram matrices relative to the style's, summed over layers:
               how channels go together, which tells strokes from colors.
  content loss squared differences of features between output and content.
  SSIM         between output and content, on luminance (as published) and as the mean over RGB.

Style and content pull against each other: compare style losses at equal SSIM, for instance by a
folder for each of several --alpha. The content is scaled, and its center cut out, to the output's
size; the style is scaled until its short side is --style_size, as the stylizer was given it.

Needs vgg19_normalised, vgg19_16x and tiny_darknet of `ganjax weights import`.
"""
VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1")
DEEP_LAYER = "relu4_1"
# After the last layer before each pooling: strides 1, 2, 4 and 8, as relu1_1 to relu4_1.
DARKNET_LAYERS = (1, 2, 6, 10)

# images [1, H, W, 3] in [-1, 1] -> {layer: features [1, h, w, C]}
Perceive = Callable[[Any], dict[str, Any]]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.style_quality",
        description="Measure how near stylized images are to their styles and contents.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--content", required=True, type=Path, metavar="DIR", help="folder of content images")
    add("--style", required=True, type=Path, metavar="DIR", help="folder of style images")
    add("outputs", nargs="+", type=Path, metavar="OUTPUTS", help="folder of stylized images")
    add(
        "--style_size", type=int, default=512, metavar="PIXELS",
        help="short side of the style, as the stylizer was given it (default: 512)",
    )  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write every figure, pair by pair, here")
    arguments = parser.parse_args(argv)
    if arguments.style_size < 16:
        raise UserError(f"--style_size is {arguments.style_size}; give 16 or more pixels")
    check_parent("--json", arguments.json)
    contents, styles = _images(arguments.content), _images(arguments.style)
    outputs = {str(folder): _images(folder) for folder in arguments.outputs}
    pairs = _pairs(outputs, contents, styles)

    start_jax()
    measure = _make_measure(_perceptual(), arguments.style_size)
    figures: dict[str, Any] = {folder: {} for folder in outputs}
    total = len(pairs) * len(outputs)
    for done, ((content, style), folder) in enumerate(itertools.product(pairs, outputs), start=1):
        name = f"{content}__{style}"
        figures[folder][name] = measure(outputs[folder][name], contents[content], styles[style])
        print(f"\r{done}/{total}", end="" if done < total else "\n", file=sys.stderr)
    summaries = {folder: _summary(values) for folder, values in figures.items()}
    print(_table(summaries, len(pairs)))
    if arguments.json:
        _write_json(arguments, summaries, figures)


def _images(folder: Path) -> dict[str, Path]:
    """The images of a folder by their stems."""
    from ganjax.images.formats import SUFFIXES

    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give a folder of images")
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in images:
                raise UserError(f"{path} and {images[path.stem].name} share a stem; rename one")
            images[path.stem] = path
    if not images:
        raise UserError(f"{folder} holds no images; their names end in .png, .jpg and so on")
    return images


def _pairs(
    outputs: dict[str, dict[str, Path]], contents: dict[str, Path], styles: dict[str, Path]
) -> list[tuple[str, str]]:
    """The pairs (content, style) that all folders hold; says how many images are left out."""
    names = {f"{content}__{style}": (content, style) for content in contents for style in styles}
    common = set(names).intersection(*outputs.values())
    for folder, images in outputs.items():
        if not names.keys() & images.keys():
            raise UserError(
                f"{folder} holds no <content>__<style>.png of these contents and styles; "
                "check --content and --style"
            )
        if others := len(images) - len(common):
            print(f"{folder}: {others} images left out, not in all folders", file=sys.stderr)
    if not common:
        raise UserError("no pair is in all the folders; measure them one by one")
    return sorted(names[name] for name in common)


def _perceptual() -> Perceive:
    """The three networks as one function, from layer names of all to features."""
    import jax

    from ganjax import weights
    from ganjax.nets.darknet import TinyDarknet
    from ganjax.nets.vgg import VGG19

    normalized, compressed = weights.load("vgg19_normalised"), weights.load("vgg19_16x")
    vgg = VGG19(last=VGG_LAYERS[-1])
    small = VGG19(last=DEEP_LAYER, width=compressed["conv1_1"]["bias"].shape[0], head_width=64)
    darknet = {"params": weights.load("tiny_darknet")}

    def perceive(images):
        # Accelerators would round the factors of convolutions to fewer bits.
        with jax.default_matmul_precision("highest"):
            features = vgg.apply({"params": normalized}, images, VGG_LAYERS)
            features |= small.apply({"params": compressed}, images, (DEEP_LAYER,))
            layers = TinyDarknet().apply(darknet, images)
            return features | {f"darknet{n}": layers[f"conv{n}"] for n in DARKNET_LAYERS}

    return perceive


def _make_measure(perceive: Perceive, style_size: int) -> Callable[..., dict[str, float]]:
    """(output, content, style), paths of images, -> figures by name."""
    import jax
    import jax.numpy as jnp

    from ganjax.adain import channel_statistics
    from ganjax.images import read_image, resize, to_float
    from ganjax.metrics import similarity

    @jax.jit
    def describe(images):
        """Statistics of every layer, and the features that contents are compared by."""
        features = perceive(images)
        statistics = {}
        for layer, values in features.items():
            pixels = values.reshape(-1, values.shape[-1])
            gram = jnp.matmul(pixels.T, pixels, precision="highest") / len(pixels)
            statistics[layer] = (*channel_statistics(values), gram)
        return statistics, {layer: features[layer] for layer in (VGG_LAYERS[-1], DEEP_LAYER)}

    @jax.jit
    def compare(features, others, images, contents):
        figures = {
            f"content_{layer}": jnp.mean(jnp.square(values - others[layer]))
            for layer, values in features.items()
        }
        grays = similarity.luminance(images), similarity.luminance(contents)
        figures["ssim_luminance"] = similarity.ssim(*grays)[0]
        figures["ssim_rgb"] = similarity.ssim(images, contents)[0]
        return figures

    styles: dict[Path, Any] = {}  # a few hundred kilobytes each
    last: dict[Any, Any] = {}  # of the latest content: pairs come content by content

    def measure(output: Path, content: Path, style: Path) -> dict[str, float]:
        if style not in styles:
            image = read_image(style)
            scale = style_size / min(image.shape[:2])
            size = tuple(round(side * scale) for side in image.shape[:2])
            styles[style] = jax.device_get(describe(to_float(resize(image, size))[None])[0])
        images = to_float(read_image(output))[None]
        key = (content, images.shape)
        if key not in last:
            last.clear()
            contents = to_float(read_image(content, image_size=images.shape[1:3]))[None]
            last[key] = contents, describe(contents)[1]
        contents, content_features = last[key]
        statistics, features = describe(images)
        figures = _style_figures(jax.device_get(statistics), styles[style])
        figures |= compare(features, content_features, images, contents)
        return {name: float(value) for name, value in figures.items()}

    return measure


def _style_figures(output: dict[str, Any], style: dict[str, Any]) -> dict[str, float]:
    """Style losses and Gram distances of every layer, and their sums over a network."""
    losses, grams = {}, {}
    for layer, (mean, std, gram) in output.items():
        style_mean, style_std, style_gram = style[layer]
        losses[layer] = np.mean((mean - style_mean) ** 2 + (std - style_std) ** 2)
        grams[layer] = np.sum((gram - style_gram) ** 2) / np.sum(style_gram**2)
    darknet = [f"darknet{number}" for number in DARKNET_LAYERS]
    figures = {}
    for kind, values in (("style", losses), ("gram", grams)):
        for network, layers in (("vgg", VGG_LAYERS), ("darknet", darknet)):
            figures |= {f"{kind}_{layer}": values[layer] for layer in layers}
            figures[f"{kind}_{network}_sum"] = sum(values[layer] for layer in layers)
        figures[f"{kind}_{DEEP_LAYER}"] = values[DEEP_LAYER]
    return figures


def _summary(pairs: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median and mean of every figure over the pairs."""
    names = next(iter(pairs.values()))
    columns = {name: [figures[name] for figures in pairs.values()] for name in names}
    return {
        name: {"median": float(np.median(values)), "mean": float(np.mean(values))}
        for name, values in columns.items()
    }


def _table(summaries: dict[str, dict[str, dict[str, float]]], pairs: int) -> str:
    width = max(18, *map(len, summaries))
    half = width - width // 2
    lines = [
        [f"{pairs} pairs", *(folder.rjust(width) for folder in summaries)],
        ["", *(["median".rjust(half) + "mean".rjust(width - half)] * len(summaries))],
    ]
    for name in next(iter(summaries.values())):
        cells = (summary[name] for summary in summaries.values())
        numbers = (f"{c['median']:{half}.4f}{c['mean']:{width - half}.4f}" for c in cells)
        lines.append([name, *numbers])
    return "\n".join("  ".join([line[0].ljust(18), *line[1:]]) for line in lines)


def _write_json(arguments: argparse.Namespace, summaries, figures) -> None:
    from ganjax.paths import write_atomic

    report = {
        "content": str(arguments.content),
        "style": str(arguments.style),
        "style_size": arguments.style_size,
        "outputs": {
            folder: {"summary": summaries[folder], "pairs": figures[folder]} for folder in figures
        },
    }
    write_atomic(arguments.json, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
