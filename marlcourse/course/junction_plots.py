"""The pictures of chapter 01. Each function draws one figure from results of :mod:`marlcourse.course.junction`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from .junction import OUTCOMES, JunctionResult, draw_weights, mean_update

PAYOFF = [[0.0, 1.0], [1.0, 0.0]]
LABELS = ("P(car 1 passes)", "P(car 2 passes)")
CORNERS = dict(zip(OUTCOMES, [(0, 0), (0, 1), (1, 0), (1, 1)]))  # where each outcome lies
ROOM = 20  # points between a square and its title, for the shares
CAR_COLOURS = ("#0072B2", "#D55E00")
LONGEST = 0.11  # of the square's side: the longest arrow of a push
KEY = "★ optimum; grey: expected return J, dark = 1"


def _background(ax, arrows=None):
    """The team's return in ten steps of grey (the image is returned), the two optima, arrows (x, y, u, v) in absolute units."""
    from ..viz.style import INK

    x, y = np.meshgrid(*[np.linspace(0, 1, 300)] * 2)
    steps = np.floor(9.999 * (x * (1 - y) + y * (1 - x))) / 10
    image = ax.imshow(steps, origin="lower", extent=(0, 1, 0, 1), cmap="Greys", vmin=-0.1, vmax=1.6, interpolation="nearest")
    ax.axhline(0.5, color="white", lw=1)
    ax.axvline(0.5, color="white", lw=1)
    ax.plot([0, 1], [1, 0], "*", ms=13, mfc="none", mec=INK, mew=1.3, clip_on=False, zorder=6)
    if arrows is not None:
        ax.quiver(*arrows, angles="xy", scale_units="xy", scale=1, pivot="mid", color="#263238", width=0.006, zorder=3)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    ax.grid(visible=False)
    return image


def plot_gradient(direction: Callable[[torch.Tensor], torch.Tensor], title: str):
    """A direction of learning over the square of all policies: ``direction`` maps p [K,2] to (dp1, dp2) [K,2].

    Arrows as long as the slopes, .09 of the square's side for a slope of 1; the title names the longest. Grey is the team's
    return J in steps of .1.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import context

    with context():
        figure, ax = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
        grid = torch.linspace(0.06, 0.94, 9)
        p = torch.cartesian_prod(grid, grid)
        slope = direction(p).detach()
        image = _background(ax, (*p.T.numpy(), *(0.09 * slope).T.numpy()))
        ax.set(xlabel=LABELS[0], ylabel=LABELS[1])
        ax.set_title(f"{title}\nlongest arrow: a slope of {slope.norm(dim=-1).max():.2f}; ★ optimum", fontsize=11)
        bar = figure.colorbar(image, ax=ax, boundaries=np.arange(0, 1.01, 0.1), ticks=[0, 0.5, 1], shrink=0.9, pad=0.03)
        bar.set_label("expected team return J")
    return figure


def _dots(ax, p: torch.Tensor, color: str) -> None:
    """Every team of p [M,2] as one dot; the more of them, the smaller and the paler."""
    size, alpha = (4, 0.6) if len(p) <= 500 else (2.5, 0.35)
    ax.plot(*p.T.numpy(), "o", ms=size, color=color, alpha=alpha, mew=0, zorder=4, clip_on=False)


def _starts(result: JunctionResult) -> str:
    """How many initialisations, and which seeds they have where these are known."""
    count, seeds = result.p.shape[1], list(result.seeds)
    known = len(seeds) == count > 1 and seeds == list(range(seeds[0], seeds[0] + count))
    return f"{count:,} initialisations" + (f" (seeds {seeds[0]:,} to {seeds[-1]:,})" if known else "")


def _shares(ax, result: JunctionResult, step: int) -> None:
    """The share of each outcome, written outside its corner, so that no dot is covered."""
    for outcome, share in result.shares(step).items():
        x, y = CORNERS[outcome]
        side = {"ha": "right" if x else "left", "va": "bottom" if y else "top"}
        place = {"xy": (x, y), "xytext": (-8 if x else 8, 5 if y else -17), "textcoords": "offset points"}
        ax.annotate(f"{share:.0%}", **place, **side, fontsize=10.5, fontweight="bold", annotation_clip=False)
    ax.xaxis.labelpad = 17  # a row for the shares; the title leaves one too (pad=ROOM)


def plot_squares(results: Mapping[str, JunctionResult], step: int = -1, title: str | None = None):
    """Where the starts stand: one square of all policies (P1, P2) for each label, the untrained ones first.

    A dot is one initialisation, and all of them are drawn; outside each corner: the share of them that round to it.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, colour, context

    first = next(iter(results.values()))
    panels = {"untrained (step 0)": (first, 0), **{name: (r, step) for name, r in results.items()}}
    with context():
        figure, axes = plt.subplots(1, len(panels), figsize=(2.5 * len(panels), 4.5), layout="constrained", squeeze=False)
        for ax, (name, (result, at)) in zip(axes[0], panels.items()):
            _background(ax)
            _dots(ax, result.p[at], GREY if at == 0 else colour(name))
            ax.set_title(name.replace(" (", "\n("), fontsize=11, loc="center", pad=ROOM)
            ax.set_xlabel(LABELS[0])
            _shares(ax, result, at)
        axes[0, 0].set_ylabel(LABELS[1])
        for ax in axes[0, 1:]:
            ax.tick_params(labelleft=False)
        steps = len(first.p) - 1 if step == -1 else step
        count = f"each dot one team: {_starts(first)}, all drawn, after {steps} policy steps (first panel: step 0)"
        legend = f"{KEY}; outside each corner: the share that rounds to it"
        figure.suptitle("\n".join(t for t in (title, count, legend) if t), fontsize=12, x=0.01, ha="left")
    return figure


def plot_rate(
    results: Mapping[str, JunctionResult], full: Mapping[str, list[float]] | None = None, metric: str = "rounds to an optimum"
):
    """One figure of every policy step: a line for each learner; ringed dots for the committed full-scale run."""
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, context, styles

    with context():
        figure, ax = plt.subplots(figsize=(7.4, 3.9), layout="constrained")
        looks = styles(results)
        for name, result in results.items():
            ax.plot(result.curve(metric), label=name, color=looks[name]["color"], linestyle=looks[name]["linestyle"])
            if full and name in full:
                steps = range(0, len(full[name]), 6)
                dots = {"color": looks[name]["color"], "ms": 4.5, "markeredgecolor": "black", "markeredgewidth": 0.7}
                ax.plot(steps, [full[name][s] for s in steps], "o", **dots, zorder=5)
        null = next(iter(results.values())).outcome(0)[metric]
        ax.axhline(null, color=GREY, linestyle=":", label=f"untrained ({null:.2f})")
        if full:
            ring = {"color": "white", "ms": 4.5, "markeredgecolor": "black", "markeredgewidth": 0.7}
            ax.plot([], [], "o", **ring, label="same colour: 20,000 starts")
        count = next(iter(results.values())).p.shape[1]
        ax.set(xlabel="policy steps", ylabel=f"share: {metric}" if metric != "mean J" else metric, ylim=(0, 1.03))
        ax.set_title(f"{metric}, {count:,} initialisations each")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_survivors(results: Mapping[str, JunctionResult]):
    """LICA's Figure 5: P(pass) of both cars, mean and standard deviation over ONLY the runs that end in each optimum.

    One column for each label, one row for each optimum; the title says which share of the runs was averaged. Grey: the
    untrained policies, chosen by the same rule (those that happen to round to that optimum).
    """
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, context

    with context():
        size = (2.5 * len(results) + 1.8, 5.4)
        figure, axes = plt.subplots(
            2, len(results), figsize=size, layout="constrained", sharex=True, sharey=True, squeeze=False
        )
        for column, (name, result) in zip(axes.T, results.items()):
            ends, begins = result.rounded(), result.rounded(0)
            for ax, optimum in zip(column, (2, 1)):
                chosen, null = result.p[:, ends == optimum], result.p[0, begins == optimum]
                for car in (0, 1) if chosen.numel() else ():  # an average of no runs draws nothing
                    mean, std = chosen[..., car].mean(1), chosen[..., car].std(1, correction=0)
                    color = CAR_COLOURS[car]
                    ax.plot(mean, color=color, label=f"car {car + 1}")
                    ax.fill_between(range(len(mean)), mean - std, mean + std, color=color, alpha=0.2, lw=0)
                    ax.axhline(
                        float(null[:, car].mean()), color=GREY, ls=":", lw=1.4, label="untrained, same rule" if car else None
                    )
                share = float((ends == optimum).float().mean())
                ax.set_title(f"{name}\n{OUTCOMES[optimum]}:\nmean of {chosen.shape[1]:,} runs ({share:.0%})", fontsize=10)
                ax.set_ylim(0, 1)
            column[-1].set_xlabel("policy steps")
        for row in axes:
            row[0].set_ylabel("P(pass)")
        axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        starts = next(iter(results.values())).p.shape[1]
        figure.suptitle(
            f"Only the runs that ended in each optimum, mean and s.d. ({starts:,} initialisations)", x=0.01, ha="left"
        )
    return figure


def _push(ax, mix: float, rule: str) -> None:
    """The mean update of the two logits over the square. Arrows in proportion; the longest has the same length in every panel
    and the title says which push it stands for; none without a push. Pushes above three times the median are drawn as that
    much ("or more" in the title), so that a few large ones do not hide the rest."""
    grid = torch.linspace(0.07, 0.93, 9)
    p = torch.cartesian_prod(grid, grid)
    push = mean_update(p, draw_weights(float(mix), p), rule)
    length = push.norm(dim=-1, keepdim=True)
    longest = float(min(length.max(), 3 * length.median()))
    cut = " or more" if length.max() > 1.001 * longest else ""
    scale = LONGEST / length.clamp(min=longest) if longest > 1e-6 else torch.zeros(1)
    _background(ax, (*p.T.numpy(), *(push * scale).T.numpy()))
    data = {0.0: "uniform data", 1.0: "on-policy data"}.get(float(mix), f"{mix:.0%} on-policy data")
    words = f"longest arrow: a push of {longest:.3f}{cut}" if longest > 1e-6 else "no push anywhere"
    ax.set(xlabel=LABELS[0], ylabel=LABELS[1])
    ax.set_title(f"rule: {rule}; {data}\n{words}", fontsize=11)


def plot_push(*cases: tuple[str, float]):
    """Which way each policy is pushed, for a critic that knows the rewards: one square for each (rule, mix of data).

    ``rule`` is one of :data:`~marlcourse.course.junction.RULES`; mix 0 is uniform data, 1 on-policy.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import context

    with context():
        size = (3.9 * len(cases) + 0.2, 4.7)
        figure, axes = plt.subplots(1, len(cases), figsize=size, layout="constrained", squeeze=False)
        for ax, (rule, mix) in zip(axes[0], cases):
            _push(ax, mix, rule)
        figure.suptitle(
            f"exact mean push on the logits (dz); each panel has a scale of its own\n{KEY}", x=0.01, ha="left", fontsize=12
        )
    return figure


def diagonal_push(mix: float, rule: str, x: torch.Tensor) -> torch.Tensor:
    """Push on car 1's logit [K] for teams on the diagonal between the optima, p = (x, 1 - x): x [K].

    Near the centre the plain reward pushes by (2 mix - 1) / 2 times the distance x - 1/2: inwards below mix 1/2, outwards
    above.
    """
    p = torch.stack([x, 1 - x], -1)
    return mean_update(p, draw_weights(float(mix), p), rule)[..., 0]


def _plot_diagonal(ax, mix: float, rule: str) -> None:
    """Car 1's push between the two optima; filled dots where a team on this diagonal comes to rest, empty: it leaves."""
    from ..viz.style import GREY, INK

    x = torch.linspace(0, 1, 401, dtype=torch.float64)
    for other, style in ((0.0, ":"), (1.0, "--")):
        ax.plot(x, diagonal_push(other, rule, x), color=GREY, ls=style, label=f"mix {other:.0f}")
    ax.plot(x, diagonal_push(mix, rule, x), color=INK, lw=2.2, label=f"mix {mix:.2f}")
    ax.axhline(0, color=INK, lw=0.8)
    inner = torch.linspace(0.002, 0.998, 998, dtype=torch.float64)  # 1/2 lies between two points
    push = diagonal_push(mix, rule, inner)
    if push.abs().max() > 1e-6:
        for k in torch.nonzero(push[:-1] * push[1:] < 0).flatten().tolist():
            rest = push[k] > 0  # from the left to the right, from the right to the left
            ax.plot(float(inner[k : k + 2].mean()), 0, "o", ms=8, mfc=INK if rest else "white", mec=INK, zorder=5)
    ax.plot([], [], "o", ms=8, color=INK, label="attracts along this diagonal")
    ax.plot([], [], "o", ms=8, mfc="white", mec=INK, label="repels along it")
    ax.set(xlabel="P(car 1 passes) = 1 - P(car 2 passes)", ylabel="push on car 1's logit (right: > 0)", xlim=(0, 1))
    ax.set_title("along the diagonal from ★ to ★\n(a rule with a perfect critic; no runs)", fontsize=11)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3, fontsize=8.5, frameon=False)


def plot_update(mix: float, rule: str, sweep: Mapping[float, JunctionResult]):
    """The push (:func:`plot_push`) beside what becomes of it.

    ``sweep``: from :func:`~marlcourse.course.junction.data_sweep`. Under the rule "COMA" the dots on the left are its runs
    with the nearest mix, and the right panel shows how often they reach an optimum, and their return, under every mix. Under
    another rule there are no runs: the right panel shows the push on the diagonal between the two optima, and where it
    attracts and repels.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, colour, context

    with context():
        figure, (ax, right) = plt.subplots(1, 2, figsize=(8.9, 4.9), layout="constrained")
        figure.suptitle(f"left: exact mean push on the logits; {KEY}", x=0.01, ha="left", fontsize=11)
        _push(ax, mix, rule)
        if rule != "COMA":
            _plot_diagonal(right, mix, rule)
            return figure
        color = colour("COMA (on-policy)")
        nearest = min(sweep, key=lambda k: abs(k - mix))
        result = sweep[nearest]
        teams, steps = result.p.shape[1], len(result.p) - 1
        _dots(ax, result.p[-1], color)
        words = f"{ax.get_title('left')}\ndots: {teams} teams trained at mix {nearest:.2f}"
        ax.set_title(words, loc="left", fontsize=11, pad=ROOM)
        _shares(ax, result, -1)
        ends = [r.outcome() for r in sweep.values()]
        share = [e["rounds to an optimum"] for e in ends]
        right.axvline(mix, color=INK, lw=1)
        right.plot(list(sweep), share, color=color, marker="h", label="rounds to an optimum")
        right.plot(list(sweep), [e["mean J"] for e in ends], color=color, ls="--", label="mean J")
        null = result.outcome(0)["rounds to an optimum"]
        right.axhline(null, color=GREY, ls=":", label=f"untrained rounds to an optimum ({null:.2f})")
        right.set(xlabel="mix: share of on-policy data (0: uniform)", ylabel="share of the starts; return J", ylim=(0, 1.03))
        right.set_title(f"COMA after {steps} policy steps, each mix:\n{_starts(result)}", fontsize=11)
        right.legend(loc="center right", fontsize=9)
    return figure
