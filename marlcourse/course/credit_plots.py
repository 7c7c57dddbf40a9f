"""The pictures of chapter 04, and its explorer. Each function draws one figure of what :mod:`.credit_study` measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..core import Algorithm, EpisodeBatch
from ..credit import coefficient_of_variation, normalised_entropy
from ..envs import make
from ..envs.traffic_junction import look_first
from ..envs.traffic_map import way
from ..viz.curves import _thousands
from ..viz.style import GREY, INK, colour, context, styles
from .credit_study import (
    FULL,
    IDLE,
    LEARNERS,
    NAMES,
    PAPER,
    SHARE,
    TITLES,
    WORLDS,
    Runs,
    idle_return,
    scaled_readings,
    seeds_in_words,
)

TEAM_COLOURS = {2: "#D55E00", 5: "#0072B2", 10: "#009E73"}
BEFORE, AFTER = GREY, "#D55E00"


def _axes(rows=1, columns=1, size=(6.4, 3.8), **options):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **options)
    return figure, axes


def plot_flatness(sizes: Sequence[int] = (2, 5, 10), draws: int = 150, seed: int = 0):
    """Entropy against coefficient of variation: drawn credits as dots, 1 - CV^2 / (2 log N) as lines."""
    generator = torch.Generator().manual_seed(seed)
    with context():
        figure, ax = _axes(size=(6.8, 3.9))
        for n in sizes:
            spread = torch.rand(draws, 1, generator=generator) * 1.1
            g = (spread * torch.randn(draws, n, generator=generator)).exp()  # any positive credits will do
            cv, entropy = coefficient_of_variation(g), normalised_entropy(g)
            shown = TEAM_COLOURS.get(n, INK)
            ax.scatter(cv, entropy, s=9, color=shown, alpha=0.45, lw=0)
            x = np.linspace(0, 1.0, 100)
            ax.plot(x, 1 - x**2 / (2 * math.log(n)), color=shown, label=f"N = {n}: $1 - CV^2 / (2 \\ln N)$")
        ax.axhline(0.98, color=INK, lw=1.2, ls=(0, (6, 2)), label="an entropy of .98")
        ax.set(xlim=(0, 1.0), ylim=(0.6, 1.01), xlabel="CV of the credit: standard deviation / mean over agents")
        ax.set_ylabel("normalised entropy H")
        ax.set_title(f"H is flat at the top\n{draws} random credits for each team size; no training", fontsize=12)
        ax.legend(loc="lower left")
    return ax


def plot_worlds(steps: int = 12, seed: int = 3):
    """A moment of each world of the paper's table, as ma-gym plays them: Lumberjacks at its start, the junction after
    ``steps`` steps of the hand rule, with one way marked."""
    forest = make("lumberjacks", num_envs=1, device="cpu", seed=seed, faithful=True)
    crossing = make("traffic-junction-10", num_envs=1, device="cpu", seed=seed, faithful=True, state="compact")
    forest.reset(seed=seed)
    crossing.reset(seed=seed)
    for _ in range(steps):
        crossing.step(look_first(crossing))
    with context():
        figure, axes = _axes(1, 2, size=(10.4, 4.6), width_ratios=(0.72, 1))
        for ax, world, env in zip(axes, WORLDS, (forest, crossing)):
            ax.imshow(env.frame())
            ax.set_title(TITLES[world], fontsize=11)
            ax.axis("off")
        rows, columns = (30 * np.array(axis) + 15 for axis in zip(*way(2, 2)))  # 30 pixels a cell; from the right, turning left
        axes[1].plot(columns, rows, color=AFTER, lw=2.4, ls=(0, (3, 1.5)))
        boxed = {"boxstyle": "round,pad=0.3", "fc": "white", "ec": "none", "alpha": 0.9}
        arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.2}
        for text, at, place in (
            ("a gate: cars enter here", (columns[0], rows[0]), (255, 118)),
            ("a way: the cells that\none car is to pass", (columns[-4], rows[-4]), (8, 330)),
        ):
            axes[1].annotate(text, at, place, fontsize=9, bbox=boxed, arrowprops=arrow)
        figure.suptitle("The two worlds of the paper's table (one moment of each, no training)", x=0.01, ha="left", fontsize=12)
    return axes


def plot_percentiles(worlds: Mapping[str, Mapping[str, Sequence]], title: str):
    """One panel a world, one above the other on the same axis: for each label percentiles 5, 25, 50, 75, 95 of the entropy,
    [5] or one row per seed [seeds, 5].

    A thin line from the 5th to the 95th, a thick one from the 25th to the 75th, a dot at the median; above a panel the CV
    that the entropy stands for. Labels that begin with "Zhao" are black, with "untrained" grey; nothing but NaN: a note that
    nothing was measured yet.
    """
    with context():
        heights = [len(found) for found in worlds.values()]
        size = (9.6, 1.5 + 0.95 * len(worlds) + 0.36 * sum(heights))
        figure, axes = _axes(len(worlds), 1, size=size, squeeze=False, sharex=True, height_ratios=heights)
        for ax, (world, found) in zip(axes[:, 0], worlds.items()):
            for y, (label, values) in enumerate(found.items()):
                rows = np.atleast_2d(np.asarray(values, dtype=float))
                if np.isnan(rows).all():
                    ax.text(0.03, y, "not measured yet", transform=ax.get_yaxis_transform(), color=GREY, va="center")
                    continue
                shade = INK if label.startswith("Zhao") else GREY if label.startswith("untrained") else colour("QMIX")
                for k, row in enumerate(rows):
                    at = y + (0 if len(rows) == 1 else 0.5 * (k / (len(rows) - 1) - 0.5))
                    scale = 1 if len(rows) == 1 else 0.5
                    ax.plot(row[[0, 4]], [at, at], color=shade, lw=1.6 * scale, solid_capstyle="butt")
                    ax.plot(row[[1, 3]], [at, at], color=shade, lw=6 * scale, alpha=0.55, solid_capstyle="butt")
                    ax.plot(row[2], at, "o", color=shade, ms=7 * scale + 1, mec="white", mew=0.8, zorder=4)
            ax.axvline(1.0, color=INK, lw=1.0, ls=(0, (6, 2)))
            ax.set_yticks(range(len(found)), found)
            ax.set_ylim(len(found) - 0.4, -0.6)
            ax.set_title(TITLES.get(world, world), fontsize=11)
            ax.grid(axis="y", visible=False)
        axes[-1][0].set_xlabel("normalised entropy H (1: equal credit)")
        for ax, world in zip(axes[:, 0], worlds):
            _cv_axis(ax, WORLDS[world][1])
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return axes[:, 0]


def _cv_axis(ax, n_agents: int) -> None:
    """Above a panel over H a second axis, in the CV that H stands for: H = 1 - CV^2 / (2 log N); ticks where there is room."""
    low, high = ax.get_xlim()
    ticks = {0.0: 1.0}
    for cv in np.arange(0.05, 1.5, 0.05):
        at = 1 - cv**2 / (2 * math.log(n_agents))
        if at > low and min(ticks.values()) - at > 0.06 * (high - low):
            ticks[cv] = at
    above = ax.secondary_xaxis("top")
    above.set_xticks(list(ticks.values()), [f"{cv:.2f}" for cv in ticks], fontsize=9)
    above.set_xlabel("$CV_H$, the coefficient of variation that H stands for", fontsize=9)


def plot_training(studies: Mapping[str, Runs], untrained: Mapping[str, np.ndarray], learner: str = "QMIX"):
    """Above: the median entropy of each evaluation over training, one line a seed, beside the untrained mixer; below: return.

    ``untrained``: {world: percentiles 5, 25, 50, 75, 95 of untrained teams}. The entropies of all worlds have one scale. A
    world without runs keeps its null models, and says so; while no world has runs, there is no row of returns. The paper's
    Figure 3.
    """
    rows = 1 + any(runs.has(learner) for runs in studies.values())
    with context():
        figure, axes = _axes(rows, len(studies), size=(10.4, 1.6 + 2.5 * rows), squeeze=False, sharex="col")
        lowest = []
        for column, (world, runs) in zip(axes.T, studies.items()):
            top, known = column[0], runs.has(learner)
            for _, run in runs.of(learner).groupby("seed"):
                top.plot(run["env_steps"], run["entropy_p50"], color=colour(learner), lw=1.0, alpha=0.8)
                column[1].plot(run["env_steps"], _smooth(run["return_mean"]), color=colour(learner), lw=1.0, alpha=0.8)
            low, _, middle, _, high = untrained[world]
            top.axhspan(low, high, color=GREY, alpha=0.2, lw=0, label="H of untrained teams, 5th to 95th percentile")
            top.axhline(middle, color=GREY, ls=":", label="H of untrained teams, median")
            top.axhline(PAPER[world][2], color=INK, lw=1.2, ls=(0, (6, 2)), label="Zhao et al.: median over training")
            lowest += [low, PAPER[world][2], *runs.of(learner)["entropy_p50"]]
            found = f"{seeds_in_words(runs.seeds(learner))}, one line each" if known else "not measured yet"
            top.set_title(f"{NAMES[world]}: {learner}, {found}", fontsize=11)
            if not known:
                top.set(xlim=(0, FULL[1]))
            for ax in column[1:]:
                _null_returns(ax, runs)
                _cut_off_starts(ax, runs.of(learner))
            column[-1].set_xlabel("environment steps")
            column[-1].xaxis.set_major_formatter(_thousands)
            handles, labels = [sum(both, []) for both in zip(*(ax.get_legend_handles_labels() for ax in column))]
            below = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.24), "borderaxespad": 0, "frameon": False}
            column[-1].legend(handles, labels, fontsize=8.5, **below)
            for ax in column:
                ax.margins(x=0.02)
        for ax in axes[0]:  # one scale, so that a dip in one world can be held against a dip in the other
            ax.set_ylim(min(lowest) - 0.08 * (1 - min(lowest)), 1 + 0.06 * (1 - min(lowest)))
        axes[0][0].set_ylabel("median entropy H\nof an evaluation")
        for ax in axes[1:, 0]:
            ax.set_ylabel("team return\n(running mean of up to 5)")
        figure.suptitle(
            f"How equal is {learner}'s credit while it learns, and what does the team earn?", x=0.01, ha="left", fontsize=12
        )
    return axes


def _null_returns(ax, runs: Runs) -> None:
    """Two null models of a return: a team before training, and one that always plays the same idle action."""
    idle = idle_return(runs.world)
    if runs.has("QMIX"):
        ax.axhline(runs.untrained_return(), color=GREY, ls=":", label="return before training, greedy, mean over seeds")
    ax.axhline(idle, color=INK, lw=1.2, ls=(0, (6, 2)), label=f"return of '{IDLE[runs.world][0]}' ({idle:.0f})")


def _cut_off_starts(ax, runs) -> None:
    """Where untrained returns lie far below all that follows, begin the axis above them and say how many are off it."""
    later, first = runs[runs["env_steps"] > 0]["return_mean"], runs[runs["env_steps"] == 0]["return_mean"]
    if not len(later):
        return
    shown = [later.quantile(0.02), later.max(), first.mean(), *(line.get_ydata()[0] for line in ax.get_lines()[-2:])]
    low, high = min(shown), max(*shown, first.max())
    off = first[first < low - 0.5 * (high - low)]
    if len(off):
        ax.set_ylim(low - 0.12 * (high - low), high + 0.05 * (high - low))
        note = f"before training {seeds_in_words(len(off))} lower: {', '.join(f'{x:.0f}' for x in sorted(off))}"
        ax.text(0.98, 0.03, note, transform=ax.transAxes, fontsize=8.5, color=INK, ha="right")


def _smooth(values, width: int = 5) -> np.ndarray:
    """Running mean over ``width`` evaluations, over fewer near the ends and always as many to the left as to the right, so
    that a curve begins and ends at its own first and last value."""
    values = np.asarray(values, dtype=float)
    reach = np.minimum(np.minimum(np.arange(len(values)), np.arange(len(values))[::-1]), width // 2)
    return np.array([values[i - k : i + k + 1].mean() for i, k in enumerate(reach)])


def _empty(axes, world: str) -> None:
    for ax in axes:
        ax.text(0.5, 0.5, f"{NAMES[world]}:\nnot measured yet", ha="center", transform=ax.transAxes, color=GREY)
        ax.set(xticks=[], yticks=[])


def plot_lambdas(studies: Mapping[str, Runs]):
    """Each learner's return at the end (above) and entropy over the last fifth (below); dots: seeds, bars: their mean. All
    learners of a world at the steps that all of them have run.

    Above, a band around QMIX's mean is the margin of "comparable"; lines: the untrained team, and idle play. Below, a band
    from QMIX's lowest seed to its highest.
    """
    with context():
        figure, axes = _axes(2, len(studies), size=(10.4, 7.0), squeeze=False, sharex="col")
        for (top, below), (world, runs) in zip(axes.T, studies.items()):
            if not runs.learners:
                _empty((top, below), world)
                continue
            steps = runs.matched
            look = styles(runs.learners)
            for x, name in enumerate(runs.learners):
                for ax, values in ((top, runs.returns(name, steps)), (below, runs.entropies(name, steps))):
                    ax.plot([x - 0.28, x + 0.28], [values.mean()] * 2, color=look[name]["color"], lw=3, solid_capstyle="butt")
                    at = x + 0.3 * (np.arange(len(values)) / max(1, len(values) - 1) - 0.5)
                    ax.plot(at, values, "o", color=look[name]["color"], ms=5, mec="white", mew=0.6)
            if runs.has("QMIX"):
                middle = runs.returns("QMIX", steps).mean()
                margin = SHARE * abs(middle - runs.untrained_return())
                top.axhspan(
                    middle - margin, middle + margin, color=colour("QMIX"), alpha=0.12, lw=0, label="return of QMIX +- margin"
                )
                _null_returns(top, runs)
                level = runs.entropies("QMIX", steps)
                below.axhspan(level.min(), level.max(), color=GREY, alpha=0.18, lw=0, label="H of QMIX, lowest to highest seed")
            seeds = sorted({runs.seeds(name) for name in runs.learners})
            number = ("" if len(seeds) == 1 else f"{seeds[0]} to ") + seeds_in_words(seeds[-1])
            missing = len(LEARNERS) - len(runs.learners)
            absent = f"\n{missing} of {len(LEARNERS)} learners not measured yet" if missing else ""
            top.set_title(f"{NAMES[world]}: {number}\n{steps:,} environment steps{absent}", fontsize=11)
            below.set_xticks(range(len(runs.learners)), [n.replace("QMIX-GRE ", "GRE\n") for n in runs.learners], fontsize=9)
            below.axhline(1.0, color=INK, lw=1.0, ls=(0, (6, 2)), label="H = 1: equal credit")
            below.set(ylim=(None, 1.003), xlim=(-0.6, len(LEARNERS) - 0.4))
            handles, labels = [sum(both, []) for both in zip(*(ax.get_legend_handles_labels() for ax in (top, below)))]
            place = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.22), "borderaxespad": 0, "frameon": False}
            below.legend(handles, labels, fontsize=8.5, **place)
        axes[0][0].set_ylabel("team return,\nlast fifth")
        axes[1][0].set_ylabel("median entropy H,\nlast fifth")
        title = "Forbid unequal credit (QMIX-simple) or punish equal credit (GRE, with lambda): return and entropy"
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return axes


def plot_twins(plain, scaled, factor: float):
    """Two runs that differ in the unit of Q_1 alone: return and median entropy over training."""
    with context():
        figure, (left, right) = _axes(1, 2, size=(10.0, 3.4))
        for run, name, shade, width in ((plain, "as it is", BEFORE, 4.5), (scaled, f"$Q_1$ times {factor:g}", AFTER, 1.6)):
            steps = [row["env_steps"] for row in run.history]
            for ax, column in ((left, "return_mean"), (right, "entropy_p50")):
                ax.plot(steps, [row[column] for row in run.history], color=shade, lw=width, label=name)
        left.set(ylabel="team return per episode", title="what the team does")
        right.set(ylabel="median entropy of a batch", title="what the metric says", ylim=(None, 1.02))
        right.axhline(1.0, color=INK, lw=1.0, ls=(0, (6, 2)))
        for ax in (left, right):
            ax.set_xlabel("environment steps")
            ax.xaxis.set_major_formatter(_thousands)
        right.legend(loc="best")
        figure.suptitle("Lumberjacks (ma-gym), QMIX, 1 seed: one run, two units of $Q_1$", x=0.01, ha="left", fontsize=12)
    return left, right


def plot_rescaled(
    team: Algorithm,
    batch: EpisodeBatch,
    factor: float = 4.0,
    step: int = 1,
    game: str = "Lumberjacks (as described)",
    plain: Mapping[str, Tensor] | None = None,
):
    """The explorer's picture: the same team before and after Q_1 is multiplied by ``factor`` > 0 inside its utilities.

    Left: entropies of the batch's steps; middle: Q_tot along its first episode, with a mark at ``step`` (counted from 0, at
    most the episode's last); right: agent 1's share of the slope and of the invariant credit at that step. ``plain``: the
    :func:`scaled_readings` at factor 1, where they are known already.
    """
    one = scaled_readings(team, batch, 1.0) if plain is None else plain
    two = scaled_readings(team, batch, factor)
    length = int(batch.length[0])
    step = min(step, length - 1)  # the first episode's steps come first
    same = int((one["greedy"] == two["greedy"]).all(-1).sum())
    with context():
        figure, (left, middle, right) = _axes(1, 3, size=(10.2, 3.7), width_ratios=(1.1, 1.1, 1))
        edges = np.linspace(0, 1, 41)
        looks = ((one, BEFORE, "as trained"), (two, AFTER, f"$Q_1$ times {factor:.3g}"))
        for found, shade, name in looks:
            left.hist(found["entropy"].numpy(), edges, color=shade, alpha=0.6, label=name)
        left.set(xlabel="normalised entropy of a step", ylabel="steps", xlim=(0, 1.02))
        left.set_title(f"The metric: mean H {one['entropy'].mean():.3f} to {two['entropy'].mean():.3f}", fontsize=10.5)
        left.legend(loc="upper left", fontsize=9)
        middle.plot(one["q_tot"][:length], color=BEFORE, lw=4.5)
        middle.plot(two["q_tot"][:length], color=AFTER, lw=1.4)
        middle.axvline(step, color=INK, lw=1.0, ls=":")
        middle.set(xlabel="step of the first episode (dotted: step shown)", ylabel="$Q_{tot}$")
        middle.set_title(f"The team: {same} of {len(one['greedy'])} greedy actions kept", fontsize=10.5)
        for shift, (found, shade, name) in zip((-0.2, 0.2), looks):
            for x, kind in enumerate(("credit", "invariant")):
                first = shares(found[kind][step : step + 1])[0]
                right.bar(x + shift, first, color=shade, width=0.38, label=name if x == 0 else None)
                right.text(x + shift, first + 0.02, f"{first:.2f}", ha="center", fontsize=9)
        n = team.spec.n_agents
        right.axhline(1 / n, color=INK, lw=1.2, ls=(0, (6, 2)), label=f"equal, 1/{n}")
        right.set(ylim=(0, 1.3), ylabel="share of agent 1")
        right.set_yticks(np.linspace(0, 1, 6))
        right.set_xticks(range(2), ["slope", "invariant credit"], fontsize=9.5)
        right.legend(loc="upper right", fontsize=8, ncols=2)
        right.set_title(f"Whose choice counts at step {step}", fontsize=10.5)
        title = f"{game}, 1 trained team (1 seed), {len(one['entropy'])} steps of {len(batch)} episodes"
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return left, middle, right


def shares(credit: Tensor) -> list[float]:
    """Mean over steps of each agent's share of the credit [M,N]: N numbers that sum to 1 (steps without credit left out)."""
    total = credit.abs().sum(-1, keepdim=True)
    real = total.squeeze(-1) > 0
    return (credit.abs() / total)[real].mean(0).tolist()


def rescaling_explorer(team: Algorithm, batch: EpisodeBatch, factor: float = 4.0, step: int = 1, static: bool = False):
    """The explorer of chapter 04: :func:`plot_rescaled` with sliders for the factor (1/16 to 16, by powers of 2 in steps of
    .02) and for the step shown. It draws when a slider is let go."""
    from ..viz.explore import Control, explore

    plain = scaled_readings(team, batch, 1.0)

    def plot(factor, step):
        return plot_rescaled(team, batch, factor, step, plain=plain)

    shared = {"continuous_update": False}
    limits = {"base": 2, "min": -4, "max": 4, "step": 0.02, "readout_format": ".2f", "description": "factor on Q_1"}
    factors = Control("FloatLogSlider", float(factor), **limits, **shared)
    last = int(batch.length[0]) - 1
    steps = Control("IntSlider", step, min=0, max=last, description="step of the first episode", **shared)
    return explore(plot, static=static, factor=factors, step=steps)
