"""Imports run one way, and no training imports TensorFlow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each room may import of ganjax; rooms that are not listed may import anything.
ALLOWED = {
    "errors": set(),
    "provenance": set(),
    "ops": {"ops"},
    "losses": set(),
    "trees": set(),
    "transforms": set(),
    "adain": {"transforms"},
    "augment": {"adain"},
    "images": {"errors", "provenance", "folders"},
    "nets": {"ops", "adain", "transforms", "errors", "trees", "nets"},
    "data": {"images", "errors", "folders", "data"},
    "training": {"images", "data", "provenance", "errors", "folders", "trees", "training"},
    # Key maps and checks need the networks' layer names.
    "weights": {"nets", "images", "errors", "folders", "trees", "cli", "weights"},
    "tasks": {
        "nets",
        "losses",
        "adain",
        "augment",
        "ops",
        "images",
        "weights",
        "data",
        "training",
        "errors",
        "tasks",
    },  # fmt: skip
    "stylize": {
        "adain",
        "transforms",
        "ops",
        "images",
        "nets",
        "weights",
        "data",
        "errors",
        "stylize",
    },  # fmt: skip
    "metrics": {"adain", "nets", "weights", "images", "errors", "folders", "metrics"},
    "folders": {"errors"},
    "cli": {"errors", "folders"},
}


def _imports(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"ganjax.{alias.name}" for alias in node.names]
                if node.module == "ganjax"
                else [node.module]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("ganjax.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_run_one_way(room):
    package = ROOT / "ganjax"
    files = [package / f"{room}.py"] if (package / f"{room}.py").exists() else []
    files += sorted((package / room).rglob("*.py"))
    assert files
    for path in files:
        extra = _imports(path) - ALLOWED[room]
        assert not extra, f"{path.relative_to(ROOT)} imports ganjax.{', ganjax.'.join(extra)}"


@pytest.mark.slow
def test_training_imports_no_tensorflow():
    for path in (ROOT / "ganjax").rglob("*.py"):
        if path.name == "prepare.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert not any(n.split(".")[0] in ("tensorflow", "torch", "clu") for n in names), path
