"""Chapter 06's statistics, its committed runs, and small worlds in which a fault can be built into a run.

    iqm, interval, difference, probability_of_improvement     what stands beside a mean
    coverage                                                  how often an interval holds the truth
    subsets, bars_apart, wins, loudest, groups, best_of       how often few seeds name a winner
    account, committed, curves, scores, spreads, over_time    the seeds of two learners, from datasets/
    corridor, alive                                           tabular runs, sound or with a fault

A score is one number for a seed; an array of scores [n] has one entry for each seed. The seed is the unit everywhere.

Sources: Efron, Tibshirani, An introduction to the bootstrap (1993), for the percentile interval; Agarwal et al., Deep
reinforcement learning at the edge of the statistical precipice (NeurIPS 2021, arXiv:2108.13264), for the interquartile
mean, the stratified bootstrap and the probability of improvement in this field.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy  # loads its stats when they are first used: 2 s that a chapter without them does not wait

from ..stopping import stoppable
from .data import load_dataset

# ---- statistics ----


def iqm(x, axis: int = -1):
    """Interquartile mean: the mean of what is left when the lowest and the highest quarter (each rounded down to a whole
    number of entries) are set aside. x [..., n, ...] -> without ``axis``. With n < 4 nothing is set aside: the mean."""
    return scipy.stats.trim_mean(np.asarray(x, dtype=float), 0.25, axis=axis)


def interval(*samples, statistic: Callable = iqm, resamples: int = 2000, level: float = 0.95, seed: int = 0):
    """Percentile bootstrap interval (low, high) of ``statistic(*samples, axis=-1)``; a sample holds one score a seed, [n].

    Every sample is redrawn by itself, as many entries as it has, with replacement: with several samples (two learners,
    or one learner on several worlds) this is the *stratified* bootstrap. A sample of equal numbers gives a point.
    Raises ValueError for a sample of fewer than two seeds.
    """
    samples = [np.sort(np.asarray(x, dtype=float)) for x in samples]  # the order of the seeds says nothing
    if not samples or min(x.size for x in samples) < 2:
        raise ValueError("A bootstrap interval needs at least two seeds in every sample: it redraws seeds.")
    found = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def difference(x, y, statistic: Callable = iqm, **options) -> tuple[float, float, float]:
    """statistic(x) - statistic(y) with its bootstrap interval: (middle, low, high). x [n], y [m]; see :func:`interval`."""

    def apart(a, b, axis=-1):
        return statistic(a, axis=axis) - statistic(b, axis=axis)

    return float(apart(np.asarray(x, float), np.asarray(y, float))), *interval(x, y, statistic=apart, **options)


def probability_of_improvement(x, y) -> float:
    """How probably a run of X scores above a run of Y: the share of pairs with x > y, a tie counts one half. x [n], y [m].

    This is Mann and Whitney's U over n m; .5 says that a coin would do.
    """
    return float(scipy.stats.mannwhitneyu(x, y, method="asymptotic").statistic / (len(x) * len(y)))


def improvement_rows(x, y, axis: int = -1):
    """The probability of improvement of many redraws at once, for :func:`interval`: x [..., n], y [..., m] -> [...]."""
    x, y = np.moveaxis(np.asarray(x), axis, -1)[..., :, None], np.moveaxis(np.asarray(y), axis, -1)[..., None, :]
    return ((x > y) + 0.5 * (x == y)).mean((-2, -1))


def coverage(
    n: int, trials: int = 1000, resamples: int = 400, seed: int = 0, statistic: Callable = np.mean, learners: int = 1
) -> tuple[float, int]:
    """(how often the 95 % percentile interval of a statistic of n seeds holds the truth, when scores are normal, of how many
    experiments); with two ``learners`` the interval of the difference of their statistics, n seeds each. The truth is 0 by
    symmetry. Shapes inside: scores [trials, learners, n], redraws [resamples, n] of each learner. After a stop there are
    fewer experiments than ``trials``."""
    rng = np.random.default_rng(seed)
    held = done = 0
    for x in stoppable(rng.standard_normal((trials, learners, n)), "experiments"):  # one by one: all would need much memory
        done += 1
        redrawn = [statistic(row[rng.integers(0, n, (resamples, n))], axis=-1) for row in x]
        low, high = np.percentile(redrawn[0] - sum(redrawn[1:]), [2.5, 97.5])
        held += low <= 0 <= high
    return held / done, done


# ---- what few seeds say ----


def subsets(n: int, k: int) -> np.ndarray:
    """All choices of k seeds of n: indices [n! / k! (n - k)!, k]. Raises ValueError unless 1 <= k <= n."""
    if not 1 <= k <= n:
        raise ValueError(f"Of {n} seeds one can choose 1 to {n}, not {k}.")
    return np.array(list(combinations(range(n), k)))


def standard_error(x, axis: int = -1) -> np.ndarray:
    """Of the mean of independent scores: standard deviation / sqrt(n). x [..., n] -> [...]"""
    x = np.asarray(x, dtype=float)
    return x.std(axis, ddof=1) / np.sqrt(x.shape[axis])


def around_std(std: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval (low, high) of a standard deviation that was measured on n numbers from a bell curve (chi-squared), in the
    unit of ``std``. Raises ValueError for fewer than two numbers."""
    if n < 2:
        raise ValueError(f"A standard deviation needs two numbers, there are {n}.")
    low, high = (std * ((n - 1) / scipy.stats.chi2.ppf(q, n - 1)) ** 0.5 for q in ((1 + level) / 2, (1 - level) / 2))
    return float(low), float(high)


def bars_apart(x, y) -> np.ndarray:
    """The rule "error bars do not overlap", mean +- one standard error: +1 where x lies above y, -1 below, 0 where the bars
    meet. x, y [..., n], one row for each comparison -> [...]"""
    gap = np.mean(x, -1) - np.mean(y, -1)
    return np.where(np.abs(gap) > standard_error(x) + standard_error(y), np.sign(gap), 0).astype(int)


def wins(x, y, k: int = 3) -> dict[str, float]:
    """Over all choices of k seeds (the same for both): the share in which the mean of x is larger ("ahead") and that in
    which the bars are apart too ("shown"); "behind" and "against" are those of y. The mean difference, x minus y, where the
    bars are apart in favour of x ("gap shown") and of y ("gap against"), NaN where they never are. x, y [n]. Raises
    ValueError when n seeds are fewer than k."""
    chosen = subsets(len(x), k)
    a, b = np.asarray(x)[chosen], np.asarray(y)[chosen]
    gap, apart = a.mean(-1) - b.mean(-1), bars_apart(a, b)
    shares = {"ahead": gap > 0, "shown": apart > 0, "behind": gap < 0, "against": apart < 0}
    of = lambda rows: float(gap[rows].mean()) if rows.any() else float("nan")
    gaps = {"gap shown": of(apart > 0), "gap against": of(apart < 0)}
    return {**{name: float(np.mean(rows)) for name, rows in shares.items()}, **gaps}


def loudest(x, y, k: int = 3) -> list[int] | None:
    """The k seeds whose bars are apart in favour of x by the largest gap; None where no choice shows that. x, y [n]."""
    chosen = subsets(len(x), k)
    a, b = np.asarray(x)[chosen], np.asarray(y)[chosen]
    gap = np.where(bars_apart(a, b) > 0, a.mean(-1) - b.mean(-1), -np.inf)
    return chosen[gap.argmax()].tolist() if np.isfinite(gap.max()) else None


def groups(x, how_many: int, k: int = 3, draws: int = 4000, seed: int = 0) -> np.ndarray:
    """Null model: one learner dealt out as if it were several. Scores x [n] -> [draws, how_many, k]: in each draw disjoint
    groups of k seeds. Raises ValueError when n seeds are too few."""
    x = np.asarray(x, dtype=float)
    if how_many * k > len(x):
        raise ValueError(f"{how_many} groups of {k} need {how_many * k} seeds, there are {len(x)}.")
    order = np.random.default_rng(seed).random((draws, len(x))).argsort(-1)[:, : how_many * k]
    return x[order].reshape(draws, how_many, k)


def best_of(x, settings: int, k: int = 3, draws: int = 4000, seed: int = 0) -> tuple[float, float]:
    """The same learner under two names: the tuned one may report the best of ``settings`` groups of k seeds, the other has
    one group. (share of draws in which the tuned one is ahead, its mean lead as a return). x [n]: see :func:`groups`."""
    means = groups(x, settings + 1, k, draws, seed).mean(-1)
    lead = means[:, :-1].max(-1) - means[:, -1]
    return float((lead > 0).mean()), float(lead.mean())


def best_of_noise(evaluations: int, error, path=0.0, draws: int = 4000, seed: int = 0) -> float:
    """Mean of the best of so many evaluations, each with its standard error (a return): of a team that does not change and
    whose true return is 0, or of one whose true return follows ``path``. error, path: a number, or [evaluations]. Every draw
    is used with its mirror image, so that the best of one is its path as it should be."""
    noise = error * np.random.default_rng(seed).standard_normal((draws, evaluations))
    return float(((path + noise).max(-1) + (path - noise).max(-1)).mean() / 2)


# ---- the committed runs ----

METRICS = {  # name -> one number for each curve [..., evaluations]
    "last fifth": lambda c: c[..., -max(1, c.shape[-1] // 5) :].mean(-1),
    "last evaluation": lambda c: c[..., -1],
    "best evaluation": lambda c: c.max(-1),
    "whole curve": lambda c: c.mean(-1),  # the area under the curve over its length
}


EPISODES = 8  # of one evaluation in every study
PLANNED = 20  # seeds of each learner in the study `evidence`: `grid_study.py run evidence --seeds 0-19`
COLUMNS = ("algorithm", "seed", "env_steps", "return_mean", "return_std", "win_rate")


def _finished(table) -> tuple[dict[str, set[int]], list[str], set[int]]:
    """({learner: its seeds}, the learners that are compared, the seeds that all of these have)."""
    seeds = {a: set(map(int, rows["seed"])) for a, rows in table.groupby("algorithm")}
    most = max(map(len, seeds.values()))
    kept = [a for a in seeds if 2 * len(seeds[a]) >= most]
    return seeds, kept, set.intersection(*(seeds[a] for a in kept))


def committed(name: str = "grid_evidence"):
    """The evaluations of a study as a DataFrame (algorithm, seed, env_steps, return_mean, return_std, and win_rate where the
    file has it): the learners with the most seeds, and of those the seeds that all of them have. A learner with fewer than
    half as many is left out; :func:`account` says in words what this rule takes. It looks at no return."""
    table = load_dataset(name)
    _, kept, shared = _finished(table)
    table = table[[column for column in COLUMNS if column in table]]
    return table[table["algorithm"].isin(kept) & table["seed"].isin(shared)].reset_index(drop=True)


def account(name: str = "grid_evidence", planned: int = PLANNED) -> str:
    """Four lines that account for every run of a study: how many seeds were planned, how many of each learner the file
    holds, which of them :func:`committed` takes, and which it leaves out and why."""
    seeds, kept, shared = _finished(load_dataset(name))
    out = [f"{a}, seed{'s' * (len(seeds[a]) > 1)} {_listed(seeds[a])}: too few to compare" for a in seeds if a not in kept]
    for a in kept:
        if spare := seeds[a] - shared:
            out.append(f"{a}, seed{'s' * (len(spare) > 1)} {_listed(spare)}: not finished by every learner")
    both = "both" if len(kept) == 2 else "all"
    lines = {
        "planned": f"{planned} seeds of each learner",
        "finished": ", ".join(f"{len(seeds[a])} of {a}" for a in seeds),
        "taken": f"the {len(shared)} seeds ({_listed(shared)}) that {' and '.join(kept)} have {both} finished",
        "left out": "; ".join(out) or "none",
    }
    return "\n".join(f"{key + ':':10}{text}" for key, text in lines.items())


def _listed(seeds: set[int]) -> str:
    """ "0 to 14", or "0, 2, 5" where a number is missing in between."""
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))


def curves(frame, grid, column: str = "return_mean") -> dict[str, np.ndarray]:
    """{learner: [seeds, len(grid)]}: what the last evaluation at or before each step of ``grid`` gave, seeds in order."""
    grid, found = np.asarray(grid), {}
    for name in dict.fromkeys(frame["algorithm"]):
        rows = []
        for _, run in frame[frame["algorithm"] == name].sort_values("env_steps").groupby("seed"):
            at = np.searchsorted(run["env_steps"].to_numpy(), grid, side="right") - 1
            rows.append(run[column].to_numpy()[np.maximum(at, 0)])
        found[name] = np.array(rows)
    return found


def evaluated(frame, steps: int | None = None, every: int = 1000) -> np.ndarray:
    """The environment steps at which :func:`scores` reads a curve: every ``every`` up to ``steps`` (all of it if None)."""
    end = int(frame["env_steps"].max()) if steps is None else steps
    return np.arange(every, end + 1, every)


def scores(frame, steps: int | None = None, metric: str = "last fifth", every: int = 1000) -> dict[str, np.ndarray]:
    """{learner: [seeds]}: one number a run, read off its curve up to ``steps`` (all of it if None); see ``METRICS``.
    The arrays are read-only: sorted in place they would lose which seed is which."""
    grid = evaluated(frame, steps, every)
    found = {name: np.array(METRICS[metric](c)) for name, c in curves(frame, grid).items()}
    for x in found.values():
        x.setflags(write=False)
    return found


def untrained(frame) -> float:
    """Mean greedy return of all teams before any training: the level to which every run is compared."""
    return float(frame[frame["env_steps"] == 0]["return_mean"].mean())


class Spreads(NamedTuple):
    """Standard deviations of a return near the end of a learner's runs, and how many evaluations stand behind a score."""

    seeds: float
    checkpoints: float
    episodes: float
    evaluations: int


def spreads(frame, name: str, episodes: int = EPISODES, every: int = 1000) -> Spreads:
    """Where the spread of a learner's scores comes from. A score is the mean of C evaluations, those of the last fifth of a
    run, with E = ``episodes`` each, and every evaluation is of another checkpoint of the team:

        variance of the scores = seeds^2 + checkpoints^2 / C + episodes^2 / (C E)

    episodes: the single episodes of one checkpoint. checkpoints: a run's own true returns from one evaluation to the next,
    as if each were a new draw; seeds: what of the scores' spread neither explains. Raises ValueError for one seed.
    """
    scored, checkpoints, within, number = _late(frame, name, episodes, every)
    noise = (checkpoints**2 + within**2 / episodes) / number
    return Spreads(max(0.0, float(scored.var(ddof=1)) - noise) ** 0.5, checkpoints, within, number)


def spread_range(frame, name: str, episodes: int = EPISODES, every: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """How sure the first number of :func:`spreads` is: its interval (low, high), a return, if the seeds' scores follow a bell
    curve (chi-squared). With five seeds it is wide. Raises ValueError for one seed."""
    scored, checkpoints, within, number = _late(frame, name, episodes, every)
    noise = (checkpoints**2 + within**2 / episodes) / number
    low, high = around_std(float(scored.std(ddof=1)), len(scored), level)
    return max(0.0, low**2 - noise) ** 0.5, max(0.0, high**2 - noise) ** 0.5


def of_episode(stds, episodes: int = EPISODES, axis=None):
    """Root mean square of standard deviations of single episodes, each measured on so few: ``return_std`` divides the squares
    by their number E, and the mean was fitted to them, so they are too small by (E - 1) / E."""
    return (np.square(stds).mean(axis) * episodes / (episodes - 1)) ** 0.5


def _late(frame, name: str, episodes: int, every: int):
    """(scores [seeds], std of a run's checkpoints, std of one checkpoint's episodes, evaluations behind a score)."""
    grid = evaluated(frame, every=every)
    number = max(1, len(grid) // 5)  # the last fifth, as METRICS has it
    late = curves(frame, grid)[name][:, -number:]  # [seeds, evaluations]
    if len(late) < 2:
        raise ValueError(f"The spread between seeds needs two seeds of {name}, there are {len(late)}.")
    within = float(of_episode(curves(frame, grid, "return_std")[name][:, -number:], episodes))
    strays = float(late.var(1, ddof=1).mean()) if number > 1 else 0.0
    return late.mean(1), max(0.0, strays - within**2 / episodes) ** 0.5, within, number


def over_time(frame, names, every: int = 1000, window: int = 3, resamples: int = 500) -> dict[int, tuple[float, float, float]]:
    """{environment step: (difference of the IQMs of two learners, low, high)}, read at every ``every`` steps from each run's
    last ``window`` evaluations; low and high: the 95 % bootstrap interval of this one step. After a stop: the steps so far."""
    grid, found = evaluated(frame, every=every)[1:], {}
    first, second = (curves(frame, np.append(every, grid))[name] for name in names)
    for t, step in stoppable(list(enumerate(grid.tolist(), 1)), "redraws"):
        x, y = (c[:, max(0, t - window + 1) : t + 1].mean(-1) for c in (first, second))
        found[step] = difference(x, y, resamples=resamples)
    return found


# ---- worlds of a few numbers, in which a fault can be built into a run ----

CELLS, LIMIT = 8, 40  # start in cell 0, the end is cell 7; each step costs 1; an episode is cut after 40 steps


def corridor(
    steps: int = 1500,
    seeds: int = 10,
    epsilon: Callable[[float], float] = lambda part: max(0.05, 1 - 2 * part),
    eval_epsilon: float = 0.0,
    copy_every: int = 50,
    updates: int = 1,
    lr: float = 0.2,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Tabular Q-learning with a target table in a corridor of eight cells (actions: back, on; each step costs 1).

    epsilon(part of the run that is over) is the training's exploration, eval_epsilon the evaluation's; the target table
    is copied every ``copy_every`` steps (0: never); each transition is used ``updates`` times. Returns "steps" [E],
    "evaluation" [seeds, E] and "training" [seeds, E], the return of the last training episode that ended. The best is -7.
    """
    rng = np.random.default_rng(seed)
    q, target = 0.01 * rng.standard_normal((2, seeds, CELLS, 2))
    rows = np.arange(seeds)
    cell, age, total, last = (np.zeros(seeds) for _ in range(4))
    cell, last = cell.astype(int), last - LIMIT

    def act(state, eps):
        greedy = q[rows, state].argmax(-1)
        return np.where(rng.random(seeds) < eps, rng.integers(0, 2, seeds), greedy)

    def evaluation():
        state, worth = np.zeros(seeds, dtype=int), np.zeros(seeds)
        for _ in range(LIMIT):
            worth -= state < CELLS - 1
            walked = np.clip(state + 2 * act(state, eval_epsilon) - 1, 0, CELLS - 1)
            state = np.where(state < CELLS - 1, walked, state)
        return worth

    shown = {"steps": [], "evaluation": [], "training": []}
    for step in range(steps + 1):
        if step % (steps // 25) == 0:
            for name, value in (("steps", step), ("evaluation", evaluation()), ("training", last.copy())):
                shown[name].append(value)
        if copy_every and step % copy_every == 0:
            target = q.copy()
        action = act(cell, epsilon(step / steps))
        after = np.clip(cell + 2 * action - 1, 0, CELLS - 1)
        there = after == CELLS - 1
        y = -1 + np.where(there, 0, target[rows, after].max(-1))
        for _ in range(updates):
            q[rows, cell, action] += lr * (y - q[rows, cell, action])
        cell, age, total = after, age + 1, total - 1
        over = there | (age >= LIMIT)
        last[over] = total[over]
        cell[over], age[over], total[over] = 0, 0, 0
    return {"steps": np.array(shown["steps"]), **{k: np.array(shown[k]).T for k in ("evaluation", "training")}}


def alive(bootstrap_at_limit: bool = True, steps: int = 6000, limit: int = 25, discount: float = 0.95, lr: float = 0.02):
    """TD learning of one value: reward 1 in every step, for ever, but the run is cut every ``limit`` steps -> [steps].

    The value is 1 / (1 - discount). A cut that is taken for an end gives 1 / (1 - discount (1 - 1 / limit)) instead, about:
    the learner cannot tell how near the cut is.
    """
    value, path = 0.0, []
    for step in range(steps):
        cut = step % limit == limit - 1 and not bootstrap_at_limit
        value += lr * (1 + (0 if cut else discount * value) - value)
        path.append(value)
    return np.array(path)
