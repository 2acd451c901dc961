"""Several processes train one run: killed, resumed as one and as two, stopped by one SIGTERM."""

import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from ganjax.errors import UserError
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.devices import join_processes
from ganjax.training.workdir import read_metrics

ROOT = Path(__file__).parents[2]
SMALL = [
    "--config=configs/dcgan_avatars.py:smoke",
    "--config.data.image_size=16",
    "--config.data.limit=32",
    "--config.model.width=4",
    "--config.batch_size=8",
    "--config.log_every=0.008",
    "--config.save_every=0.016",
    "--config.sample_every=0.032",
    "--config.evaluate_every=0.032",
    "--config.evaluate_metrics=swd16,frechet16_avatars",
    "--config.keep_checkpoints=1000",
]
BATCH, KEPT, REACHED = 8, 4, 12  # images of a step; steps: resumed from, and compared up to
PATIENCE = 600  # seconds: a machine may be busy with much else


@pytest.fixture
def launch():
    """Starts a training on four devices of so many processes; stderr goes to files."""
    started = []

    def start(workdir: Path, processes: int, *, kimg: float) -> list[subprocess.Popen]:
        devices = f"--xla_force_host_platform_device_count={4 // processes}"
        cache = workdir.parent / "cache"
        environment = os.environ | {"XLA_FLAGS": devices, "GANJAX_CACHE": str(cache)}
        if processes > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{free.getsockname()[1]}"
            environment |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes)}
        words = [*SMALL, f"--config.total_kimg={kimg}", f"--workdir={workdir}"]
        for number in range(processes):
            with workdir.with_name(f"{workdir.name}_{number}.txt").open("w") as output:
                environment["JAX_PROCESS_ID"] = str(number)
                process = subprocess.Popen(
                    [sys.executable, "train.py", *words],
                    cwd=ROOT, env=environment, stdout=output, stderr=output,
                )  # fmt: skip
                started.append(process)
        return started[-processes:]

    yield start
    for process in started:
        process.kill()
        process.wait()


def texts(workdir: Path) -> list[str]:
    return [path.read_text() for path in sorted(workdir.parent.glob(f"{workdir.name}_?.txt"))]


def wait_for(workdir: Path, step: int, processes: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (workdir / "checkpoints" / str(step)).exists():
        running = all(process.poll() is None for process in processes)
        assert running and time.monotonic() < deadline, texts(workdir)
        time.sleep(0.05)


def losses(workdir: Path) -> dict[int, list[float]]:
    rows = [row for row in read_metrics(workdir) if "metric" not in row]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))  # written once
    names = [name for name in rows[0] if name.startswith(("loss_", "logit_", "grad_norm_"))]
    return {row["step"]: [row[name] for name in names] for row in rows}


def evaluations(workdir: Path) -> dict[tuple[int, str], float]:
    rows = [row for row in read_metrics(workdir) if "metric" in row]
    found = {(row["step"], row["metric"]): row["value"] for row in rows}
    assert len(found) == len(rows)  # written once
    return found


@pytest.mark.long
def test_two_processes_are_killed_and_go_on_as_one_and_as_two(launch, tmp_path):
    two, one = tmp_path / "two", tmp_path / "one"
    killed = launch(two, 2, kimg=80)
    wait_for(two, REACHED, killed)
    for process in killed:
        process.kill()
    assert [process.wait() for process in killed] == [-signal.SIGKILL] * 2
    straight, measured = losses(two), evaluations(two)
    assert {(4, "swd16"), (8, "swd16"), (8, "frechet16_avatars")} <= measured.keys()
    for step in Checkpoints.read_only(two / "checkpoints").steps:
        if step > KEPT:
            shutil.rmtree(two / "checkpoints" / str(step))
    shutil.copytree(two, one)

    (alone,) = launch(one, 1, kimg=REACHED * BATCH / 1000)
    assert alone.wait(PATIENCE) == 0, texts(one)
    again = launch(two, 2, kimg=80)
    wait_for(two, REACHED, again)
    again[1].send_signal(signal.SIGTERM)
    assert [process.wait(PATIENCE) for process in again] == [128 + signal.SIGTERM] * 2, texts(two)

    for workdir in (one, two):
        assert f"from step {KEPT}" in texts(workdir)[0]
        resumed = losses(workdir)
        for step in range(KEPT + 1, REACHED + 1):
            np.testing.assert_allclose(
                resumed[step], straight[step], rtol=2e-7, atol=2e-7, err_msg=f"{step}"
            )
        for key, value in evaluations(workdir).items():
            if key in measured:
                np.testing.assert_allclose(value, measured[key], rtol=1e-4, err_msg=f"{key}")
    last = Checkpoints.read_only(two / "checkpoints").steps[-1]
    assert last == max(losses(two))
    assert all(f"step {last} is saved" in text for text in texts(two))
    assert "resuming" not in texts(two)[1] and "img/s" not in texts(two)[1]


@pytest.mark.parametrize(
    ("asked", "environment", "given"),
    [
        (False, {}, None),
        (False, {"SLURM_NTASKS": "4"}, None),  # a batch script, which no srun has started
        (False, {"SLURM_STEP_NUM_TASKS": "1", "TPU_WORKER_HOSTNAMES": "localhost"}, None),
        (False, {"SLURM_STEP_NUM_TASKS": "4"}, {}),
        (False, {"OMPI_COMM_WORLD_SIZE": "2"}, {}),
        (False, {"TPU_WORKER_HOSTNAMES": "a,b"}, {}),
        (True, {}, {}),
        (
            False,
            {"JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": "0"},
            {"num_processes": 3, "process_id": 0},
        ),
    ],
)
def test_launchers_are_recognized(asked, environment, given, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **words: calls.append(words))
    for name in [name for name in os.environ if name.startswith(("SLURM", "OMPI", "TPU", "JAX_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    join_processes(asked=asked)
    assert calls == ([] if given is None else [given])


@pytest.mark.parametrize("module", ["sample", "evaluate", "export"])
def test_what_one_process_can_do_is_left_to_the_first(module, tmp_path, monkeypatch, capsys):
    main = importlib.import_module(f"ganjax.commands.{module}").main
    words = [f"--workdir={tmp_path / 'missing'}", f"--output={tmp_path / 'a.safetensors'}"]
    words = words[:1] if module == "evaluate" else words
    for number in "01":
        for name, value in (("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", number)):
            monkeypatch.setenv(name, value)
        with pytest.raises((UserError, SystemExit)) as left:
            main(words)
        assert left.type is (UserError if number == "0" else SystemExit)
    assert "left to the first process" in capsys.readouterr().err


def test_processes_that_do_not_meet_are_one_line(monkeypatch):
    def fail(**words):
        raise ValueError("coordinator_address should be defined.\nand more")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(UserError, match=r"^[^\n]*should be defined; set JAX_COORD[^\n]*$"):
        join_processes(asked=True)
