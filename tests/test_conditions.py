"""What generation can be asked for: declared, checked against data, drawn, encoded, parsed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import conditions
from ganjax.conditions import DRAWN, check, declare, draw, encode, parse
from ganjax.data.fields import Field
from ganjax.errors import UserError

CLOTHES = Field("class", names=("T-shirt", "Sandal", "Ankle boot"))
FACES = Field(
    "attributes",
    3,
    ("glasses", "hat", "smile"),
    (("none", "round", "square"), ("none", "top"), ("no", "yes", "a little", "wide")),
)
KEY = jax.random.key(7)


def test_what_a_config_declares():
    assert declare() is None
    assert declare(3) == Field("class", names=("0", "1", "2"))
    condition = declare(attributes=(2, 3))
    assert (condition.kind, condition.size, condition.names) == ("attributes", 2, ("0", "1"))
    assert condition.values == (("0", "1"), ("0", "1", "2"))
    assert [conditions.width(c) for c in (None, declare(3), condition)] == [0, 3, 5]
    assert conditions.sizes(CLOTHES) == (3,) and conditions.sizes(FACES) == (3, 2, 4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((-1,), "model.classes must be 0 or more"),
        ((0, (2, 0)), "model.attributes 1 or more each"),
        ((2, (2,)), "model.classes and model.attributes are both set; set one of them"),
    ],
)
def test_impossible_declarations(arguments, says):
    with pytest.raises(UserError, match=says):
        declare(*arguments)


def test_labels_of_a_source_must_be_what_was_declared():
    check(declare(3), CLOTHES, "folder:a")
    check(declare(attributes=(3, 2, 4)), FACES, "avatars")


@pytest.mark.parametrize(
    ("condition", "found", "says"),
    [
        (declare(3), None, "^a has no labels; set data.labels to False, model.classes to 0$"),
        (declare(2), CLOTHES, "^a has 3 classes; set model.classes to 3$"),
        (declare(3), FACES, "^a has 3 attributes, not classes; set data.labels to False, model.c"),
        (declare(attributes=(3, 2, 5)), FACES, r"set model.attributes to \(3, 2, 4\)$"),
        (declare(attributes=(3,)), CLOTHES, "^a has 3 classes; set model.classes to 3"),
    ],
)
def test_others_are_refused_with_the_fields_to_set(condition, found, says):
    with pytest.raises(UserError, match=says):
        check(condition, found, "a")


def test_classes_go_round_and_attributes_are_spread():
    classes = draw(CLOTHES, KEY, jnp.arange(4, 13), None)
    np.testing.assert_array_equal(classes, [1, 2, 0] * 3)
    values = np.asarray(draw(FACES, KEY, jnp.arange(3000), None))
    assert values.shape == (3000, 3) and jnp.issubdtype(values.dtype, jnp.integer)
    for column, size in enumerate(conditions.sizes(FACES)):
        counts = np.bincount(values[:, column], minlength=size)
        assert len(counts) == size
        np.testing.assert_allclose(counts / 3000, 1 / size, atol=0.05)
    correlations = np.corrcoef(values.T) - np.eye(3)
    assert abs(correlations).max() < 0.1


@pytest.mark.parametrize("condition", [CLOTHES, FACES], ids=["class", "attributes"])
def test_a_row_depends_on_key_index_and_what_is_asked_alone(condition):
    index = jnp.array([5, 900, 2, 5, 31])
    rows = draw(condition, KEY, index, None)
    np.testing.assert_array_equal(rows[0], rows[3])
    for number, one in enumerate(index):
        np.testing.assert_array_equal(draw(condition, KEY, one[None], None)[0], rows[number])
    jitted = jax.jit(lambda index: draw(condition, KEY, index, None))(index)
    np.testing.assert_array_equal(jitted, rows)
    nothing = jnp.full(rows.shape, DRAWN)
    np.testing.assert_array_equal(draw(condition, KEY, index, nothing), rows)
    asked = nothing.at[1].set(1)
    drawn = draw(condition, KEY, index, asked)
    np.testing.assert_array_equal(drawn[1], jnp.ones_like(drawn[1]))
    np.testing.assert_array_equal(jnp.delete(drawn, 1, axis=0), jnp.delete(rows, 1, axis=0))


def test_other_keys_draw_other_attributes_and_one_that_is_asked_changes_no_other():
    index = jnp.arange(50)
    rows = draw(FACES, KEY, index, None)
    assert not np.array_equal(draw(FACES, jax.random.key(8), index, None), rows)
    asked = jnp.full((50, 3), DRAWN).at[:, 1].set(0)
    drawn = draw(FACES, KEY, index, asked)
    np.testing.assert_array_equal(drawn[:, 1], 0)
    np.testing.assert_array_equal(drawn[:, ::2], rows[:, ::2])


def test_values_become_vectors_with_a_one_for_each():
    np.testing.assert_array_equal(encode(CLOTHES, jnp.array([2, 0])), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(
        encode(FACES, jnp.array([[1, 0, 3], [2, 1, 0]])),
        [[0, 1, 0, 1, 0, 0, 0, 0, 1], [0, 0, 1, 0, 1, 1, 0, 0, 0]],
    )


def test_what_a_command_line_asks_for():
    for text in ("Sandal", "sandal", "SANDAL", "1"):
        label = parse(CLOTHES, label=text)
        assert label == 1 and label.shape == () and label.dtype == np.int32
    assert parse(CLOTHES) is parse(FACES) is parse(None) is None
    asked = parse(FACES, attributes="smile=a little, glasses=ROUND")
    assert asked.dtype == np.int32
    np.testing.assert_array_equal(asked, [1, DRAWN, 2])
    np.testing.assert_array_equal(parse(FACES, attributes="1=1"), [DRAWN, 1, DRAWN])


@pytest.mark.parametrize(
    ("condition", "words", "says"),
    [
        (CLOTHES, {"label": "sandle"}, "^--label sandle: did you mean Sandal?"),
        (CLOTHES, {"label": "x"}, "^--label x: give one of T-shirt, Sandal, Ankle boot$"),
        (CLOTHES, {"label": "3"}, "^--label 3: give one of T-shirt"),
        (CLOTHES, {"label": "-1"}, "^--label -1: give one of"),
        (CLOTHES, {"label": "²"}, "^--label ²: give one of"),
        (CLOTHES, {"attributes": "hat=top"}, "this model can be asked for --label$"),
        (FACES, {"label": "0"}, "this model can be asked for --attributes$"),
        (None, {"label": "0"}, "^--label 0: this model can be asked for nothing$"),
        (None, {"attributes": "hat=top"}, "can be asked for nothing$"),
        (FACES, {"attributes": "glases=round"}, "^--attributes glases: did you mean glasses?"),
        (FACES, {"attributes": "hat=topp"}, "^--attributes hat topp: did you mean top?"),
        (FACES, {"attributes": "hat=9"}, "^--attributes hat 9: give one of none, top$"),
        (FACES, {"attributes": "hat"}, "^--attributes hat: give NAME=VALUE,NAME=VALUE$"),
        (FACES, {"attributes": "hat=top,"}, "give NAME=VALUE"),
        (declare(100), {"label": "x"}, r"give one of 0, 1, .*, 19, \.\.\. \(100 in all\)$"),
    ],
)
def test_what_cannot_be_asked_for_names_what_can(condition, words, says):
    with pytest.raises(UserError, match=says) as error:
        parse(condition, **words)
    assert len(str(error.value)) < 200
