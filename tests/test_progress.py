"""The progress bar, and errors of libraries as one line."""

import subprocess
import sys

import jax
import pytest

from ganjax.errors import one_line
from ganjax.progress import bar


def test_rate_total_and_time_left_are_shown(capsys):
    with bar(2000, label="decoding", done=500) as counter:
        counter.update(1500)
        counter.set_postfix_str("loss=1.0", refresh=False)
    shown = capsys.readouterr().err
    assert all(text in shown for text in ("decoding 100%", "2.00k/2.00k img", "img/s", "left, lo"))
    assert shown.count("%") == 2  # in a log file: the beginning and the end


def test_a_total_may_be_unknown(capsys):
    with bar(None, unit="B") as counter:
        counter.update(5)
    assert "5.00/? B" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "shown"), [(0, True), (0, False), (1, True)])
def test_only_the_first_process_shows_any(number, shown, capsys, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: number)
    with bar(3, shown=shown) as counter:
        counter.update(3)
    assert bool(capsys.readouterr().err) == (number == 0 and shown)


def test_jax_is_not_imported_for_it():
    code = (
        "import sys; from ganjax.progress import bar; bar(3).close(); "
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_errors_become_one_line():
    assert one_line(ValueError(" two\n  lines ")) == "two lines"
    assert one_line(KeyError()) == "KeyError"
    assert one_line(ValueError("x" * 500), longest=10) == "xxxxxxxxxx ..."
