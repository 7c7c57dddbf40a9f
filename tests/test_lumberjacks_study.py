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
        assert h.alone + h.shared + h.strong + h.left == pytest.approx(12)  # each tree has one fate
        assert h.error == pytest.approx(0) if player is stay else h.error > 0
    assert h.steps == 30 and h.alone == 0 and h.left == 12 and h.still == (h.blind > 0)
    rule = forest.habits(clearing(), forest.together, 64)
    assert rule.alone < 1 and rule.left == 0 and rule.still == 0
    assert rule.mean == pytest.approx(forest.play_rule(clearing(), forest.together, 64)[0])


def test_the_two_differences_from_the_description_can_be_told_apart():
    """Random play does not react to what is paid: its trees give its return under either rule of payment."""
    for faithful in (False, True):
        env = clearing(episode_limit=40, faithful=faithful)
        h = forest.habits(env, forest.random_rule(), 64)
        those_on_it = 10 * h.alone + 20 * (h.shared + h.strong) - 2 * h.steps
        both = 20 * (h.alone + h.shared + h.strong) - 2 * h.steps
        assert h.alone > 0 and h.mean == pytest.approx(both if faithful else those_on_it)


def test_two_weak_trees_in_one_step_pay_what_one_tree_felled_by_both_does():
    env = clearing().fresh(256)
    env.reset(seed=0)
    rule = forest.random_rule()
    seen = set()
    for _ in range(10):
        step = env.step(rule(env))
        seen |= set(step.reward[step.info["felled"] == 2].tolist())
    assert seen == {18.0}


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
    assert forest.habits(env, wiped, 4).steps == 6


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


def episode_of(env):
    team, other = small_team(env), small_team(env, 1)
    return forest.record_episode(env, team, seed=1), {"one": team.mixer, "other": other.mixer}


def test_signs_given_back():
    """Share 0 is the mixer itself; a weight of -2 counts 2 (1 - 2 share), so that nothing can break up to one half."""
    episode, mixers = episode_of(clearing(episode_limit=6))
    q, states = episode.q.max(-1).values, episode.states
    for mixer in mixers.values():
        assert torch.allclose(forest.signs_back(mixer, 0.0)(q, states), mixer(q, states), atol=1e-5)
        below = forest.where_igm_breaks(episode, mixer, (0.0, 0.2, 0.5))
        assert below.shape == (3, 6) and not below.any()
        far = forest.where_igm_breaks(episode, mixer, (0.7, 1.0))
        for broken, share in zip(far, (0.7, 1.0)):  # state by state the same as from its table
            tables = [forest.table_of(forest.signs_back(mixer, share), q, s) for q, s in zip(episode.q, episode.states)]
            assert broken.tolist() == [forest.lost(table, q) > 1e-6 for table, q in zip(tables, episode.q)]
    with pytest.raises(ValueError, match="from 0"):
        forest.signs_back(mixers["one"], 1.5)

    class Written(torch.nn.Module):
        """Writes w1 = (1, -2), w2 = 1, biases 0, whatever the state."""

        embed, w1, w2 = 1, staticmethod(lambda s: torch.tensor([1.0, -2.0])), staticmethod(lambda s: torch.ones(1))
        b1 = v = staticmethod(lambda s: torch.zeros(1))

    q, state = torch.tensor([[0.0, 1.0], [0.0, 2.0]]), torch.zeros(3)
    for share, weight in ((0.0, 2.0), (0.25, 1.0), (0.5, 0.0)):
        table = forest.table_of(forest.signs_back(Written(), share), q, state)
        assert torch.allclose(table, torch.tensor([[0.0, 2 * weight], [1.0, 1 + 2 * weight]])) and forest.lost(table, q) == 0
    table = forest.table_of(forest.signs_back(Written(), 1.0), q, state)
    assert table.argmax() == 2 and forest.lost(table, q) == pytest.approx(1 - (np.exp(-3) - 1))  # (1, 0) beats (1, 1)


def test_the_mixers_pictures():
    env = clearing(episode_limit=6)
    episode, mixers = episode_of(env)
    figure = forest.plot_choice(episode, mixers, "one", 99, 0.5, who="game 7")  # 99: the last state there is
    assert figure.get_suptitle().endswith("one mixer\ngame 7") and figure.axes[0].get_title("left") == "state 5"
    assert [ax.get_title("left").splitlines()[1] for ax in figure.axes[1:3]] == ["own best = team's best"] * 2
    assert [ax.images[0].get_clim() for ax in figure.axes[1:3]] == [(0, 1)] * 2  # one scale, and a bar for it
    assert figure.axes[3].get_yticklabels()[-1].get_text() == "1: its\nbest"
    assert [forest.short(x) for x in (-0.734, 3.14, 78.94, 512.3)] == ["-0.73", "3.14", "78.9", "512"]
    pushed = forest.plot_choice(episode, mixers, "one", 0, push=2.0)
    assert pushed.axes[1].get_xticklabels()[0].get_text() == f"stay\n{episode.q[0, 1, 0] + 2:.2f}"
    assert torch.equal(episode.q[0], episode_of(env)[0].q[0])  # the push stays in the picture
    assert forest.choice_explorer(episode, mixers, step=3).figure is not None
    strip = forest.plot_credits(episode, mixers, (0, 3, 99), who="game 7")
    titles = [ax.get_title("left") for ax in strip.axes]
    assert titles == ["state 0", "state 3", "state 5", "credits by the one mixer", "credits by the other mixer"]
    assert strip.get_suptitle() == "game 7" and len(strip.axes[3].lines[0].get_ydata()) == 6
    tables = {"as described": forest.where_trees_fall(env, 8)}
    assert "96 trees" in forest.plot_where_trees_fall(tables, "t").get_suptitle()


def test_pictures_with_views():
    """The same world, spec and all; only the picture differs, by the frames of what each lumberjack sees."""
    plain, framed = clearing(), forest.ShowsViews(num_envs=4, device="cpu")
    assert plain.spec == framed.spec
    plain.reset(seed=3), framed.reset(seed=3)
    a, b = plain.frame(), framed.frame()
    changed = (a != b).any(-1)
    assert a.shape == b.shape and 0.01 < changed.mean() < 0.2
    assert {tuple(x) for x in b[changed].tolist()} <= set(map(tuple, forest.COLOURS[:2]))


def test_what_rose_and_how_far_two_runs_are_one():
    rows = [("QMIX", s, t, float(t)) for s in range(3) for t in range(0, 200_001, 10_000)]
    rows += [("VDN", s, t, float(min(t, 80_000))) for s in range(2) for t in range(0, 100_001, 10_000)]
    frame = pd.DataFrame(rows, columns=["algorithm", "seed", "env_steps", "return_mean"])
    head, qmix, vdn = forest.rising(frame).splitlines()
    assert "80,000 to 90,000" in head and "90,000 to 100,000" in head
    assert " ".join(qmix.split()) == (
        "QMIX 90000 (90000 to 90000) 95000 (95000 to 95000) 3 of 3 190000 (190000 to 190000) 3 of 3"
    )
    assert vdn.split()[-3:] == ["0", "of", "2"]
    history = [{"env_steps": t, "return_mean": float(t if t < 50_000 else 0)} for t in range(0, 200_001, 10_000)]
    assert forest.equal_until(history, frame, "QMIX", 0) == 40_000
    assert forest.equal_until(history[1:], frame, "QMIX", 0) == 0
