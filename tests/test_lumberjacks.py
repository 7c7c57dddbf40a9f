"""Lumberjacks as described: every rule on positions small enough to check by hand, and what every world must keep."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marlcourse import check_env, make
from marlcourse.envs.lumberjacks import Lumberjacks

STAY, DOWN, LEFT, UP, RIGHT = range(5)
cpu = dict(device="cpu")


def placed(agents, trees, num_envs=1, **options):
    """A world that begins with agents and trees {(row, column): strength} on these cells; it is freshly reset."""
    size = options.get("size", 5)
    taken = [row * size + column for row, column in [*agents, *trees]]
    order = taken + [cell for cell in range(size**2) if cell not in taken]
    options = {"n_agents": len(agents), "n_trees": len(trees), **options}
    env = Lumberjacks(num_envs=num_envs, device="cpu", **options)
    env._draw_start = lambda: {
        "order": torch.tensor(order).expand(num_envs, -1),
        "strength": torch.tensor(list(trees.values())).expand(num_envs, -1),
    }
    env.reset(seed=0)
    return env


def where_are(env):
    """(row, column) of each agent of world 0, as the agents see it themselves."""
    own = env._observe(env.state).obs[0, :, 1:3] * (env.size - 1)
    return [tuple(x) for x in own.round().int().tolist()]


def play(env, *joint_actions):
    return [env.step(torch.tensor([joint] * env.num_envs)) for joint in joint_actions]


# ---------------------------------------------------------------------- the rules


def test_moves_and_the_border():
    far = {(4, 4): 1}
    for action, there in ((STAY, (2, 2)), (DOWN, (3, 2)), (LEFT, (2, 1)), (UP, (1, 2)), (RIGHT, (2, 3))):
        env = placed([(2, 2)], far)
        play(env, [action])
        assert where_are(env) == [there]
    for action, corner in ((UP, (0, 0)), (LEFT, (0, 0)), (DOWN, (4, 0)), (RIGHT, (0, 4))):
        env = placed([corner], far)
        play(env, [action])
        assert where_are(env) == [corner]


@pytest.mark.parametrize("faithful, reachable", [(False, 25), (True, 16)])
def test_the_whole_grid_is_reachable_in_the_described_game_only(faithful, reachable):
    seen = set()
    for start in itertools.product(range(5), repeat=2):
        tree = {(4, 4): 1} if start != (4, 4) else {(0, 0): 1}
        for action in range(5):
            env = placed([start], tree, faithful=faithful)
            play(env, [action])
            seen.add(where_are(env)[0])
            if action == STAY and not faithful:
                assert where_are(env) == [start]
    assert len(seen) == reachable
    assert ((4, 4) in seen) is not faithful


def test_a_tree_falls_when_enough_agents_stand_there_and_pays_those_alone():
    trees = {(1, 1): 2, (3, 3): 1, (0, 0): 1}
    env = placed([(1, 0), (1, 2)], trees)
    first, second = play(env, [RIGHT, STAY], [STAY, LEFT])
    assert first.reward.tolist() == [-2] and first.info["felled"].tolist() == [0]  # one is not enough for two
    assert second.reward.tolist() == [18] and second.info["felled"].tolist() == [1]  # both are paid, one tree
    third = play(env, [LEFT, STAY], [UP, STAY])
    assert [s.reward.item() for s in third] == [-2, 8]  # agent 1 alone is paid; agent 2 stands elsewhere
    assert not third[-1].terminated.any() and env.state["left"].tolist() == [1]
    env = placed([(0, 1), (1, 0)], trees)
    assert play(env, [LEFT, UP])[0].reward.tolist() == [18]  # two on a tree that one could fell: both were involved
    env = placed([(0, 1), (3, 2)], trees)
    assert play(env, [LEFT, RIGHT])[0].reward.tolist() == [18]  # a tree each


def test_ma_gym_pays_everybody():
    trees = {(1, 1): 2, (3, 3): 1, (0, 0): 1}
    env = placed([(0, 1), (3, 1)], trees, faithful=True)
    assert play(env, [LEFT, STAY])[0].reward.tolist() == [18]
    env = placed([(0, 1), (3, 2)], trees, faithful=True)
    assert play(env, [LEFT, RIGHT])[0].reward.tolist() == [38]


def test_the_last_tree_ends_the_game_and_the_clock_cuts_it_off():
    env = placed([(0, 1)], {(0, 0): 1, (0, 3): 1}, episode_limit=9)
    steps = play(env, [LEFT], [RIGHT], [RIGHT], [RIGHT], [LEFT])
    assert [s.reward.item() for s in steps] == [9, -1, -1, 9, 0]
    assert [s.terminated.item() for s in steps] == [False, False, False, True, False]
    assert [s.info["won"].item() for s in steps] == [False, False, False, True, False]
    env = placed([(0, 1)], {(0, 0): 1}, episode_limit=2)
    steps = play(env, [STAY], [STAY])
    assert steps[1].truncated.item() and not steps[1].terminated.item() and not steps[1].info["won"].item()
    env = placed([(0, 1)], {(0, 0): 1}, episode_limit=2)
    steps = play(env, [STAY], [LEFT])  # on the last step: an end, not a cut
    assert steps[1].terminated.item() and not steps[1].truncated.item()


def test_what_an_agent_sees_is_computed_by_hand():
    env = placed([(0, 0), (1, 1)], {(0, 1): 2, (2, 2): 1, (4, 4): 1}, episode_limit=10)
    play(env, [STAY, STAY])
    a, b = env._observe(env.state).obs[0].tolist()
    nothing, tree, strong, me = [0, 0], [0, 0.5], [0, 1], [0.5, 0]
    window = [nothing, nothing, nothing, nothing, me, strong, nothing, nothing, me]
    assert a == pytest.approx([0, 0, 0, 0.1, *sum(window, [])])
    window = [me, strong, nothing, nothing, me, nothing, nothing, nothing, tree]
    assert b == pytest.approx([0.5, 0.25, 0.25, 0.1, *sum(window, [])])


def test_a_felled_tree_is_seen_no_more():
    env = placed([(0, 0)], {(0, 1): 1, (4, 4): 1})
    step = play(env, [RIGHT], [LEFT])[-1]
    assert step.observation.obs[0, 0, 4:].reshape(9, 2).tolist() == [[0, 0]] * 4 + [[1, 0]] + [[0, 0]] * 4


def test_the_compact_state_is_the_true_state():
    options = dict(agents=[(0, 0), (1, 2)], trees={(0, 1): 2, (2, 2): 1, (4, 4): 2}, episode_limit=10)
    env = placed(state="compact", **options)
    state = play(env, [STAY, DOWN])[0].observation.state[0]
    assert env.spec.state_dim == 30 and not env.spec.state_is_obs
    trees = torch.zeros(5, 5)
    trees[0, 1] = trees[4, 4] = 1.0  # the one at (2, 2) has just fallen
    assert state.tolist() == pytest.approx([0, 0, 0.5, 0.5, *trees.flatten().tolist(), 0.1])
    other = placed(**options)
    assert torch.equal(play(other, [STAY, DOWN])[0].observation.obs, env._observe(env.state).obs)


def test_every_start_is_a_fair_draw_from_the_first_episode_on():
    env = make("lumberjacks", num_envs=3000, **cpu)
    o = env.reset()  # also without a seed
    trees = o.obs.new_tensor(env.state["trees"][:, env.inside].numpy())
    agents = torch.zeros(3000, env.cells).scatter_(1, env.state["agents"], 1.0)[:, env.inside]
    assert ((trees > 0).sum(1) == 12).all() and (agents.sum(1) == 2).all() and not (agents * trees).any()
    assert ((trees > 0).float().mean(0) - 12 / 25).abs().max() < 0.04
    assert (agents.mean(0) - 2 / 25).abs().max() < 0.025
    assert abs((trees == 2).sum().item() / (trees > 0).sum().item() - 0.5) < 0.01
    first = env.state["agents"][:, 0] < env.state["agents"][:, 1]
    assert 0.45 < first.float().mean() < 0.55  # numbers say nothing about places
    before, some = env.state["trees"].clone(), torch.arange(3000) % 3 == 0
    env.reset(where=some)
    assert torch.equal(env.state["trees"][~some], before[~some])
    planted = env.state["trees"][some][:, env.inside]
    assert ((planted > 0).sum(1) == 12).all() and ((planted > 0).float().mean(0) - 12 / 25).abs().max() < 0.07
    assert len(planted.unique(dim=0)) == 1000 and abs((planted == 2).sum().item() / 12_000 - 0.5) < 0.02
    agents = torch.zeros(3000, env.cells).scatter_(1, env.state["agents"], 1.0)[some][:, env.inside]
    assert (agents.sum(1) == 2).all() and not (agents * planted).any()
    again = make("lumberjacks", num_envs=3000, faithful=True, **cpu)
    again.reset(seed=0)
    assert (again.state["agents"][:, 0] < again.state["agents"][:, 1]).all()  # in reading order, as in ma-gym


@pytest.mark.parametrize("faithful, mean, tolerance", [(True, -106.0, 4.0), (False, -130.5, 3.0)])
def test_random_play_earns_what_was_measured(faithful, mean, tolerance):
    """ma-gym: about -53 per agent. Spread over episodes: 31 and 21."""
    env = make("lumberjacks", num_envs=1500, faithful=faithful, **cpu)
    env.reset(seed=1)
    generator = torch.Generator().manual_seed(1)
    total = sum(env.step(torch.randint(5, (1500, 2), generator=generator)).reward for _ in range(100))
    assert total.mean().item() == pytest.approx(mean, abs=tolerance)
    assert not env.running.any()


# ---------------------------------------------------------------------- what every world must keep


OPTIONS = [
    dict(faithful=faithful, state=state, **more)
    for faithful, state, more in itertools.product(
        (False, True),
        ("concatenated", "compact"),
        ({"episode_limit": 12}, {"n_agents": 3, "size": 4, "n_trees": 5, "view": 2, "episode_limit": 7}),
    )
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ",".join(map(str, o.values())))
def test_the_contract_is_kept_with_every_option(options):
    env = make("lumberjacks", num_envs=3, **cpu, **options)
    check_env(env)
    assert env.fresh().spec == env.spec and env.fresh().options == env.options


def test_the_contract_is_kept_at_full_length():
    check_env(make("lumberjacks", num_envs=2, **cpu))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 4), st.booleans(), st.integers(1, 4), st.integers(2, 6))
def test_what_holds_in_every_position(seed, n_agents, faithful, n_trees, size):
    if n_agents + n_trees > size**2:
        return
    env = Lumberjacks(
        num_envs=5, device="cpu", faithful=faithful, n_agents=n_agents, size=size, n_trees=n_trees, episode_limit=30
    )
    env.reset(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    felled, standing = torch.zeros(5, dtype=torch.long), env.state["trees"].bool().sum(1)
    assert (standing == n_trees).all()
    for _ in range(30):
        before = env.running.clone()
        step = env.step(torch.randint(5, (5, n_agents), generator=generator))
        felled += step.info["felled"]
        stands = ((env.state["trees"] >= 1) & (env.state["trees"] <= n_agents)).sum(1)
        assert torch.equal(stands, n_trees - felled) and torch.equal(stands, env.state["left"].long())
        assert torch.equal(step.terminated, before & (stands == 0))
        assert step.observation.obs.min() >= 0 and step.observation.obs.max() <= 1
        assert torch.isin(env.state["agents"], env.inside).all()
        low, high = 10 * step.info["felled"], 10 * n_agents * step.info["felled"]
        paid = torch.where(before, step.reward + n_agents, 0.0)
        assert ((paid >= low) & (paid <= high)).all()
        if faithful:
            assert torch.equal(paid, high.float())


def test_many_worlds_are_single_worlds():
    many = make("lumberjacks", num_envs=6, **cpu)
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(5, (120, 6, 2), generator=generator)
    start = many._draw_start()
    many._draw_start = lambda: start
    many.reset()
    record = []
    for a in actions:
        step = many.step(a)
        many.reset(where=step.terminated | step.truncated)
        record.append((step.observation.obs, step.reward, step.terminated, step.truncated))
    for i in range(6):
        one = many.fresh(num_envs=1)
        one._draw_start = lambda i=i: {k: v[i : i + 1] for k, v in start.items()}
        one.reset()
        for a, then in zip(actions, record):
            step = one.step(a[i : i + 1])
            now = (step.observation.obs, step.reward, step.terminated, step.truncated)
            assert all(torch.equal(x, y[i : i + 1]) for x, y in zip(now, then))
            one.reset(where=step.terminated | step.truncated)


def test_a_reset_of_nobody_changes_nothing_and_draws_nothing():
    env = make("lumberjacks", num_envs=3, **cpu)
    o = env.reset(seed=0)
    generator = env.generator.get_state()
    again = env.reset(where=torch.zeros(3, dtype=torch.bool))
    assert torch.equal(again.obs, o.obs) and torch.equal(env.generator.get_state(), generator)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"state": "true"}, "state must be 'concatenated' .all observations. or 'compact', not 'true'"),
        ({"n_trees": 24}, "2 agents and 24 trees need a cell each of 5x5: take a larger size or fewer trees"),
        ({"n_trees": 0}, "n_trees must be at least 1"),
        ({"n_agents": 0}, "n_agents must be at least 1"),
        ({"size": 1}, "size must be at least 2"),
        ({"view": 0}, "view must be at least 1"),
        ({"episode_limit": 0}, "episode_limit must be at least 1"),
    ],
)
def test_bad_options_are_answered_in_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make("lumberjacks", **cpu, **options)


def test_pictures_tell_apart_what_differs():
    env = placed([(0, 1), (2, 2)], {(0, 0): 1, (4, 4): 2, (3, 2): 2})
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before frame\(\)"):
        env.fresh().frame()
    pictures = [env.frame()]
    for joint in ([LEFT, STAY], [RIGHT, STAY], [STAY, DOWN], [STAY, UP]):
        play(env, joint)
        pictures.append(env.frame())
    assert {p.shape for p in pictures} == {(416, 384, 3)} and pictures[0].dtype == np.uint8
    assert len({p.tobytes() for p in pictures}) == 5
    big = make("lumberjacks", n_agents=6, size=7, **cpu)
    big.reset(seed=0)
    assert big.frame().shape == (560, 528, 3)
