"""The command lines as users meet them: resume after a kill, sampling, and every wrong input."""

import json
import os
import platform
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ganjax import commands, runs, tasks
from ganjax.commands import models, sample
from ganjax.commands.terminal import run_command
from ganjax.config import load as load_config
from ganjax.errors import UserError
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.workdir import read_metrics
from ganjax.weights import BUNDLED

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
SMALL = [
    "--config=configs/dcgan_avatars.py:smoke",
    "--config.data.image_size=16",
    "--config.model.width=8",
    "--config.total_kimg=0.32",
    "--config.save_every=0.016",
    "--config.keep_checkpoints=40",
]


def command(*words) -> list[str]:
    return [sys.executable, *map(str, words)]


def run(*words, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*words),
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def load_state(workdir: Path, step: int):
    task = tasks.make(runs.load_config(workdir))
    like = jax.eval_shape(task.init, jax.random.key(0))
    return Checkpoints.read_only(workdir / "checkpoints").load(step, like)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A straight run of 20 steps."""
    workdir = tmp_path_factory.mktemp("runs") / "straight"
    result = run("train.py", *SMALL, f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    return workdir


@pytest.mark.long
def test_seven_steps_a_kill_and_thirteen_are_twenty_straight_ones(trained, tmp_path):
    workdir = tmp_path / "killed"
    words = command("train.py", *SMALL, f"--workdir={workdir}")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (workdir / "checkpoints" / "7").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    steps = Checkpoints.read_only(workdir / "checkpoints").steps
    assert 7 in steps and steps[-1] < 20
    for later in steps[steps.index(7) + 1 :]:  # it may have got a little further: back to 7
        os.rename(workdir / "checkpoints" / str(later), tmp_path / str(later))
    result = run("train.py", *SMALL, f"--workdir={workdir}")
    assert result.returncode == 0 and "resuming" in result.stderr, result.stderr
    straight, resumed = load_state(trained, 20), load_state(workdir, 20)
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)
    assert int(resumed.step) == 20 and int(resumed.images) == 320
    rows = [[(r["step"], r["loss_generator"]) for r in read_metrics(w)] for w in (trained, workdir)]
    assert rows[0] == rows[1]  # step by step the same losses: the same batches and noise


@pytest.mark.slow
def test_ctrl_c_saves_and_leaves(tmp_path):
    workdir = tmp_path / "run"
    words = command("train.py", *SMALL, "--config.total_kimg=1000", f"--workdir={workdir}")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (workdir / "checkpoints" / "3").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(2)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "stopped by SIGINT" in errors and "Traceback" not in errors
    saved = Checkpoints.read_only(workdir / "checkpoints").steps[-1]
    assert read_metrics(workdir)[-1]["step"] == saved and f"step {saved} is saved" in errors


def test_a_run_leaves_what_the_readme_says(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["data"]["source"] == "avatars" and config["model"]["width"] == 8
    rows = read_metrics(trained)
    assert rows[0]["step"] == 1 and rows[-1]["step"] == 20 and rows[-1]["kimg"] == 0.32
    keys = {"step", "kimg"} | {
        f"{kind}_{role}"
        for kind in ("loss", "grad_norm")
        for role in ("generator", "discriminator")
    }
    assert keys <= rows[0].keys()
    grid = Image.open(sorted((trained / "samples").glob("*.png"))[-1])
    assert grid.size == (8 * 18 + 2, 8 * 18 + 2) and "trainedAlgorithmicMedia" in str(grid.text)


@pytest.fixture
def draw(trained, tmp_path):
    def draw(name: str, *words) -> Path:
        output = tmp_path / name
        sample.main(["--workdir", str(trained), "--output", str(output), *map(str, words)])
        return output

    return draw


@pytest.mark.slow
def test_samples_depend_on_seed_and_number_alone(draw):
    few = draw("few", "--num", 3, "--seed", 5)
    many = draw("many", "--num", 70, "--seed", 5)
    assert len(list(many.iterdir())) == 70
    for path in sorted(few.iterdir()):
        np.testing.assert_array_equal(Image.open(path), Image.open(many / path.name))
    other = draw("other", "--num", 3, "--seed", 6)
    assert not np.array_equal(Image.open(few / "000000.png"), Image.open(other / "000000.png"))
    with pytest.raises(UserError, match="holds 3 images of an earlier call; --overwrite"):
        draw("few", "--num", 2)
    assert len(list(draw("few", "--num", 2, "--overwrite").iterdir())) == 2
    grid = draw("grid.jpg", "--num", 2)
    with pytest.raises(UserError, match="grid.jpg exists; --overwrite replaces it"):
        draw("grid.jpg", "--num", 2, "--seed", 1)
    before = grid.read_bytes()
    assert draw("grid.jpg", "--num", 2, "--seed", 1, "--overwrite").read_bytes() != before


@pytest.mark.slow
def test_checkpoints_and_averages_differ(draw):
    grids = [
        np.asarray(Image.open(draw(f"{number}.png", "--num", 4, *words)))
        for number, words in enumerate([(), ("--checkpoint", 2), ("--average", "live")])
    ]
    assert grids[0].shape == (2 * 18 + 2, 2 * 18 + 2, 3)
    assert not np.array_equal(grids[0], grids[1]) and not np.array_equal(grids[0], grids[2])


@pytest.mark.slow
def test_files_say_that_a_model_made_them(draw):
    text = Image.open(draw("a.png", "--seed", 3)).text
    assert text["DigitalSourceType"].endswith("digitalsourcetype/trainedAlgorithmicMedia")
    assert text["Seed"] == "3" and text["Checkpoint"].startswith("step 20 ")
    assert "Iptc4xmpExt:DigitalSourceType" in text["XML:com.adobe.xmp"]
    assert b"trainedAlgorithmicMedia" in draw("a.gif", "--num", 2).read_bytes()
    assert b"trainedAlgorithmicMedia" in draw("a.mp4", "--num", 2).read_bytes()
    assert not Image.open(draw("b.png", "--no_metadata")).text
    assert b"trainedAlgorithmicMedia" not in draw("b.mp4", "--num", 2, "--no_metadata").read_bytes()


@pytest.mark.slow
def test_a_walk_is_smooth_and_closed(draw):
    with Image.open(draw("walk.gif", "--num", 3)) as walk:
        sequence = ImageSequence.Iterator(walk)
        frames = [np.asarray(frame.convert("RGB"), np.float32) for frame in sequence]
    assert len(frames) == 90
    steps = [np.abs(a - b).mean() for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]
    assert max(steps) < 0.5 * np.abs(frames[0] - frames[30]).mean()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs(path):
    """Each builds its task, whole and as :smoke; a later override wins over :smoke."""
    assert f"train.py --config=configs/{path.name}" in path.read_text()
    whole = load_config(str(path))
    if whole.task == "adain":  # without the published weights, which need a download
        random = {"model.encoder": "random", "loss.encoders": ("random",)}
        random |= {"loss.content_layers": ("relu4_1",), "loss.covariance_layers": ("relu3_1",)}
        whole = load_config(str(path), [f"--config.{name}={x}" for name, x in random.items()])
    if whole.task in ("spade", "super_resolution"):
        whole = load_config(str(path), ["--config.loss.encoders=('random:relu2_1',)"])
    if whole.task == "wct":
        levels = "--config.model.levels=('relu4_1', 'relu1_1')"
        whole = load_config(str(path), ["--config.model.encoder=random", levels])
    tasks.make(whole)
    smoke = load_config(f"{path}:smoke")
    tasks.make(smoke)
    assert smoke.total_kimg / smoke.save_every >= 4
    sources = {
        "adain": {"content": ("avatars",), "style": ("avatars",)},
        "cut": {"source": "unpaired:avatars"},
        "cyclegan": {"source": "unpaired:avatars"},
        "pix2pix": {"source": "paired:avatars"},
        "wct": {"source": ("avatars",)},
    }.get(smoke.task, {"source": "avatars"})
    for field, source in sources.items():
        assert smoke.data[field] == source
        other = repr(("folder:x",)) if isinstance(source, tuple) else "folder:x"
        later = load_config(f"{path}:smoke", [f"--config.data.{field}={other}"])
        assert later.data[field] in ("folder:x", ("folder:x",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "defines no get_config"),
        ("get_config = 1", "defines no get_config"),
        ("def get_config(arguments): return {}", "defines no get_config"),
        ("def get_config(): pass", "TypeError: get_config.. takes 0"),
        ("def get_config(arguments):\n    return {}['a']", "a.py, line 2: KeyError: 'a'"),
        ("\n\n1 / 0", "a.py, line 3: ZeroDivisionError: division by zero"),
        ("import nothing_of_that_name", "a.py, line 1: ModuleNotFoundError"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("if", "a.py, line 1: invalid syntax"),
        ("\0", "null bytes"),
    ],
)
def test_faulty_config_files_end_in_one_line(tmp_path, text, says):
    (path := tmp_path / "a.py").write_text(text)
    with pytest.raises(UserError, match=says) as error:
        load_config(str(path))
    assert str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("growth.batch_sizes", "('a',)"),
        ("growth.batch_sizes", "(1.5,)"),
        ("growth.fade_kimg", "(True,)"),
        ("growth.fade_kimg", "'12'"),
        ("growth.fade_kimg", "{1: 2}"),
        ("growth.fade_kimg", "5"),
        ("growth.fade_kimg", "((" * 500),
        ("growth.fade_kimg", "-" * 5000 + "1"),
        ("seed", "9" * 5000),
    ],
)
def test_overrides_of_another_type_end_in_one_line(field, text):
    with pytest.raises(UserError, match="give a value of type") as error:
        load_config(str(ROOT / "configs/progressive_avatars.py"), [f"--config.{field}={text}"])
    assert len(str(error.value)) < 300


def test_overrides_of_tuples():
    words = ["--config.growth.fade_kimg=[1, 2.5]"]
    config = load_config(str(ROOT / "configs/progressive_avatars.py"), words)
    assert config.growth.fade_kimg == (1.0, 2.5)
    assert {type(value) for value in config.growth.fade_kimg} == {float}


def _bomb(folder: Path) -> Path:
    path = folder / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.png", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(2**20))
    return path


def _texts(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no image")
    return folder


def _truncated(folder: Path) -> Path:
    Image.effect_noise((80, 80), 90).save(folder / "a.jpg")
    (folder / "a.jpg").write_bytes((folder / "a.jpg").read_bytes()[:900])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.batchsize=8"], "no field batchsize; did you mean batch_size?"),
        (["--config.batch_size=many"], "batch_size=many: give a value of type int"),
        (["--config.data.flip=maybe"], "give a value of type bool, like False"),
        (["--config.data=avatars"], "data is a group; set one of"),
        (["--config.seed"], "lacks a value"),
        (["--config=configs/dcgan_celebs.py"], "did you mean dcgan_celeba?"),
        (["--config=configs/x.py"], "adain_vgg19, attributes_avatars, attributes_celeba"),
        (["--config=configs/dcgan_avatars.py:smock"], "there is 64, smoke"),
        (["--color"], "unknown argument '--color'"),
        (["--config.data.image_size=63"], "nearest possible sizes are 56x56 or 64x64"),
        (["--config.data.image_size=big"], "give one side like 64"),
        (["--config.batch_size=0"], "batch_size is 0; it must be 1 or more"),
        (["--config.total_kimg=0"], "total_kimg is 0"),
        (["--config.seed=-1"], "seed is -1"),
        (["--config.parallel=threads"], "parallel is 'threads'"),
        (["--config.model.form=3x3"], "choose 4x4 or 5x5"),
        (["--config.optimizer.learning_rate=-1"], "learning_rate is -1"),
        (["--config.loss=wasserstein"], "choose non_saturating or saturating"),
        (["--config.data.channels=2"], "choose 1 (gray), 3 (RGB) or 4 (RGBA)"),
        (["--config.data.source=webcam"], "avatars[:SPLIT][:ATTRIBUTE=VALUE], folder:PATH"),
        (["--config.data.source=folder:/does/not/exist"], "does not exist"),
        (["--config.data.source=folder:{tmp}"], "holds nothing, no image"),
        ([_texts, "--config.data.source=folder:{made}"], "no image"),
        ([_bomb, "--config.data.source=folder:{made}"], "none of 1 images"),
        ([_truncated, "--config.data.source=folder:{made}"], "none of 1 images"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_wrong_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    made = words[0](tmp_path) if callable(words[0]) else ""
    words = [w.format(tmp=tmp_path, made=made) for w in words if isinstance(w, str)]
    workdir = tmp_path.with_name(tmp_path.name + "_run")
    words = ["--config=configs/dcgan_avatars.py:smoke", *words, f"--workdir={workdir}"]
    with pytest.raises(SystemExit) as exit:
        commands.run("train", words)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert exit.value.code == 2
    assert len(errors) == 1 and message in errors[0]
    assert not (workdir / "config.json").exists()  # no run has begun


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    def main(argv):
        raise OSError(28, "No space left on device", "metrics.jsonl")

    with pytest.raises(SystemExit) as exit:
        run_command(main, [])
    assert exit.value.code == 2
    assert capsys.readouterr().err.startswith("error: the disk is full")


@pytest.mark.parametrize("platform", ["tpu", "cuda", "gpu", "nonsense"])
def test_a_device_that_is_not_there_is_one_line(platform):
    code = "import jax, ganjax.commands.terminal as t; t.run_command(lambda _: {}, [])"
    if platform in run("-c", FOUND, JAX_PLATFORMS="").stdout.replace("gpu", "gpu cuda"):
        pytest.skip("it is there")
    for use in ("jax.devices()", "jax.jit(lambda: 1)()", "jax.numpy.zeros(3)"):
        result = run("-c", code.format(use), JAX_PLATFORMS=platform)
        assert result.returncode == 2, result.stderr
        assert result.stderr.startswith(f"error: JAX_PLATFORMS={platform} asks for a device")
        assert result.stderr.count("\n") == 1


def test_names_of_raw_bytes_are_names(tmp_path):
    """Where a command knows no better, files may have names that are no text."""
    raw = os.fsdecode(bytes(tmp_path) + b"/\xe9")
    os.makedirs(f"{raw}/in")
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(image).save(os.fsdecode(os.fsencode(f"{raw}/in/{number}") + b"\xe9.png"))
    strict = {"PYTHONIOENCODING": "utf-8:strict", "PYTHONUTF8": "1"}
    words = ["-m", "ganjax", "evaluate", "--human", f"{raw}/in", f"{raw}/in", "--pairs", "3"]
    asked = run(*words, "--output", f"{raw}/q.html", **strict)
    assert asked.returncode == 0 and "wrote" in asked.stdout, asked.stderr
    measured = run(
        "-m", "ganjax", "evaluate", "--generated", f"{raw}/in", "--reference", f"{raw}/in",
        "--metrics", "ssim,swd3", "--json", f"{raw}/rows.json", **strict,
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    assert [row["metric"] for row in json.loads(Path(f"{raw}/rows.json").read_text())]


FOUND = "import jax; print(*{device.platform for device in jax.devices()})"


@pytest.mark.parametrize("script", ["train", "stylize"])
def test_started_above_the_clone(script, tmp_path):
    """There `ganjax` is the clone's folder, unless an installed one is found; no network starts."""
    (tmp_path / "ganjax").symlink_to(ROOT)
    bare = {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
    for words in (["-S", "-m", f"ganjax.{script}"], ["-S", f"ganjax/{script}.py"]):
        result = run(*words, "--help", cwd=tmp_path, **bare)
        assert result.returncode == 0 and "examples:" in result.stdout, result.stderr
    # As with an installed package: a later place of the path has the package itself.
    for words in (["-m", "ganjax", script], ["-c", CONSOLE, script]):
        result = run(*words, "--help", cwd=tmp_path, PYTHONPATH=str(ROOT))
        assert result.returncode == 0 and "examples:" in result.stdout, result.stderr


CONSOLE = "from ganjax.commands import main; main()"  # as pip writes it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num", "0"], "--num is 0"),
        (["--checkpoint", "99"], "there is 1, 2, 3"),
        (["--output", "a.exe"], "give FILE.png"),
        (["--output", "README.md/a.png"], "README.md is a file; give a path without it"),
        (["--workdir", "/does/not/exist"], "holds no run"),
    ],
)
def test_a_wrong_sample_is_one_line(words, message, trained):
    result = run("-m", "ganjax", "sample", "--workdir", trained, *words)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and message in result.stderr, result.stderr


def test_every_model_of_the_package_is_listed_and_described(capsys):
    commands.run("models", [])
    listed, about = capsys.readouterr().out, (BUNDLED / "README.md").read_text()
    files = list(BUNDLED.glob("*.safetensors"))
    for path in files:
        assert f"{path.stem} ({path.stat().st_size / 1e6:.1f} MB): " in listed
        assert f"`{path.name}`" in about
    assert {model.name for model in models.MODELS} == {
        p.stem for p in BUNDLED.glob("*.safetensors")
    }


@pytest.mark.parametrize(
    "words",
    [["train.py"], ["stylize.py"], *(["-m", "ganjax", name] for name in commands.COMMANDS)],
    ids=lambda words: words[-1],
)
def test_help_teaches_and_imports_nothing_heavy(words):
    result = run("-X", "importtime", *words, "--help")
    assert result.returncode == 0 and "examples:" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert not imported & {"jax", "flax", "orbax", "grain", "tensorflow_datasets", "numpy"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_a_step_takes_the_memory_that_the_last_one_left():
    code = """
import resource
from ganjax import start_jax
start_jax()
import jax, jax.numpy as jnp

@jax.jit
def step(x):
    return jnp.sin(x) @ x[:, :8]  # of a block of 64 MiB

x = jnp.ones((4096, 4096))
found = []
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).block_until_ready()
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(found))  # a block may be placed anew once in a while
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 1000  # pages, of 16384
