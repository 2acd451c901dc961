"""Configs: the fields that every run has, variants, overrides, and runs saved by older versions."""

import ast
import difflib
import functools
import inspect
import math
import os
import re
import runpy
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ganjax import seeds
from ganjax.errors import UserError, suggest
from ganjax.paths import expand

# The configs of the checkout, or the copy that a wheel brings.
_PACKAGE = Path(__file__).parent
FOLDERS = (_PACKAGE.parent / "configs", _PACKAGE / "configs")
_VALUE_WIDTH = 14  # of a table's column; longer values have lines to themselves
# Parts of names that were spelled otherwise in configs of older versions.
RENAMED = {"optimiser": "optimizer"}
_SOURCES = ("data.source", "data.content", "data.style", "data.a", "data.b")


def run_fields(task: str) -> ConfigDict:
    """The fields that every run has, whatever the game."""
    config = ConfigDict()
    config.task = task  # the game, a file of ganjax/tasks
    config.seed = 0  # of all that is random
    config.parallel = "jit"  # jit: one batch over all devices | pmap: each device has its own
    config.steps_per_call = 1  # train steps that an accelerator does in one go
    config.total_kimg = 5000.0  # thousands of images to train on
    config.init_from = ""  # weights to start from, FILE.safetensors of `ganjax export`; "" for none

    config.data = ConfigDict()
    config.data.image_size = "64"  # what a batch shows: "64", or "96x64" for height x width
    config.data.channels = 3  # 1 gray, 3 RGB, 4 RGBA
    config.data.flip = True  # mirror every other image
    config.data.range = ""  # black..white of more than 8 bits, as 0..4095; "" as files declare it
    config.data.follow_links = False  # read what links in folders lead to, too
    config.data.limit = 0  # use only so many images of each source; 0 for all
    config.data.cache_dir = ""  # decoded images; "" for the user's cache folder

    config.ema_half_life_kimg = 10.0  # of the average that samples are drawn from; 0 for none
    config.log_every = 1.0  # kimg
    config.save_every = 20.0  # kimg
    config.sample_every = 20.0  # kimg; 0 for never but at the end
    config.evaluate_every = 0.0  # kimg; 0 for never
    # Metrics with commas between; the checkpoint that is best by the first of them is kept, too.
    # "" for what suits the data (docs/metrics.md).
    config.evaluate_metrics = ""
    config.keep_checkpoints = 3  # the newest ones
    config.max_skips = 10  # updates in succession that may be skipped for not being finite
    return config


def check(config: ConfigDict) -> None:
    """Checks the fields that every run has.

    Raises:
      UserError: one holds an impossible value; the message names the possible ones.
    """
    for name in ("batch_size", "steps_per_call", "keep_checkpoints"):
        if config.get(name, 1) < 1:
            raise UserError(f"{name} is {config[name]}; it must be 1 or more")
    seeds.check("seed", config.seed)
    if config.max_skips < 0:
        raise UserError(f"max_skips is {config.max_skips}; it must be 0 or more")
    for name, value in flat(config).items():
        values = value if isinstance(value, list) else [value]
        if any(isinstance(x, float) and not math.isfinite(x) for x in values):
            raise UserError(f"{name} is {value}; it must be a finite number")
    if not config.total_kimg > 0:
        raise UserError(f"total_kimg is {config.total_kimg}; it must be above 0")
    check_choice("parallel", config.parallel, ("jit", "pmap"))


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Checks that the field `name` holds one of `choices`.

    Raises:
      UserError: it does not.
    """
    if value not in choices:
        raise UserError(f"{name} is {value!r}; choose {' or '.join(map(str, choices))}")


def short_run(batch_size: int) -> dict[str, Any]:
    """Fields of a run of 12 steps: a line for each, a checkpoint every 3, a sheet every 6.

    Args:
      batch_size: images of a step.
    """
    return {
        "data.limit": 16 * batch_size,
        "total_kimg": 12 * batch_size / 1000,
        "log_every": batch_size / 1000,
        "save_every": 3 * batch_size / 1000,
        "sample_every": 6 * batch_size / 1000,
        "keep_checkpoints": 5,
    }


def with_variants(
    config: ConfigDict, arguments: str, variants: Mapping[str, Mapping[str, Any]]
) -> ConfigDict:
    """Applies FILE.py:ARGUMENTS, names of variants with commas between.

    Args:
      variants: fields to change by variant name, as {"large": {"data.image_size": "64"}}. "smoke",
        the full networks on a handful of embedded images, keeps a source that is a folder or file
        of the user's.

    Raises:
      UserError: there is no such variant.
    """
    for argument in filter(None, arguments.split(",")):
        if argument not in variants:
            raise UserError(
                f"config argument {argument!r} is unknown; there is {', '.join(variants)}"
            )
        old, fields = flat(config), dict(variants[argument])
        if argument == "smoke":
            fields = {k: v for k, v in fields.items() if k not in _SOURCES or not _is_there(old[k])}
        config.update_from_flattened_dict(fields)
    return config


def _is_there(source: str | Sequence[str]) -> bool:
    """Whether a source, or each of several, is a path that exists."""
    sources = [source] if isinstance(source, str) else source
    return bool(sources) and all(
        any(path and os.path.exists(expand(path)) for path in _paths(text)) for text in sources
    )


def _paths(source: str) -> Iterator[str]:
    """What a source may name: the whole text behind "folder:", and it without its suffixes."""
    path, end = re.sub(r"^\w+:", "", source), 1
    while end:
        yield path
        path, end = re.subn(r"[@*]\d+$", "", path)


def fill(saved: Mapping[str, Any], defaults: ConfigDict) -> ConfigDict:
    """A saved config with today's names, and today's defaults for fields that it does not have.

    A new field's default must thus be what runs did before there was the field.
    """
    config = ConfigDict(_merged(defaults.to_dict(), _renamed(saved)))
    return config.lock()


def _renamed(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {
        RENAMED.get(name, name): _renamed(value) if isinstance(value, Mapping) else value
        for name, value in saved.items()
    }


def _merged(defaults: dict[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for name, value in saved.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"data.image_size": ...} of nested fields; tuples as lists, as JSON has them."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found


def load(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Runs a config file and applies the user's overrides to it.

    Args:
      spec: FILE.py or the name of a config of ganjax, as "dcgan_avatars"; with :ARGUMENTS, which
        go to the file's `get_config`.
      overrides: words of the form --config.FIELD=VALUE (or --config.FIELD VALUE).

    Returns:
      A locked ConfigDict.

    Raises:
      UserError: the file is missing or faulty, a field does not exist, a value has another type.
    """
    name, _, arguments = spec.partition(":")
    return override(_run(find(name), arguments), overrides)


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Applies words of the form --config.FIELD=VALUE (or --config.FIELD VALUE), and locks.

    Raises:
      UserError: a field does not exist, or a value has another type.
    """
    words = iter(overrides)
    for word in words:
        field, equals, given = word.partition("=")
        if not field.startswith("--config."):
            raise UserError(f"unknown argument {word!r}; see --help")
        value = given if equals else next(words, None)
        if value is None:
            raise UserError(f"{field} lacks a value; give {field}=VALUE")
        _set_field(config, field.removeprefix("--config."), value)
    return config.lock()


def names() -> list[str]:
    """The configs of ganjax."""
    folder = next(filter(Path.is_dir, FOLDERS))
    return sorted(path.stem for path in folder.glob("*.py"))


def docstring(name: str) -> str:
    """What a config's file says of itself; its first line says what it is."""
    return ast.get_docstring(ast.parse(find(name).read_text())) or ""


def find(name: str) -> Path:
    """The file of a config: a path, or a name of `names`.

    Raises:
      UserError: there is none.
    """
    if os.path.isfile(name):
        return Path(name)
    stem = name if "/" not in name and not name.endswith(".py") else ""
    for folder in FOLDERS:
        # A path into a checkout, as the docs give it, is found from other folders, too.
        path = folder / f"{stem}.py" if stem else folder / name.removeprefix("configs/")
        if path.is_file() and (stem or name.startswith("configs/")):
            return path
    raise UserError(f"config {name} does not exist; {suggest(Path(name).stem, names())}")


def _run(path: Path, arguments: str) -> ConfigDict:
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = get_config(arguments) if callable(get_config) else None
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except Exception as error:  # it is a program, and may end in anything
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f", line {frame.lineno}" for frame in frames if frame.filename == str(path)]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}{lines[-1] if lines else ''}: {reason:.200}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path} defines no get_config(arguments) -> ConfigDict; see configs/")
    return config


def _set_field(config: Any, path: str, text: str) -> None:
    """Sets one field from the user's text, which must be of the type that the field has."""
    known = flat(config)
    if path not in known:
        groups = sorted(name for name in known if name.startswith(f"{path}."))
        if groups:
            raise UserError(f"{path} is a group; set one of {', '.join(groups)}")
        raise UserError(f"there is no field {path}; {_suggestion(path, list(known))}")
    *parents, last = path.split(".")
    for parent in parents:
        config = config[parent]
    old = config[last]
    value: Any
    try:
        match old:
            case bool():
                value = {"true": True, "false": False}[text.lower()]
            case int() | float() | str():
                value = type(old)(text)
            case _:
                value = type(old)(_elements(old, ast.literal_eval(text)))
    except (KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise UserError(
            f"{path}={text:.80}: give a value of type {type(old).__name__}, like {old}"
        ) from None
    config[last] = value


def _suggestion(path: str, known: Sequence[str]) -> str:
    """By the whole name, else by its last part: `widht` is model.width."""
    if close := difflib.get_close_matches(path, known, n=1, cutoff=0.7):
        return f"did you mean {close[0]}?"
    ends = {name.rpartition(".")[2]: name for name in known}
    if close := difflib.get_close_matches(path.rpartition(".")[2], ends, n=1, cutoff=0.7):
        return f"did you mean {ends[close[0]]}?"
    return f"there is {', '.join(known)}"


def _elements(old: Sequence, new: Any) -> list:
    """`new` as elements of the type that `old` has; of empty defaults, of their own."""
    if not isinstance(new, tuple | list):
        raise TypeError
    wanted = type(old[0]) if old else type(new[0]) if new else str
    accepted = (int, float) if wanted is float else (wanted,)
    if wanted not in (str, int, float) or any(type(value) not in accepted for value in new):
        raise TypeError
    return [wanted(value) for value in new]


def comments(defaults: Callable[..., Any]) -> dict[str, str]:
    """What each field is, by its name: the comments beside or above a function's assignments.

    Where the config is at first that of another function, as in `config = run_fields("dcgan")`,
    fields without a comment here have that function's.
    """
    found: dict[str, str] = {}
    above: list[str] = []
    for line in map(str.strip, inspect.getsource(defaults).splitlines()):
        if line.startswith("#"):
            above.append(line.lstrip("# "))
            continue
        if start := re.match(r"config = ([\w.]+)\(", line):
            name, *parts = start[1].split(".")
            function = functools.reduce(getattr, parts, defaults.__globals__[name])
            found |= comments(function) if inspect.isfunction(function) else {}
        if field := re.match(r"config\.([\w.]+) = .*?(?:  # (.*))?$", line):
            if text := field[2] or " ".join(above):
                found[field[1]] = text
        above = []
    return found


def describe(config: ConfigDict, known: Mapping[str, str], *, width: int = 100) -> Iterator[str]:
    """Lines that tell of each field its name, its value and what it is.

    Groups of fields, as those of `data`, have an empty line between them; first come those of none.

    Args:
      known: what fields are, by name, in the order in which they are told.
      width: of the lines, in characters.
    """
    values = {name: str(tuple(v) if isinstance(v, list) else v) for name, v in flat(config).items()}
    names = [name for name in known if name in values]
    names += [name for name in values if name not in known]
    groups: dict[str, list[str]] = {"": []}
    for name in names:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    for number, group in enumerate(filter(None, groups.values())):
        if number:
            yield ""
        name_width = max(map(len, group))
        value_width = min(max(len(values[name]) for name in group), _VALUE_WIDTH)
        column = name_width + value_width + 6
        for name in group:
            value = values[name] or '""'
            head = f"  {name:{name_width}}  {value:{value_width}}  "
            space = max(width - column, 20)
            lines = textwrap.wrap(known.get(name, ""), space, break_on_hyphens=False)
            if len(head) > column:  # a long value has its line to itself
                yield head.rstrip()
                head = " " * column
            for line in lines or [""]:
                yield f"{head}{line}".rstrip()
                head = " " * column
