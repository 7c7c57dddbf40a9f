"""Games of other packages: ma-gym without old gym, worker processes, PettingZoo in both directions."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import marlcourse
from marlcourse import check_env, evaluate, make
from marlcourse.core import Box, Observation
from marlcourse.envs.adapters import gym_standin
from marlcourse.envs.adapters.python_worlds import PythonVecEnv

needs_ma_gym = pytest.mark.skipif(importlib.util.find_spec("ma_gym") is None, reason="ma-gym is not installed")
ROOT = Path(marlcourse.__file__).parents[1]
MODULE = "marlcourse.envs.adapters.pettingzoo"


def run(code, path=()):
    """Run Python code in a process of its own; its output."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def actions_for(env, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, env.num_envs, env.spec.n_agents)
    if isinstance(env.spec.actions, Box):
        low, high = env.spec.actions.low, env.spec.actions.high
        return low + (high - low) * torch.rand(*shape, env.spec.actions.dim, generator=generator)
    return torch.randint(env.spec.n_actions, shape, generator=generator)


def play(env, actions, seed=3):
    """All tensors of a run that restarts finished worlds at once."""
    seen = list(env.reset(seed=seed))
    for a in actions:
        step = env.step(a)
        seen += [*step.observation, step.reward, step.terminated, step.truncated, *step.info.values()]
        if (step.terminated | step.truncated).any():
            seen += list(env.reset(where=step.terminated | step.truncated))
    return seen


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x is y is None or torch.equal(x, y)


# ---------------------------------------------------------------------- the stand-in for old gym


def test_the_standin_leaves_no_trace_in_sys_modules():
    before = {name for name in sys.modules if name.split(".")[0] == "gym"}
    with gym_standin.old_gym():
        import gym

        assert gym.spaces.Discrete is gym_standin.Discrete
    assert {name for name in sys.modules if name.split(".")[0] == "gym"} == before


def test_the_readers_gym_modules_come_back_even_after_an_error(monkeypatch):
    mine = type(sys)("gym")
    monkeypatch.setitem(sys.modules, "gym", mine)
    monkeypatch.setattr(gym_standin, "real_gym_is_suitable", lambda: False)
    with pytest.raises(KeyError), gym_standin.old_gym():
        assert sys.modules["gym"] is not mine
        raise KeyError
    assert sys.modules["gym"] is mine and "gym.spaces" not in sys.modules


@needs_ma_gym
def test_after_ma_gym_a_process_without_gym_still_has_none():
    code = """
        import marlcourse
        env = marlcourse.make("ma-gym/Lumberjacks-v0", device="cpu")
        env.reset(), env.frame()
        try:
            import gym
        except ImportError:
            print("none")
    """
    assert run(code) == "none"


@needs_ma_gym
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_real_gym_is_never_shadowed(tmp_path, when):
    (tmp_path / "gym").mkdir()
    (tmp_path / "gym" / "__init__.py").write_text("mine = 'the reader\\'s own gym'\n")
    code = f"""
        import sys
        if {when == "before"}:
            import gym
        import marlcourse
        marlcourse.make("ma-gym/TrafficJunction4-v0", device="cpu").reset()
        import gym
        print(gym.mine, [name for name in sys.modules if name.startswith("gym.")])
    """
    assert run(code, [tmp_path]) == "the reader's own gym []"


def test_a_suitable_real_gym_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(gym_standin.importlib.util, "find_spec", lambda name: object())
    for version, suitable in (("0.19.0", True), ("0.20.0", True), ("0.21.0", True), ("0.25.2", False), ("0.26.2", False)):
        monkeypatch.setattr(gym_standin.metadata, "version", lambda name, v=version: v)
        assert gym_standin.real_gym_is_suitable() is suitable
        before = dict(sys.modules)
        with gym_standin.old_gym():
            assert ("gym" in sys.modules and sys.modules["gym"] is gym_standin.STANDIN["gym"]) is not suitable
        assert sys.modules.keys() == before.keys()


def test_seeds_spread_as_gym_0_20_spreads_them():
    # gym 0.20, seeding.py: SHA-512 of the decimal digits, its first 8 bytes, little end first. SHA-512 of "0" begins so:
    assert gym_standin.hash_seed(0) == int.from_bytes(bytes.fromhex("31bca02094eb7812"), "little")
    generator, seed = gym_standin.np_random(7)
    words = [gym_standin.hash_seed(7) % 2**32, gym_standin.hash_seed(7) // 2**32]
    assert seed == 7 and generator.randint(1000) == np.random.RandomState(words).randint(1000)
    assert gym_standin.np_random()[1] != gym_standin.np_random()[1]


def test_the_standins_spaces_hold_and_draw():
    box = gym_standin.Box(np.zeros(3), np.ones(3))
    box.seed(1)
    first = box.sample()
    box.seed(1)
    assert np.array_equal(first, box.sample()) and box.contains(first) and not box.contains(first + 2) and box.shape == (3,)
    discrete = gym_standin.Discrete(4)
    assert {discrete.sample() for _ in range(100)} == {0, 1, 2, 3} and discrete.contains(3) and not discrete.contains(4)


# ---------------------------------------------------------------------- ma-gym


@needs_ma_gym
@pytest.mark.parametrize(
    "game,agents,obs,actions,state",
    [
        ("Lumberjacks-v0", 2, 22, 5, 44),
        ("Lumberjacks-v1", 2, 44, 5, 88),
        ("TrafficJunction4-v0", 4, 81, 2, 324),
        ("TrafficJunction10-v0", 10, 135, 2, 1350),
        ("Switch2-v0", 2, 2, 5, 4),
    ],
)
def test_ma_gym_shapes(game, agents, obs, actions, state):
    env = make(f"ma-gym/{game}", num_envs=3, device="cpu")
    s = env.spec
    assert (s.n_agents, s.obs_dim, s.n_actions, s.state_dim, s.state_is_obs) == (agents, obs, actions, state, True)
    assert s.episode_limit == (50 if "Switch" in game else 100)
    assert env.reset(seed=0).avail.all()
    picture = env.frame(2)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 2


@needs_ma_gym
@pytest.mark.parametrize("game", ["Lumberjacks-v0", "TrafficJunction4-v0", "Switch2-v0", "Checkers-v0", "PredatorPrey5x5-v0"])
def test_ma_gym_keeps_the_contract(game):
    check_env(make(f"ma-gym/{game}", num_envs=2, device="cpu", episode_limit=12))


@needs_ma_gym
def test_the_teams_reward_is_the_sum_and_the_time_limit_truncates():
    env = make("ma-gym/TrafficJunction10-v0", num_envs=2, device="cpu")
    env.reset(seed=1)
    total, brake = torch.zeros(2), torch.ones(2, 10, dtype=torch.long)
    for t in range(100):
        step = env.step(brake)
        total += step.reward
        assert not step.terminated.any() and bool(step.truncated.all()) == (t == 99)
    # Four cars stand on the road from the start: -0.01 (1 + ... + 100) each; the gates are full, so nobody enters.
    assert total.tolist() == pytest.approx([-202.0, -202.0], abs=0.01)
    assert step.info["step_collisions"].tolist() == [0, 0]


@needs_ma_gym
def test_an_end_before_the_limit_is_a_termination():
    env = make("ma-gym/Switch2-v0", device="cpu")
    env.reset(seed=0)
    down, left, up, right, wait = range(5)
    game = env.hosts[0].worlds[0].game
    for _ in range(40):  # each agent walks home in turn, through the corridor's middle row
        joint = []
        for i in range(2):
            (row, column), (home_row, home_column) = game.agent_pos[i], game.final_agent_pos[i]
            sideways = right if home_column > column else left
            if i == 1 and not game._agent_dones[0]:
                joint.append(wait)
            elif column != home_column:
                joint.append(sideways if row == 1 or abs(home_column - column) <= 1 else (down if row < 1 else up))
            else:
                joint.append(down if home_row > row else up if home_row < row else wait)
        step = env.step(torch.tensor([joint]))
        if step.terminated.any() or step.truncated.any():
            break
    assert step.terminated.all() and not step.truncated.any() and env.clock[0] < 50


@needs_ma_gym
def test_two_time_limits():
    outside = make("ma-gym/Lumberjacks-v0", device="cpu", episode_limit=25)
    inside = make("ma-gym/Lumberjacks-v0", device="cpu", max_steps=25)
    clocks = []
    for env in (outside, inside):
        env.reset(seed=0)
        assert env.spec.episode_limit == 25
        for _ in range(25):
            step = env.step(torch.zeros(1, 2, dtype=torch.long))
        assert step.truncated.all() and not step.terminated.any()
        clocks.append(step.observation.obs[0, 0, 3].item())
    assert clocks == [0.25, 1.0]  # the observation's own clock


@needs_ma_gym
def test_traffic_junction_leaves_the_readers_random_alone_and_is_left_alone():
    env = make("ma-gym/TrafficJunction4-v0", num_envs=2, device="cpu")
    actions = actions_for(env, 30)
    numpys = lambda: np.random.get_state()[1].tolist()  # noqa: NPY002  the reader's, only looked at
    random.seed(0)
    before = random.getstate(), numpys()
    first = play(env, actions)
    assert (random.getstate(), numpys()) == before
    random.seed(99)
    assert_same(first, play(env, actions))
    assert sys.modules[type(env.hosts[0].worlds[0].game).__module__].random is random


@needs_ma_gym
def test_worlds_differ_and_episodes_differ_and_no_history_leaks():
    env = make("ma-gym/Lumberjacks-v0", num_envs=3, device="cpu")
    a = env.reset(seed=0)
    assert not torch.equal(a.obs[0], a.obs[1])
    second = env.reset()
    assert not torch.equal(a.obs, second.obs)
    assert_same([a.obs, second.obs], [env.reset(seed=0).obs, env.reset().obs])
    only = env.reset(where=torch.tensor([False, True, False]))
    assert torch.equal(only.obs[[0, 2]], second.obs[[0, 2]]) and not torch.equal(only.obs[1], second.obs[1])


@needs_ma_gym
def test_traffic_junction_forgets_the_routes_of_the_last_episode():
    env = make("ma-gym/TrafficJunction10-v0", num_envs=6, device="cpu")  # in ma-gym waiting cars show their old routes
    first = env.reset(seed=0).obs
    for _ in range(60):
        env.step(torch.zeros(6, 10, dtype=torch.long))
    assert all(all(world.game._on_the_road) for world in env.hosts[0].worlds.values())
    assert torch.equal(env.reset(seed=0).obs, first)


@needs_ma_gym
def test_lumberjacks_starts_are_shuffled_from_the_first_episode_on():
    env = make("ma-gym/Lumberjacks-v0", num_envs=40, device="cpu")
    places = env.reset(seed=0).obs[:, :, 1:3]  # ma-gym's own first reset puts all teams into one corner
    assert len(places.reshape(-1, 2).unique(dim=0)) > 15


@needs_ma_gym
def test_dones_and_observations_are_copies():
    env = make("ma-gym/TrafficJunction4-v0", device="cpu")
    o = env.reset(seed=0)
    kept = o.obs.clone()
    step = env.step(torch.zeros(1, 4, dtype=torch.long))
    ended = step.terminated.clone()
    for _ in range(60):
        env.step(torch.zeros(1, 4, dtype=torch.long))
    assert torch.equal(o.obs, kept) and torch.equal(step.terminated, ended)


@needs_ma_gym
def test_saving_in_the_middle_of_an_episode_is_exact():
    env = make("ma-gym/TrafficJunction4-v0", num_envs=3, device="cpu")
    actions = actions_for(env, 60)
    play(env, actions[:37])
    saved = env.state_dict()
    rest = [x for a in actions[37:] for x in (env.step(a).observation.obs, env.step(a).reward)]
    other = make("ma-gym/TrafficJunction4-v0", num_envs=3, device="cpu", seed=8)
    other.load_state_dict(saved)
    assert_same(rest, [x for a in actions[37:] for x in (other.step(a).observation.obs, other.step(a).reward)])
    with pytest.raises(ValueError, match="holds 3 worlds, this environment has 2"):
        make("ma-gym/TrafficJunction4-v0", num_envs=2, device="cpu").load_state_dict(saved)


@needs_ma_gym
def test_a_team_can_be_trained_and_evaluated_there():
    env = make("ma-gym/Switch2-v0", num_envs=2, device="cpu", episode_limit=10)
    algorithm = marlcourse.VDN(env.spec, device="cpu")
    result = evaluate(env, algorithm, episodes=2)
    assert result.length_mean <= 10 and np.isfinite(result.return_mean)


@needs_ma_gym
def test_bad_input_to_ma_gym():
    with pytest.raises(ValueError, match="Unknown ma-gym game 'Lumberjack-v0': did you mean 'Lumberjacks-v0'"):
        make("ma-gym/Lumberjack-v0")
    with pytest.raises(ValueError, match="PongDuel-v0 has no time limit of its own: give one, such as episode_limit=500"):
        make("ma-gym/PongDuel-v0")
    with pytest.raises(ValueError, match="Lumberjacks-v0 does not take these options: .*trees"):
        make("ma-gym/Lumberjacks-v0", trees=3)
    with pytest.raises(ValueError, match=r"TrafficJunction4-v0 does not take these options: n_max should be range in \[1,10\]"):
        make("ma-gym/TrafficJunction4-v0", n_max=11)
    env = make("ma-gym/Lumberjacks-v0", num_envs=2, device="cpu")
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before step\(\)"):
        env.step(torch.zeros(2, 2, dtype=torch.long))
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before frame\(\)"):
        env.frame()
    env.reset()
    with pytest.raises(ValueError, match=r"expects actions as a tensor of shape \[2, 2\], got shape \[2, 3\]"):
        env.step(torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="Agent 1 in world 0 of ma-gym/Lumberjacks-v0 played 5"):
        env.step(torch.tensor([[0, 5], [0, 0]]))
    with pytest.raises(ValueError, match=r"reset\(where=...\) expects a bool tensor of shape \[2\], got int64 \[1\]"):
        env.reset(where=torch.tensor([1]))
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        make("ma-gym/Lumberjacks-v0", num_envs=0)
    with pytest.raises(ValueError, match="workers must be 0"):
        make("ma-gym/Lumberjacks-v0", workers=-1)
    env.close(), env.close()
    with pytest.raises(RuntimeError, match="is closed: make a new one"):
        env.reset()


def test_without_ma_gym_the_command_is_named(monkeypatch):
    from marlcourse.envs.adapters import magym

    monkeypatch.setattr(magym.importlib.util, "find_spec", lambda name: None)
    magym._registry.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="The package ma-gym is not installed: run `marlcourse install ma-gym`."):
        make("ma-gym/Lumberjacks-v0")
    magym._registry.cache_clear()


# ---------------------------------------------------------------------- worker processes


@needs_ma_gym
def test_workers_change_nothing():
    options = dict(num_envs=3, device="cpu", episode_limit=8)
    here, there = make("ma-gym/TrafficJunction4-v0", **options), make("ma-gym/TrafficJunction4-v0", workers=2, **options)
    try:
        actions = actions_for(here, 20)
        assert_same(play(here, actions), play(there, actions))
        assert all(np.array_equal(here.frame(i), there.frame(i)) for i in range(3))
        there.hosts[0].ask("picture", {0: None})  # as if the stop button had come before the answer
        saved = there.state_dict()
        here.load_state_dict(saved), there.load_state_dict(saved)
        assert_same(play_on(here, actions[:5]), play_on(there, actions[:5]))
        assert there.fresh().workers == 0
        processes = [host.process for host in there.hosts]
        assert len(processes) == 2 and all(p.is_alive() for p in processes)
    finally:
        there.close()
    assert not any(p.is_alive() for p in processes)


def play_on(env, actions):
    return [x for a in actions for x in (env.step(a).observation.obs, env.step(a).reward)]


@needs_ma_gym
def test_a_dead_worker_is_one_sentence_and_no_hang():
    env = make("ma-gym/Switch2-v0", num_envs=2, device="cpu", workers=1)
    env.reset(seed=0)
    process = env.hosts[0].process
    process.kill() if os.name == "nt" else os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"worker process of world 0 to 1 of ma-gym/Switch2-v0 has died \(exit code"):
        env.step(torch.zeros(2, 2, dtype=torch.long))
    env.close()


def test_worlds_that_cannot_be_sent_are_refused():
    with pytest.raises(ValueError, match="Workers need a world that other processes can make too"):
        PythonVecEnv(lambda: Counter(), num_envs=2, device="cpu", workers=1)


class Counter:
    spec = make("two-step", device="cpu").spec

    def close(self):
        pass


def test_a_game_that_fails_in_a_worker_is_named(tmp_path, monkeypatch):
    (tmp_path / "brittle_game.py").write_text(
        "from marlcourse.envs.adapters.pettingzoo import parallel_env as make\n"
        "def parallel_env(render_mode=None):\n"
        "    env = make('two-step')\n"
        "    def step(actions): raise ZeroDivisionError('the game broke')\n"
        "    env.step = step\n"
        "    return env\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    env = make("pettingzoo:brittle_game", num_envs=1, device="cpu", workers=1)
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="World 0 of pettingzoo:brittle_game failed .* ZeroDivisionError: the game broke"):
        env.step(torch.zeros(1, 2, dtype=torch.long))
    assert not env.hosts


# ---------------------------------------------------------------------- PettingZoo


class Race:
    """A parallel game with everything awkward: ragged spaces, an agent that leaves early, masks, actions from 1 on."""

    possible_agents = ["slow", "fast"]
    max_cycles = 4
    metadata = {"name": "race"}

    def __init__(self, mask="obs", ends="terminated", state=False):
        from gymnasium import spaces

        self.mask, self.ends = mask, ends
        box = lambda n: spaces.Box(-10, 10, (n,), np.float64)
        masked = lambda n, a: spaces.Dict({"observation": box(n), "action_mask": spaces.MultiBinary(a)})
        wrap = masked if mask == "obs" else lambda n, a: box(n)
        self.spaces = {"slow": (wrap(2, 2), spaces.Discrete(2)), "fast": (wrap(3, 3), spaces.Discrete(3, start=1))}
        if state:
            self.state = lambda: np.array([self.t, 7.0])
        self.log = []

    def observation_space(self, agent):
        return self.spaces[agent][0]

    def action_space(self, agent):
        return self.spaces[agent][1]

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        self.start = np.random.default_rng(seed).normal()
        return self.show(), self.infos()

    def show(self):
        values = {"slow": np.array([self.start, self.t]), "fast": np.array([self.start, self.t, -1.0])}
        masks = {"slow": np.array([1, self.t % 2]), "fast": np.array([0, 1, 1])}
        if self.mask == "obs":
            return {a: {"observation": values[a], "action_mask": masks[a]} for a in self.agents}
        return {a: values[a] for a in self.agents}

    def infos(self):
        masks = {"slow": np.array([1, self.t % 2]), "fast": np.array([0, 1, 1])}
        return {a: {"action_mask": masks[a]} if self.mask == "info" else {} for a in self.agents}

    def step(self, actions):
        self.log.append(dict(actions))
        self.t += 1
        live, last = self.agents, self.t == 3
        out = {a: last or (a == "fast" and self.t == 2) for a in live}
        obs, infos = self.show(), self.infos()
        rewards = {"slow": 1.0, "fast": 0.25}
        self.agents = [a for a in live if not out[a]]
        time_is_up = {a: out[a] and self.ends == "truncated" and last for a in live}
        done = {a: out[a] and not time_is_up[a] for a in live}
        return obs, {a: rewards[a] for a in live}, done, time_is_up, infos

    def render(self):
        return np.full((4, 5, 3), self.t, np.uint8)

    def close(self):
        self.closed = True


def race(**options):
    return make_from(lambda render_mode=None: Race(**options), num_envs=1)


def make_from(factory, num_envs=1, **options):
    from marlcourse.envs.adapters.pettingzoo import FromPettingZoo

    return FromPettingZoo(factory, num_envs=num_envs, device="cpu", **options)


@pytest.mark.parametrize("mask", ["obs", "info"])
def test_ragged_spaces_masks_and_an_agent_that_leaves(mask):
    env = race(mask=mask)
    s = env.spec
    assert (s.n_agents, s.obs_dim, s.n_actions, s.state_dim, s.state_is_obs, s.episode_limit) == (2, 3, 3, 6, True, 4)
    o = env.reset(seed=0)
    assert o.obs[0, 0, 2] == 0 and o.obs[0, 1, 2] == -1 and o.obs[0, 0, 0] == o.obs[0, 1, 0] != 0
    assert o.avail[0].tolist() == [[True, False, False], [False, True, True]]
    step = env.step(torch.tensor([[0, 2]]))
    assert env.hosts[0].worlds[0].game.log[-1] == {"slow": 0, "fast": 3}  # the fast one counts from 1
    assert step.reward.item() == 1.25 and step.observation.avail[0, 0].tolist() == [True, True, False]
    step = env.step(torch.tensor([[1, 1]]))
    assert not step.terminated.any() and step.observation.avail[0, 1].tolist() == [True, False, False]
    step = env.step(torch.tensor([[0, 0]]))
    assert env.hosts[0].worlds[0].game.log[-1] == {"slow": 0}  # who is out is not asked
    assert step.reward.item() == 1.0 and step.terminated.item() and not step.truncated.item()
    assert step.observation.obs[0, 1].tolist() == [0, 0, 0]
    assert env.frame().tolist() == np.full((4, 5, 3), 3).tolist()
    with pytest.raises(ValueError, match="Agent 0 in world 0 .* played 1, which is not available"):
        env.reset()
        env.step(torch.tensor([[1, 1]]))
    game = env.hosts[0].worlds[0].game
    env.close()
    assert game.closed


def test_without_a_mask_every_action_an_agent_has_is_available():
    o = race(mask=None).reset(seed=0)
    assert o.avail[0].tolist() == [[True, True, False], [True, True, True]]


def test_out_of_time_is_truncation_though_one_was_terminated_before():
    env = race(ends="truncated")
    env.reset(seed=0)
    ends = [env.step(torch.tensor([[0, a]])) for a in (1, 1, 0)]
    assert [(s.terminated.item(), s.truncated.item()) for s in ends] == [(False, False), (False, False), (False, True)]


def test_options_of_the_pettingzoo_adapter():
    factory = lambda render_mode=None: Race(state=True)
    env = make_from(factory, team_reward="mean", episode_limit=2)
    assert env.spec.state_dim == 2 and not env.spec.state_is_obs and env.spec.episode_limit == 2
    assert env.reset(seed=0).state.tolist() == [[0, 7]]
    assert env.step(torch.tensor([[0, 1]])).reward.item() == 0.625
    step = env.step(torch.tensor([[0, 1]]))
    assert step.truncated.item() and not step.terminated.item()
    copy = env.fresh(num_envs=2)
    assert copy.num_envs == 2 and copy.spec == env.spec and copy.recipe == env.recipe


@pytest.mark.parametrize("mask", ["obs", "info", None])
def test_awkward_games_keep_the_contract(mask):
    check_env(make_from(lambda render_mode=None: Race(mask=mask, state=mask == "info"), num_envs=2))


class Push:
    """Continuous actions; ``low`` and ``high`` per agent."""

    possible_agents = ["a", "b"]

    def __init__(self, low, high, dims=(1, 2)):
        from gymnasium import spaces

        self.acts = {x: spaces.Box(lo, hi, (d,), np.float32) for x, lo, hi, d in zip("ab", low, high, dims)}
        self.see = spaces.Discrete(3)

    def action_space(self, agent):
        return self.acts[agent]

    def observation_space(self, agent):
        return self.see

    def reset(self, seed=None, options=None):
        self.agents = ["a", "b"]
        return {"a": 0, "b": 2}, {"a": {}, "b": {}}

    def step(self, actions):
        self.got = actions
        self.agents = []
        both = lambda x: {"a": x, "b": x}
        return both(1), both(0.5), both(True), both(False), both({})

    def close(self):
        pass


@pytest.mark.parametrize(
    "low,high,bounds,sent,expected",
    [
        ((-2, -2), (2, 2), (-2, 2), [1.5, 9.0], 2.0),  # equal bounds: as they are, clipped
        ((0, -1), (10, 1), (-1, 1), [0.5, -1.0], -1.0),  # others: scaled from [-1, 1]
    ],
)
def test_continuous_actions_are_clipped_or_scaled(low, high, bounds, sent, expected):
    env = make_from(lambda: Push(low, high), episode_limit=3)
    assert env.spec.actions == Box(2, *bounds) and env.reset(seed=0).avail is None
    assert env.reset().obs[0].tolist() == [[1, 0, 0], [0, 0, 1]]  # a Discrete observation is one-hot
    step = env.step(torch.tensor([[[sent[0], 0.0], [0.0, sent[1]]]]))
    got = env.hosts[0].worlds[0].game.got
    assert got["a"].tolist() == [pytest.approx(1.5 if bounds[0] == -2 else 7.5)] and got["a"].dtype == np.float32
    assert got["b"].tolist() == [0.0, expected] and step.terminated.item() and step.reward.item() == 1.0


def test_bad_input_to_pettingzoo():
    with pytest.raises(ValueError, match="has actions without bounds"):
        make_from(lambda: Push((-np.inf, 0), (1, 1)), episode_limit=3)
    with pytest.raises(ValueError, match="does not tell its time limit: give it, such as episode_limit=100"):
        make_from(lambda: Push((0, 0), (1, 1)))
    with pytest.raises(ValueError, match="team_reward must be 'sum' or 'mean'"):
        make_from(lambda render_mode=None: Race(), team_reward="max")
    with pytest.raises(ValueError, match="Give a module's name, a module, or a function"):
        make_from(3)
    with pytest.raises(ValueError, match="is not a PettingZoo ParallelEnv"):
        make_from(lambda render_mode=None: object())
    with pytest.raises(ValueError, match="The module textwrap has no parallel_env"):
        make("pettingzoo:textwrap")
    with pytest.raises(ModuleNotFoundError, match="install its package first .`pip install no_such_package`"):
        make("pettingzoo:no_such_package.game_v0")
    from pettingzoo.utils.env import ParallelEnv

    mixed = Race()
    mixed.action_space = lambda agent: {"slow": Race().spaces["slow"][1], "fast": Push((0, 0), (1, 1)).acts["a"]}[agent]
    with pytest.raises(ValueError, match="has actions of kind Box, Discrete: only all Discrete or all Box"):
        make_from(lambda render_mode=None: mixed)
    assert issubclass(type(to_pettingzoo("junction")), ParallelEnv)


def test_without_pettingzoo_the_command_is_named():
    code = f"""
        import sys
        sys.modules["pettingzoo"] = None
        import marlcourse
        try:
            marlcourse.make("pettingzoo:{MODULE}")
        except ModuleNotFoundError as error:
            print(error)
    """
    assert run(code).startswith("The package pettingzoo is not installed: run `pip install")


def test_a_module_that_needs_another_package_says_which(tmp_path, monkeypatch):
    (tmp_path / "needy_game.py").write_text("import no_such_physics\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="it needs no_such_physics: run `pip install no_such_physics`"):
        make("pettingzoo:needy_game")


def to_pettingzoo(name, **options):
    from marlcourse.envs.adapters.pettingzoo import ToPettingZoo

    return ToPettingZoo(make(name, num_envs=1, device="cpu", **options))


OWN = ["junction", "matrix/qtran", "matrix/climbing", "two-step", "product-game"]


@pytest.mark.parametrize("name", OWN)
def test_our_worlds_pass_pettingzoos_own_tests(name):
    from pettingzoo.test import parallel_api_test, parallel_seed_test

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # its test only warns where an agent's entry is missing
        parallel_api_test(to_pettingzoo(name), num_cycles=20)
        parallel_seed_test(lambda: to_pettingzoo(name), num_cycles=20)


@needs_ma_gym
def test_a_ma_gym_game_passes_pettingzoos_own_tests():
    from pettingzoo.test import parallel_api_test, parallel_seed_test

    parallel_api_test(to_pettingzoo("ma-gym/Switch2-v0", episode_limit=10), num_cycles=20)
    parallel_seed_test(lambda: to_pettingzoo("ma-gym/Switch2-v0", episode_limit=10), num_cycles=20)


def test_what_a_pettingzoo_game_of_ours_shows():
    env = to_pettingzoo("two-step")
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        env.step({})
    obs, infos = env.reset(seed=0)
    assert env.agents == ["agent_0", "agent_1"] == list(infos)
    for agent in env.agents:
        assert env.observation_space(agent).contains(obs[agent])
        assert obs[agent]["action_mask"].tolist() == [1, 1]
    assert env.state_space.contains(env.state()) and env.state().tolist() == [1, 0, 0]
    obs, rewards, terminations, truncations, infos = env.step({"agent_0": 1, "agent_1": 0})
    assert rewards == {"agent_0": 0.0, "agent_1": 0.0} and not any(terminations.values())
    with pytest.raises(ValueError, match="two-step needs an action of every agent; agent_1 has none"):
        env.step({"agent_0": 1})
    obs, rewards, terminations, truncations, infos = env.step({"agent_0": 1, "agent_1": 1})
    assert rewards == {"agent_0": 8.0, "agent_1": 8.0} and all(terminations.values()) and not any(truncations.values())
    assert infos["agent_0"] == {"won": True} and env.agents == [] and env.render().shape[2] == 3
    assert to_pettingzoo("product-game").reset()[0]["agent_1"].tolist() == [1.0]  # continuous: the observation itself
    with pytest.raises(ValueError, match="with num_envs=1, not 2"):
        to_pettingzoo_of(make("two-step", num_envs=2, device="cpu"))


def to_pettingzoo_of(env):
    from marlcourse.envs.adapters.pettingzoo import ToPettingZoo

    return ToPettingZoo(env)


def test_a_mask_reaches_the_pettingzoo_side():
    env = make("two-step", device="cpu")
    honest = env._observe
    env._observe = lambda state: Observation(*honest(state)[:2], torch.tensor([[[True, False], [False, True]]]))
    env._masks_actions = True
    game = to_pettingzoo_of(env)
    obs, _ = game.reset()
    assert [obs[a]["action_mask"].tolist() for a in game.agents] == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="not available"):
        game.step({"agent_0": 1, "agent_1": 1})


@pytest.mark.parametrize("name", [*OWN, pytest.param("ma-gym/TrafficJunction4-v0", marks=needs_ma_gym)])
def test_there_and_back_is_the_same_world(name):
    env = make(f"pettingzoo:{MODULE}", num_envs=1, device="cpu", team_reward="mean", world=name)
    direct = make(name, num_envs=1, device="cpu")
    assert env.spec.actions == direct.spec.actions and env.spec.episode_limit == direct.spec.episode_limit
    assert env.spec.obs_dim == direct.spec.obs_dim and env.spec.state_dim == direct.spec.state_dim
    o = env.reset(seed=5)
    d = direct.reset(seed=int(env.episode_seed[0]))
    for a in actions_for(direct, 30):
        assert_same(o, d)
        step, other = env.step(a), direct.step(a)
        assert_same(step[1:4], other[1:4])
        o, d = step.observation, other.observation
        if (step.terminated | step.truncated).any():
            break
    assert_same(o, d)
    assert np.array_equal(env.frame(), direct.frame())


def test_pettingzoo_in_workers_is_the_same():
    options = dict(num_envs=2, device="cpu", world="matrix/climbing")
    here, there = make(f"pettingzoo:{MODULE}", **options), make(f"pettingzoo:{MODULE}", workers=1, **options)
    try:
        actions = actions_for(here, 6)
        assert_same(play(here, actions), play(there, actions))
    finally:
        there.close()


def test_adapters_load_their_packages_only_when_a_world_is_made():
    code = """
        import sys, marlcourse
        marlcourse.env_names(), marlcourse.make("junction", device="cpu"), marlcourse.check_env
        print([p for p in ("gym", "ma_gym", "pettingzoo", "gymnasium") if p in sys.modules])
    """
    assert run(code) == "[]"


@pytest.mark.gpu
def test_python_worlds_hand_out_tensors_on_the_gpu():
    env = make(f"pettingzoo:{MODULE}", num_envs=2, device="cuda", world="two-step")
    check_env(env)
    assert env.reset(seed=0).obs.device.type == "cuda"
