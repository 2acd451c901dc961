"""Settings for a folder or .zip of images that comes without a config."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ganjax import config as configs
from ganjax.data.source import open_source
from ganjax.errors import UserError
from ganjax.images import read_header
from ganjax.paths import expand

SAMPLE = 64  # images that are looked at
FEW = 1000  # images, below which a GAN learns them by heart
EPOCHS = 25
KIMG = (100, 5000)  # least and most
CPU_RATES = {32: 310, 64: 50}  # images per second on two cores, by the side of the images
CPU_KIMG = {32: 3000, 64: 500}  # most on a CPU: three hours


class Images(NamedTuple):
    """What is known of images before one is decoded.

    Attributes:
      size: number of the files.
      image_size: (H, W), the medians of a sample.
      gray: all of the sample are.
      transparent: parts of some may be.
      classes: how many there are; 0 for none.
    """

    size: int
    image_size: tuple[int, int]
    gray: bool = False
    transparent: bool = False
    classes: int = 0


def find_images(spec: str) -> tuple[str, str] | None:
    """PATH[:VARIANT] of a folder or .zip as (path, variant); None for what names a config.

    The name of a config is that, whatever folders there are; NAME/ is the folder.

    Raises:
      UserError: it looks like a path, and nothing is there.
    """
    head, _, variant = spec.rpartition(":")
    for path, rest in ((spec, ""), (head, variant)):
        path = path.removeprefix("folder:")
        if path in ("", *configs.names()):
            continue
        found = expand(path)
        if found.is_dir() or (found.is_file() and found.suffix != ".py"):
            return path, rest
        if "://" in path and path.endswith(".zip"):
            return path, rest
    name = spec.partition(":")[0]
    if not name.endswith(".py") and (os.sep in name or name.endswith(".zip")):
        raise UserError(
            f"{name} does not exist; give a folder or .zip of images, or a config "
            "(`ganjax train --list`)"
        )
    return None


def name_of(path: str) -> str:
    """What a run on these images is called: as the folder or the .zip."""
    whole = Path(os.path.abspath(expand(path)))
    return (whole.stem if whole.suffix.lower() == ".zip" else whole.name) or "images"


def load(
    path: str, variant: str, overrides: list[str], folder: Path, platform: str
) -> tuple[ConfigDict, list[str]]:
    """The config for images, and lines that tell the user of it.

    Args:
      variant: "" or "smoke".
      folder: of the run; the settings of one that it holds on the same images are taken again.
      platform: that JAX runs on.

    Raises:
      UserError: there is no image, or a variant or override is impossible.
    """
    from ganjax import tasks
    from ganjax.training import workdir

    if "://" not in path and folder.resolve().is_relative_to(expand(path).resolve()):
        raise UserError(
            f"the run's folder {folder} would lie among the images of {path}; give another "
            "--workdir"
        )
    path = path.rstrip(os.sep) or os.sep
    source = f"folder:{path}"
    game = tasks.module("dcgan")
    saved = workdir.load_config(folder) if (folder / workdir.CONFIG).exists() else {}
    again = saved.get("data", {}).get("source") == source
    config = tasks.fill(saved) if again else game.defaults()
    asked = configs.override(config.copy_and_resolve_references(), overrides)
    images = look(source, follow_links=asked.data.follow_links)
    if not again:
        config.data.source = source
        config.update_from_flattened_dict(choose(images, platform))
    smoke = {name: value for name, value in game.SMOKE.items() if name != "data.source"}
    config = configs.with_variants(config, variant, {"smoke": smoke})
    config = configs.override(config, overrides)
    return config, list(_describe(images, config, path, folder, again, platform))


def look(source: str, *, follow_links: bool = False) -> Images:
    """Looks at the headers of some of a source's images.

    Args:
      follow_links: see `ganjax.data.folder.open_files`.

    Raises:
      UserError: there is none, or none of those can be read.
    """
    files: Any = open_source(source, follow_links=follow_links)
    headers, reason = [], ""
    for name in files.names[:: -(-len(files) // SAMPLE)]:
        try:
            headers.append(read_header(files.read(name)))
        except UserError as error:
            reason = reason or f"{name} {str(error).removeprefix('image ')}"
    if not headers:
        raise UserError(f"none of the images of {source} that were looked at can be read: {reason}")
    height, width = np.median([header.image_size for header in headers], axis=0)
    return Images(
        size=len(files),
        image_size=(round(height), round(width)),
        gray=all(header.gray for header in headers),
        transparent=any(header.transparent for header in headers),
        classes=len(files.fields["label"].names) if "label" in files.fields else 0,
    )


def choose(images: Images, platform: str) -> dict[str, Any]:
    """Fields of DCGAN's config that suit images; a function of its arguments alone.

    64x64, or 32x32 where that would enlarge them; 25 epochs, but 100 kimg or more, and no more than
    5000, or what a CPU does in three hours.
    """
    side = 64 if min(images.image_size) >= 64 else 32
    least, most = KIMG
    if platform == "cpu":
        most = CPU_KIMG[side]
    kimg = float(np.clip(round(EPOCHS * images.size / 1000), least, most))
    every = float(np.clip(round(kimg / 50), 2, 20))
    return {
        "data.image_size": str(side),
        "data.channels": 1 if images.gray else 3,
        "data.flip": True,
        "total_kimg": kimg,
        "save_every": every,
        "sample_every": every,
        "ema_half_life_kimg": min(10.0, kimg / 40),
    }


def _describe(
    images: Images, config: ConfigDict, path: str, folder: Path, again: bool, platform: str
) -> Iterator[str]:
    height, width = images.image_size
    yield (
        f"{path}: {images.size:,} images of about {height}x{width} (height x width)"
        + (", gray" if images.gray else "")
        + (", transparent parts on white" if images.transparent else "")
        + (f", {images.classes} classes, which DCGAN does not tell apart" * (images.classes > 1))
    )
    size, kimg, flip = config.data.image_size, config.total_kimg, config.data.flip
    side = int(size) if size.isdecimal() else 0
    used, time = min(images.size, config.data.limit or images.size), ""
    if platform == "cpu" and side in CPU_RATES and not config.model.width:
        minutes = max(1, round(kimg * 1000 / CPU_RATES[side] / 60))
        time = f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
        time = f", about {time} on two CPU cores"
    yield (
        f"{'the settings of' if again else 'chosen for'} {folder}: DCGAN at "
        f"{f'{side}x{side}' if side else size}, {'mirrored at random, ' if flip else ''}"
        f"{kimg:g} kimg ({kimg * 1000 / used:.3g} epochs{time})"
    )
    if again:
        yield "--config.total_kimg=N changes how long it trains; all else needs another --workdir"
        return
    flags = ["--config.total_kimg=N"]
    if platform == "cpu" and side == 64:
        flags.append("--config.data.image_size=32 (6 times as fast)")
    elif side and max(height, width) >= 1.3 * min(height, width):
        wide = f"{side}x{side * 3 // 2}" if width > height else f"{side * 3 // 2}x{side}"
        flags.append(f"--config.data.image_size={wide} (cuts less off)")
    elif side and min(height, width) >= 2 * side:
        flags.append(f"--config.data.image_size={2 * side}")
    if flip:
        flags.append("--config.data.flip=False")
    yield f"change it with {', '.join(flags)}; --help shows all"
    if images.size < FEW:
        yield (
            f"warning: {images.size} images are few: GANs want thousands, and repeat what they "
            "have seen where there are less"
        )
