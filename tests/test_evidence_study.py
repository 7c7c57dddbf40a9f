"""Chapter 06: the statistics against hand-made and independent figures, the null models, the runs with built-in faults."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from marlcourse.course import evidence_plots as pictures
from marlcourse.course import evidence_study as study
from marlcourse.course.data import save_dataset
from marlcourse.course.exercises import ExerciseIncomplete

matplotlib.use("agg")


# ---- statistics ----


def test_iqm_by_hand():
    assert study.iqm([9, 1, 3, 100, 2, 5, 4, 8]) == 5
    assert study.iqm([0, 6, 1, 2, 90]) == 3  # a quarter of five, rounded down: one at each end
    assert study.iqm([1, 2, 6]) == 3  # three seeds: the mean
    assert study.iqm(np.arange(16).reshape(8, 2), axis=0).tolist() == [7, 8]


def test_three_seeds_give_the_interval_from_lowest_to_highest():
    assert study.interval([1, 2, 6], statistic=np.mean) == (1, 6)
    assert study.interval([4, 4, 4]) == pytest.approx((4, 4), nan_ok=True)


def test_the_interval_agrees_with_the_normal_one_for_many_seeds_and_repeats_itself():
    x = np.random.default_rng(3).normal(10, 4, 400)
    low, high = study.interval(x, statistic=np.mean)
    assert (low, high) == study.interval(x, statistic=np.mean)
    error = float(study.standard_error(x))
    assert (low, high) == pytest.approx((x.mean() - 1.96 * error, x.mean() + 1.96 * error), abs=0.15 * error)


def test_each_sample_is_redrawn_by_itself():
    """Stratified: a spread of x alone must not be mixed into y, whose scores are all equal."""
    x, y = np.array([0.0, 10.0, 20.0, 30.0]), np.full(4, 7.0)
    middle, low, high = study.difference(x, y, np.mean)
    assert middle == 8 and low >= x.min() - 7 and high <= x.max() - 7
    assert (low, high) == pytest.approx(np.subtract(study.interval(x, statistic=np.mean), 7), abs=1.0)


def test_too_few_seeds_are_told():
    for samples in ((), ([1.0],), ([1.0, 2.0], [3.0])):
        with pytest.raises(ValueError, match="at least two seeds"):
            study.interval(*samples)


def test_probability_of_improvement_by_hand():
    assert study.probability_of_improvement([3, 5], [1, 3, 6]) == pytest.approx(3.5 / 6)
    assert study.probability_of_improvement([1, 1], [1, 1]) == 0.5
    x, y = np.random.default_rng(0).integers(0, 5, (2, 3, 7))
    rows = [study.probability_of_improvement(a, b) for a, b in zip(x, y)]
    assert study.improvement_rows(x, y).tolist() == pytest.approx(rows)


def test_after_a_stop_coverage_says_how_many_experiments_it_has(monkeypatch):
    monkeypatch.setattr(study, "stoppable", lambda rows, name: rows[:7])
    held, done = study.coverage(3, trials=100, resamples=20)
    assert done == 7 and (7 * held) % 1 == pytest.approx(0)


def test_three_seeds_hold_the_truth_in_three_of_four():
    held, done = study.coverage(3, trials=2000, resamples=300)
    assert held == pytest.approx(0.75, abs=0.03) and done == 2000
    assert study.coverage(30, trials=500, resamples=300)[0] > 0.9
    of_two, of_few = (study.coverage(n, trials=300, resamples=200, statistic=study.iqm, learners=2)[0] for n in (17, 3))
    assert 0.9 < of_two < 0.99 and of_two > of_few + 0.03


# ---- few seeds ----


def test_subsets():
    assert len(study.subsets(20, 3)) == 1140 and study.subsets(3, 3).tolist() == [[0, 1, 2]]
    with pytest.raises(ValueError, match="not 4"):
        study.subsets(3, 4)


def test_bars_apart_by_hand():
    x, y = np.array([[10.0, 12, 14], [10, 12, 14], [0, 0, 0]]), np.array([[0.0, 2, 4], [9, 11, 13], [5, 5, 5]])
    assert study.bars_apart(x, y).tolist() == [1, 0, -1]


def test_wins_by_hand():
    said = study.wins(np.array([1.0, 2, 3, 4]), np.array([0.0, 0, 0, 30]), k=3)  # ahead only without the last seed
    assert (said["ahead"], said["behind"]) == (0.25, 0.75)
    same = study.wins(np.zeros(5) + [0, 1, 2, 3, 4], np.zeros(5) + [9, 9, 9, 9, 9])
    assert same["behind"] == same["against"] == 1 and same["gap against"] == pytest.approx(-7) and np.isnan(same["gap shown"])


def test_the_loudest_paper():
    x, y = np.array([9.0, 10, 11, 0, 0]), np.array([0.0, 0, 0, 1, 1])
    assert study.loudest(x, y) == [0, 1, 2]
    assert study.loudest(y, x) is None  # no choice of three seeds has y above x


def test_groups_are_disjoint_and_none_is_favoured():
    dealt = study.groups(np.arange(12.0), 4, 3, draws=500)
    assert dealt.shape == (500, 4, 3)
    assert all(len(set(row.ravel())) == 12 for row in dealt)
    assert dealt.mean((0, 2)) == pytest.approx(np.full(4, 5.5), abs=0.4)
    with pytest.raises(ValueError, match="need 15"):
        study.groups(np.arange(12.0), 5, 3)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_best_of_k_equal_settings_wins_k_of_k_plus_1(k):
    share, lead = study.best_of(np.random.default_rng(1).normal(size=20), k, draws=6000)
    assert share == pytest.approx(k / (k + 1), abs=0.03)
    assert lead == pytest.approx(0, abs=0.05) if k == 1 else lead > 0.1


def test_the_best_of_noise():
    assert study.best_of_noise(1, 10.0, draws=20_000) == pytest.approx(0, abs=0.3)
    assert study.best_of_noise(2, 10.0, draws=20_000) == pytest.approx(10 / np.pi**0.5, abs=0.3)  # E max of two normals


def test_the_best_of_one_is_worth_nothing():
    assert study.best_of_noise(1, 38.0) == 0


def test_the_best_of_a_path_lies_above_the_path():
    path = np.array([-100.0, 0.0])
    assert study.best_of_noise(2, np.array([1.0, 0.0]), path) == 0  # the noisy one is far below
    assert study.best_of_noise(2, 10.0, 3.0) == pytest.approx(3 + 10 / np.pi**0.5, abs=0.4)
    assert study.best_of_noise(40, np.linspace(1, 40, 40)) < study.best_of_noise(40, 40.0)


def test_an_interval_does_not_depend_on_the_order_of_the_seeds():
    x, y = np.random.default_rng(0).normal(size=(2, 9))
    assert study.difference(x, y)[1:] == study.difference(x[::-1], np.roll(y, 3))[1:]


def test_scores_cannot_be_sorted_in_place():
    scores = study.scores(study.committed())
    with pytest.raises(ValueError, match="read-only"):
        next(iter(scores.values())).sort()


# ---- runs ----


def table(names, seeds=4, steps=5000, extra=0):
    """Runs with a known course: return = -100 + 10 * thousands of steps + seed, plus 5 for the second learner."""
    rows = [
        {"algorithm": name, "seed": seed, "env_steps": at, "return_mean": -100 + at / 100 + seed + 5 * k, "return_std": 1.0}
        for k, name in enumerate(names)
        for seed in range(seeds + extra * (k == 0))
        for at in range(0, steps + 1, 1000)
    ]
    return pd.DataFrame(rows)


def test_scores_read_the_curve_as_named():
    frame = table(["QMIX", "VDN"])
    assert study.scores(frame, metric="last evaluation")["QMIX"].tolist() == [-50, -49, -48, -47]
    assert study.scores(frame, metric="whole curve")["VDN"].tolist() == [-65, -64, -63, -62]
    assert study.scores(frame, 3000, "best evaluation")["QMIX"][0] == -70
    assert study.untrained(frame) == pytest.approx(-96.0)
    late = study.curves(frame, [1500, 10_000])["QMIX"][0]
    assert late.tolist() == [-90, -50]  # the last evaluation at or before the step


def test_the_three_spreads_are_told_apart():
    """Seeds that differ by 10, checkpoints by 15, episodes by 30, 8 episodes an evaluation, 2 evaluations a score."""
    rng, rows = np.random.default_rng(0), []
    for seed, level in enumerate(rng.normal(0, 10, 600)):
        for at in (0, 800, 900, 1000):
            played = level + rng.normal(0, 15) + rng.normal(0, 30, 8)
            rows.append(("QMIX", seed, at, played.mean(), played.std()))  # as `evaluate` gives it: divided by 8, not 7
    frame = pd.DataFrame(rows, columns=["algorithm", "seed", "env_steps", "return_mean", "return_std"])
    parts = study.spreads(frame, "QMIX", every=100)
    assert parts.evaluations == 2 and parts.episodes == pytest.approx(30, rel=0.04)
    assert parts.checkpoints == pytest.approx(15, rel=0.1) and parts.seeds == pytest.approx(10, rel=0.2)
    scored = study.scores(frame, 1000, every=100)["QMIX"]
    assert scored.var(ddof=1) == pytest.approx(parts.seeds**2 + parts.checkpoints**2 / 2 + parts.episodes**2 / 16)
    low, high = study.spread_range(frame, "QMIX", every=100)
    assert low < parts.seeds < high and high - low < 5  # 600 seeds
    fewer = study.spread_range(frame[frame["seed"] < 30], "QMIX", every=100)
    assert fewer[1] - fewer[0] > 2 * (high - low)
    with pytest.raises(ValueError, match="two seeds"):
        study.spreads(frame[frame["seed"] == 0], "QMIX", every=100)


def test_the_difference_over_time():
    found = study.over_time(table(["QMIX", "VDN"]), ("QMIX", "VDN"), resamples=50)
    assert list(found) == [2000, 3000, 4000, 5000]
    assert all(low <= middle <= high and middle == pytest.approx(-5) for middle, low, high in found.values())


def test_the_interval_of_a_standard_deviation_holds_it_in_95_of_100_cases():
    measured = np.random.default_rng(0).normal(0, 7, (4000, 6)).std(-1, ddof=1)
    low, high = np.array([study.around_std(std, 6) for std in measured]).T
    assert np.mean((low < 7) & (7 < high)) == pytest.approx(0.95, abs=0.015)
    with pytest.raises(ValueError, match="two numbers"):
        study.around_std(7.0, 1)


def test_committed_keeps_the_seeds_that_all_have(tmp_path, monkeypatch):
    monkeypatch.setenv("MARLCOURSE_DATASETS", str(tmp_path))
    frame = pd.concat([table(["QMIX", "QMIX-GRE 0.001"], extra=2), table(["QMIX-simple"], seeds=1)])
    save_dataset("grid_evidence.csv", frame, command="a test", seeds=range(6), folder=tmp_path)
    found = study.committed()
    assert set(found["algorithm"]) == {"QMIX", "QMIX-GRE 0.001"} and set(found["seed"]) == {0, 1, 2, 3}


def test_the_account_names_every_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MARLCOURSE_DATASETS", str(tmp_path))
    frame = pd.concat([table(["QMIX", "QMIX-GRE 0.001"], extra=2), table(["QMIX-simple"], seeds=1)])
    save_dataset("grid_evidence.csv", frame, command="a test", seeds=range(6), folder=tmp_path)
    planned, finished, taken, left = study.account(planned=6).splitlines()
    assert "6 seeds" in planned and "6 of QMIX, 4 of QMIX-GRE 0.001, 1 of QMIX-simple" in finished
    assert "4 seeds (0 to 3)" in taken and "QMIX and QMIX-GRE 0.001 have both finished" in taken
    assert "QMIX-simple, seed 0: too few" in left and "QMIX, seeds 4, 5: not finished" in left
    save_dataset("grid_evidence.csv", table(["QMIX", "VDN"]), command="a test", seeds=range(4), folder=tmp_path)
    assert study.account().splitlines()[-1].endswith("none")


def test_committed_keeps_the_share_of_wins_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("MARLCOURSE_DATASETS", str(tmp_path))
    frame = table(["QMIX", "VDN"]).assign(win_rate=0.5, entropy=1.0)
    save_dataset("grid_evidence.csv", frame, command="a test", seeds=range(4), folder=tmp_path)
    assert list(study.committed().columns) == list(study.COLUMNS)


def test_the_committed_runs_hold_what_the_chapter_needs():
    frame = study.committed()
    scores = study.scores(frame)
    assert {"QMIX", "QMIX-GRE 0.001"} <= set(scores)
    assert len({len(x) for x in scores.values()}) == 1 and len(scores["QMIX"]) >= 6
    assert all(np.isfinite(x).all() and (x > study.untrained(frame)).all() for x in scores.values())


def test_the_corridor_is_learned_and_each_fault_shows():
    sound = study.corridor()
    final = {k: np.median(v[:, -5:]) for k, v in sound.items() if k != "steps"}
    assert final == {"evaluation": -7, "training": pytest.approx(-7, abs=1)}
    assert np.median(study.corridor(copy_every=0)["evaluation"]) == -study.LIMIT  # nothing is learned
    noisy = study.corridor(eval_epsilon=0.25)["evaluation"]
    assert noisy[:, -8:].mean() < -7.5
    never = study.corridor(epsilon=lambda part: 1.0)
    assert np.median(never["evaluation"][:, -5:]) == -7 and np.median(never["training"][:, -5:]) < -20


def test_a_cut_taken_for_an_end_shrinks_the_value():
    assert study.alive(True)[-1] == pytest.approx(20, abs=0.3)
    assert study.alive(False)[-25:].mean() == pytest.approx(1 / (1 - 0.95 * 24 / 25), abs=0.6)


# ---- pictures ----


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = table(["QMIX", "QMIX-GRE 0.001"], seeds=12, steps=40_000)
    frame["return_mean"] += rng.normal(0, 20, len(frame)) * (frame["env_steps"] > 0)
    return frame


def test_broken_curves_have_the_fault_that_their_letter_says(frame):
    panels = pictures.broken_curves(frame)
    assert list(panels) == list("abcdefghij")
    lines = {letter: [y for _, y in panel["lines"].values()] for letter, panel in panels.items()}
    assert lines["e"][0][:, 0].mean() != lines["e"][1][:, 0].mean()
    assert (lines["f"][0] == lines["f"][0][0]).all()
    shown = lines["g"][0]
    alive = np.isfinite(shown).sum(0)
    assert alive[-1] == 5 and (np.diff(alive) <= 0).all()
    for run, t in [(run, np.isfinite(run).sum() - 1) for run in shown if np.isnan(run[-1])]:
        assert run[t] == np.nanmin(shown[:, t])  # who ends is the lowest at that moment
    assert (lines["h"][0][:, 0] > study.untrained(frame) + 5).all()
    assert (np.diff(lines["i"][0]) >= 0).all()
    assert {name for panel in panels.values() for name in panel["lines"]} == {
        "evaluation", "training", "learned value", "first", "second", "each run: mean of its last 5 evaluations",
    }  # no legend names a fault  # fmt: skip
    (xa, _), (xb, _) = panels["j"]["lines"].values()
    assert xb[-1] == 4 * xa[-1]


def test_every_figure_is_drawn(frame):
    import matplotlib.pyplot as plt

    scores = study.scores(frame)
    pictures.plot_laboratories(scores, 40_000)
    pictures.plot_bars(scores, [(0, 1, 2), range(12)], 40_000)
    pictures.plot_triples(scores["QMIX"], scores["QMIX-GRE 0.001"], list(scores), 40_000)
    pictures.plot_bootstrap(scores["QMIX"], study.iqm, "IQM", 40_000, resamples=100)
    stopped = {2: [9.0, 5.0, 1.0, 2.0, 8.0, 4.0], 8: [4.0, 5.0, 1.0, 3.0, 6.0], 32: [3.0, 1.0]}  # the last one too rarely
    ax = pictures.plot_standard_error(stopped, 14.0, 20.0, (11.0, 50.0), 5)
    labels = ax.get_legend_handles_labels()[1]
    assert any("5 to 6 evaluations" in label for label in labels) and any("5 seeds" in label for label in labels)
    assert [len(line.get_xdata()) for line in ax.lines if line.get_marker() == "o"] == [2]
    pictures.plot_standard_error({2: [9.0], 8: []}, 14.0, 20.0, (11.0, 50.0), 5)
    pictures.plot_over_time(study.over_time(frame, list(scores), every=10_000, resamples=50), list(scores), 12)
    pictures.plot_broken({k: v for k, v in pictures.broken_curves(frame).items()})
    plt.close("all")


def test_the_explorer_says_who_leads(frame):
    few = pictures.plot_seeds(3, 0, frame=frame).axes[0].get_title(loc="left")
    assert few.startswith("3 seeds: QMIX") and "leads by" in few
    every = [pictures.plot_seeds(12, draw, frame=frame).axes[0].get_title(loc="left").split(" leads")[0] for draw in (0, 1, 2)]
    assert len(set(every)) == 1  # the order of all seeds says nothing
    assert "1 seed:" in pictures.plot_seeds(1, 3, "median", 20_000, frame=frame).axes[0].get_title(loc="left")


def test_words_of_a_card_may_have_capitals_and_blanks():
    from marlcourse.course.checks import ch06

    said = {**ch06.reading(), "verdict": " No Difference Shown", "unequal": "Tuning ", "optimistic": "METRIC"}
    ch06.check_reading.verify(lambda: said)
    with pytest.raises(ExerciseIncomplete, match="all of \\[-3, 27\\] lies below"):
        ch06.check_reading.verify(lambda: {**said, "verdict": "Refuted"})


def test_the_panel_of_dropped_seeds_tells_its_lines_apart(frame):
    axes = pictures.plot_broken(pictures.broken_curves(frame))
    ax = next(ax for ax in axes.flat if ax.get_title(loc="left").startswith("g)"))
    thin, thick = (next(line for line in ax.lines if line.get_label().startswith(word)) for word in ("each run", "median"))
    assert thin.get_linewidth() < thick.get_linewidth()
    drawn = max(np.nanmax(line.get_ydata()) for line in ax.lines)
    assert max(ax.get_yticks()) <= drawn + 25 and max(ax.get_yticks()) < ax.get_ylim()[1] - 50  # no ticks beside the legend


def test_the_check_of_the_script_counts_every_seed():
    from marlcourse.course.checks import ch06

    with pytest.raises(ExerciseIncomplete, match="2 scores for 3 seeds"):
        ch06.check_fair_scores.verify(lambda runs, evaluate: [4.0, 1.0])


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        ("check_iqm", lambda x: np.sort(x)[len(x) // 4 : -(len(x) // 4)].mean(), "mean of no score"),
        ("check_bootstrap_interval", lambda x, i: np.percentile(x[i].mean(1), [0.025, 0.975]), "from 0 to 100"),
        ("check_bootstrap_interval", lambda x, i: np.quantile(x[i].mean(1), [2.5, 97.5]), "np.quantile from 0 to 1"),
        ("check_improvement", lambda x, y: ((x > y) + 0.5 * (x == y)).mean(), "run by run"),
        ("check_improvement", lambda x, y: np.mean([a > b for a, b in zip(x, y)]), "run by run"),
        ("check_improvement", lambda x, y: float(x.mean() > y.mean()), "two means"),
        ("check_fair_scores", lambda r, e: [e(max(e(c, 0) for c in cs), 1) for cs in r.values()], "a return, 10.0"),
        ("check_fair_scores", lambda r, e: [e(np.argmax([e(c, 0) for c in cs]), 1) for cs in r.values()], "place of a"),
    ],
)
def test_the_usual_mistakes_are_named(check, answer, says):
    from marlcourse.course.checks import ch06

    with pytest.raises(ExerciseIncomplete, match=says):
        getattr(ch06, check).verify(answer)


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [
        ("verdict", "confirmed", "no difference"),
        ("unequal", "seeds", "tuning"),
        ("optimistic", "tuning", "metric"),
        ("null", 0.5, "0.88"),
    ],
)
def test_the_card_s_check_gives_a_reason_and_not_the_answer(key, wrong, right):
    from marlcourse.course.checks import ch06

    with pytest.raises(ExerciseIncomplete) as told:
        ch06.check_reading.verify(lambda: {**ch06.reading(), key: wrong})
    assert "expected" not in str(told.value) and right not in str(told.value)


def test_a_percentile_that_is_read_from_a_sorted_list_is_one_too():
    from marlcourse.course.checks import ch06

    def by_place(x, indices):
        means = np.sort(x[indices].mean(1))
        return means[int(0.025 * len(means))], means[int(0.975 * len(means))]

    ch06.check_bootstrap_interval.verify(by_place)


@pytest.mark.parametrize("asked", [{"seeds": 0}, {"draw": -1}, {"statistic": "mode"}, {"steps": 500}])
def test_the_explorers_picture_refuses_what_it_cannot_draw(asked, frame):
    with pytest.raises(ValueError, match=str(next(iter(asked.values())))):
        pictures.plot_seeds(frame=frame, **asked)


def test_after_a_stop_no_empty_panel_is_left(frame):
    curves = dict(list(pictures.reporting_faults(frame).items())[:3])
    assert [ax.get_visible() for ax in pictures.plot_broken(curves).flat] == [True] * 3 + [False] * 7
