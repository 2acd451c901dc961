"""What is written as JSON is JSON, whatever the numbers."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from test_training import Streams, make_config, make_task

from ganjax import records
from ganjax.errors import UserError
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.loop import fit
from ganjax.training.workdir import Writer, append_metrics, read_metrics

PACKAGE = Path(__file__).parents[1] / "ganjax"
# Digests and caches of texts and whole numbers, and the key of a lock.
OTHERS = {"records.py", "locks.py", "sets.py", "statistics.py", "cache.py", "bucket.py",
          "pyramid.py", "safetensors.py"}  # fmt: skip


def strict(text: str):
    """What RFC 8259 takes for JSON; Python's reader takes more."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_numbers_that_are_not_finite_are_null():
    inf, nan = float("inf"), float("nan")
    value = {"a": [1.5, inf, (nan, 2)], "b": {"c": -inf, "d": np.float64(nan)}, "e": "inf"}
    found = strict(records.dumps(value, indent=1))
    assert found == {"a": [1.5, None, [None, 2]], "b": {"c": None, "d": None}, "e": "inf"}
    assert records.dumps({"a": [1, 0.5, "x"]}) == json.dumps({"a": [1, 0.5, "x"]})


def test_rows_of_runs(tmp_path):
    rows = [{"step": 1, "metric": "psnr", "value": float("inf")}, {"step": 2, "value": 1.0}]
    append_metrics(tmp_path, rows)
    writer = Writer(tmp_path, step=1)  # it writes what it keeps anew
    writer.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [strict(line)["value"] for line in lines] == [None]
    assert read_metrics(tmp_path)[0]["step"] == 1


def test_reports_and_checkpoints(tmp_path):
    task, config = make_task(poisoned=range(14, 100)), make_config(max_skips=3)
    with pytest.raises(UserError, match="is nan"):
        fit(task, Streams(), config, tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "best", best=("m", True))
    for step, value in ((1, 2.0), (2, float("nan")), (3, float("-inf"))):
        checkpoints.save(step, {"x": np.zeros(3)}, metrics={"m": value})
    checkpoints.wait()
    assert set(checkpoints.metrics) == {1}
    checkpoints.close()
    found = [p for p in tmp_path.rglob("*") if p.suffix in (".json", ".jsonl") and p.is_file()]
    assert {"report.json", "metrics.jsonl", "config.json"} <= {path.name for path in found}
    for path in found:
        texts = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        for text in texts:
            strict(text)


def test_results_are_written_by_one_door():
    for path in PACKAGE.rglob("*.py"):
        if path.name not in OTHERS:
            used = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text()))
                    if isinstance(node, ast.Attribute)}  # fmt: skip
            assert not used & {"json.dump", "json.dumps"}, f"{path}: write it with ganjax.records"
