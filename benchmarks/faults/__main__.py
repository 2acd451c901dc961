"""Breaks real runs on purpose, and looks at what is left."""

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.faults import damage, kills, pairs, signals, storage
from benchmarks.faults.cases import Case, rows, table
from benchmarks.faults.runs import Lab
from ganjax.commands.terminal import check_parent, run_command
from ganjax.errors import UserError

EPILOG = """\
examples:
  python -m benchmarks.faults
  python -m benchmarks.faults --only kill_dcgan stop --kills 10

Runs train.py on small networks, does something to it, runs the same command again, and compares
the last state, bit for bit, and the losses of all steps with those of a run that nothing has
happened to. Run it from the root of the checkout.
"""
FAULTS = {
    **{f"kill_{name}": partial(kills.kill, name=name) for name in kills.SHARES},
    "stop": signals.stop,
    "stop_early": signals.stop_early,
    "not_finite": signals.not_finite,
    "damage": damage.damage,
    "full_disk": storage.full_disk,
    "read_only": storage.read_only,
    "data": storage.data,
    "compiled": storage.compiled,
    "pair": pairs.pair,
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description="Break real runs on purpose, and look at what is left.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--kills", type=int, default=60, metavar="N", help="how many kill -9 (default: 60)")
    add("--seed", type=int, default=0, metavar="N", help="of the random moments and places")
    add("--only", nargs="+", default=list(FAULTS), choices=FAULTS, help="only these faults")
    add("--workdir", type=Path, metavar="DIR", help="work in DIR, and leave everything there")
    add("--json", type=Path, metavar="FILE", help="write the table's rows here")
    arguments = parser.parse_args(argv)
    if not Path("train.py").exists():
        raise UserError("train.py is not here; run this from the root of the checkout")
    if arguments.kills < 1:
        raise UserError(f"--kills is {arguments.kills}; it must be 1 or more")
    check_parent("--json", arguments.json)
    cases: list[Case] = []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(arguments.workdir or Path(temporary))
        try:
            for name in arguments.only:
                lab.rng = np.random.default_rng([arguments.seed, *name.encode()])
                for case in FAULTS[name](lab, arguments.kills):
                    cases.append(case)
                    print(f"{time.monotonic() - begin:6.0f} s  {case}", file=sys.stderr)
        finally:
            lab.close()
    print(table(cases))
    report.write_json(arguments.json, rows(cases))
    if any(case.problems for case in cases):
        raise UserError("some faults are not survived as promised; see above")


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
