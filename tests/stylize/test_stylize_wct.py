"""WCT's levels through the same masks, mixtures and tiles; sets of weights."""

from functools import cache

import jax
import numpy as np
import pytest
from test_stylize import by_styles, close, drawn_params, picture, soft_masks

from ganjax import wct, weights
from ganjax.commands import weights as command
from ganjax.errors import UserError
from ganjax.nets import stylizers, vgg
from ganjax.stylize import Model, load_model
from ganjax.trees import named_leaves
from ganjax.weights.safetensors import write_safetensors

LEVELS = ("relu2_1", "relu1_1")


def drawn(levels=LEVELS, width=4):
    """Encoders and decoders of random weights."""
    params = {}
    for level in levels:
        images = jax.ShapeDtypeStruct((1, 16, 16, 3), "float32")
        encoder = jax.eval_shape(vgg.VGG19(level, width).init, jax.random.key(0), images)
        params[level] = {"encoder": drawn_params(encoder["params"])}
    stylizer = stylizers.make_wct(params, dict.fromkeys(levels, 0.5))
    decoders = drawn_params(jax.eval_shape(stylizer.init, jax.random.key(0)), 1)
    for level, parts in decoders.items():
        end = parts["decoder"]["conv1_1"]
        end["kernel"], end["bias"] = 2 * end["kernel"], np.full(3, 0.5, "f")
        params[level] |= parts
    return stylizer, params


@cache
def toy() -> Model:
    return Model(*drawn(), "drawn")


@pytest.mark.parametrize("options", [{}, {"alpha": 0.4, "masks": 2}])
def test_tiles_are_the_whole(options):
    content, styles = picture(33, 50), [picture(64, 64, 1), picture(50, 30, 2, 0, 255)]
    if count := options.get("masks"):
        options = options | {"masks": [soft_masks(count, 33, 50)]}
    whole = by_styles(toy(), [content], styles, (0.3, 0.7), **options)[0]
    tiled = by_styles(toy(), [content], styles, (0.3, 0.7), tile=16, **options)[0]
    close(tiled, whole)
    assert whole.std() > 5 and (np.abs(whole.astype(int) - content) > 3).mean() > 0.5
    if count:
        np.testing.assert_array_equal(whole[:8], content[:8])  # no mask there


def test_without_strength_the_content_comes_back():
    content = picture(33, 50)
    close(by_styles(toy(), [content], [picture(64, 64, 1)], alpha=0.0)[0], content)


def test_a_level_is_its_formula():
    """Encode, transfer, decode, of one level and of the next."""
    stylizer, params = drawn()
    content, style = (picture(32, 32, seed)[None] / 127.5 - 1 for seed in (0, 1))
    content, style = content.astype("f"), style.astype("f")
    styles = jax.tree.map(lambda x: x[None], stylizer.encode_style(params, style))
    transfer = stylizers.blend_transfer(stylizer.transform, styles, np.ones(1, "f"))
    got, wanted = stylizer.stylize(params, content, transfer), content
    for level in LEVELS:
        encoder = {"params": params[level]["encoder"]}
        encode = vgg.VGG19(level, 4).apply
        a, b = (
            encode(encoder, np.clip(images, -1, 1), (level,))[level] for images in (wanted, style)
        )
        moved = wct.wct(a, b, 0.5)
        wanted = vgg.Decoder(level, 4).apply({"params": params[level]["decoder"]}, moved)
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)


def test_levels_are_chosen_by_name(tmp_path):
    path = tmp_path / "set.safetensors"
    write_safetensors(path, named_leaves(toy().params), {})
    model = load_model("wct", path=str(path))
    assert model.stylizer.depths == 2 and model.stylizer.multiple == 2
    one = load_model("wct", path=str(path), levels=["relu1_1=1"])
    assert one.stylizer.depths == 1 and one.stylizer.multiple == 1
    for levels, message in (
        (["relu4_1"], "have no level relu4_1; there is relu2_1, relu1_1"),
        (["relu1_1=2"], "give a strength from 0 to 1"),
        (["relu1_1=much"], "give a strength from 0 to 1"),
    ):
        with pytest.raises(UserError, match=message):
            load_model("wct", path=str(path), levels=levels)
    with pytest.raises(UserError, match="has no levels"):
        load_model(levels=["relu1_1"])
    with pytest.raises(UserError, match="are not WCT's"):
        load_model("wct", path="adain_compact")


@pytest.mark.parametrize(("folder", "count"), [("wct_16x", 5), ("vgg19_normalised_wct", 3)])
def test_published_sets_are_imported(folder, count, test_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path))
    command.main(["import", str(test_weights / folder), "--as", "wct"])
    found = weights.load("wct")
    assert sorted(found) == list(vgg.LAYERS[:count])
    assert load_model("wct").stylizer.depths == count
    # The halves belong together: an image comes back.
    content = picture(64, 64)
    plain = load_model("wct", levels=["relu1_1=0"])
    back = by_styles(plain, [content], [picture(64, 64, 1)])[0]
    assert np.abs(back.astype(int) - content).mean() < 15


def test_half_a_set_is_refused(test_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("GANJAX_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(UserError, match="is no folder"):
        command.main(["import", str(tmp_path / "wct.pth"), "--as", "wct"])
    with pytest.raises(UserError, match="there are no weights in it"):
        command.main(["import", str(tmp_path), "--as", "wct"])
    name = "feature_invertor_conv1_1.pth"
    (tmp_path / name).write_bytes((test_weights / "vgg19_normalised_wct" / name).read_bytes())
    with pytest.raises(UserError, match="the decoder of relu1_1 is there without the other half"):
        command.main(["import", str(tmp_path), "--as", "wct"])
