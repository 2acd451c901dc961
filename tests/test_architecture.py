"""Imports run one way, between rooms and inside each; no training imports TensorFlow."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ganjax"
NETWORKS = {"ops", "adain", "wct", "transforms", "errors", "trees"}
# What each room (a folder or a file of the package) may import of the others. Every room is here.
ALLOWED = {
    "errors": set(),
    "records": set(),
    "seeds": {"errors"},
    "trees": set(),
    "progress": set(),
    "ops": set(),
    "losses": set(),
    "transforms": set(),
    "matrices": set(),
    "adain": {"errors", "matrices", "transforms"},
    "wct": {"adain", "matrices", "transforms"},
    "augment": {"adain", "ops"},
    "degradation": set(),
    "provenance": set(),
    "paths": {"errors"},
    "locks": {"errors", "paths"},
    "config": {"errors", "paths", "seeds"},
    "images": {"errors"},
    "video": {"errors"},
    "outputs": {"errors", "images", "paths", "provenance", "video"},
    "clips": {"errors", "outputs", "paths"},
    "nets": NETWORKS,
    "data": {"images", "errors", "locks", "paths", "progress", "seeds", "text"},
    "text": set(),
    "conditions": {"data", "errors", "text"},
    "training": {
        "config", "data", "errors", "locks", "outputs", "paths", "progress", "provenance",
        "records", "seeds", "trees",
    },
    "weights": {"errors", "nets", "paths", "progress", "trees"},
    "tasks": NETWORKS | {
        "augment", "conditions", "config", "data", "degradation", "images", "losses", "nets",
        "paths", "training", "weights",
    },
    "stylize": {"adain", "transforms", "ops", "images", "nets", "weights", "data", "errors"},
    "metrics": {"adain", "nets", "ops", "weights", "images", "errors", "paths", "seeds"},
    "evaluation": {
        "data", "errors", "images", "metrics", "paths", "progress", "records", "seeds", "tasks",
        "training", "video",
    },
    "editing": {
        "conditions", "errors", "images", "metrics", "runs", "seeds", "trees", "weights",
    },
    "runs": {
        "data", "errors", "images", "metrics", "paths", "records", "tasks", "training", "weights",
    },
    "api": {
        "conditions", "data", "editing", "errors", "evaluation", "images", "metrics", "nets",
        "paths", "runs", "seeds", "stylize", "training",
    },
    "commands": {
        "api", "clips", "conditions", "config", "data", "editing", "errors", "evaluation", "images",
        "locks", "metrics", "outputs", "paths", "progress", "provenance", "records", "runs",
        "seeds", "stylize", "tasks", "training", "trees", "video", "weights",
    },
    "__main__": {"commands"},
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in FILES}


def _imports(path: Path, *, lazy: bool = True) -> set[str]:
    """The modules of the package that a file imports, whole names.

    Args:
      lazy: those in functions, and what only type checkers see, too.
    """
    tree, found = ast.parse(path.read_text()), set()
    inside = {
        node
        for part in ast.walk(tree)
        if isinstance(part, ast.FunctionDef) or _for_type_checkers(part)
        for node in ast.walk(part)
    }
    package = _module(path) if path.name == "__init__.py" else _module(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if node in inside and not lazy:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in MODULES else base)
    return {name for name in found if name == "ganjax" or name.startswith("ganjax.")}


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(path):
    room = _room(_module(path))
    if not room:
        return  # the package itself
    assert room in ALLOWED, f"{room} is no room that tests/test_architecture.py knows"
    extra = {_room(name) for name in _imports(path)} - ALLOWED[room] - {room, ""}
    assert not extra, f"{room} imports {', '.join(sorted(extra))}"


def test_no_circles_between_files():
    graph = {name: _imports(path, lazy=False) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"imports in a circle: {' > '.join(error.args[1])}") from error


def test_a_circle_and_a_relative_import_are_seen(tmp_path):
    path = PACKAGE / "training" / "state.py"
    code = "from . import loop\nfrom ..data.pipeline import A\ndef f():\n    import ganjax.runs"
    other = tmp_path / "ganjax" / "training" / "x.py"
    other.parent.mkdir(parents=True)
    other.write_text(code)
    assert path in FILES
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "ROOT", tmp_path)
        assert _imports(other) == {"ganjax.training.loop", "ganjax.data.pipeline", "ganjax.runs"}
        assert _imports(other, lazy=False) == {"ganjax.training.loop", "ganjax.data.pipeline"}


def test_training_imports_no_tensorflow():
    for path in FILES:
        if path.name == "prepare.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert not any(n.split(".")[0] in ("tensorflow", "torch", "clu") for n in names), path


def test_pixels_leave_by_one_door():
    """`outputs` alone encodes images; the blind page embeds what the user compares.

    `video` knows ffmpeg, and reads by it.
    """
    for path in FILES:
        if _module(path) in ("ganjax.outputs", "ganjax.evaluation.human.page", "ganjax.video"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"imageio", "imageio_ffmpeg", "cv2", "matplotlib"}, path
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = ast.unparse(node.func.value).rpartition(".")[2]
            saves = node.func.attr in ("save", "imwrite", "imsave") and owner != "checkpoints"
            assert not saves, f"{path}, line {node.lineno}: write it with ganjax.outputs"
