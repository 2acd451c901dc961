"""All 64 bits of a seed count, in every key that is made of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_training import make_task

from ganjax import seeds
from ganjax.commands import evaluate, sample, translate
from ganjax.data.fields import IMAGE
from ganjax.errors import UserError
from ganjax.evaluation.sets import make_generator
from ganjax.training import devices
from ganjax.training.step import key_of, train_key

SMALL, LARGE = (0, 1, 7, 2**31, 2**32 - 1), (2**32, 2**32 + 7, 7 << 32, 2**63, 2**64 - 1)


@pytest.mark.parametrize("seed", SMALL)
def test_keys_of_32_bits_are_those_of_jax(seed):
    assert np.array_equal(*map(jax.random.key_data, (seeds.key(seed), jax.random.key(seed))))


@pytest.mark.parametrize("seed", [*SMALL, *LARGE])
def test_keys_are_those_of_jax_where_it_computes_in_64_bits(seed):
    with jax.enable_x64(True):
        wanted = jax.random.key_data(jax.random.key(np.uint64(seed)))
    assert np.array_equal(jax.random.key_data(seeds.key(seed)), wanted)


@pytest.mark.parametrize("key", [seeds.key, *(lambda seed, p=p: key_of(seed, p) for p in
    ("sample", "train", "init")), lambda seed: train_key(seed, jnp.int32(3))])  # fmt: skip
def test_no_two_seeds_have_one_key(key):
    found = {tuple(np.asarray(jax.random.key_data(key(s))).tolist()) for s in (*SMALL, *LARGE)}
    assert len(found) == len(SMALL) + len(LARGE)


def test_seeds_that_agree_in_32_bits_draw_different_images():
    task = make_task()
    model = task.model._replace(
        sample=lambda trained, inputs, rng: {"image": jnp.tanh(inputs["z"])[:, None, None, :]},
        outputs={"image": IMAGE},
    )
    mesh = devices.make_mesh((1,))
    make = make_generator(model, mesh)
    trained = task.init(jax.random.key(0)).trained
    drawn = [next(make(trained, s).batches(mesh.size, mesh.size))[0] for s in (5, 5 + 2**32)]
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize("seed", ["-1", str(2**64), "9" * 40])
@pytest.mark.parametrize("command", [sample, translate, evaluate])
def test_other_seeds_are_refused(command, seed):
    words = {
        sample: ["--workdir", "a"],
        translate: ["--workdir", "a", "--input", "b", "--output", "c"],
        evaluate: ["--workdir", "a"],
    }[command]
    with pytest.raises(UserError, match=rf"--seed is {seed}; it must be 0 .* below 2\^64"):
        command.main([*words, "--seed", seed])
