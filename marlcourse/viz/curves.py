"""Figures for chapters: learning curves over seeds, shares of outcomes, payoff tables, payoff surfaces of 2x2 games.

All functions draw what they are given and return Axes; none of them trains or samples anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..core import suggest
from .style import GREY, INK, context, known, readable, styles

LABELS = {
    "return_mean": "team return per episode",
    "return_std": "standard deviation of the return",
    "win_rate": "share of episodes won",
    "length_mean": "episode length (steps)",
    "td_error": "mean |TD error|",
    "wall_time": "wall time (seconds)",
}


def label(column: str) -> str:
    """What stands on the y axis for a column of the history."""
    return LABELS.get(column, column.replace("_", " "))


def find_column(columns, name: str) -> str:
    """The column a short name means: itself, ``name_mean`` ("return") or ``main_name`` ("loss"); else ValueError."""
    columns = list(columns)
    for candidate in (name, f"{name}_mean", f"main_{name}"):
        if candidate in columns:
            return candidate
    raise ValueError(f"The history has no column {name!r}: {suggest(name, columns)}")


def series(history: Sequence[Mapping], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps [K] and values [K] of the evaluations that have a number in this column, in order of steps."""
    rows = sorted((r["env_steps"], r[column]) for r in history if r.get(column) is not None)
    x, y = np.array(rows, dtype=float).reshape(-1, 2).T
    return x, y


def median_and_quartiles(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, bool]:
    """Of curves (x [K_i], y [K_i]): the steps x [K], the quartiles [3,K] there, and whether they were interpolated.

    Curves evaluated at different steps are interpolated linearly onto the union of their steps, within the range that
    all of them cover: outside it the median would be that of fewer seeds.
    """
    same = all(np.array_equal(x, curves[0][0]) for x, _ in curves)
    grid = curves[0][0] if same else np.unique(np.concatenate([x for x, _ in curves]))
    if not same:
        first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
        grid = grid[(grid >= first) & (grid <= last)]
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    return grid, np.percentile(values, [25, 50, 75], axis=0), not same


def plot_runs(
    runs: Mapping[str, Sequence],
    y: str = "return_mean",
    ax=None,
    reference: Mapping[str, float] | None = None,
    title: str | None = None,
):
    """Learning curves: median and interquartile range over seeds, over environment steps. Returns the Axes.

    ``runs``: {label: [Run, ...]} (one Run may stand without a list). ``y``: a column of the history; "return", "loss"
    are short for ``return_mean`` and ``main_loss``. ``reference``: {label: level} draws horizontal lines. A single seed
    is drawn as a plain line. Seeds evaluated at different steps are interpolated linearly (the figure says so), see
    :func:`median_and_quartiles`. Raises ValueError for a label without runs and for an unknown column.
    """
    import matplotlib.pyplot as plt

    runs = {name: list(some) if isinstance(some, (list, tuple)) else [some] for name, some in runs.items()}
    empty = [name for name, some in runs.items() if not some]
    if not runs or empty:
        raise ValueError(f"There is no run to draw{f' for {empty[0]!r}' if empty else ''}: give {{label: [run, ...]}}.")
    y = find_column(dict.fromkeys(k for some in runs.values() for r in some for row in r.history for k in row), y)
    with context():
        ax = ax or plt.subplots(layout="constrained")[1]
        interpolated = False
        for name, look in styles(runs).items():
            curves = [c for c in (series(r.history, y) for r in runs[name]) if len(c[0])]
            if not curves:
                continue
            x, (low, middle, high), moved = median_and_quartiles(curves)
            interpolated |= moved
            every = max(1, len(x) // 8)
            ax.plot(x, middle, label=name, markevery=every, **look)
            if len(curves) > 1:
                ax.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
        _reference_lines(ax, reference)
        world = sorted({r.env for some in runs.values() for r in some})
        ax.set_title(f"{title or ', '.join(world)}\n{_seeds(runs)}", fontsize=12)
        ax.set_xlabel("environment steps")
        ax.set_ylabel(label(y))
        ax.xaxis.set_major_formatter(_thousands)
        ax.margins(x=0.02)
        if y == "win_rate":
            ax.set_ylim(-0.03, 1.03)
        if len(ax.get_legend_handles_labels()[0]) > 1 or len(runs) > 1:
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        if interpolated:
            note = "evaluated at different steps: interpolated linearly"
            ax.text(0.995, 0.015, note, transform=ax.transAxes, ha="right", fontsize=8.5, color="#607078")
    return ax


def _thousands(value: float, _position=None) -> str:
    """20000 -> 20k, 1500000 -> 1.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _seeds(runs: Mapping[str, Sequence]) -> str:
    """How many seeds a figure shows, in words."""
    counts = sorted({len(some) for some in runs.values()})
    if counts == [1]:
        return "1 seed" if len(runs) == 1 else "1 seed each"
    words = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"median and interquartile range over {words} seeds"


def _reference_lines(ax, reference: Mapping[str, float] | None) -> None:
    for (name, level), dashes in zip((reference or {}).items(), [(0, (6, 2)), (0, (1, 1.5)), (0, (4, 1, 1, 1)), "-"]):
        color = GREY if known(name) == "random" else INK
        ax.axhline(level, label=f"{name} ({level:g})", color=color, linestyle=dashes, linewidth=1.3, zorder=1)


# ---- shares of outcomes ----

OUTCOME_COLOURS = ["#0072B2", "#56B4E9", "#D55E00", "#F0C987", "#CC79A7", "#999933"]


def plot_outcomes(
    shares: Mapping[str, Mapping[str, float]],
    null: Mapping[str, float] | None = None,
    kind: str = "grouped",
    count: str | None = None,
    title: str | None = None,
    ax=None,
    null_label: str = "untrained",
    colours: Mapping[str, str] | None = None,
):
    """How often each outcome happened, per method, beside the null in grey. Returns the Axes.

    ``shares``: {method: {outcome: share in [0, 1]}}; ``null``: {outcome: share} of what chance alone gives.
    ``kind``: "grouped" has one group of bars per outcome, a bar per method in its colour; "stacked" has one horizontal
    bar per method, whose pieces are the outcomes (shares must add up to 1). ``count`` says in the title what was
    counted ("1000 initialisations"). ``colours`` overrules the colour of a method (grouped) or an outcome (stacked).
    """
    import matplotlib.pyplot as plt

    if kind not in ("grouped", "stacked"):
        raise ValueError(f"kind={kind!r} is unknown: use 'grouped' or 'stacked'.")
    table = {**shares, **({null_label: null} if null is not None else {})}
    outcomes = list(dict.fromkeys(o for row in table.values() for o in row))
    for method, row in table.items():
        bad = [o for o, share in row.items() if not -1e-6 <= share <= 1 + 1e-6]
        if bad:
            raise ValueError(f"{method}: the share of {bad[0]!r} is {row[bad[0]]:g}; give shares between 0 and 1, not counts.")
        if kind == "stacked" and abs(sum(row.values()) - 1) > 1e-3:
            raise ValueError(
                f"{method}: the shares add up to {sum(row.values()):g}; a stacked bar needs shares that add up to 1."
            )
    draw = _grouped if kind == "grouped" else _stacked
    with context():
        if ax is None:
            size = (1.6 + 1.45 * len(outcomes), 3.9) if kind == "grouped" else (7.6, 1.5 + 0.52 * len(table))
            ax = plt.subplots(figsize=(max(size[0], 5.5), size[1]), layout="constrained")[1]
        draw(ax, table, outcomes, null_label if null is not None else None, colours or {})
        ax.set_title("\n".join(t for t in (title, count) if t), fontsize=12)
    return ax


def _grouped(ax, table, outcomes, null_label, colours) -> None:
    width = 0.82 / len(table)
    looks = styles(table)
    for k, (method, row) in enumerate(table.items()):
        color = GREY if method == null_label else colours.get(method, looks[method]["color"])
        hatch = "" if looks[method]["linestyle"] == "-" or method == null_label else "//"
        x = np.arange(len(outcomes)) + (k - (len(table) - 1) / 2) * width
        heights = [row.get(o, 0.0) for o in outcomes]
        bars = ax.bar(x, heights, width * 0.94, color=color, label=method, hatch=hatch, edgecolor="white", linewidth=0)
        if len(table) <= 5:
            ax.bar_label(bars, [f"{h:.2f}".removeprefix("0") if h < 0.995 else "1" for h in heights], fontsize=8.5, padding=1)
    ax.set_xticks(range(len(outcomes)), [_wrapped(o) for o in outcomes])
    ax.set_ylabel("share")
    ax.set_ylim(0, 1.08 if max(max(r.values()) for r in table.values()) > 0.6 else None)
    ax.grid(axis="x", visible=False)
    ax.tick_params(axis="x", length=0)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _stacked(ax, table, outcomes, null_label, colours) -> None:
    names = list(table)
    for k, outcome in enumerate(outcomes):
        color = colours.get(outcome, OUTCOME_COLOURS[k % len(OUTCOME_COLOURS)])
        for i, name in enumerate(names):
            share = table[name].get(outcome, 0.0)
            start = sum(table[name].get(o, 0.0) for o in outcomes[:k])
            face = str(0.45 + 0.4 * k / max(1, len(outcomes) - 1)) if name == null_label else color
            ax.barh(i, share, left=start, color=face, edgecolor="white", linewidth=1.2, height=0.72)
            if share >= 0.06:
                ax.text(
                    start + share / 2,
                    i,
                    f"{share:.2f}".removeprefix("0"),
                    ha="center",
                    va="center",
                    fontsize=9.5,
                    color=_ink_on(face),
                )
        ax.barh(0, 0, color=color, label=outcome)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("share")
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="outcome", alignment="left")


def _wrapped(text: str, width: int = 15) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def _ink_on(color) -> str:
    """Black or white, whichever reads better on a colour."""
    from matplotlib.colors import to_rgb

    r, g, b = to_rgb(color)
    return "white" if 0.299 * r + 0.587 * g + 0.114 * b < 0.55 else INK


# ---- payoff tables ----


def heat_tables(
    fitted: Mapping[str, object],
    payoff,
    greedy: Mapping[str, tuple[int, int]] | None = None,
    title: str | None = None,
    agents: tuple[str, str] = ("agent 1", "agent 2"),
):
    """The payoff table beside every method's fitted table, on one colour scale. Returns the Axes, one per table.

    ``fitted``: {method: table [A,A]} (nested list, array or tensor; None where a method has no joint table, as IQL);
    ``payoff`` [A,A]. ``greedy``: {method: (row, column)} is framed; the optimum of the payoff is starred.
    Subtitles give the sum of squared errors over all joint actions, and the payoff of the greedy one: fit and choice
    are two things. Raises ValueError for a table that is not two-dimensional or of another shape than ``payoff``.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patheffects import withStroke

    payoff, greedy = np.asarray(payoff, dtype=float), greedy or {}
    if payoff.ndim != 2:
        raise ValueError(f"heat_tables draws games of two agents, got shape {list(payoff.shape)}: draw its slices.")
    tables = {name: None if t is None else np.asarray(_numpy(t), dtype=float) for name, t in fitted.items()}
    for name, table in tables.items():
        if table is not None and table.shape != payoff.shape:
            raise ValueError(
                f"The table of {name} has shape {list(table.shape)}, but the payoff has {list(payoff.shape)}: "
                "give one value per joint action."
            )
    strangers = [name for name in greedy if name not in tables]
    if strangers:
        raise ValueError(f"greedy names {strangers[0]!r}, which has no fitted table: {suggest(strangers[0], tables)}")
    biggest = max(np.nanmax(np.abs(t)) for t in [payoff, *(t for t in tables.values() if t is not None)]) or 1.0
    n = len(tables) + 1
    columns = n if n <= 4 else (n + 1) // 2
    rows = -(-n // columns)
    a, b = payoff.shape
    with context():
        side = 0.62 if max(a, b) <= 4 else 0.5
        size = (columns * (side * b + 0.75) + 0.9, rows * (side * a + 1.15) + (0.5 if title else 0.1))
        figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        figure.get_layout_engine().set(h_pad=0.1, w_pad=0.06)
        axes = list(grid.flat)
        for ax in axes[n:]:
            ax.set_axis_off()
        optimum = np.argwhere(payoff >= payoff.max() - 1e-9)
        for ax, (name, table) in zip(axes, {"payoff": payoff, **tables}.items()):
            shown = np.zeros_like(payoff) if table is None else table
            image = ax.imshow(shown, cmap="PuOr", vmin=-biggest, vmax=biggest, alpha=0.0 if table is None else 0.85)
            ax.set_facecolor("#ECEFF1")
            _fill_cells(ax, table, payoff, optimum)
            first = ax is axes[0]
            if name in greedy and not first:
                i, j = (int(k) for k in greedy[name])
                frame = plt.Rectangle((j - 0.45, i - 0.45), 0.9, 0.9, fill=False, edgecolor=INK, linewidth=3, zorder=3)
                frame.set_path_effects([withStroke(linewidth=5, foreground="white")])  # also seen on a dark cell
                ax.add_patch(frame)
            below = "★ optimum" if first else _verdict(table, payoff, greedy.get(name))
            ax.set_title(name, fontsize=13, fontweight="bold", loc="center", pad=20 if below else 6)
            ax.text(0.5, 1.025, below, transform=ax.transAxes, ha="center", va="bottom", fontsize=9.5, color="#455A64")
            ax.set_xticks(range(b))
            ax.set_yticks(range(a))
            ax.tick_params(length=0, labelsize=9)
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
            if ax.get_subplotspec().is_first_col():
                ax.set_ylabel(f"action of {agents[0]}", fontsize=10)
            if ax.get_subplotspec().is_last_row() or n - columns <= axes.index(ax):
                ax.set_xlabel(f"action of {agents[1]}", fontsize=10)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.01)
        bar.outline.set_visible(False)
        bar.set_label("team payoff, and its estimate", fontsize=10)
        bar.solids.set_alpha(0.85)
        if title:
            figure.suptitle(title, fontsize=13, x=0.01, ha="left")
    return axes[:n]


def _numpy(table):
    """Tensors lose their graph and device; everything else passes."""
    return table.detach().cpu().numpy() if hasattr(table, "detach") else table


def _verdict(table, payoff: np.ndarray, chosen) -> str:
    parts = ["no joint table" if table is None else f"SSE {_short(((table - payoff) ** 2).sum())}"]
    if chosen is not None:
        parts.append(f"plays {_short(payoff[tuple(int(k) for k in chosen)])}")
    return " · ".join(parts)


def _short(value: float) -> str:
    """At most three digits, no -0."""
    value = float(value)
    if not np.isfinite(value):
        return str(value)
    text = (
        f"{value:.0f}"
        if abs(value) >= 99.5 or abs(value - round(value)) < 5e-3
        else f"{value:.1f}"
        if abs(value) >= 9.95
        else f"{value:.2f}"
    )
    return "0" if text in ("-0", "-0.00") else text


def _shown(image, value: float, behind) -> np.ndarray:
    """The colour [3] in which a see-through image shows a value on the background ``behind``."""
    alpha = image.get_alpha()
    return alpha * np.array(image.cmap(image.norm(value))[:3]) + (1 - alpha) * np.array(behind[:3])


def _fill_cells(ax, table, payoff: np.ndarray, optimum: np.ndarray) -> None:
    starred = {tuple(k) for k in optimum.tolist()}
    size = 12 if max(payoff.shape) <= 4 else 9.5
    for i in range(payoff.shape[0]):
        for j in range(payoff.shape[1]):
            color = INK
            if table is not None:
                color = readable(_shown(ax.images[0], table[i, j], ax.get_facecolor()))
                ax.text(j, i, _short(table[i, j]), ha="center", va="center", fontsize=size, color=color)
            if (i, j) in starred:
                ax.text(j + 0.4, i - 0.4, "★", ha="right", va="top", fontsize=size - 1, color=color)
    ax.set_xticks(np.arange(payoff.shape[1] - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(payoff.shape[0] - 1) + 0.5, minor=True)
    ax.tick_params(which="minor", length=0)
    for k in range(payoff.shape[1] - 1):
        ax.axvline(k + 0.5, color="white", linewidth=2)
    for k in range(payoff.shape[0] - 1):
        ax.axhline(k + 0.5, color="white", linewidth=2)


# ---- the payoff surface of a 2x2 game ----


def expected_return(payoff, p1, p2):
    """J(p1, p2) of a common-payoff 2x2 game; agent i plays action 1 with probability p_i (arrays of equal shape)."""
    r = np.asarray(_numpy(payoff), dtype=float)
    return (1 - p1) * (1 - p2) * r[0, 0] + (1 - p1) * p2 * r[0, 1] + p1 * (1 - p2) * r[1, 0] + p1 * p2 * r[1, 1]


def exact_gradient(payoff, p1, p2):
    """(dJ/dp1, dJ/dp2) of :func:`expected_return`."""
    r = np.asarray(_numpy(payoff), dtype=float)
    first = (1 - p2) * (r[1, 0] - r[0, 0]) + p2 * (r[1, 1] - r[0, 1])
    second = (1 - p1) * (r[0, 1] - r[0, 0]) + p1 * (r[1, 1] - r[1, 0])
    return first, second


def payoff_surface(
    payoff,
    arrows: Callable | tuple | None | bool = True,
    trajectories: Sequence = (),
    points=None,
    ax=None,
    title: str | None = None,
    axes_labels: tuple[str, str] = ("probability that agent 1 plays 1", "probability that agent 2 plays 1"),
    color: str = "#FF7A50",
):
    """The expected return J(p1, p2) of a 2x2 common-payoff game over the square of all policies. Returns the Axes.

    ``payoff`` [2,2]. ``arrows``: True draws the exact gradient, None or False nothing; a function
    ``(p1, p2) -> (g1, g2)`` of arrays [K] gives another direction of learning, a tuple ``(p1, p2, g1, g2)`` the arrows
    themselves. Longer arrows mean larger gradients. ``trajectories``: paths [K,2] of (p1, p2), from a white dot to a
    filled one. ``points`` [M,2].
    """
    import matplotlib.pyplot as plt

    table = np.asarray(_numpy(payoff), dtype=float)
    if table.shape != (2, 2):
        raise ValueError(
            f"payoff_surface draws 2x2 games, got a table of shape {list(table.shape)}: heat_tables draws larger ones."
        )
    with context():
        if ax is None:
            ax = plt.subplots(figsize=(5.4, 4.6), layout="constrained")[1]
        p = np.linspace(0, 1, 101)
        x, y = np.meshgrid(p, p)
        low, high = table.min(), table.max()
        levels = np.linspace(low, high if high > low else low + 1, 21)
        filled = ax.contourf(x, y, expected_return(table, x, y), levels=levels, cmap="cividis", alpha=0.9)
        _arrows(ax, table, arrows)
        for path in trajectories:
            path = np.asarray(_numpy(path), dtype=float)
            ax.plot(*path.T, color=color, linewidth=2.2, zorder=4)
            ax.plot(
                *path[0],
                "o",
                markersize=7,
                markerfacecolor="white",
                markeredgecolor=color,
                markeredgewidth=1.8,
                zorder=5,
                clip_on=False,
            )
            ax.plot(*path[-1], "o", markersize=7.5, color=color, markeredgecolor=INK, zorder=5, clip_on=False)
        if points is not None:
            points = np.asarray(_numpy(points), dtype=float)
            ax.plot(
                *points.T,
                "o",
                linestyle="none",
                markersize=3.5,
                color=color,
                alpha=0.7,
                markeredgewidth=0,
                zorder=4,
                clip_on=False,
            )
        for i, j in np.argwhere(table >= high - 1e-9).tolist():
            ax.plot(i, j, "*", markersize=17, color="white", markeredgecolor=INK, clip_on=False, zorder=6)
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel=axes_labels[0], ylabel=axes_labels[1])
        ax.set_title(title or "expected team return; ★ optimum", fontsize=12)
        ax.grid(visible=False)
        bar = ax.figure.colorbar(filled, ax=ax, ticks=np.linspace(levels[0], levels[-1], 5), shrink=0.9, pad=0.03)
        bar.set_label("expected team return J")
        bar.outline.set_visible(False)
    return ax


def _arrows(ax, table: np.ndarray, arrows) -> None:
    if arrows is None or arrows is False:
        return
    if isinstance(arrows, tuple):
        x, y, u, v = (np.asarray(_numpy(a), dtype=float).ravel() for a in arrows)
    else:
        centres = np.linspace(0.06, 0.94, 10)
        x, y = (m.ravel() for m in np.meshgrid(centres, centres))
        u, v = exact_gradient(table, x, y) if arrows is True else (np.asarray(_numpy(g), dtype=float) for g in arrows(x, y))
    longest = np.hypot(u, v).max()
    if longest > 0:
        ax.quiver(
            x,
            y,
            u,
            v,
            angles="xy",
            scale_units="xy",
            scale=longest / 0.085,
            pivot="mid",
            color="white",
            width=0.0055,
            zorder=3,
        )
