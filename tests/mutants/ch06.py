"""Plausible wrong answers to chapter 06's exercises; every check must reject every one."""

import numpy as np
from scipy import stats

from marlcourse.course.checks import ch06
from marlcourse.course.exercises import mutate


def unsorted(x):
    cut = len(x) // 4
    return x[cut : len(x) - cut].mean()


def one_each_side(x):
    return np.sort(x)[1:-1].mean()


def between_quartiles(x):
    """The mean of the scores inside the two quartiles that NumPy interpolates."""
    low, high = np.percentile(x, [25, 75])
    return x[(x > low) & (x < high)].mean()


def top_cut(x):
    return np.sort(x)[: len(x) - len(x) // 4].mean()


def nothing_left(x):
    return stats.trim_mean(x, 0.5)


def rounded_up(x):
    cut = -(-len(x) // 4)
    return np.sort(x)[cut : len(x) - cut].mean()


def in_place(x):
    x.sort()
    cut = len(x) // 4
    return x[cut : len(x) - cut].mean()


def episodes_as_units(returns):
    return returns.std(ddof=1) / returns.size**0.5


def mixed(returns):
    return returns.mean(1).std(ddof=1) / returns.size**0.5


def spread(returns):
    return returns.mean(1).std(ddof=1)


def over_seeds_by_root(returns):
    return returns.mean(0).std(ddof=1) / len(returns) ** 0.5


def over_seeds(returns):
    return returns.mean(0).std(ddof=1) / returns.shape[1] ** 0.5


def within(returns):
    return returns.std(1, ddof=1).mean() / len(returns) ** 0.5


def errors_averaged(returns):
    return (returns.std(1, ddof=1) / returns.shape[1] ** 0.5).mean()


def within_twice(returns):
    seeds, episodes = returns.shape
    return (returns.mean(1).var(ddof=1) / seeds + returns.var(1, ddof=1).mean() / (seeds * episodes)) ** 0.5


def ninety(x, indices):
    return tuple(np.percentile(x[indices].mean(1), [5, 95]))


def single_seeds(x, indices):
    return tuple(np.percentile(x[indices], [2.5, 97.5]))


def bell(x, indices):
    means = x[indices].mean(1)
    return means.mean() - 1.96 * means.std(), means.mean() + 1.96 * means.std()


def own_redraws(x, indices):
    indices = np.random.default_rng(1).integers(0, len(x), indices.shape)
    return tuple(np.percentile(x[indices].mean(1), [2.5, 97.5]))


def seeded_redraws(x, indices):
    """Nearly the check's own redraws, and the cell's after the exercise."""
    return np.percentile(x[np.random.default_rng(0).integers(0, len(x), indices.shape)].mean(1), [2.5, 97.5])


def sums(x, indices):
    return np.percentile(x[indices].sum(1), [2.5, 97.5])


def of_the_numbers(x, indices):
    return np.percentile(indices, [2.5, 97.5])


def redrawn_median(x, indices):
    return tuple(np.percentile(np.median(x[indices], 1), [2.5, 97.5]))


def redrawn_iqm(x, indices):
    return tuple(np.percentile(ch06.iqm(x[indices]), [2.5, 97.5]))


def extremes(x, indices):
    means = x[indices].mean(1)
    return means.min(), means.max()


def upside_down(x, indices):
    return np.percentile(x[indices].mean(1), [97.5, 2.5])


def fractions(x, indices):
    return tuple(np.percentile(x[indices].mean(1), [0.025, 0.975]))


def strictly(x, y):
    return (x[:, None] > y).mean()


def ties_win(x, y):
    return (x[:, None] >= y).mean()


def ties_left_out(x, y):
    wins, ties = (x[:, None] > y).sum(), (x[:, None] == y).sum()
    return wins / (len(x) * len(y) - ties)


def means(x, y):
    return float(x.mean() > y.mean())


def gap_of_means(x, y):
    return x.mean() - y.mean()


def p_value(x, y):
    return stats.mannwhitneyu(x, y).pvalue


def run_by_run(x, y):
    m = min(len(x), len(y))
    return ((x[:m] > y[:m]) + 0.5 * (x[:m] == y[:m])).mean()


def turned(x, y):
    return 1 - ch06.improvement(x, y)


def released(runs, evaluate):
    found = [max(evaluate(c, 0) for c in checkpoints) for checkpoints in runs.values()]
    return [v for v in found if v > 0]


def all_seeds_best(runs, evaluate):
    return [max(evaluate(c, 0) for c in checkpoints) for checkpoints in runs.values()]


def dropped(runs, evaluate):
    chosen = [max(checkpoints, key=lambda c: evaluate(c, 0)) for checkpoints in runs.values()]
    return [evaluate(c, 1) for c in chosen if evaluate(c, 0) > 0]


def other_set(runs, evaluate):
    return [max(evaluate(c, 1) for c in checkpoints) for checkpoints in runs.values()]


def last(runs, evaluate):
    return [evaluate(checkpoints[-1], 1) for checkpoints in runs.values()]


def value_handed_over(runs, evaluate):
    return [evaluate(max(evaluate(c, 0) for c in checkpoints), 1) for checkpoints in runs.values()]


def without_a_set(runs, evaluate):
    return [evaluate(max(checkpoints, key=evaluate), 1) for checkpoints in runs.values()]


def index_handed_over(runs, evaluate):
    return [evaluate(np.argmax([evaluate(c, 0) for c in checkpoints]), 1) for checkpoints in runs.values()]


def written_down(runs, evaluate):  # what the hint of the check says
    return [4.0, -2.0, 1.0]


def by_place(runs, evaluate):
    return [evaluate(max(runs[s], key=lambda c: evaluate(c, 0)), 1) for s in range(len(runs))]


def first_two(runs, evaluate):
    return [evaluate(max(checkpoints[:2], key=lambda c: evaluate(c, 0)), 1) for checkpoints in runs.values()]


def early_return(runs, evaluate):
    return ch06.fair_scores(runs, evaluate)[:1]


def averaged(runs, evaluate):
    return float(np.mean(ch06.fair_scores(runs, evaluate)))


def by_seed(runs, evaluate):
    return dict(zip(runs, ch06.fair_scores(runs, evaluate)))


def says(**changes):
    """A reading with some answers changed."""
    return lambda: {**ch06.reading(), **changes}


MUTANTS = {
    "6.1": [nothing_left, unsorted, one_each_side, between_quartiles, top_cut, rounded_up, in_place, np.mean, np.median],
    "6.2": [
        episodes_as_units,
        mixed,
        spread,
        over_seeds,
        over_seeds_by_root,
        within,
        errors_averaged,
        within_twice,
        mutate(ch06.seed_error, "mean(1)", "max(1)"),
        mutate(ch06.seed_error, "returns.mean(1)", "np.median(returns, 1)"),
        mutate(ch06.seed_error, "returns.mean(1)", "(returns.max(1) + returns.min(1)) / 2"),
    ],
    "6.3": [ninety, single_seeds, bell, own_redraws, redrawn_median, redrawn_iqm, extremes, upside_down, fractions]
    + [seeded_redraws, sums, of_the_numbers],
    "6.4": [strictly, ties_win, ties_left_out, means, run_by_run, turned, gap_of_means, p_value],
    "6.5": [released, all_seeds_best, dropped, other_set, last, value_handed_over, index_handed_over, without_a_set]
    + [written_down, by_place, first_two, early_return, averaged, by_seed]
    + [lambda runs, evaluate: None, lambda runs, evaluate: (evaluate(c[0], 1) for c in runs.values())]
    + [lambda runs, evaluate: [max(c) for c in runs]],
    "6.6": [
        says(verdict="confirmed"),
        says(verdict="refuted"),
        says(unequal="seeds"),
        says(optimistic="tuning"),
        says(null=0.5),
        says(null=7 / 8),
    ],
}
