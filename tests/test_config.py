"""Configs: defaults with comments, variants, overrides, names, and runs of older versions."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from ganjax import config as configs
from ganjax import tasks
from ganjax.config import comments, fill, find, flat, load, names, run_fields, with_variants
from ganjax.errors import UserError

ROOT = Path(__file__).parents[1]


def make(**fields) -> ConfigDict:
    config = run_fields("toy")
    config.model = ConfigDict({"width": 8})
    config.optimizer = ConfigDict({"learning_rate": 0.1})
    config.data.source = ""
    config.update_from_flattened_dict(fields)
    return config


def test_fill_completes_the_config_of_an_older_run():
    saved = {"task": "toy", "seed": 3, "model": {"width": 4, "depth": 2}, "gone": {"a": 1}}
    filled = fill(saved, make())
    assert (filled.seed, filled.model.width) == (3, 4)  # what was saved
    assert filled.max_skips == make().max_skips  # today's default
    assert filled.data.to_dict() == make().data.to_dict()
    assert filled.model.depth == 2 and filled.gone.a == 1  # what nobody knows any more is kept
    assert filled.is_locked
    assert fill(make().to_dict(), make()).to_dict() == make().to_dict()


def test_fill_maps_names_that_were_spelled_otherwise():
    saved = {"task": "toy", "optimiser": {"learning_rate": 0.5}}
    filled = fill(saved, make())
    assert filled.optimizer.learning_rate == 0.5 and "optimiser" not in filled
    saved = {"outer": {"optimiser": {"b1": 0.5}}}
    assert fill(saved, make()).outer.optimizer.b1 == 0.5


def test_fill_leaves_the_defaults_and_what_was_saved_as_they_are():
    saved, defaults = {"optimiser": {"b1": 0.5}, "data": {"limit": 7}}, make()
    fill(saved, defaults)
    assert saved == {"optimiser": {"b1": 0.5}, "data": {"limit": 7}}
    assert defaults.to_dict() == make().to_dict()


VARIANTS = {
    "wide": {"model.width": 32, "data.image_size": "128"},
    "smoke": {"data.source": "avatars", "data.limit": 4, "model.width": 2},
}


def test_variants_are_applied_in_their_order():
    assert with_variants(make(), "", VARIANTS).to_dict() == make().to_dict()
    assert with_variants(make(), "smoke,wide", VARIANTS).model.width == 32
    config = with_variants(make(), "wide,smoke", VARIANTS)
    assert (config.model.width, config.data.image_size, config.data.limit) == (2, "128", 4)
    with pytest.raises(UserError, match="argument 'smock' is unknown; there is wide, smoke"):
        with_variants(make(), "smock", VARIANTS)


@pytest.mark.parametrize("ending", ["", "@64", "*3", "@64*3"])
@pytest.mark.parametrize("kind", ["folder:", "lsun:"])
def test_smoke_keeps_a_source_of_the_users_that_is_there(tmp_path, monkeypatch, kind, ending):
    def source_of(source):
        config = make(**{"data.source": source})
        return with_variants(config, "smoke", VARIANTS).data.source

    monkeypatch.chdir(tmp_path)
    assert source_of(f"{kind}photos{ending}") == "avatars"
    (tmp_path / "photos").mkdir()
    for path in ("photos", str(tmp_path / "photos")):
        assert source_of(f"{kind}{path}{ending}") == f"{kind}{path}{ending}"
    assert source_of("") == source_of("tfds:mnist") == source_of("avatars") == "avatars"


def test_smoke_keeps_several_sources_if_all_are_there(tmp_path):
    config = make()
    config.data.content, config.data.style = (), ("folder:wikiart",)
    fields = {"data.content": ("avatars",), "data.style": ("avatars",), "data.limit": 4}
    config.data.content = (f"folder:{tmp_path}@64", f"folder:{tmp_path}*2")
    smoke = with_variants(config, "smoke", {"smoke": fields})
    assert smoke.data.content == (f"folder:{tmp_path}@64", f"folder:{tmp_path}*2")
    assert smoke.data.style == ("avatars",) and smoke.data.limit == 4
    config.data.content = (f"folder:{tmp_path}", "folder:absent")
    assert with_variants(config, "smoke", {"smoke": fields}).data.content == ("avatars",)


def test_overrides_are_of_the_type_that_the_field_has():
    words = ["--config.model.width=16", "--config.data.flip", "FALSE", "--config.loss=saturating"]
    config = load("dcgan_celeba", [*words, "--config.total_kimg=1", "--config.data.image_size=96"])
    assert config.model.width == 16 and config.data.flip is False and config.loss == "saturating"
    assert config.total_kimg == 1.0 and isinstance(config.total_kimg, float)
    assert config.data.image_size == "96"
    config = load("adain_vgg19", ["--config.data.style=('folder:a', 'folder:b@96')"])
    assert config.data.style == ("folder:a", "folder:b@96")
    assert load("dcgan_avatars:64,smoke").data.limit == 256
    with pytest.raises(AttributeError):
        config.model.widht = 3  # locked


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--config.widht=8"], "there is no field widht; did you mean model.width?"),
        (["--config.model.widht=8"], "no field model.widht; did you mean model.width?"),
        (["--config.batchsize=8"], "no field batchsize; did you mean batch_size?"),
        (["--config.source=a"], "no field source; did you mean data.source?"),
        (["--config.optimizer.b3=1"], "no field optimizer.b3; did you mean optimizer.b"),
        (["--config.quux=1"], "no field quux; there is batch_size, data.cache_dir"),
        (["--config.model=8"], "model is a group; set one of model.dtype, model.form"),
        (["--config.model.width.x=8"], "no field model.width.x; did you mean model.width?"),
        (["--config.seed"], "--config.seed lacks a value; give --config.seed=VALUE"),
        (["--config.seed=1.5"], "seed=1.5: give a value of type int, like 0"),
        (["--config.data.flip=2"], "data.flip=2: give a value of type bool, like True"),
        (["--seed=1"], "unknown argument '--seed=1'; see --help"),
    ],
)
def test_wrong_overrides_say_what_is_right(words, says):
    with pytest.raises(UserError) as error:
        load("dcgan_celeba", words)
    assert says in str(error.value)


@pytest.mark.parametrize("name", tasks.NAMES)
def test_every_field_of_every_game_has_a_comment(name):
    module = tasks.module(name)
    defaults = module.defaults()
    known = comments(module.defaults)
    assert set(flat(defaults)) <= known.keys() and all(known.values())
    assert defaults.task == name
    lines = list(configs.describe(defaults, known))
    assert sorted(line.split()[0] for line in lines if line[2:3].strip()) == sorted(flat(defaults))
    words = " ".join(" ".join(lines).split())
    assert all(" ".join(known[field].split()) in words for field in flat(defaults))


def test_comments_stand_beside_or_above():
    def defaults():
        config = ConfigDict()
        config.a = 1  # beside
        # Above, and
        # longer.
        config.b = "# no comment"
        config.c = 2
        config.d = ConfigDict()
        config.d.e = (1, 2)  # of a group
        return config

    found = comments(defaults)
    assert found == {"a": "beside", "b": "Above, and longer.", "d.e": "of a group"}


def test_fields_keep_the_comments_of_the_function_that_a_config_starts_from():
    def defaults():
        config = run_fields("toy")
        config.seed = 1
        config.total_kimg = 2.0  # longer
        config.width = 3  # of the network
        return config

    own = {"total_kimg": "longer", "width": "of the network"}
    assert comments(defaults) == comments(run_fields) | own
    assert list(comments(defaults))[-1] == "width"


@pytest.mark.parametrize("name", tasks.NAMES)
def test_smoke_sets_fields_of_the_game_and_makes_several_checkpoints(name):
    module = tasks.module(name)
    assert module.SMOKE.keys() <= flat(module.defaults()).keys()
    config = with_variants(module.defaults(), "smoke", {"smoke": module.SMOKE})
    assert config.total_kimg <= 1 and config.total_kimg / config.save_every >= 4


def test_configs_are_found_by_name_and_by_path(tmp_path, monkeypatch):
    assert {"dcgan_avatars", "adain_vgg19"} <= set(names())
    expected = ROOT / "configs" / "dcgan_avatars.py"
    for folder in (ROOT, tmp_path):  # from anywhere
        monkeypatch.chdir(folder)
        for name in ("dcgan_avatars", "configs/dcgan_avatars.py", str(expected)):
            assert find(name).resolve() == expected
    (tmp_path / "mine.py").write_text("")
    assert find("mine.py") == Path("mine.py")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "dcgan_avatars.py").write_text("")  # the user's own comes first
    assert find("configs/dcgan_avatars.py") == Path("configs/dcgan_avatars.py")
    assert find("dcgan_avatars") == expected


@pytest.mark.parametrize("name", ["dcgan_avatar", "dcgan_avatar.py", "configs/dcgan_avatar.py"])
def test_a_misspelled_name_is_suggested(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"config {name} does not exist; did you mean dcgan_avatar"):
        find(name)
    with pytest.raises(UserError, match="does not exist; there is adain_compact, adain_vgg16,"):
        find("quux")
    with pytest.raises(UserError, match="does not exist"):
        find(f"elsewhere/{name}")


def test_the_file_is_given_its_arguments(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ganjax.tasks.dcgan import defaults\n"
        "def get_config(arguments):\n"
        "    config = defaults()\n"
        "    config.data.source = arguments\n"
        "    return config\n"
    )
    assert load(f"{path}:folder:a:b").data.source == "folder:a:b"
    assert load(str(path)).data.source == ""


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
        ({"steps_per_call": 0}, "steps_per_call is 0"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"max_skips": -1}, "max_skips is -1"),
        ({"seed": 2**64}, "seed is 18446744073709551616; it must be 0 or more, and below 2^64"),
        ({"total_kimg": 0.0}, "total_kimg is 0.0; it must be above 0"),
        ({"total_kimg": float("inf")}, "total_kimg is inf; it must be a finite number"),
        ({"total_kimg": float("nan")}, "total_kimg is nan; it must be a finite number"),
        ({"save_every": float("nan")}, "save_every is nan; it must be a finite number"),
        ({"total_kimg": float("nan")}, "total_kimg is nan"),
        ({"parallel": "threads"}, "parallel is 'threads'; choose jit or pmap"),
        ({"task": "cyclegam"}, "task 'cyclegam' is unknown; there is adain"),
    ],
)
@pytest.mark.parametrize("name", tasks.NAMES)
def test_fields_of_every_run_are_checked_for_every_game(name, fields, says):
    config = with_variants(
        tasks.module(name).defaults(), "smoke", {"smoke": tasks.module(name).SMOKE}
    )
    if "batch_size" in fields and "batch_size" not in config:
        pytest.skip("batches grow")
    config.update(fields)
    with pytest.raises(UserError) as error:
        tasks.make(config)
    assert says in str(error.value)


def test_a_number_that_is_no_choice_is_the_users_mistake():
    config = tasks.module("pix2pix").defaults()
    config.model.layers = 7
    with pytest.raises(UserError, match="model.layers is 7; choose 0 or 1 or 2 or 3 or 4 or 5"):
        tasks.make(config)
