"""Captions: what avatars say of themselves, the way back, words as numbers, files beside images."""

import json

import numpy as np
import pytest
from PIL import Image

from ganjax import text
from ganjax.data.avatars import ATTRIBUTES, captions, draw_attributes
from ganjax.data.avatars.captions import describe, mentioned
from ganjax.data.avatars.occlusion import HIDDEN, hide
from ganjax.data.avatars.source import CAPTIONS, Avatars
from ganjax.data.captions import open_captions
from ganjax.data.pipeline import Pipeline, Stream
from ganjax.data.source import open_source
from ganjax.errors import UserError

LABELS = draw_attributes(np.arange(600))
SEEDS = range(600)
NAMES = list(ATTRIBUTES)


@pytest.fixture(scope="module")
def told():
    return describe(LABELS, SEEDS)


def test_captions_say_nothing_but_what_can_be_seen(told):
    seen = hide(LABELS)
    for caption, label in zip(told, seen, strict=True):
        found = mentioned(caption)
        assert (found != HIDDEN).any(), caption
        wrong = (found != HIDDEN) & (found != label)
        assert not wrong.any(), (caption, [NAMES[n] for n in np.flatnonzero(wrong)])


def test_captions_tell_of_every_value_that_leaves_a_trace(told):
    found = np.stack(list(map(mentioned, told)))
    for number, (name, values) in enumerate(ATTRIBUTES.items()):
        missing = {"eyes": {"open"}, "cheeks": {"plain"}}.get(name, set())
        wanted = {n for n, value in enumerate(values) if value not in missing}
        assert set(found[:, number]) - {HIDDEN} == wanted, name
    assert 5 < (found != HIDDEN).sum(axis=1).mean() < 10


def test_captions_are_varied_and_short(told):
    assert len(set(told)) > 0.99 * len(told)
    one = describe(LABELS[:1].repeat(40, axis=0), SEEDS[:40])
    assert len(set(one)) == 40  # of one portrait
    lengths = [len(text.split(caption)) for caption in told]
    assert max(lengths) <= captions.LONGEST and len(set(lengths)) > 20
    assert {caption.split()[0] for caption in told} >= {"a", "portrait", "this", "against"}


def test_a_caption_is_a_function_of_attributes_and_seed(told):
    order = np.random.default_rng(0).permutation(len(told))[:50]
    assert describe(LABELS[order], order) == [told[n] for n in order]
    assert describe(LABELS[:50], range(1, 51)) != told[:50]


def test_the_vocabulary_has_every_word_and_each_is_said():
    source = Avatars(split="train")
    said = {
        word for each in source.captions(range(1500)) for one in each for word in text.split(one)
    }
    assert said == set(captions.words()) - {""} and len(captions.words()) <= 256


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("A smiling woman with red hair and round glasses",
         {"expression": "smile", "hair_color": "ginger", "glasses": "round"}),
        ("a bald man without a hat or glasses, with a brown beard",
         {"hair": "bald", "hat": "none", "glasses": "none", "facial_hair": "beard",
          "hair_color": "brown"}),
        ("blue eyes, long blue hair, a blue beret and a dark blue hoodie",
         {"eye_color": "blue", "hair": "long", "hair_color": "blue", "hat": "beret",
          "hat_color": "blue", "clothes": "hoodie", "clothes_color": "navy"}),
        ("no earrings; long lashes, black hair; a striped shirt on a striped yellow background",
         {"earrings": "none", "eyes": "lashes", "hair_color": "black", "clothes": "striped",
          "background": "sun", "pattern": "stripes"}),
        ("an astronaut", {}),
    ],
)  # fmt: skip
def test_what_a_text_says(caption, wanted):
    found = dict(zip(NAMES, mentioned(caption), strict=True))
    said = {name: ATTRIBUTES[name][value] for name, value in found.items() if value != HIDDEN}
    assert said == wanted


def test_words_have_numbers_by_frequency_and_others_the_nearest_word():
    known = text.vocabulary(["A hat. A hat!", "a V-neck", "don't"], 4)
    assert known == ("", "a", "hat", "don't")
    np.testing.assert_array_equal(text.encode("Hat, a red hat", known, 4), [2, 1, 2, 0])
    np.testing.assert_array_equal(text.encode("hat " * 9, known, 4), [2] * 4)
    assert text.unknown("a hats astronaut HAT", known) == {"hats": "hat", "astronaut": ""}


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if content is None:
            Image.fromarray(np.full((32, 32, 3), len(name), np.uint8)).save(path)
        else:
            path.write_text(content)
    return folder


def opened(folder, words=20, length=3):
    return open_captions(open_source(str(folder)), words=words, length=length, spec=str(folder))


def texts_of(source):
    arrays, broken = source.load(range(len(source)), (8, 8), 3)
    known = source.fields["text"].names
    said = [[" ".join(known[n] for n in one if n) for one in each] for each in arrays["text"]]
    return said, broken


def test_texts_lie_beside_images_and_broken_images_take_theirs_along(tmp_path, capsys):
    files = {"a.png": None, "a.txt": "red bird\n\na blue bird\n", "b/c.png": None}
    files |= {"b/c.txt": "a fish", "b/d.jpg": "no image", "b/d.txt": "a stone", "e.png": None}
    folder = write(tmp_path, files | {"e.txt": "a very long fish"})
    source = opened(folder)
    said, broken = texts_of(source)
    assert said == [["red bird", "a blue bird"], ["a fish"] * 2, ["a very long"] * 2]
    assert [example.name for example in broken] == ["b/d.jpg"]
    field = source.fields["text"]
    assert (field.kind, field.size, field.names[:2]) == ("text", 3, ("", "a"))
    assert field.values == (("red bird", "a fish", "a stone", "a very long fish"),)
    assert "ignored" not in capsys.readouterr().err
    digest = source.digest
    (folder / "e.txt").write_text("another fish")
    assert opened(folder).digest != digest


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_column_of_hugging_faces_list_comes_first(tmp_path, name):
    rows = [("a.png", "one, two"), ("b.png", "three"), ("a.png", "four")]
    lines = [json.dumps({"file_name": file, "text": caption}) for file, caption in rows]
    if name.endswith("csv"):
        lines = ["file_name,text", *(f'{file},"{caption}"' for file, caption in rows)]
    files = {"x/a.png": None, "x/b.png": None, f"x/{name}": "\n".join(lines)}
    folder = write(tmp_path, files | {"x/a.txt": "five"})
    assert texts_of(opened(folder))[0] == [["one two", "four"], ["three"] * 2]
    assert "label" not in open_source(str(folder)).fields


def test_a_missing_caption_is_named(tmp_path):
    folder = write(tmp_path, {"a.png": None, "a.txt": "\n", "b.png": None, "b.txt": "a b"})
    with pytest.raises(
        UserError, match=r"^a.png has no caption, .* 1 of 2 .*; write it to a.txt b"
    ):
        opened(folder)
    with pytest.raises(UserError, match=r"a.txt is no text in UTF-8"):
        (folder / "a.txt").write_bytes(b"\xff\xfe\xff")
        opened(folder)
    (folder / "metadata.csv").write_text("file_name,text\na.png,one\n")
    with pytest.raises(UserError, match=r"^b.png has no caption, .*in the list's column text$"):
        opened(folder)
    with pytest.raises(UserError, match="tfds:x has no captions; give avatars, or a folder"):
        open_captions(object(), words=9, length=9, spec="tfds:x")


def test_batches_show_one_caption_of_each_example_by_seed_and_number(tmp_path):
    source = open_captions(Avatars(split="test"), words=256, length=40, spec="avatars")
    stream = Stream(source, {"image": "image", "text": "label"}, limit=8)
    data, found = Pipeline((stream,), tmp_path), []
    for first, processes in ((0, 1), (0, 2), (3, 1)):
        parts = [
            data.batches(seed=1, first=first, batch_size=8, image_size=(16, 16),
                         process_index=n, process_count=processes)
            for n in range(processes)
        ]  # fmt: skip
        rows = [[next(part)["label"] for part in parts] for _ in range(4 if not first else 1)]
        found.append([np.concatenate(row) for row in rows])
        for part in parts:
            part.close()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0][3], found[2][0])
    assert found[0][0].shape == (8, 40) and found[0][0].dtype == np.int32
    known = source.fields["text"].names
    everything = {
        tuple(text.encode(one, known, 40)) for each in source._captions(range(8)) for one in each
    }
    shown = {tuple(row) for batch in found[0] for row in batch}
    assert shown <= everything and 8 < len(shown) <= 8 * CAPTIONS
