"""The pictures of chapter 02, and its explorer. Each function draws one figure of results of :mod:`.matrix_study`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..envs.matrix import GAMES
from ..stopping import StopButton
from . import scale
from .matrix_study import GRID, METHODS, Fit, action_values, fit_table, two_step_vdn

ACTION_COLOURS = ("#0072B2", "#D55E00", "#009E73")
TITLES = {"qtran": "QTRAN's game", "penalty-10": "penalty", "two-step-2b": "2B", "xor": "XOR", "or": "OR"}
KINDS = {  # matrix_study.kinds_of_data in words
    "uniform": "uniform\n" r"($\epsilon$ = 1)",
    "epsilon-greedy": "epsilon-greedy\n" r"($\epsilon$ 1 to .05, all data kept)",
    "on-policy": "on-policy\n" r"($\epsilon$ = .1, newest only)",
}
TABLES = [name for group in GRID for name in group]


def plot_drift(watched: Sequence[tuple[torch.Tensor, torch.Tensor]], table, member: int = 0, title: str | None = None):
    """What each action of agent 1 is worth against the partner as it plays at that moment, and what agent 1 believes.

    ``watched``: (utilities [M,2,A], weights [M,A*A]) of each update, as ``fit_table(watch=...)`` hands them out.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import context

    table = torch.as_tensor(table, dtype=torch.float32)
    a = len(table)
    beliefs = torch.stack([q[member, 0] for q, _ in watched]).numpy()  # [K,A]
    weights = torch.stack([w[member].view(a, a) for _, w in watched])
    worth = action_values(table, weights).numpy()
    with context():
        ax = plt.subplots(figsize=(7.4, 3.9), layout="constrained")[1]
        for u in range(a):
            ax.plot(worth[:, u], color=ACTION_COLOURS[u % 3], lw=2.4, label=f"action {u}: worth now")
            ax.plot(beliefs[:, u], color=ACTION_COLOURS[u % 3], lw=1.4, ls=(0, (3, 2)), label=f"action {u}: $Q_1$")
        ax.axhline(float(table.max()), color="#263238", lw=1.2, ls=(0, (6, 2)), label=f"optimum ({table.max():g})")
        ax.set(xlabel="update", ylabel="team payoff")
        ax.set_title(
            "\n".join([title or "the target of agent 1 moves because its partner learns", f"one seed of {len(watched[0][0])}"])
        )
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax.figure


def plot_fits(fits: Mapping[str, Fit], title: str | None = None):
    """The payoffs beside what each method made of them: the seed with the median error, its greedy joint action framed.

    A panel's name says how many of its seeds play a best joint action. IQL's panel is empty: it has no joint table.
    """
    from ..viz.curves import heat_tables

    first = next(iter(fits.values()))
    names = {name: f"{name}\nplays {first.true.max():g}: {fit.count}" for name, fit in fits.items()}
    tables = {names[name]: None if fit.method == "IQL" else fit.table[fit.middle] for name, fit in fits.items()}
    greedy = {names[name]: tuple(fit.greedy[fit.middle].tolist()) for name, fit in fits.items()}
    count = f"each: the seed with the median error, of {len(first)}"
    figure = heat_tables(tables, first.true, greedy, title=f"{title + '; ' if title else ''}{count}")[0].figure
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.25 * (1 if len(tables) < 4 else 2))  # room for the second line of the names
    return figure


def random_share(table: str) -> float:
    """The null: how often a uniformly random joint action is a best one."""
    payoff = np.array(GAMES[table][0], dtype=float)
    return float((payoff >= payoff.max()).mean())


def shares(fits: Mapping[tuple[str, str, str], Fit]):
    """{(method, table, data): Fit} as a DataFrame of method, table, data, optimal: one row per seed."""
    import pandas as pd

    rows = [
        {"method": m, "table": t, "data": d, "optimal": int(r >= fit.true.max())}
        for (m, t, d), fit in fits.items()
        for r in fit.payoff
    ]
    return pd.DataFrame(rows)


def plot_grid(frame, title: str | None = None, untrained: Mapping[str, float] | None = None, teams: int = 64):
    """Share of seeds that choose an optimum: methods by tables, a panel for each kind of data; the nulls below.

    ``frame``: columns method, table, data, optimal (0 or 1), one row per seed. ``untrained``: {table: the share of
    ``teams`` teams that choose an optimum with their first weights}.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import INK, context, readable

    kinds = list(dict.fromkeys(frame["data"]))
    methods = [m for m in METHODS if m in set(frame["method"])]
    tables = [t for t in TABLES if t in set(frame["table"])]
    mean = frame.groupby(["data", "method", "table"])["optimal"].mean()
    with context():
        size = (1.8 + 0.56 * len(tables) * len(kinds) + 0.6, 2.1 + 0.44 * (len(methods) + 1 + (untrained is not None)))
        figure, axes = plt.subplots(1, len(kinds), figsize=size, layout="constrained", squeeze=False, sharey=True)
        for ax, kind in zip(axes[0], kinds):
            nulls = {"random play (exact)": [random_share(t) for t in tables]}
            if untrained is not None:
                nulls = {f"untrained ({teams} teams)": [untrained[t] for t in tables], **nulls}
            values = np.array([[mean.get((kind, m, t), np.nan) for t in tables] for m in methods] + list(nulls.values()))
            image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
            for i, row in enumerate(values):
                for j, value in enumerate(row):
                    text = "" if np.isnan(value) else f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
                    text = "0" if text == ".00" else text
                    color = readable(image.cmap(image.norm(value)))
                    ax.text(j, i, text, ha="center", va="center", fontsize=10, color=color)
            ax.axhline(len(methods) - 0.5, color=INK, lw=1.2)
            ax.set_title(KINDS.get(kind, f"{kind} data"), fontsize=11, loc="center")
            ax.set_xticks(range(len(tables)), [TITLES.get(t, t) for t in tables], rotation=35, ha="right")
            ax.set_yticks(range(len(methods) + len(nulls)), [*methods, *nulls])
            ax.tick_params(length=0)
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
        axes[0, 0].set_ylabel("method")
        figure.supxlabel("payoff table", fontsize=11)
        seeds = int(frame.groupby(["data", "method", "table"]).size().max())
        text = title or "How often is the greedy joint action an optimum?"
        figure.suptitle(f"{text}\nshare of {seeds} seeds", x=0.01, ha="left", fontsize=12)
    return figure


def plot_sweeps(frame, untrained: float | None = None):
    """Share of seeds that choose 8 in QTRAN's game: OW- and CW-QMIX over alpha, QTRAN over lambda_nopt.

    ``frame``: columns method, option, value, optimal, one row per seed. ``untrained``: the share of untrained teams.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, context, styles

    labels = {
        "alpha": r"weight $\alpha$ of a joint action not worth fitting",
        "lambda_nopt": r"weight $\lambda_{nopt}$ of 'not below'",
    }
    with context():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.7), layout="constrained", sharey=True)
        looks = styles(list(dict.fromkeys(frame["method"])))
        names = {}
        for ax, option in zip(axes, labels):
            part = frame[frame["option"] == option]
            smallest = part.loc[part["value"] > 0, "value"].min()
            for method, rows in part.groupby("method"):
                share = rows.groupby("value")["optimal"].mean()
                share += {"OW-QMIX": -0.012, "CW-QMIX": 0.012}.get(method, 0)  # else one lies on the other
                ax.plot(share[share.index > 0], label=method, **looks[method])
                ax.plot(share[share.index == 0], **{**looks[method], "linestyle": "none"})  # 0 has no place on a log axis
            ax.axhline(1 / 9, color=GREY, ls=":", label="random play (1/9)")
            if untrained is not None:
                ax.axhline(untrained, color=GREY, ls=(0, (6, 2)), label=f"untrained teams ({untrained:.2f})")
            if (part["value"] == 0).any():
                ax.set_xscale("symlog", linthresh=smallest)
                ax.set_xlim(left=-0.1 * smallest)
            else:
                ax.set_xscale("log")
            ax.set(xlabel=labels[option], ylim=(-0.04, 1.06))
            names |= dict(zip(*ax.get_legend_handles_labels()[::-1]))
        figure.legend(names.values(), names.keys(), loc="outside lower center", ncols=len(names))
        axes[0].set_ylabel("share of seeds that choose 8")
        seeds = int(frame.groupby(["method", "value"]).size().max())
        figure.suptitle(
            f"QTRAN's game, uniform data: where the repair stops working\n{seeds} seeds; CW and OW nudged apart",
            x=0.01,
            ha="left",
            fontsize=12,
        )
    return figure


def plot_two_step(frame):
    """Left: what exact VDN believes of 2B for every epsilon. Right: greedy return of the ordinary Trainer over training.

    ``frame``: columns method, data, seed, env_steps, return.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import INK, colour, context

    epsilon = np.linspace(0, 1, 101)
    belief = [two_step_vdn(float(e))[1] for e in epsilon]
    with context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.8), layout="constrained")
        left.plot(epsilon, belief, color=colour("VDN"), lw=2.4, label="VDN's value of 2B")
        left.axhline(7, color=INK, ls=(0, (6, 2)), lw=1.3, label="2A pays 7")
        left.axhline(8, color=INK, ls=(0, (1, 1.5)), lw=1.3, label="2B can pay 8")
        left.set(xlabel=r"$\epsilon$ of the data (1: uniform)", ylabel="team payoff")
        left.set_title("on paper: exact least squares")
        left.legend(loc="lower left")
        for (method, data), part in frame.groupby(["method", "data"], sort=False):
            share = (part["return"] >= 8).groupby(part["env_steps"]).mean()
            dash, nudge = ("-", 0.008) if data == "uniform" else ((0, (4, 2)), -0.008)
            label = f"{method}, " + ("uniform" if data == "uniform" else r"$\epsilon$ 1 to .05")
            right.plot(share.index, share.values + nudge, color=colour(method), ls=dash, lw=2.2, label=label)
        right.set(xlabel="environment steps", ylabel="share of seeds that play 8", ylim=(-0.05, 1.05))
        right.locator_params(axis="x", nbins=5)
        right.set_title(f"measured: {frame['seed'].nunique()} seeds; lines nudged apart")
        right.legend(loc="center right")
        figure.suptitle(
            "The two-step game: VDN and QMIX on uniform data, and while epsilon falls", x=0.01, ha="left", fontsize=12
        )
    return figure


# ---- the explorer ----

CHOICES = {
    "VDN, QMIX, CW-QMIX": ("VDN", "QMIX", "CW-QMIX"),
    "OW-QMIX, CW-QMIX, QTRAN": ("OW-QMIX", "CW-QMIX", "QTRAN"),
    "all six (slower)": tuple(METHODS),
}


def plot_table(
    table,
    epsilon: float = 1.0,
    methods: Sequence[str] = CHOICES["VDN, QMIX, CW-QMIX"],
    seeds: int = 4,
    steps: int = 120,
    tick=None,
):
    """Fit a payoff table with the methods on epsilon-greedy data and draw what each made of it.

    The data are those of the moment: ``epsilon`` is the same in all ``steps`` updates, old data are not kept. The title names
    the game where the table is one of the library's. ``tick(done, total)`` is called while it works; without it there is a
    bar (none at ci scale). One stop (an interrupt) ends it all: the methods fitted so far are drawn, and the title says so.
    Raises ValueError, in one sentence, for a table that is none.
    """
    from tqdm.auto import tqdm

    fits, total, title = {}, len(methods) * steps, f"{game_name(table)}, epsilon {epsilon:g}"
    with tqdm(total=total, leave=False, disable=tick is not None or scale() == "ci") as bar, StopButton() as stop:

        def told(done: int) -> None:  # updates of the method under way
            bar.update(1)
            if tick is not None:
                tick(len(fits) * steps + done, total)

        for method in methods:
            bar.set_description(f"fitting {method}")
            lr = 0.02 if method == "VDN" else 0.01
            fits[method] = fit_table(method, table, epsilon, range(seeds), steps, progress=told, lr=lr)
            if stop.pressed and (len(fits) < len(methods) or fits[method].updates < steps):
                missing = ", ".join(methods[len(fits) :])
                print(f"Stopped: {', '.join(fits)} kept{f'; {missing} left out' if missing else ''}.")
                title += "; stopped early"
                break
    return plot_fits(fits, title)


def game_name(table) -> str:
    """The name of the library's game with this payoff table, else "your table"."""
    numbers = np.asarray(table, dtype=float).tolist()
    return next((name for name, (payoff, *_) in GAMES.items() if np.asarray(payoff, float).tolist() == numbers), "your table")


def matrix_explorer(static: bool = False, game: str = "qtran", epsilon: float = 1.0, **options):
    """The explorer of chapter 02: an editable payoff table, an epsilon slider and a choice of methods.

    It starts with ``game`` and ``epsilon``; ``options`` go to :func:`plot_table`. A bar over it is seen while it works.
    """
    from ..viz.explore import choice, float_slider, table_explorer

    names = dict.fromkeys([game, "qtran", "climbing", "penalty-10", "xor", "or", "two-step-2b", "stag-hunt"])
    games = {name: GAMES[name][0] for name in names}
    bar = None if static else _widget_bar()

    def plot(table, epsilon, methods):
        if bar is None:
            return plot_table(table, epsilon, methods, **options)

        def tick(done, total):
            bar.max, bar.value = total, done

        bar.layout.visibility = "visible"
        try:
            return plot_table(table, epsilon, methods, tick=tick, **options)
        finally:
            bar.layout.visibility = "hidden"  # it keeps its place: nothing jumps

    return table_explorer(
        plot,
        games,
        static=static,
        epsilon=float_slider(epsilon, 0.05, 1.0, 0.05, label="epsilon of the data"),
        methods=choice(CHOICES, label="methods"),
    )


def _widget_bar():
    """A progress bar over the explorer, in a notebook that has widgets; else None."""
    from ..viz.style import in_notebook

    if not in_notebook():
        return None
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        return None
    layout = ipywidgets.Layout(width="420px", visibility="hidden")
    bar = ipywidgets.IntProgress(value=0, min=0, max=1, description="fitting", layout=layout)
    display(bar)
    return bar
