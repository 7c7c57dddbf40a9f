"""Claim cards: what is claimed, how it will be measured and what would refute it, written down before the run."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from . import strict

__all__ = ["ClaimCard", "ClaimChanged", "judge", "no_verdict"]

VERDICTS = ("confirmed", "no difference", "refuted")
_ROWS = (
    ("hypothesis", "Hypothesis"),
    ("metric", "Metric"),
    ("margin", "Margin"),
    ("budget", "Budget"),
    ("tuning", "Tuning"),
    ("seeds", "Seeds"),
)


def no_verdict(early: Iterable[str]) -> str:
    """Why a claim about whole runs has no verdict: ``early`` says which runs were stopped, and where; "" if none was."""
    stopped = "; ".join(early)
    return f"No verdict: {stopped}. The claim is about whole runs: run those cells to their end." if stopped else ""


class ClaimChanged(AssertionError):
    """The evidence now gives another verdict than the text around the claim states."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


@dataclass(frozen=True)
class ClaimCard:
    """A claim about learning, declared before its run.

    hypothesis: one sentence that can turn out false. metric: what is measured, on which episodes. margin: how large a
    difference counts. budget: environment steps (or updates). tuning: what was tuned, equally for both sides.
    seeds: how many independent runs. when: what the card's caption says of its date; a claim about committed runs was not
    declared before them, and should not say so. Raises ValueError for an empty field.
    """

    id: str
    hypothesis: str
    metric: str
    margin: str
    budget: str
    tuning: str
    seeds: int | str
    when: str = "declared before the run"

    def __post_init__(self):
        for name, _ in (("id", ""), *_ROWS):
            if not str(getattr(self, name)).strip():
                raise ValueError(f"Claim {self.id or '?'}: {name} is empty; a claim declares it before the run.")

    def verdict(self, result: bool | str, *, expected: str) -> None:
        """Print the one fixed verdict line and hold it against `expected`.

        result: True (confirmed), False (refuted), or one of "confirmed", "no difference", "refuted".
        Raises ClaimChanged in strict mode (MARLCOURSE_STRICT=1) when the two differ, ValueError for any other word.
        """
        got = _word(result)
        expected = _word(expected)
        shown = " shown" if got == "no difference" else ""
        print(f"Claim {self.id}: {got}{shown}. ({self.hypothesis})")
        if got != expected:
            if strict():
                raise ClaimChanged(
                    f"Claim {self.id}: the text says {expected}, the evidence says {got}; "
                    "find the cause, or change the text and `expected`."
                )
            print(f"The course's own runs say: {expected}. What did you change, and can chance explain it?")

    def __repr__(self) -> str:
        width = max(len(label) for _, label in _ROWS)
        rows = [f"  {label:<{width}}  {getattr(self, name)}" for name, label in _ROWS]
        return "\n".join([f"Claim {self.id}, {self.when}", *rows])

    def _repr_html_(self) -> str:
        cell = "style='text-align:left;padding:3px 10px;vertical-align:top'"
        rows = "".join(
            f"<tr><th {cell}>{label}</th><td {cell}>{html.escape(str(getattr(self, name)))}</td></tr>" for name, label in _ROWS
        )
        return f"<table><caption><b>Claim {html.escape(self.id)}</b>, {html.escape(self.when)}</caption>{rows}</table>"


def _word(result: bool | str) -> str:
    if isinstance(result, str):
        if result in VERDICTS:
            return result
    elif result in (True, False):  # also the bools of NumPy and torch
        return "confirmed" if result else "refuted"
    raise ValueError(f"A verdict is True, False or one of {', '.join(map(repr, VERDICTS))}, not {result!r}.")


def judge(low: float, high: float, margin: float = 0.0) -> str:
    """The verdict on "A exceeds B by `margin`" from an interval [low, high] for the difference A - B.

    confirmed: all of it at or above the margin; refuted: all of it below the margin (A may still exceed B by less);
    no difference, meaning none shown: the interval holds the margin.
    """
    if not low <= high:
        raise ValueError(f"judge: the interval [{low}, {high}] is upside down or not a number; give low <= high.")
    if low >= margin:
        return "confirmed"
    return "refuted" if high < margin else "no difference"
