"""Chapter 00's team: two agents in the two-step game, what they believe, and the pictures of them before and after training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..algorithms.qmix import QMIX
from ..core import VecEnv
from ..envs import make
from ..trainer import Callback

STEPS = 20_000  # environment steps at which every team of the committed run has stopped changing its mind
SITUATIONS = ("state 1", "state 2A", "state 2B")  # the order of the rows of the world's one-hot state
RETURNS = (0, 1, 7, 8)  # all that an episode of the two-step game can pay


class PlainSum(nn.Module):
    """The simplest mixer: q [...,N] -> q_tot [...], the sum of the utilities, whatever the state."""

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        return q.sum(-1)


def start_team(seed: int = 0, num_envs: int = 32, **parts) -> tuple[VecEnv, QMIX]:
    """The chapter's world and a fresh team for it, on the CPU; ``parts`` as in QMIX (``mixer=...``)."""
    env = make("two-step", num_envs=num_envs, device="cpu")
    return env, QMIX(env.spec, QMIX.Config.preset("two-step"), seed=seed, device="cpu", **parts)


@torch.no_grad()
def beliefs(team: QMIX) -> Tensor:
    """Q_tot of every joint action in every situation of the two-step game: [3,2,2] (situation, agent 1, agent 2)."""
    state = torch.eye(3, device=team.device)  # one row per situation
    obs = state.view(3, 1, 1, 3).expand(3, 1, 2, 3)  # both agents see it
    none_yet = torch.full((3, 1, 2), -1, device=team.device)
    q, _ = team.agent(obs, none_yet, team.agent.initial_hidden(3, 2))
    q = q[:, 0]  # [3,N,A]
    a = q.shape[-1]
    pairs = torch.stack([q[:, 0, :, None].expand(3, a, a), q[:, 1, None, :].expand(3, a, a)], -1)  # [3,A,A,N]
    return team.mixer(pairs, state.view(3, 1, 1, 3).expand(3, a, a, 3))


def path_of(q_tot: np.ndarray | Tensor) -> list[tuple[int, int, int]]:
    """The greedy episode of a team with these beliefs [3,2,2]: (situation, action of agent 1, of agent 2), twice.

    For a mixer that never falls when a utility rises, the best joint action is each agent's own best one.
    """
    table = np.asarray(q_tot)
    first = np.unravel_index(table[0].argmax(), (2, 2))
    there = 1 + int(first[0])
    second = np.unravel_index(table[there].argmax(), (2, 2))
    return [(0, int(first[0]), int(first[1])), (there, int(second[0]), int(second[1]))]


class TeamDiary(Callback):
    """Writes down, at each evaluation, the clock, the greedy return and the team's beliefs [3,2,2]."""

    def __init__(self):
        self.env_steps: list[int] = []
        self.returns: list[float] = []
        self.q_tot: list[np.ndarray] = []

    def on_evaluation(self, trainer, row) -> None:
        self.env_steps.append(row["env_steps"])
        self.returns.append(row["return_mean"])
        self.q_tot.append(beliefs(trainer.algorithm).cpu().numpy())


def shares(returns) -> list[float]:
    """The share of episodes (or teams) that earned 0, 1, 7 and 8."""
    returns = np.asarray(returns, dtype=float).round().astype(int)
    return [float((returns == value).mean()) for value in RETURNS]


# ---------------------------------------------------------------------------------------------------------- pictures

GAMMA = 0.99  # of the preset
PAYS = np.array([[[7, 7], [8, 8]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]])  # the episode's return if all that follows is best
TRUE = PAYS * np.array([GAMMA, 1, 1]).reshape(3, 1, 1)  # the same, discounted: what Q_tot should be
INK, PALE, WORST, POOR, SAFE, BEST = "#263238", "#8A979D", "#D55E00", "#F0B48A", "#C3CDD2", "#0072B2"


def percent(share: float) -> str:
    """0.125 -> "12.5 %", 0.5 -> "50 %": rounded so little that the pieces of a bar add up."""
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def plot_before_after(groups: dict[str, np.ndarray], optimum: float = 8.0, title: str = ""):
    """One bar per group, cut into the shares that earned 0, 1, 7 and 8; the mean beside it. groups: {label: returns}."""
    import matplotlib.pyplot as plt

    from ..viz.style import context

    with context():
        figure, ax = plt.subplots(figsize=(8.8, 1.6 + 0.85 * len(groups)), layout="constrained")
        for row, returns in enumerate(groups.values()):
            left = 0.0
            for value, share, colour in zip(RETURNS, shares(returns), (WORST, POOR, SAFE, BEST)):
                label = f"return {value}" if row == 0 else None
                ax.barh(row, share, left=left, color=colour, edgecolor="white", height=0.66, label=label)
                if share >= 0.06:
                    ink = "white" if colour in (WORST, BEST) else INK
                    ax.text(left + share / 2, row, percent(share), ha="center", va="center", color=ink)
                elif share > 0:  # too narrow to write in: above it
                    ax.text(left + share / 2, row - 0.35, percent(share), ha="center", va="bottom", fontsize=9)
                left += share
            ax.text(1.015, row, f"mean {np.mean(returns):.2f}", va="center")
        ax.set_yticks(range(len(groups)), list(groups))
        ax.invert_yaxis()
        ax.set_xlim(0, 1.15)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        ax.set_xlabel(f"share, by the return of a whole episode (best possible: {optimum:g})")
        ax.grid(False)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_title(title, loc="left", fontsize=12)
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def plot_learning(
    env_steps: np.ndarray, perfect: np.ndarray, q_tot: np.ndarray, fresh: float, others: dict[str, np.ndarray] | None = None
):
    """What M teams do beside what they believe, over environment steps.

    perfect [K]: how many of them earn 8; fresh: how many of so many untrained teams would; others {label: [K]}: the same
    count of M teams trained in another way. q_tot [M,K,3,2,2]: their joint
    values, of which the best of 2A and of 2B is drawn (median over the teams).
    """
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, colour, context

    teams, best = len(q_tot), np.median(q_tot.max((-2, -1)), 0)  # [K,3]
    with context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.1), layout="constrained")
        left.plot(env_steps / 1000, perfect, color=colour("QMIX"), marker="o", ms=4, label="trained with QMIX")
        for label, count in (others or {}).items():
            left.plot(env_steps / 1000, count, color="#CC79A7", marker="x", ms=4, lw=1, ls="--", label=label)
        left.axhline(fresh, color=GREY, ls=":", label=f"expected of {teams} untrained teams")
        left.set(ylabel=f"perfect teams, of {teams}", ylim=(-0.05 * teams, 1.08 * teams), title=f"What they do ({teams} seeds)")
        right.plot(env_steps / 1000, best[:, 2], color=colour("QMIX"), label="best of 2B (true: 8)")
        right.plot(env_steps / 1000, best[:, 1], color=WORST, ls="--", label="best of 2A (true: 7)")
        for true in (7, 8):
            right.axhline(true, color=GREY, ls=":", lw=1)
        right.set(ylabel="joint value (reward)", title=f"What they believe (median of {teams} seeds)")
        right.set_ylim(-0.3, best.max() + 0.8)
        for ax in (left, right):
            ax.set_xlabel("thousand environment steps")
            ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2))
    return figure


def plot_beliefs(q_tot: np.ndarray, title: str = ""):
    """The team's mind: Q_tot of each joint action in each situation [3,2,2], with what is true below; its choice framed.

    A situation that the team's own greedy play never reaches is drawn pale.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import context

    q_tot = np.asarray(q_tot)
    path = path_of(q_tot)
    visited = {situation: (i, j) for situation, i, j in path}
    paid = PAYS[path[-1]]
    with context():
        figure, axes = plt.subplots(1, 3, figsize=(8.8, 3.3), layout="constrained")
        for k, ax in enumerate(axes):
            pale = k not in visited
            ax.imshow(q_tot[k], cmap="Greens", vmin=-1, vmax=12, alpha=0.25 if pale else 0.85)
            for i, j in np.ndindex(2, 2):
                ink = PALE if pale else INK
                ax.text(j, i - 0.08, f"{q_tot[k, i, j].round(1) + 0:.1f}", ha="center", va="center", fontsize=15, color=ink)
                ax.text(j, i + 0.28, f"true {TRUE[k, i, j]:.1f}", ha="center", va="center", fontsize=9, color=ink)
            if not pale:
                i, j = visited[k]
                ax.add_patch(plt.Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, lw=3.5, edgecolor=INK))
            ax.set_title(SITUATIONS[k] + (" (not reached)" if pale else ""), color=PALE if pale else INK)
            ax.set_xticks([0, 1])
            ax.set_yticks([0, 1], ["0: to 2A", "1: to 2B"] if k == 0 else ["0", "1"])
            ax.set_xlabel("action of agent 2")
            ax.set_ylabel("action of agent 1")
            ax.grid(False)
        figure.suptitle(f"{title}the team earns {paid}", fontsize=12.5, color=BEST if paid == 8 else INK)
    return figure
