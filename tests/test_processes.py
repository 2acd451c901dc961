"""Processes of one run: which launchers are recognised, and what is said where they do not meet."""

import os

import jax
import pytest

from ganjax.errors import UserError
from ganjax.training.devices import join_processes


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
def test_launchers_are_recognised(asked, environment, given, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **words: calls.append(words))
    for name in [name for name in os.environ if name.startswith(("SLURM", "OMPI", "TPU", "JAX_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    join_processes(asked=asked)
    assert calls == ([] if given is None else [given])


def test_processes_that_do_not_meet_are_one_line(monkeypatch):
    def fail(**words):
        raise ValueError("coordinator_address should be defined.\nand more")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(UserError, match=r"^[^\n]*should be defined; set JAX_COORD[^\n]*$"):
        join_processes(asked=True)
