"""The examples in docstrings give what they say; those of `ganjax.api` are run in test_api.py."""

import doctest
import importlib
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "ganjax").rglob("*.py"))
    if ">>>" in path.read_text() and path.stem != "api"
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    with jax.numpy_rank_promotion("allow"):  # as users have it
        result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed
