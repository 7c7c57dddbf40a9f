"""``traffic-junction-4`` and ``-10`` with ``faithful=True`` against ma-gym 0.0.14, in lockstep, number for number.

Many games of ma-gym and one batched world of ours play the same actions from the same start. ma-gym takes its chance from
Python's global ``random``: here each game gets a source of its own that notes what it gave, and our world, whose draw
methods are overridden, plays the same.
"""

import importlib.util
import random

import numpy as np
import pytest
import torch

from marlcourse.envs.traffic_junction import GAS, TrafficJunction, look_first
from marlcourse.envs.traffic_map import GATES, LONGEST, WAIT, way

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ma_gym") is None, reason="ma-gym is not installed")

GATE_CELLS = [cell for cell, _ in GATES]
PER_POLICY = 8  # games that play with each of these chances of gas; None: the hand rule
POLICIES = (0.0, 0.3, 0.5, 0.8, 0.95, 1.0, None)
STEPS = 190  # in each of 56 games: 10,640 environment steps


class Chance(random.Random):
    """Python's ``random`` as ma-gym uses it. Which car gets which route is fixed before an episode; all else is noted."""

    def start(self, n):
        self.routes = [random.Random.randint(self, 1, 3) for _ in range(n)]
        self.entered, self.order, self.arrive, self.gate = 0, None, None, None

    def shuffle(self, gates):
        super().shuffle(gates)
        self.order = list(gates)

    def randint(self, low, high):
        assert (low, high) == (1, 3)
        self.entered += 1
        return self.routes[self.entered - 1]

    def uniform(self, low, high):
        assert (low, high) == (0, 1)
        self.gate, self.arrive = None, super().uniform(low, high)
        return self.arrive

    def choice(self, gates):
        self.gate = super().choice(gates)
        return self.gate


class Games:
    """``b`` games of ma-gym, each with its own source of chance."""

    def __init__(self, n, b):
        from marlcourse.envs.adapters.magym import MaGymWorld

        self.worlds = [MaGymWorld(f"TrafficJunction{n}-v0") for _ in range(b)]
        self.n, self.games, self.module = n, [w.game for w in self.worlds], self.worlds[0].module
        self.chance = [Chance(i) for i in range(b)]

    def reset(self, i):
        game = self.games[i]
        game._agents_routes = [-1] * self.n  # ma-gym shows a waiting car with the route of the LAST episode
        self.chance[i].start(self.n)
        return self._with_chance(i, game.reset)

    def step(self, i, actions):
        obs, rewards, dones, info = self._with_chance(i, lambda: self.games[i].step(actions))
        return obs, list(rewards), list(dones), info

    def _with_chance(self, i, play):
        self.module.random, theirs = self.chance[i], self.module.random
        try:
            return play()
        finally:
            self.module.random = theirs


class Injected(TrafficJunction):
    """Our world with ma-gym's draws."""

    games: Games

    def _draw_start(self):
        gate, route = torch.zeros(self.num_envs, 4), torch.zeros(self.num_envs, self.spec.n_agents, dtype=torch.long)
        for i, chance in enumerate(self.games.chance):
            gate[i] = torch.tensor([chance.order.index(cell) / 4 for cell in GATE_CELLS])
            route[i] = torch.tensor(chance.routes) - 1
        return {"gate": gate, "route": route}

    def _draw_step(self):
        gate = torch.full((self.num_envs, 4), 0.5)
        for i, chance in enumerate(self.games.chance):
            if chance.gate is not None:
                gate[i, GATE_CELLS.index(chance.gate)] = 0.0
        return {"gate": gate, "arrive": torch.tensor([chance.arrive for chance in self.games.chance], dtype=torch.float64)}


def cells(env, i):
    """(row, column) of each car of world i."""
    places = env.state["place"][i].tolist()
    return [(0, 0) if p == WAIT else way(p // LONGEST // 3, p // LONGEST % 3)[p % LONGEST] for p in places]


@pytest.mark.parametrize("n", [4, 10])
def test_lockstep_with_ma_gym(n):
    b = PER_POLICY * len(POLICIES)
    games = Games(n, b)
    first = np.array([games.reset(i) for i in range(b)])
    env = Injected(b, "cpu", n_cars=n, faithful=True)
    env.games = games
    o = env.reset()
    assert np.array_equal(o.obs.numpy(), first)
    generator = torch.Generator().manual_seed(n)
    chances = torch.tensor([2.0 if p is None else p for p in POLICIES]).repeat(PER_POLICY).unsqueeze(-1)
    seen = dict.fromkeys(["collision", "two collisions", "entry", "arrival", "terminated", "truncated", "crowded gates"], 0)
    for _ in range(STEPS):
        u = torch.rand(b, n, generator=generator)
        actions = torch.where(chances > 1, look_first(env), (u >= chances).long())
        on_road = [list(game._on_the_road) for game in games.games]
        dones_before = [list(game._agent_dones) for game in games.games]
        theirs = [games.step(i, row) for i, row in enumerate(actions.tolist())]
        ages = env.state["age"]
        step = env.step(actions)
        obs = np.array([t[0] for t in theirs])
        assert obs.dtype == np.float32 and np.array_equal(step.observation.obs.numpy(), obs)
        assert np.array_equal(step.observation.state.numpy(), obs.reshape(b, -1))
        assert np.array_equal(step.reward.numpy(), np.array([sum(t[1]) for t in theirs], np.float32))
        assert step.info["collisions"].tolist() == [t[3]["step_collisions"] for t in theirs]
        over = (step.terminated | step.truncated).tolist()
        assert over == [all(t[2]) for t in theirs]
        per_car = -10.0 * env.state["collided"].double() - 0.01 * env.state["age"].double() * (env.state["age"] != ages)
        assert np.allclose(per_car.numpy(), [t[1] for t in theirs], atol=1e-12, rtol=0)
        for i, game in enumerate(games.games):
            assert cells(env, i) == [game.agent_pos[car] for car in range(n)]
            assert env.state["age"][i].tolist() == game._agent_step_count
            at_the_end = env.table["arrived"][env.state["place"][i]].tolist()
            assert at_the_end == [p in game._destination for p in game.agent_pos.values()]
            if not over[i]:
                assert at_the_end == game._agent_dones
            seen["collision"] += theirs[i][3]["step_collisions"] > 0
            seen["two collisions"] += theirs[i][3]["step_collisions"] > 1
            seen["entry"] += game._on_the_road != on_road[i]
            seen["arrival"] += at_the_end != dones_before[i]
            seen["crowded gates"] += not all(on_road[i]) and games.chance[i].arrive < 0.5 and games.chance[i].gate is None
        seen["terminated"] += int(step.terminated.sum())
        seen["truncated"] += int(step.truncated.sum())
        if any(over):
            fresh = {i: games.reset(i) for i in range(b) if over[i]}
            o = env.reset(where=torch.tensor(over))
            for i, obs in fresh.items():
                assert np.array_equal(o.obs[i].numpy(), np.array(obs))
    print(seen)
    never = {"entry", "crowded gates"} if n == 4 else set()  # the four cars stand at the gates from the start
    assert {name for name, count in seen.items() if count == 0} == never
    assert seen["collision"] > 500 and seen["arrival"] > 500 and seen["terminated"] > 20 and seen["truncated"] > 20


@pytest.mark.parametrize("n", [4, 10])
def test_the_ways_are_ma_gyms(n):
    """Every way through the junction, by driving one ma-gym car alone from gate to edge."""
    games = Games(n, 1)
    game = games.games[0]
    for gate, cell in enumerate(GATE_CELLS):
        for route in range(3):
            games.reset(0)
            game._on_the_road[1:] = [True] * (n - 1)  # no other car enters,
            game._agent_dones[1:] = [True] * (n - 1)  # nor stands in the way
            game._full_obs = game._TrafficJunction__create_grid()
            game.agent_pos = {car: cell if car == 0 else (0, 0) for car in range(n)}
            game._agents_routes[0], game._agents_direction[0] = route + 1, game._route_vectors[cell]
            driven = [cell]
            while not game._agent_dones[0]:
                games.step(0, [GAS] * n)
                driven.append(game.agent_pos[0])
            assert driven == way(gate, route)
