"""Lumberjacks with ``faithful=True`` against the installed ma-gym 0.0.14, in lockstep: equal, number for number."""

import importlib.util

import numpy as np
import pytest
import torch

from marlcourse import make
from marlcourse.envs.lumberjacks import Lumberjacks

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ma_gym") is None, reason="ma-gym is not installed")

WORLDS, STEPS = 40, 150  # 6,000 environment steps for each of three ways of playing


def ma_gym(**options):
    """One game of ma-gym itself, as its own class plays it."""
    from marlcourse.envs.adapters.magym import MaGymWorld

    return MaGymWorld("Lumberjacks-v0", **options).game


def start_of(game):
    """Where this game has just begun: (order, strength) as our world draws them."""
    size, view = game._grid_shape[0], game._agent_view[0]
    agents = [(row - view) * size + column - view for row, column in (agent.pos for agent in game._agents)]
    trees = game._tree_map[view : size + view, view : size + view].flatten()
    where = trees.nonzero()[0].tolist()
    return agents + where + sorted(set(range(size**2)) - set(agents) - set(where)), trees[where].tolist()


class Injected(Lumberjacks):
    """Our world, starting where the games of ma-gym start: the only chance there is."""

    def _draw_start(self):
        order, strength = zip(*self.starts)
        return {"order": torch.tensor(order), "strength": torch.tensor(strength)}


def nearest_tree(game, agent, rng):
    """A step towards a tree that this agent may help to fell, most of the time; everybody prefers the same one."""
    trees = np.argwhere(game._tree_map > 0)
    if len(trees) == 0 or rng.random() < 0.2:
        return int(rng.integers(5))
    centre = np.mean([a.pos for a in game._agents], 0)
    down, right = trees[np.abs(trees - centre).sum(1).argmin()] - np.array(agent.pos)
    wanted = [a for a, useful in ((1, down > 0), (3, down < 0), (4, right > 0), (2, right < 0)) if useful]
    return int(rng.choice(wanted)) if wanted else 0


POLICIES = {
    "random": lambda game, agent, rng: int(rng.integers(5)),
    "towards the trees": nearest_tree,
    "into the last corner": lambda game, agent, rng: int(rng.choice([1, 4, 1, 4, 0])),
}


def lockstep(policy, steps, games, seed=0, **options):
    """Play both from the same starts with the same actions; returns how often something worth testing happened."""
    games = [ma_gym(**{"max_steps": options.get("episode_limit", 100), **games}) for _ in range(WORLDS)]
    ours = Injected(num_envs=WORLDS, device="cpu", faithful=True, **options)
    rng = np.random.default_rng(seed)
    for i, game in enumerate(games):
        game.seed(seed * 1000 + i)
    seen = torch.tensor([game.reset() for game in games])
    ours.starts = [start_of(game) for game in games]
    observation = ours.reset(seed=0)
    assert torch.equal(observation.obs, seen)
    n, total = ours.spec.n_agents, {"felled": 0, "together": 0, "cleared": 0, "cut off": 0, "dragged": 0}
    for _ in range(steps):
        actions = [[policy(game, agent, rng) for agent in game._agents] for game in games]
        before = [[agent.pos for agent in game._agents] for game in games]
        played = [game.step(a) for game, a in zip(games, actions)]
        step = ours.step(torch.tensor(actions))
        assert torch.equal(step.observation.obs, torch.tensor([p[0] for p in played]))
        assert torch.equal(step.observation.state, step.observation.obs.flatten(1))
        assert step.reward.tolist() == [float(np.sum(p[1])) for p in played]
        done = step.terminated | step.truncated
        assert done.tolist() == [all(p[2]) for p in played]
        assert step.terminated.tolist() == [not game._tree_map.any() for game in games]
        trees = [round((p[1][0] + 1) / 10) for p in played]
        assert step.info["felled"].tolist() == trees
        total["felled"] += sum(trees)
        total["together"] += sum(t > 0 and len({a.pos for a in game._agents}) < n for t, game in zip(trees, games))
        total["cleared"] += int(step.terminated.sum())
        total["cut off"] += int(step.truncated.sum())
        for game, a, old in zip(games, actions, before):
            total["dragged"] += sum(x == 0 and agent.pos != pos for x, agent, pos in zip(a, game._agents, old))
        if done.any():
            for i in done.nonzero().flatten().tolist():
                games[i].reset()
                ours.starts[i] = start_of(games[i])
            observation = ours.reset(where=done)
            assert torch.equal(observation.obs, torch.tensor([game.get_agent_obs() for game in games]))
    return total


@pytest.mark.parametrize("name", POLICIES)
def test_faithful_is_ma_gym(name):
    total = lockstep(POLICIES[name], STEPS, {})
    assert total["cut off"] >= WORLDS and total["dragged"] > 0, total
    if name != "into the last corner":
        assert total["felled"] > 4 * WORLDS and total["together"] > WORLDS, total


def test_the_end_by_felling_all_trees_agrees_too():
    """One tree: it sometimes grows where ma-gym's lumberjacks can go."""
    total = lockstep(nearest_tree, 60, {"n_trees": 1}, n_trees=1)
    assert total["cleared"] > WORLDS, total


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ({"n_agents": 3, "n_trees": 9, "max_steps": 17}, {"n_agents": 3, "n_trees": 9, "episode_limit": 17}),
        ({"grid_shape": (7, 7), "agent_view": (2, 2)}, {"size": 7, "view": 2}),
    ],
)
def test_other_sizes_agree(theirs, ours):
    total = lockstep(nearest_tree, 40, theirs, **ours)
    assert total["felled"] > WORLDS and total["together"] > 10, total


def test_the_first_reset_without_a_seed_is_the_unshuffled_one():
    """Only the strengths are drawn there."""
    game = ma_gym()
    theirs = type(game)()
    theirs.reset()
    env = make("lumberjacks", num_envs=4, device="cpu", faithful=True)
    env.reset()
    grows = torch.from_numpy(theirs._tree_map > 0).flatten()
    assert torch.equal(env.state["trees"] > 0, grows.expand(4, -1))
    places = [row * 7 + column for row, column in (agent.pos for agent in theirs._agents)]
    assert env.state["agents"].tolist() == [places] * 4
    env.reset()
    assert not torch.equal(env.state["trees"] > 0, grows.expand(4, -1))
