"""The benchmarks' own arithmetic: turns, medians, ratios, counted FLOPs, rows of JSON."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from benchmarks import ours, report
from benchmarks.all import STEPS, TRANSLATIONS, summary
from benchmarks.faults import runs
from benchmarks.faults.cases import Case, rows, table
from benchmarks.faults.runs import Result
from benchmarks.timing import Contestant, Figures, Program, race, turn_order
from benchmarks.train_step import PEERS
from benchmarks.translate import NETWORKS
from ganjax.errors import UserError

ROOT = Path(__file__).parents[1]


def sleeper(seconds: float, log: Path, name: str) -> Program:
    def run(steps: int) -> None:
        time.sleep(seconds * steps)
        with log.open("a") as file:
            file.write(f"{name}{steps} ")

    return Program(run, flops=1e6, peak_memory=lambda: 7, notes={"process": os.getpid()})


def broken() -> Program:
    raise RuntimeError("no such device\nand much more")


def test_everybody_comes_first_in_turn():
    assert turn_order("ABC", 4) == [list("ABC"), list("BCA"), list("CAB"), list("ABC")]


@pytest.mark.long
def test_race_times_each_in_its_own_process_and_in_turns(tmp_path, capsys):
    log = tmp_path / "log"
    contestants = [
        Contestant(name, partial(sleeper, seconds, log, name))
        for name, seconds in (("A", 0.1), ("B", 0.2))
    ]
    contestants.insert(1, Contestant("X", broken))
    figures = race(contestants, rounds=3, turn_seconds=0.25)
    # Two single steps each come first: one to compile, one to choose the length of a turn.
    assert log.read_text().split() == "A1 A1 B1 B1 A2 B1 B1 A2 A2 B1".split()
    assert list(figures) == ["A", "B"]
    assert 0.1 <= figures["A"].minimum <= figures["A"].median
    assert 0.2 <= figures["B"].minimum < 2.5 * figures["A"].minimum
    processes = {figures[name].notes["process"] for name in "AB"} | {os.getpid()}
    assert len(processes) == 3
    assert "X is left out: RuntimeError: no such device\n" in capsys.readouterr().err


@pytest.mark.slow
def test_race_needs_its_first_contestant():
    with pytest.raises(UserError, match="A cannot be built: RuntimeError: no such device"):
        race([Contestant("A", broken)], rounds=1)


def figures(*turns: float, device: str = "cpu", flops: float | None = None) -> Figures:
    return Figures(turns, device, flops, 2**20, {})


def test_a_row_holds_medians_the_ratio_and_shares():
    measured = {
        "ganjax": figures(3.0, 1.0, 2.0, flops=6e9),
        "PyTorch": figures(9.0),
        "PyTorch channels_last": figures(1.0, 3.0, 9.0),
        report.ROOFLINE: figures(2.0, 1.0, flops=10e9),
    }
    row = report.make_row("dcgan64_b4_float32", measured, items=4)
    wanted = {"name": "dcgan64_b4_float32", "ours_s": 2.0, "peer_s": 3.0, "ratio": 1.5}
    assert wanted.items() <= row.items()
    assert row["peer"] == "PyTorch channels_last"
    mine = row["contestants"]["ganjax"]
    assert (mine["items_per_s"], mine["flops_per_s"]) == (2.0, 3e9)
    assert mine["share_of_roofline"] == pytest.approx(0.3)  # of the matrix product's best turn
    assert row["contestants"]["PyTorch"]["share_of_roofline"] == pytest.approx(6 / 9 / 10)
    assert "1.50" in report.table(row)


@pytest.mark.parametrize("other", [{}, {"PyTorch": figures(1.0, device="gpu")}])
def test_a_row_without_a_peer_on_the_same_device_has_no_ratio(other):
    row = report.make_row("name", {"ganjax": figures(1.0), **other}, items=1)
    assert row["ratio"] is None and row["peer_s"] is None
    report.table(row)


def test_the_last_table_has_ratios_of_medians_and_minima():
    measured = {"ganjax": figures(3.0, 1.0, 2.0), "PyTorch": figures(9.0, 3.0, 1.5)}
    rows = [
        report.make_row("a", measured, items=1),
        report.make_row("b", {"ganjax": figures(1.0)}, items=1),
    ]
    assert summary(rows).splitlines()[2:] == ["| a | 2 s | 1.50 (1.50) |", "| b | 1 s |  |"]


@pytest.mark.parametrize("row", [*STEPS, *TRANSLATIONS])
def test_every_row_has_a_config_and_a_peer(row):
    assert row.removesuffix("_tiles") in ours.CONFIGS and (row in PEERS or row in NETWORKS)


def test_flops_are_those_that_are_needed():
    # Here, that the processes of `race`, which import this file, start quickly.
    import jax
    import jax.numpy as jnp

    from benchmarks.flops import count_flops
    from ganjax import ops

    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((4, 4, 3, 5))
    once = 2 * 2 * 4 * 4 * 16 * 3 * 5  # two images of 4x4 outputs

    def conv(x, kernel):
        return ops.conv(x, kernel, strides=2, padding=1)

    def transposed(x, kernel):
        return ops.conv_transpose(x, kernel, strides=2, padding=1)

    assert count_flops(conv, x, kernel) == once
    y = jnp.ones((2, 4, 4, 3))
    assert count_flops(transposed, y, kernel) == once  # not of the zeros in between
    of_both = jax.grad(lambda x, kernel: jnp.sum(conv(x, kernel) ** 2), (0, 1))
    of_one = jax.grad(lambda kernel: jnp.sum(conv(x, kernel) ** 2))
    assert count_flops(jax.jit(of_both), x, kernel) == 3 * once
    assert count_flops(of_one, kernel) == 2 * once
    assert count_flops(lambda a: jax.lax.fori_loop(0, 3, lambda _, b: a @ b, a), jnp.eye(4)) == (
        3 * 2 * 4**3
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["dcgan", pytest.param("progressive_narrow", marks=pytest.mark.long)]
)
def test_train_step_measures_ganjax_and_writes_its_row(task, tmp_path):
    path = tmp_path / "rows.json"
    words = "-m benchmarks.train_step --image_size 16 --batch_size 4 --rounds 1 --turn_seconds 0.1"
    result = subprocess.run(
        [sys.executable, *words.split(), "--task", task, "--no_peers", "--no_roofline",
         "--json", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(path.read_text())
    assert row["name"] == f"{task}16_b4_float32"
    assert row["ours_s"] > 0 and row["peer_s"] is None and row["ratio"] is None
    mine = row["contestants"]["ganjax"]
    assert mine["flops_per_s"] > 0
    # Donation: all of the state is written in place, no second copy is made.
    assert mine["donated_bytes"] >= mine["state_bytes"]


@pytest.mark.parametrize(
    "module", ["all", "train_step", "stylize", "translate", "input_pipeline", "startup"]
)
def test_wrong_options_end_in_one_line(module, tmp_path):
    for wrong in (["--rounds", "0"], ["--json", str(tmp_path / "no" / "file")]):
        result = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", *wrong],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == 2
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_what_a_broken_run_says_is_held_line_by_line():
    good = Result(0, ["warning: step 4 is damaged", "resuming run from step 2"])
    expected = "^warning: step 4", "^resuming .* from step 2$"
    assert not good.problems(0, *expected)
    assert good.problems(2, *expected) == ["exit status 0, not 2"]
    assert good.problems(0, *reversed(expected))
    assert good.problems(0, expected[0]) == ["unexpected: resuming run from step 2"]
    assert Result(0, []).problems(0, *expected)
    assert good._replace(lines=[*good.lines, "Traceback"]).problems(0, *expected) == [
        "unexpected: Traceback"
    ]


def test_faults_are_counted_by_kind():
    cases = [Case("a", (), 2, "text"), Case("b"), Case("a", ("bad",), 5)]
    assert [
        (row["name"], row["times"], row["good"], row["most_steps_lost"]) for row in rows(cases)
    ] == [("a", 2, 1, 5), ("b", 1, 1, None)]
    assert "PROBLEM: bad" in table(cases)


def test_runs_that_differ_in_one_bit_are_told_apart(monkeypatch):
    states = {"a": {"w": b"1", "m": b"2"}, "b": {"w": b"1", "m": b"3"}}
    monkeypatch.setattr(runs, "last_state", lambda name, folder: states[folder])
    monkeypatch.setattr(runs, "logged", lambda folder: [])
    assert runs.differences("dcgan", "a", "a") == []
    assert runs.differences("dcgan", "a", "b") == ["1 of 2 arrays differ, e.g. m"]
    monkeypatch.setattr(runs, "logged", lambda folder: [{"loss": 1.0 + (folder == "b") * 2**-23}])
    assert runs.differences("dcgan", "a", "b")[1:] == ["the metrics differ"]
