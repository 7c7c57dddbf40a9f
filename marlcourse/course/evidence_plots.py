"""The pictures of chapter 06, and its explorer. Each function draws one figure of what :mod:`.evidence_study` computes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from ..stopping import stoppable
from ..viz.curves import _thousands
from ..viz.style import INK, colour, context, styles
from . import evidence_study as study

UNIT = "greedy team return, mean over the last fifth of the run"
WORLD = "lumberjacks"
ENOUGH = 5  # evaluations, before their spread is measured
STATISTICS = {"interquartile mean": study.iqm, "mean": np.mean, "median": np.median}
BLUE, PALE, ORANGE = "#0072B2", "#C9D6DE", "#D55E00"


def _axes(rows=1, columns=1, size=(6.4, 3.8), **options):
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=size, layout="constrained", **options)


def _legend(ax, columns: int = 2) -> None:
    """The legend below the picture, so that the axes keep its width."""
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


@functools.lru_cache(maxsize=4)
def _committed(name: str = "grid_evidence"):
    return study.committed(name)


def _spread(n: int, width: float = 0.13, seed: int = 1) -> np.ndarray:
    """Small vertical shifts [n], so that equal scores do not hide one another."""
    return width * (2 * np.random.default_rng(seed).random(n) - 1)


def _dots(ax, scores: Mapping[str, np.ndarray], chosen, looks) -> None:
    """One row a learner, one dot a seed; the chosen seeds in colour, the others pale."""
    for row, (name, x) in enumerate(scores.items()):
        shift = row + 0.16 + _spread(len(x))
        picked = np.isin(np.arange(len(x)), chosen)
        ax.scatter(x[~picked], shift[~picked], s=24, facecolor="white", edgecolor=looks[name]["color"], lw=1.0, alpha=0.75)
        ax.scatter(x[picked], shift[picked], s=34, color=looks[name]["color"], zorder=3)
    ax.set_yticks(range(len(scores)), list(scores))
    ax.set_ylim(len(scores) - 0.45, -0.45)
    ax.grid(axis="y", visible=False)


def plot_laboratories(scores: Mapping[str, np.ndarray], steps: int, k: int = 3):
    """Two learners, [n] scores each, dealt to laboratories of k seeds in their order: their mean returns, joined by a line in
    the colour of the better one. Last row: all seeds."""
    (a, x), (b, y) = scores.items()
    looks, n = styles(scores), len(x)
    labs = {f"laboratory {i + 1}, seeds {k * i} to {k * i + k - 1}": range(k * i, k * i + k) for i in range(n // k)}
    labs[f"all {n} seeds"] = range(n)
    with context():
        figure, ax = _axes(size=(7.2, 1.5 + 0.36 * len(labs)))
        for row, seeds in enumerate(labs.values()):
            means = x[list(seeds)].mean(), y[list(seeds)].mean()
            ax.plot(means, [row, row], color=looks[a if means[0] > means[1] else b]["color"], lw=3, alpha=0.6, zorder=1)
            for name, mean in zip((a, b), means):
                style = {"color": looks[name]["color"], "marker": looks[name]["marker"]}
                ax.scatter(mean, row, s=64, zorder=3, label=name if row == 0 else None, **style)
        ax.axhline(len(labs) - 1.5, color=INK, lw=1.0)
        ax.set_yticks(range(len(labs)), list(labs))
        ax.set_ylim(len(labs) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("mean return over the seeds (score: mean of a run's last fifth)")
        ax.set_title(f"One experiment, {len(labs) - 1} laboratories\n{WORLD}, {steps:,} environment steps", fontsize=12)
        ax.plot([], [], color="0.6", lw=3, label="gap, in the colour of the better one")
        _legend(ax, 3)
    return ax


def plot_bars(scores: Mapping[str, np.ndarray], papers: Sequence[Sequence[int]], steps: int):
    """A panel for each choice of seeds: every seed a dot, the chosen ones full, and their mean +- one standard error."""
    looks, n = styles(scores), min(map(len, scores.values()))
    with context():
        figure, axes = _axes(1, len(papers), size=(9.4, 3.2), sharex=True, sharey=True, squeeze=False)
        for ax, chosen in zip(axes[0], papers):
            _dots(ax, scores, chosen, looks)
            for row, (name, x) in enumerate(scores.items()):
                picked = x[list(chosen)]
                bar = {"fmt": "D", "ms": 7, "capsize": 5, "lw": 2.2, "mec": "white", "color": looks[name]["color"]}
                ax.errorbar(picked.mean(), row - 0.2, xerr=study.standard_error(picked), **bar)
            better = max(scores, key=lambda name: scores[name][list(chosen)].mean())
            title = f"A paper for {better} (seeds {', '.join(map(str, chosen))})" if len(chosen) < n else f"all {n} seeds"
            ax.set_title(title, fontsize=11)
            ax.set_xlabel("return, mean of the last fifth")
        figure.suptitle(
            "The loudest paper for either side, out of the same runs\n"
            f"{WORLD}, {steps:,} environment steps, {n} seeds; filled dots: seeds in the paper, hollow: never shown\n"
            "diamonds: mean ± standard error; dots are moved up or down only so that none hides another",
            x=0.01,
            ha="left",
        )
    return axes[0]


def plot_triples(x, y, names: Sequence[str], steps: int, k: int = 3):
    """Differences of means, x minus y, for all choices of k seeds; where the error bars are apart in colour, from the same
    zero on both sides, in front of all choices. x, y [n]."""
    x, y = np.asarray(x), np.asarray(y)
    chosen = study.subsets(len(x), k)
    gap, apart = x[chosen].mean(-1) - y[chosen].mean(-1), study.bars_apart(x[chosen], y[chosen])
    edges = np.linspace(gap.min(), gap.max(), 45)
    kinds = {
        f"{names[0]} above, bars (± 1 s.e.) apart": (1, colour(names[0])),
        f"{names[1]} above, bars (± 1 s.e.) apart": (-1, colour(names[1])),
    }
    with context():
        figure, ax = _axes(size=(7.2, 4.2))
        ax.hist(gap, edges, color=PALE, label="all choices", lw=0)
        for label, (sign, tint) in kinds.items():
            ax.hist(gap[apart == sign], edges, color=tint, label=label, lw=0)
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.axvline(0, color=INK, lw=1.2)
        ax.axvline(x.mean() - y.mean(), color=INK, lw=1.6, ls=(0, (6, 2)), label=f"all {len(x)} seeds")
        ax.set_xlabel(f"mean return of {names[0]} minus that of {names[1]}")
        ax.set_ylabel(f"choices of {k} seeds")
        ax.set_title(
            f"{len(chosen):,} papers with {k} seeds each, out of the same {len(x)}\n{WORLD}, {steps:,} environment steps"
        )
        _legend(ax)
    return ax


def plot_bootstrap(x, statistic, name: str, steps: int, resamples: int = 2000, seed: int = 0):
    """The redrawn statistics of one sample of scores x [n], the middle 95 % of them, and the sample's own."""
    x = np.asarray(x, dtype=float)
    drawn = x[np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))]
    values = statistic(drawn, axis=-1)
    low, high = np.percentile(values, [2.5, 97.5])
    with context():
        figure, ax = _axes(size=(7.0, 3.6))
        ax.hist(values, 40, color=PALE)
        ax.axvspan(low, high, color=BLUE, alpha=0.12, label=f"middle 95 %: [{low:.0f}, {high:.0f}]")
        ax.axvline(statistic(x, axis=-1), color=INK, lw=1.6, ls=(0, (6, 2)), label="of the seeds themselves")
        ax.set(
            xlabel=f"{name} of the redrawn seeds (return)",
            ylabel="redraws",
            title=f"{resamples:,} redraws of {len(x)} seeds\n{WORLD}, {steps:,} environment steps",
        )
        _legend(ax)
    return ax


def plot_standard_error(
    played: Mapping[int, Sequence[float]], of_one: float, between: float, around: tuple[float, float], seeds: int
):
    """How far evaluations stray, by their number of episodes: measured, std / sqrt(episodes), and the spread over seeds.

    played {episodes: the mean returns of so many evaluations}, where fewer than five are not drawn; of_one: standard deviation
    of single episodes; between: the spread over ``seeds`` seeds, with its interval ``around``. Whiskers: 95 %, of a bell curve.
    """
    episodes = np.array(sorted(played), dtype=float)
    drawn = {size: np.std(played[size], ddof=1) for size in sorted(played) if len(played[size]) >= ENOUGH}
    counts = sorted({len(played[size]) for size in drawn})
    with context():
        figure, ax = _axes(size=(7.0, 4.2))
        for size, middle in drawn.items():
            low, high = study.around_std(middle, len(played[size]))
            ax.plot([size, size], [low, high], color=BLUE, lw=1.4, alpha=0.7)
        many = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else f"nothing, no size has {ENOUGH}"
        label = f"measured: standard deviation of {many} evaluations"
        ax.plot(list(drawn), list(drawn.values()), "o", color=BLUE, label=label)
        ax.plot(episodes, of_one / np.sqrt(episodes), color=INK, lw=1.3, label="std of one episode / √episodes")
        ax.axhspan(*around, color=ORANGE, alpha=0.12, lw=0)
        ax.axhline(
            between, color=ORANGE, ls=(0, (6, 2)), label=f"spread of the scores of {seeds} seeds, band: its 95 % interval"
        )
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ticks = [2, 4, 8, 16, 32, 64]
        ax.set_xticks(episodes, [f"{e:g}" for e in episodes])
        ax.set_yticks(ticks, [str(t) for t in ticks])
        ax.minorticks_off()
        ax.set(
            xlabel="greedy episodes in one evaluation",
            ylabel="standard deviation of the mean return",
            title=f"What more episodes buy\none trained team (1 seed) on {WORLD}; whiskers, band: 95 %, if bell-shaped",
        )
        _legend(ax, 1)
    return ax


def plot_over_time(found: Mapping[int, tuple[float, float, float]], names: Sequence[str], seeds: int, window: int = 3):
    """Difference of two learners against environment steps, with the interval of each step. found: see
    :func:`.evidence_study.over_time`; seeds: behind each learner; window: the evaluations behind each step."""
    steps, rows = list(found), np.array(list(found.values()))
    with context():
        figure, ax = _axes(size=(7.2, 4.0))
        ax.axhline(0, color=INK, lw=1.2, label="no difference")
        ax.fill_between(steps, rows[:, 1], rows[:, 2], color=BLUE, alpha=0.16, lw=0, label="95 %, each step by itself")
        ax.plot(steps, rows[:, 0], color=BLUE, label=f"{names[0]} minus {names[1]}")
        ax.xaxis.set_major_formatter(_thousands)
        ax.set(xlabel="environment steps at which the score is read", ylabel="difference of IQM returns")
        ax.set_title(
            f"Who leads, and when?\n{WORLD}, {seeds} seeds; mean of {window} evaluations, {study.EPISODES} greedy episodes each"
        )
        _legend(ax, 3)
    return ax


# ---- ten broken curves ----


def _panel(lines: dict, y: str = "return", level=None, seeds: int = 10, each: bool = False, world: str = "corridor"):
    """lines {label: (x [E], y [runs, E])}; level (value, label) of a reference line; each: draw every run."""
    return {"lines": lines, "y": y, "level": level, "seeds": seeds, "each": each, "world": world}


def tabular_faults() -> dict[str, dict]:
    """Panels a, b, c, d and j: runs of a tabular learner with the fault built in. After a stop: those that are finished."""
    faults = {
        "a": {"eval_epsilon": 0.25},
        "b": {"epsilon": lambda part: 1.0},
        "c": {"copy_every": 0},
        "plain": {"lr": 0.05},  # beside j
        "j": {"lr": 0.05, "updates": 4},
    }
    runs = {letter: study.corridor(**fault) for letter, fault in stoppable(faults.items(), "tabular runs")}
    value, best = study.alive(False), (-7, "the best: -7")
    learned, limit = {"learned value": (np.arange(1, len(value) + 1), value[None])}, (20, "1 / (1 - .95)")
    panels = {"d": _panel(learned, y="value", level=limit, seeds=1, world="one state")}
    for letter, run in runs.items():
        shown = {"evaluation": (run["steps"], run["evaluation"])}
        if letter == "b":
            shown["training"] = (run["steps"], run["training"])
        if letter == "j":
            shown = {"first": (run["steps"], runs["plain"]["evaluation"]), "second": (4 * run["steps"], run["evaluation"])}
        if letter != "plain":
            panels[letter] = _panel(shown, level=best)
    return panels


def reporting_faults(frame, learner: str = "QMIX") -> dict[str, dict]:
    """Panels e to i: sound committed runs of one learner, reported wrongly. frame: see :func:`.evidence_study.committed`."""
    grid = np.arange(0, int(frame["env_steps"].max()) + 1, 1000)
    runs, null = study.curves(frame, grid)[learner], (study.untrained(frame), "untrained")
    five, window = runs[:5], range(len(grid))
    ahead = np.array([five[:, max(0, t - 12) : t + 13].mean(-1) for t in window]).T  # the mean of 12 before and 12 after
    dropped = np.array([runs[:10, max(0, t - 4) : t + 1].mean(-1) for t in window]).T  # the mean of the last five
    for t in window[15:-1:5]:  # whoever is the lowest "has crashed": the line ends here
        dropped[np.nanargmin(dropped[:, t]), t + 1 :] = np.nan
    return {
        "e": _panel({"first": (grid, five), "second": (grid, 0.4 * five)}, seeds=5, world=WORLD),
        "f": _panel({"evaluation": (grid, np.repeat(runs[:1], 5, 0))}, level=null, seeds=5, world=WORLD),
        "g": _panel(
            {"each run: mean of its last 5 evaluations": (grid, dropped)},
            level=null,
            seeds=len(dropped),
            each=True,
            world=WORLD,
        ),
        "h": _panel({"evaluation": (grid, ahead)}, level=null, seeds=5, world=WORLD),
        "i": _panel({"evaluation": (grid, np.maximum.accumulate(five, -1))}, level=null, seeds=5, world=WORLD),
    }


def broken_curves(frame=None) -> dict[str, dict]:
    """The ten panels, a to j, each with its fault really built in (after a stop fewer)."""
    panels = {**tabular_faults(), **reporting_faults(_committed() if frame is None else frame)}
    return dict(sorted(panels.items()))


def plot_broken(curves: Mapping[str, dict] | None = None):
    """The ten panels of :func:`broken_curves`: median and quartiles over the runs of each line. The axis of every panel says
    "environment steps", that of j too: what it counts is j's fault."""
    curves = broken_curves() if curves is None else curves
    tints = (BLUE, ORANGE)
    with context():
        figure, axes = _axes(5, 2, size=(9.6, 13.0))
        for ax, (letter, panel) in zip(axes.flat, curves.items()):
            for tint, (name, (x, y)) in zip(tints, panel["lines"].items()):
                if panel["each"]:
                    ax.plot(x, y.T, color=tint, lw=0.8, alpha=0.55)[0].set_label(name)
                    name = "median of the lines"
                elif len(y) > 1:
                    ax.fill_between(x, *np.nanpercentile(y, [25, 75], axis=0), color=tint, alpha=0.18, lw=0)
                ax.plot(x, np.nanmedian(y, 0), color=tint, label=name)
            if panel["level"]:
                ax.axhline(panel["level"][0], color=INK, lw=1.0, ls=(0, (6, 2)), label=panel["level"][1])
            ax.xaxis.set_major_formatter(_thousands)
            ax.set(xlabel="environment steps", ylabel=panel["y"])
            number = panel["seeds"]
            runs = f"{number} seeds" if number > 1 else "1 run, nothing in it is random"
            ax.set_title(f"{letter})   {panel['world']}, {runs}", fontsize=11)
            crowded = letter in "bg"  # curves everywhere: room for the legend above them
            if crowded:
                low, high = ax.get_ylim()
                ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])  # none where only the legend is
                ax.set_ylim(low, high + 0.65 * (high - low))
            ax.legend(fontsize=9, loc="upper left" if crowded else "best", frameon=True, framealpha=0.85, edgecolor="none")
        for ax in axes.flat[len(curves) :]:  # after a stop
            ax.set_visible(False)
        figure.suptitle(
            "Ten curves; each run or report has one fault\nlines: median, bands: quartiles of the seeds", x=0.01, ha="left"
        )
    return axes


# ---- the explorer ----


def plot_seeds(seeds: int = 3, draw: int = 0, statistic: str = "interquartile mean", steps: int = 40_000, frame=None):
    """What a paper with so many seeds would report, and what it would have reported with fewer or more.

    draw 0 takes the seeds in their order, any other number shuffles them. Left: every run a dot, those that were taken in
    colour, with the statistic and its 95 % bootstrap interval. Right: the statistic after 2, 3, ... seeds in this order.
    """
    frame = _committed() if frame is None else frame
    if steps < 1000:
        raise ValueError(
            f"steps={steps}: the runs were evaluated every 1,000 environment steps, so read them at 1,000 or more."
        )
    scores = study.scores(frame, steps)
    n = min(map(len, scores.values()))
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(map(repr, STATISTICS))}, not {statistic!r}.")
    if seeds < 1 or draw < 0:
        raise ValueError(f"plot_seeds takes at least 1 seed and a draw from 0 on, not seeds={seeds} and draw={draw}.")
    seeds = min(seeds, n)
    order = np.arange(n) if draw == 0 else np.random.default_rng(draw).permutation(n)
    of, looks = STATISTICS[statistic], styles(scores)
    options = {"statistic": of, "resamples": 400}
    counts = np.arange(2, n + 1)
    with context():
        figure, axes = _axes(1, 2, size=(10.4, 3.9), width_ratios=(1, 1.15))
        _dots(axes[0], scores, order[:seeds], looks)
        for row, (name, x) in enumerate(scores.items()):
            picked, look = x[order[:seeds]], looks[name]["color"]
            middle = of(picked)
            low, high = study.interval(picked, **options) if seeds > 1 else (middle, middle)
            axes[0].plot([low, high], [row - 0.2] * 2, color=look, lw=2.4, solid_capstyle="butt")
            axes[0].plot(middle, row - 0.2, "D", ms=8, color=look, mec="white")
            path = np.array([(of(x[order[:k]]), *study.interval(x[order[:k]], **options)) for k in counts])
            axes[1].fill_between(counts, path[:, 1], path[:, 2], color=look, alpha=0.13, lw=0)
            axes[1].plot(counts, path[:, 0], color=look, ls=looks[name]["linestyle"], label=name)
        axes[1].axvline(seeds, color=INK, lw=1.2, ls=(0, (6, 2)))
        axes[0].set_xlabel("return, mean of the last fifth")
        axes[1].set(xlabel="seeds", ylabel=f"{statistic} (return)", xlim=(1.6, n + 0.4))
        axes[1].set_xticks([2, 3, 5, 10, 15, 20][: 3 + (n >= 10) + (n >= 15) + (n >= 20)])
        axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes[0].set_title(_headline(scores, order[:seeds], of), fontsize=11)
        axes[1].set_title(_headline(scores, order, of), fontsize=11)
        where = "in their order" if draw == 0 else f"draw {draw}"
        figure.suptitle(
            f"{WORLD}, {steps:,} environment steps; {seeds} of {n} seeds, {where}; 95 % bootstrap intervals", x=0.01, ha="left"
        )
    return figure


def _headline(scores, chosen, of) -> str:
    """ "3 seeds: QMIX leads by 12 [-5, 30]" """
    means = {name: of(x[chosen]) for name, x in scores.items()}
    first, second = sorted(means, key=means.get, reverse=True)[:2]
    gap = means[first] - means[second]
    head = f"{len(chosen)} seed{'s' if len(chosen) > 1 else ''}: {first} leads by {gap:.{0 if gap >= 1 else 1}f}"
    if len(chosen) < 2:
        return head
    a, b = scores  # redrawn in this order whoever leads: the same seeds have one and the same interval everywhere
    _, low, high = study.difference(scores[a][chosen], scores[b][chosen], of)
    low, high = (low, high) if first == a else (-high, -low)
    return f"{head} [{low:.0f}, {high:.0f}]"


def seeds_explorer(**start):
    """Sliders over :func:`plot_seeds`: how many seeds, which draw of them, the statistic, and the step that is read."""
    from ..viz.explore import choice, explore, int_slider

    n = min(map(len, study.scores(_committed()).values()))
    last = int(_committed()["env_steps"].max()) // 1000 * 1000
    return explore(
        plot_seeds,
        seeds=int_slider(start.get("seeds", 3), 1, n),
        draw=int_slider(start.get("draw", 0), 0, 40, label="draw (0: in order)"),
        statistic=choice(list(STATISTICS)),
        steps=int_slider(start.get("steps", min(40_000, last)), 10_000, last, 1000, label="environment steps"),
    )
