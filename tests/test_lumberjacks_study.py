"""Chapter 03's Lumberjacks: references that cannot be beaten, where trees fall, the recorded moves, the pictures."""

import importlib.util
import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

import marlcourse as mc
from marlcourse.course import lumberjacks_study as forest
from marlcourse.course.checks.ch03 import ma_gym_move


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def clearing(**options):
    return mc.make("lumberjacks", num_envs=4, device="cpu", **options)


def test_references_are_ordered():
    env = clearing()
    stay = lambda env: torch.zeros(env.num_envs, 2, dtype=torch.long)
    nobody, chance, rule = (forest.play_rule(env, r, 128) for r in (stay, forest.random_rule(), forest.together))
    assert nobody[0] == -200 and nobody[2] == 100
    assert nobody[0] < chance[0] < 0 < 150 < rule[0] < forest.CEILING and rule[2] < 30
    assert rule[1] < chance[1]


def test_the_rule_shares_every_tree():
    """Both lumberjacks stand on each tree that it fells: 18 for every step in which one falls, -2 for all others."""
    env = clearing().fresh(64)
    env.reset(seed=0)
    rewards = torch.stack([env.step(forest.together(env)).reward for _ in range(40)])
    paid = rewards[rewards != 0]
    assert set(paid.tolist()) <= {-2.0, 8.0, 18.0} and (paid == 8).float().mean() < 0.05


def test_the_ceilings():
    reach = forest.nothing_out_of_reach()
    assert forest.CEILING == 216 and forest.FAITHFUL_CEILING == pytest.approx(-46.4 + 200 * reach)
    assert reach == pytest.approx(np.prod([(16 - k) / (25 - k) for k in range(12)]))


def test_habits_account_for_every_reward():
    """240 for twelve trees felled by both; 2 a step, 10 for each felled alone and 20 for each left are lost."""
    env = clearing(episode_limit=30)
    stay = lambda env: torch.zeros(env.num_envs, 2, dtype=torch.long)
    for player in (forest.random_rule(), forest.together, small_team(env), stay):
        h = forest.habits(env, player, 32)
        assert h.mean == pytest.approx(240 - 2 * h.steps - 10 * h.alone - 20 * h.left)
        assert 0 <= h.blind <= 1 and 0 <= h.still <= 1
    assert h.steps == 30 and h.alone == 0 and h.left == 12 and h.still == (h.blind > 0)
    rule = forest.habits(clearing(), forest.together, 64)
    assert rule.alone < 1 and rule.left == 0 and rule.still == 0
    assert rule.mean == pytest.approx(forest.play_rule(clearing(), forest.together, 64)[0])


def test_no_tree_falls_where_ma_gym_cannot_go():
    grew, fell = forest.where_trees_fall(clearing(faithful=True), 64)
    assert grew.sum() == 64 * 12 and (grew[4].sum() + grew[:, 4].sum()) > 50
    assert fell[4].sum() == fell[:, 4].sum() == 0 and fell[:4, :4].sum() > 100
    _, fell = forest.where_trees_fall(clearing(), 64)
    assert fell[4].sum() > 0 and fell[:, 4].sum() > 0


def test_the_record_is_the_rule_of_the_exercise():
    record = forest.recorded_moves(clearing(faithful=True))
    assert {move[:3] for move in record} == set(itertools.product(range(5), repeat=3))
    assert all(ma_gym_move(*move[:3]) == move[3:] for move in record)
    honest = forest.recorded_moves(clearing())
    assert any(ma_gym_move(*move[:3]) != move[3:] for move in honest)


@pytest.mark.skipif(importlib.util.find_spec("ma_gym") is None, reason="ma-gym is not installed")
def test_lockstep_with_the_real_ma_gym():
    pair = forest.lockstep(worlds=4, steps=120)
    assert pair.steps == pair.observations == pair.rewards == pair.ends == 480
    assert set(pair.moves) <= set(forest.recorded_moves(clearing(faithful=True)))


def test_lockstep_without_ma_gym_says_how_to_get_it(monkeypatch):
    from marlcourse.envs.adapters import magym

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(magym, "_registry", magym._registry.__wrapped__)  # not what an earlier test found
    with pytest.raises(ModuleNotFoundError, match="marlcourse install ma-gym"):
        forest.lockstep(worlds=1, steps=1)


def small_team(env, seed=0):
    return mc.QMIX(env.spec, mc.QMIX.Config(hidden=8, embed=4), seed=seed, device="cpu")


def test_a_recorded_episode_is_what_the_team_plays():
    env = clearing(episode_limit=12)
    team = small_team(env)
    episode = forest.record_episode(env, team, seed=3)
    assert len(episode.frames) == len(episode.rewards) == len(episode.states) == 12
    assert torch.equal(episode.q.argmax(-1), episode.actions)
    again = forest.record_episode(env, team, seed=3, most=5)
    assert torch.equal(again.states, episode.states[:5])


def test_forgets_plays_on_its_present_input_alone():
    env = clearing(episode_limit=6)
    team = small_team(env)
    wiped = forest.Forgets(team)
    o = env.reset(seed=0)
    first = wiped.act(o, wiped.initial_carry(4), False, torch.Generator())
    assert not first.carry["hidden"].any() and torch.equal(first.carry["last_action"], first.actions)
    assert forest.returns_of(env, wiped, episodes=4).shape == (4,)


def test_last_returns_and_the_interval():
    rows = [(a, s, t, (10 if a == "QMIX" else 0) + s) for a in ("QMIX", "VDN") for s in range(4) for t in range(0, 101, 10)]
    frame = pd.DataFrame(rows, columns=["algorithm", "seed", "env_steps", "return_mean"])
    frame.loc[frame.env_steps < 90, "return_mean"] = -99
    late = forest.last_returns(frame)
    assert late["QMIX"].tolist() == [10, 11, 12, 13]
    assert forest.last_returns(frame, upto=50)["QMIX"].tolist() == [-99] * 4
    difference, low, high = forest.difference_interval(late["QMIX"], late["VDN"])
    assert difference == 10 and 8 < low < 10 < high < 12
    ax = forest.plot_committed(frame, {"random": 0}, "t").axes[0]
    assert "QMIX (4 seeds)" in ax.get_legend_handles_labels()[1]
    assert np.allclose(forest.smooth(np.ones(7)), 1)


def test_learners_with_different_budgets():
    """VDN ran half as long: its own end counts, the comparison stops there, and the words say so."""
    rows = [("QMIX", s, t, float(t)) for s in range(3) for t in range(0, 200_001, 10_000)]
    rows += [("VDN", s, t, float(t)) for s in range(2) for t in range(0, 100_001, 10_000)]
    frame = pd.DataFrame(rows, columns=["algorithm", "seed", "env_steps", "return_mean"])
    assert forest.last_returns(frame)["VDN"].tolist() == [95_000, 95_000]
    assert forest.common_steps(frame) == 100_000
    equal = forest.last_returns(frame, upto=100_000)
    assert equal["QMIX"].tolist() == [95_000] * 3 and equal["VDN"].tolist() == [95_000] * 2
    words = forest.what_was_run(frame)
    assert "QMIX  3 seeds (0, 1, 2), 200,000 environment steps" in words and "VDN   2 seeds (0, 1), 100,000" in words
    assert "absent: IQL\n" in words and "within the first 100,000 steps" in words
    alone = forest.what_was_run(frame[frame["algorithm"] == "QMIX"])
    assert "absent: VDN, IQL (one learner alone ranks nobody)" in alone and "differ in length" not in alone
    assert "absent" not in forest.what_was_run(frame, ("QMIX", "VDN"))


def test_the_mixers_pictures():
    env = clearing(episode_limit=6)
    team, other = small_team(env), small_team(env, 1)
    episode = forest.record_episode(env, team, seed=1)
    mixers = {"one": team.mixer, "other": other.mixer}
    titles = [forest.plot_mixer(episode, mixers, name, step).axes[1].get_title("left") for name in mixers for step in (0, 5)]
    assert len(set(titles)) >= 3 and titles[:2] != titles[2:]
    figure = forest.plot_mixer(episode, mixers, "one", who="game 7")
    assert figure.get_suptitle() == "one mixer; game 7"
    assert "steepest rise of $Q_{tot}$" in figure.axes[2].get_legend_handles_labels()[1]
    assert forest.mixer_explorer(episode, mixers).figure is not None
    strip = forest.plot_filmstrip(episode, mixers, (0, 3, 99), who="game 7")  # 99: the last state there is
    titles = [ax.get_title("left") or ax.get_title() for ax in strip.axes]
    assert len(strip.axes) == 3 * 4 and titles[:3] == ["state 0", "state 3", "state 5"]
    one, other_row = titles[4:7], titles[8:11]  # three states of each mixer: the credits are the mixer's own
    assert len({*one, *other_row}) == 6 and strip.get_suptitle().startswith("game 7")
    tables = {"as described": forest.where_trees_fall(env, 8)}
    assert "96 trees" in forest.plot_where_trees_fall(tables, "t").get_suptitle()
