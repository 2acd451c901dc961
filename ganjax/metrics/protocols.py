"""What a metric's name says: how it is made, of what features, of how many images.

A name is KIND, a number of images, `_full` where the whole reference is meant, and what tells the
features: `fid50k_full`, `fid10k_clean`, `kernel5k_vgg16`, `swd8k`, `psnr`.
"""

import difflib
import re
from typing import NamedTuple

from ganjax.errors import UserError

_DISTRIBUTIONS = {
    "frechet": "Frechet distance",
    "intra_frechet": "Frechet distance within each class, mean over classes,",
    "kernel": "kernel distance",
    "precision_recall": "precision and recall",
    "density_coverage": "density and coverage",
}
_EXTRACTORS = ("vgg16", "tiny_darknet", "avatars")
# Names that belong to one network, whatever else could be measured in the same way.
_PUBLISHED = {
    "fid": ("frechet", "inception"),
    "kid": ("kernel", "inception"),
    "is": ("inception_score", "inception"),
    "pr": ("precision_recall", "vgg16_fc2"),
    "dc": ("density_coverage", "vgg16_fc2"),
}
_CLASSIFIED = (
    ("attributes", "avatars"), ("accuracy", "fashion_mnist"), ("modes", "stacked"),
)  # fmt: skip
_RESIZINGS = ("clean", "pytorch")  # of Inception; without one it is "tf1"
# Y without so many pixels of the border: the scales of super-resolution.
LUMA = {f"y{border or ''}": border for border in (0, 2, 3, 4)}
_PAIRED = {
    **{name: (name, "") for name in ("psnr", "ssim", "ms_ssim", "iou", "dice")},
    **{
        f"{kind}_{network}": (kind, network)
        for kind in ("style_loss", "content_loss", "gram_distance")
        for network in ("vgg19", "vgg19_16x")
    },
    **{f"{kind}_vgg16": (kind, "vgg16") for kind in ("style_loss", "gram_distance")},
    **{f"{kind}_{luma}": (kind, luma) for kind in ("psnr", "ssim") for luma in LUMA},
    "lpips_vgg": ("lpips", "vgg16"),
    "lpips_alex": ("lpips", "alexnet"),
}
_FEWEST = {
    "frechet": 2,
    "intra_frechet": 2,
    "kernel": 2,
    "inception_score": 10,  # its splits
    "precision_recall": 4,  # a 3rd neighbor beside the point itself
    "density_coverage": 6,
    "attributes": 1,
    "accuracy": 1,
    "modes": 1,
    "sliced_wasserstein": 1,
    "warping_error": 1,
}
_EXAMPLES = (
    *("fid{n}_full", "fid{n}", "fid{n}_clean", "fid{n}_pytorch", "kid{n}", "is{n}"),
    *("pr{n}", "dc{n}", "swd{n}", "attributes{n}_avatars", "accuracy{n}_fashion_mnist"),
    *("modes{n}_stacked", "warping_error{n}", *_PAIRED),
    *(f"{kind}{{n}}_{extractor}" for extractor in _EXTRACTORS for kind in _DISTRIBUTIONS),
)
_FORM = re.compile(r"(?P<kind>[a-z_]+?)(?P<n>[1-9][0-9]*)(?P<k>k?)(?P<full>_full)?(_(?P<of>\w+))?")


class Protocol(NamedTuple):
    """A metric as its name defines it.

    Attributes:
      name: as the user gave it.
      kind: "frechet", "intra_frechet", "kernel", "inception_score", "precision_recall",
        "density_coverage", "attributes", "accuracy", "modes", "sliced_wasserstein",
        "warping_error" of videos, or one of pairs of images: "psnr", "ssim", "ms_ssim", "iou",
        "dice", "style_loss", "content_loss", "gram_distance", "lpips".
      size: generated images, and reference images unless `full`; 0 for all pairs; of videos, from
        which frame to which later one.
      full: the reference is the whole of its set.
      extractor: whose features are compared; "" where the pixels are, "y4" for their Y (BT.601, 16
        to 235) without a border of 4 pixels.
      resizing: the extractor's dialect; "" for its own.
    """

    name: str
    kind: str
    size: int = 0
    full: bool = False
    extractor: str = ""
    resizing: str = ""

    @property
    def paired(self) -> bool:
        """Compares images of the same name one by one."""
        return self.name in _PAIRED

    @property
    def of_labels(self) -> bool:
        """Compares label maps, by their pixels in all pairs together."""
        return self.kind in ("iou", "dice")

    @property
    def of_video(self) -> bool:
        """Compares frames of one video."""
        return self.kind == "warping_error"

    @property
    def sizes_may_differ(self) -> bool:
        """Compares pairs by statistics of all their pixels."""
        return self.kind in ("style_loss", "gram_distance")

    @property
    def one_sided(self) -> bool:
        """Needs no reference."""
        return self.kind in ("accuracy", "inception_score", "modes")

    @property
    def lower_is_better(self) -> bool:
        return self.kind in ("frechet", "intra_frechet", "kernel", "sliced_wasserstein")

    @property
    def text(self) -> str:
        """One line that says what was measured."""
        if self.of_labels:
            return f"{self.name} of the pixels of all pairs, mean over the classes that are there"
        if self.of_video:
            return f"mean squared change of what is seen again after {self.size} frames, in [0, 1]"
        if self.paired:
            of = ""
            if self.extractor in LUMA:
                of = f" of Y (BT.601, 16 to 235) but for {LUMA[self.extractor]} pixels of border"
            return f"{self.name}{of}, mean over all pairs of images of the same name"
        what = _DISTRIBUTIONS.get(self.kind, self.kind.replace("_", " "))
        of = f" on {self.extractor}" + (f", resized as {self.resizing}" if self.resizing else "")
        real = "all real ones" if self.full else f"{self.size} real ones"
        against = "" if self.one_sided else f" against {real}"
        return f"{what}{of if self.extractor else ''}: {self.size} generated images{against}"


class Statistic(NamedTuple):
    """What a metric has to know of one set of images.

    Attributes:
      what: "moments", "features", "logits" (of an extractor) or "patches" (of the images).
      extractor, resizing: as in `Protocol`.
      size: number of images.
      whole: of all there are: those that turn out to be broken are missing.
    """

    what: str
    extractor: str
    resizing: str
    size: int
    whole: bool = False


def parse(names: str, *, video: bool = False) -> tuple[Protocol, ...]:
    """Parses names separated by commas, e.g. "fid10k,kid10k"; one that comes twice counts once.

    Args:
      video: a stylized video is measured: by warping errors and style distances, by nothing else.

    Raises:
      UserError: a name is unknown (the message has the nearest one), its number too small, or it is
        not for a video, or for nothing else.
    """
    given = dict.fromkeys(name.strip() for name in names.split(",") if name.strip())
    if not given:
        raise UserError("no metric is named; give for example frechet5k_avatars")
    found = tuple(map(_parse, given))
    for protocol in found:
        if video and not (protocol.of_video or protocol.sizes_may_differ):
            raise UserError(
                f"{protocol.name} is not for videos; there are warping_error1, warping_error10 and "
                "the like, style_loss_vgg16 and gram_distance_vgg16 (_vgg19, _vgg19_16x)"
            )
        if protocol.of_video and not video:
            raise UserError(f"{protocol.name} is for videos; `ganjax evaluate --video` measures it")
    return found


def _parse(name: str) -> Protocol:
    if name in _PAIRED:
        kind, extractor = _PAIRED[name]
        return Protocol(name, kind, extractor=extractor)
    match = _FORM.fullmatch(name)
    fields = _fields(match["kind"], match["of"] or "") if match else None
    if not match or not fields:
        raise _unknown(name)
    kind, extractor, resizing = fields
    count = int(match["n"]) * (1000 if match["k"] else 1)
    full = bool(match["full"])
    protocol = Protocol(name, kind, count, full, extractor, resizing)
    if full and protocol.one_sided:
        raise UserError(f"{name}: {kind} uses no reference; leave _full out")
    if full and kind == "sliced_wasserstein":
        raise UserError(f"{name}: SWD compares equally many patches; leave _full out")
    if full and protocol.of_video:
        raise UserError(f"{name}: a video has no full set; leave _full out")
    if count < _FEWEST[kind]:
        raise UserError(f"{name} is of too few images; give {_FEWEST[kind]} or more")
    return protocol


def _fields(kind: str, of: str) -> tuple[str, str, str] | None:
    """Kind, extractor and resizing of a name's two words; None where there is no such metric."""
    if kind in _PUBLISHED:
        metric, extractor = _PUBLISHED[kind]
        own = "tf1" if extractor == "inception" else ""
        if not of or own and of in _RESIZINGS:
            return metric, extractor, of or own
    elif kind in _DISTRIBUTIONS and of in _EXTRACTORS:
        return kind, of, ""
    elif (kind, of) in _CLASSIFIED:
        return kind, of, ""
    elif kind == "swd" and not of:
        return "sliced_wasserstein", "", ""
    elif kind == "warping_error" and not of:
        return kind, "", ""
    return None


def _unknown(name: str) -> UserError:
    number = re.search(r"[0-9]+k?", name)
    known = [example.format(n=number[0] if number else "5k") for example in _EXAMPLES]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    else:
        hint = f"there is {', '.join(example.format(n='5k') for example in _EXAMPLES[:8])} and more"
    return UserError(f"metric {name!r} is unknown; {hint}")


def statistics(protocol: Protocol, whole: int) -> tuple[Statistic, Statistic | None]:
    """What a metric of distributions needs of the generated and of the reference images.

    Args:
      whole: images in the reference, which `_full` means.
    """
    what = {
        "frechet": "moments",
        "inception_score": "logits",
        "accuracy": "logits",
        "attributes": "logits",
        "modes": "logits",
        "sliced_wasserstein": "patches",
    }.get(protocol.kind, "features")
    generated = Statistic(what, protocol.extractor, protocol.resizing, protocol.size)
    if protocol.one_sided:
        return generated, None
    return generated, generated._replace(size=whole, whole=True) if protocol.full else generated
