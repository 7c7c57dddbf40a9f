"""Chapter 05's experiments: a game in which fit and gain disagree, estimators whose mean is known, the committed runs.

    python -m marlcourse.course.mnmpg_study            # the ledger's rows that the committed runs give, and their verdicts
    python -m marlcourse.course.mnmpg_study --write    # ... put into datasets/reproductions.csv

The game. Two agents, two actions each, one step, the payoffs of ``PAYOFF`` (rows: agent 1). Both play action 0, which pays
0, and explored a little: D0 holds the four episodes of ``PLAYED``, and none of them shows what (1, 1) pays. A number z decides
who gets the credit in the practice (the library's exercise updates): agent 2 where z > 0, else both agents. Credit to both
fits D0 best, and leads to (1, 1). After the practice the team earns GAIN[z > 0] more, or less, than before.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import math
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from ..rollout import Context
from ..seeds import make_generator
from ..trainer import Callback
from .claims import judge
from .data import dataset_folders, datasets, load_dataset
from .exercises import write_atomic
from .ledger import COLUMNS

PAYOFF = torch.tensor([[0.0, 2.0], [1.0, -12.0]])
PLAYED = ((0, 0), (0, 0), (0, 1), (1, 0))
U1, U2 = torch.tensor(PLAYED).T  # the same as columns: what agent 1 and agent 2 did
CREDIT = ((1.0, 1.0), (0.0, 1.0))  # what z chooses from: both agents (z <= 0), agent 2 alone (z > 0)
GAIN = (-12.0, 2.0)  # R1 - R0 after practice with one of these credits
UPDATES = 5  # TD updates of one practice in the game: as many as it takes until the greedy team is the last one
READINGS = ("literal", "redrawn", "stored")


# ---- the game in which fit and gain disagree ----


def td_update(q: Tensor, credit, lr: float = 0.3) -> tuple[Tensor, float]:
    """One TD update on ``PLAYED`` with Q_tot = sum_i credit_i Q_i(u_i): utilities [2,2] (agent, action) before -> those after
    it, and the mean squared TD error before it (an episode is one step: the target is the reward)."""
    error = credit[0] * q[0, U1] + credit[1] * q[1, U2] - PAYOFF[U1, U2]
    slope = torch.zeros(2, 2)  # of the mean square, written out: autograd would take most of the loop's time
    for i, played in enumerate((U1, U2)):
        slope[i].index_add_(0, played, 2 / len(PLAYED) * credit[i] * error)
    return q - lr * slope, float((error**2).mean())


def practised(credit, updates: int = 300, lr: float = 0.3) -> tuple[Tensor, float]:
    """Utilities [2,2] (agent, action) after so many TD updates on ``PLAYED``, from 0, and the mean squared TD error left."""
    q = torch.zeros(2, 2)
    for _ in range(updates):
        q, _ = td_update(q, credit, lr)
    return q, td_update(q, credit, lr)[1]


def greedy_return(q: Tensor, payoff: Tensor | None = None) -> float:
    """What the team earns when each agent plays its largest utility (an agent without a preference keeps action 0), in the
    table ``PAYOFF`` or in another one."""
    u1, u2 = q.argmax(-1).tolist()
    return float((PAYOFF if payoff is None else payoff)[u1, u2])


def payoffs_with(unseen: float) -> Tensor:
    """``PAYOFF`` with another number at (1, 1), the one joint action that D0 does not hold."""
    table = PAYOFF.clone()
    table[1, 1] = unseen
    return table


def gain(z: Tensor) -> Tensor:
    """R1 - R0 of the game for each z: [...] -> [...]."""
    return torch.where(z > 0, GAIN[1], GAIN[0])


def expected_gain(m: float | Tensor, std: float = 1.0) -> Tensor:
    """E[R1 - R0] for z ~ N(m, std^2), in closed form: [...] -> [...], from -12 (always both) to 2 (always agent 2)."""
    above = torch.special.ndtr(torch.as_tensor(m, dtype=torch.float64) / std)
    return GAIN[1] * above + GAIN[0] * (1 - above)


def true_slope(m: float, std: float = 1.0) -> float:
    """d E[R1 - R0] / dm, in closed form: (2 + 12) times the density of z at 0."""
    return (GAIN[1] - GAIN[0]) * math.exp(-0.5 * (m / std) ** 2) / (std * math.sqrt(2 * math.pi))


class CreditGame:
    """The game as the four tools of a meta round: ``draw() -> z`` from N(m, 1); ``practise(z)``, UPDATES TD updates on D0 with
    the credit that z chooses; ``play()``, what the greedy team earns; ``score(z)``, d log p(z) / dm. ``begin()`` forgets all
    that was learned (a round starts from the same team, with all utilities at 0) and keeps m."""

    def __init__(self, seed: int = 0, m: float = 0.0):
        self.generator, self.m = make_generator("cpu", seed, "credit game"), m
        self.tools = self.draw, self.practise, self.play, self.score
        self.begin()

    def begin(self) -> None:
        self.q = torch.zeros(2, 2)

    def draw(self) -> float:
        return self.m + float(torch.randn((), generator=self.generator))

    def practise(self, z: float) -> None:
        for _ in range(UPDATES):
            self.q, _ = td_update(self.q, CREDIT[z > 0])

    def play(self) -> float:
        return greedy_return(self.q)

    def score(self, z: float) -> float:
        return z - self.m


def train_m(one_round, rounds: int = 150, lr: float = 0.01, updates: int = 1, seed: int = 0) -> Tensor:
    """The whole loop in the game: z -> practice -> R1 -> meta step of m, from m = 0. ``one_round(draw, practise, play, score,
    updates)`` returns (R1 - R0) x score. Returns m before each round and after the last, [rounds + 1]."""
    game, track = CreditGame(seed), [0.0]
    for _ in range(rounds):
        game.begin()
        game.m += lr * float(one_round(*game.tools, updates))
        track.append(game.m)
    return torch.tensor(track)


def estimates(
    reading: str,
    draws: int = 1,
    repeats: int = 10_000,
    m: float = 0.0,
    noise: float = 0.0,
    baseline: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """``repeats`` independent estimates [repeats] of the slope at m (std 1), each the mean over ``draws`` meta rounds.

    A round gives R1 - R0, with ``noise`` (a standard deviation) on it, less ``baseline``, times a score:

        stored    (z - m): of the z that the practice used
        redrawn   (z' - m): of another z'
        literal   d log pi(a) / dm = 0: the actions of D0 were chosen before z was drawn

    Raises ValueError for another reading.
    """
    if reading not in READINGS:
        raise ValueError(f"reading={reading!r} is unknown: use {', '.join(map(repr, READINGS))}.")
    generator = make_generator("cpu", seed, "estimates")
    z, other, wobble = torch.randn(3, repeats, draws, generator=generator)
    r = gain(m + z) + noise * wobble - baseline
    score = {"stored": z, "redrawn": other, "literal": torch.zeros_like(z)}[reading]
    return (r * score).mean(1)


def mean_and_error(x: Tensor) -> tuple[float, float]:
    """Mean and its standard error over the first axis (nan where there is one number only)."""
    return float(x.mean(0)), float(x.std(0) / len(x) ** 0.5) if len(x) > 1 else math.nan


# ---- what a step moves ----


def parts(team) -> dict[str, Tensor]:
    """{"theta", "phi", "zeta"} of an MNMPG team: all numbers of each, copied into one vector."""
    groups = {"theta": [team.mixer.encoder], "phi": [team.agent], "zeta": [team.mixer.decoder, team.mixer.mixer]}
    return {k: torch.cat([p.detach().flatten() for m in some for p in m.parameters()]) for k, some in groups.items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """The names of the parts that are no longer bit for bit what they were, sorted."""
    return sorted(k for k in before if not torch.equal(before[k], after[k]))


class MetaLog(Callback):
    """Keeps R1 - R0 of every meta round of a run: ``Trainer(..., callbacks=[log])``, then ``log.improvement``, a list."""

    def __init__(self):
        self.improvement: list[float] = []

    def on_iterate(self, trainer, metrics) -> None:
        self.improvement.append(float(metrics["improvement"]))


def share_of_state(encoder, states: Tensor) -> float:
    """Of the variance of z over some steps, states [T,S]: the part that the state explains, the rest is drawn."""
    with torch.no_grad():
        mean, std = encoder(states)
    moved, drawn = float(mean.var(0).sum()), float((std**2).mean(0).sum())
    return moved / (moved + drawn)


def reach_of_z(team, world, d0, draws: int = 2, seed: int = 0) -> dict[str, list[float]]:
    """How far z reaches: copies of the MNMPG team practise on D0, each with a draw of z of its own. The shares of greedy
    actions on D0's real steps that differ, a list each: {"same z": between two copies with the same draw (the null: 0 unless
    something else than z differs), "another z": between the first draw and each other one, "after practice, against before":
    between the team after practice with each draw and the team as it is}. Nothing of the team or the world changes."""

    def greedy(one) -> Tensor:
        with torch.no_grad():
            return one.utilities(one.agent, d0)[:, :-1].argmax(-1)[d0.mask > 0]  # [real steps, N]

    def practised_with(seed: int) -> Tensor:
        twin = copy.deepcopy(team)
        ctx, batch = Context(world.fresh(), twin, 0), twin.with_z(d0, torch.Generator().manual_seed(seed))
        for _ in range(twin.config.exercise_updates):
            ctx.step("main", twin.exercise_loss, batch)
        return greedy(twin)

    def differ(one: Tensor, other: Tensor) -> float:
        return float((one != other).float().mean())

    first, before = practised_with(1000 * seed), greedy(team)
    others = [practised_with(1000 * seed + k) for k in range(1, draws)]
    return {
        "same z": [differ(first, practised_with(1000 * seed))],
        "another z": [differ(first, other) for other in others],
        "after practice, against before": [differ(after, before) for after in (first, *others)],
    }


def cycle_steps(interval: int, worlds: int = 8, length: int = 100) -> int:
    """Environment steps from one meta round to the next, in ``worlds`` worlds with episodes of ``length`` steps: D0, D1, and
    ordinary rounds of one episode per world until ``interval`` steps have passed."""
    one = worlds * length
    return 2 * one + math.ceil(interval / one) * one


# ---- the committed learning curves ----

SEEDS_PLANNED = 5  # a verdict from fewer is called provisional
PLANNED = 100_000  # environment steps of MNMPG and of the learners of claim 5.C
REDUCED = 40_000  # ... of the six ablations, reduced; the files say what was run
LAST = 0.2  # the part of a run, counted from its end, over which returns are averaged
BASE = "MNMPG"
ABLATIONS = {  # Shao et al. 2021, Figure 5: the learners of one panel, the full method first
    "parts": ("MNMPG", "QMIX_large", "MNMPG no-grad", "MNMPG no-s"),
    "meta interval (environment steps)": ("MNMPG", "MNMPG interval=1000", "MNMPG interval=2000"),
    "size K of z": ("MNMPG", "MNMPG K=1", "MNMPG K=10"),
}
AGAINST = {  # claim -> the learners that MNMPG is held against
    "5.C": ("QMIX", "QMIX_large"),
    "5.D": tuple(name for names in ABLATIONS.values() for name in names[1:] if " " in name),
}
LEARNERS = {BASE, *AGAINST["5.C"], *AGAINST["5.D"]}
FILE = "grid_mnmpg_lumberjacks.csv"
MISSING = f"Not measured yet; the chapter claims nothing here. (The runs belong in datasets/{FILE}, two seeds or more.)"


def committed_runs():
    """All evaluations of MNMPG's study with QMIX's on the same world beside them, as a DataFrame; None while there is no
    file, a learner is missing, or there are not two seeds that all have. Rows: algorithm, seed, env_steps, return_mean; the
    seeds are those that every learner has. Runs may differ in length: a comparison cuts its two learners to the shorter."""
    import pandas as pd

    known = datasets()
    if FILE not in known:
        return None
    parts = [load_dataset(FILE)]
    if "grid_lumberjacks.csv" in known:
        table = load_dataset("grid_lumberjacks.csv")
        parts.append(table[table["algorithm"] == "QMIX"])
    found = pd.concat(parts)[["algorithm", "seed", "env_steps", "return_mean"]]
    if not LEARNERS <= set(found["algorithm"]):
        return None
    found = same_seeds(found)
    return found if found["seed"].nunique() > 1 else None  # one seed has no interval


def same_seeds(frame):
    """The rows of those seeds that all learners have finished: equal numbers, or the comparison is none."""
    shared = set.intersection(*(set(rows["seed"]) for _, rows in frame.groupby("algorithm")))
    return frame[frame["seed"].isin(shared)].reset_index(drop=True)


def same_steps(frame, *names: str):
    """The rows of the learners ``names`` up to the end of their shortest run: a longer run, cut there, is the run that would
    have ended there, since no schedule of these learners knows how long a run will be."""
    frame = frame[frame["algorithm"].isin(names)]
    end = frame.groupby(["algorithm", "seed"])["env_steps"].max().min()
    return frame[frame["env_steps"] <= end].reset_index(drop=True)


def steps_of(frame, *names: str) -> int:
    """Environment steps, in whole thousands, that all seeds of these learners have."""
    return int(same_steps(frame, *names)["env_steps"].max()) // 1000 * 1000


def runs(frame, names=None) -> dict[str, list]:
    """{algorithm: [run, ...]} as :func:`marlcourse.plot_runs` takes them, of the algorithms in ``names`` that are there."""
    there = list(dict.fromkeys(frame["algorithm"]))
    chosen = [n for n in (there if names is None else names) if n in there]
    return {
        name: [
            SimpleNamespace(history=rows.to_dict("records"), env="lumberjacks", seed=seed)
            for seed, rows in frame[frame["algorithm"] == name].groupby("seed")
        ]
        for name in chosen
    }


def final_returns(frame, name: str) -> np.ndarray:
    """One number per seed: the mean greedy return over the last fifth of the run."""
    rows = frame[(frame["algorithm"] == name) & (frame["env_steps"] >= (1 - LAST) * frame["env_steps"].max())]
    return rows.groupby("seed")["return_mean"].mean().to_numpy()


def untrained_return(frame) -> float:
    """The null: mean greedy return of all teams before any training."""
    return float(frame[frame["env_steps"] == 0]["return_mean"].mean())


def student95(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by summing its density."""
    x = np.linspace(0, 400, 400_001)
    density = (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    share = np.cumsum(density) / density.sum()
    return float(x[np.searchsorted(share, 0.95)])


def difference(frame, a: str, b: str) -> tuple[float, float, float]:
    """Final return of ``a`` less that of ``b``, at the steps that both have: mean, and a 95 % interval over seeds (two
    samples, pooled variance).

    Raises ValueError for a learner with fewer than two seeds."""
    frame = same_steps(frame, a, b)
    x, y = final_returns(frame, a), final_returns(frame, b)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"An interval over seeds needs at least 2 of each, not {len(x)} of {a} and {len(y)} of {b}.")
    freedom = len(x) + len(y) - 2
    pooled = (((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum()) / freedom
    half = student95(freedom) * (pooled * (1 / len(x) + 1 / len(y))) ** 0.5
    middle = float(x.mean() - y.mean())
    return middle, middle - half, middle + half


def verdicts(frame) -> dict[str, str] | None:
    """The verdicts on claims 5.C (MNMPG above QMIX and above QMIX_large) and 5.D (above all six ablations) by :func:`judge`;
    None while a learner is missing. Each is confirmed where all its parts are, refuted where one is, else no difference."""
    if frame is None or not LEARNERS <= set(frame["algorithm"]):
        return None
    found = {}
    for claim, others in AGAINST.items():
        words = {judge(*difference(frame, BASE, other)[1:]) for other in others}
        found[claim] = "refuted" if "refuted" in words else "confirmed" if words == {"confirmed"} else "no difference"
    return found


SAID = {"confirmed": "MNMPG ends higher", "refuted": "MNMPG ends lower", "no difference": "no difference shown"}


def what_the_runs_say(frame) -> str:
    """Some lines about the committed runs, read off them: how long and how many, each difference with its interval and its
    word, the null, and what follows for the meta step; one sentence while there are none."""
    if (said := verdicts(frame)) is None:
        return MISSING
    seeds, null = frame["seed"].nunique(), untrained_return(frame)
    words, lines = {}, []
    for other in (name for names in AGAINST.values() for name in names):
        middle, low, high = difference(frame, BASE, other)
        words[other] = judge(low, high)
        at = f"{steps_of(frame, BASE, other):,} steps"
        lines.append(f"  {BASE} less {other + ':':20} {middle:+7.1f} [{low:+7.1f}, {high:+7.1f}]  {at}: {SAID[words[other]]}")
    three = (BASE, *AGAINST["5.C"])
    same = same_steps(frame, *three)
    levels = {name: final_returns(same, name).mean() for name in three}
    level = ", ".join(f"{name} {value:.1f}" for name, value in levels.items())
    meta = {
        "confirmed": "the meta step helped here, since nothing else differs between the two",
        "refuted": "the meta step harmed here, since nothing else differs between the two",
        "no difference": "whatever MNMPG gains or loses against QMIX, these runs do not show that the meta step did it",
    }[words["QMIX_large"]]
    few = f" (provisional: {seeds} of {SEEDS_PLANNED} planned seeds)" if seeds < SEEDS_PLANNED else ""
    shown = [name for name in AGAINST["5.D"] if words[name] != "no difference"]
    parts = f"a difference is shown for {', '.join(shown)}" if shown else "for none of the six is a difference shown"
    least = min(steps_of(frame, BASE, name) for name in AGAINST["5.D"])
    early = [f"  At {least:,} of {PLANNED:,} planned steps no run is at its end: this compares early speed."] * (
        least < PLANNED
    )
    return "\n".join(
        [
            f"{seeds} seeds. Mean greedy return over the last fifth of what both have run, 95 % intervals over seeds:",
            *lines,
            f"Levels at {steps_of(frame, *three):,} steps, all three cut to one length: {level}; untrained teams {null:.1f}.",
            f"5.C {said['5.C']}{few}. MNMPG against QMIX_large, its own networks with a meta step size of 0:",
            f"  {meta}.",
            f"5.D {said['5.D']}{few}. Of the paper's ablations {parts}.",
            *early,
            "An interval that holds 0 is no proof that two learners are equal: with this few seeds it is wide.",
        ]
    )


# ---- the ledger ----

CLAIMS = (  # what the paper finds on SMAC's maps, tried on lumberjacks: (claim, where, the better, the worse)
    ("MNMPG does better than QMIX", "section 4.1, Fig. 2", "MNMPG", "QMIX"),
    ("MNMPG does better than QMIX_large, its networks without the meta step", "section 4.4, Fig. 5a", "MNMPG", "QMIX_large"),
    ("keeping the TD gradient from the encoder makes MNMPG worse", "section 4.4, Fig. 5b", "MNMPG", "MNMPG no-grad"),
    ("keeping the state from the mixer makes MNMPG worse", "section 4.4, Fig. 5b", "MNMPG", "MNMPG no-s"),
    ("K = 3 is better than K = 1", "section 4.4, Fig. 5c", "MNMPG", "MNMPG K=1"),
    ("K = 3 is better than K = 10", "section 4.4, Fig. 5c", "MNMPG", "MNMPG K=10"),
    ("a meta interval of 500 steps is better than 1000", "section 4.4, Fig. 5c", "MNMPG", "MNMPG interval=1000"),
    ("a meta interval of 500 steps is better than 2000", "section 4.4, Fig. 5c", "MNMPG", "MNMPG interval=2000"),
)


def ledger_rows(frame) -> list[dict]:
    """One row of the reproduction ledger for each of ``CLAIMS`` whose two learners are in the frame (None: no row)."""
    rows = []
    for claim, where, better, worse in CLAIMS:
        if frame is None or not {better, worse} <= set(frame["algorithm"]):
            continue
        middle, low, high = difference(frame, better, worse)
        steps = steps_of(frame, better, worse)
        reduced, asked = (" ('reduced')", REDUCED) if steps < PLANNED else ("", PLANNED)
        early = f" of the first {steps:,} steps" if reduced else ""
        shown = "" if low > 0 or high < 0 else "none shown, early speed: " if reduced else "none shown: "
        rows.append(
            {
                "claim": f"On lumberjacks (in the paper: SMAC) {claim}",
                "paper": "Shao et al. 2021 (MNMPG)",
                "where": where,
                "published": "",
                "ran": f"Lumberjacks instead of StarCraft II, {steps:,} environment steps{reduced}, one update per episode",
                "seeds": frame["seed"].nunique(),
                "metric": f"{shown}{better} minus {worse}, greedy return, last fifth{early}; Student's t",
                "ours": round(middle, 2),
                "low": round(low, 2),
                "high": round(high, 2),
                "verdict": "reproduced" if judge(low, high) == "confirmed" else "not reproduced",
                "command": f"python benchmarks/grid_study.py run mnmpg-lumberjacks --steps {asked}",
                "chapter": "05",
            }
        )
    return rows


def write_ledger(rows: list[dict], path) -> None:
    """Put ``rows`` behind the last row of chapter 05, in the place of rows with the same claims; the rest stays as it is."""
    claims = {row["claim"] for row in rows}
    with open(path, newline="", encoding="utf-8") as stream:
        lines = [line for line in stream.read().splitlines(keepends=True) if next(csv.reader([line]))[0] not in claims]
    last = max((i for i, line in enumerate(lines) if line.rstrip().endswith(",05")), default=len(lines) - 1)
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
    write_atomic(path, "".join([*lines[: last + 1], text.getvalue(), *lines[last + 1 :]]).encode())


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the rows into datasets/reproductions.csv")
    options, rows = parser.parse_args(argv), ledger_rows(committed_runs())
    for row in rows:
        print(f"{row['verdict']:14} {row['claim']}: {row['ours']} [{row['low']}, {row['high']}], {row['seeds']} seeds")
    if not rows:
        print(MISSING)
    elif options.write:
        write_ledger(rows, dataset_folders()[0] / "reproductions.csv")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
