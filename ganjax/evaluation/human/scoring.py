"""What the answers to a blind comparison (`ganjax.metrics.blind`) come to."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist, median
from typing import Any, NamedTuple

from ganjax.errors import UserError
from ganjax.evaluation.human.page import NAME_LIMIT, key_path

_MAX_BYTES = 4 * 2**20  # of an answers file
_MAX_MS = 10**10
_Z = NormalDist().inv_cdf(0.975)


class Rater(NamedTuple):
    """One person's answers.

    Attributes:
      name: as given, or the file's name.
      a, b, ties: pairs in which A was chosen, B, neither.
      repeats, consistent: pairs answered twice, and those of them answered alike.
      agreement: share of the other raters' answers on the same pairs that are equal, or None.
      seconds: median time to an answer.
    """

    name: str
    a: int
    b: int
    ties: int
    repeats: int
    consistent: int
    agreement: float | None
    seconds: float


class Result(NamedTuple):
    """What a comparison comes to; every pair counts once, by the majority of its raters.

    So the pairs are independent, as interval and test suppose; a pair's several answers are not.

    Attributes:
      names: of A and B.
      question: as asked.
      a, b, ties: pairs that A won, that B won, that neither did.
      share: of A in the pairs won, or None if there are none.
      interval: the share's 95 % interval (Wilson 1927).
      p_value: exact two-sided sign test that both are equally good; ties are left out.
      raters: one per file.
    """

    names: tuple[str, str]
    question: str
    a: int
    b: int
    ties: int
    share: float | None
    interval: tuple[float, float]
    p_value: float
    raters: tuple[Rater, ...]


def score(key: Path, answers: Sequence[Path]) -> Result:
    """Scores the answers to a page that `write_page` wrote.

    Args:
      key: the page's key, or the page with its key beside it.
      answers: a file per rater; answers to a part of the trials will do.

    Raises:
      UserError: a file is missing, damaged, of another page or given twice, or nothing is
        answered.
    """
    key = key_path(key) if key.suffix.lower() == ".html" else key
    content = _read_json(key, "key", None)
    try:
        page, question, names = content["page"], str(content["question"]), content["names"]
        names = tuple(str(name) for name in names)
        if len(names) != 2:
            raise ValueError
        trials = {
            trial: (int(entry["pair"]), {"a": 1, "b": -1}[entry["left"]])
            for trial, entry in content["trials"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{key} is no key of a page for comparison; give PAGE.key.json") from None

    sheets: dict[Path, _Sheet] = {}
    for path in answers:
        sheet = _read_answers(path, page, trials)
        for other in sheets:
            if sheets[other].raw == sheet.raw:
                raise UserError(f"{path} has the same answers as {other}; give each file once")
        sheets[path] = sheet
    if not sheets:
        raise UserError("no answers; have people answer the page, and give their answers.json")

    votes: dict[int, list[int]] = {}
    for sheet in sheets.values():
        for pair, vote in sheet.votes.items():
            votes.setdefault(pair, []).append(vote)
    a, b, ties = _count([sum(pair) for pair in votes.values()])
    return Result(
        names=names,
        question=question,
        a=a,
        b=b,
        ties=ties,
        share=a / (a + b) if a + b else None,
        interval=wilson_interval(a, a + b),
        p_value=sign_test(a, b),
        raters=tuple(_rate(sheet, votes) for sheet in sheets.values()),
    )


def describe(result: Result) -> str:
    """The result as a few plain lines."""
    name_a, name_b = (_printable(name) for name in result.names)
    decided = result.a + result.b
    lines = [
        _printable(result.question),
        f"A = {name_a}, B = {name_b}",
        f"{_pairs(decided + result.ties)}: A won {result.a}, B won {result.b}, "
        f"{result.ties} undecided",
    ]
    if result.share is not None:
        low, high = (100 * bound for bound in result.interval)
        lines.append(
            f"A won {100 * result.share:.1f} % of the {_pairs(decided)} decided "
            f"(95 % interval {low:.1f} to {high:.1f}); sign test p = {result.p_value:.3g}"
        )
    for rater in result.raters:
        line = (
            f"{_printable(rater.name)}: A {rater.a}, B {rater.b}, no difference {rater.ties}; "
            f"median {rater.seconds:.1f} s"
        )
        if rater.repeats:
            line += f"; {rater.consistent} of {rater.repeats} repeated pairs answered alike"
        if rater.agreement is not None:
            line += f"; agrees with {100 * rater.agreement:.0f} % of the others' answers"
        lines.append(line)
    return "\n".join(lines)


def wilson_interval(wins: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); (0, 1) if there is nothing to count."""
    if not count:
        return 0.0, 1.0
    share, z2 = wins / count, _Z**2 / count
    center = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return max(0.0, center - half), min(1.0, center + half)


def sign_test(a: int, b: int) -> float:
    """The exact two-sided p-value of a : b wins where both win with probability 1/2."""
    term = tail = 1
    for k in range(min(a, b)):  # each coefficient from the last; comb() is slow
        term = term * (a + b - k) // (k + 1)
        tail += term
    return min(1.0, tail / 2 ** (a + b - 1)) if a + b else 1.0


class _Sheet(NamedTuple):
    name: str
    votes: dict[int, int]  # pair -> 1 for A, -1 for B, 0 for neither
    repeats: list[bool]  # of pairs answered twice: alike?
    milliseconds: list[float]
    raw: list[Any]


def _read_answers(path: Path, page: str, trials: Mapping[str, tuple[int, int]]) -> _Sheet:
    content = _read_json(path, "answers", _MAX_BYTES)
    damaged = UserError(f"{path} holds no answers as the page exports them; download them again")
    if not isinstance(content, dict) or not isinstance(content.get("answers"), list):
        raise damaged
    if content.get("page") != page:
        raise UserError(f"{path} answers another page; give the key of that page")
    rater = content.get("rater")
    if not (rater is None or isinstance(rater, str) and len(rater) <= NAME_LIMIT):
        raise damaged
    given: dict[str, int] = {}
    milliseconds = []
    for answer in content["answers"]:
        match answer:
            case {"trial": str(trial), "choice": "left" | "right" | "tie" as choice, "ms": ms}:
                if isinstance(ms, bool) or not isinstance(ms, int | float):
                    raise damaged
                if not 0 <= ms <= _MAX_MS:  # nor NaN
                    raise damaged
            case _:
                raise damaged
        if trial not in trials:
            raise UserError(f"{path} answers a trial that the page lacks; download it again")
        if trial in given:
            raise UserError(f"{path} answers a trial twice; download it again")
        given[trial] = {"left": 1, "right": -1, "tie": 0}[choice] * trials[trial][1]
        milliseconds.append(ms)
    if not given:
        raise UserError(f"{path} holds no answer; leave it out")
    votes: dict[int, int] = {}
    repeats = []
    for trial, (pair, _) in trials.items():  # in the page's order: repeats come last
        if trial not in given:
            continue
        if pair in votes:
            repeats.append(votes[pair] == given[trial])
        else:
            votes[pair] = given[trial]
    return _Sheet(rater or path.name, votes, repeats, milliseconds, content["answers"])


def _read_json(path: Path, what: str, limit: int | None) -> Any:
    try:
        with path.open("rb") as file:
            text = file.read(-1 if limit is None else limit + 1)
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {error.strerror}") from error
    if limit is not None and len(text) > limit:
        raise UserError(f"{what} {path} is larger than any page exports; give the exported file")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} {path} is no JSON; give the file as it was written") from error


def _rate(sheet: _Sheet, votes: Mapping[int, Sequence[int]]) -> Rater:
    a, b, ties = _count(sheet.votes.values())
    # A rater's own answer is among the pair's: once alike, once in all.
    alike = sum(votes[pair].count(vote) - 1 for pair, vote in sheet.votes.items())
    others = sum(len(votes[pair]) - 1 for pair in sheet.votes)
    return Rater(
        name=sheet.name,
        a=a,
        b=b,
        ties=ties,
        repeats=len(sheet.repeats),
        consistent=sum(sheet.repeats),
        agreement=alike / others if others else None,
        seconds=median(sheet.milliseconds) / 1000,
    )


def _count(votes: Iterable[int]) -> tuple[int, int, int]:
    votes = list(votes)
    a, b = sum(vote > 0 for vote in votes), sum(vote < 0 for vote in votes)
    return a, b, len(votes) - a - b


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'}"


def _printable(text: str) -> str:
    """Without what would steer a terminal: raters' names come from anywhere."""
    return "".join(c if c.isprintable() else "?" for c in text)
