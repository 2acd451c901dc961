"""What a growing network shows: animations of its samples, distances by level, labels that fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image, ImageSequence

from ganjax import tasks
from ganjax.commands import sample
from ganjax.config import with_variants
from ganjax.data.avatars import render
from ganjax.data.fields import IMAGE
from ganjax.errors import UserError
from ganjax.evaluation.monitor import make_evaluation
from ganjax.images import to_float
from ganjax.outputs import write_image
from ganjax.tasks import progressive
from ganjax.training.state import State
from ganjax.training.task import Model, Phase, Task
from ganjax.training.workdir import claim


def _config(**fields) -> ConfigDict:
    config = with_variants(progressive.defaults(), "smoke", {"smoke": progressive.SMOKE})
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture
def run(tmp_path):
    """A folder of a run that drew three sheets, each of one color."""
    (tmp_path / "run" / "samples").mkdir(parents=True)
    claim(tmp_path / "run", _config().to_dict(), {}, {"image": IMAGE})
    for step in (100, 20, 9):
        sheet = np.full((18, 36, 3), step, np.uint8)
        write_image(tmp_path / "run" / "samples" / f"{step:09d}.png", sheet, made=None)
    return tmp_path / "run"


def _frames(path) -> list[tuple[int, int]]:
    """The gray of each frame, and for how many milliseconds it is shown."""
    with Image.open(path) as animation:
        return [
            (np.asarray(frame.convert("L")).mean().round(), frame.info["duration"])
            for frame in ImageSequence.Iterator(animation)
        ]


def test_growth_shows_the_samples_in_their_order_and_ends_with_a_pause(run, tmp_path):
    output = tmp_path / "growth.gif"
    sample.main(["--workdir", str(run), "--growth", "--output", str(output)])
    grays, durations = zip(*_frames(output), strict=True)
    np.testing.assert_allclose(grays, [9, 20, 100], atol=2)
    assert durations[:2] == (200, 200) and durations[2] > 1000
    assert b"trainedAlgorithmicMedia" in output.read_bytes()
    words = ["--workdir", str(run), "--growth", "--output", str(output)]
    with pytest.raises(UserError, match="growth.gif exists; --overwrite replaces it"):
        sample.main(words)
    sample.main([*words, "--overwrite", "--no_metadata"])
    assert b"trainedAlgorithmicMedia" not in output.read_bytes()


def test_growth_of_large_sheets_is_scaled_down(run, tmp_path):
    write_image(run / "samples" / f"{200:09d}.png", np.zeros((1500, 3000, 3), np.uint8), made=None)
    for path in sorted((run / "samples").glob("*.png"))[:-1]:
        path.unlink()
    sample.main(["--workdir", str(run), "--growth", "--output", str(tmp_path / "growth.gif")])
    with Image.open(tmp_path / "growth.gif") as animation:
        assert animation.size == (sample.GROWTH_SIDE, sample.GROWTH_SIDE // 2)


def test_growth_needs_samples_and_an_animation(run, tmp_path):
    words = ["--workdir", str(run), "--growth", "--output"]
    with pytest.raises(UserError, match="give FILE.gif or FILE.mp4"):
        sample.main([*words, str(tmp_path / "growth.png")])
    for path in (run / "samples").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="holds no samples; train until the first ones"):
        sample.main([*words, str(tmp_path / "growth.gif")])


def _coarse_to_fine() -> Task:
    """Draws portraits: their 8x8 pixels, repeated, before image 1000, all 32x32 later."""
    portraits = to_float(render(range(64), (32, 32), split="test")["image"])

    def sample(trained, inputs, rng):
        fine = jnp.asarray(portraits)[inputs["index"] % 64]
        coarse = fine[:, ::4, ::4].repeat(4, 1).repeat(4, 2)
        return {"samples": jnp.where(trained.images < 1000, coarse, fine)}

    phases = (Phase("32x32", 2.0, 8, (32, 32)),)
    draw = lambda rng, index, label: {"index": index}  # noqa: E731
    model = Model({}, {"samples": IMAGE}, draw, sample, None, real="image")
    return Task(model, lambda rng: State.start({}), None, phases)


def test_each_level_of_the_pyramid_has_its_distance_while_a_run_grows():
    """By default, against the run's data: sharp pixels are missing first, then they are there."""
    config = _config(**{"data.image_size": "32", "evaluate_metrics": "swd64"})
    defaults = progressive.defaults()
    assert defaults.evaluate_metrics == "swd2048" and defaults.evaluate_every
    task = _coarse_to_fine()
    evaluation = make_evaluation(task, config)
    state = jax.jit(task.init)(jax.random.key(0))
    (early,), (late,) = (
        evaluation.run(state.replace(images=jnp.int32(n)), lambda: False) for n in (0, 1500)
    )
    assert {"value_32", "value_16"} <= early.keys() and late["kimg"] == 1.5
    assert early["value"] == pytest.approx((early["value_32"] + early["value_16"]) / 2)
    assert early["value_32"] > 1.5 * late["value_32"]


def test_sizes_without_a_pyramid_are_refused_before_training():
    phases = (Phase("32x24", 2.0, 8, (32, 24)),)
    config = _config(**{"data.image_size": "32x24"})
    with pytest.raises(UserError, match="32x24; SWD takes squares of 16, 32, .* another metric"):
        make_evaluation(_coarse_to_fine()._replace(phases=phases), config)


def test_classes_are_those_of_the_data(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "0.png", np.zeros((16, 16, 3), np.uint8), made=None)
    labels = {"data.source": f"folder:{tmp_path}", "data.labels": True}
    assert tasks.make_data(_config(**labels, **{"model.classes": 3})).streams[0].names["label"]
    with pytest.raises(UserError, match="^folder:.* has 3 classes; set model.classes to 3$"):
        tasks.make_data(_config(**labels, **{"model.classes": 2}))
    avatars = labels | {"data.source": "avatars", "model.classes": 19}
    with pytest.raises(UserError, match="19 attributes, not classes; set data.labels to False"):
        tasks.make_data(_config(**avatars))
