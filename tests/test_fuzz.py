"""Damaged and hostile files of every kind: a sample of what `benchmarks.fuzz` does at length."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz
from benchmarks.specimens import KINDS
from ganjax.errors import UserError

ROOT = Path(__file__).parents[1]
# Each HDF5 file is read in a process of its own, each override makes networks.
CASES = {"h5": 5, "override": 25}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)  # where the configs are
    # The sample is the same everywhere.
    monkeypatch.delenv("GANJAX_TEST_DATA", raising=False)
    monkeypatch.delenv("GANJAX_TEST_WEIGHTS", raising=False)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged metadata
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_in_one_line_and_nothing_else_happens(kind, tmp_path_factory):
    @settings(
        max_examples=CASES.get(kind, 100),
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],  # smaller numbers are no simpler cases
    )
    @given(st.integers(0, 2**32))
    def check(number):
        folder = tmp_path_factory.mktemp(kind)
        fuzz.judge(kind, fuzz.make_case(kind, 0, number), folder)  # raises Failure

    check()


class Hostile:
    def __reduce__(self):
        return os.system, ("true",)


HOSTILE = pickle.dumps(Hostile())


def _out_of_memory(content: bytes, folder: Path):
    try:
        raise MemoryError
    except MemoryError as error:
        raise UserError("it is damaged") from error


# What readers must not do, by what is said of it.
WRONG = {
    "IndexError in test_fuzz": lambda content, folder: [][0],
    "more memory": _out_of_memory,
    "one short line": lambda content, folder: ["two\nlines"],
    "ran os.system": lambda content, folder: [pickle.loads(HOSTILE)][:0],
    "ran pickle.find_class": lambda content, folder: [pickle.loads(HOSTILE)][:0],
    "ran exec": lambda content, folder: eval("[]"),
    "read /etc/hosts": lambda content, folder: [open("/etc/hosts").close()][:0],
    "wrote .*beside": lambda content, folder: [(folder.parent / "beside").write_text("")][:0],
}


@pytest.mark.parametrize("says", WRONG)
def test_a_reader_that_breaks_a_rule_is_found(says, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "image", KINDS["image"]._replace(read=WRONG[says]))
    monkeypatch.setattr(fuzz, "_import_readers", lambda kind: None)
    (tmp_path / "case").mkdir()
    with pytest.raises(fuzz.Failure, match=says):
        fuzz.judge("image", b"", tmp_path / "case")


def test_cases_are_functions_of_seed_and_number():
    for kind in KINDS:
        cases = [fuzz.make_case(kind, 0, number) for number in range(20)]
        assert cases == [fuzz.make_case(kind, 0, number) for number in range(20)]
        assert len(set(cases)) > 8


def test_every_kind_has_its_share():
    names = [kind for kind, _ in fuzz._schedule(list(KINDS), 0, 1000)]
    total = sum(kind.share for kind in KINDS.values())
    for name, kind in KINDS.items():
        assert abs(names.count(name) - 1000 * kind.share / total) <= kind.share


def test_the_campaign_outlives_the_process_that_reads(tmp_path):
    """Case 1 hangs, 2 ends the process, 3 takes memory; each is kept, and others go on."""
    code = """if True:
        import sys, os, time
        from pathlib import Path
        from benchmarks import fuzz, specimens

        def read(content, folder):
            match content:
                case b"1":
                    time.sleep(100)
                case b"2":
                    os.abort()
                case b"3":
                    bytearray(b"x" * 2**27)
            return []

        fuzz.KINDS["image"] = specimens.Kind(1, lambda: (b"0",), lambda random, all: b"0", read)
        fuzz.make_case = lambda kind, seed, number: str(number).encode()
        if __name__ == "__main__":
            fuzz.run_command(fuzz.main, fuzz.sys.argv[1:])
    """
    (tmp_path / "campaign.py").write_text(code)
    kept, rows = tmp_path / "kept", tmp_path / "rows.json"
    words = ["--kinds", "image", "--cases", "5", "--seconds", "2", "--mib", "100"]
    result = subprocess.run(
        [sys.executable, tmp_path / "campaign.py", *words, "--folder", kept, "--json", rows],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    (row,) = json.loads(rows.read_text())
    assert (row["name"], row["cases"], row["read"], row["failed"]) == ("image", 5, 2, 3)
    for number, reason in enumerate(("more than 2 seconds", "status -6", "MiB of memory"), start=1):
        assert (kept / f"image-0-{number}").read_bytes() == str(number).encode()
        assert reason in result.stderr and f"--case image {number}" in result.stderr
