"""Chapter 04's null model at the junction: what is counted, and what the runs of three settings say."""

import textwrap

import pandas as pd
import pytest
import torch

import marlcourse as mc
from marlcourse.course import braking_study as study
from marlcourse.course import ledger
from marlcourse.course.credit_study import Runs
from marlcourse.envs.traffic_junction import BRAKE, GAS, look_first


def runs(ends: dict[str, list[float]], steps: int = 100_000, world: str = "junction") -> Runs:
    """Runs whose every evaluation has the seed's number."""
    rows = [
        {"algorithm": name, "seed": seed, "env_steps": at, "return_mean": end}
        for name, seeds in ends.items()
        for seed, end in enumerate(seeds)
        for at in (0, steps // 2, steps)
    ]
    return Runs(world, pd.DataFrame(rows), pd.DataFrame(columns=["algorithm", "seed"]))


def test_the_cell_ahead_by_hand():
    world = mc.make("traffic-junction-10", num_envs=1, device="cpu", seed=0, faithful=True, state="compact")
    world.reset(seed=0)
    free, taken = study.cell_ahead(world)
    assert free.sum() == 4 and not taken.any(), "four cars at four gates, nobody in front of them"
    place = world.state["place"].clone()
    place[0, 1], place[0, 0] = place[0, 0], place[0, 0] + 1  # car 1 right behind car 0, on the same way
    world.state["place"] = place
    free, taken = study.cell_ahead(world)
    assert bool(taken[0, 1]) and bool(free[0, 0]) and taken.sum() == 1


def test_always_brake_moves_nobody_and_has_the_bar():
    found = study.play(lambda world, _: torch.full((8, 10), BRAKE), worlds=8)
    assert found["return_mean"] == pytest.approx(study.bar()) == pytest.approx(-202)
    assert found["gas_if_free"] == 0 and found["crash_if_free"] != found["crash_if_free"]


def test_the_hand_rule_never_pushes_and_gas_into_a_taken_cell_nearly_always_collides():
    rule = study.play(study.noisy_rule(0.0), worlds=16)
    assert rule["gas_if_taken"] == 0 and rule["crash_if_free"] == 0 and rule["return_mean"] > study.bar() + study.MARGIN
    pushing = study.play(lambda world, _: torch.full((16, 10), GAS), worlds=16)
    assert pushing["gas_if_free"] == 1 == pushing["gas_if_taken"] and pushing["crash_if_taken"] > 0.8
    assert pushing["crash_if_free"] < 0.05


def test_the_bar_is_the_better_constant_play_of_each_world():
    for world, better in (("junction", "always brake"), ("described", "always gas")):
        plays = study.constant_plays(world)
        assert study.bar(world) == plays[better] == max(plays["always brake"], plays["always gas"]) < plays["hand rule"]
    described = study.play(study.always(GAS), worlds=64, world="described")
    assert described["crash_if_free"] > 0.1, "all move at once: a cell that was free is no longer safe"


def test_noise_is_the_share_of_coins():
    world = mc.make("traffic-junction-10", num_envs=512, device="cpu", seed=0, faithful=True, state="compact")
    rule = (world.reset(seed=0), look_first(world))[1]
    differs = (study.noisy_rule(0.4)(world, None) != rule).float().mean()
    assert float(differs) == pytest.approx(0.2, abs=0.03), "a coin agrees with the rule half of the time"


def test_the_habits_of_a_team_that_always_gives_gas():
    world = mc.make("traffic-junction-10", num_envs=1, device="cpu", faithful=True, state="compact")
    team = mc.QMIX(world.spec, mc.QMIX.Config(recurrent=False), seed=0, device="cpu")
    with torch.no_grad():
        team.agent.head.weight.zero_()
        team.agent.head.bias.copy_(torch.tensor([1.0, 0.0]))
    found = study.habits(team, worlds=8)
    assert found == study.play(lambda world, _: torch.full((8, 10), GAS), worlds=8)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"QMIX": [-150] * 5}, "confirmed"),
        ({"QMIX": [-150] * 4 + [-201]}, "not decided"),
        ({"QMIX": [-150] * 4}, "not decided"),
        ({name: [-465, -150, -202, -202, -300] for name in study.SETTINGS}, "refuted"),
        ({name: [-202] * 5 for name in study.SETTINGS}, "refuted"),
        ({name: [-465] * 5 for name in list(study.SETTINGS)[1:]}, "not decided"),
        ({**{name: [-465] * 5 for name in study.SETTINGS}, "QMIX recent": [-120] * 5}, "confirmed"),
    ],
)
def test_it_does_not_is_an_answer_only_after_three_settings_of_five_seeds(ends, said):
    found = study.answer(runs(ends))
    assert found["answer"] == said and bool(found["why"]) == (said == "not decided")


def test_without_runs_there_is_no_answer_and_no_row():
    nothing = runs({})
    assert study.answer(Runs("junction", pd.DataFrame(columns=["algorithm", "seed", "env_steps", "return_mean"]), None)) is None
    assert nothing.history.empty


def test_the_row_is_one_the_ledger_reads(tmp_path):
    from marlcourse.course.credit_study import write_ledger

    rows = study.ledger_row(runs({name: [-465.0, -460.0, -440.0, -470.0, -300.0] for name in study.SETTINGS}))
    path = tmp_path / "reproductions.csv"
    path.write_text(",".join(ledger.COLUMNS) + "\n")
    write_ledger(rows, path)
    (one,) = ledger.load(path)
    assert (one.verdict, float(one.ours), one.chapter) == ("not reproduced", -460, "04")
    assert study.ledger_row(runs({"QMIX": [-465.0, -460.0]})) == [], "two seeds are no row"
    assert study.ledger_row(runs({"QMIX": [-465.0] * 4})) == [], "claim H is undecided: no row yet"
    (undecided,) = study.ledger_row(runs({"QMIX far-sighted": [-465.0, -460.0, -440.0, -100.0, -300.0]}))
    assert undecided["verdict"] == "partly" and undecided["metric"].startswith("claim 4.H not decided")
    for row in (*rows, undecided):
        assert len(textwrap.wrap(row["metric"], 42)) <= 2, "the ledger's figure has two lines for it"
    rows += study.ledger_row(runs({"QMIX": [-40.0, -50.0, -45.0, -60.0, -55.0]}, world="described"))
    write_ledger(rows, path)
    assert [row.verdict for row in ledger.load(path)] == ["not reproduced", "reproduced"]


def test_as_described_a_team_must_beat_always_gas_too():
    between = (study.bar("described") + study.constant_plays("described")["always brake"]) / 2
    assert study.answer(runs({"QMIX": [between] * 5}, world="described"))["answer"] == "not decided"
    assert study.answer(runs({"QMIX": [study.bar("described") + 11] * 5}, world="described"))["answer"] == "confirmed"


def test_what_is_committed_is_read_by_setting(tmp_path, monkeypatch):
    tables = {
        "grid_junction.csv": ["QMIX far-sighted", "something else"],
        "grid_credit_junction.csv": ["QMIX", "QMIX-simple"],
        "grid_junction_described.csv": ["QMIX far-sighted"],
    }

    def load(name):
        return pd.concat([runs({one: [-1.0]}).history for one in tables[name]])

    monkeypatch.setattr(study, "load_dataset", load)
    assert set(study.committed().history["algorithm"]) == {"QMIX", "QMIX far-sighted"}
    assert list(study.table(study.committed())["setting"]) == ["QMIX", "QMIX far-sighted"]
    assert list(study.table(study.committed("described"))["setting"]) == ["QMIX far-sighted"]
