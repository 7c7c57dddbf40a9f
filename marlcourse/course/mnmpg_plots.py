"""The pictures of chapter 05, and its explorer. Each function draws one figure of results of :mod:`.mnmpg_study`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .meta_study import signal_to_noise
from .mnmpg_study import (
    ABLATIONS,
    GAIN,
    READINGS,
    estimates,
    expected_gain,
    runs,
    same_seeds,
    same_steps,
    steps_of,
    true_slope,
    untrained_return,
)

REACH = 60.0  # the explorer's axis: fixed, so that one sees the estimates draw together
TINTS = ("#0072B2", "#D55E00", "#009E73", "#8D6E63")
COLOURS = {"stored": "#A23179", "redrawn": "#D55E00", "literal": "#607078"}
SAID = {
    "literal": r"literal, as printed: $\log \pi(a)$",
    "redrawn": "redrawn, as released: another z is scored",
    "stored": "stored: the z that was used is scored",
}
SOURCES = "as printed: Shao et al. 2021, equation 5; as released: github.com/qyz55/MNMPG, commit 797822e"


def plot_readings(samples: Mapping[str, Tensor], truth: float, title: str | None = None, seed: int = 0):
    """The figure to remember: the distribution of single estimates in each reading, its mean, and the true slope. The axis
    reaches as far to the left of 0 as to the right.

    ``samples``: {reading: [draws]}.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import INK, context

    reach = max(float(torch.quantile(torch.cat(list(samples.values())).abs(), 0.99)), truth + 1)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    bins = np.linspace(-reach, reach, 83)  # an even number of bins: 0 is an edge
    spike = bins[41] + (bins[1] - bins[0]) * np.arange(-1.5, 2)  # ... but for what lies at 0: a bar around it
    with context():
        figure, axes = plt.subplots(len(samples), 1, figsize=(7.2, 5.6), sharex=True, layout="constrained")
        for ax, (name, x) in zip(axes, samples.items()):
            share = np.full(len(x), 1 / len(x))
            exact = bool((x == 0).all())
            edges = spike if exact else bins
            ax.hist(x.clamp(bins[0], bins[-1]).numpy(), edges, weights=share, color=COLOURS[name], alpha=0.75)
            mean, error = float(x.mean()), float(x.std() / len(x) ** 0.5)
            ax.axvline(truth, color=INK, ls=(0, (5, 2)), lw=1.6)
            ax.plot([mean], [0], marker="^", ms=12, color=COLOURS[name], mec="white", mew=1.2, clip_on=False, zorder=5)
            said = "every one exactly 0" if exact else f"mean {mean:+.2f}, 3 standard errors {3 * error:.2f}"
            ax.set_title(SAID[name], fontsize=11.5, color=COLOURS[name], fontweight="bold")
            ax.text(0.99, 0.86, said, transform=ax.transAxes, ha="right", va="top", fontsize=10.5, bbox=box)
            ax.set_ylabel("share")
        axes[0].text(truth, 0.55, f" true slope {truth:.2f}", transform=axes[0].get_xaxis_transform(), fontsize=10.5)
        axes[-1].set_xlabel(r"one estimate of $d\,E[R_1 - R_0]\,/\,dm$ (▲: their mean; the outermost bins hold the rest)")
        count = f"{len(next(iter(samples.values()))):,} independent draws each (seed {seed}); nothing is trained"
        told = title or "MNMPG's meta-gradient in three readings: two agents, one step, z ~ N(0, 1)"
        figure.suptitle(
            f"{told}\n{count}\n{SOURCES}",
            x=0.01,
            ha="left",
            fontsize=12,
        )
    return figure


def plot_estimator(reading: str = "stored", rounds: int = 1, noise: float = 0.0, m: float = 0.0, repeats: int = 4000):
    """Estimates of the slope, each averaged over ``rounds`` meta rounds, beside the truth: the explorer's picture. Both axes
    are the same for all settings (the outermost bins hold the rest; heights on a square-root scale, so that wide and narrow
    distributions can be seen at once), and a grey outline shows estimates of one round."""
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, context

    x, truth = estimates(reading, rounds, repeats, m, noise), true_slope(m)
    single = estimates(reading, 1, repeats, m, noise) if rounds > 1 else x
    wrong = f"{float((x <= 0).float().mean()):.1%} point the wrong way"
    wrong = wrong if x.any() else "all are 0 and point nowhere"
    with context():
        ax = plt.subplots(figsize=(7.6, 3.7), layout="constrained")[1]
        bins, weights = np.linspace(-REACH, REACH, 81), np.full(repeats, 1 / repeats)
        ax.hist(x.clamp(-REACH, REACH).numpy(), bins, weights=weights, color=COLOURS[reading], alpha=0.75)
        outline = {"histtype": "step", "color": GREY, "lw": 1.3, "label": "single rounds"}
        ax.hist(single.clamp(-REACH, REACH).numpy(), bins, weights=weights, **outline)
        ax.set_xlim(-REACH, REACH)
        ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
        ax.set_ylim(0, 1)
        ax.set_yticks([0, 0.02, 0.1, 0.25, 0.5, 1], ["0", ".02", ".1", ".25", ".5", "1"])
        ax.axvline(0, color="#8A8A8A", lw=1.3, ls=":", label="no step (0)")
        ax.axvline(truth, color=INK, lw=1.6, ls=(0, (5, 2)), label=f"true slope ({truth:.2f})", zorder=4)
        ax.axvline(float(x.mean()), color=COLOURS[reading], lw=2, label=f"mean of the estimates ({float(x.mean()):.2f})")
        ax.set(xlabel=r"estimate of $d\,E[R_1 - R_0]\,/\,dm$ (outermost bins: the rest)", ylabel="share (square-root scale)")
        ax.set_title(
            f"{SAID[reading]}; {rounds} round{'s' * (rounds > 1)} per estimate, noise {noise:g}, m = {m:g}\n"
            f"{repeats:,} estimates (seed 0): {wrong}, spread {float(x.std()):.2f}",
            fontsize=11.5,
        )
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax.figure


def estimator_explorer(static: bool = False):
    """The explorer of chapter 05: the reading, rounds per estimate, the noise of a return, the mean m of z."""
    from ..viz.explore import Control, choice, explore, float_slider

    steps = [1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 1000]
    return explore(
        plot_estimator,
        static=static,
        reading=choice(list(reversed(READINGS)), label="reading"),
        rounds=Control("SelectionSlider", 1, options=steps, description="rounds per estimate"),
        noise=float_slider(20, 0, 60, 1, label="noise of a return"),
        m=float_slider(0, -3, 3, 0.1, label="mean m of z"),
    )


def plot_ledger():
    """The ledger's rows of this chapter; a dotted 0 stands where an interval holds it."""
    from . import ledger

    return ledger.plot("05")


def counted(curves: Mapping[str, Tensor]) -> str:
    """How many seeds the curves hold, one by one where the numbers differ."""
    counts = {name: len(curve) for name, curve in curves.items()}
    if len(set(counts.values())) == 1:
        n = next(iter(counts.values()))
        return f"{n} seed{'s' * (n != 1)}"
    return "seeds: " + ", ".join(f"{n} {name}" for name, n in counts.items())


def plot_loop(tracks: Mapping[str, Tensor], title: str | None = None):
    """The loop in the small game: {reading: m [seeds, rounds + 1]} -> the expected gain at every m, one thin line a seed, and
    the median; beside it the untrained team's and the best that z can reach."""
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, context

    with context():
        ax = plt.subplots(figsize=(8.8, 4.0), layout="constrained")[1]
        for name, m in tracks.items():
            gains = expected_gain(m).numpy()
            ax.plot(gains.T, color=COLOURS[name], lw=0.8, alpha=0.4)
            ax.plot(np.median(gains, 0), color=COLOURS[name], lw=2.6, label=SAID[name])
        start = float(expected_gain(next(iter(tracks.values()))[:, 0]).median())
        ax.axhline(GAIN[1], color=INK, ls=(0, (6, 2)), lw=1.3, label=f"best that z can choose ({GAIN[1]:+.0f})")
        ax.axhline(start, color=GREY, ls=":", lw=1.3, label=f"untrained ({start:+.0f})")
        ax.set(xlabel="meta rounds", ylabel="expected gain of a round, $E[R_1 - R_0]$")
        head = title or "The whole loop in the small game: z, practice, play, meta step"
        ax.set_title(f"{head}\nthin: single seeds; thick: median; {counted(tracks)}", fontsize=11.5)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax.figure


def plot_known(curves: Mapping[str, Tensor], title: str | None = None):
    """Exact expected return over meta rounds where it is known: {reading: [seeds, rounds + 1]}, one thin line a seed, and
    the median; 0 is the best."""
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, context

    with context():
        ax = plt.subplots(figsize=(7.6, 3.7), layout="constrained")[1]
        for name, curve in curves.items():
            ax.plot(curve.numpy().T, color=COLOURS[name], lw=0.8, alpha=0.4)
            ax.plot(np.median(curve.numpy(), 0), color=COLOURS[name], lw=2.6, label=SAID[name])
        start = float(torch.cat([curve[:, 0] for curve in curves.values()]).median())
        ax.axhline(0, color=INK, ls=(0, (6, 2)), lw=1.3, label="best (0)")
        ax.axhline(start, color=GREY, ls=":", lw=1.3, label=f"untrained ({start:.1f})")
        ax.set(xlabel="meta rounds", ylabel="expected return")
        head = title or "An encoder in 64 states s, paid - |z - s|² for its z: which reading learns?"
        ax.set_title(f"{head}\nthin: single seeds; thick: median; {counted(curves)}")
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax.figure


def plot_signal(data: Mapping[str, np.ndarray]):
    """The committed measurement (benchmarks/meta_signal.py): R1 - R0 of every pair, and the squared signal in it.

    ``data``: env_steps, epsilon [S], improvement [S,n], stored and redrawn [S,n,P]. The band on the right holds what pure
    noise gives 19 times of 20.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, context

    stages, pairs = data["improvement"].shape
    names = [f"{int(s):,}\n(ε {e:.2f})" for s, e in zip(data["env_steps"], data["epsilon"])]
    with context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.9), layout="constrained")
        for k, r in enumerate(data["improvement"]):
            spread = np.linspace(-0.22, 0.22, pairs)
            left.plot(k + spread, r, "o", ms=3.5, color=COLOURS["stored"], alpha=0.5, mew=0)
            error = 2 * r.std(ddof=1) / pairs**0.5
            left.errorbar(k, r.mean(), error, color=INK, marker="_", ms=18, lw=2.2, capsize=4)
        left.axhline(0, color=GREY, ls=":", lw=1.3)
        left.set(xlabel="environment steps (ε)", ylabel="$R_1 - R_0$ (team return)")
        left.set_title("dots: pairs; black: mean ± 2 s.e.", fontsize=11)
        for reading, move, mark in (("stored", -0.08, "X"), ("redrawn", 0.08, "o")):
            y = [signal_to_noise(torch.from_numpy(g.astype(np.float32))).standard_errors for g in data[reading]]
            right.plot(np.arange(stages) + move, y, mark, ms=9, color=COLOURS[reading], label=reading)
        right.axhspan(-2, 2, color=GREY, alpha=0.18, lw=0, label="null: 95 %")
        right.set(ylabel="squared signal (standard errors)", xlabel="environment steps (ε)")
        low, high = right.get_ylim()
        right.set_ylim(min(low, -3.5), max(high, 3.5))
        right.set_title("do the gradients share a direction?", fontsize=11)
        right.legend(loc="upper left", bbox_to_anchor=(1, 1))
        for ax in (left, right):
            ax.set_xticks(range(stages), names)
            ax.set_xlim(-0.5, stages - 0.5)
        figure.suptitle(
            f"lumberjacks, the paper's settings: {pairs} pairs (D0, D1) of 8 episodes from one team (1 seed) at each stage",
            x=0.01,
            ha="left",
            fontsize=12,
        )
    return figure


def plot_ablations(frame):
    """The panels of the paper's Figure 5 on lumberjacks: median and interquartile range over seeds, and the null."""
    import matplotlib.pyplot as plt

    from ..viz.curves import _thousands, median_and_quartiles, series
    from ..viz.style import ALGORITHMS, GREY, colour, context

    frame = same_seeds(frame)
    null = untrained_return(frame)
    with context():
        figure, axes = plt.subplots(1, len(ABLATIONS), figsize=(11, 3.9), layout="constrained", sharey=True)
        for ax, (what, names) in zip(axes, ABLATIONS.items()):
            shared = same_steps(frame, *names)
            for k, (name, some) in enumerate(runs(shared, names).items()):
                x, (low, middle, high), _ = median_and_quartiles([series(r.history, "return_mean") for r in some])
                tint = colour(name) if name in ALGORITHMS else TINTS[k % len(TINTS)]
                ax.plot(x, middle, color=tint, label=name)
                ax.fill_between(x, low, high, color=tint, alpha=0.14, lw=0)
            ax.axhline(null, color=GREY, ls=":", lw=1.3, label=f"untrained ({null:.0f})")
            ax.set_title(what, fontsize=11.5)
            ax.set_xlabel(f"environment steps (the first {steps_of(frame, *names):,})")
            ax.xaxis.set_major_formatter(_thousands)
            ax.legend(loc="upper left", fontsize=9)
        axes[0].set_ylabel("team return per episode")
        seeds = frame["seed"].nunique()
        figure.suptitle(
            f"lumberjacks, greedy play: what the parts of MNMPG do, median and interquartile range over {seeds} seeds",
            x=0.01,
            ha="left",
            fontsize=12,
        )
    return figure


def plot_hierarchy(tracks: Mapping[str, tuple[Tensor, Tensor, Tensor]], felled: Sequence[int], title: str):
    """z over one episode, one panel for each of its K entries, all tracks in it: {who: (mean [T,K], std [T,K], drawn z
    [T,K])}, and the steps at which a tree fell. The first track is grey and dashed (the null), its band an outline."""
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, context

    count = next(iter(tracks.values()))[0].shape[1]
    with context():
        figure, axes = plt.subplots(
            count, 1, figsize=(7.6, 1.6 + 1.35 * count), sharex=True, sharey=True, layout="constrained", squeeze=False
        )
        for k, ax in enumerate(axes[:, 0]):
            for j, (who, (mean, std, drawn)) in enumerate(tracks.items()):
                steps, tint = np.arange(len(mean)), TINTS[j - 1] if j else GREY
                middle, width = mean[:, k], std[:, k]
                dashes = {"lw": 1, "ls": (0, (4, 2))}
                ax.plot(steps, middle, color=tint, label=who, **({"lw": 2} if j else {**dashes, "zorder": 3}))
                if j:
                    ax.fill_between(steps, middle - width, middle + width, color=tint, alpha=0.15, lw=0)
                    ax.plot(steps, drawn[:, k], ".", ms=3, color=tint, alpha=0.7)
                else:
                    for edge in (middle - width, middle + width):
                        ax.plot(steps, edge, color=tint, **dashes)
            for t in felled:
                ax.axvline(t, color=GREY, lw=1, ls=":")
            ax.set_ylabel(f"$z_{k + 1}$")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(tracks))
        axes[-1, 0].set_xlabel("step of the episode (dotted: a tree falls)")
        figure.suptitle(
            f"{title}\nmiddle line: mean of p(z | s); band, or outer dashes: one standard deviation; dots: drawn after the run",
            x=0.01,
            ha="left",
            fontsize=12,
        )
    return figure
