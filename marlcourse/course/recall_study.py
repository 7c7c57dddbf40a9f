"""Chapter 03's first experiment: the two-rooms task so small that all its episodes fit into one batch, many seeds at once.

Two doors and a short corridor: four pairs of lamps, four pairs of doors, sixteen episodes. A team is trained on all of
them, each equally often (uniform data), so that nothing depends on exploration. All seeds are stacked with
:class:`marlcourse.Ensemble`; greedy returns are exact, not sampled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..algorithms.qmix import QMIX
from ..core import EnvSpec, EpisodeBatch
from ..ensemble import Ensemble
from ..envs.two_rooms import WALK, TwoRooms
from ..stopping import no_bars, stoppable
from .claims import no_verdict

SETTINGS = dict(lr=2e-2, optimizer=torch.optim.Adam, hidden=16, embed=8, recurrent=False, last_action=False)
TARGET_EVERY = 10  # updates between hard copies


class _Told(TwoRooms):
    """Two rooms whose lamps are given, one pair for each world."""

    def _draw_start(self):
        return {"lamp": self.lamps}


def spec_of(doors: int = 2, corridor: int = 2) -> EnvSpec:
    """The spec of the two-rooms world of this size."""
    return TwoRooms(device="cpu", doors=doors, corridor=corridor).spec


def every_episode(doors: int = 2, corridor: int = 2) -> EpisodeBatch:
    """All doors^4 episodes, one a row: lamps of both agents in order, and for each pair of lamps every pair of doors."""
    pairs = torch.tensor(list(itertools.product(range(doors), repeat=2)))
    rows = len(pairs) ** 2
    env = _Told(rows, "cpu", doors=doors, corridor=corridor)
    env.lamps, opened = pairs.repeat_interleave(len(pairs), 0), pairs.repeat(len(pairs), 1)
    seen, played = [env.reset(seed=0)], []
    for place in range(env.places):
        actions = torch.full((rows, 2), WALK) if place < env.places - 1 else 1 + opened
        step = env.step(actions)
        seen.append(step.observation)
        played.append((actions, step.reward, step.terminated, step.truncated))
    along = lambda parts: torch.stack(list(parts), 1)
    actions, reward, terminated, truncated = (along(part) for part in zip(*played))
    return EpisodeBatch(
        obs=along(o.obs for o in seen),
        state=along(o.state for o in seen),
        avail=along(o.avail for o in seen),
        actions=actions,
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        mask=torch.ones_like(reward),
        length=torch.full((rows,), env.places),
    )


def one_for_each_lamp(batch: EpisodeBatch) -> EpisodeBatch:
    """Of all episodes the first one for each pair of lamps: greedy play is asked about these."""
    return batch[torch.arange(0, len(batch), round(len(batch) ** 0.5))]


def earns(choice: Tensor, right: Tensor) -> Tensor:
    """The team's return, averaged over the lamps: choice [...,B,2] and right [B,2] -> [...]."""
    return (choice == right).all(-1).float().mean(-1)


def _in_room_two(team: QMIX, batch: EpisodeBatch) -> Tensor:
    """Greedy actions [B,2] in room two of a team that walked there and kept what it remembers."""
    return team.utilities(team.agent, batch)[:, -2].argmax(-1)


def _wiped(team: QMIX, batch: EpisodeBatch) -> Tensor:
    """The same, but its memory is emptied at the door of room two."""
    room = EpisodeBatch(
        **{**vars(batch), "obs": batch.obs[:, -2:], "avail": batch.avail[:, -2:], "actions": batch.actions[:, -1:]}
    )
    return team.utilities(team.agent, room)[:, 0].argmax(-1)


@dataclass
class Recall:
    """``returns`` [K,M]: exact greedy return of each seed after ``updates`` [K]; ``wiped`` [M]: the last teams' return if
    their memory is emptied at the door of room two; ``q_tot`` [M,T]: what they believe at each step of greedy play;
    ``asked``: the updates that the run was to make."""

    name: str
    doors: int
    corridor: int
    updates: list[int]
    returns: np.ndarray
    wiped: np.ndarray
    q_tot: np.ndarray
    members: Ensemble
    asked: int = 0

    @property
    def stopped(self) -> str:
        """How far a run came that was stopped, in words; "" for one that came to its end."""
        return f"stopped after {self.updates[-1]} of {self.asked} updates" if self.updates[-1] < self.asked else ""

    @property
    def last(self) -> np.ndarray:
        return self.returns[-1]

    @property
    def solved(self) -> int:
        """How many seeds earn 1."""
        return int((self.last > 1 - 1e-6).sum())


def cut_short(*fits: Recall) -> str:
    """Why there is no verdict: a claim is about runs of the length that its card says. "" if every run came to its end."""
    return no_verdict(f"{fit.name} {fit.stopped}" for fit in fits if fit.stopped)


def _greedy_q_tot(team: QMIX, batch: EpisodeBatch) -> Tensor:
    """Q_tot of the greedy joint action at every step, mean over the lamps: [T]."""
    best = team.utilities(team.agent, batch)[:, :-1].max(-1).values
    return team.mixer(best, batch.states[:, :-1]).mean(0)


def train(
    name: str,
    team: Callable[..., QMIX] = QMIX,
    agent: Callable | None = None,
    doors: int = 2,
    corridor: int = 2,
    seeds: Sequence[int] = range(8),
    updates: int = 100,
    change: Callable[[EpisodeBatch], EpisodeBatch] | None = None,
    progress: bool = False,
    **settings,
) -> Recall:
    """QMIX (or a class of your own) on every episode at once, over many seeds.

    ``agent``: a factory of its network, fused kernels excepted (None: the library's feed-forward agent, which forgets).
    ``change``: applied to the batch before training (padding, say); greedy play is always judged on the true episodes.
    ``progress``: a bar, from the first moment. The stop button ends the run after the update under way and keeps what was
    learned; ``stopped`` of the result says so.
    """
    from tqdm.auto import tqdm

    batch = every_episode(doors, corridor)
    asked = one_for_each_lamp(batch)
    right = 1 + asked.obs[:, 0, :, :doors].argmax(-1)
    config, spec = QMIX.Config(**{**SETTINGS, **settings}), spec_of(doors, corridor)
    parts = {} if agent is None else {"agent": agent}
    rows = batch if change is None else change(batch)
    at, returns = [0], []
    look = lambda: returns.append(earns(members.call(_in_room_two, asked), right).numpy())
    hidden = not progress or no_bars()
    with tqdm(total=updates, desc=f"{name}: getting ready", leave=False, disable=hidden) as bar, torch.no_grad():
        bar.refresh()  # at once: the first stack of a session loads parts of PyTorch, for some seconds
        members = Ensemble(lambda seed: team(spec, config, seed=seed, device="cpu", **parts), list(seeds))
        look()
        bar.set_description(name)
        for step in stoppable(range(updates), name, progress=False):
            if step % TARGET_EVERY == 0:
                members.copy("agent", "target_agent")
                members.copy("mixer", "target_mixer")
            with torch.enable_grad():
                members.step("main", "loss", rows)
            bar.update()
            if (step + 1) % 5 == 0 or step + 1 == updates:
                look()
                at.append(step + 1)
        done = step + 1 if updates else 0
        if at[-1] < done:  # stopped between two looks
            look()
            at.append(done)
        wiped = earns(members.call(_wiped, asked), right).numpy()
        q_tot = members.call(_greedy_q_tot, asked).numpy()
    return Recall(name, doors, corridor, at, np.stack(returns), wiped, q_tot, members, updates)


def forgetful_teams(doors: int = 2) -> dict[tuple[int, int], float]:
    """{(door of agent 1, door of agent 2): return}: every deterministic team without memory, by counting lamps. Doors and
    colours are numbered from 1: door k has colour k and is opened by action k."""
    lamps = list(itertools.product(range(1, doors + 1), repeat=2))
    return {pair: sum(lamp == pair for lamp in lamps) / len(lamps) for pair in lamps}


@torch.no_grad()
def room_two(fit: Recall, member: int = 0) -> tuple[Tensor, Tensor]:
    """What one team says in room two, for each pair of lamps: its utilities of the doors [lamps,N,doors], and the Q_tot of
    every pair of doors [lamps,doors,doors] (agent 1's door, agent 2's door)."""
    team, asked = fit.members.member(member), one_for_each_lamp(every_episode(fit.doors, fit.corridor))
    q = team.utilities(team.agent, asked)[:, -2, :, 1:]
    pairs = torch.cartesian_prod(*[torch.arange(fit.doors)] * 2)
    taken = torch.stack([q[:, 0, pairs[:, 0]], q[:, 1, pairs[:, 1]]], -1)  # [lamps,pairs,N]
    states = asked.states[:, -2].unsqueeze(1).expand(-1, len(pairs), -1)
    return q, team.mixer(taken, states).unflatten(1, (fit.doors, fit.doors))


def beliefs(fit: Recall) -> dict[int, np.ndarray]:
    """{how many of the team's two doors are right: Q_tot of its own greedy choice in room two [seeds], averaged over the
    pairs of lamps for which so many are right}."""
    lamps = torch.tensor(list(itertools.product(range(fit.doors), repeat=2)))
    found: dict[int, list[float]] = {}
    for k in range(len(fit.members)):
        q, table = room_two(fit, k)
        choice = q.argmax(-1)  # [lamps,N]
        says = table[torch.arange(len(lamps)), choice[:, 0], choice[:, 1]]
        right = (choice == lamps).sum(-1)
        for count in right.unique().tolist():
            found.setdefault(count, []).append(float(says[right == count].mean()))
    return {count: np.array(found[count]) for count in sorted(found)}


def told_apart(fit: Recall) -> tuple[Tensor, Tensor, Tensor]:
    """What each agent of each team makes of its own lamp, in room two, all [seeds,N]: the largest difference that the colour
    makes to a utility of a door; for scale the mean difference between its best door and its worst; and whether each colour
    has a favourite door of its own. A single team is seen in :func:`room_two`."""
    lamps = torch.tensor(list(itertools.product(range(fit.doors), repeat=2)))
    by_lamp, by_door, follows = [], [], []
    for k in range(len(fit.members)):
        q, _ = room_two(fit, k)  # [lamps,N,doors]
        for i in range(q.shape[1]):
            own = torch.stack([q[lamps[:, i] == colour, i].mean(0) for colour in range(fit.doors)])  # [colours,doors]
            by_lamp.append((own.amax(0) - own.amin(0)).max())
            by_door.append((own.amax(1) - own.amin(1)).mean())
            follows.append(len(own.argmax(1).unique()) == fit.doors)
    return tuple(torch.tensor(x).view(len(fit.members), -1) for x in (by_lamp, by_door, follows))


@torch.no_grad()
def trace(agent: Callable, corridor: int = 2, seeds: Sequence[int] = range(40), doors: int = 2) -> float:
    """How much of a lamp is left in the memory of an *untrained* agent at the door: the difference between the memories
    under colour 1 and colour 2, everything else equal; root mean square over the H numbers, mean over agents and seeds."""
    asked = one_for_each_lamp(every_episode(doors, corridor))
    obs, walked = asked.obs[:, :-1], asked.actions[:, :-1]  # up to room two, where the last action still is "walk"
    last = torch.cat([torch.full_like(walked[:, :1], -1), walked], 1)
    left = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(seed)
            net = agent()
            _, memory = net(obs, last, net.initial_hidden(len(obs), 2))
            one, two = memory[0], memory[doors + 1]  # lamps (1, 1) and (2, 2)
            left.append(float((one - two).square().mean(-1).sqrt().mean()))
    return sum(left) / len(left)


# ---------------------------------------------------------------------------------------------------------- pictures

FORGETFUL, REMEMBERS = "#D55E00", "#0072B2"


def plot_recall(forgetful: Recall, gru: Recall, untrained: np.ndarray | None = None, title: str = ""):
    """The chapter's figure: returns over updates on the left, every seed at the end on the right, with what is possible.

    ``untrained`` [M]: greedy returns of fresh GRU teams, the null model.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, context

    best = 1 / forgetful.doors**2
    with context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True, width_ratios=(1.1, 1))
        for fit, colour, words in ((forgetful, FORGETFUL, "forgetful"), (gru, REMEMBERS, "GRU")):
            low, middle, high = np.percentile(fit.returns, [25, 50, 75], axis=0 if fit.returns.ndim == 1 else 1)
            note = f" ({fit.stopped})" if fit.stopped else ""
            left.plot(fit.updates, middle, color=colour, label=f"{words}: median over seeds{note}")
            left.fill_between(fit.updates, low, high, color=colour, alpha=0.18, lw=0)
        left.set(xlabel="updates on every episode of the task", ylabel="return of greedy play (exact)", ylim=(0, 1.08))
        groups = [
            ("forgetful", forgetful.last, FORGETFUL),
            ("GRU", gru.last, REMEMBERS),
            ("GRU, memory\nwiped", gru.wiped, REMEMBERS),
        ]
        if untrained is not None:
            groups.append(("GRU,\nuntrained", untrained, GREY))
        for k, (words, values, colour) in enumerate(groups):
            pale = "wiped" in words or "untrained" in words
            right.bar(k, values.mean(), color=colour, alpha=0.35 if pale else 0.85, width=0.66)
            offsets = np.linspace(-0.24, 0.24, len(values)) if len(values) > 1 else np.zeros(1)
            right.scatter(k + offsets, np.sort(values), s=16, color=INK, zorder=3, linewidths=0)
            ink = INK if pale else "white"
            right.text(k, 0.04, f"{values.mean():.2f}", ha="center", va="bottom", fontsize=10, color=ink)
        right.set_xticks(range(len(groups)), [g[0] for g in groups])
        for ax in (left, right):
            ax.axhline(1, color=INK, lw=1.3, ls=(0, (6, 2)), label="optimum (1)", zorder=1)
            ax.axhline(best, color=GREY, lw=1.3, ls=":", label=f"best without memory ({best:g}), also random play", zorder=1)
        right.tick_params(axis="x", length=0)
        right.grid(axis="x", visible=False)
        left.set_title(f"learning ({len(forgetful.last)} seeds, median and quartiles)", fontsize=11)
        right.set_title("at the end: bars are means, dots are seeds", fontsize=11)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        figure.suptitle(
            title or f"two-rooms, {forgetful.doors} doors, corridor of {forgetful.corridor}", fontsize=13, x=0.01, ha="left"
        )
    return figure


def plot_reach(reach: Mapping[tuple[int, float], Recall], title: str = ""):
    """Returns of every seed at the end for each (corridor, starting bias of the gate z): bars are means, dots seeds."""
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, context

    first = next(iter(reach.values()))
    with context():
        ax = plt.subplots(figsize=(8.6, 3.7), layout="constrained")[1]
        for k, ((_, bias), fit) in enumerate(reach.items()):
            values = np.sort(fit.last)
            ax.bar(k, values.mean(), color=REMEMBERS, alpha=0.85 if bias else 0.45, width=0.62)
            ax.scatter(k + np.linspace(-0.22, 0.22, len(values)), values, s=16, color=INK, zorder=3, linewidths=0)
        names = [f"corridor {length}\ngate bias {bias:g}\n{fit.stopped}".rstrip() for (length, bias), fit in reach.items()]
        ax.set_xticks(range(len(reach)), names)
        ax.axhline(1, color=INK, lw=1.3, ls=(0, (6, 2)), label="optimum (1)", zorder=1)
        best = 1 / first.doors**2
        ax.axhline(best, color=GREY, lw=1.3, ls=":", label=f"best without\nmemory ({best:g})", zorder=1)
        ax.set(ylabel="return of greedy play (exact)", ylim=(0, 1.08))
        ax.grid(axis="x", visible=False)
        ax.tick_params(axis="x", length=0)
        ax.set_title(f"{title}\nbars: means over {len(first.last)} seeds; dots: seeds")
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax.figure


def padded(batch: EpisodeBatch, steps: int = 4) -> EpisodeBatch:
    """The same episodes with ``steps`` steps of padding behind each, as a buffer of one fixed length holds them."""
    longer = {}
    for name in ("obs", "state", "actions", "reward", "terminated", "truncated", "mask", "avail"):
        x = getattr(batch, name)
        empty = torch.ones if name == "avail" else torch.zeros  # padding: everything is available
        longer[name] = torch.cat([x, empty(len(x), steps, *x.shape[2:], dtype=x.dtype)], 1)
    return EpisodeBatch(**longer, length=batch.length)


def plot_breaks(fits: Mapping[str, Recall], title: str = "", gamma: float = 0.99):
    """For each variant its seeds' returns on the left; on the right how wrong each team's values are: the largest distance,
    over the steps of an episode, between its Q_tot and what that very team earns from there on (discounted reward)."""
    import matplotlib.pyplot as plt

    from ..viz.style import GREY, INK, context

    first = next(iter(fits.values()))
    steps = first.q_tot.shape[1]
    discount = gamma ** np.arange(steps - 1, -1, -1)  # of the one reward, in the last step
    with context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 1.6 + 0.5 * len(fits)), layout="constrained", sharey=True)
        for row, fit in enumerate(fits.values()):
            spread = row + np.linspace(-0.22, 0.22, len(fit.last))
            left.barh(row, fit.last.mean(), color=REMEMBERS, alpha=0.35, height=0.62)
            left.scatter(np.sort(fit.last), spread, s=16, color=INK, zorder=3, linewidths=0)
            wrong = np.abs(fit.q_tot - fit.last[:, None] * discount).max(1)  # [seeds]
            right.scatter(np.sort(wrong), spread, s=24, color=FORGETFUL, zorder=3, linewidths=0)
        best = 1 / first.doors**2
        left.axvline(1, color=INK, ls=(0, (6, 2)), lw=1.3, label="optimum (1)")
        left.axvline(best, color=GREY, ls=":", lw=1.3, label=f"best without memory ({best:g})")
        right.axvline(1, color=INK, ls=(0, (6, 2)), lw=1.3, label="wrong by 1, all that can be earned")
        left.set_yticks(range(len(fits)), [f"{name}\n{fit.stopped}".rstrip() for name, fit in fits.items()])
        left.invert_yaxis()
        left.set(xlabel="return of greedy play (exact)", xlim=(0, 1.05))
        right.set_xscale("log")
        ticks = [0.01, 0.1, 1, 10]
        right.set_xticks(ticks, [f"{x:g}" for x in ticks])
        right.set(xlabel="largest error of $Q_{tot}$ in an episode (discounted reward)", xlim=(0.008, 14))
        left.grid(axis="y", visible=False)
        left.set_title(f"what they earn (dots: {len(first.last)} seeds)", fontsize=11)
        right.set_title(f"how wrong their values are (dots: {len(first.last)} seeds)", fontsize=11)
        handles, labels = [sum(both, []) for both in zip(*(ax.get_legend_handles_labels() for ax in (left, right)))]
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=10)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    return figure
