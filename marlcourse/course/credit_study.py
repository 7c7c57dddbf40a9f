"""Chapter 04's measurements: credit of untrained and trained mixers, percentiles over training, parity, ledger rows.

    python -m marlcourse.course.credit_study            # the rows that the committed runs give, and their verdicts
    python -m marlcourse.course.credit_study --write    # ... put into datasets/reproductions.csv in the place of chapter 04's

The runs are made by ``benchmarks/grid_study.py`` (studies credit-lumberjacks, credit-junction) and gathered into
datasets/grid_credit_lumberjacks.csv and grid_credit_junction.csv (one row per evaluation, with the columns of
:func:`marlcourse.meters.measure_credit`), with the percentiles over each run beside them in ..._pooled.csv. Nothing here
trains anything but :func:`short_run`.
"""

from __future__ import annotations

import argparse
import csv
import functools
import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..algorithms.qmix import QMIX
from ..core import Algorithm, EpisodeBatch
from ..credit import credit, invariant_credit, normalised_entropy
from ..envs import make
from ..meters import PERCENTILES, CreditMeter, percentiles
from ..nets.agents import RecurrentAgent
from ..nets.mixers import MonotonicMixer
from ..rollout import Collector
from ..stopping import stoppable
from ..trainer import Run, Trainer
from . import strict
from .claims import ClaimCard, ClaimChanged, no_verdict
from .data import dataset_folders, load_dataset
from .exercises import write_atomic

WORLDS = {"lumberjacks": ("lumberjacks", 2), "junction": ("traffic-junction-10", 10)}  # our word -> (world, agents)
TITLES = {"lumberjacks": "Lumberjacks (ma-gym), 2 agents", "junction": "TrafficJunction10 (ma-gym), 10 agents"}
PAPER = {  # Zhao et al. 2022 (arXiv:2202.04427), Table 2: percentiles 5, 25, 50, 75, 95 over QMIX's whole training
    "lumberjacks": (0.972, 0.992, 0.997, 0.999, 1.000),
    "junction": (0.931, 0.961, 0.975, 0.985, 0.993),
}
NAMES = {  # two games go by each name: ma-gym's code, and the game as it is described
    "lumberjacks": "Lumberjacks (ma-gym)",
    "junction": "TrafficJunction10 (ma-gym)",
    "described": "TrafficJunction10 (as described)",
}
IN_PAPER = {"lumberjacks": "Lumberjacks", "junction": "TrafficJunction10"}  # what the paper calls them
IDLE = {"lumberjacks": ("always stay", 0), "junction": ("always brake", 1)}  # the laziest play: name, action
LEARNERS = ("QMIX", "QMIX-simple", "QMIX-GRE 0.001", "QMIX-GRE 0.0005", "QMIX-GRE 0.0001")
LAST = 0.2  # the part of a run, counted from its end, over which returns are averaged
NEAR = 0.05  # entropies whose CVs (implied_cv) differ by no more, 5 % of the mean credit, count as the same
SHARE = 0.1  # of QMIX's gain over its untrained self: returns that differ by no more count as comparable
FULL = (5, 200_000)  # seeds and environment steps of a whole study; a learner with less is "reduced"
FEWEST = 3  # with fewer seeds an interval over seeds says nothing
INSIDE = "the interval over seeds holds the margin"
BELOW = "QMIX ends below idle play, and two that learned little are alike for no reason of credit"
SHOWN = {"": "", INSIDE: ", inside the interval", BELOW: "; QMIX is below idle play"}  # why -> what its ledger row adds
UNDECIDED, UNMEASURED = "not decided", "not measured yet; the chapter claims nothing here"
EXPECTED = {"4.A": "confirmed", "4.B": "refuted", "4.E": "confirmed"}  # what the text around these claims says
# ... and "4.C lumberjacks": "refuted", say, where the text says more of claims C, D, F, G than the cells print


# ---- the null model ----


def untrained_credit(
    n_agents: int, state_dim: int = 30, mixers: int = 20, rows: int = 256, layers: int = 2, embed: int = 32, seed: int = 0
) -> Tensor:
    """dQ_tot/dQ_i of QMIX mixers as they are born, on N(0, 1) states and utilities: [mixers * rows, n_agents].

    ``layers``: depth of the hypernetworks (1 in the paper's text, 2 in its code); ``embed``: hidden units of the mixer.
    """
    found = []
    with torch.random.fork_rng(devices=[]):
        for k in range(mixers):
            torch.manual_seed(1000 * seed + k)
            mixer = MonotonicMixer(n_agents, state_dim, embed, layers=layers)
            found.append(credit(mixer, torch.randn(rows, n_agents), torch.randn(rows, state_dim)))
    return torch.cat(found)


def team_credit(team: Algorithm, batch: EpisodeBatch) -> Tensor:
    """dQ_tot/dQ_i of a team on the M real steps of a batch, at the actions in the batch: [M,N]."""
    with torch.no_grad():
        real = batch.mask > 0
        q = team.utilities(team.agent, batch)[:, :-1].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
    return credit(team.mixer, q[real], batch.states[:, :-1][real])


def untrained_team_credit(
    world: str, teams: int = 20, episodes: int = 1, layers: int = 2, progress: bool = False
) -> list[Tensor]:
    """The same of whole teams before any training, in a world of ``WORLDS``, playing at random: one [M,N] a team.

    Stopped, it returns the teams it has: their number is the length of the list.
    """
    found = []
    for seed in stoppable(range(teams), f"untrained teams, {NAMES[world]}", progress):
        env = make(WORLDS[world][0], num_envs=episodes, device="cpu", seed=seed, faithful=True)
        team = QMIX(env.spec, QMIX.Config(hypernet_layers=layers), seed=seed, device="cpu")
        found.append(team_credit(team, Collector(env, team, seed).collect()))  # at step 0 epsilon is 1
    return found


@functools.cache
def idle_return(world: str, episodes: int = 8) -> float:
    """The mean return of a team that plays the one action of ``IDLE`` all the time: the null model of a return."""
    env = make(WORLDS[world][0], num_envs=episodes, device="cpu", seed=0, faithful=True)
    env.reset(seed=0)
    actions = torch.full((episodes, env.spec.n_agents), IDLE[world][1])
    return float(sum(env.step(actions).reward for _ in range(env.spec.episode_limit)).mean())


def entropy_percentiles(g: Tensor) -> np.ndarray:
    """Percentiles 5, 25, 50, 75, 95 of the normalised entropy of credit g [M,N]: [5]."""
    return np.array(percentiles(normalised_entropy(g)))


def null_gap(world: str, g: Tensor, mixers: int = 20, draws: int = 500, seed: int = 0) -> dict:
    """Claims A and B by the rule of C and D: untrained percentiles minus the paper's, as CVs, with an interval over mixers.

    ``g`` [mixers * M, N]: credit of untrained mixers, one after the other (:func:`untrained_credit`). Bootstrap: whole mixers
    are drawn anew, with replacement. difference, low, high (95 %): [5] each; answer and why as :func:`near_paper` has them.
    """
    n, rng = WORLDS[world][1], np.random.default_rng(seed)
    entropies = normalised_entropy(g).unflatten(0, (mixers, -1)).numpy()  # [mixers,M]
    gap = lambda rows: implied_cv(np.percentile(rows, PERCENTILES), n) - implied_cv(PAPER[world], n)
    drawn = np.array([gap(entropies[rng.integers(mixers, size=mixers)]) for _ in range(draws)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return _judged(gap(entropies), low, high, mixers, "the interval over mixers holds the margin")


# ---- the same team on another scale ----


class ScaledAgent(nn.Module):
    """An agent network whose utilities are multiplied by one number per agent: ``factors`` [N]."""

    def __init__(self, agent: nn.Module, factors: Sequence[float]):
        super().__init__()
        self.agent = agent
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float32))

    def initial_hidden(self, batch_size: int, n_agents: int) -> Tensor:
        return self.agent.initial_hidden(batch_size, n_agents)

    def forward(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        q, hidden = self.agent(obs, last_action, hidden)
        return q * self.factors.unsqueeze(-1), hidden  # [...,N,A]


class ScaledMixer(nn.Module):
    """A mixer that first takes the factors back: Q_tot is the inner mixer's, bit for bit where they are powers of 2."""

    def __init__(self, mixer: nn.Module, factors: Sequence[float]):
        super().__init__()
        self.mixer = mixer
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float32))

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        return self.mixer(q / self.factors, state)


def scaled_readings(team: Algorithm, batch: EpisodeBatch, factor: float) -> dict[str, Tensor]:
    """What a team says on the real steps of a batch when Q_1 is ``factor`` times as large and the mixer makes up for it.

    q_tot [M], greedy [M,N] actions, credit [M,N], entropy [M], invariant [M,N] (:func:`marlcourse.invariant_credit`).
    """
    factors = torch.ones(team.spec.n_agents)
    factors[0] = factor
    mixer = ScaledMixer(team.mixer, factors.tolist())
    with torch.no_grad():
        real = batch.mask > 0
        table = team.utilities(team.agent, batch)[:, :-1][real] * factors.unsqueeze(-1)  # [M,N,A]
        state, avail = batch.states[:, :-1][real], batch.avail[:, :-1][real]
        chosen = table.gather(-1, batch.actions[real].unsqueeze(-1)).squeeze(-1)
        q_tot = mixer(chosen, state)
    g = credit(mixer, chosen, state)
    alone = invariant_credit(mixer, table, state, avail=avail)
    return {
        "q_tot": q_tot,
        "greedy": table.argmax(-1),
        "credit": g,
        "entropy": normalised_entropy(g),
        "invariant": alone,
        "invariant_entropy": normalised_entropy(alone),
    }


def short_run(
    kind: type[QMIX] = QMIX, factor: float = 1.0, steps: int = 2_400, progress: bool = False, **changes
) -> tuple[Run, QMIX]:
    """(run, algorithm): a metered run on ma-gym's Lumberjacks with the study's settings, seed 0.

    ``factor`` multiplies Q_1 inside the agents and is taken back inside the mixer; ``changes`` go to the config. Stopped,
    it returns what there is.
    """
    env = make("lumberjacks", num_envs=8, device="cpu", seed=0, faithful=True)
    config = kind.Config.preset("pymarl", **{"updates_per_collect": 8, "batch_size": 32, **changes})
    parts = {}
    if factor != 1:
        factors = [factor, *[1.0] * (env.spec.n_agents - 1)]
        inner = lambda: RecurrentAgent(env.spec, config.hidden, config.last_action)
        parts["agent"] = lambda: ScaledAgent(inner(), factors)
        parts["mixer"] = lambda: ScaledMixer(
            MonotonicMixer(env.spec.n_agents, env.spec.state_dim, config.embed, layers=config.hypernet_layers), factors
        )
    team = kind(env.spec, config, seed=0, device="cpu", **parts)
    meter = CreditMeter(rows=16, quantiles=101)
    trainer = Trainer(env, team, seed=0, eval_every=max(800, steps // 20), eval_episodes=8, callbacks=[meter])
    return trainer.fit(steps, progress=progress), team


def length(run: Run) -> int:
    """The environment steps that a run has played."""
    return int(run.history[-1]["env_steps"])


def how_long(run: Run, asked: int) -> str:
    """A run's length in words: "16,000 steps", or "6,400 of 16,000 steps (stopped)"."""
    return f"{asked:,} steps" if length(run) >= asked else f"{length(run):,} of {asked:,} steps (stopped)"


def cut_short(asked: int, **runs: Run) -> str:
    """Why there is no verdict on runs of ``asked`` environment steps: which were stopped before, by name; "" if none was."""
    return no_verdict(
        f"{name.replace('_', ' ')} was stopped at {length(run):,} of {asked:,} steps"
        for name, run in runs.items()
        if length(run) < asked
    )


def weights(team: Algorithm) -> list[Tensor]:
    """The trained numbers of agents and mixer, in order: two teams with equal lists are the same team."""
    return [p.detach() for p in [*team.agent.parameters(), *team.mixer.parameters()]]


# ---- the committed runs ----


def implied_cv(entropy, n_agents: int) -> np.ndarray:
    """CV_H: the coefficient of variation of credit that a normalised entropy stands for, sqrt(2 ln N (1 - H)), near H = 1."""
    return np.sqrt(2 * np.log(n_agents) * np.clip(1 - np.asarray(entropy, dtype=float), 0, None))


@dataclass(frozen=True, eq=False)
class Runs:
    """The committed runs of one world. ``history``: a DataFrame with one row per evaluation; ``pooled``: one row per run with
    the percentiles p5 .. p95 of the entropy over all steps that were logged. Both empty while nothing is committed. What was
    asked once is kept: other tables make another ``Runs``."""

    world: str
    history: Any
    pooled: Any

    _kept: dict = field(default_factory=dict, repr=False)

    def _once(self, key, work):
        if key not in self._kept:
            self._kept[key] = work()
        return self._kept[key]

    def of(self, learner: str):
        """The evaluations of one learner."""
        return self._once(learner, lambda: self.history[self.history["algorithm"] == learner])

    def has(self, *learners: str) -> bool:
        """Whether each of these learners has a run."""
        return all(len(self.of(name)) > 0 for name in learners)

    @property
    def learners(self) -> list[str]:
        return [name for name in LEARNERS if self.has(name)]

    def seeds(self, learner: str) -> int:
        return self.of(learner)["seed"].nunique()

    def steps(self, learner: str) -> int:
        """Environment steps that every run of a learner has played."""
        return int(self.of(learner).groupby("seed")["env_steps"].max().min())

    @property
    def matched(self) -> int:
        """Environment steps that every run of every learner has played; 0 without runs."""
        return min((self.steps(name) for name in self.learners), default=0)

    def percentiles(self, learner: str = "QMIX") -> np.ndarray:
        """Percentiles 5, 25, 50, 75, 95 of the entropy over training, for each seed: [seeds, 5]."""
        one = self.pooled[self.pooled["algorithm"] == learner]
        return one[[f"p{k}" for k in PERCENTILES]].to_numpy(dtype=float)

    def batch_means(self, learner: str = "QMIX") -> np.ndarray:
        """The other reading of the paper's table: percentiles of the evaluations' mean entropies, all seeds together: [5]."""
        one = self.of(learner)
        return np.percentile(one[one["env_steps"] > 0]["entropy_mean"], PERCENTILES)

    def late(self, learner: str, until: float | None = None):
        """The evaluations in the last fifth of a learner's runs, or of their first ``until`` steps; at least the last one."""
        until = self.steps(learner) if until is None else until
        return self._once((learner, until), lambda: self._late(learner, until))

    def _late(self, learner: str, until: float):
        import pandas as pd

        kept = []
        for _, run in self.of(learner).groupby("seed"):
            run = run[run["env_steps"] <= max(1.02 * until, run["env_steps"].min())].sort_values("env_steps")
            last = run[run["env_steps"] > (1 - LAST) * until]
            kept.append(last if len(last) else run.tail(1))
        return pd.concat(kept)

    def returns(self, learner: str, until: float | None = None) -> np.ndarray:
        """For each seed, the mean greedy return over :meth:`late` evaluations: [seeds]."""
        return self.late(learner, until).groupby("seed")["return_mean"].mean().to_numpy()

    def entropies(self, learner: str, until: float | None = None) -> np.ndarray:
        """For each seed, the mean over :meth:`late` evaluations of their median entropies: [seeds]."""
        return self.late(learner, until).groupby("seed")["entropy_p50"].mean().to_numpy(dtype=float)

    def untrained_return(self, learner: str = "QMIX") -> float:
        one = self.of(learner)
        return float(one[one["env_steps"] == 0]["return_mean"].mean())

    def before_and_over(self, learner: str = "QMIX") -> tuple[np.ndarray, np.ndarray]:
        """For each seed, percentiles 5, 25, 50, 75, 95 of the entropy before training and over training: [seeds, 5] each."""
        one = self.of(learner)
        first = one[one["env_steps"] == 0].groupby("seed")[[f"entropy_p{k}" for k in PERCENTILES]].mean()
        pooled = self.pooled[self.pooled["algorithm"] == learner].set_index("seed")[[f"p{k}" for k in PERCENTILES]]
        return first.to_numpy(dtype=float), pooled.loc[first.index].to_numpy(dtype=float)

    def medians(self, learner: str = "QMIX") -> tuple[np.ndarray, np.ndarray]:
        """The medians of :meth:`before_and_over`: [seeds], [seeds]."""
        first, over = self.before_and_over(learner)
        return first[:, 2], over[:, 2]

    def reduced(self, learner: str) -> bool:
        """Whether a learner has fewer seeds or steps than the study was planned with."""
        return self.seeds(learner) < FULL[0] or self.steps(learner) < 0.99 * FULL[1]

    def budget(self, *learners: str) -> str:
        """Seeds and environment steps, in words, as the file has them."""
        words = []
        for name in learners or LEARNERS:
            if self.has(name):
                short = " (reduced)" if self.reduced(name) else ""
                least, most = self.steps(name), int(self.of(name)["env_steps"].max())
                steps = f"{least:,} steps" if most < 1.02 * least else f"{least:,} to {most:,} steps"
                words.append(f"{name}: {seeds_in_words(self.seeds(name))} x {steps}{short}")
        return f"{NAMES[self.world]} " + ("; ".join(words) or "not measured yet")


def committed(world: str) -> Runs:
    """The gathered runs in a world of ``WORLDS``."""
    import pandas as pd

    try:
        return Runs(world, load_dataset(f"grid_credit_{world}.csv"), load_dataset(f"grid_credit_{world}_pooled.csv"))
    except FileNotFoundError:
        columns = ["algorithm", "seed", "env_steps", "return_mean", "entropy_p50", "entropy_mean", "cv_mean"]
        return Runs(world, pd.DataFrame(columns=columns), pd.DataFrame(columns=["algorithm", "seed"]))


def overview(studies: Mapping[str, Runs]):
    """What is committed, a DataFrame with a row per learner, compared at the steps that all learners of its world have run.

    seeds; steps: what it has played; at: where it is compared; return before training ("untrained") and over the last fifth
    of the steps compared (its range over seeds: "worst", "best"); "median H": entropy over the same evaluations ("lowest",
    "highest" seed).
    """
    import pandas as pd

    rows = []
    for world, runs in studies.items():
        for name in runs.learners:
            end, entropy = runs.returns(name, runs.matched), runs.entropies(name, runs.matched)
            figures = [round(float(v), 1) for v in (runs.untrained_return(name), end.mean(), end.min(), end.max())]
            figures += [round(float(v), 3) for v in (entropy.mean(), entropy.min(), entropy.max())]
            rows.append([NAMES[world], name, runs.seeds(name), runs.steps(name), runs.matched, *figures])
    columns = ["world", "learner", "seeds", "steps", "at", "untrained", "return", "worst", "best"]
    return pd.DataFrame(rows, columns=[*columns, "median H", "lowest", "highest"])


def interval(a: np.ndarray, b: np.ndarray, draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a minus mean of b, and the 95 % bootstrap interval over seeds: (difference, low, high)."""
    rng = np.random.default_rng(seed)
    means = [x[rng.integers(len(x), size=(draws, len(x)))].mean(1) for x in (np.asarray(a), np.asarray(b))]
    low, high = np.percentile(means[0] - means[1], [2.5, 97.5])
    return float(np.mean(a) - np.mean(b)), float(low), float(high)


def _judged(difference: np.ndarray, low: np.ndarray, high: np.ndarray, seeds: int, why: str, **more) -> dict:
    """Are differences of CV nought, to within NEAR? With their intervals [K]; answer, and why where it is undecided."""
    found = {"difference": difference, "low": low, "high": high, "seeds": seeds, "why": "", **more}
    if ((low > NEAR) | (high < -NEAR)).any():
        return found | {"answer": "refuted"}
    if ((low >= -NEAR) & (high <= NEAR)).all():
        return found | {"answer": "confirmed"}
    return found | {"answer": UNDECIDED, "why": why}


def _same(differences: np.ndarray, seeds: int, steps: int) -> dict:
    """:func:`_judged` for differences of CV [seeds, K], with 95 % intervals over seeds."""
    mean, low, high = np.array([interval(x, np.zeros(1)) for x in differences.T]).T
    found = _judged(mean, low, high, seeds, INSIDE, steps=steps)
    return found | {"answer": UNDECIDED, "why": too_few(seeds)} if seeds < FEWEST else found


def too_few(seeds: int) -> str:
    return f"{seeds_in_words(seeds)} give{'s' * (seeds == 1)} no interval"


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign; nought is +0."""
    return f"{round(float(value), digits) + 0.0:+.{digits}f}"


def in_words(found: dict) -> list[str]:
    """Each difference with its 95 % interval, "+0.070 [+0.052, +0.087]"; without one where there are fewer than 3 seeds."""
    figures = zip(found["difference"], found["low"], found["high"])
    if found["seeds"] < FEWEST:
        return [signed(d) for d, _, _ in figures]
    return [f"{signed(d)} [{signed(low)}, {signed(high)}]" for d, low, high in figures]


def near_paper(runs: Runs) -> dict | None:
    """Claim C: QMIX's percentiles over training against the paper's, as CVs (ours minus the paper's). None without runs.

    difference, low, high (95 %, bootstrap over seeds), [5] each; answer: "confirmed" where all five intervals lie within
    the margin ``NEAR``, "refuted" where one lies outside, else "not decided", with ``why``; seeds; steps.
    """
    if not runs.has("QMIX"):
        return None
    gaps = implied_cv(runs.percentiles(), WORLDS[runs.world][1]) - implied_cv(PAPER[runs.world], WORLDS[runs.world][1])
    return _same(gaps, runs.seeds("QMIX"), runs.steps("QMIX"))


def unmoved(runs: Runs) -> dict | None:
    """Claim D: QMIX's median over training against the same team's before training, as CVs; otherwise as :func:`near_paper`."""
    if not runs.has("QMIX"):
        return None
    first, over = (implied_cv(x, WORLDS[runs.world][1]) for x in runs.medians())
    return _same((over - first)[:, None], runs.seeds("QMIX"), runs.steps("QMIX"))


def moved(runs: Runs) -> dict | None:
    """What claim D does not ask: all five percentiles over training minus before it, as CVs; otherwise as :func:`unmoved`."""
    if not runs.has("QMIX"):
        return None
    first, over = (implied_cv(x, WORLDS[runs.world][1]) for x in runs.before_and_over())
    return _same(over - first, runs.seeds("QMIX"), runs.steps("QMIX"))


def against_qmix(runs: Runs, learner: str | None) -> dict | None:
    """A learner's return at the end minus QMIX's, at the same number of steps; None without runs of both.

    difference, low, high (95 %, bootstrap over seeds); margin: a tenth of QMIX's gain over its untrained self; seeds; steps;
    learner; answer: "confirmed" (comparable: low >= -margin), "refuted" (worse: high < -margin) or "not decided", with
    ``why``: the interval holds the margin, too few seeds, or a QMIX that gained nothing that could be lost: it ends no
    higher than untrained, or below a team that plays one action all the time.
    """
    if learner is None or not runs.has(learner, "QMIX"):
        return None
    steps = min(runs.steps(learner), runs.steps("QMIX"))
    a, b = runs.returns(learner, steps), runs.returns("QMIX", steps)
    difference, low, high = interval(a, b)
    gain = float(b.mean()) - runs.untrained_return()
    found = {"learner": learner, "difference": difference, "low": low, "high": high, "margin": SHARE * gain, "why": ""}
    found |= {"seeds": min(len(a), len(b)), "steps": steps}
    if found["seeds"] < FEWEST:
        return found | {"answer": UNDECIDED, "why": too_few(found["seeds"])}
    if interval(b, np.array([runs.untrained_return()]))[1] <= 0:
        return found | {"answer": UNDECIDED, "why": "QMIX itself gained nothing there that could be lost"}
    if low >= -found["margin"] and b.mean() < idle_return(runs.world):
        return found | {"answer": UNDECIDED, "why": BELOW}
    if low >= -found["margin"] or high < -found["margin"]:
        return found | {"answer": "confirmed" if low >= -found["margin"] else "refuted"}
    return found | {"answer": UNDECIDED, "why": INSIDE}


def lowered(runs: Runs, learner: str, steps: float | None = None) -> dict:
    """What a learner's regulariser did to the entropy: its median over the last fifth, minus QMIX's at the same steps.

    difference, low, high (95 %, bootstrap over seeds); own, qmix: [seeds] each; seen: whether the whole interval lies below
    0 (never with fewer than 3 seeds).
    """
    steps = min(runs.steps(learner), runs.steps("QMIX")) if steps is None else steps
    own, qmix = runs.entropies(learner, steps), runs.entropies("QMIX", steps)
    difference, low, high = interval(own, qmix)
    seen = min(len(own), len(qmix)) >= FEWEST and high < 0
    return {"difference": difference, "low": low, "high": high, "own": own, "qmix": qmix, "seen": seen}


def seeds_in_words(n: int) -> str:
    return f"{n} seed" + "s" * (n != 1)


def best_weight(runs: Runs) -> str | None:
    """The QMIX-GRE with the highest return at the end, as the paper chooses lambda; None without runs."""
    known = [name for name in runs.learners if name.startswith("QMIX-GRE")]
    steps = min((runs.steps(name) for name in known), default=0)
    return max(known, key=lambda name: runs.returns(name, steps).mean()) if known else None


# ---- what the runs say, in words ----


def provisional(found: Mapping) -> str:
    """What a verdict lacks, as "provisional: 3 of 5 planned seeds, 100,000 of 200,000 planned steps"; "" for nothing."""
    seeds, steps = found.get("seeds", FULL[0]), found.get("steps", FULL[1])
    notes = [f"provisional: {seeds} of {FULL[0]} planned seeds"] * (seeds < FULL[0])
    return ", ".join([*notes, *[f"{steps:,} of {FULL[1]:,} planned steps"] * (steps < 0.99 * FULL[1])])


def verdict_in_words(found: Mapping | None) -> str:
    """The answer of near_paper, unmoved or against_qmix, with what it lacks and why it is undecided in parentheses."""
    if not found:
        return UNMEASURED
    notes = "; ".join(filter(None, [provisional(found), found["why"]]))
    return found["answer"] + (f" ({notes})" if notes else "")


def settle(claim: ClaimCard, found: Mapping[str, dict | None]) -> None:
    """Print a claim's verdict for each world: confirmed, refuted, not decided (and why), or that nothing was measured yet.

    ``found``: {world: what near_paper, unmoved or against_qmix gave}. A verdict on fewer seeds or steps than planned says
    so. Where ``EXPECTED`` has "<id> <world>", another answer raises ClaimChanged in strict mode.
    """
    print(f"Claim {claim.id}: {claim.hypothesis}")
    for world, one in found.items():
        answer = one["answer"] if one else UNMEASURED
        print(f"  {NAMES[world]}: {verdict_in_words(one)}")
        expected = EXPECTED.get(f"{claim.id} {world}", answer)
        if strict() and answer != expected:
            raise ClaimChanged(f"Claim {claim.id}, {NAMES[world]}: the text says {expected}, the evidence says {answer}.")


def settle_effect(studies: Mapping[str, Runs]) -> None:
    """Print, for each world, which of the paper's lambdas lowered the entropy by more than its spread over seeds."""
    print("Is the entropy visibly lower than QMIX's? (the whole interval over seeds lies below 0)")
    for world, runs in studies.items():
        known = [name for name in runs.learners if "GRE" in name] if runs.has("QMIX") else []
        said = [f"lambda {name.split()[-1]} {'yes' if lowered(runs, name)['seen'] else 'no'}" for name in known]
        print(f"  {NAMES[world]}: {', '.join(said) or UNMEASURED}")


class Said(list):
    """Sentences, one a paragraph: folded in a notebook (unless ``folded`` is False), plain lines elsewhere."""

    title, folded = "What the runs say", True

    def __repr__(self) -> str:
        return "\n".join(textwrap.fill(line, 118, subsequent_indent="  ") for line in self)

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self)
        return f"<details{'' if self.folded else ' open'}><summary>{self.title}</summary>{lines}</details>"


def say_training(studies: Mapping[str, Runs]) -> Said:
    """Claims C and D in words, from the files."""
    said = Said()
    for world, runs in studies.items():
        if (near := near_paper(runs)) is None:
            said.append(f"{NAMES[world]}: {UNMEASURED}.")
            continue
        n, found = WORLDS[world][1], unmoved(runs)
        first, over = (x.mean() for x in runs.medians())
        figures = [f"{h:.3f} (CV_H {implied_cv(h, n):.2f})" for h in (over, PAPER[world][2], first)]
        said.append(
            f"{runs.budget('QMIX')}. The median entropy over training is {figures[0]}, the paper's {figures[1]}, that of the "
            f"same teams before training {figures[2]}."
        )
        k = int(abs(near["difference"]).argmax())
        far = f"furthest from the paper at the {PERCENTILES[k]}th percentile, by {signed(near['difference'][k])} of CV_H"
        said.append(
            {
                "confirmed": f"C: the paper's table comes out again ({far}).",
                "refuted": f"C: this is not the paper's table ({far}; the margin is {NEAR:.3f}): here QMIX's credit is "
                + ("less" if near["difference"][k] > 0 else "more")
                + " equal than the paper's at that percentile.",
                UNDECIDED: f"C: not decided, since {near['why']} ({far}).",
            }[near["answer"]]
        )
        shift = signed(found["difference"][0])
        said.append(
            {
                "confirmed": f"D: training left the median where it began ({shift} of CV_H): a median near 1 is the start's "
                "here, not training's.",
                "refuted": f"D: the median is not where it began ({shift} of CV_H): over training the slopes were "
                + ("less" if found["difference"][0] > 0 else "more")
                + " equal than before it. Whether that is another credit or another unit, the next section asks.",
                UNDECIDED: f"D: not decided, since {found['why']} ({shift} of CV_H).",
            }[found["answer"]]
        )
    return said


def say_parity(studies: Mapping[str, Runs], choose) -> Said:
    """Claims F and G in words, from the files. ``choose(runs)`` names the learner that is held against QMIX, or None."""
    said = Said()
    for world, runs in studies.items():
        learner = choose(runs)
        if (found := against_qmix(runs, learner)) is None:
            said.append(f"{NAMES[world]}: {UNMEASURED}.")
            continue
        name, idle = IDLE[world][0], idle_return(world)
        own = runs.returns("QMIX", found["steps"]).mean()
        said.append(
            f"{runs.budget('QMIX', learner)}; compared at {found['steps']:,} steps. {learner} minus QMIX: "
            f"{found['difference']:+.1f} [{found['low']:.1f}, {found['high']:.1f}], margin {found['margin']:.1f}. QMIX ends at "
            f"{own:.1f}; a team that plays '{name}' all the time has {idle:.1f}."
        )
        simple = learner == "QMIX-simple"
        what = "to forbid unequal credit" if simple else "to punish equal credit"
        cost = f"{what} cost no more than a tenth of QMIX's gain, in this world, at this budget."
        effect = None if simple else lowered(runs, learner, found["steps"])
        if effect and not effect["seen"]:
            cost = "but at this lambda the punishment had no visible effect on the entropy, so that little could cost anything."
        said.append(
            {
                "confirmed": f"Comparable: {cost}",
                "refuted": f"Worse: {what} cost more than a tenth of QMIX's gain (here, at this budget).",
                UNDECIDED: f"Not decided, since {found['why']}.",
            }[found["answer"]]
        )
        if effect:
            ends = [f"{x.mean():.4f} (seeds {x.min():.4f} to {x.max():.4f})" for x in (effect["own"], effect["qmix"])]
            size = f"{signed(effect['difference'], 4)} [{signed(effect['low'], 4)}, {signed(effect['high'], 4)}]"
            said.append(f"Median entropy over the same evaluations: {learner} {ends[0]}, QMIX {ends[1]}; difference {size}.")
    return said


def show_percentiles(studies: Mapping[str, Runs]) -> None:
    """Print the figures behind claims C and D, for each world with runs: the table re-measured, and the two differences."""
    for world, runs in studies.items():
        print(runs.budget("QMIX"))
        if not runs.has("QMIX"):
            continue
        three = lambda row: ", ".join(f"{v:.3f}" for v in row)
        found = runs.percentiles()
        print(f"  paper {three(PAPER[world])}\n  ours  {three(found.mean(0))}")
        if len(found) > 1:
            spans = (f"{a:.3f} to {b:.3f}" for a, b in zip(found.min(0), found.max(0)))
            print(f"  range over seeds: {', '.join(spans)}")
        print(f"  of the means of batches instead of steps (no claim): {three(runs.batch_means())}")
        note = "95 % over seeds" if len(found) >= FEWEST else too_few(len(found))
        print(f"  as CV_H ({note}), C, ours minus the paper's: {', '.join(in_words(near_paper(runs)))}")
        print(f"  as CV_H ({note}), D, over training minus before, the median: {in_words(unmoved(runs))[0]}")


def direction(runs: Runs) -> str:
    """Which way training moved QMIX's credit, from the files: at the median and at the 5th percentile; "" without runs."""
    if (found := moved(runs)) is None:
        return ""

    def way(k: int) -> str:
        if found["seeds"] >= FEWEST and found["low"][k] <= 0 <= found["high"][k]:
            return "in no direction that shows above the spread over seeds"
        return "away from equality" if found["difference"][k] > 0 else "towards equality"

    was, now = (f"{x.mean():.3f} (CV_H {implied_cv(x.mean(), WORLDS[runs.world][1]):.2f})" for x in runs.medians())
    note = f" ({provisional(found)})" if provisional(found) else ""
    return (
        f"{NAMES[runs.world]}: the median entropy of QMIX's credit is {was} before training and {now} over it: training moved "
        f"it {way(2)}; the 5th percentile {way(0)} ({in_words(found)[0]} of CV_H){note}."
    )


def findings(studies: Mapping[str, Runs], at_junction: Mapping[str, dict | None] | None = None) -> Said:
    """For the chapter's summary: which way training moved the credit, the verdicts of claims C, D, F and G, a line each,
    then those about the junction alone."""
    asked = {
        "C, the paper's percentiles come out again": near_paper,
        "D, training leaves the median where it began": unmoved,
        "F, QMIX-simple ends comparably to QMIX": lambda runs: against_qmix(runs, "QMIX-simple"),
        "G, QMIX-GRE ends comparably to QMIX": lambda runs: against_qmix(runs, best_weight(runs)),
    }
    said = Said(filter(None, (direction(runs) for runs in studies.values())))
    said.title, said.folded = "What the long runs say so far", False
    for claim, ask in asked.items():
        found = {NAMES[world]: ask(runs) for world, runs in studies.items()}
        answers = [f"{name}: {verdict_in_words(one)}" for name, one in found.items()]
        said.append(f"{claim}. " + (". ".join(answers) if any(found.values()) else f"Both worlds: {UNMEASURED}") + ".")
    effects = [lowered(runs, x) for runs in studies.values() if runs.has("QMIX") for x in runs.learners if "GRE" in x]
    if effects:
        seen = any(one["seen"] for one in effects)
        visible = "At least one of the paper's lambdas lowered" if seen else "None of the lambdas run here visibly lowered"
        said.append(f"To G: {visible} the entropy in our runs.")
    for claim, one in (at_junction or {}).items():
        said.append(f"{claim}. {IN_PAPER['junction']}: {verdict_in_words(one)}.")
    return said


def show_path(studies: Mapping[str, Runs], untrained: Mapping[str, np.ndarray]) -> None:
    """Print what a table of pooled percentiles hides, for each world with runs: how deep the entropy dips and for how long,
    all five percentiles before and over training, and the return on its way. ``untrained``: {world: percentiles 5, 25, 50,
    75, 95 of untrained teams}."""
    for world, runs in studies.items():
        if not runs.has("QMIX"):
            print(f"{NAMES[world]}: {UNMEASURED}")
            continue
        one, floor = runs.of("QMIX"), untrained[world][0]
        deepest, below = one.loc[one["entropy_p50"].idxmin()], one[one["entropy_p50"] < floor]
        first, best = (one[at].groupby("seed")["return_mean"].max() for at in (one["env_steps"] == 0, one["env_steps"] > 0))
        returns = [f"{x.mean():.0f} ({x.min():.0f} to {x.max():.0f})" for x in (first, best, runs.returns("QMIX"))]
        lines = (
            f"lowest median of one evaluation: {deepest['entropy_p50']:.3f}, seed {deepest['seed']:.0f} at "
            f"{deepest['env_steps']:,.0f} steps",
            f"medians below the 5th percentile of untrained teams ({floor:.3f}): {100 * len(below) / len(one):.0f} % of the "
            f"evaluations, seeds with at least one: {below['seed'].nunique()} of {runs.seeds('QMIX')}",
            f"over training minus before, as CV_H (no claim), percentiles {', '.join(map(str, PERCENTILES))}: "
            + ", ".join(in_words(moved(runs))),
            f"return, mean (and range) over seeds: before training {returns[0]}, best evaluation of a run {returns[1]}, last "
            f"fifth {returns[2]}; idle play {idle_return(world):.0f}",
        )
        print(runs.budget("QMIX"))
        for line in lines:
            print(textwrap.fill(line, 116, initial_indent="  ", subsequent_indent="    "))


# ---- the ledger ----


def _row(world, claim, where, published, metric, values, verdict, seeds, steps, note="") -> dict:
    ours, low, high = (f"{v:.4g}" for v in values)
    ran = f"{WORLDS[world][0]}, faithful to ma-gym 0.0.14, {steps:,} environment steps, PyMARL's settings with 8 worlds{note}"
    lacks = provisional({"seeds": seeds, "steps": steps})
    ran += f"; {lacks}" if lacks else ""
    return {
        "claim": claim,
        "paper": "Zhao et al. 2022 (QMIX-GRE)",
        "where": where,
        "published": published,
        "ran": ran,
        "seeds": seeds,
        "metric": metric,
        "ours": ours,
        "low": low,
        "high": high,
        "verdict": verdict,
        "command": f"python benchmarks/grid_study.py run credit-{world}",
        "chapter": "04",
    }


PARITY = {"confirmed": "reproduced", "refuted": "not reproduced", UNDECIDED: "partly"}


def ledger_rows(studies: Mapping[str, Runs]) -> list[dict]:
    """Chapter 04's rows of the reproduction ledger, of what is committed.

    A percentile is judged as claim C judges it: reproduced where the 95 % interval over seeds of its CV_H
    (:func:`implied_cv`) lies within .05 of the paper's, not reproduced where it lies outside, partly where it holds the
    margin; a return as :func:`against_qmix` judges it, partly where the interval holds the margin. Fewer than 3 seeds, or a
    QMIX that gained nothing, give no row. The interval shown of a percentile spans the seeds; that of a difference is the
    95 % bootstrap interval.
    """
    rows = []
    for world, runs in studies.items():
        for k in (0, 2) if runs.has("QMIX") and runs.seeds("QMIX") >= FEWEST else ():
            seeds, published, n = runs.percentiles()[:, k], PAPER[world][k], WORLDS[world][1]
            gaps = implied_cv(seeds, n) - implied_cv(published, n)
            verdict = PARITY[_same(gaps[:, None], len(seeds), runs.steps("QMIX"))["answer"]]
            claim = f"{PERCENTILES[k]}th percentile of the entropy of QMIX's credit over training, {IN_PAPER[world]}"
            metric = "normalised entropy, all logged steps of a run; mean and range over seeds"
            values = (seeds.mean(), seeds.min(), seeds.max())
            rows.append(_row(world, claim, "Table 2", published, metric, values, verdict, len(seeds), runs.steps("QMIX")))
        best = best_weight(runs)
        for learner, claim, where in (
            ("QMIX-simple", f"QMIX-simple does as well as QMIX on {IN_PAPER[world]}", "Section 5.2, Fig. 4"),
            (best, f"QMIX-GRE does comparably to QMIX on {IN_PAPER[world]}", "Section 5.3, Fig. 5"),
        ):
            found = against_qmix(runs, learner)
            if found and found["why"] in SHOWN:
                metric = f"{learner} minus QMIX, return at the end; margin {found['margin']:.3g}{SHOWN[found['why']]}"
                note = "; greedy return over the last fifth of the steps"
                if learner == best:
                    note += "; of the lambdas run the best one, chosen on these runs"
                    note += "" if lowered(runs, best)["seen"] else "; at none visible change of the entropy"
                values, verdict = (found["difference"], found["low"], found["high"]), PARITY[found["answer"]]
                rows.append(_row(world, claim, where, "", metric, values, verdict, found["seeds"], found["steps"], note))
    return rows


def write_ledger(rows: list[dict], path) -> None:
    """Put ``rows`` into a ledger in the place of chapter 04's; all other lines stay as they are."""
    from io import StringIO

    from .ledger import COLUMNS

    with open(path, newline="", encoding="utf-8") as stream:
        lines = stream.read().splitlines(keepends=True)
    kept = [line for line in lines if not line.rstrip().endswith(",04")]
    text = StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
    after = next((i for i, line in enumerate(kept) if i and line.rstrip()[-2:] > "04"), len(kept))
    write_atomic(path, "".join([*kept[:after], text.getvalue(), *kept[after:]]).encode())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the rows into datasets/reproductions.csv")
    options = parser.parse_args(argv)
    from . import braking_study  # which builds on this file

    rows = ledger_rows({world: committed(world) for world in WORLDS})
    for world in braking_study.WORLDS:
        rows += braking_study.ledger_row(braking_study.committed(world))
    for row in rows:
        print(f"{row['verdict']:14} {row['claim']}: {row['ours']} [{row['low']}, {row['high']}], published {row['published']}")
    if not rows:
        print("No runs are committed yet: python benchmarks/grid_study.py gather credit-lumberjacks")
    elif options.write:
        write_ledger(rows, dataset_folders()[0] / "reproductions.csv")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
