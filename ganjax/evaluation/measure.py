"""Metrics of sets of images: each set goes through each extractor once, whatever is measured."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh

from ganjax.data.avatars import ATTRIBUTES
from ganjax.data.avatars.occlusion import hide
from ganjax.data.label_maps import UNLABELED
from ganjax.errors import UserError
from ganjax.evaluation.sets import ImageSet, PairOfFiles
from ganjax.images import to_float
from ganjax.metrics import attributes, extractors, pairs, segmentation
from ganjax.metrics.frechet import Moments, MomentsStream, frechet_distance
from ganjax.metrics.inception_score import inception_score
from ganjax.metrics.kernel import fitting_size, kernel_distance
from ganjax.metrics.manifold import density_coverage, precision_recall
from ganjax.metrics.modes import FASHION_MNIST, count_modes
from ganjax.metrics.protocols import Protocol, Statistic
from ganjax.metrics.protocols import statistics as statistics_of
from ganjax.metrics.sliced_wasserstein import check_size, sliced_wasserstein
from ganjax.metrics.statistics import (
    Collector,
    Values,
    cache_path,
    load_cached,
    make_collector,
    save_cached,
)
from ganjax.progress import bar
from ganjax.training import devices


class Program(NamedTuple):
    """An extractor as a compiled function.

    Attributes:
      digest: of its weights and protocol; "" of the pixels themselves.
      run: images of a batch -> named arrays, the same on all devices.
    """

    digest: str
    run: Callable[[Array], Mapping[str, Array]]


class Result(NamedTuple):
    """What a metric came to.

    Attributes:
      values: by name; the first one is the metric's own.
      digest: of the extractor.
      size: number of generated images, or pairs.
      reference_size: images of the reference; 0 without one.
    """

    protocol: Protocol
    values: dict[str, float]
    digest: str
    size: int
    reference_size: int


def weights_of(wanted: Sequence[Protocol]) -> tuple[str, ...]:
    """Names of the weights that metrics need, each once."""
    names: dict[str, None] = {}
    for p in wanted:
        own = (extractors.weights_of(p.extractor),) if p.extractor else ()
        names |= dict.fromkeys(pairs.weights_of(p.extractor) if p.paired else own)
    return tuple(names)


def load_programs(wanted: Sequence[Protocol], mesh: Mesh) -> dict[tuple[str, str], Program]:
    """The extractors that metrics need, by (extractor, resizing).

    Raises:
      UserError: weights are missing; the message names the command that gets them.
    """
    return {
        key: _load_program(*key, mesh)
        for key in dict.fromkeys((p.extractor, p.resizing) for p in wanted if not p.paired)
    }


def _load_program(name: str, resizing: str, mesh: Mesh) -> Program:
    everywhere = devices.replicated(mesh)
    if not name:
        return Program("", jax.jit(lambda images: {"images": images}, out_shardings=everywhere))
    options: dict[str, Any] = {"resizing": resizing} if resizing else {}
    extractor = extractors.load(name, **options)
    variables = jax.device_put(extractor.variables, everywhere)
    apply = jax.jit(extractor.apply, out_shardings=everywhere)
    return Program(extractor.digest, lambda images: apply(variables, images))


def measure(
    wanted: Sequence[Protocol],
    generated: ImageSet,
    reference: ImageSet | None,
    programs: Mapping[tuple[str, str], Program],
    *,
    batch_size: int,
    keep: bool = False,
    progress: bool = True,
) -> tuple[list[Result], dict[str, np.ndarray]]:
    """Measures generated images against a reference.

    Args:
      wanted: metrics of distributions, not of pairs.
      reference: None where no metric needs one.
      programs: from `load_programs`.
      batch_size: images at a time, a multiple of the number of devices.
      keep: return features, too.
      progress: show a bar for each set.

    Returns:
      A result per metric, and with `keep` the features of as many images as the metrics need, by
      "generated/EXTRACTOR" and "reference/EXTRACTOR".

    Raises:
      UserError: a set has too few images, or a metric needs a reference and there is none.
    """
    needs = [check_needs(protocol, generated, reference) for protocol in wanted]
    found: list[dict[Statistic, Values]] = []
    features: dict[str, np.ndarray] = {}
    for side, images in (("generated", generated), ("reference", reference)):
        own = [statistic for need in needs if (statistic := need[len(found)])]
        extra = _features(own) if keep else {}
        needed = [*own, *extra.values()]
        values = {}
        if images:
            values = gather(
                images, needed, programs, side, batch_size=batch_size, progress=progress
            )
        features |= {f"{side}/{name}": values[s]["features"] for name, s in extra.items()}
        found.append(values)
    results = []
    for protocol, (a, b) in zip(wanted, needs, strict=True):
        ours, theirs = found[0][a], found[1][b] if b else {}
        if protocol.kind == "accuracy":  # of what images were asked for: no statistic of theirs
            scores = _accuracy_of_classes(protocol, generated, ours["logits"])
        elif protocol.kind == "intra_frechet":
            assert reference  # by `check_needs`
            sides = (generated, ours["features"]), (reference, theirs["features"])
            scores = _intra_frechet(protocol, *sides)
        else:
            scores = compare(protocol, ours, theirs)
        if protocol.kind == "attributes":
            scores |= _accuracy("", generated, ours["logits"])
            scores |= _accuracy("reference_", reference, theirs["logits"])
        digest = programs[protocol.extractor, protocol.resizing].digest
        results.append(Result(protocol, scores, digest, a.size, _size(b, found[1])))
    return results, features


def _size(statistic: Statistic | None, found: Mapping[Statistic, Values]) -> int:
    """Of the images that a statistic was taken of."""
    if statistic is None or not statistic.whole:
        return statistic.size if statistic else 0
    values = found[statistic]
    return int(values["count"]) if "count" in values else len(next(iter(values.values())))


def check_needs(
    protocol: Protocol, generated: ImageSet, reference: ImageSet | None
) -> tuple[Statistic, Statistic | None]:
    """The statistics that a metric takes of either set.

    Raises:
      UserError: a set is known to have too few images for them, or images of a wrong size.
    """
    if reference is None and not protocol.one_sided:
        raise UserError(f"{protocol.name} needs a reference; give --reference=SOURCE")
    if protocol.kind == "accuracy" and not generated.classes:
        raise _not_asked(protocol)
    sets = [images for images in (generated, reference) if images]
    for images in sets:
        if protocol.kind == "intra_frechet" and not images.classes:
            raise UserError(
                f"{protocol.name} compares class by class, and {images.name} has no classes; "
                "folders name those of files"
            )
    if protocol.kind == "sliced_wasserstein":
        sizes = ["x".join(map(str, images.image_size)) for images in sets]
        if sizes[0] != sizes[1]:
            raise UserError(
                f"{protocol.name} compares pixels, but images are {sizes[0]} and {sizes[1]}; "
                f"--image_size={sizes[0]} scales and crops them"
            )
        check_size(generated.image_size)
    needs = statistics_of(protocol, reference.size or 0 if reference else 0)
    for images, need in zip(sets, needs, strict=False):
        if need and images.size is not None and images.size < need.size:
            raise _too_few(images.name, images.size, need.size, protocol.name)
    return needs


def _features(own: Sequence[Statistic]) -> dict[str, Statistic]:
    """The features to keep of each extractor: of the largest number of images."""
    largest: dict[str, Statistic] = {}
    for s in sorted(own, key=lambda s: s.size):
        if s.extractor:
            name = s.extractor + (f"_{s.resizing}" if s.resizing else "")
            largest[name] = s._replace(what="features")
    return largest


def _too_few(name: str, size: int, needed: int, metric: str) -> UserError:
    return UserError(
        f"{name} has {size} images, {metric} needs {needed}; give more, or a metric of fewer: the "
        "number in its name is free"
    )


def gather(
    images: ImageSet,
    wanted: Sequence[Statistic],
    programs: Mapping[tuple[str, str], Program],
    label: str,
    *,
    batch_size: int,
    progress: bool = True,
) -> dict[Statistic, Values]:
    """Statistics of a set: from the cache where its digest is known there, else in one pass.

    Args:
      label: of the progress bar.

    Raises:
      UserError: there are fewer good images than needed, or the cache cannot be written to.
    """
    values: dict[Statistic, Values] = {}
    collectors: dict[Statistic, Collector] = {}
    paths: dict[Statistic, Path] = {}
    for statistic in dict.fromkeys(wanted):
        kept = None
        if _cached(images, statistic):
            extractor = programs[statistic.extractor, statistic.resizing].digest
            paths[statistic] = cache_path(statistic, images=images.digest, extractor=extractor)
            kept = load_cached(paths[statistic])
        if kept is None:
            collectors[statistic] = make_collector(statistic)
        else:
            values[statistic] = kept
    if not collectors:
        return values
    count = max(statistic.size for statistic in collectors)
    seen = 0

    def add(outputs: Mapping[tuple[str, str], Any], first: int, valid: int) -> None:
        for key, arrays in jax.device_get(outputs).items():
            for statistic, collector in collectors.items():
                rows = min(valid, statistic.size - first)
                if (statistic.extractor, statistic.resizing) == key and rows > 0:
                    collector.add({name: array[:rows] for name, array in arrays.items()})

    with bar(count, label=label, shown=progress, leave=False) as counter:
        pending = None
        for batch, valid in images.batches(count, batch_size):
            running = {(s.extractor, s.resizing) for s in collectors if s.size > seen}
            outputs = {key: programs[key].run(batch) for key in running}
            if pending:  # while the device is busy with this batch
                add(*pending)
            pending = outputs, seen, valid
            seen += valid
            counter.update(valid)
        if pending:
            add(*pending)
    needed = max((2 if s.whole else s.size for s in collectors), default=0)
    if seen < needed:
        raise _too_few(images.name, seen, needed, "a metric")
    for statistic, collector in collectors.items():
        values[statistic] = collector.finish()
        if _cached(images, statistic):  # by every process: all must find it, or none
            save_cached(paths[statistic], values[statistic])
    return values


def _cached(images: ImageSet, statistic: Statistic) -> bool:
    # Patches are larger than the images that they were cut out of.
    return bool(images.digest) and statistic.what != "patches"


def compare(protocol: Protocol, generated: Values, reference: Values) -> dict[str, float]:
    """A metric's values from what it knows of both sides; the first one is the metric's own."""
    match protocol.kind:
        case "frechet":
            moments = (
                Moments(int(v["count"]), v["mean"], v["covariance"]) for v in (reference, generated)
            )
            return {"value": frechet_distance(*moments)}
        case "kernel":
            features = reference["features"], generated["features"]
            size = fitting_size(*map(len, features))
            distance = _with_deviation(kernel_distance(*features, subset_size=size))
            return {**distance, "subset_size": size}
        case "inception_score":
            return _with_deviation(inception_score(generated["logits"]))
        case "precision_recall":
            both = precision_recall(reference["features"], generated["features"])
            return dict(zip(("precision", "recall"), both, strict=True))
        case "density_coverage":
            both = density_coverage(reference["features"], generated["features"])
            return dict(zip(("density", "coverage"), both, strict=True))
        case "sliced_wasserstein":
            sides = ({int(n): v for n, v in side.items()} for side in (reference, generated))
            levels = sliced_wasserstein(*sides)
            each = {f"value_{side}": distance for side, distance in levels.items()}
            return {"value": float(np.mean(list(levels.values()))), **each}
        case "attributes":
            return _attributes(generated["logits"], reference["logits"])
        case "modes":
            logits = generated["logits"]
            modes = count_modes(logits.reshape(len(logits), -1, len(FASHION_MNIST)))
            return {"value": modes.reached, "reverse_kl": modes.reverse_kl}
    raise AssertionError(protocol.kind)


def _with_deviation(pair: tuple[float, float]) -> dict[str, float]:
    return dict(zip(("value", "deviation"), pair, strict=True))


def _attributes(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Which combinations of attributes are drawn, as share of those that are among real ones."""
    drawn, seen = (hide(attributes.predict(logits, ATTRIBUTES)) for logits in (generated, real))
    covered = {name: c.share for name, c in attributes.coverage(drawn, seen, ATTRIBUTES).items()}
    distances = attributes.histogram_distances(drawn, seen, ATTRIBUTES)
    return {
        "coverage": float(np.mean(list(covered.values()))),
        **{f"coverage_{name}": share for name, share in covered.items()},
        "histogram_distance": float(np.mean(list(distances.values()))),
        **{f"histogram_distance_{name}": value for name, value in distances.items()},
    }


def _accuracy(side: str, images: ImageSet | None, logits: np.ndarray) -> dict[str, float]:
    """How often the classifier is right where the attributes of images are known."""
    if not images or not images.attributes:
        return {}
    labels = hide(images.attributes(len(logits)))
    shares = attributes.accuracy(attributes.predict(logits, ATTRIBUTES), labels, ATTRIBUTES)
    return {
        f"{side}accuracy": float(np.mean(list(shares.values()))),
        **{f"{side}accuracy_{name}": share for name, share in shares.items()},
    }


def _accuracy_of_classes(
    protocol: Protocol, images: ImageSet, logits: np.ndarray
) -> dict[str, float]:
    """How often the classifier sees the class that images were asked for: the mean of classes."""
    assert images.classes  # by `check_needs`
    labels, count = images.classes(len(logits)), len(FASHION_MNIST)
    if np.any(labels >= count):
        raise _not_asked(protocol)
    right = logits[:, :count].argmax(axis=1) == labels
    shares = {
        f"value_{name}": float(right[labels == number].mean())
        for number, name in enumerate(FASHION_MNIST)
        if np.any(labels == number)
    }
    return {"value": float(np.mean(list(shares.values()))), **shares}


def _intra_frechet(protocol: Protocol, *sides: tuple[ImageSet, np.ndarray]) -> dict[str, float]:
    """The Frechet distance within each class, by its name, and their mean (Miyato & Koyama 2018).

    Args:
      sides: what was generated and the reference, with features [N, D].
    """
    moments: list[dict[str, Moments]] = []
    for images, features in sides:
        assert images.classes
        labels, names = images.classes(len(features)), images.class_names
        moments.append({})
        for number in np.unique(labels):
            name = names[number] if names else str(number)
            if np.sum(labels == number) < 2:
                raise _too_few(f"class {name} of {images.name}", 1, 2, protocol.name)
            stream = MomentsStream()
            stream.add(features[labels == number])
            moments[-1][name] = stream.moments()
    ours, real = moments
    if missing := sorted(ours.keys() ^ real.keys()):
        raise UserError(
            f"{protocol.name} compares class by class, and {missing[0]} is on one side only; give "
            "a metric of more images, or a reference of the same classes"
        )
    each = {f"value_{name}": frechet_distance(real[name], own) for name, own in ours.items()}
    return {"value": float(np.mean(list(each.values()))), **each}


def _not_asked(protocol: Protocol) -> UserError:
    return UserError(
        f"{protocol.name} is of a model that is asked for {len(FASHION_MNIST)} classes"
    )


def measure_pairs(
    wanted: Sequence[Protocol],
    files: Sequence[PairOfFiles],
    *,
    progress: bool = True,
) -> list[Result]:
    """Metrics of equally named images in two sets, a generated, b what they should be.

    Where they compare label maps, the colors of the reference are the classes, and those of
    generated images count as the nearest one.

    Args:
      files: of `sets.open_pairs`.

    Raises:
      UserError: weights are missing, an image cannot be read or has a partner of a wrong size, or
        the reference has too many colors for label maps.
    """
    read = partial(
        PairOfFiles.read, one_size=not all(protocol.sizes_may_differ for protocol in wanted)
    )
    results = []
    if images := [protocol for protocol in wanted if not protocol.of_labels]:
        results += compare_images(images, map(read, files), len(files), progress=progress)
    if labels := [protocol for protocol in wanted if protocol.of_labels]:
        colors = _colors(true for _, true in map(read, files))
        names = [bytes(color).hex() for color in colors.tolist()]
        maps = ((_nearest(made, colors), _nearest(true, colors)) for made, true in map(read, files))
        results += compare_labels(labels, maps, names, len(files), progress=progress)
    return results


def compare_images(
    wanted: Sequence[Protocol],
    both: Iterable[tuple[np.ndarray, np.ndarray]],
    count: int,
    *,
    progress: bool = True,
) -> list[Result]:
    """Metrics of pairs of images, uint8 [H, W, 3]: means over all of them.

    Args:
      both: generated and true image of each pair.
      count: how many pairs there are.

    Raises:
      UserError: weights are missing.
    """
    sights = {name: pairs.load(name) for name in dict.fromkeys(p.extractor for p in wanted)}
    values: dict[Protocol, list[float]] = {protocol: [] for protocol in wanted}
    equal = 0
    with bar(count, label="pairs", shown=progress, leave=False) as counter:
        for images in both:
            equal += int(np.array_equal(*images))
            a, b = map(to_float, images)
            seen = {name: (s.perceive(a), s.perceive(b)) for name, s in sights.items()}
            for p in wanted:
                value = pairs.compare(p.kind, *seen[p.extractor], sights[p.extractor].channels)
                values[p].append(np.asarray(value).item())
            counter.update()
    return [
        Result(
            p,
            # Of those, PSNR has but its bound.
            {"value": float(np.mean(v))} | ({"equal_pairs": equal} if p.kind == "psnr" else {}),
            sights[p.extractor].digest,
            len(v),
            len(v),
        )
        for p, v in values.items()
    ]


def compare_labels(
    wanted: Sequence[Protocol],
    both: Iterable[tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
    count: int,
    *,
    progress: bool = True,
) -> list[Result]:
    """Metrics of pairs of label maps, int [H, W]: of each class, and the mean over classes.

    Args:
      both: predicted and true classes of each pair.
      names: of the classes.
      count: how many pairs there are.
    """
    counts, seen = np.zeros((len(names), len(names)), np.int64), 0
    with bar(count, label="pairs", shown=progress, leave=False) as counter:
        for predicted, truth in both:
            counts += segmentation.confusion(predicted, truth, len(names))
            seen += 1
            counter.update()
    results = []
    for protocol in wanted:
        shares = getattr(segmentation, protocol.kind)(counts)
        there = {n: float(x) for n, x in zip(names, shares, strict=True) if not np.isnan(x)}
        each = {f"class_{name}": share for name, share in there.items()}
        value = {"value": float(np.mean(list(there.values())))}
        results.append(Result(protocol, value | each, "", seen, seen))
    return results


def _colors(images: Iterable[np.ndarray]) -> np.ndarray:
    """All colors of label maps uint8 [H, W, 3]: uint8 [K, 3], in order.

    Raises:
      UserError: they are too many for classes.
    """
    colors = np.empty((0, 3), np.uint8)
    for image in images:
        colors = np.unique(np.concatenate([colors, image.reshape(-1, 3)]), axis=0)
        if len(colors) > UNLABELED:
            raise UserError(
                f"the reference has more than {UNLABELED} colors; label maps have one for each "
                "class: save them without loss, as PNG"
            )
    return colors


def _nearest(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The number of the nearest color for each pixel, int [H, W]."""
    found, places = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    distances = np.square(found[:, None].astype(np.int32) - colors).sum(axis=2)
    return distances.argmin(axis=1)[places.reshape(image.shape[:2])]
