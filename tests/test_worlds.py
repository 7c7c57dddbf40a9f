"""The library's own worlds: every published table, and what any world must keep, on random games and random play."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from marlcourse import check_env, env_names, make
from marlcourse.core import Box, Discrete, EnvSpec, Observation, VecEnv
from marlcourse.envs.base import World, check_actions
from marlcourse.envs.matrix import GAMES, MatrixGame, payoff_table

OWN = [name for name in env_names() if "<" not in name]
cpu = dict(device="cpu")

# Typed in a second time, from the papers' tables.
PUBLISHED = {
    "qtran": "8 -12 -12 / -12 0 0 / -12 0 0",
    "climbing": "11 -30 0 / -30 7 0 / 0 6 5",
    "xor": "0 1 / 1 0",
    "or": "0 1 / 1 1",
    "linear": "1 4 2 / 0 3 1 / 2 5 3",
    "nonlinear": "0 3 1 / 0 0 0 / 0 6 2",
    "trivial": "11 8 0 / 8 7 0 / 0 0 0",
    "stag-hunt": "8 3 / 3 4",
    "asymmetric": "4 0 / 3 2",
    "two-step-2b": "0 1 / 1 8",
    "penalty-0": "0 0 10 / 0 2 0 / 10 0 0",
    "penalty-10": "-10 0 10 / 0 2 0 / 10 0 -10",
    "penalty-25": "-25 0 10 / 0 2 0 / 10 0 -25",
    "penalty-50": "-50 0 10 / 0 2 0 / 10 0 -50",
    "penalty-75": "-75 0 10 / 0 2 0 / 10 0 -75",
    "penalty-100": "-100 0 10 / 0 2 0 / 10 0 -100",
}


def test_every_game_has_its_published_table_and_a_source():
    assert GAMES.keys() == PUBLISHED.keys()
    for name, rows in PUBLISHED.items():
        table, source = GAMES[name]
        assert table == [[float(x) for x in row.split()] for row in rows.split("/")], name
        assert len(source) > 5


def all_joint_actions(n_agents, n_actions):
    return torch.tensor(list(itertools.product(range(n_actions), repeat=n_agents)))


@pytest.mark.parametrize("game", sorted(GAMES))
def test_the_reward_is_the_tables_entry(game):
    table = torch.tensor(GAMES[game][0]).float()
    joint = all_joint_actions(2, len(table))
    env = make(f"matrix/{game}", num_envs=len(joint), **cpu)
    env.reset()
    step = env.step(joint)
    assert torch.equal(step.reward.reshape(table.shape), table)
    assert torch.equal(step.info["won"], step.reward == table.max())
    assert step.terminated.all() and not step.truncated.any()


tables = st.integers(2, 4).flatmap(
    lambda n: st.integers(2, 3).flatmap(lambda a: arrays.arrays(np.float32, (a,) * n, elements=st.floats(-100, 100, width=32)))
)


@settings(max_examples=30, deadline=None)
@given(tables)
def test_any_table_a_reader_types_is_a_game(table):
    joint = all_joint_actions(table.ndim, table.shape[0])
    for form in (table, table.tolist(), torch.from_numpy(table).requires_grad_()):
        env = MatrixGame(form, num_envs=len(joint), **cpu)
        assert (env.spec.n_agents, env.spec.n_actions, env.spec.name) == (table.ndim, table.shape[0], "matrix/yours")
        env.reset()
        assert np.array_equal(env.step(joint).reward.numpy(), table.ravel())
    assert env.fresh(num_envs=2).payoff.shape == table.shape


def test_a_readers_table_through_make_keeps_the_contract():
    check_env(MatrixGame([[1, 2], [3, 4]], num_envs=2, **cpu))
    check_env(MatrixGame(np.arange(8).reshape(2, 2, 2), num_envs=2, **cpu))


@pytest.mark.parametrize(
    "table,sentence",
    [
        ("8 -12", "This is not a payoff table: give a list of rows of numbers"),
        ([[1, 2], [3]], "This is not a payoff table"),
        ([[1, "two"], [3, 4]], "This is not a payoff table"),
        (None, "This is not a payoff table|needs an axis per agent"),
        ({"a": 1}, "This is not a payoff table"),
        ([[1j, 0], [0, 1]], "This is not a payoff table"),
        (5, "needs an axis per agent and at least two actions on each, got shape \\[\\]"),
        ([1, 2, 3], "got shape \\[3\\]"),
        ([], "got shape \\[0\\]"),
        ([[1], [2]], "got shape \\[2, 1\\]"),
        ([[1, 2, 3], [4, 5, 6]], "All agents need the same number of actions, got a table of shape \\[2, 3\\]: pad it"),
        ([[1, float("nan")], [0, 1]], "must hold finite numbers: replace NaN and infinity"),
        ([[1, float("inf")], [0, 1]], "must hold finite numbers"),
        ([[1, 1e300], [0, 1]], "must hold finite numbers"),
    ],
)
def test_what_is_not_a_table_is_answered_in_one_sentence(table, sentence):
    with pytest.raises(ValueError, match=sentence):
        payoff_table(table)


def test_unknown_names_list_the_close_matches():
    with pytest.raises(ValueError, match="Unknown matrix game 'qtrann': did you mean 'qtran'.*Or give a table"):
        make("matrix/qtrann")
    with pytest.raises(ValueError, match="Unknown world 'junktion': did you mean 'junction'"):
        make("junktion")


@pytest.mark.parametrize("name", OWN)
def test_own_worlds_keep_the_contract(name):
    env = make(name, num_envs=3, **cpu)
    assert isinstance(env, VecEnv)
    check_env(env)


def test_junction_pays_when_exactly_one_car_passes():
    env = make("junction", num_envs=4, **cpu)
    o = env.reset()
    assert o.obs[0].tolist() == [[0.0], [1.0]] and not o.state.any()
    assert env.step(torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])).reward.tolist() == [0, 1, 1, 0]


def test_two_step_follows_the_first_agent_only():
    env = make("two-step", num_envs=16, **cpu)
    joint = torch.tensor(list(itertools.product((0, 1), repeat=4)))  # first step's two actions, second step's two
    o = env.reset()
    assert o.state.tolist() == [[1, 0, 0]] * 16 and torch.equal(o.obs, o.state.unsqueeze(1).expand(-1, 2, -1))
    first = env.step(joint[:, :2])
    assert not first.reward.any() and not first.terminated.any() and not first.truncated.any()
    assert torch.equal(first.observation.state.argmax(-1), 1 + joint[:, 0])
    second = env.step(joint[:, 2:])
    in_2b = torch.tensor([[0.0, 1.0], [1.0, 8.0]])[joint[:, 2], joint[:, 3]]
    assert torch.equal(second.reward, torch.where(joint[:, 0] == 0, 7.0, in_2b))
    assert second.terminated.all() and not second.truncated.any()  # an end of the task, though it falls on the limit
    assert torch.equal(second.info["won"], second.reward == 8)


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32))
def test_the_product_game_multiplies(a1, a2):
    joint = torch.tensor([[[a1], [a2]]])
    for clip, used in ((True, joint.clamp(-2, 2)), (False, joint)):
        env = make("product-game", clip=clip, **cpu)
        env.reset()
        assert env.step(joint).reward.item() == pytest.approx(float(used[0, 0] * used[0, 1]), abs=1e-6)
        assert env.fresh().clip is clip


@pytest.mark.parametrize("name", OWN)
def test_pictures_keep_their_size_show_the_action_and_work_at_any_time(name):
    env = make(name, num_envs=2, **cpu)
    avail = env.reset(seed=0).avail
    before = [env.frame(0)]
    order = None if avail is None else torch.rand(avail.shape, generator=torch.Generator().manual_seed(1))
    for _ in range(env.spec.episode_limit):
        a = torch.full((2, 2, 1), 1.5) if isinstance(env.spec.actions, Box) else (order * avail).argmax(-1)
        avail = env.step(a).observation.avail
        before.append(env.frame(0))
    assert len({picture.shape for picture in before}) == 1
    assert all(p.dtype == np.uint8 and min(p.shape[:2]) >= 100 for p in before)
    assert not np.array_equal(before[-2], before[-1])


def test_pictures_tell_the_junctions_four_outcomes_apart():
    env = make("junction", num_envs=4, **cpu)
    env.reset()
    env.step(torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]))
    assert len({env.frame(i).tobytes() for i in range(4)}) == 4


def test_worlds_share_nothing_and_restart_one_by_one():
    env = make("two-step", num_envs=3, **cpu)
    env.reset(seed=0)
    env.step(torch.tensor([[0, 0], [1, 0], [1, 1]]))
    env.step(torch.tensor([[0, 0], [1, 0], [1, 1]]))
    o = env.reset(where=torch.tensor([False, True, False]))
    assert o.state.argmax(-1).tolist() == [1, 0, 2]
    step = env.step(torch.tensor([[0, 0], [1, 0], [1, 1]]))
    assert step.reward.tolist() == [0, 0, 0] and step.observation.state.argmax(-1).tolist() == [1, 2, 2]
    step = env.step(torch.tensor([[1, 1], [1, 1], [1, 1]]))
    assert step.reward.tolist() == [0, 8, 0] and step.info["won"].tolist() == [False, True, False]
    assert step.terminated.tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["lumberjacks", "traffic-junction-4", "two-step"])
def test_a_reset_of_no_world_shows_the_present(name):
    """It repeats the last step's observation, also where a saved state was put back in between."""
    env, nobody = make(name, num_envs=3, seed=5, **cpu), torch.zeros(3, dtype=torch.bool)
    first, saved = env.reset(), env.state_dict()
    actions = torch.ones(3, env.spec.n_agents, dtype=torch.long)
    seen = env.step(actions).observation
    assert not torch.equal(seen.obs, first.obs)
    for a, b in zip(env.reset(where=nobody), seen, strict=True):
        assert torch.equal(a, b)
    env.load_state_dict(saved)
    for a, b in zip(env.reset(where=nobody), first, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", OWN)
def test_a_state_before_the_first_reset_can_be_saved_too(name):
    env = make(name, num_envs=2, **cpu)
    saved = env.state_dict()
    env.reset()
    env.load_state_dict(saved)
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before step\(\)"):
        env.step(torch.zeros(2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="The saved state holds 2 worlds, this environment has 3"):
        make(name, num_envs=3, **cpu).load_state_dict(saved)


# ---------------------------------------------------------------------- actions


@pytest.mark.parametrize(
    "actions,sentence",
    [
        ([[0, 1]], "expects actions as a tensor of shape \\[2, 2\\], got a list"),
        (np.zeros((2, 2)), "got a ndarray"),
        (torch.zeros(2, 3, dtype=torch.long), "got shape \\[2, 3\\]"),
        (torch.zeros(2, dtype=torch.long), "got shape \\[2\\]"),
        (torch.zeros(2, 2), "expects whole-number actions \\(dtype long\\), got torch.float32"),
        (torch.zeros(2, 2, dtype=torch.bool), "expects whole-number actions"),
        (torch.tensor([[0, 0], [0, 3]]), "Agent 1 in world 1 of matrix/qtran played 3, which is not available"),
        (torch.tensor([[-1, 0], [0, 0]]), "Agent 0 in world 0 of matrix/qtran played -1, which is not available"),
    ],
)
def test_wrong_actions_are_refused_and_change_nothing(actions, sentence):
    env = make("matrix/qtran", num_envs=2, **cpu)
    env.reset()
    with pytest.raises(ValueError, match=sentence):
        env.step(actions)
    assert env.running.all() and env.step(torch.zeros(2, 2, dtype=torch.int32)).reward.tolist() == [8, 8]


def test_continuous_actions_must_be_finite():
    env = make("product-game", num_envs=2, **cpu)
    env.reset()
    with pytest.raises(ValueError, match="Agent 1 in world 0 of product-game played .nan., which is not finite"):
        env.step(torch.tensor([[[1.0], [float("nan")]], [[0.0], [0.0]]]))


def test_a_finished_world_ignores_its_actions_whatever_they_are():
    env = make("matrix/qtran", num_envs=2, **cpu)
    env.reset()
    env.step(torch.zeros(2, 2, dtype=torch.long))
    env.reset(where=torch.tensor([True, False]))
    step = env.step(torch.tensor([[0, 0], [99, -7]]))
    assert step.reward.tolist() == [8, 0]


def test_where_nothing_can_be_raised_actions_become_playable():
    # A finished world's actions on the CPU take the path that all actions take on a GPU.
    spec = EnvSpec("w", 2, 1, 1, 1, Discrete(3))
    stopped = torch.zeros(2, dtype=torch.bool)
    actions, bad = check_actions(spec, torch.tensor([[5, -1], [1, 2]]), stopped, None)
    assert actions.tolist() == [[2, 0], [1, 2]] and bad is None
    spec = EnvSpec("w", 1, 1, 1, 1, Box(1))
    actions, _ = check_actions(spec, torch.tensor([[[float("inf")]], [[0.5]]]), stopped, None)
    assert actions.tolist() == [[[0.0]], [[0.5]]]


@pytest.mark.gpu
def test_an_unavailable_action_sets_a_flag_on_a_gpu():
    env = make("matrix/qtran", num_envs=2, device="cuda")
    env.reset()
    env.raise_if_illegal()
    env.step(torch.tensor([[0, 0], [0, 9]], device="cuda"))
    with pytest.raises(ValueError, match="An unavailable action was played in matrix/qtran"):
        env.raise_if_illegal()
    env.raise_if_illegal()  # read once


def test_num_envs_must_be_positive():
    for name in OWN:
        with pytest.raises(ValueError, match="num_envs must be at least 1, not 0"):
            make(name, num_envs=0, **cpu)


# ---------------------------------------------------------------------- chance, in a world that has some


class Dice(World):
    """Two dice: the sum is the reward; injected draws show that all chance comes from the two draw methods."""

    def __init__(self, num_envs=1, device="cpu", seed=0):
        self.spec = EnvSpec("dice", 2, 1, 1, 4, Discrete(2))
        super().__init__(num_envs, device, seed)

    def _draw_step(self):
        return {"dice": torch.randint(1, 7, (self.num_envs, 2), generator=self.generator)}

    def _start(self, draws):
        return {"sum": torch.zeros(self.num_envs)}

    def _advance(self, state, actions, draws):
        total = draws["dice"].sum(1).float()
        return {"sum": state["sum"] + total}, total, torch.zeros_like(self.running), {}

    def _observe(self, state):
        one = torch.ones(self.num_envs, 2, 1)
        return Observation(one, state["sum"].unsqueeze(1), torch.ones(self.num_envs, 2, 2, dtype=torch.bool))

    def frame(self, index=0):
        return np.zeros((2, 2, 3), np.uint8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**62), st.integers(1, 5), st.integers(1, 9))
def test_seed_and_actions_fix_everything(seed, num_envs, steps):
    def run(env):
        env.reset(seed=seed)
        rewards = []
        for _ in range(steps):
            step = env.step(torch.zeros(num_envs, 2, dtype=torch.long))
            rewards.append(step.reward)
            env.reset(where=step.truncated)
        return torch.stack(rewards)

    used = Dice(num_envs, seed=1)
    used.reset(), used.step(torch.zeros(num_envs, 2, dtype=torch.long))
    assert torch.equal(run(used), run(Dice(num_envs)))
    assert torch.equal(run(used), run(used.fresh(seed=9)))


def test_chance_can_be_injected_and_a_time_limit_truncates():
    env = Dice(2)
    env._draw_step = lambda: {"dice": torch.tensor([[1, 2], [6, 6]])}
    env.reset()
    for t in range(4):
        step = env.step(torch.zeros(2, 2, dtype=torch.long))
        assert step.reward.tolist() == [3, 12]
        assert step.truncated.tolist() == [t == 3] * 2 and not step.terminated.any()
    assert step.observation.state.tolist() == [[12], [48]]
    check_env(Dice(3))
