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
import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
from .claims import ClaimCard, ClaimChanged
from .data import dataset_folders, load_dataset
from .exercises import write_atomic

WORLDS = {"lumberjacks": ("lumberjacks", 2), "junction": ("traffic-junction-10", 10)}  # our word -> (world, agents)
TITLES = {"lumberjacks": "Lumberjacks, 2 agents", "junction": "TrafficJunction10, 10 agents"}
PAPER = {  # Zhao et al. 2022 (arXiv:2202.04427), Table 2: percentiles 5, 25, 50, 75, 95 over QMIX's whole training
    "lumberjacks": (0.972, 0.992, 0.997, 0.999, 1.000),
    "junction": (0.931, 0.961, 0.975, 0.985, 0.993),
}
NAMES = {"lumberjacks": "Lumberjacks", "junction": "TrafficJunction10", "described": "TrafficJunction10 as described"}
IDLE = {"lumberjacks": ("always stay", 0), "junction": ("always brake", 1)}  # the laziest play: name, action
LEARNERS = ("QMIX", "QMIX-simple", "QMIX-GRE 0.001", "QMIX-GRE 0.0005", "QMIX-GRE 0.0001")
LAST = 0.2  # the part of a run, counted from its end, over which returns are averaged
NEAR = 0.05  # entropies whose CVs (implied_cv) differ by no more, 5 % of the mean credit, count as the same
SHARE = 0.1  # of QMIX's gain over its untrained self: returns that differ by no more count as comparable
FULL = (5, 200_000)  # seeds and environment steps of a whole study; a learner with less is "reduced"
FEWEST = 3  # with fewer seeds an interval over seeds says nothing
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


def untrained_team_credit(world: str, teams: int = 20, episodes: int = 1, layers: int = 2, progress: bool = False) -> Tensor:
    """The same of whole teams before any training, in a world of ``WORLDS``, playing at random: [M,N].

    Stopped, it returns the teams it has.
    """
    found = []
    for seed in stoppable(range(teams), f"untrained teams, {NAMES[world]}", progress):
        env = make(WORLDS[world][0], num_envs=episodes, device="cpu", seed=seed, faithful=True)
        team = QMIX(env.spec, QMIX.Config(hypernet_layers=layers), seed=seed, device="cpu")
        found.append(team_credit(team, Collector(env, team, seed).collect()))  # at step 0 epsilon is 1
    return torch.cat(found)


@lru_cache
def idle_return(world: str, episodes: int = 8) -> float:
    """The mean return of a team that plays the one action of ``IDLE`` all the time: the null model of a return."""
    env = make(WORLDS[world][0], num_envs=episodes, device="cpu", seed=0, faithful=True)
    env.reset(seed=0)
    actions = torch.full((episodes, env.spec.n_agents), IDLE[world][1])
    return float(sum(env.step(actions).reward for _ in range(env.spec.episode_limit)).mean())


def entropy_percentiles(g: Tensor) -> np.ndarray:
    """Percentiles 5, 25, 50, 75, 95 of the normalised entropy of credit g [M,N]: [5]."""
    return np.array(percentiles(normalised_entropy(g)))


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


def weights(team: Algorithm) -> list[Tensor]:
    """The trained numbers of agents and mixer, in order: two teams with equal lists are the same team."""
    return [p.detach() for p in [*team.agent.parameters(), *team.mixer.parameters()]]


# ---- the committed runs ----


def implied_cv(entropy, n_agents: int) -> np.ndarray:
    """The coefficient of variation of credit that a normalised entropy stands for: sqrt(2 ln N (1 - H)), near H = 1."""
    return np.sqrt(2 * np.log(n_agents) * np.clip(1 - np.asarray(entropy, dtype=float), 0, None))


@dataclass
class Runs:
    """The committed runs of one world. ``history``: a DataFrame with one row per evaluation; ``pooled``: one row per run with
    the percentiles p5 .. p95 of the entropy over all steps that were logged. Both empty while nothing is committed."""

    world: str
    history: Any
    pooled: Any

    def of(self, learner: str):
        """The evaluations of one learner."""
        return self.history[self.history["algorithm"] == learner]

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
        import pandas as pd

        until = self.steps(learner) if until is None else until
        kept = []
        for _, run in self.of(learner).groupby("seed"):
            run = run[run["env_steps"] <= max(1.02 * until, run["env_steps"].min())].sort_values("env_steps")
            last = run[run["env_steps"] > (1 - LAST) * until]
            kept.append(last if len(last) else run.tail(1))
        return pd.concat(kept)

    def returns(self, learner: str, until: float | None = None) -> np.ndarray:
        """For each seed, the mean greedy return over :meth:`late` evaluations: [seeds]."""
        return self.late(learner, until).groupby("seed")["return_mean"].mean().to_numpy()

    def untrained_return(self, learner: str = "QMIX") -> float:
        one = self.of(learner)
        return float(one[one["env_steps"] == 0]["return_mean"].mean())

    def medians(self, learner: str = "QMIX") -> tuple[np.ndarray, np.ndarray]:
        """For each seed, the median entropy before any training and over training: [seeds], [seeds]."""
        one = self.of(learner)
        first = one[one["env_steps"] == 0].groupby("seed")["entropy_p50"].mean()
        pooled = self.pooled[self.pooled["algorithm"] == learner].set_index("seed")["p50"]
        return first.to_numpy(dtype=float), pooled.loc[first.index].to_numpy(dtype=float)

    def reduced(self, learner: str) -> bool:
        """Whether a learner has fewer seeds or steps than the study was planned with."""
        return self.seeds(learner) < FULL[0] or self.steps(learner) < 0.99 * FULL[1]

    def budget(self, *learners: str) -> str:
        """Seeds and environment steps, in words, as the file has them."""
        words = []
        for name in learners or LEARNERS:
            if self.has(name):
                short = " (reduced)" if self.reduced(name) else ""
                words.append(f"{name}: {seeds_in_words(self.seeds(name))} x {self.steps(name):,} steps{short}")
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
    """What is committed: a DataFrame with seeds, steps, the return before training and at the end (its range over seeds)."""
    import pandas as pd

    rows = []
    for world, runs in studies.items():
        for name in runs.learners:
            end = runs.returns(name)
            figures = [runs.untrained_return(name), end.mean(), end.min(), end.max()]
            rows.append([NAMES[world], name, runs.seeds(name), runs.steps(name), *(round(v, 1) for v in figures)])
    columns = ["world", "learner", "seeds", "steps", "untrained", "return", "worst seed", "best seed"]
    return pd.DataFrame(rows, columns=columns)


def interval(a: np.ndarray, b: np.ndarray, draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a minus mean of b, and the 95 % bootstrap interval over seeds: (difference, low, high)."""
    rng = np.random.default_rng(seed)
    means = [x[rng.integers(len(x), size=(draws, len(x)))].mean(1) for x in (np.asarray(a), np.asarray(b))]
    low, high = np.percentile(means[0] - means[1], [2.5, 97.5])
    return float(np.mean(a) - np.mean(b)), float(low), float(high)


def _same(differences: np.ndarray, seeds: int) -> dict:
    """Are differences of CV [seeds, K] nought, to within NEAR? difference, low, high: [K] each; answer; why (undecided)."""
    mean, low, high = np.array([interval(x, np.zeros(1)) for x in differences.T]).T
    found = {"difference": mean, "low": low, "high": high, "seeds": seeds, "why": ""}
    if seeds < FEWEST:
        return found | {"answer": UNDECIDED, "why": f"{seeds_in_words(seeds)}: no interval over so few"}
    if ((low > NEAR) | (high < -NEAR)).any():
        return found | {"answer": "refuted"}
    if ((low >= -NEAR) & (high <= NEAR)).all():
        return found | {"answer": "confirmed"}
    return found | {"answer": UNDECIDED, "why": "the interval over seeds holds the margin"}


def near_paper(runs: Runs) -> dict | None:
    """Claim C: QMIX's percentiles over training against the paper's, as CVs (ours minus the paper's). None without runs.

    difference, low, high (95 %, bootstrap over seeds), [5] each; answer: "confirmed" where all five intervals lie within
    the margin ``NEAR``, "refuted" where one lies outside, else "not decided", with ``why``; seeds.
    """
    if not runs.has("QMIX"):
        return None
    n = WORLDS[runs.world][1]
    return _same(implied_cv(runs.percentiles(), n) - implied_cv(PAPER[runs.world], n), runs.seeds("QMIX"))


def unmoved(runs: Runs) -> dict | None:
    """Claim D: QMIX's median over training against the same team's before training, as CVs; otherwise as :func:`near_paper`."""
    if not runs.has("QMIX"):
        return None
    first, over = (implied_cv(x, WORLDS[runs.world][1]) for x in runs.medians())
    return _same((over - first)[:, None], runs.seeds("QMIX"))


def against_qmix(runs: Runs, learner: str | None) -> dict | None:
    """A learner's return at the end minus QMIX's, at the same number of steps; None without runs of both.

    difference, low, high (95 %, bootstrap over seeds); margin: a tenth of QMIX's gain over its untrained self; seeds; steps;
    learner; answer: "confirmed" (comparable: low >= -margin), "refuted" (worse: high < -margin) or "not decided", with
    ``why``: the interval holds the margin, too few seeds, or a QMIX that gained nothing that could be lost.
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
        return found | {"answer": UNDECIDED, "why": f"{seeds_in_words(found['seeds'])}: no interval over so few"}
    if interval(b, np.array([runs.untrained_return()]))[1] <= 0:
        return found | {"answer": UNDECIDED, "why": "QMIX itself gained nothing there that could be lost"}
    if low >= -found["margin"] or high < -found["margin"]:
        return found | {"answer": "confirmed" if low >= -found["margin"] else "refuted"}
    return found | {"answer": UNDECIDED, "why": "the interval over seeds holds the margin"}


def seeds_in_words(n: int) -> str:
    return f"{n} seed" + "s" * (n != 1)


def best_weight(runs: Runs) -> str | None:
    """The QMIX-GRE with the highest return at the end, as the paper chooses lambda; None without runs."""
    known = [name for name in runs.learners if name.startswith("QMIX-GRE")]
    steps = min((runs.steps(name) for name in known), default=0)
    return max(known, key=lambda name: runs.returns(name, steps).mean()) if known else None


# ---- what the runs say, in words ----


def settle(claim: ClaimCard, found: Mapping[str, dict | None]) -> None:
    """Print a claim's verdict for each world: confirmed, refuted, not decided (and why), or that nothing was measured yet.

    ``found``: {world: what near_paper, unmoved or against_qmix gave}. Where ``EXPECTED`` has "<id> <world>", another answer
    raises ClaimChanged in strict mode.
    """
    print(f"Claim {claim.id}: {claim.hypothesis}")
    for world, one in found.items():
        answer = one["answer"] if one else UNMEASURED
        print(f"  {NAMES[world]}: {answer}" + (f" ({one['why']})" if one and one["why"] else ""))
        expected = EXPECTED.get(f"{claim.id} {world}", answer)
        if strict() and answer != expected:
            raise ClaimChanged(f"Claim {claim.id}, {NAMES[world]}: the text says {expected}, the evidence says {answer}.")


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
        n, moved = WORLDS[world][1], unmoved(runs)
        first, over = (x.mean() for x in runs.medians())
        figures = [f"{h:.3f} (CV about {implied_cv(h, n):.2f})" for h in (over, PAPER[world][2], first)]
        said.append(
            f"{runs.budget('QMIX')}. The median entropy over training is {figures[0]}, the paper's {figures[1]}, that of the "
            f"same teams before training {figures[2]}."
        )
        k = int(abs(near["difference"]).argmax())
        far = f"furthest from the paper at the {PERCENTILES[k]}th percentile, by {near['difference'][k]:+.2f} of CV"
        said.append(
            {
                "confirmed": f"C: the paper's table comes out again ({far}).",
                "refuted": f"C: this is not the paper's table ({far}; the margin is {NEAR:g}): here QMIX's credit is "
                + ("less" if near["difference"][k] > 0 else "more")
                + " equal than the paper's at that percentile.",
                UNDECIDED: f"C: not decided, since {near['why']} ({far}).",
            }[near["answer"]]
        )
        shift = float(moved["difference"][0])
        said.append(
            {
                "confirmed": f"D: training left the median where it began ({shift:+.2f} of CV): a median near 1 is the "
                "start's here, not training's.",
                "refuted": f"D: the median is not where it began ({shift:+.2f} of CV): over training the slopes were "
                + ("less" if shift > 0 else "more")
                + " equal than before it. Whether that is another credit or another unit, the next section asks.",
                UNDECIDED: f"D: not decided, since {moved['why']} ({shift:+.2f} of CV).",
            }[moved["answer"]]
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
        what = "to forbid" if learner == "QMIX-simple" else "to punish"
        target = "unequal" if learner == "QMIX-simple" else "equal"
        said.append(
            {
                "confirmed": f"Comparable: {what} {target} credit cost no more than a tenth of QMIX's gain, in this world, at "
                "this budget." + ("" if own > idle else " But idle play does better than either: little was learned."),
                "refuted": f"Worse: {what} {target} credit cost more than a tenth of QMIX's gain (here, at this budget).",
                UNDECIDED: f"Not decided, since {found['why']}.",
            }[found["answer"]]
        )
        if learner != "QMIX-simple":
            ends = [runs.late(one, found["steps"])["entropy_p50"].mean() for one in (learner, "QMIX")]
            said.append(f"Median entropy over the same evaluations: {learner} {ends[0]:.3f}, QMIX {ends[1]:.3f}.")
    return said


def findings(studies: Mapping[str, Runs], at_junction: Mapping[str, dict | None] | None = None) -> Said:
    """The verdicts of claims C, D, F and G, a line each, for the chapter's summary; then those about the junction alone."""
    asked = {
        "C, the paper's percentiles come out again": near_paper,
        "D, training leaves the median where it began": unmoved,
        "F, QMIX-simple ends comparably to QMIX": lambda runs: against_qmix(runs, "QMIX-simple"),
        "G, QMIX-GRE ends comparably to QMIX": lambda runs: against_qmix(runs, best_weight(runs)),
    }
    said = Said()
    said.title, said.folded = "What the long runs say so far", False
    for claim, ask in asked.items():
        found = {NAMES[world]: ask(runs) for world, runs in studies.items()}
        answers = [f"{name}: {one['answer'] if one else UNMEASURED}" for name, one in found.items()]
        said.append(f"{claim}. " + (". ".join(answers) if any(found.values()) else f"Both worlds: {UNMEASURED}") + ".")
    for claim, one in (at_junction or {}).items():
        said.append(f"{claim}. {NAMES['junction']}: {one['answer'] if one else UNMEASURED}.")
    return said


# ---- the ledger ----


def _row(world, claim, where, published, metric, values, verdict, seeds, steps, note="") -> dict:
    ours, low, high = (f"{v:.4g}" for v in values)
    ran = f"{WORLDS[world][0]}, faithful to ma-gym 0.0.14, {steps:,} environment steps, PyMARL's settings with 8 worlds{note}"
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

    A percentile is reproduced where its CV (:func:`implied_cv`) lies within .05 of the paper's, partly within .15; a return
    as :func:`against_qmix` judges it, partly where the interval holds the margin; fewer than 3 seeds, or a QMIX that gained
    nothing, give no row. The interval of a percentile spans the seeds; that of a difference is the 95 % bootstrap interval.
    """
    rows = []
    for world, runs in studies.items():
        for k in (0, 2) if runs.has("QMIX") and runs.seeds("QMIX") >= FEWEST else ():
            seeds, published = runs.percentiles()[:, k], PAPER[world][k]
            n = WORLDS[world][1]
            far = abs(implied_cv(seeds, n).mean() - implied_cv(published, n))
            verdict = "reproduced" if far <= NEAR else "partly" if far <= 3 * NEAR else "not reproduced"
            claim = f"{PERCENTILES[k]}th percentile of the entropy of QMIX's credit over training, {NAMES[world]}"
            metric = "normalised entropy, all logged steps of a run; mean and range over seeds"
            values = (seeds.mean(), seeds.min(), seeds.max())
            rows.append(_row(world, claim, "Table 2", published, metric, values, verdict, len(seeds), runs.steps("QMIX")))
        best = best_weight(runs)
        for learner, claim, where in (
            ("QMIX-simple", f"QMIX-simple does as well as QMIX on {NAMES[world]}", "Section 5.2, Fig. 4"),
            (best, f"QMIX-GRE does comparably to QMIX on {NAMES[world]}", "Section 5.3, Fig. 5"),
        ):
            found = against_qmix(runs, learner)
            if found and (found["answer"] != UNDECIDED or "margin" in found["why"]):
                undecided = "; the interval holds it" if found["why"] else ""
                metric = f"{learner} minus QMIX: greedy return over the last fifth (margin {found['margin']:.3g}{undecided})"
                note = "; of the lambdas run the best one, chosen on these runs" if learner == best else ""
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
