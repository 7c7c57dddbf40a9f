"""Chapter 06, evidence: the interquartile mean, the seed as the unit, the bootstrap, the probability of improvement, an
evaluation script, a claim card."""

from __future__ import annotations

import warnings
from itertools import product
from numbers import Real

import numpy as np
import scipy
import torch

from marlcourse.course import evidence_study as study
from marlcourse.course.exercises import exercise, expect, mine_or_reference, require
from marlcourse.course.quiz import Question, Quiz

__all__ = ["FOUND", "QUIZ", "mine_or_reference"]

FOUND = {"6.A": "no difference", "6.B": "refuted"}  # the verdicts that the text of the chapter builds on


def meant(got, known, otherwise):
    """The hint of the known wrong answer [(number or list, hint), ...] that `got` is, else `otherwise`."""
    for wrong, hint in known:
        try:
            if np.shape(got) == np.shape(wrong) and np.allclose(np.asarray(got, float), np.asarray(wrong, float), atol=1e-6):
                return hint
        except (TypeError, ValueError):
            break
    return otherwise


def pair(got):
    """Two numbers in a tuple, a list, an array or a tensor -> (float, float); anything else as it is."""
    if isinstance(got, (tuple, list, np.ndarray, torch.Tensor)) and len(np.shape(got)) == 1 and len(got) == 2:
        try:
            return tuple(float(v) for v in got)
        except (TypeError, ValueError):  # words, say: `expect` tells what came
            return got
    return got


def drawn(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.double).numpy()


# ------------------------------------------------------------------------------------------------ 6.1


def iqm(x):
    """x [n], one score a seed -> the mean of its middle half"""
    return study.iqm(x)


@exercise(
    "6.1",
    title="the interquartile mean",
    reference=iqm,
    hints=[
        "Sort. How many scores are a quarter of n, rounded down to a whole number?",
        "Set that many aside at *both* ends, and take the mean of what is left.",
        "`cut = len(x) // 4`, `np.sort(x)[cut : len(x) - cut].mean()`",
    ],
    difficulty=1,
    importance=4,
    minutes=6,
    agree=lambda f, g: torch.tensor(float(f(drawn(g, int(torch.randint(3, 25, (1,), generator=g)))))),
)
def check_iqm(iqm):
    x = np.array([9.0, 1.0, 3.0, 100.0, 2.0, 5.0, 4.0, 8.0])
    given = x.copy()
    with warnings.catch_warnings():  # the mean of an empty slice is told by the next line
        warnings.simplefilter("ignore")
        got = iqm(given)
    require(
        not (isinstance(got, (float, np.floating)) and np.isnan(got)),
        "iqm([9, 1, 3, 100, 2, 5, 4, 8]) returned nan: it took the mean of no score at all.",
        hint="a quarter goes at *each* end, not a half: four of the eight scores are left",
    )
    known = [
        (16.5, "this is the mean: nothing was set aside"),
        (4.5, "this is the median: only the two middle scores are left; keep the whole middle half"),
        (27.5, "sort first: a quarter of the *scores* is set aside, not of the places in the array"),
        (31 / 6, "a quarter of eight scores is two, at each end"),
        (5.5, "this is made of the two quartiles themselves: take the mean of all scores between them"),
        (21.5, "only the two lowest were set aside: the two highest go, too"),
        (23 / 6, "only the two highest were set aside: the two lowest go, too"),
    ]
    expect(got, 5.0, call="iqm([9, 1, 3, 100, 2, 5, 4, 8])", hint=meant(got, known, "sorted 1 2 | 3 4 5 8 | 9 100"))
    require(
        np.array_equal(given, x),
        "The mean is right, but your function changed the caller's array: its scores have lost their seeds' order.",
        hint="`np.sort(x)` returns a sorted copy; `x.sort()` sorts x itself",
    )
    got = iqm(np.array([0.0, 6.0, 1.0, 2.0, 90.0]))
    known = [(2.0, "a quarter of five is 1.25: round *down*, one score at each end"), (19.8, "this is the mean")]
    expect(got, 3.0, call="iqm([0, 6, 1, 2, 90])", hint=meant(got, known, "sorted 0 | 1 2 6 | 90"))
    with warnings.catch_warnings():  # the mean of an empty slice is told by the line below
        warnings.simplefilter("ignore")
        got = iqm(np.array([1.0, 2.0, 6.0]))
    require(
        not (np.shape(got) == () and isinstance(got, (float, np.floating)) and np.isnan(got)),
        "iqm([1, 2, 6]) returned nan: it took the mean of no score at all.",
        hint="a quarter of three, rounded down, is 0: nothing goes. What is x[0:-0]? Count the end from the left instead",
    )
    expect(
        got,
        3.0,
        call="iqm([1, 2, 6])",
        hint="a quarter of three, rounded down, is nothing: with three seeds it is the mean",
    )


# ------------------------------------------------------------------------------------------------ 6.2


def seed_error(returns):
    """returns [S,E]: E episodes of each of S seeds -> standard error of the learner's mean return"""
    return study.standard_error(returns.mean(1))


@exercise(
    "6.2",
    title="the seed is the unit",
    reference=seed_error,
    hints=[
        "Which numbers are independent draws of what the learner can do: the S E episodes, or the S runs?",
        "First one mean for each seed. Then the standard deviation of those S numbers (ddof=1), over the root of their number.",
        "`means = returns.mean(1)`, `return means.std(ddof=1) / len(means) ** 0.5`",
    ],
    difficulty=2,
    importance=5,
    minutes=8,
    points=2,
    agree=lambda f, g: torch.tensor(float(f(drawn(g, 6, 4) + 3 * drawn(g, 6, 1)))),
)
def check_seed_error(seed_error):
    returns = np.array([[8.0, 12.0], [22.0, 18.0], [28.0, 32.0]])
    got = seed_error(returns)
    known = [
        (returns.std(ddof=1) / 6**0.5, "six episodes, but only three runs: episodes of one seed share its weights"),
        (returns.std() / 6**0.5, "six episodes, but only three runs: episodes of one seed share its weights"),
        (10 / 2**0.5, "divide by the root of the number of seeds, 3: not of the episodes, and not of n - 1"),
        (10 / 6**0.5, "the spread is that of the seeds; divide by the root of the number of *seeds*"),
        (19.6 / 3**0.5, "this is 1.96 times the error, half the width of an interval: the error itself is asked"),
        (10 / 3, "the spread is right; divide by the *root* of the number of seeds"),
        (100 / 3, "this is the square of the error, a variance over the number of seeds: take its root"),
        (10.0, "this is the spread of the seeds; the error of their mean is smaller by the root of 3"),
        (returns.mean(1).std() / 3**0.5, "the spread of a sample divides by n - 1, here 2, and not by 3: ddof=1"),
        (returns.mean(0).std(ddof=1) / 2**0.5, "the means run over the seeds here: axis 1 holds the episodes"),
        (returns.mean(0).std(ddof=1) / 3**0.5, "the means run over the seeds here: axis 1 holds the episodes"),
        (returns.std(1, ddof=1).mean() / 3**0.5, "this is the spread within a seed; how far apart are the seeds?"),
        (2.0, "these are the errors of single seeds, averaged; how far apart are the seeds?"),
        ((100 / 3 + 8 / 6) ** 0.5, "the spread of the seeds' means holds the noise of their episodes already: add nothing"),
    ]
    hint = meant(got, known, "means 10, 20, 30; their standard deviation is 10; over the root of 3")
    expect(got, 10 / 3**0.5, call="seed_error([[8, 12], [22, 18], [28, 32]])", hint=hint)
    often = np.tile(returns, 100)  # the first episodes are no repeats of one another
    expect(
        seed_error(often),
        10 / 3**0.5,
        call="seed_error(the same seeds with 100 times the episodes)",
        hint="more episodes of the same three teams are no new teams: the error stays",
    )
    expect(
        seed_error(np.array([[0.0, 0.0, 9.0], [3.0, 3.0, 3.0]])),
        0.0,
        call="seed_error([[0, 0, 9], [3, 3, 3]])",
        hint="two seeds with one and the same mean over their episodes (the mean, not the median): no spread",
    )


# ------------------------------------------------------------------------------------------------ 6.3


def bootstrap_interval(x, indices):
    """x [n] scores, indices [R,n]: the seeds of each redraw -> (low, high) of the mean, the middle 95 %"""
    means = x[indices].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return low, high


def wrong_intervals(x, indices):
    """[(what a usual mistake gives for these scores and redraws, its hint), ...]"""
    redrawn = x[indices]
    means, outer = redrawn.mean(1), [2.5, 97.5]
    fractions = "np.percentile counts from 0 to 100: 0.025 is a fortieth of one percent there"
    bell, of_scores = 1.96 * means.std(), 1.96 * x.std(ddof=1) / len(x) ** 0.5
    no_redraws = "this is the mean of the scores +- 1.96 standard errors, a bell curve: the redraws are not used"
    return [
        (np.percentile(means, [0.025, 0.975]), fractions),
        (np.percentile(means, [5, 95]), "this is the middle 90 %: leave 2.5 % on each side"),
        (np.percentile(means, outer)[::-1], "first the low end, then the high one"),
        ([means.min(), means.max()], "these are the smallest and the largest redrawn mean: leave 2.5 % out on each side"),
        (np.percentile(np.median(redrawn, 1), outer), "these are percentiles of redrawn medians: the task asks for means"),
        (np.percentile(study.iqm(redrawn), outer), "these are percentiles of redrawn IQMs: the task asks for means"),
        (np.percentile(x, outer), "these are percentiles of the scores: the redraws are not used"),
        (np.percentile(redrawn, outer), "these are percentiles of single seeds: take a mean over each row first"),
        (
            np.percentile(redrawn.mean(0), outer),
            "the mean runs over the redraws, or over all: one mean for each row, `mean(1)`",
        ),
        (np.percentile(redrawn.sum(1), outer), "these are percentiles of sums: the task asks for means"),
        (np.percentile(indices, outer), "these are percentiles of the seeds' numbers: x[indices] are their scores"),
        ([means.mean() - bell, means.mean() + bell], "this assumes a bell: the percentile interval reads the means themselves"),
        ([x.mean() - of_scores, x.mean() + of_scores], no_redraws),
        (2 * x.mean() - np.percentile(means, outer)[::-1], "this is the basic interval, turned about the mean: read the means"),
        ([redrawn.mean()] * 2, "this is one mean of all redraws: one for each row, `mean(1)`"),
    ]


def beside(got, means):
    """Is each of the two numbers one of the redrawn means next to its percentile, or between them?"""
    edges = [np.percentile(means, [2.5, 97.5], method=side) for side in ("lower", "higher")]
    if not (isinstance(got, tuple) and len(got) == 2 and all(isinstance(v, float) for v in got)):
        return False
    return all(low - 1e-6 <= v <= high + 1e-6 for v, low, high in zip(got, *edges))


@exercise(
    "6.3",
    title="a bootstrap interval",
    reference=bootstrap_interval,
    hints=[
        "`x[indices]` holds one redrawn set of seeds in each row: [R,n]. One mean for each row.",
        "The middle 95 % leave 2.5 % of the means below and 2.5 % above: `np.percentile`.",
        "`low, high = np.percentile(x[indices].mean(1), [2.5, 97.5])`",
    ],
    difficulty=2,
    importance=5,
    minutes=8,
    points=2,
    agree=lambda f, g: torch.tensor(
        [float(v) for v in f(drawn(g, 7), torch.randint(0, 7, (200, 7), generator=g).numpy())], dtype=torch.double
    ),
)
def check_bootstrap_interval(bootstrap_interval):
    x, indices = np.array([1.0, 2.0, 6.0]), np.array(list(product(range(3), repeat=3)) * 10)
    scale = "np.percentile counts from 0 to 100 (2.5 and 97.5), np.quantile from 0 to 1 (.025 and .975)"
    by_hand = "by hand: the mean 1 has a share of 1/27 = 3.7 %, more than the 2.5 % that are left out"
    try:
        got = pair(bootstrap_interval(x.copy(), indices))
    except ValueError as error:
        usual = "must be in the range" in str(error)  # what NumPy says of np.quantile(means, [2.5, 97.5])
        require(not usual, f"bootstrap_interval([1, 2, 6], ...) stopped: {error}", hint=scale)
        raise
    call = "bootstrap_interval([1, 2, 6], all 27 redraws, ten times each)"
    expect(got, (1.0, 6.0), call=call, hint=meant(got, wrong_intervals(x, indices), by_hand))
    for k, score in enumerate(x):
        require(
            pair(bootstrap_interval(x.copy(), np.full((50, 3), k))) == (score, score),
            f"All 50 redraws were seed {k} three times, score {score:g}, and the interval is not ({score:g}, {score:g}).",
            hint="the redraws are handed over in `indices`: no redraws of your own",
        )
    x = np.array([1.0, 2.0, 6.0, 10.0, 11.0, 15.0, 20.0, 40.0])
    indices = np.random.default_rng(0).integers(0, 8, (400, 8))
    got = pair(bootstrap_interval(x.copy(), indices))
    means = x[indices].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    if beside(got, means):  # a percentile read from a sorted list, without interpolation, is one too
        return
    otherwise = "one mean for each redraw (a row), then two percentiles of these means; no redraws of your own"
    hint = meant(got, wrong_intervals(x, indices), otherwise)
    expect(got, (float(low), float(high)), call="bootstrap_interval(8 scores, 400 redraws)", hint=hint)


# ------------------------------------------------------------------------------------------------ 6.4


def improvement(x, y):
    """x [n], y [m] scores -> the probability that a run of X scores above a run of Y, ties one half"""
    return study.probability_of_improvement(x, y)


@exercise(
    "6.4",
    title="the probability of improvement",
    reference=improvement,
    hints=[
        "Every run of X meets every run of Y: n m pairs. An axis more makes the table of all comparisons [n,m].",
        "`x[:, None] > y` says who wins; `x[:, None] == y` where they tie.",
        "`return ((x[:, None] > y) + 0.5 * (x[:, None] == y)).mean()`",
    ],
    difficulty=2,
    importance=4,
    minutes=8,
    agree=lambda f, g: torch.tensor(
        float(f(torch.randint(0, 6, (5,), generator=g).numpy(), torch.randint(0, 6, (7,), generator=g).numpy()))
    ),
)
def check_improvement(improvement):
    paired = "run by run: the first of X meets the first of Y only; here every run of X meets every run of Y, six pairs"
    x, y = np.array([3.0, 5.0]), np.array([1.0, 3.0, 6.0])
    try:
        got = improvement(x, y)
    except ValueError as error:
        require("broadcast" not in str(error), f"improvement([3, 5], [1, 3, 6]) stopped: {error}", hint=paired)
        raise
    same_length = np.array([1.0, 1.0, 1.0]), np.array([0.0, 0.0, 100.0])
    by_mean = "this compares two means; how often does a single run win?"
    equal = np.asarray(improvement(*same_length), float)
    if equal.shape == () and np.isclose(equal, scipy.stats.mannwhitneyu(*same_length).pvalue):
        by_mean = "this is a p-value; the share of pairs is U / (n m), and U is the test's `statistic`"
    if isinstance(got, (int, float, np.number)) and got == 1:  # both mistakes give 1 here; equal lengths tell them apart
        by_mean = paired if np.isclose(np.asarray(improvement(*same_length), float), 2 / 3).all() else by_mean
    known = [
        (3 / 6, "a tie counts one half, not nothing"),
        (4 / 6, "a tie counts one half, not one" if equal.shape == () and np.isclose(equal, 2 / 3) else by_mean),
        (2.5 / 6, "this is the probability that Y is above X, or the tie was taken away instead of counted one half"),
        (3.5, "divide by the number of pairs"),
        (3.5 / 5, "divide by the number of pairs, two times three: not by the number of runs"),
        (1 / 6, "this is the share of wins less that of losses: count wins, and half of the ties"),
        (3 / 5, "a tie is a pair too: half a win out of six pairs"),
        (1.0, by_mean),
    ]
    hint = meant(got, known, "wins 3>1, 5>1, 5>3; the tie 3=3 counts one half; six pairs")
    expect(got, 3.5 / 6, call="improvement([3, 5], [1, 3, 6])", hint=hint)
    expect(improvement(y, x), 2.5 / 6, call="improvement([1, 3, 6], [3, 5])", hint="the other way round: 1 minus the first")
    expect(
        improvement(*same_length),
        2 / 3,
        call="improvement([1, 1, 1], [0, 0, 100])",
        hint="it counts who is ahead and not by how much",
    )


# ------------------------------------------------------------------------------------------------ 6.5


def fair_scores(runs, evaluate):
    """runs {seed: [checkpoint, ...]}; evaluate(checkpoint, episode_set) -> mean return on that set of episodes, 0 or 1
    -> list of one score for each seed"""
    scores = []
    for checkpoints in runs.values():
        best = max(checkpoints, key=lambda c: evaluate(c, 0))
        scores.append(evaluate(best, 1))
    return scores


class Table:
    """Checkpoints are names; their returns on the two sets of episodes are looked up. What is no checkpoint is told."""

    def __init__(self, returns):
        self.returns = returns

    def __call__(self, checkpoint, episode_set=None):
        wrong = None
        if isinstance(checkpoint, (int, np.integer)):
            wrong = "the place of a checkpoint in its list", "take the checkpoint that stands at that place out of the list"
        elif isinstance(checkpoint, (float, np.floating)):
            wrong = "a return", "the largest return does not say whose it was: which checkpoint had it?"
        elif isinstance(checkpoint, (list, tuple)):
            wrong = "a list", "one checkpoint of the seed's list at a time"
        if wrong is not None:
            require(False, f"evaluate was given {wrong[0]}, {checkpoint}: it takes the checkpoint itself.", hint=wrong[1])
        require(
            episode_set is not None,
            "evaluate(checkpoint) was called without a set of episodes.",
            hint="evaluate takes two arguments, and `key` hands over one: wrap it, key=lambda c: evaluate(c, ...)",
        )
        require(
            episode_set in (0, 1),
            f"evaluate(checkpoint, {episode_set!r}): the second argument names a set of episodes.",
            hint="0, the validation episodes, or 1, the test episodes; it is no number of episodes",
        )
        return self.returns[checkpoint][episode_set]


class Runs(dict):
    """{seed: [checkpoint, ...]}, which tells who asks for a seed that is not there."""

    def __missing__(self, seed):
        hint = "`runs` is a dictionary, its keys are seeds and not places: go through `runs.values()`"
        require(False, f"fair_scores asked for the checkpoints of seed {seed}; the seeds are {list(self)}.", hint=hint)


def random_runs(g):
    values = torch.randn(4, 5, 2, generator=g, dtype=torch.double).tolist()
    runs = {seed: [f"{seed}.{k}" for k in range(5)] for seed in range(4)}
    return runs, Table({f"{s}.{k}": values[s][k] for s in range(4) for k in range(5)})


def answered(fair_scores, g):
    return torch.tensor([float(v) for v in fair_scores(*random_runs(g))], dtype=torch.double)


@exercise(
    "6.5",
    title="find the bugs in an evaluation script",
    reference=fair_scores,
    hints=[
        "Hold the two lines that fill `scores` against the sentence of the task. Which runs count? Which episodes?",
        "A checkpoint that was chosen for its luck on some episodes must be judged on others: choose on 0, report on 1.",
        "`best = max(checkpoints, key=lambda c: evaluate(c, 0))`, `scores.append(evaluate(best, 1))`, and no `if`.",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
    agree=answered,
)
def check_fair_scores(fair_scores):
    returns = {"a": (10.0, 4.0), "b": (6.0, 9.0), "c": (-3.0, -5.0), "d": (-1.0, -2.0), "e": (2.0, 7.0), "f": (5.0, 1.0)}
    table, runs = Table(returns), {0: ["a", "b"], 1: ["c", "d"], 2: ["e", "f"]}
    values = "`runs` is a dictionary: a loop over it gives its keys, the seeds; `runs.values()` gives the checkpoints"
    try:
        got = fair_scores(runs, table)
    except TypeError as error:
        require("not iterable" not in str(error), f"fair_scores stopped: {error}.", hint=values)
        raise
    known = [
        ([10.0, -1.0, 5.0], "these are the returns that chose the checkpoints: judge the chosen ones on the other episodes"),
        ([10.0, 5.0], "seed 1 is missing, and the episodes that chose also judge"),
        ([4.0, 1.0], "seed 1 is missing: a run that failed is a result"),
        ([9.0, -2.0, 7.0], "the best on episodes 1 itself: that is the same mistake on another set"),
        ([9.0, -2.0, 1.0], "this takes the last checkpoint; the text promises the one with the best validation return"),
        ([6.0, -1.0, 2.0], "chosen on 1 and reported on 0: the text says validation is 0"),
    ]
    got = got.tolist() if isinstance(got, np.ndarray) and got.ndim == 1 else got
    a_dict = "take the list of its values" if isinstance(got, dict) else ""
    a_number = "is your `return` inside the loop, or did you take the mean over seeds?" if isinstance(got, Real) else ""
    nothing = "does every path through your code end with `return`?" if got is None else ""
    steps = "a generator hands out one score at a time: wrap it in `list(...)`" if hasattr(got, "__next__") else ""
    require(
        isinstance(got, (list, tuple)),
        f"fair_scores returned {'a generator' if steps else repr(got)}, expected a list.",
        hint=a_dict or a_number or nothing or steps or "one score for each seed, in their order",
    )
    early = "is your `return` inside the loop? It ends with the first seed"
    known.append(([4.0], early))
    hint = meant(list(got), known, "seed 0: a is chosen (10 > 6) and scores 4; seed 1: d, -2; seed 2: f, 1")
    require(len(got) == 3, f"fair_scores returned {len(got)} scores for 3 seeds: {list(got)}", hint=hint)
    expect(list(got), [4.0, -2.0, 1.0], call="fair_scores(three seeds with two checkpoints each)", hint=hint)
    returns = {"g": (1.0, 3.0), "h": (8.0, 5.0), "i": (2.0, 9.0), "j": (-4.0, 0.5), "k": (-6.0, 7.0), "l": (-1.0, -3.0)}
    got = fair_scores(Runs({3: ["g", "h", "i"], 7: ["j", "k", "l"]}), Table(returns))
    hint = "other runs, and more checkpoints: the best of *all* of a seed's on set 0, whatever their number"
    expect(list(got), [5.0, -3.0], call="fair_scores(seeds 3 and 7 with three checkpoints each)", hint=hint)


# ------------------------------------------------------------------------------------------------ 6.6


def reading():
    """The report on card 6.X -> your reading"""
    return {"verdict": "no difference shown", "unequal": "tuning", "optimistic": "metric", "null": 8 / 9}


@exercise(
    "6.6",
    title="read a claim card",
    reference=reading,
    hints=[
        "verdict: does the interval of the difference exclude 0? unequal: which row gives one side more than the other?",
        "optimistic: which row rewards luck, on both sides (section 6)? null: section 7, eight settings against one.",
        "An interval that holds 0 shows no difference. The rows are `tuning` and `metric`. Best of m against 1: m / (m + 1).",
    ],
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
    agree=lambda f, g: torch.tensor([float(f()["null"]), *(float(len(f()[k])) for k in ("verdict", "unequal", "optimistic"))]),
)
def check_reading(reading):
    got = reading()
    require(isinstance(got, dict), f"reading() returned {got!r}.", hint="a dictionary with four keys")
    keys = {"verdict", "unequal", "optimistic", "null"}
    require(
        set(got) == keys, f"reading() returned the keys {sorted(map(str, got))}.", hint="verdict, unequal, optimistic, null"
    )
    verdicts = {
        "confirmed": "hold the interval [-3, 27] against the row `margin`: does all of it lie where the card asks?",
        "refuted": "refuted means that all of [-3, 27] lies below the margin; does it?",
    }

    def chosen(key, right, reasons, otherwise):  # a choice among words: a reason, and not the right word
        word = got[key].strip().lower() if isinstance(got[key], str) else got[key]
        hint = reasons.get(word, otherwise) if isinstance(word, str) else otherwise
        require(word in right, f'reading()["{key}"] is {got[key]!r}: not this one.', hint=hint)

    chosen("verdict", ("no difference shown", "no difference"), verdicts, "one of: confirmed, no difference shown, refuted")
    unequal = {
        "seeds": "five of each: few, but equal",
        "budget": "the same number of environment steps",
        "metric": "the same for both sides: biased, but equally",
        "margin": "it is the same rule for both",
    }
    chosen("unequal", ("tuning",), unequal, "a row of the card: metric, margin, budget, tuning or seeds")
    optimistic = {
        "tuning": "that is unequal already; which row makes *both* look better than they are?",
        "seeds": "few seeds make it unsure, not high",
        "budget": "a budget is no estimate",
        "margin": "the margin is a bar for the difference; it moves neither side's number",
    }
    chosen("optimistic", ("metric",), optimistic, "a row of the card; which of them rewards luck?")
    null = {
        1 / 2: "one half holds for one setting on each side; here the new one has more groups to choose from",
        7 / 8: "how many groups of runs are there in all? The old one has a group too",
        1 / 8: "how many groups of runs are there in all, and how many of them are the new one's?",
        1 / 9: "this is the probability that the old one is ahead",
        1.0: "not for sure: now and then the old one's only group is the largest of all",
    }
    value = float(got["null"]) if isinstance(got["null"], Real) else float("nan")
    close = [hint for wrong, hint in null.items() if abs(value - wrong) < 1e-3]
    otherwise = "count the equal groups of runs, old and new; each is equally likely to have the largest mean"
    hint = (close + ["a number between 0 and 1" if not 0 <= value <= 1 else otherwise])[0]
    require(abs(value - 8 / 9) < 0.01, f'reading()["null"] is {got["null"]!r}: not this probability.', hint=hint)


QUIZ = Quiz(
    "6",
    [
        Question(
            "6.q1",
            "You have 3 seeds, and time for ten times the episodes or for three more seeds. Which makes the error "
            "of the learner's mean smaller, when the seeds differ far more than the episodes of one seed?",
            {
                "a": ("the episodes", "they make each seed's own mean sharper, and the spread between seeds stays"),
                "b": ("the seeds", "between-seed spread falls only with the number of seeds"),
                "c": ("both alike", "the episodes of one seed share its weights: they are no independent draws"),
            },
            answer="b",
        ),
        Question(
            "6.q2",
            "The 95 % percentile bootstrap interval of the mean of three seeds reaches from the lowest to the highest of them. "
            "How often does such an interval hold the true mean, when scores are symmetric about it?",
            {
                "a": ("in 95 % of cases", "that is its name; it would be right for many seeds"),
                "b": ("in 100 % of cases", "three seeds fall on one side of the mean more often than one thinks"),
                "c": ("in 75 % of cases", "it fails when all three lie above, 1/8, or all below, 1/8"),
            },
            answer="c",
        ),
        Question(
            "6.q3",
            "The probability of improvement of A over B is .55, with a 95 % interval [.36, .73]. What do you write?",
            {
                "a": ("these runs do not show which is better", ".5 lies well inside: a coin is not excluded"),
                "b": ("A is better in 55 % of the games", "it compares runs, not games, and the interval holds .5"),
                "c": ("A and B are equal", "that is more than the runs say: no difference shown is not none"),
            },
            answer="a",
        ),
        Question(
            "6.q4",
            "A table reports for each run its best evaluation over training. What is the trouble, if both learners do it?",
            {
                "a": ("none: it is fair", "it favours whoever is noisier or was evaluated more often"),
                "b": ("the maximum of noisy numbers is too high, and more so for the noisier learner",
                      "with pure noise it grows with the number of evaluations"),
                "c": ("it takes longer to compute", "it is cheap; that is part of its charm"),
            },
            answer="b",
        ),
        Question(
            "6.q5",
            "A new method was tuned over 9 settings, the old one ran with 1, and in truth they are the same. How often is the "
            "new one ahead?",
            {
                "a": ("in 9 of 10 comparisons", "ten equal groups, nine of them its own: m / (m + 1) with m = 9"),
                "b": ("in half of them", "that holds for one setting each"),
                "c": ("in all of them", "the old one's single group is the largest of ten once in a while"),
            },
            answer="a",
        ),
    ],
)  # fmt: skip
