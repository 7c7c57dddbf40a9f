"""Chapter 04's measurements and pictures: the null model, the scaled team, percentiles, parity, ledger rows."""

import dataclasses
from pathlib import Path

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
from marlcourse.course.claims import ClaimCard, ClaimChanged
from marlcourse.course.data import save_dataset
from marlcourse.credit import credit, normalised_entropy
from marlcourse.nets.mixers import MonotonicMixer
from marlcourse.rollout import Collector

ROOT = Path(__file__).resolve().parents[1]


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
    g = study.untrained_team_credit(world, teams=1)
    assert g.shape[1] == study.WORLDS[world][1] and (g >= 0).all()
    assert not torch.equal(g, study.untrained_team_credit(world, teams=1, layers=1)[: len(g)])


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
    assert runs.budget() == "Lumberjacks QMIX: 2 seeds x 100,000 steps (reduced)"
    assert list(study.overview({"lumberjacks": runs})["return"]) == [pytest.approx(89.5)]


def test_returns_at_the_end_are_those_of_the_last_fifth():
    runs = runs_of()
    np.testing.assert_allclose(runs.returns("QMIX"), [89, 90, 91])  # evaluations at 90,000 and 100,000 steps
    np.testing.assert_allclose(runs.returns("QMIX", 50_000), [-1, 0, 1])
    np.testing.assert_allclose(runs.returns("QMIX", 12_000), [-81, -80, -79])  # no evaluation that late: the last before it
    assert runs.untrained_return() == -100 and runs.reduced("QMIX") and not runs_of(seeds=5, steps=200_000).reduced("QMIX")
    first, over = runs.medians()
    np.testing.assert_allclose(first, [0.992] * 3)
    np.testing.assert_allclose(over, [0.989, 0.99, 0.991])
    assert list(pictures._smooth([0, 3, 6])) == pytest.approx([1.5, 3, 4.5]) and len(pictures._smooth([1.0] * 9)) == 9
    np.testing.assert_allclose(runs.percentiles()[:, 2], [0.989, 0.99, 0.991])
    np.testing.assert_allclose(runs.batch_means(), [0.992] * 5)


def test_a_shorter_run_is_compared_at_its_own_length():
    long, short = runs_of(learners=["QMIX"]), runs_of(learners=["QMIX-simple"], steps=50_000)
    both = study.Runs("junction", pd.concat([long.history, short.history]), pd.concat([long.pooled, short.pooled]))
    found = study.against_qmix(both, "QMIX-simple")
    assert found["steps"] == 50_000 and found["difference"] == pytest.approx(90 - 0)


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
    assert study.near_paper(none) is None and study.unmoved(none) is None


def test_a_claim_is_settled_world_by_world(capsys, monkeypatch):
    card = ClaimCard(id="4.X", hypothesis="H", metric="m", margin="1", budget="b", tuning="none", seeds=5)
    study.settle(card, {"lumberjacks": None, "junction": {"answer": "not decided", "why": "1 seed"}})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Claim 4.X: H" and lines[2] == "  TrafficJunction10: not decided (1 seed)"
    assert lines[1] == "  Lumberjacks: not measured yet; the chapter claims nothing here"
    monkeypatch.setitem(study.EXPECTED, "4.X lumberjacks", "confirmed")
    found = {"lumberjacks": {"answer": "refuted", "why": ""}}
    study.settle(card, found)
    monkeypatch.setenv("MARLCOURSE_STRICT", "1")
    with pytest.raises(ClaimChanged, match="Lumberjacks: the text says confirmed, the evidence says refuted"):
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
    assert "median entropy over training is 0.997 (CV about 0.06), the paper's 0.997" in said[0]
    assert said[1].startswith("C: the paper's table") and said[2].startswith("D: training left the median")
    moved = study.say_training({"lumberjacks": like_the_paper(shift=-0.02)})
    assert "less equal than the paper's" in moved[1] and "less equal than before" in moved[2]
    assert "more equal than before" in study.say_training({"junction": like_the_paper("junction", shift=0.02)})[2]
    assert "Comparable: to forbid unequal credit" in study.say_parity(full, simple)[1]
    gre = study.say_parity(full, study.best_weight)
    assert "QMIX-GRE 0.001 minus QMIX: +0.0" in gre[0] and "to punish equal" in gre[1] and "QMIX 0.997" in gre[2]
    worse = {"lumberjacks": runs_of(gap=-40)}
    assert study.say_parity(worse, simple)[1].startswith("Worse") and "(reduced)" in study.say_parity(worse, simple)[0]
    assert "Not decided, since the interval" in study.say_parity({"lumberjacks": runs_of(gap=-18.5)}, simple)[1]

    some = {"lumberjacks": full["lumberjacks"], "junction": runs_of("junction", learners=["QMIX"], seeds=5)}
    lines = study.findings(some)
    assert lines[2].endswith("Lumberjacks: confirmed. TrafficJunction10: not measured yet; the chapter claims nothing here.")
    assert "<details open><summary>What the long runs say so far</summary><p>C, the" in lines._repr_html_()
    assert repr(lines).startswith("C, the paper's") and len(lines) == 4
    more = study.findings(some, {"H, it moves": {"answer": "refuted"}, "I": None})
    assert more[4:] == ["H, it moves. TrafficJunction10: refuted.", f"I. TrafficJunction10: {study.UNMEASURED}."]


def save_made_up(folder):
    """Lumberjacks as the paper has it, all learners; the junction with QMIX in full and a reduced QMIX-simple."""
    simple = runs_of("junction", learners=["QMIX-simple"], seeds=2, steps=40_000)
    junction = like_the_paper("junction", learners=["QMIX"])
    junction.history = pd.concat([junction.history, simple.history])
    junction.pooled = pd.concat([junction.pooled, simple.pooled])
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
    names = {"study": study, "pictures": pictures, "ClaimCard": ClaimCard, "teams": 2, "steps": 16, "run": None}
    both = {(world, layers): five for world in study.WORLDS for layers in (1, 2)}
    names |= {"null": both, "own_states": both}
    names |= {"pooled_percentiles": lambda run: dict(enumerate(five)), "torch": torch}
    names |= {"braking": braking_study, "costs": pd.DataFrame({"return_mean": [-90.0]})}
    marks = ("studies", "settle(", "claim_d", "near = ", "claim_h", "settings")
    exec("import matplotlib.pyplot as plt", names)
    said = {}
    for cell in read(ROOT / "solutions" / "04_gradient_entropy.ipynb")["cells"]:
        source = cell["source"]
        if cell["cell_type"] == "code" and any(word in source for word in marks):
            exec(source, names)
            if source.startswith(("study.say", "study.findings")):
                said[source] = repr(eval(source, names))
    out = capsys.readouterr().out
    assert out.count("not measured yet; the chapter claims nothing here") == (1 if measured else 9)
    assert len(said) == 4
    if measured:
        assert "always brake\n  TrafficJunction10: confirmed" in out, "claim H: the made-up returns are far above always-brake"
        assert "  TrafficJunction10: not decided (2 seeds: no interval over so few)" in out, "claim F"
        assert "  Lumberjacks: confirmed" in out
        assert "QMIX-simple: 2 seeds x 40,000 steps (reduced)" in " ".join(" ".join(said.values()).split())
        (summary,) = (text for source, text in said.items() if "findings" in source)
        assert "F, QMIX-simple ends comparably to QMIX. Lumberjacks: confirmed. TrafficJunction10: not decided." in summary


# ---- the ledger ----


def test_the_ledgers_rows_are_what_the_ledger_reads(tmp_path):
    studies = {"lumberjacks": runs_of(entropy=0.985), "junction": runs_of("junction", gap=-40, entropy=0.90)}
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
    assert (fifth.published, fifth.ours, fifth.low, fifth.high) == (0.972, 0.985, 0.984, 0.986) and fifth.verdict == "partly"
    median = by_claim["50th percentile of the entropy of QMIX's credit over training, TrafficJunction10"]
    assert median.verdict == "not reproduced" and median.ours == 0.9
    assert by_claim["QMIX-simple does as well as QMIX on Lumberjacks"].verdict == "reproduced"
    assert by_claim["QMIX-GRE does comparably to QMIX on TrafficJunction10"].verdict == "not reproduced"
    assert study.ledger_rows({"lumberjacks": study.Runs("lumberjacks", studies["junction"].history[:0], None)}) == []


def test_the_command_shows_rows_and_writes_only_when_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "committed", lambda world: runs_of(world))
    monkeypatch.setattr(study, "dataset_folders", lambda: [tmp_path])
    monkeypatch.setattr(braking_study, "committed", lambda: runs_of("junction"))
    file = tmp_path / "reproductions.csv"
    file.write_text(",".join(ledger.COLUMNS) + "\n")
    assert study.main([]) == 0 and len(ledger.load(file)) == 0
    assert study.main(["--write"]) == 0 and len(ledger.load(file)) == 9, "8 rows and the junction's"
    assert "QMIX-simple does as well" in capsys.readouterr().out
    monkeypatch.setattr(study, "committed", lambda world: runs_of(learners=["QMIX"], seeds=0))
    monkeypatch.setattr(study, "ledger_rows", lambda studies: [])
    monkeypatch.setattr(braking_study, "ledger_row", lambda runs: [])
    study.main(["--write"])
    assert "No runs are committed yet" in capsys.readouterr().out and len(ledger.load(file)) == 9


# ---- pictures ----


def test_the_flatness_picture_draws_the_formula():
    ax = pictures.plot_flatness((2, 10), draws=20)
    line = ax.get_lines()[1]
    x, y = line.get_data()
    np.testing.assert_allclose(y, 1 - np.asarray(x) ** 2 / (2 * np.log(10)))
    assert "no training" in ax.get_title(loc="left")


def test_the_percentile_picture_has_a_row_for_each_label():
    rows = {"paper": study.PAPER["lumberjacks"], "untrained": [0.9] * 5, "QMIX": [[0.9] * 5, [0.8] * 5]}
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
    assert len([line for line in axes[0][0].get_lines() if line.get_linewidth() == 1.0]) == 3
    assert "3 seeds" in axes[0][0].get_title(loc="left")
    axes = pictures.plot_lambdas(full)
    assert "3 seeds\n100,000 environment steps" in axes[0][0].get_title(loc="left")
    some = pictures.plot_lambdas({"junction": runs_of("junction", learners=["QMIX"])})
    assert "4 of 5 learners not measured yet" in some[0][0].get_title(loc="left")
    assert "not measured yet" in pictures.plot_lambdas(none)[0][0].texts[0].get_text()
    alone = pictures.plot_training(none, untrained)
    assert alone.shape == (1, 2) and alone[0][0].get_title(loc="left") == "Lumberjacks: QMIX, not measured yet"
    (band,) = alone[0][0].patches
    assert (band.get_y(), band.get_height()) == pytest.approx((0.9, 0.09)), "the grey band stands without any run"
    half = pictures.plot_training({"lumberjacks": full["lumberjacks"], "junction": none["junction"]}, untrained)
    assert half.shape == (2, 2) and len(half[1][1].get_lines()) == 1, "idle play alone"


def test_the_explorers_picture_and_its_slider(played):
    team, batch = played
    left, middle, right = pictures.plot_rescaled(team, batch, 3.0, step=4)
    assert "60 of 60" in middle.get_title(loc="left") and right.get_title(loc="left").endswith("step 4")
    before, after = (line.get_ydata() for line in middle.get_lines()[:2])
    np.testing.assert_array_equal(before, after)
    heights = [bar.get_height() for bar in right.patches]  # slope, invariant; then the same in the other unit
    assert heights[0] > heights[2] + 0.2 and heights[1] == heights[3]
    found = study.scaled_readings(team, batch, 1.0)
    assert heights[0] == pytest.approx(pictures.shares(found["credit"][4:5])[0])
    assert pictures.plot_rescaled(team, batch, 3.0, step=500)[2].get_title(loc="left").endswith("step 19"), "the last"
    assert sum(pictures.shares(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))) == pytest.approx(1)
    assert "A still figure" in repr(pictures.rescaling_explorer(team, batch, static=True))


def test_the_twins_are_drawn():
    run, _ = study.short_run(steps=800, batch_size=4)
    left, right = pictures.plot_twins(run, run, 4.0)
    assert len(left.get_lines()) == 2 and "1 seed" in left.figure.get_suptitle()
