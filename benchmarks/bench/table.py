"""Rows, and how they are printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.measure import Ratio

CROWDED = 1.0
"""CPUs kept busy by others from which a row's result is doubtful."""

HEADINGS = ("what", "botwire", "against", "its figure", "ratio (middle half)", "bar", "result", "others' load", "note")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        topic: the group it belongs to; what ``--only`` takes.
        what: what is measured.
        ours: botwire's figure, with its unit.
        against: the floor or the peer; empty if the figure stands alone.
        theirs: its figure, with its unit.
        ratio: botwire's figure over the other one, of the same rounds.
        bar: what is demanded; empty if the row only informs.
        passed: whether it is reached; None if there is no bar, or nothing was measured.
        load: CPUs that others kept busy meanwhile.
        note: what else a reader should know.
    """

    topic: str
    what: str
    ours: str
    against: str = ""
    theirs: str = ""
    ratio: Ratio | None = None
    bar: str = ""
    passed: bool | None = None
    load: float | None = None
    note: str = ""

    @property
    def result(self) -> str:
        """``pass``, ``MISS``, or nothing; with a question mark if others kept a CPU busy, so that it should be measured again."""
        if self.passed is None:
            return ""
        return ("pass" if self.passed else "MISS") + ("?" if self.load is not None and self.load > CROWDED else "")

    def cells(self) -> tuple[str, ...]:
        """The texts of the line, in the order of the headings."""
        ratio = "" if self.ratio is None else f"{_short(self.ratio.median)} ({_short(self.ratio.low)} to {_short(self.ratio.high)})"
        load = "" if self.load is None else f"{self.load:.1f}"
        return (self.what, self.ours, self.against, self.theirs, ratio, self.bar, self.result, load, self.note)

    def as_json(self) -> dict[str, object]:
        """The row for machines."""
        ratio = None if self.ratio is None else {"median": self.ratio.median, "low": self.ratio.low, "high": self.ratio.high}
        return {
            "topic": self.topic,
            "what": self.what,
            "botwire": self.ours,
            "against": self.against,
            "its_figure": self.theirs,
            "ratio": ratio,
            "bar": self.bar,
            "passed": self.passed,
            "others_load_cpus": self.load,
            "note": self.note,
        }


def absent(topic: str, what: str, peer: str, reason: str) -> Row:
    """A line for what could not be measured, and why."""
    return Row(topic, what, "", peer, "not installed", note=reason)


def render(rows: Sequence[Row]) -> str:
    """The table as text that is Markdown too."""
    lines = [HEADINGS, *(tuple(cell.replace("|", "/") for cell in row.cells()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(_line(line, widths) for line in (lines[0], rule, *lines[1:]))


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _short(number: float) -> str:
    return f"{number:.2f}" if abs(number) < 10 else f"{number:,.0f}"


def time_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if abs(seconds) < 1 else f"{seconds:.3g} s"


def rate_text(per_second: float) -> str:
    """A rate."""
    return f"{per_second:,.0f}/s"
