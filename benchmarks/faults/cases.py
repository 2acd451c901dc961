"""What came of the faults, as a table."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Case(NamedTuple):
    """What came of a fault.

    Attributes:
      fault: its kind.
      problems: what is not as promised.
      lost: steps that were made and are made again, None where that says nothing.
      message: what the user reads.
    """

    fault: str
    problems: Sequence[str] = ()
    lost: int | None = None
    message: str = ""

    def __str__(self) -> str:
        lost = "" if self.lost is None else f", {self.lost} steps lost"
        return f"{self.fault}: {'; '.join(self.problems) or 'good'}{lost}"


def rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """One row for each kind of fault, in their order."""
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        kinds.setdefault(case.fault, []).append(case)
    return [
        {
            "name": fault,
            "times": len(group),
            "good": sum(not case.problems for case in group),
            "most_steps_lost": max((c.lost for c in group if c.lost is not None), default=None),
            "messages": sorted({case.message for case in group if case.message}),
            "problems": [problem for case in group for problem in case.problems],
        }
        for fault, group in kinds.items()
    ]


def table(cases: Sequence[Case]) -> str:
    lines = [f"{'fault':52}{'times':>7}{'good':>7}{'lost':>7}"]
    for row in rows(cases):
        lost = row["most_steps_lost"]
        lost = "" if lost is None else lost
        lines.append(f"{row['name']:52}{row['times']:7}{row['good']:7}{lost:>7}")
        lines += [f"    {message}" for message in row["messages"][:1]]
        lines += [f"    PROBLEM: {problem}" for problem in row["problems"]]
    return "\n".join(lines)
