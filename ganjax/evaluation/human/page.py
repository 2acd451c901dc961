"""Blind A/B comparison by people: the web page that asks; `ganjax.metrics.ballots` counts.

The page holds pictures and random trial names alone; which picture is whose is in a key file
beside it, which raters are not given.
"""

import base64
import hashlib
import html
import io
import math
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ganjax import records
from ganjax.errors import UserError
from ganjax.images import as_pixels, cover
from ganjax.paths import write_atomic

Images = Mapping[str, Callable[[], Any]]  # name -> what gives what `as_pixels` takes

QUESTION = "Which picture is better?"
NAME_LIMIT = 80  # characters of a rater's name
_REPEATED = 0.1  # of the pairs; asked a second time with sides swapped
_MAX_SIDE = 768  # pixels; two such pictures fill a screen
_MAX_LOSSLESS = 256  # pixels; pages of larger pictures in PNG would be too large for a phone


def write_page(
    a: Images,
    b: Images,
    output: Path,
    *,
    pairs: int,
    seed: int,
    question: str = QUESTION,
    names: tuple[str, str] = ("A", "B"),
) -> Path:
    """Writes a self-contained page that asks people to compare, and its key beside it.

    Images are paired by name, suffix aside, where both sets have the same names, and else at
    random. Both pictures of a pair are scaled and cropped to the size of the larger, at most 768
    pixels a side, and encoded alike, as PNG up to 256 pixels a side and else as JPEG. A is on the
    left in half of the trials; a tenth of the pairs comes again at the end with sides swapped.
    The same arguments give the same bytes.

    Args:
      a, b: the two sets.
      output: the page, .html; the key is written to the same name with .key.json.
      pairs: how many pairs are drawn.
      question: what raters are asked.
      names: of the two sets, for the report; they go to the key alone.

    Returns:
      The key's path.

    Raises:
      UserError: too few images, a damaged one, a key of another page is in the way, or `output`
        cannot be written.
    """
    if output.suffix.lower() != ".html":
        raise UserError(f"cannot write {output}: give a name that ends in .html")
    generator = random.Random(seed)
    drawn = _draw_pairs(a, b, names, pairs, generator)
    # Half of the trials have A on the left; a repeated pair has it on the other side.
    lefts = [bool(number % 2) for number in range(pairs)]
    generator.shuffle(lefts)
    order = list(enumerate(lefts))
    repeated = round(_REPEATED * pairs)  # from the first half, so that they are forgotten by then
    again = generator.sample(order[: (pairs + 1) // 2], repeated)
    order += [(pair, not left) for pair, left in again]

    places = list(range(2 * pairs))
    generator.shuffle(places)
    images = [""] * len(places)
    for pair, (name_a, name_b) in enumerate(drawn):
        encoded = _encode_alike(_read(a, name_a), _read(b, name_b))
        images[places[2 * pair]], images[places[2 * pair + 1]] = encoded
    trials, key = [], {}
    for pair, a_is_left in order:
        trial = f"{generator.getrandbits(64):016x}"
        left, right = (2 * pair + side for side in ((0, 1) if a_is_left else (1, 0)))
        trials.append({"id": trial, "left": places[left], "right": places[right]})
        key[trial] = {"pair": pair, "left": "a" if a_is_left else "b"}

    content = {"question": question, "trials": trials, "images": images}
    page = hashlib.sha256(records.dumps(content).encode()).hexdigest()[:16]
    secret = {"page": page, "question": question, "names": names, "pairs": drawn, "trials": key}
    key_text = records.dumps(secret, indent=1).encode()
    beside = key_path(output)
    if beside.is_file() and beside.read_bytes() != key_text:
        raise UserError(f"{beside} is the key of another page; move it, or name another page")
    write_atomic(beside, key_text)
    data = records.dumps({"page": page, "images": images, "trials": trials})
    write_atomic(output, _fill_template(question, data).encode(errors="replace"))
    return beside


def key_path(page: Path) -> Path:
    """Where the key of a page lies."""
    return page.with_suffix(".key.json")


def _draw_pairs(
    a: Images, b: Images, names: tuple[str, str], pairs: int, generator: random.Random
) -> list[tuple[str, str]]:
    if pairs < 1:
        raise UserError(f"{pairs} pairs leave nothing to compare; give 1 or more")
    for name, images in zip(names, (a, b), strict=True):
        if len(images) < pairs:
            raise UserError(f"{name} has {len(images)} images; ask for that many pairs or fewer")
    stems_a, stems_b = (
        {str(PurePosixPath(name).with_suffix("")): name for name in images} for images in (a, b)
    )
    if stems_a.keys() == stems_b.keys() and len(stems_a) == len(a) == len(b):
        return [(stems_a[s], stems_b[s]) for s in generator.sample(sorted(stems_a), pairs)]
    drawn = (generator.sample(sorted(images), pairs) for images in (a, b))
    return list(zip(*drawn, strict=True))


def _read(images: Images, name: str) -> np.ndarray:
    try:
        return as_pixels(images[name](), may_shrink=True)
    except UserError as error:
        raise UserError(f"{name}: {str(error).removeprefix('image ')}; remove it") from error


def _encode_alike(*pair: np.ndarray) -> list[str]:
    """Both pictures as data: URIs of one size and format."""
    height, width = max((image.shape[:2] for image in pair), key=math.prod)
    scale = min(1.0, _MAX_SIDE / max(height, width))
    frame = max(1, round(height * scale)), max(1, round(width * scale))
    lossless = max(frame) <= _MAX_LOSSLESS
    uris = []
    for image in pair:
        content = io.BytesIO()
        picture = cover(Image.fromarray(image), frame)
        if lossless:
            picture.save(content, "PNG", optimize=True)
        else:
            picture.save(content, "JPEG", quality=95, subsampling=0)
        text = base64.b64encode(content.getvalue()).decode()
        uris.append(f"data:image/{'png' if lossless else 'jpeg'};base64,{text}")
    return uris


def _fill_template(question: str, data: str) -> str:
    template = Path(__file__).with_name("page.html").read_text("utf-8")
    sources = []
    for tag in ("style", "script"):  # only the page's own, by hash
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources.append(f"{tag}-src 'sha256-{digest}'")
    policy = ["default-src 'none'", "img-src data:", *sources, "base-uri 'none'"]
    values = {
        "policy": "; ".join([*policy, "form-action 'none'"]),
        "question": html.escape(question),
        "name_limit": str(NAME_LIMIT),
        "data": data.replace("<", "\\u003c"),
    }
    # In one pass, so that a question cannot name a placeholder.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)
