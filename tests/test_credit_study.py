"""Chapter 04's measurements and pictures: the null model, the scaled team, percentiles, parity, ledger rows."""

import dataclasses
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import marlcourse as mc
from marlcourse.core import EpisodeBatch
from marlcourse.course import braking_study, ledger
from marlcourse.course import credit_plots as pictures
from marlcourse.course import credit_study as study
from marlcourse.course.authoring import read
from marlcourse.course.checks import ch04
from marlcourse.course.claims import ClaimCard, ClaimChanged
from marlcourse.course.data import save_dataset
from marlcourse.course.exercises import ExerciseIncomplete
from marlcourse.credit import credit, normalised_entropy
from marlcourse.nets.mixers import MonotonicMixer
from marlcourse.rollout import Collector

CHAPTER = Path(__file__).resolve().parents[1] / "solutions" / "04_gradient_entropy.ipynb"


@pytest.fixture(autouse=True)
def closed():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture(scope="module")
def played() -> tuple[mc.QMIX, EpisodeBatch]:
    env = mc.make("lumberjacks", num_envs=3, device="cpu", seed=0, episode_limit=20)
    team = mc.QMIX(env.spec, seed=0, device="cpu")
    return team, Collector(env, team, 0).collect()


# ---- measurements ----


def test_untrained_mixers_on_random_states():
    g = study.untrained_credit(3, mixers=2, rows=5, seed=1)
    torch.manual_seed(1001)
    mixer = MonotonicMixer(3, 30)
    want = credit(mixer, torch.randn(5, 3), torch.randn(5, 30))
    assert g.shape == (10, 3) and torch.equal(g[5:], want)
    state = torch.get_rng_state()
    study.untrained_credit(2, mixers=1, rows=4, layers=1)
    narrow, wide = (study.untrained_credit(2, mixers=5, embed=e) for e in (1, 64))
    assert normalised_entropy(narrow).mean() + 0.05 < normalised_entropy(wide).mean(), "units average"
    assert torch.equal(torch.get_rng_state(), state), "the reader's generator is left alone"
    np.testing.assert_allclose(
        study.entropy_percentiles(g), np.percentile(normalised_entropy(g).numpy(), (5, 25, 50, 75, 95)), rtol=1e-5
    )


def test_a_teams_credit_is_taken_on_real_steps_at_the_actions_played(played):
    team, batch = played
    g = study.team_credit(team, batch)
    q = team.utilities(team.agent, batch).detach()
    want = []
    for b in range(len(batch)):
        for t in range(int(batch.length[b])):
            chosen = q[b, t].gather(-1, batch.actions[b, t].unsqueeze(-1)).squeeze(-1)
            want.append(credit(team.mixer, chosen, batch.states[b, t]))
    torch.testing.assert_close(g, torch.stack(want))


@pytest.mark.parametrize("world", study.WORLDS)
def test_untrained_teams_in_their_world(world):
    (g,) = study.untrained_team_credit(world, teams=1)
    assert g.shape[1] == study.WORLDS[world][1] and (g >= 0).all()
    (other,) = study.untrained_team_credit(world, teams=1, layers=1)
    assert not torch.equal(g[:20], other[:20])


def test_the_null_model_has_an_interval_over_its_mixers():
    n = study.WORLDS["lumberjacks"][1]
    g = study.untrained_credit(n, mixers=5, rows=40)
    found = study.null_gap("lumberjacks", g, mixers=5, draws=200)
    want = study.implied_cv(study.entropy_percentiles(g), n) - study.implied_cv(study.PAPER["lumberjacks"], n)
    np.testing.assert_allclose(found["difference"], want, atol=1e-4)
    assert (found["low"] <= found["difference"]).all() and (found["difference"] <= found["high"]).all()
    assert (found["high"] - found["low"]).max() > 1e-3 and found["answer"] in ("confirmed", "refuted", "not decided")
    same = study.null_gap("junction", study.untrained_credit(10, mixers=1, rows=40).repeat(3, 1), mixers=3, draws=50)
    np.testing.assert_allclose(same["low"], same["high"], err_msg="three times the same mixer: nothing to draw")


def run_of(*at):
    """A run with evaluations at these environment steps."""
    rows = [{"env_steps": k, "return_mean": 0.0, "entropy_p50": 0.9} for k in at]
    return SimpleNamespace(history=rows)


def test_a_run_that_was_stopped_gives_no_verdict():
    whole, short = run_of(0, 800, 1_605), run_of(0, 800)
    assert study.length(short) == 800 and study.how_long(whole, 1_600) == "1,600 steps"
    assert study.how_long(short, 1_600) == "800 of 1,600 steps (stopped)"
    assert study.cut_short(1_600, one=whole, other=whole) == ""
    said = study.cut_short(1_600, the_first=whole, its_twin=short)
    assert said.startswith("No verdict: its twin was stopped at 800 of 1,600 steps.") and "the first" not in said


def test_idle_play_by_hand():
    assert study.idle_return("lumberjacks", 2) == pytest.approx(-200), "two agents, 100 steps, 1 a step, and no tree falls"
    assert study.idle_return("junction", 2) == pytest.approx(-202), "four cars stand at their gates: 4 x .01 x (1 + ... + 100)"


@pytest.mark.parametrize("factor", [0.125, 8.0])
def test_rescaling_moves_the_entropy_and_nothing_that_the_team_does(played, factor):
    team, batch = played
    before, after = study.scaled_readings(team, batch, 1.0), study.scaled_readings(team, batch, factor)
    for same in ("q_tot", "greedy", "invariant"):
        assert torch.equal(before[same], after[same]), same
    want = before["credit"] / torch.tensor([factor, 1.0])
    assert torch.equal(after["credit"], want)
    assert (after["entropy"] - before["entropy"]).abs().mean() > 0.2


def test_a_team_in_another_unit_learns_the_same_bit_for_bit():
    plain, team = study.short_run(steps=1_600, batch_size=4)
    scaled, twin = study.short_run(steps=1_600, batch_size=4, factor=4.0)
    gre, same = study.short_run(mc.QMIXGRE, steps=1_600, batch_size=4, entropy_weight=0.0)
    start = study.weights(mc.QMIX(team.spec, seed=0, device="cpu"))
    assert any(not torch.equal(a, b) for a, b in zip(start, study.weights(team))), "it learned"
    for other in (twin, same):
        assert all(torch.equal(a, b) for a, b in zip(study.weights(team), study.weights(other)))
    rows = [[row["return_mean"] for row in run.history] for run in (plain, scaled, gre)]
    assert rows[0] == rows[1] == rows[2]
    assert plain.history[-1]["entropy_p50"] - scaled.history[-1]["entropy_p50"] > 0.1
    other, _ = study.short_run(mc.QMIXGRE, steps=1_600, batch_size=4, entropy_weight=1.0)
    assert [r["entropy_p50"] for r in other.history] != [r["entropy_p50"] for r in plain.history]


# ---- committed runs ----


def runs_of(world="lumberjacks", learners=None, seeds=3, steps=100_000, gap=0.0, entropy=0.99):
    """Made-up runs whose returns rise from -100 to 100 (+ gap for all but QMIX), with a little noise per seed."""
    rows, pooled = [], []
    for name in learners or study.LEARNERS:
        for seed in range(seeds):
            for k in range(11):
                value = -100 + 20 * k + (gap if name != "QMIX" and k else 0) + (seed - 1)
                level = {f"entropy_p{p}": entropy + 0.001 * i for i, p in enumerate((5, 25, 50, 75, 95))}
                row = {"algorithm": name, "seed": seed, "env_steps": steps * k // 10, "return_mean": value}
                rows.append(row | level | {"entropy_mean": entropy + 0.002, "cv_mean": 0.1})
            spread = 0.001 * (seed - 1)
            pooled.append({"algorithm": name, "seed": seed} | {f"p{p}": entropy + spread for p in (5, 25, 50, 75, 95)})
    return study.Runs(world, pd.DataFrame(rows), pd.DataFrame(pooled))


def test_what_is_committed_is_read_and_what_is_not_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr("marlcourse.course.data.dataset_folders", lambda: [tmp_path])
    empty = study.committed("junction")
    assert not empty.has("QMIX") and empty.learners == [] and "not measured yet" in empty.budget("QMIX")
    made = runs_of(learners=["QMIX"], seeds=2)
    for name, frame in (("", made.history), ("_pooled", made.pooled)):
        save_dataset(f"grid_credit_lumberjacks{name}.csv", frame, command="x", seeds=[0, 1], folder=tmp_path)
    runs = study.committed("lumberjacks")
    assert runs.learners == ["QMIX"] and runs.seeds("QMIX") == 2 and runs.steps("QMIX") == 100_000
    assert runs.budget() == "Lumberjacks (ma-gym) QMIX: 2 seeds x 100,000 steps (reduced)"
    assert list(study.overview({"lumberjacks": runs})["return"]) == [pytest.approx(89.5)]
    assert empty.matched == 0 and runs.matched == 100_000


def test_returns_at_the_end_are_those_of_the_last_fifth():
    runs = runs_of()
    np.testing.assert_allclose(runs.returns("QMIX"), [89, 90, 91])  # evaluations at 90,000 and 100,000 steps
    np.testing.assert_allclose(runs.returns("QMIX", 50_000), [-1, 0, 1])
    np.testing.assert_allclose(runs.returns("QMIX", 12_000), [-81, -80, -79])  # no evaluation that late: the last before it
    assert runs.untrained_return() == -100 and runs.reduced("QMIX") and not runs_of(seeds=5, steps=200_000).reduced("QMIX")
    first, over = runs.medians()
    np.testing.assert_allclose(first, [0.992] * 3)
    np.testing.assert_allclose(over, [0.989, 0.99, 0.991])
    assert list(pictures._smooth([0, 3, 9])) == [0, 4, 9], "a curve begins and ends at its own values"
    assert list(pictures._smooth(range(9))) == list(range(9)) and list(pictures._smooth([0, 0, 5, 0, 0]))[2] == 1
    np.testing.assert_allclose(runs.percentiles()[:, 2], [0.989, 0.99, 0.991])
    np.testing.assert_allclose(runs.batch_means(), [0.992] * 5)


def test_a_shorter_run_is_compared_at_its_own_length():
    long, short = runs_of(learners=["QMIX"]), runs_of(learners=["QMIX-simple"], steps=50_000)
    both = study.Runs("junction", pd.concat([long.history, short.history]), pd.concat([long.pooled, short.pooled]))
    found = study.against_qmix(both, "QMIX-simple")
    assert found["steps"] == 50_000 and found["difference"] == pytest.approx(90 - 0)
    seen = study.overview({"junction": both})
    assert list(seen["at"]) == [50_000] * 2 and list(seen["steps"]) == [100_000, 50_000]
    assert list(seen["return"]) == [0.0, 90.0], "the table compares at the same steps, as the figure does"


@pytest.mark.parametrize("gap, answer", [(0, "confirmed"), (50, "confirmed"), (-18.5, "not decided"), (-40, "refuted")])
def test_parity_asks_whether_the_loss_may_exceed_the_margin(gap, answer):
    found = study.against_qmix(runs_of(gap=gap), "QMIX-simple")
    assert found["answer"] == answer and found["difference"] == pytest.approx(gap)
    assert found["margin"] == pytest.approx(19.0) and found["low"] <= found["difference"] <= found["high"]
    assert study.against_qmix(runs_of(learners=["QMIX"]), "QMIX-simple") is None
    assert study.against_qmix(runs_of(), None) is None


def test_the_best_weight_is_chosen_by_return():
    runs = runs_of()
    runs.history.loc[runs.history["algorithm"] == "QMIX-GRE 0.0005", "return_mean"] += 5
    assert study.best_weight(runs) == "QMIX-GRE 0.0005"
    assert study.best_weight(runs_of(learners=["QMIX"])) is None


def test_a_parity_without_seeds_or_without_a_gain_is_not_decided():
    few = study.against_qmix(runs_of(seeds=2), "QMIX-simple")
    assert few["answer"] == "not decided" and "2 seeds" in few["why"]
    flat = runs_of()
    flat.history["return_mean"] = -100.0 + flat.history["seed"]
    assert "gained nothing" in study.against_qmix(flat, "QMIX-simple")["why"]
    assert not [row for row in study.ledger_rows({"lumberjacks": flat}) if "does" in row["claim"]]
    low = runs_of()
    low.history["return_mean"] -= 1_000  # they learn, and still end below a team that never moves
    assert "below idle play" in study.against_qmix(low, "QMIX-simple")["why"]
    found = [row for row in study.ledger_rows({"lumberjacks": low}) if "QMIX-simple does" in row["claim"]]
    assert [row["verdict"] for row in found] == ["partly"] and "idle" in found[0]["metric"]


def test_an_entropy_stands_for_a_spread():
    g = torch.tensor([[1.17, 0.83]])
    assert study.implied_cv(normalised_entropy(g), 2)[0] == pytest.approx(0.17, abs=0.002)
    assert study.implied_cv(0.98, 10) == pytest.approx(0.303, abs=0.001) and study.implied_cv(1.0, 5) == 0


def like_the_paper(world="lumberjacks", shift=0.0, seeds=5, learners=None):
    """Made-up runs with the paper's percentiles over training (moved by ``shift``), one seed like the other."""
    runs = runs_of(world, learners, seeds=seeds, steps=200_000, entropy=study.PAPER[world][2] - 0.002)
    for p, value in zip((5, 25, 50, 75, 95), study.PAPER[world]):
        runs.pooled[f"p{p}"] = value + shift
    return runs


def test_the_papers_percentiles_and_the_start_are_compared_as_spreads():
    near = study.near_paper(like_the_paper())
    assert near["answer"] == "confirmed" and abs(near["difference"]).max() < 1e-9 and near["seeds"] == 5
    far = study.near_paper(like_the_paper(shift=-0.02))
    assert far["answer"] == "refuted" and far["difference"].min() > 0.05, "a lower entropy is a larger spread"
    assert study.near_paper(like_the_paper(seeds=2))["answer"] == "not decided"
    assert study.unmoved(like_the_paper())["answer"] == "confirmed"
    assert study.unmoved(like_the_paper(shift=-0.02))["difference"][0] > 0.05
    noisy = like_the_paper()
    noisy.pooled["p50"] = noisy.pooled["seed"].map({0: 0.999, 1: 0.96, 2: 0.999, 3: 0.999, 4: 0.96})
    assert study.unmoved(noisy)["answer"] == "not decided" and "margin" in study.unmoved(noisy)["why"]
    none = study.Runs("junction", runs_of().history[:0], None)
    assert study.near_paper(none) is None and study.unmoved(none) is None and study.moved(none) is None


def test_the_median_alone_does_not_show_a_dip():
    dipped = like_the_paper()
    dipped.pooled["p5"] = 0.90
    assert study.unmoved(dipped)["answer"] == "confirmed"
    found = study.moved(dipped)
    assert found["low"][0] > 0.1 and abs(found["difference"][2]) < 0.02
    assert "the 5th percentile away from equality (+0." in study.direction(dipped)


def test_which_way_training_moved_the_credit_is_read_off_the_runs():
    away = study.direction(like_the_paper("junction", shift=-0.02, seeds=1))
    assert "training moved it away from equality" in away and "(provisional: 1 of 5 planned seeds)" in away
    assert "training moved it towards equality" in study.direction(like_the_paper("junction", shift=0.02))
    flat = like_the_paper()
    flat.pooled["p50"] = flat.pooled["seed"].map({0: 0.996, 1: 0.998, 2: 0.997, 3: 0.998, 4: 0.996})
    assert "in no direction that shows" in study.direction(flat) and "provisional" not in study.direction(flat)
    assert study.direction(study.Runs("junction", runs_of().history[:0], None)) == ""


def test_a_punishment_is_seen_when_the_whole_interval_lies_below_nought(capsys):
    assert not study.lowered(runs_of(), "QMIX-GRE 0.001")["seen"], "the same entropies"
    runs = runs_of()
    runs.history.loc[runs.history["algorithm"] == "QMIX-GRE 0.001", "entropy_p50"] -= 0.02
    found = study.lowered(runs, "QMIX-GRE 0.001")
    assert found["seen"] and found["difference"] == pytest.approx(-0.02) and len(found["own"]) == 3
    study.settle_effect({"lumberjacks": runs, "junction": runs_of("junction", learners=["QMIX"])})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  Lumberjacks (ma-gym): lambda 0.001 yes, lambda 0.0005 no, lambda 0.0001 no"
    assert lines[2].endswith(study.UNMEASURED)
    few = runs_of(seeds=2)
    few.history.loc[few.history["algorithm"] == "QMIX-GRE 0.001", "entropy_p50"] -= 0.02
    assert not study.lowered(few, "QMIX-GRE 0.001")["seen"], "two seeds give no interval"


def test_differences_in_words():
    found = {"difference": [0.07041, -0.0001], "low": [0.05231, -0.02], "high": [0.0874, 0.0], "seeds": 5}
    assert study.in_words(found) == ["+0.070 [+0.052, +0.087]", "+0.000 [-0.020, +0.000]"], "nought has one sign"
    assert study.in_words(found | {"seeds": 1}) == ["+0.070", "+0.000"], "one seed: no interval"
    assert study.provisional({"seeds": 5, "steps": 200_000}) == study.provisional({}) == ""
    assert study.provisional({"seeds": 3, "steps": 200_000}) == "provisional: 3 of 5 planned seeds"
    assert study.provisional({"seeds": 5, "steps": 100_000}) == "100,000 of 200,000 planned steps"


def test_a_claim_is_settled_world_by_world(capsys, monkeypatch):
    card = ClaimCard(id="4.X", hypothesis="H", metric="m", margin="1", budget="b", tuning="none", seeds=5)
    study.settle(card, {"lumberjacks": None, "junction": {"answer": "not decided", "why": "1 seed"}})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Claim 4.X: H" and lines[2] == "  TrafficJunction10 (ma-gym): not decided (1 seed)"
    assert lines[1] == "  Lumberjacks (ma-gym): not measured yet; the chapter claims nothing here"
    study.settle(card, {"lumberjacks": {"answer": "confirmed", "why": "", "seeds": 3, "steps": 200_000}})
    assert capsys.readouterr().out.endswith("confirmed (provisional: 3 of 5 planned seeds)\n")
    monkeypatch.setitem(study.EXPECTED, "4.X lumberjacks", "confirmed")
    found = {"lumberjacks": {"answer": "refuted", "why": ""}}
    study.settle(card, found)
    monkeypatch.setenv("MARLCOURSE_STRICT", "1")
    with pytest.raises(ClaimChanged, match="the text says confirmed, the evidence says refuted"):
        study.settle(card, found)


def test_what_the_runs_say_without_runs_with_all_and_with_some():
    none = {world: study.Runs(world, runs_of().history[:0], runs_of().pooled[:0]) for world in study.WORLDS}
    simple = lambda runs: "QMIX-simple"
    for said in (study.say_training(none), study.say_parity(none, simple), study.say_parity(none, study.best_weight)):
        assert [line.partition(": ")[2] for line in said] == ["not measured yet; the chapter claims nothing here."] * 2
    assert all(
        line.endswith("Both worlds: not measured yet; the chapter claims nothing here.") for line in study.findings(none)
    )

    full = {world: like_the_paper(world) for world in study.WORLDS}
    said = study.say_training(full)
    assert "median entropy over training is 0.997 (CV_H 0.06), the paper's 0.997" in said[0]
    assert said[1].startswith("C: the paper's table") and said[2].startswith("D: training left the median")
    moved = study.say_training({"lumberjacks": like_the_paper(shift=-0.02)})
    assert "less equal than the paper's" in moved[1] and "less equal than before" in moved[2]
    assert "more equal than before" in study.say_training({"junction": like_the_paper("junction", shift=0.02)})[2]
    assert "Comparable: to forbid unequal credit" in study.say_parity(full, simple)[1]
    gre = study.say_parity(full, study.best_weight)
    assert "QMIX-GRE 0.001 minus QMIX: +0.0" in gre[0] and "QMIX 0.9970" in gre[2]
    assert gre[1].startswith("Comparable: but at this lambda the punishment had no visible effect")
    felt = like_the_paper()
    felt.history.loc[felt.history["algorithm"].str.contains("GRE"), "entropy_p50"] -= 0.02
    assert "Comparable: to punish equal credit cost" in study.say_parity({"lumberjacks": felt}, study.best_weight)[1]
    assert "At least one of the paper's lambdas lowered" in repr(study.findings({"lumberjacks": felt}))
    worse = {"lumberjacks": runs_of(gap=-40)}
    assert study.say_parity(worse, simple)[1].startswith("Worse") and "(reduced)" in study.say_parity(worse, simple)[0]
    assert "Not decided, since the interval" in study.say_parity({"lumberjacks": runs_of(gap=-18.5)}, simple)[1]

    some = {"lumberjacks": full["lumberjacks"], "junction": runs_of("junction", learners=["QMIX"], seeds=5)}
    lines = study.findings(some)
    nothing = "not measured yet; the chapter claims nothing here."
    assert lines[4].endswith(f"Lumberjacks (ma-gym): confirmed. TrafficJunction10 (ma-gym): {nothing}")
    assert "<details open><summary>What the long runs say so far</summary><p>Lumberjacks" in lines._repr_html_()
    assert lines[2].startswith("C, the paper's") and len(lines) == 7
    more = study.findings(some, {"H, it moves": {"answer": "refuted", "why": ""}, "I": None})
    assert more[7:] == ["H, it moves. TrafficJunction10: refuted.", f"I. TrafficJunction10: {study.UNMEASURED}."]


def test_the_path_of_a_run_is_told_with_its_dip_and_its_return(capsys):
    made = runs_of()
    made.history.loc[(made.history["seed"] == 1) & (made.history["env_steps"] == 30_000), "entropy_p50"] = 0.90
    none = study.Runs("junction", made.history[:0], made.pooled[:0])
    study.show_path({"lumberjacks": made, "junction": none}, {"lumberjacks": np.full(5, 0.98)})
    text = " ".join(capsys.readouterr().out.split())
    assert "lowest median of one evaluation: 0.900, seed 1 at 30,000 steps" in text
    assert "3 % of the evaluations, seeds with at least one: 1 of 3" in text
    assert "before training -100 (-101 to -99), best evaluation of a run 100 (99 to 101), last fifth 90 (89 to 91)" in text
    assert text.endswith("TrafficJunction10 (ma-gym): not measured yet; the chapter claims nothing here")
    study.show_percentiles({"junction": runs_of("junction", learners=["QMIX"], seeds=1)})
    text = capsys.readouterr().out
    assert "1 seed gives no interval" in text and "range over seeds" not in text and "[" not in text


def save_made_up(folder):
    """Lumberjacks as the paper has it, all learners; the junction with QMIX in full and a reduced QMIX-simple."""
    simple = runs_of("junction", learners=["QMIX-simple"], seeds=2, steps=40_000)
    junction = like_the_paper("junction", learners=["QMIX"])
    both = (pd.concat([getattr(junction, name), getattr(simple, name)]) for name in ("history", "pooled"))
    junction = study.Runs("junction", *both)
    for runs in (like_the_paper(), junction):
        for name, frame in (("", runs.history), ("_pooled", runs.pooled)):
            save_dataset(f"grid_credit_{runs.world}{name}.csv", frame, command="x", seeds=range(5), folder=folder)


@pytest.mark.parametrize("measured", [False, True])
def test_the_chapters_cells_cope_with_and_without_the_long_runs(measured, tmp_path, monkeypatch, capsys):
    if measured:
        save_made_up(tmp_path)
    monkeypatch.setattr("marlcourse.course.data.dataset_folders", lambda: [tmp_path])
    monkeypatch.setenv("MARLCOURSE_STRICT", "1")
    five = np.array([0.9, 0.92, 0.95, 0.97, 0.99])
    names = {"study": study, "pictures": pictures, "ClaimCard": ClaimCard, "steps": 1_600, "run": run_of(0, 800)}
    names |= {"born_teams": {(world, layers): 2 for world in study.WORLDS for layers in (1, 2)}}
    both = {(world, layers): five for world in study.WORLDS for layers in (1, 2)}
    names |= {"null": both, "own_states": both}
    names |= {"pooled_percentiles": lambda run: dict(enumerate(five)), "torch": torch}
    names |= {"braking": braking_study, "costs": pd.DataFrame({"return_mean": [-90.0]})}
    marks = ("studies", "settle(", "claim_d", "near = ", "claim_h", "settings")
    exec("import matplotlib.pyplot as plt", names)
    said = {}
    for cell in read(CHAPTER)["cells"]:
        source = cell["source"]
        if cell["cell_type"] == "code" and any(word in source for word in marks):
            exec(source, names)
            if source.startswith(("study.say", "study.findings")):
                said[source] = repr(eval(source, names))
    out = capsys.readouterr().out
    nothing = "not measured yet; the chapter claims nothing here"
    assert out.count(nothing) == (3 if measured else 14), "G and its effect at the junction, H as described; else everything"
    assert len(said) == 4
    if measured:
        assert "always give gas)\n  TrafficJunction10 (ma-gym): confirmed" in out, "H: far above always-brake"
        few = "(provisional: 2 of 5 planned seeds, 40,000 of 200,000 planned steps; 2 seeds give no interval)"
        assert f"  TrafficJunction10 (ma-gym): not decided {few}" in out, "claim F"
        assert "  Lumberjacks (ma-gym): confirmed" in out
        assert "QMIX-simple: 2 seeds x 40,000 steps (reduced)" in " ".join(" ".join(said.values()).split())
        (summary,) = (" ".join(text.split()) for source, text in said.items() if "findings" in source)
        assert (
            f"F, QMIX-simple ends comparably to QMIX. Lumberjacks (ma-gym): confirmed. {study.NAMES['junction']}: not"
            in summary
        )
        assert f"not decided {few}." in summary


@pytest.mark.parametrize("stopped", ["run", "twin_run", "zero_run"])
def test_the_chapters_verdicts_on_short_runs_wait_for_whole_runs(stopped, capsys):
    """The verdict of claim E, and that lambda = 0 is QMIX, when one of the three runs was stopped."""
    cells = [cell["source"] for cell in read(CHAPTER)["cells"] if "study.cut_short(" in cell["source"]]
    assert len(cells) == 2
    said = []
    names = {"study": study, "torch": torch, "steps": 1_600, "learner": None, "twin": None, "zero": None}
    names["claim_e"] = SimpleNamespace(verdict=lambda *args, **options: said.append("verdict"))
    names |= {name: run_of(0, 800) if name == stopped else run_of(0, 800, 1_600) for name in ("run", "twin_run", "zero_run")}
    names["study"] = SimpleNamespace(**{**vars(study), "weights": lambda team: []})
    for source in cells:
        exec(source, names)
    out = capsys.readouterr().out
    assert out.count("No verdict") == (2 if stopped == "run" else 1) and "refuted" not in out and "False" not in out
    assert said == (["verdict"] if stopped == "zero_run" else [])


# ---- the ledger ----


def test_the_ledgers_rows_are_what_the_ledger_reads(tmp_path):
    studies = {"lumberjacks": runs_of(entropy=0.99), "junction": runs_of("junction", gap=-40, entropy=0.90)}
    rows = study.ledger_rows(studies)
    assert len(rows) == 8
    file = tmp_path / "reproductions.csv"
    head = ",".join(ledger.COLUMNS)
    other = [f"a,b,c,,d,5,e,1,0,2,partly,f,{chapter}" for chapter in ("02", "06")]
    file.write_text("\n".join([head, *other]) + "\n")
    study.write_ledger(rows, file)
    study.write_ledger(rows, file)  # twice is once
    read = ledger.load(file)
    assert [row.chapter for row in read] == ["02", *["04"] * 8, "06"]
    by_claim = {row.claim: row for row in read}
    fifth = by_claim["5th percentile of the entropy of QMIX's credit over training, Lumberjacks"]
    assert (fifth.published, fifth.ours, fifth.low, fifth.high) == (0.972, 0.99, 0.989, 0.991)
    assert fifth.verdict == "not reproduced", "as claim C judges it: the whole interval lies outside the margin"
    assert fifth.ran.endswith("; provisional: 3 of 5 planned seeds, 100,000 of 200,000 planned steps")
    for row in read[1:-1]:
        assert len(textwrap.wrap(row.metric, 42)) <= 2, f"the ledger's figure has two lines for it: {row.metric}"
    median = by_claim["50th percentile of the entropy of QMIX's credit over training, TrafficJunction10"]
    assert median.verdict == "not reproduced" and median.ours == 0.9
    assert by_claim["QMIX-simple does as well as QMIX on Lumberjacks"].verdict == "reproduced"
    assert by_claim["QMIX-GRE does comparably to QMIX on TrafficJunction10"].verdict == "not reproduced"
    assert study.ledger_rows({"lumberjacks": study.Runs("lumberjacks", studies["junction"].history[:0], None)}) == []


def test_the_command_shows_rows_and_writes_only_when_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "committed", lambda world: runs_of(world))
    monkeypatch.setattr(study, "dataset_folders", lambda: [tmp_path])
    monkeypatch.setattr(braking_study, "committed", lambda world: runs_of("junction", seeds=5))
    file = tmp_path / "reproductions.csv"
    file.write_text(",".join(ledger.COLUMNS) + "\n")
    assert study.main([]) == 0 and len(ledger.load(file)) == 0
    assert study.main(["--write"]) == 0 and len(ledger.load(file)) == 10, "8 rows and those of the two junctions"
    assert "QMIX-simple does as well" in capsys.readouterr().out
    monkeypatch.setattr(study, "committed", lambda world: runs_of(learners=["QMIX"], seeds=0))
    monkeypatch.setattr(study, "ledger_rows", lambda studies: [])
    monkeypatch.setattr(braking_study, "ledger_row", lambda runs: [])
    study.main(["--write"])
    assert "No runs are committed yet" in capsys.readouterr().out and len(ledger.load(file)) == 10


def test_claims_and_ledger_agree():
    """One rule for both: a percentile that refutes claim C is not reproduced; an undecided one is "partly"."""
    rows = study.ledger_rows({"lumberjacks": like_the_paper(shift=-0.02)})
    assert study.near_paper(like_the_paper(shift=-0.02))["answer"] == "refuted"
    assert [row["verdict"] for row in rows[:2]] == ["not reproduced"] * 2
    assert [row["verdict"] for row in study.ledger_rows({"lumberjacks": like_the_paper()})[:2]] == ["reproduced"] * 2
    assert "provisional" not in study.ledger_rows({"lumberjacks": like_the_paper()})[0]["ran"]


# ---- what the checks say ----


def test_a_known_mistake_gets_its_own_hint():
    def forgot_the_cell_above(td_loss, mixer, q, state, mask, weight):
        return td_loss + weight * normalised_entropy(slopes(mixer, q.detach(), state)).mean()  # noqa: F821

    def one_state_only(q, w1, b1, w2):
        x = q @ w1 + b1
        return w1 @ (torch.where(x > 0, 1.0, x.exp()) * w2)

    def one_answer_for_all(h):
        return 1.0 if h > 0 else h + 1

    for check, answer, words, hint in (
        (ch04.check_gre_loss, forgot_the_cell_above, "name 'slopes' is not defined, in line", "the cell above the card"),
        (ch04.check_repaired_slope, one_answer_for_all, "ambiguous", "torch.where"),
        (ch04.check_entropy, lambda g: g / g.sum(-1) + 1 if g.dim() > 1 else torch.tensor(0.811278), "size of", "keepdim"),
        (ch04.check_rescale, lambda q, w1, g, share: (q * g / share, w1 / (g / share)), "size of", "unsqueeze"),
        (ch04.check_credit_by_hand, one_state_only, "shapes", ".T"),
        (ch04.check_credit_by_hand, lambda q, w1, b1, w2: elu(q @ w1), "name 'elu'", "run the cells above"),  # noqa: F821
        (ch04.check_entropy, lambda g: None, "None", ""),
    ):
        with pytest.raises(ExerciseIncomplete) as error:
            check.verify(answer)
        assert words in error.value.message and hint in error.value.hint, str(error.value)


# ---- pictures ----


def test_the_flatness_picture_draws_the_formula():
    ax = pictures.plot_flatness((2, 10), draws=20)
    line = ax.get_lines()[1]
    x, y = line.get_data()
    np.testing.assert_allclose(y, 1 - np.asarray(x) ** 2 / (2 * np.log(10)))
    assert "no training" in ax.get_title(loc="left")


def test_the_percentile_picture_has_a_row_for_each_label():
    rows = {"Zhao et al.": study.PAPER["lumberjacks"], "untrained": [0.9] * 5, "QMIX": [[0.9] * 5, [0.8] * 5]}
    axes = pictures.plot_percentiles({"lumberjacks": rows, "junction": rows}, "both")
    assert [t.get_text() for t in axes[0].get_yticklabels()] == list(rows)
    dots = [line for line in axes[0].get_lines() if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in dots] == [0.997, 0.9, 0.9, 0.8]
    for ax, n in zip(axes, (2, 10)):
        (above,) = ax.child_axes
        for at, label in zip(above.get_xticks(), above.get_xticklabels()):
            assert float(label.get_text()) == pytest.approx(study.implied_cv(at, n), abs=1e-6)
        assert len(above.get_xticks()) >= 4
    (ax,) = pictures.plot_percentiles({"junction": {"QMIX": [float("nan")] * 5}}, "none")
    assert ax.texts[0].get_text() == "not measured yet"


def test_pictures_of_runs_and_of_none():
    untrained = {world: np.array([0.9, 0.92, 0.95, 0.97, 0.99]) for world in study.WORLDS}
    full = {world: runs_of(world) for world in study.WORLDS}
    none = {world: dataclasses.replace(runs_of(world, seeds=1), history=runs_of().history[:0]) for world in study.WORLDS}
    axes = pictures.plot_training(full, untrained)
    assert axes[0][0].get_ylim() == axes[0][1].get_ylim(), "one scale for the entropies of both worlds"
    assert all(ax.get_legend() is None for ax in axes[0]) and axes[0][0].figure.get_suptitle()
    assert len([line for line in axes[0][0].get_lines() if line.get_linewidth() == 1.0]) == 3
    assert "3 seeds" in axes[0][0].get_title(loc="left")
    axes = pictures.plot_lambdas(full)
    assert "3 seeds\n100,000 environment steps" in axes[0][0].get_title(loc="left")
    some = pictures.plot_lambdas({"junction": runs_of("junction", learners=["QMIX"])})
    assert "4 of 5 learners not measured yet" in some[0][0].get_title(loc="left")
    assert "not measured yet" in pictures.plot_lambdas(none)[0][0].texts[0].get_text()
    alone = pictures.plot_training(none, untrained)
    assert alone.shape == (1, 2) and alone[0][0].get_title(loc="left") == "Lumberjacks (ma-gym): QMIX, not measured yet"
    (band,) = alone[0][0].patches
    assert (band.get_y(), band.get_height()) == pytest.approx((0.9, 0.09)), "the grey band stands without any run"
    half = pictures.plot_training({"lumberjacks": full["lumberjacks"], "junction": none["junction"]}, untrained)
    assert half.shape == (2, 2) and len(half[1][1].get_lines()) == 1, "idle play alone"


def test_a_start_far_below_all_else_is_named_and_cut_off():
    runs = runs_of("junction", learners=["QMIX"])
    runs.history.loc[(runs.history["seed"] == 0) & (runs.history["env_steps"] == 0), "return_mean"] = -2_000.0
    axes = pictures.plot_training({"junction": runs}, {"junction": np.array([0.9, 0.92, 0.95, 0.97, 0.99])})
    assert axes[1][0].get_ylim()[0] > -1_000 and axes[1][0].texts[0].get_text() == "before training 1 seed lower: -2000"
    assert not pictures.plot_training({"lumberjacks": runs_of()}, {"lumberjacks": np.full(5, 0.9)})[1][0].texts


def test_the_explorers_picture_and_its_slider(played):
    team, batch = played
    left, middle, right = pictures.plot_rescaled(team, batch, 8.0, step=4)
    assert "60 of 60" in middle.get_title(loc="left") and right.get_title(loc="left").endswith("step 4")
    before, after = (line.get_ydata() for line in middle.get_lines()[:2])
    np.testing.assert_array_equal(before, after)
    heights = [bar.get_height() for bar in right.patches]  # slope, invariant; then the same in the other unit
    assert heights[0] > heights[2] + 0.2 and heights[1] == heights[3]
    found = study.scaled_readings(team, batch, 1.0)
    assert heights[0] == pytest.approx(pictures.shares(found["credit"][4:5])[0])
    assert pictures.plot_rescaled(team, batch, 8.0, step=500, plain=found)[2].get_title(loc="left").endswith("step 19"), (
        "the last"
    )
    assert sum(pictures.shares(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))) == pytest.approx(1)
    assert "A still figure" in repr(pictures.rescaling_explorer(team, batch, static=True))


def test_the_explorers_sliders_draw_when_let_go_and_hit_the_factors_that_the_text_asks_for(played, monkeypatch):
    described = {}
    monkeypatch.setattr("marlcourse.viz.explore.explore", lambda plot, static, **controls: described.update(controls))
    pictures.rescaling_explorer(*played)
    widgets = {name: control.widget(name) for name, control in described.items()}
    assert all(widget.continuous_update is False for widget in widgets.values())
    factor = widgets["factor"]
    assert (factor.base, factor.min, factor.max, factor.value) == (2, -4, 4, 4.0)
    reach = factor.base ** np.arange(factor.min, factor.max, factor.step)
    for wanted in (0.39, 2.35):
        assert abs(reach - wanted).min() < 0.02


def test_the_worlds_are_shown_with_a_way_and_a_gate():
    axes = pictures.plot_worlds(steps=3)
    assert [ax.get_title(loc="left") for ax in axes] == list(study.TITLES.values())
    assert [text.get_text().split(":")[0] for text in axes[1].texts] == ["a gate", "a way"]


def test_the_twins_are_drawn():
    run, _ = study.short_run(steps=800, batch_size=4)
    left, right = pictures.plot_twins(run, run, 4.0)
    assert len(left.get_lines()) == 2 and "1 seed" in left.figure.get_suptitle()
