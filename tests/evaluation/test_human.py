"""The page for blind comparison, its key, and what answers come to."""

import base64
import hashlib
import html
import io
import json
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image

from ganjax.errors import UserError
from ganjax.evaluation.human.page import write_page
from ganjax.evaluation.human.scoring import describe, score, sign_test, wilson_interval


def encoded(image, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind)
    return content.getvalue()


def images(seed, names, side=8, kind="PNG"):
    random = np.random.default_rng(seed)
    pictures = {name: random.integers(0, 256, (side, side, 3), np.uint8) for name in names}
    return pictures, {name: partial(encoded, pictures[name], kind) for name in names}


def numbered(word, count):
    return [f"{word}{number}.png" for number in range(count)]


def data_of(page):
    text = page.read_text("utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found)


def decoded(uri):
    head, _, content = uri.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert head == f"data:{Image.MIME[image.format]};base64"
    assert not image.getexif() and not set(image.info) - {"jfif", *JFIF}
    return np.asarray(image)


JFIF = ("jfif_version", "jfif_unit", "jfif_density")


def write(folder, pairs=20, seed=3, a="apple", b="berry", **options):
    """Writes a page of random images: the page, its key and the images of both sides."""
    pictures_a, files_a = images(1, numbered(a, pairs + 4))
    pictures_b, files_b = images(2, numbered(b, pairs + 4))
    page = folder / "page.html"
    key = write_page(files_a, files_b, page, pairs=pairs, seed=seed, **options)
    return page, json.loads(key.read_text()), (pictures_a, pictures_b)


def test_page_and_key_agree(tmp_path):
    page, key, (pictures_a, pictures_b) = write(tmp_path)
    data = data_of(page)
    assert len(data["trials"]) == len(key["trials"]) == 22  # a tenth comes again
    assert data["page"] == key["page"]
    for trial in data["trials"]:
        entry = key["trials"][trial["id"]]
        name_a, name_b = key["pairs"][entry["pair"]]
        expected = [pictures_a[name_a], pictures_b[name_b]]
        if entry["left"] == "b":
            expected.reverse()
        for side, picture in zip(("left", "right"), expected, strict=True):
            np.testing.assert_array_equal(decoded(data["images"][trial[side]]), picture)


def test_sides_are_balanced_and_repeats_swapped(tmp_path):
    page, key, _ = write(tmp_path)
    trials = list(key["trials"].values())
    assert [trial["id"] for trial in data_of(page)["trials"]] == list(key["trials"])
    first, again = trials[:20], trials[20:]
    assert sum(trial["left"] == "a" for trial in first) == 10
    assert len({trial["pair"] for trial in first}) == 20
    for trial in again:
        (before,) = [other for other in first if other["pair"] == trial["pair"]]
        assert before["left"] != trial["left"]
        assert len(trials) - first.index(before) > 10  # others lie between


def test_neither_set_is_told_by_place_in_the_page(tmp_path):
    # Over seeds, A's pictures are as often among the first half of the images as B's, and the
    # side of a trial tells nothing on the next one's.
    places, sides = [], []
    for seed in range(12):
        (folder := tmp_path / str(seed)).mkdir()
        page, key, (pictures_a, _) = write(folder, seed=seed)
        of_a = {picture.tobytes() for picture in pictures_a.values()}
        shown = [decoded(uri).tobytes() in of_a for uri in data_of(page)["images"]]
        places.append(sum(shown[:20]))
        lefts = [trial["left"] for trial in key["trials"].values()][:20]
        sides.append(sum(x == y for x, y in zip(lefts, lefts[1:], strict=False)))
    assert len(set(places)) > 2 and abs(np.mean(places) - 10) < 2
    assert len(set(sides)) > 2 and abs(np.mean(sides) - 9) < 3


def test_page_is_a_function_of_the_seed(tmp_path):
    pages = []
    for number, seed in enumerate((3, 3, 4)):
        (folder := tmp_path / str(number)).mkdir()
        page, _, _ = write(folder, seed=seed)
        pages.append((page.read_bytes(), page.with_suffix(".key.json").read_bytes()))
    assert pages[0] == pages[1]
    assert pages[0][0] != pages[2][0] and pages[0][1] != pages[2][1]


def test_equal_names_are_paired(tmp_path):
    _, files_a = images(1, ["x/1.png", "x/2.png", "3.png"])
    _, files_b = images(2, ["3.jpg", "x/2.jpg", "x/1.jpg"], kind="JPEG")
    key = write_page(files_a, files_b, tmp_path / "page.html", pairs=3, seed=0)
    pairs = json.loads(key.read_text())["pairs"]
    assert sorted(pairs) == [[f"{n}.png", f"{n}.jpg"] for n in ("3", "x/1", "x/2")]


@pytest.mark.parametrize("sides", [(16, 48), (300, 20), (900, 900)])
def test_size_and_format_tell_nothing(tmp_path, sides):
    _, files_a = images(1, ["1.png"], side=sides[0])
    _, files_b = images(2, ["1.png"], side=sides[1], kind="JPEG")
    write_page(files_a, files_b, tmp_path / "page.html", pairs=1, seed=0)
    uris = data_of(tmp_path / "page.html")["images"]
    side = min(max(sides), 768)
    assert [decoded(uri).shape for uri in uris] == [(side, side, 3)] * 2
    assert len({uri.split(",")[0] for uri in uris}) == 1


def test_page_names_no_file_and_loads_nothing(tmp_path):
    page, key, _ = write(tmp_path, names=("cherry/run7", "damson"))
    text = page.read_text("utf-8")
    for word in ("apple", "berry", "cherry", "damson", "run7", "http", "src=", "href=", "url("):
        assert word not in text.replace("http-equiv", ""), word
    assert key["names"] == ["cherry/run7", "damson"]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag in ("style", "script"):
        (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "{{" not in text and " style=" not in text and not re.search(r"\son\w+=", text)


def test_question_is_text(tmp_path):
    question = "</script><script>alert('1')</script> {{data}} \"<b>&"
    page, _, _ = write(tmp_path, pairs=2, question=question)
    text = page.read_text("utf-8")
    assert text.count("<script>") == 1 and "<b>" not in text
    assert html.unescape(re.search(r"<h1 id=\"question\">(.*?)</h1>", text)[1]) == question


def test_a_page_needs_images(tmp_path):
    _, files = images(1, numbered("x", 3))
    page = tmp_path / "page.html"
    cases = [
        (files, 4, page, "A has 3 images"),
        (files, 0, page, "give 1 or more"),
        (files, 1, tmp_path / "page.txt", r"ends in \.html"),
        (files, 1, tmp_path / "absent" / "page.html", "cannot write"),
        ({name: lambda: b"x" for name in files}, 1, page, r"x\d\.png: is no image .*; remove it"),
    ]
    for a, pairs, output, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            write_page(a, files, output, pairs=pairs, seed=0)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_key_of_another_page_is_kept(tmp_path):
    page, key, _ = write(tmp_path, seed=3)
    before = page.read_bytes()
    write(tmp_path, seed=3)
    with pytest.raises(UserError, match="key of another page"):
        write(tmp_path, seed=4)
    assert page.read_bytes() == before


def answer(folder, key, choices, *, name="answers.json", rater=None, ms=1500):
    """Writes answers; choices are "a", "b" or "t" for the trials in order."""
    answers = []
    for (trial, entry), wish in zip(key["trials"].items(), choices, strict=False):
        choice = "tie" if wish == "t" else "left" if entry["left"] == wish else "right"
        answers.append({"trial": trial, "choice": choice, "ms": ms})
        ms += 1
    path = folder / name
    path.write_text(json.dumps({"page": key["page"], "rater": rater, "answers": answers}))
    return path


def test_one_rater(tmp_path):
    page, key, _ = write(tmp_path, names=("old", "new"))
    first = list("aaaaaaaaabbbtttaaaaa")  # 14 : 3 and 3 ties
    again = [first[entry["pair"]] for entry in list(key["trials"].values())[20:]]
    again[1] = "b" if again[1] != "b" else "a"
    path = answer(tmp_path, key, first + again, rater="Ada")
    result = score(page, [path])
    assert result == score(page.with_suffix(".key.json"), [path])
    assert (result.a, result.b, result.ties, result.share) == (14, 3, 3, 14 / 17)
    assert result.p_value == sign_test(14, 3) and result.interval == wilson_interval(14, 17)
    (rater,) = result.raters
    assert rater[:6] == ("Ada", 14, 3, 3, 2, 1) and rater.agreement is None
    assert rater.seconds == pytest.approx(1.5105)
    assert describe(result).splitlines() == [
        "Which picture is better?",
        "A = old, B = new",
        "20 pairs: A won 14, B won 3, 3 undecided",
        "A won 82.4 % of the 17 pairs decided (95 % interval 59.0 to 93.8); sign test p = 0.0127",
        "Ada: A 14, B 3, no difference 3; median 1.5 s; 1 of 2 repeated pairs answered alike",
    ]


def test_several_raters(tmp_path):
    page, key, _ = write(tmp_path)
    paths = [
        answer(tmp_path, key, "aabt", name="1.json", rater="\x1b[31m\u202eEve"),
        answer(tmp_path, key, "aaab", name="2.json"),
        answer(tmp_path, key, "abbtb", name="3.json"),
    ]
    result = score(page, paths)
    # By majority: a a b b b; the fourth has votes t b t.
    assert (result.a, result.b, result.ties) == (2, 3, 0)
    assert [rater.agreement for rater in result.raters] == [5 / 8, 3 / 8, 4 / 8]
    text = describe(result)
    assert "\x1b" not in text and "\u202e" not in text and "2.json: A 3, B 1" in text


def test_nothing_but_ties(tmp_path):
    page, key, _ = write(tmp_path)
    result = score(page, [answer(tmp_path, key, "t")])
    assert (result.ties, result.share, result.interval, result.p_value) == (1, None, (0, 1), 1)
    assert "1 pair: A won 0, B won 0, 1 undecided" in describe(result)


def changed(**fields):
    return lambda content: content | fields


def first_answer(**fields):
    return lambda c: c | {"answers": [c["answers"][0] | fields, *c["answers"][1:]]}


@pytest.mark.parametrize(
    "change, message",
    [
        (changed(page="0123456789abcdef"), "answers another page"),
        (changed(answers=[]), "no answer"),
        (changed(answers={}), "download them again"),
        (changed(answers=[None]), "download them again"),
        (changed(rater="x" * 81), "download them again"),
        (changed(rater=7), "download them again"),
        (lambda c: c | {"answers": c["answers"] * 2}, "twice"),
        (lambda c: [], "download them again"),
        (lambda c: "{", "no JSON"),
        (first_answer(trial="0" * 16), "page lacks"),
        (first_answer(trial=["x"]), "download them again"),
        (first_answer(choice="up"), "download them again"),
        (first_answer(ms=-1), "download them again"),
        (first_answer(ms=float("nan")), "download them again"),
        (first_answer(ms=True), "download them again"),
        (first_answer(ms="1"), "download them again"),
    ],
)
def test_bad_answers(tmp_path, change, message):
    page, key, _ = write(tmp_path, pairs=3)
    path = answer(tmp_path, key, "aab")
    content = change(json.loads(path.read_text()))
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        score(page, [path])
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_bad_files(tmp_path):
    page, key, _ = write(tmp_path, pairs=3)
    good, bad = answer(tmp_path, key, "aab"), tmp_path / "bad.json"
    for content in (b"[" * 100_000, b"\xff\xfe\x00", b'{"page": 1' + b"0" * 5000 + b"}"):
        bad.write_bytes(content)
        with pytest.raises(UserError, match="no JSON"):
            score(page, [bad])
    bad.write_bytes(b" " * (4 * 2**20 + 1))
    with pytest.raises(UserError, match="larger than any page"):
        score(page, [bad])
    bad.write_bytes(good.read_bytes())
    with pytest.raises(UserError, match="give each file once"):
        score(page, [good, bad])
    with pytest.raises(UserError, match="no answers"):
        score(page, [])
    with pytest.raises(UserError, match="cannot be read"):
        score(page, [tmp_path / "absent.json"])
    with pytest.raises(UserError, match="cannot be read"):
        score(tmp_path / "absent.html", [good])
    for key_text in ("{}", "[]", '{"page": 1, "question": 2, "names": ["a", "b"], "trials": [1]}'):
        page.with_suffix(".key.json").write_text(key_text)
        with pytest.raises(UserError, match="is no key"):
            score(page, [good])


def test_sign_test():
    # Twice the lower tail of the binomial distribution, added up by hand.
    table = {(0, 0): 1, (1, 0): 1, (2, 2): 1, (5, 0): 2 / 32, (1, 5): 14 / 64, (8, 2): 112 / 1024}
    for (a, b), p_value in table.items():
        assert sign_test(a, b) == sign_test(b, a) == pytest.approx(p_value, rel=1e-15)
    assert sign_test(3000, 3000) == 1 and 0 < sign_test(0, 1000) < 1e-300


def test_wilson_interval():
    # Both ends solve |p - share| = z sqrt(p (1 - p) / n).
    for wins, count in [(0, 10), (14, 17), (5, 5), (500, 1000)]:
        for bound in wilson_interval(wins, count):
            deviation = 1.959963984540054 * (bound * (1 - bound) / count) ** 0.5
            assert abs(bound - wins / count) == pytest.approx(deviation, abs=1e-9)
    low, high = wilson_interval(14, 17)
    assert low < 14 / 17 < high and wilson_interval(0, 10)[0] == 0 and wilson_interval(5, 5)[1] == 1
