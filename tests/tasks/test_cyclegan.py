"""CycleGAN's train step: three steps of PyTorch (tests/goldens/cyclegan_torch.py), and its pool."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toys import double_start

from ganjax import Translator, tasks
from ganjax.data import avatars
from ganjax.data.avatars.occlusion import hide
from ganjax.errors import UserError
from ganjax.metrics import extractors
from ganjax.metrics.attributes import predict
from ganjax.nets.patchgan import PatchGAN
from ganjax.nets.resnet_translator import ResNetTranslator
from ganjax.tasks import cyclegan
from ganjax.tasks.image_pool import ImagePool, draw_places, exchange
from ganjax.training import devices
from ganjax.training.checkpoints import Checkpoints
from ganjax.training.step import key_of, train_key
from ganjax.training.task import Phase
from ganjax.trees import named_leaves

GOLDENS = Path(__file__).parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

import cyclegan_setup as setup  # noqa: E402
import dcgan_setup  # noqa: E402


def make(direction="AtoB", dtype=jnp.float32, **settings):
    adam = optax.adam(setup.LEARNING_RATE, b1=0.5)
    phase = Phase("train", 1.0, setup.BATCH, (setup.SIDE, 2 * setup.SIDE))
    return cyclegan.make(
        ResNetTranslator(3, setup.WIDTH, setup.BLOCKS, dtype=dtype),
        PatchGAN(setup.WIDTH, setup.LAYERS, "instance", dtype=dtype),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        phases=(phase,),
        direction=direction,
        **{"pool_size": setup.POOL_SIZE} | settings,
    )


@pytest.mark.slow
def test_steps_are_pytorchs(monkeypatch):
    direction = "BtoA"  # in which the batch has its names the other way round
    golden = dict(np.load(GOLDENS / "cyclegan_torch.npz"))
    # What is random is the golden's: the places, of pool a and then of pool b.
    monkeypatch.setattr(cyclegan, "draw_places", lambda rng, pool, count: next(places))
    with jax.enable_x64(True):
        task = make(direction, jnp.float64)
        state = double_start(task, setup.draw)
        step = jax.jit(lambda state, batch, swaps: run(state, batch, swaps))

        def run(state, batch, swaps):
            nonlocal places
            places = iter(swaps)
            return task.train_step(state, batch, jax.random.key(0))

        places = iter(())
        for number in range(setup.STEPS):
            images = {side: setup.draw_images(f"{side} {number}") for side in "ab"}
            batch = {name: images[side] for side, name in cyclegan.DIRECTIONS[direction].items()}
            swaps = [jnp.array(setup.swaps(number)[side]) for side in "ab"]
            state, metrics = step(state, batch, swaps)
            start_of = f"step {number}/"
            wanted = {k.removeprefix(start_of): v for k, v in golden.items() if start_of in k}
            assert wanted.keys() == {name for name in metrics if name.startswith("loss_")}
            for name, value in wanted.items():
                np.testing.assert_allclose(metrics[name], value, rtol=1e-9, err_msg=name)
    for role, network in state.networks.items():
        for name, leaf in named_leaves(network.params).items():
            # What normalization removes has no gradient but rounding, which Adam blows up.
            if name.endswith("bias") and name not in ("last/bias", "conv_1/bias", "conv_3/bias"):
                continue
            got, wanted = dcgan_setup.summarize(leaf), golden[f"steps/{role}/{name}"]
            np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-8, err_msg=f"{role} {name}")


def images_of(values):
    return jnp.asarray(values, jnp.float32)[:, None, None, None]


def test_pool_fills_then_swaps():
    pool = ImagePool.start(3, (1, 1, 1))
    pool, given = exchange(pool, images_of([1, 2]), jnp.array([0, 0]))
    assert given.ravel().tolist() == [1, 2] and int(pool.count) == 2
    # The third one fills it, so that the fourth meets a full pool, and the fifth what that left.
    pool, given = exchange(pool, images_of([3, 4, 5, 6]), jnp.array([1, 0, 0, -1]))
    assert given.ravel().tolist() == [3, 1, 4, 6]
    assert pool.images.ravel().tolist() == [5, 2, 3] and int(pool.count) == 3


def test_a_pool_of_none_gives_all_back_and_no_gradient_flows():
    for size in (0, 2):
        pool = ImagePool.start(size, (1, 1, 1))
        images, places = images_of([1, 2, 3]), jnp.array([-1, -1, 0])
        gradient = jax.grad(lambda x: exchange(pool, x, places)[1].sum())(images)  # noqa: B023
        assert not gradient.any()
        given = exchange(pool, images, places)[1]
        assert given.ravel().tolist() == ([1, 2, 1] if size else [1, 2, 3])


def test_places_are_drawn_evenly():
    pool = ImagePool.start(4, (1, 1, 1))
    places = np.asarray(draw_places(jax.random.key(0), pool, 4000))
    counts = np.bincount(places + 1, minlength=5)
    assert counts.sum() == 4000 and abs(counts[0] - 2000) < 150
    assert (abs(counts[1:] - 500) < 100).all()


def test_without_identity_its_loss_is_left_out():
    batch = {name: jnp.zeros((1, setup.SIDE, 2 * setup.SIDE, 3)) for name in ("source", "target")}
    task = make(identity_weight=0.0)
    state = jax.eval_shape(task.init, jax.random.key(0))
    _, metrics = jax.eval_shape(task.train_step, state, batch, jax.random.key(0))
    assert "loss_cycle" in metrics and "loss_identity" not in metrics


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.direction", "AtoA", "data.direction is 'AtoA'; choose AtoB or BtoA"),
        ("data.image_size", "66", "data.image_size is 66; give multiples of 4"),
        ("loss.pool_size", -1, "loss.pool_size is below 0"),
        ("model.resampling", "blur", "choose strided or resize or antialiased"),
    ],
)
def test_impossible_fields_end_in_one_line(field, value, message):
    config = cyclegan.defaults()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        cyclegan.from_config(config)


def test_a_side_without_a_source_is_named():
    config = cyclegan.defaults()
    config.data.a = "avatars:glasses=none"
    with pytest.raises(UserError, match="data.b is empty; give a source, like folder:photos"):
        cyclegan.streams(config)


def test_a_side_of_its_own_takes_the_place_of_the_source_s():
    config = cyclegan.defaults()
    config.data.source, config.data.b = "unpaired:avatars", "avatars:hair=bald"
    specs = [stream.spec for stream in cyclegan.streams(config)]
    assert specs == ["avatars:glasses=none", "avatars:hair=bald"]


def resume(folder):
    """On all devices of this process: a run from a checkpoint in the middle ends as a straight one.

    There the rate is falling, and the pools are half full.
    """
    import test_games as games

    mesh = devices.make_mesh((games.BATCH,))
    everywhere, middle = devices.replicated(mesh), games.STEPS // 2
    for parallel, holders in (("jit", 1), ("pmap", mesh.size)):
        half = middle * games.BATCH // holders
        games.OWN["cyclegan"] |= {
            "loss.pool_size": 2 * half,
            "model.width": 1,
            "model.blocks": 0,
            "model.layers": 0,
            "data.image_size": "16",
            "data.load_size": "20",
        }
        config = games.make_config("cyclegan", folder)
        task, data = tasks.make(config), tasks.make_data(config)
        phase, task = task.phases[0], devices.spread(task, parallel, mesh)
        step = jax.jit(task.train_step, out_shardings=everywhere)

        def train(state, first, last):
            batches = data.batches(  # noqa: B023
                seed=0,
                first=first,
                batch_size=games.BATCH,
                image_size=phase.image_size,  # noqa: B023
            )
            for number in range(first, last):
                batch = devices.to_devices(next(batches), mesh)
                state, _ = step(state, batch, train_key(0, number))  # noqa: B023
                state = state.replace(step=state.step + 1, images=state.images + games.BATCH)
            batches.close()
            return state

        state = train(jax.jit(task.init, out_shardings=everywhere)(key_of(0, "init")), 0, middle)
        checkpoints = Checkpoints(folder / parallel)
        checkpoints.save(middle, state)
        checkpoints.close()
        saved = Checkpoints.read_only(folder / parallel).load(middle, state)
        for pool in saved.memory.values():
            assert np.ravel(pool.count).tolist() == [half] * holders
        whole, resumed = (train(each, middle, games.STEPS) for each in (state, saved))
        jax.tree.map(np.testing.assert_array_equal, resumed, whole)
        for pool in whole.memory.values():
            assert np.ravel(pool.count).tolist() == [2 * half] * holders


@pytest.mark.long
def test_eight_devices_resume_with_their_pools(tmp_path):
    tests = GOLDENS.parent
    code = f"import sys; sys.path[:0] = [{str(tests)!r}, {str(tests / 'tasks')!r}]; "
    code += "import conftest, pathlib, test_cyclegan as t; "
    code += f"t.resume(pathlib.Path({str(tmp_path)!r}))"
    flags = "--xla_force_host_platform_device_count=8"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tests.parent, env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_model_in_the_package_changes_glasses_alone(direction):
    names, classifier = list(avatars.ATTRIBUTES), extractors.load("avatars")
    column = names.index("glasses")

    def see(images):
        logits = jax.jit(classifier.apply)(classifier.variables, jnp.asarray(images))["logits"]
        return hide(predict(np.asarray(logits), avatars.ATTRIBUTES))

    drawn = avatars.render(np.arange(200), (64, 64), split="test")
    bare = drawn["label"][:, column] == avatars.ATTRIBUTES["glasses"].index("none")
    images = drawn["image"][bare == (direction == "AtoB")][:60]
    translator = Translator.load("glasses_portraits", direction=direction)
    before, after = see(images), see(np.stack(translator(list(images))))
    none = after[:, column] == avatars.ATTRIBUTES["glasses"].index("none")
    assert np.mean(none == (direction == "BtoA")) > 0.85
    others = (np.arange(len(names)) != column)[None] & (before >= 0) & (after >= 0)
    assert np.mean((before == after)[others]) > 0.9
