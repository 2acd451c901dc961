"""The wheel alone, in a fresh environment and an empty folder: its commands, configs and types."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganjax.images import read_image

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.long


def run(*words, **options) -> str:
    environment = {name: x for name, x in os.environ.items() if name != "PIP_NO_INDEX"}
    options = {"env": environment, "timeout": 900} | options
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `bin` folder of an environment that has the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", "--no-compile", wheel)
    return programs


def test_train_sample_and_stylize_need_no_checkout(installed, tmp_path):
    cache = os.environ["GANJAX_CACHE"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    options = {"cwd": tmp_path, "env": environment | {"GANJAX_CACHE": cache}}
    ganjax = installed / "ganjax"
    assert "dcgan_avatars" in run(ganjax, "train", "--list", **options)
    small = ["--config.model.width=8", "--config.data.image_size=16"]
    run(ganjax, "train", "dcgan_avatars:smoke", *small, **options)
    run(ganjax, "sample", "--workdir", "runs/dcgan_avatars_smoke", "--output", "a.png", **options)
    random = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    for name, image in zip(("photo", "style"), random, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    words = ("--content", "photo.png", "--style", "style.png", "--output", "b.png")
    run(ganjax, "stylize", *words, **options)
    assert read_image(tmp_path / "a.png").shape == (8 * 18 + 2, 8 * 18 + 2, 3)
    assert read_image(tmp_path / "b.png").shape == (64, 96, 3)


def test_the_package_is_typed_and_imports_at_once(installed, tmp_path):
    code = (
        "import sys, ganjax, pathlib\n"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)\n"
        "folder = pathlib.Path(ganjax.__file__).parent\n"
        "assert (folder / 'py.typed').exists() and (folder / 'configs/dcgan_avatars.py').exists()\n"
        "print(folder)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    folder = run(installed / "python", "-c", code, cwd=tmp_path, env=environment)
    assert str(installed.parent) in folder
