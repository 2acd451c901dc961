"""Captions of avatars: sentences about what can be seen, and what a sentence says of a portrait.

Both directions go by two tables. Adjectives are values of attributes, and what stands behind them
says of which: "blue" is a color of eyes or of hair. Nouns take the adjectives before them, and may
be a value themselves: "a blue beret".
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, NamedTuple

import numpy as np

from ganjax.data.avatars import ATTRIBUTES
from ganjax.data.avatars.occlusion import HIDDEN, hide
from ganjax.text import split, vocabulary

Draw = Callable[[], float]  # gives numbers in [0, 1)
Pick = Callable[[Sequence[Any]], Any]  # gives one of several
Portrait = Mapping[str, str]  # attribute -> value; "" where it cannot be seen
_COLORS = ("hair_color", "hat_color", "clothes_color", "eye_color")
# Attribute -> value -> adjectives for it, the commonest first.
_ADJECTIVES: dict[str, dict[str, tuple[str, ...]]] = {
    "background": {
        "sky": ("light blue", "blue"),
        "mint": ("mint", "light green", "green"),
        "sand": ("sand", "beige"),
        "rose": ("pink", "rose"),
        "lilac": ("lilac", "purple", "lavender"),
        "sun": ("yellow", "sunny"),
        "slate": ("gray", "slate"),
        "coral": ("coral", "orange", "salmon"),
    },
    "pattern": {"plain": ("plain",), "stripes": ("striped",), "dots": ("dotted",)},
    "skin": {
        "porcelain": ("pale", "porcelain"),
        "light": ("light", "fair"),
        "tan": ("tan", "tanned"),
        "olive": ("olive",),
        "brown": ("brown",),
        "deep": ("dark", "deep brown"),
    },
    "face": {
        "oval": ("oval",),
        "round": ("round",),
        "square": ("square",),
        "heart": ("heart-shaped",),
    },
    "hair": {
        "buzz": ("buzzed", "very short"),
        "parted": ("parted",),
        "spiky": ("spiky",),
        "long": ("long", "long straight"),
        "wavy": ("wavy",),
        "curly": ("curly",),
    },
    "hair_color": {
        "black": ("black",),
        "brown": ("brown",),
        "auburn": ("auburn", "dark red"),
        "ginger": ("red", "ginger", "orange"),
        "blond": ("blond", "blonde"),
        "silver": ("silver", "gray"),
        "blue": ("blue",),
        "pink": ("pink",),
    },
    "eyes": {"happy": ("happy", "closed")},
    "eye_color": {
        "brown": ("brown",),
        "blue": ("blue",),
        "green": ("green",),
        "gray": ("gray",),
        "black": ("black",),
    },
    "brows": {
        "soft": ("soft", "thin"),
        "bold": ("bold", "thick"),
        "raised": ("raised",),
        "angled": ("angled", "slanted"),
    },
    "cheeks": {"blush": ("rosy", "blushing"), "freckles": ("freckled",)},
    "glasses": {
        "round": ("round",),
        "square": ("square", "rectangular"),
        "shades": ("dark",),
    },
    "hat_color": {
        "red": ("red",),
        "blue": ("blue",),
        "yellow": ("yellow",),
        "green": ("green",),
        "cream": ("cream", "white"),
        "plum": ("plum", "purple", "dark purple"),
    },
    "earrings": {"studs": ("stud",), "hoops": ("hoop",)},
    "clothes": {"collar": ("collared",), "striped": ("striped",)},
    "clothes_color": {
        "navy": ("navy", "dark blue", "blue"),
        "teal": ("teal", "turquoise"),
        "red": ("red",),
        "mustard": ("mustard", "yellow"),
        "white": ("white",),
        "violet": ("violet", "purple"),
        "forest": ("green", "dark green", "forest green"),
        "charcoal": ("charcoal", "dark gray", "gray"),
    },
}


class _Noun(NamedTuple):
    """What a noun, or another word that stands for itself, says.

    Attributes:
      takes: attributes that adjectives before it may be values of.
      says: values by attribute.
      absent: the attribute whose "none" it is behind "no" and "without".
    """

    takes: tuple[str, ...] = ()
    says: tuple[tuple[str, str], ...] = ()
    absent: str = ""


def _named(
    attribute: str, takes: tuple[str, ...], absent: str = "", **nouns: tuple[str, ...]
) -> dict[str, _Noun]:
    """Nouns of an attribute's values, by value."""
    return {
        noun: _Noun(takes, ((attribute, value),), absent)
        for value, words in nouns.items()
        for noun in words
    }


_NOUNS: dict[str, _Noun] = {
    "background": _Noun(("background", "pattern")),
    "backdrop": _Noun(("background", "pattern")),
    "skin": _Noun(("skin",)),
    "face": _Noun(("face",)),
    "hair": _Noun(("hair", "hair_color")),
    "eyes": _Noun(("eyes", "eye_color")),
    "eyebrows": _Noun(("brows",)),
    "brows": _Noun(("brows",)),
    "cheeks": _Noun(("cheeks",)),
    "glasses": _Noun(("glasses",), absent="glasses"),
    "spectacles": _Noun(("glasses",), absent="glasses"),
    "hat": _Noun(("hat_color",), absent="hat"),
    "earrings": _Noun(("earrings",), absent="earrings"),
    "shirt": _Noun(("clothes", "clothes_color")),
    "top": _Noun(("clothes", "clothes_color")),
    **_named("pattern", (), disc=("circle",), stripes=("stripes",), dots=("dots",), rays=("rays",)),
    **_named(
        "hair",
        ("hair_color",),
        bald=("bald", "bald head"),
        buzz=("buzz cut",),
        quiff=("quiff",),
        parted=("side parting",),
        spiky=("spikes",),
        bob=("bob",),
        wavy=("waves",),
        curly=("curls",),
        afro=("afro",),
        bun=("bun",),
        pigtails=("pigtails",),
    ),
    **_named("eyes", ("eyes",), lashes=("lashes", "eyelashes")),
    **_named("eyes", (), wink=("winking",)),
    **_named(
        "gaze", (), left=("looking left",), right=("looking right",), ahead=("looking ahead",)
    ),
    **_named(
        "expression",
        (),
        smile=("smiling", "smile"),
        laugh=("laughing", "laugh"),
        grin=("grinning", "grin"),
        calm=("calm", "serious"),
        surprise=("surprised", "astonished"),
    ),
    **_named("cheeks", (), freckles=("freckles",)),
    **_named(
        "facial_hair",
        ("hair_color",),
        "facial_hair",
        moustache=("moustache", "mustache"),
        beard=("beard",),
        goatee=("goatee",),
    ),
    **_named("glasses", (), "glasses", shades=("sunglasses", "shades")),
    **_named(
        "hat",
        ("hat_color",),
        "hat",
        cap=("cap",),
        beanie=("beanie",),
        fedora=("fedora",),
        beret=("beret",),
        headband=("headband",),
    ),
    **_named("earrings", (), "earrings", studs=("studs",), hoops=("hoops",)),
    **_named(
        "clothes",
        ("clothes_color",),
        crew=("t-shirt", "tee"),
        v_neck=("v-neck",),
        turtleneck=("turtleneck",),
        hoodie=("hoodie", "hooded sweater"),
    ),
}
_NOT = ("no", "without")
# What has no article, for there are several of it, or it cannot be counted.
_PLURAL = (
    "skin", "hair", "eyes", "eyebrows", "brows", "cheeks", "glasses", "spectacles", "earrings",
    "spikes", "waves", "curls", "pigtails", "lashes", "eyelashes", "freckles", "sunglasses",
    "shades", "studs", "hoops", "stripes", "dots", "rays",
)  # fmt: skip
_USUAL = ("plain", "ahead", "open", "none")  # values that are seldom worth a word
_MOST = 6  # things that a caption says of somebody's looks and clothes
LONGEST = 40  # words of a caption


def describe(labels: np.ndarray | Sequence[Sequence[int]], seeds: Sequence[int]) -> list[str]:
    """A caption for each portrait, a function of its attributes and its seed alone.

    Captions leave out what cannot be seen (`occlusion.hide`) and, at random, other attributes.

    Args:
      labels: int [N, A], attributes in the order of `ATTRIBUTES`.
      seeds: [N], one for each caption; others give other words, order and attributes.

    >>> portrait = [[5, 0, 1, 1, 6, 3, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1]]
    >>> print(*describe(portrait * 2, (3, 12)), sep="\\n")
    a drawing of a character who has long ginger hair and blue eyes
    soft brows, light skin, round glasses, a hoodie, long red hair
    """
    shown, captions = hide(np.asarray(labels)), []
    for seen, true, seed in zip(shown.tolist(), np.asarray(labels).tolist(), seeds, strict=True):
        portrait = {
            name: "" if value == HIDDEN else values[value]
            for (name, values), value in zip(ATTRIBUTES.items(), seen, strict=True)
        }
        bald = true[_PLACES["hair"]] == ATTRIBUTES["hair"].index("bald")
        # Its `random` gives the same numbers on every version of Python.
        captions.append(_caption(portrait, bald, Random(int(seed)).random))
    return captions


_PLACES = {name: number for number, name in enumerate(ATTRIBUTES)}


def mentioned(caption: str) -> np.ndarray:
    """What a text says of a portrait: int32 [A] as in `ATTRIBUTES`, `HIDDEN` where it says nothing.

    >>> found = mentioned("A smiling woman with red hair and round glasses, without a hat")
    >>> {n: v[i] for (n, v), i in zip(ATTRIBUTES.items(), found) if i != HIDDEN}
    {'hair_color': 'ginger', 'expression': 'smile', 'glasses': 'round', 'hat': 'none'}
    """
    found = np.full(len(ATTRIBUTES), HIDDEN, np.int32)
    senses, words = _senses(), split(caption)
    pending: list[dict[str, str]] = []
    absent = False

    def say(attribute: str, value: str) -> None:
        found[_PLACES[attribute]] = ATTRIBUTES[attribute].index(value)

    while words:
        size = next((n for n in (2, 1) if " ".join(words[:n]) in senses), 1)
        phrase, words = " ".join(words[:size]), words[size:]
        if phrase in _NOUNS:
            noun = _NOUNS[phrase]
            if absent and noun.absent:
                say(noun.absent, "none")
            else:
                for attribute, value in noun.says:
                    say(attribute, value)
                for adjective in pending:
                    for attribute in set(noun.takes) & adjective.keys():
                        say(attribute, adjective[attribute])
            if noun.takes or noun.absent:
                pending, absent = [], absent and words[:1] == ["or"]
        elif phrase in senses:
            pending.append(senses[phrase])
        absent = absent or phrase in _NOT
    return found


@cache
def words() -> tuple[str, ...]:
    """The vocabulary of all captions."""
    texts = [*_senses(), *_OPENINGS, *_NOT, *_BEHIND, "a an and or in with wearing who has head"]
    texts += [noun for nouns in _SUBJECTS.values() for noun in nouns]
    return vocabulary(texts, 2**16)


@cache
def _senses() -> dict[str, dict[str, str]]:
    """Phrases -> what adjectives say, by attribute; {} of nouns."""
    found: dict[str, dict[str, str]] = {noun: {} for noun in _NOUNS}
    for attribute, values in _ADJECTIVES.items():
        for value, phrases in values.items():
            for phrase in phrases:
                found.setdefault(phrase, {})[attribute] = value
    return found


# "man" and "woman" go with a few attributes, so that these words mean something, too.
_SUBJECTS = {
    "man": ("man", "guy", "man", "person"),
    "woman": ("woman", "girl", "woman", "person"),
    "": ("person", "person", "character"),
}
_OPENINGS = ("", "", "portrait of", "a portrait of", "a picture of", "this is", "a drawing of")
_BEHIND = ("in front of", "against", "on")


def _caption(portrait: Portrait, bald: bool, draw: Draw) -> str:
    pick, share = _picker(draw), 0.3 + 0.6 * draw()

    def chosen(attribute: str) -> str:
        """The value, where it is to be told."""
        value = portrait[attribute]
        told = draw() < (share * 0.3 if value in _USUAL else share)
        return value if told else ""

    told = {attribute: chosen(attribute) for attribute in ATTRIBUTES}
    if not any(told.values()):
        told["clothes"] = portrait["clothes"]
    looks = [phrase for phrase in _looks(told, bald, pick) if phrase]
    outfit = [phrase for phrase in _outfit(told, pick) if phrase]
    looks, outfit = (_shuffled(phrases, draw)[: _MOST // 2] for phrases in (looks, outfit))
    background = _background(told, pick)
    expression = _word("expression", told["expression"], pick)
    if draw() < 0.2:  # a mere list
        parts = [expression.removeprefix("a "), *looks, *outfit, background]
        return ", ".join(_shuffled([part for part in parts if part], draw))
    kind = "man" if portrait["facial_hair"] != "none" else ""
    kind = "woman" if not kind and portrait["eyes"] == "lashes" else kind
    noun, smile = pick(_SUBJECTS[kind]), expression in ("smile", "laugh", "grin")
    adjectives = [] if smile else [expression]
    if told["hair"] == "bald" and draw() < 0.7:
        adjectives.append("bald")
        looks = [phrase for phrase in looks if "bald" not in phrase]
    subject = _article(" ".join([*filter(None, adjectives), noun]))
    if smile:
        looks = [f"a {expression}", *looks]
    doing = [told["gaze"] and f"looking {told['gaze']}", "winking" * (told["eyes"] == "wink")]
    clauses = [
        " and ".join(filter(None, doing)),
        f"{pick(('with', 'with', 'who has'))} {_listed(looks)}" if looks else "",
        _worn(outfit, pick) if outfit else "",
    ]
    clauses = _shuffled([clause for clause in clauses if clause], draw)
    behind = f"{pick(_BEHIND)} {background}" if background else ""
    if behind and draw() < 0.3:
        return f"{behind}, {subject} {', '.join(clauses)}".rstrip()
    body = " ".join([pick(_OPENINGS), subject]).strip()
    return " ".join([body, ", ".join(filter(None, [*clauses, behind]))]).strip()


def _worn(outfit: Sequence[str], pick: Pick) -> str:
    absent = [phrase.removeprefix("no ") for phrase in outfit if phrase.startswith("no ")]
    if len(absent) == len(outfit):
        return f"without {' or '.join(map(_article, absent))}"
    return f"{pick(('wearing', 'wearing', 'wearing' if absent else 'in'))} {_listed(outfit)}"


def _looks(told: Portrait, bald: bool, pick: Pick) -> list[str]:
    color = _word("hair_color", told["hair_color"], pick)
    on_head = "" if bald else color  # or on the chin
    found = [
        _hair(told["hair"], on_head, pick),
        _phrase({"eye_color": told["eye_color"], "eyes": told["eyes"]}, ("eyes",), pick),
        pick(("long lashes", "long eyelashes")) if told["eyes"] == "lashes" else "",
    ]
    for attribute, nouns in (("skin", ("skin",)), ("face", ("face",)), ("cheeks", ("cheeks",))):
        found.append(_phrase({attribute: told[attribute]}, nouns, pick))
    found.append(_phrase({"brows": told["brows"]}, ("eyebrows", "brows"), pick))
    if told["cheeks"] == "freckles" and pick((True, False)):
        found = [*(phrase for phrase in found if "freckled" not in phrase), "freckles"]
    match told["facial_hair"]:
        case "none":
            found.append("no beard")
        case "":
            pass
        case value:
            noun = pick(_nouns("facial_hair", value))
            found.append(_article(f"{color} {noun}" if bald and color else noun))
    return found


def _hair(style: str, color: str, pick: Pick) -> str:
    if style == "bald":
        return "a bald head"
    forms = []
    if style in _ADJECTIVES["hair"]:
        forms.append(f"{_word('hair', style, pick)} {color} hair")
    if style in ("quiff", "bob", "bun", "pigtails") and color:
        forms.append(f"{color} hair in {_article(style)}")
    if nouns := _nouns("hair", style):
        forms.append(f"{color} {pick(nouns)}")
    if not style and color:
        forms.append(f"{color} hair")
    return _article(" ".join(pick(forms).split())) if forms else ""


def _outfit(told: Portrait, pick: Pick) -> list[str]:
    found = []
    hat, color = told["hat"], _word("hat_color", told["hat_color"], pick)
    if hat == "none":
        found.append("no hat")
    elif hat or color:
        found.append(_article(f"{color} {pick(_nouns('hat', hat) or ('hat',))}".strip()))
    if told["glasses"] == "none":
        found.append("no glasses")
    elif told["glasses"] == "shades" and pick((True, False)):
        found.append(pick(_nouns("glasses", "shades")))
    else:
        found.append(_phrase({"glasses": told["glasses"]}, ("glasses", "spectacles"), pick))
    if told["earrings"] == "none":
        found.append("no earrings")
    elif told["earrings"] and pick((True, False)):
        found.append(pick(_nouns("earrings", told["earrings"])))
    else:
        found.append(_phrase({"earrings": told["earrings"]}, ("earrings",), pick))
    clothes = told["clothes"]
    if nouns := _nouns("clothes", clothes):
        found.append(_phrase({"clothes_color": told["clothes_color"]}, nouns, pick, always=True))
    else:
        both = {"clothes": clothes, "clothes_color": told["clothes_color"]}
        found.append(_phrase(both, ("shirt", "top"), pick))
    return found


def _background(told: Portrait, pick: Pick) -> str:
    color, pattern = told["background"], told["pattern"]
    nouns = ("background", "backdrop")
    phrase = _phrase({"pattern": pattern, "background": color}, nouns, pick)
    with_it = _nouns("pattern", pattern)
    if with_it and (pattern not in _ADJECTIVES["pattern"] or pick((True, False))):
        plain = _phrase({"background": color}, nouns, pick, always=True)
        return f"{plain} with {_article(pick(with_it))}"
    return phrase


def _phrase(
    values: Mapping[str, str], nouns: Sequence[str], pick: Pick, *, always: bool = False
) -> str:
    """Adjectives for values before one of `nouns`; "" where there are none, but for `always`."""
    adjectives = [_word(attribute, value, pick) for attribute, value in values.items()]
    adjectives = [adjective for adjective in adjectives if adjective]
    if not adjectives and not always:
        return ""
    return _article(" ".join([*adjectives, pick(nouns)]))


def _word(attribute: str, value: str, pick: Pick) -> str:
    """An adjective for a value, or what stands for itself; "" where there is none."""
    known = _ADJECTIVES.get(attribute, {}).get(value, ())
    if attribute == "expression":
        known = _nouns(attribute, value)
    # Twice as often as others, the commonest one.
    return pick((known[0], *known)) if known else ""


@cache
def _nouns(attribute: str, value: str) -> tuple[str, ...]:
    return tuple(n for n, noun in _NOUNS.items() if (attribute, value) in noun.says)


def _article(phrase: str) -> str:
    if phrase.split()[-1] in _PLURAL or " in " in phrase:
        return phrase
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _listed(phrases: Sequence[str]) -> str:
    *first, last = phrases
    return f"{', '.join(first)} and {last}" if first else last


def _shuffled(items: Sequence[str], draw: Draw) -> list[str]:
    return [item for _, item in sorted((draw(), item) for item in items)]


def _picker(draw: Draw) -> Pick:
    return lambda options: options[int(draw() * len(options))]
