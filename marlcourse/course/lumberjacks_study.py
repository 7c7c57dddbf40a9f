"""Chapter 03, Lumberjacks: references, where trees fall, the real ma-gym in lockstep, pictures of the mixer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..algorithms.qmix import QMIX
from ..core import Action
from ..credit import credit
from ..envs.lumberjacks import CELL, COLOURS, LEFT, TOP, Lumberjacks
from ..exploration import Schedule
from ..nets.mixers import MonotonicMixer
from ..seeds import make_generator

# Twelve trees, one a step, both lumberjacks on each: nothing earns more in the game as described, where a tree brings at most
# 18. (Two weak trees in one step, one for each lumberjack, bring 18 together.)
CEILING = 12 * (2 * 10 - 2)
BEST_REACHABLE = 12 * 16 / 25  # trees that grow in ma-gym's reach, on average

# Settings for a short run: a larger learning rate, exploring over the first half only. All alike; chosen once, on QMIX.
QUICK = dict(lr=1e-3, optimizer=torch.optim.Adam, target_every=50, updates_per_collect=8)


def short_team(kind: type[QMIX], spec, steps: int, seed: int = 0) -> QMIX:
    """A fresh team of this class (QMIX, VDN, IQL) with the settings for a run of so many environment steps."""
    config = kind.Config(**QUICK, epsilon=Schedule(1.0, 0.05, steps // 2))
    return kind(spec, config, seed=seed, device="cpu")


def nothing_out_of_reach() -> float:
    """The probability that all 12 trees of a 5x5 grid grow in the 4x4 part that ma-gym's lumberjacks can enter."""
    return comb(16, 12) / comb(25, 12)


# ma-gym's mean at the very most: all of these felled, 100 steps paid in every game that cannot end early
FAITHFUL_CEILING = 20 * BEST_REACHABLE - 2 * 100 * (1 - nothing_out_of_reach())


# ------------------------------------------------------------------------------------------------ references


def _cells(env: Lumberjacks) -> tuple[Tensor, Tensor]:
    """Places of the agents [B,N,2] (row, column) and trees [B,size,size], 0 where none stands."""
    n, view, width = env.spec.n_agents, env.view, env.width
    agents = torch.stack([env.state["agents"] // width - view, env.state["agents"] % width - view], -1)
    trees = env.state["trees"].unflatten(1, (width, -1))[:, env.grid, env.grid]
    return agents, torch.where(trees <= n, trees, 0)


def together(env: Lumberjacks) -> Tensor:
    """A hand-written rule that sees everything [B,N]: both go to the same tree, and nobody steps on a tree before the other
    stands next to it, so that each tree pays both. The tree: the one whose farther lumberjack is nearest."""
    agents, trees = _cells(env)
    size = trees.shape[-1]
    grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"), -1).view(-1, 2)
    far = (agents.unsqueeze(2) - grid).abs().sum(-1)  # [B,N,cells]
    cost = far.max(1).values * 100 + far.sum(1) + 1e6 * (trees.flatten(1) == 0)
    target = grid[cost.argmin(1)].unsqueeze(1)  # [B,1,2]
    moves = torch.tensor([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    there = (agents.unsqueeze(2) + moves).clamp(0, size - 1)  # [B,N,5,2]
    distance = (there - target.unsqueeze(1)).abs().sum(-1).float()  # [B,N,5]
    now = (agents - target).abs().sum(-1)  # [B,N]
    wait = (now == 1) & (now.flip(1) > 1)
    lands = trees.flatten(1).gather(1, (there[..., 0] * size + there[..., 1]).flatten(1)).view_as(distance)
    is_target = (there == target.unsqueeze(1)).all(-1)
    distance = distance + 0.5 * ((lands > 0) & ~is_target)  # of two equally short ways the one around other trees
    choice = distance.argmin(-1)
    return torch.where(wait, 0, choice)


@torch.no_grad()
def play_rule(env: Lumberjacks, rule, episodes: int = 512, seed: int = 0) -> tuple[float, float, float]:
    """Mean return, its standard deviation and the mean length of whole episodes under ``rule(env) -> actions [B,N]``."""
    copy = env.fresh(episodes)
    copy.reset(seed=seed)
    total, length = torch.zeros(episodes), torch.zeros(episodes)
    for _ in range(env.spec.episode_limit):
        length += copy.running
        total += copy.step(rule(copy)).reward
    return float(total.mean()), float(total.std()), float(length.mean())


@dataclass(frozen=True)
class Habits:
    """A game on average. ``steps`` it took; weak trees felled by one lumberjack ``alone`` and by both (``shared``), ``strong``
    trees felled (always by both), trees ``left`` at the end; ``blind``: the share of a lumberjack's steps with no tree in its
    3 x 3 cells, ``still``: the share of those in which it stays. ``error``: the standard error of ``mean`` over the games.

    mean = 20 per tree of the game - 2 steps - 10 alone - 20 left (12 trees: 240), in the game as described.
    """

    mean: float
    error: float
    steps: float
    alone: float
    shared: float
    strong: float
    left: float
    blind: float
    still: float


@torch.no_grad()
def habits(env: Lumberjacks, player, episodes: int = 256, seed: int = 0) -> Habits:
    """How ``player``, a team or a ``rule(env) -> actions [B,N]``, plays whole greedy episodes; the same games for the same
    seed, whoever plays."""
    copy, generator = env.fresh(episodes), make_generator(torch.device("cpu"), seed, "habits")
    observation = copy.reset(seed=seed)
    carry = player.initial_carry(episodes) if hasattr(player, "initial_carry") else None
    total, count = torch.zeros(episodes), dict.fromkeys(("steps", "alone", "shared", "strong", "blind", "still"), 0.0)
    rows = torch.arange(episodes).unsqueeze(1)
    for _ in range(env.spec.episode_limit):
        playing, (agents, trees) = copy.running.clone(), _cells(copy)
        near = F.max_pool2d((trees > 0).float().unsqueeze(1), 3, 1, 1).squeeze(1)
        nothing = playing.unsqueeze(1) & (near[rows, agents[..., 0], agents[..., 1]] == 0)  # [B,N]
        if carry is None:
            actions = player(copy)
        else:
            chosen = player.act(observation, carry, False, generator)
            actions, carry = chosen.actions, chosen.carry
        step = copy.step(actions)
        after, left = _cells(copy)
        on = torch.zeros_like(trees, dtype=torch.long).index_put_(
            (rows, after[..., 0], after[..., 1]), torch.ones_like(rows), accumulate=True
        )
        fell = (trees > 0) & (left == 0) & playing.view(-1, 1, 1)
        total += step.reward
        now = {"steps": playing, "alone": fell & (on == 1), "shared": fell & (on > 1) & (trees == 1)}
        now |= {"strong": fell & (trees > 1), "blind": nothing, "still": nothing & (after == agents).all(-1)}
        for name, which in now.items():
            count[name] += float(which.sum())
        observation = step.observation
    steps, blind, still = count["steps"], count.pop("blind"), count.pop("still")
    return Habits(
        mean=float(total.mean()),
        error=float(total.std()) / episodes**0.5,
        **{name: value / episodes for name, value in count.items()},
        left=float((_cells(copy)[1] > 0).sum()) / episodes,
        blind=blind / (steps * env.spec.n_agents),
        still=still / max(blind, 1.0),
    )


class ShowsViews(Lumberjacks):
    """The same world; its pictures mark the cells that each lumberjack sees, in the lumberjack's colour."""

    def frame(self, index: int = 0) -> np.ndarray:
        picture, edge = super().frame(index).copy(), 4
        for i, place in enumerate(self.state["agents"][index].tolist()):
            row, column = place // self.width - self.view, place % self.width - self.view
            low = [max(x - self.view, 0) for x in (row, column)]
            high = [min(x + self.view + 1, self.size) for x in (row, column)]
            inset = 3 + 6 * i  # so that views that coincide can both be seen
            top, left = TOP + low[0] * CELL + inset, LEFT + low[1] * CELL + inset
            bottom, right = TOP + high[0] * CELL - inset, LEFT + high[1] * CELL - inset
            for part in ((slice(top, top + edge), slice(left, right)), (slice(bottom - edge, bottom), slice(left, right))):
                picture[part] = COLOURS[i % len(COLOURS)]
            for part in ((slice(top, bottom), slice(left, left + edge)), (slice(top, bottom), slice(right - edge, right))):
                picture[part] = COLOURS[i % len(COLOURS)]
        return picture


def random_rule(seed: int = 0):
    """Every agent plays each action equally often."""
    generator = make_generator(torch.device("cpu"), seed, "random rule")
    return lambda env: torch.randint(5, (env.num_envs, env.spec.n_agents), generator=generator)


# ------------------------------------------------------------------------------------------------ where trees fall


@torch.no_grad()
def where_trees_fall(env: Lumberjacks, episodes: int = 256, rule=None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """How many trees grew in each cell and how many of them fell, over whole episodes: two tables [size,size]."""
    copy, rule = env.fresh(episodes), rule or random_rule(seed)
    copy.reset(seed=seed)
    grew = (_cells(copy)[1] > 0).sum(0)
    for _ in range(env.spec.episode_limit):
        copy.step(rule(copy))
    return grew, grew - (_cells(copy)[1] > 0).sum(0)


@torch.no_grad()
def recorded_moves(env: Lumberjacks, steps: int = 20, worlds: int = 256, seed: int = 0) -> list[tuple[int, int, int, int, int]]:
    """Every different move of a lumberjack under random play: (row, column, action, row after, column after), sorted."""
    copy, rule = env.fresh(worlds), random_rule(seed)
    seen: set[tuple[int, ...]] = set()
    for k in range(steps):
        if k % 10 == 0:
            copy.reset(seed=seed + k)
        before, _ = _cells(copy)
        actions = rule(copy)
        copy.step(actions)
        rows = torch.cat([before, actions.unsqueeze(-1), _cells(copy)[0]], -1).flatten(0, 1)
        seen.update(map(tuple, rows.unique(dim=0).tolist()))
    return sorted(seen)


# ------------------------------------------------------------------------------------------------ the real ma-gym


class _Injected(Lumberjacks):
    """Our world, starting where ma-gym's games start: the only chance there is."""

    def _draw_start(self):
        order, strength = zip(*self.starts)
        return {"order": torch.tensor(order), "strength": torch.tensor(strength)}


def _start_of(game) -> tuple[list[int], list[int]]:
    """Where a game of ma-gym has just begun, as our world draws it: cells in order (agents, trees, the rest), strengths."""
    size, view = game._grid_shape[0], game._agent_view[0]
    agents = [(row - view) * size + column - view for row, column in (agent.pos for agent in game._agents)]
    trees = game._tree_map[view : size + view, view : size + view].flatten()
    where = trees.nonzero()[0].tolist()
    return agents + where + sorted(set(range(size**2)) - set(agents) - set(where)), trees[where].tolist()


@dataclass(frozen=True)
class Lockstep:
    """``steps`` environment steps of both; how many had equal observations, rewards, ends; ``moves``: ma-gym's own."""

    steps: int
    observations: int
    rewards: int
    ends: int
    moves: list[tuple[int, int, int, int, int]]


def lockstep(worlds: int = 8, steps: int = 200, seed: int = 0) -> Lockstep:
    """ma-gym's own Lumberjacks-v0 beside our batched twin (``faithful=True``): the same starts, the same random actions.

    Raises ModuleNotFoundError, with the line that installs it, where ma-gym is missing.
    """
    from ..envs.adapters.magym import MaGymWorld

    games = [MaGymWorld("Lumberjacks-v0").game for _ in range(worlds)]
    ours, rng = _Injected(worlds, "cpu", faithful=True), np.random.default_rng(seed)
    for i, game in enumerate(games):
        game.seed(seed * 1000 + i)
        game.reset()
    ours.starts = [_start_of(game) for game in games]
    ours.reset(seed=0)
    same, moves = np.zeros(3, dtype=int), set()
    for _ in range(steps):
        actions = rng.integers(5, size=(worlds, 2))
        before = [[agent.pos for agent in game._agents] for game in games]
        played = [game.step(a.tolist()) for game, a in zip(games, actions)]
        step = ours.step(torch.from_numpy(actions))
        theirs = torch.tensor([p[0] for p in played]), torch.tensor([float(np.sum(p[1])) for p in played])
        done = torch.tensor([all(p[2]) for p in played])
        same[0] += int((step.observation.obs == theirs[0]).all((1, 2)).sum())
        same[1] += int((step.reward == theirs[1]).sum())
        same[2] += int(((step.terminated | step.truncated) == done).sum())
        for game, old, a in zip(games, before, actions):
            for agent, (row, column), u in zip(game._agents, old, a):  # ma-gym counts the border; we do not
                moves.add((row - 1, column - 1, int(u), agent.pos[0] - 1, agent.pos[1] - 1))
        if done.any():
            for i in done.nonzero().flatten().tolist():
                games[i].reset()
                ours.starts[i] = _start_of(games[i])
            ours.reset(where=done)
    return Lockstep(worlds * steps, *map(int, same), sorted(moves))


# ------------------------------------------------------------------------------------------------ a trained team


class Forgets:
    """A team whose memory is emptied after every step: it acts on its present input alone. Fits :class:`Collector`."""

    def __init__(self, team: QMIX):
        self.team, self.device, self.spec = team, team.device, team.spec

    def initial_carry(self, batch_size: int) -> dict[str, Tensor]:
        return self.team.initial_carry(batch_size)

    def act(self, observation, carry, explore, generator) -> Action:
        action = self.team.act(observation, carry, explore, generator)
        empty = torch.zeros_like(action.carry["hidden"])
        return action._replace(carry={**action.carry, "hidden": empty})


@dataclass(frozen=True)
class Episode:
    """One greedy episode of a team: pictures of every step, states [T,S], utilities [T,N,A], actions [T,N], rewards [T]."""

    frames: list[np.ndarray]
    states: Tensor
    q: Tensor
    actions: Tensor
    rewards: Tensor


@torch.no_grad()
def record_episode(env: Lumberjacks, team: QMIX, seed: int = 0, most: int = 40) -> Episode:
    """Let the team play greedily for at most ``most`` steps in a fresh world and keep everything its mixer sees."""
    copy = env.fresh(1)
    observation, carry = copy.reset(seed=seed), team.initial_carry(1)
    generator = make_generator(torch.device("cpu"), seed, "episode")
    frames, states, q, actions, rewards = [], [], [], [], []
    for _ in range(most):
        values, _ = team.agent.step(observation.obs, carry["last_action"], carry["hidden"])
        action = team.act(observation, carry, explore=False, generator=generator)
        frames.append(copy.frame())
        states.append(observation.state[0])
        q.append(values[0])
        actions.append(action.actions[0])
        step = copy.step(action.actions)
        rewards.append(step.reward[0])
        observation, carry = step.observation, action.carry
        if bool(step.terminated | step.truncated):
            break
    return Episode(frames, torch.stack(states), torch.stack(q), torch.stack(actions), torch.stack(rewards))


# ------------------------------------------------------------------------------------------------ pictures


def plot_where_trees_fall(tables: Mapping[str, tuple[Tensor, Tensor]], title: str = ""):
    """For each world the share of the trees of each cell that fell; rows and columns as in the game."""
    import matplotlib.pyplot as plt

    from ..viz.style import context, readable

    with context():
        figure, axes = plt.subplots(1, len(tables), figsize=(4.1 * len(tables) + 0.8, 4.2), layout="constrained", squeeze=False)
        for ax, (name, (grew, fell)) in zip(axes[0], tables.items()):
            share = (fell / grew.clamp(min=1)).numpy()
            image = ax.imshow(share, cmap="Greens", vmin=0, vmax=1.1)
            for (i, j), value in np.ndenumerate(share):
                text = f"{value:.2f}".removeprefix("0") if 0 < value < 0.995 else f"{value:.0f}"
                ax.text(j, i, text, ha="center", va="center", color=readable(image.cmap(image.norm(value))))
            ax.set_title(name, fontsize=12)
            ax.set(xlabel="column", ylabel="row", xticks=range(share.shape[1]), yticks=range(share.shape[0]))
            ax.grid(False)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
        trees = [int(grew.sum()) for grew, _ in tables.values()]
        figure.suptitle(
            f"{title}\nshare of the trees that fell, of {trees[0]:,} trees in each world", x=0.01, ha="left", fontsize=12
        )
    return figure


def plot_committed(frame, reference: Mapping[str, float], title: str = "", width: int = 5, games: int = 8):
    """Greedy return over environment steps, median and quartiles over seeds. ``frame``: columns algorithm, seed, env_steps,
    return_mean; ``reference`` {name: level}; ``width``: neighbouring evaluations averaged, of ``games`` games each."""
    import matplotlib.pyplot as plt

    from ..viz.curves import median_and_quartiles
    from ..viz.style import GREY, INK, context, known, styles

    with context():
        ax = plt.subplots(figsize=(8.4, 4.2), layout="constrained")[1]
        names = list(dict.fromkeys(frame["algorithm"]))
        seeds = {}
        for name, look in styles(names).items():
            runs = [run.sort_values("env_steps") for _, run in frame[frame["algorithm"] == name].groupby("seed")]
            curves = [(r["env_steps"].to_numpy(float), smooth(r["return_mean"].to_numpy(float), width)) for r in runs]
            x, (low, middle, high), _ = median_and_quartiles(curves)
            ax.plot(x / 1000, middle, label=f"{name} ({len(runs)} seeds)", markevery=max(1, len(x) // 8), **look)
            ax.fill_between(x / 1000, low, high, color=look["color"], alpha=0.18, lw=0)
            seeds[name] = len(runs)
        for (name, level), dashes in zip(reference.items(), [(0, (6, 2)), (0, (3, 1, 1, 1)), (0, (1, 1.5))]):
            colour = GREY if known(name) == "random" else INK
            ax.axhline(level, color=colour, ls=dashes, lw=1.3, label=f"{name} ({level:.0f})", zorder=1)
        ax.set(xlabel="thousand environment steps", ylabel="greedy team return per episode (reward)")
        most = max(seeds.values())
        band = "median and quartiles over seeds" if most > 1 else "one seed"
        ax.set_title(f"{title}\n{band}; each point: mean of {width} neighbouring evaluations of {games} games", fontsize=11)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax.figure


def smooth(y: np.ndarray, width: int = 5) -> np.ndarray:
    """Mean of ``width`` neighbours, fewer at the ends."""
    kernel = np.ones(width)
    return np.convolve(y, kernel, "same") / np.convolve(np.ones_like(y), kernel, "same")


def last_returns(frame, share: float = 0.1, upto: int | None = None) -> dict[str, np.ndarray]:
    """{algorithm: [seeds]}: the mean greedy return over the last ``share`` of each run's own steps, or of its first ``upto``
    ones: learners with different budgets are compared at the same step."""
    frame = frame if upto is None else frame[frame["env_steps"] <= upto]
    ends = frame.groupby(["algorithm", "seed"])["env_steps"].transform("max")
    late = frame[frame["env_steps"] >= (1 - share) * ends]
    return {name: part.groupby("seed")["return_mean"].mean().to_numpy() for name, part in late.groupby("algorithm", sort=False)}


def common_steps(frame) -> int:
    """The largest number of environment steps that every run in the table has reached."""
    return int(frame.groupby(["algorithm", "seed"])["env_steps"].max().min())


def rising(frame) -> str:
    """In words: for each learner the greedy return, mean over seeds with the lowest and the highest seed, in the two last
    tenths of the steps that all runs have, and in the last tenth of its own run where that is longer; beside each the number
    of seeds that are higher there than in the window before."""
    shared = common_steps(frame)
    begin = [round(shared * part, -3) for part in (0.8, 0.9)]
    heads = [f"{begin[0]:,.0f} to {begin[1]:,.0f}", f"{begin[1]:,.0f} to {shared:,}", "last tenth of its own"]
    lines = [f"steps {heads[0]:>18} {heads[1]:>19} {'higher on':>11} {heads[2]:>23} {'higher on':>11}"]
    for name, part in frame.groupby("algorithm", sort=False):
        early = part[(part["env_steps"] > begin[0]) & (part["env_steps"] <= begin[1])]
        values = [early.groupby("seed")["return_mean"].mean().to_numpy(), last_returns(part, upto=shared)[name]]
        if part["env_steps"].max() > 1.1 * shared:
            values.append(last_returns(part)[name])
        told = [f"{x.mean():.0f} ({x.min():.0f} to {x.max():.0f})" for x in values]
        rose = [f"{(b > a).sum()} of {len(a)}" for a, b in itertools.pairwise(values)]
        line = f"{name:5} {told[0]:>18} {told[1]:>19} {rose[0]:>11}"
        lines.append(line + (f" {told[2]:>23} {rose[1]:>11}" if len(values) > 2 else ""))
    return "\n".join(lines)


def equal_until(history, frame, algorithm: str = "QMIX", seed: int = 0) -> int:
    """Up to which environment step the evaluations of one run (``Trainer.history``) equal the committed ones of this seed."""
    theirs = frame[(frame["algorithm"] == algorithm) & (frame["seed"] == seed)]
    same = 0
    for mine, steps, value in zip(history, theirs["env_steps"], theirs["return_mean"]):
        if mine["env_steps"] != steps or abs(mine["return_mean"] - value) > 1e-3:
            break
        same = int(steps)
    return same


def what_was_run(frame, wanted: tuple[str, ...] = ("QMIX", "VDN", "IQL")) -> str:
    """In words: the learners of a committed study with their seeds and steps, those of ``wanted`` that are absent, and what
    may be compared."""
    lines, budgets = [], set()
    for name, part in frame.groupby("algorithm", sort=False):
        seeds = sorted(part["seed"].unique().tolist())
        reached = part.groupby("seed")["env_steps"].max()
        budgets |= {round(steps, -4) for steps in reached.tolist()}
        steps = f"{reached.min():,}" if reached.min() == reached.max() else f"{reached.min():,} to {reached.max():,}"
        lines.append(f"{name:5} {len(seeds)} seeds ({', '.join(map(str, seeds))}), {steps} environment steps a run")
    here = frame["algorithm"].unique()
    absent = [name for name in wanted if name not in here]
    if absent:
        lines.append(f"absent: {', '.join(absent)}" + (" (one learner alone ranks nobody)" if len(here) == 1 else ""))
    if len(budgets) > 1:
        lines.append(f"the runs differ in length: compare them within the first {common_steps(frame):,} steps only")
    return "\n".join(lines)


def difference_interval(a: Sequence[float], b: Sequence[float], draws: int = 5000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of ``a`` minus mean of ``b`` with a 95 % bootstrap interval over seeds: (difference, low, high)."""
    rng, a, b = np.random.default_rng(seed), np.asarray(a), np.asarray(b)
    pick = lambda x: x[rng.integers(len(x), size=(draws, len(x)))].mean(1)
    low, high = np.percentile(pick(a) - pick(b), [2.5, 97.5])
    return float(a.mean() - b.mean()), float(low), float(high)


# ------------------------------------------------------------------------------------------------ the mixer, state by state

ACTIONS = ("stay", "down", "left", "up", "right")
OWN, TEAM = dict(ec="#E69F00", lw=2.6), dict(ec="#B71C1C", lw=1.8, ls=(0, (3, 1.5)))  # how the two choices are framed
MARKS = {"each agent's own best": OWN, "the team's best": TEAM}


def signs_back(mixer: MonotonicMixer, share: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The mixer with weights (1 - share) |w| + share w: a function of q [...,N] and state [...,S] that gives Q_tot [...].

    Share 0 is QMIX; at 1 the weights are what the hypernetworks wrote, signs and all. A weight written as -2 counts
    2 (1 - 2 share): none is negative up to a share of 1/2. Raises ValueError for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"signs_back takes a share from 0 (|w|) to 1 (w), not {share!r}.")
    weaken = lambda w: (1 - share) * w.abs() + share * w

    def q_tot(q: Tensor, state: Tensor) -> Tensor:
        w1 = weaken(mixer.w1(state)).unflatten(-1, (-1, mixer.embed))  # [...,N,E]
        x = (q.unsqueeze(-1) * w1).sum(-2) + mixer.b1(state)
        return (F.elu(x) * weaken(mixer.w2(state))).sum(-1) + mixer.v(state).squeeze(-1)

    return q_tot


@torch.no_grad()
def table_of(q_tot: Callable[[Tensor, Tensor], Tensor], q: Tensor, state: Tensor) -> Tensor:
    """Q_tot of every joint action of two agents at one state [S], from their utilities q [2,A]: [A,A]."""
    pairs = torch.cartesian_prod(*q)  # [A^2,2]
    return q_tot(pairs, state.expand(len(pairs), -1)).view(q.shape[1], -1)


def lost(table: Tensor, q: Tensor) -> float:
    """How much Q_tot the team's best joint action has above that of the agents' own best ones; 0 where IGM holds."""
    own = tuple(q.argmax(-1).tolist())
    return float(table.max() - table[own])


@torch.no_grad()
def where_igm_breaks(episode: Episode, mixer: MonotonicMixer, shares: Sequence[float]) -> Tensor:
    """For each share of the signs given back, and each state of the episode, whether IGM is broken: [shares,T], bool."""
    q, own = episode.q, episode.q.argmax(-1)  # [T,2,A], [T,2]
    pairs = torch.stack(torch.broadcast_tensors(q[:, 0, :, None], q[:, 1, None, :]), -1)  # [T,A,A,2]
    states = episode.states[:, None, None].expand(*pairs.shape[:-1], -1)
    broken = []
    for share in shares:
        tables = signs_back(mixer, share)(pairs, states)  # [T,A,A]
        broken.append(tables.amax((1, 2)) - tables[torch.arange(len(q)), own[:, 0], own[:, 1]] > 1e-6)
    return torch.stack(broken)


def plot_choice(
    episode: Episode,
    mixers: Mapping[str, MonotonicMixer],
    mixer: str,
    step: int = 6,
    signs: float = 1.0,
    push: float = 0.0,
    who: str = "one greedy game of one team",
):
    """Who chooses what at one state: the clearing, Q_tot of all 25 joint actions as QMIX has it, and with some signs of the
    weights given back (:func:`signs_back`). The level of the two tables differs by far more than their entries do: both have
    one colour scale, from a table's worst joint action (0) to its best (1), and their values stand in the titles.

    ``mixers`` {name: mixer}; ``mixer`` chooses one; ``step``: which state of the episode; ``push``: added to lumberjack 2's
    utility of "stay"; ``who``: which team and game, for the title. Utilities stand beside the actions. Returns the figure.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    from ..viz.style import INK, context, readable

    step = min(step, len(episode.frames) - 1)
    network, state, q = mixers[mixer], episode.states[step], episode.q[step].clone()
    q[1, 0] += push
    with context():
        figure, axes = plt.subplots(1, 4, figsize=(10, 3.9), width_ratios=(0.85, 1, 1, 0.05))  # a fixed layout: quick to draw
        figure.subplots_adjust(left=0.01, right=0.94, top=0.68, bottom=0.2, wspace=0.32)
        axes[0].imshow(episode.frames[step][::2, ::2])
        axes[0].axis("off")
        axes[0].set_title(f"state {step}", fontsize=12)
        for ax, share in zip(axes[1:], (0.0, signs)):
            table = table_of(signs_back(network, share), q, state)
            low, high = float(table.min()), float(table.max())
            placed = (table - low) / max(high - low, 1e-9)  # 0 the table's worst, 1 its best
            image = ax.imshow(placed.numpy(), cmap="Blues", vmin=0, vmax=1)
            own, best = q.argmax(-1).tolist(), divmod(int(table.argmax()), len(ACTIONS))
            extra = lost(table, q)
            if extra <= 1e-6:
                best = own  # a tie is no break
            for (i, j), half, look in ((own, 0.48, OWN), (best, 0.41, TEAM)):
                ax.add_patch(Rectangle((j - half, i - half), 2 * half, 2 * half, fill=False, **look))
                ink = readable(image.cmap(float(placed[i, j])))
                if half > 0.45 or (i, j) != tuple(own):  # two frames on one cell: one number
                    ax.text(j, i, short(float(table[i, j])), ha="center", va="center", color=ink, fontsize=8.5)
            ax.set_xticks(range(5), [f"{name}\n{value:.2f}" for name, value in zip(ACTIONS, q[1])], fontsize=9)
            ax.set_yticks(range(5), [""] * 5)
            ax.set_xlabel("lumberjack 2: action, utility", fontsize=10)
            ax.grid(False)
            ax.tick_params(length=0)
            kind = "weights |w|: QMIX" if share == 0 else f"{share:.2f} of the signs given back"
            verdict = "own best = team's best" if extra <= 1e-6 else f"own best loses {short(extra)}"
            words = f"{kind}\n{verdict}\nworst {short(low)}, best {short(high)}"
            ax.set_title(words, fontsize=10.5, color=INK if extra <= 1e-6 else "#B71C1C")
        axes[1].set_yticks(range(5), [f"{name} {value:.2f}" for name, value in zip(ACTIONS, q[0])], fontsize=9)
        axes[1].set_ylabel("lumberjack 1: action, utility", fontsize=10)
        axes[2].set_anchor("E")  # beside the bar
        axes[2].set_in_layout(False)  # inside all the others: quicker to save
        bar = figure.colorbar(image, cax=axes[3], ticks=[0, 0.5, 1])
        bar.ax.set_yticklabels(["0: the\ntable's\nworst", "0.5", "1: its\nbest"], fontsize=9)
        handles = [Rectangle((0, 0), 1, 1, fill=False, label=name, **look) for name, look in MARKS.items()]
        axes[0].legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=10)
        figure.suptitle(
            f"Q_tot (discounted team reward) of all 25 joint actions, {mixer} mixer\n{who}", x=0.01, ha="left", fontsize=12.5
        )
    return figure


def short(value: float) -> str:
    """A value of Q_tot with about three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def choice_explorer(
    episode: Episode,
    mixers: Mapping[str, MonotonicMixer],
    step: int = 6,
    signs: float = 1.0,
    who: str = "one greedy game of one team",
):
    """:func:`plot_choice` with sliders for the state, the signs given back and a push, and a choice of mixer."""
    from ..viz.explore import choice, explore, float_slider, int_slider

    return explore(
        lambda mixer, step, signs, push: plot_choice(episode, mixers, mixer, step, signs, push, who),
        step=int_slider(step, 0, len(episode.frames) - 1, label="state"),
        signs=float_slider(signs, 0, 1, 0.05, label="signs given back"),
        push=float_slider(0, 0, 2, 0.1, label="push on 2's stay"),
        mixer=choice(list(mixers)),
    )


def plot_credits(
    episode: Episode, mixers: Mapping[str, torch.nn.Module], steps: tuple[int, ...], who: str = "one greedy game of one team"
):
    """The credits dQ_tot/dQ_i of both lumberjacks along a game, at each one's best action: a panel for each of ``mixers``
    {name: mixer}, each with a scale of its own; above them the clearing at the states ``steps``. Returns the figure."""
    import matplotlib.pyplot as plt

    from ..viz.style import INK, context

    steps = [min(step, len(episode.frames) - 1) for step in steps]
    greedy = episode.q.max(-1).values  # [T,N]
    with context():
        figure = plt.figure(figsize=(11, 2.6 + 2.2 * len(mixers)), layout="constrained")
        top, *below = figure.subfigures(1 + len(mixers), 1, height_ratios=(1.25, *[1] * len(mixers)))
        for ax, step in zip(top.subplots(1, len(steps)), steps):
            ax.imshow(episode.frames[step])
            ax.axis("off")
            ax.set_title(f"state {step}", fontsize=12)
        for part, (name, network) in zip(below, mixers.items()):
            ax, every = part.subplots(), credit(network, greedy, episode.states)  # [T,N]
            for i, colour in enumerate(("#0072B2", "#D55E00")):
                ax.plot(every[:, i], color=colour, lw=2, marker="os"[i], ms=4, label=f"lumberjack {i + 1}")
            for step in steps:
                ax.axvline(step, color=INK, lw=0.9, ls=":")
            ax.set(ylim=(0, None), ylabel="$\\partial Q_{tot} / \\partial Q_i$")
            ax.set_title(f"credits by the {name} mixer", fontsize=12)
            ax.legend(loc="upper right", ncols=2, fontsize=10)
        below[-1].axes[0].set_xlabel("state of the game (environment steps)")
        figure.suptitle(who, x=0.01, ha="left", fontsize=12.5)
    return figure
