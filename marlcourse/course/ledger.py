"""The reproduction ledger: one row for each checkable claim of the papers, honest verdicts included.

claim, paper, where          what is claimed, by whom, and where it stands ("Table 2, 3s_vs_3z")
published                    the paper's figure, where it gives one
ran, seeds, metric           what we ran, how many seeds ("exact": counted, not sampled), and what `ours` measures
ours, low, high              our figure and its interval (none where it is exact); empty when nothing could be run
verdict                      one of VERDICTS
command                      the line that makes it again (of a row that was not run: the reason)
chapter                      the chapter that tests it
"""

from __future__ import annotations

import csv
import math
import os
import textwrap
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from .data import dataset_folders

__all__ = ["Row", "VERDICTS", "load", "plot", "summary", "table"]

NOT_RUNNABLE = "not runnable without the game"
VERDICTS = {  # verdict -> its colour (told apart without colour vision) and its sign
    "reproduced": ("#0072B2", "●"),
    "partly": ("#E69F00", "◐"),
    "not reproduced": ("#D55E00", "○"),
    NOT_RUNNABLE: ("#999999", "–"),
}
OWN = "This chapter's question"  # how a claim begins that no paper makes


@dataclass(frozen=True)
class Row:
    """One line of reproductions.csv; the fields are its columns, in order. An exact figure has no ``seeds``, and is its own
    ``low`` and ``high``."""

    claim: str
    paper: str
    where: str
    published: float | None
    ran: str
    seeds: int | None
    metric: str
    ours: float | None
    low: float | None
    high: float | None
    verdict: str
    command: str
    chapter: str


COLUMNS = tuple(field.name for field in fields(Row))
NUMBERS = ("published", "ours", "low", "high")
NEEDED = ("claim", "paper", "where", "verdict", "command", "chapter")
NEEDED_WHEN_RUN = ("ran", "seeds", "metric", "ours", "low", "high")
EXACT = "exact"  # in the column seeds: counted, so without seeds and without an interval


def load(path: str | os.PathLike | None = None, chapter: str | int | None = None) -> list[Row]:
    """The rows of the ledger, or of one chapter. Raises ValueError in one sentence, naming row and column."""
    if path is None:
        found = [folder / "reproductions.csv" for folder in dataset_folders()]
        path = next((file for file in found if file.exists()), None)
        if path is None:
            raise FileNotFoundError("No datasets/reproductions.csv found; give its path, or set MARLCOURSE_DATASETS.")
    name = Path(path).name
    with open(path, newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream))
    if not lines or tuple(lines[0]) != COLUMNS:
        raise ValueError(f"{name}: the first line must be {','.join(COLUMNS)}.")
    rows = [_row(name, number, line) for number, line in enumerate(lines[1:], start=2) if line]
    return rows if chapter is None else [row for row in rows if row.chapter.zfill(2) == str(chapter).zfill(2)]


def _row(file: str, number: int, line: list[str]) -> Row:
    def wrong(column, why):
        return ValueError(f"{file}, row {number}, column {column}: {why}.")

    if len(line) != len(COLUMNS):
        raise ValueError(f"{file}, row {number}: {len(line)} cells, expected {len(COLUMNS)}; quote texts with commas.")
    cell = {column: text.strip() for column, text in zip(COLUMNS, line)}
    if cell["verdict"] not in VERDICTS:
        raise wrong("verdict", f"{cell['verdict']!r} is none of {', '.join(VERDICTS)}")
    exact = cell["seeds"] == EXACT
    if exact and (cell["low"] or cell["high"]):
        raise wrong("low", "an exact figure has no interval; leave low and high empty")
    if exact:
        cell.update(seeds="", low=cell["ours"], high=cell["ours"])
    needed = [column for column in NEEDED_WHEN_RUN if not (exact and column == "seeds")]
    for column in (*NEEDED, *(needed if cell["verdict"] != NOT_RUNNABLE else ())):
        if not cell[column]:
            raise wrong(column, "empty")
    values: dict = dict(cell)
    for column in NUMBERS:
        try:
            values[column] = float(cell[column]) if cell[column] else None
        except ValueError:
            raise wrong(column, f"{cell[column]!r} is not a number") from None
        if values[column] is not None and not math.isfinite(values[column]):
            raise wrong(column, f"{cell[column]!r} is not finite")
    if cell["seeds"] and not (cell["seeds"].isdigit() and int(cell["seeds"])):
        raise wrong("seeds", f"{cell['seeds']!r} is not a whole number above 0")
    values["seeds"] = int(cell["seeds"]) if cell["seeds"] else None
    low, ours, high = values["low"], values["ours"], values["high"]
    if ours is not None and (low is None or high is None or not low <= ours <= high):
        raise wrong("low", f"the interval [{cell['low']}, {cell['high']}] does not hold our figure {cell['ours']}")
    return Row(**values)


def table(chapter: str | int | None = None, path: str | os.PathLike | None = None):
    """The ledger as a DataFrame, one row a claim."""
    import pandas as pd

    return pd.DataFrame([vars(row) for row in load(path, chapter)], columns=list(COLUMNS))


def summary(rows: list[Row]) -> str:
    """How many rows have each verdict, in words, and how many of them ask a question of the course's own."""
    counts, own = Counter(row.verdict for row in rows), sum(row.claim.startswith(OWN) for row in rows)
    asked = f"; questions of the course's own among them: {own}" if own else ""
    return (", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "no rows yet") + asked


def plot(chapter: str | int | None = None, path: str | os.PathLike | None = None, unit: str = "seed"):
    """The ledger as a matplotlib figure: each claim on a scale of its own, our interval beside the published figure.

    A bar from low to high with a dot at our figure, coloured by verdict; a black tick at the published figure. Units
    differ from row to row, so that each row is stretched to its own range and the figures are printed beside it. ``unit``:
    what was counted, where "seed" is not the word (20,000 starts).
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    rows = sorted(load(path, chapter), key=lambda row: (row.chapter, list(VERDICTS).index(row.verdict)))
    labels = [textwrap.wrap(row.claim, 52)[:3] for row in rows]
    heights = [0.44 + 0.17 * len(label) for label in labels] or [0.6]
    total = sum(heights) + 1.33
    figure = plt.figure(figsize=(10.5, total), layout="none")
    plt.close(figure)  # the notebook shows the returned figure, once
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 10.5), ylim=(total, 0))
    axes.axis("off")
    axes.text(0.3, 0.38, "Reproduction ledger", fontsize=15, fontweight="bold", va="center")
    axes.text(0.3, 0.66, summary(rows), fontsize=9, color="0.35", va="center")
    for place, header in ((0.3, "claim"), (4.55, "measured (each row on a scale of its own)"), (9.0, "verdict")):
        axes.text(place, 0.88, header, fontsize=7.5, color="0.35", va="center")
    top = 0.98
    for i, (row, label, height) in enumerate(zip(rows, labels, heights)):
        colour, sign = VERDICTS[row.verdict]
        if i % 2 == 0:
            axes.axhspan(top, top + height, color="0.965", lw=0)
        axes.axhspan(top, top + height, xmax=0.008, color=colour, lw=0)
        middle = top + height / 2
        axes.text(0.3, top + 0.1, "\n".join(label), fontsize=9.5, va="top", linespacing=1.25)
        source = f"{row.paper}, {row.where} · chapter {row.chapter}"
        axes.text(0.3, top + height - 0.1, textwrap.shorten(source, 74), fontsize=7.5, color="0.45", va="bottom")
        _draw_figures(axes, row, colour, middle, unit)
        axes.text(
            9.0,
            middle,
            f"{sign}  " + "\n    ".join(textwrap.wrap(row.verdict, 16)),
            color=colour,
            fontsize=9,
            va="center",
        )
        top += height
    ours = Line2D([], [], color="0.3", marker="o", lw=5, alpha=0.6, solid_capstyle="round", label="ours, interval or range")
    paper = Line2D([], [], color="black", marker="|", ms=12, mew=2, lw=0, label="published")
    axes.legend(
        handles=[ours, paper] if any(row.published is not None for row in rows) else [ours],
        loc="upper right",
        bbox_to_anchor=(0.985, 1 - 0.12 / total),
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    return figure


def _draw_figures(axes, row: Row, colour: str, y: float, unit: str) -> None:
    """One row's interval, dot, published tick and texts, in the columns from 4.5 to 8.9."""
    left, right = 4.55, 6.3
    known = [value for value in (row.published, row.low, row.high) if value is not None]
    if not known:
        return
    low, high = min(known), max(known)
    pad = 0.15 * (high - low) or abs(high) * 0.5 or 0.5

    def x(value):
        return left + (right - left) * (value - low + pad) / (high - low + 2 * pad)

    axes.plot([left, right], [y, y], color="0.8", lw=0.8, zorder=1)
    for value in sorted({low, high}):  # the row's own scale
        axes.plot([x(value)] * 2, [y + 0.12, y + 0.16], color="0.6", lw=0.8)
        axes.text(x(value), y + 0.2, f"{value:.3g}", fontsize=6.5, color="0.45", ha="center", va="top")
    if row.low is not None and row.low < 0 < row.high:  # an interval that holds 0 says so
        axes.plot([x(0)] * 2, [y - 0.12, y + 0.16], color="0.3", lw=1, ls=":", zorder=5)
        if min(x(0) - x(low), x(high) - x(0)) > 0.12 * (x(high) - x(low)):  # beside an end's own figure there is no room
            axes.text(x(0), y + 0.2, "0", fontsize=6.5, color="0.3", ha="center", va="top")
    texts = []
    if row.ours is not None:
        axes.plot([x(row.low), x(row.high)], [y, y], color=colour, lw=6, alpha=0.35, solid_capstyle="round", zorder=2)
        axes.plot(x(row.ours), y, "o", color=colour, ms=7, mec="white", zorder=4)
        counted = f"  [{row.low:.4g}, {row.high:.4g}]  {row.seeds:,} {unit}{'s' if row.seeds != 1 else ''}" if row.seeds else ""
        texts.append(f"{row.ours:.4g}" + (counted or ", counted exactly"))
    if row.published is not None:
        axes.plot(x(row.published), y, "|", color="black", ms=16, mew=2, zorder=3)
        texts.append(f"published {row.published:.4g}")
    texts += textwrap.wrap(row.metric, 42, max_lines=3, placeholder=" ...")
    axes.text(right + 0.12, y, "\n".join(texts), fontsize=7, color="0.25", va="center", linespacing=1.3)
