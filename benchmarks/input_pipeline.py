"""Times the way from files to batches: `python -m benchmarks.input_pipeline --help`."""

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import ours, peers, report
from benchmarks.timing import Contestant, Program, race
from ganjax.commands.terminal import run_command
from ganjax.errors import UserError

EPILOG = """\
examples:
  python -m benchmarks.input_pipeline
  python -m benchmarks.input_pipeline --data faces.zip --json pipeline.json

  batches   batches of cached images, as every epoch after the first has them
  decode    the first epoch, which decodes, scales and caches (with --data)
  train     a train step of DCGAN that takes its batches from the pipeline as the loop does; "idle"
            is the share of the time in which the device has nothing to do but wait for a batch

The peer is PyTorch's DataLoader, which decodes in every epoch: 2 workers, Pillow, resize, crop,
flip. Both epochs of ganjax are compared with it. Avatars, the images without --data, have no peer;
the first use renders 1,024 of them, which takes a minute.
"""
AVATARS = 1024
LOADER = "PyTorch DataLoader"


def main(argv: list[str]) -> None:
    parser = report.make_parser("input_pipeline", "Time the input pipeline.", EPILOG)
    add = parser.add_argument
    add("--data", type=Path, metavar="PATH", help="a folder or .zip of images (default: avatars)")
    add("--batch_size", type=int, default=64, metavar="N", help="(default: 64)")
    add("--image_size", type=int, default=64, metavar="PIXELS", help="(default: 64)")
    add(
        "--train_seconds", type=float, default=15, metavar="S",
        help="how long to train for the idle share; 0 for not at all (default: 15)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    report.check(arguments)
    if arguments.batch_size < 1:
        raise UserError(f"--batch_size is {arguments.batch_size}; it must be 1 or more")
    if arguments.data and not arguments.data.exists():
        raise UserError(f"--data {arguments.data} does not exist")
    size = {"batch_size": arguments.batch_size, "image_size": arguments.image_size}
    options = {"source": f"folder:{arguments.data}" if arguments.data else "avatars", **size}
    kind = arguments.data.stem if arguments.data else "avatars"
    suffix = f"{kind}{arguments.image_size}_b{arguments.batch_size}"

    contestants = [Contestant("batches", partial(batches, **options))]
    if arguments.data:
        contestants.append(Contestant("decode", partial(decode, **options)))
        if report.torch_forms(False):
            build = partial(peers.build, "loader", path=arguments.data, **size)
            contestants.append(Contestant(LOADER, build))
    figures = race(contestants, rounds=arguments.rounds, turn_seconds=1.0)
    peer = {LOADER: figures.pop(LOADER)} if LOADER in figures else {}
    if arguments.train_seconds:
        build = Contestant("train", partial(train, **options))
        figures |= race([build], rounds=1, turn_seconds=arguments.train_seconds)
    rows = []
    for name, mine in figures.items():
        compared = {report.OURS: mine} | (peer if name != "train" else {})
        rows.append(
            report.make_row(
                f"pipeline_{name}_{suffix}", compared, items=arguments.batch_size, peers=(LOADER,)
            )
        )
        print(report.table(rows[-1]))
    if arguments.train_seconds:
        print(f"idle {rows[-1]['contestants'][report.OURS]['idle']:.2%} of the time")
    report.write_json(arguments.json, rows)


def batches(*, source: str, batch_size: int, image_size: int) -> Program:
    """A step takes one batch of images that are in the cache."""
    iterator = _endless_batches(source, batch_size, image_size)

    def run(steps: int) -> None:
        for _ in range(steps):
            next(iterator)

    return Program(run, least=200)


def decode(*, source: str, batch_size: int, image_size: int) -> Program:
    """A step decodes the images of one batch into a new cache."""
    from ganjax.data.cache import open_examples
    from ganjax.data.source import open_source

    images = open_source(source)

    def run(steps: int) -> None:
        left = steps * batch_size
        while left:
            count = min(left, len(images))
            with tempfile.TemporaryDirectory() as folder:
                open_examples(
                    images,
                    image_size=(image_size, image_size),
                    channels=3,
                    folder=Path(folder),
                    limit=count,
                    progress=False,
                )
            left -= count

    return Program(run, least=16)


def train(*, source: str, batch_size: int, image_size: int) -> Program:
    """DCGAN's step on batches of the pipeline, each sent to the device while another is in use.

    Noted is `idle`: waiting for batches while the device has nothing to do, as a share of the time.
    """
    step = ours.make_step(
        task="dcgan", batch_size=batch_size, image_size=image_size, dtype="float32"
    )
    import jax

    from ganjax.training.devices import make_mesh, to_devices

    mesh = make_mesh((batch_size,))
    iterator = _endless_batches(source, batch_size, image_size)
    ahead = to_devices(next(iterator), mesh)
    notes: dict[str, Any] = {}

    def run(steps: int) -> None:
        nonlocal ahead
        waited, start = 0.0, time.perf_counter()
        for _ in range(steps):
            metrics = step(ahead)
            ahead = next(iterator)
            jax.block_until_ready(metrics)
            ready = time.perf_counter()
            ahead = jax.block_until_ready(to_devices(ahead, mesh))
            waited += time.perf_counter() - ready
        notes["idle"] = waited / (time.perf_counter() - start)

    return Program(run, jax.default_backend(), peak_memory=ours.peak_memory, notes=notes)


def _endless_batches(source: str, batch_size: int, image_size: int) -> Iterator[dict[str, Any]]:
    from ganjax.data.pipeline import Pipeline, Stream
    from ganjax.data.source import open_source
    from ganjax.paths import cache_folder

    limit = AVATARS if source == "avatars" else 0
    stream = Stream(open_source(source), {"image": "image"}, 3, flip=True, limit=limit)
    pipeline = Pipeline((stream,), cache_folder())
    return pipeline.batches(
        seed=0, first=0, batch_size=batch_size, image_size=(image_size, image_size)
    )


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
