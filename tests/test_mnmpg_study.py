"""Chapter 05's experiments: the game in which fit and gain disagree, estimators with a known mean, the committed data."""

import importlib.util
import json
import math
from pathlib import Path

import matplotlib
import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
import torch

import marlcourse as mc
from marlcourse.course import ledger
from marlcourse.course import mnmpg_plots as pictures
from marlcourse.course import mnmpg_study as study
from marlcourse.course.checks import ch05
from marlcourse.course.claims import ClaimCard
from marlcourse.course.exercises import ExerciseIncomplete, mutate
from marlcourse.course.meta_study import signal_to_noise
from marlcourse.rollout import Context

matplotlib.use("agg")
BENCH = Path(__file__).parents[1] / "benchmarks"


def script(name, folder=BENCH):
    spec = importlib.util.spec_from_file_location(f"script_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the small game ----


@pytest.mark.parametrize(
    "credit, error, returns", [((0, 0), 5 / 4, 0), ((1, 0), 2 / 3, 1), ((0, 1), 1 / 6, 2), ((1, 1), 0, -12)]
)
def test_the_smallest_error_is_the_worst_team(credit, error, returns):
    q, left = study.practised(credit)
    assert left == pytest.approx(error, abs=1e-3) and study.greedy_return(q) == returns
    unseen = study.greedy_return(q, study.payoffs_with(6.0))
    assert unseen == (6 if credit == (1, 1) else returns), "only what D0 does not show has changed"
    assert (1, 1) not in study.PLAYED and study.PAYOFF[1, 1] == -12


def test_utilities_are_the_means_of_the_data():
    torch.testing.assert_close(study.practised((1, 0))[0], torch.tensor([[2 / 3, 1.0], [0.0, 0.0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(study.practised((0, 1))[0], torch.tensor([[0.0, 0.0], [1 / 3, 2.0]]), atol=1e-3, rtol=0)


def test_gain_is_what_the_teams_earn_after_practice():
    both, agent2 = (study.greedy_return(study.practised(c)[0]) for c in study.CREDIT)
    assert study.gain(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [both, both, agent2] == [-12, -12, 2]


def test_a_practice_leads_to_the_same_greedy_team_as_many_updates():
    for z, credit in ((-1.0, study.CREDIT[0]), (1.0, study.CREDIT[1])):
        game = study.CreditGame()
        before = game.play()
        game.practise(z)
        assert game.play() - before == study.gain(torch.tensor(z)) == study.greedy_return(study.practised(credit)[0])
        game.begin()
        assert game.play() == 0
    assert study.CreditGame(m=2.0).score(1.5) == -0.5


def test_the_loop_is_closed_by_the_z_that_was_used():
    def released(draw, practise, play, score, updates):
        before = play()
        practise(draw())
        return (play() - before) * score(draw())

    stored, redrawn = (torch.stack([study.train_m(r, 60, seed=k) for k in range(6)]) for r in (ch05.repaired_round, released))
    assert stored.shape == (6, 61) and (stored[:, 0] == 0).all() and (stored[:, -1] > 0.7).all()
    mean, error = study.mean_and_error(redrawn[:, -1])
    assert abs(mean) < 3 * error and redrawn[:, -1].std() > 0.1
    assert torch.equal(stored[0], study.train_m(ch05.repaired_round, 60))
    gains = study.expected_gain(torch.tensor([-9.0, 0.0, 9.0]))
    assert gains.tolist() == pytest.approx([-12, -5, 2])


def test_one_number_has_a_mean_and_no_standard_error():
    mean, error = study.mean_and_error(torch.tensor([3.0]))
    assert mean == 3 and math.isnan(error)


@pytest.mark.parametrize("m, std", [(0.0, 1.0), (-0.7, 1.0), (1.3, 0.4)])
def test_the_slope_is_that_of_the_expectation(m, std):
    h = 1e-5
    difference = float(study.expected_gain(m + h, std) - study.expected_gain(m - h, std)) / (2 * h)
    assert study.true_slope(m, std) == pytest.approx(difference, rel=1e-4)
    z = m + std * torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert float(study.expected_gain(m, std)) == pytest.approx(float(study.gain(z).mean()), abs=0.1)


# ---- estimators ----


@pytest.mark.parametrize("m, noise, baseline", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.5, 8.0, -3.0)])
def test_the_stored_reading_has_the_right_mean_and_the_others_have_none(m, noise, baseline):
    options = {"m": m, "noise": noise, "baseline": baseline}
    mean, error = study.mean_and_error(study.estimates("stored", **options))
    assert abs(mean - study.true_slope(m)) < 4 * error and mean > 5 * error
    mean, error = study.mean_and_error(study.estimates("redrawn", **options))
    assert abs(mean) < 4 * error and error > 0
    assert (study.estimates("literal", **options) == 0).all()


def test_averaging_rounds_narrows_by_the_square_root_and_noise_widens():
    one, hundred = (study.estimates("stored", draws=k, repeats=2000).std() for k in (1, 100))
    assert float(one / hundred) == pytest.approx(10, rel=0.15)
    assert study.estimates("stored", noise=20).std() > 2 * study.estimates("stored").std()
    assert torch.equal(study.estimates("stored", seed=1), study.estimates("stored", seed=1))
    assert not torch.equal(study.estimates("stored", seed=1), study.estimates("stored", seed=2))


def test_an_unknown_reading_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="reading='kept' is unknown: use 'literal', 'redrawn', 'stored'"):
        study.estimates("kept")


def test_the_signal_of_three_gradients_by_hand():
    found = signal_to_noise(torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]]))  # products 1, 1, 0; variances 0 and 1
    error = math.sqrt(2 / 3) / math.sqrt(3)
    assert (found.squared, found.noise, found.error) == pytest.approx((2 / 3, 1, error))
    assert found.standard_errors == pytest.approx(2 / 3 / error) and found.pairs_needed == pytest.approx(1.5)
    assert (
        found.left_out == pytest.approx(2 / 3)
        and found.most == pytest.approx(2 / 3 + 2 * 2 / 3)
        and found.least_pairs == pytest.approx(0.5)
    )  # 0, 1, 1 are left
    below = signal_to_noise(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    assert below.squared < 0 and below.ratio == 0 and below.least_pairs > 0


def test_least_pairs_is_a_bound_that_a_known_signal_respects():
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(60, 40, generator=g)
    strong = noise + 2 * torch.eye(40)[0]
    assert signal_to_noise(strong).least_pairs < signal_to_noise(strong).pairs_needed < 3 * signal_to_noise(strong).least_pairs
    assert signal_to_noise(noise).least_pairs > 20
    for length in (0.0, 0.7, 2.0):  # the truth is beyond the bound about 1 time in 40
        true, g = length * torch.eye(40)[0], torch.Generator().manual_seed(0)
        beyond = [signal_to_noise(torch.randn(48, 40, generator=g) + true).most < length**2 for _ in range(200)]
        assert sum(beyond) <= 12, length


# ---- what a step moves ----


def test_parts_hold_every_trained_number_once_and_changes_are_named():
    team, _ = ch05.small_team()
    before = study.parts(team)
    trained = sum(p.numel() for m in (team.agent, team.mixer) for p in m.parameters())
    assert sum(len(v) for v in before.values()) == trained and study.changed(before, study.parts(team)) == []
    with torch.no_grad():
        team.mixer.decoder[0].bias[0] += 1e-6
        team.agent.head.weight[0, 0] += 1e-3
    assert study.changed(before, study.parts(team)) == ["phi", "zeta"]


def test_the_log_keeps_every_meta_round():
    world = mc.make("lumberjacks", num_envs=2, device="cpu", episode_limit=5)
    team = mc.MNMPG(world.spec, mc.MNMPG.Config(hidden=8, batch_size=4, meta_interval=10, exercise_updates=1), device="cpu")
    rounds, played, log = [], team.improvement, study.MetaLog()
    team.improvement = lambda d0, d1: (rounds.append(float(played(d0, d1))), played(d0, d1))[1]
    mc.Trainer(world, team, eval_every=100, eval_episodes=2, callbacks=[log]).fit(100, progress=False)
    assert log.improvement == rounds and len(rounds) > 2


def test_the_share_of_the_state():
    def encoder(states):
        return states, torch.full_like(states, 2.0)

    states = torch.tensor([[0.0], [1.0], [2.0]])  # variance 1, and 4 is drawn
    assert study.share_of_state(encoder, states) == pytest.approx(0.2)


def test_z_reaches_the_team_after_practice_and_only_through_it():
    world = mc.make("lumberjacks", num_envs=4, device="cpu", episode_limit=8)
    shares = []
    for lr in (1e-9, 0.02):
        team = mc.MNMPG(world.spec, mc.MNMPG.Config(hidden=16, lr=lr), device="cpu")
        d0, before = Context(world, team, 0).collect(), study.parts(team)
        shares.append(study.reach_of_z(team, world, d0, draws=3))
        assert study.changed(before, study.parts(team)) == []
    assert {share for some in shares[0].values() for share in some} == {0.0} and shares[1]["same z"] == [0.0]
    another, practice = shares[1]["another z"], shares[1]["after practice, against before"]
    assert (len(another), len(practice)) == (2, 3) and 0 < sum(another) / 2 < sum(practice) / 3 <= 1


@pytest.mark.parametrize("interval, steps, rounds", [(500, 1600, 5), (1000, 2000, 4), (2000, 2800, 3)])
def test_the_distance_of_meta_rounds(interval, steps, rounds):
    assert study.cycle_steps(interval, worlds=4) == steps and study.cycle_steps(500) == 2400
    world = mc.make("lumberjacks", num_envs=2, device="cpu", episode_limit=10)  # everything a tenth and a half: 4000 -> 400
    team = mc.MNMPG(world.spec, mc.MNMPG.Config(hidden=4, meta_interval=interval // 20, exercise_updates=1), device="cpu")
    log = study.MetaLog()
    mc.Trainer(world, team, eval_every=10**6, eval_episodes=1, callbacks=[log]).fit(399, progress=False)
    assert len(log.improvement) == math.ceil(399 / study.cycle_steps(interval // 20, worlds=2, length=10)) == rounds


# ---- the committed measurement ----


def test_the_committed_measurement_holds_what_the_chapter_says():
    data = mc.load_dataset("meta_signal")
    stages, pairs = data["improvement"].shape
    assert data["stored"].shape == data["redrawn"].shape == (stages, pairs, 822) and stages == 3
    assert data["env_steps"][0] == 0 and data["epsilon"][0] == 1 and data["epsilon"][-1] == pytest.approx(0.05)
    assert not data["literal"].any() and data["stored"].any() and data["redrawn"].any()


@pytest.mark.parametrize("stages", [[0], [0, 200]])
def test_the_script_measures_again(stages, monkeypatch):
    bench = script("meta_signal")
    monkeypatch.setattr(bench, "SETTINGS", {**bench.SETTINGS, "updates_per_collect": 1, "exercise_updates": 1, "hidden": 8})
    make = mc.make
    monkeypatch.setattr(bench.mc, "make", lambda name, **o: make(name, **o, episode_limit=6))
    found = bench.measure(stages, pairs=3, seed=1, progress=False)
    assert found["improvement"].shape == (len(stages), 3) and found["stored"].dtype == np.float16
    assert found["env_steps"][0] == 0 and (len(stages) == 1 or found["env_steps"][1] >= 200)
    assert not found["literal"].any() and found["redrawn"].any()


# ---- learning curves ----


def curves(levels, seeds=5, end=100_000, spread=3.0):
    rng = np.random.default_rng(0)
    rows = [
        {"algorithm": a, "seed": k, "env_steps": t, "return_mean": -180.0 if t == 0 else level + spread * rng.normal()}
        for a, level in levels.items()
        for k in range(seeds)
        for t in range(0, end + 1, 5_000)
    ]
    return pd.DataFrame(rows)


wrong = script("ch05", Path(__file__).parent / "mutants")
ALL = {name: 0.0 for names in study.ABLATIONS.values() for name in names}


def test_while_runs_are_missing_there_is_a_sentence_and_no_verdict(monkeypatch):
    monkeypatch.setattr(study, "datasets", lambda: {})
    assert study.committed_runs() is None and study.verdicts(None) is None
    assert "grid_mnmpg_lumberjacks.csv" in study.MISSING and "claims nothing here" in study.MISSING
    assert study.verdicts(curves({"MNMPG": 0.0, "QMIX_large": 0.0})) is None
    assert study.what_the_runs_say(None) == study.MISSING == study.what_the_runs_say(curves({"MNMPG": 0.0}))


def test_committed_runs_put_qmix_beside_them_on_the_seeds_that_all_have(monkeypatch):
    tables = {
        "grid_mnmpg_lumberjacks.csv": curves(ALL, seeds=3).assign(loss=1.0),
        "grid_lumberjacks.csv": curves({"QMIX": 0.0, "VDN": 0.0}, seeds=5, end=200_000),
    }
    monkeypatch.setattr(study, "datasets", lambda: tables)
    monkeypatch.setattr(study, "load_dataset", tables.get)
    found = study.committed_runs()
    assert set(found["algorithm"]) == {*ALL, "QMIX"} and set(found["seed"]) == {0, 1, 2}
    assert list(found.columns) == ["algorithm", "seed", "env_steps", "return_mean"]
    assert study.untrained_return(found) == -180
    assert study.steps_of(found, "QMIX") == 200_000 and study.steps_of(found, "QMIX", "MNMPG") == 100_000
    cut = study.same_steps(found, "QMIX", "MNMPG")
    assert set(cut["algorithm"]) == {"QMIX", "MNMPG"} and set(cut.groupby("algorithm")["env_steps"].max()) == {100_000}
    tables["grid_mnmpg_lumberjacks.csv"] = curves({"MNMPG": 0.0, "QMIX_large": 0.0}, seeds=3)
    assert study.committed_runs() is None, "a learner is missing"
    tables["grid_mnmpg_lumberjacks.csv"] = curves(ALL, seeds=1)
    assert study.committed_runs() is None, "one seed is no comparison"


def test_final_returns_are_of_the_last_fifth():
    frame = curves({"MNMPG": 7.0}, spread=0.0)
    frame.loc[frame["env_steps"] < 80_000, "return_mean"] = 1e6
    assert study.final_returns(frame, "MNMPG").tolist() == [7.0] * 5


def test_a_difference_is_taken_at_the_steps_that_both_have():
    long, short = curves({"MNMPG": 50.0}, spread=0.0), curves({"MNMPG no-s": 20.0}, end=40_000, spread=0.0)
    long.loc[long["env_steps"] <= 40_000, "return_mean"] = 5.0
    frame = pd.concat([long, short])
    assert study.difference(frame, "MNMPG", "MNMPG no-s") == (-15.0, -15.0, -15.0)
    assert study.steps_of(frame, "MNMPG") == 100_000 and study.steps_of(frame, "MNMPG", "MNMPG no-s") == 40_000
    every = pd.concat([frame, curves({name: 0.0 for name in study.LEARNERS - {"MNMPG", "MNMPG no-s"}})])
    (row,) = (r for r in study.ledger_rows(every) if "state" in r["claim"])
    assert (row["ours"], row["verdict"]) == (-15.0, "not reproduced")
    assert "40,000 environment steps ('reduced')" in row["ran"] and row["command"].endswith("--steps 40000")
    assert "40,000 steps: MNMPG ends lower" in study.what_the_runs_say(every)


def test_student_and_the_interval():
    assert study.student95(8) == pytest.approx(2.306, abs=2e-3) and study.student95(2) == pytest.approx(4.303, abs=0.01)
    frame = pd.DataFrame(
        [
            {"algorithm": a, "seed": k, "env_steps": 10, "return_mean": v}
            for a, x in (("a", (3, 5, 7)), ("b", (1, 2, 3)))
            for k, v in enumerate(x)
        ]
    )
    middle, low, high = study.difference(frame, "a", "b")
    half = 2.776 * math.sqrt((4 + 1) / 2 * (2 / 3))
    assert middle == 3 and high - middle == pytest.approx(half, rel=2e-3) == middle - low
    with pytest.raises(ValueError, match="at least 2 of each, not 1 of a and 1 of b"):
        study.difference(frame[frame["seed"] == 0], "a", "b")


@pytest.mark.parametrize(
    "changes, large, six",
    [
        ({}, "no difference", "no difference"),
        ({"MNMPG": 30.0}, "confirmed", "confirmed"),
        ({"MNMPG": 30.0, "QMIX": 30.0}, "no difference", "confirmed"),
        ({"QMIX_large": 30.0}, "refuted", "no difference"),
        ({"MNMPG K=1": 30.0}, "no difference", "refuted"),
        ({"MNMPG": 30.0, "MNMPG no-s": 30.0}, "confirmed", "no difference"),
    ],
)
def test_verdicts(changes, large, six):
    assert study.verdicts(curves({**ALL, "QMIX": 0.0, **changes})) == {"5.C": large, "5.D": six}
    assert study.verdicts(curves({**ALL, **changes} if "QMIX" not in changes else ALL)) is None


def test_what_the_runs_say_is_read_off_them():
    told = study.what_the_runs_say(curves({**ALL, "QMIX": 0.0, "MNMPG K=1": 30.0, "MNMPG": 30.0, "QMIX_large": 30.0}))
    assert (
        told.startswith("5 seeds.")
        and "Levels at 100,000 steps, all three" in told
        and "early speed" not in told
        and "untrained teams -180.0" in told
    )
    assert (
        "these runs do not show that the meta step did it" in told
        and "5.C no difference. " in told
        and "provisional" not in told
    )
    assert "is shown for MNMPG no-grad, MNMPG no-s, MNMPG interval=1000" in told and "K=1," not in told
    assert "the meta step helped" in study.what_the_runs_say(curves({**ALL, "QMIX": 0.0, "MNMPG": 30.0}))
    told = study.what_the_runs_say(curves({**ALL, "QMIX": 0.0, "QMIX_large": 30.0}, seeds=2))
    assert (
        "the meta step harmed" in told
        and "for none of the six" in told
        and "2 seeds" in told
        and "5.C refuted (provisional: 2 of 5" in told
    )
    assert all(len(line) < 130 for line in told.splitlines())


@pytest.mark.parametrize("there", [False, True])
def test_the_chapter_tells_both_states(there, monkeypatch, capsys):
    """The cells of section 6 about the committed runs, without the files and with made-up ones."""
    notebook = json.loads((Path(__file__).parents[1] / "solutions" / "05_mnmpg.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    found = {"grid_mnmpg_lumberjacks.csv": curves(ALL), "grid_lumberjacks.csv": curves({"QMIX": 0.0}, seeds=3, end=150_000)}
    monkeypatch.setattr(study, "datasets", lambda: found if there else {})
    monkeypatch.setattr(study, "load_dataset", found.get)
    names = {"study": study, "mc": mc, "plt": matplotlib.pyplot, "pictures": pictures, "ClaimCard": ClaimCard}
    for begin in ("main = ClaimCard", "ablations = ClaimCard", 'print("Looking for the committed runs', "verdicts = study."):
        (source,) = (s for s in sources if s.startswith(begin))
        exec(compile(source, begin, "exec"), names)
    said, figures = capsys.readouterr().out, matplotlib.pyplot.get_fignums()
    matplotlib.pyplot.close("all")
    assert ("seeds: [0, 1, 2] environment steps: 100000" in said) == there == (len(figures) == 2)
    assert said.count("Claim 5.C: no difference") == said.count("Claim 5.D: no difference") == there
    assert (study.MISSING in said) == (not there) == ("There is no curve yet" in said)


def test_ledger_rows_are_put_behind_the_chapter_and_replaced(tmp_path, monkeypatch, capsys):
    frame = curves({**ALL, "MNMPG": 30.0, "MNMPG K=1": 30.0, "QMIX": 0.0})
    rows = study.ledger_rows(frame)
    assert len(rows) == 8 and [r["verdict"] for r in rows].count("not reproduced") == 1 and study.ledger_rows(None) == []
    assert len(study.ledger_rows(frame[frame["algorithm"] != "QMIX"])) == 7
    source = next(folder / "reproductions.csv" for folder in study.dataset_folders())
    (tmp_path / "reproductions.csv").write_bytes(source.read_bytes())
    before = source.read_text(encoding="utf-8").splitlines()
    monkeypatch.setenv("MARLCOURSE_DATASETS", str(tmp_path))
    monkeypatch.setattr(study, "committed_runs", lambda: frame)
    for _ in range(2):  # the second time in the place of the first
        assert study.main(["--write"]) == 0
        after = (tmp_path / "reproductions.csv").read_text(encoding="utf-8").splitlines()
        found = [row for row in ledger.load(chapter="05") if row.claim.startswith("On lumberjacks")]
        kept = {line for line in before if not line.lstrip('"').startswith("On lumberjacks (in the paper: SMAC)")}
        assert len(found) == 8 and kept <= set(after)
    assert "reproduced" in capsys.readouterr().out
    monkeypatch.setattr(study, "committed_runs", lambda: None)
    assert study.main([]) == 0 and "Not measured yet" in capsys.readouterr().out


def test_the_study_of_the_benchmark_runs_what_the_chapter_reads():
    bench = script("grid_study")
    assert set(bench.STUDIES["mnmpg-lumberjacks"][2]) == set(ALL)
    spec = mc.make("lumberjacks", device="cpu").spec
    configs = {name: bench.learner(name, spec, 0).config for name in ALL}
    base = configs["MNMPG"]
    assert (base.z_dim, base.meta_interval, base.td_reaches_encoder, base.mix_state) == (3, 500, True, True)
    assert configs["QMIX_large"].meta_lr == 0 < base.meta_lr
    assert not configs["MNMPG no-grad"].td_reaches_encoder and not configs["MNMPG no-s"].mix_state
    assert [configs[f"MNMPG K={k}"].z_dim for k in (1, 10)] == [1, 10]
    assert [configs[f"MNMPG interval={k}"].meta_interval for k in (1000, 2000)] == [1000, 2000]


# ---- pictures ----


def texts(figure):
    own = [figure._suptitle.get_text()] if figure._suptitle else []
    return " ".join(
        [*own, *(t for ax in figure.axes for t in (ax.get_title(), ax.get_title("left"), ax.get_xlabel(), ax.get_ylabel()))]
    )


def test_pictures_name_their_axes_seeds_and_counts():
    samples = {r: study.estimates(r, repeats=500) for r in study.READINGS}
    readings = pictures.plot_readings(samples, 5.59)
    assert "500 independent draws each (seed 0)" in texts(readings)
    assert "equation 5" in texts(readings) and "commit 797822e" in texts(readings)
    spike = [bar for bar in readings.axes[0].patches if bar.get_height() > 0]
    assert len(spike) == 1 and spike[0].get_x() + spike[0].get_width() / 2 == pytest.approx(0, abs=1e-9), "centred"
    low, high = readings.axes[0].get_xlim()
    assert low == pytest.approx(-high)
    limits = {tuple(pictures.plot_estimator("stored", k, 20).axes[0].get_ylim()) for k in (1, 300)}
    assert len(limits) == 1, "the grey outline must not shrink when rounds grow"
    assert "4,000 estimates" in texts(pictures.plot_estimator("stored", 3, 20)) and "3 rounds" in texts(
        pictures.plot_estimator("stored", 3, 20)
    )
    axes = pictures.plot_ledger().axes[0]
    dotted = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert len(dotted) == sum(row.low is not None and row.low < 0 < row.high for row in ledger.load(chapter="05")) > 0
    small = [text for text in axes.texts if text.get_fontsize() == 6.5]
    marks = [text.get_position() for text in small if text.get_text() == "0" and text.get_color() == "0.3"]
    assert 0 < len(marks) < len(dotted) and {x for x, _ in marks} < set(dotted), "one row's 0 lies beside the end of its scale"
    for x, y in marks:
        others = [abs(text.get_position()[0] - x) for text in small if abs(text.get_position()[1] - y) < 0.05]
        assert min(gap for gap in others if gap > 0) > 0.1, "no figure is printed over another"
    assert "4 seeds" in texts(pictures.plot_known({"stored": torch.randn(4, 9), "redrawn": torch.randn(4, 9)}))
    uneven = {"stored": torch.randn(4, 9), "redrawn": torch.randn(1, 9)}
    assert "seeds: 4 stored, 1 redrawn" in texts(pictures.plot_known(uneven))
    assert "seeds: 4 stored, 1 redrawn" in texts(pictures.plot_loop(uneven))
    assert "3 seeds" in texts(pictures.plot_loop({"stored": torch.randn(3, 9)}))
    signal = texts(pictures.plot_signal(mc.load_dataset("meta_signal")))
    assert "48 pairs" in signal and "1 seed" in signal and "environment steps" in signal
    assert "5 seeds" in texts(pictures.plot_ablations(curves(ALL)))
    track = (torch.zeros(6, 3), torch.ones(6, 3), torch.randn(6, 3))
    assert "step of the episode" in texts(pictures.plot_hierarchy({"null": track, "trained": track}, [2], "z"))


def test_the_explorer_has_a_still():
    still = pictures.estimator_explorer(static=True)
    assert "noise 20, m = 0" in texts(still.figure) and still.box is None


# ---- what the checks say ----


@pytest.mark.parametrize(
    "check, answer, said",
    [
        (ch05.check_log_p, lambda z, mean, std: ch05.log_p(z, mean, std).exp(), "density itself"),
        (ch05.check_slope_estimate, lambda g, z, m, s: -ch05.slope_estimate(g, z, m, s), "the sign"),
        (
            ch05.check_meta_loss,
            lambda e, s, z, mask, r: -r * ((e.log_prob(s, z) * mask).sum(1) / mask.sum(1)).mean(),
            "also runs through z",
        ),
        (ch05.check_meta_loss, lambda e, s, z, mask, r: -r * e.log_prob(s, z.detach()).mean(), "padded steps"),
        (ch05.check_meta_loss, wrong.redraws, "draws a z of its own"),
        (ch05.check_log_p, mutate(ch05.log_p, ".sum(-1)", ""), "one number for each entry"),
        (ch05.check_log_p, mutate(ch05.log_p, "-0.5 * ((", "0.5 * (("), "the sign of the exponent"),
        (ch05.check_log_p, mutate(ch05.log_p, "- std.log()", "+ std.log()"), "the sign of log(std)"),
        (ch05.check_log_p, mutate(ch05.log_p, "- std.log()", ""), "- log(std) is missing"),
        (ch05.check_log_p, wrong.squared_std, "not in the logarithm"),
        (ch05.check_log_p, lambda z, mean, std: None, "must be a `return`"),
        (ch05.check_slope_estimate, lambda g, z, m, s: None, "must be a `return`"),
        (ch05.check_slope_estimate, lambda g, z, m, s: ch05.slope_estimate(g, z, m, s).mean(), "one number for each of the K"),
        (ch05.check_slope_estimate, lambda g, z, m, s: ch05.slope_estimate(g, z, 0, s), "the mean was not subtracted"),
        (ch05.check_slope_estimate, wrong.centred, "by 1 - 1/n on average"),
        (ch05.check_meta_loss, wrong.plain_number, "cut the road"),
        (ch05.check_meta_loss, wrong.sums_the_episodes, "the episodes are summed"),
        (ch05.check_meta_loss, wrong.density_itself, "this is p itself"),
        (ch05.check_meta_loss, lambda *_: None, "must be a `return`"),
        (ch05.check_meta_round, wrong.scored_d1, "was given D1"),
        (ch05.check_meta_round, wrong.weighed_by(lambda r: torch.tensor(1.0)), "R1 - R0 is missing in the meta loss"),
        (ch05.check_meta_round, wrong.weighed_by(abs), "after a loss"),
        (ch05.check_meta_round, wrong.weighed_by(lambda r: 2 * r), "weighs the score by 4, expected 2"),
        (ch05.check_repaired_round, wrong.counts_losses_as_gains, "the sign of a loss"),
        (ch05.check_repaired_round, mutate(ch05.repaired_round, "range(updates)", "range(1)"), "practise was called once"),
        (ch05.check_slope_estimate, wrong.nothing_weighed, "this is the mean score"),
        (ch05.check_slope_estimate, wrong.gain_times_log_p, "its *slope* is asked"),
        (ch05.check_slope_estimate, lambda g, z, m, s: (g * (z - m) / s**2).mean(0), "give gain an axis"),
        (ch05.check_repaired_round, wrong.scores_anew, "drawn anew"),
        (ch05.check_repaired_round, wrong.wrong_way_round, "the sign"),
        (ch05.check_repaired_round, wrong.late_before, "was R0 taken before"),
        (ch05.check_repaired_round, wrong.scores_the_last, "score all of them"),
        (ch05.check_repaired_round, wrong.mean_of_the_scores, "the mean of the scores"),
        (ch05.check_repaired_round, wrong.scores_each_update, "counts once"),
        (ch05.check_repaired_round, lambda *tools: ch05.repaired_round(*tools) and None, "returned None"),
        (ch05.check_meta_round, lambda team, ctx: ch05.meta_round(team, ctx) and None, "return improvement"),
        (ch05.check_meta_round, mutate(ch05.meta_round, "team.with_z(ctx.collect(), ctx.generator)", "ctx.collect()"), "a z"),
        (ch05.check_meta_round, mutate(ch05.meta_round, "improvement)[0]", "improvement)"), "was given a tuple"),
        (
            ch05.check_meta_round,
            mutate(ch05.meta_round, "team.meta_loss(d0, improvement)[0]", "team.meta_loss, d0, improvement"),
            "give step the loss itself",
        ),
    ],
)
def test_a_known_mistake_is_named(check, answer, said):
    with pytest.raises(ExerciseIncomplete) as caught:
        check.verify(answer)
    assert said in str(caught.value) and caught.value.kind == "wrong"


def all_scored(draw, practise, play, score, updates):
    before, used = play(), [draw() for _ in range(updates)]
    for z in used:
        practise(z)
    return (play() - before) * sum(map(score, used))


def last_scored_times_updates(draw, practise, play, score, updates):
    before = play()
    for _ in range(updates):
        z = draw()
        practise(z)
    return (play() - before) * updates * score(z)


def r1_alone(draw, practise, play, score, updates):
    z = draw()
    for _ in range(updates):
        practise(z)
    return play() * score(z)


def gain_of_each_update(draw, practise, play, score, updates):
    total, before = 0.0, play()
    for _ in range(updates):
        z = draw()
        practise(z)
        after = play()
        total, before = total + (after - before) * score(z), after
    return total


@pytest.mark.parametrize("answer", [all_scored, last_scored_times_updates, r1_alone, gain_of_each_update])
def test_a_round_is_judged_by_its_mean(answer):
    ch05.check_repaired_round.verify(answer)


@pytest.mark.parametrize(
    "shift, sign, said",
    [(1, 1, "More than one z"), (0, -1, "the sign: after a gain"), (0, 1, None)],
    ids=["z", "sign", "right"],
)
def test_a_wrong_loss_of_ones_own_is_noticed(shift, sign, said):
    def own_loss(team, ctx):
        d0 = team.with_z(ctx.collect(), ctx.generator)
        for _ in range(team.config.exercise_updates):
            ctx.step("main", team.exercise_loss, d0)
        improvement = team.improvement(d0, ctx.collect())
        states, z = d0.states[:, :-1], d0.extras["z"] + shift
        ctx.step("meta", sign * ch05.meta_loss(team.mixer.encoder, states, z, d0.mask, improvement))
        return improvement

    if said is None:
        return ch05.check_meta_round.verify(own_loss)
    with pytest.raises(ExerciseIncomplete, match=said):
        ch05.check_meta_round.verify(own_loss)
