"""What is read from compiled programs, and the model of many chips that stands on it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scaling
from benchmarks.clusters import CHIPS, UTILIZATION, all_reduce_seconds, hiding_batch, model
from ganjax.errors import UserError

ROOT = Path(__file__).parents[1]
PROGRAM = """\
HloModule jit__call, is_scheduled=true
  %all-reduce.8 = (f32[4,4,3,64]{3,2,1,0:T(4,128)S(1)}, bf16[512]{0}, /*index=2*/f32[]{:T(128)}) \
all-reduce(%fusion.1, %fusion.2, %x), channel_id=1, to_apply=%add
  %get-tuple-element = f32[4,4,3,64]{3,2,1,0} get-tuple-element(%all-reduce.8), index=0
  %all-reduce-start = f32[128]{0:T(128)S(1)} all-reduce-start(%fusion.3), channel_id=2
  %all-reduce-done = f32[128]{0:T(128)S(1)} all-reduce-done(%all-reduce-start)
  ROOT %all-gather.1 = s32[8,2]{1,0} all-gather(%y), dimensions={0}
"""


def test_exchanges_are_counted_with_their_bytes():
    assert scaling.exchanges(PROGRAM) == {
        "all-reduce": {
            "count": 2,
            "bytes": 4 * (4 * 4 * 3 * 64) + 2 * 512 + 4 + 4 * 128,
            "asynchronous": 1,
        },
        "all-gather": {"count": 1, "bytes": 64, "asynchronous": 0},
    }


def test_a_real_program_sums_the_gradients():
    code = """
import jax, numpy as np
from benchmarks.scaling import exchanges
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()), ("data",))
params = jax.ShapeDtypeStruct((5, 7), "float32", sharding=NamedSharding(mesh, P()))
batch = jax.ShapeDtypeStruct((16, 5), "float32", sharding=NamedSharding(mesh, P("data")))
gradient = jax.grad(lambda params, batch: ((batch @ params) ** 2).mean())
sharding = NamedSharding(mesh, P())
program = jax.jit(gradient, out_shardings=sharding).lower(params, batch).compile()
print(exchanges(program.as_text())["all-reduce"]["bytes"])
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=os.environ | flags, capture_output=True, text=True,
    )  # fmt: skip
    assert result.stdout == f"{4 * 5 * 7}\n", result.stderr


def test_all_reduces_take_what_the_narrowest_way_allows():
    gigabyte = 1e9
    # Of the 16x16 torus each chip sends 2 * 255/256 of the bytes at its 200 GB/s.
    torus = all_reduce_seconds("v5e", (16, 16), gigabyte, 0)
    assert torus == pytest.approx(2 * 255 / 256 / 200)
    # In a line of two halves all sums of one half cross one link each way.
    assert all_reduce_seconds("v5e", (8, 8), gigabyte, 0) == pytest.approx(2 * 63 / 64 / 100)
    assert all_reduce_seconds("v5p", (4, 4, 4), gigabyte, 0) == pytest.approx(2 * 63 / 64 / 600)
    node = all_reduce_seconds("h100", (8,), gigabyte, 0)
    assert node == pytest.approx(2 * 7 / 8 / 450)
    # Each of a node's GPUs has an eighth of the sums to exchange with the other nodes.
    assert all_reduce_seconds("h100", (16,), gigabyte, 0) == pytest.approx(node + 2 / 8 / 2 / 50)
    # Many small ones wait: there and back along each side.
    assert all_reduce_seconds("v5e", (16, 16), 0, 10) == pytest.approx(10 * 2 * 16e-6)
    assert all_reduce_seconds("v5e", (2, 4), 0, 10) == pytest.approx(10 * 2 * 4e-6)
    assert all_reduce_seconds("h100", (1,), gigabyte, 10) == 0


@pytest.mark.parametrize("kind", CHIPS)
def test_the_hiding_batch_is_the_smallest(kind):
    flops, seconds = 3e9, 7e-4
    batch = hiding_batch(kind, flops, seconds)
    speed = UTILIZATION * CHIPS[kind].flops
    assert (batch - 1) * flops / speed < seconds <= batch * flops / speed


ROW = {
    "name": "dcgan64",
    "slice": "v5e:8x8",
    "chips": 64,
    "batch_per_chip": 64,
    "image_size": [64, 64],
    "parameters": 6_000_000,
    "statistics": 0,
    "flops": 128e9,
    "counted_flops": 130e9,
    "bytes_accessed": 3e9,
    "memory": {"arguments": 2**27, "outputs": 0, "temporaries": 2**27, "program": 2**28},
    "exchanged": {"all-reduce": {"count": 20, "bytes": 24_000_000, "asynchronous": 0}},
    "compile_s": 100.0,
    "level": "O2",
}


def test_the_model_takes_its_figures_from_the_row():
    times = model(ROW, "v5e", (8, 8))
    assert times["arithmetic_s"] == pytest.approx(128e9 / (UTILIZATION * 197e12))
    assert times["memory_s"] == pytest.approx(3e9 / 819e9)
    assert times["exchange_s"] == all_reduce_seconds("v5e", (8, 8), 24e6, 20)
    assert times["batch"] == hiding_batch("v5e", 2e9, times["exchange_s"])
    assert times["global_batch"] == 64 * times["batch"]


def test_tables_are_made_from_the_rows_of_a_file(tmp_path, capsys):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROW]))
    scaling.main(["--json", str(path)])
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("| dcgan64 ")]
    assert [line.split(" | ")[1] for line in lines] == ["v5e:8x8", "v5e", "v5p", "h100"]
    assert f"{model(ROW, 'v5e', (16, 16))['global_batch']:,} |" in lines[1]
    assert "0.50" in lines[0]  # GiB at the peak
    assert len({line.count("|") for line in printed.splitlines() if line}) == 2
    with pytest.raises(UserError, match="no program is known; give --compile"):
        scaling.main(["--json", str(path), "--network", "adain_vgg19"])
    with pytest.raises(UserError, match="its folder does not exist"):
        scaling.main(["--json", str(tmp_path / "no" / "file")])
