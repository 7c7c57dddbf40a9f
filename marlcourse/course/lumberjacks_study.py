"""Chapter 03, Lumberjacks: references, where trees fall, the real ma-gym in lockstep, pictures of the mixer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from torch import Tensor

from ..algorithms.qmix import QMIX
from ..core import Action, Algorithm
from ..credit import credit
from ..envs.lumberjacks import Lumberjacks
from ..exploration import Schedule
from ..rollout import Collector
from ..seeds import make_generator

CEILING = 12 * (2 * 10 - 2)  # twelve trees, one a step, both lumberjacks on each: no play of the game as described earns more
BEST_REACHABLE = 12 * 16 / 25  # trees that grow in ma-gym's reach, on average

# Settings for a short run: larger steps, exploring over the first half only. All learners alike; chosen once, on QMIX.
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
    """A game on average. ``steps`` it took, trees felled by one lumberjack ``alone``, trees ``left`` at the end; ``blind``:
    the share of a lumberjack's steps with no tree in its 3 x 3 cells, ``still``: the share of those in which it stays.

    mean = 20 per tree of the game - 2 steps - 10 alone - 20 left (12 trees: 240), in the game as described.
    """

    mean: float
    steps: float
    alone: float
    left: float
    blind: float
    still: float


@torch.no_grad()
def habits(env: Lumberjacks, player, episodes: int = 256, seed: int = 0) -> Habits:
    """How ``player``, a team or a ``rule(env) -> actions [B,N]``, plays whole greedy episodes."""
    copy, generator = env.fresh(episodes), make_generator(torch.device("cpu"), seed, "habits")
    observation = copy.reset(seed=seed)
    carry = player.initial_carry(episodes) if hasattr(player, "initial_carry") else None
    total = steps = alone = blind = still = 0.0
    rows = torch.arange(episodes).unsqueeze(1)
    for _ in range(env.spec.episode_limit):
        playing, (agents, trees) = copy.running.clone(), _cells(copy)
        near = torch.nn.functional.max_pool2d((trees > 0).float().unsqueeze(1), 3, 1, 1).squeeze(1)
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
        total, steps = total + float(step.reward.sum()), steps + float(playing.sum())
        alone += float((fell & (on == 1)).sum())
        blind += float(nothing.sum())
        still += float((nothing & (after == agents).all(-1)).sum())
        observation = step.observation
    remaining = float((_cells(copy)[1] > 0).sum())
    of_a_game = (x / episodes for x in (total, steps, alone, remaining))
    return Habits(*of_a_game, blind=blind / (steps * env.spec.n_agents), still=still / max(blind, 1.0))


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


def difference_interval(a: np.ndarray, b: np.ndarray, draws: int = 5000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of ``a`` minus mean of ``b`` with a 95 % bootstrap interval over seeds: (difference, low, high)."""
    rng = np.random.default_rng(seed)
    pick = lambda x: x[rng.integers(len(x), size=(draws, len(x)))].mean(1)
    low, high = np.percentile(pick(a) - pick(b), [2.5, 97.5])
    return float(a.mean() - b.mean()), float(low), float(high)


def plot_mixer(
    episode: Episode,
    mixers: Mapping[str, torch.nn.Module],
    mixer: str,
    step: int = 0,
    who: str = "one greedy game of one team",
):
    """What the mixer does at one state: the clearing, dQ_tot/dQ_i, and Q_tot over Q_1 and Q_2 with every joint action.

    ``mixers`` {name: mixer}; ``mixer`` chooses one (a trained one and an untrained one, say); ``step``: which state of the
    episode; ``who``: which team and game, for the title. The dots are the 25 joint actions, the star the greedy one; the
    arrow points where Q_tot rises fastest.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import INK, context

    step = min(step, len(episode.frames) - 1)
    network, state, q = mixers[mixer], episode.states[step], episode.q[step]
    greedy = q.max(-1).values
    lo, hi = (float(episode.q.quantile(share)) for share in (0.02, 0.98))  # one window for the whole game
    margin = 0.15 * (hi - lo)
    axes_q = [torch.linspace(lo - margin, hi + margin, 41)] * 2  # one scale for both: equal credits point along the diagonal
    points = torch.cartesian_prod(*axes_q)
    with torch.no_grad():
        surface = network(points, state.expand(len(points), -1)).view(41, 41).numpy()
    slope = credit(network, greedy.unsqueeze(0), state.unsqueeze(0))[0]
    every = credit(network, episode.q.max(-1).values, episode.states).numpy()  # [T,N]
    with context():
        figure, (left, middle, right) = plt.subplots(
            1, 3, figsize=(12.5, 4.1), layout="constrained", width_ratios=(0.85, 1, 1.15)
        )
        left.imshow(episode.frames[step])
        left.axis("off")
        left.set_title(f"state {step}", fontsize=12)
        for i, colour in enumerate(("#0072B2", "#D55E00")):
            middle.plot(every[:, i], color=colour, lw=1.6, label=f"lumberjack {i + 1}")
            middle.plot(step, every[step, i], "o", color=colour, ms=9)
        middle.axvline(step, color=INK, lw=0.8, ls=":")
        middle.set(xlabel="step of the episode", ylabel="credit $\\partial Q_{tot} / \\partial Q_i$", ylim=(0, None))
        middle.legend(loc="best")
        middle.set_title(f"credit here: {slope[0]:.2f} and {slope[1]:.2f}", fontsize=12)
        drawn = right.contourf(axes_q[0], axes_q[1], surface.T, levels=14, cmap="Blues")
        figure.colorbar(drawn, ax=right, label="$Q_{tot}$ (discounted reward)")
        pairs = torch.cartesian_prod(q[0], q[1])
        right.scatter(pairs[:, 0], pairs[:, 1], s=14, color=INK, zorder=3, label="25 joint actions\n(some coincide)")
        right.scatter(*greedy, marker="*", s=170, color="#E69F00", edgecolor=INK, zorder=4, label="greedy")
        unit = 0.22 * (hi - lo) * slope / slope.norm().clamp(min=1e-9)
        right.annotate(
            "",
            xy=(greedy + unit).tolist(),
            xytext=greedy.tolist(),
            arrowprops={"arrowstyle": "-|>", "color": "#B71C1C", "lw": 2},
        )
        right.plot([], [], color="#B71C1C", ls="", marker=r"$\nearrow$", ms=12, label="steepest rise of $Q_{tot}$")
        right.set(xlabel="$Q_1$, utility of lumberjack 1", ylabel="$Q_2$, utility of lumberjack 2")
        right.set(aspect="equal", xlim=axes_q[0][[0, -1]].tolist(), ylim=axes_q[1][[0, -1]].tolist())
        right.legend(loc="lower left", fontsize=9, frameon=True)
        right.set_title("$Q_{tot}$ at this state", fontsize=12)
        figure.suptitle(f"{mixer} mixer; {who}", x=0.01, ha="left", fontsize=12.5)
    return figure


def plot_filmstrip(
    episode: Episode, mixers: Mapping[str, torch.nn.Module], steps: tuple[int, ...], who: str = "one greedy game of one team"
):
    """Several positions of :func:`mixer_explorer` side by side: a column for each state in ``steps`` with the clearing above
    Q_tot over Q_1 and Q_2, a row for each mixer; the last column holds dQ_tot/dQ_i along the game.

    Colours are on a scale of their own in each panel; dots, star and arrow as in :func:`plot_mixer`.
    """
    import matplotlib.pyplot as plt

    from ..viz.style import INK, context

    steps = [min(step, len(episode.frames) - 1) for step in steps]
    lo, hi = float(episode.q[steps].min()), float(episode.q[steps].max())  # one window for all panels, the arrows inside
    line = torch.linspace(lo - 0.25 * (hi - lo), hi + 0.25 * (hi - lo), 31)
    points, greedy = torch.cartesian_prod(line, line), episode.q.max(-1).values  # [31^2,2], [T,N]
    with context():
        figure, axes = plt.subplots(
            1 + len(mixers), len(steps) + 1, figsize=(2.3 * len(steps) + 3, 2.5 * (1 + len(mixers))), layout="constrained"
        )
        for column, step in enumerate(steps):
            axes[0, column].imshow(episode.frames[step])
            axes[0, column].set_title(f"state {step}", fontsize=11)
        for ax in axes[0]:
            ax.axis("off")
        for row, (name, network) in enumerate(mixers.items(), 1):
            every = credit(network, greedy, episode.states)  # [T,N]
            for ax, step in zip(axes[row], steps):
                with torch.no_grad():
                    surface = network(points, episode.states[step].expand(len(points), -1)).view(31, 31)
                ax.contourf(line, line, surface.T, levels=10, cmap="Blues")
                ax.scatter(*torch.cartesian_prod(*episode.q[step]).T, s=7, color=INK, zorder=3)
                ax.scatter(*greedy[step], marker="*", s=90, color="#E69F00", edgecolor=INK, zorder=4)
                tip = greedy[step] + 0.23 * (hi - lo) * every[step] / every[step].norm().clamp(min=1e-9)
                arrow = {"arrowstyle": "-|>", "color": "#B71C1C", "lw": 1.8}
                ax.annotate("", xy=tip.tolist(), xytext=greedy[step].tolist(), arrowprops=arrow)
                ax.set(aspect="equal", xlim=(line[0], line[-1]), ylim=(line[0], line[-1]))
                ax.set_title(f"credits {every[step, 0]:.3g}, {every[step, 1]:.3g}", fontsize=10)
            axes[row, 0].set_ylabel(f"{name}\n$Q_2$", fontsize=11)
            for i, colour in enumerate(("#0072B2", "#D55E00")):
                axes[row, -1].plot(every[:, i], color=colour, lw=1.6, label=f"lumberjack {i + 1}")
            for step in steps:
                axes[row, -1].axvline(step, color=INK, lw=0.8, ls=":")
            axes[row, -1].set(ylim=(0, None), xlabel="state")
            axes[row, -1].set_title("credit $\\partial Q_{tot} / \\partial Q_i$", fontsize=10)
        for ax in axes[:, :-1].flat:
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        for ax in axes[-1, :-1]:
            ax.set_xlabel("$Q_1$")
        axes[0, -1].legend(*axes[1, -1].get_legend_handles_labels(), loc="center")
        figure.suptitle(
            f"{who}\n$Q_{{tot}}$ over $Q_1$ and $Q_2$, darker is more; dots: joint actions, star: greedy, arrow: steepest rise",
            x=0.01,
            ha="left",
            fontsize=12,
        )
    return figure


def mixer_explorer(episode: Episode, mixers: Mapping[str, torch.nn.Module], step: int = 0, who: str = "one game of one team"):
    """:func:`plot_mixer` with a slider over the episode's states and a choice of mixer."""
    from ..viz.explore import choice, explore, int_slider

    return explore(
        lambda mixer, step: plot_mixer(episode, mixers, mixer, step, who),
        mixer=choice(list(mixers)),
        step=int_slider(step, 0, len(episode.frames) - 1, label="state"),
    )


def returns_of(env: Lumberjacks, team: Algorithm | Forgets, episodes: int = 64, seed: int = 0) -> Tensor:
    """Greedy returns of whole episodes [episodes]."""
    batch = Collector(env.fresh(episodes), team, seed=seed).collect(explore=False)
    return batch.reward.sum(1)
